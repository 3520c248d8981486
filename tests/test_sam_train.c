/* test_sam_train.c - SAM's training step against PyTorch, frozen weights, learning, refusals,
 * memory. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "models/sam_train.h"
#include "nn/optim.h"
#include "tests/sam_tiny.h"
#include "tests/wave.h"

enum { SIDE = 24 };

/* The batch of make_sam_train.py: two pictures, of wave(11), with one and two boxes. */
typedef struct {
    mcs_sam *m;
    mcs_optim *adamw;
    mcs_ctx *data, *c;
    const mcs_tensor *boxes, *target;
    bool embedded; /* supplies embeddings instead of pictures */
    int64_t calls;
} bench;

static mcs_status supply(mcs_ctx *c, void *arg, int64_t i, mcs_sam_example *out)
{
    bench *b = arg;
    int64_t first = i ? 1 : 0, n = i ? 2 : 1, pixels = 3 * SIDE * SIDE;
    mcs_tensor *x = mcs_new(c, 4, MCS_SHAPE(1, 3, SIDE, SIDE));
    b->calls++;
    for (int64_t k = 0; x && k < pixels; k++)
        mcs_f32(x)[k] = 4 * wave_at(i * pixels + k, 11);
    out->image = x;
    if (b->embedded) {
        bool grad = mcs_set_grad(c, false);
        out->embedding = mcs_sam_encode(c, b->m, x);
        mcs_set_grad(c, grad);
    }
    out->count = (int)n;
    out->boxes = mcs_f32(b->boxes) + 4 * first;
    out->target = mcs_rows(c, b->target, first, first + n);
    return mcs_ctx_status(c);
}

/* The bench owns m from now on. */
static bench begin(mcs_sam *m)
{
    bench b = { .m = m, .data = mcs_ctx_new(NULL), .c = check_ctx() };
    b.adamw = mcs_adamw_new(mcs_sam_params(m), &(mcs_adamw_opts){ 0.9f, 0.999f, 1e-8f, 0.01f });
    b.boxes = check_golden_tensor(b.data, "sam_train", "boxes");
    b.target = check_golden_tensor(b.data, "sam_train", "target");
    assert_non_null(b.boxes);
    return b;
}

static void end(bench *b)
{
    mcs_optim_free(b->adamw);
    mcs_ctx_free(b->data);
    mcs_ctx_free(b->c);
    mcs_sam_free(b->m);
}

static mcs_sam_batch batch_of(bench *b)
{
    return (mcs_sam_batch){ .size = 2, .prompts = 3, .supply = supply, .arg = b };
}

static double golden(const bench *b, const char *name, int64_t i)
{
    const mcs_tensor *x = check_golden_tensor(b->data, "sam_train", name);
    assert_non_null(x);
    return (double)mcs_f32(x)[i];
}

static mcs_sam_result step(bench *b, const mcs_sam_loss *o)
{
    mcs_sam_result r;
    mcs_sam_batch batch = batch_of(b);
    mcs_params_zero_grad(mcs_sam_params(b->m));
    if (mcs_sam_step(b->c, b->m, &batch, o, &r) != MCS_OK)
        fail_msg("%s", mcs_ctx_message(b->c));
    return r;
}

static void update(bench *b, double lr)
{
    mcs_error e = { 0 };
    assert_int_equal(mcs_optim_step(b->adamw, mcs_ctx_pool(b->c), lr, &e), MCS_OK);
}

/* ---- Against PyTorch ---- */

static void terms_equal_pytorch(void **state)
{
    (void)state;
    const struct {
        const char *name;
        mcs_sam_loss loss;
    } terms[] = { { "term.dice", { .dice = 1, .squared = true, .smooth = 1e-5f } },
                  { "term.plain", { .dice = 1, .smooth = 1 } },
                  { "term.bce", { .bce = 1 } },
                  { "term.focal", { .focal = 1 } },
                  { "term.iou", { .iou = 1 } } };
    bench b = begin(load("sam_tiny"));
    mcs_set_grad(b.c, false);
    for (size_t i = 0; i < sizeof terms / sizeof *terms; i++) {
        double got = step(&b, &terms[i].loss).loss, want = golden(&b, terms[i].name, 0);
        if (fabs(got - want) > 1e-5 * fabs(want))
            fail_msg("%s: %.8f, PyTorch %.8f", terms[i].name, got, want);
    }
    end(&b);
}

static mcs_sam_loss all_terms(void)
{
    mcs_sam_loss o = mcs_sam_loss_defaults();
    o.focal = 5;
    o.iou = 0.2f;
    return o;
}

/* Compares the gradients of all trained weights; the others have none. */
static int compare_gradients(bench *b)
{
    int compared = 0;
    const mcs_params *p = mcs_sam_params(b->m);
    for (int64_t i = 0; i < mcs_params_count(p); i++) {
        mcs_param_entry w = mcs_params_at(p, i);
        const char *file =
            strncmp(w.name, "image_encoder", 13) ? "sam_train_grad2" : "sam_train_grad1";
        const mcs_tensor *want = check_golden_tensor(b->data, file, w.name);
        const mcs_tensor *got = mcs_grad(b->c, w.tensor);
        if (!w.tensor->node) {
            assert_null(got);
            continue;
        }
        assert_non_null(want);
        if (got)
            check_near_scaled(w.name, got, want, 1e-4f, 2e-6f); /* keys' biases: but rounding */
        for (int64_t k = 0; !got && k < mcs_numel(want); k++)
            assert_true(mcs_f32(want)[k] == 0);
        compared += got != NULL;
    }
    return compared;
}

static void steps_equal_pytorch(void **state)
{
    (void)state;
    mcs_error e = { 0 };
    bench b = begin(load("sam_tiny"));
    mcs_sam_loss o = all_terms();
    assert_int_equal(mcs_sam_train_only(b.m, MCS_SAM_TRAIN_ALL, &e), MCS_OK);
    assert_true(mcs_sam_encoder_trained(b.m));
    for (int i = 0; i < 3; i++) {
        double got = step(&b, &o).loss, want = golden(&b, "losses", i);
        if (fabs(got - want) > 1e-5 * want)
            fail_msg("step %d: loss %.8f, PyTorch %.8f", i, got, want);
        if (i == 0)
            assert_true(compare_gradients(&b) > 100);
        update(&b, 1e-3);
    }
    end(&b);
}

/* ---- Frozen encoder ---- */

static uint64_t hash_of(const mcs_sam *m, const char *prefix)
{
    uint64_t h = 1469598103934665603u;
    const mcs_params *p = mcs_sam_params(m);
    for (int64_t i = 0; i < mcs_params_count(p); i++) {
        mcs_param_entry w = mcs_params_at(p, i);
        const unsigned char *bytes = w.tensor->data;
        for (int64_t k = 0; strncmp(w.name, prefix, strlen(prefix)) == 0 &&
                            k < mcs_numel(w.tensor) * (int64_t)sizeof(float);
             k++)
            h = (h ^ bytes[k]) * 1099511628211u;
    }
    return h;
}

static void decoder_alone_learns(void **state)
{
    (void)state;
    mcs_error e = { 0 };
    mcs_sam *m = load("sam_tiny");
    bench b = begin(m);
    mcs_sam_loss o = all_terms();
    assert_int_equal(mcs_sam_train_only(m, MCS_SAM_TRAIN_DECODER, &e), MCS_OK);
    assert_false(mcs_sam_encoder_trained(m));
    for (int64_t i = 0; i < mcs_params_count(mcs_sam_params(m)); i++) {
        mcs_param_entry w = mcs_params_at(mcs_sam_params(m), i);
        assert_int_equal(w.tensor->node != NULL, strncmp(w.name, "mask_decoder.", 13) == 0);
    }
    uint64_t encoder = hash_of(m, "image_encoder."), prompt = hash_of(m, "prompt_encoder.");
    uint64_t decoder = hash_of(m, "mask_decoder.");
    mcs_sam_result first = step(&b, &o), last = first;
    assert_true(fabs(first.loss - golden(&b, "losses", 0)) < 1e-5);
    assert_true(compare_gradients(&b) > 60);
    b.embedded = true; /* the same from embeddings */
    assert_true(step(&b, &o).loss == first.loss);
    for (int i = 0; i < 20; i++) {
        update(&b, 5e-3);
        last = step(&b, &o);
    }
    assert_true(hash_of(m, "image_encoder.") == encoder);
    assert_true(hash_of(m, "prompt_encoder.") == prompt);
    assert_true(hash_of(m, "mask_decoder.") != decoder);
    if (!(last.loss < first.loss / 2))
        fail_msg("loss %g -> %g", first.loss, last.loss);
    end(&b);
}

/* A new model of the same sizes learns its two pictures by heart. */
static void learns_from_nothing(void **state)
{
    (void)state;
    mcs_error e = { 0 };
    mcs_sam *old = load("sam_tiny"), *m = mcs_sam_new(mcs_sam_get_config(old), &e);
    bench b = begin(m);
    mcs_sam_loss o = all_terms();
    mcs_params_reinit(mcs_sam_params(m), "", MCS_INIT_KAIMING, MCS_INIT_XAVIER);
    assert_int_equal(mcs_params_init(mcs_sam_params(m), 1), MCS_OK);
    assert_int_equal(mcs_sam_train_only(m, MCS_SAM_TRAIN_ALL, &e), MCS_OK);
    mcs_sam_result first = step(&b, &o), last = first;
    for (int i = 0; i < 150; i++) {
        update(&b, 5e-3);
        last = step(&b, &o);
    }
    if (!(last.iou > 0.9 && last.iou > first.iou))
        fail_msg("IoU %g -> %g, loss %g -> %g", first.iou, last.iou, first.loss, last.loss);
    end(&b);
    mcs_sam_free(old);
}

/* ---- Refusals ---- */

static mcs_status refuse(mcs_ctx *c, void *arg, int64_t i, mcs_sam_example *out)
{
    (void)c, (void)i, (void)out;
    return *(mcs_status *)arg;
}

static mcs_status not_finite(mcs_ctx *c, void *arg, int64_t i, mcs_sam_example *out)
{
    mcs_status s = supply(c, arg, i, out);
    if (i == 1)
        mcs_f32(out->target)[5] = NAN;
    return s;
}

static void refusals(void **state)
{
    (void)state;
    mcs_sam *m = load("sam_tiny");
    bench b = begin(m);
    mcs_ctx *c = b.c;
    mcs_sam_loss o = mcs_sam_loss_defaults(), zero = { .smooth = 1 };
    mcs_sam_result r;
    mcs_sam_batch batch = batch_of(&b);
    assert_int_equal(mcs_sam_step(c, NULL, &batch, &o, &r), MCS_EINVAL);
    check_fails(c, NULL, MCS_EINVAL, "no model");
    batch.size = 0;
    assert_int_equal(mcs_sam_step(c, m, &batch, &o, &r), MCS_EINVAL);
    check_fails(c, NULL, MCS_EINVAL, "0 pictures");
    batch = batch_of(&b);
    batch.prompts = 4;
    assert_int_equal(mcs_sam_step(c, m, &batch, &o, &r), MCS_EINVAL);
    check_fails(c, NULL, MCS_EINVAL, "announced");
    batch = batch_of(&b);
    assert_int_equal(mcs_sam_step(c, m, &batch, &zero, &r), MCS_EINVAL);
    check_fails(c, NULL, MCS_EINVAL, "weight 0");
    zero.dice = NAN;
    assert_int_equal(mcs_sam_step(c, m, &batch, &zero, &r), MCS_EINVAL);
    check_fails(c, NULL, MCS_EINVAL, "weight is nan");
    mcs_status ok = MCS_OK;
    batch = (mcs_sam_batch){ .size = 1, .prompts = 1, .supply = refuse, .arg = &ok };
    assert_int_equal(mcs_sam_step(c, m, &batch, &o, &r), MCS_EINVAL);
    check_fails(c, NULL, MCS_EINVAL, "not supplied");
    batch = (mcs_sam_batch){ .size = 2, .prompts = 3, .supply = not_finite, .arg = &b };
    assert_int_equal(mcs_sam_step(c, m, &batch, &o, &r), MCS_ENUMERIC);
    assert_true(isnan(r.loss));
    check_fails(c, NULL, MCS_ENUMERIC, "picture 1");
    mcs_sam_masks y = { mcs_zeros(c, 4, MCS_SHAPE(2, 1, 3, 3)), mcs_zeros(c, 2, MCS_SHAPE(2, 1)) };
    const mcs_tensor *t = mcs_zeros(c, 4, MCS_SHAPE(2, 1, 3, 4));
    check_fails(c, mcs_sam_train_loss(c, y, t, &o), MCS_ESHAPE, "target is (2, 1, 3, 4)");
    assert_null(mcs_sam_train_loss(c, (mcs_sam_masks){ NULL, NULL }, NULL, &o));
    end(&b);
}

/* Under any limit of memory a step ends with MCS_ENOMEM or with the same loss. */
static void memory_limits(void **state)
{
    (void)state;
    mcs_sam *m = load("sam_tiny");
    bench b = begin(m);
    mcs_sam_loss o = all_terms();
    mcs_sam_result r = { 0, 0 };
    mcs_status s = MCS_ENOMEM;
    int failed = 0;
    for (size_t limit = 4096; s != MCS_OK && limit < (size_t)1 << 30; limit += limit / 3) {
        mcs_ctx *c = mcs_ctx_new(&(mcs_ctx_opts){ .bytes_max = limit, .grad = true });
        mcs_sam_batch batch = batch_of(&b);
        assert_non_null(c);
        assert_int_equal(mcs_params_train(mcs_sam_params(m), "", true), MCS_OK);
        s = mcs_sam_step(c, m, &batch, &o, &r);
        assert_true(s == MCS_OK || s == MCS_ENOMEM);
        failed += s != MCS_OK;
        mcs_ctx_free(c);
    }
    assert_int_equal(s, MCS_OK);
    assert_true(failed > 10);
    assert_true(fabs(r.loss - golden(&b, "losses", 0)) < 1e-5 * r.loss);
    end(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(terms_equal_pytorch),
        cmocka_unit_test(steps_equal_pytorch),
        cmocka_unit_test(decoder_alone_learns),
        cmocka_unit_test(learns_from_nothing),
        cmocka_unit_test(refusals),
        cmocka_unit_test(memory_limits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
