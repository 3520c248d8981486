/* test_op_linear.c - linear, linear_gelu, linear_add. */
#include "tests/check.h"

static mcs_tensor *linear(mcs_ctx *c, mcs_tensor **in)
{
    return mcs_linear(c, in[0], in[1], in[2]);
}

static mcs_tensor *linear_no_bias(mcs_ctx *c, mcs_tensor **in)
{
    return mcs_linear(c, in[0], in[1], NULL);
}

static mcs_tensor *linear_gelu(mcs_ctx *c, mcs_tensor **in)
{
    return mcs_linear_gelu(c, in[0], in[1], in[2]);
}

static mcs_tensor *linear_add(mcs_ctx *c, mcs_tensor **in)
{
    return mcs_linear_add(c, in[0], in[1], in[2], in[3]);
}

static void inputs(mcs_ctx *c, mcs_tensor *in[4], int64_t rows, int64_t k, int64_t n)
{
    in[0] = check_random(c, 1, -1, 1, 3, MCS_SHAPE(2, rows, k));
    in[1] = check_random(c, 2, -1, 1, 2, MCS_SHAPE(n, k));
    in[2] = check_random(c, 3, -1, 1, 1, MCS_SHAPE(n));
    in[3] = check_random(c, 4, -1, 1, 3, MCS_SHAPE(2, rows, n));
}

static void test_by_hand(void **state)
{
    (void)state;
    mcs_ctx *c = check_ctx();
    mcs_tensor *x = mcs_from(c, MCS_F32, 1, MCS_SHAPE(2), (float[]){ 1, 2 });
    mcs_tensor *w = mcs_from(c, MCS_F32, 2, MCS_SHAPE(3, 2), (float[]){ 1, 0, 0, 1, 2, -1 });
    mcs_tensor *b = mcs_from(c, MCS_F32, 1, MCS_SHAPE(3), (float[]){ 10, 20, 30 });
    mcs_tensor *y = mcs_linear(c, x, w, b);
    check_near(y, mcs_from(c, MCS_F32, 1, MCS_SHAPE(3), (float[]){ 11, 22, 30 }), 0, 0);
    check_near(mcs_linear_add(c, x, w, b, y),
               mcs_from(c, MCS_F32, 1, MCS_SHAPE(3), (float[]){ 22, 44, 60 }), 0, 0);
    check_ok(c);
    mcs_ctx_free(c);
}

static void test_golden(void **state)
{
    (void)state;
    mcs_ctx *c = check_ctx();
    check_golden(c, "linear", linear, 1e-5f, 1e-6f);
    check_golden(c, "linear_no_bias", linear_no_bias, 1e-5f, 1e-6f);
    check_golden(c, "linear_gelu", linear_gelu, 1e-5f, 2e-6f);
    check_golden(c, "linear_add", linear_add, 1e-5f, 1e-6f);
    mcs_ctx_free(c);
}

static void test_gradients(void **state)
{
    (void)state;
    mcs_ctx *c = check_ctx();
    mcs_tensor *in[4];
    inputs(c, in, 3, 5, 70); /* more than one range of bias columns */
    check_grad(c, linear, 3, in, 1e-3f);
    check_grad(c, linear_no_bias, 2, in, 1e-3f);
    check_grad(c, linear_gelu, 3, in, 2e-3f);
    check_each_grad(c, linear_gelu, 3, in);
    check_each_grad(c, linear_add, 4, in);
    check_grad(c, linear_add, 4, in, 1e-3f);
    inputs(c, in, 3, 1, 1); /* one feature in and out */
    check_grad(c, linear_add, 4, in, 1e-3f);
    in[0] = check_random(c, 5, -1, 1, 1, MCS_SHAPE(1)); /* one row, without a dimension for it */
    check_grad(c, linear, 3, in, 1e-3f);
    mcs_ctx_free(c);
}

/* The fused form that inference takes equals the recorded one. */
static void test_fused_equals_recorded(void **state)
{
    (void)state;
    mcs_ctx *c = check_ctx();
    mcs_tensor *in[4];
    inputs(c, in, 30, 50, 70);
    mcs_tensor *fused = linear_gelu(c, in);
    in[0] = mcs_leaf(c, in[0]);
    mcs_tensor *recorded = linear_gelu(c, in);
    assert_null(fused->node);
    assert_non_null(recorded->node);
    check_near(fused, recorded, 0, 0);
    check_near(linear_add(c, in), mcs_add(c, in[3], linear(c, in)), 1e-6f, 1e-6f);
    check_ok(c);
    mcs_ctx_free(c);
}

/* The residual's gradient is the result's, in more than one range of work. */
static void test_residual_gradient(void **state)
{
    (void)state;
    mcs_ctx *c = check_ctx();
    mcs_tensor *in[4];
    inputs(c, in, 333, 3, 301);
    in[3] = mcs_leaf(c, in[3]);
    mcs_tensor *dy = check_random(c, 7, -1, 1, 3, in[3]->shape);
    assert_int_equal(mcs_backward(c, linear_add(c, in), dy), MCS_OK);
    check_near(mcs_grad(c, in[3]), dy, 0, 0);
    mcs_ctx_free(c);
}

static void test_threads(void **state)
{
    (void)state;
    mcs_ctx *c = check_ctx();
    mcs_tensor *in[4];
    inputs(c, in, 333, 170, 301);
    check_threads(linear_add, 4, in);
    check_threads(linear_gelu, 3, in);
    mcs_ctx_free(c);
}

static void test_refusals(void **state)
{
    (void)state;
    mcs_ctx *c = check_ctx();
#define OF(...) mcs_zeros(c, (int)(sizeof(MCS_SHAPE(__VA_ARGS__)) / 8), MCS_SHAPE(__VA_ARGS__))
    check_fails(c, mcs_linear(c, OF(2, 3), OF(4, 2), NULL), MCS_ESHAPE, "ends in 3 features");
    check_fails(c, mcs_linear(c, OF(2, 3), OF(4, 3), OF(3)), MCS_ESHAPE, "bias has 3 values");
    check_fails(c, mcs_linear(c, OF(2, 3), OF(4, 3), OF(4, 1)), MCS_ESHAPE, "linear");
    check_fails(c, mcs_linear(c, OF(2, 3), OF(4, 3, 1), NULL), MCS_ESHAPE, "linear");
    check_fails(c, mcs_linear(c, mcs_scalar(c, 1), OF(4, 1), NULL), MCS_ESHAPE, "linear");
    check_fails(c, mcs_linear_gelu(c, OF(2, 3), OF(4, 2), NULL), MCS_ESHAPE, "linear_gelu");
    check_fails(c, mcs_linear_add(c, OF(2, 3), OF(4, 3), NULL, OF(2, 3)), MCS_ESHAPE,
                "residual (2, 3)");
    check_fails(c, mcs_linear_add(c, OF(2, 3), OF(4, 3), NULL, OF(4)), MCS_ESHAPE, "residual (4)");
    check_fails(c, mcs_linear_add(c, OF(2, 3), OF(4, 3), NULL, OF(1, 4)), MCS_ESHAPE,
                "residual (1, 4)");
    check_fails(c, mcs_linear(c, OF(2, 0), OF(4, 0), NULL), MCS_ESHAPE, "0 features");
    assert_null(mcs_linear(c, NULL, OF(2, 2), NULL));
    assert_null(mcs_linear_gelu(c, OF(2, 2), NULL, NULL));
    assert_null(mcs_linear_add(c, OF(2, 2), OF(2, 2), NULL, NULL));
    check_ok(c);
    mcs_tensor *y = mcs_linear(c, mcs_leaf(c, OF(2, 0, 3)), OF(4, 3), NULL); /* no rows */
    assert_int_equal(mcs_numel(y), 0);
    assert_int_equal(mcs_backward(c, y, OF(2, 0, 4)), MCS_OK);
    mcs_ctx_free(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_by_hand),           cmocka_unit_test(test_golden),
        cmocka_unit_test(test_gradients),         cmocka_unit_test(test_fused_equals_recorded),
        cmocka_unit_test(test_residual_gradient), cmocka_unit_test(test_threads),
        cmocka_unit_test(test_refusals),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
