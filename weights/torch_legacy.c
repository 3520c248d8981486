/* torch_legacy.c - PyTorch files before 1.6 (and _use_new_zipfile_serialization=False).
 *
 * One after the other: a pickle of a magic number, one of the protocol version (1001), one of
 * what the writing machine was (little_endian, sizes of C types), the object itself, a list of
 * storage keys; then, for each key in that order, 8 bytes of element count and the elements.
 * Storage sizes come from the object's pickle and must equal the counts; the file must end
 * after the last element.  The tar files of PyTorch 0.1.1 and older are refused.
 * Layout: torch/serialization.py (_legacy_save, _legacy_load). */
#include <stdlib.h>
#include <string.h>
#include "weights/pickle_internal.h"

enum { MAGIC_BYTES = 15, VERSION = 1001 };
/* protocol 2, LONG1 of 10 bytes: 0x1950a86a20f9469cfc6c, STOP */
static const uint8_t magic[MAGIC_BYTES] = { 0x80, 2,    0x8a, 0x0a, 0x6c, 0xfc, 0x9c, 0x46,
                                            0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19, '.' };

static mcs_status legacy_bad(const mcs_checkpoint *k, mcs_error *e, const char *what)
{
    return mcs_error_set(e, MCS_EFORMAT, "%s: PyTorch legacy file: %s", k->source.path, what);
}

typedef struct {
    mcs_checkpoint *k;
    mcs_error *e;
    uint8_t *bytes; /* the first `size` bytes of the file: all the pickles */
    size_t size, at;
} legacy;

/* The next pickle in line. */
static mcs_status next_pickle(legacy *f, mcs_pickle *p)
{
    size_t used = 0;
    mcs_status s = mcs_pickle_run(p, f->k, f->bytes + f->at, f->size - f->at, f->at, &used, f->e);
    f->at += used;
    return s;
}

static mcs_status read_version(legacy *f)
{
    mcs_pickle p;
    mcs_status s = next_pickle(f, &p);
    if (s == MCS_OK && (p.root.kind != PV_INT || p.root.u.i != VERSION))
        s = legacy_bad(f->k, f->e, "its protocol version is not 1001");
    mcs_pickle_free(&p);
    return s;
}

/* {"protocol_version": 1001, "little_endian": True, "type_sizes": {...}} */
static mcs_status read_system(legacy *f)
{
    mcs_pickle p;
    bool little = false;
    mcs_status s = next_pickle(f, &p);
    if (s == MCS_OK && p.root.kind == PV_DICT) {
        const mcs_pickle_object *o = &p.objects.at[p.root.n];
        for (uint32_t i = 0; i + 1 < o->count; i += 2)
            if (mcs_pickle_is_text(o->items[i], "little_endian"))
                little = o->items[i + 1].kind == PV_BOOL && o->items[i + 1].u.i;
    }
    if (s == MCS_OK && !little)
        s = legacy_bad(f->k, f->e, "it does not say that it was saved on a little-endian machine");
    mcs_pickle_free(&p);
    return s;
}

/* ---- Storages ---- */

typedef struct {
    const char *text;
    uint32_t n;
    uint32_t order; /* in the file */
    mcs_stored_dtype dtype;
    int64_t numel; /* -1: no tensor refers to it */
    int64_t blob;
} key;

static int key_order(const void *a, const void *b)
{
    const key *x = a, *y = b;
    uint32_t n = x->n < y->n ? x->n : y->n;
    int c = memcmp(x->text, y->text, n);
    return c ? c : x->n < y->n ? -1 : x->n > y->n;
}

static int file_order(const void *a, const void *b)
{
    const key *x = a, *y = b;
    return x->order < y->order ? -1 : x->order > y->order;
}

/* The list of keys, sorted and unique, each with what the object says of its storage. */
static mcs_status match_keys(legacy *f, const mcs_pickle *object, key *keys, uint32_t n)
{
    qsort(keys, n, sizeof *keys, key_order);
    for (uint32_t i = 1; i < n; i++)
        if (key_order(&keys[i - 1], &keys[i]) == 0)
            return legacy_bad(f->k, f->e, "a storage key is there twice");
    for (uint32_t i = 0; i < object->storages.count; i++) {
        const mcs_pickle_storage *s = &object->storages.at[i];
        key want = { .text = s->key, .n = s->key_bytes };
        key *hit = bsearch(&want, keys, n, sizeof *keys, key_order);
        if (!hit)
            return legacy_bad(f->k, f->e, "a tensor's storage is not in the list of storages");
        if (hit->numel >= 0 && (hit->numel != s->numel || hit->dtype != s->dtype))
            return legacy_bad(f->k, f->e, "two tensors disagree about their storage");
        hit->numel = s->numel;
        hit->dtype = s->dtype;
    }
    return MCS_OK;
}

/* Walks over the storages behind the pickles. */
static mcs_status locate(legacy *f, key *keys, uint32_t n)
{
    uint64_t at = f->at, left;
    qsort(keys, n, sizeof *keys, file_order);
    for (uint32_t i = 0; i < n; i++) {
        uint8_t b[8];
        if (keys[i].numel < 0)
            return legacy_bad(f->k, f->e, "a storage belongs to no tensor");
        mcs_status s = mcs_source_read(&f->k->source, at, b, sizeof b, f->e);
        if (s != MCS_OK)
            return s;
        uint64_t bytes = (uint64_t)keys[i].numel * (uint64_t)mcs_stored_size(keys[i].dtype);
        at += sizeof b;
        left = f->k->source.size - at;
        if (mcs_le64(b) != (uint64_t)keys[i].numel)
            return legacy_bad(f->k, f->e, "a storage has another size than its tensors say");
        if (bytes > left)
            return legacy_bad(f->k, f->e, "a storage is cut short");
        keys[i].blob =
            mcs_checkpoint_add_blob(f->k, (mcs_blob){ .offset = at, .bytes = bytes }, f->e);
        if (keys[i].blob < 0)
            return MCS_ENOMEM;
        at += bytes;
    }
    if (at != f->k->source.size)
        return legacy_bad(f->k, f->e, "there is something after the last storage");
    return MCS_OK;
}

static mcs_status place_storages(legacy *f, mcs_pickle *object, const mcs_pickle *list)
{
    if (list->root.kind != PV_LIST)
        return legacy_bad(f->k, f->e, "the list of storages is not a list");
    const mcs_pickle_object *o = &list->objects.at[list->root.n];
    key *keys = calloc((size_t)o->count + 1, sizeof *keys);
    if (!keys)
        return mcs_error_set(f->e, MCS_ENOMEM, "%s: out of memory", f->k->source.path);
    mcs_status s = MCS_OK;
    for (uint32_t i = 0; i < o->count && s == MCS_OK; i++) {
        if (o->items[i].kind != PV_TEXT)
            s = legacy_bad(f->k, f->e, "a storage key is not a string");
        else
            keys[i] =
                (key){ .text = o->items[i].u.text, .n = o->items[i].n, .order = i, .numel = -1 };
    }
    if (s == MCS_OK)
        s = match_keys(f, object, keys, o->count);
    if (s == MCS_OK)
        s = locate(f, keys, o->count);
    if (s == MCS_OK)
        qsort(keys, o->count, sizeof *keys, key_order);
    for (uint32_t i = 0; s == MCS_OK && i < object->storages.count; i++) {
        mcs_pickle_storage *st = &object->storages.at[i];
        key want = { .text = st->key, .n = st->key_bytes };
        const key *hit = bsearch(&want, keys, o->count, sizeof *keys, key_order);
        st->blob = hit->blob;
    }
    free(keys);
    return s;
}

static mcs_status read_object(legacy *f)
{
    mcs_pickle object, list = { 0 };
    mcs_status s = next_pickle(f, &object);
    if (s == MCS_OK)
        s = next_pickle(f, &list);
    if (s == MCS_OK)
        s = place_storages(f, &object, &list);
    if (s == MCS_OK)
        s = mcs_pickle_records(&object);
    mcs_pickle_free(&list);
    mcs_pickle_free(&object);
    return s;
}

mcs_status mcs_torch_legacy_read(mcs_checkpoint *k, mcs_error *e)
{
    legacy f = { .k = k, .e = e };
    k->format = "pytorch legacy";
    f.size = (size_t)(k->source.size < MCS_HEADER_MAX ? k->source.size : MCS_HEADER_MAX);
    f.bytes = malloc(f.size);
    if (!f.bytes)
        return mcs_error_set(e, MCS_ENOMEM, "%s: out of memory", k->source.path);
    mcs_status s = mcs_source_read(&k->source, 0, f.bytes, f.size, e);
    if (s == MCS_OK && (f.size < MAGIC_BYTES || memcmp(f.bytes, magic, MAGIC_BYTES) != 0))
        s = legacy_bad(k, e, "a pickle without PyTorch's magic number; refused");
    f.at = MAGIC_BYTES;
    if (s == MCS_OK)
        s = read_version(&f);
    if (s == MCS_OK)
        s = read_system(&f);
    if (s == MCS_OK)
        s = read_object(&f);
    free(f.bytes);
    return s;
}
