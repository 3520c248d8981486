/* safetensors.c - the header of a .safetensors file.
 *
 *   8 bytes      N, little-endian
 *   N bytes      JSON: { "name": { "dtype": "F32", "shape": [..], "data_offsets": [a, b] }, ...,
 *                        "__metadata__": { "key": "value", ... } }, padded with spaces
 *   the rest     values; [a, b) counts from here
 *
 * Format: https://huggingface.co/docs/safetensors.  Stricter than the format where it leaves
 * room: 16 MB of header, no unknown keys, offsets that tile the data exactly (no hole, no
 * overlap, nothing after), so that a file has one reading and cannot also be a zip or a pickle.
 * jansson rejects duplicate keys (after unescaping), bad UTF-8, NUL in strings, numbers that do
 * not fit int64 and nesting deeper than 2048. */
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include "weights/weights_internal.h"

typedef struct {
    const char *name;
    size_t name_bytes;
    mcs_stored_dtype dtype;
    int64_t ndim;
    int64_t shape[MCS_FILE_DIMS];
    uint64_t begin, end;
    int64_t order; /* in the header: sorting stays stable */
} st_entry;

static mcs_status st_bad(const mcs_checkpoint *k, const st_entry *t, mcs_error *e, const char *what)
{
    char q[128];
    return mcs_error_set(e, MCS_EFORMAT, "%s: safetensors: tensor '%s': %s", k->source.path,
                         mcs_quote(q, sizeof q, t->name, t->name_bytes), what);
}

static bool st_dtype(const char *s, mcs_stored_dtype *out)
{
    for (int t = 0; t < MCS_ST_COUNT; t++)
        if (strcmp(s, mcs_stored_name((mcs_stored_dtype)t)) == 0) {
            *out = (mcs_stored_dtype)t;
            return true;
        }
    return false;
}

static bool json_natural(const json_t *v, int64_t *out)
{
    if (!json_is_integer(v) || json_integer_value(v) < 0)
        return false;
    *out = json_integer_value(v);
    return true;
}

static mcs_status st_shape(const mcs_checkpoint *k, st_entry *t, const json_t *v, mcs_error *e)
{
    if (!json_is_array(v))
        return st_bad(k, t, e, "'shape' must be a list");
    if (json_array_size(v) > MCS_FILE_DIMS)
        return st_bad(k, t, e, "more than 8 dimensions");
    t->ndim = (int64_t)json_array_size(v);
    for (size_t d = 0; d < (size_t)t->ndim; d++)
        if (!json_natural(json_array_get(v, d), &t->shape[d]))
            return st_bad(k, t, e, "'shape' must hold integers >= 0");
    return MCS_OK;
}

static mcs_status st_offsets(const mcs_checkpoint *k, st_entry *t, const json_t *v, uint64_t data,
                             mcs_error *e)
{
    int64_t a, b;
    uint64_t bytes = (uint64_t)mcs_stored_size(t->dtype);
    if (!json_is_array(v) || json_array_size(v) != 2 || !json_natural(json_array_get(v, 0), &a) ||
        !json_natural(json_array_get(v, 1), &b))
        return st_bad(k, t, e, "'data_offsets' must be two integers >= 0");
    if (a > b)
        return st_bad(k, t, e, "'data_offsets' are reversed");
    if ((uint64_t)b > data)
        return st_bad(k, t, e, "'data_offsets' reach past the end of the file");
    for (int64_t d = 0; d < t->ndim; d++)
        if (!mcs_mul_u64(bytes, (uint64_t)t->shape[d], &bytes))
            return st_bad(k, t, e, "its size overflows");
    if (bytes != (uint64_t)(b - a))
        return st_bad(k, t, e, "its bytes are not shape times element size");
    t->begin = (uint64_t)a;
    t->end = (uint64_t)b;
    return MCS_OK;
}

static mcs_status st_tensor(const mcs_checkpoint *k, st_entry *t, json_t *v, uint64_t data,
                            mcs_error *e)
{
    const json_t *dtype = json_object_get(v, "dtype"), *shape = json_object_get(v, "shape");
    const json_t *offsets = json_object_get(v, "data_offsets");
    char text[160], q[128];
    if (!dtype || !shape || !offsets || json_object_size(v) != 3)
        return st_bad(k, t, e, "must have exactly 'dtype', 'shape' and 'data_offsets'");
    if (!json_is_string(dtype))
        return st_bad(k, t, e, "'dtype' must be a string");
    if (!st_dtype(json_string_value(dtype), &t->dtype)) {
        snprintf(text, sizeof text, "unknown dtype '%s'",
                 mcs_quote(q, sizeof q, json_string_value(dtype), json_string_length(dtype)));
        return st_bad(k, t, e, text);
    }
    mcs_status s = st_shape(k, t, shape, e);
    return s == MCS_OK ? st_offsets(k, t, offsets, data, e) : s;
}

static mcs_status st_metadata(mcs_checkpoint *k, json_t *v, mcs_error *e)
{
    if (!json_is_object(v))
        return mcs_error_set(e, MCS_EFORMAT, "%s: safetensors: __metadata__ must be an object",
                             k->source.path);
    size_t n = json_object_size(v);
    k->meta = calloc(2 * n + 1, sizeof *k->meta);
    if (!k->meta)
        return mcs_error_set(e, MCS_ENOMEM, "%s: out of memory", k->source.path);
    const char *key;
    json_t *value;
    json_object_foreach(v, key, value)
    {
        if (!json_is_string(value))
            return mcs_error_set(e, MCS_EFORMAT,
                                 "%s: safetensors: __metadata__ must map strings to strings",
                                 k->source.path);
        const char *a = mcs_checkpoint_text(k, key, strlen(key), e);
        const char *b =
            mcs_checkpoint_text(k, json_string_value(value), json_string_length(value), e);
        if (!a || !b)
            return MCS_ENOMEM;
        k->meta[2 * k->meta_count] = a;
        k->meta[2 * k->meta_count++ + 1] = b;
    }
    return MCS_OK;
}

static int by_offset(const void *a, const void *b)
{
    const st_entry *x = a, *y = b;
    if (x->begin != y->begin)
        return x->begin < y->begin ? -1 : 1;
    if (x->end != y->end)
        return x->end < y->end ? -1 : 1;
    return x->order < y->order ? -1 : x->order > y->order;
}

/* Sorted by offset each tensor must begin where the one before ended, up to the last byte. */
static mcs_status st_tile(mcs_checkpoint *k, st_entry *list, int64_t n, uint64_t start,
                          uint64_t data, mcs_error *e)
{
    uint64_t at = 0;
    qsort(list, (size_t)n, sizeof *list, by_offset);
    for (int64_t i = 0; i < n; i++) {
        st_entry *t = &list[i];
        if (t->begin != at)
            return st_bad(k, t, e,
                          t->begin < at ? "its data overlaps another tensor's"
                                        : "there is a hole before its data");
        int64_t blob = mcs_checkpoint_add_blob(
            k, (mcs_blob){ .offset = start + t->begin, .bytes = t->end - t->begin }, e);
        if (blob < 0)
            return MCS_ENOMEM;
        mcs_status s = mcs_checkpoint_add(k, t->name, t->name_bytes, t->dtype, t->ndim, t->shape,
                                          NULL, blob, 0, e);
        if (s != MCS_OK)
            return s;
        at = t->end;
    }
    if (at != data)
        return mcs_error_set(e, MCS_EFORMAT,
                             "%s: safetensors: %llu bytes after the last tensor belong to none",
                             k->source.path, (unsigned long long)(data - at));
    return MCS_OK;
}

static mcs_status st_object(mcs_checkpoint *k, json_t *root, uint64_t start, mcs_error *e)
{
    uint64_t data = k->source.size - start;
    int64_t n = 0;
    const char *key;
    json_t *v;
    if (json_object_size(root) > MCS_TENSORS_MAX + 1)
        return mcs_error_set(e, MCS_EFORMAT, "%s: safetensors: more than %d tensors",
                             k->source.path, MCS_TENSORS_MAX);
    st_entry *list = calloc(json_object_size(root) + 1, sizeof *list);
    if (!list)
        return mcs_error_set(e, MCS_ENOMEM, "%s: out of memory", k->source.path);
    mcs_status s = MCS_OK;
    json_object_foreach(root, key, v)
    {
        if (strcmp(key, "__metadata__") == 0) {
            s = st_metadata(k, v, e);
        } else {
            list[n] = (st_entry){ .name = key, .name_bytes = strlen(key), .order = n };
            s = json_is_object(v) ? st_tensor(k, &list[n], v, data, e)
                                  : st_bad(k, &list[n], e, "its description is not an object");
            n++;
        }
        if (s != MCS_OK)
            break;
    }
    if (s == MCS_OK)
        s = st_tile(k, list, n, start, data, e);
    free(list);
    return s;
}

static mcs_status st_parse(mcs_checkpoint *k, const char *header, size_t n, mcs_error *e)
{
    char q[JSON_ERROR_TEXT_LENGTH + 8];
    json_error_t je;
    if (n == 0 || header[0] != '{')
        return mcs_error_set(e, MCS_EFORMAT, "%s: safetensors: the header does not start with '{'",
                             k->source.path);
    json_t *root = json_loadb(header, n, JSON_REJECT_DUPLICATES, &je);
    if (!root && (!je.text[0] || json_error_code(&je) == json_error_out_of_memory))
        return mcs_error_set(e, MCS_ENOMEM, "%s: out of memory", k->source.path);
    if (!root)
        return mcs_error_set(e, MCS_EFORMAT, "%s: safetensors: header, byte %d: %s", k->source.path,
                             je.position, mcs_quote(q, sizeof q, je.text, strlen(je.text)));
    mcs_status s = st_object(k, root, 8 + (uint64_t)n, e);
    json_decref(root);
    return s;
}

mcs_status mcs_safetensors_read(mcs_checkpoint *k, mcs_error *e)
{
    uint8_t head[8];
    mcs_status s = mcs_source_read(&k->source, 0, head, sizeof head, e);
    if (s != MCS_OK)
        return s;
    uint64_t n = mcs_le64(head);
    k->format = "safetensors";
    if (n > MCS_HEADER_MAX)
        return mcs_error_set(e, MCS_EFORMAT,
                             "%s: neither a safetensors file (its header would have %llu bytes, "
                             "the limit is %u) nor a PyTorch file",
                             k->source.path, (unsigned long long)n, MCS_HEADER_MAX);
    if (n > k->source.size - 8)
        return mcs_error_set(
            e, MCS_EFORMAT, "%s: safetensors: a header of %llu bytes in a file of %llu: cut short",
            k->source.path, (unsigned long long)n, (unsigned long long)k->source.size);
    char *header = malloc((size_t)n + 1);
    if (!header)
        return mcs_error_set(e, MCS_ENOMEM, "%s: out of memory", k->source.path);
    s = mcs_source_read(&k->source, 8, header, n, e);
    if (s == MCS_OK)
        s = st_parse(k, header, (size_t)n, e);
    free(header);
    return s;
}
