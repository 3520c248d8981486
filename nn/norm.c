/* norm.c - torch.nn.LayerNorm, SAM's LayerNorm2d, BatchNorm2d, InstanceNorm2d. */
#include "nn/nn.h"

void mcs_layernorm_init(mcs_layernorm *m, mcs_ns ns, int64_t dim, float eps)
{
    m->name = ns.path;
    m->eps = eps;
    m->weight = mcs_param(ns, "weight", MCS_INIT_ONES, 1, MCS_SHAPE(dim));
    m->bias = mcs_param(ns, "bias", MCS_INIT_ZEROS, 1, MCS_SHAPE(dim));
}

mcs_tensor *mcs_layernorm_forward(mcs_ctx *c, const mcs_layernorm *m, const mcs_tensor *x)
{
    return mcs_tap(c, m->name, mcs_layer_norm(c, x, m->weight, m->bias, m->eps));
}

mcs_tensor *mcs_layernorm2d_forward(mcs_ctx *c, const mcs_layernorm *m, const mcs_tensor *x)
{
    return mcs_tap(c, m->name, mcs_layer_norm_2d(c, x, m->weight, m->bias, m->eps));
}

void mcs_batchnorm_init(mcs_batchnorm *m, mcs_ns ns, int64_t dim, float eps)
{
    const int64_t *shape = MCS_SHAPE(dim);
    m->name = ns.path;
    m->eps = eps;
    m->momentum = 0.1f;
    m->weight = mcs_param(ns, "weight", MCS_INIT_ONES, 1, shape);
    m->bias = mcs_param(ns, "bias", MCS_INIT_ZEROS, 1, shape);
    m->running_mean = mcs_buffer(ns, "running_mean", MCS_INIT_ZEROS, 1, shape);
    m->running_var = mcs_buffer(ns, "running_var", MCS_INIT_ONES, 1, shape);
}

mcs_tensor *mcs_batchnorm_forward(mcs_ctx *c, const mcs_batchnorm *m, const mcs_tensor *x)
{
    return mcs_tap(c, m->name, mcs_batch_norm(c, x, m->weight, m->bias, m->running_mean,
                                              m->running_var, m->momentum, m->eps));
}

void mcs_instancenorm_init(mcs_instancenorm *m, mcs_ns ns, float eps)
{
    m->name = ns.path;
    m->eps = eps;
}

mcs_tensor *mcs_instancenorm_forward(mcs_ctx *c, const mcs_instancenorm *m, const mcs_tensor *x)
{
    return mcs_tap(c, m->name, mcs_instance_norm(c, x, NULL, NULL, m->eps));
}
