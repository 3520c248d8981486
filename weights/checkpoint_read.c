/* checkpoint_read.c - values of a record: contiguous runs are streamed, views are gathered.
 *
 * The CRC-32 of a zip entry is verified the first time one of its tensors is read: on the way
 * when the tensor is the whole entry (the usual case: one pass over the bytes), in a pass of its
 * own when it is a view of a larger storage. */
#include <stdlib.h>
#include <string.h>
#include <zlib.h>
#include "weights/weights_internal.h"

enum { READ_CHUNK = 256 * 1024 };

static const mcs_record *record_of(const mcs_checkpoint *k, const mcs_stored *t)
{
    const mcs_record *r = (const mcs_record *)(const void *)t;
    return t && k->records && r >= k->records && r < k->records + k->count ? r : NULL;
}

static mcs_status bad_crc(const mcs_checkpoint *k, const mcs_stored *t, mcs_error *e)
{
    return mcs_error_set(e, MCS_EFORMAT,
                         "%s: tensor '%s': the CRC-32 of its data does not match: the file is "
                         "damaged",
                         k->source.path, t->name);
}

/* Streams [offset, offset + bytes) through `chunk`; converts when dst is given. */
static mcs_status stream(mcs_checkpoint *k, const mcs_record *r, uint64_t offset, uint64_t bytes,
                         mcs_stored_dtype as, uint8_t *dst, uLong *crc, mcs_error *e)
{
    size_t size = (size_t)mcs_stored_size(r->info.dtype), out = (size_t)mcs_stored_size(as);
    uint8_t *chunk = malloc(READ_CHUNK);
    if (!chunk)
        return mcs_error_set(e, MCS_ENOMEM, "%s: out of memory", k->source.path);
    mcs_status s = MCS_OK;
    while (bytes > 0 && s == MCS_OK) {
        uint64_t n = bytes < READ_CHUNK ? bytes : READ_CHUNK;
        s = mcs_source_read(&k->source, offset, chunk, n, e);
        if (s == MCS_OK && crc)
            *crc = crc32(*crc, chunk, (uInt)n);
        if (s == MCS_OK && dst) {
            s = mcs_stored_convert(r->info.dtype, chunk, as, dst, (int64_t)(n / size), e);
            dst += n / size * out;
        }
        offset += n;
        bytes -= n;
    }
    free(chunk);
    return s;
}

static mcs_status read_contiguous(mcs_checkpoint *k, const mcs_record *r, mcs_stored_dtype as,
                                  void *dst, mcs_error *e)
{
    mcs_blob *b = &k->blobs[r->blob];
    uint64_t bytes = (uint64_t)r->info.numel * (uint64_t)mcs_stored_size(r->info.dtype);
    bool whole = bytes == b->bytes, check = b->check_crc && whole;
    uLong crc = 0;
    mcs_status s;
    if (as == r->info.dtype && !check)
        return mcs_source_read(&k->source, b->offset + r->begin, dst, bytes, e);
    s = stream(k, r, b->offset + r->begin, bytes, as, dst, check ? &crc : NULL, e);
    if (s == MCS_OK && check) {
        if (crc != b->crc)
            return bad_crc(k, &r->info, e);
        b->check_crc = false;
    }
    return s;
}

/* Row-major walk over the view: `span` holds its elements from the first to the last. */
static void gather(const mcs_record *r, const uint8_t *span, uint8_t *packed)
{
    size_t size = (size_t)mcs_stored_size(r->info.dtype);
    int64_t index[MCS_FILE_DIMS] = { 0 };
    int ndim = r->info.ndim;
    uint64_t at = 0;
    for (int64_t i = 0; i < r->info.numel; i++) {
        memcpy(packed + (size_t)i * size, span + at * size, size);
        for (int d = ndim - 1; d >= 0; d--) {
            at += (uint64_t)r->stride[d];
            if (++index[d] < r->info.shape[d])
                break;
            at -= (uint64_t)r->stride[d] * (uint64_t)r->info.shape[d];
            index[d] = 0;
        }
    }
}

static mcs_status read_view(mcs_checkpoint *k, const mcs_record *r, mcs_stored_dtype as, void *dst,
                            mcs_error *e)
{
    uint64_t size = (uint64_t)mcs_stored_size(r->info.dtype), last = 0;
    for (int d = 0; d < r->info.ndim; d++)
        last += (uint64_t)r->stride[d] * (uint64_t)(r->info.shape[d] - 1);
    /* checked at open: inside the file, so never more than the file's size */
    uint8_t *span = malloc((size_t)((last + 1) * size));
    uint8_t *packed = malloc((size_t)((uint64_t)r->info.numel * size));
    mcs_status s = MCS_OK;
    if (!span || !packed)
        s = mcs_error_set(e, MCS_ENOMEM, "%s: out of memory", k->source.path);
    if (s == MCS_OK)
        s = mcs_source_read(&k->source, k->blobs[r->blob].offset + r->begin, span,
                            (last + 1) * size, e);
    if (s == MCS_OK) {
        gather(r, span, packed);
        s = mcs_stored_convert(r->info.dtype, packed, as, dst, r->info.numel, e);
    }
    free(span);
    free(packed);
    return s;
}

/* For tensors that are not the whole entry. */
static mcs_status verify_blob(mcs_checkpoint *k, const mcs_record *r, mcs_error *e)
{
    mcs_blob *b = &k->blobs[r->blob];
    uLong crc = 0;
    mcs_status s = stream(k, r, b->offset, b->bytes, r->info.dtype, NULL, &crc, e);
    if (s == MCS_OK && crc != b->crc)
        return bad_crc(k, &r->info, e);
    if (s == MCS_OK)
        b->check_crc = false;
    return s;
}

mcs_status mcs_checkpoint_read_as(mcs_checkpoint *k, const mcs_stored *t, mcs_stored_dtype as,
                                  void *dst, mcs_error *e)
{
    mcs_error local = { 0 };
    mcs_error *err = e ? e : &local;
    const mcs_record *r = k ? record_of(k, t) : NULL;
    if (!r || !dst || (unsigned)as >= MCS_ST_COUNT)
        return mcs_error_set(err, MCS_EINVAL, "checkpoint: not a tensor of this file");
    if (mcs_stored_is_float(t->dtype) && !mcs_stored_is_float(as))
        return mcs_error_set(err, MCS_ESHAPE, "%s: tensor '%s' is %s; integers are wanted",
                             k->source.path, t->name, mcs_stored_name(t->dtype));
    if (t->numel == 0)
        return MCS_OK;
    mcs_blob *b = &k->blobs[r->blob];
    uint64_t bytes = (uint64_t)t->numel * (uint64_t)mcs_stored_size(t->dtype);
    if (b->check_crc && !(r->contiguous && bytes == b->bytes)) {
        mcs_status s = verify_blob(k, r, err);
        if (s != MCS_OK)
            return s;
    }
    return r->contiguous ? read_contiguous(k, r, as, dst, err) : read_view(k, r, as, dst, err);
}

mcs_status mcs_checkpoint_read_f32(mcs_checkpoint *k, const mcs_stored *t, float *dst, mcs_error *e)
{
    return mcs_checkpoint_read_as(k, t, MCS_ST_F32, dst, e);
}

mcs_status mcs_checkpoint_read_i64(mcs_checkpoint *k, const mcs_stored *t, int64_t *dst,
                                   mcs_error *e)
{
    return mcs_checkpoint_read_as(k, t, MCS_ST_I64, dst, e);
}

mcs_tensor *mcs_checkpoint_tensor(mcs_ctx *c, mcs_checkpoint *k, const char *name)
{
    const mcs_stored *t = k && name ? mcs_checkpoint_find(k, name) : NULL;
    if (!t)
        return mcs_fail(c, MCS_ENOTFOUND, "%s: there is no tensor '%s'",
                        k ? k->source.path : "(no checkpoint)", name ? name : "(null)");
    if (t->ndim > MCS_MAX_DIM)
        return mcs_fail(c, MCS_ESHAPE, "%s: tensor '%s' has %d dimensions, the limit is %d",
                        k->source.path, name, t->ndim, MCS_MAX_DIM);
    bool real = mcs_stored_is_float(t->dtype);
    mcs_tensor *x = mcs_new_typed(c, real ? MCS_F32 : MCS_I64, t->ndim, t->shape);
    if (!x)
        return NULL;
    mcs_error e = { 0 };
    mcs_status s = mcs_checkpoint_read_as(k, t, real ? MCS_ST_F32 : MCS_ST_I64, x->data, &e);
    return s == MCS_OK ? x : mcs_fail(c, s, "%s", e.message);
}
