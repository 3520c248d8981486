/* test_resample.c - Pillow's resampler: its own results, a slow restatement, extreme shapes. */
#include <math.h>
#include "tests/picture.h"

/* The golden tensor as bytes must equal the picture. */
static void check_pixels(mcs_ctx *c, const char *name, const mcs_image *im)
{
    const mcs_tensor *x = check_golden_tensor(c, "image_resize", name);
    assert_non_null(x);
    assert_int_equal(x->shape[0], im->height);
    assert_int_equal(x->shape[1], im->width);
    const int64_t *want = x->data;
    const uint8_t *p = im->data;
    for (size_t i = 0; i < image_bytes(im); i++)
        if (p[i] != want[i])
            fail_msg("%s: sample %zu is %d, Pillow's %d", name, i, p[i], (int)want[i]);
}

static void test_as_pillow(void **state)
{
    (void)state;
    static const char *const names[] = { "nearest", "bilinear", "bicubic" };
    static const int sizes[][2] = { { 10, 7 }, { 41, 40 }, { 37, 12 },
                                    { 1, 1 },  { 90, 5 },  { 23, 37 } };
    mcs_ctx *c = check_ctx();
    mcs_image *im = noise_image(37, 23, 3);
    for (int f = 0; f < 3; f++)
        for (int i = 0; i < 6; i++) {
            char name[64];
            snprintf(name, sizeof name, "resize.%s.%d.%d", names[f], sizes[i][0], sizes[i][1]);
            mcs_image *out = mcs_image_resize(im, sizes[i][0], sizes[i][1], (mcs_filter)f, NULL);
            assert_non_null(out);
            check_pixels(c, name, out);
            mcs_image_free(out);
        }
    mcs_image_free(im);
    mcs_ctx_free(c);
}

static double weight(double x, bool cubic)
{
    x = fabs(x);
    if (!cubic)
        return x < 1 ? 1 - x : 0;
    return x < 1   ? ((-0.5 + 2) * x - (-0.5 + 3)) * x * x + 1
           : x < 2 ? (((x - 5) * x + 8) * x - 4) * -0.5
                   : 0;
}

/* One line the slow way, integer weights and 64-bit sums. */
static void resize_line(const uint8_t *src, int in, uint8_t *dst, int out, bool cubic)
{
    double step = (double)in / out, scale = step > 1 ? step : 1, s = (cubic ? 2 : 1) * scale;
    for (int i = 0; i < out; i++) {
        double center = (i + 0.5) * step, sum = 0;
        int a = (int)(center - s + 0.5), b = (int)(center + s + 0.5);
        a = a < 0 ? 0 : a;
        b = b > in ? in : b;
        for (int j = a; j < b; j++)
            sum += weight((j - center + 0.5) * (1.0 / scale), cubic);
        int64_t total = 1 << 21;
        for (int j = a; j < b; j++) {
            double k = weight((j - center + 0.5) * (1.0 / scale), cubic) / sum * (1 << 22);
            total += (int64_t)(k < 0 ? k - 0.5 : k + 0.5) * src[j];
        }
        total >>= 22;
        dst[i] = (uint8_t)(total < 0 ? 0 : total > 255 ? 255 : total);
    }
}

/* 1 x N and N x 1 of all lengths, among them weights too many for 32-bit sums. */
static void test_lines(void **state)
{
    (void)state;
    static const int cases[][2] = { { 20000, 1 }, { 20000, 3 }, { 1, 999 }, { 9000, 2 }, { 2, 17 },
                                    { 65500, 1 }, { 513, 512 }, { 7, 7 },   { 4097, 1 } };
    uint8_t *want = malloc(1000);
    assert_non_null(want);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        for (int cubic = 0; cubic < 2; cubic++) {
            int in = cases[i][0], out = cases[i][1];
            mcs_filter f = cubic ? MCS_FILTER_BICUBIC : MCS_FILTER_BILINEAR;
            mcs_image *row = noise_image(in, 1, 1), *column = mcs_image_new(1, in, 1, 8);
            memcpy(column->data, row->data, (size_t)in);
            mcs_image *r = mcs_image_resize(row, out, 1, f, NULL);
            mcs_image *k = mcs_image_resize(column, 1, out, f, NULL);
            resize_line(row->data, in, want, out, cubic);
            assert_memory_equal(r->data, want, (size_t)out);
            assert_memory_equal(k->data, want, (size_t)out);
            mcs_image_free(row);
            mcs_image_free(column);
            mcs_image_free(r);
            mcs_image_free(k);
        }
    free(want);
}

static void test_part_equals_crop(void **state)
{
    (void)state;
    mcs_image *im = noise_image(61, 47, 4);
    for (int f = 0; f < 3; f++) {
        mcs_image *all = mcs_image_resize(im, 600, 33, (mcs_filter)f, NULL);
        mcs_image *want = mcs_image_crop(all, 11, 5, 580, 21, NULL);
        mcs_image *got = mcs_image_resize_crop(im, 600, 33, (mcs_filter)f, 11, 5, 580, 21, NULL);
        assert_true(want && got && same_image(want, got));
        mcs_image_free(all);
        mcs_image_free(want);
        mcs_image_free(got);
    }
    /* A part of something far larger than any picture may be. */
    mcs_image *got =
        mcs_image_resize_crop(im, 200000000, 20, MCS_FILTER_BICUBIC, 100000000, 3, 8, 8, NULL);
    assert_non_null(got);
    mcs_image_free(got);
    mcs_image_free(im);
}

static void test_same_size_is_a_copy(void **state)
{
    (void)state;
    mcs_image *im = noise_image(53, 29, 2);
    for (int f = 0; f < 3; f++) {
        mcs_image *out = mcs_image_resize(im, 53, 29, (mcs_filter)f, NULL);
        assert_true(same_image(im, out));
        mcs_image_free(out);
    }
    mcs_image_free(im);
}

static void test_refusals(void **state)
{
    (void)state;
    mcs_error e = { MCS_OK, "" };
    mcs_image *im = noise_image(5, 4, 3), *deep = mcs_image_new(5, 4, 1, 16);
    assert_null(mcs_image_resize(NULL, 3, 3, MCS_FILTER_BICUBIC, &e));
    assert_int_equal(e.status, MCS_OK);
    assert_null(mcs_image_resize(im, 0, 3, MCS_FILTER_BICUBIC, &e));
    assert_int_equal(e.status, MCS_EINVAL);
    assert_null(mcs_image_resize_crop(im, 9, 9, MCS_FILTER_BICUBIC, 4, 4, 6, 1, NULL));
    assert_null(mcs_image_resize_crop(im, 9, 9, MCS_FILTER_BICUBIC, -1, 4, 2, 1, NULL));
    e = (mcs_error){ MCS_OK, "" };
    assert_null(mcs_image_resize(deep, 3, 3, MCS_FILTER_BICUBIC, &e));
    assert_non_null(strstr(e.message, "16 bits, expected 8"));
    e = (mcs_error){ MCS_OK, "" };
    assert_null(mcs_image_resize(im, 65501, 3, MCS_FILTER_BILINEAR, &e));
    assert_int_equal(e.status, MCS_ENOMEM);
    assert_non_null(strstr(e.message, "limit"));
    mcs_image_free(im);
    mcs_image_free(deep);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_as_pillow),           cmocka_unit_test(test_lines),
        cmocka_unit_test(test_part_equals_crop),    cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_same_size_is_a_copy),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
