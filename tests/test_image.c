/* test_image.c - pictures in memory: limits, crops, conversions, windows; what is not a picture. */
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>
#include "tests/picture.h"

static void test_limits(void **state)
{
    (void)state;
    assert_null(mcs_image_new(0, 5, 1, 8));
    assert_null(mcs_image_new(5, -1, 1, 8));
    assert_null(mcs_image_new(5, 5, 5, 8));
    assert_null(mcs_image_new(5, 5, 1, 12));
    assert_null(mcs_image_new(65501, 1, 1, 8));
    assert_null(mcs_image_new(20000, 20000, 1, 8));
    assert_null(mcs_image_new(2147483647, 2147483647, 4, 16));
    mcs_image *im = mcs_image_new(65500, 2, 4, 16);
    assert_non_null(im);
    for (size_t i = 0; i < image_bytes(im); i++)
        assert_int_equal(((uint8_t *)im->data)[i], 0);
    mcs_image_free(im);
    mcs_image_free(NULL);
}

static void test_crop(void **state)
{
    (void)state;
    mcs_image *im = noise_image(9, 7, 3);
    mcs_image *c = mcs_image_crop(im, 2, 3, 5, 4, NULL);
    assert_non_null(c);
    for (int y = 0; y < 4; y++)
        for (int x = 0; x < 5; x++)
            for (int k = 0; k < 3; k++)
                assert_int_equal(((uint8_t *)c->data)[(y * 5 + x) * 3 + k],
                                 noise_at(x + 2, y + 3, k));
    mcs_image_free(c);
    static const int bad[][4] = {
        { -1, 0, 2, 2 }, { 0, 0, 10, 1 },         { 8, 6, 2, 1 },
        { 0, 0, 0, 1 },  { 2147483647, 0, 1, 1 }, { 1, 1, 2147483647, 1 }
    };
    for (int i = 0; i < 6; i++) {
        mcs_error e = { MCS_OK, "" };
        assert_null(mcs_image_crop(im, bad[i][0], bad[i][1], bad[i][2], bad[i][3], &e));
        assert_int_equal(e.status, MCS_EINVAL);
    }
    assert_null(mcs_image_crop(NULL, 0, 0, 1, 1, NULL));
    mcs_image_free(im);
}

static mcs_image *from16(int w, int channels, const uint16_t *v)
{
    mcs_image *im = mcs_image_new(w, 1, channels, 16);
    assert_non_null(im);
    memcpy(im->data, v, (size_t)(w * channels) * 2);
    return im;
}

static void check_row(const mcs_image *im, int channels, const uint8_t *want)
{
    assert_non_null(im);
    assert_int_equal(im->depth, 8);
    assert_int_equal(im->channels, channels);
    for (int i = 0; i < im->width * channels; i++)
        if (((uint8_t *)im->data)[i] != want[i])
            fail_msg("sample %d is %d, expected %d", i, ((uint8_t *)im->data)[i], want[i]);
}

/* PIL's own answers. */
static void test_convert_8(void **state)
{
    (void)state;
    static const uint8_t rgba[] = { 255, 0, 0, 7, 0, 255, 0, 0, 0, 0, 255, 255, 10, 20, 30, 40 };
    static const uint8_t rgb[] = { 255, 0, 0, 0, 255, 0, 0, 0, 255, 10, 20, 30 };
    static const uint8_t luma[] = { 76, 150, 29, 18 };
    static const uint8_t la[] = { 9, 0, 200, 255 }, la_rgb[] = { 9, 9, 9, 200, 200, 200 };
    mcs_image *im = mcs_image_new(4, 1, 4, 8), *two = mcs_image_new(2, 1, 2, 8);
    memcpy(im->data, rgba, sizeof rgba);
    memcpy(two->data, la, sizeof la);
    mcs_image *a = mcs_image_to_rgb(im, NULL), *b = mcs_image_to_grey(im, NULL);
    mcs_image *c = mcs_image_to_rgb(two, NULL), *d = mcs_image_to_grey(two, NULL);
    check_row(a, 3, rgb);
    check_row(b, 1, luma);
    check_row(c, 3, la_rgb);
    check_row(d, 1, (const uint8_t[]){ 9, 200 });
    assert_null(mcs_image_to_rgb(NULL, NULL));
    assert_null(mcs_image_to_grey(NULL, NULL));
    mcs_image *all[] = { im, two, a, b, c, d };
    for (int i = 0; i < 6; i++)
        mcs_image_free(all[i]);
}

static void test_convert_16(void **state)
{
    (void)state;
    static const uint16_t grey[] = { 1000, 1001, 3000, 2000 },
                          colour[] = { 256, 511, 65535, 0, 1, 255 };
    mcs_image *g = from16(4, 1, grey), *c = from16(2, 3, colour);
    mcs_image *a = mcs_image_to_grey(g, NULL), *b = mcs_image_to_rgb(c, NULL);
    check_row(a, 1, (const uint8_t[]){ 0, 0, 255, 128 }); /* minimum to maximum */
    check_row(b, 3, (const uint8_t[]){ 1, 1, 255, 0, 0, 0 }); /* high bytes */
    mcs_image *w = mcs_image_window(g, 0, 255, NULL); /* PIL's clip */
    check_row(w, 1, (const uint8_t[]){ 255, 255, 255, 255 });
    mcs_image *all[] = { g, c, a, b, w };
    for (int i = 0; i < 5; i++)
        mcs_image_free(all[i]);
}

static void test_window(void **state)
{
    (void)state;
    static const uint16_t v[] = { 0, 99, 100, 150, 200, 201, 65535, 123 };
    mcs_image *im = from16(8, 1, v), *pair = from16(4, 2, v);
    mcs_image *a = mcs_image_window(im, 100, 200, NULL),
              *b = mcs_image_window(pair, 100, 200, NULL);
    check_row(a, 1, (const uint8_t[]){ 0, 0, 0, 128, 255, 255, 255, 59 });
    check_row(b, 2, (const uint8_t[]){ 0, 0, 0, 0, 255, 0, 255, 0 }); /* alpha: high byte */
    mcs_error e = { MCS_OK, "" };
    assert_null(mcs_image_window(im, 5, 5, &e));
    assert_non_null(strstr(e.message, "from 5 to 5"));
    assert_null(mcs_image_window(im, 0.0, 1.0 / 0.0, NULL));
    assert_null(mcs_image_window(im, 0.0 / 0.0, 1.0, NULL));
    mcs_image *all[] = { im, pair, a, b };
    for (int i = 0; i < 4; i++)
        mcs_image_free(all[i]);
}

static void test_normalize(void **state)
{
    (void)state;
    uint16_t v[101];
    for (int i = 0; i < 101; i++)
        v[i] = (uint16_t)(i * 10 + (i == 100 ? 60000 : 0)); /* one hot pixel */
    mcs_image *im = from16(101, 1, v);
    mcs_image *a = mcs_image_normalize(im, 0, 100, NULL), *b = mcs_image_normalize(im, 1, 99, NULL);
    assert_int_equal(((uint8_t *)a->data)[99], 4); /* 990 of 61000 */
    assert_int_equal(((uint8_t *)b->data)[1], 0);
    assert_int_equal(((uint8_t *)b->data)[50], 128); /* 500 between 10 and 990 */
    assert_int_equal(((uint8_t *)b->data)[99], 255);
    /* numpy.percentile(v, 0.5) is 5: halfway between the first two. */
    mcs_image *h = mcs_image_normalize(im, 0.5, 99, NULL);
    assert_int_equal(((uint8_t *)h->data)[1], 1); /* 255 * 5 / 985 */
    mcs_error e = { MCS_OK, "" };
    assert_null(mcs_image_normalize(im, 50, 50, &e));
    assert_int_equal(e.status, MCS_EINVAL);
    assert_null(mcs_image_normalize(im, -1, 50, NULL));
    assert_null(mcs_image_normalize(im, 1, 101, NULL));
    for (int i = 0; i < 101; i++)
        ((uint16_t *)im->data)[i] = 777;
    mcs_image *k = mcs_image_normalize(im, 0, 100, NULL);
    assert_int_equal(((uint8_t *)k->data)[0], 0);
    mcs_image *all[] = { im, a, b, h, k };
    for (int i = 0; i < 5; i++)
        mcs_image_free(all[i]);
}

static void test_other_formats(void **state)
{
    (void)state;
    uint8_t dicom[132] = { 0 }, nifti[348] = { 0 };
    memcpy(dicom + 128, "DICM", 4);
    memcpy(nifti + 344, "n+1", 4);
    refuses("", 0, MCS_EFORMAT, "empty file");
    refuses("hello", 5, MCS_EFORMAT, "neither");
    refuses("\x89PNG", 4, MCS_EFORMAT, "neither");
    refuses("GIF89a", 6, MCS_EFORMAT, "GIF");
    refuses("II*\0....", 8, MCS_EFORMAT, "TIFF");
    refuses("RIFF....WEBP", 12, MCS_EFORMAT, "WebP");
    refuses(dicom, sizeof dicom, MCS_EFORMAT, "DICOM");
    refuses(nifti, sizeof nifti, MCS_EFORMAT, "NIfTI");
}

static void refuses_path(const char *path, mcs_status s, const char *words)
{
    mcs_error e = { MCS_OK, "" };
    assert_null(mcs_image_read(path, &e));
    if (e.status != s || !strstr(e.message, words) || !strstr(e.message, path))
        fail_msg("status %d, \"%s\"; expected %d, \"%s\"", e.status, e.message, s, words);
}

static void test_paths(void **state)
{
    (void)state;
    char fifo[64];
    snprintf(fifo, sizeof fifo, "/tmp/mcs_test_image_%ld", (long)getpid());
    refuses_path("no/such/file.png", MCS_ENOTFOUND, "cannot be opened");
    refuses_path("tests", MCS_EIO, "is a folder");
    refuses_path("/dev/zero", MCS_EIO, "not a regular file");
    assert_int_equal(mkfifo(fifo, 0600), 0);
    refuses_path(fifo, MCS_EIO, "not a regular file"); /* and does not wait for a writer */
    unlink(fifo);
    refuses_path("Makefile", MCS_EFORMAT, "expected PNG or JPEG");
    assert_null(mcs_image_read("no/such/file.png", NULL));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_limits),        cmocka_unit_test(test_crop),
        cmocka_unit_test(test_convert_8),     cmocka_unit_test(test_convert_16),
        cmocka_unit_test(test_window),        cmocka_unit_test(test_normalize),
        cmocka_unit_test(test_other_formats), cmocka_unit_test(test_paths),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
