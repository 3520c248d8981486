/* op_attention_backward.c - gradients of attention, from scores that are computed again.
 *
 * With P = exp(S - lse) and delta = <dO, O> per query (Dao et al. 2022, algorithm 4):
 *
 *   dV += P^T dO,  dP = dO V^T,  dS = P (dP - delta)
 *   dQ += scale dS K,  dK += scale dS^T Q,  dbias += dS
 *   dQ += T_h Rh + T_w Rw,  dRh += T_h^T Q,  dRw += T_w^T Q
 *
 * where T_h[q, qh - kh + gh - 1] is dS summed over the key columns kw, and T_w over the rows.
 * For attention_probs P is the result, dP its gradient and delta = <P, dP>.
 *
 * A task is one head of one image: what it writes of dQ, dK and dV no other task writes.  The
 * bias is shared by the images, so if its gradient is wanted a task is one head of all images.
 * The tables of the relative position are shared by all, so each range of tasks sums into a
 * copy of its own, and the copies are added in order. */
#include "tensor/attention_internal.h"
#include <string.h>
#include "tensor/gemm.h"

enum { RANGES = 32 }; /* at most; fixed, because each sums the tables of its tasks */

typedef struct {
    const mcs_attn_job *job;
    const float *lse;
    mcs_attn_view dout; /* gradient of the result, laid out as job->out */
    const float *p, *dp; /* attention_probs: result and gradient, else NULL */
    mcs_attn_view dq, dk, dv; /* data NULL: not wanted */
    float *dbias;
    bool want_scores; /* some gradient other than that of v */
    bool want_rel;
    float *scratch, *partial;
    int64_t per_range, grain;
} backward_work;

/* The scratch of one range. */
typedef struct {
    float *s, *ds; /* (block_q, ld) */
    float *delta; /* (block_q) */
    float *table; /* (block_q, rel_n): dS summed over key columns, and over key rows */
    float *drel; /* (rel_n, d): this range's sums */
} backward_scratch;

static float *grad_at(const mcs_attn_view *v, int64_t image, int64_t head, int64_t token)
{
    return (float *)mcs_attn_at(v, image, head, token);
}

/* T_h and T_w of one query, in the order of mcs_attn_rel_terms().  The sum over a row of keys has
 * 4 parts, so that it is a vector's. */
static void collect_rel_row(const float *restrict ds, float *restrict th, float *restrict tw,
                            int64_t gw, int64_t k0, int64_t keys)
{
    int64_t kh = k0 / gw, kw = k0 % gw;
    while (keys > 0) {
        int64_t n = gw - kw < keys ? gw - kw : keys, i = 0;
        float sum[4] = { 0 };
        for (; i + 4 <= n; i += 4)
            for (int j = 0; j < 4; j++) {
                sum[j] += ds[i + j];
                tw[kw + i + j] += ds[i + j];
            }
        for (; i < n; i++) {
            sum[0] += ds[i];
            tw[kw + i] += ds[i];
        }
        th[kh++] += (sum[0] + sum[1]) + (sum[2] + sum[3]);
        ds += n;
        keys -= n;
        kw = 0;
    }
}

/* What dS of a block adds to everything that made the scores. */
static void spread_scores(const backward_work *w, const mcs_attn_rows *r, const backward_scratch *t,
                          int64_t k0, int64_t keys)
{
    const mcs_attn_job *a = w->job;
    if (w->dq.data)
        mcs_gemm_serial(false, false, r->rows, a->d, keys, a->scale, t->ds, a->ld,
                        mcs_attn_at(&a->k, r->image, r->head, k0), a->k.token, 1,
                        grad_at(&w->dq, r->image, r->head, r->q0), w->dq.token);
    if (w->dk.data)
        mcs_gemm_serial(true, false, keys, a->d, r->rows, a->scale, t->ds, a->ld,
                        mcs_attn_at(&a->q, r->image, r->head, r->q0), a->q.token, 1,
                        grad_at(&w->dk, r->image, r->head, k0), w->dk.token);
    for (int64_t i = 0; w->dbias && i < r->rows; i++) {
        float *to = w->dbias + (r->head * a->nq + r->q0 + i) * a->nk + k0;
        a->vec->add(to, to, t->ds + i * a->ld, keys);
    }
    for (int64_t i = 0; a->rel && i < r->rows; i++) {
        float *row = t->table + i * a->rel_n;
        collect_rel_row(t->ds + i * a->ld, row + mcs_attn_rel_h(a, r->q0 + i),
                        row + mcs_attn_rel_w(a, r->q0 + i), a->gw, k0, keys);
    }
}

/* The tables collected over all keys, to dQ, dRh and dRw. */
static void spread_rel(const backward_work *w, const mcs_attn_rows *r, const backward_scratch *t)
{
    const mcs_attn_job *a = w->job;
    if (w->dq.data)
        mcs_gemm_serial(false, false, r->rows, a->d, a->rel_n, 1, t->table, a->rel_n, a->rel, a->d,
                        1, grad_at(&w->dq, r->image, r->head, r->q0), w->dq.token);
    if (w->want_rel)
        mcs_gemm_serial(true, false, a->rel_n, a->d, r->rows, 1, t->table, a->rel_n,
                        mcs_attn_at(&a->q, r->image, r->head, r->q0), a->q.token, 1, t->drel, a->d);
}

/* dS of a block from the scores computed again; dV on the way. */
static void block_attention(const backward_work *w, const mcs_attn_rows *r,
                            const backward_scratch *t, int64_t k0, int64_t keys)
{
    const mcs_attn_job *a = w->job;
    const float *lse = w->lse + (r->image * a->heads + r->head) * a->nq + r->q0;
    const float *dout = mcs_attn_at(&w->dout, r->image, r->head, r->q0);
    int64_t padded = mcs_attn_padded(keys);
    mcs_attn_scores(a, r, k0, keys, t->s, a->ld);
    for (int64_t i = 0; i < r->rows; i++)
        a->vec->exp_sum(t->s + i * a->ld, t->s + i * a->ld, lse[i], padded);
    if (w->dv.data)
        mcs_gemm_serial(true, false, keys, a->dv, r->rows, 1, t->s, a->ld, dout, w->dout.token, 1,
                        grad_at(&w->dv, r->image, r->head, k0), w->dv.token);
    if (!w->want_scores)
        return;
    mcs_gemm_serial(false, true, r->rows, keys, a->dv, 1, dout, w->dout.token,
                    mcs_attn_at(&a->v, r->image, r->head, k0), a->v.token, 0, t->ds, a->ld);
    for (int64_t i = 0; i < r->rows; i++) {
        float *ds = t->ds + i * a->ld;
        for (int64_t j = keys; j < padded; j++)
            ds[j] = 0;
        a->vec->affine(ds, ds, 1, -t->delta[i], padded);
        a->vec->mul(ds, ds, t->s + i * a->ld, padded);
    }
}

/* dS of a block from the probabilities and their gradient. */
static void block_probs(const backward_work *w, const mcs_attn_rows *r, const backward_scratch *t,
                        int64_t k0, int64_t keys)
{
    const mcs_attn_job *a = w->job;
    int64_t at = ((r->image * a->heads + r->head) * a->nq + r->q0) * a->nk + k0;
    for (int64_t i = 0; i < r->rows; i++, at += a->nk) {
        float *ds = t->ds + i * a->ld;
        a->vec->affine(ds, w->dp + at, 1, -t->delta[i], keys);
        a->vec->mul(ds, ds, w->p + at, keys);
    }
}

static void find_delta(const backward_work *w, const mcs_attn_rows *r, float *delta)
{
    const mcs_attn_job *a = w->job;
    int64_t at = ((r->image * a->heads + r->head) * a->nq + r->q0) * a->nk;
    for (int64_t i = 0; i < r->rows; i++)
        if (w->p)
            delta[i] = a->vec->dot(w->p + at + i * a->nk, w->dp + at + i * a->nk, a->nk);
        else
            delta[i] = a->vec->dot(mcs_attn_at(&a->out, r->image, r->head, r->q0 + i),
                                   mcs_attn_at(&w->dout, r->image, r->head, r->q0 + i), a->dv);
}

static void backward_rows(const backward_work *w, const mcs_attn_rows *r, const backward_scratch *t)
{
    const mcs_attn_job *a = w->job;
    find_delta(w, r, t->delta);
    if (!w->p)
        mcs_attn_rel_terms(a, r);
    if (a->rel)
        memset(t->table, 0, (size_t)(r->rows * a->rel_n) * sizeof(float));
    for (int64_t k0 = 0; k0 < a->nk; k0 += a->block_k) {
        int64_t keys = a->nk - k0 < a->block_k ? a->nk - k0 : a->block_k;
        if (w->p)
            block_probs(w, r, t, k0, keys);
        else
            block_attention(w, r, t, k0, keys);
        if (w->want_scores)
            spread_scores(w, r, t, k0, keys);
    }
    if (a->rel && w->want_scores)
        spread_rel(w, r, t);
}

static void backward_heads(void *arg, int64_t begin, int64_t end)
{
    const backward_work *w = arg;
    const mcs_attn_job *a = w->job;
    int64_t bq = a->block_q, block = bq * a->ld;
    float *at = w->scratch + begin / w->grain * w->per_range;
    backward_scratch t = { .s = at, .ds = at + block, .delta = at + 2 * block };
    t.table = t.delta + bq;
    mcs_attn_rows r = { .rel = t.table + bq * a->rel_n };
    if (w->partial) {
        t.drel = w->partial + begin / w->grain * a->rel_n * a->d;
        memset(t.drel, 0, (size_t)(a->rel_n * a->d) * sizeof(float));
    }
    int64_t images = w->dbias ? a->batch : 1; /* of a task */
    for (int64_t i = begin * images; i < end * images; i++) {
        r.image = w->dbias ? i % images : i / a->heads;
        r.head = w->dbias ? i / images : i % a->heads;
        for (r.q0 = 0; r.q0 < a->nq; r.q0 += bq) {
            r.rows = a->nq - r.q0 < bq ? a->nq - r.q0 : bq;
            backward_rows(w, &r, &t);
        }
    }
}

/* drel (n, d) += the ranges' copies of it in order; those are upside down, `at` rows below the
 * beginning of each. */
static void add_partials(const backward_work *w, int64_t ranges, float *drel, int64_t n, int64_t at)
{
    const mcs_attn_job *a = w->job;
    for (int64_t i = 0; drel && i < ranges; i++)
        for (int64_t j = 0; j < n; j++)
            a->vec->add(drel + j * a->d, drel + j * a->d,
                        w->partial + (i * a->rel_n + at + n - 1 - j) * a->d, a->d);
}

/* The view of a gradient: as the input's, in the buffer that is laid out as the input is. */
static mcs_attn_view grad_view(const mcs_attn_view *v, const mcs_tensor *x, float *grad)
{
    mcs_attn_view g = *v;
    g.data = grad ? grad + (v->data - mcs_f32(x)) : NULL;
    return g;
}

static void backward_views(mcs_ctx *c, const mcs_node *n, backward_work *w)
{
    const mcs_attn_saved *s = n->saved;
    const mcs_attn_job *a = &s->job;
    const mcs_tensor *q = n->in[0], *k = s->packed ? q : n->in[1], *v = s->packed ? q : n->in[2];
    w->dq = grad_view(&a->q, q, mcs_grad_buf(c, q));
    w->dk = grad_view(&a->k, k, mcs_grad_buf(c, k));
    if (s->probs) {
        w->p = mcs_f32(n->out), w->dp = n->grad;
        return;
    }
    w->dv = grad_view(&a->v, v, mcs_grad_buf(c, v));
    w->dout = a->out;
    w->dout.data = n->grad;
}

void mcs_attn_backward(mcs_ctx *c, mcs_node *n)
{
    const mcs_attn_saved *s = n->saved;
    const mcs_attn_job *a = &s->job;
    const mcs_tensor *const *extra = n->in + (s->packed ? 1 : 3); /* bias, rel_h, rel_w */
    backward_work w = { .job = a, .lse = s->lse, .dbias = mcs_grad_buf(c, extra[0]) };
    float *drel_h = mcs_grad_buf(c, extra[1]), *drel_w = mcs_grad_buf(c, extra[2]);
    backward_views(c, n, &w);
    w.want_rel = drel_h || drel_w;
    w.want_scores = w.dq.data || w.dk.data || w.dbias || w.want_rel;
    int64_t tasks = w.dbias ? a->heads : a->heads * a->batch, bq = a->block_q;
    w.grain = mcs_range_count(tasks, RANGES);
    w.per_range = mcs_attn_padded(bq * (2 * a->ld + 1 + 2 * a->rel_n));
    int64_t ranges = mcs_range_count(tasks, w.grain);
    w.scratch = mcs_alloc(c, (size_t)(ranges * w.per_range) * sizeof(float));
    if (w.want_rel)
        w.partial = mcs_alloc(c, (size_t)(ranges * a->rel_n * a->d) * sizeof(float));
    if (!w.scratch || (w.want_rel && !w.partial))
        return;
    mcs_parallel_for(c, tasks, w.grain, backward_heads, &w);
    if (!w.want_rel)
        return;
    add_partials(&w, ranges, drel_h, 2 * a->gh - 1, 0);
    add_partials(&w, ranges, drel_w, 2 * a->gw - 1, 2 * a->gh - 1);
}
