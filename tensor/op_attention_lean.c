/* op_attention_lean.c - attention and the projection behind it as one node.
 *
 *   O = attention(q, k, v),  y = O W^T + b + residual
 *   dW += dy^T O,  dO = dy W,  then attention's own backward from dO
 *
 * The projection's weights need O, attention's backward its <dO, O>; both are at work one after the
 * other, so O is computed again for them instead of being held by the tape: a tenth of what a
 * transformer block keeps, for a twentieth of its forward.  q, k, v and lse are kept as
 * op_attention.c keeps them.  The bits are those of the two plain operations. */
#include "tensor/attention_internal.h"
#include "tensor/gemm.h"
#include "tensor/linear_internal.h"

enum { TAIL = 3, IN_WEIGHT = 0, IN_BIAS, IN_RESIDUAL }; /* the last inputs */

static void lean_backward(mcs_ctx *c, mcs_node *n)
{
    const mcs_attn_saved *s = n->saved;
    const mcs_tensor *const *tail = n->in + n->in_count - TAIL, *w = tail[IN_WEIGHT];
    const int64_t rows = s->job.batch * s->job.nq, out = w->shape[0], dim = w->shape[1];
    float *dw = mcs_grad_buf(c, w), *db = mcs_grad_buf(c, tail[IN_BIAS]);
    mcs_linear_spread(c, n->grad, rows, out, db, mcs_grad_buf(c, tail[IN_RESIDUAL]));
    mcs_tensor *o = mcs_new(c, 3, MCS_SHAPE(s->job.batch, s->job.nq, dim)), *d_o = mcs_new_like(c, o);
    if (!o || !d_o)
        return;
    mcs_attn_saved again = *s;
    again.job.out = mcs_attn_view_of(o, 0, s->job.dv);
    mcs_attn_forward(c, &again.job, NULL);
    if (dw) {
        mcs_gemm_args g = mcs_gemm_tn(out, dim, rows, n->grad, out, mcs_f32(o), dim, 1, dw, dim);
        mcs_gemm(c, &g);
    }
    mcs_gemm_args g = mcs_gemm_nn(rows, dim, out, n->grad, out, mcs_f32(w), dim, 0, mcs_f32(d_o), dim);
    g.weight = w;
    mcs_gemm(c, &g);
    mcs_node inner = *n;
    inner.saved = &again;
    inner.grad = mcs_f32(d_o);
    mcs_attn_backward(c, &inner);
}

static const mcs_op op_separate = { "attention_linear_add", lean_backward };
static const mcs_op op_packed = { "attention_packed_linear_add", lean_backward };

/* y from O, which is gone at the end. */
static bool project(mcs_ctx *c, const mcs_op *op, mcs_attn_job *a, float *lse, const mcs_tensor *w,
                    const mcs_tensor *bias, const mcs_tensor *residual, mcs_tensor *y)
{
    mcs_scope scope = mcs_scope_begin(c);
    mcs_tensor *o = mcs_new(c, 3, MCS_SHAPE(a->batch, a->nq, a->heads * a->dv));
    if (o && mcs_linear_check(c, op->name, o, w, bias) &&
        mcs_linear_check_residual(c, op->name, o, w, residual)) {
        const int64_t n = w->shape[0], k = w->shape[1];
        a->out = mcs_attn_view_of(o, 0, a->dv);
        mcs_attn_forward(c, a, lse);
        mcs_gemm_args g = mcs_gemm_nt(a->batch * a->nq, n, k, mcs_f32(o), k, mcs_f32(w), k, 0,
                                      mcs_f32(y), n);
        g.weight = w;
        g.bias = bias ? mcs_f32(bias) : NULL;
        g.residual = mcs_f32(residual);
        mcs_gemm(c, &g);
    }
    mcs_scope_end(c, scope, NULL);
    return mcs_ctx_status(c) == MCS_OK;
}

static mcs_tensor *forward(mcs_ctx *c, const mcs_op *op, mcs_attn_job *a, int in_count,
                           const mcs_tensor *const *in)
{
    const mcs_tensor *const *tail = in + in_count - TAIL;
    if (!tail[IN_WEIGHT] || !mcs_ok_dim(c, op->name, tail[IN_WEIGHT], 2))
        return NULL;
    mcs_tensor *y = mcs_new(c, 3, MCS_SHAPE(a->batch, a->nq, tail[IN_WEIGHT]->shape[0]));
    mcs_attn_saved *saved = NULL;
    if (mcs_will_record(c, in_count, in)) {
        saved = mcs_attn_save(c, a, op == &op_packed);
        if (!saved)
            return NULL;
    }
    if (!y || !project(c, op, a, saved ? saved->lse : NULL, tail[IN_WEIGHT], tail[IN_BIAS],
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
