/* biomedclip.c - BiomedCLIP put together: declare, load, encode.
 *
 * Zhang et al. 2023; must agree with open_clip's CustomTextCLIP of that configuration:
 *   image = head(vit(x)[cls])                                  head without bias
 *   text  = proj.2(gelu(proj.0(bert(ids)[cls])))               "mlp" projection, without bias
 *   logits = exp(logit_scale) * cos(image, text)
 * open_clip pads captions to 256 ids and masks; padding has no influence, so only the longest
 * caption's length is computed here. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "models/biomedclip_internal.h"
#include "models/model_internal.h"

mcs_biomedclip_config mcs_biomedclip_published(void)
{
    return (mcs_biomedclip_config){ .vision = { 224, 16, 768, 12, 12, 3072 },
                                    .text = { 30522, 512, 2, 768, 12, 12, 3072 },
                                    .text_hidden = 640,
                                    .embed = 512,
                                    .context = 256 };
}

/* ---- Life ---- */

static mcs_status check(const mcs_biomedclip_config *cfg, mcs_error *e)
{
    mcs_status s = mcs_vit_check(&cfg->vision, e);
    if (!s)
        s = mcs_bert_check(&cfg->text, e);
    if (!s && (cfg->embed < 1 || cfg->embed > 1 << 15 || cfg->text_hidden < 1 ||
               cfg->text_hidden > 1 << 15))
        s = mcs_error_set(e, MCS_EINVAL, "BiomedCLIP: embed and text_hidden must be 1..32768");
    if (!s && (cfg->context < 2 || cfg->context > cfg->text.positions))
        s = mcs_error_set(e, MCS_EINVAL, "BiomedCLIP: context must be 2..%d (text.positions)",
                          cfg->text.positions);
    return s;
}

static bool declare(mcs_biomedclip *m, mcs_params *p, const mcs_biomedclip_config *cfg)
{
    mcs_ns root = mcs_root(p), trunk = mcs_ns_sub(root, "visual.trunk");
    char layer[64];
    m->params = p;
    m->cfg = *cfg;
    m->logit_scale = mcs_param(root, "logit_scale", MCS_INIT_ZEROS, 0, NULL);
    m->vision = mcs_vit_new(trunk, &cfg->vision);
    mcs_linear_init(&m->head, mcs_ns_sub(root, "visual.head.proj"), cfg->vision.dim, cfg->embed,
                    false);
    m->text = mcs_bert_new(mcs_ns_sub(root, "text.transformer"), &cfg->text);
    mcs_linear_init(&m->proj_in, mcs_ns_sub(root, "text.proj.0"), cfg->text.dim, cfg->text_hidden,
                    false);
    mcs_linear_init(&m->proj_out, mcs_ns_sub(root, "text.proj.2"), cfg->text_hidden, cfg->embed,
                    false);
    snprintf(layer, sizeof layer, "blocks.%d.norm2", cfg->vision.depth - 1);
    m->cam_layer = mcs_ns_name(trunk, layer);
    return m->vision && m->text && mcs_params_status(p) == MCS_OK;
}

mcs_biomedclip *mcs_biomedclip_new(const mcs_biomedclip_config *cfg, mcs_error *e)
{
    if (check(cfg, e))
        return NULL;
    mcs_params *p = mcs_params_new();
    mcs_biomedclip *m = p ? mcs_module(mcs_root(p), sizeof *m) : NULL;
    if (m && declare(m, p, cfg))
        return m;
    mcs_declare_failed(p, "BiomedCLIP", e);
    return NULL;
}

void mcs_biomedclip_free(mcs_biomedclip *m)
{
    if (!m)
        return;
    mcs_wordpiece_free(m->vocab);
    mcs_params_free(m->params); /* m itself is a module of its store */
}

mcs_status mcs_biomedclip_set_vocab(mcs_biomedclip *m, mcs_wordpiece *w, mcs_error *e)
{
    if (w && mcs_wordpiece_size(w) > m->cfg.text.vocab)
        return mcs_error_set(e, MCS_EFORMAT,
                             "vocabulary of %lld tokens, but the model's word embedding has %d "
                             "rows: it belongs to another model",
                             (long long)mcs_wordpiece_size(w), m->cfg.text.vocab);
    mcs_wordpiece_free(m->vocab);
    m->vocab = w;
    return MCS_OK;
}

/* "<folder of path>/vocab.txt", to be freed. */
static char *vocab_beside(const char *path)
{
    const char *slash = strrchr(path, '/');
    size_t n = slash ? (size_t)(slash - path) + 1 : 0;
    char *v = malloc(n + sizeof "vocab.txt");
    if (v) {
        memcpy(v, path, n);
        memcpy(v + n, "vocab.txt", sizeof "vocab.txt");
    }
    return v;
}

static mcs_status load_vocab(mcs_biomedclip *m, const char *path, bool required, mcs_error *e)
{
    mcs_error own = { MCS_OK, "" };
    mcs_wordpiece *w = path ? mcs_wordpiece_load(path, &own) : NULL;
    if (!w && own.status == MCS_ENOTFOUND && !required)
        return MCS_OK;
    if (!w)
        return mcs_error_set(e, path ? own.status : MCS_ENOMEM, "%s",
                             path ? own.message : "BiomedCLIP: out of memory");
    if (mcs_biomedclip_set_vocab(m, w, &own) != MCS_OK) {
        mcs_wordpiece_free(w);
        return mcs_error_set(e, own.status, "%s: %s", path, own.message);
    }
    return MCS_OK;
}

static mcs_biomedclip *load(mcs_checkpoint *k, int flags, mcs_error *e)
{
    mcs_biomedclip_config cfg;
    mcs_clip_layout layout;
    char prefix[MCS_CLIP_NAME_MAX];
    if (mcs_biomedclip_config_read(k, &cfg, &layout, e) ||
        mcs_clip_find_layout(k, &layout, prefix, sizeof prefix, e))
        return NULL;
    mcs_biomedclip *m = mcs_biomedclip_new(&cfg, e);
    if (!m)
        return NULL;
    mcs_status s = layout == MCS_CLIP_HF
                       ? mcs_clip_load_hf(m->params, k, prefix, flags, e)
                       : mcs_params_load(m->params, k, prefix, mcs_clip_ignored, flags, e);
    if (s == MCS_OK)
        return m;
    mcs_biomedclip_free(m);
    return NULL;
}

mcs_biomedclip *mcs_biomedclip_load_flags(const char *path, const char *vocab, int flags,
                                          mcs_error *e)
{
    mcs_checkpoint *k = mcs_checkpoint_open(path, e);
    mcs_biomedclip *m = k ? load(k, flags, e) : NULL;
    mcs_checkpoint_close(k);
    if (!m)
        return NULL;
    char *beside = vocab ? NULL : vocab_beside(path);
    mcs_status s = load_vocab(m, vocab ? vocab : beside, vocab != NULL, e);
    free(beside);
    if (s == MCS_OK)
        return m;
    mcs_biomedclip_free(m);
    return NULL;
}

mcs_biomedclip *mcs_biomedclip_load(const char *path, const char *vocab, mcs_error *e)
{
    return mcs_biomedclip_load_flags(path, vocab, MCS_LOAD_STRICT, e);
}

mcs_status mcs_biomedclip_save(const mcs_biomedclip *m, const char *path, mcs_clip_layout layout,
                               mcs_stored_dtype dtype, mcs_error *e)
{
    char config[128];
    snprintf(config, sizeof config, "{\"vision_heads\": %d, \"text_heads\": %d, \"context\": %d}",
             m->cfg.vision.heads, m->cfg.text.heads, m->cfg.context);
    const char *meta[] = { "mcs.model", "biomedclip", "mcs.config", config, NULL };
    return layout == MCS_CLIP_HF ? mcs_clip_save_hf(m->params, path, meta, dtype, e)
                                 : mcs_params_save(m->params, path, meta, dtype, e);
}

const mcs_biomedclip_config *mcs_biomedclip_get_config(const mcs_biomedclip *m)
{
    return &m->cfg;
}
mcs_params *mcs_biomedclip_params(const mcs_biomedclip *m)
{
    return m->params;
}
const mcs_wordpiece *mcs_biomedclip_vocab(const mcs_biomedclip *m)
{
    return m->vocab;
}
float mcs_biomedclip_scale(const mcs_biomedclip *m)
{
    return expf(mcs_f32(m->logit_scale)[0]);
}
const char *mcs_biomedclip_cam_layer(const mcs_biomedclip *m)
{
    return m->cam_layer;
}

/* ---- Inputs ---- */

/* So that a program may check once, at its end: a model that failed to load gives NULLs. */
static bool model_ok(mcs_ctx *c, const mcs_biomedclip *m)
{
    if (!m)
        mcs_fail(c, MCS_EINVAL, "BiomedCLIP: the model is NULL (see the error of its loading)");
    return m && mcs_ctx_status(c) == MCS_OK;
}

mcs_tensor *mcs_biomedclip_image(mcs_ctx *c, const mcs_biomedclip *m, const mcs_image *im)
{
    mcs_error e = { MCS_OK, "" };
    if (!im || !model_ok(c, m))
        return NULL;
    int side = m->cfg.vision.image;
    mcs_tensor *x = mcs_new(c, 4, MCS_SHAPE(1, 3, side, side));
    if (x && mcs_preprocess_clip(im, side, MCS_FIT_CROP, mcs_clip_mean, mcs_clip_std, mcs_f32(x),
                                 NULL, &e) != MCS_OK)
        return mcs_fail(c, e.status, "%s", e.message);
    return x;
}

mcs_tensor *mcs_biomedclip_tokens(mcs_ctx *c, const mcs_biomedclip *m, const char *const *captions,
                                  int count)
{
    if (!model_ok(c, m))
        return NULL;
    int context = m->cfg.context, longest = 0;
    if (!m->vocab)
        return mcs_fail(c, MCS_ENOTFOUND,
                        "BiomedCLIP: no vocabulary was loaded; put vocab.txt beside the checkpoint "
                        "or name one");
    mcs_tensor *all = mcs_new_typed(c, MCS_I64, 2, MCS_SHAPE(count, context));
    for (int i = 0; all && i < count; i++) {
        mcs_error e = { MCS_OK, "" };
        int n = 0;
        if (mcs_wordpiece_encode_caption(m->vocab, captions[i], context,
                                         mcs_i64(all) + (int64_t)i * context, &n, &e) != MCS_OK)
            return mcs_fail(c, e.status, "caption %d: %s", i, e.message);
        longest = n > longest ? n : longest;
    }
    mcs_tensor *ids = all ? mcs_new_typed(c, MCS_I64, 2, MCS_SHAPE(count, longest)) : NULL;
    for (int i = 0; ids && i < count; i++)
        memcpy(mcs_i64(ids) + (int64_t)i * longest, mcs_i64(all) + (int64_t)i * context,
               (size_t)longest * sizeof(int64_t));
    return ids;
}

/* ---- Embeddings ---- */

mcs_tensor *mcs_biomedclip_encode_image(mcs_ctx *c, const mcs_biomedclip *m,
                                        const mcs_tensor *images)
{
    if (!images || !model_ok(c, m))
        return NULL;
    mcs_scope s = mcs_scope_begin(c);
    return mcs_scope_end(c, s, mcs_linear_forward(c, &m->head, mcs_vit_cls(c, m->vision, images)));
}

/* ids and mask without the columns that are padding in all rows; *mask becomes NULL if then no
 * padding is left. */
static const mcs_tensor *trim(mcs_ctx *c, const mcs_tensor *ids, const mcs_tensor **mask)
{
    int64_t rows = ids->shape[0], n = ids->shape[1], used = 1, real = 0;
    const uint8_t *given = *mask ? mcs_u8(*mask) : NULL;
    for (int64_t i = 0; i < rows * n; i++)
        if (given ? given[i] : mcs_i64(ids)[i] != 0) {
            used = i % n + 1 > used ? i % n + 1 : used;
            real++;
        }
    mcs_tensor *cut = mcs_new_typed(c, MCS_I64, 2, MCS_SHAPE(rows, used));
    mcs_tensor *keys = mcs_new_typed(c, MCS_U8, 2, MCS_SHAPE(rows, used));
    if (!cut || !keys)
        return NULL;
    for (int64_t i = 0; i < rows * used; i++) {
        int64_t at = i / used * n + i % used;
        mcs_i64(cut)[i] = mcs_i64(ids)[at];
        mcs_u8(keys)[i] = given ? given[at] != 0 : mcs_i64(ids)[at] != 0;
    }
    *mask = real == rows * used ? NULL : keys;
    return cut;
}

static bool text_ok(mcs_ctx *c, const mcs_tensor *ids, const mcs_tensor *mask)
{
    char a[96], b[96];
    if (!ids || mcs_ctx_status(c) != MCS_OK)
        return false;
    if (ids->dtype == MCS_I64 && ids->ndim == 2 && ids->shape[0] > 0 && ids->shape[1] > 0 &&
        (!mask || (mask->dtype == MCS_U8 && mask->ndim == 2 && mask->shape[0] == ids->shape[0] &&
                   mask->shape[1] == ids->shape[1])))
        return true;
    mcs_fail(c, MCS_ESHAPE,
             "BiomedCLIP: ids are %s and mask %s, expected int64 (B, N) and uint8 of the same "
             "shape or none",
             mcs_shape_str(ids, a, sizeof a), mask ? mcs_shape_str(mask, b, sizeof b) : "none");
    return false;
}

mcs_tensor *mcs_biomedclip_encode_text(mcs_ctx *c, const mcs_biomedclip *m, const mcs_tensor *ids,
                                       const mcs_tensor *mask)
{
    if (!model_ok(c, m) || !text_ok(c, ids, mask))
        return NULL;
    mcs_scope s = mcs_scope_begin(c);
    ids = trim(c, ids, &mask);
    mcs_tensor *x = mcs_bert_cls(c, m->text, ids, mask);
    x = mcs_gelu(c, mcs_linear_forward(c, &m->proj_in, x));
    return mcs_scope_end(c, s, mcs_linear_forward(c, &m->proj_out, x));
}

mcs_tensor *mcs_biomedclip_encode_caption(mcs_ctx *c, const mcs_biomedclip *m, const char *caption)
{
    mcs_scope s = mcs_scope_begin(c);
    const mcs_tensor *ids = mcs_biomedclip_tokens(c, m, &caption, 1);
    return mcs_scope_end(c, s, mcs_biomedclip_encode_text(c, m, ids, NULL));
}

mcs_tensor *mcs_biomedclip_cosine(mcs_ctx *c, const mcs_tensor *a, const mcs_tensor *b)
{
    return mcs_matmul_t(c, mcs_l2_normalize(c, a, 1e-12f), mcs_l2_normalize(c, b, 1e-12f));
}

mcs_tensor *mcs_biomedclip_logits(mcs_ctx *c, const mcs_biomedclip *m, const mcs_tensor *images,
                                  const mcs_tensor *texts)
{
    if (!model_ok(c, m))
        return NULL;
    return mcs_mul(c, mcs_biomedclip_cosine(c, images, texts), mcs_exp(c, m->logit_scale));
}
