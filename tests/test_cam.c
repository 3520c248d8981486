/* test_cam.c - class activation maps of a tiny vision transformer against PyTorch
 * (tests/golden/make_cam.py), reuse, batches, refusals. */
#include <math.h>
#include <string.h>
#include "cam/cam_internal.h"
#include "tests/cam_tiny.h"

static mcs_cam *open_layer(fixture *f, const char *layer)
{
    mcs_cam_model m = { tiny_features, &f->t, layer, GRID, GRID, 1 };
    mcs_cam *cam = mcs_cam_new(f->c, &m, f->image);
    check_ok(f->c);
    assert_int_equal(mcs_cam_channels(cam), DIM);
    return cam;
}

static void test_scored_maps(void **state)
{
    (void)state;
    const char *layers[2] = { "norm1", "norm2" };
    for (int i = 0; i < 2; i++) {
        fixture f = begin();
        char name[40];
        mcs_cam *cam = open_layer(&f, layers[i]);
        mcs_cam_opts o = { .top_k = TOPK, .scale = 20, .batch = 5 };
        snprintf(name, sizeof name, "%s.gscorecam.cls", layers[i]);
        compare(f.c, name, mcs_gscorecam(cam, f.text, &o, NULL));
        o.at = MCS_CAM_AT_OFFICIAL;
        snprintf(name, sizeof name, "%s.gscorecam.official", layers[i]);
        compare(f.c, name, mcs_gscorecam(cam, f.text, &o, NULL));
        snprintf(name, sizeof name, "%s.scorecam", layers[i]);
        compare(f.c, name, mcs_scorecam(cam, f.text, &o, NULL));
        mcs_ctx_free(f.c);
    }
}

/* With gradients that differ, "patch" and "official" choose alike. */
static void test_patch_gradient(void **state)
{
    (void)state;
    fixture f = begin();
    mcs_cam_opts o = { .at = MCS_CAM_AT_PATCH, .top_k = TOPK, .scale = 20 };
    compare(f.c, "norm1.gscorecam.official",
            mcs_gscorecam(open_layer(&f, "norm1"), f.text, &o, NULL));
    mcs_ctx_free(f.c);
}

static void test_gradient_maps(void **state)
{
    (void)state;
    fixture f = begin();
    mcs_cam *cam = open_layer(&f, "norm1");
    mcs_cam_opts o = { .at = MCS_CAM_AT_PATCH, .scale = 20 };
    float peak[TEXTS];
    compare(f.c, "norm1.gradcam", mcs_gradcam(cam, MCS_GRADCAM, f.text, &o, peak));
    assert_true(peak[0] > 0 && peak[1] > 0 && peak[2] > 0);
    compare(f.c, "norm1.gradcam++", mcs_gradcam(cam, MCS_GRADCAM_PLUSPLUS, f.text, &o, NULL));
    compare(f.c, "norm1.xgradcam", mcs_gradcam(cam, MCS_GRADCAM_X, f.text, &o, NULL));
    compare(f.c, "norm1.layercam", mcs_gradcam(cam, MCS_GRADCAM_LAYER, f.text, &o, NULL));
    mcs_ctx_free(f.c);
}

/* After the last attention only the class token has a gradient: the defect of the released code. */
static void test_gradient_vanishes_at_patches(void **state)
{
    (void)state;
    fixture f = begin();
    mcs_cam *cam = open_layer(&f, "norm2");
    float g[DIM * GRID * GRID], peak[TEXTS];
    assert_true(mcs_cam_gradient(cam, mcs_f32(f.text), MCS_CAM_AT_PATCH, g));
    for (int i = 0; i < DIM * GRID * GRID; i++)
        assert_true(g[i] == 0);
    mcs_cam_opts o = { .at = MCS_CAM_AT_PATCH };
    mcs_tensor *map = mcs_gradcam(cam, MCS_GRADCAM, f.text, &o, peak);
    assert_true(peak[0] == 0 && mcs_f32(map)[3] == 0);
    o.at = MCS_CAM_AT_CLS;
    o.scale = 20;
    compare(f.c, "norm2.gradcam.cls", mcs_gradcam(cam, MCS_GRADCAM, f.text, &o, NULL));
    mcs_ctx_free(f.c);
}

/* Masked pictures are embedded once for all texts and kept; batches do not change the maps. */
static void test_reuse(void **state)
{
    (void)state;
    fixture f = begin();
    mcs_cam *cam = open_layer(&f, "norm2");
    assert_int_equal(f.t.pictures, 1);
    mcs_cam_opts o = { .top_k = TOPK, .scale = 20, .batch = 3 };
    mcs_tensor *all = mcs_gscorecam(cam, f.text, &o, NULL);
    int pictures = f.t.pictures;
    assert_true(pictures > TOPK && pictures <= 1 + DIM);
    mcs_tensor *row = mcs_gscorecam(cam, mcs_rows(f.c, f.text, 1, 2), &o, NULL);
    assert_int_equal(f.t.pictures, pictures);
    check_near(row, mcs_rows(f.c, all, 1, 2), 0, 0);
    mcs_scorecam(cam, f.text, &o, NULL);
    assert_int_equal(f.t.pictures, 1 + DIM);

    for (o.batch = 1; o.batch <= 16; o.batch *= 4)
        check_near(mcs_gscorecam(open_layer(&f, "norm2"), f.text, &o, NULL), all, 1e-5f, 1e-5f);
    check_ok(f.c);
    mcs_ctx_free(f.c);
}

/* A picture whose score is NaN counts as one that was not scored. */
static void test_nan_score(void **state)
{
    (void)state;
    fixture f = begin();
    f.t.spoil = true;
    mcs_cam *cam = open_layer(&f, "norm2");
    mcs_cam_opts o = { .batch = DIM, .scale = 20 };
    mcs_tensor *map = mcs_scorecam(cam, f.text, &o, NULL);
    bool wanted[TEXTS * DIM];
    for (int i = 0; i < TEXTS * DIM; i++)
        wanted[i] = i % DIM != 1;
    check_ok(f.c);
    mcs_cam_check(cam, f.text, &o, &o);
    check_near(map, mcs_cam_scored(cam, f.text, wanted, &o, NULL), 0, 0);
    mcs_ctx_free(f.c);
}

/* A layer (1,C,h,w); grad setting and hooks of the context afterwards. */
static void test_convolution_layer(void **state)
{
    (void)state;
    fixture f = begin();
    mcs_set_grad(f.c, false);
    mcs_cam_model m = { tiny_features, &f.t, "patches", 0, 0, 0 };
    mcs_cam *cam = mcs_cam_new(f.c, &m, f.image);
    check_ok(f.c);
    assert_false(mcs_grad_enabled(f.c));
    assert_false(mcs_hooked(f.c, "patches"));
    float peak[TEXTS];
    mcs_tensor *maps = mcs_gscorecam(cam, f.text, NULL, peak);
    check_ok(f.c);
    assert_int_equal(maps->shape[1], GRID);
    assert_true(mcs_f32(maps)[0] >= 0 && mcs_f32(maps)[0] <= 1);
    assert_int_equal(mcs_cam_feature(cam)->shape[1], OUT);
    mcs_ctx_free(f.c);
}

/* Memory grows with the batch, not with the number of channels. */
static void test_memory(void **state)
{
    (void)state;
    size_t peak[2];
    for (int i = 0; i < 2; i++) {
        fixture f = begin();
        mcs_cam *cam = open_layer(&f, "norm2");
        mcs_cam_opts o = { .top_k = i ? DIM : 2, .batch = 2 };
        assert_non_null(mcs_gscorecam(cam, mcs_rows(f.c, f.text, 0, 1), &o, NULL));
        peak[i] = mcs_ctx_peak(f.c);
        mcs_ctx_free(f.c);
    }
    assert_int_equal(peak[0], peak[1]);
}

static void test_official_ties(void **state)
{
    (void)state;
    mcs_ctx *c = check_ctx();
    const mcs_tensor *cases = check_golden_tensor(c, "cam", "ties.case");
    const mcs_tensor *sets = check_golden_tensor(c, "cam", "ties.chosen");
    assert_non_null(sets);
    float v[768];
    bool chosen[768];
    int64_t scratch[2 * 768];
    for (int64_t k = 0; k < cases->shape[0]; k++) {
        const int64_t *n = mcs_i64(cases) + 3 * k, *set = mcs_i64(sets) + 768 * k;
        for (int64_t i = 0; i < n[0]; i++)
            v[i] = (float)(((uint32_t)i * 2654435761u >> 9) % 1009 % n[2]);
        mcs_cam_top(v, n[0], n[1], true, scratch, chosen);
        for (int64_t i = 0; i < n[0]; i++)
            assert_int_equal(chosen[i], set[i]);
    }
    memset(v, 0, sizeof v);
    mcs_cam_top(v, 768, 300, true, scratch, chosen);
    for (int i = 0; i < 768; i++)
        assert_int_equal(chosen[i], (i >= 385 && i <= 576) || (i >= 601 && i <= 612) || i >= 672);
    mcs_cam_top(v, 768, 300, false, scratch, chosen);
    assert_true(chosen[0] && chosen[299] && !chosen[300]);
    mcs_cam_top(v, 3, 3, true, scratch, chosen);
    assert_true(chosen[0] && chosen[1] && chosen[2]);
    mcs_ctx_free(c);
}

static void test_scale(void **state)
{
    (void)state;
    float map[4] = { -1, 3, 1, 5 }, flat[2] = { 2, 2 }, zero[2] = { -1, 0 };
    assert_true(mcs_cam_scale(map, 4) == 5);
    assert_true(map[0] == 0 && fabsf(map[1] - 0.6f) < 1e-6f && map[3] == 1);
    float raised[2] = { 1, 3 };
    assert_true(mcs_cam_scale(raised, 2) == 3 && raised[0] == 0 && raised[1] == 1);
    assert_true(mcs_cam_scale(flat, 2) == 2 && flat[0] == 0);
    assert_true(mcs_cam_scale(zero, 2) == 0 && zero[0] == 0);
    float small[4] = { 0, 1, 1, 0 }, large[36];
    mcs_cam_enlarge(small, 2, 2, large, 6, 6);
    assert_true(large[0] == 0 && large[5] == 1 && fabsf(large[14] - large[21]) < 1e-6f);
}

static void no_cam(fixture *f, mcs_cam_model m, const mcs_tensor *image, mcs_status s,
                   const char *part)
{
    assert_null(mcs_cam_new(f->c, &m, image));
    check_fails(f->c, NULL, s, part);
    mcs_ctx_free(f->c);
    *f = begin();
}

static void test_refusals(void **state)
{
    (void)state;
    fixture f = begin();
    mcs_cam_model m = { tiny_features, &f.t, "norm2", GRID, GRID, 1 };
    mcs_cam_model bad = m;
    bad.layer = "norm3";
    no_cam(&f, bad, f.image, MCS_ENOTFOUND, "norm");
    bad = m;
    bad.grid_w = 5;
    no_cam(&f, bad, f.image, MCS_ESHAPE, "(1, 1 + 4*5, C)");
    no_cam(&f, m, mcs_zeros(f.c, 4, MCS_SHAPE(2, 3, 16, 16)), MCS_ESHAPE, "(2, 3, 16, 16)");
    no_cam(&f, m, mcs_zeros(f.c, 3, MCS_SHAPE(3, 16, 16)), MCS_ESHAPE, "cam");
    mcs_tensor *nan = mcs_full(f.c, 4, MCS_SHAPE(1, 3, 16, 16), NAN);
    no_cam(&f, m, nan, MCS_ENUMERIC, "norm2");
    assert_null(mcs_cam_new(f.c, &m, NULL));

    mcs_cam *cam = open_layer(&f, "norm2");
    assert_null(mcs_gscorecam(NULL, f.text, NULL, NULL));
    assert_null(mcs_gscorecam(cam, NULL, NULL, NULL));
    mcs_tensor *wrong = mcs_zeros(f.c, 2, MCS_SHAPE(1, OUT + 1));
    check_fails(f.c, mcs_gscorecam(cam, wrong, NULL, NULL), MCS_ESHAPE, "expected (P,6)");
    mcs_ctx_free(f.c);

    f = begin();
    cam = open_layer(&f, "norm2");
    mcs_cam_opts o = { .top_k = -1 };
    check_fails(f.c, mcs_gscorecam(cam, f.text, &o, NULL), MCS_EINVAL, "top_k -1");
    mcs_ctx_free(f.c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_scored_maps),
        cmocka_unit_test(test_patch_gradient),
        cmocka_unit_test(test_gradient_maps),
        cmocka_unit_test(test_gradient_vanishes_at_patches),
        cmocka_unit_test(test_reuse),
        cmocka_unit_test(test_nan_score),
        cmocka_unit_test(test_convolution_layer),
        cmocka_unit_test(test_memory),
        cmocka_unit_test(test_official_ties),
        cmocka_unit_test(test_scale),
        cmocka_unit_test(test_refusals),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
