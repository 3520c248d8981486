/* test_medclip_sam_prompts.c - the composed system: negative texts, passes of refinement, points on
 * the background, holes of the coarse mask. */
#include "cam/components.h"
#include "models/medclip_sam_internal.h"
#include "tests/zeroshot_models.h"

static const char *const others[] = { "ct image of the left lung nodule", "a nodule" };

enum { GRID = 6 }; /* of the model; a picture of as many pixels shows the map as it is */

/* The map of 6 x 6 and the score of one query. */
static float map_of(const mcs_zeroshot_opts *o, const mcs_zeroshot_query *q, float map[GRID * GRID])
{
    mcs_ctx *c = new_ctx();
    mcs_image *im = noise_image(GRID, GRID, 3);
    mcs_zeroshot_result *r = mcs_medclip_sam_run(c, model, im, o, 1, q);
    check_ok(c);
    memcpy(map, r->saliency, GRID * GRID * sizeof *map);
    float score = r->clip_score;
    mcs_zeroshot_results_free(r, 1);
    mcs_image_free(im);
    mcs_ctx_free(c);
    return score;
}

static mcs_zeroshot_query against(const char *const *negatives, int count)
{
    mcs_zeroshot_query q = text_query(tumor, 1);
    q.negatives = negatives;
    q.negative_count = count;
    return q;
}

static void same_map(const float *a, const float *b, float tolerance)
{
    for (int i = 0; i < GRID * GRID; i++)
        if (!(fabsf(a[i] - b[i]) <= tolerance))
            fail_msg("cell %d: %g and %g", i, (double)a[i], (double)b[i]);
}

/* Explained is one vector, text - weight * mean of the negatives; the score is the text's own. */
static void test_negative_embedding(void **state)
{
    (void)state;
    static const char *const cams[] = { "relevance", "gscorecam", "scan", "gscorecam*relevance" };
    mcs_ctx *c = new_ctx();
    mcs_tensor *a = mcs_medclip_sam_text(c, model, tumor, 1);
    mcs_tensor *b = mcs_mean_dim(c, mcs_medclip_sam_text(c, model, others, 2), 0, true);
    mcs_tensor *row = mcs_sub(c, a, mcs_mul(c, b, mcs_scalar(c, 0.7f)));
    check_ok(c);
    for (int i = 0; i < 4; i++) {
        float map[GRID * GRID], expected[GRID * GRID], alone[GRID * GRID];
        mcs_zeroshot_opts o = options(MCS_PRESET_PAPER);
        assert_int_equal(mcs_zeroshot_set_cam(&o, cams[i], NULL), MCS_OK);
        o.negative_weight = 0.7f;
        mcs_zeroshot_query q = against(others, 2), plain = text_query(tumor, 1), vector = plain;
        vector.embedding = row;
        float score = map_of(&o, &q, map);
        map_of(&o, &vector, expected);
        same_map(map, expected, 1e-5f);
        assert_true(fabsf(map_of(&o, &plain, alone) - score) < 1e-6f);
        assert_memory_not_equal(map, alone, sizeof map);
        o.negative_weight = 0;
        map_of(&o, &q, map);
        same_map(map, alone, 1e-5f);
    }
    mcs_ctx_free(c);
}

/* relu(A - w (B + C) / 2), scaled to [0,1]. */
static void test_negative_map(void **state)
{
    (void)state;
    float a[GRID * GRID], b[GRID * GRID], d[GRID * GRID], map[GRID * GRID], top = 0, low = 9;
    mcs_zeroshot_opts o = options(MCS_PRESET_PAPER);
    assert_int_equal(mcs_zeroshot_set_cam(&o, "gscorecam*relevance", NULL), MCS_OK);
    mcs_zeroshot_query q = text_query(tumor, 1);
    map_of(&o, &q, a);
    q = text_query(&others[0], 1);
    map_of(&o, &q, b);
    q = text_query(&others[1], 1);
    map_of(&o, &q, d);
    for (int i = 0; i < GRID * GRID; i++) {
        a[i] = fmaxf(a[i] - 0.5f * (b[i] + d[i]) / 2, 0);
        top = fmaxf(top, a[i]);
        low = fminf(low, a[i]);
    }
    assert_true(top > 0);
    for (int i = 0; i < GRID * GRID; i++)
        a[i] = (a[i] - low) / (top - low);
    q = against(others, 2);
    o.negative = MCS_NEGATIVE_MAP;
    o.negative_weight = 0.5f;
    map_of(&o, &q, map);
    same_map(map, a, 1e-4f);
    o.check_prompt = true; /* its map does not get mixed up with the negatives' */
    map_of(&o, &q, map);
    same_map(map, a, 1e-4f);

    q = against(tumor, 1); /* less itself: nothing is left */
    o.negative_weight = 1;
    for (int how = 0; how < 2; how++) {
        o.negative = how ? MCS_NEGATIVE_MAP : MCS_NEGATIVE_EMBEDDING;
        o.cams[0] = MCS_CAM_RELEVANCE;
        o.cam_count = 1;
        map_of(&o, &q, map);
        for (int i = 0; i < GRID * GRID; i++)
            assert_true(map[i] == 0);
    }
}

/* The difference for the relevance factor only. */
static void test_negative_relevance(void **state)
{
    (void)state;
    float one[GRID * GRID], two[GRID * GRID], map[GRID * GRID], top = 0, low = 9;
    mcs_zeroshot_opts o = options(MCS_PRESET_PAPER);
    mcs_zeroshot_query q = against(lung, 1), plain = text_query(tumor, 1);
    o.cams[0] = MCS_CAM_SCAN;
    map_of(&o, &plain, one);
    o.cams[0] = MCS_CAM_RELEVANCE;
    map_of(&o, &q, two);
    for (int i = 0; i < GRID * GRID; i++) {
        one[i] *= two[i];
        top = fmaxf(top, one[i]);
        low = fminf(low, one[i]);
    }
    for (int i = 0; i < GRID * GRID; i++)
        one[i] = (one[i] - low) / (top - low);
    assert_int_equal(mcs_zeroshot_set_cam(&o, "scan*relevance", NULL), MCS_OK);
    o.negative = MCS_NEGATIVE_RELEVANCE;
    map_of(&o, &q, map);
    same_map(map, one, 1e-4f);
}

static void test_refusals(void **state)
{
    (void)state;
    static const char *const blank[] = { "" };
    mcs_zeroshot_opts o = options(MCS_PRESET_PAPER);
    mcs_zeroshot_query q = against(blank, 1);
    refused(&o, &q, MCS_EINVAL, "empty");
    q = against(lung, 1);
    o.negative = MCS_NEGATIVE_RELEVANCE;
    refused(&o, &q, MCS_EINVAL, "relevance map alone");
    o = options(MCS_PRESET_PAPER);
    o.negative_weight = -1;
    refused(&o, &q, MCS_EINVAL, "negative_weight");
    o = options(MCS_PRESET_PAPER);
    o.refine = 11;
    refused(&o, &q, MCS_EINVAL, "refine");
    o = options(MCS_PRESET_PAPER);
    o.fill_holes = -1;
    refused(&o, &q, MCS_EINVAL, "fill_holes");
    o = options(MCS_PRESET_PAPER);
    o.background_points = 5000;
    refused(&o, &q, MCS_EINVAL, "background_points");
}

/* Each pass by hand: the best mask's logits go back, the single mask comes out. */
static void test_refine(void **state)
{
    (void)state;
    mcs_ctx *c = new_ctx();
    mcs_image *im = noise_image(50, 40, 3);
    const mcs_zeroshot_box box = { 8, 6, 33, 30 };
    const double corners[4] = { 8, 6, 33, 30 };
    mcs_zeroshot_query q = { .boxes = &box, .box_count = 1 };
    float xy[4];
    const mcs_sam *sam = model->sam;
    mcs_sam_coords(sam, 50, 40, 2, corners, xy, MCS_SAM_PREDICT);
    mcs_tensor *f = mcs_sam_encode(c, sam, mcs_sam_image(c, sam, im->data, 50, 40));
    mcs_sam_prompts p = { .count = 1, .boxes = xy };
    mcs_sam_masks m = mcs_sam_decode(c, sam, f, &p, true);
    int best = 0;
    for (int i = 1; i < 3; i++)
        best = mcs_f32(m.iou)[i] > mcs_f32(m.iou)[best] ? i : best;
    mcs_tensor *low = mcs_slice(c, m.logits, 1, best, best + 1);
    float before = mcs_f32(m.iou)[best];
    for (int pass = 0; pass < 3; pass++) {
        mcs_zeroshot_opts o = options(MCS_PRESET_PAPER);
        o.multimask = true;
        o.refine = pass;
        mcs_zeroshot_result *r = mcs_medclip_sam_run(c, model, im, &o, 1, &q);
        check_ok(c);
        mcs_tensor *expected = mcs_sam_threshold(c, mcs_sam_resize(c, sam, low, 50, 40));
        check_ok(c);
        assert_true(fabsf(r->iou_pred[0] - before) < 1e-6f);
        assert_memory_equal(r->mask, mcs_u8(expected), 2000);
        mcs_zeroshot_results_free(r, 1);
        p.mask = low;
        m = mcs_sam_decode(c, sam, f, &p, false);
        low = m.logits;
        before = mcs_f32(m.iou)[0];
    }
    mcs_image_free(im);
    mcs_ctx_free(c);
}

static int64_t coarse_area(mcs_ctx *c, const mcs_image *im, const mcs_zeroshot_opts *o,
                           const mcs_zeroshot_query *q)
{
    mcs_zeroshot_result *r = mcs_medclip_sam_run(c, model, im, o, 1, q);
    check_ok(c);
    int64_t area = r->coarse_area;
    mcs_zeroshot_results_free(r, 1);
    return area;
}

static void test_background_points_and_holes(void **state)
{
    (void)state;
    mcs_ctx *c = new_ctx();
    mcs_image *im = noise_image(45, 52, 3);
    mcs_zeroshot_query q = text_query(tumor, 1);
    mcs_zeroshot_opts o = options(MCS_PRESET_PAPER);
    o.coarse = MCS_COARSE_OTSU;
    o.prompts = MCS_SAM_BOTH;
    o.background_points = 7;
    o.num_contours = 0;
    mcs_zeroshot_result *r = mcs_medclip_sam_run(c, model, im, &o, 1, &q);
    check_ok(c);
    assert_int_equal(r->point_count, 17);
    for (int k = 0; k < 17; k++) {
        const mcs_zeroshot_point *p = &r->points[k];
        assert_int_equal(p->label, k < 10);
        assert_int_equal(r->coarse[(int)p->y * 45 + (int)p->x], k < 10);
    }
    mcs_zeroshot_results_free(r, 1);
    o.overlay_saliency = true; /* grey noise: a mask with holes */
    int64_t area = coarse_area(c, im, &o, &q);
    o.fill_holes = 2;
    int64_t some = coarse_area(c, im, &o, &q);
    o.fill_holes = 1000000;
    assert_true(some > area && coarse_area(c, im, &o, &q) >= some);
    mcs_image_free(im);
    mcs_ctx_free(c);
}

static int64_t components(const uint8_t *mask, int w, int h)
{
    mcs_components c;
    assert_int_equal(mcs_components_find(mask, w, h, false, NULL, &c, NULL), MCS_OK);
    int64_t count = c.count;
    mcs_components_free(&c);
    return count;
}

/* SAM's speckled mask is left with as many pieces as the coarse one; a box's mask as it is. */
static void test_match_contours(void **state)
{
    (void)state;
    mcs_ctx *c = new_ctx();
    mcs_image *im = noise_image(64, 64, 3);
    mcs_zeroshot_query q = text_query(tumor, 1);
    mcs_zeroshot_opts o = options(MCS_PRESET_PAPER);
    o.coarse = MCS_COARSE_OTSU;
    for (int keep = 1; keep <= 2; keep++) {
        o.num_contours = keep;
        o.match_contours = false;
        mcs_zeroshot_result *all = mcs_medclip_sam_run(c, model, im, &o, 1, &q);
        check_ok(c);
        int64_t coarse = components(all->coarse, 64, 64), pieces = components(all->mask, 64, 64);
        assert_true(coarse <= keep && pieces > coarse);
        o.match_contours = true;
        mcs_zeroshot_result *r = mcs_medclip_sam_run(c, model, im, &o, 1, &q);
        check_ok(c);
        assert_int_equal(components(r->mask, 64, 64), coarse);
        assert_true(r->mask_area < all->mask_area && r->mask_area > 0);
        mcs_zeroshot_results_free(all, 1);
        mcs_zeroshot_results_free(r, 1);
    }
    const mcs_zeroshot_box box = { 8, 6, 33, 30 };
    q = (mcs_zeroshot_query){ .boxes = &box, .box_count = 1 };
    mcs_zeroshot_result *r = mcs_medclip_sam_run(c, model, im, &o, 1, &q);
    check_ok(c);
    assert_true(components(r->mask, 64, 64) > 1);
    mcs_zeroshot_results_free(r, 1);
    mcs_image_free(im);
    mcs_ctx_free(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_negative_embedding),
        cmocka_unit_test(test_negative_map),
        cmocka_unit_test(test_negative_relevance),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_refine),
        cmocka_unit_test(test_background_points_and_holes),
        cmocka_unit_test(test_match_contours),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
