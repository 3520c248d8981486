/* sgd.c - stochastic gradient descent with momentum, as torch.optim.SGD (dampening 0). */
#include "nn/optim_internal.h"

static void sgd_range(void *arg, int64_t begin, int64_t end)
{
    const mcs_update *u = arg;
    const mcs_sgd_opts *o = &u->o->sgd;
    float decay = (float)u->decay, lr = (float)u->lr, momentum = o->momentum;
    float *p = u->p, *m = u->state[0];
    for (int64_t i = begin; i < end; i++) {
        float g = u->g[i] + decay * p[i];
        m[i] = momentum * m[i] + g;
        p[i] -= lr * (o->nesterov ? g + momentum * m[i] : m[i]);
    }
}

mcs_optim *mcs_sgd_new(mcs_params *p, const mcs_sgd_opts *opts)
{
    mcs_optim *o = mcs_optim_new(p, 1, sgd_range);
    if (!o)
        return NULL;
    o->sgd = *opts;
    o->state_names[0] = "momentum";
    return o;
}
