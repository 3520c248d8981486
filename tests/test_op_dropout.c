/* dropout: the mask's rate and scale, its repeatability, its gradient, refusals. */
#include "tests/check.h"

static mcs_tensor *ones(mcs_ctx *c, int64_t n)
{
    return mcs_full(c, 1, &n, 1);
}

static void test_rate(void **state)
{
    (void)state;
    mcs_ctx *c = check_ctx();
    mcs_set_training(c, true);
    enum { N = 100003 };
    const float ps[3] = { 0.1f, 0.5f, 0.9f };
    for (int k = 0; k < 3; k++) {
        mcs_tensor *y = mcs_dropout(c, ones(c, N), ps[k]);
        check_ok(c);
        int64_t kept = 0;
        for (int64_t i = 0; i < N; i++) {
            float v = mcs_f32(y)[i];
            assert_true(v == 0 || (v > 0.999f / (1 - ps[k]) && v < 1.001f / (1 - ps[k])));
            kept += v != 0;
        }
        assert_true(kept > (int64_t)(N * (1 - ps[k] - 0.006f))); /* 4 sigma at most */
        assert_true(kept < (int64_t)(N * (1 - ps[k] + 0.006f)));
    }
    mcs_ctx_free(c);
}

static void test_stream(void **state)
{
    (void)state;
    mcs_ctx *c = check_ctx();
    enum { N = 40001 };
    mcs_set_training(c, true);
    mcs_ctx_seed(c, 7, 3);
    mcs_tensor *x = ones(c, N), *a = mcs_dropout(c, x, 0.5f), *b = mcs_dropout(c, x, 0.5f);
    mcs_ctx_seed(c, 7, 3);
    mcs_tensor *again = mcs_dropout(c, x, 0.5f);
    mcs_ctx_seed(c, 8, 3);
    mcs_tensor *other = mcs_dropout(c, x, 0.5f);
    check_ok(c);
    assert_memory_equal(a->data, again->data, N * sizeof(float));
    assert_memory_not_equal(a->data, b->data, N * sizeof(float));
    assert_memory_not_equal(a->data, other->data, N * sizeof(float));
    mcs_ctx_free(c);
    /* One thread: the same mask. */
    c = mcs_ctx_new(&(mcs_ctx_opts){ .training = true });
    mcs_ctx_seed(c, 7, 3);
    mcs_tensor *serial = mcs_dropout(c, ones(c, N), 0.5f);
    mcs_ctx *d = check_ctx();
    mcs_set_training(d, true);
    mcs_ctx_seed(d, 7, 3);
    mcs_tensor *parallel = mcs_dropout(d, ones(d, N), 0.5f);
    assert_memory_equal(serial->data, parallel->data, N * sizeof(float));
    mcs_ctx_free(c);
    mcs_ctx_free(d);
}

static void test_gradient(void **state)
{
    (void)state;
    mcs_ctx *c = check_ctx();
    enum { N = 20011 };
    mcs_set_training(c, true);
    mcs_tensor *x = mcs_leaf(c, ones(c, N)), *y = mcs_dropout(c, x, 0.3f);
    assert_int_equal(mcs_backward(c, y, ones(c, N)), MCS_OK);
    check_near(mcs_grad(c, x), y, 0, 0); /* the same mask and scale */
    assert_int_equal(mcs_backward(c, y, ones(c, N)), MCS_OK);
    check_near(mcs_grad(c, x), mcs_add(c, y, y), 0, 0);
    mcs_ctx_free(c);
}

static void test_identity(void **state)
{
    (void)state;
    mcs_ctx *c = check_ctx();
    mcs_tensor *x = mcs_leaf(c, check_random(c, 1, -1, 1, 1, MCS_SHAPE(9)));
    check_near(mcs_dropout(c, x, 0.5f), x, 0, 0);
    mcs_set_training(c, true);
    mcs_tensor *y = mcs_dropout(c, x, 0);
    check_near(y, x, 0, 0);
    assert_int_equal(mcs_backward(c, mcs_sum(c, y), NULL), MCS_OK);
    check_near(mcs_grad(c, x), ones(c, 9), 0, 0);
    mcs_ctx_free(c);
}

static void test_refusals(void **state)
{
    (void)state;
    mcs_ctx *c = check_ctx();
    assert_null(mcs_dropout(c, NULL, 0.5f));
    check_ok(c);
    check_fails(c, mcs_dropout(c, ones(c, 3), 1), MCS_EINVAL, "dropout: probability 1 is outside");
    check_fails(c, mcs_dropout(c, ones(c, 3), -0.1f), MCS_EINVAL, "dropout: probability -0.1");
    mcs_ctx_free(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rate),     cmocka_unit_test(test_stream),
        cmocka_unit_test(test_gradient), cmocka_unit_test(test_identity),
        cmocka_unit_test(test_refusals),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
