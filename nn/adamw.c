/* adamw.c - AdamW (Loshchilov & Hutter 2019, algorithm 2) in PyTorch's order of operations:
 *   p -= lr wd p;  m = b1 m + (1-b1) g;  v = b2 v + (1-b2) g^2
 *   p -= lr/(1-b1^t) * m / (sqrt(v)/sqrt(1-b2^t) + eps) */
#include <math.h>
#include "nn/optim_internal.h"

static void adamw_range(void *arg, int64_t begin, int64_t end)
{
    const mcs_update *u = arg;
    const mcs_adamw_opts *o = &u->o->adamw;
    double t = (double)u->o->steps, b1 = (double)o->beta1, b2 = (double)o->beta2;
    float keep = (float)(1 - u->lr * u->decay), step = (float)(u->lr / (1 - pow(b1, t)));
    float root = (float)sqrt(1 - pow(b2, t));
    float *p = u->p, *m = u->state[0], *v = u->state[1];
    for (int64_t i = begin; i < end; i++) {
        float g = u->g[i];
        m[i] += (1 - o->beta1) * (g - m[i]);
        v[i] = o->beta2 * v[i] + (1 - o->beta2) * g * g;
        p[i] = p[i] * keep - step * m[i] / (sqrtf(v[i]) / root + o->eps);
    }
}

mcs_optim *mcs_adamw_new(mcs_params *p, const mcs_adamw_opts *opts)
{
    mcs_optim *o = mcs_optim_new(p, 2, adamw_range);
    if (!o)
        return NULL;
    o->adamw = *opts;
    o->state_names[0] = "exp_avg";
    o->state_names[1] = "exp_avg_sq";
    return o;
}
