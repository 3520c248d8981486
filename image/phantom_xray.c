/* phantom_xray.c - frontal chest X-ray.
 *
 * What attenuates more is brighter.  In a frame around the midline: body outline with shoulders,
 * soft tissue, mediastinum with spine, aortic knob and dark trachea, two lungs (ellipses cut by
 * the mediastinum, the heart and domed diaphragms; one may be opaque), vessels that branch from
 * the hila (zero lines of a noise field, fading outwards), heart, then bones over all: posterior
 * ribs falling sideways, fainter anterior ribs rising, clavicles.  A nodule is a soft round
 * density inside a lung.
 * Air beside the body is as dark as lungs, abdomen and spine as bright as heart and nodule. */
#include "image/phantom_internal.h"

enum { VESSELS, HAZE, COIL, NOISE };
enum { DOTS = 5 };

typedef struct {
    float x, cosine, sine; /* midline */
    float wide, shoulder, dome[2], curve;
    float soft, middle, air, belly, heart_level, opaque, ribs, rib_period, rib_phase;
    float vessels, noise, gain, gamma, outside, slope;
    bool lung[2], heart, nodule; /* lung[0]: left in the picture */
    float side; /* of the heart's apex */
    mcs_blob lobe[2], cor, knob, spot;
    float spot_level;
    mcs_disc dot[DOTS];
} scene;

static float cage(const scene *s, int side, float u, float v)
{
    return s->dome[side] + s->curve * mcs_sq((fabsf(u) - 0.19f) / 0.18f) - v;
}

/* Signed distances, positive inside, in widths; roughly. */
static float heart_margin(const scene *s, float x, float y, float u, float v)
{
    if (!s->heart)
        return -1;
    float in = (1 - mcs_blob_at(&s->cor, x, y)) * s->cor.ry;
    float floor_ = s->dome[s->side > 0] + 0.045f - 0.15f * fabsf(u) - v;
    return in < floor_ ? in : floor_;
}

static float lobe_margin(const scene *s, int side, float x, float y, float u, float v)
{
    float in = (1 - mcs_blob_at(&s->lobe[side], x, y)) * s->lobe[side].rx;
    float inner = (side ? u : -u) - 0.05f - 0.02f * v, under = cage(s, side, u, v);
    in = in < inner ? in : inner;
    return in < under ? in : under;
}

static void draw_frame(scene *s, mcs_dice *d)
{
    float turn = mcs_dice_in(d, -0.012f, 0.012f), low = mcs_dice_in(d, 0.70f, 0.84f);
    s->x = 0.5f + mcs_dice_in(d, -0.04f, 0.04f);
    s->cosine = mcs_cos_turns(turn);
    s->sine = mcs_sin_turns(turn);
    s->wide = mcs_dice_in(d, 0.42f, 0.52f);
    s->shoulder = mcs_dice_in(d, -0.09f, 0.05f);
    s->dome[0] = low - mcs_dice_in(d, 0.0f, 0.04f);
    s->dome[1] = low;
    s->curve = mcs_dice_in(d, 0.05f, 0.10f);
    s->soft = mcs_dice_in(d, 0.46f, 0.60f);
    s->middle = mcs_dice_in(d, 0.64f, 0.72f);
    s->air = mcs_dice_in(d, 0.14f, 0.30f);
    s->heart_level = s->middle + mcs_dice_in(d, 0.0f, 0.10f);
    s->belly = s->heart_level + mcs_dice_in(d, -0.10f, 0.06f);
    s->outside = mcs_dice_in(d, 0.02f, 0.26f);
    s->slope = mcs_dice_in(d, -0.10f, 0.30f);
    s->opaque = mcs_dice_in(d, 0.56f, 0.70f);
    s->ribs = mcs_dice_in(d, 0.07f, 0.15f);
    s->rib_period = mcs_dice_in(d, 0.085f, 0.11f);
    s->rib_phase = mcs_dice_in(d, 0, 1);
    s->vessels = mcs_dice_in(d, 0.08f, 0.22f);
    s->noise = mcs_dice_in(d, 0.004f, 0.025f);
    s->gain = mcs_dice_in(d, 0.02f, 0.06f);
    s->gamma = mcs_dice_in(d, 0.8f, 1.2f);
}

static void draw_organs(scene *s, mcs_dice *d)
{
    float out = mcs_dice_in(d, 0.205f, 0.235f), high = mcs_dice_in(d, 0.42f, 0.48f);
    float width = mcs_dice_in(d, 0.130f, 0.178f), height = mcs_dice_in(d, 0.27f, 0.385f);
    for (int i = 0; i < 2; i++) {
        float sign = i ? 1.0f : -1.0f;
        float wide = width + mcs_dice_in(d, -0.01f, 0.01f),
              tall = height + mcs_dice_in(d, -0.01f, 0.01f);
        mcs_blob_make(&s->lobe[i], d, s->x + sign * out, high, wide, tall,
                      sign * mcs_dice_in(d, -0.028f, -0.010f), 0.025f, 5);
        s->lung[i] = true;
    }
    if (mcs_dice_chance(d, 0.16f))
        s->lung[mcs_dice_below(d, 2)] = false;
    s->heart = mcs_dice_chance(d, 0.88f);
    s->side = mcs_dice_chance(d, 0.94f) ? 1.0f : -1.0f;
    float scale = mcs_dice_in(d, 0.82f, 1.38f), low = s->dome[s->side > 0];
    float long_ = 0.152f * scale * mcs_dice_in(d, 0.92f, 1.08f);
    float shift = mcs_dice_in(d, 0.035f, 0.06f) * scale, turn = mcs_dice_in(d, 0.08f, 0.15f);
    mcs_blob_make(&s->cor, d, s->x + s->side * shift, low + 0.045f - 0.105f * scale, long_,
                  0.113f * scale, s->side * turn, 0.035f, 5);
    float arch = mcs_dice_in(d, 0.24f, 0.30f), wide = mcs_dice_in(d, 0.035f, 0.05f);
    mcs_blob_make(&s->knob, d, s->x + s->side * 0.045f, arch, wide, mcs_dice_in(d, 0.04f, 0.06f), 0,
                  0.03f, 4);
    for (int i = 0; i < DOTS; i++) {
        float sign = i & 1 ? 1.0f : -1.0f;
        s->dot[i].x = s->x + sign * mcs_dice_in(d, 0.10f, 0.22f);
        s->dot[i].y = mcs_dice_in(d, 0.30f, 0.60f);
        s->dot[i].r = mcs_dice_in(d, 0.009f, 0.02f);
    }
}

static void to_frame(const scene *s, float x, float y, float *u, float *v)
{
    *u = (x - s->x) * s->cosine + (y - 0.5f) * s->sine;
    *v = (y - 0.5f) * s->cosine - (x - s->x) * s->sine + 0.5f;
}

static void draw_nodule(scene *s, mcs_dice *d)
{
    s->spot_level = mcs_dice_in(d, 0.46f, 0.70f);
    float r = 0;
    for (int tries = 0; tries < 100; tries++) {
        int side = mcs_dice_below(d, 2);
        float u, v;
        if (tries % 20 == 0)
            r = mcs_dice_in(d, 0.054f, 0.095f);
        float x = s->lobe[side].x + mcs_dice_in(d, -0.13f, 0.13f);
        float y = s->lobe[side].y + mcs_dice_in(d, -0.28f, 0.33f);
        to_frame(s, x, y, &u, &v);
        if (!s->lung[side] || lobe_margin(s, side, x, y, u, v) < 1.1f * r ||
            heart_margin(s, x, y, u, v) > -1.15f * r)
            continue;
        float tall = mcs_dice_in(d, 0.95f, 1.12f);
        mcs_blob_make(&s->spot, d, x, y, r, r * tall, mcs_dice_in(d, 0, 1), 0.025f, 5);
        s->nodule = true;
        return;
    }
}

/* Everything but lungs and bones. */
static float tissue(const scene *s, float x, float y, float u, float v)
{
    float across = fabsf(u), level = s->soft;
    float spine = mcs_expf(-mcs_sq(u / 0.045f));
    level = mcs_mixf(level, s->middle, mcs_smooth((0.085f - across) / 0.03f + 0.5f));
    level += 0.05f * spine * (0.6f + 0.4f * mcs_sin_turns(v / 0.062f));
    level -=
        0.10f * mcs_smooth((0.022f - across) / 0.012f + 0.5f) * mcs_smooth((0.34f - v) / 0.05f);
    level = mcs_mixf(level, s->middle + 0.03f,
                     mcs_blob_cover(&s->knob, mcs_blob_at(&s->knob, x, y), 0.02f));
    float under = cage(s, u > 0, u, v);
    level =
        mcs_mixf(level, s->belly,
                 mcs_smooth(0.5f - under / 0.02f) * mcs_smooth((0.36f - across) / 0.06f + 0.5f));
    return level;
}

/* How far inside the body: sides that widen downwards, sloping shoulders. */
static float body_margin(const scene *s, float u, float v)
{
    float side = s->wide - fabsf(u) + 0.05f * v;
    float top = v - s->shoulder - 0.36f * (fabsf(u) - 0.15f);
    return side < top || fabsf(u) < 0.15f ? side : top;
}

static float rib(float phase, float sharp)
{
    float w = mcs_sin_turns(phase);
    return mcs_smooth((w - 0.15f) / sharp) * (1.15f - 0.35f * mcs_smooth((w - 0.5f) / 0.4f));
}

static float bones(const scene *s, float u, float v)
{
    float a = fabsf(u), low = cage(s, u > 0, u, v);
    float steep = a > 0.17f ? 1.6f * mcs_sq(a - 0.17f) : 0;
    float back = rib((v - 0.22f * a - steep) / s->rib_period + s->rib_phase, 0.35f);
    float front = rib((v + 0.55f * a - 2.2f * a * a) / (1.25f * s->rib_period), 0.6f);
    float here = mcs_smooth((a - 0.05f) / 0.03f) * mcs_smooth((0.405f - a) / 0.03f) *
                 mcs_smooth((v - 0.06f) / 0.05f) * mcs_smooth(low / 0.06f + 1);
    float bone = s->ribs * here * (back + 0.45f * front * mcs_smooth((a - 0.12f) / 0.06f));
    float clavicle = fabsf(v - 0.165f + 0.18f * (a - 0.04f) - 0.02f * mcs_sin_turns(a / 0.3f));
    return bone + 1.1f * s->ribs * mcs_smooth((0.017f - clavicle) / 0.01f + 0.5f) *
                      mcs_smooth((a - 0.03f) / 0.02f) * mcs_smooth((0.38f - a) / 0.05f);
}

/* An aerated lung with its vessels. */
static float lung(const scene *s, float x, float y, float u, float v, const float *f)
{
    float away = sqrtf(mcs_sq(fabsf(u) - 0.09f) + mcs_sq(v - 0.45f));
    float hilum = mcs_expf(-away / 0.13f);
    float ridge = mcs_expf(-mcs_sq(f[VESSELS] / (0.10f + 0.35f * hilum)));
    float level = s->air * (1 + 0.20f * mcs_clampf(f[HAZE], -2, 2)) + 0.10f * hilum +
                  s->slope * (v - 0.45f) + s->vessels * ridge * (0.15f + 1.5f * hilum);
    for (int i = 0; i < DOTS; i++) {
        float far = mcs_sq(x - s->dot[i].x) + mcs_sq(y - s->dot[i].y);
        if (far < 4 * mcs_sq(s->dot[i].r))
            level += 0.22f * mcs_smooth((s->dot[i].r - sqrtf(far)) / 0.012f + 0.5f);
    }
    return level;
}

static void shade(const void *arg, float x, float y, const float *f, float *grey, uint8_t *bits)
{
    const scene *s = arg;
    float u, v, body, at = s->nodule ? mcs_blob_at(&s->spot, x, y) : 9;
    to_frame(s, x, y, &u, &v);
    body = body_margin(s, u, v);
    int side = u > 0;
    float heart = heart_margin(s, x, y, u, v), lobe = lobe_margin(s, side, x, y, u, v);
    if (lobe > -heart)
        lobe = -heart;
    float knob = (mcs_blob_at(&s->knob, x, y) - 1) * s->knob.rx;
    lobe = lobe < knob ? lobe : knob;
    lobe = lobe < body ? lobe : body;
    float level = tissue(s, x, y, u, v);
    level = mcs_mixf(level, s->heart_level, mcs_smooth(0.5f + heart / 0.016f));
    float inside = s->lung[side] ? lung(s, x, y, u, v, f) : s->opaque + 0.03f * f[HAZE];
    level = mcs_mixf(level, inside, mcs_smooth(0.5f + lobe / 0.014f));
    level += bones(s, u, v) * (1.1f - level);
    if (at < 2)
        level = mcs_mixf(level, s->spot_level + 0.3f * (level - s->air),
                         mcs_blob_cover(&s->spot, at, 0.026f));
    level = mcs_mixf(s->outside, level, mcs_smooth(body / 0.10f));
    level *= 1 + s->gain * mcs_clampf(f[COIL], -2.2f, 2.2f);
    *grey = mcs_powf(mcs_clampf(level, 0, 1), s->gamma) + s->noise * f[NOISE];
    if (heart > 0 && body > 0)
        *bits |= 1u << MCS_PHANTOM_HEART;
    if (lobe > 0 && s->lung[side])
        *bits |= 1u << MCS_PHANTOM_LUNGS;
    if (at < 1)
        *bits |= 1u << MCS_PHANTOM_NODULE;
}

void mcs_draw_xray(mcs_canvas *c)
{
    scene s = { 0 };
    draw_frame(&s, &c->dice);
    draw_organs(&s, &c->dice);
    if (mcs_dice_chance(&c->dice, 0.55f))
        draw_nodule(&s, &c->dice);
    mcs_canvas_field(c, VESSELS, 13, 13);
    mcs_canvas_field(c, HAZE, 9, 9);
    mcs_canvas_field(c, COIL, 2, 2);
    mcs_canvas_field(c, NOISE, 170, 170);
    mcs_canvas_shade(c, NOISE + 1, shade, &s);
}
