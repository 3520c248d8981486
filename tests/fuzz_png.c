/* fuzz_png.c - libFuzzer entry of the PNG reader.  The mutator repairs what a random change
 * breaks at once (CRCs), and now and then makes a fresh file of random kind and size, so that
 * runs reach the filters, interlacing, palettes and conversions behind the checks. */
#include <zlib.h>
#include "tests/fuzz_image.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t max);
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max, unsigned seed);

static mcs_status convert(const mcs_image *im, float *out, mcs_error *e)
{
    return mcs_preprocess_clip(im, FUZZ_SIDE, MCS_FIT_CROP, mcs_clip_mean, mcs_clip_std, out, NULL,
                               e);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    return fuzz_image(data, size, convert);
}

static void put32(uint8_t *p, uint32_t v)
{
    for (int i = 0; i < 4; i++)
        p[i] = (uint8_t)(v >> (24 - 8 * i));
}

static size_t chunk(uint8_t *p, const char *type, const void *data, size_t n)
{
    put32(p, (uint32_t)n);
    memcpy(p + 4, type, 4);
    if (n)
        memmove(p + 8, data, n);
    put32(p + 8 + n, (uint32_t)crc32(0, p + 4, (uInt)(n + 4)));
    return n + 12;
}

static uint32_t next(uint32_t *s)
{
    return *s = *s * 1664525u + 1013904223u, *s >> 8;
}

/* A file of a random kind; its lines are random small numbers, so filters vary. */
static size_t fresh(uint8_t *out, uint32_t s)
{
    static const uint8_t kinds[][2] = { { 0, 1 }, { 0, 2 },  { 0, 4 },  { 0, 8 }, { 0, 16 },
                                        { 2, 8 }, { 2, 16 }, { 3, 1 },  { 3, 2 }, { 3, 4 },
                                        { 3, 8 }, { 4, 8 },  { 4, 16 }, { 6, 8 }, { 6, 16 } };
    uint8_t head[13] = { 0 }, raw[4096], z[5000], colours[768];
    const uint8_t *kind = kinds[next(&s) % 15];
    put32(head, next(&s) % 24 + 1);
    put32(head + 4, next(&s) % 16 + 1);
    head[8] = kind[1], head[9] = kind[0], head[12] = next(&s) & 1;
    for (size_t i = 0; i < sizeof raw; i++)
        raw[i] = (uint8_t)(next(&s) % 6);
    for (size_t i = 0; i < sizeof colours; i++)
        colours[i] = (uint8_t)next(&s);
    uLongf zn = sizeof z;
    if (compress2(z, &zn, raw, sizeof raw, 1) != Z_OK)
        return 0;
    memcpy(out, "\x89PNG\r\n\x1a\n", 8);
    size_t n = 8 + chunk(out + 8, "IHDR", head, 13);
    if (kind[0] == 3)
        n += chunk(out + n, "PLTE", colours, kind[1] == 8 ? 768 : (size_t)3 << kind[1]);
    if (next(&s) & 1)
        n += chunk(out + n, "tRNS", colours, kind[0] == 3 ? 2 : kind[0] ? 6 : 2);
    n += chunk(out + n, "IDAT", z, zn);
    return n + chunk(out + n, "IEND", NULL, 0);
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max, unsigned seed)
{
    if (max > 8192 && (size < 8 || seed % 16 == 0))
        return fresh(data, seed);
    size = LLVMFuzzerMutate(data, size, max);
    if (seed % 4 == 1)
        return size;
    for (size_t at = 8; at + 12 <= size;) {
        size_t n = (size_t)data[at] << 24 | (size_t)data[at + 1] << 16 | (size_t)data[at + 2] << 8 |
                   data[at + 3];
        if (n > size - at - 12)
            break;
        put32(data + at + 8 + n, (uint32_t)crc32(0, data + at + 4, (uInt)(n + 4)));
        at += n + 12;
    }
    return size;
}
