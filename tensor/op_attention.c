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
 * and O / l at the end.  A block stays in the second-level cache (op_attention_job.c):
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

static int64_t min64(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

typedef struct {
    const mcs_attn_job *job;
    float *scratch; /* per range: scores, m, l, rel */
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
        mcs_attn_scores(a, r, k0, keys, s, a->ld);
        for (int64_t i = 0; i < r->rows; i++)
            softmax_step(a, s + i * a->ld, mcs_attn_padded(keys), &m[i], &l[i],
                         o + i * a->out.token);
        mcs_gemm_serial(false, false, r->rows, a->dv, keys, 1, s, a->ld,
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
    float *m = s + bq * a->ld, *l = m + bq;
    for (int64_t t = begin; t < end; t++) {
        int64_t ih = t / blocks; /* image * heads + head */
        mcs_attn_rows r = {
            .image = ih / a->heads, .head = ih % a->heads, .q0 = t % blocks * bq, .rel = l + bq
        };
        r.rows = min64(a->nq - r.q0, bq);
        attend_rows(a, &r, s, m, l, w->lse ? w->lse + ih * a->nq + r.q0 : NULL);
    }
}

void mcs_attn_forward(mcs_ctx *c, const mcs_attn_job *a, float *lse)
{
    mcs_scope scope = mcs_scope_begin(c);
    int64_t tasks = a->batch * a->heads * mcs_attn_blocks_q(a);
    forward_work w = { .job = a, .lse = lse, .grain = mcs_attn_grain(c, tasks) };
    w.per_range = a->block_q * (a->ld + 2 + a->rel_n);
    w.per_range = (w.per_range + 15) / 16 * 16;
    size_t ranges = (size_t)mcs_range_count(tasks, w.grain);
    w.scratch = mcs_alloc(c, ranges * (size_t)w.per_range * sizeof(float));
    if (w.scratch)
        mcs_parallel_for(c, tasks, w.grain, attend, &w);
    mcs_scope_end(c, scope, NULL);
}

static const mcs_op op_attention = { "attention", mcs_attn_backward };
static const mcs_op op_attention_packed = { "attention_packed", mcs_attn_backward };

static mcs_tensor *forward(mcs_ctx *c, const mcs_op *op, mcs_attn_job *a, int in_count,
                           const mcs_tensor *const *in)
{
    mcs_tensor *y = mcs_new(c, 3, MCS_SHAPE(a->batch, a->nq, a->heads * a->dv));
    if (!y)
        return NULL;
    a->out = mcs_attn_view_of(y, 0, a->dv);
    mcs_attn_saved *saved = NULL;
    if (mcs_will_record(c, in_count, in)) {
        saved = mcs_attn_save(c, a, op == &op_attention_packed);
        if (!saved)
            return NULL;
    }
    mcs_attn_forward(c, a, saved ? saved->lse : NULL);
    return mcs_record(c, op, y, saved, in_count, in);
}

mcs_tensor *mcs_attention(mcs_ctx *c, const mcs_tensor *q, const mcs_tensor *k, const mcs_tensor *v,
                          const mcs_attention_opts *o)
{
    mcs_attn_job a;
    if (!mcs_attn_separate(c, op_attention.name, &a, q, k, v, o))
        return NULL;
    return forward(c, &op_attention, &a, MCS_INPUTS(q, k, v, o->bias, o->rel_h, o->rel_w));
}

mcs_tensor *mcs_attention_packed(mcs_ctx *c, const mcs_tensor *qkv, mcs_qkv_layout layout,
                                 const mcs_attention_opts *o)
{
    mcs_attn_job a;
    if (!mcs_attn_packed(c, op_attention_packed.name, &a, qkv, layout, o))
        return NULL;
    return forward(c, &op_attention_packed, &a, MCS_INPUTS(qkv, o->bias, o->rel_h, o->rel_w));
}
