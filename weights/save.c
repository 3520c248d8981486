/* save.c - a parameter store as a safetensors file, names and order as declared. */
#include <stdlib.h>
#include <string.h>
#include "weights/weights_internal.h"

mcs_status mcs_params_save(const mcs_params *p, const char *path, const char *const *meta,
                           mcs_stored_dtype dtype, mcs_error *e)
{
    mcs_error local = { 0 };
    e = e ? e : &local;
    if (!p || !path)
        return mcs_error_set(e, MCS_EINVAL, "save: no store or no path given");
    if (dtype != MCS_ST_F32 && dtype != MCS_ST_F16 && dtype != MCS_ST_BF16)
        return mcs_error_set(e, MCS_EINVAL, "%s: weights are written as F32, F16 or BF16", path);
    int64_t n = mcs_params_count(p);
    mcs_save_entry *list = calloc((size_t)n + 1, sizeof *list);
    if (!list)
        return mcs_error_set(e, MCS_ENOMEM, "%s: out of memory", path);
    mcs_status s = MCS_OK;
    for (int64_t i = 0; i < n && s == MCS_OK; i++) {
        mcs_param_entry entry = mcs_params_at(p, i);
        const mcs_tensor *x = entry.tensor;
        if (!x->data)
            s = mcs_error_set(e, MCS_EINVAL, "%s: weight '%s' has no values yet", path, entry.name);
        /* running statistics stay f32: a variance may exceed f16 */
        list[i] = (mcs_save_entry){ .name = entry.name,
                                    .dtype = entry.buffer ? MCS_ST_F32 : dtype,
                                    .ndim = x->ndim,
                                    .data = x->data,
                                    .source = MCS_F32 };
        memcpy(list[i].shape, x->shape, sizeof x->shape);
    }
    if (s == MCS_OK)
        s = mcs_safetensors_write(path, n, list, meta, e);
    free(list);
    return s;
}
