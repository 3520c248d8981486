/* op_elementwise.c - add, sub, mul, div of two tensors with NumPy broadcasting.
 *
 *   y = a + b     da = dy            db = dy
 *   y = a - b     da = dy            db = -dy
 *   y = a * b     da = dy * b        db = dy * a
 *   y = a / b     da = dy / b        db = -dy * y / b
 *
 * and an operand that was repeated gets the sum of its terms over the repetitions.  Broadcasting
 * happens inside the kernel (broadcast_internal.h): no expanded copy is made. */
#include "tensor/broadcast_internal.h"

static mcs_tensor *binary(mcs_ctx *c, const mcs_op *op, mcs_vec_zip *f, const mcs_tensor *a,
                          const mcs_tensor *b)
{
    int ndim;
    int64_t shape[MCS_MAX_DIM];
    if (!mcs_ok(c, op->name, a) || !mcs_ok(c, op->name, b))
        return NULL;
    if (!mcs_bcast_shape(a, b, &ndim, shape)) {
        char sa[160], sb[160];
        return mcs_fail(c, MCS_ESHAPE, "%s: shapes %s and %s do not broadcast", op->name,
                        mcs_shape_str(a, sa, sizeof sa), mcs_shape_str(b, sb, sizeof sb));
    }
    mcs_tensor *y = mcs_new(c, ndim, shape);
    if (!y)
        return NULL;
    mcs_bcast p;
    mcs_bcast_plan(&p, ndim, shape, a, b);
    mcs_bcast_zip(c, &p, f, mcs_f32(y), mcs_f32(a), mcs_f32(b));
    return mcs_record(c, op, y, NULL, MCS_INPUTS(a, b));
}

/* d(in[i]) += scale * term, summed over repetitions; term has the result's shape. */
static void give(mcs_ctx *c, const mcs_node *n, int i, float scale, const float *term)
{
    float *g = mcs_grad_buf(c, n->in[i]);
    if (!g)
        return;
    mcs_bcast p;
    mcs_bcast_plan(&p, n->out->ndim, n->out->shape, n->in[i], NULL);
    mcs_bcast_reduce(c, &p, scale, term, g);
}

/* f(dy, operand) as a new buffer of the result's shape. */
static float *term(mcs_ctx *c, const mcs_node *n, mcs_vec_zip *f, const float *dy,
                   const mcs_tensor *operand)
{
    float *t = mcs_alloc(c, (size_t)mcs_numel(n->out) * sizeof *t);
    if (!t)
        return NULL;
    mcs_bcast p;
    mcs_bcast_plan(&p, n->out->ndim, n->out->shape, n->out, operand);
    mcs_bcast_zip(c, &p, f, t, dy, mcs_f32(operand));
    return t;
}

static void add_backward(mcs_ctx *c, mcs_node *n)
{
    give(c, n, 0, 1.0f, n->grad);
    give(c, n, 1, 1.0f, n->grad);
}

static void sub_backward(mcs_ctx *c, mcs_node *n)
{
    give(c, n, 0, 1.0f, n->grad);
    give(c, n, 1, -1.0f, n->grad);
}

/* da += dy * b without a buffer, when a has the result's shape. */
static void give_product(mcs_ctx *c, const mcs_node *n, int i)
{
    const mcs_vec *v = mcs_vec_get();
    float *g = mcs_grad_buf(c, n->in[i]);
    if (!g)
        return;
    if (mcs_same_shape(n->in[i], n->out)) {
        mcs_bcast p;
        mcs_bcast_plan(&p, n->out->ndim, n->out->shape, n->out, n->in[1 - i]);
        mcs_bcast_zip(c, &p, v->mul_acc, g, n->grad, mcs_f32(n->in[1 - i]));
        return;
    }
    float *t = term(c, n, v->mul, n->grad, n->in[1 - i]);
    if (t)
        give(c, n, i, 1.0f, t);
}

static void mul_backward(mcs_ctx *c, mcs_node *n)
{
    give_product(c, n, 0);
    give_product(c, n, 1);
}

static void div_backward(mcs_ctx *c, mcs_node *n)
{
    const mcs_vec *v = mcs_vec_get();
    float *t = term(c, n, v->div, n->grad, n->in[1]); /* dy / b */
    if (!t)
        return;
    give(c, n, 0, 1.0f, t);
    if (!mcs_grad_buf(c, n->in[1]))
        return;
    t = term(c, n, v->mul, t, n->out);
    if (t)
        give(c, n, 1, -1.0f, t);
}

static const mcs_op op_add = { "add", add_backward };
static const mcs_op op_sub = { "sub", sub_backward };
static const mcs_op op_mul = { "mul", mul_backward };
static const mcs_op op_div = { "div", div_backward };

mcs_tensor *mcs_add(mcs_ctx *c, const mcs_tensor *a, const mcs_tensor *b)
{
    return binary(c, &op_add, mcs_vec_get()->add, a, b);
}

mcs_tensor *mcs_sub(mcs_ctx *c, const mcs_tensor *a, const mcs_tensor *b)
{
    return binary(c, &op_sub, mcs_vec_get()->sub, a, b);
}

mcs_tensor *mcs_mul(mcs_ctx *c, const mcs_tensor *a, const mcs_tensor *b)
{
    return binary(c, &op_mul, mcs_vec_get()->mul, a, b);
}

mcs_tensor *mcs_div(mcs_ctx *c, const mcs_tensor *a, const mcs_tensor *b)
{
    return binary(c, &op_div, mcs_vec_get()->div, a, b);
}
