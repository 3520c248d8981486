/* op_resize.c - resampling of pictures (N,C,H,W) to another size.
 *
 * Bilinear: output i of a row of n samples lies at s = (i + 0.5) in/out - 0.5, at least 0, or
 * with align_corners at s = i (in-1)/(out-1), and is (1-t) x[j] + t x[j+1], j = floor s, t = s-j,
 * the last sample repeated; rows likewise.  Nearest: x[floor(i in/out)].  All in float, because
 * the index of a sample must round as PyTorch's does: s with one rounding (its kernels are built
 * for fused multiply-add), which at a width of 1000 moves t by 6e-5.
 *
 * Backward is the adjoint: each output gradient is added to the samples it came from, a plane
 * at a time and in one order.
 * Must agree with torch.nn.functional.interpolate, modes "bilinear" (antialias=False) and
 * "nearest"; index arithmetic after ATen/native/UpSample.h. */
#include <math.h>
#include <string.h>
#include "tensor/op.h"

typedef enum { NEAREST, HALF_PIXEL, ALIGN_CORNERS } resize_kind;

typedef struct {
    int64_t i0, i1;
    float w0, w1;
} sample;

typedef struct {
    int64_t planes, h, w, oh, ow;
    resize_kind kind;
    const float *x, *dy;
    float *y, *dx;
    const sample *rows, *cols; /* (oh), (ow) */
} resize_work;

static sample nearest_sample(int64_t i, int64_t in, int64_t out)
{
    float scale = (float)in / (float)out;
    int64_t at = in == out ? i : out == 2 * in ? i / 2 : (int64_t)floorf((float)i * scale);
    at = at < in - 1 ? at : in - 1;
    return (sample){ at, at, 1, 0 };
}

static sample linear_sample(int64_t i, int64_t in, int64_t out, bool align)
{
    if (in == out)
        return (sample){ i, i, 1, 0 };
    float s;
    if (align) {
        float scale = out > 1 ? (float)(in - 1) / (float)(out - 1) : 0;
        s = scale * (float)i;
    } else {
        float scale = (float)in / (float)out;
        s = fmaf(scale, (float)i + 0.5f, -0.5f);
        s = s < 0 ? 0 : s;
    }
    int64_t at = (int64_t)floorf(s);
    at = at < in - 1 ? at : in - 1;
    float t = s - (float)at;
    t = t < 0 ? 0 : t > 1 ? 1 : t;
    return (sample){ at, at < in - 1 ? at + 1 : at, 1 - t, t };
}

static const sample *sample_table(mcs_ctx *c, int64_t in, int64_t out, resize_kind kind)
{
    sample *t = mcs_alloc(c, (size_t)out * sizeof *t);
    for (int64_t i = 0; t && i < out; i++)
        t[i] = kind == NEAREST ? nearest_sample(i, in, out)
                               : linear_sample(i, in, out, kind == ALIGN_CORNERS);
    return t;
}

static bool make_tables(mcs_ctx *c, resize_work *r)
{
    r->rows = sample_table(c, r->h, r->oh, r->kind);
    r->cols = sample_table(c, r->w, r->ow, r->kind);
    return r->rows && r->cols;
}

static void resize_row(const resize_work *r, const float *x, sample v, float *y)
{
    const float *above = x + v.i0 * r->w, *below = x + v.i1 * r->w;
    if (r->kind == NEAREST) {
        for (int64_t i = 0; i < r->ow; i++)
            y[i] = above[r->cols[i].i0];
        return;
    }
    for (int64_t i = 0; i < r->ow; i++) {
        sample u = r->cols[i];
        float a = above[u.i0] * u.w0 + above[u.i1] * u.w1;
        float b = below[u.i0] * u.w0 + below[u.i1] * u.w1;
        y[i] = a * v.w0 + b * v.w1;
    }
}

static void resize_rows(void *arg, int64_t begin, int64_t end)
{
    const resize_work *r = arg;
    for (int64_t i = begin; i < end; i++)
        resize_row(r, r->x + i / r->oh * r->h * r->w, r->rows[i % r->oh], r->y + i * r->ow);
}

static void spread_row(const resize_work *r, const float *dy, sample v, float *dx)
{
    float *above = dx + v.i0 * r->w, *below = dx + v.i1 * r->w;
    for (int64_t i = 0; i < r->ow; i++) {
        sample u = r->cols[i];
        if (r->kind == NEAREST) {
            above[u.i0] += dy[i];
            continue;
        }
        above[u.i0] += v.w0 * u.w0 * dy[i];
        above[u.i1] += v.w0 * u.w1 * dy[i];
        below[u.i0] += v.w1 * u.w0 * dy[i];
        below[u.i1] += v.w1 * u.w1 * dy[i];
    }
}

static void spread_planes(void *arg, int64_t begin, int64_t end)
{
    const resize_work *r = arg;
    for (int64_t p = begin; p < end; p++)
        for (int64_t i = 0; i < r->oh; i++)
            spread_row(r, r->dy + (p * r->oh + i) * r->ow, r->rows[i], r->dx + p * r->h * r->w);
}

static void resize_backward(mcs_ctx *c, mcs_node *n)
{
    resize_work r = *(const resize_work *)n->saved;
    r.dy = n->grad;
    r.dx = mcs_grad_buf(c, n->in[0]);
    if (r.dx && make_tables(c, &r))
        mcs_parallel_for(c, r.planes, mcs_grain(r.oh * r.ow), spread_planes, &r);
}

static const mcs_op op_resize_bilinear = { "resize_bilinear", resize_backward };
static const mcs_op op_resize_nearest = { "resize_nearest", resize_backward };

static mcs_tensor *resize(mcs_ctx *c, const mcs_op *op, const mcs_tensor *x, int64_t h, int64_t w,
                          resize_kind kind)
{
    if (!mcs_ok_dim(c, op->name, x, 4))
        return NULL;
    char s[96];
    if (h < 1 || w < 1 || mcs_dim(x, 2) < 1 || mcs_dim(x, 3) < 1)
        return mcs_fail(c, h < 1 || w < 1 ? MCS_EINVAL : MCS_ESHAPE,
                        "%s: from %s to height %lld, width %lld: sizes must be at least 1",
                        op->name, mcs_shape_str(x, s, sizeof s), (long long)h, (long long)w);
    mcs_tensor *y = mcs_new(c, 4, MCS_SHAPE(x->shape[0], x->shape[1], h, w));
    resize_work *saved = y ? mcs_alloc(c, sizeof *saved) : NULL;
    if (!saved)
        return NULL;
    *saved = (resize_work){ .planes = x->shape[0] * x->shape[1],
                            .h = x->shape[2],
                            .w = x->shape[3],
                            .oh = h,
                            .ow = w,
                            .kind = kind };
    mcs_scope scope = mcs_scope_begin(c);
    resize_work r = *saved;
    r.x = mcs_f32(x);
    r.y = mcs_f32(y);
    if (make_tables(c, &r))
        mcs_parallel_for(c, r.planes * h, mcs_grain(4 * w), resize_rows, &r);
    mcs_scope_end(c, scope, NULL);
    return mcs_record(c, op, y, saved, MCS_INPUTS(x));
}

mcs_tensor *mcs_resize_bilinear(mcs_ctx *c, const mcs_tensor *x, int64_t h, int64_t w,
                                bool align_corners)
{
    return resize(c, &op_resize_bilinear, x, h, w, align_corners ? ALIGN_CORNERS : HALF_PIXEL);
}

mcs_tensor *mcs_resize_nearest(mcs_ctx *c, const mcs_tensor *x, int64_t h, int64_t w)
{
    return resize(c, &op_resize_nearest, x, h, w, NEAREST);
}
