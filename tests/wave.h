/* wave.h - the wave(seed) of the golden makers: pictures and gradients of outputs that need no
 * file. */
#ifndef MCS_TEST_WAVE_H
#define MCS_TEST_WAVE_H
#include "tests/check.h"

/* Value i, in [-0.5, 0.5). */
static inline float wave_at(int64_t i, int64_t seed)
{
    return (float)((double)((i * 7919 + seed * 104729) % 2003) / 2003.0 - 0.5);
}

static inline mcs_tensor *wave(mcs_ctx *c, int64_t seed, float scale, int ndim,
                               const int64_t *shape)
{
    mcs_tensor *x = mcs_new(c, ndim, shape);
    check_ok(c);
    for (int64_t i = 0; i < mcs_numel(x); i++)
        mcs_f32(x)[i] = scale * wave_at(i, seed);
    return x;
}
#endif
