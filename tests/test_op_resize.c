/* test_op_resize.c - resize_bilinear and resize_nearest. */
#include <math.h>
#include "tests/check.h"

static mcs_tensor *up(mcs_ctx *c, mcs_tensor **in)
{
    return mcs_resize_bilinear(c, in[0], 11, 9, false);
}

static mcs_tensor *down(mcs_ctx *c, mcs_tensor **in)
{
    return mcs_resize_bilinear(c, in[0], 5, 3, false);
}

static mcs_tensor *corners(mcs_ctx *c, mcs_tensor **in)
{
    return mcs_resize_bilinear(c, in[0], 7, 9, true);
}

static mcs_tensor *wide(mcs_ctx *c, mcs_tensor **in)
{
    return mcs_resize_bilinear(c, in[0], 2, 683, false);
}

static mcs_tensor *nearest(mcs_ctx *c, mcs_tensor **in)
{
    return mcs_resize_nearest(c, in[0], 7, 9);
}

static void check_row(mcs_ctx *c, const mcs_tensor *y, int64_t n, const float *expected)
{
    check_near(y, mcs_from(c, MCS_F32, 4, MCS_SHAPE(1, 1, 1, n), expected), 1e-6f, 0);
}

static void test_by_hand(void **state)
{
    (void)state;
    mcs_ctx *c = check_ctx();
    mcs_tensor *x = mcs_from(c, MCS_F32, 4, MCS_SHAPE(1, 1, 1, 3), (float[]){ 1, 3, 9 });
    check_row(c, mcs_resize_bilinear(c, x, 1, 6, false), 6,
              (float[]){ 1, 1.5f, 2.5f, 4.5f, 7.5f, 9 });
    check_row(c, mcs_resize_bilinear(c, x, 1, 5, true), 5, (float[]){ 1, 2, 3, 6, 9 });
    check_row(c, mcs_resize_bilinear(c, x, 1, 1, false), 1, (float[]){ 3 });
    check_row(c, mcs_resize_bilinear(c, x, 1, 1, true), 1, (float[]){ 1 });
    check_row(c, mcs_resize_bilinear(c, x, 1, 3, false), 3, (float[]){ 1, 3, 9 });
    check_row(c, mcs_resize_nearest(c, x, 1, 6), 6, (float[]){ 1, 1, 3, 3, 9, 9 });
    check_row(c, mcs_resize_nearest(c, x, 1, 2), 2, (float[]){ 1, 3 });
    mcs_tensor *v = mcs_from(c, MCS_F32, 4, MCS_SHAPE(1, 1, 2, 1), (float[]){ 0, 4 });
    check_near(mcs_resize_bilinear(c, v, 4, 1, false),
               mcs_from(c, MCS_F32, 4, MCS_SHAPE(1, 1, 4, 1), (float[]){ 0, 1, 3, 4 }), 0, 0);
    check_ok(c);
    mcs_ctx_free(c);
}

static void test_golden(void **state)
{
    (void)state;
    mcs_ctx *c = check_ctx();
    check_golden(c, "resize_up", up, 1e-6f, 5e-7f);
    check_golden(c, "resize_down", down, 1e-6f, 5e-7f);
    check_golden(c, "resize_corners", corners, 1e-6f, 5e-7f);
    check_golden(c, "resize_wide", wide, 1e-6f, 5e-7f); /* the place of a sample rounds once */
    check_golden(c, "resize_nearest", nearest, 0, 5e-7f);
    mcs_ctx_free(c);
}

static void test_gradients(void **state)
{
    (void)state;
    mcs_ctx *c = check_ctx();
    mcs_tensor *x = check_random(c, 1, -1, 1, 4, MCS_SHAPE(2, 2, 6, 5));
    check_grad(c, up, 1, &x, 1e-3f);
    check_grad(c, down, 1, &x, 1e-3f);
    check_grad(c, corners, 1, &x, 1e-3f);
    check_grad(c, nearest, 1, &x, 1e-3f);
    mcs_ctx_free(c);
}

/* A constant stays a constant at any size, and every gradient is passed on whole. */
static void test_weights_sum_to_one(void **state)
{
    (void)state;
    mcs_ctx *c = check_ctx();
    for (int64_t n = 1; n < 40; n++) {
        mcs_tensor *x = mcs_leaf(c, mcs_full(c, 4, MCS_SHAPE(1, 1, 17, 23), 3));
        mcs_tensor *y = mcs_resize_bilinear(c, x, n, 2 * n, n % 2);
        check_near(y, mcs_full(c, 4, MCS_SHAPE(1, 1, n, 2 * n), 3), 1e-6f, 0);
        assert_int_equal(mcs_backward(c, y, mcs_full(c, 4, y->shape, 1)), MCS_OK);
        double sum = 0;
        for (int64_t i = 0; i < 17 * 23; i++)
            sum += (double)mcs_f32(mcs_grad(c, x))[i];
        assert_true(fabs(sum - (double)(2 * n * n)) < 1e-3 * (double)(2 * n * n));
        mcs_ctx_reset(c);
    }
    mcs_ctx_free(c);
}

static void test_threads(void **state)
{
    (void)state;
    mcs_ctx *c = check_ctx();
    mcs_tensor *x = check_random(c, 1, -1, 1, 4, MCS_SHAPE(300, 7, 31, 23));
    check_threads(up, 1, &x);
    check_threads(wide, 1,
                  (mcs_tensor *[]){ check_random(c, 1, -1, 1, 4, MCS_SHAPE(3, 7, 31, 23)) });
    check_threads(nearest, 1, &x);
    mcs_ctx_free(c);
}

static void test_memory_limits(void **state)
{
    (void)state;
    mcs_ctx *c = check_ctx();
    mcs_tensor *x = check_random(c, 1, -1, 1, 4, MCS_SHAPE(300, 7, 31, 23));
    check_limits(wide, 1, &x);
    mcs_ctx_free(c);
}

static void test_refusals(void **state)
{
    (void)state;
    mcs_ctx *c = check_ctx();
#define OF(...) mcs_zeros(c, (int)(sizeof(MCS_SHAPE(__VA_ARGS__)) / 8), MCS_SHAPE(__VA_ARGS__))
    check_fails(c, mcs_resize_bilinear(c, OF(1, 1, 4, 4), 0, 3, false), MCS_EINVAL, "height 0");
    check_fails(c, mcs_resize_nearest(c, OF(1, 1, 4, 4), 3, -1), MCS_EINVAL, "width -1");
    check_fails(c, mcs_resize_nearest(c, OF(1, 1, 0, 4), 3, 3), MCS_ESHAPE, "(1, 1, 0, 4)");
    check_fails(c, mcs_resize_nearest(c, OF(1, 4, 4), 3, 3), MCS_ESHAPE, "resize_nearest");
    check_fails(c, mcs_resize_nearest(c, OF(1, 1, 4, 4), INT64_MAX, INT64_MAX), MCS_ESHAPE,
                "overflows");
    assert_null(mcs_resize_bilinear(c, NULL, 2, 2, false));
    assert_null(mcs_resize_nearest(c, NULL, 2, 2));
    check_ok(c);
    mcs_ctx_free(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_by_hand),   cmocka_unit_test(test_golden),
        cmocka_unit_test(test_gradients), cmocka_unit_test(test_weights_sum_to_one),
        cmocka_unit_test(test_threads),   cmocka_unit_test(test_memory_limits),
        cmocka_unit_test(test_refusals),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
