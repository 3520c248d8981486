/* BiomedCLIP in a tiny layout against timm, transformers and open_clip: embeddings, logits and the
 * gradients of all parameters, taps. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "models/biomedclip.h"
#include "tests/check.h"
#include "tests/clip_tiny.h"

static const char *const captions[] = { "Axial CT scan of the chest", "tumor",
                                        "left lung nodule, non-small cell carcinoma & mass" };

static void config_from_shapes(void **state)
{
    (void)state;
    mcs_biomedclip *m = load("clip_tiny");
    const mcs_biomedclip_config *f = mcs_biomedclip_get_config(m);
    const mcs_vit_config vision = { 18, 6, 16, 2, 2, 40 };
    const mcs_bert_config text = { 177, 22, 2, 24, 2, 3, 36 };
    assert_memory_equal(&f->vision, &vision, sizeof vision);
    assert_memory_equal(&f->text, &text, sizeof text);
    assert_int_equal(f->text_hidden, 17);
    assert_int_equal(f->embed, 10);
    assert_int_equal(f->context, 20);
    assert_string_equal(mcs_biomedclip_cam_layer(m), "visual.trunk.blocks.1.norm2");
    assert_true(fabsf(mcs_biomedclip_scale(m) - expf(1.25f)) < 1e-6f);
    mcs_biomedclip_free(m);
}

static void embeddings(void **state)
{
    (void)state;
    mcs_ctx *c = check_ctx();
    mcs_biomedclip *m = load("clip_tiny");
    mcs_tensor *a = mcs_biomedclip_encode_image(c, m, images(c));
    mcs_tensor *b = mcs_biomedclip_encode_text(c, m, golden(c, "ids"), NULL);
    check_near_named("image", a, golden(c, "image"), 1e-5f, 1e-6f);
    check_near_named("text", b, golden(c, "text"), 1e-5f, 1e-6f);
    check_near_named("logits", mcs_biomedclip_logits(c, m, a, b), golden(c, "logits"), 1e-5f,
                     1e-6f);
    /* from the captions themselves, together and one by one */
    mcs_tensor *ids = mcs_biomedclip_tokens(c, m, captions, 3);
    assert_int_equal(mcs_dim(ids, 1), 13);
    check_near_named("captions", mcs_biomedclip_encode_text(c, m, ids, NULL), golden(c, "text"),
                     1e-5f, 1e-6f);
    for (int i = 0; i < 3; i++)
        check_near_named("caption", mcs_biomedclip_encode_caption(c, m, captions[i]),
                         mcs_rows(c, golden(c, "text"), i, i + 1), 1e-5f, 1e-6f);
    mcs_tensor *one = mcs_biomedclip_cosine(c, a, a);
    assert_true(fabsf(mcs_f32(one)[0] - 1.0f) < 1e-6f && fabsf(mcs_f32(one)[3] - 1.0f) < 1e-6f);
    check_ok(c);
    mcs_ctx_free(c);
    mcs_biomedclip_free(m);
}

/* A mask given replaces the rule "0 is padding": with all ones, padding takes part. */
static void masks(void **state)
{
    (void)state;
    mcs_ctx *c = check_ctx();
    mcs_biomedclip *m = load("clip_tiny");
    mcs_tensor *ids = golden(c, "ids");
    mcs_tensor *mask = mcs_new_typed(c, MCS_U8, 2, ids->shape);
    for (int64_t i = 0; i < mcs_numel(ids); i++)
        mcs_u8(mask)[i] = mcs_i64(ids)[i] != 0;
    check_near(mcs_biomedclip_encode_text(c, m, ids, mask), golden(c, "text"), 1e-5f, 1e-6f);
    memset(mcs_u8(mask), 1, (size_t)mcs_numel(ids));
    mcs_tensor *other = mcs_biomedclip_encode_text(c, m, ids, mask);
    check_ok(c);
    assert_true(fabsf(mcs_f32(other)[0] - mcs_f32(golden(c, "text"))[0]) > 1e-3f);
    mcs_ctx_free(c);
    mcs_biomedclip_free(m);
}

static void check_grads(mcs_ctx *c, const mcs_biomedclip *m)
{
    const mcs_params *p = mcs_biomedclip_params(m);
    int compared = 0;
    for (int64_t i = 0; i < mcs_params_count(p); i++) {
        mcs_param_entry k = mcs_params_at(p, i);
        const char *file = strncmp(k.name, "text.", 5) ? "clip_tiny_grad2" : "clip_tiny_grad1";
        mcs_tensor *want = check_golden_tensor(c, file, k.name);
        if (!want)
            fail_msg("no golden gradient of %s", k.name);
        float largest = 0;
        for (int64_t j = 0; j < mcs_numel(want); j++)
            largest = fmaxf(largest, fabsf(mcs_f32(want)[j]));
        check_near_named(k.name, mcs_grad(c, k.tensor), want, 1e-5f, 5e-6f * largest + 2e-7f);
        compared++;
    }
    assert_int_equal(compared, 1 + 3 + 1 + 2 * 12 + 2 + 1 + 5 + 2 * 16 + 2);
}

/* By the fused paths, then by the plain ones that a watch on every layer forces. */
static void all_gradients(void **state)
{
    (void)state;
    mcs_biomedclip *m = load("clip_tiny");
    for (int plain = 0; plain < 2; plain++) {
        mcs_ctx *c = check_ctx();
        mcs_params *p = mcs_biomedclip_params(m);
        assert_int_equal(mcs_params_train(p, "", true), MCS_OK);
        mcs_params_zero_grad(p);
        for (int i = 0; plain && i < 2; i++) {
            static const char *const layers[] = {
                "visual.trunk.blocks.%d.attn.probs",
                "visual.trunk.blocks.%d.attn",
                "visual.trunk.blocks.%d.mlp",
                "visual.trunk.blocks.%d.mlp.fc1",
                "visual.trunk.blocks.%d.norm2",
                "text.transformer.encoder.layer.%d.attention.self.probs",
                "text.transformer.encoder.layer.%d.attention.output.dense",
                "text.transformer.encoder.layer.%d.intermediate.dense",
                "text.transformer.encoder.layer.%d.output.dense",
            };
            for (size_t j = 0; j < sizeof layers / sizeof *layers; j++) {
                char name[128];
                snprintf(name, sizeof name, layers[j], i);
                assert_int_equal(mcs_watch(c, name), MCS_OK);
            }
        }
        mcs_tensor *y = logits_of(c, m);
        assert_int_equal(mcs_backward(c, y, wave(c, 5, 1, 2, MCS_SHAPE(2, 3))), MCS_OK);
        check_ok(c);
        check_grads(c, m);
        if (plain) {
            assert_non_null(mcs_watched(c, "visual.trunk.blocks.1.attn.probs"));
            assert_non_null(mcs_watched(c, "text.transformer.encoder.layer.1.output.dense"));
        }
        mcs_ctx_free(c);
    }
    mcs_biomedclip_free(m);
}

/* What Grad-CAM and gScoreCAM need: an output and its gradient with all weights frozen. */
static void watched_layer(void **state)
{
    (void)state;
    mcs_biomedclip *m = load("clip_tiny");
    mcs_ctx *c = check_ctx();
    const char *layer = mcs_biomedclip_cam_layer(m);
    assert_int_equal(mcs_watch(c, layer), MCS_OK);
    assert_int_equal(mcs_backward(c, logits_of(c, m), wave(c, 5, 1, 2, MCS_SHAPE(2, 3))), MCS_OK);
    check_ok(c);
    check_near_named("layer", mcs_watched(c, layer), golden(c, "layer"), 1e-5f, 1e-6f);
    check_near_named("its gradient", mcs_grad(c, mcs_watched(c, layer)), golden(c, "layer_grad"),
                     1e-4f, 1e-7f);
    mcs_ctx_free(c);
    mcs_biomedclip_free(m);
}

static void count_tap(const char *name, const mcs_tensor *x, void *arg)
{
    (void)x;
    int *n = arg;
    n[0]++;
    n[1] += !strcmp(name, "visual.trunk.blocks.1.norm2");
    n[2] += !strcmp(name, "text.transformer.encoder.layer.0.attention.output.LayerNorm");
}

/* Inference without grad: scopes, class-token shortcut, traces of every layer. */
static void inference(void **state)
{
    (void)state;
    mcs_biomedclip *m = load("clip_tiny");
    mcs_ctx *c = check_ctx();
    mcs_set_grad(c, false);
    check_near(logits_of(c, m), golden(c, "logits"), 1e-5f, 1e-6f);
    int taps[3] = { 0, 0, 0 };
    mcs_trace(c, count_tap, taps);
    check_near(logits_of(c, m), golden(c, "logits"), 1e-5f, 1e-6f);
    mcs_trace(c, NULL, NULL);
    assert_int_equal(taps[1], 1);
    assert_int_equal(taps[2], 1);
    assert_int_equal(taps[0], 2 + 2 * 10 + 2 + 3 + 2 * 12 + 2);
    assert_int_equal(mcs_watch(c, "visual.trunk.norm"), MCS_OK);
    check_near(mcs_biomedclip_encode_image(c, m, images(c)), golden(c, "image"), 1e-5f, 1e-6f);
    check_near_named("tokens", mcs_watched(c, "visual.trunk.norm"), golden(c, "tokens"), 1e-5f,
                     1e-5f);
    check_ok(c);
    mcs_ctx_free(c);
    mcs_biomedclip_free(m);
}

/* The published layout declares exactly the published parameters (195,902,721 numbers). */
static void published_layout(void **state)
{
    (void)state;
    mcs_error e = { MCS_OK, "" };
    mcs_biomedclip_config cfg = mcs_biomedclip_published();
    mcs_biomedclip *m = mcs_biomedclip_new(&cfg, &e);
    assert_non_null(m);
    assert_int_equal(mcs_params_count(mcs_biomedclip_params(m)), 351);
    assert_int_equal(mcs_params_numel(mcs_biomedclip_params(m)), 195902721);
    assert_string_equal(mcs_biomedclip_cam_layer(m), "visual.trunk.blocks.11.norm2");
    mcs_biomedclip_free(m);
}

static void image_gradient(void **state)
{
    (void)state;
    mcs_ctx *c = check_ctx();
    mcs_biomedclip *m = load("clip_tiny");
    mcs_tensor *x = mcs_leaf(c, images(c));
    mcs_tensor *y = mcs_biomedclip_encode_image(c, m, x);
    assert_int_equal(mcs_backward(c, y, mcs_full(c, 2, y->shape, 1.0f)), MCS_OK);
    const mcs_tensor *g = mcs_grad(c, x);
    double norm = 0;
    for (int64_t i = 0; i < mcs_numel(g); i++)
        norm += (double)mcs_f32(g)[i] * (double)mcs_f32(g)[i];
    assert_true(norm > 1e-4);
    check_ok(c);
    mcs_ctx_free(c);
    mcs_biomedclip_free(m);
}

/* The same bits whatever the number of threads. */
static void any_thread_count(void **state)
{
    (void)state;
    mcs_biomedclip *m = load("clip_tiny");
    float first[6];
    for (int threads = 1; threads <= 4; threads++) {
        mcs_pool *pool = mcs_pool_new(threads);
        mcs_ctx *c = mcs_ctx_new(&(mcs_ctx_opts){ .pool = pool });
        mcs_tensor *y = logits_of(c, m);
        check_ok(c);
        if (threads == 1)
            memcpy(first, mcs_f32(y), sizeof first);
        assert_memory_equal(first, mcs_f32(y), sizeof first);
        mcs_ctx_free(c);
        mcs_pool_free(pool);
    }
    mcs_biomedclip_free(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(config_from_shapes),
        cmocka_unit_test(embeddings),
        cmocka_unit_test(masks),
        cmocka_unit_test(all_gradients),
        cmocka_unit_test(watched_layer),
        cmocka_unit_test(inference),
        cmocka_unit_test(published_layout),
        cmocka_unit_test(image_gradient),
        cmocka_unit_test(any_thread_count),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
