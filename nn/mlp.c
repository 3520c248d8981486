/* mlp.c - fc2(gelu(fc1(x))), the feed-forward half of a transformer block.  When nobody looks at
 * fc1 the activation runs in the product's epilogue. */
#include "nn/nn.h"
#include "tensor/op.h"

void mcs_mlp_init(mcs_mlp *m, mcs_ns ns, const char *fc1, const char *fc2, int64_t dim,
                  int64_t hidden)
{
    m->name = ns.path;
    mcs_linear_init(&m->fc1, mcs_ns_sub(ns, "%s", fc1), dim, hidden, true);
    mcs_linear_init(&m->fc2, mcs_ns_sub(ns, "%s", fc2), hidden, dim, true);
}

static mcs_tensor *hidden(mcs_ctx *c, const mcs_linear_layer *up, const mcs_tensor *x)
{
    return mcs_hooked(c, up->name) ? mcs_gelu(c, mcs_linear_forward(c, up, x))
                                   : mcs_linear_gelu(c, x, up->weight, up->bias);
}

/* residual + down(gelu(h)), from before the activation. */
static mcs_tensor *finish(mcs_ctx *c, const mcs_linear_layer *down, const mcs_tensor *h,
                          const mcs_tensor *residual)
{
    return mcs_hooked(c, down->name)
               ? mcs_linear_forward_add(c, down, mcs_gelu(c, h), residual)
               : mcs_gelu_linear_add(c, h, down->weight, down->bias, residual);
}

mcs_tensor *mcs_feed_forward(mcs_ctx *c, const mcs_linear_layer *up, const mcs_linear_layer *down,
                             const mcs_tensor *x)
{
    return mcs_may_record(c) ? finish(c, down, mcs_linear_forward(c, up, x), x)
                             : mcs_linear_forward_add(c, down, hidden(c, up, x), x);
}

mcs_tensor *mcs_mlp_forward(mcs_ctx *c, const mcs_mlp *m, const mcs_tensor *x)
{
    return mcs_tap(c, m->name, mcs_linear_forward(c, &m->fc2, hidden(c, &m->fc1, x)));
}

/* On the tape the hidden layer stands before its activation, and nothing else. */
mcs_tensor *mcs_mlp_block(mcs_ctx *c, const mcs_layernorm *norm, const mcs_mlp *m,
                          const mcs_tensor *x)
{
    if (mcs_may_record(c) && !mcs_hooked(c, m->name))
        return finish(c, &m->fc2, mcs_linear_forward_norm(c, &m->fc1, norm, x), x);
    mcs_tensor *h = mcs_layernorm_forward(c, norm, x);
    return mcs_hooked(c, m->name) ? mcs_add(c, x, mcs_mlp_forward(c, m, h))
                                  : mcs_linear_forward_add(c, &m->fc2, hidden(c, &m->fc1, h), x);
}
