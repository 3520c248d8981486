/* vector_operators.h - the operators of test_op_vectors.c: each runs one node of a case through
 * ops.h, composing what ops.h does not have where that is short.  Included once. */
#ifndef MCS_VECTOR_OPERATORS_H
#define MCS_VECTOR_OPERATORS_H
#include <jansson.h>
#include <math.h>
#include <string.h>
#include "tests/check.h"

static mcs_tensor *as_float(mcs_ctx *c, mcs_tensor *x)
{
    if (!x || x->dtype != MCS_I64)
        return x;
    mcs_tensor *y = mcs_new(c, x->ndim, x->shape);
    for (int64_t i = 0; i < mcs_numel(x); i++)
        mcs_f32(y)[i] = (float)mcs_i64(x)[i];
    return y;
}

/* ---- Attributes ---- */

static double number(const json_t *attrs, const char *key, double fallback)
{
    const json_t *v = json_object_get(attrs, key);
    return v ? json_number_value(v) : fallback;
}

static int64_t item(const json_t *attrs, const char *key, size_t i, int64_t fallback)
{
    const json_t *v = json_array_get(json_object_get(attrs, key), i);
    return v ? json_integer_value(v) : fallback;
}

/* ---- Operators: in[] are the inputs (NULL past the last) ---- */

typedef mcs_tensor *operator_fn(mcs_ctx *c, mcs_tensor **in, const json_t *attrs);

#define BINARY(name)                                                                               \
    static mcs_tensor *do_##name(mcs_ctx *c, mcs_tensor **in, const json_t *attrs)                 \
    {                                                                                              \
        (void)attrs;                                                                               \
        return mcs_##name(c, as_float(c, in[0]), as_float(c, in[1]));                              \
    }
#define UNARY(name)                                                                                \
    static mcs_tensor *do_##name(mcs_ctx *c, mcs_tensor **in, const json_t *attrs)                 \
    {                                                                                              \
        (void)attrs;                                                                               \
        return mcs_##name(c, in[0]);                                                               \
    }
BINARY(add)
BINARY(sub)
BINARY(mul)
BINARY(div)
BINARY(matmul)
BINARY(prelu)
UNARY(exp)
UNARY(sqrt)
UNARY(abs)
UNARY(tanh)
UNARY(relu)
UNARY(sigmoid)

static mcs_tensor *do_gather(mcs_ctx *c, mcs_tensor **in, const json_t *attrs)
{
    (void)attrs;
    return mcs_embedding(c, in[0], in[1]);
}

static mcs_tensor *do_neg(mcs_ctx *c, mcs_tensor **in, const json_t *attrs)
{
    (void)attrs;
    return mcs_affine(c, in[0], -1, 0);
}

static mcs_tensor *do_sum(mcs_ctx *c, mcs_tensor **in, const json_t *attrs)
{
    (void)attrs;
    mcs_tensor *y = in[0];
    for (int i = 1; in[i]; i++)
        y = mcs_add(c, y, in[i]);
    return y;
}

static mcs_tensor *do_clip(mcs_ctx *c, mcs_tensor **in, const json_t *attrs)
{
    return mcs_clamp(c, in[0], (float)number(attrs, "min", (double)-INFINITY),
                     (float)number(attrs, "max", (double)INFINITY));
}

static mcs_tensor *do_leaky_relu(mcs_ctx *c, mcs_tensor **in, const json_t *attrs)
{
    return mcs_prelu(c, in[0], mcs_full(c, 1, MCS_SHAPE(1), (float)number(attrs, "alpha", 0.01)));
}

static mcs_tensor *do_softplus(mcs_ctx *c, mcs_tensor **in, const json_t *attrs)
{
    (void)attrs;
    return mcs_log(c, mcs_affine(c, mcs_exp(c, in[0]), 1, 1));
}

/* gamma (relu(x) + alpha (exp(min(x, 0)) - 1)) */
static mcs_tensor *elu(mcs_ctx *c, mcs_tensor *x, float alpha, float gamma)
{
    mcs_tensor *low = mcs_affine(c, mcs_exp(c, mcs_clamp(c, x, -INFINITY, 0)), alpha, -alpha);
    return mcs_affine(c, mcs_add(c, mcs_relu(c, x), low), gamma, 0);
}

static mcs_tensor *do_elu(mcs_ctx *c, mcs_tensor **in, const json_t *attrs)
{
    return elu(c, in[0], (float)number(attrs, "alpha", 1), 1);
}

static mcs_tensor *do_selu(mcs_ctx *c, mcs_tensor **in, const json_t *attrs)
{
    (void)attrs;
    return elu(c, in[0], 1.67326324f, 1.05070099f);
}

static mcs_tensor *do_max(mcs_ctx *c, mcs_tensor **in, const json_t *attrs)
{
    (void)attrs;
    int64_t n = mcs_numel(in[0]);
    mcs_tensor *rows[2] = { mcs_reshape(c, in[0], 2, MCS_SHAPE(1, n)),
                            mcs_reshape(c, in[1], 2, MCS_SHAPE(1, n)) };
    mcs_tensor *y = mcs_max_dim(c, mcs_concat(c, 0, 2, (const mcs_tensor *const *)rows), 0, false);
    return mcs_reshape(c, y, in[0]->ndim, in[0]->shape);
}

static mcs_tensor *do_min(mcs_ctx *c, mcs_tensor **in, const json_t *attrs)
{
    mcs_tensor *minus[2] = { mcs_affine(c, in[0], -1, 0), mcs_affine(c, in[1], -1, 0) };
    return mcs_affine(c, do_max(c, minus, attrs), -1, 0);
}

static mcs_tensor *do_pow(mcs_ctx *c, mcs_tensor **in, const json_t *attrs)
{
    (void)attrs;
    return mcs_exp(c, mcs_mul(c, in[1], mcs_log(c, in[0])));
}

static bool last_axis(const mcs_tensor *x, const json_t *attrs)
{
    int64_t axis = json_integer_value(json_object_get(attrs, "axis"));
    return axis == -1 || axis == x->ndim - 1;
}

static mcs_tensor *do_softmax(mcs_ctx *c, mcs_tensor **in, const json_t *attrs)
{
    return last_axis(in[0], attrs) ? mcs_softmax(c, in[0]) : NULL;
}

static mcs_tensor *do_log_softmax(mcs_ctx *c, mcs_tensor **in, const json_t *attrs)
{
    return last_axis(in[0], attrs) ? mcs_log_softmax(c, in[0]) : NULL;
}

static mcs_tensor *do_gemm(mcs_ctx *c, mcs_tensor **in, const json_t *attrs)
{
    mcs_tensor *y = number(attrs, "transB", 0) != 0 ? mcs_linear(c, in[0], in[1], in[2])
                                                    : mcs_matmul(c, in[0], in[1]);
    if (number(attrs, "transB", 0) != 0 || number(attrs, "beta", 1) == 0)
        return y;
    return mcs_add(c, y, in[2]);
}

static mcs_tensor *do_transpose(mcs_ctx *c, mcs_tensor **in, const json_t *attrs)
{
    int axes[MCS_MAX_DIM];
    for (int i = 0; i < in[0]->ndim; i++)
        axes[i] = (int)item(attrs, "perm", (size_t)i, 0);
    return mcs_permute(c, in[0], axes);
}

static mcs_tensor *do_reshape(mcs_ctx *c, mcs_tensor **in, const json_t *attrs)
{
    (void)attrs;
    return mcs_reshape(c, in[0], (int)mcs_numel(in[1]), mcs_i64(in[1]));
}

static mcs_tensor *do_flatten(mcs_ctx *c, mcs_tensor **in, const json_t *attrs)
{
    (void)attrs;
    return mcs_reshape(c, in[0], 2, MCS_SHAPE(in[0]->shape[0], -1));
}

static mcs_tensor *do_squeeze(mcs_ctx *c, mcs_tensor **in, const json_t *attrs)
{
    (void)attrs; /* axis 0 in the one case there is */
    return mcs_reshape(c, in[0], in[0]->ndim - 1, in[0]->shape + 1);
}

static mcs_tensor *do_slice(mcs_ctx *c, mcs_tensor **in, const json_t *attrs)
{
    return mcs_slice(c, in[0], (int)item(attrs, "axes", 0, 0), item(attrs, "starts", 0, 0),
                     item(attrs, "ends", 0, 0));
}

static mcs_tensor *do_concat(mcs_ctx *c, mcs_tensor **in, const json_t *attrs)
{
    return mcs_concat(c, (int)number(attrs, "axis", 0), 2, (const mcs_tensor *const *)in);
}

static mcs_tensor *do_tile(mcs_ctx *c, mcs_tensor **in, const json_t *attrs)
{
    (void)attrs;
    mcs_tensor *y = in[0];
    for (int d = 0; y && d < in[0]->ndim; d++) {
        const mcs_tensor *copies[8] = { y, y, y, y, y, y, y, y };
        y = mcs_concat(c, d, (int)mcs_i64(in[1])[d], copies);
    }
    return y;
}

static mcs_tensor *do_reduce_sum(mcs_ctx *c, mcs_tensor **in, const json_t *attrs)
{
    return mcs_sum_dim(c, in[0], (int)item(attrs, "axes", 0, 0), number(attrs, "keepdims", 1) != 0);
}

static mcs_tensor *do_reduce_mean(mcs_ctx *c, mcs_tensor **in, const json_t *attrs)
{
    return mcs_mean_dim(c, in[0], (int)item(attrs, "axes", 0, 0),
                        number(attrs, "keepdims", 1) != 0);
}

static mcs_tensor *do_pad(mcs_ctx *c, mcs_tensor **in, const json_t *attrs)
{
    int64_t pads[2 * MCS_MAX_DIM];
    if (strcmp(json_string_value(json_object_get(attrs, "mode")), "constant") != 0)
        return NULL;
    int n = in[0]->ndim;
    for (int i = 0; i < n; i++) {
        pads[2 * i] = item(attrs, "pads", (size_t)i, 0);
        pads[2 * i + 1] = item(attrs, "pads", (size_t)(n + i), 0);
    }
    return mcs_pad(c, in[0], pads, (float)number(attrs, "value", 0));
}

static mcs_tensor *do_batch_norm(mcs_ctx *c, mcs_tensor **in, const json_t *attrs)
{
    return mcs_batch_norm(c, in[0], in[1], in[2], in[3], in[4], 0.1f,
                          (float)number(attrs, "epsilon", 0));
}

static mcs_tensor *do_instance_norm(mcs_ctx *c, mcs_tensor **in, const json_t *attrs)
{
    return mcs_instance_norm(c, in[0], in[1], in[2], (float)number(attrs, "epsilon", 0));
}

/* ---- Windows: one-dimensional cases run as images of height 1 ---- */

static mcs_tensor *as_image(mcs_ctx *c, const mcs_tensor *x)
{
    return x->ndim == 4 ? mcs_detach(c, x)
                        : mcs_reshape(c, x, 4, MCS_SHAPE(x->shape[0], x->shape[1], 1, x->shape[2]));
}

static mcs_tensor *as_before(mcs_ctx *c, const mcs_tensor *x, const mcs_tensor *y)
{
    if (!y || x->ndim == 4)
        return mcs_detach(c, y);
    return mcs_reshape(c, y, 3, MCS_SHAPE(y->shape[0], y->shape[1], y->shape[3]));
}

/* False for dilation or padding that differs between the two sides. */
static bool window(const mcs_tensor *x, const json_t *attrs, mcs_conv_opts *o)
{
    size_t w = x->ndim == 4 ? 1 : 0, n = w + 1; /* index of the width among the attributes */
    o->stride_h = w ? (int)item(attrs, "strides", 0, 1) : 1;
    o->stride_w = (int)item(attrs, "strides", w, 1);
    o->pad_h = w ? (int)item(attrs, "pads", 0, 0) : 0;
    o->pad_w = (int)item(attrs, "pads", w, 0);
    o->groups = (int)number(attrs, "group", 1);
    for (size_t i = 0; i < n; i++)
        if (item(attrs, "dilations", i, 1) != 1 ||
            item(attrs, "pads", i, 0) != item(attrs, "pads", n + i, 0))
            return false;
    return true;
}

static mcs_tensor *do_conv(mcs_ctx *c, mcs_tensor **in, const json_t *attrs)
{
    mcs_conv_opts o;
    if (!window(in[0], attrs, &o))
        return NULL;
    mcs_tensor *y = mcs_conv2d(c, as_image(c, in[0]), as_image(c, in[1]), in[2], o);
    return as_before(c, in[0], y);
}

static mcs_tensor *do_conv_transpose(mcs_ctx *c, mcs_tensor **in, const json_t *attrs)
{
    mcs_conv_opts o;
    if (!window(in[0], attrs, &o))
        return NULL;
    return mcs_conv_transpose2d(c, in[0], in[1], in[2], o, (int)item(attrs, "output_padding", 0, 0),
                                (int)item(attrs, "output_padding", 1, 0));
}

static mcs_tensor *pool(mcs_ctx *c, mcs_tensor **in, const json_t *attrs, bool max)
{
    mcs_conv_opts o;
    int64_t k = item(attrs, "kernel_shape", 0, 0);
    if (!window(in[0], attrs, &o) || in[0]->ndim != 4 || o.stride_h != o.stride_w ||
        o.pad_h != o.pad_w || item(attrs, "kernel_shape", 1, k) != k)
        return NULL;
    return max ? mcs_max_pool2d(c, in[0], (int)k, o.stride_h, o.pad_h)
               : mcs_avg_pool2d(c, in[0], (int)k, o.stride_h, o.pad_h);
}

static mcs_tensor *do_max_pool(mcs_ctx *c, mcs_tensor **in, const json_t *attrs)
{
    return pool(c, in, attrs, true);
}

static mcs_tensor *do_avg_pool(mcs_ctx *c, mcs_tensor **in, const json_t *attrs)
{
    return pool(c, in, attrs, false);
}

/* NULL without an error from an operator: this form of it is not covered. */
static const struct {
    const char *name;
    operator_fn *fn;
} operators[] = {
    { "Abs", do_abs },
    { "Add", do_add },
    { "AveragePool", do_avg_pool },
    { "BatchNormalization", do_batch_norm },
    { "Clip", do_clip },
    { "Concat", do_concat },
    { "Conv", do_conv },
    { "ConvTranspose", do_conv_transpose },
    { "Div", do_div },
    { "Elu", do_elu },
    { "Exp", do_exp },
    { "Flatten", do_flatten },
    { "Gather", do_gather },
    { "Gemm", do_gemm },
    { "InstanceNormalization", do_instance_norm },
    { "LeakyRelu", do_leaky_relu },
    { "LogSoftmax", do_log_softmax },
    { "MatMul", do_matmul },
    { "Max", do_max },
    { "MaxPool", do_max_pool },
    { "Min", do_min },
    { "Mul", do_mul },
    { "Neg", do_neg },
    { "PRelu", do_prelu },
    { "Pad", do_pad },
    { "Pow", do_pow },
    { "ReduceMean", do_reduce_mean },
    { "ReduceSum", do_reduce_sum },
    { "Relu", do_relu },
    { "Reshape", do_reshape },
    { "Selu", do_selu },
    { "Sigmoid", do_sigmoid },
    { "Slice", do_slice },
    { "Softmax", do_softmax },
    { "Softplus", do_softplus },
    { "Sqrt", do_sqrt },
    { "Squeeze", do_squeeze },
    { "Sub", do_sub },
    { "Sum", do_sum },
    { "Tanh", do_tanh },
    { "Tile", do_tile },
    { "Transpose", do_transpose },
};
enum { OPERATORS = sizeof operators / sizeof operators[0] };
#endif
