/* sampler.c - batches of an epoch.
 *
 * All samples are shuffled.  Of each kind, the first floor(share * its count / batch) full batches
 * in that order become batches of one kind (hard negatives: they differ in more than the kind);
 * the others are mixed in shuffled order.  Then the batches are shuffled.  The number of batches
 * depends on the counts alone. */
#include "models/sampler.h"
#include <stdlib.h>
#include <string.h>
#include "tensor/op.h"

/* Draws of 64 bits modulo n: the bias is below n / 2^64. */
static uint64_t draw(uint64_t seed, uint64_t stream, uint64_t counter)
{
    const uint64_t key[2] = { seed, stream };
    uint32_t r[4];
    mcs_philox(key, counter, r);
    return (uint64_t)r[0] << 32 | r[1];
}

int64_t mcs_random_below(uint64_t seed, uint64_t stream, int64_t n)
{
    return (int64_t)(draw(seed, stream, 0) % (uint64_t)n);
}

void mcs_permutation(int64_t *order, int64_t n, uint64_t seed, uint64_t stream)
{
    for (int64_t i = 0; i < n; i++)
        order[i] = i;
    for (int64_t i = n - 1; i > 0; i--) {
        int64_t j = (int64_t)(draw(seed, stream, (uint64_t)i) % (uint64_t)(i + 1));
        int64_t swapped = order[i];
        order[i] = order[j];
        order[j] = swapped;
    }
}

int64_t mcs_sampler_batches(const mcs_sampler *s)
{
    return s->batch > 0 ? s->count / s->batch : 0;
}

typedef struct {
    int64_t *count, *taken; /* by kind: samples; those already in batches of the kind */
    int64_t *quota, *start; /* samples for such batches, where these begin */
} kinds;

/* Lays out batches of one kind first, then the mixed ones; false: a kind is out of range. */
static bool arrange(const mcs_sampler *s, const int64_t *shuffled, kinds *k, int64_t *order)
{
    int64_t total = mcs_sampler_batches(s) * s->batch, mixed = 0;
    for (int64_t i = 0; i < s->count; i++) {
        if (s->kind[i] < 0 || s->kind[i] >= s->kinds)
            return false;
        k->count[s->kind[i]]++;
    }
    for (int i = 0; i < s->kinds; i++) {
        int64_t batches = (int64_t)(s->same_kind * (double)k->count[i]) / s->batch;
        k->quota[i] = batches * s->batch;
        k->start[i] = mixed;
        mixed += k->quota[i];
    }
    for (int64_t i = 0; i < s->count; i++) {
        int32_t kind = s->kind[shuffled[i]];
        if (k->taken[kind] < k->quota[kind])
            order[k->start[kind] + k->taken[kind]++] = shuffled[i];
        else if (mixed < total)
            order[mixed++] = shuffled[i];
    }
    return true;
}

static void shuffle_batches(const mcs_sampler *s, int64_t epoch, int64_t *order, int64_t *perm,
                            int64_t *copy)
{
    int64_t n = mcs_sampler_batches(s);
    memcpy(copy, order, (size_t)(n * s->batch) * sizeof *copy);
    mcs_permutation(perm, n, s->seed, 2 * (uint64_t)epoch + 1);
    for (int64_t i = 0; i < n; i++)
        memcpy(order + i * s->batch, copy + perm[i] * s->batch, (size_t)s->batch * sizeof *order);
}

mcs_status mcs_sampler_epoch(const mcs_sampler *s, int64_t epoch, int64_t *order, mcs_error *e)
{
    if (s->batch < 1 || s->batch > s->count || !(s->same_kind >= 0 && s->same_kind <= 1))
        return mcs_error_set(e, MCS_EINVAL,
                             "sampler: batches of %lld from %lld samples, share of one kind %g",
                             (long long)s->batch, (long long)s->count, s->same_kind);
    int64_t n = mcs_sampler_batches(s) * s->batch;
    bool by_kind = s->kind && s->same_kind > 0;
    int64_t *shuffled = malloc((size_t)s->count * 2 * sizeof *shuffled);
    int64_t *table = calloc((size_t)(by_kind ? s->kinds : 0) * 4 + 1, sizeof *table);
    mcs_status status = MCS_OK;
    if (!shuffled || !table) {
        status = mcs_error_set(e, MCS_ENOMEM, "sampler: out of memory");
    } else {
        mcs_permutation(shuffled, s->count, s->seed, 2 * (uint64_t)epoch);
        int64_t k = by_kind ? s->kinds : 0;
        kinds all = { table, table + k, table + 2 * k, table + 3 * k };
        if (!by_kind)
            memcpy(order, shuffled, (size_t)n * sizeof *order);
        else if (arrange(s, shuffled, &all, order))
            shuffle_batches(s, epoch, order, shuffled, shuffled + s->count);
        else
            status = mcs_error_set(e, MCS_EINVAL, "sampler: a kind is not in 0..%d", s->kinds - 1);
    }
    free(shuffled);
    free(table);
    return status;
}
