/* vec.c - choice of the kernels by processor feature bits, never by model (virtual machines mask
 * the model).  __builtin_cpu_supports also asks whether the system saves the wide registers. */
#include <stddef.h>
#include "tensor/vec.h"

#if defined(__x86_64__)
static int level(void)
{
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
        __builtin_cpu_supports("avx512vl"))
        return 2;
    return __builtin_cpu_supports("avx2") ? 1 : 0;
}

const mcs_vec *mcs_vec_at(int i)
{
    if (i < 0 || i > level())
        return NULL;
    return i == 2 ? &mcs_vec_avx512 : i == 1 ? &mcs_vec_avx2 : &mcs_vec_base;
}

const mcs_vec *mcs_vec_get(void)
{
    return mcs_vec_at(level());
}
#else
const mcs_vec *mcs_vec_at(int i)
{
    return i == 0 ? &mcs_vec_base : NULL;
}

const mcs_vec *mcs_vec_get(void)
{
    return &mcs_vec_base;
}
#endif
