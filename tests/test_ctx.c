/* test_ctx.c - contexts: sticky errors, limits, scopes, creation. */
#include <string.h>
#include "tests/check.h"
#include "tensor/op.h"

static mcs_ctx *new_ctx(bool grad)
{
    mcs_ctx *c = mcs_ctx_new(&(mcs_ctx_opts){ .grad = grad, .seed = 7 });
    assert_non_null(c);
    return c;
}

static void test_first_error_wins(void **state)
{
    (void)state;
    mcs_ctx *c = new_ctx(false);
    assert_int_equal(mcs_ctx_status(c), MCS_OK);
    assert_string_equal(mcs_ctx_message(c), "");
    assert_null(mcs_fail(c, MCS_ESHAPE, "first %d", 1));
    assert_null(mcs_fail(c, MCS_EIO, "second"));
    assert_int_equal(mcs_ctx_status(c), MCS_ESHAPE);
    assert_string_equal(mcs_ctx_message(c), "first 1");
    assert_null(mcs_zeros(c, 1, MCS_SHAPE(3)));         /* a failed context makes nothing */
    mcs_ctx_reset(c);
    assert_non_null(mcs_zeros(c, 1, MCS_SHAPE(3)));
    mcs_ctx_free(c);
}

static void test_sizes_are_checked(void **state)
{
    (void)state;
    mcs_ctx *c = new_ctx(false);
    int64_t huge = INT64_C(1) << 40;
    assert_null(mcs_new(c, 2, MCS_SHAPE(huge, huge)));
    assert_int_equal(mcs_ctx_status(c), MCS_ESHAPE);
    mcs_ctx_reset(c);
    assert_null(mcs_new(c, 1, MCS_SHAPE(-1)));
    mcs_ctx_reset(c);
    assert_null(mcs_new(c, 7, MCS_SHAPE(1, 1, 1, 1, 1, 1, 1)));
    mcs_ctx_reset(c);
    assert_null(mcs_new(c, 1, MCS_SHAPE(huge)));        /* 4 TiB: malloc refuses */
    assert_int_equal(mcs_ctx_status(c), MCS_ENOMEM);
    mcs_ctx_free(c);
}

static void test_byte_limit(void **state)
{
    (void)state;
    mcs_ctx *c = mcs_ctx_new(&(mcs_ctx_opts){ .bytes_max = 4 << 20 });
    assert_non_null(mcs_zeros(c, 1, MCS_SHAPE(500000)));
    assert_null(mcs_zeros(c, 1, MCS_SHAPE(2000000)));
    assert_int_equal(mcs_ctx_status(c), MCS_ENOMEM);
    assert_non_null(strstr(mcs_ctx_message(c), "limit"));
    mcs_ctx_reset(c);
    assert_non_null(mcs_zeros(c, 1, MCS_SHAPE(500000)));
    assert_true(mcs_ctx_peak(c) >= 2000000 && mcs_ctx_peak(c) <= 4 << 20);
    mcs_ctx_free(c);
}

static void test_alignment_and_reuse(void **state)
{
    (void)state;
    mcs_ctx *c = new_ctx(false);
    void *first = mcs_zeros(c, 1, MCS_SHAPE(1))->data;
    for (int64_t n = 1; n < 300000; n = n * 3 + 1)
        assert_int_equal((uintptr_t)mcs_zeros(c, 1, &n)->data % 64, 0);
    mcs_ctx_reset(c);
    assert_ptr_equal(mcs_zeros(c, 1, MCS_SHAPE(1))->data, first);
    mcs_ctx_free(c);
}

/* The kept tensor's values and header survive however the chunks lie. */
static void test_scope_keeps(void **state)
{
    (void)state;
    mcs_ctx *c = new_ctx(false);
    for (int64_t junk = 1; junk < 2000000; junk = junk * 7 + 3) {
        mcs_tensor *outer = mcs_full(c, 1, MCS_SHAPE(11), 2.0f);
        mcs_scope s = mcs_scope_begin(c);
        mcs_zeros(c, 1, &junk);
        mcs_tensor *x = mcs_new(c, 2, MCS_SHAPE(3, 100000));
        for (int64_t i = 0; i < 300000; i++)
            mcs_f32(x)[i] = (float)i;
        mcs_zeros(c, 1, &junk);
        x = mcs_scope_end(c, s, x);
        assert_int_equal(x->shape[1], 100000);
        for (int64_t i = 0; i < 300000; i++)
            assert_true(mcs_f32(x)[i] == (float)i);
        assert_true(mcs_f32(outer)[10] == 2.0f);
        mcs_ctx_reset(c);
    }
    mcs_ctx_free(c);
}

static void test_scope_bounds_memory(void **state)
{
    (void)state;
    mcs_ctx *c = new_ctx(false);
    mcs_tensor *x = mcs_zeros(c, 1, MCS_SHAPE(1000000));
    for (int i = 0; i < 50; i++) {
        mcs_scope s = mcs_scope_begin(c);
        for (int j = 0; j < 5; j++)
            mcs_zeros(c, 1, MCS_SHAPE(1000000));
        assert_null(mcs_scope_end(c, s, NULL));
    }
    assert_non_null(x);
    assert_true(mcs_ctx_peak(c) < (size_t)30 << 20);
    mcs_ctx_free(c);
}

static void test_scope_keeps_outer_tensor(void **state)
{
    (void)state;
    mcs_ctx *c = new_ctx(false);
    mcs_tensor *x = mcs_full(c, 1, MCS_SHAPE(8), 5.0f);
    mcs_scope s = mcs_scope_begin(c);
    assert_ptr_equal(mcs_scope_end(c, s, x), x);
    s = mcs_scope_begin(c);
    mcs_tensor *view = mcs_detach(c, x);        /* a header inside, values outside */
    view = mcs_scope_end(c, s, view);
    assert_ptr_equal(view->data, x->data);
    mcs_ctx_free(c);
}

static void test_precision_and_wrap(void **state)
{
    (void)state;
    mcs_ctx *c = new_ctx(false);
    int64_t ids[] = { 4, 5, 6 };
    mcs_tensor *w = mcs_wrap(c, MCS_I64, 1, MCS_SHAPE(3), ids);
    assert_ptr_equal(w->data, ids);
    mcs_tensor *copy = mcs_from(c, MCS_I64, 1, MCS_SHAPE(3), ids);
    ids[1] = 0;
    assert_int_equal(mcs_i64(copy)[1], 5);
    assert_int_equal(mcs_dim(w, -1), 3);
    char buf[64];
    assert_string_equal(mcs_shape_str(w, buf, sizeof buf), "(3)");
    assert_string_equal(mcs_shape_str(mcs_zeros(c, 3, MCS_SHAPE(2, 0, 4)), buf, sizeof buf),
                        "(2, 0, 4)");
    assert_false(mcs_ok(c, "op", w));
    assert_non_null(strstr(mcs_ctx_message(c), "int64"));
    mcs_ctx_free(c);
}

static void test_philox(void **state)
{
    (void)state;
    uint32_t r[4];      /* known answers of Random123: zero key and counter; all ones */
    mcs_philox((uint64_t[]){ 0, 0 }, 0, r);
    assert_int_equal(r[0], 0x6627e8d5);
    assert_int_equal(r[1], 0xe169c58d);
    assert_int_equal(r[2], 0xbc57ac4c);
    assert_int_equal(r[3], 0x9b00dbd8);
    mcs_philox((uint64_t[]){ UINT64_MAX, UINT64_MAX }, UINT64_MAX, r);
    assert_int_equal(r[0], 0x408f276d);
    assert_int_equal(r[1], 0x41c83b0e);
    assert_int_equal(r[2], 0xa20bc7c6);
    assert_int_equal(r[3], 0x6d5451fd);
}

/* Settings and pool are the same, what is left of the limit is its own, hooks stay behind. */
static void test_new_like(void **state)
{
    (void)state;
    mcs_pool *pool = mcs_pool_new(2);
    mcs_ctx *c = mcs_ctx_new(&(mcs_ctx_opts){ .pool = pool, .bytes_max = (size_t)16 << 20, .grad = true });
    assert_int_equal(mcs_watch(c, "layer"), MCS_OK);
    assert_non_null(mcs_zeros(c, 1, MCS_SHAPE(5 << 18))); /* 5 MB */
    mcs_ctx *d = mcs_ctx_new_like(c);
    assert_non_null(d);
    assert_true(mcs_grad_enabled(d) && mcs_ctx_pool(d) == pool && !mcs_hooked(d, "layer"));
    assert_non_null(mcs_zeros(d, 1, MCS_SHAPE(1 << 18)));
    check_fails(d, mcs_zeros(d, 1, MCS_SHAPE(3 << 20)), MCS_ENOMEM, "limit");
    assert_int_equal(mcs_ctx_status(c), MCS_OK);
    mcs_ctx_free(d);
    mcs_ctx_free(c);
    c = mcs_ctx_new(NULL);
    d = mcs_ctx_new_like(c);
    assert_non_null(mcs_zeros(d, 1, MCS_SHAPE(4 << 20))); /* no limit */
    mcs_ctx_free(d);
    mcs_ctx_free(c);
    mcs_pool_free(pool);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_first_error_wins),
        cmocka_unit_test(test_sizes_are_checked),
        cmocka_unit_test(test_byte_limit),
        cmocka_unit_test(test_alignment_and_reuse),
        cmocka_unit_test(test_scope_keeps),
        cmocka_unit_test(test_scope_bounds_memory),
        cmocka_unit_test(test_scope_keeps_outer_tensor),
        cmocka_unit_test(test_precision_and_wrap),
        cmocka_unit_test(test_philox),
        cmocka_unit_test(test_new_like),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
