/* sam.c - the Segment Anything Model put together: declare, load, encode, decode.
 *
 * Kirillov et al. 2023; must agree with segment_anything/modeling/sam.py and predictor.py.  The
 * parts: sam_encoder.c or tinyvit.c (image -> tokens), the neck (tokens -> embedding),
 * sam_prompt.c (prompts -> tokens), sam_decoder.c (both -> masks), sam_frame.c (pixels <-> model
 * frame), sam_config.c (layouts). */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "models/model_internal.h"
#include "models/sam_internal.h"

/* Never missing, never unexpected: statistics and buffers that some writers keep. */
static const char *const ignored[] = { "num_batches_tracked", "attention_bias_idxs", "pixel_mean",
                                       "pixel_std", NULL };

static bool declare(mcs_sam *m, mcs_params *p, const mcs_sam_config *cfg)
{
    mcs_ns root = mcs_root(p), encoder = mcs_ns_sub(root, "image_encoder");
    m->params = p;
    m->cfg = *cfg;
    m->grid = cfg->image / (cfg->tiny ? mcs_tinyvit_reduction(&cfg->tinyvit) : cfg->vit.patch);
    if (cfg->tiny)
        m->tinyvit = mcs_tinyvit_new(encoder, &cfg->tinyvit);
    else
        m->vit = mcs_sam_vit_new(encoder, &cfg->vit, cfg->image);
    mcs_sam_neck_init(&m->neck, mcs_ns_sub(encoder, "neck"),
                      cfg->tiny ? cfg->tinyvit.dim[MCS_TINYVIT_STAGES - 1] : cfg->vit.dim,
                      cfg->decoder.dim);
    mcs_sam_prompt_init(&m->prompt, mcs_ns_sub(root, "prompt_encoder"), &cfg->decoder, m->grid,
                        cfg->image);
    m->decoder = mcs_sam_decoder_new(mcs_ns_sub(root, "mask_decoder"), &cfg->decoder, m->grid);
    return (m->vit || m->tinyvit) && m->decoder && mcs_params_status(p) == MCS_OK;
}

mcs_sam *mcs_sam_new(const mcs_sam_config *cfg, mcs_error *e)
{
    if (mcs_sam_config_check(cfg, e))
        return NULL;
    mcs_params *p = mcs_params_new();
    mcs_sam *m = p ? mcs_module(mcs_root(p), sizeof *m) : NULL;
    if (m && declare(m, p, cfg))
        return m;
    mcs_declare_failed(p, "sam", e);
    return NULL;
}

static mcs_sam *load(mcs_checkpoint *k, int flags, mcs_error *e)
{
    mcs_sam_config cfg;
    char prefix[256];
    if (mcs_sam_config_read(k, &cfg, e) || mcs_sam_find_prefix(k, prefix, sizeof prefix, e))
        return NULL;
    mcs_sam *m = mcs_sam_new(&cfg, e);
    if (!m || mcs_params_load(m->params, k, prefix, ignored, flags, e) == MCS_OK)
        return m;
    mcs_sam_free(m);
    return NULL;
}

mcs_sam *mcs_sam_load_flags(const char *path, int flags, mcs_error *e)
{
    mcs_checkpoint *k = mcs_checkpoint_open(path, e);
    mcs_sam *m = k ? load(k, flags, e) : NULL;
    mcs_checkpoint_close(k);
    return m;
}

mcs_sam *mcs_sam_load(const char *path, mcs_error *e)
{
    return mcs_sam_load_flags(path, MCS_LOAD_STRICT, e);
}

mcs_status mcs_sam_save(const mcs_sam *m, const char *path, mcs_stored_dtype dtype, mcs_error *e)
{
    char config[128];
    snprintf(config, sizeof config, "{\"image\": %d, \"decoder_heads\": %d, \"minmax\": %d}",
             m->cfg.image, m->cfg.decoder.heads, m->cfg.minmax);
    const char *meta[] = { "mcs.model", "sam", "mcs.config", config, NULL };
    return mcs_params_save(m->params, path, meta, dtype, e);
}

void mcs_sam_free(mcs_sam *m)
{
    if (m)
        mcs_params_free(m->params); /* m itself is a module of its store */
}

const mcs_sam_config *mcs_sam_get_config(const mcs_sam *m)
{
    return &m->cfg;
}
mcs_params *mcs_sam_params(const mcs_sam *m)
{
    return m->params;
}
int mcs_sam_grid(const mcs_sam *m)
{
    return m->grid;
}

bool mcs_sam_ok(mcs_ctx *c, const mcs_sam *m)
{
    if (!m)
        mcs_fail(c, MCS_EINVAL, "sam: the model is NULL (see the error of its loading)");
    return m && mcs_ctx_status(c) == MCS_OK;
}

mcs_tensor *mcs_sam_encode(mcs_ctx *c, const mcs_sam *m, const mcs_tensor *image)
{
    if (!image || !mcs_sam_ok(c, m))
        return NULL;
    int64_t side = m->cfg.image;
    char shape[96];
    if (image->dtype != MCS_F32 || image->ndim != 4 || image->shape[1] != 3 ||
        image->shape[2] != side || image->shape[3] != side)
        return mcs_fail(c, MCS_ESHAPE, "sam: image is %s, expected float (B, 3, %lld, %lld)",
                        mcs_shape_str(image, shape, sizeof shape), (long long)side,
                        (long long)side);
    mcs_scope s = mcs_scope_begin(c);
    mcs_tensor *tokens =
        m->vit ? mcs_sam_vit_tokens(c, m->vit, image) : mcs_tinyvit_tokens(c, m->tinyvit, image);
    return mcs_scope_end(c, s, mcs_sam_neck_forward(c, &m->neck, tokens));
}

/* ---- Decoding ---- */

static bool shape_is(const mcs_tensor *x, int64_t a, int64_t b, int64_t h, int64_t w)
{
    return x->dtype == MCS_F32 && x->ndim == 4 && x->shape[0] == a && x->shape[1] == b &&
           x->shape[2] == h && x->shape[3] == w;
}

static bool prompts_ok(mcs_ctx *c, const mcs_sam *m, const mcs_tensor *embedding,
                       const mcs_sam_prompts *p)
{
    int64_t dim = m->cfg.decoder.dim, g = m->grid, n = p->count;
    char shape[96];
    if (n < 1 || p->points < 0 || (p->points > 0 && (!p->xy || !p->labels))) {
        mcs_fail(c, MCS_EINVAL,
                 "sam: %d prompts of %d points: expected at least one prompt, and "
                 "coordinates and labels for points",
                 p->count, p->points);
        return false;
    }
    if (!shape_is(embedding, 1, dim, g, g) && !shape_is(embedding, n, dim, g, g)) {
        mcs_fail(c, MCS_ESHAPE, "sam: embedding is %s, expected (1 or %d, %lld, %lld, %lld)",
                 mcs_shape_str(embedding, shape, sizeof shape), p->count, (long long)dim,
                 (long long)g, (long long)g);
        return false;
    }
    if (p->mask && !shape_is(p->mask, n, 1, 4 * g, 4 * g)) {
        mcs_fail(c, MCS_ESHAPE, "sam: mask prompt is %s, expected (%d, 1, %lld, %lld)",
                 mcs_shape_str(p->mask, shape, sizeof shape), p->count, 4 * (long long)g,
                 4 * (long long)g);
        return false;
    }
    return true;
}

typedef struct {
    const mcs_sam *m;
    const mcs_sam_prompts *p;
    const mcs_tensor *tokens, *pe; /* (1 or count,N,dim), (1,N,dim) */
    int first, masks;
} decode_job;

/* Prompt i as one row (1, masks * (16 N + 1)): all logits, then the IoUs. */
static mcs_tensor *decode_one(mcs_ctx *c, const decode_job *j, int i)
{
    mcs_scope s = mcs_scope_begin(c);
    const mcs_sam_prompt_encoder *pe = &j->m->prompt;
    int row = j->tokens->shape[0] == 1 ? 0 : i;
    mcs_tensor *image = mcs_rows(c, j->tokens, row, (int64_t)row + 1);
    image = mcs_add(c, image, mcs_sam_dense(c, pe, j->p, i));
    bool none;
    mcs_tensor *sparse = mcs_sam_sparse(c, pe, j->p, i, &none);
    if (!sparse && !none)
        return NULL;
    mcs_tensor *iou = NULL;
    mcs_tensor *y =
        mcs_sam_decoder_forward(c, j->m->decoder, image, j->pe, sparse, j->first, j->masks, &iou);
    y = mcs_reshape(c, y, 2, MCS_SHAPE(1, -1));
    iou = mcs_reshape(c, iou, 2, MCS_SHAPE(1, -1));
    y = mcs_concat(c, 1, 2, (const mcs_tensor *const[]){ y, iou });
    return mcs_scope_end(c, s, y);
}

/* All rows, (count, masks * (16 N + 1)). */
static mcs_tensor *decode_all(mcs_ctx *c, const decode_job *j)
{
    const mcs_tensor **rows = calloc((size_t)j->p->count, sizeof *rows);
    if (!rows)
        return mcs_fail(c, MCS_ENOMEM, "sam: %d prompts: out of memory", j->p->count);
    for (int i = 0; i < j->p->count; i++)
        rows[i] = decode_one(c, j, i);
    mcs_tensor *all = mcs_concat(c, 0, j->p->count, rows);
    free(rows);
    return all;
}

mcs_sam_masks mcs_sam_decode(mcs_ctx *c, const mcs_sam *m, const mcs_tensor *embedding,
                             const mcs_sam_prompts *p, bool multimask)
{
    const mcs_sam_masks none = { NULL, NULL };
    if (!embedding || !mcs_sam_ok(c, m) || !prompts_ok(c, m, embedding, p))
        return none;
    int64_t g = m->grid, side = 4 * g, n = p->count;
    mcs_tensor *tokens = mcs_reshape(c, embedding, 3, MCS_SHAPE(-1, m->cfg.decoder.dim, g * g));
    decode_job j = { .m = m,
                     .p = p,
                     .tokens = mcs_transpose(c, tokens, 1, 2),
                     .pe = mcs_sam_dense_pe(c, &m->prompt),
                     .first = multimask ? 1 : 0,
                     .masks = multimask ? m->cfg.decoder.mask_tokens - 1 : 1 };
    if (!j.tokens || !j.pe)
        return none;
    int64_t logits = j.masks * side * side;
    mcs_tensor *rows = decode_all(c, &j);
    mcs_sam_masks out = { mcs_slice(c, rows, 1, 0, logits),
                          mcs_slice(c, rows, 1, logits, logits + j.masks) };
    out.logits = mcs_reshape(c, out.logits, 4, MCS_SHAPE(n, j.masks, side, side));
    return out.logits && out.iou ? out : none;
}
