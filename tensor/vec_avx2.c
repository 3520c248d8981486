/* vec_avx2.c - the kernels with 32-byte vectors.
 *
 * The target is set here, not by compiler flags, so that nothing else of the library uses these
 * instructions unasked.  The system headers come first: their inline functions must stay at the
 * baseline. */
#if defined(__x86_64__)
#include <math.h>
#include <string.h>
#include "tensor/vec.h"
#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx2"))), apply_to = function)
#else
#pragma GCC target("avx2")
#endif
#define VEC_BYTES 32
#define VEC_TABLE mcs_vec_avx2
#define VEC_NAME "avx2"
#include "tensor/vec_kernels.h"
#if defined(__clang__)
#pragma clang attribute pop
#endif
#else
typedef int mcs_vec_avx2_unused; /* ISO C forbids an empty translation unit */
#endif
