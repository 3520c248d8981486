/* test_medclip_sam.c - the composed system on tiny untrained models: what is promised whatever the
 * weights find. */
#include "tests/zeroshot_models.h"

static const char *const both[] = { "breast tumor", "ct image of the left lung nodule" };

static void check_result(const mcs_zeroshot_result *r, int w, int h)
{
    assert_int_equal(r->width, w);
    assert_int_equal(r->height, h);
    int64_t coarse = 0, mask = 0;
    for (int64_t i = 0; i < (int64_t)w * h; i++) {
        assert_true(r->saliency[i] >= 0 && r->saliency[i] <= 1);
        assert_true(r->coarse[i] <= 1 && r->mask[i] <= 1);
        coarse += r->coarse[i];
        mask += r->mask[i];
    }
    assert_int_equal(coarse, r->coarse_area);
    assert_int_equal(mask, r->mask_area);
    assert_true(r->box_count >= 1);
    for (int k = 0; k < r->box_count; k++) {
        const mcs_zeroshot_box *b = &r->boxes[k];
        assert_true(b->x0 >= 0 && b->y0 >= 0 && b->x1 <= (float)w && b->y1 <= (float)h);
        assert_true(isfinite(r->iou_pred[k]) && r->stability[k] >= 0 && r->stability[k] <= 1);
    }
    assert_true(fabsf(r->clip_score) <= 1.0001f);
}

static void test_text_to_mask(void **state)
{
    (void)state;
    mcs_ctx *c = new_ctx();
    mcs_image *im = noise_image(61, 40, 3);
    mcs_zeroshot_query q = text_query(tumor, 1);
    for (int preset = 0; preset < 3; preset++)
        for (int cam = 0; cam < 12; cam++)
            for (int fit = 0; fit < 3; fit++) {
                mcs_zeroshot_opts o = options((mcs_zeroshot_preset)preset);
                if (cam < 11)
                    o.cams[0] = (mcs_zeroshot_cam)cam;
                else
                    assert_int_equal(mcs_zeroshot_set_cam(&o, "gscorecam*relevance*scan", NULL), MCS_OK);
                o.fit = (mcs_zeroshot_fit)fit;
                mcs_zeroshot_result *r = mcs_medclip_sam_run(c, model, im, &o, 1, &q);
                check_ok(c);
                check_result(r, 61, 40);
                mcs_zeroshot_results_free(r, 1);
                mcs_ctx_reset(c);
            }
    mcs_image_free(im);
    mcs_ctx_free(c);
}

/* Masked pictures are shared, texts are not: a query's result does not depend on its company, but
 * for the last bits of products over other batches. */
static int64_t differing(const uint8_t *a, const uint8_t *b, int64_t n)
{
    int64_t count = 0;
    for (int64_t i = 0; i < n; i++)
        count += a[i] != b[i];
    return count;
}

static void test_queries_together_equal_alone(void **state)
{
    (void)state;
    mcs_ctx *c = new_ctx();
    mcs_image *im = noise_image(50, 70, 1);
    mcs_zeroshot_opts o = options(MCS_PRESET_PAPER);
    o.check_prompt = true;
    mcs_zeroshot_query q[3] = { text_query(tumor, 1), text_query(lung, 1),
                                { .boxes = &(mcs_zeroshot_box){ 5, 6, 30, 40 }, .box_count = 1 } };
    mcs_zeroshot_result *all = mcs_medclip_sam_run(c, model, im, &o, 3, q);
    check_ok(c);
    for (int i = 0; i < 3; i++) {
        mcs_zeroshot_result *one = mcs_medclip_sam_run(c, model, im, &o, 1, &q[i]);
        check_ok(c);
        assert_true(differing(one->mask, all[i].mask, 3500) <= (i < 2 ? 35 : 0));
        assert_int_equal(one->saliency == NULL, i == 2);
        if (i < 2) {
            for (int p = 0; p < 3500; p++)
                assert_true(fabsf(one->saliency[p] - all[i].saliency[p]) < 1e-4f);
            assert_true(fabsf(one->nonsense_corr) <= 1.0001f);
        }
        mcs_zeroshot_results_free(one, 1);
    }
    mcs_zeroshot_results_free(all, 3);
    mcs_image_free(im);
    mcs_ctx_free(c);
}

static void test_threads_bitwise(void **state)
{
    (void)state;
    mcs_image *im = noise_image(64, 64, 3);
    mcs_zeroshot_opts o = options(MCS_PRESET_PAPER);
    mcs_zeroshot_query q = text_query(both, 2);
    mcs_zeroshot_result *first = NULL;
    for (int threads = 1; threads <= 4; threads *= 2) {
        mcs_pool *p = mcs_pool_new(threads);
        mcs_ctx *c = mcs_ctx_new(&(mcs_ctx_opts){ .pool = p });
        mcs_zeroshot_result *r = mcs_medclip_sam_run(c, model, im, &o, 1, &q);
        check_ok(c);
        if (first) {
            assert_memory_equal(r->saliency, first->saliency, 4096 * sizeof(float));
            assert_memory_equal(r->mask, first->mask, 4096);
            assert_memory_equal(r->iou_pred, first->iou_pred, sizeof(float));
        }
        if (threads == 1)
            first = r;
        else
            mcs_zeroshot_results_free(r, 1);
        mcs_ctx_free(c);
        mcs_pool_free(p);
    }
    mcs_zeroshot_results_free(first, 1);
    mcs_image_free(im);
}

static void test_crop_leaves_borders_empty(void **state)
{
    (void)state;
    mcs_ctx *c = new_ctx();
    mcs_image *im = noise_image(120, 40, 3);
    mcs_zeroshot_opts o = options(MCS_PRESET_PAPER);
    mcs_zeroshot_query q = text_query(tumor, 1);
    o.fit = MCS_ZEROSHOT_CROP;
    mcs_zeroshot_result *r = mcs_medclip_sam_run(c, model, im, &o, 1, &q);
    check_ok(c);
    for (int y = 0; y < 40; y++)
        for (int x = 0; x < 39; x++)
            assert_true(r->saliency[y * 120 + x] == 0 && r->saliency[y * 120 + 119 - x] == 0);
    mcs_zeroshot_results_free(r, 1);
    mcs_image_free(im);
    mcs_ctx_free(c);
}

static void test_ensembles(void **state)
{
    (void)state;
    mcs_ctx *c = new_ctx();
    mcs_image *im = noise_image(40, 40, 3);
    static const char *const twice[] = { "breast tumor", "breast tumor" };
    for (int how = 0; how < 2; how++) {
        mcs_zeroshot_opts o = options(MCS_PRESET_PAPER);
        o.ensemble = (mcs_zeroshot_ensemble)how;
        mcs_zeroshot_query q[2] = { text_query(tumor, 1), text_query(twice, 2) };
        mcs_zeroshot_result *r = mcs_medclip_sam_run(c, model, im, &o, 2, q);
        check_ok(c);
        for (int i = 0; i < 1600; i++)
            assert_true(fabsf(r[0].saliency[i] - r[1].saliency[i]) < 1e-4f);
        assert_true(fabsf(r[0].clip_score - r[1].clip_score) < 1e-5f);
        mcs_zeroshot_results_free(r, 2);
        mcs_ctx_reset(c);
    }
    mcs_image_free(im);
    mcs_ctx_free(c);
}

static void test_prompts_and_contours(void **state)
{
    (void)state;
    mcs_ctx *c = new_ctx();
    mcs_image *im = noise_image(45, 52, 3);
    mcs_zeroshot_query q = text_query(tumor, 1);
    for (int prompts = 0; prompts < 3; prompts++)
        for (int multi = 0; multi < 2; multi++) {
            mcs_zeroshot_opts o = options(MCS_PRESET_PAPER);
            o.coarse = MCS_COARSE_OTSU;
            o.num_contours = 0;
            o.multi_contour = multi;
            o.multimask = multi;
            o.prompts = (mcs_zeroshot_prompts)prompts;
            mcs_zeroshot_result *r = mcs_medclip_sam_run(c, model, im, &o, 1, &q);
            check_ok(c);
            assert_int_equal(r->box_count > 0, prompts != MCS_SAM_POINTS);
            assert_int_equal(r->point_count, prompts == MCS_SAM_BOXES ? 0 : 10);
            for (int k = 0; k < r->point_count; k++)
                assert_int_equal(r->coarse[(int)r->points[k].y * 45 + (int)r->points[k].x], 1);
            mcs_zeroshot_results_free(r, 1);
            mcs_ctx_reset(c);
        }
    mcs_image_free(im);
    mcs_ctx_free(c);
}

/* Nothing is above the threshold 1: the rule for empty masks decides. */
static void test_empty_coarse_mask(void **state)
{
    (void)state;
    mcs_ctx *c = new_ctx();
    mcs_image *im = noise_image(30, 20, 3);
    mcs_zeroshot_query q = text_query(tumor, 1);
    for (int empty = 0; empty < 2; empty++) {
        mcs_zeroshot_opts o = options(MCS_PRESET_PAPER);
        o.coarse = MCS_COARSE_THRESHOLD;
        o.threshold = 1;
        o.empty = (mcs_zeroshot_empty)empty;
        mcs_zeroshot_result *r = mcs_medclip_sam_run(c, model, im, &o, 1, &q);
        check_ok(c);
        assert_true(r->coarse_empty);
        assert_int_equal(r->box_count, empty == MCS_EMPTY_WHOLE ? 1 : 0);
        if (empty == MCS_EMPTY_WHOLE)
            assert_true(r->boxes[0].x0 == 0 && r->boxes[0].x1 == 30 && r->boxes[0].y1 == 20);
        else
            assert_int_equal(r->mask_area, 0);
        mcs_zeroshot_results_free(r, 1);
        mcs_ctx_reset(c);
    }
    mcs_image_free(im);
    mcs_ctx_free(c);
}

static void test_odd_sizes(void **state)
{
    (void)state;
    mcs_ctx *c = new_ctx();
    const int sizes[][2] = { { 1, 1 }, { 1, 90 }, { 200, 1 }, { 3, 2 } };
    mcs_zeroshot_query q = text_query(tumor, 1);
    for (int i = 0; i < 4; i++)
        for (int preset = 0; preset < 2; preset++) {
            mcs_image *im = noise_image(sizes[i][0], sizes[i][1], 1);
            mcs_zeroshot_opts o = options((mcs_zeroshot_preset)preset);
            mcs_zeroshot_result *r = mcs_medclip_sam_run(c, model, im, &o, 1, &q);
            check_ok(c);
            check_result(r, sizes[i][0], sizes[i][1]);
            mcs_zeroshot_results_free(r, 1);
            mcs_image_free(im);
            mcs_ctx_reset(c);
        }
    mcs_ctx_free(c);
}

static void test_refusals(void **state)
{
    (void)state;
    mcs_zeroshot_opts o = options(MCS_PRESET_PAPER);
    static const char *const blank[] = { " \t" };
    mcs_zeroshot_query q = text_query(blank, 1);
    refused(&o, &q, MCS_EINVAL, "empty");
    q = (mcs_zeroshot_query){ 0 };
    refused(&o, &q, MCS_EINVAL, "needs a text");
    q = (mcs_zeroshot_query){ .boxes = &(mcs_zeroshot_box){ 25, 0, 30, 5 }, .box_count = 1 };
    refused(&o, &q, MCS_EINVAL, "does not meet");
    q = (mcs_zeroshot_query){ .boxes = &(mcs_zeroshot_box){ 5, 5, 5, 9 }, .box_count = 1 };
    refused(&o, &q, MCS_EINVAL, "does not meet");
    q = text_query(tumor, 1);
    o.cam_layer = "visual.trunk.blocks.2.norm3";
    refused(&o, &q, MCS_ENOTFOUND, "visual.trunk.blocks.2.norm");
    o = options(MCS_PRESET_PAPER);
    o.topk = 0;
    refused(&o, &q, MCS_EINVAL, "topk");
    o = options(MCS_PRESET_PAPER);
    o.m2ib_layer = 2; /* the last of three */
    o.cams[0] = MCS_CAM_M2IB;
    refused(&o, &q, MCS_EINVAL, "m2ib_layer is 2");
    o.m2ib_lr = 0;
    refused(&o, &q, MCS_EINVAL, "m2ib_lr");
    o = options(MCS_PRESET_PAPER);
    o.rise_keep = 1;
    refused(&o, &q, MCS_EINVAL, "rise_keep");
}

static void test_cam_names(void **state)
{
    (void)state;
    mcs_zeroshot_opts o = options(MCS_PRESET_PAPER);
    assert_int_equal(mcs_zeroshot_set_cam(&o, "gradcam++*scan", NULL), MCS_OK);
    assert_int_equal(o.cam_count, 2);
    assert_int_equal(o.cams[0], MCS_CAM_GRADCAM_PLUSPLUS);
    assert_int_equal(o.cams[1], MCS_CAM_SCAN);
    assert_int_equal(mcs_zeroshot_set_cam(&o, "m2ib*rise*eigencam", NULL), MCS_OK);
    assert_true(o.cams[0] == MCS_CAM_M2IB && o.cams[1] == MCS_CAM_RISE &&
                o.cams[2] == MCS_CAM_EIGENCAM);
    static const char *const bad[] = { "", "gscore", "gscorecam*", "*scan", "scan*scan*scan*scan*scan" };
    for (int i = 0; i < 5; i++) {
        mcs_error e = { 0 };
        assert_int_equal(mcs_zeroshot_set_cam(&o, bad[i], &e), MCS_EINVAL);
        assert_non_null(strstr(e.message, "gscorecam*relevance"));
    }
}

static void test_load_refusals(void **state)
{
    (void)state;
    mcs_error e = { 0 };
    assert_null(mcs_medclip_sam_load(&(mcs_zeroshot_files){ .clip = "/nowhere/clip.bin" }, &e));
    assert_non_null(strstr(e.message, "/nowhere/clip.bin"));
    e = (mcs_error){ 0 };
    assert_null(mcs_medclip_sam_load(
        &(mcs_zeroshot_files){ .sam = sam_path, .sam_type = "vit_h" }, &e));
    assert_non_null(strstr(e.message, "vit_h"));
    e = (mcs_error){ 0 };
    assert_null(mcs_medclip_sam_load(&(mcs_zeroshot_files){ .clip = sam_path }, &e));
    assert_non_null(strstr(e.message, sam_path));
}

static void note_layer(const char *name, const mcs_tensor *x, void *arg)
{
    (void)x;
    *(int *)arg += strcmp(name, "visual.trunk.blocks.2.norm2") == 0;
}

static void test_info_and_layers(void **state)
{
    (void)state;
    mcs_zeroshot_info info = mcs_medclip_sam_info(model);
    assert_int_equal(info.clip_size, 48);
    assert_string_equal(info.cam_layer, "visual.trunk.blocks.2.norm2");
    assert_true(info.clip_weights > 0 && info.sam_weights > 0);
    mcs_ctx *c = new_ctx();
    int seen = 0;
    assert_int_equal(mcs_medclip_sam_layers(c, model, note_layer, &seen), MCS_OK);
    assert_int_equal(seen, 1);
    mcs_ctx_free(c);
}

/* Memory ends somewhere in each stage: an error, no leak, no crash. */
static void test_memory_limits(void **state)
{
    (void)state;
    mcs_image *im = noise_image(40, 30, 3);
    mcs_zeroshot_opts o = options(MCS_PRESET_PAPER);
    mcs_zeroshot_query q = text_query(tumor, 1);
    bool done = false;
    for (size_t limit = 1 << 16; !done; limit += limit / 3) {
        mcs_ctx *c = mcs_ctx_new(&(mcs_ctx_opts){ .bytes_max = limit });
        mcs_zeroshot_result *r = mcs_medclip_sam_run(c, model, im, &o, 1, &q);
        done = r != NULL;
        assert_int_equal(mcs_ctx_status(c), done ? MCS_OK : MCS_ENOMEM);
        mcs_zeroshot_results_free(r, 1);
        mcs_ctx_free(c);
    }
    mcs_image_free(im);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_text_to_mask),
        cmocka_unit_test(test_queries_together_equal_alone),
        cmocka_unit_test(test_threads_bitwise),
        cmocka_unit_test(test_crop_leaves_borders_empty),
        cmocka_unit_test(test_ensembles),
        cmocka_unit_test(test_prompts_and_contours),
        cmocka_unit_test(test_empty_coarse_mask),
        cmocka_unit_test(test_odd_sizes),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_cam_names),
        cmocka_unit_test(test_load_refusals),
        cmocka_unit_test(test_info_and_layers),
        cmocka_unit_test(test_memory_limits),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
