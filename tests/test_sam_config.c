/* Layouts of SAM: the published ones, reading one off a file, saving, initialising, refusals. */
#include <string.h>
#include <unistd.h>
#include "models/sam.h"
#include "tests/check.h"

static mcs_sam *load(void)
{
    mcs_error e = { 0 };
    mcs_sam *m = mcs_sam_load("tests/golden/sam_tiny.safetensors", &e);
    if (!m)
        fail_msg("%s", e.message);
    return m;
}

static mcs_tensor *encode(mcs_ctx *c, const mcs_sam *m)
{
    return mcs_sam_encode(c, m, check_random(c, 5, -2, 2, 4, MCS_SHAPE(1, 3, 24, 24)));
}

static void layout_is_read_from_shapes(void **state)
{
    (void)state;
    mcs_sam *m = load();
    const mcs_sam_config *g = mcs_sam_get_config(m);
    assert_int_equal(g->image, 24);
    assert_int_equal(mcs_sam_grid(m), 6);
    assert_false(g->tiny);
    assert_int_equal(g->vit.patch, 4);
    assert_int_equal(g->vit.dim, 16);
    assert_int_equal(g->vit.depth, 3);
    assert_int_equal(g->vit.heads, 2);
    assert_int_equal(g->vit.mlp_dim, 32);
    assert_int_equal(g->vit.window, 4);
    assert_true(g->vit.global_blocks == 2);
    assert_int_equal(g->decoder.heads, 2);
    assert_int_equal(g->decoder.mlp_dim, 24);
    assert_int_equal(g->decoder.cross_dim, 8);
    assert_int_equal(g->decoder.iou_dim, 12);
    assert_string_equal(mcs_sam_type(m), "vit");
    mcs_sam_free(m);
}

static void published_layouts_have_published_sizes(void **state)
{
    (void)state;
    const struct {
        const char *type;
        int64_t tensors, numbers;
    } known[] = { { "vit_b", 314, 93735728 },
                  { "vit_l", 482, 312343088 },
                  { "vit_h", 594, 641090864 },
                  { "vit_t", 439, 10130348 } };
    for (int i = 0; i < 4; i++) {
        mcs_error e = { 0 };
        mcs_sam_config cfg;
        assert_int_equal(mcs_sam_config_of(known[i].type, &cfg, &e), MCS_OK);
        mcs_sam *m = mcs_sam_new(&cfg, &e);
        assert_non_null(m);
        assert_string_equal(mcs_sam_type(m), known[i].type);
        if (!cfg.tiny) {
            assert_int_equal(mcs_params_count(mcs_sam_params(m)), known[i].tensors);
            assert_int_equal(mcs_params_numel(mcs_sam_params(m)), known[i].numbers);
        }
        mcs_sam_free(m);
    }
    mcs_error e = { 0 };
    mcs_sam_config cfg;
    assert_int_equal(mcs_sam_config_of("vit_x", &cfg, &e), MCS_EINVAL);
    assert_non_null(strstr(e.message, "vit_x"));
}

static void saved_model_is_the_same(void **state)
{
    (void)state;
    const char *path = "build/test_sam_saved.safetensors";
    mcs_sam *m = load();
    mcs_error e = { 0 };
    if (mcs_sam_save(m, path, MCS_ST_F32, &e))
        fail_msg("%s", e.message);
    mcs_sam *again = mcs_sam_load(path, &e);
    unlink(path);
    if (!again)
        fail_msg("%s", e.message);
    assert_int_equal(mcs_sam_get_config(again)->decoder.heads, 2);
    mcs_ctx *c = check_ctx();
    mcs_set_grad(c, false);
    check_near(encode(c, again), encode(c, m), 0, 0);
    mcs_ctx_free(c);
    mcs_sam_free(again);
    mcs_sam_free(m);
}

static void declared_model_initialises(void **state)
{
    (void)state;
    mcs_sam *m = load();
    mcs_error e = { 0 };
    mcs_sam *fresh = mcs_sam_new(mcs_sam_get_config(m), &e);
    assert_non_null(fresh);
    assert_int_equal(mcs_params_init(mcs_sam_params(fresh), 1), MCS_OK);
    mcs_ctx *c = check_ctx();
    mcs_set_grad(c, false);
    float box[4] = { 1, 2, 20, 22 };
    mcs_sam_masks y = mcs_sam_decode(c, fresh, encode(c, fresh),
                                     &(mcs_sam_prompts){ .count = 1, .boxes = box }, false);
    check_ok(c);
    assert_int_equal(y.logits->shape[3], 24);
    mcs_ctx_free(c);
    mcs_sam_free(fresh);
    mcs_sam_free(m);
}

static void refusals(void **state)
{
    (void)state;
    mcs_sam *m = load();
    mcs_error e = { 0 };
    assert_null(mcs_sam_load("tests/golden/no_such_file.pth", &e));
    assert_int_equal(e.status, MCS_ENOTFOUND);
    e = (mcs_error){ 0 };
    assert_null(mcs_sam_load("tests/golden/sam_tiny_out.safetensors", &e));
    assert_int_equal(e.status, MCS_ENOTFOUND);
    assert_non_null(strstr(e.message, "not a SAM checkpoint"));
    mcs_sam_config cfg = *mcs_sam_get_config(m);
    cfg.vit.heads = 3;
    e = (mcs_error){ 0 };
    assert_null(mcs_sam_new(&cfg, &e));
    assert_int_equal(e.status, MCS_EINVAL);
    assert_non_null(strstr(e.message, "vit.heads"));
    mcs_sam_free(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(layout_is_read_from_shapes),
        cmocka_unit_test(published_layouts_have_published_sizes),
        cmocka_unit_test(saved_model_is_the_same),
        cmocka_unit_test(declared_model_initialises),
        cmocka_unit_test(refusals),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
