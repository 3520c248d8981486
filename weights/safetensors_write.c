/* safetensors_write.c - .safetensors files that are there whole or not at all.
 *
 * Written to a temporary file in the same folder, fsync'ed, renamed over the target, and the
 * folder fsync'ed: after a crash or a full disk the old file stands as it was.  The header is
 * padded to 8 bytes and wider elements come first, so that every tensor is aligned in the file.
 * What the reader refuses (names, dimensions, sizes) is refused here too. */
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>
#include "weights/weights_internal.h"

enum { WRITE_CHUNK = 64 * 1024 /* elements */ };

typedef struct {
    const char *path;
    char *temporary;
    int fd;
    int64_t count;
    const mcs_save_entry *entries;
    int64_t *order; /* wider elements first */
    uint64_t *bytes; /* of each entry */
    uint64_t total; /* header included */
    char *header; /* 8 bytes of length, then JSON */
    size_t header_bytes;
    mcs_fetch *fetch;
    void *arg;
} writer;

static mcs_status write_failed(const writer *w, const char *what, mcs_error *e)
{
    struct statvfs fs;
    int err = errno;
    char room[96] = "";
    if (err == ENOSPC && w->fd >= 0 && fstatvfs(w->fd, &fs) == 0)
        snprintf(room, sizeof room, "; %llu bytes needed, %llu free", (unsigned long long)w->total,
                 (unsigned long long)fs.f_bavail * fs.f_frsize);
    return mcs_error_set(e, MCS_EIO, "%s: %s: %s%s", w->path, what, strerror(err), room);
}

static mcs_status put(const writer *w, const void *data, uint64_t n, mcs_error *e)
{
    const uint8_t *p = data;
    while (n > 0) {
        ssize_t done = write(w->fd, p, n < (1u << 30) ? (size_t)n : (size_t)1 << 30);
        if (done < 0 && errno == EINTR)
            continue;
        if (done <= 0)
            return write_failed(w, "cannot write", e);
        p += done;
        n -= (uint64_t)done;
    }
    return MCS_OK;
}

/* ---- Header ---- */

/* jansson refuses other strings without saying whether it was that or memory. */
static bool is_utf8(const char *text)
{
    const uint8_t *s = (const uint8_t *)text;
    while (*s) {
        int more = *s < 0x80   ? 0
                   : *s < 0xc2 ? -1
                   : *s < 0xe0 ? 1
                   : *s < 0xf0 ? 2
                   : *s < 0xf5 ? 3
                               : -1;
        uint32_t code = more <= 0 ? 0 : *s & (0x3fu >> more);
        if (more < 0)
            return false;
        s++;
        for (int i = 0; i < more; i++, s++) {
            if ((*s & 0xc0) != 0x80)
                return false;
            code = code << 6 | (*s & 0x3f);
        }
        if ((more == 2 && code < 0x800) || (more == 3 && (code < 0x10000 || code > 0x10ffff)) ||
            (code >= 0xd800 && code < 0xe000))
            return false;
    }
    return true;
}

static mcs_status entry_bytes(const writer *w, const mcs_save_entry *t, uint64_t *out, mcs_error *e)
{
    uint64_t bytes = (uint64_t)mcs_stored_size(t->dtype);
    if (!t->name || !*t->name || strlen(t->name) > MCS_NAME_MAX ||
        strcmp(t->name, "__metadata__") == 0)
        return mcs_error_set(e, MCS_EINVAL, "%s: a tensor needs a name of 1 to %d bytes", w->path,
                             MCS_NAME_MAX);
    if (!is_utf8(t->name))
        return mcs_error_set(e, MCS_EINVAL, "%s: a tensor's name is not UTF-8", w->path);
    if (bytes == 0 || t->ndim < 0 || t->ndim > MCS_FILE_DIMS)
        return mcs_error_set(e, MCS_EINVAL, "%s: tensor '%s' has no such dtype or %d dimensions",
                             w->path, t->name, t->ndim);
    for (int d = 0; d < t->ndim; d++)
        if (t->shape[d] < 0 || !mcs_mul_u64(bytes, (uint64_t)t->shape[d], &bytes))
            return mcs_error_set(e, MCS_ESHAPE, "%s: the size of tensor '%s' overflows", w->path,
                                 t->name);
    if (!w->fetch && bytes > 0 && !t->data)
        return mcs_error_set(e, MCS_EINVAL, "%s: tensor '%s' has no data", w->path, t->name);
    if (!w->fetch && t->source == MCS_F32 && !mcs_stored_is_float(t->dtype))
        return mcs_error_set(e, MCS_EINVAL, "%s: tensor '%s' is float, cannot be written as %s",
                             w->path, t->name, mcs_stored_name(t->dtype));
    *out = bytes;
    return MCS_OK;
}

/* Stable order by element size, largest first. */
static void sort_entries(writer *w)
{
    int64_t n = 0;
    for (int size = 8; size >= 1; size /= 2)
        for (int64_t i = 0; i < w->count; i++)
            if (mcs_stored_size(w->entries[i].dtype) == size)
                w->order[n++] = i;
}

static mcs_status measure(writer *w, mcs_error *e)
{
    if (w->count < 0 || w->count > MCS_TENSORS_MAX)
        return mcs_error_set(e, MCS_EINVAL, "%s: %lld tensors; the limit is %d", w->path,
                             (long long)w->count, MCS_TENSORS_MAX);
    w->order = calloc((size_t)w->count + 1, sizeof *w->order);
    w->bytes = calloc((size_t)w->count + 1, sizeof *w->bytes);
    if (!w->order || !w->bytes)
        return mcs_error_set(e, MCS_ENOMEM, "%s: out of memory", w->path);
    for (int64_t i = 0; i < w->count; i++) {
        mcs_status s = entry_bytes(w, &w->entries[i], &w->bytes[i], e);
        if (s != MCS_OK)
            return s;
        if (!mcs_add_u64(w->total, w->bytes[i], &w->total) || w->total > INT64_MAX)
            return mcs_error_set(e, MCS_ESHAPE, "%s: the total size overflows", w->path);
    }
    sort_entries(w);
    return MCS_OK;
}

/* NULL: out of memory */
static json_t *entry_json(const mcs_save_entry *t, uint64_t begin, uint64_t end)
{
    json_t *shape = json_array();
    for (int d = 0; shape && d < t->ndim; d++)
        if (json_array_append_new(shape, json_integer(t->shape[d])) != 0) {
            json_decref(shape);
            return NULL;
        }
    return json_pack("{s:s, s:o, s:[I, I]}", "dtype", mcs_stored_name(t->dtype), "shape", shape,
                     "data_offsets", (json_int_t)begin, (json_int_t)end);
}

static mcs_status header_json(const writer *w, const char *const *meta, json_t *root, mcs_error *e)
{
    uint64_t at = 0;
    for (int i = 0; meta && meta[i]; i++) {
        if (!is_utf8(meta[i]) || (i % 2 == 0 && !meta[i + 1]))
            return mcs_error_set(e, MCS_EINVAL, "%s: metadata must be pairs of UTF-8 strings",
                                 w->path);
    }
    if (meta && meta[0]) {
        json_t *m = json_object();
        bool ok = m != NULL;
        for (int i = 0; ok && meta[i]; i += 2)
            ok = json_object_set_new(m, meta[i], json_string(meta[i + 1])) == 0;
        if (json_object_set_new(root, "__metadata__", m) != 0 || !ok)
            return mcs_error_set(e, MCS_ENOMEM, "%s: out of memory", w->path);
    }
    for (int64_t i = 0; i < w->count; i++) {
        const mcs_save_entry *t = &w->entries[w->order[i]];
        uint64_t end = at + w->bytes[w->order[i]];
        if (json_object_get(root, t->name))
            return mcs_error_set(e, MCS_EINVAL, "%s: two tensors are named '%s'", w->path, t->name);
        if (json_object_set_new(root, t->name, entry_json(t, at, end)) != 0)
            return mcs_error_set(e, MCS_ENOMEM, "%s: out of memory", w->path);
        at = end;
    }
    return MCS_OK;
}

static mcs_status make_header(writer *w, const char *const *meta, mcs_error *e)
{
    json_t *root = json_object();
    mcs_status s = root ? header_json(w, meta, root, e)
                        : mcs_error_set(e, MCS_ENOMEM, "%s: out of memory", w->path);
    size_t n = s == MCS_OK ? json_dumpb(root, NULL, 0, JSON_COMPACT) : 0;
    size_t padded = (n + 7) / 8 * 8;
    if (s == MCS_OK && padded > MCS_HEADER_MAX)
        s = mcs_error_set(e, MCS_EINVAL, "%s: the header would exceed %u bytes", w->path,
                          MCS_HEADER_MAX);
    if (s == MCS_OK) {
        w->header = malloc(8 + padded);
        if (!w->header || json_dumpb(root, w->header + 8, n, JSON_COMPACT) != n || n == 0)
            s = mcs_error_set(e, MCS_ENOMEM, "%s: out of memory", w->path);
    }
    if (s == MCS_OK) {
        for (int i = 0; i < 8; i++)
            w->header[i] = (char)((uint64_t)padded >> 8 * i);
        memset(w->header + 8 + n, ' ', padded - n);
        w->header_bytes = 8 + padded;
        w->total += w->header_bytes;
    }
    json_decref(root);
    return s;
}

/* ---- Data ---- */

static mcs_status put_converted(const writer *w, const mcs_save_entry *t, uint64_t bytes,
                                mcs_error *e)
{
    mcs_stored_dtype from = t->source == MCS_F32   ? MCS_ST_F32
                            : t->source == MCS_I64 ? MCS_ST_I64
                                                   : MCS_ST_U8;
    size_t in = (size_t)mcs_stored_size(from), out = (size_t)mcs_stored_size(t->dtype);
    const uint8_t *p = t->data;
    if (from == t->dtype)
        return put(w, p, bytes, e);
    uint8_t *chunk = malloc(WRITE_CHUNK * out);
    if (!chunk)
        return mcs_error_set(e, MCS_ENOMEM, "%s: out of memory", w->path);
    mcs_status s = MCS_OK;
    for (uint64_t n = bytes / out; n > 0 && s == MCS_OK;) {
        uint64_t m = n < WRITE_CHUNK ? n : WRITE_CHUNK;
        s = mcs_stored_convert(from, p, t->dtype, chunk, (int64_t)m, e);
        if (s == MCS_OK)
            s = put(w, chunk, m * out, e);
        p += m * in;
        n -= m;
    }
    free(chunk);
    return s;
}

static mcs_status put_tensors(const writer *w, mcs_error *e)
{
    mcs_status s = put(w, w->header, w->header_bytes, e);
    for (int64_t i = 0; i < w->count && s == MCS_OK; i++) {
        int64_t j = w->order[i];
        if (w->bytes[j] == 0)
            continue;
        if (!w->fetch) {
            s = put_converted(w, &w->entries[j], w->bytes[j], e);
            continue;
        }
        const void *data = w->fetch(w->arg, j, e);
        if (!data)
            return e->status != MCS_OK ? e->status
                                       : mcs_error_set(e, MCS_EINVAL, "%s: no data for '%s'",
                                                       w->path, w->entries[j].name);
        s = put(w, data, w->bytes[j], e);
    }
    return s;
}

/* ---- The file ---- */

static mcs_status open_temporary(writer *w, mcs_error *e)
{
    struct stat st;
    size_t n = strlen(w->path) + 64;
    if (stat(w->path, &st) == 0 && !S_ISREG(st.st_mode))
        return mcs_error_set(e, MCS_EIO, "%s: exists and is not a regular file", w->path);
    w->temporary = malloc(n);
    if (!w->temporary)
        return mcs_error_set(e, MCS_ENOMEM, "%s: out of memory", w->path);
    for (int i = 0; i < 100 && w->fd < 0; i++) {
        snprintf(w->temporary, n, "%s.tmp-%ld-%d", w->path, (long)getpid(), i);
        w->fd = open(w->temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
        if (w->fd < 0 && errno != EEXIST)
            break;
    }
    if (w->fd >= 0)
        return MCS_OK;
    mcs_status s = write_failed(w, "cannot create a file beside it", e);
    free(w->temporary);
    w->temporary = NULL;
    return s;
}

/* A folder that cannot be synced (some network file systems) is no reason to fail. */
static void sync_folder(const char *path)
{
    const char *slash = strrchr(path, '/');
    char *folder = slash ? strdup(path) : NULL;
    if (folder)
        folder[slash == path ? 1 : slash - path] = 0;
    int fd = open(folder ? folder : ".", O_RDONLY | O_CLOEXEC);
    if (fd >= 0) {
        (void)fsync(fd);
        close(fd);
    }
    free(folder);
}

static mcs_status publish(writer *w, mcs_error *e)
{
    if (fsync(w->fd) != 0)
        return write_failed(w, "cannot write", e);
    int fd = w->fd;
    w->fd = -1;
    if (close(fd) != 0)
        return write_failed(w, "cannot write", e);
    if (rename(w->temporary, w->path) != 0)
        return write_failed(w, "cannot rename the finished file", e);
    free(w->temporary);
    w->temporary = NULL;
    sync_folder(w->path);
    return MCS_OK;
}

static mcs_status write_file(writer *w, const char *const *meta, mcs_error *e)
{
    mcs_status s = measure(w, e);
    if (s == MCS_OK)
        s = make_header(w, meta, e);
    if (s == MCS_OK)
        s = open_temporary(w, e);
    if (s == MCS_OK)
        s = put_tensors(w, e);
    if (s == MCS_OK)
        s = publish(w, e);
    if (w->fd >= 0)
        close(w->fd);
    if (w->temporary)
        unlink(w->temporary);
    free(w->temporary);
    free(w->header);
    free(w->order);
    free(w->bytes);
    return s;
}

static mcs_status write_checked(writer *w, const char *const *meta, mcs_error *e)
{
    mcs_error local = { 0 };
    e = e ? e : &local;
    if (e->status != MCS_OK)
        return e->status;
    if (!w->path || (w->count > 0 && !w->entries))
        return mcs_error_set(e, MCS_EINVAL, "safetensors: no path or no tensors given");
    return write_file(w, meta, e);
}

mcs_status mcs_safetensors_write(const char *path, int64_t count, const mcs_save_entry *entries,
                                 const char *const *meta, mcs_error *e)
{
    writer w = { .path = path, .fd = -1, .count = count, .entries = entries };
    return write_checked(&w, meta, e);
}

mcs_status mcs_safetensors_write_from(const char *path, int64_t count,
                                      const mcs_save_entry *entries, const char *const *meta,
                                      mcs_fetch *fetch, void *arg, mcs_error *e)
{
    writer w = {
        .path = path, .fd = -1, .count = count, .entries = entries, .fetch = fetch, .arg = arg
    };
    if (!fetch)
        return mcs_error_set(e, MCS_EINVAL, "safetensors: no fetch function given");
    return write_checked(&w, meta, e);
}
