/* Layouts of SAM: the published ones, reading one off a file, saving, initialising, refusals. */
#include <string.h>
#include <unistd.h>
#include "tests/sam_tiny.h"

static mcs_tensor *encode(mcs_ctx *c, const mcs_sam *m)
{
    return mcs_sam_encode(c, m, check_random(c, 5, -2, 2, 4, MCS_SHAPE(1, 3, 24, 24)));
}

static void layout_is_read_from_shapes(void **state)
{
    (void)state;
    mcs_sam *m = load("sam_tiny");
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
    mcs_sam *m = load("sam_tiny");
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
    mcs_sam *m = load("sam_tiny");
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

/* Writes m's weights under a prefix, the one called `cut` with another shape. */
static void write_variant(const mcs_sam *m, const char *path, const char *prefix, const char *cut,
                          int ndim, const int64_t *shape)
{
    enum { MOST = 256 };
    static mcs_save_entry entries[MOST];
    static char names[MOST][128];
    static float zeros[1 << 16];
    int64_t n = mcs_params_count(mcs_sam_params(m));
    assert_true(n < MOST);
    for (int64_t i = 0; i < n; i++) {
        mcs_param_entry p = mcs_params_at(mcs_sam_params(m), i);
        snprintf(names[i], sizeof names[i], "%s%s", prefix, p.name);
        entries[i] = (mcs_save_entry){ .name = names[i],
                                       .dtype = MCS_ST_F32,
                                       .source = MCS_F32,
                                       .ndim = p.tensor->ndim,
                                       .data = p.tensor->data };
        memcpy(entries[i].shape, p.tensor->shape, sizeof p.tensor->shape);
        if (cut && !strcmp(p.name, cut)) {
            entries[i].ndim = ndim;
            entries[i].data = zeros;
            memcpy(entries[i].shape, shape, (size_t)ndim * sizeof *shape);
        }
    }
    const char *meta[] = { "mcs.config", "{\"decoder_heads\": 2}", NULL };
    mcs_error e = { 0 };
    if (mcs_safetensors_write(path, n, entries, meta, &e))
        fail_msg("%s", e.message);
}

static const char variant[] = "build/test_sam_variant.safetensors";

static void prefixed_names_load(void **state)
{
    (void)state;
    mcs_sam *m = load("sam_tiny");
    write_variant(m, variant, "module.sam_model.", NULL, 0, NULL);
    mcs_error e = { 0 };
    mcs_sam *again = mcs_sam_load(variant, &e);
    unlink(variant);
    if (!again)
        fail_msg("%s", e.message);
    mcs_sam_free(again);
    mcs_sam_free(m);
}

static void odd_layouts_are_refused(void **state)
{
    (void)state;
    const struct {
        const char *name;
        int ndim;
        int64_t shape[4];
        const char *message;
    } odd[] = {
        { "image_encoder.pos_embed", 2, { 1, 6 }, "pos_embed has 2 dimensions" },
        { "image_encoder.pos_embed", 4, { 1, 7, 7, 16 }, "windows of different sizes" },
        { "image_encoder.blocks.0.attn.rel_pos_h", 2, { 7, 3 }, "" },
        { "image_encoder.blocks.0.attn.rel_pos_h", 2, { 3, 8 }, "windows of different sizes" },
        { "image_encoder.blocks.2.attn.qkv.weight", 2, { 40, 16 }, "qkv.weight" },
        { "mask_decoder.mask_tokens.weight", 2, { 40, 16 }, "decoder.mask_tokens" },
        { "mask_decoder.mask_tokens.weight", 2, { 4, 20 }, "multiple of 8" },
        { "prompt_encoder.mask_downscaling.3.weight", 4, { 6, 1, 2, 2 }, "mask_channels" },
        { "mask_decoder.iou_prediction_head.layers.1.bias", 1, { 13 }, "layers.1.bias" },
    };
    mcs_sam *m = load("sam_tiny");
    for (size_t i = 0; i < sizeof odd / sizeof odd[0]; i++) {
        write_variant(m, variant, "", odd[i].name, odd[i].ndim, odd[i].shape);
        mcs_error e = { 0 };
        mcs_sam *x = mcs_sam_load(variant, &e);
        unlink(variant);
        if (x || e.status == MCS_OK || !strstr(e.message, odd[i].message))
            fail_msg("case %d: %s", (int)i, x ? "loaded" : e.message);
    }
    mcs_sam_free(m);
}

static void refusals(void **state)
{
    (void)state;
    mcs_sam *m = load("sam_tiny");
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
        cmocka_unit_test(prefixed_names_load),
        cmocka_unit_test(odd_layouts_are_refused),
        cmocka_unit_test(refusals),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
