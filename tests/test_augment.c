/* test_augment.c - random crops: range, distribution, fallback, and what is cut. */
#include <math.h>
#include <string.h>
#include "image/augment.h"
#include "tests/check.h"

static void test_boxes(void **state)
{
    (void)state;
    double area = 0, aspect = 0, left = 0;
    enum { N = 4000 };
    for (uint64_t i = 0; i < N; i++) {
        mcs_crop_box b = mcs_random_crop(640, 480, 0.3, 0.4, 3, i), again;
        again = mcs_random_crop(640, 480, 0.3, 0.4, 3, i);
        assert_memory_equal(&b, &again, sizeof b);
        assert_true(b.x >= 0 && b.y >= 0 && b.x + b.width <= 640 && b.y + b.height <= 480);
        double share = (double)b.width * b.height / (640.0 * 480.0);
        double ratio = (double)b.width / b.height;
        assert_true(share > 0.295 && share < 0.405 && ratio > 0.74 && ratio < 1.345);
        area += share / N;
        aspect += log(ratio) / N;
        left += b.width < 640 ? (double)b.x / (640 - b.width) / N : 0.5 / N;
    }
    assert_true(fabs(area - 0.35) < 0.005 && fabs(aspect) < 0.02 && fabs(left - 0.5) < 0.02);
}

/* Nothing fits: the largest centred box of an allowed aspect. */
static void test_fallback(void **state)
{
    (void)state;
    mcs_crop_box b = mcs_random_crop(1000, 10, 0.9, 1, 1, 1);
    assert_int_equal(b.width, 13);
    assert_int_equal(b.height, 10);
    assert_int_equal(b.x, 493);
    b = mcs_random_crop(9, 90, 0.9, 1, 1, 1);
    assert_int_equal(b.width, 9);
    assert_int_equal(b.height, 12);
    assert_int_equal(b.y, 39);
    b = mcs_random_crop(1, 1, 0.9, 1, 1, 1);
    assert_int_equal(b.width * b.height, 1);
}

static void test_cut_then_resized(void **state)
{
    (void)state;
    mcs_error e = { MCS_OK, "" };
    mcs_image *im = mcs_image_new(40, 30, 1, 8);
    for (int i = 0; i < 1200; i++)
        ((uint8_t *)im->data)[i] = (uint8_t)(i % 40 < 10 ? 255 : i % 7 * 9);
    mcs_image *out = mcs_image_resized_crop(im, (mcs_crop_box){ 10, 3, 25, 20 }, 13, &e);
    assert_non_null(out);
    assert_int_equal(out->channels, 3);
    mcs_image *cut = mcs_image_crop(im, 10, 3, 25, 20, &e);
    mcs_image *want = mcs_image_resize(cut, 13, 13, MCS_FILTER_BICUBIC, &e);
    for (int i = 0; i < 13 * 13 * 3; i++)
        assert_int_equal(((uint8_t *)out->data)[i], ((uint8_t *)want->data)[i / 3]);
    for (int i = 0; i < 13; i++) /* the white stripe beside the box does not bleed into it */
        assert_true(((uint8_t *)out->data)[i * 39] < 80);
    assert_null(mcs_image_resized_crop(NULL, (mcs_crop_box){ 0, 0, 1, 1 }, 13, &e));
    assert_null(mcs_image_resized_crop(im, (mcs_crop_box){ 30, 0, 20, 20 }, 13, &e));
    mcs_image_free(im);
    mcs_image_free(cut);
    mcs_image_free(out);
    mcs_image_free(want);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_boxes),
        cmocka_unit_test(test_fallback),
        cmocka_unit_test(test_cut_then_resized),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
