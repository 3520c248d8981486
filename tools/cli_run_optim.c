/* cli_run_optim.c - which weights are trained, and one update of them. */
#include <math.h>
#include "tools/cli_run.h"

int cli_run_freeze(const cli_run *r)
{
    int64_t trained = 0;
    for (int i = 0; i < r->o->freeze.count; i++)
        if (mcs_params_train(r->params, r->o->freeze.items[i], false) != MCS_OK)
            return cli_error(r->t, CLI_BAD_USAGE, "--freeze: %s", mcs_params_message(r->params));
    for (int64_t i = 0; i < mcs_params_count(r->params); i++) {
        const mcs_tensor *x = mcs_params_at(r->params, i).tensor;
        trained += x->node ? mcs_numel(x) : 0;
    }
    if (!trained)
        return cli_error(r->t, CLI_BAD_USAGE, "all weights are frozen: nothing to train");
    cli_detail(r->t, "%lld of %lld weights are trained", (long long)trained,
               (long long)mcs_params_numel(r->params));
    return CLI_CONTINUE;
}

int cli_run_adamw(cli_run *r)
{
    const cli_run_opts *o = r->o;
    r->optim = mcs_adamw_new(r->params, &(mcs_adamw_opts){ o->beta1, o->beta2, o->eps, o->wd });
    return r->optim ? CLI_CONTINUE
                    : cli_error(r->t, CLI_NO_MEMORY, "out of memory for the optimiser");
}

int cli_run_ready(cli_run *r, const char *resume)
{
    int code = cli_run_freeze(r);
    if (code == CLI_CONTINUE)
        code = cli_run_adamw(r);
    return code == CLI_CONTINUE && *resume ? cli_run_load(r, resume) : code;
}

int cli_run_update(cli_run *r, mcs_pool *pool, double lr, double *norm)
{
    mcs_error e = { 0 };
    *norm = r->o->clip_norm > 0 ? mcs_grad_clip(r->params, pool, (double)r->o->clip_norm)
                                : mcs_grad_norm(r->params, pool);
    if (!isfinite(*norm))
        return cli_error(r->t, CLI_NOT_FINITE,
                         "the gradient is not finite at step %lld; the last checkpoint is kept, "
                         "try a lower --lr",
                         (long long)r->s->step);
    return mcs_optim_step(r->optim, pool, lr, &e) == MCS_OK ? CLI_CONTINUE
                                                            : cli_die(r->t, &e, false);
}

int cli_run_failed(const cli_run *r, mcs_ctx *c)
{
    if (mcs_ctx_status(c) != MCS_ENUMERIC)
        return cli_die(r->t, mcs_ctx_error(c), false);
    return cli_error(r->t, CLI_NOT_FINITE,
                     "step %lld: %s; the last checkpoint is kept, try a lower --lr",
                     (long long)r->s->step, mcs_ctx_message(c));
}

size_t cli_run_sizes(const json_t *root, const cli_run_size *sizes, size_t n, const char **wrong)
{
    size_t known = 0;
    for (size_t i = 0; i < n; i++) {
        const json_t *from = sizes[i].part ? json_object_get(root, sizes[i].part) : root;
        const json_t *v = json_object_get(from, sizes[i].key);
        if (!v)
            continue;
        known++;
        if (json_is_integer(v) && json_integer_value(v) > 0 && json_integer_value(v) < 1 << 24)
            *sizes[i].value = (int)json_integer_value(v);
        else
            *wrong = sizes[i].key;
    }
    return known;
}
