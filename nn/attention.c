/* attention.c - multi-head self-attention in timm's naming (timm/layers/attention.py): a packed
 * qkv projection and an output projection.
 *
 * The fused operation reads the packed projection in place.  Whoever watches or replaces
 * "<name>.probs" gets the probabilities (B,heads,N,N) as a tensor: then the plain path runs. */
#include "nn/nn.h"
#include "tensor/op.h"

void mcs_attention_init(mcs_attention_layer *m, mcs_ns ns, int64_t dim, int heads)
{
    m->name = ns.path;
    m->probs = mcs_ns_name(ns, "probs");
    m->heads = heads;
    mcs_linear_init(&m->qkv, mcs_ns_sub(ns, "qkv"), dim, 3 * dim, true);
    mcs_linear_init(&m->proj, mcs_ns_sub(ns, "proj"), dim, dim, true);
}

/* (B,N,C) -> (B,heads,N,D) */
static mcs_tensor *split_heads(mcs_ctx *c, const mcs_tensor *x, int heads)
{
    if (!x)
        return NULL;
    int64_t b = x->shape[0], n = x->shape[1], d = x->shape[2] / heads;
    return mcs_transpose(c, mcs_reshape(c, x, 4, MCS_SHAPE(b, n, heads, d)), 1, 2);
}

static mcs_tensor *plain(mcs_ctx *c, const mcs_attention_layer *m, const mcs_tensor *qkv)
{
    if (!qkv)
        return NULL;
    int64_t dim = qkv->shape[2] / 3;
    mcs_attention_opts o = { .heads = m->heads };
    const mcs_tensor *q = mcs_slice(c, qkv, 2, 0, dim), *k = mcs_slice(c, qkv, 2, dim, 2 * dim);
    mcs_tensor *v = split_heads(c, mcs_slice(c, qkv, 2, 2 * dim, 3 * dim), m->heads);
    mcs_tensor *probs = mcs_tap(c, m->probs, mcs_attention_probs(c, q, k, &o));
    mcs_tensor *y = mcs_transpose(c, mcs_matmul(c, probs, v), 1, 2);
    return mcs_reshape(c, y, 3, MCS_SHAPE(qkv->shape[0], qkv->shape[1], dim));
}

/* All between the projections. */
static mcs_tensor *mix(mcs_ctx *c, const mcs_attention_layer *m, const mcs_tensor *qkv)
{
    mcs_attention_opts o = { .heads = m->heads };
    return mcs_hooked(c, m->probs) ? plain(c, m, qkv)
                                   : mcs_attention_packed(c, qkv, MCS_QKV_SPLIT, &o);
}

mcs_tensor *mcs_attention_forward(mcs_ctx *c, const mcs_attention_layer *m, const mcs_tensor *x)
{
    mcs_tensor *y = mix(c, m, mcs_linear_forward(c, &m->qkv, x));
    return mcs_tap(c, m->name, mcs_linear_forward(c, &m->proj, y));
}

/* Somebody asked for what lies between the projections or behind them. */
static bool is_looked_into(const mcs_ctx *c, const mcs_attention_layer *m)
{
    return mcs_hooked(c, m->probs) || mcs_hooked(c, m->proj.name) || mcs_hooked(c, m->name);
}

mcs_tensor *mcs_attention_block(mcs_ctx *c, const mcs_layernorm *norm, const mcs_attention_layer *m,
                                const mcs_tensor *x)
{
    mcs_tensor *y = mcs_linear_forward_norm(c, &m->qkv, norm, x);
    if (mcs_may_record(c) && !is_looked_into(c, m))
        return mcs_attention_packed_linear_add(c, y, MCS_QKV_SPLIT,
                                               &(mcs_attention_opts){ .heads = m->heads },
                                               m->proj.weight, m->proj.bias, x);
    y = mix(c, m, y);
    if (!mcs_hooked(c, m->name))
        return mcs_linear_forward_add(c, &m->proj, y, x);
    return mcs_add(c, x, mcs_tap(c, m->name, mcs_linear_forward(c, &m->proj, y)));
}
