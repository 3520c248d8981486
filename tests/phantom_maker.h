/* phantom_maker.h - a phantom or the end of the test, and its bytes as one number. */
#ifndef MCS_TEST_PHANTOM_MAKER_H
#define MCS_TEST_PHANTOM_MAKER_H
#include "image/phantom.h"
#include "tests/check.h"

static inline mcs_phantom made(uint64_t seed, uint64_t index, int size)
{
    mcs_phantom p = { 0 };
    mcs_error e = { 0 };
    if (mcs_phantom_make(seed, index, size, &p, &e) != MCS_OK)
        fail_msg("%s", e.message);
    return p;
}

/* FNV-1a of both planes. */
static inline uint64_t hash(const mcs_phantom *p)
{
    uint64_t h = UINT64_C(14695981039346656037);
    for (size_t i = 0, n = (size_t)p->size * (size_t)p->size; i < n; i++) {
        h = (h ^ p->grey[i]) * UINT64_C(1099511628211);
        h = (h ^ p->bits[i]) * UINT64_C(1099511628211);
    }
    return h;
}
#endif
