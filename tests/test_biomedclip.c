/* BiomedCLIP in a tiny layout against timm, transformers and open_clip: embeddings, logits and the
 * gradients of all parameters, both layouts, taps, refusals. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "models/biomedclip.h"
#include "tests/check.h"

static const char *const captions[] = { "Axial CT scan of the chest", "tumor",
                                        "left lung nodule, non-small cell carcinoma & mass" };

static mcs_biomedclip *load(const char *name)
{
    mcs_error e = { MCS_OK, "" };
    char path[256];
    snprintf(path, sizeof path, "tests/golden/%s.safetensors", name);
    mcs_biomedclip *m = mcs_biomedclip_load(path, "tests/golden/tokens_vocab.txt", &e);
    if (!m)
        fail_msg("%s", e.message);
    return m;
}

/* As in make_clip.py. */
static mcs_tensor *wave(mcs_ctx *c, int seed, float scale, int ndim, const int64_t *shape)
{
    mcs_tensor *x = mcs_new(c, ndim, shape);
    for (int64_t i = 0; i < mcs_numel(x); i++)
        mcs_f32(x)[i] =
            (float)(((double)((i * 7919 + seed * 104729) % 2003) / 2003.0 - 0.5) * (double)scale);
    return x;
}

static mcs_tensor *images(mcs_ctx *c)
{
    return wave(c, 11, 4, 4, MCS_SHAPE(2, 3, 18, 18));
}
static mcs_tensor *golden(mcs_ctx *c, const char *name)
{
    return check_golden_tensor(c, "clip_tiny_out", name);
}

static mcs_tensor *logits_of(mcs_ctx *c, const mcs_biomedclip *m)
{
    mcs_tensor *a = mcs_biomedclip_encode_image(c, m, images(c));
    mcs_tensor *b = mcs_biomedclip_encode_text(c, m, golden(c, "ids"), NULL);
    return mcs_biomedclip_logits(c, m, a, b);
}

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
        check_near_named(k.name, mcs_grad(c, k.tensor), want, 2e-4f, 2e-6f);
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

static void same_logits(const mcs_biomedclip *a, const mcs_biomedclip *b)
{
    mcs_ctx *c = check_ctx();
    mcs_tensor *x = logits_of(c, a), *y = logits_of(c, b);
    check_ok(c);
    assert_memory_equal(mcs_f32(x), mcs_f32(y), 6 * sizeof(float));
    mcs_ctx_free(c);
}

/* The HF layout holds the same numbers under other names, and is written as it is read. */
static void both_layouts(void **state)
{
    (void)state;
    mcs_error e = { MCS_OK, "" };
    mcs_biomedclip *a = load("clip_tiny"), *b = load("clip_tiny_hf");
    same_logits(a, b);
    char dir[] = "/tmp/mcs_clip_XXXXXX", path[64];
    assert_non_null(mkdtemp(dir));
    for (int layout = 0; layout < 2; layout++) {
        snprintf(path, sizeof path, "%s/m.safetensors", dir);
        if (mcs_biomedclip_save(b, path, (mcs_clip_layout)layout, MCS_ST_F32, &e) != MCS_OK)
            fail_msg("%s", e.message);
        mcs_checkpoint *k = mcs_checkpoint_open(path, &e);
        mcs_checkpoint *g = mcs_checkpoint_open(layout ? "tests/golden/clip_tiny_hf.safetensors"
                                                       : "tests/golden/clip_tiny.safetensors",
                                                &e);
        assert_int_equal(mcs_checkpoint_count(k), mcs_checkpoint_count(g));
        for (int64_t i = 0; i < mcs_checkpoint_count(k); i++) {
            const mcs_stored *s = mcs_checkpoint_at(k, i), *t;
            char name[256];
            snprintf(name, sizeof name, "%s%s", layout ? "model." : "", s->name);
            t = mcs_checkpoint_find(g, name);
            if (!t || t->ndim != s->ndim || memcmp(t->shape, s->shape, (size_t)s->ndim * 8))
                fail_msg("%s: not in the reference file, or of another shape", s->name);
        }
        mcs_checkpoint_close(k);
        mcs_checkpoint_close(g);
        mcs_biomedclip *again = mcs_biomedclip_load(path, NULL, &e);
        if (!again)
            fail_msg("%s", e.message);
        assert_null(mcs_biomedclip_vocab(again));
        same_logits(a, again);
        mcs_biomedclip_free(again);
        unlink(path);
    }
    rmdir(dir);
    mcs_biomedclip_free(a);
    mcs_biomedclip_free(b);
}

/* ---- Refusals ---- */

static void refuse_load(const char *path, const char *vocab, mcs_status s, const char *part)
{
    mcs_error e = { MCS_OK, "" };
    assert_null(mcs_biomedclip_load(path, vocab, &e));
    if (e.status != s || !strstr(e.message, part))
        fail_msg("expected %d \"%s\", got %d \"%s\"", (int)s, part, (int)e.status, e.message);
}

/* Saves m with tensor `name` left out, renamed, cut or made NaN, in the HF layout's way. */
static void write_damaged(const mcs_biomedclip *m, const char *path, const char *name, char how)
{
    mcs_error e = { MCS_OK, "" };
    char whole[80];
    snprintf(whole, sizeof whole, "%s.whole", path);
    assert_int_equal(mcs_biomedclip_save(m, whole, MCS_CLIP_HF, MCS_ST_F32, &e), MCS_OK);
    mcs_checkpoint *k = mcs_checkpoint_open(whole, &e);
    mcs_ctx *c = check_ctx();
    mcs_save_entry out[200];
    int n = 0;
    for (int64_t i = 0; i < mcs_checkpoint_count(k); i++) {
        const mcs_stored *t = mcs_checkpoint_at(k, i);
        mcs_tensor *x = mcs_checkpoint_tensor(c, k, t->name);
        mcs_save_entry s = {
            .name = t->name, .dtype = MCS_ST_F32, .ndim = t->ndim, .data = x->data
        };
        memcpy(s.shape, t->shape, sizeof s.shape);
        if (!strcmp(t->name, name)) {
            if (how == 'm')
                continue;
            if (how == 'r')
                s.name = "text_model.something_else";
            if (how == 's')
                s.shape[0]--;
            if (how == 'n')
                mcs_f32(x)[1] = NAN;
        }
        out[n++] = s;
    }
    const char *meta[] = { "mcs.config", mcs_checkpoint_meta(k, "mcs.config"), NULL };
    assert_int_equal(mcs_safetensors_write(path, n, out, meta, &e), MCS_OK);
    mcs_checkpoint_close(k);
    mcs_ctx_free(c);
    unlink(whole);
}

static void damaged_files(void **state)
{
    (void)state;
    mcs_error e = { MCS_OK, "" };
    mcs_biomedclip *m = load("clip_tiny"), *part;
    char dir[] = "/tmp/mcs_clip_XXXXXX", path[64];
    assert_non_null(mkdtemp(dir));
    snprintf(path, sizeof path, "%s/m.safetensors", dir);
    const char *const k1 = "vision_model.encoder.layers.1.self_attn.k_proj.bias";
    write_damaged(m, path, k1, 'm');
    refuse_load(path, NULL, MCS_ENOTFOUND,
                "1 weights missing (vision_model.encoder.layers.1.self_attn.k_proj.bias)");
    part = mcs_biomedclip_load_flags(path, NULL, MCS_LOAD_ALLOW_MISSING, &e);
    assert_non_null(part);
    mcs_biomedclip_free(part);
    write_damaged(m, path, k1, 'r');
    refuse_load(path, NULL, MCS_ENOTFOUND, "1 unexpected (text_model.something_else)");
    write_damaged(m, path, k1, 's');
    refuse_load(path, NULL, MCS_ESHAPE,
                "1 of another shape (vision_model.encoder.layers.1.self_attn.k_proj.bias)");
    write_damaged(m, path, k1, 'n');
    refuse_load(path, NULL, MCS_ENUMERIC, "k_proj.bias");
    write_damaged(m, path, "text_model.embeddings.token_embedding.weight", 'm');
    refuse_load(path, NULL, MCS_ENOTFOUND, "word_embeddings.weight");
    write_damaged(m, path, "vision_model.embeddings.position_embedding.weight", 's');
    refuse_load(path, NULL, MCS_ESHAPE, "9 rows, expected 1 + a square");
    unlink(path);
    rmdir(dir);
    mcs_biomedclip_free(m);
}

static void refusals(void **state)
{
    (void)state;
    refuse_load("tests/golden/sam_tiny.safetensors", NULL, MCS_ENOTFOUND, "not a BiomedCLIP");
    refuse_load("no/such.bin", NULL, MCS_ENOTFOUND, "no/such.bin");
    refuse_load("tests/golden/clip_tiny.safetensors", "no/vocab.txt", MCS_ENOTFOUND,
                "no/vocab.txt");

    mcs_error e = { MCS_OK, "" };
    mcs_biomedclip *m = load("clip_tiny");
    char big[2000] = "[PAD]\n[UNK]\n[CLS]\n[SEP]\n";
    for (int i = 0; i < 174; i++)
        strcat(big, "x\n");
    mcs_wordpiece *w = mcs_wordpiece_parse(big, strlen(big), "big", &e);
    assert_int_equal(mcs_biomedclip_set_vocab(m, w, &e), MCS_EFORMAT);
    assert_non_null(strstr(e.message, "178 tokens"));
    mcs_wordpiece_free(w);

    mcs_biomedclip_config cfg = mcs_biomedclip_published();
    cfg.vision.heads = 7;
    e.status = MCS_OK;
    assert_null(mcs_biomedclip_new(&cfg, &e));
    assert_int_equal(e.status, MCS_EINVAL);
    cfg = mcs_biomedclip_published();
    cfg.context = 513;
    e.status = MCS_OK;
    assert_null(mcs_biomedclip_new(&cfg, &e));
    assert_non_null(strstr(e.message, "context must be 2..512"));

    mcs_ctx *c = check_ctx();
    mcs_tensor *x = mcs_zeros(c, 4, MCS_SHAPE(1, 3, 18, 17));
    check_fails(c, mcs_biomedclip_encode_image(c, m, x), MCS_ESHAPE, "(1, 3, 18, 17)");
    check_fails(c, mcs_biomedclip_encode_text(c, m, mcs_zeros(c, 2, MCS_SHAPE(1, 3)), NULL),
                MCS_ESHAPE, "expected int64");
    int64_t bad[2] = { 2, 177 }, many[23];
    for (int i = 0; i < 23; i++)
        many[i] = 5;
    mcs_tensor *ids = mcs_from(c, MCS_I64, 2, MCS_SHAPE(1, 2), bad);
    check_fails(c, mcs_biomedclip_encode_text(c, m, ids, NULL), MCS_EINVAL, "177");
    ids = mcs_from(c, MCS_I64, 2, MCS_SHAPE(1, 23), many);
    check_fails(c, mcs_biomedclip_encode_text(c, m, ids, NULL), MCS_ESHAPE, "22");
    assert_null(mcs_biomedclip_encode_image(c, m, NULL));
    assert_null(mcs_biomedclip_encode_text(c, m, NULL, NULL));
    assert_int_equal(mcs_biomedclip_set_vocab(m, NULL, NULL), MCS_OK);
    check_fails(c, mcs_biomedclip_encode_caption(c, m, "x"), MCS_ENOTFOUND, "vocab.txt");
    mcs_ctx_free(c);
    mcs_biomedclip_free(m);
    mcs_biomedclip_free(NULL);
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(config_from_shapes),
        cmocka_unit_test(embeddings),
        cmocka_unit_test(masks),
        cmocka_unit_test(all_gradients),
        cmocka_unit_test(watched_layer),
        cmocka_unit_test(inference),
        cmocka_unit_test(both_layouts),
        cmocka_unit_test(damaged_files),
        cmocka_unit_test(refusals),
        cmocka_unit_test(published_layout),
        cmocka_unit_test(image_gradient),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
