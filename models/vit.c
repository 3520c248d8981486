/* vit.c - the Vision Transformer.
 *
 * Dosovitskiy et al. 2021; must agree with timm/models/vision_transformer.py (class token, learned
 * positions that include it, pre-norm, qkv bias, exact GELU, LN eps 1e-6, no dropout):
 *
 *   x = [cls | patches(image)] + pos_embed              (B,1+N,C), N = (image / patch)^2
 *   block:  x += proj(attention(qkv(norm1 x)));  x += fc2(gelu(fc1(norm2 x)))
 *   out = norm(x)
 *
 * Residuals are added in the products' epilogues.  Each half of a block is a scope, so inference
 * holds a few activations whatever the depth. */
#include "models/vit.h"
#include "models/model_internal.h"

enum { BLOCKS_PER_SCOPE = 4 };

typedef struct {
    const char *name;
    mcs_layernorm norm1, norm2;
    mcs_attention_layer attn;
    mcs_mlp mlp;
} vit_block;

struct mcs_vit {
    mcs_vit_config cfg;
    const char *patch_name;
    mcs_tensor *cls_token, *pos_embed; /* (1,1,C), (1,1+N,C) */
    mcs_conv patch;
    vit_block *blocks; /* depth */
    mcs_layernorm norm;
};

mcs_status mcs_vit_check(const mcs_vit_config *cfg, mcs_error *e)
{
    const char *wrong = NULL;
    if (cfg->patch < 1 || cfg->patch > 256)
        wrong = "patch must be 1..256";
    else if (cfg->image < cfg->patch || cfg->image > 4096 || cfg->image % cfg->patch)
        wrong = "image must be a multiple of patch, at most 4096";
    else
        wrong = mcs_transformer_wrong(cfg->dim, cfg->depth, cfg->heads, cfg->mlp_dim);
    return wrong ? mcs_error_set(e, MCS_EINVAL, "vision transformer: %s", wrong) : MCS_OK;
}

static void block_init(vit_block *b, mcs_ns ns, const mcs_vit_config *cfg)
{
    b->name = ns.path;
    mcs_layernorm_init(&b->norm1, mcs_ns_sub(ns, "norm1"), cfg->dim, 1e-6f);
    mcs_attention_init(&b->attn, mcs_ns_sub(ns, "attn"), cfg->dim, cfg->heads);
    mcs_layernorm_init(&b->norm2, mcs_ns_sub(ns, "norm2"), cfg->dim, 1e-6f);
    mcs_mlp_init(&b->mlp, mcs_ns_sub(ns, "mlp"), "fc1", "fc2", cfg->dim, cfg->mlp_dim);
}

mcs_vit *mcs_vit_new(mcs_ns ns, const mcs_vit_config *cfg)
{
    int64_t grid = cfg->image / cfg->patch;
    mcs_vit *m = mcs_module(ns, sizeof *m);
    vit_block *blocks = mcs_module(ns, (size_t)cfg->depth * sizeof *blocks);
    if (!m || !blocks)
        return NULL;
    m->cfg = *cfg;
    m->blocks = blocks;
    m->cls_token = mcs_param(ns, "cls_token", MCS_INIT_TRUNC02, 3, MCS_SHAPE(1, 1, cfg->dim));
    m->pos_embed =
        mcs_param(ns, "pos_embed", MCS_INIT_TRUNC02, 3, MCS_SHAPE(1, 1 + grid * grid, cfg->dim));
    mcs_ns patch = mcs_ns_sub(ns, "patch_embed");
    m->patch_name = patch.path;
    mcs_conv_init(&m->patch, mcs_ns_sub(patch, "proj"), 3, cfg->dim, cfg->patch, cfg->patch, 0, 1,
                  true);
    for (int i = 0; i < cfg->depth; i++)
        block_init(&blocks[i], mcs_ns_sub(ns, "blocks.%d", i), cfg);
    mcs_layernorm_init(&m->norm, mcs_ns_sub(ns, "norm"), cfg->dim, 1e-6f);
    return m;
}

/* ---- Forward ---- */

static mcs_tensor *block_attend(mcs_ctx *c, const vit_block *b, const mcs_tensor *x)
{
    mcs_scope s = mcs_scope_begin(c);
    return mcs_scope_end(c, s, mcs_attention_block(c, &b->norm1, &b->attn, x));
}

static mcs_tensor *block_feed(mcs_ctx *c, const vit_block *b, const mcs_tensor *x)
{
    mcs_scope s = mcs_scope_begin(c);
    return mcs_scope_end(c, s, mcs_mlp_block(c, &b->norm2, &b->mlp, x));
}

static mcs_tensor *block_forward(mcs_ctx *c, const void *arg, const mcs_tensor *x)
{
    const vit_block *b = arg;
    mcs_scope s = mcs_scope_begin(c);
    mcs_tensor *y = block_feed(c, b, block_attend(c, b, x));
    return mcs_scope_end(c, s, mcs_tap(c, b->name, y));
}

static bool block_hooked(mcs_ctx *c, const vit_block *b)
{
    const char *const names[] = { b->name,          b->norm1.name,     b->attn.name,  b->attn.probs,
                                  b->attn.qkv.name, b->attn.proj.name, b->norm2.name, b->mlp.name,
                                  b->mlp.fc1.name,  b->mlp.fc2.name };
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (mcs_hooked(c, names[i]))
            return true;
    return false;
}

/* The block's output at the class token, (B,1,C).  Keys and values need all tokens, the query
 * and all that follows only one; the rows of the packed projection are its q, k and v. */
static mcs_tensor *block_forward_cls(mcs_ctx *c, const vit_block *b, const mcs_tensor *x)
{
    mcs_scope s = mcs_scope_begin(c);
    const mcs_linear_layer *qkv = &b->attn.qkv, *proj = &b->attn.proj;
    const mcs_layernorm *norm = &b->norm1;
    const mcs_tensor *cls = mcs_slice(c, x, 1, 0, 1), *part[3];
    int64_t dim = mcs_dim(x, 2);
    for (int i = 0; i < 3; i++)
        part[i] = mcs_norm_linear(c, i ? x : cls, norm->weight, norm->bias, norm->eps,
                                  mcs_rows(c, qkv->weight, i * dim, (i + 1) * dim),
                                  mcs_rows(c, qkv->bias, i * dim, (i + 1) * dim));
    mcs_attention_opts o = { .heads = b->attn.heads };
    mcs_tensor *h = mcs_attention_linear_add(c, part[0], part[1], part[2], &o, proj->weight,
                                             proj->bias, cls);
    return mcs_scope_end(c, s, block_feed(c, b, h));
}

/* (B,3,S,S) -> (B,1+N,C) */
static mcs_tensor *embed_forward(mcs_ctx *c, const void *arg, const mcs_tensor *images)
{
    const mcs_vit *m = arg;
    int64_t batch = mcs_dim(images, 0), grid = m->cfg.image / m->cfg.patch, dim = m->cfg.dim;
    mcs_scope s = mcs_scope_begin(c);
    mcs_tensor *x = mcs_conv_forward(c, &m->patch, images);
    x = mcs_transpose(c, mcs_reshape(c, x, 3, MCS_SHAPE(batch, dim, grid * grid)), 1, 2);
    x = mcs_tap(c, m->patch_name, x);
    const mcs_tensor *cls = mcs_expand(c, m->cls_token, 3, MCS_SHAPE(batch, 1, dim));
    x = mcs_concat(c, 1, 2, (const mcs_tensor *[]){ cls, x });
    return mcs_scope_end(c, s, mcs_add(c, x, m->pos_embed));
}

/* Its layouts between picture and tokens would take as much of the tape as the inputs of three
 * blocks, and the product costs 2 C^2 of a block's 24 C^2 (C = 3 patch^2, as in ViT-B/16). */
static mcs_tensor *embed(mcs_ctx *c, const mcs_vit *m, const mcs_tensor *images)
{
    return mcs_recompute_always(c, embed_forward, m, sizeof *m, images);
}

static bool images_ok(mcs_ctx *c, const mcs_vit *m, const mcs_tensor *x)
{
    char shape[96];
    int64_t side = m->cfg.image;
    if (!x || mcs_ctx_status(c) != MCS_OK)
        return false;
    if (x->dtype == MCS_F32 && x->ndim == 4 && x->shape[0] > 0 && x->shape[1] == 3 &&
        x->shape[2] == side && x->shape[3] == side)
        return true;
    mcs_fail(c, MCS_ESHAPE, "vision transformer: images are %s, expected float (B, 3, %lld, %lld)",
             mcs_shape_str(x, shape, sizeof shape), (long long)side, (long long)side);
    return false;
}

/* The first `count` blocks.  What blocks keep piles up until the scope around them ends. */
static mcs_tensor *run_blocks(mcs_ctx *c, const mcs_vit *m, mcs_tensor *x, int count)
{
    for (int i = 0; i < count; i += BLOCKS_PER_SCOPE) {
        mcs_scope s = mcs_scope_begin(c);
        for (int j = i; j < i + BLOCKS_PER_SCOPE && j < count; j++)
            x = mcs_recompute(c, block_forward, &m->blocks[j], sizeof *m->blocks, x);
        x = mcs_scope_end(c, s, x);
    }
    return x;
}

mcs_tensor *mcs_vit_tokens(mcs_ctx *c, const mcs_vit *m, const mcs_tensor *images)
{
    if (!images_ok(c, m, images))
        return NULL;
    mcs_scope s = mcs_scope_begin(c);
    mcs_tensor *x = run_blocks(c, m, embed(c, m, images), m->cfg.depth);
    return mcs_scope_end(c, s, mcs_layernorm_forward(c, &m->norm, x));
}

mcs_tensor *mcs_vit_cls(mcs_ctx *c, const mcs_vit *m, const mcs_tensor *images)
{
    if (!images_ok(c, m, images))
        return NULL;
    const vit_block *last = &m->blocks[m->cfg.depth - 1];
    mcs_scope s = mcs_scope_begin(c);
    mcs_tensor *x;
    if (block_hooked(c, last) || mcs_hooked(c, m->norm.name)) {
        x = mcs_slice(c, mcs_vit_tokens(c, m, images), 1, 0, 1);
    } else {
        x = run_blocks(c, m, embed(c, m, images), m->cfg.depth - 1);
        x = mcs_layernorm_forward(c, &m->norm, block_forward_cls(c, last, x));
    }
    x = mcs_reshape(c, x, 2,
                    MCS_SHAPE(mcs_dim(x, 0), m->cfg.dim)); /* a hook may change the batch */
    return mcs_scope_end(c, s, x);
}
