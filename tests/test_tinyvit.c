/* MobileSAM's TinyViT in a tiny layout of the original class against the original: tokens in both
 * batch-norm modes, all parameter gradients, refusals. */
#include <string.h>
#include "tests/sam_tiny.h"
#include "tests/wave.h"

static mcs_tensor *encode(mcs_ctx *c, const mcs_sam *m)
{
    return mcs_sam_encode(c, m, wave(c, 11, 4, 4, MCS_SHAPE(2, 3, 64, 64)));
}

static void layout_is_read_from_shapes(void **state)
{
    (void)state;
    mcs_sam *m = load("tinyvit_tiny");
    const mcs_sam_config *g = mcs_sam_get_config(m);
    assert_true(g->tiny);
    assert_int_equal(g->image, 64);
    assert_int_equal(mcs_sam_grid(m), 4);
    const mcs_tinyvit_config expected = { .dim = { 8, 8, 16, 16 },
                                          .depth = { 1, 1, 1, 1 },
                                          .heads = { 0, 2, 2, 4 },
                                          .window = { 0, 3, 4, 3 },
                                          .mlp_ratio = 4,
                                          .expand_ratio = 4,
                                          .stem_stride = 2,
                                          .classes = 3 };
    assert_memory_equal(&g->tinyvit, &expected, sizeof expected);
    assert_int_equal(g->decoder.depth, 1);
    assert_int_equal(g->decoder.mask_tokens, 2);
    assert_string_equal(mcs_sam_type(m), "tiny");
    mcs_sam_free(m);
}

static void embedding_equals_original(void **state)
{
    (void)state;
    mcs_sam *m = load("tinyvit_tiny");
    for (int grad = 0; grad < 2; grad++) {
        mcs_ctx *c = check_ctx();
        mcs_set_grad(c, grad);
        mcs_tensor *y = encode(c, m);
        check_ok(c);
        check_near(y, check_golden_tensor(c, "tinyvit_tiny_out", "embedding"), 1e-4f, 2e-5f);
        mcs_ctx_free(c);
    }
    mcs_sam_free(m);
}

static void training_uses_the_batch(void **state)
{
    (void)state;
    mcs_sam *m = load("tinyvit_tiny");
    mcs_ctx *c = check_ctx();
    mcs_set_training(c, true);
    mcs_tensor *y = encode(c, m);
    check_ok(c);
    check_near(y, check_golden_tensor(c, "tinyvit_tiny_out", "embedding.train"), 1e-4f, 5e-5f);
    mcs_ctx_free(c);
    mcs_sam_free(m);
}

static void gradients_equal_original(void **state)
{
    (void)state;
    mcs_sam *m = load("tinyvit_tiny");
    mcs_params *p = mcs_sam_params(m);
    assert_int_equal(mcs_params_train(p, "image_encoder.", true), MCS_OK);
    mcs_ctx *c = check_ctx();
    mcs_tensor *y = encode(c, m);
    check_ok(c);
    assert_int_equal(mcs_backward(c, y, wave(c, 0, 1, y->ndim, y->shape)), MCS_OK);
    int compared = 0;
    for (int64_t i = 0; i < mcs_params_count(p); i++) {
        mcs_param_entry entry = mcs_params_at(p, i);
        mcs_tensor *expected = check_golden_tensor(c, "tinyvit_tiny_grad", entry.name);
        if (!expected)
            continue;
        check_near_scaled(entry.name, mcs_grad(c, entry.tensor), expected, 2e-4f, 1e-6f);
        compared++;
    }
    assert_int_equal(compared, 96);
    mcs_ctx_free(c);
    mcs_sam_free(m);
}

static void refusals(void **state)
{
    (void)state;
    mcs_sam *m = load("tinyvit_tiny");
    mcs_ctx *c = check_ctx();
    check_fails(c, mcs_sam_encode(c, m, mcs_zeros(c, 4, MCS_SHAPE(1, 3, 48, 48))), MCS_ESHAPE,
                "(B, 3, 64, 64)");
    mcs_sam_config cfg = *mcs_sam_get_config(m);
    mcs_error e = { 0 };
    cfg.image = 72;
    assert_null(mcs_sam_new(&cfg, &e));
    assert_non_null(strstr(e.message, "divisible by 4 or 16"));
    mcs_ctx_free(c);
    mcs_sam_free(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(layout_is_read_from_shapes),
        cmocka_unit_test(embedding_equals_original),
        cmocka_unit_test(training_uses_the_batch),
        cmocka_unit_test(gradients_equal_original),
        cmocka_unit_test(refusals),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
