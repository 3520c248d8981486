/* vec_base.c - the kernels for the baseline of the architecture: 16-byte vectors. */
#define VEC_BYTES 16
#define VEC_TABLE mcs_vec_base
#define VEC_NAME "base"
#include "tensor/vec_kernels.h"
