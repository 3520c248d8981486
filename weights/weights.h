/* weights.h - checkpoints: reading .safetensors and PyTorch files, loading them into a store,
 * writing .safetensors.  Nothing in a file is ever executed. */
#ifndef MCS_WEIGHTS_H
#define MCS_WEIGHTS_H
#include <stdio.h>
#include "nn/nn.h"

typedef enum {                      /* as stored in the file */
    MCS_ST_F64, MCS_ST_F32, MCS_ST_F16, MCS_ST_BF16,
    MCS_ST_I64, MCS_ST_I32, MCS_ST_I16, MCS_ST_I8, MCS_ST_U8, MCS_ST_BOOL,
    MCS_ST_U64, MCS_ST_U32, MCS_ST_U16, MCS_ST_F8_E4M3, MCS_ST_F8_E5M2,
    MCS_ST_COUNT
} mcs_stored_dtype;
const char *mcs_stored_name(mcs_stored_dtype t);        /* "F32": the safetensors spelling */
int mcs_stored_size(mcs_stored_dtype t);                /* bytes of an element */

typedef struct mcs_checkpoint mcs_checkpoint;   /* an opened file: names, shapes, offsets */
typedef struct {
    const char *name;               /* full name: keys of nested dictionaries joined by '.' */
    mcs_stored_dtype dtype;
    int ndim;
    int64_t shape[8];
    int64_t numel;
} mcs_stored;

/* Opens by content, not by extension: safetensors, a PyTorch zip (>= 1.6) or a legacy PyTorch
 * file.  Reads and checks the directory of tensors, no values.  NULL: see e. */
mcs_checkpoint *mcs_checkpoint_open(const char *path, mcs_error *e);
void mcs_checkpoint_close(mcs_checkpoint *k);           /* Nullable */
const char *mcs_checkpoint_path(const mcs_checkpoint *k);
const char *mcs_checkpoint_format(const mcs_checkpoint *k);     /* "safetensors", "pytorch zip", "pytorch legacy" */
int64_t mcs_checkpoint_count(const mcs_checkpoint *k);
const mcs_stored *mcs_checkpoint_at(const mcs_checkpoint *k, int64_t i);    /* in file order */
const mcs_stored *mcs_checkpoint_find(const mcs_checkpoint *k, const char *name);   /* NULL if absent */
/* A value of the safetensors __metadata__ object; NULL if absent. */
const char *mcs_checkpoint_meta(const mcs_checkpoint *k, const char *key);
/* Its i-th key and value, in file order; false past the end. */
bool mcs_checkpoint_meta_at(const mcs_checkpoint *k, int64_t i, const char **key,
                            const char **value);
/* The i-th Python name ("torch._utils._rebuild_tensor_v2") that loading this file in Python
 * would import; NULL past the end.  Here nothing is imported or called. */
const char *mcs_checkpoint_import(const mcs_checkpoint *k, int64_t i);
/* The whole number `key` of the JSON object in the metadata "mcs.config", from lo to hi; *value
 * stays as it is without such metadata or key.  MCS_EFORMAT: malformed or out of range. */
mcs_status mcs_checkpoint_config_int(const mcs_checkpoint *k, const char *key, int64_t lo,
                                     int64_t hi, int64_t *value, mcs_error *e) MCS_MUST_CHECK;
/* Values converted to float, numel of them, row-major (views are gathered). */
mcs_status mcs_checkpoint_read_f32(mcs_checkpoint *k, const mcs_stored *t, float *dst,
                                   mcs_error *e) MCS_MUST_CHECK;
mcs_status mcs_checkpoint_read_i64(mcs_checkpoint *k, const mcs_stored *t, int64_t *dst,
                                   mcs_error *e) MCS_MUST_CHECK;
/* The general form: numel elements of type `as`.  Anything converts to a float type (rounding to
 * nearest even; float8 is read only), integers convert to integer types they fit in. */
mcs_status mcs_checkpoint_read_as(mcs_checkpoint *k, const mcs_stored *t, mcs_stored_dtype as,
                                  void *dst, mcs_error *e) MCS_MUST_CHECK;
/* The tensor in a context: I64 for integer types, else F32.  NULL: mcs_ctx_message(c). */
mcs_tensor *mcs_checkpoint_tensor(mcs_ctx *c, mcs_checkpoint *k, const char *name);

enum {
    MCS_LOAD_STRICT = 0,            /* every declared name present, no name unused */
    MCS_LOAD_ALLOW_MISSING = 1,
    MCS_LOAD_ALLOW_UNEXPECTED = 2,
    MCS_LOAD_ALLOW_NAN = 4          /* else NaN or infinity in a weight is MCS_ENUMERIC */
};
/* Fills the store from names "<prefix><declared name>", read once into 64-byte aligned f32.
 * prefix: dropped from the file's names; names without it are no concern of this load; "" for
 * none, NULL to find one among "", "module.", "model.", "state_dict.", "model.module.", ... (the
 * one under which most declared names exist).  ignore: NULL-terminated list of name suffixes
 * that are neither missing nor unexpected (Nullable), e.g. "position_ids".  On failure the
 * message lists missing, unexpected and misshapen names (the first few of each, and counts) and
 * the store is unchanged.  Missing or unexpected: MCS_ENOTFOUND; only shapes: MCS_ESHAPE. */
mcs_status mcs_params_load(mcs_params *p, mcs_checkpoint *k, const char *prefix,
                           const char *const *ignore, int flags, mcs_error *e) MCS_MUST_CHECK;

/* Writes the store as safetensors: temporary file in the same folder, fsync, rename.
 * meta: key, value, ..., NULL strings for __metadata__ (Nullable).  dtype: F32, F16 or BF16 for the
 * weights; buffers (running statistics) stay F32. */
mcs_status mcs_params_save(const mcs_params *p, const char *path, const char *const *meta,
                           mcs_stored_dtype dtype, mcs_error *e) MCS_MUST_CHECK;

/* The same for any list of tensors. */
typedef struct {
    const char *name;
    mcs_stored_dtype dtype;         /* what is written; data is converted from `source` */
    int ndim;
    int64_t shape[8];
    const void *data;
    mcs_dtype source;               /* F32, I64 or U8 */
} mcs_save_entry;
mcs_status mcs_safetensors_write(const char *path, int64_t count, const mcs_save_entry *entries,
                                 const char *const *meta, mcs_error *e) MCS_MUST_CHECK;

/* The same one tensor at a time, for files larger than memory: data and source of the entries
 * are ignored, fetch returns the elements of entry i in entries[i].dtype, valid until the next
 * call (NULL: failed, see e). */
typedef const void *mcs_fetch(void *arg, int64_t i, mcs_error *e);
mcs_status mcs_safetensors_write_from(const char *path, int64_t count,
                                      const mcs_save_entry *entries, const char *const *meta,
                                      mcs_fetch *fetch, void *arg, mcs_error *e) MCS_MUST_CHECK;
#endif
