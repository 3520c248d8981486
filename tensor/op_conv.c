/* op_conv.c - 2-D convolution.
 *
 *   y[n][o] = b[o] + sum over the channels of o's group of x[n][ch] (*) w[o][ch]   (correlation)
 *   per image and group, with the column matrix col of x (conv_internal.h):
 *   Y = W col + b,   dW += dY col^T,   dcol = W^T dY, dx += col2im(dcol),   db += sum of dY
 *
 * Columns are made block by block (at most 8 MB).  A 1x1 convolution needs none: the picture is
 * its own column matrix, and all images go in one batched product.  Depthwise convolution has
 * direct loops of its own, and thin layers those of op_conv_direct.c where the processor has them.
 * Images and blocks follow each other, so sums have one order.
 * Must agree with torch.nn.functional.conv2d. */
#include <string.h>
#include "tensor/conv_tile_internal.h"
#include "tensor/conv_internal.h"
#include "tensor/gemm.h"

enum { MOST_OPTION = 1 << 20 }; /* larger strides and paddings could overflow sizes */

bool mcs_conv_options(mcs_ctx *c, const char *op, mcs_conv_opts *o, int64_t channels)
{
    const int value[] = { o->stride_h, o->stride_w, o->pad_h, o->pad_w, o->groups };
    for (int i = 0; i < 5; i++)
        if (value[i] < 0 || value[i] > MOST_OPTION) {
            mcs_fail(c, MCS_EINVAL,
                     "%s: stride (%d, %d), padding (%d, %d), groups %d: expected 0 to %d", op,
                     o->stride_h, o->stride_w, o->pad_h, o->pad_w, o->groups, MOST_OPTION);
            return false;
        }
    o->stride_h = o->stride_h ? o->stride_h : 1;
    o->stride_w = o->stride_w ? o->stride_w : 1;
    o->groups = o->groups ? o->groups : 1;
    if (channels % o->groups == 0)
        return true;
    mcs_fail(c, MCS_ESHAPE, "%s: %lld channels cannot be split into %d groups", op,
             (long long)channels, o->groups);
    return false;
}

/* ---- Geometry ---- */

static int64_t out_size(int64_t in, int64_t kernel, int64_t stride, int64_t pad)
{
    return in + 2 * pad < kernel ? 0 : (in + 2 * pad - kernel) / stride + 1;
}

static bool conv_geometry(mcs_ctx *c, const mcs_tensor *x, const mcs_tensor *w,
                          const mcs_tensor *bias, mcs_conv_opts o, mcs_conv_geom *g)
{
    if (!mcs_ok_dim(c, "conv2d", x, 4) || !mcs_ok_dim(c, "conv2d", w, 4) ||
        (bias && !mcs_ok_dim(c, "conv2d", bias, 1)) ||
        !mcs_conv_options(c, "conv2d", &o, w->shape[0]))
        return false;
    char xs[96], ws[96];
    mcs_shape_str(x, xs, sizeof xs), mcs_shape_str(w, ws, sizeof ws);
    if (x->shape[1] != w->shape[1] * o.groups) {
        mcs_fail(c, MCS_ESHAPE,
                 "conv2d: input %s has %lld channels, weight %s in %d groups expects %lld", xs,
                 (long long)x->shape[1], ws, o.groups, (long long)(w->shape[1] * o.groups));
        return false;
    }
    if (!mcs_numel(x) || !mcs_numel(w)) {
        mcs_fail(c, MCS_ESHAPE, "conv2d: input %s or weight %s is empty", xs, ws);
        return false;
    }
    if (bias && bias->shape[0] != w->shape[0]) {
        mcs_fail(c, MCS_ESHAPE, "conv2d: bias has %lld values, weight %s has %lld outputs",
                 (long long)bias->shape[0], ws, (long long)w->shape[0]);
        return false;
    }
    *g = (mcs_conv_geom){ .n = x->shape[0],
                          .groups = o.groups,
                          .ch = w->shape[1],
                          .h = x->shape[2],
                          .w = x->shape[3],
                          .feat = w->shape[0] / o.groups,
                          .kh = w->shape[2],
                          .kw = w->shape[3],
                          .sh = o.stride_h,
                          .sw = o.stride_w,
                          .ph = o.pad_h,
                          .pw = o.pad_w };
    g->oh = out_size(g->h, g->kh, g->sh, g->ph);
    g->ow = out_size(g->w, g->kw, g->sw, g->pw);
    if (g->oh > 0 && g->ow > 0)
        return true;
    mcs_fail(c, MCS_ESHAPE, "conv2d: input %s with padding (%d, %d) is smaller than weight %s", xs,
             o.pad_h, o.pad_w, ws);
    return false;
}

static bool is_depthwise(const mcs_conv_geom *g)
{
    return g->ch == 1 && g->groups > 1;
}

/* ---- Forward ---- */

static void pointwise_forward(mcs_ctx *c, const mcs_conv_geom *g, const float *x, const float *w,
                              const float *bias, float *y)
{
    int64_t p = mcs_conv_pixels(g);
    for (int64_t i = 0; i < g->groups; i++) {
        mcs_gemm_args a = mcs_gemm_nn(g->feat, p, g->ch, w + i * g->feat * g->ch, g->ch,
                                      x + i * g->ch * p, p, 0, y + i * g->feat * p, p);
        a.batch = g->n;
        a.stride_b = g->groups * g->ch * p;
        a.stride_c = g->groups * g->feat * p;
        a.row_bias = bias ? bias + i * g->feat : NULL;
        mcs_gemm(c, &a);
    }
}

/* One image and group: x (ch,h,w) -> y (feat, pixels). */
static void columns_forward(mcs_ctx *c, const mcs_conv_geom *g, const float *x, const float *w,
                            const float *bias, float *y, float *col)
{
    int64_t p = mcs_conv_pixels(g), taps = mcs_conv_taps(g), block = mcs_conv_block(g);
    for (int64_t p0 = 0; p0 < p; p0 += block) {
        int64_t count = p - p0 < block ? p - p0 : block;
        mcs_im2col(c, g, x, p0, count, col);
        mcs_gemm_args a = mcs_gemm_nn(g->feat, count, taps, w, taps, col, count, 0, y + p0, p);
        a.row_bias = bias;
        mcs_gemm(c, &a);
    }
}

static void conv_forward(mcs_ctx *c, const mcs_conv_geom *g, const float *x, const float *w,
                         const float *bias, float *y)
{
    if (is_depthwise(g)) {
        mcs_depthwise_forward(c, g, x, w, bias, y);
        return;
    }
    if (mcs_conv_pointwise(g)) {
        pointwise_forward(c, g, x, w, bias, y);
        return;
    }
    mcs_scope s = mcs_scope_begin(c);
    const mcs_direct_kernels *k = mcs_direct_get();
    if (mcs_direct_suits(k, g)) {
        mcs_direct_down(c, k, g, x, w, bias, false, y);
        mcs_scope_end(c, s, NULL);
        return;
    }
    int64_t taps = mcs_conv_taps(g);
    float *col = mcs_alloc(c, (size_t)(taps * mcs_conv_block(g)) * sizeof *col);
    for (int64_t i = 0; col && i < g->n * g->groups; i++) {
        int64_t f0 = i % g->groups * g->feat;
        columns_forward(c, g, x + i * g->ch * g->h * g->w, w + f0 * taps, bias ? bias + f0 : NULL,
                        y + i * g->feat * mcs_conv_pixels(g), col);
    }
    mcs_scope_end(c, s, NULL);
}

/* ---- Backward ---- */

typedef struct {
    const float *dy;
    float *db;
    int64_t n, features, pixels;
} bias_work;

static void bias_rows(void *arg, int64_t begin, int64_t end)
{
    const bias_work *b = arg;
    for (int64_t f = begin; f < end; f++) {
        float total = 0;
        for (int64_t i = 0; i < b->n; i++) {
            const float *dy = b->dy + (i * b->features + f) * b->pixels;
            float sum[16] = { 0 }; /* as many as a vector holds; one order for any machine */
            int64_t p = 0;
            for (; p + 16 <= b->pixels; p += 16)
                for (int j = 0; j < 16; j++)
                    sum[j] += dy[p + j];
            for (; p < b->pixels; p++)
                sum[p % 16] += dy[p];
            for (int j = 0; j < 16; j++)
                total += sum[j];
        }
        b->db[f] += total;
    }
}

void mcs_conv_bias_grad(mcs_ctx *c, const float *dy, int64_t n, int64_t features, int64_t pixels,
                        float *db)
{
    bias_work b = { dy, db, n, features, pixels };
    if (db)
        mcs_parallel_for(c, features, mcs_grain(n * pixels), bias_rows, &b);
}

static void pointwise_backward(mcs_ctx *c, const mcs_conv_geom *g, const float *x, const float *w,
                               const float *dy, float *dx, float *dw)
{
    int64_t p = mcs_conv_pixels(g), sx = g->groups * g->ch * p, sy = g->groups * g->feat * p;
    for (int64_t i = 0; i < g->groups; i++) {
        int64_t wi = i * g->feat * g->ch, xi = i * g->ch * p, yi = i * g->feat * p;
        if (dx) {
            mcs_gemm_args a =
                mcs_gemm_tn(g->ch, p, g->feat, w + wi, g->ch, dy + yi, p, 1, dx + xi, p);
            a.batch = g->n, a.stride_b = sy, a.stride_c = sx;
            mcs_gemm(c, &a);
        }
        for (int64_t n = 0; dw && n < g->n; n++) {
            mcs_gemm_args a = mcs_gemm_nt(g->feat, g->ch, p, dy + n * sy + yi, p, x + n * sx + xi,
                                          p, 1, dw + wi, g->ch);
            mcs_gemm(c, &a);
        }
    }
}

/* One image and group, block by block. */
static void columns_backward(mcs_ctx *c, const mcs_conv_geom *g, const float *x, const float *w,
                             const float *dy, float *dx, float *dw, float *col)
{
    int64_t p = mcs_conv_pixels(g), taps = mcs_conv_taps(g), block = mcs_conv_block(g);
    for (int64_t p0 = 0; p0 < p; p0 += block) {
        int64_t count = p - p0 < block ? p - p0 : block;
        mcs_gemm_args a;
        if (dw) {
            mcs_im2col(c, g, x, p0, count, col);
            a = mcs_gemm_nt(g->feat, taps, count, dy + p0, p, col, count, 1, dw, taps);
            mcs_gemm(c, &a);
        }
        if (dx) {
            a = mcs_gemm_tn(taps, count, g->feat, w, taps, dy + p0, p, 0, col, count);
            mcs_gemm(c, &a);
            mcs_col2im(c, g, col, p0, count, dx);
        }
    }
}

static void conv_backward(mcs_ctx *c, mcs_node *node)
{
    const mcs_tensor *x = node->in[0], *w = node->in[1];
    const mcs_conv_geom *g = node->saved;
    float *dx = mcs_grad_buf(c, x), *dw = mcs_grad_buf(c, w);
    int64_t p = mcs_conv_pixels(g), taps = mcs_conv_taps(g);
    mcs_conv_bias_grad(c, node->grad, g->n, g->groups * g->feat, p, mcs_grad_buf(c, node->in[2]));
    if (!dx && !dw)
        return;
    if (is_depthwise(g)) {
        mcs_depthwise_backward(c, g, mcs_f32(x), mcs_f32(w), node->grad, dx, dw);
        return;
    }
    if (mcs_conv_pointwise(g)) {
        pointwise_backward(c, g, mcs_f32(x), mcs_f32(w), node->grad, dx, dw);
        return;
    }
    mcs_scope s = mcs_scope_begin(c);
    const mcs_direct_kernels *k = mcs_direct_get();
    if (dw && mcs_direct_suits_weights(k, g)) {
        mcs_direct_weights(c, k, g, mcs_f32(x), node->grad, dw);
        dw = NULL;
    }
    if (dx && mcs_direct_suits(k, g)) {
        mcs_direct_up(c, k, g, node->grad, mcs_f32(w), dx);
        dx = NULL;
    }
    float *col = dx || dw ? mcs_alloc(c, (size_t)(taps * mcs_conv_block(g)) * sizeof *col) : NULL;
    for (int64_t i = 0; col && i < g->n * g->groups; i++) {
        int64_t xi = i * g->ch * g->h * g->w, wi = i % g->groups * g->feat * taps;
        columns_backward(c, g, mcs_f32(x) + xi, mcs_f32(w) + wi, node->grad + i * g->feat * p,
                         dx ? dx + xi : NULL, dw ? dw + wi : NULL, col);
    }
    mcs_scope_end(c, s, NULL);
}

static const mcs_op op_conv2d = { "conv2d", conv_backward };

mcs_tensor *mcs_conv2d(mcs_ctx *c, const mcs_tensor *x, const mcs_tensor *weight,
                       const mcs_tensor *bias, mcs_conv_opts o)
{
    mcs_conv_geom g;
    if (!conv_geometry(c, x, weight, bias, o, &g))
        return NULL;
    mcs_tensor *y = mcs_new(c, 4, MCS_SHAPE(g.n, weight->shape[0], g.oh, g.ow));
    mcs_conv_geom *saved = NULL;
    if (y && mcs_will_record(c, MCS_INPUTS(x, weight, bias))) {
        saved = mcs_alloc(c, sizeof *saved);
        if (!saved)
            return NULL;
        *saved = g;
    }
    if (!y)
        return NULL;
    conv_forward(c, &g, mcs_f32(x), mcs_f32(weight), bias ? mcs_f32(bias) : NULL, mcs_f32(y));
    return mcs_record(c, &op_conv2d, y, saved, MCS_INPUTS(x, weight, bias));
}
