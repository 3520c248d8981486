/* cli_train_epoch.c - which samples the steps of an epoch see. */
#include <stdlib.h>
#include "tools/cli_train.h"

const cli_pairs *tr_epoch_pairs(const tr_run *r, int64_t epoch)
{
    return &r->train[epoch % r->o->train_data.count];
}

int64_t tr_samples(const tr_run *r, const cli_pairs *p)
{
    return r->o->captions > 1 ? p->images : p->count;
}

int64_t tr_steps_before(const tr_run *r, int64_t epoch)
{
    int64_t tables = r->o->train_data.count, sum = 0;
    for (int64_t i = 0; i < tables; i++) {
        int64_t times = epoch / tables + (i < epoch % tables); /* that table i was taken */
        sum += times * (tr_samples(r, &r->train[i]) / r->batch);
    }
    return sum;
}

int tr_order_epoch(tr_run *r, int64_t epoch)
{
    mcs_error e = { 0 };
    const cli_pairs *p = tr_epoch_pairs(r, epoch);
    int64_t n = tr_samples(r, p);
    if (r->order_epoch == epoch)
        return CLI_CONTINUE;
    int32_t *kind = malloc((size_t)n * sizeof *kind);
    int64_t *order = realloc(r->order, (size_t)n * sizeof *order);
    r->order = order ? order : r->order;
    if (!kind || !order) {
        free(kind);
        return cli_error(r->t, CLI_NO_MEMORY, "out of memory for %lld samples", (long long)n);
    }
    for (int64_t i = 0; i < n; i++)
        kind[i] = p->items[r->o->captions > 1 ? p->rows[p->first[i]] : i].kind;
    const mcs_sampler s = { .count = n,
                            .batch = r->batch,
                            .kind = kind,
                            .kinds = p->kinds,
                            .same_kind = (double)r->o->same_kind,
                            .seed = (uint64_t)r->t->seed };
    mcs_status status = mcs_sampler_epoch(&s, epoch, order, &e);
    free(kind);
    r->order_epoch = epoch;
    return status == MCS_OK ? CLI_CONTINUE : cli_die(r->t, &e, false);
}
