/* phantom_mri.c - axial brain slice, T1, T2 or FLAIR.
 *
 * In a frame turned and scaled with the head: scalp, skull, a film of fluid, cortex with sulci
 * (the zero lines of a noise field, wide at the surface and closing inwards: grey matter lies
 * along them), white matter, deep grey nuclei, the midline fissure, ventricles (two frontal, two
 * occipital horns and the slit between).  A tumour is a lobed blob, solid or a ring around a
 * necrotic core, with oedema that follows a noise field; bright or, in some T1 pictures, dark.
 * Scalp and fluid are as bright or as dark as tumour and ventricles.  The coil's gain field is
 * free of mean and stays within 0.8..1.2. */
#include "image/phantom_internal.h"

enum { FOLDS, DETAIL, COIL, TISSUE, NOISE };
enum { T1, T2, FLAIR };

typedef struct {
    int weighting;
    float x, y, a, b, cosine, sine; /* of the head; a half width, b half height */
    float grey, white, fluid, bone, scalp, back;
    float folds, noise, coil;
    bool ventricles, tumour;
    mcs_blob head, horn[5], nucleus[4], lesion;
    float core, rim, oedema, oedema_reach; /* lesion: core radius (0: solid), levels */
    float core_level;
} scene;

/* A blob given in the frame of the head (units: widths, centre 0, y down). */
static void head_blob(scene *s, mcs_dice *d, mcs_blob *b, float x, float y, float rx, float ry,
                      float turn, float irregular)
{
    float own = mcs_atan2_turns(s->sine, s->cosine);
    mcs_blob_make(b, d, s->x + x * s->cosine - y * s->sine, s->y + x * s->sine + y * s->cosine, rx,
                  ry, turn + own, irregular, 6);
}

static void draw_head(scene *s, mcs_dice *d)
{
    float turn = mcs_dice_in(d, -0.045f, 0.045f);
    s->x = 0.5f + mcs_dice_in(d, -0.035f, 0.035f);
    s->y = 0.5f + mcs_dice_in(d, -0.025f, 0.025f);
    s->a = mcs_dice_in(d, 0.35f, 0.41f);
    s->b = mcs_dice_in(d, 0.41f, 0.465f);
    s->cosine = mcs_cos_turns(turn);
    s->sine = mcs_sin_turns(turn);
    mcs_blob_make(&s->head, d, s->x, s->y, s->a, s->b, turn, 0.012f, 5);
}

static void draw_levels(scene *s, mcs_dice *d)
{
    static const float level[3][4] = { /* grey, white, fluid, scalp */
                                       { 0.40f, 0.58f, 0.12f, 0.88f },
                                       { 0.54f, 0.37f, 0.88f, 0.55f },
                                       { 0.50f, 0.40f, 0.10f, 0.70f }
    };
    int w = mcs_dice_below(d, 10);
    s->weighting = w < 5 ? T1 : w < 8 ? T2 : FLAIR;
    const float *l = level[s->weighting];
    s->grey = l[0] + mcs_dice_in(d, -0.04f, 0.03f);
    s->white = l[1] + mcs_dice_in(d, -0.03f, 0.04f);
    s->fluid = l[2] + mcs_dice_in(d, -0.05f, 0.05f);
    s->scalp = l[3] + mcs_dice_in(d, -0.10f, 0.08f);
    s->bone = mcs_dice_in(d, 0.04f, 0.10f);
    s->back = mcs_dice_in(d, 0.0f, 0.03f);
    s->folds = mcs_dice_in(d, 0.7f, 1.3f);
    s->noise = mcs_dice_in(d, 0.008f, 0.04f);
    s->coil = mcs_dice_in(d, 0.03f, 0.09f);
}

/* Horns by side (frontal, then occipital), then the slit; nuclei beside them. */
static void draw_middle(scene *s, mcs_dice *d)
{
    float scale = mcs_dice_in(d, 0.75f, 1.6f), spread = 0.6f + 0.4f * scale;
    float wide = scale * mcs_dice_in(d, 0.85f, 1.1f), up = mcs_dice_in(d, -0.05f, 0.04f);
    for (int i = 0; i < 4; i++) {
        float side = i & 1 ? 1.0f : -1.0f, back = i >= 2 ? 1.0f : -1.0f;
        float one = mcs_dice_in(d, 0.9f, 1.1f);
        head_blob(s, d, &s->horn[i], side * (back > 0 ? 0.062f : 0.048f) * spread,
                  up + (back > 0 ? 0.070f : -0.068f) * (0.8f + 0.2f * scale),
                  (back > 0 ? 0.030f : 0.032f) * wide * one, 0.085f * spread * one,
                  -side * back * mcs_dice_in(d, 0.045f, 0.07f), 0.05f);
        head_blob(s, d, &s->nucleus[i], side * (back > 0 ? 0.060f : 0.105f) * spread,
                  up + (back > 0 ? 0.045f : -0.035f), 0.035f, back > 0 ? 0.045f : 0.060f,
                  -side * 0.05f, 0.05f);
    }
    head_blob(s, d, &s->horn[4], 0, up + 0.02f, 0.010f * wide, 0.05f * spread, 0, 0.03f);
    s->ventricles = mcs_dice_chance(d, 0.9f);
}

/* Fits inside the brain, clear of the horns: looked at on the outline's 16 directions. */
static bool fits(const scene *s, const mcs_blob *b, float r)
{
    for (int i = 0; i < 16; i++) {
        float t = (float)i / 16, x = b->x + 1.05f * r * mcs_cos_turns(t);
        float y = b->y + 1.05f * r * mcs_sin_turns(t);
        if (mcs_blob_at(&s->head, x, y) > 0.84f)
            return false;
        for (int k = 0; k < 5; k++)
            if (mcs_blob_at(&s->horn[k], x, y) < 1.25f && s->ventricles)
                return false;
    }
    for (int k = 0; k < 5; k++)
        if (s->ventricles && mcs_blob_at(b, s->horn[k].x, s->horn[k].y) < 1.3f)
            return false;
    return true;
}

static void draw_tumour(scene *s, mcs_dice *d)
{
    bool dark = s->weighting == T1 && mcs_dice_chance(d, 0.25f);
    s->rim = dark ? mcs_dice_in(d, 0.20f, 0.32f) : mcs_dice_in(d, 0.76f, 0.95f);
    s->core = !dark && mcs_dice_chance(d, 0.5f) ? mcs_dice_in(d, 0.35f, 0.62f) : 0;
    s->core_level = s->weighting == T1 ? mcs_dice_in(d, 0.16f, 0.36f) : mcs_dice_in(d, 0.45f, 0.6f);
    s->oedema = (s->weighting == T1 ? -1.0f : 1.0f) * mcs_dice_in(d, 0.0f, 0.15f);
    s->oedema_reach = mcs_dice_in(d, 1.2f, 1.8f);
    float r = 0;
    for (int tries = 0; tries < 120; tries++) {
        if (tries % 30 == 0) /* a size gets many chances: else small ones would win */
            r = mcs_dice_in(d, 0.065f, 0.135f);
        float away = mcs_dice_in(d, 0.15f, 0.75f);
        float turn = mcs_dice_in(d, 0, 1);
        float rx = r * mcs_dice_in(d, 0.85f, 1.15f), ry = r * mcs_dice_in(d, 0.85f, 1.15f);
        mcs_blob_make(&s->lesion, d, s->x + away * s->a * mcs_cos_turns(turn),
                      s->y + away * s->b * mcs_sin_turns(turn), rx, ry, mcs_dice_in(d, 0, 1), 0.12f,
                      7);
        if (fits(s, &s->lesion, 1.15f * r)) {
            s->tumour = true;
            return;
        }
    }
}

/* Outside the brain: scalp, skull, film of fluid, from the outside in; h: 1 at the outline. */
static float shell(const scene *s, float h, const float *f)
{
    float v = mcs_mixf(s->scalp * (1 + 0.08f * f[DETAIL]), s->back,
                       mcs_smooth((h - 0.985f - 0.010f * f[FOLDS]) / 0.025f));
    v = mcs_mixf(s->bone, v, mcs_smooth((h - 0.94f) / 0.025f));
    return mcs_mixf(s->fluid, v, mcs_smooth((h - 0.885f) / 0.02f));
}

/* Brain without lesions. */
static float brain(const scene *s, float x, float y, float h, const float *f)
{
    float u = (x - s->x) * s->cosine + (y - s->y) * s->sine;
    float v = (y - s->y) * s->cosine - (x - s->x) * s->sine;
    float deep = mcs_clampf((0.87f - h) / 0.36f, 0, 1); /* 0 at the surface */
    float line = fabsf(f[FOLDS] + 0.2f * f[DETAIL]); /* 0 in a sulcus */
    float cortex = 1 - mcs_smooth((line - 0.62f * (1 - deep * deep)) / 0.25f + 0.3f);
    cortex = deep >= 1 ? 0 : cortex;
    cortex = cortex > mcs_smooth((h - 0.79f) / 0.03f) ? cortex : mcs_smooth((h - 0.79f) / 0.03f);
    for (int k = 0; k < 4; k++) {
        float at = mcs_blob_at(&s->nucleus[k], x, y);
        float here = 0.85f * mcs_blob_cover(&s->nucleus[k], at, 0.02f);
        cortex = cortex > here ? cortex : here;
    }
    float level = mcs_mixf(s->white, s->grey, cortex) * (1 + 0.025f * f[TISSUE]);
    float sulcus = 1 - mcs_smooth((line / s->folds - 0.20f * (1 - deep)) / 0.14f + 0.5f);
    sulcus *= 1 - mcs_smooth((deep - 0.55f) / 0.45f);
    float across = fabsf(u + 0.006f * f[DETAIL]), along = fabsf(v) / s->b;
    float fissure = mcs_smooth((0.012f - across) / 0.008f) * mcs_smooth((along - 0.36f) / 0.1f);
    return mcs_mixf(level, s->fluid, 0.85f * (sulcus > fissure ? sulcus : fissure));
}

static float with_tumour(const scene *s, float at, float horns, float level, const float *f)
{
    float spread = s->oedema_reach + 0.25f * f[FOLDS];
    float wet = mcs_smooth((spread - at) / 0.25f) * mcs_smooth((horns - 1) / 0.2f);
    level += s->oedema * wet;
    float inside = s->rim * (1 + 0.05f * mcs_clampf(f[TISSUE] + f[DETAIL], -2, 2));
    if (s->core > 0)
        inside = mcs_mixf(s->core_level, inside,
                          mcs_smooth((at - s->core + 0.06f * f[DETAIL]) / 0.14f + 0.5f));
    return mcs_mixf(level, inside, mcs_blob_cover(&s->lesion, at, 0.014f));
}

static void shade(const void *arg, float x, float y, const float *f, float *grey, uint8_t *bits)
{
    const scene *s = arg;
    float h = mcs_blob_at(&s->head, x, y), level = h > 0.87f ? shell(s, h, f) : 0, horns = 9;
    if (h < 0.905f) {
        level = mcs_mixf(brain(s, x, y, h, f), level, mcs_smooth((h - 0.87f) / 0.02f));
        for (int k = 0; k < 5 && s->ventricles; k++) {
            float at = mcs_blob_at(&s->horn[k], x, y);
            level = mcs_mixf(level, s->fluid, mcs_blob_cover(&s->horn[k], at, 0.012f));
            horns = at < horns ? at : horns;
        }
        float at = s->tumour ? mcs_blob_at(&s->lesion, x, y) : 9;
        if (at < 2.2f)
            level = with_tumour(s, at, horns, level, f);
        if (at < 1)
            *bits |= 1u << MCS_PHANTOM_TUMOUR;
        if (horns < 1)
            *bits |= 1u << MCS_PHANTOM_VENTRICLES;
    }
    level = level * (1 + s->coil * mcs_clampf(f[COIL], -2.2f, 2.2f)) + s->noise * f[NOISE];
    *grey = fabsf(level); /* the modulus: noise of the background is one-sided */
}

void mcs_draw_mri(mcs_canvas *c)
{
    scene s = { 0 };
    draw_head(&s, &c->dice);
    draw_levels(&s, &c->dice);
    draw_middle(&s, &c->dice);
    if (mcs_dice_chance(&c->dice, 0.74f))
        draw_tumour(&s, &c->dice);
    mcs_canvas_field(c, FOLDS, 17, 17);
    mcs_canvas_field(c, DETAIL, 26, 26);
    mcs_canvas_field(c, COIL, 2, 2);
    mcs_canvas_field(c, TISSUE, 40, 40);
    mcs_canvas_field(c, NOISE, 190, 190);
    mcs_canvas_shade(c, NOISE + 1, shade, &s);
}
