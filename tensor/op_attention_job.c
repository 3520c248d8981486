/* op_attention_job.c - checks the inputs of an attention and describes the work: see
 * attention_internal.h.
 *
 * Blocks hold at most 128K scores (512 KB), which stay in the second-level cache while every
 * key and value read for them is used 256 times, and at most 512 keys or queries (measured: half
 * of either costs 5 %); up to 512 keys are thus one block, whose softmax needs no second look.  Queries are cut evenly. */
#include <math.h>
#include <string.h>
#include "tensor/attention_internal.h"

enum { BLOCK_SCORES = 128 * 1024, BLOCK_K = 512, BLOCK_Q = 512 };

static int64_t min64(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

/* ---- Checks ---- */

static bool check_rel(mcs_ctx *c, const char *op, const mcs_attn_job *a,
                      const mcs_attention_opts *o)
{
    if (!o->rel_h && !o->rel_w)
        return true;
    if (!o->rel_h || !o->rel_w) {
        mcs_fail(c, MCS_EINVAL, "%s: rel_h and rel_w come together or not at all", op);
        return false;
    }
    if (!mcs_ok_dim(c, op, o->rel_h, 2) || !mcs_ok_dim(c, op, o->rel_w, 2))
        return false;
    int64_t gh = o->grid_h, gw = o->grid_w;
    if (gh < 1 || gw < 1 || gh * gw != a->nq || gh * gw != a->nk) {
        mcs_fail(c, MCS_EINVAL, "%s: a grid of %lld x %lld does not hold %lld queries, %lld keys",
                 op, (long long)gh, (long long)gw, (long long)a->nq, (long long)a->nk);
        return false;
    }
    const mcs_tensor *h = o->rel_h, *w = o->rel_w;
    if (h->shape[0] == 2 * gh - 1 && h->shape[1] == a->d && w->shape[0] == 2 * gw - 1 &&
        w->shape[1] == a->d)
        return true;
    char hs[96], ws[96];
    mcs_fail(c, MCS_ESHAPE, "%s: rel_h is %s, rel_w is %s, expected (%lld, %lld), (%lld, %lld)", op,
             mcs_shape_str(h, hs, sizeof hs), mcs_shape_str(w, ws, sizeof ws),
             (long long)(2 * gh - 1), (long long)a->d, (long long)(2 * gw - 1), (long long)a->d);
    return false;
}

static bool check_opts(mcs_ctx *c, const char *op, const mcs_attn_job *a,
                       const mcs_attention_opts *o)
{
    const mcs_tensor *b = o->bias, *m = o->key_mask;
    char s[96];
    if (!a->batch || !a->nq || !a->nk || !a->d || !a->dv) {
        mcs_fail(c, MCS_ESHAPE, "%s: an input is empty (%lld images, %lld queries, %lld keys)", op,
                 (long long)a->batch, (long long)a->nq, (long long)a->nk);
        return false;
    }
    if (b && !mcs_ok_dim(c, op, b, 3))
        return false;
    if (b && (b->shape[0] != a->heads || b->shape[1] != a->nq || b->shape[2] != a->nk)) {
        mcs_fail(c, MCS_ESHAPE, "%s: bias is %s, expected (%lld, %lld, %lld)", op,
                 mcs_shape_str(b, s, sizeof s), (long long)a->heads, (long long)a->nq,
                 (long long)a->nk);
        return false;
    }
    if (m &&
        (m->dtype != MCS_U8 || m->ndim != 2 || m->shape[0] != a->batch || m->shape[1] != a->nk)) {
        mcs_fail(c, MCS_ESHAPE, "%s: key mask is %s %s, expected U8 (%lld, %lld)", op,
                 m->dtype == MCS_U8 ? "U8" : "not U8", mcs_shape_str(m, s, sizeof s),
                 (long long)a->batch, (long long)a->nk);
        return false;
    }
    if (!isfinite(o->scale)) {
        mcs_fail(c, MCS_EINVAL, "%s: scale is not finite", op);
        return false;
    }
    return check_rel(c, op, a, o);
}

static bool check_heads(mcs_ctx *c, const char *op, const mcs_attention_opts *o, int64_t channels)
{
    if (o && o->heads > 0 && channels % o->heads == 0)
        return true;
    if (mcs_ctx_status(c) == MCS_OK)
        mcs_fail(c, MCS_EINVAL, "%s: %lld channels cannot be split into %d heads", op,
                 (long long)channels, o ? o->heads : 0);
    return false;
}

/* ---- Jobs ---- */

mcs_attn_view mcs_attn_view_of(const mcs_tensor *x, int64_t offset, int64_t head)
{
    int64_t token = x->shape[2];
    return (mcs_attn_view){ mcs_f32(x) + offset, token, head, x->shape[1] * token };
}

static void copy_upside_down(float *to, const mcs_tensor *table)
{
    int64_t n = table->shape[0], d = table->shape[1];
    for (int64_t i = 0; i < n; i++)
        memcpy(to + i * d, mcs_f32(table) + (n - 1 - i) * d, (size_t)d * sizeof *to);
}

static bool stack_tables(mcs_ctx *c, mcs_attn_job *a, const mcs_attention_opts *o)
{
    a->gh = o->grid_h, a->gw = o->grid_w;
    a->rel_n = 2 * a->gh - 1 + 2 * a->gw - 1;
    float *rel = mcs_alloc(c, (size_t)(a->rel_n * a->d) * sizeof *rel);
    if (!rel)
        return false;
    copy_upside_down(rel, o->rel_h);
    copy_upside_down(rel + (2 * a->gh - 1) * a->d, o->rel_w);
    a->rel = rel;
    return true;
}

/* Checks the options and completes a job whose sizes and views are set. */
static bool finish_job(mcs_ctx *c, const char *op, mcs_attn_job *a, const mcs_attention_opts *o)
{
    if (!check_opts(c, op, a, o))
        return false;
    a->scale = o->scale != 0 ? o->scale : 1 / sqrtf((float)a->d);
    a->bias = o->bias ? mcs_f32(o->bias) : NULL;
    a->key_mask = o->key_mask ? mcs_u8(o->key_mask) : NULL;
    a->block_k = min64(a->nk, BLOCK_K);
    int64_t most = min64(BLOCK_SCORES / (a->block_k ? a->block_k : 1), BLOCK_Q);
    a->block_q = a->nq ? mcs_range_count(a->nq, mcs_range_count(a->nq, most)) : 1;
    a->ld = mcs_attn_padded(a->block_k);
    a->vec = mcs_vec_get();
    return !o->rel_h || stack_tables(c, a, o);
}

bool mcs_attn_separate(mcs_ctx *c, const char *op, mcs_attn_job *a, const mcs_tensor *q,
                       const mcs_tensor *k, const mcs_tensor *v, const mcs_attention_opts *o)
{
    if (!mcs_ok_dim(c, op, q, 3) || !mcs_ok_dim(c, op, k, 3) || !mcs_ok_dim(c, op, v, 3) ||
        !check_heads(c, op, o, q->shape[2]) || !check_heads(c, op, o, v->shape[2]))
        return false;
    if (k->shape[0] != q->shape[0] || k->shape[2] != q->shape[2] || v->shape[0] != q->shape[0] ||
        v->shape[1] != k->shape[1]) {
        char qs[96], ks[96], vs[96];
        mcs_fail(c, MCS_ESHAPE, "%s: q %s, k %s and v %s do not fit together", op,
                 mcs_shape_str(q, qs, sizeof qs), mcs_shape_str(k, ks, sizeof ks),
                 mcs_shape_str(v, vs, sizeof vs));
        return false;
    }
    *a = (mcs_attn_job){ .batch = q->shape[0],
                         .heads = o->heads,
                         .nq = q->shape[1],
                         .nk = k->shape[1],
                         .d = q->shape[2] / o->heads,
                         .dv = v->shape[2] / o->heads };
    a->q = mcs_attn_view_of(q, 0, a->d);
    a->k = mcs_attn_view_of(k, 0, a->d);
    a->v = mcs_attn_view_of(v, 0, a->dv);
    return finish_job(c, op, a, o);
}

bool mcs_attn_packed(mcs_ctx *c, const char *op, mcs_attn_job *a, const mcs_tensor *qkv,
                     mcs_qkv_layout layout, const mcs_attention_opts *o)
{
    if (!mcs_ok_dim(c, op, qkv, 3))
        return false;
    int64_t channels = qkv->shape[2] / 3;
    if (qkv->shape[2] % 3) {
        mcs_fail(c, MCS_ESHAPE, "%s: %lld packed channels are no multiple of 3", op,
                 (long long)qkv->shape[2]);
        return false;
    }
    if (!check_heads(c, op, o, channels))
        return false;
    int64_t n = qkv->shape[1], d = channels / o->heads;
    *a = (mcs_attn_job){
        .batch = qkv->shape[0], .heads = o->heads, .nq = n, .nk = n, .d = d, .dv = d
    };
    bool split = layout == MCS_QKV_SPLIT;
    int64_t step = split ? channels : d, head = split ? d : 3 * d;
    a->q = mcs_attn_view_of(qkv, 0, head);
    a->k = mcs_attn_view_of(qkv, step, head);
    a->v = mcs_attn_view_of(qkv, 2 * step, head);
    return finish_job(c, op, a, o);
}

/* ---- Notes ---- */

mcs_attn_saved *mcs_attn_save(mcs_ctx *c, const mcs_attn_job *a, bool packed)
{
    mcs_attn_saved *s = mcs_alloc(c, sizeof *s);
    if (!s)
        return NULL;
    *s = (mcs_attn_saved){ .job = *a, .packed = packed };
    if (!a->v.data) {
        s->probs = true;
        return s;
    }
    s->lse = mcs_alloc(c, (size_t)(a->batch * a->heads * a->nq) * sizeof(float));
    return s->lse ? s : NULL;
}
