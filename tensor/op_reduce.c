/* op_reduce.c - sum, mean and maximum, of everything or over one dimension; expand, whose
 * gradient is a sum.
 *
 *   sum   y = sum x        dx = dy, repeated
 *   mean  y = sum x / n    dx = dy / n, repeated
 *   max   y = max x        dx = dy at the first maximum (NaN counts as the largest), as PyTorch
 *   expand  y = x, repeated    dx = sum of dy over the repetitions
 *
 * Sums and repetitions are the two directions of a broadcasting plan (broadcast_internal.h). */
#include <math.h>
#include <string.h>
#include "tensor/broadcast_internal.h"

/* ---- sum and mean: the reduced shape, kept with ones, broadcasts to x's ---- */

/* y's data under x's shape with dimension dim (all, if dim < 0) set to 1. */
static mcs_tensor kept_view(const mcs_tensor *x, const mcs_tensor *y, int dim)
{
    mcs_tensor v = *x;
    v.data = y->data;
    for (int i = 0; i < x->ndim; i++)
        if (dim < 0 || i == dim)
            v.shape[i] = 1;
    return v;
}

typedef struct {
    int dim;
    float scale;
} sum_notes;

static void sum_backward(mcs_ctx *c, mcs_node *n)
{
    const mcs_tensor *x = n->in[0];
    const sum_notes *s = n->saved;
    float *dx = mcs_grad_buf(c, x);
    if (!dx)
        return;
    mcs_tensor kept = kept_view(x, n->out, s->dim);
    mcs_bcast p;
    mcs_bcast_plan(&p, x->ndim, x->shape, &kept, NULL);
    mcs_bcast_spread(c, &p, s->scale, n->grad, dx);
}

static const mcs_op op_sum = { "sum", sum_backward };

/* y, zeroed, of the reduced shape. */
static mcs_tensor *new_reduced(mcs_ctx *c, const mcs_tensor *x, int dim, bool keepdim)
{
    int64_t shape[MCS_MAX_DIM];
    int n = 0;
    for (int i = 0; i < x->ndim && dim >= 0; i++)
        if (i != dim)
            shape[n++] = x->shape[i];
        else if (keepdim)
            shape[n++] = 1;
    return mcs_zeros(c, n, shape);
}

static mcs_tensor *sum_scaled(mcs_ctx *c, const mcs_tensor *x, int dim, bool keepdim, float scale)
{
    mcs_tensor *y = new_reduced(c, x, dim, keepdim);
    sum_notes *s = mcs_alloc(c, sizeof *s);
    if (!y || !s)
        return NULL;
    *s = (sum_notes){ dim, scale };
    mcs_tensor kept = kept_view(x, y, dim);
    mcs_bcast p;
    mcs_bcast_plan(&p, x->ndim, x->shape, &kept, NULL);
    mcs_bcast_reduce(c, &p, scale, mcs_f32(x), mcs_f32(y));
    return mcs_record(c, &op_sum, y, s, MCS_INPUTS(x));
}

/* dim counted from the front; -1 after mcs_fail(). */
static int checked_dim(mcs_ctx *c, const char *op, const mcs_tensor *x, int dim)
{
    if (!mcs_ok(c, op, x))
        return -1;
    int d = dim < 0 ? dim + x->ndim : dim;
    if (d >= 0 && d < x->ndim)
        return d;
    mcs_fail(c, MCS_EINVAL, "%s: dimension %d of a tensor of %d dimensions", op, dim, x->ndim);
    return -1;
}

mcs_tensor *mcs_sum(mcs_ctx *c, const mcs_tensor *x)
{
    return mcs_ok(c, "sum", x) ? sum_scaled(c, x, -1, false, 1.0f) : NULL;
}

mcs_tensor *mcs_mean(mcs_ctx *c, const mcs_tensor *x)
{
    if (!mcs_ok(c, "mean", x))
        return NULL;
    if (mcs_numel(x) == 0)
        return mcs_fail(c, MCS_ESHAPE, "mean: the tensor is empty");
    return sum_scaled(c, x, -1, false, 1.0f / (float)mcs_numel(x));
}

mcs_tensor *mcs_sum_dim(mcs_ctx *c, const mcs_tensor *x, int dim, bool keepdim)
{
    int d = checked_dim(c, "sum_dim", x, dim);
    return d < 0 ? NULL : sum_scaled(c, x, d, keepdim, 1.0f);
}

mcs_tensor *mcs_mean_dim(mcs_ctx *c, const mcs_tensor *x, int dim, bool keepdim)
{
    int d = checked_dim(c, "mean_dim", x, dim);
    if (d < 0)
        return NULL;
    if (x->shape[d] == 0)
        return mcs_fail(c, MCS_ESHAPE, "mean_dim: dimension %d is empty", dim);
    return sum_scaled(c, x, d, keepdim, 1.0f / (float)x->shape[d]);
}

/* ---- max ---- */

enum { STRETCH = 256 };

typedef struct {
    const mcs_vec *vec;
    const float *x, *dy;
    float *out; /* y or dx */
    int64_t *where; /* index of the maximum along the dimension, per output */
    int64_t size, inner; /* x seen as (outer, size, inner) */
} max_args;

/* Contiguous: the maximum by vectors, then where it first is. */
static void max_row(const max_args *a, int64_t i)
{
    const float *x = a->x + i * a->size;
    float m = a->vec->max(x, a->size);
    int64_t at = 0;
    while (a->where && x[at] != m && !(isnan(m) && isnan(x[at])))
        at++;
    a->out[i] = m;
    if (a->where)
        a->where[i] = at;
}

/* Outputs i..i+n of one outer index, neighbours in memory: all of them step by step. */
static void max_stretch(const max_args *a, int64_t i, int64_t n)
{
    const float *x = a->x + i / a->inner * a->size * a->inner + i % a->inner;
    for (int64_t j = 0; j < n; j++) {
        a->out[i + j] = x[j];
        if (a->where)
            a->where[i + j] = 0;
    }
    for (int64_t k = 1; k < a->size; k++)
        for (int64_t j = 0; j < n; j++) {
            float v = x[k * a->inner + j], m = a->out[i + j];
            if (v > m || (isnan(v) && !isnan(m))) {
                a->out[i + j] = v;
                if (a->where)
                    a->where[i + j] = k;
            }
        }
}

static void max_range(void *arg, int64_t begin, int64_t end)
{
    const max_args *a = arg;
    for (int64_t i = begin; i < end && a->inner == 1; i++)
        max_row(a, i);
    for (int64_t i = begin; i < end && a->inner > 1;) {
        int64_t left = a->inner - i % a->inner, n = left < end - i ? left : end - i;
        n = n < STRETCH ? n : STRETCH;
        max_stretch(a, i, n);
        i += n;
    }
}

static void max_grad_range(void *arg, int64_t begin, int64_t end)
{
    const max_args *a = arg;
    for (int64_t i = begin; i < end; i++)
        a->out[(i / a->inner * a->size + a->where[i]) * a->inner + i % a->inner] += a->dy[i];
}

static void max_backward(mcs_ctx *c, mcs_node *n)
{
    max_args a = *(max_args *)n->saved;
    a.dy = n->grad;
    a.out = mcs_grad_buf(c, n->in[0]);
    if (a.out)
        mcs_parallel_for(c, mcs_numel(n->out), mcs_grain(4), max_grad_range, &a);
}

static const mcs_op op_max = { "max_dim", max_backward };

mcs_tensor *mcs_max_dim(mcs_ctx *c, const mcs_tensor *x, int dim, bool keepdim)
{
    int d = checked_dim(c, "max_dim", x, dim);
    if (d < 0)
        return NULL;
    if (x->shape[d] == 0)
        return mcs_fail(c, MCS_ESHAPE, "max_dim: dimension %d is empty", dim);
    mcs_tensor *y = new_reduced(c, x, d, keepdim);
    max_args *a = mcs_alloc(c, sizeof *a);
    if (!y || !a)
        return NULL;
    *a = (max_args){
        .vec = mcs_vec_get(), .x = mcs_f32(x), .out = mcs_f32(y), .size = x->shape[d], .inner = 1
    };
    for (int i = d + 1; i < x->ndim; i++)
        a->inner *= x->shape[i];
    if (mcs_will_record(c, MCS_INPUTS(x))) {
        a->where = mcs_alloc(c, (size_t)mcs_numel(y) * sizeof *a->where);
        if (!a->where)
            return NULL;
    }
    mcs_parallel_for(c, mcs_numel(y), mcs_grain(a->size), max_range, a);
    return mcs_record(c, &op_max, y, a, MCS_INPUTS(x));
}

/* ---- expand ---- */

static void expand_backward(mcs_ctx *c, mcs_node *n)
{
    float *dx = mcs_grad_buf(c, n->in[0]);
    if (!dx)
        return;
    mcs_bcast p;
    mcs_bcast_plan(&p, n->out->ndim, n->out->shape, n->in[0], NULL);
    mcs_bcast_reduce(c, &p, 1.0f, n->grad, dx);
}

static const mcs_op op_expand = { "expand", expand_backward };

mcs_tensor *mcs_expand(mcs_ctx *c, const mcs_tensor *x, int ndim, const int64_t *shape)
{
    if (!mcs_ok(c, "expand", x))
        return NULL;
    mcs_tensor *y = mcs_zeros(c, ndim, shape);
    if (!y)
        return NULL;
    int out;
    int64_t joint[MCS_MAX_DIM];
    if (!mcs_bcast_shape(x, y, &out, joint) || out != ndim ||
        memcmp(joint, shape, (size_t)ndim * sizeof *shape) != 0) {
        char sx[160], sy[160];
        return mcs_fail(c, MCS_ESHAPE, "expand: shape %s does not broadcast to %s",
                        mcs_shape_str(x, sx, sizeof sx), mcs_shape_str(y, sy, sizeof sy));
    }
    mcs_bcast p;
    mcs_bcast_plan(&p, ndim, shape, x, NULL);
    mcs_bcast_spread(c, &p, 1.0f, mcs_f32(x), mcs_f32(y));
    return mcs_record(c, &op_expand, y, NULL, MCS_INPUTS(x));
}
