/* cli_run_order.c - which pictures the steps of an epoch see, for trainers with one set of them. */
#include <stdlib.h>
#include "models/sampler.h"
#include "tools/cli_run.h"

int cli_run_order_make(cli *t, int64_t count, int64_t batch, cli_run_order *o)
{
    if (batch > count)
        cli_warn(t, "there are only %lld pictures: batches of %lld instead of %lld",
                 (long long)count, (long long)count, (long long)batch);
    *o = (cli_run_order){ .count = count,
                          .batch = batch < count ? batch : count,
                          .at = malloc((size_t)count * sizeof *o->at),
                          .epoch = -1 };
    return o->at ? CLI_CONTINUE : cli_error(t, CLI_NO_MEMORY, "out of memory");
}

int cli_run_order_draw(cli *t, cli_run_order *o, int64_t epoch)
{
    mcs_error e = { 0 };
    const mcs_sampler s = { .count = o->count, .batch = o->batch, .seed = (uint64_t)t->seed };
    if (o->epoch == epoch)
        return CLI_CONTINUE;
    o->epoch = epoch;
    return mcs_sampler_epoch(&s, epoch, o->at, &e) == MCS_OK ? CLI_CONTINUE : cli_die(t, &e, false);
}

int64_t cli_run_order_steps(const cli_run_order *o)
{
    return o->count / o->batch;
}
