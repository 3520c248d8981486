/* conv_direct_avx512.c - direct convolution with 64-byte vectors.  The target is set here, not by
 * compiler flags, so that nothing else of the library uses these instructions unasked; the system
 * headers come first, their inline functions must stay at the baseline. */
#if defined(__x86_64__)
#include <immintrin.h>
#include "tensor/conv_tile_internal.h"
#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx512f,avx512dq,avx512vl"))),                 \
                             apply_to = function)
#else
#pragma GCC target("avx512f,avx512dq,avx512vl")
#endif
#define DIRECT_NAME "avx512"
#define DIRECT_TABLE mcs_direct_avx512
enum { W = 16, ROWS = 8, SUM_ROWS = 4, SUM_TAPS = 6 }; /* accumulators: 24 of 32 registers */
#define V __m512
#define LOAD _mm512_loadu_ps
#define STORE _mm512_storeu_ps
#define SET1 _mm512_set1_ps
#define FMA _mm512_fmadd_ps
#define ADD _mm512_add_ps
#define ZERO _mm512_setzero_ps
#define SUM _mm512_reduce_add_ps
#include "tensor/conv_kernels_internal.h"
#if defined(__clang__)
#pragma clang attribute pop
#endif
#else
typedef int mcs_direct_avx512_unused; /* ISO C forbids an empty translation unit */
#endif
