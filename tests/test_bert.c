/* A real, small BERT (bert.* of a token classifier) against an independent float64 forward pass,
 * and what BERT refuses. */
#include <jansson.h>
#include <string.h>
#include "models/bert.h"
#include "models/wordpiece.h"
#include "tests/check.h"
#include "weights/weights.h"

static mcs_bert *load(mcs_params **p)
{
    mcs_error e = { MCS_OK, "" };
    const mcs_bert_config cfg = { 402, 16, 2, 16, 1, 1, 64 };
    mcs_checkpoint *k =
        mcs_checkpoint_open(check_data("weights/camphr_ner_bert/pytorch_model.bin"), &e);
    if (!k)
        fail_msg("%s", e.message);
    *p = mcs_params_new();
    mcs_bert *m = mcs_bert_new(mcs_root(*p), &cfg);
    static const char *const ignore[] = { "position_ids", NULL };
    if (mcs_params_load(*p, k, "bert.", ignore, 0, &e) != MCS_OK)
        fail_msg("%s", e.message);
    mcs_checkpoint_close(k);
    return m;
}

static void expect_rows(const mcs_tensor *y, const json_t *want)
{
    for (int64_t i = 0; i < (int64_t)json_array_size(want); i++)
        for (int64_t j = 0; j < 16; j++) {
            double w =
                json_number_value(json_array_get(json_array_get(want, (size_t)i), (size_t)j));
            double d = (double)mcs_f32(y)[i * 16 + j] - w;
            if (d > 1e-5 || d < -1e-5)
                fail_msg("token %lld, channel %lld: %f, expected %f", (long long)i, (long long)j,
                         (double)mcs_f32(y)[i * 16 + j], w);
        }
}

static void real_weights(void **state)
{
    (void)state;
    json_t *root = json_load_file(check_data("weights/camphr_ner_bert/golden_numpy.json"), 0, NULL);
    json_t *cases = json_object_get(root, "cases"), *k;
    assert_int_equal(json_array_size(cases), 5);
    mcs_error e = { MCS_OK, "" };
    mcs_wordpiece *w = mcs_wordpiece_load(check_data("weights/camphr_ner_bert/vocab.txt"), &e);
    mcs_params *p;
    mcs_bert *m = load(&p);
    mcs_ctx *c = check_ctx();
    size_t i;
    json_array_foreach(cases, i, k)
    {
        const json_t *ids = json_object_get(k, "ids"), *mask = json_object_get(k, "attention_mask");
        int64_t n = (int64_t)json_array_size(ids);
        mcs_tensor *x = mcs_new_typed(c, MCS_I64, 2, MCS_SHAPE(1, n));
        mcs_tensor *keys =
            json_is_array(mask) ? mcs_new_typed(c, MCS_U8, 2, MCS_SHAPE(1, n)) : NULL;
        for (int64_t j = 0; j < n; j++) {
            mcs_i64(x)[j] = json_integer_value(json_array_get(ids, (size_t)j));
            if (keys)
                mcs_u8(keys)[j] = json_integer_value(json_array_get(mask, (size_t)j)) != 0;
        }
        mcs_tensor *y = mcs_bert_hidden(c, m, x, keys);
        check_ok(c);
        expect_rows(y, json_object_get(k, "last_hidden_state"));
        if (i < 3) { /* the others are ids, not texts */
            int64_t got[16];
            int count;
            const char *text = json_string_value(json_object_get(k, "text"));
            assert_int_equal(mcs_wordpiece_encode(w, text, 16, got, &count, &e), MCS_OK);
            assert_int_equal(count, n);
            assert_memory_equal(got, mcs_i64(x), (size_t)n * sizeof *got);
        }
    }
    assert_int_equal(mcs_wordpiece_size(w), 405); /* but the embedding has 402 rows */
    mcs_tensor *x = mcs_new_typed(c, MCS_I64, 2, MCS_SHAPE(1, 1));
    mcs_i64(x)[0] = 404;
    check_fails(c, mcs_bert_hidden(c, m, x, NULL), MCS_EINVAL, "404");
    json_decref(root);
    mcs_wordpiece_free(w);
    mcs_params_free(p);
    mcs_ctx_free(c);
}

/* With all projections 0 a layer norm sees (gain * a normalised row): variance 1e-8, which only a
 * much smaller eps leaves alone. */
static void tiny_eps(void **state)
{
    (void)state;
    const mcs_bert_config cfg = { 10, 8, 2, 12, 2, 3, 24 };
    mcs_params *p = mcs_params_new();
    mcs_bert *m = mcs_bert_new(mcs_root(p), &cfg);
    assert_int_equal(mcs_params_init(p, 1), MCS_OK);
    for (int64_t i = 0; i < mcs_params_count(p); i++) {
        mcs_param_entry k = mcs_params_at(p, i);
        float scale = strstr(k.name, "LayerNorm.weight") ? 1e-4f
                      : strstr(k.name, "_embeddings")    ? 1e-2f
                                                         : 0.0f;
        for (int64_t j = 0; j < mcs_numel(k.tensor); j++)
            mcs_f32(k.tensor)[j] *= scale;
    }
    mcs_ctx *c = check_ctx();
    mcs_tensor *ids = mcs_new_typed(c, MCS_I64, 2, MCS_SHAPE(1, 5));
    for (int i = 0; i < 5; i++)
        mcs_i64(ids)[i] = i;
    mcs_tensor *y = mcs_bert_hidden(c, m, ids, NULL);
    check_ok(c);
    double sum = 0;
    for (int64_t i = 0; i < mcs_numel(y); i++)
        sum += (double)mcs_f32(y)[i] * (double)mcs_f32(y)[i];
    sum /= (double)mcs_numel(y) * 1e-8;
    if (sum < 0.999 || sum > 1.001)
        fail_msg("variance of the normalised rows is %f", sum);
    mcs_ctx_free(c);
    mcs_params_free(p);
}

typedef struct {
    mcs_params *p;
    mcs_bert *m;
    mcs_ctx *c;
    mcs_tensor *ids, *mask;
} small;

static small small_new(void)
{
    static const mcs_bert_config cfg = { 20, 8, 2, 12, 2, 3, 24 };
    small s = { .p = mcs_params_new(), .c = check_ctx() };
    s.m = mcs_bert_new(mcs_root(s.p), &cfg);
    assert_int_equal(mcs_params_init(s.p, 1), MCS_OK);
    assert_int_equal(mcs_params_train(s.p, "", true), MCS_OK);
    s.ids = mcs_new_typed(s.c, MCS_I64, 2, MCS_SHAPE(3, 7));
    s.mask = mcs_new_typed(s.c, MCS_U8, 2, MCS_SHAPE(3, 7));
    for (int i = 0; i < 21; i++) {
        mcs_i64(s.ids)[i] = (i * 13 + 5) % 20;
        mcs_u8(s.mask)[i] = i % 7 < 3 + 2 * (i / 7);
    }
    return s;
}

static void small_free(small *s)
{
    mcs_ctx_free(s->c);
    mcs_params_free(s->p);
}

/* The last layer for one token, beside all of it: values and gradients, hooks and recomputation. */
static void cls_alone(void **state)
{
    (void)state;
    for (int with = 0; with < 4; with++) {
        small a = small_new(), b = small_new();
        if (with == 1)
            a.mask = b.mask = NULL;
        if (with == 2)
            assert_int_equal(mcs_watch(a.c, "encoder.layer.1.intermediate.dense"), MCS_OK);
        if (with == 3)
            mcs_set_recompute(a.c, true);
        mcs_tensor *x = mcs_bert_cls(a.c, a.m, a.ids, a.mask);
        mcs_tensor *y = mcs_bert_hidden(b.c, b.m, b.ids, b.mask);
        y = mcs_reshape(b.c, mcs_slice(b.c, y, 1, 0, 1), 2, MCS_SHAPE(3, 12));
        check_ok(a.c);
        check_near(x, y, 1e-5f, 1e-6f);
        if (with == 2)
            assert_int_equal(mcs_dim(mcs_watched(a.c, "encoder.layer.1.intermediate.dense"), 1), 7);
        const mcs_tensor *dx = check_random(a.c, 5, -1, 1, 2, MCS_SHAPE(3, 12));
        const mcs_tensor *dy = check_random(b.c, 5, -1, 1, 2, MCS_SHAPE(3, 12));
        assert_int_equal(mcs_backward(a.c, x, dx), MCS_OK);
        assert_int_equal(mcs_backward(b.c, y, dy), MCS_OK);
        for (int64_t i = 0; i < mcs_params_count(a.p); i++) {
            mcs_param_entry k = mcs_params_at(a.p, i);
            check_near_named(k.name, mcs_grad(a.c, k.tensor),
                             mcs_grad(b.c, mcs_params_at(b.p, i).tensor), 1e-4f, 1e-5f);
        }
        small_free(&a);
        small_free(&b);
    }
}

static void refusals(void **state)
{
    (void)state;
    mcs_error e = { MCS_OK, "" };
    mcs_bert_config cfg = { 10, 8, 2, 12, 1, 5, 24 };
    assert_int_equal(mcs_bert_check(&cfg, &e), MCS_EINVAL);
    assert_non_null(strstr(e.message, "heads"));
    cfg.heads = 3;
    assert_int_equal(mcs_bert_check(&cfg, NULL), MCS_OK);
    mcs_params *p = mcs_params_new();
    mcs_bert *m = mcs_bert_new(mcs_root(p), &cfg);
    assert_int_equal(mcs_params_init(p, 1), MCS_OK);
    mcs_ctx *c = check_ctx();
    mcs_tensor *ids = mcs_new_typed(c, MCS_I64, 2, MCS_SHAPE(2, 3));
    memset(mcs_i64(ids), 0, 6 * sizeof(int64_t));
    mcs_tensor *y = mcs_bert_hidden(c, m, ids, NULL);
    check_ok(c);
    assert_int_equal(mcs_dim(y, 2), 12);
    check_fails(c, mcs_bert_hidden(c, m, mcs_zeros(c, 2, MCS_SHAPE(2, 3)), NULL), MCS_ESHAPE,
                "int64");
    ids = mcs_new_typed(c, MCS_I64, 2, MCS_SHAPE(1, 9));
    check_fails(c, mcs_bert_hidden(c, m, ids, NULL), MCS_ESHAPE, "from 1 to 8");
    ids = mcs_new_typed(c, MCS_I64, 2, MCS_SHAPE(1, 4));
    mcs_tensor *mask = mcs_new_typed(c, MCS_U8, 2, MCS_SHAPE(1, 3));
    check_fails(c, mcs_bert_hidden(c, m, ids, mask), MCS_ESHAPE, "mask is (1, 3)");
    ids = mcs_new_typed(c, MCS_I64, 2, MCS_SHAPE(1, 9));
    check_fails(c, mcs_bert_cls(c, m, ids, NULL), MCS_ESHAPE, "from 1 to 8");
    assert_null(mcs_bert_hidden(c, m, NULL, NULL));
    check_ok(c);
    mcs_ctx_free(c);
    mcs_params_free(p);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(real_weights), cmocka_unit_test(tiny_eps), cmocka_unit_test(cls_alone),
                                        cmocka_unit_test(refusals) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
