/* test_op_norm_prelu.c - instance norm and PReLU in one: equal to the two after each other. */
#include "tensor/fused_internal.h"
#include "tests/check.h"

static mcs_tensor *fused(mcs_ctx *c, mcs_tensor **in)
{
    return mcs_instance_norm_prelu(c, in[0], in[2], in[3], 1e-5f, in[1]);
}
static mcs_tensor *apart(mcs_ctx *c, mcs_tensor **in)
{
    return mcs_prelu(c, mcs_instance_norm(c, in[0], in[2], in[3], 1e-5f), in[1]);
}

/* in: x, slope, weight, bias; affine: weight and bias too; slopes: one per channel. */
static void inputs(mcs_ctx *c, mcs_tensor **in, int64_t channels, bool slopes, bool affine)
{
    in[0] = check_random(c, 1, -1, 2, 4, MCS_SHAPE(3, channels, 5, 13));
    in[1] = check_random(c, 2, 0.1f, 0.4f, 1, MCS_SHAPE(slopes ? channels : 1));
    in[2] = affine ? check_random(c, 3, -1, 1, 1, MCS_SHAPE(channels)) : NULL;
    in[3] = affine ? check_random(c, 4, -1, 1, 1, MCS_SHAPE(channels)) : NULL;
}

static void equals_the_two(void **state)
{
    (void)state;
    mcs_ctx *c = check_ctx();
    for (int which = 0; which < 4; which++) {
        mcs_tensor *in[4], *a[4] = { NULL }, *b[4] = { NULL };
        inputs(c, in, which == 3 ? 37 : 2, which & 1, which & 2);
        for (int i = 0; i < 4; i++)
            if (in[i])
                a[i] = mcs_leaf(c, in[i]), b[i] = mcs_leaf(c, in[i]);
        mcs_tensor *y = fused(c, a), *z = apart(c, b);
        check_ok(c);
        check_near(y, z, 0, 0);
        mcs_tensor *dy = check_random(c, 5, -1, 1, 4, y->shape);
        assert_int_equal(mcs_backward(c, y, dy), MCS_OK);
        assert_int_equal(mcs_backward(c, z, dy), MCS_OK);
        for (int i = 0; i < 4; i++)
            if (in[i])
                check_near(mcs_grad(c, a[i]), mcs_grad(c, b[i]), 1e-5f, 1e-6f);
        mcs_ctx_reset(c);
    }
    mcs_ctx_free(c);
}

static void gradients(void **state)
{
    (void)state;
    mcs_ctx *c = check_ctx();
    mcs_tensor *in[4];
    inputs(c, in, 3, false, true);
    in[1] = check_random(c, 2, 0.95f, 1, 1, MCS_SHAPE(3)); /* steps cross the kink at 0 */
    check_grad(c, fused, 4, in, 1e-2f);
    check_each_grad(c, fused, 4, in);
    inputs(c, in, 33, true, true);
    check_threads(fused, 4, in);
    check_limits(fused, 4, in);
    mcs_ctx_free(c);
}

static void refusals(void **state)
{
    (void)state;
    mcs_ctx *c = check_ctx();
    mcs_tensor *in[4];
    inputs(c, in, 3, true, false);
    in[1] = mcs_zeros(c, 1, MCS_SHAPE(2));
    check_fails(c, fused(c, in), MCS_ESHAPE, "slope has 2 values");
    inputs(c, in, 3, true, true);
    in[2] = mcs_zeros(c, 1, MCS_SHAPE(2));
    check_fails(c, fused(c, in), MCS_ESHAPE, "3 channels");
    inputs(c, in, 3, true, false);
    in[0] = mcs_zeros(c, 4, MCS_SHAPE(2, 3, 1, 1));
    check_fails(c, fused(c, in), MCS_ESHAPE, "more than one value");
    inputs(c, in, 3, true, false);
    in[0] = NULL;
    assert_null(fused(c, in));
    mcs_ctx_free(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(equals_the_two),
        cmocka_unit_test(gradients),
        cmocka_unit_test(refusals),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
