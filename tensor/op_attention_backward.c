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
    int64_t per_range, per_partial, grain;
} backward_work;

/* The scratch of one range. */
typedef struct {
    float *s, *ds; /* (block_q, block_k) */
    float *delta; /* (block_q) */
    float *th, *tw; /* (block_q, 2 gh - 1), (block_q, 2 gw - 1) */
    float *drel_h, *drel_w; /* this range's sums */
} backward_scratch;

static float *grad_at(const mcs_attn_view *v, int64_t image, int64_t head, int64_t token)
{
    return (float *)mcs_attn_at(v, image, head, token);
}

/* T_h and T_w of one query, in the reversed order of mcs_attn_rel_terms(). */
static void collect_rel_row(const mcs_vec *vec, const float *ds, float *th, float *tw, int64_t gw,
                            int64_t k0, int64_t keys)
{
    int64_t kh = k0 / gw, kw = k0 % gw;
    while (keys > 0) {
        int64_t n = gw - kw < keys ? gw - kw : keys;
        th[kh++] += vec->sum(ds, n);
        vec->add(tw + kw, tw + kw, ds, n);
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
        mcs_gemm_serial(false, false, r->rows, a->d, keys, a->scale, t->ds, keys,
                        mcs_attn_at(&a->k, r->image, r->head, k0), a->k.token, 1,
                        grad_at(&w->dq, r->image, r->head, r->q0), w->dq.token);
    if (w->dk.data)
        mcs_gemm_serial(true, false, keys, a->d, r->rows, a->scale, t->ds, keys,
                        mcs_attn_at(&a->q, r->image, r->head, r->q0), a->q.token, 1,
                        grad_at(&w->dk, r->image, r->head, k0), w->dk.token);
    for (int64_t i = 0; w->dbias && i < r->rows; i++) {
        float *to = w->dbias + (r->head * a->nq + r->q0 + i) * a->nk + k0;
        a->vec->add(to, to, t->ds + i * keys, keys);
    }
    for (int64_t i = 0; a->rel_h && i < r->rows; i++)
        collect_rel_row(a->vec, t->ds + i * keys,
                        t->th + i * mcs_attn_rel_h(a) + (r->q0 + i) / a->gw,
                        t->tw + i * mcs_attn_rel_w(a) + (r->q0 + i) % a->gw, a->gw, k0, keys);
}

/* The tables collected over all keys, to dQ, dRh and dRw. */
static void spread_table(const backward_work *w, const mcs_attn_rows *r, const float *table,
                         int64_t n, const float *rel, float *drel)
{
    const mcs_attn_job *a = w->job;
    if (w->dq.data)
        mcs_gemm_serial(false, false, r->rows, a->d, n, 1, table, n, rel, a->d, 1,
                        grad_at(&w->dq, r->image, r->head, r->q0), w->dq.token);
    if (w->want_rel)
        mcs_gemm_serial(true, false, n, a->d, r->rows, 1, table, n,
                        mcs_attn_at(&a->q, r->image, r->head, r->q0), a->q.token, 1, drel, a->d);
}

static void spread_rel(const backward_work *w, const mcs_attn_rows *r, const backward_scratch *t)
{
    const mcs_attn_job *a = w->job;
    int64_t nh = mcs_attn_rel_h(a), nw = mcs_attn_rel_w(a);
    for (int64_t i = 0; i < r->rows; i++) {
        mcs_attn_reverse(t->th + i * nh + (r->q0 + i) / a->gw, a->gh);
        mcs_attn_reverse(t->tw + i * nw + (r->q0 + i) % a->gw, a->gw);
    }
    spread_table(w, r, t->th, nh, a->rel_h, t->drel_h);
    spread_table(w, r, t->tw, nw, a->rel_w, t->drel_w);
}

/* dS of a block from the scores computed again; dV on the way. */
static void block_attention(const backward_work *w, const mcs_attn_rows *r,
                            const backward_scratch *t, int64_t k0, int64_t keys)
{
    const mcs_attn_job *a = w->job;
    const float *lse = w->lse + (r->image * a->heads + r->head) * a->nq + r->q0;
    const float *dout = mcs_attn_at(&w->dout, r->image, r->head, r->q0);
    mcs_attn_scores(a, r, k0, keys, t->s);
    for (int64_t i = 0; i < r->rows; i++)
        a->vec->exp_sum(t->s + i * keys, t->s + i * keys, lse[i], keys);
    if (w->dv.data)
        mcs_gemm_serial(true, false, keys, a->dv, r->rows, 1, t->s, keys, dout, w->dout.token, 1,
                        grad_at(&w->dv, r->image, r->head, k0), w->dv.token);
    if (!w->want_scores)
        return;
    mcs_gemm_serial(false, true, r->rows, keys, a->dv, 1, dout, w->dout.token,
                    mcs_attn_at(&a->v, r->image, r->head, k0), a->v.token, 0, t->ds, keys);
    for (int64_t i = 0; i < r->rows; i++) {
        float *ds = t->ds + i * keys;
        a->vec->affine(ds, ds, 1, -t->delta[i], keys);
        a->vec->mul(ds, ds, t->s + i * keys, keys);
    }
}

/* dS of a block from the probabilities and their gradient. */
static void block_probs(const backward_work *w, const mcs_attn_rows *r, const backward_scratch *t,
                        int64_t k0, int64_t keys)
{
    const mcs_attn_job *a = w->job;
    int64_t at = ((r->image * a->heads + r->head) * a->nq + r->q0) * a->nk + k0;
    for (int64_t i = 0; i < r->rows; i++, at += a->nk) {
        float *ds = t->ds + i * keys;
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
    if (a->rel_h)
        memset(t->th, 0, (size_t)(r->rows * mcs_attn_rel_h(a)) * sizeof(float));
    if (a->rel_h)
        memset(t->tw, 0, (size_t)(r->rows * mcs_attn_rel_w(a)) * sizeof(float));
    for (int64_t k0 = 0; k0 < a->nk; k0 += a->block_k) {
        int64_t keys = a->nk - k0 < a->block_k ? a->nk - k0 : a->block_k;
        if (w->p)
            block_probs(w, r, t, k0, keys);
        else
            block_attention(w, r, t, k0, keys);
        if (w->want_scores)
            spread_scores(w, r, t, k0, keys);
    }
    if (a->rel_h && w->want_scores)
        spread_rel(w, r, t);
}

static void backward_heads(void *arg, int64_t begin, int64_t end)
{
    const backward_work *w = arg;
    const mcs_attn_job *a = w->job;
    int64_t bq = a->block_q, nh = mcs_attn_rel_h(a), nw = mcs_attn_rel_w(a);
    float *at = w->scratch + begin / w->grain * w->per_range;
    float *partial = w->partial ? w->partial + begin / w->grain * w->per_partial : NULL;
    backward_scratch t = { .s = at, .ds = at + bq * a->block_k, .drel_h = partial };
    t.delta = t.ds + bq * a->block_k;
    t.th = t.delta + bq;
    t.tw = t.th + bq * nh;
    mcs_attn_rows r = { .rel_h = t.tw + bq * nw, .rel_w = t.tw + bq * (nw + nh) };
    if (partial) {
        memset(partial, 0, (size_t)w->per_partial * sizeof(float));
        t.drel_w = partial + nh * a->d;
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

/* Adds the ranges' copies in order. */
static void add_partials(const backward_work *w, int64_t ranges, float *drel_h, float *drel_w)
{
    const mcs_attn_job *a = w->job;
    int64_t nh = mcs_attn_rel_h(a) * a->d, nw = mcs_attn_rel_w(a) * a->d;
    for (int64_t i = 0; i < ranges; i++) {
        const float *from = w->partial + i * w->per_partial;
        if (drel_h)
            a->vec->add(drel_h, drel_h, from, nh);
        if (drel_w)
            a->vec->add(drel_w, drel_w, from + nh, nw);
    }
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
    w.grain = mcs_attn_grain(tasks);
    w.per_range =
        bq * (2 * a->block_k + 1 + 2 * (mcs_attn_rel_h(a) + mcs_attn_rel_w(a))) / 16 * 16 + 16;
    w.per_partial = (mcs_attn_rel_h(a) + mcs_attn_rel_w(a)) * a->d;
    int64_t ranges = mcs_range_count(tasks, w.grain);
    w.scratch = mcs_alloc(c, (size_t)(ranges * w.per_range) * sizeof(float));
    if (w.want_rel)
        w.partial = mcs_alloc(c, (size_t)(ranges * w.per_partial) * sizeof(float));
    if (!w.scratch || (w.want_rel && !w.partial))
        return;
    mcs_parallel_for(c, tasks, w.grain, backward_heads, &w);
    if (w.want_rel && mcs_ctx_status(c) == MCS_OK)
        add_partials(&w, ranges, drel_h, drel_w);
}
