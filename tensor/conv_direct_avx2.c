/* conv_direct_avx2.c - direct convolution with 32-byte vectors.  The target is set here, not by
 * compiler flags, so that nothing else of the library uses these instructions unasked; the system
 * headers come first, their inline functions must stay at the baseline. */
#if defined(__x86_64__)
#include <immintrin.h>
#include "tensor/conv_tile_internal.h"
#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx2,fma"))), apply_to = function)
#else
#pragma GCC target("avx2,fma")
#endif
#define DIRECT_NAME "avx2"
#define DIRECT_TABLE mcs_direct_avx2
enum { W = 8, ROWS = 4, SUM_ROWS = 4, SUM_TAPS = 3 }; /* accumulators: 12 of 16 registers */
#define V __m256
#define LOAD _mm256_loadu_ps
#define STORE _mm256_storeu_ps
#define SET1 _mm256_set1_ps
#define FMA _mm256_fmadd_ps
#define ADD _mm256_add_ps
#define ZERO _mm256_setzero_ps
static inline __attribute__((always_inline)) float SUM(__m256 x)
{
    __m128 a = _mm_add_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps(x, 1));
    a = _mm_add_ps(a, _mm_movehl_ps(a, a));
    return _mm_cvtss_f32(_mm_add_ss(a, _mm_shuffle_ps(a, a, 1)));
}
#include "tensor/conv_kernels_internal.h"
#if defined(__clang__)
#pragma clang attribute pop
#endif
#else
typedef int mcs_direct_avx2_unused; /* ISO C forbids an empty translation unit */
#endif
