/* conv_internal.h - the geometry of a convolution and its column matrix.  Private to tensor/.
 *
 * The column matrix of one image and group has a row per weight (channel, ky, kx) and a column
 * per output pixel, col[(ch, ky, kx)][oy, ox] = x[ch][oy sh + ky - ph][ox sw + kx - pw], zero
 * outside the picture.  Then conv2d is Y = W col, its gradients are dW = dY col^T and
 * dcol = W^T dY, and conv_transpose2d is the same with the roles of x and y exchanged. */
#ifndef MCS_CONV_INTERNAL_H
#define MCS_CONV_INTERNAL_H
#include "tensor/op.h"

typedef struct {
    int64_t n, groups;
    int64_t ch, h, w; /* the large side: channels of one group, picture */
    int64_t feat, oh, ow; /* the small side: channels of one group, output pixels */
    int64_t kh, kw, sh, sw, ph, pw;
} mcs_conv_geom;

static inline int64_t mcs_conv_taps(const mcs_conv_geom *g)
{
    return g->ch * g->kh * g->kw;
}
static inline int64_t mcs_conv_pixels(const mcs_conv_geom *g)
{
    return g->oh * g->ow;
}
/* 1x1, stride 1, no padding: the picture is its own column matrix. */
static inline bool mcs_conv_pointwise(const mcs_conv_geom *g)
{
    return g->kh == 1 && g->kw == 1 && g->sh == 1 && g->sw == 1 && g->ph == 0 && g->pw == 0;
}
/* Columns of one block: all, or as many as keep the block within 8 MB. */
int64_t mcs_conv_block(const mcs_conv_geom *g);

/* Columns p0 .. p0+count of the matrix of x (ch,h,w), into col (taps, count). */
void mcs_im2col(mcs_ctx *c, const mcs_conv_geom *g, const float *x, int64_t p0, int64_t count,
                float *col);
/* The adjoint: x += every entry of col at the pixel it came from, in a fixed order. */
void mcs_col2im(mcs_ctx *c, const mcs_conv_geom *g, const float *col, int64_t p0, int64_t count,
                float *x);

/* Strides and groups of 0 become 1.  False after mcs_fail(): negative, or channels that do not
 * divide. */
bool mcs_conv_options(mcs_ctx *c, const char *op, mcs_conv_opts *o, int64_t channels);
/* db[f] += the sum of dy (n, features, pixels) over images and pixels; db may be NULL. */
void mcs_conv_bias_grad(mcs_ctx *c, const float *dy, int64_t n, int64_t features, int64_t pixels,
                        float *db);

/* One channel per group (depthwise): direct loops instead of columns of kh*kw rows.
 * y (n, groups*feat, oh, ow) = conv(x, w) + bias; bias may be NULL. */
void mcs_depthwise_forward(mcs_ctx *c, const mcs_conv_geom *g, const float *x, const float *w,
                           const float *bias, float *y);
/* dx += ..., dw += ...; either may be NULL. */
void mcs_depthwise_backward(mcs_ctx *c, const mcs_conv_geom *g, const float *x, const float *w,
                            const float *dy, float *dx, float *dw);

/* ---- Direct kernels (conv_tile_internal.h), for geometries they suit: small kernels, strides 1 and 2,
 * rows of pixels that fill vectors, one group.  Memory running out is in the context. ---- */
struct mcs_direct_kernels;
bool mcs_direct_suits(const struct mcs_direct_kernels *k, const mcs_conv_geom *g);
bool mcs_direct_suits_weights(const struct mcs_direct_kernels *k, const mcs_conv_geom *g);
/* small = W large + bias (Nullable), or if add: small += W large. */
void mcs_direct_down(mcs_ctx *c, const struct mcs_direct_kernels *k, const mcs_conv_geom *g,
                     const float *large, const float *w, const float *bias, bool add, float *small);
/* large += W^T small */
void mcs_direct_up(mcs_ctx *c, const struct mcs_direct_kernels *k, const mcs_conv_geom *g,
                   const float *small, const float *w, float *large);
/* dw += small large^T */
void mcs_direct_weights(mcs_ctx *c, const struct mcs_direct_kernels *k, const mcs_conv_geom *g,
                        const float *large, const float *small, float *dw);
#endif
