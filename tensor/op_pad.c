/* op_pad.c - constant padding; negative padding crops.
 *   y[i] = x[i - before] where that exists, else value;  dx = dy where it was copied from
 * The rows of y (its last dimension) are independent. */
#include <string.h>
#include "tensor/op.h"
#include "tensor/vec.h"

typedef struct {
    const mcs_vec *vec;
    int ndim; /* >= 1 */
    int64_t x[MCS_MAX_DIM], y[MCS_MAX_DIM], before[MCS_MAX_DIM];
    int64_t first, count; /* columns of a row of y that come from x */
    const float *from; /* x, or dy */
    float *to; /* y, or dx (added to) */
    float value;
} pad_args;

/* The row of x that row r of y comes from, -1 if it is padding. */
static int64_t source_row(const pad_args *a, int64_t r)
{
    int64_t row = 0, run = 1;
    for (int i = a->ndim - 2; i >= 0; i--) {
        int64_t at = r % a->y[i] - a->before[i];
        if (at < 0 || at >= a->x[i])
            return -1;
        row += at * run;
        run *= a->x[i];
        r /= a->y[i];
    }
    return row;
}

static void fill(float *y, float value, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        y[i] = value;
}

static void pad_range(void *arg, int64_t begin, int64_t end)
{
    const pad_args *a = arg;
    int64_t width = a->y[a->ndim - 1], left = a->before[a->ndim - 1];
    for (int64_t r = begin; r < end; r++) {
        float *y = a->to + r * width;
        int64_t row = source_row(a, r);
        if (row < 0 || a->count == 0) {
            fill(y, a->value, width);
            continue;
        }
        fill(y, a->value, a->first);
        memcpy(y + a->first, a->from + row * a->x[a->ndim - 1] + a->first - left,
               (size_t)a->count * sizeof *y);
        fill(y + a->first + a->count, a->value, width - a->first - a->count);
    }
}

static void pad_grad_range(void *arg, int64_t begin, int64_t end)
{
    const pad_args *a = arg;
    int64_t width = a->y[a->ndim - 1], left = a->before[a->ndim - 1];
    for (int64_t r = begin; r < end; r++) {
        int64_t row = source_row(a, r);
        if (row < 0 || a->count == 0)
            continue;
        float *dx = a->to + row * a->x[a->ndim - 1] + a->first - left;
        a->vec->add(dx, dx, a->from + r * width + a->first, a->count);
    }
}

static void run(mcs_ctx *c, mcs_body *f, pad_args *a, const mcs_tensor *y)
{
    int64_t n = mcs_numel(y), width = mcs_dim(y, -1);
    if (n > 0)
        mcs_parallel_for(c, n / width, mcs_grain(width), f, a);
}

static void pad_backward(mcs_ctx *c, mcs_node *n)
{
    pad_args a = *(pad_args *)n->saved;
    a.from = n->grad;
    a.to = mcs_grad_buf(c, n->in[0]);
    if (a.to)
        run(c, pad_grad_range, &a, n->out);
}

static const mcs_op op_pad = { "pad", pad_backward };

/* Sizes of the result; false if one leaves [0, 2^40]. */
static bool padded(pad_args *a, const mcs_tensor *x, const int64_t *pads)
{
    const int64_t limit = INT64_C(1) << 40;
    a->ndim = x->ndim;
    for (int i = 0; i < x->ndim; i++) {
        int64_t before = pads[2 * i], after = pads[2 * i + 1];
        if (before > limit || before < -limit || after > limit || after < -limit)
            return false;
        a->x[i] = x->shape[i];
        a->before[i] = before;
        a->y[i] = x->shape[i] + before + after;
        if (a->y[i] < 0 || a->y[i] > limit)
            return false;
    }
    int last = x->ndim - 1;
    int64_t stop = a->before[last] + a->x[last];
    a->first = a->before[last] > 0 ? a->before[last] : 0;
    a->first = a->first < a->y[last] ? a->first : a->y[last];
    stop = stop < a->y[last] ? stop : a->y[last];
    a->count = stop > a->first ? stop - a->first : 0;
    return true;
}

mcs_tensor *mcs_pad(mcs_ctx *c, const mcs_tensor *x, const int64_t *pads, float value)
{
    if (!mcs_ok_dim(c, "pad", x, -1))
        return NULL;
    pad_args *a = mcs_alloc(c, sizeof *a);
    if (!a)
        return NULL;
    *a = (pad_args){ .vec = mcs_vec_get(), .from = mcs_f32(x), .value = value };
    char shape[160];
    if (!padded(a, x, pads))
        return mcs_fail(c, MCS_EINVAL, "pad: %s cannot be padded or cropped by that much",
                        mcs_shape_str(x, shape, sizeof shape));
    mcs_tensor *y = mcs_new(c, x->ndim, a->y);
    if (!y)
        return NULL;
    a->to = mcs_f32(y);
    run(c, pad_range, a, y);
    return mcs_record(c, &op_pad, y, a, MCS_INPUTS(x));
}
