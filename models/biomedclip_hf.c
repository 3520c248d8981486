/* biomedclip_hf.c - reads and writes BiomedCLIP in the layout of MedCLIP-SAMv2's port.
 *
 * Each of our weights is one tensor there, or three (q, k, v) that lie in ours one after the
 * other; leading dimensions of size 1 may be squeezed.  All names and shapes are checked before
 * the first value is read. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "models/biomedclip_internal.h"

enum { LISTED = 4 };

typedef struct {
    const mcs_stored *part[MCS_CLIP_PARTS_MAX];
    int parts;
} source;

/* Names of one kind of fault: the first few, and how many there are. */
typedef struct {
    char text[600];
    int count;
} fault_list;

static void add_fault(fault_list *f, const char *name)
{
    size_t used = strlen(f->text);
    if (f->count++ < LISTED)
        snprintf(f->text + used, sizeof f->text - used, "%s%.120s", used ? ", " : "", name);
}

/* Equal shapes but for leading ones; ours has `parts` times the rows. */
static bool shape_fits(const mcs_stored *t, const mcs_tensor *ours, int parts)
{
    int a = 0, b = 0;
    while (a < t->ndim && t->shape[a] == 1)
        a++;
    while (b < ours->ndim && ours->shape[b] == 1)
        b++;
    if (t->ndim - a != ours->ndim - b)
        return false;
    for (int i = 0; a + i < t->ndim; i++)
        if (t->shape[a + i] * (i == 0 ? parts : 1) != ours->shape[b + i])
            return false;
    return t->numel * parts == mcs_numel(ours);
}

static int compare_stored(const void *a, const void *b)
{
    const mcs_stored *const *x = a, *const *y = b;
    return strcmp((*x)->name, (*y)->name);
}

static bool ends_in(const char *name, const char *const *endings)
{
    for (; *endings; endings++) {
        size_t n = strlen(name), m = strlen(*endings);
        if (n >= m && !strcmp(name + n - m, *endings))
            return true;
    }
    return false;
}

static void find_unexpected(const mcs_checkpoint *k, const char *prefix, const mcs_stored **used,
                            size_t count, fault_list *unexpected)
{
    qsort(used, count, sizeof *used, compare_stored);
    for (int64_t i = 0; i < mcs_checkpoint_count(k); i++) {
        const mcs_stored *t = mcs_checkpoint_at(k, i);
        if (!strncmp(t->name, prefix, strlen(prefix)) && !ends_in(t->name, mcs_clip_ignored) &&
            !bsearch(&t, used, count, sizeof *used, compare_stored))
            add_fault(unexpected, t->name);
    }
}

static mcs_status report(const mcs_checkpoint *k, const fault_list *missing,
                         const fault_list *unexpected, const fault_list *misshapen, mcs_error *e)
{
    return mcs_error_set(e, missing->count || unexpected->count ? MCS_ENOTFOUND : MCS_ESHAPE,
                         "%s: %d weights missing (%s), %d unexpected (%s), %d of another shape "
                         "(%s)",
                         mcs_checkpoint_path(k), missing->count, missing->text, unexpected->count,
                         unexpected->text, misshapen->count, misshapen->text);
}

/* Fills src[i] with the stored tensors of weight i; faults are all reported at once. */
static mcs_status resolve(const mcs_params *p, const mcs_checkpoint *k, const char *prefix,
                          int flags, source *src, const mcs_stored **used, mcs_error *e)
{
    fault_list missing = { .count = 0 }, unexpected = { .count = 0 }, misshapen = { .count = 0 };
    size_t count = 0;
    for (int64_t i = 0; i < mcs_params_count(p); i++) {
        char name[MCS_CLIP_PARTS_MAX][MCS_CLIP_NAME_MAX], full[2 * MCS_CLIP_NAME_MAX];
        mcs_param_entry entry = mcs_params_at(p, i);
        src[i].parts = mcs_clip_hf_names(entry.name, name);
        for (int j = 0; j < src[i].parts; j++) {
            snprintf(full, sizeof full, "%s%s", prefix, name[j]);
            const mcs_stored *t = src[i].part[j] = mcs_checkpoint_find(k, full);
            if (!t)
                add_fault(&missing, full);
            else if (!shape_fits(t, entry.tensor, src[i].parts))
                add_fault(&misshapen, full);
            if (t)
                used[count++] = t;
        }
    }
    find_unexpected(k, prefix, used, count, &unexpected);
    if ((missing.count && !(flags & MCS_LOAD_ALLOW_MISSING)) || misshapen.count ||
        (unexpected.count && !(flags & MCS_LOAD_ALLOW_UNEXPECTED)))
        return report(k, &missing, &unexpected, &misshapen, e);
    return MCS_OK;
}

static mcs_status read_one(mcs_params *p, mcs_checkpoint *k, int64_t i, const source *src,
                           int flags, mcs_error *e)
{
    int64_t numel = mcs_numel(mcs_params_at(p, i).tensor), each = numel / src->parts;
    for (int j = 0; j < src->parts; j++)
        if (!src->part[j])
            return MCS_OK; /* allowed to be missing */
    float *data = mcs_params_data(p, i);
    if (!data)
        return mcs_error_set(e, MCS_ENOMEM, "%s", mcs_params_message(p));
    for (int j = 0; j < src->parts; j++) {
        mcs_status s = mcs_checkpoint_read_f32(k, src->part[j], data + j * each, e);
        if (s)
            return s;
    }
    for (int64_t n = 0; n < numel && !(flags & MCS_LOAD_ALLOW_NAN); n++)
        if (!isfinite(data[n]))
            return mcs_error_set(e, MCS_ENUMERIC, "%s: %s holds NaN or infinity",
                                 mcs_checkpoint_path(k), src->part[n / each]->name);
    return MCS_OK;
}

mcs_status mcs_clip_load_hf(mcs_params *p, mcs_checkpoint *k, const char *prefix, int flags,
                            mcs_error *e)
{
    int64_t n = mcs_params_count(p);
    source *src = calloc((size_t)n, sizeof *src);
    const mcs_stored **used = calloc((size_t)n * MCS_CLIP_PARTS_MAX, sizeof *used);
    mcs_status s = src && used ? resolve(p, k, prefix, flags, src, used, e)
                               : mcs_error_set(e, MCS_ENOMEM, "BiomedCLIP: out of memory");
    for (int64_t i = 0; i < n && !s; i++)
        s = read_one(p, k, i, &src[i], flags, e);
    free(src);
    free(used);
    return s;
}

mcs_status mcs_clip_save_hf(const mcs_params *p, const char *path, const char *const *meta,
                            mcs_stored_dtype dtype, mcs_error *e)
{
    size_t n = (size_t)mcs_params_count(p) * MCS_CLIP_PARTS_MAX, count = 0;
    mcs_save_entry *out = calloc(n, sizeof *out);
    char(*names)[MCS_CLIP_NAME_MAX] = calloc(n, sizeof *names);
    for (int64_t i = 0; out && names && i < mcs_params_count(p); i++) {
        char part[MCS_CLIP_PARTS_MAX][MCS_CLIP_NAME_MAX];
        const mcs_tensor *t = mcs_params_at(p, i).tensor;
        int parts = mcs_clip_hf_names(mcs_params_at(p, i).name, part);
        bool squeeze = t->ndim == 3; /* cls_token (1,1,C), pos_embed (1,1+N,C) */
        for (int j = 0; j < parts; j++, count++) {
            mcs_save_entry *s = &out[count];
            memcpy(names[count], part[j], MCS_CLIP_NAME_MAX);
            *s = (mcs_save_entry){ .name = names[count], .dtype = dtype, .source = MCS_F32 };
            for (int d = 0; d < t->ndim; d++)
                if (!squeeze || t->shape[d] != 1)
                    s->shape[s->ndim++] = t->shape[d] / (d == 0 ? parts : 1);
            s->data = mcs_f32(t) + mcs_numel(t) / parts * j;
        }
    }
    mcs_status s = out && names ? mcs_safetensors_write(path, (int64_t)count, out, meta, e)
                                : mcs_error_set(e, MCS_ENOMEM, "BiomedCLIP: out of memory");
    free(out);
    free(names);
    return s;
}
