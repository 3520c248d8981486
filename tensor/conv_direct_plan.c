/* conv_direct_plan.c - see conv_direct_internal.h; and the choice of the kernels by feature bits. */
#include <string.h>
#include "tensor/conv_direct_internal.h"

enum { RANGES = 16, BAND_FLOATS = 48 * 1024, BAND_MOST = 256 * 1024, WEIGHTS_MOST = 1 << 22 };

#if defined(__x86_64__)
const mcs_direct_kernels *mcs_direct_at(int i)
{
    if (i == 0 && __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
        return &mcs_direct_avx2;
    if (i == 1 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
        __builtin_cpu_supports("avx512vl"))
        return &mcs_direct_avx512;
    return NULL;
}
#else
const mcs_direct_kernels *mcs_direct_at(int i)
{
    return i < 0 ? mcs_direct_at(0) : NULL;
}
#endif

const mcs_direct_kernels *mcs_direct_get(void)
{
    const mcs_direct_kernels *k = mcs_direct_at(1);
    return k ? k : mcs_direct_at(0);
}

/* ---- The cut ---- */

/* Completes the cut from ch, h, wide, phases, len, total, step and the rows under one output. */
static void cut(mcs_direct_plan *p, int64_t under)
{
    int64_t row = p->ch * p->phases * p->len;
    int64_t images = p->g->n, shared = mcs_direct_parts(p->total * images, 2 * RANGES);
    p->band = BAND_FLOATS / (row * p->step);
    if (p->band > shared)
        p->band = shared;
    if (p->band < 4)
        p->band = 4;
    if (p->band > p->total)
        p->band = p->total;
    p->bands = mcs_direct_parts(p->total, p->band);
    p->band = mcs_direct_parts(p->total, p->bands);
    p->rows = (p->band - 1) * p->step + under;
    p->copy_floats = row * p->rows + p->k->lanes;
    p->items = images * p->bands;
    p->grain = mcs_direct_parts(p->items, RANGES);
    p->ranges = mcs_direct_parts(p->items, p->grain);
}

mcs_direct_plan mcs_direct_plan_down(const mcs_direct_kernels *k, const mcs_conv_geom *g)
{
    mcs_direct_plan p = { .k = k, .g = g, .ch = g->ch, .h = g->h, .wide = g->w, .phases = g->sw };
    p.vecs = mcs_direct_parts(g->ow, k->lanes);
    p.len = p.vecs * k->lanes + (g->kw - 1) / g->sw;
    p.pad_h = g->ph, p.pad_w = g->pw;
    p.total = g->oh, p.step = g->sh;
    cut(&p, g->kh);
    return p;
}

mcs_direct_plan mcs_direct_plan_up(const mcs_direct_kernels *k, const mcs_conv_geom *g)
{
    mcs_direct_plan p = { .k = k, .g = g, .ch = g->feat, .h = g->oh, .wide = g->ow, .phases = 1 };
    p.vecs = mcs_direct_parts(mcs_direct_parts(g->w, g->sw), k->lanes);
    p.pad_h = (g->kh - 1) / g->sh, p.pad_w = (g->kw - 1) / g->sw;
    p.len = p.vecs * k->lanes + p.pad_w + (g->sw - 1 + g->pw) / g->sw;
    p.total = mcs_direct_parts(g->h, g->sh), p.step = 1;
    cut(&p, 1 + p.pad_h + (g->sh - 1 + g->ph) / g->sh);
    return p;
}

static bool suits(const mcs_direct_plan *p, int64_t width)
{
    return 4 * width >= 3 * p->vecs * p->k->lanes && p->copy_floats <= BAND_MOST;
}

bool mcs_direct_suits(const mcs_direct_kernels *k, const mcs_conv_geom *g)
{
    if (!k || g->groups != 1 || g->kh * g->kw == 1 || g->kh > 7 || g->kw > 7 || g->sh > 2 ||
        g->sw > 2 || g->ph >= g->kh || g->pw >= g->kw || g->feat * mcs_conv_taps(g) > WEIGHTS_MOST)
        return false;
    mcs_direct_plan down = mcs_direct_plan_down(k, g), up = mcs_direct_plan_up(k, g);
    return suits(&down, g->ow) && suits(&up, mcs_direct_parts(g->w, g->sw));
}

/* The sums of a range must stay small beside the caches; wide layers make good products. */
bool mcs_direct_suits_weights(const mcs_direct_kernels *k, const mcs_conv_geom *g)
{
    return g->feat * mcs_conv_taps(g) <= 1 << 16 && mcs_direct_suits(k, g);
}

/* ---- Copies ---- */

/* Row y of plane ch into its phases. */
static void copy_row(const mcs_direct_plan *p, const float *x, float *to)
{
    int64_t n = p->phases;
    for (int64_t f = 0; f < n; f++, to += p->len) {
        int64_t first = p->pad_w > f ? mcs_direct_parts(p->pad_w - f, n)
                                     : 0; /* column first*n + f - pad_w >= 0 */
        int64_t end = mcs_direct_min(p->len, mcs_direct_parts(p->wide + p->pad_w - f, n));
        if (end < first)
            end = first;
        memset(to, 0, (size_t)first * sizeof *to);
        const float *from = x + first * n + f - p->pad_w;
        if (n == 1)
            memcpy(to + first, from, (size_t)(end - first) * sizeof *to);
        else
            for (int64_t i = 0; i < end - first; i++)
                to[first + i] = from[2 * i];
        memset(to + end, 0, (size_t)(p->len - end) * sizeof *to);
    }
}

/* The rows that the outputs a0 ... of an image need. */
void mcs_direct_copy(const mcs_direct_plan *p, int64_t image, int64_t a0, float *to)
{
    const float *x = p->from + image * p->ch * p->h * p->wide;
    int64_t y0 = a0 * p->step - p->pad_h, row = p->phases * p->len;
    for (int64_t ch = 0; ch < p->ch; ch++, x += p->h * p->wide)
        for (int64_t r = 0; r < p->rows; r++, to += row) {
            if (y0 + r >= 0 && y0 + r < p->h)
                copy_row(p, x + (y0 + r) * p->wide, to);
            else
                memset(to, 0, (size_t)row * sizeof *to);
        }
    memset(to, 0, (size_t)p->k->lanes * sizeof *to);
}

/* Offsets of the taps (ch, ky, kx) into a copy of the large side. */
int32_t *mcs_direct_offsets(mcs_ctx *c, const mcs_direct_plan *p)
{
    const mcs_conv_geom *g = p->g;
    int64_t n = mcs_conv_taps(g);
    int32_t *off = mcs_alloc(c, (size_t)n * sizeof *off);
    for (int64_t t = 0; off && t < n; t++) {
        int64_t kx = t % g->kw, ky = t / g->kw % g->kh, ch = t / (g->kw * g->kh);
        off[t] = (int32_t)(((ch * p->rows + ky) * p->phases + kx % g->sw) * p->len + kx / g->sw);
    }
    return off;
}
