/* SAM's LayerNorm2d: values, PyTorch, gradients, refusals. */
#include "tests/check.h"

static mcs_tensor *norm(mcs_ctx *c, mcs_tensor **in)
{
    return mcs_layer_norm_2d(c, in[0], in[1], in[2], 1e-6f);
}

static void test_golden(void **state)
{
    (void)state;
    mcs_ctx *c = check_ctx();
    check_golden(c, "ops/layer_norm_2d_1", norm, 5e-6f, 5e-6f);
    /* some pixels have nearly equal channels */
    check_golden(c, "ops/layer_norm_2d_wide", norm, 1e-4f, 1e-5f);
    mcs_ctx_free(c);
}

static void test_gradient(void **state)
{
    (void)state;
    mcs_ctx *c = check_ctx();
    mcs_tensor *in[3] = { check_random(c, 1, -2, 3, 4, MCS_SHAPE(2, 5, 9, 11)),
                          check_random(c, 2, 0.5f, 1, 1, MCS_SHAPE(5)),
                          check_random(c, 3, -1, 1, 1, MCS_SHAPE(5)) };
    check_grad(c, norm, 3, in, 1e-2f);
    mcs_ctx_free(c);
}

/* The same as layer_norm with the channels moved last. */
static void test_as_layer_norm(void **state)
{
    (void)state;
    mcs_ctx *c = check_ctx();
    mcs_tensor *x = check_random(c, 1, -2, 3, 4, MCS_SHAPE(2, 33, 3, 50));
    mcs_tensor *w = check_random(c, 2, 0, 1, 1, MCS_SHAPE(33));
    mcs_tensor *b = check_random(c, 3, 0, 1, 1, MCS_SHAPE(33));
    mcs_tensor *y = mcs_permute(c, x, (const int[]){ 0, 2, 3, 1 });
    y = mcs_permute(c, mcs_layer_norm(c, y, w, b, 1e-6f), (const int[]){ 0, 3, 1, 2 });
    check_near(mcs_layer_norm_2d(c, x, w, b, 1e-6f), y, 1e-5f, 1e-6f);
    mcs_ctx_free(c);
}

static void test_refusals(void **state)
{
    (void)state;
    mcs_ctx *c = check_ctx();
    mcs_tensor *v = mcs_zeros(c, 1, MCS_SHAPE(3));
    assert_null(mcs_layer_norm_2d(c, NULL, v, v, 1e-6f));
    assert_null(mcs_layer_norm_2d(c, mcs_zeros(c, 4, MCS_SHAPE(1, 3, 2, 2)), v, NULL, 1e-6f));
    check_ok(c);
    check_fails(c, mcs_layer_norm_2d(c, mcs_zeros(c, 3, MCS_SHAPE(3, 2, 2)), v, v, 1e-6f),
                MCS_ESHAPE, "layer_norm_2d: input has shape (3, 2, 2)");
    v = mcs_zeros(c, 1, MCS_SHAPE(3));
    check_fails(c, mcs_layer_norm_2d(c, mcs_zeros(c, 4, MCS_SHAPE(1, 4, 2, 2)), v, v, 1e-6f),
                MCS_ESHAPE, "layer_norm_2d: weight has 3 values, the input has 4 channels");
    mcs_ctx_free(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_golden),
        cmocka_unit_test(test_gradient),
        cmocka_unit_test(test_as_layer_norm),
        cmocka_unit_test(test_refusals),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
