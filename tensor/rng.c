/* rng.c - counter-based random numbers: Philox4x32-10 (Salmon, Moraes, Dror, Shaw, "Parallel
 * random numbers: as easy as 1, 2, 3", SC 2011).  The number of element i of operation k of a
 * stream is a pure function of (seed, stream, k, i), so any split over threads gives the same. */
#include "tensor/ctx_internal.h"

void mcs_next_stream(mcs_ctx *c, uint64_t key[2])
{
    key[0] = c->seed;
    key[1] = (c->stream << 24) ^ c->op_counter++;
}

void mcs_philox(const uint64_t key[2], uint64_t counter, uint32_t out[4])
{
    uint32_t k0 = (uint32_t)key[0], k1 = (uint32_t)(key[0] >> 32);
    uint32_t x0 = (uint32_t)counter, x1 = (uint32_t)(counter >> 32);
    uint32_t x2 = (uint32_t)key[1], x3 = (uint32_t)(key[1] >> 32);
    for (int round = 0; round < 10; round++) {
        uint64_t p0 = (uint64_t)0xD2511F53u * x0, p1 = (uint64_t)0xCD9E8D57u * x2;
        uint32_t y0 = (uint32_t)(p1 >> 32) ^ x1 ^ k0, y2 = (uint32_t)(p0 >> 32) ^ x3 ^ k1;
        x1 = (uint32_t)p1;
        x3 = (uint32_t)p0;
        x0 = y0;
        x2 = y2;
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
    out[0] = x0;
    out[1] = x1;
    out[2] = x2;
    out[3] = x3;
}
