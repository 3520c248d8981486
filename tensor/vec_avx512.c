/* vec_avx512.c - the kernels with 64-byte vectors.
 *
 * The target is set here, not by compiler flags, so that nothing else of the library uses these
 * instructions unasked.  The system headers come first: their inline functions must stay at the
 * baseline. */
#if defined(__x86_64__)
#include <immintrin.h>
#include <math.h>
#include <string.h>
#include "tensor/vec.h"
#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx512f,avx512dq,avx512vl"))),                 \
                             apply_to = function)
#else
#pragma GCC target("avx512f,avx512dq,avx512vl")
#endif
#define VEC_BYTES 64
#define VEC_TABLE mcs_vec_avx512
#define VEC_NAME "avx512"
#include "tensor/vec_kernels.h"
#if defined(__clang__)
#pragma clang attribute pop
#endif
#else
typedef int mcs_vec_avx512_unused; /* ISO C forbids an empty translation unit */
#endif
