/* test_clip_train.c - ten AdamW steps against PyTorch, batches in parts against one pass, masks,
 * several captions, frozen weights, refusals. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "tests/train_tiny.h"

/* ||a - b|| / ||b|| */
static double distance(const float *a, const float *b, int64_t n)
{
    double d = 0, s = 0;
    for (int64_t i = 0; i < n; i++) {
        d += ((double)a[i] - (double)b[i]) * ((double)a[i] - (double)b[i]);
        s += (double)b[i] * (double)b[i];
    }
    return sqrt(d / (s > 0 ? s : 1));
}

static void ten_steps(const char *golden_losses, mcs_clip_step_opts o, const mcs_clip_lock *lock)
{
    mcs_error e = { MCS_OK, "" };
    bench t = begin();
    const mcs_tensor *want = check_golden_tensor(t.data, "train_losses", golden_losses);
    assert_int_equal(mcs_clip_train_lock(t.m, lock, &e), MCS_OK);
    for (int n = 0; n < STEPS; n++) {
        double loss = step(&t, n, &o);
        if (fabs(loss - (double)mcs_f32(want)[n]) > 1e-5 * fabs(loss))
            fail_msg("%s, step %d: loss %.7f, PyTorch %.7f", golden_losses, n, loss,
                     (double)mcs_f32(want)[n]);
    }
    for (int i = 0; i < mcs_params_count(t.p) && strcmp(golden_losses, "dhn") == 0; i++) {
        mcs_param_entry w = mcs_params_at(t.p, i);
        const char *file = w.name[0] == 't' ? "train_weights1" : "train_weights2";
        const mcs_tensor *g = check_golden_tensor(t.data, file, w.name);
        double d = g ? distance(mcs_f32(w.tensor), mcs_f32(g), mcs_numel(g)) : 0;
        assert_true(g || strcmp(w.name, "logit_scale") == 0);
        if (!(d < 1e-4))
            fail_msg("%s after ten steps: relative difference %g", w.name, d);
    }
    end(&t);
}

static const mcs_clip_lock scale_locked = { .scale = true };

static void test_ten_steps_whole(void **state)
{
    (void)state;
    ten_steps("dhn", dhn(0), &scale_locked);
}

static void test_ten_steps_in_parts(void **state)
{
    (void)state;
    ten_steps("dhn", dhn(4), &scale_locked);
}

static void test_ten_steps_learned_scale(void **state)
{
    (void)state;
    mcs_clip_step_opts o = { .loss = mcs_contrastive_defaults(MCS_LOSS_INFONCE),
                             .learn_scale = true,
                             .micro = 1 };
    ten_steps("info", o, &(mcs_clip_lock){ 0 });
}

static void test_ten_steps_locked(void **state)
{
    (void)state;
    mcs_clip_lock l = {
        .image = true, .image_groups = 1, .text = true, .text_layers = 1, .scale = true
    };
    ten_steps("lock", dhn(2), &l);
}

/* ---- Parts against the whole ---- */

static float *gradients(bench *t, const mcs_clip_step_opts *o, double *loss, int64_t *n)
{
    int64_t *ids = roll(t->ids, 0);
    t->batch.ids = ids;
    t->batch.images_arg = &t->pictures;
    mcs_params_zero_grad(t->p);
    assert_int_equal(mcs_clip_step(t->c, t->m, &t->batch, o, loss), MCS_OK);
    float *all = malloc((size_t)mcs_params_numel(t->p) * sizeof *all);
    *n = 0;
    for (int64_t i = 0; i < mcs_params_count(t->p); i++) {
        const mcs_tensor *g = mcs_grad(t->c, mcs_params_at(t->p, i).tensor);
        if (g)
            memcpy(all + *n, g->data, (size_t)mcs_numel(g) * sizeof *all);
        *n += g ? mcs_numel(g) : 0;
    }
    free(ids);
    return all;
}

static void test_parts_equal_whole(void **state)
{
    (void)state;
    uint8_t negatives[2 * B * B];
    for (int i = 0; i < 2 * B * B; i++)
        negatives[i] = i % 5 != 0;
    bench t = begin();
    assert_int_equal(mcs_params_train(t.p, "", true), MCS_OK);
    for (int captions = 1; captions <= 2; captions++)
        for (int masked = 0; masked < 2; masked++)
            for (int micro = 1; micro < B; micro += 2) {
                mcs_clip_step_opts o = dhn(0), parts = dhn(micro);
                double a, b;
                int64_t n;
                o.learn_scale = parts.learn_scale = captions == 2;
                t.batch.captions = captions;
                t.batch.negatives = masked ? negatives : NULL;
                float *whole = gradients(&t, &o, &a, &n);
                t.pictures.calls = 0;
                float *sum = gradients(&t, &parts, &b, &n);
                assert_int_equal(t.pictures.calls, 2 * ((B + micro - 1) / micro));
                double d = distance(sum, whole, n);
                if (!(d < 1e-5) || !(fabs(a - b) < 1e-6))
                    fail_msg("micro %d: gradients differ by %g, losses by %g", micro, d, a - b);
                free(whole);
                free(sum);
            }
    end(&t);
}

/* The mask and the second set of captions reach the loss. */
static void test_masks_and_sets_matter(void **state)
{
    (void)state;
    uint8_t negatives[2 * B * B];
    memset(negatives, 1, sizeof negatives);
    negatives[B * B + 1] = 0;
    bench t = begin();
    mcs_clip_step_opts o = dhn(0);
    double one, two, masked;
    int64_t n;
    assert_int_equal(mcs_params_train(t.p, "", true), MCS_OK);
    free(gradients(&t, &o, &one, &n));
    t.batch.captions = 2;
    free(gradients(&t, &o, &two, &n));
    t.batch.negatives = negatives;
    free(gradients(&t, &o, &masked, &n));
    assert_true(fabs(one - two) > 1e-4 && fabs(two - masked) > 1e-4);
    int64_t n0 = B * t.batch.length, *ids = roll(t.ids, 0); /* the same set twice: the same mean */
    memcpy(ids + n0, ids, (size_t)n0 * sizeof *ids);
    t.batch.ids = ids;
    t.batch.negatives = NULL;
    assert_int_equal(mcs_clip_step(t.c, t.m, &t.batch, &o, &two), MCS_OK);
    assert_true(fabs(one - two) < 1e-6);
    free(ids);
    end(&t);
}

static bool trained(const bench *t, const char *name)
{
    return mcs_params_find(t->p, name)->node != NULL;
}

static void test_lock(void **state)
{
    (void)state;
    mcs_error e = { MCS_OK, "" };
    bench t = begin();
    mcs_clip_lock l = { .image = true, .text = true };
    assert_int_equal(mcs_clip_train_lock(t.m, &l, &e), MCS_OK);
    assert_false(trained(&t, "visual.trunk.norm.weight"));
    assert_true(trained(&t, "visual.head.proj.weight"));
    assert_true(trained(&t, "text.proj.0.weight"));
    assert_true(trained(&t, "text.transformer.embeddings.LayerNorm.weight"));
    assert_false(trained(&t, "text.transformer.encoder.layer.1.output.dense.weight"));
    assert_true(trained(&t, "logit_scale"));
    l = (mcs_clip_lock){ .image = true,
                         .image_groups = 2,
                         .text = true,
                         .text_layers = 2,
                         .text_norms = true,
                         .scale = true };
    assert_int_equal(mcs_clip_train_lock(t.m, &l, &e), MCS_OK);
    assert_true(trained(&t, "visual.trunk.blocks.0.norm1.weight"));
    assert_false(trained(&t, "visual.trunk.cls_token"));
    assert_false(trained(&t, "text.transformer.embeddings.LayerNorm.weight"));
    assert_true(trained(&t, "text.transformer.encoder.layer.0.output.dense.weight"));
    assert_false(trained(&t, "logit_scale"));
    l.image_groups = -1;
    assert_int_equal(mcs_clip_train_lock(t.m, &l, &e), MCS_EINVAL);
    end(&t);
}

static mcs_tensor *no_pictures(mcs_ctx *c, void *arg, int64_t first, int64_t count)
{
    (void)c, (void)arg, (void)first, (void)count;
    return NULL;
}

static void test_refusals(void **state)
{
    (void)state;
    bench t = begin();
    double loss;
    mcs_clip_step_opts o = dhn(0);
    t.batch.ids = mcs_i64(t.ids);
    t.batch.size = 1;
    assert_int_equal(mcs_clip_step(t.c, t.m, &t.batch, &o, &loss), MCS_EINVAL);
    assert_non_null(strstr(mcs_ctx_message(t.c), "at least 2"));
    t.batch.size = B;
    t.batch.images = no_pictures;
    assert_int_equal(mcs_clip_step(t.c, t.m, &t.batch, &o, &loss), MCS_EINVAL);
    o.micro = 2;
    assert_int_equal(mcs_clip_step(t.c, t.m, &t.batch, &o, &loss), MCS_EINVAL);
    t.batch.images = supply;
    t.batch.images_arg = &t.pictures;
    mcs_f32(mcs_params_find(t.p, "visual.head.proj.weight"))[3] = NAN;
    for (o.micro = 0; o.micro < 4; o.micro += 3) {
        assert_int_equal(mcs_params_train(t.p, "", true), MCS_OK);
        assert_int_equal(mcs_clip_step(t.c, t.m, &t.batch, &o, &loss), MCS_ENUMERIC);
        assert_true(isnan(loss));
        assert_true(mcs_grad_norm(t.p, NULL) == 0);
    }
    end(&t);
}

/* Under any limit the step is done, with the same loss, or ends with MCS_ENOMEM. */
static void test_memory_limits(void **state)
{
    (void)state;
    bench t = begin();
    int64_t *ids = roll(t.ids, 0);
    double want = 0, loss;
    int done = 0, refused = 0;
    t.batch.ids = ids;
    t.batch.images_arg = &t.pictures;
    assert_int_equal(mcs_params_train(t.p, "", true), MCS_OK);
    for (int64_t micro = 0; micro <= 2; micro += 2) {
        mcs_clip_step_opts o = dhn(micro);
        assert_int_equal(mcs_clip_step(t.c, t.m, &t.batch, &o, &want), MCS_OK);
        for (size_t limit = 2000; limit < 40u << 20; limit = limit * 5 / 4) {
            mcs_ctx *c = mcs_ctx_new(&(mcs_ctx_opts){ .bytes_max = limit });
            mcs_status s = mcs_clip_step(c, t.m, &t.batch, &o, &loss);
            assert_true(s == MCS_OK ? fabs(loss - want) < 1e-6 : s == MCS_ENOMEM);
            assert_false(mcs_grad_enabled(c));
            *(s == MCS_OK ? &done : &refused) += 1;
            mcs_ctx_free(c);
        }
    }
    assert_true(done > 4 && refused > 4);
    free(ids);
    end(&t);
}

/* The estimate of the tape is neither far below nor far above what it is. */
static void compare_estimate(bool recompute)
{
    mcs_error e = { MCS_OK, "" };
    mcs_biomedclip_config cfg = mcs_biomedclip_published();
    cfg.vision = (mcs_vit_config){ 96, 8, 96, 6, 4, 384 };
    cfg.text = (mcs_bert_config){ 50, 64, 1, 96, 6, 4, 384 };
    cfg.text_hidden = cfg.embed = 32;
    cfg.context = 64;
    mcs_biomedclip *m = mcs_biomedclip_new(&cfg, &e);
    assert_int_equal(mcs_params_init(mcs_biomedclip_params(m), 1), MCS_OK);
    assert_int_equal(mcs_params_train(mcs_biomedclip_params(m), "", true), MCS_OK);
    mcs_ctx *c = mcs_ctx_new(&(mcs_ctx_opts){ .grad = true });
    mcs_set_recompute(c, recompute);
    const mcs_tensor *x =
        mcs_biomedclip_encode_image(c, m, mcs_zeros(c, 4, MCS_SHAPE(8, 3, 96, 96)));
    int64_t ids[8 * 64];
    for (int i = 0; i < 8 * 64; i++)
        ids[i] = 1 + i % 49;
    const mcs_tensor *y =
        mcs_biomedclip_encode_text(c, m, mcs_from(c, MCS_I64, 2, MCS_SHAPE(8, 64), ids), NULL);
    assert_int_equal(mcs_backward(c, x, x), MCS_OK);
    assert_int_equal(mcs_backward(c, y, y), MCS_OK);
    double share =
        (double)mcs_ctx_peak(c) / (8.0 * (double)mcs_clip_pair_bytes(&cfg, 64, 1, recompute));
    if (!(share > 0.7 && share < 1.3))
        fail_msg("the tape takes %.2f of the estimate, blocks %s", share,
                 recompute ? "recomputed" : "kept");
    mcs_ctx_free(c);
    mcs_biomedclip_free(m);
}

static void test_pair_bytes(void **state)
{
    (void)state;
    compare_estimate(false);
    compare_estimate(true);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_memory_limits),
        cmocka_unit_test(test_pair_bytes),
        cmocka_unit_test(test_ten_steps_whole),
        cmocka_unit_test(test_ten_steps_in_parts),
        cmocka_unit_test(test_ten_steps_learned_scale),
        cmocka_unit_test(test_ten_steps_locked),
        cmocka_unit_test(test_parts_equal_whole),
        cmocka_unit_test(test_masks_and_sets_matter),
        cmocka_unit_test(test_lock),
        cmocka_unit_test(test_refusals),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
