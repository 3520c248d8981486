/* nn.h - parameters and layers.
 *
 * mcs_params owns every weight of a model, under its PyTorch state-dict name, and the model
 * structs themselves.  xxx_init() declares names, shapes and initialisation and touches no data;
 * then load (weights/weights.h) or mcs_params_init().  A built model is const: contexts may
 * share it.  Weights start frozen: mcs_params_train() gives them gradients.
 *
 * Errors of declaration (out of memory, a name declared twice) are sticky in the store; every
 * *_init may be called on a failed store and does nothing. */
#ifndef MCS_NN_H
#define MCS_NN_H
#include "tensor/tensor.h"

typedef struct mcs_params mcs_params;
typedef struct { mcs_params *params; const char *path; } mcs_ns;    /* a place in the name tree */
typedef enum {
    MCS_INIT_ZEROS,
    MCS_INIT_ONES,
    MCS_INIT_KAIMING,   /* torch.nn.Linear/Conv default: uniform +-1/sqrt(fan_in) */
    MCS_INIT_XAVIER,    /* uniform +-sqrt(6 / (fan_in + fan_out)) */
    MCS_INIT_TRUNC02,   /* normal, sd .02, cut at 2 sd */
    MCS_INIT_NORMAL02,  /* normal, sd .02 */
    MCS_INIT_NORMAL,    /* normal, sd 1 */
    MCS_INIT_QUARTER,   /* 0.25: torch.nn.PReLU */
    MCS_INIT_SINCOS,    /* positions (1,1+G*G,C), C a multiple of 4, of a class token and a square grid:
                           0, then twice the sines and cosines of MAE's get_2d_sincos_pos_embed
                           (He et al. 2022) at column and row times 16/G; zeros for other shapes */
    MCS_INIT_CONV_BIAS  /* torch's default of a bias declared right after its weight: uniform
                           +-1/sqrt(fan_in) of that weight */
} mcs_init;

mcs_params *mcs_params_new(void);                       /* NULL: out of memory */
void mcs_params_free(mcs_params *p);                    /* Nullable; frees weights and model */
mcs_status mcs_params_status(const mcs_params *p);
const char *mcs_params_message(const mcs_params *p);
mcs_error *mcs_params_error(mcs_params *p);

/* Allocates and initialises every weight that has no data yet.  The numbers of a weight depend
 * on (seed, its name) alone, so adding a layer does not change the others. */
mcs_status mcs_params_init(mcs_params *p, uint64_t seed) MCS_MUST_CHECK;
/* Overrides the declared initialisation of names under `prefix` that use `from`. */
void mcs_params_reinit(mcs_params *p, const char *prefix, mcs_init from, mcs_init to);
/* Gives (or takes) gradients to all weights whose name starts with prefix ("": all).  Buffers
 * (running statistics) are never trained.  MCS_ENOTFOUND: no such prefix. */
mcs_status mcs_params_train(mcs_params *p, const char *prefix, bool on) MCS_MUST_CHECK;
void mcs_params_zero_grad(mcs_params *p);

/* Entries in declaration order, which optimisers, clipping and saving share. */
typedef struct {
    const char *name;
    mcs_tensor *tensor;         /* data NULL until loaded or initialised */
    bool buffer;                /* part of the state dict, never trained */
} mcs_param_entry;
int64_t mcs_params_count(const mcs_params *p);
mcs_param_entry mcs_params_at(const mcs_params *p, int64_t i);
mcs_tensor *mcs_params_find(const mcs_params *p, const char *name);     /* NULL if absent */
int64_t mcs_params_numel(const mcs_params *p);
/* Allocates the entry's data if it has none (64-byte aligned, owned by p); NULL: no memory. */
float *mcs_params_data(mcs_params *p, int64_t i);
/* Gives the entry the values `data` (aligned_alloc(64, ...)), which p owns from here on; pointers
 * to data it already had stay valid. */
void mcs_params_adopt(mcs_params *p, int64_t i, float *data);
/* The values were changed from outside: cached forms of them are dropped. */
void mcs_params_touch(mcs_params *p);

mcs_ns mcs_root(mcs_params *p);
mcs_ns mcs_ns_sub(mcs_ns ns, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* "path.leaf" interned in the store ("leaf" at the root): for taps with their own names. */
const char *mcs_ns_name(mcs_ns ns, const char *leaf);
mcs_tensor *mcs_param(mcs_ns ns, const char *leaf, mcs_init init, int ndim, const int64_t *shape);
mcs_tensor *mcs_buffer(mcs_ns ns, const char *leaf, mcs_init init, int ndim, const int64_t *shape);
void *mcs_module(mcs_ns ns, size_t bytes);              /* zeroed, lives as long as the params */

/* ---- Layers.  `name` is the path under which the output is tapped. ---- */

typedef struct { const char *name; mcs_tensor *weight, *bias; } mcs_linear_layer;
void mcs_linear_init(mcs_linear_layer *m, mcs_ns ns, int64_t in, int64_t out, bool bias);
mcs_tensor *mcs_linear_forward(mcs_ctx *c, const mcs_linear_layer *m, const mcs_tensor *x);
/* residual + forward(x), in the product's epilogue unless someone looks at the layer's output. */
mcs_tensor *mcs_linear_forward_add(mcs_ctx *c, const mcs_linear_layer *m, const mcs_tensor *x,
                                   const mcs_tensor *residual);

typedef struct { const char *name; mcs_tensor *weight, *bias; float eps; } mcs_layernorm;
void mcs_layernorm_init(mcs_layernorm *m, mcs_ns ns, int64_t dim, float eps);
mcs_tensor *mcs_layernorm_forward(mcs_ctx *c, const mcs_layernorm *m, const mcs_tensor *x);
/* m(norm(x)): without the norm's result on the tape, unless someone looks at it. */
mcs_tensor *mcs_linear_forward_norm(mcs_ctx *c, const mcs_linear_layer *m,
                                    const mcs_layernorm *norm, const mcs_tensor *x);
/* The same parameters over the channels of (N,C,H,W): SAM's LayerNorm2d. */
mcs_tensor *mcs_layernorm2d_forward(mcs_ctx *c, const mcs_layernorm *m, const mcs_tensor *x);

typedef struct {
    const char *name;
    mcs_tensor *weight, *bias, *running_mean, *running_var;
    float eps, momentum;
} mcs_batchnorm;
/* Declares weight, bias, running_mean, running_var (num_batches_tracked is read and ignored). */
void mcs_batchnorm_init(mcs_batchnorm *m, mcs_ns ns, int64_t dim, float eps);
mcs_tensor *mcs_batchnorm_forward(mcs_ctx *c, const mcs_batchnorm *m, const mcs_tensor *x);

/* torch.nn.InstanceNorm2d defaults: no affine, no running statistics. */
typedef struct { const char *name; float eps; } mcs_instancenorm;
void mcs_instancenorm_init(mcs_instancenorm *m, mcs_ns ns, float eps);
mcs_tensor *mcs_instancenorm_forward(mcs_ctx *c, const mcs_instancenorm *m, const mcs_tensor *x);

typedef struct { const char *name; mcs_tensor *weight; } mcs_prelu_layer;   /* one weight, .25 */
void mcs_prelu_init(mcs_prelu_layer *m, mcs_ns ns);
mcs_tensor *mcs_prelu_forward(mcs_ctx *c, const mcs_prelu_layer *m, const mcs_tensor *x);

typedef struct { const char *name; mcs_tensor *weight; } mcs_embedding_layer;
void mcs_embedding_init(mcs_embedding_layer *m, mcs_ns ns, int64_t count, int64_t dim);
mcs_tensor *mcs_embedding_forward(mcs_ctx *c, const mcs_embedding_layer *m, const mcs_tensor *ids);

typedef struct { const char *name; mcs_tensor *weight, *bias; mcs_conv_opts opts; } mcs_conv;
/* kernel x kernel, the same stride and padding both ways. */
void mcs_conv_init(mcs_conv *m, mcs_ns ns, int64_t in, int64_t out, int kernel, int stride,
                   int pad, int groups, bool bias);
mcs_tensor *mcs_conv_forward(mcs_ctx *c, const mcs_conv *m, const mcs_tensor *x);

typedef struct {
    const char *name;
    mcs_tensor *weight, *bias;
    mcs_conv_opts opts;
    int out_pad;
} mcs_conv_transpose;
void mcs_conv_transpose_init(mcs_conv_transpose *m, mcs_ns ns, int64_t in, int64_t out,
                             int kernel, int stride, int pad, int out_pad, bool bias);
mcs_tensor *mcs_conv_transpose_forward(mcs_ctx *c, const mcs_conv_transpose *m,
                                       const mcs_tensor *x);

/* Self-attention in timm's naming: qkv, proj.  probs: tap name of the probabilities; watching or
 * replacing it makes the layer take the plain path. */
typedef struct { const char *name, *probs; int heads; mcs_linear_layer qkv, proj; } mcs_attention_layer;
void mcs_attention_init(mcs_attention_layer *m, mcs_ns ns, int64_t dim, int heads);
mcs_tensor *mcs_attention_forward(mcs_ctx *c, const mcs_attention_layer *m, const mcs_tensor *x);
/* x + attention(norm(x)), half of a pre-norm block; norms, activations and sums are fused with the
 * products beside them, or not kept on the tape, unless someone looks at the layer's output. */
mcs_tensor *mcs_attention_block(mcs_ctx *c, const mcs_layernorm *norm,
                                const mcs_attention_layer *m, const mcs_tensor *x);

/* fc2(gelu(fc1(x))); names of the two linears differ between models. */
typedef struct { const char *name; mcs_linear_layer fc1, fc2; } mcs_mlp;
void mcs_mlp_init(mcs_mlp *m, mcs_ns ns, const char *fc1, const char *fc2, int64_t dim,
                  int64_t hidden);
mcs_tensor *mcs_mlp_forward(mcs_ctx *c, const mcs_mlp *m, const mcs_tensor *x);
/* x + down(gelu(up(x))) */
mcs_tensor *mcs_feed_forward(mcs_ctx *c, const mcs_linear_layer *up, const mcs_linear_layer *down,
                             const mcs_tensor *x);
/* x + mlp(norm(x)), the other half. */
mcs_tensor *mcs_mlp_block(mcs_ctx *c, const mcs_layernorm *norm, const mcs_mlp *m,
                          const mcs_tensor *x);
#endif
