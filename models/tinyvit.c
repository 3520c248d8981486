/* tinyvit.c - TinyViT with MobileSAM's changes.
 *
 * Must agree with mobile_sam/modeling/tiny_vit_sam.py (eval mode; its drop-path rate is 0).
 *
 *   stem     conv-BN 3x3/2, gelu, conv-BN 3x3/2                       (B,d0,S/4,S/4)
 *            (LiteMedSAM: 1x1/1 both, (B,d0,S,S))
 *   stage 0  MBConv: gelu(x + BN conv1x1 gelu(BN dw3x3 gelu(BN conv1x1 x)))
 *   stage 1+ block:  x += proj(attention(qkv(LN x)))   in windows
 *                    x = BN dw3x3 x                    "local_conv", no residual
 *                    x += fc2(gelu(fc1(LN x)))
 *   between  BN conv1x1, gelu, BN dw3x3/s, gelu, BN conv1x1;  s = 2, the last one 1
 *
 * attention: softmax(q k^T / sqrt(D) + bias) v per head, qkv laid out per head [q | k | v];
 * bias[h, i, j] = attention_biases[h, |dy| * window + |dx|].  The original zero-pads x to whole
 * windows before LN, so a padding token enters the softmax as qkv(LN 0) = qkv(LN's bias): the
 * projection is done on the true tokens and padding cells get that row while being gathered.
 *
 * Batch norm outside training is folded into the convolution, w' = w g / sqrt(var + eps),
 * b' = beta - mean g / sqrt(var + eps), by operations on the (small) weights: one pass less over
 * activations of 67 MB, nothing to keep in step with the weights, and gradients as PyTorch's. */
#include "models/tinyvit.h"

typedef struct {
    mcs_conv conv;
    mcs_batchnorm bn;
} tv_conv;

typedef struct {
    const char *name;
    tv_conv conv1, conv2, conv3;
} tv_convs; /* an MBConv or a down-sampling */

typedef struct {
    const char *name;
    int heads, window;
    mcs_layernorm norm1, norm2;
    mcs_linear_layer qkv, proj, fc1, fc2;
    mcs_tensor *biases; /* (heads, window^2) */
    tv_conv local;
} tv_block;

typedef struct {
    int depth;
    tv_convs *mbconv; /* stage 0 */
    tv_block *blocks; /* stages 1... */
    tv_convs down; /* but for the last stage */
} tv_stage;

struct mcs_tinyvit {
    mcs_tinyvit_config cfg;
    const char *stem_name;
    tv_conv stem[2];
    tv_stage stage[MCS_TINYVIT_STAGES];
};

static void conv_init(tv_conv *m, mcs_ns ns, int64_t in, int64_t out, int kernel, int stride,
                      int groups)
{
    mcs_conv_init(&m->conv, mcs_ns_sub(ns, "c"), in, out, kernel, stride, kernel / 2, groups,
                  false);
    mcs_batchnorm_init(&m->bn, mcs_ns_sub(ns, "bn"), out, 1e-5f);
}

/* conv1x1, depthwise 3x3, conv1x1 */
static void convs_init(tv_convs *m, mcs_ns ns, int64_t in, int hidden, int64_t out, int stride)
{
    m->name = ns.path;
    conv_init(&m->conv1, mcs_ns_sub(ns, "conv1"), in, hidden, 1, 1, 1);
    conv_init(&m->conv2, mcs_ns_sub(ns, "conv2"), hidden, hidden, 3, stride, hidden);
    conv_init(&m->conv3, mcs_ns_sub(ns, "conv3"), hidden, out, 1, 1, 1);
}

static void block_init(tv_block *b, mcs_ns ns, const mcs_tinyvit_config *cfg, int stage)
{
    int dim = cfg->dim[stage], window = cfg->window[stage];
    int64_t hidden = (int64_t)dim * cfg->mlp_ratio;
    mcs_ns attn = mcs_ns_sub(ns, "attn"), mlp = mcs_ns_sub(ns, "mlp");
    b->name = ns.path;
    b->heads = cfg->heads[stage];
    b->window = window;
    b->biases = mcs_param(attn, "attention_biases", MCS_INIT_ZEROS, 2,
                          MCS_SHAPE(b->heads, (int64_t)window * window));
    mcs_layernorm_init(&b->norm1, mcs_ns_sub(attn, "norm"), dim, 1e-5f);
    mcs_linear_init(&b->qkv, mcs_ns_sub(attn, "qkv"), dim, 3 * (int64_t)dim, true);
    mcs_linear_init(&b->proj, mcs_ns_sub(attn, "proj"), dim, dim, true);
    mcs_layernorm_init(&b->norm2, mcs_ns_sub(mlp, "norm"), dim, 1e-5f);
    mcs_linear_init(&b->fc1, mcs_ns_sub(mlp, "fc1"), dim, hidden, true);
    mcs_linear_init(&b->fc2, mcs_ns_sub(mlp, "fc2"), hidden, dim, true);
    conv_init(&b->local, mcs_ns_sub(ns, "local_conv"), dim, dim, 3, 1, dim);
}

/* False: out of memory. */
static bool stage_init(tv_stage *s, mcs_ns ns, const mcs_tinyvit_config *cfg, int i)
{
    int dim = cfg->dim[i];
    s->depth = cfg->depth[i];
    size_t n = (size_t)s->depth;
    if (i == 0)
        s->mbconv = mcs_module(ns, n * sizeof *s->mbconv);
    else
        s->blocks = mcs_module(ns, n * sizeof *s->blocks);
    if (!s->mbconv && !s->blocks)
        return false;
    for (int k = 0; k < s->depth; k++) {
        mcs_ns block = mcs_ns_sub(ns, "blocks.%d", k);
        if (i == 0)
            convs_init(&s->mbconv[k], block, dim, dim * cfg->expand_ratio, dim, 1);
        else
            block_init(&s->blocks[k], block, cfg, i);
    }
    if (i + 1 < MCS_TINYVIT_STAGES)
        convs_init(&s->down, mcs_ns_sub(ns, "downsample"), dim, cfg->dim[i + 1], cfg->dim[i + 1],
                   i + 2 < MCS_TINYVIT_STAGES ? 2 : 1);
    return true;
}

int mcs_tinyvit_reduction(const mcs_tinyvit_config *cfg)
{
    return 4 * cfg->stem_stride * cfg->stem_stride;
}

mcs_tinyvit *mcs_tinyvit_new(mcs_ns ns, const mcs_tinyvit_config *cfg)
{
    mcs_tinyvit *m = mcs_module(ns, sizeof *m);
    if (!m)
        return NULL;
    m->cfg = *cfg;
    mcs_ns stem = mcs_ns_sub(ns, "patch_embed");
    m->stem_name = stem.path;
    int stride = cfg->stem_stride, kernel = stride == 2 ? 3 : 1;
    conv_init(&m->stem[0], mcs_ns_sub(stem, "seq.0"), 3, cfg->dim[0] / 2, kernel, stride, 1);
    conv_init(&m->stem[1], mcs_ns_sub(stem, "seq.2"), cfg->dim[0] / 2, cfg->dim[0], kernel, stride,
              1);
    for (int i = 0; i < MCS_TINYVIT_STAGES; i++)
        if (!stage_init(&m->stage[i], mcs_ns_sub(ns, "layers.%d", i), cfg, i))
            return NULL;
    if (cfg->classes > 0) {
        int64_t last = cfg->dim[MCS_TINYVIT_STAGES - 1];
        mcs_ns norm = mcs_ns_sub(ns, "norm_head"), head = mcs_ns_sub(ns, "head");
        mcs_buffer(norm, "weight", MCS_INIT_ONES, 1, MCS_SHAPE(last));
        mcs_buffer(norm, "bias", MCS_INIT_ZEROS, 1, MCS_SHAPE(last));
        mcs_buffer(head, "weight", MCS_INIT_TRUNC02, 2, MCS_SHAPE(cfg->classes, last));
        mcs_buffer(head, "bias", MCS_INIT_ZEROS, 1, MCS_SHAPE(cfg->classes));
    }
    return m;
}

/* BN(conv(x)) */
static mcs_tensor *conv_forward(mcs_ctx *c, const tv_conv *m, const mcs_tensor *x)
{
    const mcs_batchnorm *bn = &m->bn;
    if (mcs_ctx_training(c))
        return mcs_batchnorm_forward(c, bn, mcs_conv_forward(c, &m->conv, x));
    mcs_tensor *sd = mcs_sqrt(c, mcs_affine(c, bn->running_var, 1.0f, bn->eps));
    mcs_tensor *scale = mcs_div(c, bn->weight, sd);
    mcs_tensor *column = mcs_reshape(c, scale, 4, MCS_SHAPE(-1, 1, 1, 1));
    mcs_tensor *weight = mcs_mul(c, m->conv.weight, column);
    mcs_tensor *bias = mcs_sub(c, bn->bias, mcs_mul(c, bn->running_mean, scale));
    return mcs_tap(c, bn->name, mcs_conv2d(c, x, weight, bias, m->conv.opts));
}

static mcs_tensor *mbconv_forward(mcs_ctx *c, const tv_convs *m, const mcs_tensor *x)
{
    mcs_scope s = mcs_scope_begin(c);
    mcs_scope wide = mcs_scope_begin(c);
    mcs_tensor *y = mcs_gelu(c, conv_forward(c, &m->conv1, x));
    y = mcs_scope_end(c, wide, mcs_gelu(c, conv_forward(c, &m->conv2, y)));
    y = mcs_gelu(c, mcs_add(c, conv_forward(c, &m->conv3, y), x));
    return mcs_scope_end(c, s, mcs_tap(c, m->name, y));
}

static mcs_tensor *down_forward(mcs_ctx *c, const tv_convs *m, const mcs_tensor *x)
{
    mcs_scope s = mcs_scope_begin(c);
    mcs_tensor *y = mcs_gelu(c, conv_forward(c, &m->conv1, x));
    y = mcs_gelu(c, conv_forward(c, &m->conv2, y));
    return mcs_scope_end(c, s, mcs_tap(c, m->name, conv_forward(c, &m->conv3, y)));
}

/* attention_biases (heads,w*w) -> (heads,N,N), N = w*w */
static mcs_tensor *bias_matrix(mcs_ctx *c, const tv_block *b)
{
    int w = b->window;
    int64_t n = (int64_t)w * w;
    mcs_tensor *ids = mcs_new_typed(c, MCS_I64, 2, MCS_SHAPE(n, n));
    if (!ids)
        return NULL;
    int64_t *id = mcs_i64(ids);
    for (int64_t i = 0; i < n; i++)
        for (int64_t j = 0; j < n; j++) {
            int64_t dy = i / w - j / w, dx = i % w - j % w;
            *id++ = (dy < 0 ? -dy : dy) * w + (dx < 0 ? -dx : dx);
        }
    mcs_tensor *y = mcs_embedding(c, mcs_transpose(c, b->biases, 0, 1), ids);
    return mcs_permute(c, y, (const int[]){ 2, 0, 1 });
}

/* x + proj(attention(norm x)), x (B,H,W,C) */
static mcs_tensor *block_attend(mcs_ctx *c, const tv_block *b, const mcs_tensor *x)
{
    mcs_scope s = mcs_scope_begin(c);
    int64_t h = mcs_dim(x, 1), w = mcs_dim(x, 2);
    mcs_tensor *y = mcs_linear_forward(c, &b->qkv, mcs_layernorm_forward(c, &b->norm1, x));
    mcs_tensor *pad = NULL;
    if (h % b->window || w % b->window) {
        pad = mcs_reshape(c, b->norm1.bias, 2, MCS_SHAPE(1, -1));
        pad = mcs_linear(c, pad, b->qkv.weight, b->qkv.bias);
        pad = mcs_reshape(c, pad, 1, MCS_SHAPE(-1));
    }
    y = mcs_window_partition(c, y, b->window, pad);
    y = mcs_attention_packed(c, y, MCS_QKV_PER_HEAD,
                             &(mcs_attention_opts){ .heads = b->heads, .bias = bias_matrix(c, b) });
    y = mcs_window_merge(c, y, b->window, h, w);
    return mcs_scope_end(c, s, mcs_linear_add(c, y, b->proj.weight, b->proj.bias, x));
}

static mcs_tensor *block_forward(mcs_ctx *c, const tv_block *b, const mcs_tensor *x)
{
    mcs_scope s = mcs_scope_begin(c);
    mcs_tensor *y = mcs_permute(c, block_attend(c, b, x), (const int[]){ 0, 3, 1, 2 });
    y = mcs_permute(c, conv_forward(c, &b->local, y), (const int[]){ 0, 2, 3, 1 });
    mcs_tensor *h = mcs_layernorm_forward(c, &b->norm2, y);
    h = mcs_linear_gelu(c, h, b->fc1.weight, b->fc1.bias);
    y = mcs_linear_add(c, h, b->fc2.weight, b->fc2.bias, y);
    return mcs_scope_end(c, s, mcs_tap(c, b->name, y));
}

/* Stage 0 on channels-first maps, the others on tokens; a down-sampling takes and gives maps. */
static mcs_tensor *stage_forward(mcs_ctx *c, const tv_stage *m, const mcs_tensor *map, bool last)
{
    mcs_scope s = mcs_scope_begin(c);
    mcs_tensor *x;
    if (m->mbconv) {
        x = mbconv_forward(c, &m->mbconv[0], map);
        for (int i = 1; i < m->depth; i++)
            x = mbconv_forward(c, &m->mbconv[i], x);
    } else {
        x = mcs_permute(c, map, (const int[]){ 0, 2, 3, 1 });
        for (int i = 0; i < m->depth; i++)
            x = block_forward(c, &m->blocks[i], x);
        if (!last)
            x = mcs_permute(c, x, (const int[]){ 0, 3, 1, 2 });
    }
    return mcs_scope_end(c, s, last ? x : down_forward(c, &m->down, x));
}

mcs_tensor *mcs_tinyvit_tokens(mcs_ctx *c, const mcs_tinyvit *m, const mcs_tensor *image)
{
    if (!image)
        return NULL;
    int r = mcs_tinyvit_reduction(&m->cfg);
    if (image->ndim != 4 || image->shape[1] != 3 || image->shape[2] % r || image->shape[3] % r)
        return mcs_fail(c, MCS_ESHAPE,
                        "tinyvit: expected an image (B,3,H,W) with sides divisible by %d", r);
    mcs_scope s = mcs_scope_begin(c);
    mcs_scope stem = mcs_scope_begin(c);
    mcs_tensor *x = mcs_gelu(c, conv_forward(c, &m->stem[0], image));
    x = mcs_tap(c, m->stem_name, conv_forward(c, &m->stem[1], x));
    x = mcs_scope_end(c, stem, x);
    for (int i = 0; i < MCS_TINYVIT_STAGES; i++)
        x = stage_forward(c, &m->stage[i], x, i + 1 == MCS_TINYVIT_STAGES);
    return mcs_scope_end(c, s, x);
}
