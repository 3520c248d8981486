/* test_tape.c - recording, backward, leaves, watches, hooks. */
#include <string.h>
#include "tests/check.h"
#include "tensor/op.h"

static mcs_ctx *new_ctx(bool grad) { return mcs_ctx_new(&(mcs_ctx_opts){ .grad = grad }); }

static void test_backward_of_a_product(void **state)
{
    (void)state;
    mcs_ctx *c = new_ctx(true);
    mcs_tensor *a = mcs_leaf(c, mcs_from(c, MCS_F32, 1, MCS_SHAPE(3), (float[]){ 1, 2, 3 }));
    mcs_tensor *b = mcs_from(c, MCS_F32, 1, MCS_SHAPE(3), (float[]){ 4, 5, 6 });
    mcs_tensor *y = mcs_sum(c, mcs_mul(c, mcs_mul(c, a, a), b));    /* sum b a^2 */
    check_ok(c);
    assert_true(mcs_f32(y)[0] == 4 + 20 + 54);
    assert_int_equal(mcs_backward(c, y, NULL), MCS_OK);
    float *g = mcs_f32(mcs_grad(c, a));
    assert_true(g[0] == 8 && g[1] == 20 && g[2] == 36);
    assert_null(mcs_grad(c, b));
    assert_int_equal(mcs_backward(c, y, NULL), MCS_OK);     /* leaves accumulate */
    assert_true(mcs_f32(mcs_grad(c, a))[2] == 72);
    mcs_ctx_free(c);
}

static void test_backward_refusals(void **state)
{
    (void)state;
    mcs_ctx *c = new_ctx(true);
    mcs_tensor *x = mcs_zeros(c, 1, MCS_SHAPE(2));
    assert_int_equal(mcs_backward(c, x, NULL), MCS_EINVAL);
    mcs_ctx_reset(c);
    x = mcs_leaf(c, mcs_zeros(c, 1, MCS_SHAPE(2)));
    assert_int_equal(mcs_backward(c, x, NULL), MCS_ESHAPE);
    mcs_ctx_reset(c);
    x = mcs_leaf(c, mcs_zeros(c, 1, MCS_SHAPE(2)));
    assert_int_equal(mcs_backward(c, x, mcs_zeros(c, 1, MCS_SHAPE(3))), MCS_ESHAPE);
    mcs_ctx_free(c);
}

static void test_nothing_recorded_without_need(void **state)
{
    (void)state;
    mcs_ctx *c = new_ctx(true);
    mcs_tensor *x = mcs_zeros(c, 1, MCS_SHAPE(2));
    assert_null(mcs_add(c, x, x)->node);                /* constants only */
    mcs_tensor *leaf = mcs_leaf(c, x);
    assert_non_null(mcs_add(c, leaf, x)->node);
    mcs_set_grad(c, false);
    assert_null(mcs_add(c, leaf, x)->node);
    mcs_ctx_free(c);
}

static mcs_tensor *net(mcs_ctx *c, mcs_tensor *x)
{
    mcs_tensor *h = mcs_tap(c, "first", mcs_affine(c, x, 3, 1));
    return mcs_tap(c, "second", mcs_mul(c, h, h));
}

static void test_watch_starts_the_tape(void **state)
{
    (void)state;
    mcs_ctx *c = new_ctx(true);
    assert_int_equal(mcs_watch(c, "first"), MCS_OK);
    assert_int_equal(mcs_watch(c, "never"), MCS_OK);
    mcs_tensor *y = mcs_sum(c, net(c, mcs_full(c, 1, MCS_SHAPE(2), 1)));
    assert_int_equal(mcs_backward(c, y, NULL), MCS_OK);
    mcs_tensor *seen = mcs_watched(c, "first");
    assert_true(mcs_f32(seen)[0] == 4);
    assert_true(mcs_f32(mcs_grad(c, seen))[1] == 8);
    assert_null(mcs_watched(c, "never"));
    assert_true(mcs_hooked(c, "first") && !mcs_hooked(c, "second"));
    mcs_ctx_free(c);
}

static void test_watch_survives_scope(void **state)
{
    (void)state;
    mcs_ctx *c = new_ctx(false);
    assert_int_equal(mcs_watch(c, "first"), MCS_OK);
    mcs_scope s = mcs_scope_begin(c);
    net(c, mcs_full(c, 1, MCS_SHAPE(2), 1));
    mcs_scope_end(c, s, NULL);
    memset(mcs_new(c, 1, MCS_SHAPE(1000))->data, 0, 4000);
    assert_true(mcs_f32(mcs_watched(c, "first"))[1] == 4);
    mcs_ctx_reset(c);
    assert_null(mcs_watched(c, "first"));
    mcs_ctx_free(c);
}

static mcs_tensor *twice(mcs_ctx *c, const char *name, mcs_tensor *x, void *arg)
{
    ++*(int *)arg;
    assert_string_equal(name, "first");
    return mcs_affine(c, x, 2, 0);
}

static void count_taps(const char *name, const mcs_tensor *x, void *arg)
{
    (void)name;
    (void)x;
    ++*(int *)arg;
}

static void test_replace_and_trace(void **state)
{
    (void)state;
    mcs_ctx *c = new_ctx(false);
    int calls = 0, taps = 0;
    assert_int_equal(mcs_hook_add(c, "first", twice, &calls), MCS_OK);
    mcs_trace(c, count_taps, &taps);
    mcs_tensor *y = net(c, mcs_full(c, 1, MCS_SHAPE(1), 1));
    assert_true(mcs_f32(y)[0] == 64);
    assert_int_equal(calls, 1);
    assert_int_equal(taps, 2);
    mcs_hook_clear(c);
    mcs_trace(c, NULL, NULL);
    assert_true(mcs_f32(net(c, mcs_full(c, 1, MCS_SHAPE(1), 1)))[0] == 16);
    mcs_ctx_free(c);
}

static void test_gradient_memory_is_reused(void **state)
{
    (void)state;
    mcs_ctx *c = new_ctx(true);
    mcs_tensor *x = mcs_leaf(c, mcs_full(c, 1, MCS_SHAPE(100000), 1)), *y = x;
    for (int i = 0; i < 100; i++)
        y = mcs_affine(c, y, 1, 0);
    size_t forward = mcs_ctx_peak(c);
    assert_int_equal(mcs_backward(c, mcs_sum(c, y), NULL), MCS_OK);
    assert_true(mcs_f32(mcs_grad(c, x))[99999] == 1);
    assert_true(mcs_ctx_peak(c) - forward < 5 * 400000);
    mcs_ctx_free(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_backward_of_a_product),
        cmocka_unit_test(test_backward_refusals),
        cmocka_unit_test(test_nothing_recorded_without_need),
        cmocka_unit_test(test_watch_starts_the_tape),
        cmocka_unit_test(test_watch_survives_scope),
        cmocka_unit_test(test_replace_and_trace),
        cmocka_unit_test(test_gradient_memory_is_reused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
