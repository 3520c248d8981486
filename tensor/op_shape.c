/* op_shape.c - views: reshape, and rows x[begin:end].  They share the data of x; the gradient is
 * added back element by element.  (Copies: op_permute.c, op_slice.c, op_pad.c.) */
#include "tensor/broadcast_internal.h"

/* x or y may be any dtype; only f32 carries a gradient. */
static bool sound(const mcs_ctx *c, const mcs_tensor *x)
{
    return x && mcs_ctx_status(c) == MCS_OK;
}

/* saved: where y starts in x, in elements. */
static void view_backward(mcs_ctx *c, mcs_node *n)
{
    float *dx = mcs_grad_buf(c, n->in[0]);
    if (dx)
        mcs_add_scaled(c, dx + *(int64_t *)n->saved, 1.0f, n->grad, mcs_numel(n->out));
}

static const mcs_op op_reshape = { "reshape", view_backward };
static const mcs_op op_rows = { "rows", view_backward };

static mcs_tensor *view(mcs_ctx *c, const mcs_op *op, const mcs_tensor *x, int ndim,
                        const int64_t *shape, int64_t start)
{
    size_t elem = x->dtype == MCS_F32 ? sizeof(float) : x->dtype == MCS_I64 ? sizeof(int64_t) : 1;
    mcs_tensor *y = mcs_wrap(c, x->dtype, ndim, shape, (char *)x->data + (size_t)start * elem);
    if (!y || !mcs_will_record(c, MCS_INPUTS(x)))
        return y;
    int64_t *saved = mcs_alloc(c, sizeof *saved);
    if (!saved)
        return NULL;
    *saved = start;
    return mcs_record(c, op, y, saved, MCS_INPUTS(x));
}

mcs_tensor *mcs_reshape(mcs_ctx *c, const mcs_tensor *x, int ndim, const int64_t *shape)
{
    if (!sound(c, x))
        return NULL;
    if (ndim < 0 || ndim > MCS_MAX_DIM)
        return mcs_fail(c, MCS_ESHAPE, "reshape: %d dimensions, at most %d are supported", ndim,
                        MCS_MAX_DIM);
    int64_t full[MCS_MAX_DIM], known = 1, n = mcs_numel(x);
    int unknown = -1;
    bool fits = true;
    for (int i = 0; i < ndim; i++) {
        full[i] = shape[i];
        if (shape[i] == -1 && unknown < 0)
            unknown = i;
        else if (shape[i] < 0 || (shape[i] > 0 && known > INT64_MAX / shape[i]))
            fits = false;
        else
            known *= shape[i];
    }
    if (unknown >= 0 && known > 0)
        full[unknown] = n / known;
    if (!fits || (unknown < 0 ? known != n : known == 0 || n % known != 0)) {
        char sx[160], sy[160];
        mcs_tensor want = { .ndim = ndim };
        for (int i = 0; i < ndim; i++)
            want.shape[i] = shape[i];
        return mcs_fail(c, MCS_ESHAPE, "reshape: %s does not hold the elements of %s",
                        mcs_shape_str(&want, sy, sizeof sy), mcs_shape_str(x, sx, sizeof sx));
    }
    return view(c, &op_reshape, x, ndim, full, 0);
}

mcs_tensor *mcs_rows(mcs_ctx *c, const mcs_tensor *x, int64_t begin, int64_t end)
{
    if (!sound(c, x))
        return NULL;
    if (x->ndim < 1)
        return mcs_fail(c, MCS_ESHAPE, "rows: a scalar has no rows");
    if (begin < 0 || end < begin || end > x->shape[0])
        return mcs_fail(c, MCS_EINVAL, "rows: [%lld, %lld) of %lld rows", (long long)begin,
                        (long long)end, (long long)x->shape[0]);
    int64_t shape[MCS_MAX_DIM], size = 1;
    shape[0] = end - begin;
    for (int i = 1; i < x->ndim; i++)
        size *= shape[i] = x->shape[i];
    return view(c, &op_rows, x, x->ndim, shape, begin * size);
}
