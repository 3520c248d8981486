/* activation.c - torch.nn.PReLU with one weight for all channels, .25 at the start. */
#include "nn/nn.h"

void mcs_prelu_init(mcs_prelu_layer *m, mcs_ns ns)
{
    m->name = ns.path;
    m->weight = mcs_param(ns, "weight", MCS_INIT_QUARTER, 1, MCS_SHAPE(1));
}

mcs_tensor *mcs_prelu_forward(mcs_ctx *c, const mcs_prelu_layer *m, const mcs_tensor *x)
{
    return mcs_tap(c, m->name, mcs_prelu(c, x, m->weight));
}
