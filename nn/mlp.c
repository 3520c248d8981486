/* mlp.c - fc2(gelu(fc1(x))), the feed-forward half of a transformer block.  When nobody looks at
 * fc1 the activation runs in the product's epilogue. */
#include "nn/nn.h"

void mcs_mlp_init(mcs_mlp *m, mcs_ns ns, const char *fc1, const char *fc2, int64_t dim,
                  int64_t hidden)
{
    m->name = ns.path;
    mcs_linear_init(&m->fc1, mcs_ns_sub(ns, "%s", fc1), dim, hidden, true);
    mcs_linear_init(&m->fc2, mcs_ns_sub(ns, "%s", fc2), hidden, dim, true);
}

static mcs_tensor *hidden(mcs_ctx *c, const mcs_mlp *m, const mcs_tensor *x)
{
    return mcs_hooked(c, m->fc1.name) ? mcs_gelu(c, mcs_linear_forward(c, &m->fc1, x))
                                      : mcs_linear_gelu(c, x, m->fc1.weight, m->fc1.bias);
}

mcs_tensor *mcs_mlp_forward(mcs_ctx *c, const mcs_mlp *m, const mcs_tensor *x)
{
    return mcs_tap(c, m->name, mcs_linear_forward(c, &m->fc2, hidden(c, m, x)));
}

mcs_tensor *mcs_mlp_forward_add(mcs_ctx *c, const mcs_mlp *m, const mcs_tensor *x,
                                const mcs_tensor *residual)
{
    return mcs_hooked(c, m->name) ? mcs_add(c, residual, mcs_mlp_forward(c, m, x))
                                  : mcs_linear_forward_add(c, &m->fc2, hidden(c, m, x), residual);
}
