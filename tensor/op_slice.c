/* op_slice.c - slice and concat along one dimension.
 *   slice    y = x[..., begin:end, ...]            dx[..., begin:end, ...] += dy
 *   concat   y = parts one after the other         each part gets its stretch of dy
 * Both see a tensor as (outer, size, inner) and move stretches of size * inner values. */
#include <string.h>
#include "tensor/op.h"
#include "tensor/vec.h"

typedef struct {
    const mcs_vec *vec;
    const float *from;
    float *to;
    int64_t from_step, to_step; /* between stretches */
    int64_t size; /* of a stretch */
} stretch_args;

static void copy_range(void *arg, int64_t begin, int64_t end)
{
    const stretch_args *a = arg;
    for (int64_t i = begin; i < end; i++)
        memcpy(a->to + i * a->to_step, a->from + i * a->from_step, (size_t)a->size * sizeof(float));
}

static void add_range(void *arg, int64_t begin, int64_t end)
{
    const stretch_args *a = arg;
    for (int64_t i = begin; i < end; i++) {
        float *to = a->to + i * a->to_step;
        a->vec->add(to, to, a->from + i * a->from_step, a->size);
    }
}

static void run(mcs_ctx *c, int64_t outer, mcs_body *f, stretch_args a)
{
    a.vec = mcs_vec_get();
    if (a.size > 0)
        mcs_parallel_for(c, outer, mcs_grain(a.size), f, &a);
}

/* The product of the dimensions before, and after, dim. */
static void around(const mcs_tensor *x, int dim, int64_t *outer, int64_t *inner)
{
    *outer = *inner = 1;
    for (int i = 0; i < dim; i++)
        *outer *= x->shape[i];
    for (int i = dim + 1; i < x->ndim; i++)
        *inner *= x->shape[i];
}

/* dim counted from the front; -1 after mcs_fail(). */
static int checked_dim(mcs_ctx *c, const char *op, const mcs_tensor *x, int dim)
{
    int d = dim < 0 ? dim + x->ndim : dim;
    if (d >= 0 && d < x->ndim)
        return d;
    mcs_fail(c, MCS_EINVAL, "%s: dimension %d of a tensor of %d dimensions", op, dim, x->ndim);
    return -1;
}

/* ---- slice ---- */

typedef struct {
    int64_t outer, x_step, y_step, start;
} slice_notes;

static void slice_backward(mcs_ctx *c, mcs_node *n)
{
    const slice_notes *s = n->saved;
    float *dx = mcs_grad_buf(c, n->in[0]);
    if (dx)
        run(c, s->outer, add_range,
            (stretch_args){ NULL, n->grad, dx + s->start, s->y_step, s->x_step, s->y_step });
}

static const mcs_op op_slice = { "slice", slice_backward };

mcs_tensor *mcs_slice(mcs_ctx *c, const mcs_tensor *x, int dim, int64_t begin, int64_t end)
{
    int d = mcs_ok(c, "slice", x) ? checked_dim(c, "slice", x, dim) : -1;
    if (d < 0)
        return NULL;
    if (begin < 0 || end < begin || end > x->shape[d])
        return mcs_fail(c, MCS_EINVAL, "slice: [%lld, %lld) of dimension %d, which has %lld",
                        (long long)begin, (long long)end, dim, (long long)x->shape[d]);
    int64_t shape[MCS_MAX_DIM], inner;
    memcpy(shape, x->shape, sizeof shape);
    shape[d] = end - begin;
    mcs_tensor *y = mcs_new(c, x->ndim, shape);
    slice_notes *s = mcs_alloc(c, sizeof *s);
    if (!y || !s)
        return NULL;
    around(x, d, &s->outer, &inner);
    s->x_step = x->shape[d] * inner;
    s->y_step = (end - begin) * inner;
    s->start = begin * inner;
    run(c, s->outer, copy_range,
        (stretch_args){ NULL, mcs_f32(x) + s->start, mcs_f32(y), s->x_step, s->y_step, s->y_step });
    return mcs_record(c, &op_slice, y, s, MCS_INPUTS(x));
}

/* ---- concat ---- */

static void concat_backward(mcs_ctx *c, mcs_node *n)
{
    int dim = *(int *)n->saved;
    int64_t outer, inner, start = 0;
    around(n->out, dim, &outer, &inner);
    for (int i = 0; i < n->in_count; i++) {
        int64_t size = n->in[i]->shape[dim] * inner;
        float *dx = mcs_grad_buf(c, n->in[i]);
        if (dx)
            run(c, outer, add_range,
                (stretch_args){ NULL, n->grad + start, dx, n->out->shape[dim] * inner, size,
                                size });
        start += size;
    }
}

static const mcs_op op_concat = { "concat", concat_backward };

/* The parts agree but in dim; total: their sizes there together. */
static bool parts_fit(mcs_ctx *c, int dim, int count, const mcs_tensor *const *parts,
                      int64_t *total)
{
    *total = 0;
    for (int i = 0; i < count; i++) {
        mcs_tensor like = *parts[0];
        if (!mcs_ok(c, "concat", parts[i]))
            return false;
        if (parts[i]->ndim == like.ndim)
            like.shape[dim] = parts[i]->shape[dim];
        if (!mcs_same_shape(&like, parts[i])) {
            char sa[160], sb[160];
            mcs_fail(c, MCS_ESHAPE, "concat: part %d is %s, part 0 is %s (dimension %d may differ)",
                     i, mcs_shape_str(parts[i], sb, sizeof sb),
                     mcs_shape_str(parts[0], sa, sizeof sa), dim);
            return false;
        }
        *total += parts[i]->shape[dim];
    }
    return true;
}

mcs_tensor *mcs_concat(mcs_ctx *c, int dim, int count, const mcs_tensor *const *parts)
{
    int64_t shape[MCS_MAX_DIM], outer, inner, start = 0, total;
    if (count < 1)
        return mcs_fail(c, MCS_EINVAL, "concat: nothing to join");
    int d = mcs_ok_dim(c, "concat", parts[0], -1) ? checked_dim(c, "concat", parts[0], dim) : -1;
    if (d < 0 || !parts_fit(c, d, count, parts, &total))
        return NULL;
    memcpy(shape, parts[0]->shape, sizeof shape);
    shape[d] = total;
    mcs_tensor *y = mcs_new(c, parts[0]->ndim, shape);
    int *saved = mcs_alloc(c, sizeof *saved);
    if (!y || !saved)
        return NULL;
    *saved = d;
    around(y, d, &outer, &inner);
    for (int i = 0; i < count; i++) {
        int64_t size = parts[i]->shape[d] * inner;
        run(c, outer, copy_range,
            (stretch_args){ NULL, mcs_f32(parts[i]), mcs_f32(y) + start, size, total * inner,
                            size });
        start += size;
    }
    return mcs_record(c, &op_concat, y, saved, count, parts);
}
