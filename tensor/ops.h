/* ops.h - operations.  Each returns a new tensor; inputs are unchanged.
 *
 * "(..., C)" stands for any number of leading dimensions.  All values are f32 unless said
 * otherwise; a wrong dtype or shape is MCS_ESHAPE, a wrong option MCS_EINVAL.  Every operation
 * has a backward for each of its f32 inputs unless it says "no gradient". */
#ifndef MCS_OPS_H
#define MCS_OPS_H
#include "tensor/tensor.h"

/* ---- Elementwise, two inputs: NumPy broadcasting ---- */
mcs_tensor *mcs_add(mcs_ctx *c, const mcs_tensor *a, const mcs_tensor *b);
mcs_tensor *mcs_sub(mcs_ctx *c, const mcs_tensor *a, const mcs_tensor *b);
mcs_tensor *mcs_mul(mcs_ctx *c, const mcs_tensor *a, const mcs_tensor *b);
mcs_tensor *mcs_div(mcs_ctx *c, const mcs_tensor *a, const mcs_tensor *b);

/* ---- Elementwise, one input ---- */
mcs_tensor *mcs_affine(mcs_ctx *c, const mcs_tensor *x, float scale, float shift); /* scale*x + shift */
mcs_tensor *mcs_exp(mcs_ctx *c, const mcs_tensor *x);
mcs_tensor *mcs_log(mcs_ctx *c, const mcs_tensor *x);
mcs_tensor *mcs_sqrt(mcs_ctx *c, const mcs_tensor *x);
mcs_tensor *mcs_square(mcs_ctx *c, const mcs_tensor *x);
mcs_tensor *mcs_abs(mcs_ctx *c, const mcs_tensor *x);               /* gradient 0 at 0 */
mcs_tensor *mcs_sin(mcs_ctx *c, const mcs_tensor *x);
mcs_tensor *mcs_cos(mcs_ctx *c, const mcs_tensor *x);
mcs_tensor *mcs_tanh(mcs_ctx *c, const mcs_tensor *x);
mcs_tensor *mcs_clamp(mcs_ctx *c, const mcs_tensor *x, float lo, float hi);
mcs_tensor *mcs_gelu(mcs_ctx *c, const mcs_tensor *x);              /* F.gelu(x), exact erf form */
mcs_tensor *mcs_relu(mcs_ctx *c, const mcs_tensor *x);
mcs_tensor *mcs_sigmoid(mcs_ctx *c, const mcs_tensor *x);
/* F.prelu: x (N,C,...) , weight (C) or (1) */
mcs_tensor *mcs_prelu(mcs_ctx *c, const mcs_tensor *x, const mcs_tensor *weight);
/* F.dropout(x, p, training): identity unless the context trains and p > 0.  0 <= p < 1. */
mcs_tensor *mcs_dropout(mcs_ctx *c, const mcs_tensor *x, float p);

/* ---- Products ---- */
/* torch.matmul for ndim >= 2: (...,M,K) x (...,K,N) -> (...,M,N).  The leading dimensions of a
 * and b are equal, or one of them has none (shared by the whole batch). */
mcs_tensor *mcs_matmul(mcs_ctx *c, const mcs_tensor *a, const mcs_tensor *b);
/* a @ b^T: (...,M,K) x (...,N,K) -> (...,M,N) */
mcs_tensor *mcs_matmul_t(mcs_ctx *c, const mcs_tensor *a, const mcs_tensor *b);
/* F.linear: x (...,K), weight (N,K), bias (N) -> (...,N).  Nullable: bias. */
mcs_tensor *mcs_linear(mcs_ctx *c, const mcs_tensor *x, const mcs_tensor *weight,
                       const mcs_tensor *bias);
/* F.gelu(F.linear(...)): one pass over memory when nothing is recorded. */
mcs_tensor *mcs_linear_gelu(mcs_ctx *c, const mcs_tensor *x, const mcs_tensor *weight,
                            const mcs_tensor *bias);
/* F.linear(F.layer_norm(x), weight, bias) and residual + F.linear(F.gelu(x), weight, bias): the tape
 * keeps x instead of the norm's or GELU's result, which backward computes again: 6 of 16 widths of
 * a transformer block.  Nullable: the norm's weights, bias. */
mcs_tensor *mcs_norm_linear(mcs_ctx *c, const mcs_tensor *x, const mcs_tensor *norm_weight,
                            const mcs_tensor *norm_bias, float eps, const mcs_tensor *weight,
                            const mcs_tensor *bias);
mcs_tensor *mcs_gelu_linear_add(mcs_ctx *c, const mcs_tensor *x, const mcs_tensor *weight,
                                const mcs_tensor *bias, const mcs_tensor *residual);
/* residual + F.linear(...): residual has the result's shape. */
mcs_tensor *mcs_linear_add(mcs_ctx *c, const mcs_tensor *x, const mcs_tensor *weight,
                           const mcs_tensor *bias, const mcs_tensor *residual);

/* ---- Attention: softmax(scale q k^T + bias + rel_h + rel_w) v, masked, per head ----
 * Scores are computed and normalised in blocks of query rows: they are never held whole. */
typedef enum {
    MCS_QKV_SPLIT,      /* (B,N,3C): [q | k | v], each heads x D (timm, SAM) */
    MCS_QKV_PER_HEAD    /* (B,N,3C): per head [q | k | v] of D (TinyViT) */
} mcs_qkv_layout;
typedef struct {
    int heads;
    float scale;                /* 0: 1 / sqrt(D) */
    const mcs_tensor *bias;     /* Nullable; (heads,Nq,Nk), the same for every image of the batch */
    const mcs_tensor *key_mask; /* Nullable; U8 (B,Nk): keys with 0 take no part.  A row with no
                                   key at all gives zeros.  No gradient. */
    /* SAM's decomposed relative position (Li et al. 2022, MViTv2): tables rel_h (2*grid_h-1, D),
     * rel_w (2*grid_w-1, D); score[q,k] += <q, rel_h[qh-kh+grid_h-1]> + <q, rel_w[qw-kw+grid_w-1]>
     * with the unscaled q; N = grid_h*grid_w.  Nullable, both or neither. */
    const mcs_tensor *rel_h, *rel_w;
    int grid_h, grid_w;
} mcs_attention_opts;
/* q (B,Nq,C), k (B,Nk,C), v (B,Nk,Cv) -> (B,Nq,Cv); C and Cv divisible by heads. */
mcs_tensor *mcs_attention(mcs_ctx *c, const mcs_tensor *q, const mcs_tensor *k,
                          const mcs_tensor *v, const mcs_attention_opts *o);
/* The packed projection, read in place: (B,N,3C) -> (B,N,C). */
mcs_tensor *mcs_attention_packed(mcs_ctx *c, const mcs_tensor *qkv, mcs_qkv_layout layout,
                                 const mcs_attention_opts *o);
/* residual + F.linear(attention, weight, bias), the end of half a transformer block: the tape keeps q,
 * k and v, and backward computes what attention gives again.  weight (N,Cv), bias (N), residual
 * (B,Nq,N).  Nullable: bias. */
mcs_tensor *mcs_attention_linear_add(mcs_ctx *c, const mcs_tensor *q, const mcs_tensor *k,
                                     const mcs_tensor *v, const mcs_attention_opts *o,
                                     const mcs_tensor *weight, const mcs_tensor *bias,
                                     const mcs_tensor *residual);
mcs_tensor *mcs_attention_packed_linear_add(mcs_ctx *c, const mcs_tensor *qkv,
                                            mcs_qkv_layout layout, const mcs_attention_opts *o,
                                            const mcs_tensor *weight, const mcs_tensor *bias,
                                            const mcs_tensor *residual);
/* The probabilities alone, (B,heads,Nq,Nk), for maps that explain attention: holds them whole. */
mcs_tensor *mcs_attention_probs(mcs_ctx *c, const mcs_tensor *q, const mcs_tensor *k,
                                const mcs_attention_opts *o);

/* ---- Normalisation ---- */
mcs_tensor *mcs_softmax(mcs_ctx *c, const mcs_tensor *x);           /* over the last dimension */
mcs_tensor *mcs_log_softmax(mcs_ctx *c, const mcs_tensor *x);       /* over the last dimension */
/* x / max(||x||_2, eps) over the last dimension: F.normalize(x, dim=-1, eps=eps) */
mcs_tensor *mcs_l2_normalize(mcs_ctx *c, const mcs_tensor *x, float eps);
/* F.layer_norm over the last dimension; weight, bias (C).  Nullable: weight, bias. */
mcs_tensor *mcs_layer_norm(mcs_ctx *c, const mcs_tensor *x, const mcs_tensor *weight,
                           const mcs_tensor *bias, float eps);
/* SAM's LayerNorm2d: x (N,C,H,W) normalised over C at each pixel; weight, bias (C). */
mcs_tensor *mcs_layer_norm_2d(mcs_ctx *c, const mcs_tensor *x, const mcs_tensor *weight,
                              const mcs_tensor *bias, float eps);
/* F.batch_norm: x (N,C,...).  In a training context the batch's statistics are used and
 * running_mean/var (C) are updated in place with `momentum` (unbiased variance), the one
 * documented exception to "inputs are unchanged"; else the running ones are used.
 * Nullable: weight, bias. */
mcs_tensor *mcs_batch_norm(mcs_ctx *c, const mcs_tensor *x, const mcs_tensor *weight,
                           const mcs_tensor *bias, mcs_tensor *running_mean,
                           mcs_tensor *running_var, float momentum, float eps);
/* F.instance_norm without running statistics: x (N,C,...), over the trailing dimensions.
 * Nullable: weight, bias (C). */
mcs_tensor *mcs_instance_norm(mcs_ctx *c, const mcs_tensor *x, const mcs_tensor *weight,
                              const mcs_tensor *bias, float eps);

/* ---- Reductions (sums in fixed blocks: the same bits for any thread count) ---- */
mcs_tensor *mcs_sum(mcs_ctx *c, const mcs_tensor *x);               /* -> scalar */
mcs_tensor *mcs_mean(mcs_ctx *c, const mcs_tensor *x);              /* -> scalar */
mcs_tensor *mcs_sum_dim(mcs_ctx *c, const mcs_tensor *x, int dim, bool keepdim);
mcs_tensor *mcs_mean_dim(mcs_ctx *c, const mcs_tensor *x, int dim, bool keepdim);
mcs_tensor *mcs_max_dim(mcs_ctx *c, const mcs_tensor *x, int dim, bool keepdim);
                                                /* gradient to the first maximum, as PyTorch */
mcs_tensor *mcs_logsumexp(mcs_ctx *c, const mcs_tensor *x);         /* over the last dimension */

/* ---- Shape.  Negative dims count from the end. ---- */
/* Shares data.  One entry of shape may be -1: inferred.  Any dtype. */
mcs_tensor *mcs_reshape(mcs_ctx *c, const mcs_tensor *x, int ndim, const int64_t *shape);
mcs_tensor *mcs_rows(mcs_ctx *c, const mcs_tensor *x, int64_t begin, int64_t end);
                                                /* x[begin:end], shares data; any dtype */
mcs_tensor *mcs_permute(mcs_ctx *c, const mcs_tensor *x, const int *axes);      /* copies */
mcs_tensor *mcs_transpose(mcs_ctx *c, const mcs_tensor *x, int a, int b);       /* copies */
mcs_tensor *mcs_slice(mcs_ctx *c, const mcs_tensor *x, int dim, int64_t begin, int64_t end); /* copies */
mcs_tensor *mcs_concat(mcs_ctx *c, int dim, int count, const mcs_tensor *const *parts);
/* Broadcasts size-1 (and missing leading) dimensions to shape: Tensor.expand, but copied. */
mcs_tensor *mcs_expand(mcs_ctx *c, const mcs_tensor *x, int ndim, const int64_t *shape);
/* F.pad(x, pads, value): pads holds 2*ndim numbers, (before, after) for dimension 0, 1, ... in
 * order (NOT reversed as in PyTorch); negative ones crop. */
mcs_tensor *mcs_pad(mcs_ctx *c, const mcs_tensor *x, const int64_t *pads, float value);
/* weight[ids]: weight (V,C), ids I64 (...) -> (...,C).  An id outside [0,V) is MCS_EINVAL. */
mcs_tensor *mcs_embedding(mcs_ctx *c, const mcs_tensor *weight, const mcs_tensor *ids);
/* The square windows of a token grid, row by row: x (B,H,W,C) -> (B*nh*nw, window*window, C) with
 * nh = ceil(H / window).  Cells below or right of the grid hold `fill` (C), or 0.
 * Nullable: fill. */
mcs_tensor *mcs_window_partition(mcs_ctx *c, const mcs_tensor *x, int window,
                                 const mcs_tensor *fill);
/* Its inverse, dropping the cells outside: (B*nh*nw, window*window, C) -> (B,H,W,C). */
mcs_tensor *mcs_window_merge(mcs_ctx *c, const mcs_tensor *x, int window, int64_t h, int64_t w);

/* ---- Images: (N,C,H,W) ---- */
typedef struct { int stride_h, stride_w, pad_h, pad_w, groups; } mcs_conv_opts; /* 0: 1 for strides and groups */
/* F.conv2d: x (N,C,H,W), weight (O,C/groups,kh,kw), bias (O).  Nullable: bias. */
mcs_tensor *mcs_conv2d(mcs_ctx *c, const mcs_tensor *x, const mcs_tensor *weight,
                       const mcs_tensor *bias, mcs_conv_opts o);
/* F.conv_transpose2d: weight (C,O/groups,kh,kw); out_pad_h/w as output_padding. */
mcs_tensor *mcs_conv_transpose2d(mcs_ctx *c, const mcs_tensor *x, const mcs_tensor *weight,
                                 const mcs_tensor *bias, mcs_conv_opts o, int out_pad_h,
                                 int out_pad_w);
/* F.max_pool2d / F.avg_pool2d(count_include_pad=True), ceil_mode False. */
mcs_tensor *mcs_max_pool2d(mcs_ctx *c, const mcs_tensor *x, int kernel, int stride, int pad);
mcs_tensor *mcs_avg_pool2d(mcs_ctx *c, const mcs_tensor *x, int kernel, int stride, int pad);
/* F.interpolate(x, (h,w), mode="bilinear", align_corners=..., antialias=False) */
mcs_tensor *mcs_resize_bilinear(mcs_ctx *c, const mcs_tensor *x, int64_t h, int64_t w,
                                bool align_corners);
mcs_tensor *mcs_resize_nearest(mcs_ctx *c, const mcs_tensor *x, int64_t h, int64_t w);
#endif
