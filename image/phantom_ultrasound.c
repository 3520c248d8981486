/* phantom_ultrasound.c - breast ultrasound.
 *
 * Amplitude = echo of the tissue * transmission * speckle^p, displayed as amplitude^0.7.
 * Tissue from the top: skin, fat with bright septa, gland with fat lobules, muscle with fibrils,
 * depth.  Speckle: modulus of a complex Gaussian field on a fixed grid, finer along the beam than
 * across it; p < 1 stands for the compounding and compression of the machine.
 * A mass is hypoechoic with inner echoes, between smooth (no shadow) and ragged (bright halo,
 * shadow); a cyst is anechoic with a wall that is bright where the beam meets it at right angles
 * and enhancement behind it.  Shadows, depth and the black around a convex sector are as dark as
 * either, and so are the slits of ducts and vessels: brightness alone finds neither. */
#include "image/phantom_internal.h"

enum { WAVE, SEPTA, LOBULES, TEXTURE, GRAIN_RE, GRAIN_IM };

typedef struct {
    bool there;
    float smooth; /* 0 ragged .. 1 smooth */
    float echo, halo;
    float behind; /* transmission behind: below 1 shadow, above enhancement */
    mcs_disc at;
    mcs_blob blob;
} lesion;

typedef struct {
    float bottom[4]; /* of skin, fat, gland, muscle */
    float echo[5];
    float septa, grain, attenuation, gain;
    struct {
        float x, slope, width, top, strength;
    } shadow[3];
    int shadows, ducts;
    mcs_blob duct[3]; /* anechoic like a cyst, but slits */
    bool convex;
    float apex, opening, depth; /* of the sector: above the picture, per unit of y, radius */
    lesion mass, cyst;
} scene;

/* In view of the probe: signed distance to the border of the sector. */
static float sector_margin(const scene *s, float x, float y)
{
    if (!s->convex)
        return 1;
    float dy = y + s->apex, r = sqrtf(mcs_sq(x - 0.5f) + dy * dy);
    float side = s->opening * dy - fabsf(x - 0.5f), bottom = s->depth + s->apex - r;
    float top = r - s->apex * 1.06f;
    return side < bottom ? (side < top ? side : top) : bottom < top ? bottom : top;
}

static void draw_tissue(scene *s, mcs_dice *d)
{
    s->bottom[0] = mcs_dice_in(d, 0.02f, 0.05f);
    s->bottom[1] = mcs_dice_in(d, 0.14f, 0.30f);
    s->bottom[2] = mcs_dice_in(d, 0.55f, 0.78f);
    s->bottom[3] = s->bottom[2] + mcs_dice_in(d, 0.10f, 0.18f);
    s->echo[0] = mcs_dice_in(d, 0.7f, 0.9f);
    s->echo[1] = mcs_dice_in(d, 0.26f, 0.38f);
    s->echo[2] = mcs_dice_in(d, 0.50f, 0.68f);
    s->echo[3] = mcs_dice_in(d, 0.22f, 0.36f);
    s->echo[4] = mcs_dice_in(d, 0.02f, 0.24f);
    s->septa = mcs_dice_in(d, 0.15f, 0.6f);
    s->grain = mcs_dice_in(d, 0.32f, 0.62f);
    s->attenuation = mcs_dice_in(d, 0.1f, 0.8f);
    s->gain = mcs_dice_in(d, 0.72f, 0.98f);
    s->shadows = mcs_dice_below(d, 4);
    s->ducts = mcs_dice_below(d, 4);
    for (int i = 0; i < 3; i++) {
        float x = mcs_dice_in(d, 0.1f, 0.9f), y = mcs_dice_in(d, 0.2f, 0.8f);
        float rx = mcs_dice_in(d, 0.03f, 0.10f), ry = mcs_dice_in(d, 0.008f, 0.022f);
        mcs_blob_make(&s->duct[i], d, x, y, rx, ry, mcs_dice_in(d, -0.09f, 0.09f), 0.12f, 6);
    }
    for (int i = 0; i < 3; i++) {
        s->shadow[i].x = mcs_dice_in(d, 0, 1);
        s->shadow[i].slope = mcs_dice_in(d, -0.2f, 0.2f);
        s->shadow[i].width = mcs_dice_in(d, 0.02f, 0.12f);
        s->shadow[i].top = mcs_dice_in(d, 0.05f, 0.6f);
        s->shadow[i].strength = mcs_dice_in(d, 0.45f, 0.99f);
    }
    s->convex = mcs_dice_chance(d, 0.22f);
    s->apex = mcs_dice_in(d, 0.35f, 0.6f);
    s->opening = mcs_dice_in(d, 0.55f, 0.75f);
    s->depth = mcs_dice_in(d, 0.93f, 1.02f);
}

/* A free place for a lesion of radius r, not touching `other`. */
static bool place(const scene *s, mcs_dice *d, float r, const lesion *other, mcs_disc *at)
{
    for (int tries = 0; tries < 60; tries++) {
        float x = mcs_dice_in(d, 0.04f + r, 0.96f - r), y = mcs_dice_in(d, 0.12f + r, 0.86f - r);
        if (other->there && mcs_sq(x - other->at.x) + mcs_sq(y - other->at.y) <
                                mcs_sq(1.25f * (r + other->at.r) + 0.04f))
            continue;
        if (sector_margin(s, x, y) < 1.1f * r)
            continue;
        *at = (mcs_disc){ x, y, r };
        return true;
    }
    return false;
}

static void add_mass(scene *s, mcs_dice *d)
{
    lesion *m = &s->mass;
    float r = mcs_dice_in(d, 0.07f, 0.19f);
    if (!place(s, d, r, &s->cyst, &m->at))
        return;
    m->there = true;
    m->smooth = mcs_dice_in(d, 0, 1);
    float tall =
        mcs_dice_chance(d, 0.25f) ? mcs_dice_in(d, 1.0f, 1.25f) : mcs_dice_in(d, 0.6f, 0.95f);
    float wide = mcs_dice_in(d, 1.0f, 1.2f), turn = mcs_dice_in(d, -0.08f, 0.08f);
    mcs_blob_make(&m->blob, d, m->at.x, m->at.y, r * wide, r * tall, turn,
                  mcs_mixf(0.19f, 0.05f, m->smooth), m->smooth < 0.4f ? 10 : 6);
    m->echo = mcs_dice_in(d, 0.28f, 0.46f);
    m->halo = (1 - m->smooth) * mcs_dice_in(d, 0.1f, 0.4f);
    m->behind = m->smooth < 0.5f ? mcs_dice_in(d, 0.35f, 0.8f) : mcs_dice_in(d, 0.85f, 1.3f);
}

static void add_cyst(scene *s, mcs_dice *d)
{
    lesion *m = &s->cyst;
    float r = mcs_dice_in(d, 0.055f, 0.17f);
    if (!place(s, d, r, &s->mass, &m->at))
        return;
    m->there = true;
    float wide = mcs_dice_in(d, 0.95f, 1.2f), tall = mcs_dice_in(d, 0.8f, 1.0f);
    mcs_blob_make(&m->blob, d, m->at.x, m->at.y, r * wide, r * tall, mcs_dice_in(d, -0.1f, 0.1f),
                  0.025f, 5);
    m->echo = mcs_dice_in(d, 0.01f, 0.14f);
    m->halo = mcs_dice_in(d, 0.1f, 0.45f);
    m->behind = mcs_dice_in(d, 1.2f, 1.75f);
}

static void draw_scene(scene *s, mcs_dice *d)
{
    draw_tissue(s, d);
    bool mass = mcs_dice_chance(d, 0.76f), cyst = mcs_dice_chance(d, mass ? 0.76f : 0.66f);
    if (cyst && mcs_dice_chance(d, 0.5f)) {
        add_cyst(s, d);
        cyst = false;
    }
    if (mass)
        add_mass(s, d);
    if (cyst)
        add_cyst(s, d);
}

/* Echo of the layers at a point; f: the fields there. */
static float tissue(const scene *s, float y, const float *f)
{
    float v = y + 0.022f * f[WAVE], echo = s->echo[0];
    float ridge = mcs_expf(-mcs_sq(f[SEPTA] / 0.16f)) * mcs_smooth(0.4f + 0.5f * f[LOBULES]);
    for (int i = 0; i < 4; i++)
        echo = mcs_mixf(echo, s->echo[i + 1], mcs_smooth((v - s->bottom[i]) / 0.02f));
    float gland = mcs_smooth((v - s->bottom[1]) / 0.03f) * mcs_smooth((s->bottom[2] - v) / 0.03f);
    echo = mcs_mixf(echo, s->echo[1] * 0.9f, gland * 0.75f * mcs_smooth(f[LOBULES] * 0.9f - 0.5f));
    echo *= 1 + 0.22f * mcs_clampf(f[TEXTURE], -2, 2);
    for (int i = 0; i < 4; i++)
        echo += 0.22f * mcs_expf(-mcs_sq((v - s->bottom[i]) / 0.008f)) *
                mcs_smooth(0.6f + 0.5f * f[LOBULES]);
    return echo + s->septa * ridge * (1 - 0.4f * gland);
}

/* Transmission on the way to a point. */
static float transmission(const scene *s, float x, float y)
{
    float t = mcs_expf(-s->attenuation * y);
    for (int i = 0; i < s->shadows; i++) {
        float dx = (x - s->shadow[i].x - s->shadow[i].slope * y) / s->shadow[i].width;
        if (fabsf(dx) < 3)
            t *= 1 - s->shadow[i].strength * mcs_expf(-dx * dx) *
                         mcs_smooth((y - s->shadow[i].top) / 0.2f);
    }
    return t;
}

/* Transmission behind a lesion, 1 beside it; fades with depth. */
static float behind(const lesion *m, float x, float y, float at)
{
    if (!m->there || at < 1 || y < m->at.y)
        return 1;
    float dx = fabsf(x - m->at.x) / m->blob.rx;
    float deep = (y - m->at.y) / (m->behind > 1 ? 0.45f : 0.9f);
    float amount =
        mcs_smooth((1.0f - dx) / 0.35f) * mcs_clampf(1 - deep, 0, 1) * mcs_smooth((at - 1) / 0.1f);
    return 1 + (m->behind - 1) * amount;
}

static float with_mass(const lesion *m, float at, float echo, const float *f)
{
    float width = mcs_mixf(0.16f, 0.06f, m->smooth);
    float halo =
        m->halo * mcs_expf(-mcs_sq((at - 1.12f) / width)) * mcs_smooth(0.5f + 0.6f * f[LOBULES]);
    float inside = m->echo * 0.5f * (1 + 0.22f * mcs_clampf(f[TEXTURE] + 0.5f * f[SEPTA], -2, 2));
    float soft = mcs_mixf(0.03f, 0.012f, m->smooth);
    return mcs_mixf(echo + halo, inside, mcs_blob_cover(&m->blob, at, soft));
}

static float with_cyst(const lesion *m, float x, float y, float at, float echo)
{
    float dx = x - m->at.x, dy = y - m->at.y;
    float upright = dy * dy / (dx * dx + dy * dy + 1e-6f);
    echo += m->halo * (0.25f + 0.75f * upright) * mcs_expf(-mcs_sq((at - 1.06f) / 0.05f));
    return mcs_mixf(echo, m->echo * 0.4f, mcs_blob_cover(&m->blob, at, 0.012f));
}

static void shade(const void *arg, float x, float y, const float *f, float *grey, uint8_t *bits)
{
    const scene *s = arg;
    float mass = s->mass.there ? mcs_blob_at(&s->mass.blob, x, y) : 9;
    float cyst = s->cyst.there ? mcs_blob_at(&s->cyst.blob, x, y) : 9;
    float echo = tissue(s, y, f);
    for (int i = 0; i < s->ducts; i++)
        echo *= 1 - 0.93f * mcs_blob_cover(&s->duct[i], mcs_blob_at(&s->duct[i], x, y), 0.012f);
    if (mass < 2)
        echo = with_mass(&s->mass, mass, echo, f);
    if (cyst < 2)
        echo = with_cyst(&s->cyst, x, y, cyst, echo);
    echo *= transmission(s, x, y) * behind(&s->mass, x, y, mass) * behind(&s->cyst, x, y, cyst);
    float power = 0.5f * (f[GRAIN_RE] * f[GRAIN_RE] + f[GRAIN_IM] * f[GRAIN_IM]) + 0.14f;
    float amplitude = (echo < 1e-4f ? 1e-4f : echo) * s->gain;
    *grey = mcs_expf(0.7f * (mcs_logf(amplitude) + 0.5f * s->grain * mcs_logf(power)));
    *grey *= mcs_smooth(sector_margin(s, x, y) / 0.012f + 0.5f);
    if (mass < 1)
        *bits |= 1u << MCS_PHANTOM_MASS;
    if (cyst < 1)
        *bits |= 1u << MCS_PHANTOM_CYST;
}

void mcs_draw_ultrasound(mcs_canvas *c)
{
    scene s = { 0 };
    draw_scene(&s, &c->dice);
    mcs_canvas_field(c, WAVE, 3, 2);
    mcs_canvas_field(c, SEPTA, 5, 22);
    mcs_canvas_field(c, LOBULES, 7, 12);
    mcs_canvas_field(c, TEXTURE, 14, 44);
    mcs_canvas_field(c, GRAIN_RE, 80, 150);
    mcs_canvas_field(c, GRAIN_IM, 80, 150);
    mcs_canvas_shade(c, GRAIN_IM + 1, shade, &s);
}
