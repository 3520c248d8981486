/* op_conv_transpose.c - 2-D transposed convolution: the adjoint of convolution in x.
 *
 *   y[n][o][iy sh + ky - ph][ix sw + kx - pw] += x[n][c][iy][ix] w[c][o][ky][kx]
 *   per image and group, with the column matrix of y (conv_internal.h, y is the large side):
 *   y = b + col2im(W^T X),   dX += W col(dY),   dW += X col(dY)^T,   db += sum of dY
 *
 * W is (C, O kh kw), X (C, H W).  Blocks, order and parallelism are those of op_conv.c.
 * Must agree with torch.nn.functional.conv_transpose2d. */
#include "tensor/conv_tile_internal.h"
#include "tensor/conv_internal.h"
#include "tensor/gemm.h"

/* The geometry of the convolution this is the adjoint of: large side y, small side x. */
static bool transpose_geometry(mcs_ctx *c, const mcs_tensor *x, const mcs_tensor *w,
                               const mcs_tensor *bias, mcs_conv_opts o, int out_pad_h,
                               int out_pad_w, mcs_conv_geom *g)
{
    const char *op = "conv_transpose2d";
    if (!mcs_ok_dim(c, op, x, 4) || !mcs_ok_dim(c, op, w, 4) ||
        (bias && !mcs_ok_dim(c, op, bias, 1)) || !mcs_conv_options(c, op, &o, x->shape[1]))
        return false;
    char xs[96], ws[96];
    mcs_shape_str(x, xs, sizeof xs), mcs_shape_str(w, ws, sizeof ws);
    if (x->shape[1] != w->shape[0]) {
        mcs_fail(c, MCS_ESHAPE, "%s: input %s has %lld channels, weight %s expects %lld", op, xs,
                 (long long)x->shape[1], ws, (long long)w->shape[0]);
        return false;
    }
    if (!mcs_numel(x) || !mcs_numel(w)) {
        mcs_fail(c, MCS_ESHAPE, "%s: input %s or weight %s is empty", op, xs, ws);
        return false;
    }
    if (bias && bias->shape[0] != w->shape[1] * o.groups) {
        mcs_fail(c, MCS_ESHAPE, "%s: bias has %lld values, weight %s in %d groups has %lld outputs",
                 op, (long long)bias->shape[0], ws, o.groups, (long long)(w->shape[1] * o.groups));
        return false;
    }
    if (out_pad_h < 0 || out_pad_w < 0 || out_pad_h >= o.stride_h || out_pad_w >= o.stride_w) {
        mcs_fail(c, MCS_EINVAL,
                 "%s: output padding (%d, %d) must be at least 0 and below the "
                 "stride (%d, %d)",
                 op, out_pad_h, out_pad_w, o.stride_h, o.stride_w);
        return false;
    }
    *g = (mcs_conv_geom){ .n = x->shape[0],
                          .groups = o.groups,
                          .ch = w->shape[1],
                          .feat = w->shape[0] / o.groups,
                          .oh = x->shape[2],
                          .ow = x->shape[3],
                          .kh = w->shape[2],
                          .kw = w->shape[3],
                          .sh = o.stride_h,
                          .sw = o.stride_w,
                          .ph = o.pad_h,
                          .pw = o.pad_w };
    g->h = (g->oh - 1) * g->sh - 2 * g->ph + g->kh + out_pad_h;
    g->w = (g->ow - 1) * g->sw - 2 * g->pw + g->kw + out_pad_w;
    if (g->h > 0 && g->w > 0)
        return true;
    mcs_fail(c, MCS_ESHAPE, "%s: padding (%d, %d) leaves nothing of input %s and weight %s", op,
             o.pad_h, o.pad_w, xs, ws);
    return false;
}

typedef struct {
    const float *bias;
    float *y;
    int64_t channels, pixels;
} fill_work;

static void fill_planes(void *arg, int64_t begin, int64_t end)
{
    const fill_work *f = arg;
    for (int64_t i = begin; i < end; i++) {
        float b = f->bias ? f->bias[i % f->channels] : 0;
        for (int64_t p = 0; p < f->pixels; p++)
            f->y[i * f->pixels + p] = b;
    }
}

/* The block dimensions and column buffer of one call, and what it reads and writes. */
typedef struct {
    const mcs_conv_geom *g;
    int64_t taps, pixels, block;
    float *col;
} columns;

static bool columns_begin(mcs_ctx *c, const mcs_conv_geom *g, columns *k)
{
    *k = (columns){ g, mcs_conv_taps(g), mcs_conv_pixels(g), mcs_conv_block(g), NULL };
    k->col = mcs_alloc(c, (size_t)(k->taps * k->block) * sizeof(float));
    return k->col != NULL;
}

static void transpose_forward(mcs_ctx *c, const columns *k, const float *x, const float *w,
                              float *y)
{
    for (int64_t p0 = 0; p0 < k->pixels; p0 += k->block) {
        int64_t count = k->pixels - p0 < k->block ? k->pixels - p0 : k->block;
        mcs_gemm_args a = mcs_gemm_tn(k->taps, count, k->g->feat, w, k->taps, x + p0, k->pixels, 0,
                                      k->col, count);
        mcs_gemm(c, &a);
        mcs_col2im(c, k->g, k->col, p0, count, y);
    }
}

static void transpose_backward(mcs_ctx *c, const columns *k, const float *x, const float *w,
                               const float *dy, float *dx, float *dw)
{
    int64_t feat = k->g->feat;
    for (int64_t p0 = 0; p0 < k->pixels; p0 += k->block) {
        int64_t count = k->pixels - p0 < k->block ? k->pixels - p0 : k->block;
        mcs_gemm_args a;
        mcs_im2col(c, k->g, dy, p0, count, k->col);
        if (dx) {
            a = mcs_gemm_nn(feat, count, k->taps, w, k->taps, k->col, count, 1, dx + p0, k->pixels);
            mcs_gemm(c, &a);
        }
        if (dw) {
            a = mcs_gemm_nt(feat, k->taps, count, x + p0, k->pixels, k->col, count, 1, dw, k->taps);
            mcs_gemm(c, &a);
        }
    }
}

static void conv_transpose_backward(mcs_ctx *c, mcs_node *node)
{
    const mcs_tensor *x = node->in[0], *w = node->in[1];
    const mcs_conv_geom *g = node->saved;
    float *dx = mcs_grad_buf(c, x), *dw = mcs_grad_buf(c, w);
    mcs_conv_bias_grad(c, node->grad, g->n, g->groups * g->ch, g->h * g->w,
                       mcs_grad_buf(c, node->in[2]));
    mcs_scope s = mcs_scope_begin(c);
    const mcs_direct_kernels *direct = mcs_direct_get();
    if (dw && mcs_direct_suits_weights(direct, g)) {
        mcs_direct_weights(c, direct, g, node->grad, mcs_f32(x), dw);
        dw = NULL;
    }
    if (dx && mcs_direct_suits(direct, g)) {
        mcs_direct_down(c, direct, g, node->grad, mcs_f32(w), NULL, true, dx);
        dx = NULL;
    }
    columns k;
    bool ready = (dx || dw) && columns_begin(c, g, &k);
    for (int64_t i = 0; ready && i < g->n * g->groups; i++) {
        int64_t xi = i * g->feat * k.pixels, wi = i % g->groups * g->feat * k.taps;
        transpose_backward(c, &k, mcs_f32(x) + xi, mcs_f32(w) + wi,
                           node->grad + i * g->ch * g->h * g->w, dx ? dx + xi : NULL,
                           dw ? dw + wi : NULL);
    }
    mcs_scope_end(c, s, NULL);
}

static const mcs_op op_conv_transpose2d = { "conv_transpose2d", conv_transpose_backward };

mcs_tensor *mcs_conv_transpose2d(mcs_ctx *c, const mcs_tensor *x, const mcs_tensor *weight,
                                 const mcs_tensor *bias, mcs_conv_opts o, int out_pad_h,
                                 int out_pad_w)
{
    mcs_conv_geom *g = mcs_alloc(c, sizeof *g);
    if (!g || !transpose_geometry(c, x, weight, bias, o, out_pad_h, out_pad_w, g))
        return NULL;
    mcs_tensor *y = mcs_new(c, 4, MCS_SHAPE(g->n, g->groups * g->ch, g->h, g->w));
    if (!y)
        return NULL;
    fill_work f = { bias ? mcs_f32(bias) : NULL, mcs_f32(y), g->groups * g->ch, g->h * g->w };
    mcs_parallel_for(c, g->n * f.channels, mcs_grain(f.pixels), fill_planes, &f);
    mcs_scope s = mcs_scope_begin(c);
    const mcs_direct_kernels *direct = mcs_direct_get();
    bool suits = mcs_direct_suits(direct, g);
    if (suits)
        mcs_direct_up(c, direct, g, mcs_f32(x), mcs_f32(weight), mcs_f32(y));
    columns k;
    bool ready = !suits && columns_begin(c, g, &k);
    for (int64_t i = 0; ready && i < g->n * g->groups; i++)
        transpose_forward(c, &k, mcs_f32(x) + i * g->feat * k.pixels,
                          mcs_f32(weight) + i % g->groups * g->feat * k.taps,
                          mcs_f32(y) + i * g->ch * g->h * g->w);
    mcs_scope_end(c, s, NULL);
    return mcs_record(c, &op_conv_transpose2d, y, g, MCS_INPUTS(x, weight, bias));
}
