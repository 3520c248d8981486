/* op_attention.c - multi-head attention without ever holding the scores.
 *
 *   O = softmax(S) V per image and head, S = scale Q K^T + bias + relative position, masked
 *
 * The scores of block_q queries and block_k keys are computed, exponentiated and multiplied
 * with V before the next block of keys, with a running maximum m and sum l per row (online
 * softmax: Milakov & Gimelshein 2018; Dao et al. 2022, FlashAttention, algorithm 1):
 *
 *   m' = max(m, max_k s),  l = l e^(m - m') + sum_k e^(s - m'),  O = O e^(m - m') + e^(s - m') V
 *
 * and O / l at the end.  A block is 64K scores (256 KB), which stays in the second-level cache:
 * SAM's global layers would otherwise move 12 x 4096 x 4096 scores through memory three times.
 * Up to 512 keys form one block, which is the plain softmax.  One task is one block of queries
 * of one head, cut by the shape alone.  Backward (op_attention_backward.c) computes the scores
 * again from lse = m + log l, the only thing saved.
 *
 * q, k and v are read in place through leading dimensions, so a packed projection (B,N,3C) is
 * never permuted: token t of head h of image b lies at data + b*image + h*head + t*token. */
#include "tensor/attention_internal.h"
#include <math.h>
#include "tensor/gemm.h"

enum { BLOCK_SCORES = 64 * 1024, BLOCK_K = 512, BLOCK_Q = 512 };

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

static mcs_attn_view view_of(const mcs_tensor *x, int64_t offset, int64_t head)
{
    int64_t token = x->shape[2];
    return (mcs_attn_view){ mcs_f32(x) + offset, token, head, x->shape[1] * token };
}

/* Checks the options and completes a job whose sizes and views are set. */
static bool finish_job(mcs_ctx *c, const char *op, mcs_attn_job *a, const mcs_attention_opts *o)
{
    if (!check_opts(c, op, a, o))
        return false;
    a->scale = o->scale != 0 ? o->scale : 1 / sqrtf((float)a->d);
    a->bias = o->bias ? mcs_f32(o->bias) : NULL;
    a->key_mask = o->key_mask ? mcs_u8(o->key_mask) : NULL;
    if (o->rel_h) {
        a->rel_h = mcs_f32(o->rel_h), a->rel_w = mcs_f32(o->rel_w);
        a->gh = o->grid_h, a->gw = o->grid_w;
    }
    a->block_k = min64(a->nk, BLOCK_K);
    int64_t most = min64(BLOCK_SCORES / (a->block_k ? a->block_k : 1), BLOCK_Q);
    a->block_q = a->nq ? mcs_range_count(a->nq, mcs_range_count(a->nq, most)) : 1;
    a->vec = mcs_vec_get();
    return true;
}

static bool separate_job(mcs_ctx *c, const char *op, mcs_attn_job *a, const mcs_tensor *q,
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
    a->q = view_of(q, 0, a->d);
    a->k = view_of(k, 0, a->d);
    a->v = view_of(v, 0, a->dv);
    return finish_job(c, op, a, o);
}

static bool packed_job(mcs_ctx *c, const char *op, mcs_attn_job *a, const mcs_tensor *qkv,
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
    a->q = view_of(qkv, 0, head);
    a->k = view_of(qkv, step, head);
    a->v = view_of(qkv, 2 * step, head);
    return finish_job(c, op, a, o);
}

/* ---- Forward ---- */

typedef struct {
    const mcs_attn_job *job;
    float *scratch; /* per range: scores, m, l, rel_h, rel_w */
    int64_t per_range, grain;
    float *lse; /* (batch, heads, nq); NULL: not wanted */
} forward_work;

/* exp of one row of scores about the running maximum; the row of O is rescaled to it. */
static void softmax_step(const mcs_attn_job *a, float *s, int64_t keys, float *m, float *l,
                         float *o)
{
    float top = a->vec->max(s, keys);
    if (top < *m)
        top = *m;
    if (top == -INFINITY) { /* no key so far: exp(s - m) would be NaN */
        for (int64_t j = 0; j < keys; j++)
            s[j] = 0;
        return;
    }
    float sum = a->vec->exp_sum(s, s, top, keys);
    if (*m != -INFINITY && top != *m) {
        float shrink = expf(*m - top);
        *l *= shrink;
        a->vec->affine(o, o, shrink, 0, a->dv);
    }
    *l += sum;
    *m = top;
}

static void attend_rows(const mcs_attn_job *a, const mcs_attn_rows *r, float *s, float *m, float *l,
                        float *lse)
{
    float *o = (float *)mcs_attn_at(&a->out, r->image, r->head, r->q0);
    mcs_attn_rel_terms(a, r);
    for (int64_t i = 0; i < r->rows; i++)
        m[i] = -INFINITY, l[i] = 0;
    for (int64_t k0 = 0; k0 < a->nk; k0 += a->block_k) {
        int64_t keys = min64(a->nk - k0, a->block_k);
        mcs_attn_scores(a, r, k0, keys, s);
        for (int64_t i = 0; i < r->rows; i++)
            softmax_step(a, s + i * keys, keys, &m[i], &l[i], o + i * a->out.token);
        mcs_gemm_serial(false, false, r->rows, a->dv, keys, 1, s, keys,
                        mcs_attn_at(&a->v, r->image, r->head, k0), a->v.token, k0 > 0, o,
                        a->out.token);
    }
    for (int64_t i = 0; i < r->rows; i++) {
        float *row = o + i * a->out.token;
        a->vec->affine(row, row, l[i] == 0 ? 0 : 1 / l[i], 0, a->dv);
        if (lse)
            lse[i] = l[i] == 0 ? INFINITY : m[i] + logf(l[i]);
    }
}

static void attend(void *arg, int64_t begin, int64_t end)
{
    const forward_work *w = arg;
    const mcs_attn_job *a = w->job;
    int64_t blocks = mcs_attn_blocks_q(a), bq = a->block_q;
    float *s = w->scratch + begin / w->grain * w->per_range;
    float *m = s + bq * a->block_k, *l = m + bq;
    for (int64_t t = begin; t < end; t++) {
        int64_t ih = t / blocks; /* image * heads + head */
        mcs_attn_rows r = { .image = ih / a->heads,
                            .head = ih % a->heads,
                            .q0 = t % blocks * bq,
                            .rel_h = l + bq,
                            .rel_w = l + bq + bq * mcs_attn_rel_h(a) };
        r.rows = min64(a->nq - r.q0, bq);
        attend_rows(a, &r, s, m, l, w->lse ? w->lse + ih * a->nq + r.q0 : NULL);
    }
}

static void run_forward(mcs_ctx *c, const mcs_attn_job *a, float *lse)
{
    mcs_scope scope = mcs_scope_begin(c);
    int64_t tasks = a->batch * a->heads * mcs_attn_blocks_q(a);
    forward_work w = { .job = a, .lse = lse, .grain = mcs_attn_grain(tasks) };
    w.per_range = a->block_q * (a->block_k + 2 + mcs_attn_rel_h(a) + mcs_attn_rel_w(a));
    w.per_range = (w.per_range + 15) / 16 * 16;
    size_t ranges = (size_t)mcs_range_count(tasks, w.grain);
    w.scratch = mcs_alloc(c, ranges * (size_t)w.per_range * sizeof(float));
    if (w.scratch)
        mcs_parallel_for(c, tasks, w.grain, attend, &w);
    mcs_scope_end(c, scope, NULL);
}

static const mcs_op op_attention = { "attention", mcs_attn_backward };
static const mcs_op op_attention_packed = { "attention_packed", mcs_attn_backward };
static const mcs_op op_attention_probs = { "attention_probs", mcs_attn_backward };

/* Notes for backward; the job's pointers stay valid as long as the tape does. */
static mcs_attn_saved *save_job(mcs_ctx *c, const mcs_attn_job *a, bool packed)
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

static mcs_tensor *forward(mcs_ctx *c, const mcs_op *op, mcs_attn_job *a, int in_count,
                           const mcs_tensor *const *in)
{
    mcs_tensor *y = mcs_new(c, 3, MCS_SHAPE(a->batch, a->nq, a->heads * a->dv));
    if (!y)
        return NULL;
    a->out = view_of(y, 0, a->dv);
    mcs_attn_saved *saved = NULL;
    if (mcs_will_record(c, in_count, in)) {
        saved = save_job(c, a, op == &op_attention_packed);
        if (!saved)
            return NULL;
    }
    run_forward(c, a, saved ? saved->lse : NULL);
    return mcs_record(c, op, y, saved, in_count, in);
}

mcs_tensor *mcs_attention(mcs_ctx *c, const mcs_tensor *q, const mcs_tensor *k, const mcs_tensor *v,
                          const mcs_attention_opts *o)
{
    mcs_attn_job a;
    if (!separate_job(c, op_attention.name, &a, q, k, v, o))
        return NULL;
    return forward(c, &op_attention, &a, MCS_INPUTS(q, k, v, o->bias, o->rel_h, o->rel_w));
}

mcs_tensor *mcs_attention_packed(mcs_ctx *c, const mcs_tensor *qkv, mcs_qkv_layout layout,
                                 const mcs_attention_opts *o)
{
    mcs_attn_job a;
    if (!packed_job(c, op_attention_packed.name, &a, qkv, layout, o))
        return NULL;
    return forward(c, &op_attention_packed, &a, MCS_INPUTS(qkv, o->bias, o->rel_h, o->rel_w));
}

/* ---- Probabilities ---- */

typedef struct {
    const mcs_attn_job *job;
    float *p; /* (batch, heads, nq, nk) */
    float *scratch; /* per range: rel_h, rel_w */
    int64_t per_range, grain;
} probs_work;

static void softmax_row(const mcs_vec *vec, float *p, int64_t n)
{
    if (vec->max(p, n) != -INFINITY)
        vec->softmax_row(p, p, n);
    else
        for (int64_t j = 0; j < n; j++)
            p[j] = 0;
}

static void probs_rows(void *arg, int64_t begin, int64_t end)
{
    const probs_work *w = arg;
    const mcs_attn_job *a = w->job;
    int64_t blocks = mcs_attn_blocks_q(a);
    float *rel = w->scratch + begin / w->grain * w->per_range;
    for (int64_t t = begin; t < end; t++) {
        int64_t ih = t / blocks;
        mcs_attn_rows r = { .image = ih / a->heads,
                            .head = ih % a->heads,
                            .rel_h = rel,
                            .q0 = t % blocks * a->block_q,
                            .rel_w = rel + a->block_q * mcs_attn_rel_h(a) };
        r.rows = min64(a->nq - r.q0, a->block_q);
        float *p = w->p + (ih * a->nq + r.q0) * a->nk;
        mcs_attn_rel_terms(a, &r);
        mcs_attn_scores(a, &r, 0, a->nk, p);
        for (int64_t i = 0; i < r.rows; i++)
            softmax_row(a->vec, p + i * a->nk, a->nk);
    }
}

static void run_probs(mcs_ctx *c, const mcs_attn_job *a, float *p)
{
    mcs_scope scope = mcs_scope_begin(c);
    int64_t tasks = a->batch * a->heads * mcs_attn_blocks_q(a);
    probs_work w = { .job = a, .p = p, .grain = mcs_attn_grain(tasks) };
    w.per_range = (a->block_q * (mcs_attn_rel_h(a) + mcs_attn_rel_w(a)) + 16) / 16 * 16;
    size_t ranges = (size_t)mcs_range_count(tasks, w.grain);
    w.scratch = mcs_alloc(c, ranges * (size_t)w.per_range * sizeof(float));
    if (w.scratch)
        mcs_parallel_for(c, tasks, w.grain, probs_rows, &w);
    mcs_scope_end(c, scope, NULL);
}

mcs_tensor *mcs_attention_probs(mcs_ctx *c, const mcs_tensor *q, const mcs_tensor *k,
                                const mcs_attention_opts *o)
{
    mcs_attn_job a;
    if (!separate_job(c, op_attention_probs.name, &a, q, k, k, o))
        return NULL;
    a.v.data = NULL;
    mcs_tensor *p = mcs_new(c, 4, MCS_SHAPE(a.batch, a.heads, a.nq, a.nk));
    if (!p)
        return NULL;
    mcs_attn_saved *saved = NULL;
    if (mcs_will_record(c, MCS_INPUTS(q, k, NULL, o->bias, o->rel_h, o->rel_w))) {
        saved = save_job(c, &a, false);
        if (!saved)
            return NULL;
    }
    run_probs(c, &a, mcs_f32(p));
    return mcs_record(c, &op_attention_probs, p, saved,
                      MCS_INPUTS(q, k, NULL, o->bias, o->rel_h, o->rel_w));
}
