/* Elementwise functions of one tensor: values, PyTorch, gradients, refusals. */
#include <math.h>
#include "tests/check.h"

#define FN(name)                                                                                   \
    static mcs_tensor *f_##name(mcs_ctx *c, mcs_tensor **in)                                       \
    {                                                                                              \
        return mcs_##name(c, in[0]);                                                               \
    }
FN(exp)
FN(log)
FN(sqrt)
FN(square)
FN(abs)
FN(sin)
FN(cos)
FN(tanh)
FN(relu)
FN(sigmoid)
FN(gelu)
static mcs_tensor *f_clamp(mcs_ctx *c, mcs_tensor **in)
{
    return mcs_clamp(c, in[0], -0.5f, 0.75f);
}
static mcs_tensor *f_affine(mcs_ctx *c, mcs_tensor **in)
{
    return mcs_affine(c, in[0], -1.5f, 0.25f);
}

static const struct {
    const char *name;
    check_fn *fn;
    float lo, hi; /* a smooth stretch, for difference quotients */
} ops[] = {
    { "exp", f_exp, -2, 2 },         { "log", f_log, 0.5f, 3 }, { "sqrt", f_sqrt, 0.5f, 3 },
    { "square", f_square, -2, 2 },   { "abs", f_abs, 0.5f, 2 }, { "sin", f_sin, -3, 3 },
    { "cos", f_cos, -3, 3 },         { "tanh", f_tanh, -2, 2 }, { "relu", f_relu, 0.5f, 2 },
    { "sigmoid", f_sigmoid, -4, 4 }, { "gelu", f_gelu, -3, 3 }, { "clamp", f_clamp, -0.3f, 0.6f },
    { "affine", f_affine, -2, 2 },
};
enum { OPS = sizeof ops / sizeof ops[0] };

static void test_golden(void **state)
{
    (void)state;
    for (int i = 0; i < OPS; i++) {
        char name[64];
        mcs_ctx *c = check_ctx();
        snprintf(name, sizeof name, "ops/%s_1", ops[i].name);
        check_golden(c, name, ops[i].fn, 2e-6f, 6e-7f);
        mcs_ctx_free(c);
    }
}

static void test_gradient(void **state)
{
    (void)state;
    mcs_ctx *c = check_ctx();
    for (int i = 0; i < OPS; i++) {
        mcs_tensor *x = check_random(c, 1, ops[i].lo, ops[i].hi, 2, MCS_SHAPE(7, 13));
        check_grad(c, ops[i].fn, 1, &x, 1e-2f);
    }
    mcs_ctx_free(c);
}

static void expect(mcs_ctx *c, mcs_tensor *y, float a, float b, float d)
{
    const float want[3] = { a, b, d };
    check_ok(c);
    check_near(y, mcs_from(c, MCS_F32, 1, MCS_SHAPE(3), want), 1e-6f, 1e-7f);
}

static void test_values(void **state)
{
    (void)state;
    mcs_ctx *c = check_ctx();
    const float data[3] = { -1, 0, 2 }, positive[3] = { 1, 4, 9 };
    mcs_tensor *x = mcs_from(c, MCS_F32, 1, MCS_SHAPE(3), data);
    mcs_tensor *p = mcs_from(c, MCS_F32, 1, MCS_SHAPE(3), positive);
    expect(c, mcs_affine(c, x, 3, 1), -2, 1, 7);
    expect(c, mcs_exp(c, x), 0.367879441f, 1, 7.3890561f);
    expect(c, mcs_log(c, p), 0, 1.38629436f, 2.19722458f);
    expect(c, mcs_sqrt(c, p), 1, 2, 3);
    expect(c, mcs_square(c, x), 1, 0, 4);
    expect(c, mcs_abs(c, x), 1, 0, 2);
    expect(c, mcs_sin(c, x), -0.841470985f, 0, 0.909297427f);
    expect(c, mcs_cos(c, x), 0.540302306f, 1, -0.416146837f);
    expect(c, mcs_tanh(c, x), -0.761594156f, 0, 0.96402758f);
    expect(c, mcs_clamp(c, x, -0.5f, 1.5f), -0.5f, 0, 1.5f);
    expect(c, mcs_relu(c, x), 0, 0, 2);
    expect(c, mcs_sigmoid(c, x), 0.268941421f, 0.5f, 0.880797078f);
    expect(c, mcs_gelu(c, x), -0.158655254f, 0, 1.95449974f);
    mcs_ctx_free(c);
}

/* At a kink the gradients are PyTorch's: 0 for abs and relu at 0, 1 for clamp at its bounds. */
static void test_kinks(void **state)
{
    (void)state;
    mcs_ctx *c = check_ctx();
    const float data[3] = { -1, 0, 2 }, one[3] = { 1, 1, 1 };
    mcs_tensor *dy = mcs_from(c, MCS_F32, 1, MCS_SHAPE(3), one);
    mcs_tensor *x = mcs_leaf(c, mcs_from(c, MCS_F32, 1, MCS_SHAPE(3), data));
    assert_int_equal(mcs_backward(c, mcs_abs(c, x), dy), MCS_OK);
    expect(c, mcs_grad(c, x), -1, 0, 1);
    x = mcs_leaf(c, x);
    assert_int_equal(mcs_backward(c, mcs_relu(c, x), dy), MCS_OK);
    expect(c, mcs_grad(c, x), 0, 0, 1);
    x = mcs_leaf(c, x);
    assert_int_equal(mcs_backward(c, mcs_clamp(c, x, -1, 0), dy), MCS_OK);
    expect(c, mcs_grad(c, x), 1, 1, 0);
    mcs_ctx_free(c);
}

static void test_refusals(void **state)
{
    (void)state;
    mcs_ctx *c = check_ctx();
    for (int i = 0; i < OPS; i++) {
        char part[80];
        mcs_tensor *none = NULL, *ids = mcs_new_typed(c, MCS_I64, 1, MCS_SHAPE(3));
        assert_null(ops[i].fn(c, &none));
        check_ok(c);
        snprintf(part, sizeof part, "%s: input is int64", ops[i].name);
        check_fails(c, ops[i].fn(c, &ids), MCS_ESHAPE, part);
    }
    mcs_tensor *x = mcs_zeros(c, 1, MCS_SHAPE(3));
    check_fails(c, mcs_clamp(c, x, 2, 1), MCS_EINVAL, "clamp: the lower bound 2");
    x = mcs_zeros(c, 1, MCS_SHAPE(3));
    check_fails(c, mcs_clamp(c, x, NAN, 1), MCS_EINVAL, "clamp: the lower bound");
    mcs_ctx_free(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_values),   cmocka_unit_test(test_golden),
        cmocka_unit_test(test_gradient), cmocka_unit_test(test_kinks),
        cmocka_unit_test(test_refusals),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
