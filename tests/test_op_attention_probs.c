/* test_op_attention_probs.c - the probabilities, and attention in blocks against them. */
#include <string.h>
#include "tests/check.h"

static mcs_tensor *random_of(mcs_ctx *c, uint64_t seed, int64_t a, int64_t b, int64_t d)
{
    return check_random(c, seed, -1, 1, d ? 3 : 2, MCS_SHAPE(a, b, d));
}

/* x[i] of (B,N,C) or (B,1,N,C) as (1,N,C), a view. */
static mcs_tensor *image_of(mcs_ctx *c, const mcs_tensor *x, int64_t i)
{
    int64_t n = mcs_dim(x, -2), d = mcs_dim(x, -1);
    return mcs_wrap(c, MCS_F32, 3, MCS_SHAPE(1, n, d), mcs_f32(x) + i * n * d);
}

static mcs_tensor *probs(mcs_ctx *c, mcs_tensor **in)
{
    mcs_attention_opts o = { .heads = 2,
                             .scale = .5f,
                             .bias = in[2],
                             .key_mask = check_u8(c, in[3]),
                             .rel_h = in[4],
                             .rel_w = in[5],
                             .grid_h = 2,
                             .grid_w = 3 };
    return mcs_attention_probs(c, in[0], in[1], &o);
}

static void test_by_hand(void **state)
{
    (void)state;
    mcs_ctx *c = check_ctx();
    mcs_tensor *q = mcs_from(c, MCS_F32, 3, MCS_SHAPE(1, 2, 1), (float[]){ 0, 100 });
    mcs_tensor *k = mcs_from(c, MCS_F32, 3, MCS_SHAPE(1, 3, 1), (float[]){ 1, 2, 3 });
    mcs_tensor *mask = mcs_from(c, MCS_U8, 2, MCS_SHAPE(1, 3), (uint8_t[]){ 1, 1, 0 });
    mcs_attention_opts o = { .heads = 1, .scale = 1, .key_mask = mask };
    check_near(mcs_attention_probs(c, q, k, &o),
               mcs_from(c, MCS_F32, 4, MCS_SHAPE(1, 1, 2, 3), (float[]){ .5f, .5f, 0, 0, 1, 0 }),
               1e-6f, 1e-6f);
    check_ok(c);
    mcs_ctx_free(c);
}

static void test_golden(void **state)
{
    (void)state;
    mcs_ctx *c = check_ctx();
    check_golden(c, "attention_probs", probs, 1e-5f, 2e-6f);
    mcs_ctx_free(c);
}

static void test_gradients(void **state)
{
    (void)state;
    mcs_ctx *c = check_ctx();
    mcs_tensor *mask =
        mcs_from(c, MCS_U8, 2, MCS_SHAPE(2, 6), (uint8_t[]){ 1, 0, 1, 1, 1, 0, 1, 1, 0, 1, 1, 1 });
    mcs_tensor *p[] = { random_of(c, 1, 2, 6, 4), random_of(c, 2, 2, 6, 4),
                        random_of(c, 3, 2, 6, 6), mask,
                        random_of(c, 4, 3, 2, 0), random_of(c, 5, 5, 2, 0) };
    check_grad(c, probs, 6, p, 2e-3f);
    check_each_grad(c, probs, 6, p);
    check_threads(probs, 6, p);
    mcs_ctx_free(c);
}

/* A query whose keys are all masked has no probabilities. */
static void test_all_keys_masked(void **state)
{
    (void)state;
    mcs_ctx *c = check_ctx();
    mcs_tensor *q = random_of(c, 1, 1, 3, 2), *k = random_of(c, 2, 1, 600, 2);
    mcs_tensor *mask = mcs_new_typed(c, MCS_U8, 2, MCS_SHAPE(1, 600));
    memset(mask->data, 0, 600);
    mcs_attention_opts o = { .heads = 1, .key_mask = mask };
    check_near(mcs_attention_probs(c, q, k, &o), mcs_zeros(c, 4, MCS_SHAPE(1, 1, 3, 600)), 0, 0);
    check_ok(c);
    mcs_ctx_free(c);
}

/* Relative position where the second block of keys begins beyond the middle of a grid row. */
static void test_rel_blocks_agree_with_probs(void **state)
{
    (void)state;
    mcs_ctx *c = check_ctx();
    mcs_tensor *q = random_of(c, 1, 1, 540, 4), *k = random_of(c, 2, 1, 540, 4);
    mcs_tensor *v = random_of(c, 3, 1, 540, 4);
    mcs_attention_opts o = { .heads = 1,
                             .rel_h = check_random(c, 4, -2, 2, 2, MCS_SHAPE(53, 4)),
                             .rel_w = check_random(c, 5, -2, 2, 2, MCS_SHAPE(39, 4)),
                             .grid_h = 27,
                             .grid_w = 20 };
    mcs_tensor *p = image_of(c, mcs_attention_probs(c, q, k, &o), 0);
    check_near(mcs_attention(c, q, k, v, &o), mcs_matmul(c, p, v), 1e-5f, 1e-6f);
    check_ok(c);
    mcs_ctx_free(c);
}

/* Blocks of keys and rows agree with the probabilities held whole. */
static void test_blocks_agree_with_probs(void **state)
{
    (void)state;
    mcs_ctx *c = check_ctx();
    mcs_tensor *q = random_of(c, 1, 1, 700, 4), *k = random_of(c, 2, 1, 1300, 4);
    mcs_tensor *v = random_of(c, 3, 1, 1300, 4);
    mcs_tensor *bias = check_random(c, 4, -3, 3, 3, MCS_SHAPE(1, 700, 1300));
    mcs_attention_opts o = { .heads = 1, .scale = 3, .bias = bias };
    mcs_tensor *p = image_of(c, mcs_attention_probs(c, q, k, &o), 0);
    check_near(mcs_attention(c, q, k, v, &o), mcs_matmul(c, p, v), 1e-5f, 1e-6f);
    check_ok(c);
    mcs_ctx_free(c);
}

static void test_memory_limits(void **state)
{
    (void)state;
    mcs_ctx *c = check_ctx();
    mcs_tensor *p[] = { random_of(c, 1, 900, 6, 4), random_of(c, 2, 900, 6, 4), NULL, NULL,
                        random_of(c, 4, 3, 2, 0),   random_of(c, 5, 5, 2, 0) };
    check_limits(probs, 6, p);
    mcs_ctx_free(c);
}

static void test_refusals(void **state)
{
    (void)state;
    mcs_ctx *c = check_ctx();
    mcs_tensor *q = mcs_zeros(c, 3, MCS_SHAPE(2, 6, 8)), *k = mcs_zeros(c, 3, MCS_SHAPE(2, 6, 6));
    mcs_attention_opts o = { .heads = 2 };
    assert_null(mcs_attention_probs(c, NULL, q, &o));
    assert_null(mcs_attention_probs(c, q, NULL, &o));
    check_ok(c);
    check_fails(c, mcs_attention_probs(c, q, k, &o), MCS_ESHAPE, "do not fit");
    mcs_ctx_free(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_by_hand),
        cmocka_unit_test(test_golden),
        cmocka_unit_test(test_gradients),
        cmocka_unit_test(test_all_keys_masked),
        cmocka_unit_test(test_rel_blocks_agree_with_probs),
        cmocka_unit_test(test_blocks_agree_with_probs),
        cmocka_unit_test(test_memory_limits),
        cmocka_unit_test(test_refusals),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
