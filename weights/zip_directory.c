/* zip_directory.c - the directory of a zip archive, with one reading only.
 *
 * A zip says everything twice (local headers and central directory) and readers that believe
 * different halves see different files.  So both are read and must agree on name, method, flags,
 * sizes and CRC; the archive ends with its end record (no comment, in which a second one could
 * hide); entries may not overlap each other or the directory; names are plain relative paths and
 * unique.  Only stored entries: PyTorch writes no others, and what is not inflated cannot be a
 * bomb.  Format: PKWARE APPNOTE.TXT 6.3, sections 4.3 (records) and 4.5.3 (zip64). */
#include <stdlib.h>
#include <string.h>
#include "weights/zip_internal.h"

enum {
    END_BYTES = 22,
    END64_BYTES = 56,
    LOCATOR_BYTES = 20,
    CENTRAL_BYTES = 46,
    LOCAL_BYTES = 30,
    FLAG_ENCRYPTED = 1,
    FLAG_DESCRIPTOR = 8,
    FLAG_UTF8 = 0x800,
    ENTRIES_MAX = MCS_TENSORS_MAX + 1000,
    DIRECTORY_MAX = 64 << 20
};

static mcs_status zip_bad(const mcs_checkpoint *k, mcs_error *e, const char *what)
{
    return mcs_error_set(e, MCS_EFORMAT, "%s: zip: %s", k->source.path, what);
}

static mcs_status entry_bad(const mcs_checkpoint *k, const mcs_zip_entry *t, mcs_error *e,
                            const char *what)
{
    char q[128];
    return mcs_error_set(e, MCS_EFORMAT, "%s: zip: entry '%s': %s", k->source.path,
                         mcs_quote(q, sizeof q, t->name, t->name_bytes), what);
}

/* ---- End records ---- */

/* A field of the 32-bit end record is the 64-bit one's value or all ones. */
static bool agrees(uint64_t narrow, uint64_t ones, uint64_t wide)
{
    return narrow == ones || narrow == wide;
}

static mcs_status read_end64(mcs_zip *z, const mcs_checkpoint *k, const uint8_t *end,
                             const uint8_t *locator, uint64_t locator_at, uint64_t *count,
                             uint64_t *stop, mcs_error *e)
{
    uint8_t b[END64_BYTES];
    uint64_t at = mcs_le64(locator + 8);
    if (at > locator_at || locator_at - at < END64_BYTES || mcs_le32(locator + 4) != 0)
        return zip_bad(k, e, "the zip64 end record is not where it is said to be");
    mcs_status s = mcs_source_read(&k->source, at, b, sizeof b, e);
    if (s != MCS_OK)
        return s;
    if (mcs_le32(b) != 0x06064b50 || mcs_le64(b + 4) != locator_at - at - 12)
        return zip_bad(k, e, "the zip64 end record is malformed");
    *count = mcs_le64(b + 32);
    z->directory_bytes = mcs_le64(b + 40);
    z->directory = mcs_le64(b + 48);
    *stop = at;
    if (mcs_le32(b + 16) != 0 || mcs_le32(b + 20) != 0 || mcs_le64(b + 24) != *count ||
        !agrees(mcs_le16(end + 10), 0xffff, *count) ||
        !agrees(mcs_le32(end + 12), 0xffffffff, z->directory_bytes) ||
        !agrees(mcs_le32(end + 16), 0xffffffff, z->directory))
        return zip_bad(k, e, "the two end records disagree");
    return MCS_OK;
}

static mcs_status read_end(mcs_zip *z, const mcs_checkpoint *k, uint64_t *count, mcs_error *e)
{
    uint8_t b[LOCATOR_BYTES + END_BYTES], *end = b + LOCATOR_BYTES;
    uint64_t size = k->source.size, stop = size - END_BYTES;
    if (size < sizeof b)
        return zip_bad(k, e, "cut short");
    mcs_status s = mcs_source_read(&k->source, size - sizeof b, b, sizeof b, e);
    if (s != MCS_OK)
        return s;
    if (mcs_le32(end) != 0x06054b50 || mcs_le16(end + 20) != 0)
        return zip_bad(k, e,
                       "it does not end with an end record: cut short, or something was "
                       "added to it");
    if (mcs_le16(end + 4) != 0 || mcs_le16(end + 6) != 0 || mcs_le16(end + 8) != mcs_le16(end + 10))
        return zip_bad(k, e, "a part of an archive of several files");
    *count = mcs_le16(end + 10);
    z->directory_bytes = mcs_le32(end + 12);
    z->directory = mcs_le32(end + 16);
    if (mcs_le32(b) == 0x07064b50) {
        s = read_end64(z, k, end, b, size - sizeof b, count, &stop, e);
        if (s != MCS_OK)
            return s;
    }
    if (z->directory > stop || z->directory_bytes != stop - z->directory)
        return zip_bad(k, e, "the directory does not end where the end record begins");
    if (z->directory_bytes > DIRECTORY_MAX || *count > ENTRIES_MAX ||
        *count > z->directory_bytes / CENTRAL_BYTES)
        return zip_bad(k, e, "more entries than its directory holds, or than are allowed");
    return MCS_OK;
}

/* ---- Central directory ---- */

static bool good_name(const char *s, size_t n)
{
    if (n == 0 || n > MCS_NAME_MAX || s[0] == '/' || s[n - 1] == '/')
        return false;
    for (size_t i = 0; i < n; i++)
        if ((unsigned char)s[i] < 0x20 || s[i] == '\\' || s[i] == ':' ||
            (s[i] == '.' && (i == 0 || s[i - 1] == '/') &&
             (i + 1 == n || s[i + 1] == '/' ||
              (s[i + 1] == '.' && (i + 2 == n || s[i + 2] == '/')))))
            return false;
    return true;
}

/* Replaces the fields that are all ones by those of the zip64 extra field, in its fixed order;
 * false: malformed or missing. */
static bool zip64_extra(const uint8_t *x, size_t n, uint64_t *fields[3])
{
    while (n >= 4) {
        size_t len = mcs_le16(x + 2);
        if (len > n - 4)
            return false;
        if (mcs_le16(x) == 1) {
            const uint8_t *v = x + 4;
            for (int i = 0; i < 3; i++) {
                if (!fields[i] || *fields[i] != 0xffffffff)
                    continue;
                if (len < 8)
                    return false;
                *fields[i] = mcs_le64(v);
                v += 8;
                len -= 8;
            }
            return true;
        }
        x += 4 + len;
        n -= 4 + len;
    }
    for (int i = 0; i < 3; i++)
        if (fields[i] && *fields[i] == 0xffffffff)
            return false;
    return true;
}

static mcs_status check_method(const mcs_checkpoint *k, const mcs_zip_entry *t, unsigned method,
                               mcs_error *e)
{
    if (t->flags & FLAG_ENCRYPTED)
        return entry_bad(k, t, e, "is encrypted");
    if (method != 0)
        return entry_bad(k, t, e,
                         "is compressed, which torch.save() never does: a TorchScript program, or "
                         "packed by something else; in Python save model.state_dict()");
    if (t->flags & ~(FLAG_DESCRIPTOR | FLAG_UTF8))
        return entry_bad(k, t, e, "has unknown flags");
    return MCS_OK;
}

static mcs_status read_central(mcs_zip_entry *t, mcs_checkpoint *k, const uint8_t *b, uint64_t left,
                               uint64_t *used, mcs_error *e)
{
    if (left < CENTRAL_BYTES || mcs_le32(b) != 0x02014b50)
        return zip_bad(k, e, "the directory is malformed");
    size_t name = mcs_le16(b + 28), extra = mcs_le16(b + 30), comment = mcs_le16(b + 32);
    if (left - CENTRAL_BYTES < name + extra + comment)
        return zip_bad(k, e, "the directory is cut short");
    uint64_t packed = mcs_le32(b + 20);
    *t = (mcs_zip_entry){ .flags = mcs_le16(b + 8),
                          .crc = mcs_le32(b + 16),
                          .blob = -1,
                          .size = mcs_le32(b + 24),
                          .local = mcs_le32(b + 42) };
    t->name_bytes = name;
    t->name = mcs_checkpoint_text(k, (const char *)b + CENTRAL_BYTES, name, e);
    if (!t->name)
        return MCS_ENOMEM;
    if (!good_name(t->name, name))
        return entry_bad(k, t, e,
                         "its name is empty, absolute, too long, or has '..' or control "
                         "characters");
    if (!zip64_extra(b + CENTRAL_BYTES + name, extra,
                     (uint64_t *[3]){ &t->size, &packed, &t->local }))
        return entry_bad(k, t, e, "its extra field is malformed or lacks the zip64 sizes");
    mcs_status s = check_method(k, t, mcs_le16(b + 10), e);
    if (s != MCS_OK)
        return s;
    if (packed != t->size || mcs_le16(b + 34) != 0)
        return entry_bad(k, t, e, "is stored, but its two sizes differ");
    *used = CENTRAL_BYTES + name + extra + comment;
    return MCS_OK;
}

/* ---- Local headers ---- */

/* The descriptor repeats CRC and sizes after the data: signature optional, sizes 4 or 8 bytes. */
static mcs_status read_descriptor(const mcs_zip *z, mcs_zip_entry *t, const mcs_checkpoint *k,
                                  mcs_error *e)
{
    uint8_t b[24] = { 0 };
    uint64_t n = z->directory - t->end < sizeof b ? z->directory - t->end : sizeof b;
    mcs_status s = mcs_source_read(&k->source, t->end, b, n, e);
    if (s != MCS_OK)
        return s;
    for (uint64_t skip = 4;; skip = 0) { /* with the signature, then without */
        const uint8_t *d = b + skip;
        if ((skip == 0 || mcs_le32(b) == 0x08074b50) && mcs_le32(d) == t->crc) {
            bool narrow = mcs_le32(d + 4) == t->size && mcs_le32(d + 8) == t->size;
            bool wide =
                skip + 20 <= sizeof b && mcs_le64(d + 4) == t->size && mcs_le64(d + 12) == t->size;
            uint64_t bytes = skip + (narrow ? 12 : 20);
            if ((narrow || wide) && bytes <= n) {
                t->end += bytes;
                return MCS_OK;
            }
        }
        if (skip == 0)
            return entry_bad(k, t, e, "its data descriptor disagrees with the directory");
    }
}

/* Local sizes and CRC: the directory's, or zero where a descriptor follows. */
static mcs_status check_local_sizes(mcs_zip_entry *t, const mcs_checkpoint *k, const uint8_t *b,
                                    const uint8_t *extra, size_t extra_bytes, mcs_error *e)
{
    uint64_t packed = mcs_le32(b + 18), size = mcs_le32(b + 22);
    bool later = t->flags & FLAG_DESCRIPTOR;
    if (!zip64_extra(extra, extra_bytes, (uint64_t *[3]){ &size, &packed, NULL }))
        return entry_bad(k, t, e, "its extra field is malformed or lacks the zip64 sizes");
    if ((size != t->size && !(later && size == 0)) ||
        (packed != t->size && !(later && packed == 0)) ||
        (mcs_le32(b + 14) != t->crc && !(later && mcs_le32(b + 14) == 0)))
        return entry_bad(k, t, e, "its local header disagrees with the directory");
    return MCS_OK;
}

static mcs_status read_local(const mcs_zip *z, mcs_zip_entry *t, const mcs_checkpoint *k,
                             uint8_t *buffer, mcs_error *e)
{
    uint8_t b[LOCAL_BYTES];
    if (t->local > z->directory || z->directory - t->local < LOCAL_BYTES)
        return entry_bad(k, t, e, "lies outside the archive");
    mcs_status s = mcs_source_read(&k->source, t->local, b, sizeof b, e);
    if (s != MCS_OK)
        return s;
    size_t name = mcs_le16(b + 26), extra = mcs_le16(b + 28);
    uint64_t room = z->directory - t->local - LOCAL_BYTES;
    if (mcs_le32(b) != 0x04034b50 || mcs_le16(b + 6) != t->flags || mcs_le16(b + 8) != 0 ||
        name != t->name_bytes || room < name + extra)
        return entry_bad(k, t, e, "its local header disagrees with the directory");
    s = mcs_source_read(&k->source, t->local + LOCAL_BYTES, buffer, name + extra, e);
    if (s != MCS_OK)
        return s;
    if (memcmp(buffer, t->name, name) != 0)
        return entry_bad(k, t, e, "its local header has another name");
    if (t->size > room - name - extra)
        return entry_bad(k, t, e, "lies outside the archive");
    t->data = t->local + LOCAL_BYTES + name + extra;
    t->end = t->data + t->size;
    s = check_local_sizes(t, k, b, buffer + name, extra, e);
    return s == MCS_OK && t->flags & FLAG_DESCRIPTOR ? read_descriptor(z, t, k, e) : s;
}

/* ---- The whole ---- */

static int by_position(const void *a, const void *b)
{
    const mcs_zip_entry *x = a, *y = b;
    return x->local < y->local ? -1 : x->local > y->local;
}

static int by_name(const void *a, const void *b)
{
    return strcmp((*(mcs_zip_entry *const *)a)->name, (*(mcs_zip_entry *const *)b)->name);
}

/* Written without CRCs: zero for every entry that has bytes. */
static bool lacks_crc(const mcs_zip *z)
{
    int64_t filled = 0;
    for (int64_t i = 0; i < z->count; i++) {
        if (z->entries[i].crc != 0)
            return false;
        filled += z->entries[i].size > 0;
    }
    return filled > 1;
}

static mcs_status check_entries(mcs_zip *z, mcs_checkpoint *k, mcs_error *e)
{
    uint8_t *buffer = malloc(2 * 65536); /* a name and an extra field */
    mcs_status s =
        buffer ? MCS_OK : mcs_error_set(e, MCS_ENOMEM, "%s: out of memory", k->source.path);
    qsort(z->entries, (size_t)z->count, sizeof *z->entries, by_position);
    for (int64_t i = 0; i < z->count && s == MCS_OK; i++) {
        s = read_local(z, &z->entries[i], k, buffer, e);
        if (s == MCS_OK && i > 0 && z->entries[i].local < z->entries[i - 1].end)
            s = entry_bad(k, &z->entries[i], e, "overlaps the one before it");
        z->sorted[i] = &z->entries[i];
    }
    free(buffer);
    if (s != MCS_OK)
        return s;
    if (z->count > 0 && z->entries[0].local != 0)
        return zip_bad(k, e, "there is something before the first entry");
    z->no_crc = lacks_crc(z);
    qsort(z->sorted, (size_t)z->count, sizeof *z->sorted, by_name);
    for (int64_t i = 1; i < z->count; i++)
        if (strcmp(z->sorted[i]->name, z->sorted[i - 1]->name) == 0)
            return entry_bad(k, z->sorted[i], e, "is there twice");
    return MCS_OK;
}

static mcs_status read_directory(mcs_zip *z, mcs_checkpoint *k, uint64_t count, const uint8_t *b,
                                 mcs_error *e)
{
    uint64_t at = 0, used = 0;
    for (uint64_t i = 0; i < count; i++, at += used) {
        mcs_status s = read_central(&z->entries[i], k, b + at, z->directory_bytes - at, &used, e);
        if (s != MCS_OK)
            return s;
        z->count++;
    }
    if (at != z->directory_bytes)
        return zip_bad(k, e, "the directory has more than the entries it counts");
    return check_entries(z, k, e);
}

mcs_status mcs_zip_open(mcs_zip *z, mcs_checkpoint *k, mcs_error *e)
{
    uint64_t count = 0;
    mcs_status s = read_end(z, k, &count, e);
    if (s != MCS_OK)
        return s;
    uint8_t *b = malloc((size_t)z->directory_bytes + 1);
    z->entries = calloc((size_t)count + 1, sizeof *z->entries);
    z->sorted = calloc((size_t)count + 1, sizeof *z->sorted);
    if (!b || !z->entries || !z->sorted)
        s = mcs_error_set(e, MCS_ENOMEM, "%s: out of memory", k->source.path);
    if (s == MCS_OK)
        s = mcs_source_read(&k->source, z->directory, b, z->directory_bytes, e);
    if (s == MCS_OK)
        s = read_directory(z, k, count, b, e);
    free(b);
    return s;
}

void mcs_zip_close(mcs_zip *z)
{
    free(z->entries);
    free(z->sorted);
}

mcs_zip_entry *mcs_zip_find(const mcs_zip *z, const char *name)
{
    mcs_zip_entry key = { .name = name }, *pkey = &key;
    mcs_zip_entry **hit = bsearch(&pkey, z->sorted, (size_t)z->count, sizeof *z->sorted, by_name);
    return hit ? *hit : NULL;
}
