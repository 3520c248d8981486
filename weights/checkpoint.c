/* checkpoint.c - what all formats of checkpoints share: the list of records, look-up by name.
 *
 * Every size is checked here, once, before anything is allocated for values: name, number of
 * dimensions, product of the shape, the extent of a strided view inside its blob.  Names are
 * sorted (not hashed: a file could be made to collide) for look-up and to refuse duplicates. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "weights/weights_internal.h"

/* Strings live in chunks so that 100 000 names are not 100 000 allocations. */
struct mcs_text {
    mcs_text *next;
    size_t used, size;
    char bytes[];
};

enum {
    TEXT_CHUNK = 64 * 1024,
    EXPANDED_MAX = 65536 /* elements a view may repeat beyond those its storage holds */
};

const char *mcs_checkpoint_text(mcs_checkpoint *k, const char *s, size_t n, mcs_error *e)
{
    if (!k->text || k->text->size - k->text->used < n + 1) {
        size_t size = n + 1 > TEXT_CHUNK ? n + 1 : TEXT_CHUNK;
        mcs_text *t = malloc(sizeof *t + size);
        if (!t) {
            mcs_error_set(e, MCS_ENOMEM, "%s: out of memory for names", k->source.path);
            return NULL;
        }
        *t = (mcs_text){ .next = k->text, .size = size };
        k->text = t;
    }
    char *p = k->text->bytes + k->text->used;
    memcpy(p, s, n);
    p[n] = 0;
    k->text->used += n + 1;
    return p;
}

const char *mcs_quote(char *buf, size_t size, const char *s, size_t n)
{
    size_t shown = n > 80 ? 80 : n, j = 0;
    for (size_t i = 0; i < shown && j + 5 < size; i++) {
        unsigned char ch = (unsigned char)s[i];
        if (ch >= 0x20 && ch != 0x7f && ch < 0x80)
            buf[j++] = (char)ch;
        else
            j += (size_t)snprintf(buf + j, size - j, "\\x%02x", ch);
    }
    snprintf(buf + j, size - j, "%s", shown < n ? "..." : "");
    return buf;
}

/* Doubles *list of *capacity elements of `size` bytes when count has reached it. */
static bool grow(void **list, int64_t *capacity, int64_t count, size_t size)
{
    if (count < *capacity)
        return true;
    int64_t c = *capacity ? *capacity * 2 : 64;
    void *p = realloc(*list, (size_t)c * size);
    if (!p)
        return false;
    *list = p;
    *capacity = c;
    return true;
}

int64_t mcs_checkpoint_add_blob(mcs_checkpoint *k, mcs_blob b, mcs_error *e)
{
    void *list = k->blobs;
    if (!grow(&list, &k->blob_capacity, k->blob_count, sizeof *k->blobs)) {
        mcs_error_set(e, MCS_ENOMEM, "%s: out of memory", k->source.path);
        return -1;
    }
    k->blobs = list;
    k->blobs[k->blob_count] = b;
    return k->blob_count++;
}

/* Number of elements and row-major strides; false: overflow or a negative dimension. */
static bool shape_extent(int64_t ndim, const int64_t *shape, int64_t *numel, int64_t *stride)
{
    int64_t n = 1, run = 1;
    for (int64_t d = ndim - 1; d >= 0; d--) {
        if (shape[d] < 0 || __builtin_mul_overflow(n, shape[d], &n))
            return false;
        stride[d] = run;
        /* a dimension of 0 makes numel 0: its neighbours must still not overflow */
        if (__builtin_mul_overflow(run, shape[d] ? shape[d] : 1, &run))
            return false;
    }
    *numel = n;
    return true;
}

/* The view's last element lies inside `elements`; false: it does not, or overflow. */
static bool view_fits(const mcs_record *r, uint64_t elements)
{
    uint64_t last = 0, step;
    for (int d = 0; d < r->info.ndim; d++)
        if (r->stride[d] < 0 ||
            !mcs_mul_u64((uint64_t)r->stride[d], (uint64_t)r->info.shape[d] - 1, &step) ||
            !mcs_add_u64(last, step, &last))
            return false;
    return last < elements;
}

static mcs_status check_view(const mcs_checkpoint *k, mcs_record *r, const int64_t *rows,
                             const char *name, mcs_error *e)
{
    const mcs_blob *b = &k->blobs[r->blob];
    uint64_t size = (uint64_t)mcs_stored_size(r->info.dtype);
    uint64_t elements = r->begin <= b->bytes ? (b->bytes - r->begin) / size : 0;
    if (r->info.numel == 0) {
        r->contiguous = true;
        return MCS_OK;
    }
    if (!view_fits(r, elements))
        return mcs_error_set(e, MCS_EFORMAT,
                             "%s: tensor '%s' reaches past the end of its storage of %llu bytes",
                             k->source.path, name, (unsigned long long)b->bytes);
    if ((uint64_t)r->info.numel > b->bytes / size && r->info.numel > EXPANDED_MAX)
        return mcs_error_set(e, MCS_EFORMAT,
                             "%s: tensor '%s' repeats %llu stored elements to %lld; "
                             "save a .contiguous() copy of it",
                             k->source.path, name, (unsigned long long)(b->bytes / size),
                             (long long)r->info.numel);
    r->contiguous = true;
    for (int d = 0; d < r->info.ndim; d++)
        if (r->info.shape[d] > 1 && r->stride[d] != rows[d])
            r->contiguous = false;
    return MCS_OK;
}

mcs_status mcs_checkpoint_add(mcs_checkpoint *k, const char *name, size_t name_bytes,
                              mcs_stored_dtype dtype, int64_t ndim, const int64_t *shape,
                              const int64_t *stride, int64_t blob, uint64_t begin, mcs_error *e)
{
    char q[128];
    int64_t rows[MCS_FILE_DIMS] = { 0 };
    void *list = k->records;
    const char *path = k->source.path;
    mcs_quote(q, sizeof q, name, name_bytes);
    if (k->count >= MCS_TENSORS_MAX)
        return mcs_error_set(e, MCS_EFORMAT, "%s: more than %d tensors", path, MCS_TENSORS_MAX);
    if (name_bytes == 0 || name_bytes > MCS_NAME_MAX || memchr(name, 0, name_bytes))
        return mcs_error_set(e, MCS_EFORMAT,
                             "%s: tensor name '%s' is empty, longer than %d bytes or has a NUL",
                             path, q, MCS_NAME_MAX);
    if (ndim < 0 || ndim > MCS_FILE_DIMS)
        return mcs_error_set(e, MCS_EFORMAT, "%s: tensor '%s' has %lld dimensions; the limit is %d",
                             path, q, (long long)ndim, MCS_FILE_DIMS);
    mcs_record r = { .info = { .dtype = dtype, .ndim = (int)ndim }, .begin = begin, .blob = blob };
    uint64_t bytes;
    if (!shape_extent(ndim, shape, &r.info.numel, rows) ||
        !mcs_mul_u64((uint64_t)r.info.numel, (uint64_t)mcs_stored_size(dtype), &bytes) ||
        bytes > INT64_MAX)
        return mcs_error_set(e, MCS_EFORMAT,
                             "%s: the shape of tensor '%s' is negative or its size overflows", path,
                             q);
    for (int d = 0; d < r.info.ndim; d++) {
        r.info.shape[d] = shape[d];
        r.stride[d] = stride ? stride[d] : rows[d];
    }
    if (check_view(k, &r, rows, q, e) != MCS_OK)
        return MCS_EFORMAT;
    r.info.name = mcs_checkpoint_text(k, name, name_bytes, e);
    if (!r.info.name)
        return MCS_ENOMEM;
    if (!grow(&list, &k->capacity, k->count, sizeof *k->records))
        return mcs_error_set(e, MCS_ENOMEM, "%s: out of memory", path);
    k->records = list;
    k->records[k->count++] = r;
    return MCS_OK;
}

static int by_name(const void *a, const void *b)
{
    const mcs_record *x = *(const mcs_record *const *)a, *y = *(const mcs_record *const *)b;
    return strcmp(x->info.name, y->info.name);
}

/* Sorts the names; refuses duplicates and a total that no such file can need. */
static mcs_status index_names(mcs_checkpoint *k, mcs_error *e)
{
    char q[128];
    uint64_t total = 0, limit = 16 * (k->source.size < UINT64_MAX / 32 ? k->source.size : 0);
    k->sorted = malloc((size_t)(k->count ? k->count : 1) * sizeof *k->sorted);
    if (!k->sorted)
        return mcs_error_set(e, MCS_ENOMEM, "%s: out of memory", k->source.path);
    for (int64_t i = 0; i < k->count; i++) {
        const mcs_stored *t = &k->records[i].info;
        k->sorted[i] = &k->records[i];
        if (!mcs_add_u64(total, (uint64_t)t->numel * (uint64_t)mcs_stored_size(t->dtype), &total))
            total = UINT64_MAX;
    }
    if (total > limit + (64u << 20))
        return mcs_error_set(e, MCS_EFORMAT,
                             "%s: the tensors share storages so often that they add up to %llu "
                             "bytes in a file of %llu",
                             k->source.path, (unsigned long long)total,
                             (unsigned long long)k->source.size);
    qsort(k->sorted, (size_t)k->count, sizeof *k->sorted, by_name);
    for (int64_t i = 1; i < k->count; i++) {
        const char *name = k->sorted[i]->info.name;
        if (strcmp(k->sorted[i - 1]->info.name, name) == 0)
            return mcs_error_set(e, MCS_EFORMAT, "%s: tensor '%s' is there twice", k->source.path,
                                 mcs_quote(q, sizeof q, name, strlen(name)));
    }
    return MCS_OK;
}

/* Formats are told apart by their first bytes: an extension can lie.  A safetensors header of
 * 0x04034b50 or more bytes would exceed the limit, so nothing has two readings. */
static mcs_status read_directory(mcs_checkpoint *k, mcs_error *e)
{
    uint8_t head[512] = { 0 };
    uint64_t n = k->source.size < sizeof head ? k->source.size : sizeof head;
    if (n < 9)
        return mcs_error_set(e, MCS_EFORMAT, "%s: %llu bytes are too few for a checkpoint",
                             k->source.path, (unsigned long long)n);
    mcs_status s = mcs_source_read(&k->source, 0, head, n, e);
    if (s != MCS_OK)
        return s;
    if (memcmp(head + 257, "ustar", 5) == 0)
        return mcs_error_set(e, MCS_EFORMAT,
                             "%s: a tar file, as the first PyTorch releases wrote; load it in "
                             "PyTorch and save it again",
                             k->source.path);
    if (memcmp(head, "PK\3\4", 4) == 0)
        return mcs_torch_zip_read(k, e);
    if (head[0] == 0x80 && head[8] != '{')
        return mcs_torch_legacy_read(k, e);
    return mcs_safetensors_read(k, e);
}

static mcs_checkpoint *checkpoint_new(const char *path, mcs_error *e)
{
    mcs_checkpoint *k = calloc(1, sizeof *k);
    size_t n = strlen(path);
    if (!k) {
        mcs_error_set(e, MCS_ENOMEM, "%s: out of memory", path);
        return NULL;
    }
    k->source = (mcs_source){ .fd = -1, .path = path };
    k->source.path = mcs_checkpoint_text(k, path, n, e);
    if (!k->source.path) {
        free(k);
        return NULL;
    }
    return k;
}

static mcs_checkpoint *checkpoint_finish(mcs_checkpoint *k, mcs_error *e)
{
    if (read_directory(k, e) == MCS_OK && index_names(k, e) == MCS_OK)
        return k;
    mcs_checkpoint_close(k);
    return NULL;
}

mcs_checkpoint *mcs_checkpoint_open(const char *path, mcs_error *e)
{
    mcs_error local = { 0 };
    e = e ? e : &local;
    if (!path || e->status != MCS_OK) {
        mcs_error_set(e, MCS_EINVAL, "checkpoint: no path given");
        return NULL;
    }
    mcs_checkpoint *k = checkpoint_new(path, e);
    if (!k)
        return NULL;
    if (mcs_source_open(&k->source, k->source.path, e) != MCS_OK) {
        mcs_checkpoint_close(k);
        return NULL;
    }
    return checkpoint_finish(k, e);
}

mcs_checkpoint *mcs_checkpoint_open_memory(const void *data, size_t n, const char *label,
                                           mcs_error *e)
{
    mcs_checkpoint *k = checkpoint_new(label, e);
    if (!k)
        return NULL;
    k->source.memory = data;
    k->source.size = n;
    return checkpoint_finish(k, e);
}

void mcs_checkpoint_close(mcs_checkpoint *k)
{
    if (!k)
        return;
    mcs_source_close(&k->source);
    free(k->records);
    free(k->blobs);
    free(k->sorted);
    free(k->meta);
    free(k->imports);
    while (k->text) {
        mcs_text *next = k->text->next;
        free(k->text);
        k->text = next;
    }
    free(k);
}

const char *mcs_checkpoint_path(const mcs_checkpoint *k)
{
    return k->source.path;
}
const char *mcs_checkpoint_format(const mcs_checkpoint *k)
{
    return k->format;
}
int64_t mcs_checkpoint_count(const mcs_checkpoint *k)
{
    return k->count;
}

const mcs_stored *mcs_checkpoint_at(const mcs_checkpoint *k, int64_t i)
{
    return i >= 0 && i < k->count ? &k->records[i].info : NULL;
}

const mcs_stored *mcs_checkpoint_find(const mcs_checkpoint *k, const char *name)
{
    int64_t low = 0, high = k->count;
    while (low < high) {
        int64_t mid = low + (high - low) / 2;
        int order = strcmp(name, k->sorted[mid]->info.name);
        if (order == 0)
            return &k->sorted[mid]->info;
        if (order < 0)
            high = mid;
        else
            low = mid + 1;
    }
    return NULL;
}

bool mcs_checkpoint_meta_at(const mcs_checkpoint *k, int64_t i, const char **key,
                            const char **value)
{
    if (i < 0 || i >= k->meta_count)
        return false;
    *key = k->meta[2 * i];
    *value = k->meta[2 * i + 1];
    return true;
}

const char *mcs_checkpoint_meta(const mcs_checkpoint *k, const char *key)
{
    for (int64_t i = 0; i < k->meta_count; i++)
        if (strcmp(k->meta[2 * i], key) == 0)
            return k->meta[2 * i + 1];
    return NULL;
}

const char *mcs_checkpoint_import(const mcs_checkpoint *k, int64_t i)
{
    return i >= 0 && i < k->import_count ? k->imports[i] : NULL;
}
