/* biomedclip_layout.c - the two published layouts of BiomedCLIP.
 *
 * open_clip's names are ours.  MedCLIP-SAMv2 ships a port to transformers with other names, which
 * holds the same numbers: its convert.py renames, squeezes cls_token and pos_embed, and cuts the
 * packed qkv in three along dim 0.  The tables below are that mapping; the text tower's
 * layer_norm1 follows attention (post-norm) where the vision tower's precedes it.  (The port's
 * layer norms use eps 1e-12 in the vision tower too; we keep the original 1e-6.) */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "models/biomedclip_internal.h"
#include "models/model_internal.h"

typedef struct {
    const char *ours, *hf;
} rename_rule;

static const rename_rule whole_rules[] = {
    { "visual.trunk.cls_token", "vision_model.embeddings.class_embedding" },
    { "visual.trunk.pos_embed", "vision_model.embeddings.position_embedding.weight" },
    { "visual.trunk.patch_embed.proj.", "vision_model.embeddings.patch_embedding." },
    { "visual.trunk.norm.", "vision_model.post_layernorm." },
    { "visual.head.proj.", "visual_projection." },
    { "text.transformer.embeddings.word_embeddings.", "text_model.embeddings.token_embedding." },
    { "text.transformer.embeddings.position_embeddings.",
      "text_model.embeddings.position_embedding." },
    { "text.transformer.embeddings.token_type_embeddings.",
      "text_model.embeddings.token_type_embedding." },
    { "text.transformer.embeddings.LayerNorm.", "text_model.embeddings.layer_norm." },
    { "text.proj.0.", "text_projection.fc1." },
    { "text.proj.2.", "text_projection.fc2." },
};

static const rename_rule vision_rules[] = {
    { "norm1.", "layer_norm1." },
    { "norm2.", "layer_norm2." },
    { "attn.qkv.", "self_attn.*_proj." },
    { "attn.proj.", "self_attn.out_proj." },
    { "mlp.", "mlp." },
};

static const rename_rule text_rules[] = {
    { "attention.self.query.", "self_attn.q_proj." },
    { "attention.self.key.", "self_attn.k_proj." },
    { "attention.self.value.", "self_attn.v_proj." },
    { "attention.output.dense.", "self_attn.out_proj." },
    { "attention.output.LayerNorm.", "layer_norm1." },
    { "intermediate.dense.", "mlp.fc1." },
    { "output.dense.", "mlp.fc2." },
    { "output.LayerNorm.", "layer_norm2." },
};

static const char vision_blocks[] = "visual.trunk.blocks.",
                  text_blocks[] = "text.transformer.encoder.layer.";
static const char open_clip_probe[] = "visual.trunk.patch_embed.proj.weight";
static const char hf_probe[] = "vision_model.embeddings.patch_embedding.weight";

const char *const mcs_clip_ignored[] = { "position_ids", "pooler.dense.weight", "pooler.dense.bias",
                                         NULL };

/* ---- Names ---- */

static const rename_rule *match(const char *name, const rename_rule *rules, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (!strncmp(name, rules[i].ours, strlen(rules[i].ours)))
            return &rules[i];
    return NULL;
}

/* `head`, the block's number that stands at s, '.', and the rest renamed. */
static void rename_block(const char *head, const char *s, const rename_rule *rules, size_t n,
                         char *out)
{
    int digits = (int)strspn(s, "0123456789");
    const char *rest = s + digits + 1;
    const rename_rule *r = match(rest, rules, n);
    snprintf(out, MCS_CLIP_NAME_MAX, "%s%.*s.%s%s", head, digits, s, r ? r->hf : "",
             r ? rest + strlen(r->ours) : rest);
}

int mcs_clip_hf_names(const char *ours, char name[MCS_CLIP_PARTS_MAX][MCS_CLIP_NAME_MAX])
{
    size_t nv = sizeof vision_blocks - 1, nt = sizeof text_blocks - 1;
    if (!strncmp(ours, vision_blocks, nv)) {
        rename_block("vision_model.encoder.layers.", ours + nv, vision_rules,
                     sizeof vision_rules / sizeof *vision_rules, name[0]);
    } else if (!strncmp(ours, text_blocks, nt)) {
        rename_block("text_model.encoder.layers.", ours + nt, text_rules,
                     sizeof text_rules / sizeof *text_rules, name[0]);
    } else {
        const rename_rule *r = match(ours, whole_rules, sizeof whole_rules / sizeof *whole_rules);
        snprintf(name[0], MCS_CLIP_NAME_MAX, "%s%s", r ? r->hf : ours,
                 r ? ours + strlen(r->ours) : "");
    }
    char *star = strchr(name[0], '*');
    if (!star)
        return 1;
    *star = 'q';
    for (int i = 1; i < 3; i++) {
        memcpy(name[i], name[0], MCS_CLIP_NAME_MAX);
        name[i][star - name[0]] = "qkv"[i];
    }
    return 3;
}

mcs_status mcs_clip_find_layout(const mcs_checkpoint *k, mcs_clip_layout *layout, char *prefix,
                                size_t n, mcs_error *e)
{
    const char *const probes[] = { open_clip_probe, hf_probe };
    for (int64_t i = 0; i < mcs_checkpoint_count(k); i++) {
        const char *name = mcs_checkpoint_at(k, i)->name;
        for (int j = 0; j < 2; j++) {
            if (!mcs_prefix_of(name, probes[j], prefix, n))
                continue;
            *layout = j ? MCS_CLIP_HF : MCS_CLIP_OPEN_CLIP;
            return MCS_OK;
        }
    }
    return mcs_error_set(e, MCS_ENOTFOUND,
                         "%s: not a BiomedCLIP checkpoint: neither %s nor %s is among its %lld "
                         "names",
                         mcs_checkpoint_path(k), open_clip_probe, hf_probe,
                         (long long)mcs_checkpoint_count(k));
}

/* ---- Sizes ---- */

typedef struct {
    const mcs_checkpoint *k;
    mcs_clip_layout layout;
    char prefix[MCS_CLIP_NAME_MAX];
    mcs_error *e;
    mcs_status status;
} reader;

static const mcs_stored *find(const reader *r, const char *ours)
{
    char hf[MCS_CLIP_PARTS_MAX][MCS_CLIP_NAME_MAX], full[2 * MCS_CLIP_NAME_MAX];
    const char *name = ours;
    if (r->layout == MCS_CLIP_HF && mcs_clip_hf_names(ours, hf))
        name = hf[0];
    snprintf(full, sizeof full, "%s%s", r->prefix, name);
    return mcs_checkpoint_find(r->k, full);
}

/* Size of an axis, counted from the last one (0); 1 after an error. */
static int size_of(reader *r, const char *ours, int axis)
{
    const mcs_stored *t = r->status ? NULL : find(r, ours);
    if (t && t->ndim > axis && t->shape[t->ndim - 1 - axis] > 0 &&
        t->shape[t->ndim - 1 - axis] <= 1 << 22)
        return (int)t->shape[t->ndim - 1 - axis];
    if (!r->status)
        r->status = t ? mcs_error_set(r->e, MCS_ESHAPE, "%s: %s has an impossible shape",
                                      mcs_checkpoint_path(r->k), t->name)
                      : mcs_error_set(r->e, MCS_ENOTFOUND,
                                      "%s: a BiomedCLIP checkpoint needs %s%s (or its name in the "
                                      "other layout)",
                                      mcs_checkpoint_path(r->k), r->prefix, ours);
    return 1;
}

static int count_of(const reader *r, const char *before, const char *after)
{
    char name[MCS_CLIP_NAME_MAX];
    for (int i = 0;; i++) {
        snprintf(name, sizeof name, "%s%d%s", before, i, after);
        if (i > 1024 || !find(r, name))
            return i;
    }
}

static int heads_of(reader *r, const char *key, int dim)
{
    int64_t heads = dim % 64 == 0 ? dim / 64 : 0;
    if (!r->status)
        r->status = mcs_checkpoint_config_int(r->k, key, 1, 1 << 12, &heads, r->e);
    if (!r->status && (heads < 1 || dim % heads))
        r->status = mcs_error_set(r->e, MCS_EFORMAT,
                                  "%s: width %d is not a multiple of %lld heads; metadata "
                                  "mcs.config must hold %s",
                                  mcs_checkpoint_path(r->k), dim, (long long)heads, key);
    return (int)heads;
}

static void read_vision(reader *r, mcs_vit_config *v)
{
    int rows = size_of(r, "visual.trunk.pos_embed", 1), grid = 1;
    while ((grid + 1) * (grid + 1) <= rows - 1 && grid < 1024)
        grid++;
    v->dim = size_of(r, open_clip_probe, 3);
    v->patch = size_of(r, open_clip_probe, 0);
    v->mlp_dim = size_of(r, "visual.trunk.blocks.0.mlp.fc1.weight", 1);
    v->depth = count_of(r, vision_blocks, ".norm1.weight");
    v->heads = heads_of(r, "vision_heads", v->dim);
    v->image = v->patch <= 256 ? grid * v->patch : 0;
    if (!r->status && grid * grid != rows - 1)
        r->status = mcs_error_set(r->e, MCS_ESHAPE,
                                  "%s: pos_embed has %d rows, expected 1 + a square number",
                                  mcs_checkpoint_path(r->k), rows);
}

static void read_text(reader *r, mcs_biomedclip_config *cfg)
{
    mcs_bert_config *t = &cfg->text;
    t->vocab = size_of(r, "text.transformer.embeddings.word_embeddings.weight", 1);
    t->positions = size_of(r, "text.transformer.embeddings.position_embeddings.weight", 1);
    t->types = size_of(r, "text.transformer.embeddings.token_type_embeddings.weight", 1);
    t->dim = size_of(r, "text.transformer.embeddings.word_embeddings.weight", 0);
    t->mlp_dim = size_of(r, "text.transformer.encoder.layer.0.intermediate.dense.weight", 1);
    t->depth = count_of(r, text_blocks, ".attention.self.query.weight");
    t->heads = heads_of(r, "text_heads", t->dim);
    cfg->text_hidden = size_of(r, "text.proj.0.weight", 1);
    int64_t context = t->positions < 256 ? t->positions : 256;
    if (!r->status)
        r->status = mcs_checkpoint_config_int(r->k, "context", 2, t->positions, &context, r->e);
    cfg->context = (int)context;
}

mcs_status mcs_biomedclip_config_read(const mcs_checkpoint *k, mcs_biomedclip_config *cfg,
                                      mcs_clip_layout *layout, mcs_error *e)
{
    reader r = { .k = k, .e = e };
    *cfg = (mcs_biomedclip_config){ .embed = 0 };
    mcs_status s = mcs_clip_find_layout(k, &r.layout, r.prefix, sizeof r.prefix, e);
    if (s)
        return s;
    *layout = r.layout;
    read_vision(&r, &cfg->vision);
    read_text(&r, cfg);
    cfg->embed = size_of(&r, "visual.head.proj.weight", 1);
    return r.status;
}
