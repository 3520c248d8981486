/* test_op_conv_transpose.c - conv_transpose2d. */
#include "tests/check.h"

static mcs_tensor *double_2x2(mcs_ctx *c, mcs_tensor **in)
{
    return mcs_conv_transpose2d(c, in[0], in[1], in[2], (mcs_conv_opts){ 2, 2, 0, 0, 1 }, 0, 0);
}

static mcs_tensor *double_3x3(mcs_ctx *c, mcs_tensor **in)
{
    return mcs_conv_transpose2d(c, in[0], in[1], in[2], (mcs_conv_opts){ 2, 2, 1, 1, 0 }, 1, 1);
}

static mcs_tensor *groups_2(mcs_ctx *c, mcs_tensor **in)
{
    return mcs_conv_transpose2d(c, in[0], in[1], in[2], (mcs_conv_opts){ 2, 3, 1, 0, 2 }, 1, 2);
}

static mcs_tensor *picture(mcs_ctx *c, uint64_t seed, int64_t n, int64_t ch, int64_t h, int64_t w)
{
    return check_random(c, seed, -1, 1, 4, MCS_SHAPE(n, ch, h, w));
}

static void test_by_hand(void **state)
{
    (void)state;
    mcs_ctx *c = check_ctx();
    mcs_tensor *x = mcs_from(c, MCS_F32, 4, MCS_SHAPE(1, 1, 1, 2), (float[]){ 1, 2 });
    mcs_tensor *w = mcs_from(c, MCS_F32, 4, MCS_SHAPE(1, 1, 2, 2), (float[]){ 1, 10, 100, 1000 });
    mcs_tensor *b = mcs_from(c, MCS_F32, 1, MCS_SHAPE(1), (float[]){ .5f });
    mcs_tensor *y = mcs_conv_transpose2d(c, x, w, b, (mcs_conv_opts){ 0 }, 0, 0);
    check_near(y,
               mcs_from(c, MCS_F32, 4, MCS_SHAPE(1, 1, 2, 3),
                        (float[]){ 1.5f, 12.5f, 20.5f, 100.5f, 1200.5f, 2000.5f }),
               0, 0);
    y = double_2x2(c, (mcs_tensor *[]){ x, w, NULL });
    check_near(y,
               mcs_from(c, MCS_F32, 4, MCS_SHAPE(1, 1, 2, 4),
                        (float[]){ 1, 10, 2, 20, 100, 1000, 200, 2000 }),
               0, 0);
    check_ok(c);
    mcs_ctx_free(c);
}

static void test_golden(void **state)
{
    (void)state;
    mcs_ctx *c = check_ctx();
    check_golden(c, "conv_transpose_2x2", double_2x2, 1e-5f, 4e-6f);
    check_golden(c, "conv_transpose_groups", groups_2, 1e-5f, 4e-6f);
    mcs_ctx_free(c);
}

static void test_gradients(void **state)
{
    (void)state;
    mcs_ctx *c = check_ctx();
    mcs_tensor *in[] = { picture(c, 1, 2, 3, 4, 3), picture(c, 2, 3, 2, 3, 3),
                         check_random(c, 3, -1, 1, 1, MCS_SHAPE(2)) };
    check_grad(c, double_3x3, 3, in, 1e-3f);
    check_grad(c, double_2x2, 3, in, 1e-3f);
    check_each_grad(c, double_3x3, 3, in);
    mcs_ctx_free(c);
}

static double inner(const mcs_tensor *a, const mcs_tensor *b)
{
    double sum = 0;
    assert_int_equal(mcs_numel(a), mcs_numel(b));
    for (int64_t i = 0; i < mcs_numel(a); i++)
        sum += (double)mcs_f32(a)[i] * (double)mcs_f32(b)[i];
    return sum;
}

/* <conv(y), x> = <y, conv_transpose(x)>; padding beyond the kernel takes several blocks of columns,
 * else the direct kernels may do it. */
static void test_adjoint_of_conv(void **state)
{
    (void)state;
    mcs_ctx *c = check_ctx();
    for (int pad = 1; pad <= 3; pad += 2) {
        mcs_conv_opts o = { 1, 1, pad, pad, 1 };
        int64_t h = 69 + 2 * pad, wide = 101 + 2 * pad;
        mcs_tensor *y = picture(c, 1, 1, 64, 71, 103), *w = picture(c, 2, 4, 64, 3, 3);
        mcs_tensor *x = picture(c, 3, 1, 4, h, wide);
        mcs_tensor *cy = mcs_conv2d(c, y, w, NULL, o);
        mcs_tensor *tx = mcs_conv_transpose2d(c, x, w, NULL, o, 0, 0);
        check_ok(c);
        double a = inner(cy, x), b = inner(y, tx);
        assert_true(a - b < 1e-2 && b - a < 1e-2);
        assert_true(a > 1 || a < -1);
    }
    mcs_ctx_free(c);
}

static void test_threads(void **state)
{
    (void)state;
    mcs_ctx *c = check_ctx();
    mcs_tensor *in[] = { picture(c, 1, 2, 34, 40, 51), picture(c, 2, 34, 20, 3, 3),
                         check_random(c, 3, -1, 1, 1, MCS_SHAPE(20)) };
    check_threads(double_3x3, 3, in);
    mcs_ctx_free(c);
}

static void test_memory_limits(void **state)
{
    (void)state;
    mcs_ctx *c = check_ctx();
    mcs_tensor *in[] = { picture(c, 1, 2, 34, 40, 51), picture(c, 2, 34, 20, 3, 3), NULL };
    check_limits(double_3x3, 3, in);
    mcs_ctx_free(c);
}

static void test_refusals(void **state)
{
    (void)state;
    mcs_ctx *c = check_ctx();
    mcs_conv_opts o = { 2, 2, 0, 0, 1 }, wide = { 1, 1, 2, 2, 1 }, three = { 1, 1, 0, 0, 3 };
#define OF(...) mcs_zeros(c, (int)(sizeof(MCS_SHAPE(__VA_ARGS__)) / 8), MCS_SHAPE(__VA_ARGS__))
#define T(x, w, b, opts, oph, opw) mcs_conv_transpose2d(c, x, w, b, opts, oph, opw)
    check_fails(c, T(OF(1, 2, 4, 4), OF(3, 2, 2, 2), NULL, o, 0, 0), MCS_ESHAPE, "has 2 channels");
    check_fails(c, T(OF(1, 2, 4, 4), OF(2, 3, 2, 2), OF(2), o, 0, 0), MCS_ESHAPE,
                "bias has 2 values");
    check_fails(c, T(OF(1, 2, 4, 4), OF(2, 3, 2, 2), NULL, o, 2, 0), MCS_EINVAL, "output padding");
    check_fails(c, T(OF(1, 2, 4, 4), OF(2, 3, 2, 2), NULL, o, 0, -1), MCS_EINVAL, "output padding");
    check_fails(c, T(OF(1, 2, 2, 2), OF(2, 3, 2, 2), NULL, wide, 0, 0), MCS_ESHAPE,
                "leaves nothing");
    wide.pad_h = 0;
    check_fails(c, T(OF(1, 2, 2, 2), OF(2, 3, 2, 2), NULL, wide, 0, 0), MCS_ESHAPE,
                "leaves nothing");
    wide.pad_h = 2, wide.pad_w = 0;
    check_fails(c, T(OF(1, 2, 2, 2), OF(2, 3, 2, 2), NULL, wide, 0, 0), MCS_ESHAPE,
                "leaves nothing");
    check_fails(c, T(OF(1, 2, 2, 2), OF(2, 3, 2, 2), NULL, three, 0, 0), MCS_ESHAPE, "3 groups");
    check_fails(c, T(OF(1, 2, 0, 2), OF(2, 3, 2, 2), NULL, o, 0, 0), MCS_ESHAPE, "empty");
    check_fails(c, T(OF(1, 2, 2), OF(2, 3, 2, 2), NULL, o, 0, 0), MCS_ESHAPE, "conv_transpose2d");
    assert_null(T(NULL, OF(2, 3, 2, 2), NULL, o, 0, 0));
    assert_null(T(OF(1, 2, 2, 2), NULL, NULL, o, 0, 0));
    check_ok(c);
    mcs_ctx_free(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_by_hand),   cmocka_unit_test(test_golden),
        cmocka_unit_test(test_gradients), cmocka_unit_test(test_adjoint_of_conv),
        cmocka_unit_test(test_threads),   cmocka_unit_test(test_memory_limits),
        cmocka_unit_test(test_refusals),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
