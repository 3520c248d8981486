/* softmax, log_softmax, logsumexp: values, PyTorch, gradients, extremes, refusals. */
#include <math.h>
#include "tests/check.h"

static mcs_tensor *softmax(mcs_ctx *c, mcs_tensor **in)
{
    return mcs_softmax(c, in[0]);
}
static mcs_tensor *log_softmax(mcs_ctx *c, mcs_tensor **in)
{
    return mcs_log_softmax(c, in[0]);
}
static mcs_tensor *logsumexp(mcs_ctx *c, mcs_tensor **in)
{
    return mcs_logsumexp(c, in[0]);
}

static void golden(const char *name, check_fn *fn)
{
    mcs_ctx *c = check_ctx();
    check_golden(c, name, fn, 2e-6f, 5e-7f);
    mcs_ctx_free(c);
}

static void test_golden(void **state)
{
    (void)state;
    golden("ops/softmax_1", softmax);
    golden("ops/log_softmax_1", log_softmax);
    golden("ops/logsumexp_1", logsumexp);
    golden("ops/logsumexp_long", logsumexp);
}

static void test_gradient(void **state)
{
    (void)state;
    mcs_ctx *c = check_ctx();
    check_fn *fns[3] = { softmax, log_softmax, logsumexp };
    const int64_t sizes[] = { 2, 3, 31, 33, 600 };
    for (int i = 0; i < 3; i++)
        for (int k = 0; k < 5; k++) {
            mcs_tensor *x = check_random(c, 4, -2, 2, 2, MCS_SHAPE(3, sizes[k]));
            check_grad(c, fns[i], 1, &x, 1e-2f);
        }
    mcs_ctx_free(c);
}

static void test_values(void **state)
{
    (void)state;
    mcs_ctx *c = check_ctx();
    const float log2_ = 0.693147181f, x[4] = { 0, log2_, 1000, 1000 };
    mcs_tensor *t = mcs_from(c, MCS_F32, 2, MCS_SHAPE(2, 2), x);
    const float s[4] = { 1 / 3.0f, 2 / 3.0f, 0.5f, 0.5f };
    check_near(mcs_softmax(c, t), mcs_from(c, MCS_F32, 2, MCS_SHAPE(2, 2), s), 1e-6f, 0);
    const float l[4] = { -1.09861229f, -0.405465108f, -log2_, -log2_ };
    check_near(mcs_log_softmax(c, t), mcs_from(c, MCS_F32, 2, MCS_SHAPE(2, 2), l), 1e-6f, 1e-6f);
    const float e[2] = { 1.09861229f, 1000 + log2_ };
    check_near(mcs_logsumexp(c, t), mcs_from(c, MCS_F32, 1, MCS_SHAPE(2), e), 1e-6f, 0);
    mcs_ctx_free(c);
}

static void test_infinities(void **state)
{
    (void)state;
    mcs_ctx *c = check_ctx();
    const float x[6] = { -INFINITY, -INFINITY, -INFINITY, INFINITY, 1, -INFINITY };
    mcs_tensor *t = mcs_from(c, MCS_F32, 3, MCS_SHAPE(1, 3, 2), x);
    const float *l = mcs_f32(mcs_logsumexp(c, t)), *s = mcs_f32(mcs_softmax(c, t));
    assert_true(l[0] == -INFINITY && l[1] == INFINITY && l[2] == 1);
    assert_true(isnan(s[0]) && s[4] == 1 && s[5] == 0);
    check_ok(c);
    mcs_ctx_free(c);
}

static void test_refusals(void **state)
{
    (void)state;
    mcs_ctx *c = check_ctx();
    check_fn *fns[3] = { softmax, log_softmax, logsumexp };
    const char *names[3] = { "softmax: ", "log_softmax: ", "logsumexp: " };
    for (int i = 0; i < 3; i++) {
        mcs_tensor *none = NULL, *scalar = mcs_scalar(c, 1);
        assert_null(fns[i](c, &none));
        check_ok(c);
        check_fails(c, fns[i](c, &scalar), MCS_ESHAPE, names[i]);
    }
    check_fails(c, mcs_logsumexp(c, mcs_zeros(c, 2, MCS_SHAPE(2, 0))), MCS_ESHAPE, "empty");
    mcs_ctx_free(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_values),   cmocka_unit_test(test_golden),
        cmocka_unit_test(test_gradient), cmocka_unit_test(test_infinities),
        cmocka_unit_test(test_refusals),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
