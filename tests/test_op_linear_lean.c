/* test_op_linear_lean.c - norm_linear and gelu_linear_add: the plain operations in one node, with
 * less on the tape. */
#include "tests/check.h"

static mcs_tensor *norm_lean(mcs_ctx *c, mcs_tensor **in)
{
    return mcs_norm_linear(c, in[0], in[3], in[4], 1e-5f, in[1], in[2]);
}

static mcs_tensor *norm_plain(mcs_ctx *c, mcs_tensor **in)
{
    return mcs_linear(c, mcs_layer_norm(c, in[0], in[3], in[4], 1e-5f), in[1], in[2]);
}

static mcs_tensor *gelu_lean(mcs_ctx *c, mcs_tensor **in)
{
    return mcs_gelu_linear_add(c, in[0], in[1], in[2], in[3]);
}

static mcs_tensor *gelu_plain(mcs_ctx *c, mcs_tensor **in)
{
    return mcs_linear_add(c, mcs_gelu(c, in[0]), in[1], in[2], in[3]);
}

static void inputs(mcs_ctx *c, bool norm, mcs_tensor *in[5], int64_t rows, int64_t k, int64_t n)
{
    in[0] = check_random(c, 1, -2, 2, 3, MCS_SHAPE(2, rows, k));
    in[1] = check_random(c, 2, -1, 1, 2, MCS_SHAPE(n, k));
    in[2] = check_random(c, 3, -1, 1, 1, MCS_SHAPE(n));
    in[3] = norm ? check_random(c, 4, -1, 1, 1, MCS_SHAPE(k))
                 : check_random(c, 4, -1, 1, 3, MCS_SHAPE(2, rows, n));
    in[4] = check_random(c, 5, -1, 1, 1, MCS_SHAPE(k));
}

static void test_by_hand(void **state)
{
    (void)state;
    mcs_ctx *c = check_ctx();
    mcs_tensor *x = mcs_from(c, MCS_F32, 1, MCS_SHAPE(2), (float[]){ 3, 1 }); /* norm: 1, -1 */
    mcs_tensor *w = mcs_from(c, MCS_F32, 2, MCS_SHAPE(2, 2), (float[]){ 1, 2, 3, 5 });
    mcs_tensor *nw = mcs_from(c, MCS_F32, 1, MCS_SHAPE(2), (float[]){ 2, 4 });
    mcs_tensor *b = mcs_from(c, MCS_F32, 1, MCS_SHAPE(2), (float[]){ 10, 20 });
    mcs_tensor *y = mcs_norm_linear(c, x, nw, NULL, 0, w, b); /* W (2,-4) + b */
    check_near(y, mcs_from(c, MCS_F32, 1, MCS_SHAPE(2), (float[]){ 4, 6 }), 1e-6f, 0);
    mcs_tensor *zero = mcs_zeros(c, 1, MCS_SHAPE(2));
    y = mcs_gelu_linear_add(c, mcs_affine(c, x, 10, 0), w, NULL, b); /* gelu(30) = 30 */
    check_near(y, mcs_from(c, MCS_F32, 1, MCS_SHAPE(2), (float[]){ 60, 160 }), 1e-6f, 0);
    check_near(mcs_gelu_linear_add(c, zero, w, NULL, b), b, 0, 0);
    check_ok(c);
    mcs_ctx_free(c);
}

/* Result and all gradients of fn and of the plain operations; more rows than a part has. */
static void compare(check_fn *fn, check_fn *plain, int n, bool norm, int without, int64_t rows)
{
    mcs_tensor *y[2], *leaf[2][5], *in[5];
    mcs_ctx *c[2] = { check_ctx(), check_ctx() };
    size_t peak[2];
    for (int k = 0; k < 2; k++) {
        inputs(c[k], norm, in, rows, 24, 20);
        for (int i = 0; i < n; i++)
            leaf[k][i] = i == without ? in[i] : mcs_leaf(c[k], in[i]);
        y[k] = (k ? plain : fn)(c[k], leaf[k]);
        check_ok(c[k]);
        peak[k] = mcs_ctx_peak(c[k]);
        mcs_tensor *dy = check_random(c[k], 9, -1, 1, 3, y[k]->shape);
        assert_int_equal(mcs_backward(c[k], y[k], dy), MCS_OK);
    }
    check_near(y[0], y[1], 1e-6f, 1e-6f);
    for (int i = 0; i < n; i++)
        if (i != without)
            check_near(mcs_grad(c[0], leaf[0][i]), mcs_grad(c[1], leaf[1][i]), 1e-4f, 1e-4f);
    if (rows > 5000)
        assert_true(peak[0] + 50 * (size_t)rows * 2 < peak[1]); /* 24 floats a row, less scratch */
    mcs_ctx_free(c[0]);
    mcs_ctx_free(c[1]);
}

static void test_equals_plain(void **state)
{
    (void)state;
    const int64_t rows[] = { 1, 3, 1024, 1025, 6007 };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        for (int without = -1; without < 5; without += 2) {
            compare(norm_lean, norm_plain, 5, true, without, rows[i]);
            compare(gelu_lean, gelu_plain, 4, false, without, rows[i]);
        }
    compare(norm_lean, norm_plain, 5, true, 0, 3);
    compare(norm_lean, norm_plain, 5, true, 4, 3);
    compare(gelu_lean, gelu_plain, 4, false, 2, 3);
}

static void test_gradients(void **state)
{
    (void)state;
    mcs_ctx *c = check_ctx();
    mcs_tensor *in[5];
    inputs(c, true, in, 3, 7, 70);
    check_grad(c, norm_lean, 5, in, 2e-3f);
    check_each_grad(c, norm_lean, 5, in);
    in[3] = in[4] = in[2] = NULL;
    check_grad(c, norm_lean, 5, in, 2e-3f);
    inputs(c, false, in, 3, 7, 70);
    check_grad(c, gelu_lean, 4, in, 2e-3f);
    check_each_grad(c, gelu_lean, 4, in);
    in[2] = NULL;
    check_grad(c, gelu_lean, 4, in, 2e-3f);
    mcs_ctx_free(c);
}

static void test_threads_and_limits(void **state)
{
    (void)state;
    mcs_ctx *c = check_ctx();
    mcs_tensor *in[5];
    inputs(c, true, in, 2500, 24, 40);
    check_threads(norm_lean, 5, in);
    check_limits(norm_lean, 5, in);
    inputs(c, false, in, 2500, 24, 40);
    check_threads(gelu_lean, 4, in);
    check_limits(gelu_lean, 4, in);
    mcs_ctx_free(c);
}

static void test_refusals(void **state)
{
    (void)state;
    mcs_ctx *c = check_ctx();
    mcs_tensor *in[5];
    mcs_tensor *wrong = mcs_zeros(c, 1, MCS_SHAPE(4));
    inputs(c, true, in, 3, 5, 6);
    check_fails(c, mcs_norm_linear(c, in[0], wrong, NULL, 0, in[1], NULL), MCS_ESHAPE, "the norm");
    wrong = mcs_zeros(c, 1, MCS_SHAPE(4));
    inputs(c, true, in, 3, 5, 6);
    check_fails(c, mcs_norm_linear(c, in[0], NULL, wrong, 0, in[1], NULL), MCS_ESHAPE, "the norm");
    inputs(c, true, in, 3, 5, 6);
    check_fails(c, mcs_norm_linear(c, in[0], NULL, NULL, 0, in[0], NULL), MCS_ESHAPE,
                "norm_linear");
    inputs(c, false, in, 3, 5, 6);
    check_fails(c, mcs_gelu_linear_add(c, in[0], in[1], NULL, in[0]), MCS_ESHAPE, "residual");
    inputs(c, false, in, 3, 5, 6);
    assert_null(mcs_norm_linear(c, NULL, NULL, NULL, 0, in[1], NULL));
    assert_null(mcs_gelu_linear_add(c, in[0], in[1], NULL, NULL));
    check_ok(c);
    mcs_tensor *none = mcs_zeros(c, 2, MCS_SHAPE(0, 5));
    mcs_tensor *y = mcs_norm_linear(c, mcs_leaf(c, none), NULL, NULL, 0, in[1], NULL);
    check_ok(c);
    assert_int_equal(mcs_numel(y), 0);
    mcs_ctx_free(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_by_hand),   cmocka_unit_test(test_equals_plain),
        cmocka_unit_test(test_gradients), cmocka_unit_test(test_threads_and_limits),
        cmocka_unit_test(test_refusals),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
