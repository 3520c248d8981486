/* sum, mean, max_dim, and the sums that broadcasting implies: values, PyTorch, gradients. */
#include <math.h>
#include "tests/check.h"

static mcs_tensor *sum(mcs_ctx *c, mcs_tensor **in)
{
    return mcs_sum(c, in[0]);
}
static mcs_tensor *mean(mcs_ctx *c, mcs_tensor **in)
{
    return mcs_mean(c, in[0]);
}
#define DIM(d, i)                                                                                  \
    static mcs_tensor *sum_##i(mcs_ctx *c, mcs_tensor **in)                                        \
    {                                                                                              \
        return mcs_sum_dim(c, in[0], d, false);                                                    \
    }                                                                                              \
    static mcs_tensor *mean_##i(mcs_ctx *c, mcs_tensor **in)                                       \
    {                                                                                              \
        return mcs_mean_dim(c, in[0], d, true);                                                    \
    }                                                                                              \
    static mcs_tensor *max_##i(mcs_ctx *c, mcs_tensor **in)                                        \
    {                                                                                              \
        return mcs_max_dim(c, in[0], d, false);                                                    \
    }
DIM(0, 0)
DIM(1, 1)
DIM(-1, 2)

static const struct {
    const char *name;
    check_fn *fn;
} cases[] = {
    { "sum_1", sum },         { "mean_1", mean },       { "sum_dim_0", sum_0 },
    { "sum_dim_1", sum_1 },   { "sum_dim_2", sum_2 },   { "mean_dim_0", mean_0 },
    { "mean_dim_1", mean_1 }, { "mean_dim_2", mean_2 }, { "max_dim_0", max_0 },
    { "max_dim_1", max_1 },   { "max_dim_2", max_2 },   { "sum_dim_tall", sum_0 },
};
enum { CASES = sizeof cases / sizeof cases[0] };

static void test_golden(void **state)
{
    (void)state;
    for (int i = 0; i < CASES; i++) {
        mcs_ctx *c = check_ctx();
        char name[64];
        snprintf(name, sizeof name, "ops/%s", cases[i].name);
        check_golden(c, name, cases[i].fn, 1e-6f, 5e-6f);
        mcs_ctx_free(c);
    }
    mcs_ctx *c = check_ctx();
    check_golden(c, "ops/max_dim_ties", max_1, 0, 0);
    mcs_ctx_free(c);
}

static void test_gradient(void **state)
{
    (void)state;
    mcs_ctx *c = check_ctx();
    for (int i = 0; i < CASES; i++) {
        mcs_tensor *x = mcs_new(c, 3, MCS_SHAPE(3, 5, 7));
        for (int64_t k = 0; k < 105; k++) /* no two values close: a step moves no maximum */
            mcs_f32(x)[k] = (float)(k * 37 % 105) - 52.0f;
        check_grad(c, cases[i].fn, 1, &x, 1e-2f);
    }
    mcs_ctx_free(c);
}

/* Long sums against double, in all the ways a tensor can be summed. */
static double exact(const mcs_tensor *x, int64_t begin, int64_t step, int64_t count)
{
    double s = 0;
    for (int64_t i = 0; i < count; i++)
        s += (double)mcs_f32(x)[begin + i * step];
    return s;
}

static void expect(float got, double want, double tol)
{
    if (!(fabs((double)got - want) <= tol))
        fail_msg("%.9g, expected %.9g", (double)got, want);
}

static void test_long(void **state)
{
    (void)state;
    mcs_ctx *c = check_ctx();
    enum { R = 20011, C = 67 };
    mcs_tensor *x = check_random(c, 1, 0, 1, 2, MCS_SHAPE(R, C));
    expect(mcs_f32(mcs_sum(c, x))[0], exact(x, 0, 1, R * C), 0.06);
    expect(mcs_f32(mcs_mean(c, x))[0], exact(x, 0, 1, R * C) / (R * C), 1e-7);
    mcs_tensor *down = mcs_sum_dim(c, x, 0, true), *along = mcs_sum_dim(c, x, 1, false);
    check_ok(c);
    assert_int_equal(down->ndim, 2);
    assert_int_equal(along->ndim, 1);
    for (int64_t j = 0; j < C; j++)
        expect(mcs_f32(down)[j], exact(x, j, C, R), 2e-2);
    for (int64_t i = 0; i < R; i++)
        expect(mcs_f32(along)[i], exact(x, i * C, 1, C), 1e-5);
    mcs_ctx_free(c);
}

static void test_max_values(void **state)
{
    (void)state;
    mcs_ctx *c = check_ctx();
    const float data[6] = { 1, NAN, NAN, -INFINITY, -INFINITY, -INFINITY };
    mcs_tensor *x = mcs_leaf(c, mcs_from(c, MCS_F32, 2, MCS_SHAPE(2, 3), data));
    mcs_tensor *y = mcs_max_dim(c, x, 1, true);
    check_ok(c);
    assert_int_equal(y->ndim, 2);
    assert_true(isnan(mcs_f32(y)[0]) && mcs_f32(y)[1] == -INFINITY);
    assert_int_equal(mcs_backward(c, y, mcs_full(c, 2, MCS_SHAPE(2, 1), 1)), MCS_OK);
    const float want[6] = { 0, 1, 0, 1, 0, 0 };
    check_near(mcs_grad(c, x), mcs_from(c, MCS_F32, 2, MCS_SHAPE(2, 3), want), 0, 0);
    mcs_ctx_free(c);
}

static void test_empty(void **state)
{
    (void)state;
    mcs_ctx *c = check_ctx();
    mcs_tensor *x = mcs_zeros(c, 2, MCS_SHAPE(0, 3));
    assert_true(mcs_f32(mcs_sum(c, x))[0] == 0);
    mcs_tensor *s = mcs_sum_dim(c, x, 0, false);
    check_ok(c);
    assert_true(mcs_numel(s) == 3 && mcs_f32(s)[2] == 0);
    assert_int_equal(mcs_numel(mcs_max_dim(c, x, 1, false)), 0);
    check_ok(c);
    check_fails(c, mcs_max_dim(c, mcs_zeros(c, 2, MCS_SHAPE(0, 3)), 0, false), MCS_ESHAPE,
                "max_dim: dimension 0 is empty");
    check_fails(c, mcs_mean(c, mcs_zeros(c, 1, MCS_SHAPE(0))), MCS_ESHAPE, "mean: ");
    check_fails(c, mcs_mean_dim(c, mcs_zeros(c, 1, MCS_SHAPE(0)), 0, false), MCS_ESHAPE,
                "mean_dim: ");
    mcs_ctx_free(c);
}

static void test_refusals(void **state)
{
    (void)state;
    mcs_ctx *c = check_ctx();
    mcs_tensor *none = NULL;
    for (int i = 0; i < CASES; i++)
        assert_null(cases[i].fn(c, &none));
    check_ok(c);
    check_fails(c, mcs_sum_dim(c, mcs_zeros(c, 1, MCS_SHAPE(3)), 1, false), MCS_EINVAL,
                "sum_dim: dimension 1 of a tensor of 1 dimensions");
    check_fails(c, mcs_mean_dim(c, mcs_zeros(c, 1, MCS_SHAPE(3)), -2, false), MCS_EINVAL,
                "mean_dim: dimension -2");
    check_fails(c, mcs_max_dim(c, mcs_scalar(c, 1), 0, false), MCS_EINVAL, "max_dim: dimension 0");
    check_fails(c, mcs_sum(c, mcs_new_typed(c, MCS_U8, 1, MCS_SHAPE(3))), MCS_ESHAPE,
                "sum: input is uint8");
    mcs_ctx_free(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_golden), cmocka_unit_test(test_gradient),
        cmocka_unit_test(test_long),   cmocka_unit_test(test_max_values),
        cmocka_unit_test(test_empty),  cmocka_unit_test(test_refusals),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
