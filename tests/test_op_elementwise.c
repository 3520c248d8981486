/* add, sub, mul, div: values, broadcasting against PyTorch, gradients, refusals. */
#include "tests/check.h"

static mcs_tensor *add(mcs_ctx *c, mcs_tensor **in)
{
    return mcs_add(c, in[0], in[1]);
}
static mcs_tensor *sub(mcs_ctx *c, mcs_tensor **in)
{
    return mcs_sub(c, in[0], in[1]);
}
static mcs_tensor *mul(mcs_ctx *c, mcs_tensor **in)
{
    return mcs_mul(c, in[0], in[1]);
}
static mcs_tensor *divide(mcs_ctx *c, mcs_tensor **in)
{
    return mcs_div(c, in[0], in[1]);
}

static const struct {
    const char *name;
    check_fn *fn;
} ops[] = { { "add", add }, { "sub", sub }, { "mul", mul }, { "div", divide } };

static void test_values(void **state)
{
    (void)state;
    mcs_ctx *c = check_ctx();
    const float a[4] = { 1, 2, 3, 4 }, b[2] = { 2, 4 };
    mcs_tensor *x = mcs_from(c, MCS_F32, 2, MCS_SHAPE(2, 2), a);
    mcs_tensor *y = mcs_from(c, MCS_F32, 1, MCS_SHAPE(2), b);
    const float want[4][4] = {
        { 3, 6, 5, 8 }, { -1, -2, 1, 0 }, { 2, 8, 6, 16 }, { 0.5f, 0.5f, 1.5f, 1 }
    };
    for (int i = 0; i < 4; i++)
        check_near_named(ops[i].name, ops[i].fn(c, (mcs_tensor *[]){ x, y }),
                         mcs_wrap(c, MCS_F32, 2, MCS_SHAPE(2, 2), (void *)want[i]), 0, 0);
    check_ok(c);
    mcs_ctx_free(c);
}

static void test_golden(void **state)
{
    (void)state;
    const char *kinds[] = { "same", "row", "scalar", "channel", "both", "batch", "long" };
    for (int i = 0; i < 4; i++)
        for (int k = 0; k < 7; k++) {
            char name[64];
            if (k == 6 && i != 0 && i != 3)
                continue;
            mcs_ctx *c = check_ctx();
            snprintf(name, sizeof name, "ops/%s_%s", ops[i].name, kinds[k]);
            check_golden(c, name, ops[i].fn, 2e-6f, 2e-6f);
            mcs_ctx_free(c);
        }
}

static mcs_tensor *square_by_mul(mcs_ctx *c, mcs_tensor **in)
{
    return mcs_mul(c, in[0], in[0]);
}
static mcs_tensor *one_by_div(mcs_ctx *c, mcs_tensor **in)
{
    return mcs_div(c, mcs_mul(c, in[0], in[0]), in[0]);
}

static void test_gradient(void **state)
{
    (void)state;
    mcs_ctx *c = check_ctx();
    for (int i = 0; i < 4; i++) {
        mcs_tensor *in[2] = { check_random(c, 1, 0.5f, 2, 3, MCS_SHAPE(3, 1, 7)),
                              check_random(c, 2, 0.5f, 2, 2, MCS_SHAPE(5, 7)) };
        check_grad(c, ops[i].fn, 2, in, 1e-2f);
        check_grad(c, ops[i].fn, 2, (mcs_tensor *[]){ in[1], in[0] }, 1e-2f);
    }
    mcs_tensor *x = check_random(c, 3, 0.5f, 2, 1, MCS_SHAPE(9));
    check_grad(c, square_by_mul, 1, &x, 1e-2f);
    check_grad(c, one_by_div, 1, &x, 1e-2f);
    mcs_ctx_free(c);
}

/* Against a plain loop over every combination of sizes 1 and n in up to 4 dimensions. */
static float at(const mcs_tensor *x, const int64_t *index)
{
    int64_t i = 0;
    for (int d = 0; d < 4; d++)
        i = i * x->shape[d] + (x->shape[d] == 1 ? 0 : index[d]);
    return mcs_f32(x)[i];
}

static void test_every_broadcast(void **state)
{
    (void)state;
    mcs_ctx *c = check_ctx();
    const int64_t size[4] = { 2, 3, 5, 4 };
    for (int m = 0; m < 256; m++) {
        int64_t sa[4], sb[4], k[4], n = 0;
        for (int d = 0; d < 4; d++) {
            sa[d] = m >> d & 1 ? size[d] : 1;
            sb[d] = m >> (4 + d) & 1 ? size[d] : 1;
        }
        const mcs_tensor *a = mcs_leaf(c, check_random(c, 1, -1, 1, 4, sa));
        const mcs_tensor *b = mcs_leaf(c, check_random(c, 2, -1, 1, 4, sb));
        const mcs_tensor *y = mcs_sub(c, a, b);
        check_ok(c);
        const int64_t *s = y->shape;
        for (k[0] = 0; k[0] < s[0]; k[0]++)
            for (k[1] = 0; k[1] < s[1]; k[1]++)
                for (k[2] = 0; k[2] < s[2]; k[2]++)
                    for (k[3] = 0; k[3] < s[3]; k[3]++)
                        assert_true(mcs_f32(y)[n++] == at(a, k) - at(b, k));
        assert_int_equal(n, mcs_numel(y));
        /* With dy = 1 each gradient counts the repetitions. */
        assert_int_equal(mcs_backward(c, y, mcs_full(c, 4, s, 1.0f)), MCS_OK);
        for (int64_t i = 0; i < mcs_numel(a); i++)
            assert_true(mcs_f32(mcs_grad(c, a))[i] == (float)(n / mcs_numel(a)));
        for (int64_t i = 0; i < mcs_numel(b); i++)
            assert_true(mcs_f32(mcs_grad(c, b))[i] == -(float)(n / mcs_numel(b)));
        mcs_ctx_reset(c);
    }
    mcs_ctx_free(c);
}

/* Rows longer than a range, and ranges that begin inside a row. */
static void test_long_rows(void **state)
{
    (void)state;
    mcs_ctx *c = check_ctx();
    enum { R = 3, C = 20011 };
    const mcs_tensor *a = check_random(c, 1, 1, 2, 2, MCS_SHAPE(R, C));
    const mcs_tensor *b = check_random(c, 2, 1, 2, 2, MCS_SHAPE(R, 1));
    const mcs_tensor *y = mcs_div(c, a, b), *z = mcs_div(c, b, a);
    check_ok(c);
    for (int64_t i = 0; i < R * C; i++) {
        assert_true(mcs_f32(y)[i] == mcs_f32(a)[i] / mcs_f32(b)[i / C]);
        assert_true(mcs_f32(z)[i] == mcs_f32(b)[i / C] / mcs_f32(a)[i]);
    }
    mcs_ctx_free(c);
}

static void test_empty(void **state)
{
    (void)state;
    mcs_ctx *c = check_ctx();
    mcs_tensor *a = mcs_leaf(c, mcs_zeros(c, 2, MCS_SHAPE(0, 3)));
    mcs_tensor *b = mcs_leaf(c, mcs_zeros(c, 1, MCS_SHAPE(3)));
    mcs_tensor *y = mcs_mul(c, a, b);
    check_ok(c);
    assert_int_equal(mcs_numel(y), 0);
    assert_int_equal(mcs_backward(c, mcs_sum(c, y), NULL), MCS_OK);
    mcs_ctx_free(c);
}

static void test_refusals(void **state)
{
    (void)state;
    mcs_ctx *c = check_ctx();
    mcs_tensor *a = mcs_zeros(c, 2, MCS_SHAPE(2, 3)), *b = mcs_zeros(c, 1, MCS_SHAPE(4));
    mcs_tensor *ids = mcs_new_typed(c, MCS_I64, 1, MCS_SHAPE(3));
    assert_null(mcs_add(c, NULL, a));
    assert_null(mcs_add(c, a, NULL));
    check_ok(c);
    check_fails(c, mcs_add(c, a, b), MCS_ESHAPE, "add: shapes (2, 3) and (4) do not broadcast");
    a = mcs_zeros(c, 2, MCS_SHAPE(2, 3));
    ids = mcs_new_typed(c, MCS_I64, 1, MCS_SHAPE(3));
    check_fails(c, mcs_div(c, a, ids), MCS_ESHAPE, "div: input is int64");
    mcs_ctx_free(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_values),    cmocka_unit_test(test_golden),
        cmocka_unit_test(test_gradient),  cmocka_unit_test(test_every_broadcast),
        cmocka_unit_test(test_long_rows), cmocka_unit_test(test_empty),
        cmocka_unit_test(test_refusals),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
