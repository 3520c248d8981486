/* test_op_attention.c - attention, packed and not. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "tests/check.h"

/* Inputs as in the golden files: q, k, v, bias, key mask, rel_h, rel_w. */
static mcs_tensor *attend(mcs_ctx *c, mcs_tensor **in, int heads, float scale, int gh, int gw)
{
    mcs_attention_opts o = { .heads = heads,
                             .scale = scale,
                             .bias = in[3],
                             .key_mask = check_u8(c, in[4]),
                             .rel_h = in[5],
                             .rel_w = in[6],
                             .grid_h = gh,
                             .grid_w = gw };
    return mcs_attention(c, in[0], in[1], in[2], &o);
}

static mcs_tensor *mask_bias(mcs_ctx *c, mcs_tensor **in)
{
    return attend(c, in, 3, 0, 0, 0);
}
static mcs_tensor *rel(mcs_ctx *c, mcs_tensor **in)
{
    return attend(c, in, 2, 0, 3, 5);
}
static mcs_tensor *rel_wide(mcs_ctx *c, mcs_tensor **in)
{
    return attend(c, in, 1, 0, 30, 23);
}
static mcs_tensor *one_head(mcs_ctx *c, mcs_tensor **in)
{
    return attend(c, in, 1, 2, 0, 0);
}

static mcs_tensor *packed_rel(mcs_ctx *c, mcs_tensor **in)
{
    mcs_attention_opts o = {
        .heads = 1, .rel_h = in[1], .rel_w = in[2], .grid_h = 25, .grid_w = 22
    };
    return mcs_attention_packed(c, in[0], MCS_QKV_SPLIT, &o);
}

static mcs_tensor *per_head(mcs_ctx *c, mcs_tensor **in)
{
    return mcs_attention_packed(c, in[0], MCS_QKV_PER_HEAD,
                                &(mcs_attention_opts){ .heads = 3, .bias = in[1] });
}

static mcs_tensor *random_of(mcs_ctx *c, uint64_t seed, int64_t a, int64_t b, int64_t d)
{
    return check_random(c, seed, -1, 1, d ? 3 : 2, MCS_SHAPE(a, b, d));
}

static mcs_tensor *mask_of(mcs_ctx *c, int64_t images, int64_t keys, const uint8_t *values)
{
    return mcs_from(c, MCS_U8, 2, MCS_SHAPE(images, keys), values);
}

/* Equal scores: the mean of v; one key far ahead: its v. */
static void test_by_hand(void **state)
{
    (void)state;
    mcs_ctx *c = check_ctx();
    mcs_tensor *q = mcs_from(c, MCS_F32, 3, MCS_SHAPE(1, 2, 1), (float[]){ 0, 100 });
    mcs_tensor *k = mcs_from(c, MCS_F32, 3, MCS_SHAPE(1, 3, 1), (float[]){ 1, 2, 3 });
    mcs_tensor *v = mcs_from(c, MCS_F32, 3, MCS_SHAPE(1, 3, 1), (float[]){ 3, 6, 12 });
    mcs_attention_opts o = { .heads = 1, .scale = 1 };
    check_near(mcs_attention(c, q, k, v, &o),
               mcs_from(c, MCS_F32, 3, MCS_SHAPE(1, 2, 1), (float[]){ 7, 12 }), 1e-6f, 0);
    o.key_mask = mask_of(c, 1, 3, (uint8_t[]){ 1, 1, 0 });
    check_near(mcs_attention(c, q, k, v, &o),
               mcs_from(c, MCS_F32, 3, MCS_SHAPE(1, 2, 1), (float[]){ 4.5f, 6 }), 1e-6f, 0);
    check_ok(c);
    mcs_ctx_free(c);
}

static void test_golden(void **state)
{
    (void)state;
    mcs_ctx *c = check_ctx();
    check_golden(c, "attention_mask_bias", mask_bias, 1e-5f, 2e-6f);
    check_golden(c, "attention_rel", rel, 1e-5f, 4e-6f);
    check_golden(c, "attention_long", one_head, 1e-5f, 2e-6f);
    check_golden(c, "attention_packed_rel", packed_rel, 2e-5f, 4e-6f);
    check_golden(c, "attention_packed_per_head", per_head, 1e-5f, 2e-6f);
    mcs_ctx_free(c);
}

static void test_gradients(void **state)
{
    (void)state;
    mcs_ctx *c = check_ctx();
    mcs_tensor *mask = mask_of(c, 2, 6, (uint8_t[]){ 1, 0, 1, 1, 1, 0, 1, 1, 0, 1, 1, 1 });
    mcs_tensor *in[] = { random_of(c, 1, 2, 4, 6),
                         random_of(c, 2, 2, 6, 6),
                         random_of(c, 3, 2, 6, 9),
                         random_of(c, 4, 3, 4, 6),
                         mask,
                         NULL,
                         NULL };
    check_grad(c, mask_bias, 7, in, 2e-3f);
    mcs_tensor *grid[] = { random_of(c, 1, 2, 15, 4),
                           random_of(c, 2, 2, 15, 4),
                           random_of(c, 3, 2, 15, 4),
                           random_of(c, 4, 2, 15, 15),
                           NULL,
                           random_of(c, 5, 5, 2, 0),
                           random_of(c, 6, 9, 2, 0) };
    check_grad(c, rel, 7, grid, 2e-3f);
    check_each_grad(c, rel, 7, grid);
    mcs_tensor *ph[] = { random_of(c, 1, 2, 9, 36), random_of(c, 2, 3, 9, 9) };
    check_grad(c, per_head, 2, ph, 2e-3f);
    mcs_ctx_free(c);
}

/* Self-attention of x with itself: three gradients meet in one buffer. */
static mcs_tensor *of_itself(mcs_ctx *c, mcs_tensor **in)
{
    return mcs_attention(c, in[0], in[0], in[0], &(mcs_attention_opts){ .heads = 2 });
}

static void test_same_input_thrice(void **state)
{
    (void)state;
    mcs_ctx *c = check_ctx();
    check_grad(c, of_itself, 1, (mcs_tensor *[]){ random_of(c, 1, 2, 5, 8) }, 2e-3f);
    mcs_ctx_free(c);
}

/* x[i] of (B,N,C) or (B,1,N,C) as (1,N,C), a view. */
static mcs_tensor *image_of(mcs_ctx *c, const mcs_tensor *x, int64_t i)
{
    int64_t n = mcs_dim(x, -2), d = mcs_dim(x, -1);
    return mcs_wrap(c, MCS_F32, 3, MCS_SHAPE(1, n, d), mcs_f32(x) + i * n * d);
}

/* A query whose keys are all masked: zeros, no gradient, and nobody else notices. */
static void test_all_keys_masked(void **state)
{
    (void)state;
    mcs_ctx *c = check_ctx();
    uint8_t m[2 * 600];
    memset(m, 1, sizeof m);
    memset(m, 0, 600);
    mcs_tensor *in[7] = { mcs_leaf(c, random_of(c, 1, 2, 3, 2)),
                          mcs_leaf(c, random_of(c, 2, 2, 600, 2)),
                          mcs_leaf(c, random_of(c, 3, 2, 600, 2)), NULL, mask_of(c, 2, 600, m) };
    mcs_tensor *y = one_head(c, in);
    check_ok(c);
    check_near(image_of(c, y, 0), mcs_zeros(c, 3, MCS_SHAPE(1, 3, 2)), 0, 0);
    mcs_tensor *part[7] = { image_of(c, in[0], 1), image_of(c, in[1], 1), image_of(c, in[2], 1) };
    check_near(image_of(c, y, 1), one_head(c, part), 0, 0);
    assert_int_equal(mcs_backward(c, y, random_of(c, 4, 2, 3, 2)), MCS_OK);
    for (int i = 0; i < 3; i++)
        for (int64_t j = 0; j < mcs_numel(in[i]); j++) {
            float g = mcs_f32(mcs_grad(c, in[i]))[j];
            assert_true(isfinite(g) && (j >= mcs_numel(in[i]) / 2 || g == 0));
        }
    mcs_ctx_free(c);
}

/* A grid one column wide, whose column table changes nothing. */
static mcs_tensor *rel_line(mcs_ctx *c, mcs_tensor **in)
{
    mcs_tensor *all[7] = {
        in[0], in[1], in[2], NULL, NULL, in[3], mcs_full(c, 2, MCS_SHAPE(1, 2), 3)
    };
    return attend(c, all, 2, 0, 6, 1);
}

static void test_narrow_grid(void **state)
{
    (void)state;
    mcs_ctx *c = check_ctx();
    mcs_tensor *in[] = { random_of(c, 1, 1, 6, 4), random_of(c, 2, 1, 6, 4),
                         random_of(c, 3, 1, 6, 4), random_of(c, 5, 11, 2, 0) };
    check_grad(c, rel_line, 4, in, 2e-3f);
    mcs_ctx_free(c);
}

static mcs_tensor *rel_2x3(mcs_ctx *c, mcs_tensor **in)
{
    return attend(c, in, 2, 0, 2, 3);
}

/* More images and heads than ranges: the tables' gradients are summed in copies. */
static void test_table_gradient_of_many(void **state)
{
    (void)state;
    mcs_ctx *c = check_ctx();
    mcs_tensor *in[] = {
        random_of(c, 1, 40, 6, 4), random_of(c, 2, 40, 6, 4), random_of(c, 3, 40, 6, 4), NULL, NULL,
        random_of(c, 5, 3, 2, 0),  random_of(c, 6, 5, 2, 0)
    };
    check_grad(c, rel_2x3, 7, in, 2e-3f);
    mcs_ctx_free(c);
}

/* Inputs of rel_wide. */
static void wide_inputs(mcs_ctx *c, mcs_tensor *in[7])
{
    for (uint64_t k = 0; k < 3; k++)
        in[k] = random_of(c, k + 1, 3, 690, 8);
    in[3] = random_of(c, 4, 1, 690, 690);
    in[4] = NULL;
    in[5] = random_of(c, 5, 59, 8, 0);
    in[6] = random_of(c, 6, 45, 8, 0);
}

static void test_threads(void **state)
{
    (void)state;
    mcs_ctx *c = check_ctx();
    mcs_tensor *grid[7];
    wide_inputs(c, grid);
    check_threads(rel_wide, 7, grid);
    grid[3] = NULL; /* tasks are then images and heads, not heads */
    check_threads(rel_wide, 7, grid);
    mcs_tensor *ph[] = { random_of(c, 1, 40, 9, 36), random_of(c, 2, 3, 9, 9) };
    check_threads(per_head, 2, ph);
    mcs_ctx_free(c);
}

/* Scores of SAM's global layers are never held whole. */
static void test_memory_is_bounded(void **state)
{
    (void)state;
    mcs_ctx *c = check_ctx();
    mcs_tensor *x = random_of(c, 1, 1, 4096, 3 * 8);
    mcs_attention_opts o = { .heads = 2,
                             .rel_h = random_of(c, 2, 127, 4, 0),
                             .rel_w = random_of(c, 3, 127, 4, 0),
                             .grid_h = 64,
                             .grid_w = 64 };
    assert_non_null(mcs_attention_packed(c, x, MCS_QKV_SPLIT, &o));
    assert_true(mcs_ctx_peak(c) < (size_t)40 << 20); /* 2 x 4096 x 4096 floats: 134 MB */
    mcs_ctx_free(c);
}

static void check_refused(mcs_ctx *c, mcs_attention_opts o, mcs_status s, const char *part)
{
    mcs_tensor *q = mcs_zeros(c, 3, MCS_SHAPE(2, 6, 8));
    check_fails(c, mcs_attention(c, q, q, q, &o), s, part);
}

static void test_memory_limits(void **state)
{
    (void)state;
    mcs_ctx *c = check_ctx();
    mcs_tensor *in[7];
    wide_inputs(c, in);
    check_limits(rel_wide, 7, in);
    mcs_ctx_free(c);
}

static void test_refusals(void **state)
{
    (void)state;
    mcs_ctx *c = check_ctx();
#define OF(...) mcs_zeros(c, (int)(sizeof(MCS_SHAPE(__VA_ARGS__)) / 8), MCS_SHAPE(__VA_ARGS__))
    mcs_attention_opts o = { .heads = 2 };
    check_refused(c, (mcs_attention_opts){ .heads = 3 }, MCS_EINVAL, "3 heads");
    check_refused(c, (mcs_attention_opts){ .heads = 0 }, MCS_EINVAL, "0 heads");
    check_refused(c, (mcs_attention_opts){ .heads = 2, .scale = NAN }, MCS_EINVAL, "scale");
    check_refused(c, (mcs_attention_opts){ .heads = 2, .bias = OF(1, 6, 6) }, MCS_ESHAPE, "bias");
    check_refused(c, (mcs_attention_opts){ .heads = 2, .key_mask = OF(2, 6) }, MCS_ESHAPE,
                  "not U8");
    check_refused(
        c, (mcs_attention_opts){ .heads = 2, .key_mask = mask_of(c, 1, 6, (uint8_t[6]){ 0 }) },
        MCS_ESHAPE, "key mask");
    check_refused(c,
                  (mcs_attention_opts){ .heads = 2, .rel_h = OF(3, 4), .grid_h = 2, .grid_w = 3 },
                  MCS_EINVAL, "together");
    check_refused(c,
                  (mcs_attention_opts){
                      .heads = 2, .rel_h = OF(3, 4), .rel_w = OF(5, 4), .grid_h = 2, .grid_w = 4 },
                  MCS_EINVAL, "grid of 2 x 4");
    check_refused(c,
                  (mcs_attention_opts){
                      .heads = 2, .rel_h = OF(5, 4), .rel_w = OF(3, 4), .grid_h = 2, .grid_w = 3 },
                  MCS_ESHAPE, "(3, 4), (5, 4)");
    check_fails(c, mcs_attention(c, OF(2, 6, 8), OF(2, 5, 8), OF(2, 6, 8), &o), MCS_ESHAPE,
                "do not fit");
    check_fails(c, mcs_attention(c, OF(2, 6, 8), OF(1, 6, 8), OF(1, 6, 8), &o), MCS_ESHAPE,
                "do not fit");
    check_fails(c, mcs_attention(c, OF(2, 6, 8), OF(2, 0, 8), OF(2, 0, 8), &o), MCS_ESHAPE,
                "empty");
    check_fails(c, mcs_attention_packed(c, OF(2, 6, 8), MCS_QKV_SPLIT, &o), MCS_ESHAPE,
                "multiple of 3");
    check_fails(c, mcs_attention_packed(c, OF(2, 6), MCS_QKV_SPLIT, &o), MCS_ESHAPE,
                "attention_packed");
    mcs_attention_opts rel_opts = {
        .heads = 2, .rel_h = OF(3, 4), .rel_w = OF(5, 4), .grid_h = 2, .grid_w = 3
    };
    check_fails(c, mcs_attention(c, OF(2, 6, 8), OF(2, 5, 8), OF(2, 5, 8), &rel_opts), MCS_EINVAL,
                "6 queries, 5 keys");
    rel_opts.rel_h = OF(3, 4), rel_opts.rel_w = OF(20, 1);
    check_fails(c, mcs_attention(c, OF(2, 6, 8), OF(2, 6, 8), OF(2, 6, 8), &rel_opts), MCS_ESHAPE,
                "rel_w is (20, 1)");
    assert_null(mcs_attention(c, OF(2, 6, 8), NULL, OF(2, 6, 8), &o));
    assert_null(mcs_attention_packed(c, NULL, MCS_QKV_SPLIT, &o));
    check_ok(c);
    mcs_ctx_free(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_by_hand),
        cmocka_unit_test(test_golden),
        cmocka_unit_test(test_gradients),
        cmocka_unit_test(test_same_input_thrice),
        cmocka_unit_test(test_all_keys_masked),
        cmocka_unit_test(test_narrow_grid),
        cmocka_unit_test(test_table_gradient_of_many),
        cmocka_unit_test(test_threads),
        cmocka_unit_test(test_memory_is_bounded),
        cmocka_unit_test(test_memory_limits),
        cmocka_unit_test(test_refusals),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
