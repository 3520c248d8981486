/* bert.c - BERT's encoder.
 *
 * Devlin et al. 2019; must agree with transformers/models/bert/modeling_bert.py (BertModel without
 * pooler, absolute positions, exact GELU, LN eps 1e-12) in evaluation mode:
 *
 *   x = LN(word[ids] + position[0..N) + type[0])                    (B,N,C)
 *   layer:  x = LN(x + dense(attention(x)));  x = LN(x + dense(gelu(dense x)))     (post-norm)
 *
 * Masked keys take no part in the softmax; the original adds the most negative float to their
 * scores, whose exp is 0 too. */
#include "models/bert.h"
#include "models/model_internal.h"

typedef struct {
    const char *name, *self_name, *probs_name, *output_name;
    int heads;
    mcs_linear_layer query, key, value, attn_dense, up, down;
    mcs_layernorm attn_norm, norm;
} bert_layer;

struct mcs_bert {
    mcs_bert_config cfg;
    const char *embed_name;
    mcs_embedding_layer word;
    mcs_tensor *position, *type; /* (positions,C), (types,C) */
    mcs_layernorm embed_norm;
    bert_layer *layers; /* depth */
};

mcs_status mcs_bert_check(const mcs_bert_config *cfg, mcs_error *e)
{
    const char *wrong = NULL;
    if (cfg->vocab < 1 || cfg->vocab > 1 << 22)
        wrong = "vocab must be 1..4194304";
    else if (cfg->positions < 2 || cfg->positions > 1 << 16)
        wrong = "positions must be 2..65536";
    else if (cfg->types < 1 || cfg->types > 1 << 10)
        wrong = "types must be 1..1024";
    else
        wrong = mcs_transformer_wrong(cfg->dim, cfg->depth, cfg->heads, cfg->mlp_dim);
    return wrong ? mcs_error_set(e, MCS_EINVAL, "BERT: %s", wrong) : MCS_OK;
}

static void layer_init(bert_layer *l, mcs_ns ns, const mcs_bert_config *cfg)
{
    mcs_ns attention = mcs_ns_sub(ns, "attention"), self = mcs_ns_sub(attention, "self");
    mcs_ns attn_out = mcs_ns_sub(attention, "output"), out = mcs_ns_sub(ns, "output");
    int64_t dim = cfg->dim;
    l->name = ns.path;
    l->self_name = self.path;
    l->probs_name = mcs_ns_name(self, "probs");
    l->output_name = attn_out.path;
    l->heads = cfg->heads;
    mcs_linear_init(&l->query, mcs_ns_sub(self, "query"), dim, dim, true);
    mcs_linear_init(&l->key, mcs_ns_sub(self, "key"), dim, dim, true);
    mcs_linear_init(&l->value, mcs_ns_sub(self, "value"), dim, dim, true);
    mcs_linear_init(&l->attn_dense, mcs_ns_sub(attn_out, "dense"), dim, dim, true);
    mcs_layernorm_init(&l->attn_norm, mcs_ns_sub(attn_out, "LayerNorm"), dim, 1e-12f);
    mcs_linear_init(&l->up, mcs_ns_sub(ns, "intermediate.dense"), dim, cfg->mlp_dim, true);
    mcs_linear_init(&l->down, mcs_ns_sub(out, "dense"), cfg->mlp_dim, dim, true);
    mcs_layernorm_init(&l->norm, mcs_ns_sub(out, "LayerNorm"), dim, 1e-12f);
}

mcs_bert *mcs_bert_new(mcs_ns ns, const mcs_bert_config *cfg)
{
    mcs_bert *m = mcs_module(ns, sizeof *m);
    bert_layer *layers = mcs_module(ns, (size_t)cfg->depth * sizeof *layers);
    if (!m || !layers)
        return NULL;
    mcs_ns embed = mcs_ns_sub(ns, "embeddings");
    m->cfg = *cfg;
    m->layers = layers;
    m->embed_name = embed.path;
    mcs_embedding_init(&m->word, mcs_ns_sub(embed, "word_embeddings"), cfg->vocab, cfg->dim);
    m->position = mcs_param(embed, "position_embeddings.weight", MCS_INIT_NORMAL02, 2,
                            MCS_SHAPE(cfg->positions, cfg->dim));
    m->type = mcs_param(embed, "token_type_embeddings.weight", MCS_INIT_NORMAL02, 2,
                        MCS_SHAPE(cfg->types, cfg->dim));
    mcs_layernorm_init(&m->embed_norm, mcs_ns_sub(embed, "LayerNorm"), cfg->dim, 1e-12f);
    for (int i = 0; i < cfg->depth; i++)
        layer_init(&layers[i], mcs_ns_sub(ns, "encoder.layer.%d", i), cfg);
    return m;
}

/* ---- Forward ---- */

/* With the probabilities as a tensor, for whoever asked for them. */
static mcs_tensor *attend_plain(mcs_ctx *c, const bert_layer *l, const mcs_tensor *q,
                                const mcs_tensor *k, const mcs_tensor *v,
                                const mcs_attention_opts *o)
{
    if (!v)
        return NULL;
    int64_t b = v->shape[0], n = v->shape[1], dim = v->shape[2];
    mcs_tensor *p = mcs_tap(c, l->probs_name, mcs_attention_probs(c, q, k, o));
    mcs_tensor *heads = mcs_reshape(c, v, 4, MCS_SHAPE(b, n, o->heads, dim / o->heads));
    mcs_tensor *y = mcs_matmul(c, p, mcs_transpose(c, heads, 1, 2));
    return mcs_reshape(c, mcs_transpose(c, y, 1, 2), 3, MCS_SHAPE(b, n, dim));
}

/* Somebody asked for what lies between the projections, or for the last of them. */
static bool is_looked_into(const mcs_ctx *c, const bert_layer *l)
{
    return mcs_hooked(c, l->probs_name) || mcs_hooked(c, l->self_name) ||
           mcs_hooked(c, l->attn_dense.name);
}

static mcs_tensor *attend(mcs_ctx *c, const bert_layer *l, const mcs_tensor *x,
                          const mcs_tensor *mask)
{
    mcs_scope s = mcs_scope_begin(c);
    mcs_attention_opts o = { .heads = l->heads, .key_mask = mask };
    mcs_tensor *q = mcs_linear_forward(c, &l->query, x);
    mcs_tensor *k = mcs_linear_forward(c, &l->key, x);
    mcs_tensor *v = mcs_linear_forward(c, &l->value, x);
    mcs_tensor *y;
    if (is_looked_into(c, l)) {
        y = mcs_hooked(c, l->probs_name) ? attend_plain(c, l, q, k, v, &o)
                                         : mcs_attention(c, q, k, v, &o);
        y = mcs_linear_forward_add(c, &l->attn_dense, mcs_tap(c, l->self_name, y), x);
    } else {
        y = mcs_attention_linear_add(c, q, k, v, &o, l->attn_dense.weight, l->attn_dense.bias, x);
    }
    y = mcs_tap(c, l->output_name, mcs_layernorm_forward(c, &l->attn_norm, y));
    return mcs_scope_end(c, s, y);
}

typedef struct {
    const bert_layer *l;
    const mcs_tensor *mask; /* (B,N); NULL: none */
} layer_args;

static mcs_tensor *layer_forward(mcs_ctx *c, const void *arg, const mcs_tensor *x)
{
    const bert_layer *l = ((const layer_args *)arg)->l;
    mcs_scope s = mcs_scope_begin(c);
    mcs_tensor *a = attend(c, l, x, ((const layer_args *)arg)->mask);
    mcs_tensor *h = mcs_feed_forward(c, &l->up, &l->down, a);
    return mcs_scope_end(c, s, mcs_tap(c, l->name, mcs_layernorm_forward(c, &l->norm, h)));
}

static bool inputs_ok(mcs_ctx *c, const mcs_bert *m, const mcs_tensor *ids, const mcs_tensor *mask)
{
    char shape[96];
    if (!ids || mcs_ctx_status(c) != MCS_OK)
        return false;
    if (ids->dtype != MCS_I64 || ids->ndim != 2 || ids->shape[0] < 1 || ids->shape[1] < 1 ||
        ids->shape[1] > m->cfg.positions) {
        mcs_fail(c, MCS_ESHAPE, "BERT: ids are %s, expected int64 (B, N) with N from 1 to %d",
                 mcs_shape_str(ids, shape, sizeof shape), m->cfg.positions);
        return false;
    }
    if (mask && (mask->dtype != MCS_U8 || mask->ndim != 2 || mask->shape[0] != ids->shape[0] ||
                 mask->shape[1] != ids->shape[1])) {
        mcs_fail(c, MCS_ESHAPE, "BERT: mask is %s, expected uint8 (%lld, %lld), as the ids",
                 mcs_shape_str(mask, shape, sizeof shape), (long long)ids->shape[0],
                 (long long)ids->shape[1]);
        return false;
    }
    return true;
}

static mcs_tensor *embed(mcs_ctx *c, const mcs_bert *m, const mcs_tensor *ids)
{
    mcs_tensor *x = mcs_embedding_forward(c, &m->word, ids);
    x = mcs_add(c, x, mcs_rows(c, m->position, 0, ids->shape[1]));
    x = mcs_add(c, x, mcs_rows(c, m->type, 0, 1));
    return mcs_tap(c, m->embed_name, mcs_layernorm_forward(c, &m->embed_norm, x));
}

/* The first `count` layers. */
static mcs_tensor *run_layers(mcs_ctx *c, const mcs_bert *m, const mcs_tensor *ids,
                              const mcs_tensor *mask, int count)
{
    mcs_tensor *x = embed(c, m, ids);
    for (int i = 0; i < count; i++)
        x = mcs_recompute(c, layer_forward, &(layer_args){ &m->layers[i], mask },
                          sizeof(layer_args), x);
    return x;
}

mcs_tensor *mcs_bert_hidden(mcs_ctx *c, const mcs_bert *m, const mcs_tensor *ids,
                            const mcs_tensor *mask)
{
    if (!inputs_ok(c, m, ids, mask))
        return NULL;
    mcs_scope s = mcs_scope_begin(c);
    return mcs_scope_end(c, s, run_layers(c, m, ids, mask, m->cfg.depth));
}

/* ---- The class token alone ---- */

static bool layer_hooked(const mcs_ctx *c, const bert_layer *l)
{
    const char *const names[] = { l->name,           l->output_name, l->query.name,
                                  l->key.name,       l->value.name,  l->attn_norm.name,
                                  l->up.name,        l->down.name,   l->norm.name };
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (mcs_hooked(c, names[i]))
            return true;
    return is_looked_into(c, l);
}

/* Keys and values need all tokens, the query and all that follows only one: (B,1,C). */
static mcs_tensor *layer_forward_cls(mcs_ctx *c, const bert_layer *l, const mcs_tensor *x,
                                     const mcs_tensor *mask)
{
    mcs_attention_opts o = { .heads = l->heads, .key_mask = mask };
    const mcs_tensor *first = mcs_slice(c, x, 1, 0, 1);
    mcs_tensor *q = mcs_linear_forward(c, &l->query, first);
    mcs_tensor *k = mcs_linear_forward(c, &l->key, x);
    mcs_tensor *v = mcs_linear_forward(c, &l->value, x);
    mcs_tensor *y = mcs_attention_linear_add(c, q, k, v, &o, l->attn_dense.weight,
                                             l->attn_dense.bias, first);
    y = mcs_feed_forward(c, &l->up, &l->down, mcs_layernorm_forward(c, &l->attn_norm, y));
    return mcs_layernorm_forward(c, &l->norm, y);
}

mcs_tensor *mcs_bert_cls(mcs_ctx *c, const mcs_bert *m, const mcs_tensor *ids,
                         const mcs_tensor *mask)
{
    if (!inputs_ok(c, m, ids, mask))
        return NULL;
    const bert_layer *last = &m->layers[m->cfg.depth - 1];
    mcs_scope s = mcs_scope_begin(c);
    mcs_tensor *x;
    if (layer_hooked(c, last))
        x = mcs_slice(c, mcs_bert_hidden(c, m, ids, mask), 1, 0, 1);
    else
        x = layer_forward_cls(c, last, run_layers(c, m, ids, mask, m->cfg.depth - 1), mask);
    return mcs_scope_end(c, s, mcs_reshape(c, x, 2, MCS_SHAPE(mcs_dim(x, 0), m->cfg.dim)));
}
