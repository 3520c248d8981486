/* test_tape.c - recording, backward, leaves, watches, hooks. */
#include <string.h>
#include "tests/check.h"
#include "tensor/ctx_internal.h"

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

typedef mcs_status backward_fn(mcs_ctx *c, const mcs_tensor *y, const mcs_tensor *dy);

static void check_watch(backward_fn *backward)
{
    mcs_ctx *c = new_ctx(true);
    assert_int_equal(mcs_watch(c, "first"), MCS_OK);
    assert_int_equal(mcs_watch(c, "never"), MCS_OK);
    mcs_tensor *y = mcs_sum(c, net(c, mcs_full(c, 1, MCS_SHAPE(2), 1)));
    assert_int_equal(backward(c, y, NULL), MCS_OK);
    memset(mcs_new(c, 1, MCS_SHAPE(1000))->data, 0, 4000); /* takes what was freed, if anything */
    mcs_tensor *seen = mcs_watched(c, "first");
    assert_true(mcs_f32(y)[0] == 32);
    assert_true(mcs_f32(seen)[0] == 4);
    assert_true(mcs_f32(mcs_grad(c, seen))[1] == 8);
    assert_null(mcs_watched(c, "never"));
    assert_true(mcs_hooked(c, "first") && !mcs_hooked(c, "second"));
    mcs_ctx_free(c);
}

static void test_watch_starts_the_tape(void **state)
{
    (void)state;
    check_watch(mcs_backward);
    check_watch(mcs_backward_free); /* spares what is watched */
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

/* A chain whose backward needs scratch (norms) and gradients of many sizes. */
static mcs_tensor *chain(mcs_ctx *c, mcs_tensor *x, const mcs_tensor *w, int depth)
{
    for (int i = 0; i < depth; i++) {
        mcs_tensor *h = mcs_linear_gelu(c, mcs_layer_norm(c, x, NULL, NULL, 1e-5f), w, NULL);
        x = mcs_add(c, x, h);
    }
    return mcs_sum(c, mcs_mul(c, x, x));
}

typedef struct {
    float *x, *w;
    size_t peak;
} found;

static found run_chain(mcs_ctx *c, bool free_tape, int rounds)
{
    enum { ROWS = 500, WIDTH = 40, DEPTH = 30 };
    found f = { NULL, NULL, 0 };
    for (int i = 0; i < rounds; i++) {
        mcs_ctx_reset(c);
        mcs_tensor *x = mcs_leaf(c, check_random(c, 1, -1, 1, 2, MCS_SHAPE(ROWS, WIDTH)));
        mcs_tensor *w = mcs_leaf(c, check_random(c, 2, -1, 1, 2, MCS_SHAPE(WIDTH, WIDTH)));
        mcs_tensor *y = chain(c, x, w, DEPTH);
        assert_int_equal((free_tape ? mcs_backward_free : mcs_backward)(c, y, NULL), MCS_OK);
        f.x = mcs_f32(mcs_grad(c, x)), f.w = mcs_f32(mcs_grad(c, w));
    }
    f.peak = mcs_ctx_peak(c);
    return f;
}

static void test_backward_that_frees(void **state)
{
    (void)state;
    mcs_ctx *a = new_ctx(true), *b = new_ctx(true);
    for (int rounds = 1; rounds <= 3; rounds++) { /* what was borrowed goes back in between */
        found plain = run_chain(a, false, rounds), freed = run_chain(b, true, rounds);
        assert_memory_equal(plain.x, freed.x, 500 * 40 * sizeof(float));
        assert_memory_equal(plain.w, freed.w, 40 * 40 * sizeof(float));
    }
    mcs_ctx_free(a);
    mcs_ctx_free(b);
}

/* A narrow tape of many layers, then a wide one, whose gradients are small where backward begins. */
static mcs_ctx *run_uneven(bool free_tape)
{
    mcs_ctx *c = new_ctx(true);
    mcs_tensor *x = mcs_leaf(c, check_random(c, 1, -1, 1, 2, MCS_SHAPE(20000, 16)));
    mcs_tensor *w = mcs_leaf(c, check_random(c, 2, -1, 1, 2, MCS_SHAPE(16, 16)));
    for (int i = 0; i < 30; i++)
        x = mcs_norm_linear(c, x, NULL, NULL, 1e-5f, w, NULL);
    x = mcs_rows(c, x, 0, 5000);
    for (int i = 0; i < 120; i++)
        x = mcs_gelu(c, x);
    x = mcs_sum(c, x);
    check_ok(c);
    assert_int_equal((free_tape ? mcs_backward_free : mcs_backward)(c, x, NULL), MCS_OK);
    return c;
}

static void test_what_is_freed_serves_again(void **state)
{
    (void)state;
    mcs_ctx *plain = run_uneven(false), *freed = run_uneven(true);
    size_t held = plain->work.bytes_total + plain->grads.bytes_total;
    assert_true(freed->work.bytes_total + freed->grads.bytes_total + 1000000 < held);
    held = freed->work.bytes_total + freed->grads.bytes_total;
    mcs_ctx_reset(freed);
    assert_true(freed->work.bytes_total + freed->grads.bytes_total == held);
    assert_true(freed->grads.bytes_total < 4000000); /* what was lent is back */
    mcs_ctx_free(plain);
    mcs_ctx_free(freed);
}

static void test_freeing_backward_refuses(void **state)
{
    (void)state;
    mcs_ctx *c = new_ctx(true);
    mcs_tensor *y = mcs_zeros(c, 1, MCS_SHAPE(2));
    assert_int_equal(mcs_backward_free(c, y, NULL), MCS_EINVAL);
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
        cmocka_unit_test(test_backward_that_frees),
        cmocka_unit_test(test_what_is_freed_serves_again),
        cmocka_unit_test(test_freeing_backward_refuses),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
