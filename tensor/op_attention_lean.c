/* op_attention_lean.c - attention and the projection behind it as one node.
 *
 *   O = attention(q, k, v),  y = O W^T + b + residual
 *   dW += dy^T O,  dO = dy W,  then attention's own backward from dO
 *
 * The projection's weights need O, attention's backward its <dO, O>; both are at work one after the
 * other, so O is computed again for them instead of being held by the tape: a tenth of what a
 * transformer block keeps, for a twentieth of its forward.  q, k, v and lse are kept as
 * op_attention.c keeps them. */
#include "tensor/attention_internal.h"
#include "tensor/gemm.h"
#include "tensor/linear_internal.h"

enum { TAIL = 3, IN_WEIGHT = 0, IN_BIAS, IN_RESIDUAL }; /* the last inputs */
enum { ROWS = 2048 }; /* of O at a time, in whole images: scratch stays small, and in cache */

static int64_t images_of_part(const mcs_attn_job *a)
{
    int64_t most = a->nq < ROWS ? ROWS / a->nq : 1;
    return a->batch ? mcs_range_count(a->batch, mcs_range_count(a->batch, most)) : 1;
}

/* The job of some images, whose result goes to o. */
static mcs_attn_job part_of(const mcs_attn_job *a, int64_t first, int64_t count, float *o)
{
    mcs_attn_job part = *a;
    int64_t dim = a->heads * a->dv;
    part.batch = a->batch - first < count ? a->batch - first : count;
    part.q.data += first * a->q.image;
    part.k.data += first * a->k.image;
    part.v.data += first * a->v.image;
    part.key_mask = a->key_mask ? a->key_mask + first * a->nk : NULL;
    part.out = (mcs_attn_view){ o, dim, a->dv, a->nq * dim };
    return part;
}

static float *lse_of(const mcs_attn_job *a, float *lse, int64_t first)
{
    return lse ? lse + first * a->heads * a->nq : NULL;
}

/* dW, and the gradients of attention's inputs, from dy of the part's rows. */
static void part_backward(mcs_ctx *c, const mcs_node *n, const mcs_attn_saved *part, float *dy,
                          const mcs_tensor *w, float *dw)
{
    const int64_t out = w->shape[0], dim = w->shape[1], rows = part->job.batch * part->job.nq;
    float *o = (float *)part->job.out.data;
    float *d_o = mcs_alloc(c, (size_t)(rows * dim) * sizeof *d_o);
    if (!d_o)
        return;
    mcs_attn_forward(c, &part->job, NULL);
    if (dw) {
        mcs_gemm_args g = mcs_gemm_tn(out, dim, rows, dy, out, o, dim, 1, dw, dim);
        mcs_gemm(c, &g);
    }
    mcs_gemm_args g = mcs_gemm_nn(rows, dim, out, dy, out, mcs_f32(w), dim, 0, d_o, dim);
    g.weight = w;
    mcs_gemm(c, &g);
    mcs_node inner = *n;
    inner.saved = (void *)part;
    inner.grad = d_o;
    mcs_attn_backward(c, &inner);
}

static void lean_backward(mcs_ctx *c, mcs_node *n)
{
    const mcs_attn_saved *s = n->saved;
    const mcs_attn_job *a = &s->job;
    const mcs_tensor *const *tail = n->in + n->in_count - TAIL, *w = tail[IN_WEIGHT];
    const int64_t out = w->shape[0], count = images_of_part(a);
    float *dw = mcs_grad_buf(c, w), *db = mcs_grad_buf(c, tail[IN_BIAS]);
    mcs_linear_spread(c, n->grad, a->batch * a->nq, out, db, mcs_grad_buf(c, tail[IN_RESIDUAL]));
    for (int64_t i = 0; i < a->batch; i += count) {
        mcs_scope scope = mcs_scope_begin(c);
        float *o = mcs_alloc(c, (size_t)(count * a->nq * w->shape[1]) * sizeof *o);
        if (!o)
            return;
        mcs_attn_saved part = *s;
        part.job = part_of(a, i, count, o);
        part.lse = lse_of(a, s->lse, i);
        part_backward(c, n, &part, n->grad + i * a->nq * out, w, dw);
        mcs_scope_end(c, scope, NULL);
    }
}

static const mcs_op op_separate = { "attention_linear_add", lean_backward };
static const mcs_op op_packed = { "attention_packed_linear_add", lean_backward };

/* y from O, which is gone at the end. */
static bool project(mcs_ctx *c, const mcs_attn_job *a, float *lse, const mcs_tensor *w,
                    const mcs_tensor *bias, const mcs_tensor *residual, mcs_tensor *y)
{
    const int64_t n = w->shape[0], k = w->shape[1], count = images_of_part(a);
    mcs_scope scope = mcs_scope_begin(c);
    float *o = mcs_alloc(c, (size_t)(count * a->nq * k) * sizeof *o);
    for (int64_t i = 0; o && i < a->batch; i += count) {
        const mcs_attn_job part = part_of(a, i, count, o);
        mcs_attn_forward(c, &part, lse_of(a, lse, i));
        mcs_gemm_args g = mcs_gemm_nt(part.batch * a->nq, n, k, o, k, mcs_f32(w), k, 0,
                                      mcs_f32(y) + i * a->nq * n, n);
        g.weight = w;
        g.bias = bias ? mcs_f32(bias) : NULL;
        g.residual = mcs_f32(residual) + i * a->nq * n;
        mcs_gemm(c, &g);
    }
    mcs_scope_end(c, scope, NULL);
    return mcs_ctx_status(c) == MCS_OK;
}

/* Weight, bias and residual fit O, which is not there yet. */
static bool tail_fits(mcs_ctx *c, const mcs_op *op, const mcs_attn_job *a,
                      const mcs_tensor *const *tail)
{
    const mcs_tensor o = { .dtype = MCS_F32,
                           .ndim = 3,
                           .shape = { a->batch, a->nq, a->heads * a->dv } };
    return mcs_linear_check(c, op->name, &o, tail[IN_WEIGHT], tail[IN_BIAS]) &&
           mcs_linear_check_residual(c, op->name, &o, tail[IN_WEIGHT], tail[IN_RESIDUAL]);
}

static mcs_tensor *forward(mcs_ctx *c, const mcs_op *op, mcs_attn_job *a, int in_count,
                           const mcs_tensor *const *in)
{
    const mcs_tensor *const *tail = in + in_count - TAIL;
    if (!tail_fits(c, op, a, tail))
        return NULL;
    mcs_tensor *y = mcs_new(c, 3, MCS_SHAPE(a->batch, a->nq, tail[IN_WEIGHT]->shape[0]));
    mcs_attn_saved *saved = NULL;
    if (mcs_will_record(c, in_count, in)) {
        saved = mcs_attn_save(c, a, op == &op_packed);
        if (!saved)
            return NULL;
    }
    if (!y || !project(c, a, saved ? saved->lse : NULL, tail[IN_WEIGHT], tail[IN_BIAS],
                       tail[IN_RESIDUAL], y))
        return NULL;
    return mcs_record(c, op, y, saved, in_count, in);
}

mcs_tensor *mcs_attention_linear_add(mcs_ctx *c, const mcs_tensor *q, const mcs_tensor *k,
                                     const mcs_tensor *v, const mcs_attention_opts *o,
                                     const mcs_tensor *weight, const mcs_tensor *bias,
                                     const mcs_tensor *residual)
{
    mcs_attn_job a;
    if (!mcs_attn_separate(c, op_separate.name, &a, q, k, v, o))
        return NULL;
    return forward(c, &op_separate, &a,
                   MCS_INPUTS(q, k, v, o->bias, o->rel_h, o->rel_w, weight, bias, residual));
}

mcs_tensor *mcs_attention_packed_linear_add(mcs_ctx *c, const mcs_tensor *qkv,
                                            mcs_qkv_layout layout, const mcs_attention_opts *o,
                                            const mcs_tensor *weight, const mcs_tensor *bias,
                                            const mcs_tensor *residual)
{
    mcs_attn_job a;
    if (!mcs_attn_packed(c, op_packed.name, &a, qkv, layout, o))
        return NULL;
    return forward(c, &op_packed, &a,
                   MCS_INPUTS(qkv, o->bias, o->rel_h, o->rel_w, weight, bias, residual));
}
