/* png_maker.h - PNG files of every kind, right and wrong, made on the spot. */
#ifndef MCS_TEST_PNG_MAKER_H
#define MCS_TEST_PNG_MAKER_H
#include "tests/picture.h"

typedef struct {
    uint8_t *bytes;
    size_t size;
} blob;

static inline void blob_put(blob *b, const void *p, size_t n)
{
    b->bytes = realloc(b->bytes, b->size + n + 1);
    assert_non_null(b->bytes);
    if (n)
        memcpy(b->bytes + b->size, p, n);
    b->size += n;
}

static inline void blob_free(blob *b)
{
    free(b->bytes);
    *b = (blob){ NULL, 0 };
}

static inline void put_be32(uint8_t *p, uint32_t v)
{
    for (int i = 0; i < 4; i++)
        p[i] = (uint8_t)(v >> (24 - 8 * i));
}

static inline void png_chunk(blob *b, const char *type, const void *data, size_t n)
{
    uint8_t word[4];
    put_be32(word, (uint32_t)n);
    blob_put(b, word, 4);
    size_t start = b->size;
    blob_put(b, type, 4);
    blob_put(b, data, n);
    put_be32(word, (uint32_t)crc32(0, b->bytes + start, (uInt)(n + 4)));
    blob_put(b, word, 4);
}

static inline void png_header(blob *b, uint32_t w, uint32_t h, int depth, int type, int interlace)
{
    uint8_t ihdr[13] = { 0 };
    put_be32(ihdr, w);
    put_be32(ihdr + 4, h);
    ihdr[8] = (uint8_t)depth, ihdr[9] = (uint8_t)type, ihdr[12] = (uint8_t)interlace;
    blob_put(b, "\x89PNG\r\n\x1a\n", 8);
    png_chunk(b, "IHDR", ihdr, 13);
}

/* IDAT chunks of at most `part` bytes. */
static inline void png_data(blob *b, const void *raw, size_t n, size_t part)
{
    uLongf size = compressBound((uLong)n);
    uint8_t *z = malloc(size);
    assert_non_null(z);
    assert_int_equal(compress2(z, &size, raw, (uLong)n, 9), Z_OK);
    for (size_t at = 0; at < size; at += part)
        png_chunk(b, "IDAT", z + at, size - at < part ? size - at : part);
    free(z);
}

static inline void png_end(blob *b)
{
    png_chunk(b, "IEND", NULL, 0);
}
/* ---- Every kind of PNG ---- */
typedef struct {
    int type, depth, channels;
} format;

static const format formats[] = {
    { 0, 1, 1 }, { 0, 2, 1 },  { 0, 4, 1 },  { 0, 8, 1 }, { 0, 16, 1 },
    { 2, 8, 3 }, { 2, 16, 3 }, { 3, 1, 1 },  { 3, 2, 1 }, { 3, 4, 1 },
    { 3, 8, 1 }, { 4, 8, 2 },  { 4, 16, 2 }, { 6, 8, 4 }, { 6, 16, 4 },
};
#define FORMATS (int)(sizeof formats / sizeof *formats)

static inline unsigned value(const format *f, int x, int y, int c)
{
    unsigned v = (unsigned)(x * 7919 + y * 104729 + c * 1299709 + x * y * 31);
    return (v ^ v >> 7) & ((1u << f->depth) - 1);
}

/* The pixels x0, x0 + dx, ... of the rows y0, y0 + dy, ... as filter-0 lines. */
static inline void put_pass(blob *raw, const format *f, int w, int h, int x0, int y0, int dx,
                            int dy)
{
    for (int y = y0; y < h && x0 < w; y += dy) {
        uint8_t line[512] = { 0 };
        int bit = 8;
        for (int x = x0; x < w; x += dx)
            for (int c = 0; c < f->channels; c++, bit += f->depth) {
                unsigned v = value(f, x, y, c);
                if (f->depth == 16)
                    line[bit / 8] = (uint8_t)(v >> 8), line[bit / 8 + 1] = (uint8_t)v;
                else
                    line[bit / 8] |= (uint8_t)(v << (8 - f->depth - bit % 8));
            }
        blob_put(raw, line, (size_t)(bit + 7) / 8);
    }
}

static inline void put_palette(blob *b, const format *f, bool trns)
{
    uint8_t colours[768], alpha[256];
    int n = f->type == 3 ? 1 << f->depth : 0;
    for (int i = 0; i < 3 * n; i++)
        colours[i] = (uint8_t)(i * 73 + 5);
    for (int i = 0; i < n; i++)
        alpha[i] = (uint8_t)(i * 31);
    if (f->type == 3)
        png_chunk(b, "PLTE", colours, (size_t)(3 * n));
    if (trns && f->type == 3)
        png_chunk(b, "tRNS", alpha, (size_t)(n > 2 ? n - 1 : n)); /* the last one stays opaque */
    else if (trns) {
        uint8_t key[6];
        for (int c = 0; c < f->channels; c++) {
            unsigned v = value(f, 0, 0, c);
            key[2 * c] = (uint8_t)(v >> 8), key[2 * c + 1] = (uint8_t)v;
        }
        png_chunk(b, "tRNS", key, (size_t)(2 * f->channels));
    }
}

static inline blob make_png(const format *f, int w, int h, bool interlace, bool trns, size_t part)
{
    static const int passes[7][4] = { { 0, 0, 8, 8 }, { 4, 0, 8, 8 }, { 0, 4, 4, 8 },
                                      { 2, 0, 4, 4 }, { 0, 2, 2, 4 }, { 1, 0, 2, 2 },
                                      { 0, 1, 1, 2 } };
    blob b = { 0 }, raw = { 0 };
    png_header(&b, (uint32_t)w, (uint32_t)h, f->depth, f->type, interlace);
    put_palette(&b, f, trns);
    if (!interlace)
        put_pass(&raw, f, w, h, 0, 0, 1, 1);
    for (int p = 0; interlace && p < 7; p++)
        put_pass(&raw, f, w, h, passes[p][0], passes[p][1], passes[p][2], passes[p][3]);
    png_data(&b, raw.bytes, raw.size, part);
    png_end(&b);
    blob_free(&raw);
    return b;
}
#endif
