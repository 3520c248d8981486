/* test_png.c - reading PNG: every colour type, depth and interlace from files built here, and
 * PngSuite against Pillow. */
#include "tests/png_maker.h"

/* What channel c of the decoded pixel must be. */
static unsigned expected(const format *f, bool trns, int x, int y, int c)
{
    unsigned v = value(f, x, y, c < f->channels ? c : 0), most = (1u << f->depth) - 1;
    if (f->type == 3) {
        v = value(f, x, y, 0);
        bool opaque = !trns || (f->depth > 1 && v == most);
        return c < 3 ? (uint8_t)((3 * v + (unsigned)c) * 73 + 5) : opaque ? 255 : (uint8_t)(v * 31);
    }
    if (c == f->channels) { /* made of tRNS */
        bool key = true;
        for (int k = 0; k < f->channels; k++)
            key = key && value(f, x, y, k) == value(f, 0, 0, k);
        return key ? 0 : f->depth == 16 ? 65535 : 255;
    }
    return f->depth < 8 ? v * 255 / most : v;
}

static void check_format(const format *f, int w, int h, bool interlace, bool trns)
{
    blob b = make_png(f, w, h, interlace, trns, 40);
    mcs_error e = { MCS_OK, "" };
    mcs_image *im = mcs_image_read_memory(b.bytes, b.size, "made.png", &e);
    if (!im)
        fail_msg("type %d depth %d: %s", f->type, f->depth, e.message);
    assert_int_equal(im->width, w);
    assert_int_equal(im->height, h);
    assert_int_equal(im->channels, (f->type == 3 ? 3 : f->channels) + trns);
    assert_int_equal(im->depth, f->depth == 16 ? 16 : 8);
    for (int y = 0; y < h; y++)
        for (int x = 0; x < w; x++)
            for (int c = 0; c < im->channels; c++) {
                int i = (y * w + x) * im->channels + c;
                unsigned v = im->depth == 16 ? ((uint16_t *)im->data)[i] : ((uint8_t *)im->data)[i];
                if (v != expected(f, trns, x, y, c))
                    fail_msg("type %d depth %d (%d,%d) channel %d: %u, expected %u", f->type,
                             f->depth, x, y, c, v, expected(f, trns, x, y, c));
            }
    mcs_image_free(im);
    blob_free(&b);
}

static void test_all_formats(void **state)
{
    (void)state;
    static const int sizes[][2] = { { 13, 11 }, { 1, 1 }, { 1, 9 }, { 7, 1 }, { 4, 4 }, { 33, 8 } };
    for (int i = 0; i < FORMATS; i++)
        for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++)
            for (int interlace = 0; interlace < 2; interlace++) {
                check_format(&formats[i], sizes[s][0], sizes[s][1], interlace, false);
                if (formats[i].type < 4)
                    check_format(&formats[i], sizes[s][0], sizes[s][1], interlace, true);
            }
}

static void test_png_suite(void **state)
{
    (void)state;
    char line[256], name[64], path[1200];
    const char *folder = check_data("malformed/png/primary");
    FILE *f = fopen("tests/golden/png_suite.tsv", "r");
    assert_non_null(f);
    int n = 0;
    while (fgets(line, sizeof line, f)) {
        int w, h;
        unsigned crc_rgb, crc_grey;
        assert_int_equal(sscanf(line, "%63s %d %d %x %x", name, &w, &h, &crc_rgb, &crc_grey), 5);
        snprintf(path, sizeof path, "%s/%s", folder, name);
        mcs_error e = { MCS_OK, "" };
        mcs_image *im = mcs_image_read(path, &e), *rgb = mcs_image_to_rgb(im, &e),
                  *grey = mcs_image_to_grey(im, &e);
        if (!rgb || !grey)
            fail_msg("%s", e.message);
        assert_int_equal(rgb->width, w);
        assert_int_equal(rgb->height, h);
        if (crc32(0, rgb->data, (uInt)image_bytes(rgb)) != crc_rgb)
            fail_msg("%s: RGB samples differ from Pillow's", name);
        if (crc32(0, grey->data, (uInt)image_bytes(grey)) != crc_grey)
            fail_msg("%s: grey samples differ from Pillow's", name);
        mcs_image_free(im);
        mcs_image_free(rgb);
        mcs_image_free(grey);
        n++;
    }
    fclose(f);
    assert_int_equal(n, 77);
}

/* An animated PNG is its first picture, as for Pillow. */
static void test_apng(void **state)
{
    (void)state;
    uint8_t fctl[26] = { 0 };
    blob b = { 0 };
    png_header(&b, 1, 1, 8, 0, 0);
    png_chunk(&b, "acTL", "\0\0\0\2\0\0\0\0", 8);
    png_chunk(&b, "fcTL", fctl, 26);
    png_data(&b, "\0\x11", 2, 100);
    png_chunk(&b, "fcTL", fctl, 26);
    png_chunk(&b, "fdAT", fctl, 20);
    png_end(&b);
    mcs_image *im = mcs_image_read_memory(b.bytes, b.size, "apng", NULL);
    assert_non_null(im);
    assert_int_equal(((uint8_t *)im->data)[0], 0x11);
    mcs_image_free(im);
    blob_free(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_all_formats),
        cmocka_unit_test(test_png_suite),
        cmocka_unit_test(test_apng),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
