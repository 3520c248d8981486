/* sampler.h - the order of training: which samples make up the batches of an epoch, as a pure
 * function of (seed, epoch), so that a resumed run sees what the uninterrupted one would. */
#ifndef MCS_SAMPLER_H
#define MCS_SAMPLER_H
#include <stdint.h>
#include "tensor/status.h"

/* 0 .. n-1 in an order drawn from (seed, stream): Fisher and Yates' shuffle. */
void mcs_permutation(int64_t *order, int64_t n, uint64_t seed, uint64_t stream);
/* A whole number in [0, n), n >= 1, drawn from (seed, stream). */
int64_t mcs_random_below(uint64_t seed, uint64_t stream, int64_t n);

typedef struct {
    int64_t count; /* samples */
    int64_t batch; /* samples in a batch, 1 .. count */
    const int32_t *kind; /* Nullable; kind of each sample, 0 .. kinds-1 */
    int kinds;
    double same_kind; /* share of each kind's samples that come in batches of that kind alone */
    uint64_t seed;
} mcs_sampler;

/* Batches of an epoch, the same for all epochs: count / batch, the incomplete one being dropped. */
int64_t mcs_sampler_batches(const mcs_sampler *s);
/* order gets mcs_sampler_batches() * batch samples, batch after batch; none occurs twice.
 * MCS_EINVAL: batch, same_kind or a kind out of range; MCS_ENOMEM. */
mcs_status mcs_sampler_epoch(const mcs_sampler *s, int64_t epoch, int64_t *order,
                             mcs_error *e) MCS_MUST_CHECK;
#endif
