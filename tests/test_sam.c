/* SAM in a tiny layout of the original classes against the original: outputs of every kind of
 * prompt, all parameter gradients, frames, memory, refusals. */
#include <string.h>
#include "tests/sam_tiny.h"
#include "tests/wave.h"

/* ---- Prompts ---- */

static const struct {
    const char *name;
    int count, image; /* -1: one image each */
    bool multimask;
} prompt_cases[] = {
    { "box", 2, 0, false },  { "points", 2, 0, true }, { "both", 1, 1, false },
    { "mask", 2, -1, true }, { "none", 1, 1, false },
};
enum { CASES = sizeof prompt_cases / sizeof prompt_cases[0] };

static mcs_tensor *golden(mcs_ctx *c, const char *name, const char *what)
{
    char full[64];
    snprintf(full, sizeof full, "%s.%s", name, what);
    return check_golden_tensor(c, "sam_tiny_out", full);
}

/* The prompts of a case; labels are copied into `labels`. */
static mcs_sam_prompts prompts_of(mcs_ctx *c, int i, int labels[16])
{
    const char *name = prompt_cases[i].name;
    mcs_tensor *boxes = golden(c, name, "boxes"), *xy = golden(c, name, "xy");
    mcs_tensor *ids = golden(c, name, "labels");
    for (int64_t k = 0; ids && k < mcs_numel(ids); k++)
        labels[k] = (int)mcs_i64(ids)[k];
    return (mcs_sam_prompts){ .count = prompt_cases[i].count,
                              .boxes = boxes ? mcs_f32(boxes) : NULL,
                              .points = xy ? (int)xy->shape[1] : 0,
                              .xy = xy ? mcs_f32(xy) : NULL,
                              .labels = labels,
                              .mask = golden(c, name, "mask") };
}

static mcs_sam_masks run_case(mcs_ctx *c, const mcs_sam *m, const mcs_tensor *embedding, int i)
{
    int labels[16];
    mcs_sam_prompts p = prompts_of(c, i, labels);
    int image = prompt_cases[i].image;
    if (image >= 0)
        embedding = mcs_rows(c, embedding, image, image + 1);
    return mcs_sam_decode(c, m, embedding, &p, prompt_cases[i].multimask);
}

static mcs_tensor *encode(mcs_ctx *c, const mcs_sam *m)
{
    return mcs_sam_encode(c, m, wave(c, 11, 4, 4, MCS_SHAPE(2, 3, 24, 24)));
}

static void outputs_equal_original(void **state)
{
    (void)state;
    mcs_sam *m = load("sam_tiny");
    for (int grad = 0; grad < 2; grad++) {
        mcs_ctx *c = check_ctx();
        mcs_set_grad(c, grad);
        mcs_tensor *embedding = encode(c, m);
        check_ok(c);
        check_near_named("embedding", embedding,
                         check_golden_tensor(c, "sam_tiny_out", "embedding"), 1e-4f, 2e-5f);
        for (int i = 0; i < CASES; i++) {
            mcs_sam_masks y = run_case(c, m, embedding, i);
            check_ok(c);
            check_near_named(prompt_cases[i].name, y.logits,
                             golden(c, prompt_cases[i].name, "logits"), 1e-4f, 1e-4f);
            check_near_named(prompt_cases[i].name, y.iou, golden(c, prompt_cases[i].name, "iou"),
                             1e-4f, 1e-4f);
        }
        mcs_ctx_free(c);
    }
    mcs_sam_free(m);
}

/* ---- Gradients ---- */

static mcs_tensor *weighted(mcs_ctx *c, const mcs_tensor *y, int64_t seed)
{
    return mcs_sum(c, mcs_mul(c, y, wave(c, seed, 1, y->ndim, y->shape)));
}

static void gradients_equal_original(void **state)
{
    (void)state;
    mcs_sam *m = load("sam_tiny");
    mcs_params *p = mcs_sam_params(m);
    assert_int_equal(mcs_params_train(p, "", true), MCS_OK);
    mcs_ctx *c = check_ctx();
    mcs_tensor *embedding = encode(c, m), *loss = mcs_scalar(c, 0);
    for (int i = 0; i < CASES; i++) {
        mcs_sam_masks y = run_case(c, m, embedding, i);
        check_ok(c);
        loss = mcs_add(c, loss, weighted(c, y.logits, i));
        loss = mcs_add(c, loss, weighted(c, y.iou, 50 + i));
    }
    check_ok(c);
    assert_int_equal(mcs_backward(c, loss, NULL), MCS_OK);
    int compared = 0;
    for (int64_t i = 0; i < mcs_params_count(p); i++) {
        mcs_param_entry entry = mcs_params_at(p, i);
        const char *file =
            strncmp(entry.name, "image_encoder", 13) ? "sam_tiny_grad2" : "sam_tiny_grad1";
        mcs_tensor *expected = check_golden_tensor(c, file, entry.name);
        assert_true(entry.buffer || expected);
        if (!expected)
            continue;
        mcs_tensor *g = mcs_grad(c, entry.tensor);
        check_near_scaled(entry.name, g ? g : mcs_zeros(c, expected->ndim, expected->shape),
                          expected, 1e-4f, 2e-5f);
        compared++;
    }
    assert_int_equal(compared, mcs_params_count(p) - 1);
    mcs_ctx_free(c);
    mcs_sam_free(m);
}

/* ---- Frames ---- */

static void frames_equal_original(void **state)
{
    (void)state;
    const int width = 29, height = 17;
    mcs_sam *m = load("sam_tiny");
    mcs_ctx *c = check_ctx();
    int w, h;
    mcs_sam_scaled_size(m, width, height, &w, &h);
    assert_int_equal(w, 24);
    assert_int_equal(h, 14);
    mcs_tensor *rgb = check_golden_tensor(c, "sam_tiny_out", "frame.rgb");
    mcs_tensor *image = check_golden_tensor(c, "sam_tiny_out", "frame.image");
    uint8_t bytes[17 * 29 * 3];
    for (int i = 0; i < 17 * 29 * 3; i++)
        bytes[i] = rgb->dtype == MCS_U8    ? mcs_u8(rgb)[i]
                   : rgb->dtype == MCS_I64 ? (uint8_t)mcs_i64(rgb)[i]
                                           : (uint8_t)mcs_f32(rgb)[i];
    check_near(mcs_sam_image(c, m, bytes, width, height), image, 1e-6f, 1e-6f);

    mcs_tensor *xy = check_golden_tensor(c, "sam_tiny_out", "frame.xy");
    double wide[80];
    float out[80];
    for (int i = 0; i < 80; i++)
        wide[i] = (double)mcs_f32(xy)[i];
    mcs_sam_coords(m, width, height, 40, wide, out, MCS_SAM_PREDICT);
    assert_memory_equal(out, check_golden_tensor(c, "sam_tiny_out", "frame.predict")->data,
                        sizeof out);
    mcs_sam_coords(m, width, height, 40, wide, out, MCS_SAM_PREDICT_TORCH);
    assert_memory_equal(out, check_golden_tensor(c, "sam_tiny_out", "frame.torch")->data,
                        sizeof out);

    mcs_tensor *masks =
        mcs_sam_resize(c, m, mcs_rows(c, golden(c, "box", "logits"), 0, 1), width, height);
    check_ok(c);
    check_near(masks, check_golden_tensor(c, "sam_tiny_out", "frame.masks"), 1e-5f, 1e-5f);
    mcs_tensor *binary = mcs_sam_threshold(c, masks);
    assert_int_equal(binary->dtype, MCS_U8);
    for (int64_t i = 0; i < mcs_numel(binary); i++)
        assert_int_equal(mcs_u8(binary)[i], mcs_f32(masks)[i] > 0.0f);
    mcs_ctx_free(c);
    mcs_sam_free(m);
}

/* ---- Memory, threads, refusals ---- */

static void prompts_do_not_pile_up(void **state)
{
    (void)state;
    enum { MANY = 24 };
    mcs_sam *m = load("sam_tiny");
    size_t peak[2];
    for (int k = 0; k < 2; k++) {
        mcs_ctx *c = check_ctx();
        mcs_set_grad(c, false);
        float boxes[4 * MANY];
        for (int i = 0; i < 4 * MANY; i++)
            boxes[i] = (float)(i * 7 % 24);
        mcs_tensor *f = mcs_rows(c, encode(c, m), 0, 1);
        mcs_sam_masks y = mcs_sam_decode(
            c, m, f, &(mcs_sam_prompts){ .count = k ? MANY : 1, .boxes = boxes }, false);
        check_ok(c);
        assert_int_equal(y.logits->shape[0], k ? MANY : 1);
        peak[k] = mcs_ctx_peak(c);
        mcs_ctx_free(c);
    }
    /* per prompt: its row, once more concatenated, once more cut out */
    assert_true(peak[1] < peak[0] + (MANY + 1) * 4 * (24 * 24 * sizeof(float)));
    mcs_sam_free(m);
}

static void threads_do_not_change_bits(void **state)
{
    (void)state;
    mcs_sam *m = load("sam_tiny");
    mcs_ctx *c = check_ctx(), *one = mcs_ctx_new(NULL);
    mcs_set_grad(c, false);
    mcs_tensor *a = encode(c, m), *b = encode(one, m);
    check_near(a, b, 0, 0);
    check_near(run_case(c, m, a, 1).logits, run_case(one, m, b, 1).logits, 0, 0);
    mcs_ctx_free(one);
    mcs_ctx_free(c);
    mcs_sam_free(m);
}

/* Whatever the limit, the result is whole or there is none. */
static void every_memory_limit_is_survived(void **state)
{
    (void)state;
    mcs_sam *m = load("sam_tiny");
    int failures = 0, successes = 0;
    for (size_t limit = 4096; successes < 2; limit += limit / 8) {
        mcs_ctx *c = mcs_ctx_new(&(mcs_ctx_opts){ .bytes_max = limit, .grad = limit & 1 });
        assert_non_null(c);
        mcs_tensor *x = mcs_new(c, 4, MCS_SHAPE(1, 3, 24, 24));
        for (int64_t i = 0; x && i < mcs_numel(x); i++)
            mcs_f32(x)[i] = (float)(i % 7);
        float box[4] = { 1, 2, 20, 22 };
        mcs_sam_masks y = mcs_sam_decode(c, m, mcs_sam_encode(c, m, x),
                                         &(mcs_sam_prompts){ .count = 1, .boxes = box }, false);
        mcs_tensor *full = mcs_sam_resize(c, m, y.logits, 29, 17);
        if (full)
            successes++;
        else
            failures++;
        assert_int_equal(mcs_ctx_status(c), full ? MCS_OK : MCS_ENOMEM);
        mcs_ctx_free(c);
        assert_true(limit < (size_t)1 << 30);
    }
    assert_true(failures > 20);
    mcs_sam_free(m);
}

static void refusals(void **state)
{
    (void)state;
    mcs_sam *m = load("sam_tiny");
    mcs_ctx *c = check_ctx();
    check_fails(c, mcs_sam_encode(c, m, mcs_zeros(c, 4, MCS_SHAPE(1, 3, 24, 32))), MCS_ESHAPE,
                "(B, 3, 24, 24)");
    assert_null(mcs_sam_encode(c, m, NULL));
    const int64_t fit[4] = { 1, 16, 6, 6 };
    float box[8] = { 1, 2, 3, 4, 5, 6, 7, 8 }, xy[2] = { 1, 2 };
    int label = 2;
    mcs_sam_prompts p = { .count = 1, .boxes = box };
    check_fails(c, mcs_sam_decode(c, m, mcs_zeros(c, 4, MCS_SHAPE(1, 16, 6, 5)), &p, false).logits,
                MCS_ESHAPE, "embedding is (1, 16, 6, 5)");
    p.count = 0;
    check_fails(c, mcs_sam_decode(c, m, mcs_zeros(c, 4, fit), &p, false).logits, MCS_EINVAL,
                "0 prompts");
    p.count = 2;
    p.mask = mcs_zeros(c, 4, MCS_SHAPE(1, 1, 24, 24));
    check_fails(c, mcs_sam_decode(c, m, mcs_zeros(c, 4, fit), &p, false).logits, MCS_ESHAPE,
                "mask prompt is (1, 1, 24, 24), expected (2,");
    p = (mcs_sam_prompts){ .count = 1, .points = 1, .xy = xy, .labels = &label };
    check_fails(c, mcs_sam_decode(c, m, mcs_zeros(c, 4, fit), &p, true).iou, MCS_EINVAL,
                "labels 1");
    label = 1;
    xy[1] = 0.0f / box[0] * 0 + (float)(1e300 * 1e300);
    check_fails(c, mcs_sam_decode(c, m, mcs_zeros(c, 4, fit), &p, true).iou, MCS_EINVAL, "finite");
    p.xy = NULL;
    check_fails(c, mcs_sam_decode(c, m, mcs_zeros(c, 4, fit), &p, true).iou, MCS_EINVAL,
                "coordinates and labels");
    check_fails(c, mcs_sam_image(c, m, (const uint8_t *)"", 0, 3), MCS_EINVAL, "0 x 3");
    check_fails(c, mcs_sam_resize(c, m, mcs_zeros(c, 4, fit), 0, 5), MCS_ESHAPE, "0 x 5");
    assert_null(mcs_sam_resize(c, m, NULL, 3, 3));
    assert_null(mcs_sam_threshold(c, NULL));
    check_fails(c, mcs_sam_encode(c, NULL, mcs_zeros(c, 4, fit)), MCS_EINVAL, "model is NULL");
    check_fails(c, mcs_sam_decode(c, NULL, mcs_zeros(c, 4, fit), &p, false).iou, MCS_EINVAL,
                "model is NULL");
    check_fails(c, mcs_sam_image(c, NULL, (const uint8_t *)"", 1, 1), MCS_EINVAL, "model is NULL");
    mcs_ctx_free(c);

    mcs_sam_free(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(outputs_equal_original),
        cmocka_unit_test(gradients_equal_original),
        cmocka_unit_test(frames_equal_original),
        cmocka_unit_test(prompts_do_not_pile_up),
        cmocka_unit_test(threads_do_not_change_bits),
        cmocka_unit_test(every_memory_limit_is_survived),
        cmocka_unit_test(refusals),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
