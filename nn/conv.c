/* conv.c - torch.nn.Conv2d and ConvTranspose2d with square kernels. */
#include "nn/nn.h"

void mcs_conv_init(mcs_conv *m, mcs_ns ns, int64_t in, int64_t out, int kernel, int stride,
                   int pad, int groups, bool bias)
{
    m->name = ns.path;
    m->opts = (mcs_conv_opts){ stride, stride, pad, pad, groups };
    m->weight = mcs_param(ns, "weight", MCS_INIT_KAIMING, 4,
                          MCS_SHAPE(out, in / groups, kernel, kernel));
    m->bias = bias ? mcs_param(ns, "bias", MCS_INIT_ZEROS, 1, MCS_SHAPE(out)) : NULL;
}

mcs_tensor *mcs_conv_forward(mcs_ctx *c, const mcs_conv *m, const mcs_tensor *x)
{
    return mcs_tap(c, m->name, mcs_conv2d(c, x, m->weight, m->bias, m->opts));
}

void mcs_conv_transpose_init(mcs_conv_transpose *m, mcs_ns ns, int64_t in, int64_t out,
                             int kernel, int stride, int pad, int out_pad, bool bias)
{
    m->name = ns.path;
    m->opts = (mcs_conv_opts){ stride, stride, pad, pad, 1 };
    m->out_pad = out_pad;
    m->weight = mcs_param(ns, "weight", MCS_INIT_KAIMING, 4, MCS_SHAPE(in, out, kernel, kernel));
    m->bias = bias ? mcs_param(ns, "bias", MCS_INIT_ZEROS, 1, MCS_SHAPE(out)) : NULL;
}

mcs_tensor *mcs_conv_transpose_forward(mcs_ctx *c, const mcs_conv_transpose *m,
                                       const mcs_tensor *x)
{
    return mcs_tap(c, m->name, mcs_conv_transpose2d(c, x, m->weight, m->bias, m->opts, m->out_pad,
                                                    m->out_pad));
}
