/* op_conv_direct.c - convolution by the direct kernels (conv_tile_internal.h), forward and adjoint, in terms
 * of the geometry of op_conv.c and op_conv_transpose.c.
 *
 *   down   small[f] (+)= b[f] + sum over taps of w[f][ch][ky][kx] large[ch]
 *   up     large[ch] += the adjoint.  A large pixel (py + sh a, px + sw b) meets the taps with
 *          ky = (py + ph) mod sh + sh j at the small pixel a + (py + ph) / sh - j, likewise in x: each
 *          of the sh sw phases is a convolution of stride 1 of the small side */
#include "tensor/conv_direct_internal.h"

/* ---- Down ---- */

/* Vectors q ... of the band, rows of p->vecs each. */
typedef struct {
    int64_t row_floats; /* of the copy, from one output row to the next */
    int64_t rows; /* outputs of this band */
    float *to; /* where row 0, column 0 goes; the next row at to_row, the next vector at to_vec */
    int64_t to_row, to_vec, width;
} strip;

static void tiles(const mcs_direct_plan *p, const strip *s, const float *src, mcs_direct_tile *t)
{
    int64_t count = s->rows * p->vecs;
    for (int64_t q = 0; q < count; q += t->nv) {
        t->nv = (int)mcs_direct_min(MCS_DIRECT_VECTORS, count - q);
        for (int v = 0; v < t->nv; v++) {
            int64_t r = (q + v) / p->vecs, at = (q + v) % p->vecs * p->k->lanes;
            t->src[v] = src + r * s->row_floats + at;
            t->dst[v] = s->to + r * s->to_row + at;
            t->count[v] = (int)mcs_direct_min(p->k->lanes, s->width - at);
        }
        p->k->tile(t);
    }
}

static void down_range(void *arg, int64_t begin, int64_t end)
{
    const mcs_direct_plan *p = arg;
    const mcs_conv_geom *g = p->g;
    int64_t taps = mcs_conv_taps(g), rows = p->k->rows, plane = g->oh * g->ow;
    float *copy = p->copies + begin / p->grain * p->copy_floats;
    for (int64_t i = begin; i < end; i++) {
        int64_t image = i / p->bands, a0 = i % p->bands * p->band;
        mcs_direct_copy(p, image, a0, copy);
        strip s = { .row_floats = p->step * p->phases * p->len,
                    .rows = mcs_direct_min(p->band, p->total - a0),
                    .to_row = g->ow,
                    .width = g->ow };
        for (int64_t m = 0; m < g->feat; m += rows) {
            mcs_direct_tile t = { .m = (int)mcs_direct_min(rows, g->feat - m),
                                  .plane = plane,
                                  .bias = p->bias ? p->bias + m : NULL,
                                  .w = p->w + m * taps,
                                  .off = p->off,
                                  .taps = taps };
            s.to = p->to + (image * g->feat + m) * plane + a0 * g->ow;
            tiles(p, &s, copy, &t);
        }
    }
}

/* (taps, rows) panels of `m` weights each: weight of output f and tap t is at w[f * sf + t * st]. */
static void pack(float *to, const float *w, int64_t features, int64_t rows, int64_t taps,
                 int64_t sf, const int64_t *at)
{
    for (int64_t m = 0; m < features; m += rows)
        for (int64_t t = 0; t < taps; t++)
            for (int64_t i = 0; i < rows; i++)
                *to++ = m + i < features ? w[(m + i) * sf + at[t]] : 0.0f;
}

void mcs_direct_down(mcs_ctx *c, const mcs_direct_kernels *k, const mcs_conv_geom *g,
                     const float *large, const float *w, const float *bias, bool add, float *small)
{
    mcs_direct_plan p = mcs_direct_plan_down(k, g);
    int64_t taps = mcs_conv_taps(g), padded = mcs_direct_parts(g->feat, k->rows) * k->rows;
    float *packed = mcs_direct_floats(c, padded * taps),
          *b = add ? NULL : mcs_direct_floats(c, padded);
    int64_t *at = mcs_alloc(c, (size_t)taps * sizeof *at);
    p.off = mcs_direct_offsets(c, &p);
    p.copies = mcs_direct_floats(c, p.ranges * p.copy_floats);
    if (!packed || !at || !p.off || !p.copies || (!add && !b))
        return;
    for (int64_t t = 0; t < taps; t++)
        at[t] = t;
    pack(packed, w, g->feat, k->rows, taps, taps, at);
    for (int64_t i = 0; b && i < padded; i++)
        b[i] = bias && i < g->feat ? bias[i] : 0.0f;
    p.from = large, p.to = small, p.w = packed, p.bias = b;
    mcs_parallel_for(c, p.items, p.grain, down_range, &p);
}

/* ---- Up ---- */

/* The taps of one phase: their number, offsets into the copy and places in the weights. */
typedef struct {
    int64_t taps;
    int32_t *off;
    float *w;
} phase;

typedef struct {
    mcs_direct_plan p;
    phase phase[2][2];
} up_plan;

static bool make_phase(mcs_ctx *c, const mcs_direct_plan *p, const float *w, int64_t py, int64_t px,
                       phase *h)
{
    const mcs_conv_geom *g = p->g;
    int64_t ky0 = (py + g->ph) % g->sh, kx0 = (px + g->pw) % g->sw, window = g->kh * g->kw;
    int64_t cy = p->pad_h + (py + g->ph) / g->sh, cx = p->pad_w + (px + g->pw) / g->sw;
    int64_t most = g->feat * window;
    int64_t *at = mcs_alloc(c, (size_t)most * sizeof *at);
    h->off = mcs_alloc(c, (size_t)most * sizeof *h->off);
    h->taps = 0;
    if (!at || !h->off)
        return false;
    for (int64_t f = 0; f < g->feat; f++)
        for (int64_t ky = ky0; ky < g->kh; ky += g->sh)
            for (int64_t kx = kx0; kx < g->kw; kx += g->sw) {
                int64_t y = cy - ky / g->sh, x = cx - kx / g->sw;
                h->off[h->taps] = (int32_t)((f * p->rows + y) * p->len + x);
                at[h->taps++] = f * g->ch * window + ky * g->kw + kx;
            }
    h->w = mcs_direct_floats(c, mcs_direct_parts(g->ch, p->k->rows) * p->k->rows * h->taps + 1);
    if (!h->w)
        return false;
    pack(h->w, w, g->ch, p->k->rows, h->taps, window, at);
    return true;
}

/* One row of tiles of stride 2: both phases of x, then the pixels in turn. */
static void woven_row(const up_plan *u, const phase *h, const float *src, int64_t m, float *to)
{
    const mcs_direct_plan *p = &u->p;
    const mcs_conv_geom *g = p->g;
    enum { MOST = MCS_DIRECT_ROWS * MCS_DIRECT_VECTORS * 16 };
    float even[MOST], odd[MOST];
    int64_t lanes = p->k->lanes, span = MCS_DIRECT_VECTORS * lanes,
            half = mcs_direct_parts(g->w, 2);
    static const float zero[MCS_DIRECT_ROWS] = { 0 };
    for (int64_t b0 = 0; b0 < half; b0 += span) {
        int64_t n = mcs_direct_min(span, half - b0), full = mcs_direct_min(n, g->w / 2 - b0);
        mcs_direct_tile t = { .m = (int)mcs_direct_min(p->k->rows, g->ch - m),
                              .nv = (int)mcs_direct_parts(n, lanes),
                              .plane = span,
                              .bias = zero };
        for (int px = 0; px < 2; px++) {
            t.w = h[px].w + m * h[px].taps, t.off = h[px].off, t.taps = h[px].taps;
            for (int v = 0; v < t.nv; v++) {
                t.src[v] = src + b0 + v * lanes;
                t.dst[v] = (px ? odd : even) + v * lanes;
                t.count[v] = (int)lanes;
            }
            p->k->tile(&t);
        }
        for (int i = 0; i < t.m; i++) {
            float *y = to + i * g->h * g->w + 2 * b0;
            p->k->weave(y, even + i * span, odd + i * span, full);
            if (full < n)
                y[2 * full] += even[i * span + full];
        }
    }
}

static void up_band(const up_plan *u, int64_t image, int64_t a0, const float *copy)
{
    const mcs_direct_plan *p = &u->p;
    const mcs_conv_geom *g = p->g;
    int64_t plane = g->h * g->w;
    for (int64_t py = 0; py < g->sh; py++)
        for (int64_t m = 0; m < g->ch; m += p->k->rows) {
            const phase *h = u->phase[py];
            int64_t rows = mcs_direct_min(p->band, mcs_direct_parts(g->h - py, g->sh) - a0);
            strip s = { .row_floats = p->len,
                        .rows = rows,
                        .to = p->to + (image * g->ch + m) * plane + (py + g->sh * a0) * g->w,
                        .to_row = g->sh * g->w,
                        .width = g->w };
            mcs_direct_tile t = { .m = (int)mcs_direct_min(p->k->rows, g->ch - m),
                                  .plane = plane,
                                  .w = h[0].w + m * h[0].taps,
                                  .off = h[0].off,
                                  .taps = h[0].taps };
            if (g->sw == 1)
                tiles(p, &s, copy, &t);
            else
                for (int64_t a = 0; a < rows; a++)
                    woven_row(u, h, copy + a * p->len, m, s.to + a * s.to_row);
        }
}

static void up_range(void *arg, int64_t begin, int64_t end)
{
    const up_plan *u = arg;
    const mcs_direct_plan *p = &u->p;
    float *copy = p->copies + begin / p->grain * p->copy_floats;
    for (int64_t i = begin; i < end; i++) {
        mcs_direct_copy(p, i / p->bands, i % p->bands * p->band, copy);
        up_band(u, i / p->bands, i % p->bands * p->band, copy);
    }
}

void mcs_direct_up(mcs_ctx *c, const mcs_direct_kernels *k, const mcs_conv_geom *g,
                   const float *small, const float *w, float *large)
{
    up_plan u = { .p = mcs_direct_plan_up(k, g) };
    for (int64_t py = 0; py < g->sh; py++)
        for (int64_t px = 0; px < g->sw; px++)
            if (!make_phase(c, &u.p, w, py, px, &u.phase[py][px]))
                return;
    u.p.copies = mcs_direct_floats(c, u.p.ranges * u.p.copy_floats);
    u.p.from = small, u.p.to = large;
    if (u.p.copies)
        mcs_parallel_for(c, u.p.items, u.p.grain, up_range, &u);
}
