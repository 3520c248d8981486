/* test_op_pool.c - max_pool2d and avg_pool2d. */
#include <math.h>
#include "tests/check.h"

static mcs_tensor *max_3(mcs_ctx *c, mcs_tensor **in)
{
    return mcs_max_pool2d(c, in[0], 3, 2, 1);
}
static mcs_tensor *avg_3(mcs_ctx *c, mcs_tensor **in)
{
    return mcs_avg_pool2d(c, in[0], 3, 2, 1);
}

static void test_by_hand(void **state)
{
    (void)state;
    mcs_ctx *c = check_ctx();
    mcs_tensor *x =
        mcs_from(c, MCS_F32, 4, MCS_SHAPE(1, 1, 2, 5), (float[]){ 1, 5, 3, -4, 9, 2, 2, 8, -1, 9 });
    check_near(mcs_max_pool2d(c, x, 2, 2, 0),
               mcs_from(c, MCS_F32, 4, MCS_SHAPE(1, 1, 1, 2), (float[]){ 5, 8 }), 0, 0);
    check_near(mcs_avg_pool2d(c, x, 2, 2, 0),
               mcs_from(c, MCS_F32, 4, MCS_SHAPE(1, 1, 1, 2), (float[]){ 2.5f, 1.5f }), 0, 0);
    /* Padding: never the maximum, counted as zeros by the average. */
    mcs_tensor *n = mcs_full(c, 4, MCS_SHAPE(1, 1, 2, 2), -4);
    check_near(mcs_max_pool2d(c, n, 2, 2, 1), mcs_full(c, 4, MCS_SHAPE(1, 1, 2, 2), -4), 0, 0);
    check_near(mcs_avg_pool2d(c, n, 2, 2, 1), mcs_full(c, 4, MCS_SHAPE(1, 1, 2, 2), -1), 0, 0);
    check_ok(c);
    mcs_ctx_free(c);
}

/* Equal maxima: the first one gets the gradient.  NaN is a maximum. */
static void test_ties_and_nan(void **state)
{
    (void)state;
    mcs_ctx *c = check_ctx();
    mcs_tensor *x = mcs_leaf(c, mcs_full(c, 4, MCS_SHAPE(1, 1, 2, 2), 7));
    mcs_tensor *y = mcs_max_pool2d(c, x, 2, 2, 0);
    assert_int_equal(mcs_backward(c, y, NULL), MCS_OK);
    check_near(mcs_grad(c, x),
               mcs_from(c, MCS_F32, 4, MCS_SHAPE(1, 1, 2, 2), (float[]){ 1, 0, 0, 0 }), 0, 0);
    mcs_tensor *bad = mcs_from(c, MCS_F32, 4, MCS_SHAPE(1, 1, 1, 3), (float[]){ 1, NAN, 3 });
    mcs_tensor *m = mcs_max_pool2d(c, bad, 1, 1, 0);
    assert_true(isnan(mcs_f32(m)[1]) && mcs_f32(m)[2] == 3);
    bad = mcs_full(c, 4, MCS_SHAPE(1, 1, 3, 3), 5);
    mcs_f32(bad)[4] = NAN;
    assert_true(isnan(mcs_f32(mcs_max_pool2d(c, bad, 3, 1, 0))[0]));
    mcs_tensor *inf = mcs_full(c, 4, MCS_SHAPE(1, 1, 2, 2), -INFINITY);
    assert_true(mcs_f32(mcs_max_pool2d(c, inf, 2, 1, 0))[0] == -INFINITY);
    mcs_ctx_free(c);
}

static void test_golden(void **state)
{
    (void)state;
    mcs_ctx *c = check_ctx();
    check_golden(c, "max_pool", max_3, 1e-6f, 1e-6f);
    check_golden(c, "avg_pool", avg_3, 1e-6f, 1e-6f);
    mcs_ctx_free(c);
}

static void test_gradients(void **state)
{
    (void)state;
    mcs_ctx *c = check_ctx();
    mcs_tensor *x = mcs_new(c, 4, MCS_SHAPE(2, 3, 6, 7));
    for (int64_t i = 0; i < mcs_numel(x); i++) /* far enough apart that no step swaps two */
        mcs_f32(x)[i] = (float)(i * 71 % 252);
    check_grad(c, avg_3, 1, &x, 1e-3f);
    check_grad(c, max_3, 1, &x, 1e-2f);
    mcs_ctx_free(c);
}

static void test_threads(void **state)
{
    (void)state;
    mcs_ctx *c = check_ctx();
    mcs_tensor *x = check_random(c, 1, -1, 1, 4, MCS_SHAPE(3, 5, 91, 103));
    check_threads(max_3, 1, &x);
    check_threads(avg_3, 1, &x);
    mcs_ctx_free(c);
}

static void test_memory_limits(void **state)
{
    (void)state;
    mcs_ctx *c = check_ctx();
    mcs_tensor *x = check_random(c, 1, -1, 1, 4, MCS_SHAPE(3, 5, 191, 203));
    check_limits(max_3, 1, &x);
    mcs_ctx_free(c);
}

static void test_refusals(void **state)
{
    (void)state;
    mcs_ctx *c = check_ctx();
#define OF(...) mcs_zeros(c, (int)(sizeof(MCS_SHAPE(__VA_ARGS__)) / 8), MCS_SHAPE(__VA_ARGS__))
    check_fails(c, mcs_max_pool2d(c, OF(1, 1, 4, 4), 0, 1, 0), MCS_EINVAL, "kernel 0");
    check_fails(c, mcs_max_pool2d(c, OF(1, 1, 4, 4), 2, 0, 0), MCS_EINVAL, "stride 0");
    check_fails(c, mcs_max_pool2d(c, OF(1, 1, 4, 4), 2, 1, 2), MCS_EINVAL, "padding 2");
    check_fails(c, mcs_avg_pool2d(c, OF(1, 1, 4, 4), 2, 1, -1), MCS_EINVAL, "padding -1");
    check_fails(c, mcs_avg_pool2d(c, OF(1, 1, 4, 4), 5, 1, 0), MCS_ESHAPE, "smaller");
    check_fails(c, mcs_avg_pool2d(c, OF(1, 1, 9, 4), 5, 1, 0), MCS_ESHAPE, "smaller");
    check_fails(c, mcs_avg_pool2d(c, OF(1, 4, 4), 2, 1, 0), MCS_ESHAPE, "avg_pool2d");
    check_fails(c, mcs_max_pool2d(c, OF(1, 0, 4, 4), 2, 1, 0), MCS_ESHAPE, "max_pool2d");
    assert_null(mcs_max_pool2d(c, NULL, 2, 2, 0));
    assert_null(mcs_avg_pool2d(c, NULL, 2, 2, 0));
    check_ok(c);
    mcs_ctx_free(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_by_hand),  cmocka_unit_test(test_ties_and_nan),
        cmocka_unit_test(test_golden),   cmocka_unit_test(test_gradients),
        cmocka_unit_test(test_threads),  cmocka_unit_test(test_memory_limits),
        cmocka_unit_test(test_refusals),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
