/* linear.c - torch.nn.Linear: weight (out,in), bias (out). */
#include "nn/nn.h"
#include "tensor/op.h"

void mcs_linear_init(mcs_linear_layer *m, mcs_ns ns, int64_t in, int64_t out, bool bias)
{
    m->name = ns.path;
    m->weight = mcs_param(ns, "weight", MCS_INIT_KAIMING, 2, MCS_SHAPE(out, in));
    m->bias = bias ? mcs_param(ns, "bias", MCS_INIT_ZEROS, 1, MCS_SHAPE(out)) : NULL;
}

mcs_tensor *mcs_linear_forward(mcs_ctx *c, const mcs_linear_layer *m, const mcs_tensor *x)
{
    return mcs_tap(c, m->name, mcs_linear(c, x, m->weight, m->bias));
}

mcs_tensor *mcs_linear_forward_add(mcs_ctx *c, const mcs_linear_layer *m, const mcs_tensor *x,
                                   const mcs_tensor *residual)
{
    return mcs_hooked(c, m->name) ? mcs_add(c, residual, mcs_linear_forward(c, m, x))
                                  : mcs_linear_add(c, x, m->weight, m->bias, residual);
}

mcs_tensor *mcs_linear_forward_norm(mcs_ctx *c, const mcs_linear_layer *m,
                                    const mcs_layernorm *norm, const mcs_tensor *x)
{
    if (!mcs_may_record(c) || mcs_hooked(c, norm->name))
        return mcs_linear_forward(c, m, mcs_layernorm_forward(c, norm, x));
    return mcs_tap(c, m->name,
                   mcs_norm_linear(c, x, norm->weight, norm->bias, norm->eps, m->weight, m->bias));
}
