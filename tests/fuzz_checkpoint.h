/* fuzz_checkpoint.h - opens bytes as a checkpoint and reads every tensor in two types.  Aborts if
 * the reader breaks a promise: an error without a message, a tensor larger than is allowed. */
#ifndef MCS_FUZZ_CHECKPOINT_H
#define MCS_FUZZ_CHECKPOINT_H
#include <stdlib.h>
#include <string.h>
#include "weights/weights_internal.h"

static inline void fuzz_read(mcs_checkpoint *k, const mcs_stored *t, mcs_stored_dtype as)
{
    mcs_error e = { 0 };
    void *v = malloc((size_t)t->numel * (size_t)mcs_stored_size(as) + 1);
    if (!v)
        abort();
    if (mcs_checkpoint_read_as(k, t, as, v, &e) != e.status || (e.status && !e.message[0]))
        abort();
    free(v);
}

static inline void fuzz_checkpoint(const void *data, size_t n)
{
    mcs_error e = { 0 };
    uint8_t *copy = malloc(n ? n : 1); /* exact size: reads past the end are seen */
    if (!copy)
        abort();
    if (n)
        memcpy(copy, data, n);
    mcs_checkpoint *k = mcs_checkpoint_open_memory(copy, n, "fuzz", &e);
    if (!k && (e.status == MCS_OK || !e.message[0]))
        abort();
    for (int64_t i = 0; k && i < mcs_checkpoint_count(k) && i < 100; i++) {
        const mcs_stored *t = mcs_checkpoint_at(k, i);
        if (mcs_checkpoint_find(k, t->name) != t)
            abort();
        if ((uint64_t)t->numel * (uint64_t)mcs_stored_size(t->dtype) > n && t->numel > 65536)
            abort();
        fuzz_read(k, t, t->dtype);
        fuzz_read(k, t, mcs_stored_is_float(t->dtype) ? MCS_ST_F32 : MCS_ST_I64);
    }
    mcs_checkpoint_close(k);
    free(copy);
}
#endif
