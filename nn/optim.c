/* optim.c - the part that optimisers share: state per weight, the loop over the store, clipping. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "nn/optim_internal.h"

enum { BLOCK = 16384 };

mcs_optim *mcs_optim_new(mcs_params *p, int states, mcs_body *update)
{
    mcs_optim *o = calloc(1, sizeof *o);
    if (!o)
        return NULL;
    o->params = p;
    o->states = states;
    o->update = update;
    o->count = mcs_params_count(p);
    o->state = calloc((size_t)(o->count * states) + 1, sizeof *o->state);
    if (!o->state) {
        free(o);
        return NULL;
    }
    return o;
}

void mcs_optim_free(mcs_optim *o)
{
    if (!o)
        return;
    for (int64_t i = 0; i < o->count * o->states; i++)
        free(o->state[i]);
    free(o->state);
    free(o);
}

int mcs_optim_state_count(const mcs_optim *o) { return o->states; }
const char *mcs_optim_state_name(const mcs_optim *o, int which) { return o->state_names[which]; }
int64_t mcs_optim_steps(const mcs_optim *o) { return o->steps; }
void mcs_optim_set_steps(mcs_optim *o, int64_t steps) { o->steps = steps; }

float *mcs_optim_state(mcs_optim *o, int64_t i, int which)
{
    return o->state[which * o->count + i];
}

float *mcs_optim_state_make(mcs_optim *o, int64_t i, int which)
{
    float **s = &o->state[which * o->count + i];
    if (!*s) {
        int64_t n = mcs_numel(mcs_params_at(o->params, i).tensor);
        *s = calloc(n ? (size_t)n : 1, sizeof **s);
    }
    return *s;
}

static bool decays(const mcs_tensor *x) { return x->ndim >= 2; }

static mcs_status step_weight(mcs_optim *o, mcs_pool *pool, int64_t i, double lr, mcs_error *e)
{
    mcs_param_entry w = mcs_params_at(o->params, i);
    double decay = o->states == 2 ? (double)o->adamw.weight_decay : (double)o->sgd.weight_decay;
    mcs_update u = { .p = w.tensor->data, .g = w.tensor->node->grad, .lr = lr,
                     .decay = decays(w.tensor) ? decay : 0, .o = o };
    for (int s = 0; s < o->states; s++) {
        u.state[s] = mcs_optim_state_make(o, i, s);
        if (!u.state[s])
            return mcs_error_set(e, MCS_ENOMEM, "optimiser: out of memory for the state of %s",
                                 w.name);
    }
    mcs_pool_for(pool, mcs_numel(w.tensor), BLOCK, o->update, &u);
    return MCS_OK;
}

mcs_status mcs_optim_step(mcs_optim *o, mcs_pool *pool, double lr, mcs_error *e)
{
    o->steps++;
    for (int64_t i = 0; i < o->count; i++) {
        const mcs_tensor *x = mcs_params_at(o->params, i).tensor;
        if (x->node && x->node->grad && x->data && step_weight(o, pool, i, lr, e) != MCS_OK)
            return MCS_ENOMEM;
    }
    mcs_params_touch(o->params);
    return MCS_OK;
}

/* ---- the norm of all gradients ---- */

typedef struct { float *g; double *sums; float scale; } norm_args;

static void square_range(void *arg, int64_t begin, int64_t end)
{
    const norm_args *a = arg;
    double sum = 0;
    for (int64_t i = begin; i < end; i++)
        sum += (double)a->g[i] * (double)a->g[i];
    a->sums[begin / BLOCK % 64] = sum;
}

static void scale_range(void *arg, int64_t begin, int64_t end)
{
    const norm_args *a = arg;
    for (int64_t i = begin; i < end; i++)
        a->g[i] *= a->scale;
}

/* 64 blocks at a time, so that the partial sums need no allocation. */
static double square_sum(float *g, int64_t n, mcs_pool *pool)
{
    double sums[64], total = 0;
    for (int64_t at = 0; at < n; at += 64 * BLOCK) {
        int64_t part = n - at < 64 * BLOCK ? n - at : 64 * BLOCK;
        norm_args a = { g + at, sums, 0 };
        mcs_pool_for(pool, part, BLOCK, square_range, &a);
        for (int64_t i = 0; i < mcs_range_count(part, BLOCK); i++)
            total += sums[i];
    }
    return total;
}

double mcs_grad_norm(const mcs_params *p, mcs_pool *pool)
{
    double total = 0;
    for (int64_t i = 0; i < mcs_params_count(p); i++) {
        const mcs_tensor *x = mcs_params_at(p, i).tensor;
        if (x->node && x->node->grad)
            total += square_sum(x->node->grad, mcs_numel(x), pool);
    }
    return sqrt(total);
}

double mcs_grad_clip(mcs_params *p, mcs_pool *pool, double max_norm)
{
    double norm = mcs_grad_norm(p, pool), scale = max_norm / (norm + 1e-6);
    if (!(scale < 1))
        return norm;
    for (int64_t i = 0; i < mcs_params_count(p); i++) {
        const mcs_tensor *x = mcs_params_at(p, i).tensor;
        if (!x->node || !x->node->grad)
            continue;
        norm_args a = { x->node->grad, NULL, (float)scale };
        mcs_pool_for(pool, mcs_numel(x), BLOCK, scale_range, &a);
    }
    return norm;
}
