/* tensor.c - creation and shapes of tensors. */
#include <stdio.h>
#include <string.h>
#include "tensor/op.h"

static size_t elem_size(mcs_dtype t)
{
    return t == MCS_F32 ? sizeof(float) : t == MCS_I64 ? sizeof(int64_t) : 1;
}

/* Number of elements, or -1 if a dimension is negative or the product leaves 2^48. */
static int64_t checked_numel(int ndim, const int64_t *shape)
{
    int64_t n = 1;
    for (int i = 0; i < ndim; i++) {
        if (shape[i] < 0 || (shape[i] > 0 && n > (INT64_C(1) << 48) / shape[i]))
            return -1;
        n *= shape[i];
    }
    return n;
}

static mcs_tensor *new_header(mcs_ctx *c, mcs_dtype t, int ndim, const int64_t *shape)
{
    if (mcs_ctx_status(c) != MCS_OK)
        return NULL;
    if (ndim < 0 || ndim > MCS_MAX_DIM)
        return mcs_fail(c, MCS_ESHAPE, "tensor: %d dimensions, at most %d are supported", ndim,
                        MCS_MAX_DIM);
    if (checked_numel(ndim, shape) < 0)
        return mcs_fail(c, MCS_ESHAPE, "tensor: a dimension is negative or the size overflows");
    mcs_tensor *x = mcs_alloc(c, sizeof *x);
    if (!x)
        return NULL;
    memset(x, 0, sizeof *x);
    x->dtype = t;
    x->ndim = ndim;
    for (int i = 0; i < ndim; i++)
        x->shape[i] = shape[i];
    return x;
}

mcs_tensor *mcs_new_typed(mcs_ctx *c, mcs_dtype t, int ndim, const int64_t *shape)
{
    mcs_tensor *x = new_header(c, t, ndim, shape);
    if (!x)
        return NULL;
    x->data = mcs_alloc(c, (size_t)mcs_numel(x) * elem_size(t));
    return x->data ? x : NULL;
}

mcs_tensor *mcs_new(mcs_ctx *c, int ndim, const int64_t *shape)
{
    return mcs_new_typed(c, MCS_F32, ndim, shape);
}

mcs_tensor *mcs_new_like(mcs_ctx *c, const mcs_tensor *x)
{
    return x ? mcs_new(c, x->ndim, x->shape) : NULL;
}

mcs_tensor *mcs_zeros(mcs_ctx *c, int ndim, const int64_t *shape)
{
    mcs_tensor *x = mcs_new(c, ndim, shape);
    if (x)
        memset(x->data, 0, (size_t)mcs_numel(x) * sizeof(float));
    return x;
}

mcs_tensor *mcs_full(mcs_ctx *c, int ndim, const int64_t *shape, float value)
{
    mcs_tensor *x = mcs_new(c, ndim, shape);
    for (int64_t i = 0, n = x ? mcs_numel(x) : 0; i < n; i++)
        mcs_f32(x)[i] = value;
    return x;
}

mcs_tensor *mcs_scalar(mcs_ctx *c, float value) { return mcs_full(c, 0, NULL, value); }

mcs_tensor *mcs_from(mcs_ctx *c, mcs_dtype t, int ndim, const int64_t *shape, const void *src)
{
    mcs_tensor *x = mcs_new_typed(c, t, ndim, shape);
    if (x && mcs_numel(x) > 0)
        memcpy(x->data, src, (size_t)mcs_numel(x) * elem_size(t));
    return x;
}

mcs_tensor *mcs_wrap(mcs_ctx *c, mcs_dtype t, int ndim, const int64_t *shape, void *data)
{
    mcs_tensor *x = new_header(c, t, ndim, shape);
    if (x)
        x->data = data;
    return x;
}

mcs_tensor *mcs_detach(mcs_ctx *c, const mcs_tensor *x)
{
    return x ? mcs_wrap(c, x->dtype, x->ndim, x->shape, x->data) : NULL;
}

int64_t mcs_numel(const mcs_tensor *x)
{
    int64_t n = 1;
    for (int i = 0; i < x->ndim; i++)
        n *= x->shape[i];
    return n;
}

int64_t mcs_dim(const mcs_tensor *x, int i)
{
    return x ? x->shape[i < 0 ? x->ndim + i : i] : 0;
}

const char *mcs_shape_str(const mcs_tensor *x, char *buf, size_t n)
{
    size_t used = 0;
    if (n == 0)
        return buf;
    buf[0] = '\0';
    for (int i = 0; i < x->ndim && used < n; i++)
        used += (size_t)snprintf(buf + used, n - used, "%s%lld", i ? ", " : "(",
                                 (long long)x->shape[i]);
    if (used < n)
        snprintf(buf + used, n - used, x->ndim ? ")" : "()");
    return buf;
}

bool mcs_same_shape(const mcs_tensor *a, const mcs_tensor *b)
{
    return a->ndim == b->ndim && memcmp(a->shape, b->shape, (size_t)a->ndim * sizeof *a->shape) == 0;
}

bool mcs_ok(mcs_ctx *c, const char *op, const mcs_tensor *x)
{
    if (!x || mcs_ctx_status(c) != MCS_OK)
        return false;
    if (x->dtype != MCS_F32) {
        mcs_fail(c, MCS_ESHAPE, "%s: input is %s, float32 is needed", op,
                 x->dtype == MCS_I64 ? "int64" : "uint8");
        return false;
    }
    return true;
}

bool mcs_ok_dim(mcs_ctx *c, const char *op, const mcs_tensor *x, int n)
{
    if (!mcs_ok(c, op, x))
        return false;
    if (n >= 0 ? x->ndim == n : x->ndim >= -n)
        return true;
    char shape[120];
    mcs_fail(c, MCS_ESHAPE, "%s: input has shape %s, %s%d dimensions are needed", op,
             mcs_shape_str(x, shape, sizeof shape), n >= 0 ? "" : "at least ", n >= 0 ? n : -n);
    return false;
}
