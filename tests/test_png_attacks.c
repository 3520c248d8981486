/* test_png_attacks.c - PNG files that are damaged or mean harm: each refused for its own reason. */
#include "tests/png_maker.h"

/* ---- Damage ---- */
static void test_cut_short(void **state)
{
    (void)state;
    for (int i = 0; i < FORMATS; i += 3) {
        blob b = make_png(&formats[i], 13, 11, i % 2, formats[i].type < 4, 30);
        for (size_t n = 0; n < b.size; n++) {
            uint8_t *copy = malloc(n + 1); /* exactly n bytes for the address sanitizer */
            assert_non_null(copy);
            copy = realloc(copy, n ? n : 1);
            memcpy(copy, b.bytes, n);
            refuses(copy, n, MCS_EFORMAT, "");
            free(copy);
        }
        blob_free(&b);
    }
    blob b = make_png(&formats[3], 13, 11, false, false, 1000);
    refuses(b.bytes, b.size - 5, MCS_EFORMAT, "cut short");
    refuses(b.bytes, b.size - 20, MCS_EFORMAT, "cut short: chunk IDAT at byte 33 has");
    blob_free(&b);
}

/* A flipped bit is caught by CRC or structure, or changes no pixel. */
static void test_bit_flips(void **state)
{
    (void)state;
    for (int i = 0; i < FORMATS; i += 2) {
        blob b = make_png(&formats[i], 9, 6, false, formats[i].type == 3, 1000);
        mcs_image *good = mcs_image_read_memory(b.bytes, b.size, "good", NULL);
        assert_non_null(good);
        for (size_t bit = 0; bit < 8 * b.size; bit++) {
            b.bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
            mcs_image *im = mcs_image_read_memory(b.bytes, b.size, "flipped", NULL);
            if (im && !same_image(im, good))
                fail_msg("type %d: bit %zu flipped changes the picture unnoticed", formats[i].type,
                         bit);
            mcs_image_free(im);
            b.bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
        }
        mcs_image_free(good);
        blob_free(&b);
    }
}

/* ---- Attacks ---- */
static void test_huge_claims(void **state)
{
    (void)state;
    static const uint32_t sides[][2] = { { 60000, 60000 },
                                         { 20000, 20000 },
                                         { 65501, 1 },
                                         { 0x7fffffff, 0x7fffffff },
                                         { 1, 0xffffffff } };
    uint8_t raw[1000] = { 0 };
    for (int i = 0; i < 5; i++) {
        blob b = { 0 };
        png_header(&b, sides[i][0], sides[i][1], 8, 0, 0);
        png_data(&b, raw, sizeof raw, 1000);
        png_end(&b);
        refuses(b.bytes, b.size, MCS_ENOMEM, "over the limit");
        blob_free(&b);
    }
    blob b = { 0 };
    png_header(&b, 16000, 16000, 8, 2, 0); /* within the limit, but not in this file */
    png_data(&b, raw, sizeof raw, 1000);
    png_end(&b);
    refuses(b.bytes, b.size, MCS_EFORMAT, "cannot hold them");
    blob_free(&b);
    png_header(&b, 16384, 16384, 16, 6, 0); /* 2 GiB of samples, and data that may hold them */
    uint8_t *zeros = calloc(1, 1 << 20);
    assert_non_null(zeros);
    for (int i = 0; i < 3; i++)
        png_chunk(&b, "IDAT", zeros, 1 << 20);
    png_end(&b);
    refuses(b.bytes, b.size, MCS_ENOMEM, "over the limit");
    blob_free(&b);
    free(zeros);
}

/* 4 MiB of zeros in 4 kB: as IDAT behind a 1 x 1 picture, as a text and as a colour profile. */
static void test_bombs(void **state)
{
    (void)state;
    size_t n = 4 << 20;
    uLongf size = compressBound((uLong)n);
    uint8_t *zeros = calloc(1, n), *z = malloc(size + 8);
    assert_true(zeros && z);
    memcpy(z, "key\0\0", 5);
    assert_int_equal(compress2(z + 5, &size, zeros, (uLong)n, 9), Z_OK);
    static const char *const types[] = { "zTXt", "iCCP", "iTXt" };
    for (int i = 0; i < 3; i++) {
        blob b = { 0 };
        png_header(&b, 1, 1, 8, 0, 0);
        png_chunk(&b, types[i], z, size + 5);
        png_data(&b, "\0\x2a", 2, 100);
        png_end(&b);
        mcs_error e = { MCS_OK, "" };
        mcs_image *im = mcs_image_read_memory(b.bytes, b.size, types[i], &e);
        assert_string_equal(e.message, "");
        assert_int_equal(((uint8_t *)im->data)[0], 0x2a); /* skipped unread */
        mcs_image_free(im);
        blob_free(&b);
    }
    blob b = { 0 };
    png_header(&b, 1, 1, 8, 0, 0);
    png_chunk(&b, "IDAT", z + 5, size);
    png_end(&b);
    mcs_image *im = mcs_image_read_memory(b.bytes, b.size, "idat", NULL);
    assert_true(!im || im->width == 1); /* never more memory than one row needs */
    mcs_image_free(im);
    blob_free(&b);
    free(zeros);
    free(z);
}

/* Splices a chunk into a valid file before the chunk of type `before`. */
static void refuses_with(const format *f, const char *before, const char *type, const void *data,
                         size_t n, const char *words)
{
    blob good = make_png(f, 5, 5, false, false, 1000), b = { 0 };
    size_t at = 8;
    while (memcmp(good.bytes + at + 4, before, 4))
        at += 12 + ((size_t)good.bytes[at + 2] << 8 | good.bytes[at + 3]);
    blob_put(&b, good.bytes, at);
    png_chunk(&b, type, data, n);
    blob_put(&b, good.bytes + at, good.size - at);
    refuses(b.bytes, b.size, MCS_EFORMAT, words);
    blob_free(&good);
    blob_free(&b);
}

static void test_wrong_chunks(void **state)
{
    (void)state;
    const format *grey = &formats[3], *palette = &formats[8];
    uint8_t junk[800] = { 0 };
    static const uint8_t ihdr[13] = { 0, 0, 0, 5, 0, 0, 0, 5, 8 };
    refuses_with(grey, "IDAT", "IHDR", ihdr, 13, "second IHDR");
    refuses_with(grey, "IEND", "IHDR", ihdr, 13, "second IHDR");
    refuses_with(grey, "IHDR", "gAMA", junk, 4, "does not begin with an IHDR");
    refuses_with(grey, "IDAT", "tRNS", junk, 5, "tRNS");
    refuses_with(palette, "IDAT", "tRNS", junk, 200, "tRNS");
    refuses_with(palette, "IDAT", "PLTE", junk, 12, "PLTE");
    refuses_with(palette, "PLTE", "PLTE", junk, 13, "PLTE");
    refuses_with(grey, "IDAT", "ABCD", junk, 4, "ABCD"); /* a critical chunk nobody knows */
    blob b = { 0 };
    png_header(&b, 2, 2, 8, 3, 0);
    png_data(&b, "\0\0\0\0\0\0", 6, 100);
    png_end(&b);
    refuses(b.bytes, b.size, MCS_EFORMAT, "PLTE");
    blob_free(&b);
    png_header(&b, 3, 1, 8, 3, 0);
    png_chunk(&b, "PLTE", "rgbRGB", 6);
    png_data(&b, "\0\0\1\2", 4, 100);
    png_end(&b);
    refuses(b.bytes, b.size, MCS_EFORMAT, "palette index 2, the palette has 2 colours");
    blob_free(&b);
}

static void test_wrong_headers(void **state)
{
    (void)state;
    static const int bad[][3] = { { 8, 1, 0 }, { 8, 5, 0 }, { 3, 0, 0 }, { 16, 3, 0 }, { 4, 2, 0 },
                                  { 8, 7, 0 }, { 0, 0, 0 }, { 8, 0, 2 }, { 255, 0, 0 } };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        blob b = { 0 };
        png_header(&b, 2, 2, bad[i][0], bad[i][1], bad[i][2]);
        png_data(&b, "\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 14, 100);
        png_end(&b);
        refuses(b.bytes, b.size, MCS_EFORMAT, "PNG is malformed");
        blob_free(&b);
    }
    blob b = { 0 };
    png_header(&b, 0, 2, 8, 0, 0);
    png_end(&b);
    refuses(b.bytes, b.size, MCS_EFORMAT, "impossible size");
    blob_free(&b);
    png_header(&b, 9, 9, 8, 0, 0); /* rows that never come */
    png_data(&b, "\0\0\0\0", 4, 100);
    png_end(&b);
    refuses(b.bytes, b.size, MCS_EFORMAT, "PNG is malformed");
    blob_free(&b);
}

static void test_bad_crc_and_many_chunks(void **state)
{
    (void)state;
    blob b = make_png(&formats[3], 5, 5, false, false, 1000);
    b.bytes[8 + 8 + 13] ^= 1; /* IHDR's CRC */
    refuses(b.bytes, b.size, MCS_EFORMAT, "CRC");
    blob_free(&b);
    png_header(&b, 1, 1, 8, 0, 0);
    blob many = { malloc(12 * 600000), 0 };
    assert_non_null(many.bytes);
    static const uint8_t chunk[12] = { 0, 0, 0, 0, 't', 'E', 'S', 't' };
    memcpy(many.bytes, b.bytes, b.size);
    many.size = b.size;
    while (many.size + 12 < 12 * 600000) {
        memcpy(many.bytes + many.size, chunk, 12);
        many.size += 12;
    }
    refuses(many.bytes, many.size, MCS_EFORMAT, "chunks");
    blob_free(&b);
    blob_free(&many);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cut_short),
        cmocka_unit_test(test_bit_flips),
        cmocka_unit_test(test_huge_claims),
        cmocka_unit_test(test_bombs),
        cmocka_unit_test(test_wrong_chunks),
        cmocka_unit_test(test_wrong_headers),
        cmocka_unit_test(test_bad_crc_and_many_chunks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
