/* layer_norm and l2_normalize: values, PyTorch, gradients, refusals. */
#include <math.h>
#include "tests/check.h"

static mcs_tensor *layer_norm(mcs_ctx *c, mcs_tensor **in)
{
    return mcs_layer_norm(c, in[0], in[1], in[2], 1e-5f);
}
static mcs_tensor *l2(mcs_ctx *c, mcs_tensor **in)
{
    return mcs_l2_normalize(c, in[0], 1e-12f);
}
static mcs_tensor *l2_clipped(mcs_ctx *c, mcs_tensor **in)
{
    return mcs_l2_normalize(c, in[0], 3.0f);
}

static void golden(const char *name, check_fn *fn)
{
    mcs_ctx *c = check_ctx();
    check_golden(c, name, fn, 5e-6f, 3e-6f);
    mcs_ctx_free(c);
}

static void test_golden(void **state)
{
    (void)state;
    golden("ops/layer_norm_1", layer_norm);
    golden("ops/layer_norm_plain", layer_norm);
    golden("ops/layer_norm_weight", layer_norm);
    golden("ops/layer_norm_bias", layer_norm);
    golden("ops/layer_norm_rows", layer_norm);
    golden("ops/l2_normalize_1", l2);
    golden("ops/l2_normalize_clipped", l2_clipped);
}

static void test_gradient(void **state)
{
    (void)state;
    mcs_ctx *c = check_ctx();
    const int64_t sizes[] = { 2, 7, 32, 45 };
    for (int k = 0; k < 4; k++) {
        mcs_tensor *in[3] = { check_random(c, 1, -2, 3, 2, MCS_SHAPE(33, sizes[k])),
                              check_random(c, 2, 0.5f, 1, 1, &sizes[k]),
                              check_random(c, 3, -1, 1, 1, &sizes[k]) };
        if (k > 0) /* of two values h is +-1 wherever they are */
            check_grad(c, layer_norm, 3, in, 1e-2f);
        check_grad(c, l2, 1, in, 1e-2f);
        check_grad(c, l2_clipped, 1, in, 2e-2f);
    }
    mcs_ctx_free(c);
}

static void test_values(void **state)
{
    (void)state;
    mcs_ctx *c = check_ctx();
    const float x[6] = { 1, 3, -5, 5, 7, 7 }, w[2] = { 2, 1 }, b[2] = { 0, 10 };
    mcs_tensor *t = mcs_from(c, MCS_F32, 2, MCS_SHAPE(3, 2), x);
    mcs_tensor *y = mcs_layer_norm(c, t, mcs_from(c, MCS_F32, 1, MCS_SHAPE(2), w),
                                   mcs_from(c, MCS_F32, 1, MCS_SHAPE(2), b), 0.0f);
    check_ok(c);
    const float *v = mcs_f32(y);
    assert_true(v[0] == -2 && v[1] == 11 && v[2] == -2 && v[3] == 11);
    const float n[2] = { 3, 4 };
    y = mcs_l2_normalize(c, mcs_from(c, MCS_F32, 1, MCS_SHAPE(2), n), 1e-12f);
    const float want[2] = { 0.6f, 0.8f };
    check_near(y, mcs_from(c, MCS_F32, 1, MCS_SHAPE(2), want), 1e-6f, 0);
    y = mcs_l2_normalize(c, mcs_zeros(c, 1, MCS_SHAPE(3)), 1e-12f);
    check_near(y, mcs_zeros(c, 1, MCS_SHAPE(3)), 0, 0);
    mcs_ctx_free(c);
}

/* A mean of 1000 with a spread of 1: the two-pass variance keeps 4 digits. */
static void test_large_mean(void **state)
{
    (void)state;
    mcs_ctx *c = check_ctx();
    mcs_tensor *x = check_random(c, 8, -1, 1, 2, MCS_SHAPE(4, 96));
    mcs_tensor *y = mcs_layer_norm(c, x, NULL, NULL, 1e-5f);
    mcs_tensor *z = mcs_layer_norm(c, mcs_affine(c, x, 1, 1000), NULL, NULL, 1e-5f);
    check_ok(c);
    check_near(z, y, 0, 4e-4f);
    mcs_ctx_free(c);
}

static void test_refusals(void **state)
{
    (void)state;
    mcs_ctx *c = check_ctx();
    assert_null(mcs_layer_norm(c, NULL, NULL, NULL, 1e-5f));
    assert_null(mcs_l2_normalize(c, NULL, 1e-5f));
    check_ok(c);
    check_fails(c, mcs_layer_norm(c, mcs_scalar(c, 1), NULL, NULL, 1e-5f), MCS_ESHAPE,
                "layer_norm: input has shape ()");
    check_fails(c, mcs_layer_norm(c, mcs_zeros(c, 2, MCS_SHAPE(2, 0)), NULL, NULL, 1e-5f),
                MCS_ESHAPE, "layer_norm: the last dimension is empty");
    mcs_tensor *x = mcs_zeros(c, 2, MCS_SHAPE(2, 3));
    check_fails(c, mcs_layer_norm(c, x, mcs_zeros(c, 1, MCS_SHAPE(4)), NULL, 1e-5f), MCS_ESHAPE,
                "layer_norm: weight has 4 values, the last dimension of the input is 3");
    x = mcs_zeros(c, 2, MCS_SHAPE(2, 3));
    check_fails(c, mcs_layer_norm(c, x, NULL, mcs_zeros(c, 2, MCS_SHAPE(3, 1)), 1e-5f), MCS_ESHAPE,
                "layer_norm: input has shape (3, 1)");
    check_fails(c, mcs_l2_normalize(c, mcs_scalar(c, 1), 1e-5f), MCS_ESHAPE, "l2_normalize");
    mcs_ctx_free(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_values),   cmocka_unit_test(test_golden),
        cmocka_unit_test(test_gradient), cmocka_unit_test(test_large_mean),
        cmocka_unit_test(test_refusals),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
