/* BiomedCLIP's files: both layouts read and written, damaged ones, refusals. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "models/biomedclip.h"
#include "tests/check.h"
#include "tests/clip_tiny.h"

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
    check_fails(c, mcs_biomedclip_encode_caption(c, NULL, "x"), MCS_EINVAL, "the model is NULL");
    check_fails(c, mcs_biomedclip_encode_image(c, NULL, mcs_zeros(c, 4, MCS_SHAPE(1, 3, 18, 18))),
                MCS_EINVAL, "NULL");
    mcs_ctx_free(c);
    mcs_biomedclip_free(m);
    mcs_biomedclip_free(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(both_layouts),
        cmocka_unit_test(damaged_files),
        cmocka_unit_test(refusals),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
