/* optim_state.c - moments of an optimiser to and from safetensors. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "weights/optim_state.h"

enum { META_MAX = 32, NAME_MAX_BYTES = 300 };
static const char steps_key[] = "mcs.optim.steps";

/* ---- Writing ---- */

typedef struct {
    mcs_save_entry *list;
    char (*names)[NAME_MAX_BYTES];
    int64_t count;
} state_list;

static void collect(state_list *l, mcs_optim *o, const mcs_params *p)
{
    for (int which = 0; which < mcs_optim_state_count(o); which++)
        for (int64_t i = 0; i < mcs_params_count(p); i++) {
            mcs_param_entry w = mcs_params_at(p, i);
            const float *values = mcs_optim_state(o, i, which);
            if (!values)
                continue;
            char *name = l->names[l->count];
            snprintf(name, NAME_MAX_BYTES, "%s.%s", mcs_optim_state_name(o, which), w.name);
            mcs_save_entry *s = &l->list[l->count++];
            *s = (mcs_save_entry){ .name = name,
                                   .dtype = MCS_ST_F32,
                                   .ndim = w.tensor->ndim,
                                   .data = values,
                                   .source = MCS_F32 };
            memcpy(s->shape, w.tensor->shape, sizeof w.tensor->shape);
        }
}

mcs_status mcs_optim_save(mcs_optim *o, const mcs_params *p, const char *path,
                          const char *const *meta, mcs_error *e)
{
    size_t room = (size_t)(mcs_params_count(p) * mcs_optim_state_count(o)) + 1, n = 2;
    state_list l = { calloc(room, sizeof *l.list), calloc(room, sizeof *l.names), 0 };
    const char *all[2 * META_MAX + 3] = { steps_key };
    char steps[32];
    mcs_status s = MCS_OK;
    snprintf(steps, sizeof steps, "%lld", (long long)mcs_optim_steps(o));
    all[1] = steps;
    while (meta && *meta && n < 2 * META_MAX)
        all[n++] = *meta++;
    if (!l.list || !l.names)
        s = mcs_error_set(e, MCS_ENOMEM, "%s: out of memory", path);
    if (s == MCS_OK) {
        collect(&l, o, p);
        s = mcs_safetensors_write(path, l.count, l.list, all, e);
    }
    free(l.list);
    free(l.names);
    return s;
}

/* ---- Reading ---- */

static mcs_status read_one(mcs_checkpoint *k, const mcs_stored *t, const mcs_tensor *x, float *dst,
                           mcs_error *e)
{
    bool fits = t->ndim == x->ndim;
    for (int i = 0; fits && i < x->ndim; i++)
        fits = t->shape[i] == x->shape[i];
    if (!fits)
        return mcs_error_set(e, MCS_ESHAPE,
                             "%s: '%s' has another shape than its weight: a state "
                             "of another model",
                             mcs_checkpoint_path(k), t->name);
    mcs_status s = mcs_checkpoint_read_f32(k, t, dst, e);
    for (int64_t i = 0; s == MCS_OK && i < t->numel; i++)
        if (!isfinite(dst[i]))
            s = mcs_error_set(e, MCS_ENUMERIC, "%s: '%s' is not finite", mcs_checkpoint_path(k),
                              t->name);
    return s;
}

static mcs_status read_weight(mcs_optim *o, const mcs_params *p, int64_t i, mcs_checkpoint *k,
                              int64_t *used, mcs_error *e)
{
    mcs_param_entry w = mcs_params_at(p, i);
    int found = 0, count = mcs_optim_state_count(o);
    for (int which = 0; which < count; which++) {
        char name[NAME_MAX_BYTES];
        snprintf(name, sizeof name, "%s.%s", mcs_optim_state_name(o, which), w.name);
        const mcs_stored *t = mcs_checkpoint_find(k, name);
        if (!t)
            continue;
        float *dst = mcs_optim_state_make(o, i, which);
        if (!dst)
            return mcs_error_set(e, MCS_ENOMEM, "optimiser: out of memory for %s", w.name);
        if (read_one(k, t, w.tensor, dst, e) != MCS_OK)
            return e ? e->status : MCS_EFORMAT;
        found++;
    }
    *used += found;
    if (found && found != count)
        return mcs_error_set(e, MCS_EFORMAT, "%s: holds a part of the state of '%s' only",
                             mcs_checkpoint_path(k), w.name);
    return MCS_OK;
}

mcs_status mcs_optim_load(mcs_optim *o, const mcs_params *p, mcs_checkpoint *k, mcs_error *e)
{
    mcs_error local = { 0 };
    e = e ? e : &local;
    const char *steps = mcs_checkpoint_meta(k, steps_key);
    char *end = NULL;
    long long n = steps ? strtoll(steps, &end, 10) : -1;
    if (n < 0 || !end || *end || end == steps)
        return mcs_error_set(e, MCS_ENOTFOUND,
                             "%s: no %s in the metadata: not the state of an "
                             "optimiser",
                             mcs_checkpoint_path(k), steps_key);
    int64_t used = 0;
    for (int64_t i = 0; i < mcs_params_count(p); i++) {
        mcs_status s = read_weight(o, p, i, k, &used, e);
        if (s != MCS_OK)
            return s;
    }
    if (used != mcs_checkpoint_count(k))
        return mcs_error_set(e, MCS_ENOTFOUND,
                             "%s: %lld of its %lld tensors belong to no weight "
                             "of this model or optimiser",
                             mcs_checkpoint_path(k), (long long)(mcs_checkpoint_count(k) - used),
                             (long long)mcs_checkpoint_count(k));
    mcs_optim_set_steps(o, n);
    return MCS_OK;
}
