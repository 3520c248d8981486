/* sam_decoder.c - SAM's mask decoder: a two-way transformer and dynamic mask heads.
 *
 * Must agree with segment_anything/modeling/transformer.py and mask_decoder.py.
 *
 *   t = [iou token, mask tokens, prompt tokens]; pt = t, p = positional encoding of the grid
 *   layer:  t = LN1(t + self(t+pt, t+pt, t))        layer 0: t = LN1(self(t, t, t))
 *           t = LN2(t + cross(t+pt, x+p, x))        tokens look at the image
 *           t = LN3(t + lin2(relu(lin1 t)))
 *           x = LN4(x + cross(x+p, t+pt, t))        the image looks at the tokens
 *   end:    t = LN(t + cross(t+pt, x+p, x))
 *   pixels  u = gelu(convT(gelu(LN(convT x))))      (dim/8, 4G, 4G)
 *   mask k  = MLP_k(mask token k) . u;  iou = MLP(iou token)
 *
 * One prompt at a time: the image tokens (4 MB) then stay in cache, memory does not grow with
 * the number of prompts, and a shared embedding is never copied per prompt.  Only the masks
 * asked for are computed. */
#include "models/sam_internal.h"

typedef struct {
    const char *name;
    int heads;
    mcs_linear_layer q, k, v, out;
} sam_attention;

typedef struct { /* linear layers with ReLU between */
    int depth;
    mcs_linear_layer layer[MCS_SAM_MAX_MLP];
} sam_mlp;

typedef struct {
    bool first;
    sam_attention self, to_image, to_tokens;
    mcs_linear_layer lin1, lin2;
    mcs_layernorm norm[4];
} sam_two_way;

struct mcs_sam_decoder {
    mcs_sam_decoder_config cfg;
    int grid;
    sam_two_way *layers; /* depth */
    sam_attention final;
    mcs_layernorm norm_final, up_norm;
    mcs_embedding_layer iou_token, mask_tokens;
    mcs_conv_transpose up[2];
    sam_mlp *hyper; /* mask_tokens */
    sam_mlp iou;
};

static void attention_init(sam_attention *m, mcs_ns ns, const mcs_sam_decoder_config *cfg,
                           int64_t inner)
{
    m->name = ns.path;
    m->heads = cfg->heads;
    mcs_linear_init(&m->q, mcs_ns_sub(ns, "q_proj"), cfg->dim, inner, true);
    mcs_linear_init(&m->k, mcs_ns_sub(ns, "k_proj"), cfg->dim, inner, true);
    mcs_linear_init(&m->v, mcs_ns_sub(ns, "v_proj"), cfg->dim, inner, true);
    mcs_linear_init(&m->out, mcs_ns_sub(ns, "out_proj"), inner, cfg->dim, true);
}

static void mlp_init(sam_mlp *m, mcs_ns ns, int depth, int64_t in, int64_t hidden, int64_t out)
{
    m->depth = depth;
    for (int i = 0; i < depth; i++)
        mcs_linear_init(&m->layer[i], mcs_ns_sub(ns, "layers.%d", i), i == 0 ? in : hidden,
                        i == depth - 1 ? out : hidden, true);
}

static void two_way_init(sam_two_way *m, mcs_ns ns, const mcs_sam_decoder_config *cfg, bool first)
{
    m->first = first;
    attention_init(&m->self, mcs_ns_sub(ns, "self_attn"), cfg, cfg->dim);
    attention_init(&m->to_image, mcs_ns_sub(ns, "cross_attn_token_to_image"), cfg, cfg->cross_dim);
    mcs_linear_init(&m->lin1, mcs_ns_sub(ns, "mlp.lin1"), cfg->dim, cfg->mlp_dim, true);
    mcs_linear_init(&m->lin2, mcs_ns_sub(ns, "mlp.lin2"), cfg->mlp_dim, cfg->dim, true);
    attention_init(&m->to_tokens, mcs_ns_sub(ns, "cross_attn_image_to_token"), cfg, cfg->cross_dim);
    for (int i = 0; i < 4; i++)
        mcs_layernorm_init(&m->norm[i], mcs_ns_sub(ns, "norm%d", i + 1), cfg->dim, 1e-5f);
}

mcs_sam_decoder *mcs_sam_decoder_new(mcs_ns ns, const mcs_sam_decoder_config *cfg, int grid)
{
    mcs_sam_decoder *m = mcs_module(ns, sizeof *m);
    sam_two_way *layers = mcs_module(ns, (size_t)cfg->depth * sizeof *layers);
    sam_mlp *hyper = mcs_module(ns, (size_t)cfg->mask_tokens * sizeof *hyper);
    if (!m || !layers || !hyper)
        return NULL;
    *m = (mcs_sam_decoder){ .cfg = *cfg, .grid = grid, .layers = layers, .hyper = hyper };
    int64_t dim = cfg->dim;
    mcs_ns tr = mcs_ns_sub(ns, "transformer"), up = mcs_ns_sub(ns, "output_upscaling");
    for (int i = 0; i < cfg->depth; i++)
        two_way_init(&layers[i], mcs_ns_sub(tr, "layers.%d", i), cfg, i == 0);
    attention_init(&m->final, mcs_ns_sub(tr, "final_attn_token_to_image"), cfg, cfg->cross_dim);
    mcs_layernorm_init(&m->norm_final, mcs_ns_sub(tr, "norm_final_attn"), dim, 1e-5f);
    mcs_embedding_init(&m->iou_token, mcs_ns_sub(ns, "iou_token"), 1, dim);
    mcs_embedding_init(&m->mask_tokens, mcs_ns_sub(ns, "mask_tokens"), cfg->mask_tokens, dim);
    mcs_conv_transpose_init(&m->up[0], mcs_ns_sub(up, "0"), dim, dim / 4, 2, 2, 0, 0, true);
    mcs_layernorm_init(&m->up_norm, mcs_ns_sub(up, "1"), dim / 4, 1e-6f);
    mcs_conv_transpose_init(&m->up[1], mcs_ns_sub(up, "3"), dim / 4, dim / 8, 2, 2, 0, 0, true);
    for (int i = 0; i < cfg->mask_tokens; i++)
        mlp_init(&hyper[i], mcs_ns_sub(ns, "output_hypernetworks_mlps.%d", i), 3, dim, dim,
                 dim / 8);
    mlp_init(&m->iou, mcs_ns_sub(ns, "iou_prediction_head"), cfg->iou_depth, dim, cfg->iou_dim,
             cfg->mask_tokens);
    return m;
}

/* residual + out(attention(q, k, v)); Nullable: residual. */
static mcs_tensor *attend(mcs_ctx *c, const sam_attention *m, const mcs_tensor *q,
                          const mcs_tensor *k, const mcs_tensor *v, const mcs_tensor *residual)
{
    mcs_scope s = mcs_scope_begin(c);
    mcs_tensor *y =
        mcs_attention(c, mcs_linear_forward(c, &m->q, q), mcs_linear_forward(c, &m->k, k),
                      mcs_linear_forward(c, &m->v, v), &(mcs_attention_opts){ .heads = m->heads });
    if (residual)
        y = mcs_linear_add(c, y, m->out.weight, m->out.bias, residual);
    else
        y = mcs_linear_forward(c, &m->out, y);
    return mcs_scope_end(c, s, y);
}

static mcs_tensor *mlp_forward(mcs_ctx *c, const sam_mlp *m, const mcs_tensor *x)
{
    mcs_tensor *y = mcs_linear_forward(c, &m->layer[0], x);
    for (int i = 1; i < m->depth; i++)
        y = mcs_linear_forward(c, &m->layer[i], mcs_relu(c, y));
    return y;
}

/* Tokens of a layer: *t (1,T,dim) with encoding pt, *x (1,N,dim) with encoding px. */
static void two_way_forward(mcs_ctx *c, const sam_two_way *m, mcs_tensor **t, const mcs_tensor **x,
                            const mcs_tensor *pt, const mcs_tensor *px)
{
    mcs_tensor *q = *t;
    if (m->first) {
        q = attend(c, &m->self, q, q, q, NULL);
    } else {
        mcs_tensor *placed = mcs_add(c, q, pt);
        q = attend(c, &m->self, placed, placed, q, q);
    }
    q = mcs_layernorm_forward(c, &m->norm[0], q);
    mcs_tensor *k = mcs_add(c, *x, px);
    q = attend(c, &m->to_image, mcs_add(c, q, pt), k, *x, q);
    q = mcs_layernorm_forward(c, &m->norm[1], q);
    mcs_tensor *h = mcs_relu(c, mcs_linear_forward(c, &m->lin1, q));
    q = mcs_linear_add(c, h, m->lin2.weight, m->lin2.bias, q);
    q = mcs_layernorm_forward(c, &m->norm[2], q);
    mcs_tensor *y = attend(c, &m->to_tokens, k, mcs_add(c, q, pt), q, *x);
    *x = mcs_layernorm_forward(c, &m->norm[3], y);
    *t = q;
}

/* (1,N,dim) -> (dim/8, 16 N) */
static mcs_tensor *upscale(mcs_ctx *c, const mcs_sam_decoder *m, const mcs_tensor *x)
{
    mcs_scope s = mcs_scope_begin(c);
    int64_t g = m->grid, dim = m->cfg.dim;
    mcs_tensor *u = mcs_reshape(c, mcs_transpose(c, x, 1, 2), 4, MCS_SHAPE(1, dim, g, g));
    u = mcs_layernorm2d_forward(c, &m->up_norm, mcs_conv_transpose_forward(c, &m->up[0], u));
    u = mcs_gelu(c, mcs_conv_transpose_forward(c, &m->up[1], mcs_gelu(c, u)));
    return mcs_scope_end(c, s, mcs_reshape(c, u, 2, MCS_SHAPE(dim / 8, 16 * g * g)));
}

/* Runs the transformer: tokens (1,T,dim) in and out, *x (1,N,dim) likewise. */
static mcs_tensor *transform(mcs_ctx *c, const mcs_sam_decoder *m, mcs_tensor *tokens,
                             const mcs_tensor **x, const mcs_tensor *pe)
{
    mcs_tensor *t = tokens;
    for (int i = 0; i < m->cfg.depth; i++)
        two_way_forward(c, &m->layers[i], &t, x, tokens, pe);
    t = attend(c, &m->final, mcs_add(c, t, tokens), mcs_add(c, *x, pe), *x, t);
    return mcs_layernorm_forward(c, &m->norm_final, t);
}

mcs_tensor *mcs_sam_decoder_forward(mcs_ctx *c, const mcs_sam_decoder *m, const mcs_tensor *image,
                                    const mcs_tensor *pe, const mcs_tensor *sparse, int first,
                                    int count, mcs_tensor **iou)
{
    int64_t dim = m->cfg.dim, fixed = 1 + (int64_t)m->cfg.mask_tokens;
    const mcs_tensor *own[2] = { m->iou_token.weight, m->mask_tokens.weight };
    mcs_tensor *tokens = mcs_concat(c, 0, 2, own);
    tokens = mcs_reshape(c, tokens, 3, MCS_SHAPE(1, fixed, dim));
    if (sparse)
        tokens = mcs_concat(c, 1, 2, (const mcs_tensor *const[]){ tokens, sparse });
    const mcs_tensor *x = image;
    tokens = transform(c, m, tokens, &x, pe);
    if (!tokens)
        return NULL;
    tokens = mcs_reshape(c, tokens, 2, MCS_SHAPE(-1, dim));
    *iou = mlp_forward(c, &m->iou, mcs_rows(c, tokens, 0, 1));
    *iou = mcs_slice(c, *iou, 1, first, first + count);
    const mcs_tensor *hyper[MCS_SAM_MAX_MASKS];
    for (int i = 0; i < count; i++)
        hyper[i] =
            mlp_forward(c, &m->hyper[first + i], mcs_rows(c, tokens, 1 + first + i, 2 + first + i));
    mcs_tensor *masks = mcs_matmul(c, mcs_concat(c, 0, count, hyper), upscale(c, m, x));
    return mcs_reshape(c, masks, 3, MCS_SHAPE(count, 4 * (int64_t)m->grid, 4 * (int64_t)m->grid));
}
