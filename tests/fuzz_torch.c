/* PyTorch files on arbitrary bytes.  The first byte chooses how deep the fuzzer starts: 'P' or 0x80,
 * as PyTorch files begin (those of tests/golden are its seeds): the bytes are the file; 'L': the
 * rest follows the system record of a legacy file; else the rest is the pickle inside a
 * well-formed zip with storages "0" and "1". */
#include <stdlib.h>
#include <string.h>
#include <zlib.h>
#include "tests/fuzz_checkpoint.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

typedef struct {
    uint8_t *at;
    size_t n;
} buffer;

static void put(buffer *b, const void *data, size_t n)
{
    if (n)
        memcpy(b->at + b->n, data, n);
    b->n += n;
}

static void put_int(buffer *b, uint64_t v, int size)
{
    for (int i = 0; i < size; i++)
        put(b, &(uint8_t){ (uint8_t)(v >> 8 * i) }, 1);
}

/* What local header and directory entry share: flags to extra length. */
static void put_entry(buffer *b, const char *name, const void *data, size_t n)
{
    put_int(b, 0, 4); /* flags, method */
    put_int(b, 0, 4); /* time */
    put_int(b, crc32(0, data, (uInt)n), 4);
    put_int(b, n, 4);
    put_int(b, n, 4);
    put_int(b, strlen(name), 2);
    put_int(b, 0, 2);
}

static void zipped(const uint8_t *pickle, size_t size)
{
    static const uint8_t storage[64] = { 1, 2, 3, 4, 5 };
    const char *names[3] = { "f/data.pkl", "f/data/0", "f/data/1" };
    const uint8_t *data[3] = { pickle, storage, storage };
    size_t sizes[3] = { size, 64, 16 }, local[3];
    buffer b = { malloc(size + 1000), 0 };
    if (!b.at)
        abort();
    for (int i = 0; i < 3; i++) {
        local[i] = b.n;
        put_int(&b, 0x04034b50, 4);
        put_int(&b, 0, 2);
        put_entry(&b, names[i], data[i], sizes[i]);
        put(&b, names[i], strlen(names[i]));
        put(&b, data[i], sizes[i]);
    }
    size_t directory = b.n;
    for (int i = 0; i < 3; i++) {
        put_int(&b, 0x02014b50, 4);
        put_int(&b, 0, 4);
        put_entry(&b, names[i], data[i], sizes[i]);
        put_int(&b, 0, 2);
        put_int(&b, 0, 8); /* disk, attributes */
        put_int(&b, local[i], 4);
        put(&b, names[i], strlen(names[i]));
    }
    size_t end = b.n;
    put_int(&b, 0x06054b50, 4);
    put_int(&b, 0, 4);
    put_int(&b, 3 | 3 << 16, 4);
    put_int(&b, end - directory, 4);
    put_int(&b, directory, 4);
    put_int(&b, 0, 2);
    fuzz_checkpoint(b.at, b.n);
    free(b.at);
}

static void legacy(const uint8_t *rest, size_t size)
{
    static const char head[] = "\x80\x02\x8a\nl\xfc\x9c\x46\xf9 j\xa8P\x19.\x80\x02M\xe9\x03."
                               "\x80\x02}X\r\0\0\0little_endian\x88s.";
    buffer b = { malloc(size + sizeof head), 0 };
    if (!b.at)
        abort();
    put(&b, head, sizeof head - 1);
    put(&b, rest, size);
    fuzz_checkpoint(b.at, b.n);
    free(b.at);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    if (data[0] == 'P' || data[0] == 0x80)
        fuzz_checkpoint(data, size);
    else if (data[0] == 'L')
        legacy(data + 1, size - 1);
    else
        zipped(data + 1, size - 1);
    return 0;
}
