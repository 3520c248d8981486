/* op_unary.c - elementwise functions of one tensor.
 *
 *   affine   y = p x + q        dx = p dy         sin      y = sin x       dx = dy cos x
 *   exp      y = e^x            dx = dy y         cos      y = cos x       dx = -dy sin x
 *   log      y = ln x           dx = dy / x       tanh     y = tanh x      dx = dy (1 - y^2)
 *   sqrt     y = sqrt x         dx = dy / 2y      sigmoid  y = 1/(1+e^-x)  dx = dy y (1 - y)
 *   square   y = x^2            dx = 2 x dy       relu     y = max(x, 0)   dx = dy [x > 0]
 *   abs      y = |x|            dx = dy sign x    clamp    y = x in [p,q]  dx = dy [p <= x <= q]
 *
 * An operation is a pair of loops over a range; the rest is common. */
#include <math.h>
#include "tensor/op.h"
#include "tensor/vec.h"

enum { GRAIN = 16384 };

typedef struct {
    const mcs_vec *vec;
    const float *x, *y, *dy;
    float *out; /* forward: y; backward: dx, added to */
    const float *option; /* p, q */
} unary_args;

typedef void unary_loop(const unary_args *a, int64_t begin, int64_t n);

typedef struct {
    mcs_op op; /* first: a node's op is the address of the whole */
    unary_loop *forward, *gradient;
} unary_op;

typedef struct {
    unary_args args;
    unary_loop *loop;
} unary_job;

static void run(void *arg, int64_t begin, int64_t end)
{
    const unary_job *j = arg;
    j->loop(&j->args, begin, end - begin);
}

static void unary_backward(mcs_ctx *c, mcs_node *n)
{
    float *dx = mcs_grad_buf(c, n->in[0]);
    if (!dx)
        return;
    const unary_op *u = (const unary_op *)n->op;
    unary_job j = { { mcs_vec_get(), mcs_f32(n->in[0]), mcs_f32(n->out), n->grad, dx, n->saved },
                    u->gradient };
    mcs_parallel_for(c, mcs_numel(n->out), GRAIN, run, &j);
}

static mcs_tensor *unary(mcs_ctx *c, const unary_op *u, const mcs_tensor *x, const float *option)
{
    mcs_tensor *y = mcs_ok(c, u->op.name, x) ? mcs_new_like(c, x) : NULL;
    if (!y)
        return NULL;
    float *saved = NULL;
    if (option && mcs_will_record(c, MCS_INPUTS(x))) {
        saved = mcs_alloc(c, 2 * sizeof *saved);
        if (!saved)
            return NULL;
        saved[0] = option[0];
        saved[1] = option[1];
    }
    unary_job j = { { mcs_vec_get(), mcs_f32(x), NULL, NULL, mcs_f32(y), option }, u->forward };
    mcs_parallel_for(c, mcs_numel(x), GRAIN, run, &j);
    return mcs_record(c, &u->op, y, saved, MCS_INPUTS(x));
}

/* ---- Loops that are kernels of vec.h ---- */

#define KERNEL(name)                                                                               \
    static void name##_loop(const unary_args *a, int64_t i, int64_t n)                             \
    {                                                                                              \
        a->vec->name(a->out + i, a->x + i, n);                                                     \
    }
KERNEL(exp)
KERNEL(sqrt)
KERNEL(abs)
KERNEL(tanh)
KERNEL(relu)
KERNEL(sigmoid)

static void affine_loop(const unary_args *a, int64_t i, int64_t n)
{
    a->vec->affine(a->out + i, a->x + i, a->option[0], a->option[1], n);
}

static void clamp_loop(const unary_args *a, int64_t i, int64_t n)
{
    a->vec->clamp(a->out + i, a->x + i, a->option[0], a->option[1], n);
}

static void square_loop(const unary_args *a, int64_t i, int64_t n)
{
    a->vec->mul(a->out + i, a->x + i, a->x + i, n);
}

static void affine_grad(const unary_args *a, int64_t i, int64_t n)
{
    a->vec->axpy(a->out + i, a->option[0], a->dy + i, n);
}

static void exp_grad(const unary_args *a, int64_t i, int64_t n)
{
    a->vec->mul_acc(a->out + i, a->dy + i, a->y + i, n);
}

static void tanh_grad(const unary_args *a, int64_t i, int64_t n)
{
    a->vec->tanh_grad(a->out + i, a->dy + i, a->y + i, n);
}

static void sigmoid_grad(const unary_args *a, int64_t i, int64_t n)
{
    a->vec->sigmoid_grad(a->out + i, a->dy + i, a->y + i, n);
}

static void relu_grad(const unary_args *a, int64_t i, int64_t n)
{
    a->vec->relu_grad(a->out + i, a->dy + i, a->x + i, n);
}

/* ---- Loops written out: rare, or simple enough for the compiler ---- */

#define LOOP(name, expression)                                                                     \
    static void name(const unary_args *a, int64_t begin, int64_t n)                                \
    {                                                                                              \
        for (int64_t i = begin; i < begin + n; i++)                                                \
            expression;                                                                            \
    }
LOOP(log_loop, a->out[i] = logf(a->x[i]))
LOOP(sin_loop, a->out[i] = sinf(a->x[i]))
LOOP(cos_loop, a->out[i] = cosf(a->x[i]))
LOOP(log_grad, a->out[i] += a->dy[i] / a->x[i])
LOOP(sqrt_grad, a->out[i] += a->dy[i] * 0.5f / a->y[i])
LOOP(square_grad, a->out[i] += a->dy[i] * 2.0f * a->x[i])
LOOP(abs_grad, a->out[i] += a->dy[i] * (float)((a->x[i] > 0.0f) - (a->x[i] < 0.0f)))
LOOP(sin_grad, a->out[i] += a->dy[i] * cosf(a->x[i]))
LOOP(cos_grad, a->out[i] -= a->dy[i] * sinf(a->x[i]))
LOOP(clamp_grad, a->out[i] += a->x[i] >= a->option[0] && a->x[i] <= a->option[1] ? a->dy[i] : 0.0f)

/* ---- Operations ---- */

#define UNARY(name)                                                                                \
    static const unary_op op_##name = { { #name, unary_backward }, name##_loop, name##_grad };     \
    mcs_tensor *mcs_##name(mcs_ctx *c, const mcs_tensor *x)                                        \
    {                                                                                              \
        return unary(c, &op_##name, x, NULL);                                                      \
    }
UNARY(exp)
UNARY(log)
UNARY(sqrt)
UNARY(square)
UNARY(abs)
UNARY(sin)
UNARY(cos)
UNARY(tanh)
UNARY(relu)
UNARY(sigmoid)

static const unary_op op_affine = { { "affine", unary_backward }, affine_loop, affine_grad };
static const unary_op op_clamp = { { "clamp", unary_backward }, clamp_loop, clamp_grad };

mcs_tensor *mcs_affine(mcs_ctx *c, const mcs_tensor *x, float scale, float shift)
{
    return unary(c, &op_affine, x, (const float[]){ scale, shift });
}

mcs_tensor *mcs_clamp(mcs_ctx *c, const mcs_tensor *x, float lo, float hi)
{
    if (x && !(lo <= hi))
        return mcs_fail(c, MCS_EINVAL, "clamp: the lower bound %g is not below the upper %g",
                        (double)lo, (double)hi);
    return unary(c, &op_clamp, x, (const float[]){ lo, hi });
}
