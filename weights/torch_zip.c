/* torch_zip.c - PyTorch files since 1.6: a zip archive of stored (not compressed) entries.
 *
 *   NAME/data.pkl      the pickle; tensors refer to storages by key
 *   NAME/data/KEY      the bytes of a storage
 *   NAME/byteorder     "little" (since 2.1)
 *   NAME/version, NAME/.data/..., NAME/.format_version, ...
 *
 * zip_directory.c has checked the archive; here storages find their entries: an entry must have
 * exactly the bytes its storage claims, whatever the pickle says.
 * Layout: torch/serialization.py (_save, _load), caffe2/serialize/inline_container.cc. */
#include <stdlib.h>
#include <string.h>
#include <zlib.h>
#include "weights/pickle_internal.h"
#include "weights/zip_internal.h"

static mcs_status zip_bad(const mcs_checkpoint *k, mcs_error *e, const char *what)
{
    return mcs_error_set(e, MCS_EFORMAT, "%s: PyTorch zip: %s", k->source.path, what);
}

/* All of a small entry, its CRC verified; the caller frees *out. */
static mcs_status read_entry(mcs_checkpoint *k, const mcs_zip *z, const mcs_zip_entry *t,
                             uint8_t **out, mcs_error *e)
{
    *out = NULL;
    if (t->size > MCS_HEADER_MAX)
        return mcs_error_set(e, MCS_EFORMAT,
                             "%s: PyTorch zip: entry '%s' has %llu bytes, the "
                             "limit is %u",
                             k->source.path, t->name, (unsigned long long)t->size, MCS_HEADER_MAX);
    uint8_t *bytes = malloc((size_t)t->size + 1);
    if (!bytes)
        return mcs_error_set(e, MCS_ENOMEM, "%s: out of memory", k->source.path);
    mcs_status s = mcs_source_read(&k->source, t->data, bytes, t->size, e);
    if (s == MCS_OK && !z->no_crc && crc32(0, bytes, (uInt)t->size) != t->crc)
        s = mcs_error_set(e, MCS_EFORMAT,
                          "%s: PyTorch zip: entry '%s': the CRC-32 does not match: "
                          "the file is damaged",
                          k->source.path, t->name);
    if (s != MCS_OK) {
        free(bytes);
        return s;
    }
    bytes[t->size] = 0;
    *out = bytes;
    return MCS_OK;
}

/* NAME of the one NAME/data.pkl; every entry must lie under it. */
static mcs_status find_root(const mcs_checkpoint *k, const mcs_zip *z, const char **root,
                            size_t *bytes, mcs_error *e)
{
    const char *first = z->count ? z->entries[0].name : "", *slash = strchr(first, '/');
    if (!slash)
        return zip_bad(k, e,
                       "its first entry is in no folder: a zip, but not one that "
                       "torch.save() wrote");
    *root = first;
    *bytes = (size_t)(slash - first) + 1;
    for (int64_t i = 0; i < z->count; i++)
        if (strncmp(z->entries[i].name, first, *bytes) != 0)
            return zip_bad(k, e, "its entries are not all in one folder");
    return MCS_OK;
}

static mcs_zip_entry *find_in_root(const mcs_zip *z, const char *root, size_t n, const char *folder,
                                   const char *name, size_t name_bytes)
{
    char full[MCS_NAME_MAX + 1];
    size_t f = strlen(folder);
    if (n + f + name_bytes > MCS_NAME_MAX || memchr(name, 0, name_bytes))
        return NULL;
    memcpy(full, root, n);
    memcpy(full + n, folder, f);
    memcpy(full + n + f, name, name_bytes);
    full[n + f + name_bytes] = 0;
    return mcs_zip_find(z, full);
}

static mcs_status check_byteorder(mcs_checkpoint *k, const mcs_zip *z, const mcs_zip_entry *t,
                                  mcs_error *e)
{
    uint8_t *text = NULL;
    mcs_status s = read_entry(k, z, t, &text, e);
    if (s != MCS_OK)
        return s;
    if (t->size != 6 || memcmp(text, "little", 6) != 0)
        s = zip_bad(k, e,
                    "it was saved on a big-endian machine (entry 'byteorder'); load and save "
                    "it on a little-endian one");
    free(text);
    return s;
}

static mcs_status place_storages(mcs_checkpoint *k, mcs_zip *z, const char *root, size_t n,
                                 mcs_pickle *p, mcs_error *e)
{
    char q[128];
    for (uint32_t i = 0; i < p->storages.count; i++) {
        mcs_pickle_storage *s = &p->storages.at[i];
        mcs_zip_entry *t = find_in_root(z, root, n, "data/", s->key, s->key_bytes);
        mcs_quote(q, sizeof q, s->key, s->key_bytes);
        if (!t)
            return mcs_error_set(e, MCS_EFORMAT,
                                 "%s: PyTorch zip: there is no entry for storage "
                                 "'%s'",
                                 k->source.path, q);
        if (t->size != s->bytes)
            return mcs_error_set(e, MCS_EFORMAT,
                                 "%s: PyTorch zip: storage '%s' should have %llu "
                                 "bytes, its entry has %llu",
                                 k->source.path, q, (unsigned long long)s->bytes,
                                 (unsigned long long)t->size);
        if (s->view_numel >= 0)
            return zip_bad(k, e, "a storage view, which only older files have");
        if (t->blob < 0)
            t->blob = mcs_checkpoint_add_blob(
                k,
                (mcs_blob){
                    .offset = t->data, .bytes = t->size, .crc = t->crc, .check_crc = !z->no_crc },
                e);
        if (t->blob < 0)
            return MCS_ENOMEM;
        s->blob = t->blob;
    }
    return MCS_OK;
}

static mcs_status read_pickle(mcs_checkpoint *k, mcs_zip *z, const char *root, size_t n,
                              const mcs_zip_entry *pkl, mcs_error *e)
{
    uint8_t *bytes = NULL;
    size_t used = 0;
    mcs_pickle p;
    mcs_status s = read_entry(k, z, pkl, &bytes, e);
    if (s != MCS_OK)
        return s;
    s = mcs_pickle_run(&p, k, bytes, (size_t)pkl->size, pkl->data, &used, e);
    if (s == MCS_OK && used != pkl->size)
        s = zip_bad(k, e, "data.pkl goes on after its STOP");
    if (s == MCS_OK)
        s = place_storages(k, z, root, n, &p, e);
    if (s == MCS_OK)
        s = mcs_pickle_records(&p);
    mcs_pickle_free(&p);
    free(bytes);
    return s;
}

static mcs_status read_archive(mcs_checkpoint *k, mcs_zip *z, mcs_error *e)
{
    const char *root = NULL;
    size_t n = 0;
    mcs_status s = find_root(k, z, &root, &n, e);
    if (s != MCS_OK)
        return s;
    const mcs_zip_entry *pkl = find_in_root(z, root, n, "", "data.pkl", 8);
    const mcs_zip_entry *order = find_in_root(z, root, n, "", "byteorder", 9);
    if (find_in_root(z, root, n, "", "constants.pkl", 13))
        return zip_bad(k, e,
                       "a TorchScript program, not weights; in Python: "
                       "torch.save(torch.jit.load(file).state_dict(), ...)");
    if (!pkl)
        return zip_bad(k, e, "there is no data.pkl: a zip, but not one that torch.save() wrote");
    if (order)
        s = check_byteorder(k, z, order, e);
    return s == MCS_OK ? read_pickle(k, z, root, n, pkl, e) : s;
}

mcs_status mcs_torch_zip_read(mcs_checkpoint *k, mcs_error *e)
{
    mcs_zip z = { 0 };
    k->format = "pytorch zip";
    mcs_status s = mcs_zip_open(&z, k, e);
    if (s == MCS_OK)
        s = read_archive(k, &z, e);
    mcs_zip_close(&z);
    return s;
}
