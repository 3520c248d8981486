/* op_attention_probs.c - the probabilities of attention, held whole.
 *
 *   P = softmax(scale Q K^T + bias + relative position), masked: (B, heads, Nq, Nk)
 *
 * For maps that explain attention and for modules whose probabilities are watched.  Scores are
 * computed into the result and normalised there; backward is that of op_attention_backward.c,
 * with P given instead of computed again. */
#include <math.h>
#include "tensor/attention_internal.h"

static int64_t min64(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static const mcs_op op_attention_probs = { "attention_probs", mcs_attn_backward };

typedef struct {
    const mcs_attn_job *job;
    float *p; /* (batch, heads, nq, nk) */
    float *scratch; /* per range: rel */
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

                            .rel = rel,
                            .q0 = t % blocks * a->block_q };
        r.rows = min64(a->nq - r.q0, a->block_q);
        float *p = w->p + (ih * a->nq + r.q0) * a->nk;
        mcs_attn_rel_terms(a, &r);
        mcs_attn_scores(a, &r, 0, a->nk, p, a->nk);
        for (int64_t i = 0; i < r.rows; i++)
            softmax_row(a->vec, p + i * a->nk, a->nk);
    }
}

static void run_probs(mcs_ctx *c, const mcs_attn_job *a, float *p)
{
    mcs_scope scope = mcs_scope_begin(c);
    int64_t tasks = a->batch * a->heads * mcs_attn_blocks_q(a);
    probs_work w = { .job = a, .p = p, .grain = mcs_attn_grain(c, tasks) };
    w.per_range = (a->block_q * a->rel_n + 16) / 16 * 16;
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
    if (!mcs_attn_separate(c, op_attention_probs.name, &a, q, k, k, o))
        return NULL;
    a.v.data = NULL;
    mcs_tensor *p = mcs_new(c, 4, MCS_SHAPE(a.batch, a.heads, a.nq, a.nk));
    if (!p)
        return NULL;
    mcs_attn_saved *saved = NULL;
    if (mcs_will_record(c, MCS_INPUTS(q, k, NULL, o->bias, o->rel_h, o->rel_w))) {
        saved = mcs_attn_save(c, &a, false);
        if (!saved)
            return NULL;
    }
    run_probs(c, &a, mcs_f32(p));
    return mcs_record(c, &op_attention_probs, p, saved,
                      MCS_INPUTS(q, k, NULL, o->bias, o->rel_h, o->rel_w));
}
