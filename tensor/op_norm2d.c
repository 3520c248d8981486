/* op_norm2d.c - SAM's LayerNorm2d: x (N,C,H,W) normalised over C at each pixel.
 *
 *   h = (x - mean) r, r = 1 / sqrt(var + eps), y = h w[c] + b[c]
 *   g = dy w[c];  dx = r (g - mean(g) - h mean(g h));  dw[c] = sum dy h;  db[c] = sum dy
 *
 * Channels are H*W apart, so PIXELS neighbouring pixels go through every pass side by side, all
 * their channels in cache.  dw and db: one channel belongs to one range.
 * Must agree with segment_anything/modeling/common.py LayerNorm2d. */
#include <math.h>
#include <string.h>
#include "tensor/op.h"
#include "tensor/vec.h"

enum { IN_X, IN_WEIGHT, IN_BIAS };
enum { PIXELS = 64 };

typedef struct {
    const mcs_vec *vec;
    const float *x, *w, *b, *dy; /* (N,C,HW), (C), (C), (N,C,HW) */
    float *out; /* y or dx */
    float *mean, *r; /* (N,HW); r NULL: not kept */
    float *dw, *db; /* (C) */
    int64_t images, channels, area, strips; /* strips of PIXELS per image */
    float eps;
} norm2d_args;

/* A strip: where its pixels start in channel 0, their index in the statistics, their number. */
typedef struct {
    int64_t at, pixel, n;
} strip;

static strip strip_of(const norm2d_args *a, int64_t i)
{
    int64_t image = i / a->strips, p = i % a->strips * PIXELS;
    int64_t n = a->area - p < PIXELS ? a->area - p : PIXELS;
    return (strip){ image * a->channels * a->area + p, image * a->area + p, n };
}

static void moments(const norm2d_args *a, strip s, float *mean, float *r)
{
    float d[PIXELS], var[PIXELS] = { 0 };
    memset(mean, 0, PIXELS * sizeof *mean);
    for (int64_t c = 0; c < a->channels; c++)
        a->vec->add(mean, mean, a->x + s.at + c * a->area, s.n);
    a->vec->affine(mean, mean, 1.0f / (float)a->channels, 0.0f, s.n);
    for (int64_t c = 0; c < a->channels; c++) {
        a->vec->sub(d, a->x + s.at + c * a->area, mean, s.n);
        a->vec->mul_acc(var, d, d, s.n);
    }
    for (int64_t i = 0; i < s.n; i++)
        r[i] = 1.0f / sqrtf(var[i] / (float)a->channels + a->eps);
}

static void norm2d_range(void *arg, int64_t begin, int64_t end)
{
    const norm2d_args *a = arg;
    for (int64_t i = begin; i < end; i++) {
        strip s = strip_of(a, i);
        float mean[PIXELS], r[PIXELS];
        moments(a, s, mean, r);
        for (int64_t c = 0; c < a->channels; c++) {
            float *y = a->out + s.at + c * a->area;
            a->vec->sub(y, a->x + s.at + c * a->area, mean, s.n);
            a->vec->mul(y, y, r, s.n);
            a->vec->affine(y, y, a->w[c], a->b[c], s.n);
        }
        if (a->r) {
            memcpy(a->mean + s.pixel, mean, (size_t)s.n * sizeof *mean);
            memcpy(a->r + s.pixel, r, (size_t)s.n * sizeof *r);
        }
    }
}

/* h of channel c in the strip. */
static void normalised(const norm2d_args *a, strip s, int64_t c, float *h)
{
    a->vec->sub(h, a->x + s.at + c * a->area, a->mean + s.pixel, s.n);
    a->vec->mul(h, h, a->r + s.pixel, s.n);
}

static void norm2d_grad_range(void *arg, int64_t begin, int64_t end)
{
    const norm2d_args *a = arg;
    const mcs_vec *v = a->vec;
    for (int64_t i = begin; i < end; i++) {
        strip s = strip_of(a, i);
        float g[PIXELS], h[PIXELS], g_mean[PIXELS] = { 0 }, gh_mean[PIXELS] = { 0 };
        for (int64_t c = 0; c < a->channels; c++) {
            normalised(a, s, c, h);
            v->affine(g, a->dy + s.at + c * a->area, a->w[c], 0.0f, s.n);
            v->add(g_mean, g_mean, g, s.n);
            v->mul_acc(gh_mean, g, h, s.n);
        }
        v->affine(g_mean, g_mean, 1.0f / (float)a->channels, 0.0f, s.n);
        v->affine(gh_mean, gh_mean, 1.0f / (float)a->channels, 0.0f, s.n);
        for (int64_t c = 0; c < a->channels; c++) {
            normalised(a, s, c, h);
            v->affine(g, a->dy + s.at + c * a->area, a->w[c], 0.0f, s.n);
            v->sub(g, g, g_mean, s.n);
            v->mul(h, h, gh_mean, s.n);
            v->sub(g, g, h, s.n);
            v->mul_acc(a->out + s.at + c * a->area, g, a->r + s.pixel, s.n);
        }
    }
}

/* Items are channels. */
static void param_grad_range(void *arg, int64_t begin, int64_t end)
{
    const norm2d_args *a = arg;
    for (int64_t c = begin; c < end; c++) {
        double dw = 0.0, db = 0.0;
        for (int64_t i = 0; i < a->images * a->strips; i++) {
            strip s = strip_of(a, i);
            float h[PIXELS];
            const float *dy = a->dy + s.at + c * a->area;
            normalised(a, s, c, h);
            dw += (double)a->vec->dot(dy, h, s.n);
            db += (double)a->vec->sum(dy, s.n);
        }
        if (a->dw)
            a->dw[c] += (float)dw;
        if (a->db)
            a->db[c] += (float)db;
    }
}

static norm2d_args args_of(const mcs_tensor *x, const mcs_tensor *w, float *stats)
{
    norm2d_args a = { .vec = mcs_vec_get(),
                      .x = mcs_f32(x),
                      .w = mcs_f32(w),
                      .images = x->shape[0],
                      .channels = x->shape[1],
                      .area = x->shape[2] * x->shape[3] };
    a.strips = mcs_range_count(a.area, PIXELS);
    if (stats) {
        a.mean = stats;
        a.r = stats + a.images * a.area;
    }
    return a;
}

static void layer_norm_2d_backward(mcs_ctx *c, mcs_node *n)
{
    const mcs_tensor *x = n->in[IN_X], *w = n->in[IN_WEIGHT];
    norm2d_args a = args_of(x, w, n->saved);
    a.dy = n->grad;
    a.out = mcs_grad_buf(c, x);
    a.dw = mcs_grad_buf(c, w);
    a.db = mcs_grad_buf(c, n->in[IN_BIAS]);
    if (a.out)
        mcs_parallel_for(c, a.images * a.strips, mcs_grain(8 * a.channels * PIXELS),
                         norm2d_grad_range, &a);
    if (a.dw || a.db)
        mcs_parallel_for(c, a.channels, mcs_grain(4 * a.images * a.area), param_grad_range, &a);
}

static const mcs_op op_layer_norm_2d = { "layer_norm_2d", layer_norm_2d_backward };

static bool channel_vector(mcs_ctx *c, const char *what, const mcs_tensor *p, int64_t channels)
{
    if (!mcs_ok_dim(c, "layer_norm_2d", p, 1))
        return false;
    if (p->shape[0] == channels)
        return true;
    mcs_fail(c, MCS_ESHAPE, "layer_norm_2d: %s has %lld values, the input has %lld channels", what,
             (long long)p->shape[0], (long long)channels);
    return false;
}

mcs_tensor *mcs_layer_norm_2d(mcs_ctx *c, const mcs_tensor *x, const mcs_tensor *weight,
                              const mcs_tensor *bias, float eps)
{
    if (!mcs_ok_dim(c, "layer_norm_2d", x, 4) ||
        !channel_vector(c, "weight", weight, x->shape[1]) ||
        !channel_vector(c, "bias", bias, x->shape[1]))
        return NULL;
    float *stats = NULL;
    size_t pixels = (size_t)(x->shape[0] * x->shape[2] * x->shape[3]);
    mcs_tensor *y = mcs_new_like(c, x);
    if (mcs_will_record(c, MCS_INPUTS(x, weight, bias)))
        stats = mcs_alloc(c, 2 * pixels * sizeof *stats);
    if (!y || mcs_ctx_status(c) != MCS_OK)
        return NULL;
    norm2d_args a = args_of(x, weight, stats);
    a.b = mcs_f32(bias);
    a.out = mcs_f32(y);
    a.eps = eps;
    mcs_parallel_for(c, a.images * a.strips, mcs_grain(8 * a.channels * PIXELS), norm2d_range, &a);
    return mcs_record(c, &op_layer_norm_2d, y, stats, MCS_INPUTS(x, weight, bias));
}
