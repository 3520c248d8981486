/* sam_encoder.c - SAM's image encoder: a ViT with windowed and global attention, and the neck.
 *
 * Kirillov et al. 2023, after ViTDet (Li et al. 2022, arXiv 2203.16527); must agree with
 * segment_anything/modeling/image_encoder.py.
 *
 *   x = patches(image) + pos_embed                      (B,G,G,E), G = image / patch
 *   block:  x += proj(attention(qkv(LN1 x)));  x += lin2(gelu(lin1(LN2 x)))
 *   neck:   LN(conv3x3(LN(conv1x1 x)))                  (B,256,G,G), LN over channels
 *
 * attention: softmax(scale q k^T + <q, rel_h> + <q, rel_w>) v, over all G*G tokens in global
 * blocks, else inside windows of `window` x `window`.  The original zero-pads LN1 x to whole
 * windows, so a padding token is the projection of 0, the bias, and takes part in the softmax.
 *
 * Order of work.  qkv and proj act on single tokens and commute with the partition, so both are
 * done on the G*G true tokens (4096) instead of the padded ones (4900), padding cells get the
 * bias as they are gathered, and proj adds the residual in its epilogue.  The neck's 1x1
 * convolution and first norm are a linear layer and a layer norm on tokens: only its result is
 * brought to channels-first.  Scopes end each half of a block: at 1024 pixels vit_b holds
 * about 160 MB besides its weights. */
#include "models/sam_internal.h"

typedef struct {
    const char *name;
    int window; /* 0: global */
    mcs_layernorm norm1, norm2;
    mcs_linear_layer qkv, proj;
    mcs_mlp mlp;
    mcs_tensor *rel_h, *rel_w; /* (2*side-1, head dim), side = window or G */
} sam_block;

struct mcs_sam_vit {
    mcs_sam_vit_config cfg;
    int image, grid;
    const char *patch_name;
    mcs_conv patch;
    mcs_tensor *pos_embed; /* (1,G,G,E) */
    sam_block *blocks; /* depth */
};

static void block_init(sam_block *b, mcs_ns ns, const mcs_sam_vit_config *cfg, int i, int grid)
{
    b->name = ns.path;
    b->window = cfg->global_blocks >> i & 1 ? 0 : cfg->window;
    int64_t rel[2] = { 2 * (b->window ? b->window : grid) - 1, cfg->dim / cfg->heads };
    mcs_ns attn = mcs_ns_sub(ns, "attn");
    mcs_layernorm_init(&b->norm1, mcs_ns_sub(ns, "norm1"), cfg->dim, 1e-6f);
    b->rel_h = mcs_param(attn, "rel_pos_h", MCS_INIT_ZEROS, 2, rel);
    b->rel_w = mcs_param(attn, "rel_pos_w", MCS_INIT_ZEROS, 2, rel);
    mcs_linear_init(&b->qkv, mcs_ns_sub(attn, "qkv"), cfg->dim, 3 * (int64_t)cfg->dim, true);
    mcs_linear_init(&b->proj, mcs_ns_sub(attn, "proj"), cfg->dim, cfg->dim, true);
    mcs_layernorm_init(&b->norm2, mcs_ns_sub(ns, "norm2"), cfg->dim, 1e-6f);
    mcs_mlp_init(&b->mlp, mcs_ns_sub(ns, "mlp"), "lin1", "lin2", cfg->dim, cfg->mlp_dim);
}

mcs_sam_vit *mcs_sam_vit_new(mcs_ns ns, const mcs_sam_vit_config *cfg, int image)
{
    mcs_sam_vit *m = mcs_module(ns, sizeof *m);
    sam_block *blocks = mcs_module(ns, (size_t)cfg->depth * sizeof *blocks);
    if (!m || !blocks)
        return NULL;
    *m = (mcs_sam_vit){ .cfg = *cfg, .image = image, .grid = image / cfg->patch, .blocks = blocks };
    m->pos_embed =
        mcs_param(ns, "pos_embed", MCS_INIT_ZEROS, 4, MCS_SHAPE(1, m->grid, m->grid, cfg->dim));
    mcs_ns patch = mcs_ns_sub(ns, "patch_embed");
    m->patch_name = patch.path;
    mcs_conv_init(&m->patch, mcs_ns_sub(patch, "proj"), 3, cfg->dim, cfg->patch, cfg->patch, 0, 1,
                  true);
    for (int i = 0; i < cfg->depth; i++)
        block_init(&blocks[i], mcs_ns_sub(ns, "blocks.%d", i), cfg, i, m->grid);
    return m;
}

/* x + proj(attention(norm1 x)) */
static mcs_tensor *block_attend(mcs_ctx *c, const mcs_sam_vit *m, const sam_block *b,
                                const mcs_tensor *x)
{
    mcs_scope s = mcs_scope_begin(c);
    int64_t batch = mcs_dim(x, 0), g = m->grid, e = m->cfg.dim;
    int side = b->window ? b->window : m->grid;
    mcs_tensor *h = mcs_linear_forward_norm(c, &b->qkv, &b->norm1, x);
    if (b->window)
        h = mcs_window_partition(c, h, b->window, b->qkv.bias);
    else
        h = mcs_reshape(c, h, 3, MCS_SHAPE(batch, g * g, 3 * e));
    h = mcs_attention_packed(c, h, MCS_QKV_SPLIT,
                             &(mcs_attention_opts){ .heads = m->cfg.heads,
                                                    .rel_h = b->rel_h,
                                                    .rel_w = b->rel_w,
                                                    .grid_h = side,
                                                    .grid_w = side });
    if (b->window)
        h = mcs_window_merge(c, h, b->window, g, g);
    else
        h = mcs_reshape(c, h, 4, MCS_SHAPE(batch, g, g, e));
    return mcs_scope_end(c, s, mcs_linear_add(c, h, b->proj.weight, b->proj.bias, x));
}

/* x + mlp(norm2 x) */
static mcs_tensor *block_mlp(mcs_ctx *c, const sam_block *b, const mcs_tensor *x)
{
    mcs_scope s = mcs_scope_begin(c);
    return mcs_scope_end(c, s, mcs_mlp_block(c, &b->norm2, &b->mlp, x));
}

typedef struct {
    const mcs_sam_vit *m;
    const sam_block *b;
} block_args;

static mcs_tensor *block_forward(mcs_ctx *c, const void *arg, const mcs_tensor *x)
{
    const sam_block *b = ((const block_args *)arg)->b;
    mcs_scope s = mcs_scope_begin(c);
    mcs_tensor *y = block_mlp(c, b, block_attend(c, ((const block_args *)arg)->m, b, x));
    return mcs_scope_end(c, s, mcs_tap(c, b->name, y));
}

/* (B,3,S,S) -> (B,G,G,E) */
static mcs_tensor *patches(mcs_ctx *c, const mcs_sam_vit *m, const mcs_tensor *image)
{
    mcs_scope s = mcs_scope_begin(c);
    mcs_tensor *x = mcs_conv_forward(c, &m->patch, image);
    x = mcs_tap(c, m->patch_name, mcs_permute(c, x, (const int[]){ 0, 2, 3, 1 }));
    return mcs_scope_end(c, s, mcs_add(c, x, m->pos_embed));
}

mcs_tensor *mcs_sam_vit_tokens(mcs_ctx *c, const mcs_sam_vit *m, const mcs_tensor *image)
{
    mcs_scope s = mcs_scope_begin(c);
    mcs_tensor *x = patches(c, m, image);
    for (int i = 0; i < m->cfg.depth; i += 4) {
        /* outputs kept by the blocks of a group pile up until its scope ends */
        mcs_scope group = mcs_scope_begin(c);
        for (int j = i; j < i + 4 && j < m->cfg.depth; j++)
            x = mcs_recompute(c, block_forward, &(block_args){ m, &m->blocks[j] },
                              sizeof(block_args), x);
        x = mcs_scope_end(c, group, x);
    }
    return mcs_scope_end(c, s, x);
}

void mcs_sam_neck_init(mcs_sam_neck *m, mcs_ns ns, int64_t dim, int64_t out)
{
    m->name = ns.path;
    mcs_conv_init(&m->conv1, mcs_ns_sub(ns, "0"), dim, out, 1, 1, 0, 1, false);
    mcs_layernorm_init(&m->norm1, mcs_ns_sub(ns, "1"), out, 1e-6f);
    mcs_conv_init(&m->conv2, mcs_ns_sub(ns, "2"), out, out, 3, 1, 1, 1, false);
    mcs_layernorm_init(&m->norm2, mcs_ns_sub(ns, "3"), out, 1e-6f);
}

mcs_tensor *mcs_sam_neck_forward(mcs_ctx *c, const mcs_sam_neck *m, const mcs_tensor *tokens)
{
    mcs_scope s = mcs_scope_begin(c);
    const int64_t *w = m->conv1.weight->shape;
    mcs_tensor *weight = mcs_reshape(c, m->conv1.weight, 2, MCS_SHAPE(w[0], w[1]));
    mcs_tensor *x = mcs_linear(c, tokens, weight, NULL);
    x = mcs_layer_norm(c, x, m->norm1.weight, m->norm1.bias, m->norm1.eps);
    x = mcs_permute(c, x, (const int[]){ 0, 3, 1, 2 });
    x = mcs_layernorm2d_forward(c, &m->norm2, mcs_conv_forward(c, &m->conv2, x));
    return mcs_scope_end(c, s, mcs_tap(c, m->name, x));
}
