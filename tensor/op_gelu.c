/* op_gelu.c - Gaussian error linear unit, exact form (Hendrycks & Gimpel 2016), F.gelu(x).
 *   y = x * Phi(x),  dy/dx = Phi(x) + x * phi(x),  Phi = (1 + erf(x / sqrt 2)) / 2
 * Phi is computed by its tail (vec_math.h), which is more accurate than 1 + erf for x < 0. */
#include "tensor/op.h"
#include "tensor/vec.h"

enum { GRAIN = 16384 };

typedef struct {
    const mcs_vec *vec;
    const float *x, *dy;
    float *out;
} gelu_args;

static void gelu_range(void *arg, int64_t begin, int64_t end)
{
    const gelu_args *a = arg;
    a->vec->gelu(a->out + begin, a->x + begin, end - begin);
}

static void gelu_grad_range(void *arg, int64_t begin, int64_t end)
{
    const gelu_args *a = arg;
    a->vec->gelu_grad(a->out + begin, a->dy + begin, a->x + begin, end - begin);
}

static void gelu_backward(mcs_ctx *c, mcs_node *n)
{
    float *dx = mcs_grad_buf(c, n->in[0]);
    if (!dx)
        return;
    gelu_args a = { mcs_vec_get(), mcs_f32(n->in[0]), n->grad, dx };
    mcs_parallel_for(c, mcs_numel(n->in[0]), GRAIN, gelu_grad_range, &a);
}

static const mcs_op op_gelu = { "gelu", gelu_backward };

mcs_tensor *mcs_gelu(mcs_ctx *c, const mcs_tensor *x)
{
    mcs_tensor *y = mcs_ok(c, "gelu", x) ? mcs_new_like(c, x) : NULL;
    if (!y)
        return NULL;
    gelu_args a = { mcs_vec_get(), mcs_f32(x), NULL, mcs_f32(y) };
    mcs_parallel_for(c, mcs_numel(x), GRAIN, gelu_range, &a);
    return mcs_record(c, &op_gelu, y, NULL, MCS_INPUTS(x));
}
