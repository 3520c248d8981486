/* op_prelu.c - F.prelu, x (N,C,...), weight (C) or (1) (He et al. 2015).
 *   y = x where x > 0, else w[c] x
 *   dx = dy (x > 0 ? 1 : w[c]);  dw[c] = sum of dy x where x <= 0
 * x is N*C planes; a plane's part of dw is summed on its own, then planes in order. */
#include "tensor/op.h"
#include "tensor/vec.h"

enum { BLOCK = 4096 };

typedef struct {
    const mcs_vec *vec;
    const float *x, *w, *dy;
    float *out; /* y or dx */
    float *partial; /* one per plane: its part of dw */
    int64_t channels, area, shared; /* shared: one weight for all */
} prelu_args;

static void prelu_range(void *arg, int64_t begin, int64_t end)
{
    const prelu_args *a = arg;
    for (int64_t p = begin; p < end; p++) {
        float w = a->w[a->shared ? 0 : p % a->channels];
        a->vec->prelu(a->out + p * a->area, a->x + p * a->area, w, a->area);
    }
}

static void prelu_grad_range(void *arg, int64_t begin, int64_t end)
{
    const prelu_args *a = arg;
    for (int64_t p = begin; p < end; p++) {
        float w = a->w[a->shared ? 0 : p % a->channels];
        a->vec->prelu_grad(a->out + p * a->area, a->dy + p * a->area, a->x + p * a->area, w,
                           a->area);
    }
}

static void prelu_weight_range(void *arg, int64_t begin, int64_t end)
{
    const prelu_args *a = arg;
    for (int64_t p = begin; p < end; p++) {
        const float *dy = a->dy + p * a->area, *x = a->x + p * a->area;
        double sum = 0.0;
        for (int64_t i = 0; i < a->area; i += BLOCK)
            sum +=
                (double)a->vec->prelu_dot(dy + i, x + i, a->area - i < BLOCK ? a->area - i : BLOCK);
        a->partial[p] = (float)sum;
    }
}

static prelu_args args_of(const mcs_tensor *x, const mcs_tensor *w)
{
    prelu_args a = { .vec = mcs_vec_get(),
                     .x = mcs_f32(x),
                     .w = mcs_f32(w),
                     .channels = x->ndim > 1 ? x->shape[1] : 1,
                     .area = 1,
                     .shared = w->shape[0] == 1 };
    for (int i = 2; i < x->ndim; i++)
        a.area *= x->shape[i];
    return a;
}

static void prelu_backward(mcs_ctx *c, mcs_node *n)
{
    const mcs_tensor *x = n->in[0], *w = n->in[1];
    prelu_args a = args_of(x, w);
    if (mcs_numel(x) == 0)
        return;
    int64_t planes = mcs_numel(x) / a.area;
    a.dy = n->grad;
    a.out = mcs_grad_buf(c, x);
    if (a.out)
        mcs_parallel_for(c, planes, mcs_grain(a.area), prelu_grad_range, &a);
    float *dw = mcs_grad_buf(c, w);
    a.partial = dw ? mcs_alloc(c, (size_t)planes * sizeof *dw) : NULL;
    if (!a.partial)
        return;
    mcs_parallel_for(c, planes, mcs_grain(a.area), prelu_weight_range, &a);
    for (int64_t p = 0; p < planes; p++)
        dw[a.shared ? 0 : p % a.channels] += a.partial[p];
}

static const mcs_op op_prelu = { "prelu", prelu_backward };

mcs_tensor *mcs_prelu(mcs_ctx *c, const mcs_tensor *x, const mcs_tensor *weight)
{
    if (!mcs_ok_dim(c, "prelu", x, -1) || !mcs_ok_dim(c, "prelu", weight, 1))
        return NULL;
    prelu_args a = args_of(x, weight);
    if (!a.shared && weight->shape[0] != a.channels)
        return mcs_fail(c, MCS_ESHAPE, "prelu: weight has %lld values, the input has %lld channels",
                        (long long)weight->shape[0], (long long)a.channels);
    mcs_tensor *y = mcs_new_like(c, x);
    if (!y)
        return NULL;
    a.out = mcs_f32(y);
    if (mcs_numel(x) > 0)
        mcs_parallel_for(c, mcs_numel(x) / a.area, mcs_grain(a.area), prelu_range, &a);
    return mcs_record(c, &op_prelu, y, NULL, MCS_INPUTS(x, weight));
}
