/* phantom_internal.h - what the files of the phantoms share; not installed.
 *
 * Lengths are in widths of the picture and angles in turns.  Everything is computed with IEEE
 * single precision + - * / sqrt in an order that the source fixes: the same bits everywhere. */
#ifndef MCS_PHANTOM_INTERNAL_H
#define MCS_PHANTOM_INTERNAL_H
#ifdef __clang__
#pragma STDC FP_CONTRACT OFF /* gcc -std=c11 does not contract */
#endif
#include <math.h>
#include <string.h>
#include "image/phantom.h"

/* ---- Random numbers, never two in one expression, whose order C leaves open: SplitMix64 (Steele, Lea, Flood 2014) used as a counter-based generator: the
 * n-th number is a hash of key + n * odd constant. ---- */

typedef struct {
    uint64_t key, count;
} mcs_dice;

static inline uint64_t mcs_mix(uint64_t z)
{
    z = (z ^ (z >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94D049BB133111EB);
    return z ^ (z >> 31);
}
/* Independent streams for different (seed, index, stream). */
static inline mcs_dice mcs_dice_of(uint64_t seed, uint64_t index, uint64_t stream)
{
    uint64_t k = mcs_mix(seed + UINT64_C(0x9E3779B97F4A7C15));
    k = mcs_mix(k ^ (index * UINT64_C(0xD1342543DE82EF95) + 1));
    return (mcs_dice){ mcs_mix(k ^ (stream * UINT64_C(0xAF251AF3B0F025B5) + 7)), 0 };
}
static inline uint64_t mcs_dice_next(mcs_dice *d)
{
    return mcs_mix(d->key + ++d->count * UINT64_C(0x9E3779B97F4A7C15));
}
static inline float mcs_dice_in(mcs_dice *d, float lo, float hi) /* uniform, [lo, hi) */
{
    return lo + (hi - lo) * ((float)(mcs_dice_next(d) >> 40) * 0x1p-24f);
}
static inline int mcs_dice_below(mcs_dice *d, int n)
{
    return (int)(((mcs_dice_next(d) >> 33) * (uint64_t)n) >> 31);
}
static inline bool mcs_dice_chance(mcs_dice *d, float p)
{
    return mcs_dice_in(d, 0, 1) < p;
}
/* Mean 0, variance 1: the sum of four 16-bit numbers, close to normal up to 3 sigma. */
static inline float mcs_dice_normal(mcs_dice *d)
{
    uint64_t z = mcs_dice_next(d);
    int sum = (int)(z & 65535) + (int)(z >> 16 & 65535) + (int)(z >> 32 & 65535) + (int)(z >> 48);
    return (float)(sum - 131070) * 2.6428968e-5f; /* sqrt(3) / 65536 */
}

/* ---- Functions whose bits do not depend on the C library ---- */

static inline float mcs_clampf(float v, float lo, float hi)
{
    return v < lo ? lo : v > hi ? hi : v;
}
static inline float mcs_mixf(float a, float b, float t) /* a at t = 0, b at t = 1 */
{
    return a + (b - a) * t;
}
static inline float mcs_smooth(float t) /* 0 below 0, 1 above 1, 3t^2 - 2t^3 between */
{
    t = mcs_clampf(t, 0, 1);
    return t * t * (3 - 2 * t);
}
/* sin(2 pi t), |t| < 2^20, error 4e-6: Taylor's series on a quarter turn. */
static inline float mcs_sin_turns(float t)
{
    int whole = (int)(t + (t < 0 ? -0.5f : 0.5f));
    t -= (float)whole;
    t = t > 0.25f ? 0.5f - t : t < -0.25f ? -0.5f - t : t;
    float x = t * 6.2831853f, s = x * x;
    return x * (1 + s * (-1 / 6.0f + s * (1 / 120.0f + s * (-1 / 5040.0f + s * (1 / 362880.0f)))));
}
static inline float mcs_cos_turns(float t)
{
    return mcs_sin_turns(t + 0.25f);
}
/* exp(x), 0 below -80; relative error 1e-5: 2^n times a polynomial on |f| <= ln 2 / 2. */
static inline float mcs_expf(float x)
{
    if (x < -80)
        return 0;
    x = x > 80 ? 80 : x;
    float y = x * 1.44269504f;
    int n = (int)(y + (y < 0 ? -0.5f : 0.5f));
    float f = x - (float)n * 0.69314718f;
    float p = 1 + f * (1 + f * (0.5f + f * (1 / 6.0f + f * (1 / 24.0f + f * (1 / 120.0f)))));
    uint32_t bits = (uint32_t)(n + 127) << 23;
    float scale;
    memcpy(&scale, &bits, sizeof scale);
    return p * scale;
}
/* ln(x) of a normal positive x; error 2e-6: mantissa in [0.7, 1.41), atanh series. */
static inline float mcs_logf(float x)
{
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    int n = (int)((bits + (0x3F800000u - 0x3F3504F3u)) >> 23) - 127;
    bits -= (uint32_t)n << 23;
    memcpy(&x, &bits, sizeof x);
    float z = (x - 1) / (x + 1), s = z * z;
    return (float)n * 0.69314718f + 2 * z * (1 + s * (1 / 3.0f + s * (0.2f + s * (1 / 7.0f))));
}
/* x^p of x >= 0. */
static inline float mcs_powf(float x, float p)
{
    return x < 1e-30f ? 0 : mcs_expf(p * mcs_logf(x));
}
/* Direction of (x, y) in turns, [-0.5, 0.5]; error 1e-4. */
static inline float mcs_atan2_turns(float y, float x)
{
    float ax = fabsf(x), ay = fabsf(y), big = ax > ay ? ax : ay, small = ax > ay ? ay : ax;
    float t = big > 0 ? small / big : 0, s = t * t;
    float a = 0.159134f + s * (-0.0525682f + s * (0.0286703f + s * (-0.0135494f + s * 0.003316f)));
    a *= t;
    a = ay > ax ? 0.25f - a : a;
    a = x < 0 ? 0.5f - a : a;
    return y < 0 ? -a : a;
}

/* ---- Outlines and noise (phantom_shapes.c) ---- */

/* A star-shaped outline: an ellipse turned by some angle, whose radius is modulated along the
 * circumference.  Read-only once made. */
enum { MCS_BLOB_ANGLES = 256 };
typedef struct {
    float x, y, rx, ry, cosine, sine, reach;
    float radius[MCS_BLOB_ANGLES + 1];
} mcs_blob;

/* radius(t) = 1 + irregular * sum over k = 2..top of N(0,1) k^-0.7 cos(k t + phase). */
void mcs_blob_make(mcs_blob *b, mcs_dice *d, float x, float y, float rx, float ry, float turn,
                   float irregular, int top);
/* 0 at the centre, 1 on the outline, growing outwards along each ray; 9 when far outside. */
float mcs_blob_at(const mcs_blob *b, float x, float y);
/* How much of a small spot of diameter `soft` lies inside: 1 well inside, 0 well outside. */
static inline float mcs_blob_cover(const mcs_blob *b, float at, float soft)
{
    return mcs_smooth(0.5f + (1 - at) * (b->rx < b->ry ? b->rx : b->ry) / soft);
}
static inline float mcs_sq(float v)
{
    return v * v;
}

/* Ellipses, circles or blobs that must not touch: radius and centre. */
typedef struct {
    float x, y, r;
} mcs_disc;

enum { MCS_PHANTOM_PLANES = 8 };
/* What a scene is drawn on. */
typedef struct {
    int size;
    mcs_dice dice;
    float *grey; /* (size, size), 0..1; clamped later */
    uint8_t *bits; /* (size, size), zeroed */
    float *plane[MCS_PHANTOM_PLANES]; /* (size, size) each, for fields */
    float *work; /* MCS_FIELD_WORK(size) floats */
} mcs_canvas;

enum { MCS_FIELD_NODES = 200 }; /* at most, along a side */
#define MCS_FIELD_WORK(size)                                                                       \
    ((size_t)(MCS_FIELD_NODES + 3) * (size_t)(MCS_FIELD_NODES + 3 + (size)) + 5 * (size_t)(size))

/* Smooth noise with nx by ny bumps over the picture, mean 0 and variance 1 over the picture (both
 * taken out, not only expected): cubic B-splines on a grid of normal numbers. */
void mcs_canvas_field(mcs_canvas *c, int plane, int nx, int ny);

/* What a scene looks like at (x, y): grey, and the bits of structures that are there.  f: the values
 * of the fields. */
typedef void mcs_shade(const void *scene, float x, float y, const float *f, float *grey,
                       uint8_t *bits);
/* Every pixel of c->grey and c->bits, at its centre, with planes [0, fields). */
void mcs_canvas_shade(mcs_canvas *c, int fields, mcs_shade *shade, const void *scene);

/* The three kinds: draw c->grey and c->bits. */
void mcs_draw_ultrasound(mcs_canvas *c);
void mcs_draw_mri(mcs_canvas *c);
void mcs_draw_xray(mcs_canvas *c);

/* Memory for a picture of that size; grey and bits are then undefined.  MCS_EINVAL, MCS_ENOMEM. */
mcs_status mcs_phantom_reserve(mcs_phantom *p, int size, mcs_error *e) MCS_MUST_CHECK;
/* Measures grey and bits; `whole` counts the structure's pixels in the whole phantom, for
 * `visible`; NULL: what is here is all. */
void mcs_phantom_measure(mcs_phantom *p, const int64_t *whole);
#endif
