/* Windows of a token grid: layout, padding, inverse, gradients, refusals. */
#include "tests/check.h"

static const int64_t grid_shape[4] = { 2, 5, 7, 3 };

/* x[b,y,x,c] of a tensor numbered by its flat index. */
static float at(int64_t b, int64_t y, int64_t x, int64_t k)
{
    return (float)(((b * 5 + y) * 7 + x) * 3 + k);
}

static void partition_gathers_and_fills(void **state)
{
    (void)state;
    mcs_ctx *c = check_ctx();
    mcs_tensor *x = mcs_new(c, 4, grid_shape);
    for (int64_t i = 0; i < mcs_numel(x); i++)
        mcs_f32(x)[i] = (float)i;
    const float fill[3] = { -1, -2, -3 };
    mcs_tensor *f = mcs_from(c, MCS_F32, 1, MCS_SHAPE(3), fill);
    mcs_tensor *w = mcs_window_partition(c, x, 4, f);
    check_ok(c);
    assert_int_equal(w->ndim, 3);
    assert_int_equal(w->shape[0], 2 * 2 * 2);
    assert_int_equal(w->shape[1], 16);
    for (int64_t i = 0; i < mcs_numel(w); i++) {
        int64_t k = i % 3, q = i / 3 % 4, r = i / 12 % 4, win = i / 48;
        int64_t b = win / 4, y = win / 2 % 2 * 4 + r, col = win % 2 * 4 + q;
        float expected = y < 5 && col < 7 ? at(b, y, col, k) : fill[k];
        if (mcs_f32(w)[i] != expected)
            fail_msg("element %d: %g, expected %g", (int)i, (double)mcs_f32(w)[i],
                     (double)expected);
    }
    check_near(mcs_window_merge(c, w, 4, 5, 7), x, 0, 0);
    mcs_tensor *zeros = mcs_window_partition(c, x, 4, NULL);
    assert_true(mcs_f32(zeros)[mcs_numel(zeros) - 1] == 0.0f);
    mcs_ctx_free(c);
}

static mcs_tensor *partition4(mcs_ctx *c, mcs_tensor **in)
{
    return mcs_window_partition(c, in[0], 4, in[1]);
}

static mcs_tensor *merge4(mcs_ctx *c, mcs_tensor **in)
{
    return mcs_window_merge(c, in[0], 4, 5, 7);
}

static void gradients(void **state)
{
    (void)state;
    mcs_ctx *c = check_ctx();
    mcs_tensor *in[2] = { check_random(c, 1, -1, 1, 4, grid_shape),
                          check_random(c, 2, -1, 1, 1, MCS_SHAPE(3)) };
    check_grad(c, partition4, 2, in, 1e-3f);
    in[1] = NULL;
    check_grad(c, partition4, 2, in, 1e-3f);
    in[0] = check_random(c, 3, -1, 1, 3, MCS_SHAPE(8, 16, 3));
    check_grad(c, merge4, 1, in, 1e-3f);
    mcs_ctx_free(c);
}

static void refusals(void **state)
{
    (void)state;
    mcs_ctx *c = check_ctx();
    check_fails(c, mcs_window_partition(c, mcs_zeros(c, 3, grid_shape), 4, NULL), MCS_ESHAPE,
                "window_partition");
    check_fails(c, mcs_window_partition(c, mcs_zeros(c, 4, grid_shape), 0, NULL), MCS_EINVAL,
                "window 0");
    check_fails(
        c, mcs_window_partition(c, mcs_zeros(c, 4, grid_shape), 4, mcs_zeros(c, 1, MCS_SHAPE(2))),
        MCS_ESHAPE, "fill has 2");
    check_fails(c, mcs_window_merge(c, mcs_zeros(c, 3, MCS_SHAPE(7, 16, 3)), 4, 5, 7), MCS_ESHAPE,
                "multiple of 4");
    check_fails(c, mcs_window_merge(c, mcs_zeros(c, 3, MCS_SHAPE(8, 16, 3)), 4, 0, 7), MCS_EINVAL,
                "grid 0 x 7");
    assert_null(mcs_window_partition(c, NULL, 4, NULL));
    assert_null(mcs_window_merge(c, NULL, 4, 5, 7));
    mcs_ctx_free(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(partition_gathers_and_fills),
                                        cmocka_unit_test(gradients), cmocka_unit_test(refusals) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
