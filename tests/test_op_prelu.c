/* prelu: values, PyTorch, gradients, refusals. */
#include "tests/check.h"

static mcs_tensor *prelu(mcs_ctx *c, mcs_tensor **in)
{
    return mcs_prelu(c, in[0], in[1]);
}

static void test_golden(void **state)
{
    (void)state;
    mcs_ctx *c = check_ctx();
    check_golden(c, "ops/prelu_channel", prelu, 2e-6f, 2e-6f);
    check_golden(c, "ops/prelu_shared", prelu, 2e-6f, 2e-6f);
    mcs_ctx_free(c);
}

/* Values away from the kink at 0. */
static mcs_tensor *two_sided(mcs_ctx *c, int ndim, const int64_t *shape)
{
    mcs_tensor *x = check_random(c, 1, 0.5f, 2, ndim, shape);
    for (int64_t i = 0; i < mcs_numel(x); i += 2)
        mcs_f32(x)[i] *= -1;
    return x;
}

static void test_gradient(void **state)
{
    (void)state;
    mcs_ctx *c = check_ctx();
    mcs_tensor *in[2] = { two_sided(c, 3, MCS_SHAPE(2, 3, 7)),
                          check_random(c, 2, 0.1f, 1, 1, MCS_SHAPE(3)) };
    check_grad(c, prelu, 2, in, 1e-2f);
    in[1] = check_random(c, 2, 0.1f, 1, 1, MCS_SHAPE(1));
    check_grad(c, prelu, 2, in, 1e-2f);
    in[0] = two_sided(c, 1, MCS_SHAPE(9));
    check_grad(c, prelu, 2, in, 1e-2f);
    mcs_ctx_free(c);
}

static void test_values(void **state)
{
    (void)state;
    mcs_ctx *c = check_ctx();
    const float x[4] = { -2, 3, -1, 0 }, w[2] = { 0.5f, 2 }, want[4] = { -1, 3, -0.5f, 0 };
    mcs_tensor *t = mcs_from(c, MCS_F32, 2, MCS_SHAPE(2, 2), x);
    check_near(mcs_prelu(c, t, mcs_from(c, MCS_F32, 1, MCS_SHAPE(2), w)),
               mcs_from(c, MCS_F32, 2, MCS_SHAPE(2, 2), want), 0, 0);
    mcs_ctx_free(c);
}

static void test_refusals(void **state)
{
    (void)state;
    mcs_ctx *c = check_ctx();
    mcs_tensor *x = mcs_zeros(c, 2, MCS_SHAPE(2, 3));
    assert_null(mcs_prelu(c, x, NULL));
    assert_null(mcs_prelu(c, NULL, x));
    check_ok(c);
    check_fails(c, mcs_prelu(c, x, mcs_zeros(c, 1, MCS_SHAPE(2))), MCS_ESHAPE,
                "prelu: weight has 2 values, the input has 3 channels");
    check_fails(c, mcs_prelu(c, mcs_scalar(c, 1), mcs_zeros(c, 1, MCS_SHAPE(1))), MCS_ESHAPE,
                "prelu: input has shape ()");
    mcs_ctx_free(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_values),
        cmocka_unit_test(test_golden),
        cmocka_unit_test(test_gradient),
        cmocka_unit_test(test_refusals),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
