/* op_conv_direct_weights.c - gradients of weights by the direct kernels:
 *   dw[f][ch][ky][kx] += sum over images and pixels of small[f] large[ch] at that tap,
 * vectors along rows of pixels.  Every range of bands has sums of its own, which are added in
 * order; the last vector of a row meets zeros in a copy of the small side where rows are no whole
 * number of vectors. */
#include <string.h>
#include "tensor/conv_direct_internal.h"

typedef struct {
    mcs_direct_plan p;
    const float *small;
    float *sums, *rests; /* per range */
    int64_t sum_floats, rest_floats; /* rest_floats 0: the small side is read in place */
    float *dw;
} work;

/* The rows a0 ... of the small side, each filled up to whole vectors. */
static void copy_small(const work *w, const float *from, int64_t rows, float *to)
{
    const mcs_conv_geom *g = w->p.g;
    int64_t len = w->p.vecs * w->p.k->lanes;
    for (int64_t f = 0; f < g->feat; f++)
        for (int64_t r = 0; r < rows; r++, to += len) {
            memcpy(to, from + (f * g->oh + r) * g->ow, (size_t)g->ow * sizeof *to);
            memset(to + g->ow, 0, (size_t)(len - g->ow) * sizeof *to);
        }
}

static void sums_range(void *arg, int64_t begin, int64_t end)
{
    const work *w = arg;
    const mcs_direct_plan *p = &w->p;
    const mcs_conv_geom *g = p->g;
    int64_t range = begin / p->grain, taps = mcs_conv_taps(g), step = p->k->sum_taps;
    float *copy = p->copies + range * p->copy_floats, *sums = w->sums + range * w->sum_floats;
    float *rest = w->rests + range * w->rest_floats;
    memset(sums, 0, (size_t)w->sum_floats * sizeof *sums);
    for (int64_t i = begin; i < end; i++) {
        int64_t image = i / p->bands, a0 = i % p->bands * p->band;
        const float *small = w->small + (image * g->feat * g->oh + a0) * g->ow;
        mcs_direct_sums s = { .m = p->k->sum_rows,
                              .large_row = p->step * p->phases * p->len,
                              .rows = mcs_direct_min(p->band, p->total - a0),
                              .vectors = p->vecs,
                              .ld = taps };
        s.small_row = w->rest_floats ? p->vecs * p->k->lanes : g->ow;
        s.small_plane = w->rest_floats ? s.rows * s.small_row : g->oh * g->ow;
        mcs_direct_copy(p, image, a0, copy);
        if (w->rest_floats)
            copy_small(w, small, s.rows, rest);
        for (int64_t f = 0; f < g->feat; f += p->k->sum_rows)
            for (int64_t t = 0; t < taps; t += step) {
                s.m = (int)mcs_direct_min(p->k->sum_rows, g->feat - f);
                s.t = (int)mcs_direct_min(step, taps - t);
                s.small = (w->rest_floats ? rest : small) + f * s.small_plane;
                s.large = copy, s.off = p->off + t, s.part = sums + f * taps + t;
                p->k->sums(&s);
            }
    }
}

static void add_range(void *arg, int64_t begin, int64_t end)
{
    const work *w = arg;
    for (int64_t r = 0; r < w->p.ranges; r++)
        for (int64_t i = begin; i < end; i++)
            w->dw[i] += w->sums[r * w->sum_floats + i];
}

void mcs_direct_weights(mcs_ctx *c, const mcs_direct_kernels *k, const mcs_conv_geom *g,
                        const float *large, const float *small, float *dw)
{
    work w = { .p = mcs_direct_plan_down(k, g), .small = small, .dw = dw };
    w.sum_floats = g->feat * mcs_conv_taps(g);
    w.rest_floats = g->ow % k->lanes ? g->feat * w.p.band * w.p.vecs * k->lanes : 0;
    w.p.from = large;
    w.p.off = mcs_direct_offsets(c, &w.p);
    w.p.copies = mcs_direct_floats(c, w.p.ranges * w.p.copy_floats);
    w.sums = mcs_direct_floats(c, w.p.ranges * w.sum_floats);
    w.rests = mcs_direct_floats(c, w.p.ranges * w.rest_floats + 1);
    if (!w.p.off || !w.p.copies || !w.sums || !w.rests)
        return;
    mcs_parallel_for(c, w.p.items, w.p.grain, sums_range, &w);
    mcs_parallel_for(c, w.sum_floats, mcs_grain(w.p.ranges), add_range, &w);
}
