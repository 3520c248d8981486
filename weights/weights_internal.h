/* weights_internal.h - what the checkpoint readers share.  Not installed.
 *
 * A checkpoint is a list of records (name, dtype, shape, strides) over blobs (runs of bytes of
 * the file).  A reader of a format fills both lists; checkpoint.c then checks what all formats
 * have in common, sorts the names and reads values.  Files are read by pread(), never mapped: a
 * file cut short while it is mapped kills the process. */
#ifndef MCS_WEIGHTS_INTERNAL_H
#define MCS_WEIGHTS_INTERNAL_H
#include "weights/weights.h"

#define MCS_FILE_DIMS 8 /* dimensions of a stored tensor */
#define MCS_TENSORS_MAX 100000
#define MCS_HEADER_MAX (16u << 20) /* bytes of JSON or of a pickle */
#define MCS_NAME_MAX 4096 /* bytes of a tensor's name */

/* ---- Bytes of a file or of memory ---- */
typedef struct {
    int fd;                         /* -1: memory */
    const uint8_t *memory;
    uint64_t size;                  /* when it was opened; re-checked at every read */
    const char *path;               /* for messages */
} mcs_source;

mcs_status mcs_source_open(mcs_source *s, const char *path, mcs_error *e);
void mcs_source_close(mcs_source *s);
/* Exactly n bytes at offset, or an error: a range outside the file is MCS_EFORMAT. */
mcs_status mcs_source_read(const mcs_source *s, uint64_t offset, void *dst, uint64_t n,
                           mcs_error *e);

/* ---- Checked arithmetic: false on overflow, *out then unspecified ---- */
static inline bool mcs_mul_u64(uint64_t a, uint64_t b, uint64_t *out)
{
    return !__builtin_mul_overflow(a, b, out);
}
static inline bool mcs_add_u64(uint64_t a, uint64_t b, uint64_t *out)
{
    return !__builtin_add_overflow(a, b, out);
}
static inline uint16_t mcs_le16(const uint8_t *p)
{
    return (uint16_t)(p[0] | p[1] << 8);
}
static inline uint32_t mcs_le32(const uint8_t *p)
{
    return (uint32_t)mcs_le16(p) | (uint32_t)mcs_le16(p + 2) << 16;
}
static inline uint64_t mcs_le64(const uint8_t *p)
{
    return (uint64_t)mcs_le32(p) | (uint64_t)mcs_le32(p + 4) << 32;
}

/* ---- Records ---- */
typedef struct {
    uint64_t offset, bytes;         /* in the file */
    uint32_t crc;
    bool check_crc;                 /* not verified yet */
} mcs_blob;

typedef struct {
    mcs_stored info;                /* first: a const mcs_stored * is a record */
    int64_t stride[MCS_FILE_DIMS];  /* elements; unused if contiguous */
    uint64_t begin;                 /* bytes from the start of the blob */
    int64_t blob;
    bool contiguous;
} mcs_record;

typedef struct mcs_text mcs_text;   /* one allocation of an append-only string store */

struct mcs_checkpoint {
    mcs_source source;
    const char *format;
    mcs_record *records;
    int64_t count, capacity;
    mcs_blob *blobs;
    int64_t blob_count, blob_capacity;
    const mcs_record **sorted;      /* by name */
    const char **meta;              /* key, value, ... of __metadata__ */
    int64_t meta_count;
    const char **imports;           /* "module.name" a pickle would import */
    int64_t import_count;
    mcs_text *text;                 /* owns all names and strings */
};

/* A NUL-terminated copy owned by k; NULL: out of memory (recorded in e). */
const char *mcs_checkpoint_text(mcs_checkpoint *k, const char *s, size_t n, mcs_error *e);
/* Appends; -1 and an error if there is no memory. */
int64_t mcs_checkpoint_add_blob(mcs_checkpoint *k, mcs_blob b, mcs_error *e);
/* Appends a record after checking name, dimensions and sizes: numel is computed here, strides
 * (elements; NULL: row-major) and begin are checked against the blob.  `shape` has ndim >= 0
 * entries.  The name is copied. */
mcs_status mcs_checkpoint_add(mcs_checkpoint *k, const char *name, size_t name_bytes,
                              mcs_stored_dtype dtype, int64_t ndim, const int64_t *shape,
                              const int64_t *stride, int64_t blob, uint64_t begin, mcs_error *e);

/* Readers: k->source is open; they fill k. */
mcs_status mcs_safetensors_read(mcs_checkpoint *k, mcs_error *e);
mcs_status mcs_torch_zip_read(mcs_checkpoint *k, mcs_error *e);
mcs_status mcs_torch_legacy_read(mcs_checkpoint *k, mcs_error *e);
/* For fuzzing and tests: the same as mcs_checkpoint_open() on bytes that outlive k. */
mcs_checkpoint *mcs_checkpoint_open_memory(const void *data, size_t n, const char *label,
                                           mcs_error *e);

/* ---- Stored element types (stored_dtype.c) ---- */
bool mcs_stored_is_float(mcs_stored_dtype t);
/* n elements of `from` at src (any alignment, little-endian) to `to` at dst (any alignment).
 * Integer to float and float to float round to nearest even; an integer that does not fit, or
 * a float wanted as an integer, is MCS_ESHAPE naming the element. */
mcs_status mcs_stored_convert(mcs_stored_dtype from, const void *src, mcs_stored_dtype to,
                              void *dst, int64_t n, mcs_error *e);

/* A printable rendering of a name from a file, at most ~90 bytes, into buf; returns buf. */
const char *mcs_quote(char *buf, size_t size, const char *s, size_t n);
#endif
