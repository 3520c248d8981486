/* sam_config.c - layouts of SAM: the published ones, and reading one off a checkpoint.
 *
 * Sources: segment_anything/build_sam.py and mobile_sam/build_sam.py.  Shapes determine the rest:
 *   grid         pos_embed (1,G,G,E); image = G * patch
 *   head width   columns of rel_pos_h; heads = E / columns
 *   window       (rows of rel_pos_h + 1) / 2; a block with 2G-1 rows is global
 *   TinyViT      attention_biases (heads, window^2)
 * Everything is checked before any weight is allocated: a layout comes from a file. */
#include <stdio.h>
#include <string.h>
#include "models/model_internal.h"
#include "models/sam_internal.h"

enum { NAME_MAX_BYTES = 256, SIZE_MAX_VALUE = 1 << 16 };

static const char vit_probe[] = "image_encoder.patch_embed.proj.weight";
static const char tiny_probe[] = "image_encoder.patch_embed.seq.0.c.weight";

/* ---- Published layouts ---- */

static const mcs_sam_decoder_config published_decoder = { .dim = 256,
                                                          .depth = 2,
                                                          .heads = 8,
                                                          .mlp_dim = 2048,
                                                          .cross_dim = 128,
                                                          .mask_tokens = 4,
                                                          .iou_depth = 3,
                                                          .iou_dim = 256,
                                                          .mask_channels = 16 };

static const struct {
    const char *name;
    mcs_sam_vit_config vit;
} published_vit[] = {
    { "vit_b", { 16, 768, 12, 12, 3072, 14, 1u << 2 | 1u << 5 | 1u << 8 | 1u << 11 } },
    { "vit_l", { 16, 1024, 24, 16, 4096, 14, 1u << 5 | 1u << 11 | 1u << 17 | 1u << 23 } },
    { "vit_h", { 16, 1280, 32, 16, 5120, 14, 1u << 7 | 1u << 15 | 1u << 23 | 1u << 31 } },
};
enum { PUBLISHED_VITS = sizeof published_vit / sizeof published_vit[0] };

static const mcs_tinyvit_config published_tiny = { .dim = { 64, 128, 160, 320 },
                                                   .depth = { 2, 2, 6, 2 },
                                                   .heads = { 0, 4, 5, 10 },
                                                   .window = { 0, 7, 14, 7 },
                                                   .mlp_ratio = 4,
                                                   .expand_ratio = 4,
                                                   .stem_stride = 2,
                                                   .classes = 1000 };

/* LiteMedSAM: medsam_lite's build_lite_medsam(). */
static void tiny_to_lite(mcs_sam_config *cfg)
{
    cfg->image = 256;
    cfg->minmax = true;
    cfg->tinyvit.stem_stride = 1;
    cfg->tinyvit.classes = 0;
}

mcs_status mcs_sam_config_of(const char *type, mcs_sam_config *cfg, mcs_error *e)
{
    *cfg = (mcs_sam_config){ .image = 1024, .decoder = published_decoder };
    if (!strcmp(type, "vit_t") || !strcmp(type, "lite")) {
        cfg->tiny = true;
        cfg->tinyvit = published_tiny;
        if (type[0] == 'l')
            tiny_to_lite(cfg);
        return MCS_OK;
    }
    for (int i = 0; i < PUBLISHED_VITS; i++)
        if (!strcmp(type, published_vit[i].name)) {
            cfg->vit = published_vit[i].vit;
            return MCS_OK;
        }
    return mcs_error_set(e, MCS_EINVAL,
                         "sam type \"%s\": expected vit_b, vit_l, vit_h, vit_t or lite", type);
}

static bool vit_equal(const mcs_sam_vit_config *a, const mcs_sam_vit_config *b)
{
    return a->patch == b->patch && a->dim == b->dim && a->depth == b->depth &&
           a->heads == b->heads && a->mlp_dim == b->mlp_dim && a->window == b->window &&
           a->global_blocks == b->global_blocks;
}

const char *mcs_sam_type(const mcs_sam *m)
{
    if (m->cfg.tiny) {
        bool same =
            !memcmp(m->cfg.tinyvit.dim, published_tiny.dim, sizeof published_tiny.dim) &&
            !memcmp(m->cfg.tinyvit.depth, published_tiny.depth, sizeof published_tiny.depth);
        return !same ? "tiny" : m->cfg.tinyvit.stem_stride == 1 ? "lite" : "vit_t";
    }
    for (int i = 0; i < PUBLISHED_VITS; i++)
        if (vit_equal(&m->cfg.vit, &published_vit[i].vit))
            return published_vit[i].name;
    return "vit";
}

/* ---- Checks ---- */

static mcs_status bad(mcs_error *e, const char *what)
{
    return mcs_error_set(e, MCS_EINVAL, "sam layout: %s", what);
}

static bool in_range(int v, int lo, int hi)
{
    return v >= lo && v <= hi;
}

static mcs_status vit_check(const mcs_sam_config *cfg, mcs_error *e)
{
    const mcs_sam_vit_config *v = &cfg->vit;
    if (!in_range(v->patch, 1, 256) || cfg->image % v->patch)
        return bad(e, "vit.patch must be 1..256 and divide the image side");
    if (!in_range(v->dim, 1, SIZE_MAX_VALUE) || v->heads < 1 || v->dim % v->heads)
        return bad(e, "vit.heads must be at least 1 and divide vit.dim");
    if (!in_range(v->depth, 1, MCS_SAM_MAX_DEPTH))
        return bad(e, "vit.depth must be 1..64");
    if (!in_range(v->mlp_dim, 1, SIZE_MAX_VALUE))
        return bad(e, "vit.mlp_dim must be 1..65536");
    if (!in_range(v->window, 1, 1024))
        return bad(e, "vit.window must be 1..1024");
    return MCS_OK;
}

static mcs_status tiny_check(const mcs_sam_config *cfg, mcs_error *e)
{
    const mcs_tinyvit_config *t = &cfg->tinyvit;
    if (!in_range(t->stem_stride, 1, 2) || cfg->image % mcs_tinyvit_reduction(t))
        return bad(e, "tinyvit.stem_stride must be 1 or 2 and the image side divisible by 4 or 16");
    for (int i = 0; i < MCS_TINYVIT_STAGES; i++) {
        if (!in_range(t->dim[i], 2, SIZE_MAX_VALUE) || t->dim[0] % 2)
            return bad(e, "tinyvit.dim must be 2..65536, the first even");
        if (!in_range(t->depth[i], 1, MCS_SAM_MAX_DEPTH))
            return bad(e, "tinyvit.depth must be 1..64");
        if (i > 0 && (t->heads[i] < 1 || t->dim[i] % t->heads[i]))
            return bad(e, "tinyvit.heads must be at least 1 and divide tinyvit.dim");
        if (i > 0 && !in_range(t->window[i], 1, 64))
            return bad(e, "tinyvit.window must be 1..64");
    }
    if (!in_range(t->mlp_ratio, 1, 64) || !in_range(t->expand_ratio, 1, 64))
        return bad(e, "tinyvit.mlp_ratio and expand_ratio must be 1..64");
    if (!in_range(t->classes, 0, 1 << 20))
        return bad(e, "tinyvit.classes must be 0..1048576");
    return MCS_OK;
}

static mcs_status decoder_check(const mcs_sam_decoder_config *d, mcs_error *e)
{
    if (!in_range(d->dim, 8, SIZE_MAX_VALUE) || d->dim % 8)
        return bad(e, "decoder.dim must be a multiple of 8");
    if (d->heads < 1 || d->dim % d->heads || !in_range(d->cross_dim, 1, SIZE_MAX_VALUE) ||
        d->cross_dim % d->heads)
        return bad(e, "decoder.heads must be at least 1 and divide decoder.dim and cross_dim");
    if (!in_range(d->depth, 1, MCS_SAM_MAX_DEPTH) || !in_range(d->mlp_dim, 1, SIZE_MAX_VALUE))
        return bad(e, "decoder.depth must be 1..64 and decoder.mlp_dim 1..65536");
    if (!in_range(d->mask_tokens, 2, MCS_SAM_MAX_MASKS))
        return bad(e, "decoder.mask_tokens must be 2..16");
    if (!in_range(d->iou_depth, 1, MCS_SAM_MAX_MLP) || !in_range(d->iou_dim, 1, SIZE_MAX_VALUE))
        return bad(e, "decoder.iou_depth must be 1..8 and decoder.iou_dim 1..65536");
    if (!in_range(d->mask_channels, 4, SIZE_MAX_VALUE) || d->mask_channels % 4)
        return bad(e, "decoder.mask_channels must be a multiple of 4");
    return MCS_OK;
}

mcs_status mcs_sam_config_check(const mcs_sam_config *cfg, mcs_error *e)
{
    if (!in_range(cfg->image, 16, 4096))
        return bad(e, "image must be 16..4096");
    mcs_status s = cfg->tiny ? tiny_check(cfg, e) : vit_check(cfg, e);
    return s ? s : decoder_check(&cfg->decoder, e);
}

/* ---- Reading ---- */

typedef struct {
    const mcs_checkpoint *k;
    char prefix[NAME_MAX_BYTES];
    mcs_error *e;
    bool failed;
} reader;

mcs_status mcs_sam_find_prefix(const mcs_checkpoint *k, char *prefix, size_t n, mcs_error *e)
{
    const char *probes[2] = { vit_probe, tiny_probe };
    for (int64_t i = 0; i < mcs_checkpoint_count(k); i++) {
        const char *name = mcs_checkpoint_at(k, i)->name;
        for (int j = 0; j < 2; j++)
            if (mcs_prefix_of(name, probes[j], prefix, n))
                return MCS_OK;
    }
    return mcs_error_set(e, MCS_ENOTFOUND, "%s: not a SAM checkpoint: neither %s nor %s is in it",
                         mcs_checkpoint_path(k), vit_probe, tiny_probe);
}

static const mcs_stored *find(const reader *r, const char *name)
{
    char full[2 * NAME_MAX_BYTES];
    int n = snprintf(full, sizeof full, "%s%s", r->prefix, name);
    return n > 0 && (size_t)n < sizeof full ? mcs_checkpoint_find(r->k, full) : NULL;
}

/* Size of an axis of a tensor that must be there with ndim axes; 1 after an error. */
static int size_of(reader *r, const char *name, int ndim, int axis)
{
    const mcs_stored *t = find(r, name);
    if (r->failed)
        return 1;
    if (t && t->ndim == ndim && t->shape[axis] > 0 && t->shape[axis] <= SIZE_MAX_VALUE)
        return (int)t->shape[axis];
    r->failed = true;
    if (!t)
        mcs_error_set(r->e, MCS_ENOTFOUND, "%s: a SAM checkpoint needs %s%s",
                      mcs_checkpoint_path(r->k), r->prefix, name);
    else
        mcs_error_set(r->e, MCS_ESHAPE,
                      "%s: %s%s has %d dimensions, expected %d with sizes up to %d",
                      mcs_checkpoint_path(r->k), r->prefix, name, t->ndim, ndim, SIZE_MAX_VALUE);
    return 1;
}

/* Number of names "<before><i><after>" for i = 0, 1, ... */
static int count_of(const reader *r, const char *before, const char *after)
{
    char name[2 * NAME_MAX_BYTES];
    for (int i = 0;; i++) {
        snprintf(name, sizeof name, "%s%d%s", before, i, after);
        if (i > MCS_SAM_MAX_DEPTH || !find(r, name))
            return i;
    }
}

static void fail(reader *r, const char *what)
{
    if (!r->failed)
        mcs_error_set(r->e, MCS_ESHAPE, "%s: %s", mcs_checkpoint_path(r->k), what);
    r->failed = true;
}

static void vit_read(reader *r, mcs_sam_config *cfg)
{
    mcs_sam_vit_config *v = &cfg->vit;
    int grid = size_of(r, "image_encoder.pos_embed", 4, 1);
    v->dim = size_of(r, vit_probe, 4, 0);
    v->patch = size_of(r, vit_probe, 4, 2);
    v->mlp_dim = size_of(r, "image_encoder.blocks.0.mlp.lin1.weight", 2, 0);
    v->heads = v->dim / size_of(r, "image_encoder.blocks.0.attn.rel_pos_h", 2, 1);
    v->depth = count_of(r, "image_encoder.blocks.", ".norm1.weight");
    cfg->image = grid <= SIZE_MAX_VALUE / v->patch ? grid * v->patch : 0;
    for (int i = 0; i < v->depth && i < MCS_SAM_MAX_DEPTH; i++) {
        char name[NAME_MAX_BYTES];
        snprintf(name, sizeof name, "image_encoder.blocks.%d.attn.rel_pos_h", i);
        int rows = size_of(r, name, 2, 0);
        if (rows == 2 * grid - 1)
            v->global_blocks |= UINT64_C(1) << i;
        else if (v->window == 0 || v->window == (rows + 1) / 2)
            v->window = (rows + 1) / 2;
        else
            fail(r, "image_encoder: blocks have windows of different sizes");
    }
    if (v->window == 0)
        v->window = 14;
}

static int int_sqrt(int v)
{
    int s = 0;
    while ((s + 1) * (s + 1) <= v)
        s++;
    return s;
}

static void tiny_read(reader *r, mcs_sam_config *cfg)
{
    mcs_tinyvit_config *t = &cfg->tinyvit;
    t->dim[0] = size_of(r, "image_encoder.patch_embed.seq.2.c.weight", 4, 0);
    t->depth[0] = count_of(r, "image_encoder.layers.0.blocks.", ".conv1.c.weight");
    t->expand_ratio =
        size_of(r, "image_encoder.layers.0.blocks.0.conv1.c.weight", 4, 0) / t->dim[0];
    for (int i = 1; i < MCS_TINYVIT_STAGES; i++) {
        char name[NAME_MAX_BYTES];
        snprintf(name, sizeof name, "image_encoder.layers.%d.blocks.", i);
        t->depth[i] = count_of(r, name, ".attn.qkv.weight");
        snprintf(name, sizeof name, "image_encoder.layers.%d.blocks.0.attn.attention_biases", i);
        t->heads[i] = size_of(r, name, 2, 0);
        t->window[i] = int_sqrt(size_of(r, name, 2, 1));
        snprintf(name, sizeof name, "image_encoder.layers.%d.blocks.0.attn.proj.weight", i);
        t->dim[i] = size_of(r, name, 2, 0);
    }
    t->mlp_ratio = size_of(r, "image_encoder.layers.1.blocks.0.mlp.fc1.weight", 2, 0) / t->dim[1];
    if (find(r, "image_encoder.head.weight"))
        t->classes = size_of(r, "image_encoder.head.weight", 2, 0);
    int kernel = size_of(r, tiny_probe, 4, 2);
    if (kernel != 1 && kernel != 3)
        fail(r,
             "image_encoder.patch_embed: kernels must be 3 x 3 (MobileSAM) or 1 x 1 (LiteMedSAM)");
    t->stem_stride = kernel == 1 ? 1 : 2;
    cfg->minmax = kernel == 1;
    cfg->image = kernel == 1 ? 256 : 1024;
}

static void decoder_read(reader *r, mcs_sam_decoder_config *d)
{
    d->dim = size_of(r, "mask_decoder.mask_tokens.weight", 2, 1);
    d->mask_tokens = size_of(r, "mask_decoder.mask_tokens.weight", 2, 0);
    d->depth = count_of(r, "mask_decoder.transformer.layers.", ".norm1.weight");
    d->mlp_dim = size_of(r, "mask_decoder.transformer.layers.0.mlp.lin1.weight", 2, 0);
    d->cross_dim = size_of(
        r, "mask_decoder.transformer.layers.0.cross_attn_token_to_image.q_proj.weight", 2, 0);
    d->iou_depth = count_of(r, "mask_decoder.iou_prediction_head.layers.", ".weight");
    d->iou_dim = size_of(r, "mask_decoder.iou_prediction_head.layers.0.weight", 2, 0);
    d->mask_channels = size_of(r, "prompt_encoder.mask_downscaling.3.weight", 4, 0);
    d->heads = published_decoder.heads;
}

mcs_status mcs_sam_config_read(const mcs_checkpoint *k, mcs_sam_config *cfg, mcs_error *e)
{
    reader r = { .k = k, .e = e };
    *cfg = (mcs_sam_config){ 0 };
    mcs_status s = mcs_sam_find_prefix(k, r.prefix, sizeof r.prefix, e);
    if (s)
        return s;
    cfg->tiny = find(&r, tiny_probe) != NULL;
    if (cfg->tiny)
        tiny_read(&r, cfg);
    else
        vit_read(&r, cfg);
    decoder_read(&r, &cfg->decoder);
    if (r.failed)
        return MCS_ESHAPE;
    int64_t heads = cfg->decoder.heads, image = cfg->image, minmax = cfg->minmax;
    s = mcs_checkpoint_config_int(k, "decoder_heads", 1, SIZE_MAX_VALUE, &heads, e);
    if (!s)
        s = mcs_checkpoint_config_int(k, "minmax", 0, 1, &minmax, e);
    if (!s && cfg->tiny)
        s = mcs_checkpoint_config_int(k, "image", 16, 4096, &image, e);
    cfg->decoder.heads = (int)heads;
    cfg->image = (int)image;
    cfg->minmax = minmax == 1;
    return s ? s : mcs_sam_config_check(cfg, e);
}
