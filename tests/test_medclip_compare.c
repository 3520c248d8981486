/* Several saliency methods on one picture share what they can and find what each finds alone. */
#include "tests/check.h"
#include "tests/zeroshot_models.h"

static const char *const ways[] = {
    "scan*relevance", "gscorecam*relevance", "relevance", "gscorecam", "scorecam", "scan",
    "gradcam",        "gradcam++",           "layercam",  "xgradcam",  "m2ib",     "eigencam",
    "rise",           "gradcam*scan*rise",
};
enum { WAYS = sizeof ways / sizeof *ways, W = 41, H = 30 };

static void make_ways(mcs_zeroshot_opts *o)
{
    mcs_error e = { 0 };
    for (int k = 0; k < WAYS; k++) {
        o[k] = options(MCS_PRESET_PAPER);
        o[k].topk = 12; /* of 32 channels */
        o[k].coarse = MCS_COARSE_OTSU;
        if (mcs_zeroshot_set_cam(&o[k], ways[k], &e) != MCS_OK)
            fail_msg("%s", e.message);
    }
}

static void same(const mcs_zeroshot_result *a, const mcs_zeroshot_result *b, const char *way)
{
    /* masked pictures may have other neighbours in their batch */
    for (int i = 0; i < W * H && a->saliency; i++)
        if (fabsf(a->saliency[i] - b->saliency[i]) > 1e-4f)
            fail_msg("%s: pixel %d is %g, alone %g", way, i, (double)a->saliency[i],
                     (double)b->saliency[i]);
    assert_true((a->saliency == NULL) == (b->saliency == NULL));
    assert_int_equal(a->width, b->width);
    assert_int_equal(a->box_count, b->box_count);
    assert_true(fabsf(a->cam_max - b->cam_max) < 1e-4f);
    assert_true(isnan(a->clip_score) ? isnan(b->clip_score) : a->clip_score == b->clip_score);
    assert_memory_equal(a->mask, b->mask, W * H);
}

static void test_as_alone(void **state)
{
    (void)state;
    mcs_zeroshot_opts o[WAYS];
    make_ways(o);
    mcs_image *im = noise_image(W, H, 3);
    mcs_zeroshot_box box = { 4, 5, 20, 22 };
    const mcs_zeroshot_query q[] = { text_query(tumor, 1), { .boxes = &box, .box_count = 1 },
                                     text_query(lung, 1) };
    mcs_ctx *c = new_ctx();
    mcs_zeroshot_result *all = mcs_medclip_sam_compare(c, model, im, WAYS, o, 3, q);
    if (!all)
        fail_msg("%s", mcs_ctx_message(c));
    mcs_ctx_reset(c);
    for (int k = 0; k < WAYS; k++) {
        mcs_zeroshot_result *alone = mcs_medclip_sam_run(c, model, im, &o[k], 3, q);
        assert_non_null(alone);
        for (int i = 0; i < 3; i++)
            same(&all[3 * k + i], &alone[i], ways[k]);
        mcs_zeroshot_results_free(alone, 3);
        mcs_ctx_reset(c);
    }
    mcs_zeroshot_results_free(all, WAYS * 3);
    mcs_ctx_free(c);
    mcs_image_free(im);
}

/* Only the cams of the others count; what is wrong with one fails all. */
static void test_ways_differ_in_cams(void **state)
{
    (void)state;
    mcs_zeroshot_opts o[2] = { options(MCS_PRESET_PAPER), options(MCS_PRESET_PAPER) };
    mcs_image *im = noise_image(W, H, 3);
    const mcs_zeroshot_query q = text_query(tumor, 1);
    mcs_ctx *c = new_ctx();
    o[0].topk = o[1].topk = 5;
    o[1].coarse = MCS_COARSE_NONE;
    mcs_zeroshot_result *r = mcs_medclip_sam_compare(c, model, im, 2, o, 1, &q);
    assert_non_null(r);
    assert_memory_equal(r[0].saliency, r[1].saliency, W * H * sizeof(float));
    assert_memory_equal(r[0].coarse, r[1].coarse, W * H);
    mcs_zeroshot_results_free(r, 2);
    mcs_ctx_reset(c);
    o[1].cam_count = 0;
    assert_null(mcs_medclip_sam_compare(c, model, im, 2, o, 1, &q));
    assert_int_equal(mcs_ctx_status(c), MCS_EINVAL);
    mcs_ctx_reset(c);
    assert_null(mcs_medclip_sam_compare(c, model, im, 0, o, 1, &q));
    mcs_ctx_free(c);
    mcs_image_free(im);
}

static void test_memory_limits(void **state)
{
    (void)state;
    mcs_zeroshot_opts o[WAYS];
    make_ways(o);
    mcs_image *im = noise_image(W, H, 3);
    const mcs_zeroshot_query q = text_query(tumor, 1);
    bool done = false;
    for (size_t limit = 1 << 18; !done; limit += limit / 3) {
        mcs_ctx *c = mcs_ctx_new(&(mcs_ctx_opts){ .bytes_max = limit });
        mcs_zeroshot_result *r = mcs_medclip_sam_compare(c, model, im, WAYS, o, 1, &q);
        done = r != NULL;
        assert_int_equal(mcs_ctx_status(c), done ? MCS_OK : MCS_ENOMEM);
        mcs_zeroshot_results_free(r, WAYS);
        mcs_ctx_free(c);
    }
    mcs_image_free(im);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_as_alone),
                                        cmocka_unit_test(test_ways_differ_in_cams),
                                        cmocka_unit_test(test_memory_limits) };
    return cmocka_run_group_tests(tests, setup, teardown);
}
