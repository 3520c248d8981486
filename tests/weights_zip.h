/* weights_zip.h - a zip archive of stored entries as torch.save() makes it, to be damaged. */
#ifndef MCS_TEST_WEIGHTS_ZIP_H
#define MCS_TEST_WEIGHTS_ZIP_H
#include <zlib.h>
#include "tests/weights_files.h"

typedef struct {
    bytes b;
    size_t local[8], central[8], end64, locator, end; /* offsets of the records; 0: none */
    int count;
    uint32_t crc[8], size[8];
} archive;

/* flags to extra length, as local header and directory entry share them */
static inline void zip_common(archive *z, int i, const char *name, int flags, bool later)
{
    add_int(&z->b, (uint64_t)flags, 2);
    add_int(&z->b, 0, 6); /* method, time, date */
    add_int(&z->b, later ? 0 : z->crc[i], 4);
    add_int(&z->b, later ? 0 : z->size[i], 4);
    add_int(&z->b, later ? 0 : z->size[i], 4);
    add_int(&z->b, strlen(name), 2);
}

/* descriptor 0: sizes in front; 1: after the data, as PyTorch writes; 2: likewise with 8-byte
 * sizes; 3, 4: as 1, 2 without signature. */
static inline void zip_add(archive *z, const char *name, const void *data, size_t n, int descriptor)
{
    int i = z->count++;
    z->local[i] = z->b.n;
    z->crc[i] = (uint32_t)crc32(0, data, (uInt)n);
    z->size[i] = (uint32_t)n;
    add_int(&z->b, 0x04034b50, 4);
    add_int(&z->b, 0, 2);
    zip_common(z, i, name, descriptor ? 0x808 : 0, descriptor);
    add_int(&z->b, 5, 2);
    add_text(&z->b, name);
    add_text(&z->b, "FB\1");
    add_int(&z->b, 'Z' << 8, 2); /* extra field "FB", 1 byte: PyTorch's padding */
    add(&z->b, data, n);
    if (descriptor) {
        if (descriptor < 3)
            add_int(&z->b, 0x08074b50, 4);
        add_int(&z->b, z->crc[i], 4);
        add_int(&z->b, n, descriptor % 2 ? 4 : 8);
        add_int(&z->b, n, descriptor % 2 ? 4 : 8);
    }
}

/* The directory, with the zip64 records PyTorch also writes. */
static inline void zip_end(archive *z, const char *const *names, bool zip64)
{
    size_t start = z->b.n;
    for (int i = 0; i < z->count; i++) {
        int flags = z->b.at[z->local[i] + 6] | z->b.at[z->local[i] + 7] << 8;
        z->central[i] = z->b.n;
        add_int(&z->b, 0x02014b50, 4);
        add_int(&z->b, 0, 4);
        zip_common(z, i, names[i], flags, false);
        add_int(&z->b, 0, 4); /* extra, comment */
        add_int(&z->b, 0, 8);
        add_int(&z->b, z->local[i], 4);
        add_text(&z->b, names[i]);
    }
    size_t stop = z->b.n;
    uint64_t n = (uint64_t)z->count;
    if (zip64) {
        z->end64 = z->b.n;
        add_int(&z->b, 0x06064b50, 4);
        add_int(&z->b, 44, 8);
        add_int(&z->b, 0, 12);
        add_int(&z->b, n, 8);
        add_int(&z->b, n, 8);
        add_int(&z->b, stop - start, 8);
        add_int(&z->b, start, 8);
        z->locator = z->b.n;
        add_int(&z->b, 0x07064b50, 4);
        add_int(&z->b, 0, 4);
        add_int(&z->b, z->end64, 8);
        add_int(&z->b, 1, 4);
    }
    z->end = z->b.n;
    add_int(&z->b, 0x06054b50, 4);
    add_int(&z->b, 0, 4);
    add_int(&z->b, n, 2);
    add_int(&z->b, n, 2);
    add_int(&z->b, stop - start, 4);
    add_int(&z->b, start, 4);
    add_int(&z->b, 0, 2);
}

/* {"a": tensor of 2 floats in storage "0"} */
#define ZIP_STORAGE(type, key, count)                                                              \
    "((X\7\0\0\0storagectorch\n" type "\nX\1\0\0\0" key "X\3\0\0\0cpuK" count "tQ"
#define ZIP_PICKLE                                                                                 \
    "\x80\2}X\1\0\0\0actorch._utils\n_rebuild_tensor_v2\n" ZIP_STORAGE("FloatStorage", "0", "\2")  \
    "K\0K\2\x85K\1\x85\x89" "ccollections\nOrderedDict\n)RtRs."

static const char *const zip_names[] = { "f/data.pkl", "f/byteorder", "f/data/0", "f/version" };
static const float zip_values[2] = { 1.5f, -2.0f };

/* The valid archive with this pickle: entries 0 pickle, 1 byteorder, 2 storage, 3 version. */
static inline archive zip_make(const void *pickle, size_t n, int descriptor, bool zip64)
{
    archive z = { 0 };
    zip_add(&z, zip_names[0], pickle, n, descriptor);
    zip_add(&z, zip_names[1], "little", 6, descriptor);
    zip_add(&z, zip_names[2], zip_values, sizeof zip_values, descriptor);
    zip_add(&z, zip_names[3], "3\n", 2, descriptor);
    zip_end(&z, zip_names, zip64);
    return z;
}
#endif
