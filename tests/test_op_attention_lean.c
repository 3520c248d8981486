/* test_op_attention_lean.c - attention with its projection in one node: the two plain operations with
 * less on the tape. */
#include "tests/check.h"

enum { INPUTS = 9 }; /* q, k, v, bias, rel_h, rel_w, weight, its bias, residual; packed: q is all three */

/* Of long sequences, which are worked off in parts of the batch: other keys for each image. */
static const mcs_tensor *mask_of(mcs_ctx *c, const mcs_tensor *x)
{
    if (!x || x->shape[1] < 700)
        return NULL;
    mcs_tensor *mask = mcs_new_typed(c, MCS_U8, 2, MCS_SHAPE(x->shape[0], x->shape[1]));
    for (int64_t i = 0; mask && i < mcs_numel(mask); i++)
        mcs_u8(mask)[i] = i % (2 + i / x->shape[1]) == 0;
    return mask;
}

static mcs_attention_opts opts_of(mcs_ctx *c, mcs_tensor **in, int heads)
{
    return (mcs_attention_opts){ .heads = heads,
                                 .key_mask = mask_of(c, in[0]),
                                 .bias = in[3],
                                 .rel_h = in[4],
                                 .rel_w = in[5],
                                 .grid_h = 3,
                                 .grid_w = 5 };
}

static mcs_tensor *lean(mcs_ctx *c, mcs_tensor **in)
{
    mcs_attention_opts o = opts_of(c, in, 2);
    return mcs_attention_linear_add(c, in[0], in[1], in[2], &o, in[6], in[7], in[8]);
}

static mcs_tensor *plain(mcs_ctx *c, mcs_tensor **in)
{
    mcs_attention_opts o = opts_of(c, in, 2);
    return mcs_linear_add(c, mcs_attention(c, in[0], in[1], in[2], &o), in[6], in[7], in[8]);
}

static mcs_tensor *lean_packed(mcs_ctx *c, mcs_tensor **in)
{
    mcs_attention_opts o = opts_of(c, in, 2);
    return mcs_attention_packed_linear_add(c, in[0], MCS_QKV_PER_HEAD, &o, in[6], in[7], in[8]);
}

static mcs_tensor *plain_packed(mcs_ctx *c, mcs_tensor **in)
{
    mcs_attention_opts o = opts_of(c, in, 2);
    return mcs_linear_add(c, mcs_attention_packed(c, in[0], MCS_QKV_PER_HEAD, &o), in[6], in[7],
                          in[8]);
}

/* n tokens, values of 6 channels, a projection to 7. */
static void inputs(mcs_ctx *c, mcs_tensor *in[INPUTS], int64_t images, int64_t n, bool packed,
                   bool grid)
{
    int64_t wide = packed ? 18 : 8, dim = packed ? 6 : wide;
    for (uint64_t i = 0; i < 3; i++)
        in[i] = packed && i ? NULL
                            : check_random(c, i + 1, -1, 1, 3,
                                           MCS_SHAPE(images, n, i == 2 ? 6 : wide));
    in[3] = grid ? check_random(c, 4, -1, 1, 3, MCS_SHAPE(2, n, n)) : NULL;
    in[4] = grid ? check_random(c, 5, -1, 1, 2, MCS_SHAPE(5, dim / 2)) : NULL;
    in[5] = grid ? check_random(c, 6, -1, 1, 2, MCS_SHAPE(9, dim / 2)) : NULL;
    in[6] = check_random(c, 7, -1, 1, 2, MCS_SHAPE(7, 6));
    in[7] = check_random(c, 8, -1, 1, 1, MCS_SHAPE(7));
    in[8] = check_random(c, 9, -1, 1, 3, MCS_SHAPE(images, n, 7));
}

static void compare(check_fn *fn, check_fn *other, int64_t n, bool packed, bool grid, int without)
{
    mcs_tensor *y[2], *leaf[2][INPUTS], *in[INPUTS];
    mcs_ctx *c[2] = { check_ctx(), check_ctx() };
    for (int k = 0; k < 2; k++) {
        inputs(c[k], in, 3, n, packed, grid);
        if (without == 7)
            in[7] = NULL;
        for (int i = 0; i < INPUTS; i++)
            leaf[k][i] = !in[i] || i == without ? in[i] : mcs_leaf(c[k], in[i]);
        y[k] = (k ? other : fn)(c[k], leaf[k]);
        check_ok(c[k]);
        mcs_tensor *dy = check_random(c[k], 10, -1, 1, 3, y[k]->shape);
        assert_int_equal(mcs_backward(c[k], y[k], dy), MCS_OK);
    }
    check_near(y[0], y[1], 1e-5f, 1e-6f);
    for (int i = 0; i < INPUTS; i++)
        if (in[i] && i != without)
            check_near(mcs_grad(c[0], leaf[0][i]), mcs_grad(c[1], leaf[1][i]), 1e-4f, 1e-4f);
    mcs_ctx_free(c[0]);
    mcs_ctx_free(c[1]);
}

static void test_equals_plain(void **state)
{
    (void)state;
    for (int without = -1; without < INPUTS; without++) {
        compare(lean, plain, 15, false, true, without);
        compare(lean_packed, plain_packed, 15, true, true, without);
    }
    compare(lean, plain, 700, false, false, -1); /* two blocks of keys; parts of two and of one image */
    compare(lean_packed, plain_packed, 700, true, false, 6);
}

static mcs_tensor *keep_a_tape(mcs_ctx *c, check_fn *fn, int64_t n)
{
    mcs_tensor *in[INPUTS];
    inputs(c, in, 40, n, true, false);
    in[0] = mcs_leaf(c, in[0]);
    for (int i = 0; i < 8; i++) {
        mcs_tensor *y = fn(c, in);
        in[8] = y;
    }
    return in[8];
}

/* Eight of them on one tape: what attention gave is held by none. */
static void test_keeps_less(void **state)
{
    (void)state;
    mcs_ctx *c[2] = { check_ctx(), check_ctx() };
    assert_non_null(keep_a_tape(c[0], lean_packed, 100));
    assert_non_null(keep_a_tape(c[1], plain_packed, 100));
    size_t result = 40 * 100 * 6 * sizeof(float);
    assert_true(mcs_ctx_peak(c[0]) + 5 * result < mcs_ctx_peak(c[1]));
    mcs_ctx_free(c[0]);
    mcs_ctx_free(c[1]);
}

static void test_gradients(void **state)
{
    (void)state;
    mcs_ctx *c = check_ctx();
    mcs_tensor *in[INPUTS];
    inputs(c, in, 2, 15, false, true);
    check_grad(c, lean, INPUTS, in, 2e-3f);
    check_each_grad(c, lean, INPUTS, in);
    inputs(c, in, 2, 15, true, true);
    check_grad(c, lean_packed, INPUTS, in, 2e-3f);
    mcs_ctx_free(c);
}

static void test_threads_and_limits(void **state)
{
    (void)state;
    mcs_ctx *c = check_ctx();
    mcs_tensor *in[INPUTS];
    inputs(c, in, 40, 15, false, true);
    check_threads(lean, INPUTS, in);
    check_limits(lean, INPUTS, in);
    inputs(c, in, 40, 15, true, true);
    check_threads(lean_packed, INPUTS, in);
    mcs_ctx_free(c);
}

static void test_refusals(void **state)
{
    (void)state;
    mcs_ctx *c = check_ctx();
    mcs_tensor *in[INPUTS];
    inputs(c, in, 2, 15, false, false);
    in[6] = mcs_zeros(c, 2, MCS_SHAPE(7, 5));
    check_fails(c, lean(c, in), MCS_ESHAPE, "attention_linear_add");
    inputs(c, in, 2, 15, false, false);
    in[7] = mcs_zeros(c, 1, MCS_SHAPE(6));
    check_fails(c, lean(c, in), MCS_ESHAPE, "bias has 6 values");
    inputs(c, in, 2, 15, false, false);
    in[8] = mcs_zeros(c, 3, MCS_SHAPE(2, 14, 7));
    check_fails(c, lean(c, in), MCS_ESHAPE, "residual");
    inputs(c, in, 2, 15, true, false);
    in[0] = mcs_zeros(c, 3, MCS_SHAPE(2, 15, 17));
    check_fails(c, lean_packed(c, in), MCS_ESHAPE, "multiple of 3");
    inputs(c, in, 2, 15, false, false);
    in[6] = NULL;
    assert_null(lean(c, in));
    in[0] = NULL;
    assert_null(lean(c, in));
    check_ok(c);
    mcs_ctx_free(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_equals_plain),       cmocka_unit_test(test_keeps_less),
        cmocka_unit_test(test_gradients),          cmocka_unit_test(test_threads_and_limits),
        cmocka_unit_test(test_refusals),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
