/* op_cases.h - one small graph per operation that is not a product, for tests of a property all
 * of them share.  Define OPS_N, OPS_C, OPS_H, OPS_W, the shape of the first input, before. */
#ifndef MCS_OP_CASES_H
#define MCS_OP_CASES_H
#include "tests/check.h"

#define F(name, expression)                                                                        \
    static mcs_tensor *f_##name(mcs_ctx *c, mcs_tensor **in)                                       \
    {                                                                                              \
        return expression;                                                                         \
    }
F(add, mcs_add(c, in[0], in[1]))
F(sub, mcs_sub(c, in[0], in[1]))
F(mul, mcs_mul(c, in[0], in[1]))
F(div, mcs_div(c, in[0], in[1]))
F(exp, mcs_exp(c, in[0]))
F(log, mcs_log(c, in[0]))
F(gelu, mcs_gelu(c, in[0]))
F(tanh, mcs_tanh(c, in[0]))
F(softmax, mcs_softmax(c, in[0]))
F(log_softmax, mcs_log_softmax(c, in[0]))
F(logsumexp, mcs_logsumexp(c, in[0]))
F(layer_norm, mcs_layer_norm(c, in[0], in[1], in[1], 1e-5f))
F(layer_norm_2d, mcs_layer_norm_2d(c, in[0], in[1], in[1], 1e-5f))
F(l2, mcs_l2_normalize(c, in[0], 1e-12f))
F(instance, mcs_instance_norm(c, in[0], in[1], in[1], 1e-5f))
F(prelu, mcs_prelu(c, in[0], in[1]))
F(sum, mcs_sum(c, in[0]))
F(sum_0, mcs_sum_dim(c, in[0], 0, false))
F(mean_1, mcs_mean_dim(c, in[0], 1, false))
F(mean_last, mcs_mean_dim(c, in[0], -1, true))
F(max_1, mcs_max_dim(c, in[0], 1, false))
F(reshape, mcs_reshape(c, in[0], 1, MCS_SHAPE(-1)))
F(rows, mcs_rows(c, in[0], 1, OPS_N))
F(permute, mcs_permute(c, in[0], (const int[]){ 0, 2, 3, 1 }))
F(heads, mcs_transpose(c, in[0], 1, 2))
F(slice, mcs_slice(c, in[0], -1, 2, OPS_W - 1))
F(concat, mcs_concat(c, 1, 2, (const mcs_tensor *const[]){ in[0], in[0] }))
F(expand, mcs_expand(c, in[0], 5, MCS_SHAPE(3, OPS_N, OPS_C, OPS_H, OPS_W)))
F(pad, mcs_pad(c, in[0], (const int64_t[]){ 1, 0, 0, 2, -1, 3, 4, -5 }, 1))
F(dropout, mcs_dropout(c, in[0], 0.3f))

static mcs_tensor *f_batch(mcs_ctx *c, mcs_tensor **in)
{
    mcs_tensor *mean = mcs_zeros(c, 1, MCS_SHAPE(OPS_C)),
               *var = mcs_full(c, 1, MCS_SHAPE(OPS_C), 1);
    mcs_tensor *y = mcs_batch_norm(c, in[0], in[1], in[1], mean, var, 0.1f, 1e-5f);
    return mcs_add(c, y, mcs_reshape(c, mcs_add(c, mean, var), 3, MCS_SHAPE(OPS_C, 1, 1)));
}

static mcs_tensor *f_table(mcs_ctx *c, mcs_tensor **in)
{
    mcs_tensor *table = mcs_reshape(c, in[0], 2, MCS_SHAPE(OPS_N * OPS_C, OPS_H * OPS_W));
    mcs_tensor *ids = mcs_new_typed(c, MCS_I64, 1, MCS_SHAPE(301));
    for (int64_t i = 0; ids && i < 301; i++)
        mcs_i64(ids)[i] = i * i % (OPS_N * OPS_C);
    return mcs_embedding(c, table, ids);
}

/* The first input is (N,C,H,W), the second none, (C), (W), (H,1), or as the first. */
typedef enum { NONE, CHANNEL, LAST, COLUMN, SAME } second;

static const struct {
    const char *name;
    check_fn *fn;
    second b;
} cases[] = {
    { "add", f_add, SAME },
    { "add last", f_add, LAST },
    { "sub column", f_sub, COLUMN },
    { "mul", f_mul, SAME },
    { "mul last", f_mul, LAST },
    { "mul column", f_mul, COLUMN },
    { "div", f_div, LAST },
    { "exp", f_exp, NONE },
    { "log", f_log, NONE },
    { "gelu", f_gelu, NONE },
    { "tanh", f_tanh, NONE },
    { "softmax", f_softmax, NONE },
    { "log_softmax", f_log_softmax, NONE },
    { "logsumexp", f_logsumexp, NONE },
    { "layer_norm", f_layer_norm, LAST },
    { "layer_norm_2d", f_layer_norm_2d, CHANNEL },
    { "l2_normalize", f_l2, NONE },
    { "batch_norm", f_batch, CHANNEL },
    { "instance_norm", f_instance, CHANNEL },
    { "prelu", f_prelu, CHANNEL },
    { "sum", f_sum, NONE },
    { "sum_dim 0", f_sum_0, NONE },
    { "mean_dim 1", f_mean_1, NONE },
    { "mean_dim -1", f_mean_last, NONE },
    { "max_dim", f_max_1, NONE },
    { "reshape", f_reshape, NONE },
    { "rows", f_rows, NONE },
    { "permute", f_permute, NONE },
    { "transpose", f_heads, NONE },
    { "slice", f_slice, NONE },
    { "concat", f_concat, NONE },
    { "expand", f_expand, NONE },
    { "pad", f_pad, NONE },
    { "embedding", f_table, NONE },
    { "dropout", f_dropout, NONE },
};
enum { CASES = sizeof cases / sizeof cases[0] };

static mcs_tensor *first_input(mcs_ctx *c)
{
    return check_random(c, 1, 0.5f, 2, 4, MCS_SHAPE(OPS_N, OPS_C, OPS_H, OPS_W));
}

static mcs_tensor *second_input(mcs_ctx *c, second b)
{
    static const struct {
        int ndim;
        int64_t shape[4];
    } shapes[] = { { 0, { 0 } },
                   { 1, { OPS_C } },
                   { 1, { OPS_W } },
                   { 2, { OPS_H, 1 } },
                   { 4, { OPS_N, OPS_C, OPS_H, OPS_W } } };
    return b == NONE ? NULL : check_random(c, 2, 0.5f, 2, shapes[b].ndim, shapes[b].shape);
}
#endif
