/* test_rise.c - randomised masks against PyTorch on the same masks; the masks drawn; refusals. */
#include <math.h>
#include <string.h>
#include "cam/cam.h"
#include "tests/cam_tiny.h"

enum { SIDE = PATCH * GRID };

static void test_golden(void **state)
{
    (void)state;
    fixture f = begin();
    f.t.more = 1;
    mcs_cam_model m = { tiny_features, &f.t, NULL, GRID, GRID, 1 };
    const mcs_tensor *cells = check_u8(f.c, check_golden_tensor(f.c, "cam_noise", "cells"));
    const mcs_tensor *offsets = check_golden_tensor(f.c, "cam_noise", "offsets");
    assert_non_null(cells);
    uint8_t ones[50 * 9];
    int moved[100];
    memcpy(ones, mcs_u8(cells), sizeof ones);
    for (int i = 0; i < 100; i++)
        moved[i] = (int)mcs_i64(offsets)[i];
    mcs_rise_opts o = {
        .masks = 50, .grid = 3, .keep = 0.4f, .batch = 7, .cells = ones, .offsets = moved
    };
    float peak[TEXTS];
    compare_to(f.c, "cam_noise", "rise", mcs_rise(f.c, &m, &o, f.image, f.text, peak));
    assert_int_equal(f.t.pictures, 50);
    o.centred = true;
    compare_to(f.c, "cam_noise", "rise.centred", mcs_rise(f.c, &m, &o, f.image, f.text, peak));
    assert_true(peak[0] > 0 && peak[2] > 0);
    mcs_ctx_free(f.c);
}

/* Scores the mean of the picture's left half: of a white picture, the mask itself. */
static mcs_tensor *left_half(mcs_ctx *c, const mcs_tensor *images, void *arg)
{
    (void)arg;
    int64_t b = images->shape[0];
    mcs_tensor *f = mcs_zeros(c, 2, MCS_SHAPE(b, 2));
    for (int64_t i = 0; f && i < b; i++)
        for (int64_t p = 0; p < SIDE * SIDE; p++) {
            mcs_f32(f)[2 * i] += mcs_f32(images)[3 * SIDE * SIDE * i + p] * (p % SIDE < SIDE / 2);
            mcs_f32(f)[2 * i + 1] += mcs_f32(images)[3 * SIDE * SIDE * i + p] / (SIDE * SIDE);
        }
    return f;
}

/* What the score depends on is found, at full size too; the map is the seed's alone. */
static void test_drawn_masks(void **state)
{
    (void)state;
    mcs_ctx *c = check_ctx();
    mcs_tensor *image = mcs_full(c, 4, MCS_SHAPE(1, 3, SIDE, SIDE), 1);
    mcs_tensor *text = mcs_from(c, MCS_F32, 2, MCS_SHAPE(1, 2), (const float[]){ 1, 0 });
    mcs_cam_model m = { left_half, NULL, NULL, GRID, GRID, 0 };
    mcs_rise_opts o = mcs_rise_defaults();
    o.masks = 600;
    o.grid = 4;
    float peak;
    mcs_tensor *map = mcs_rise(c, &m, &o, image, text, &peak);
    check_ok(c);
    float side[2] = { 0, 0 };
    for (int i = 0; i < GRID * GRID; i++)
        side[i % GRID >= GRID / 2] += mcs_f32(map)[i] / 8;
    assert_true(side[0] > 0.7f && side[1] < 0.3f);
    o.batch = 5;
    check_near(mcs_rise(c, &m, &o, image, text, &peak), map, 0, 1e-6f);
    o.seed = 1;
    mcs_tensor *other = mcs_rise(c, &m, &o, image, text, &peak);
    assert_memory_not_equal(other->data, map->data, GRID * GRID * sizeof(float));
    m.grid_h = m.grid_w = SIDE;
    assert_int_equal(mcs_rise(c, &m, &o, image, text, NULL)->shape[2], SIDE);
    check_ok(c);
    mcs_ctx_free(c);
}

/* The share of cells that are kept: uncentred with score 1 for every mask, the map is the mean mask
 * / keep, about 1 everywhere; its peak less its lowest value is small. */
static void test_share_kept(void **state)
{
    (void)state;
    mcs_ctx *c = check_ctx();
    mcs_tensor *image = mcs_full(c, 4, MCS_SHAPE(1, 3, SIDE, SIDE), 1);
    mcs_tensor *text = mcs_from(c, MCS_F32, 2, MCS_SHAPE(1, 2), (const float[]){ 0, 1 });
    mcs_cam_model m = { left_half, NULL, NULL, 1, 1, 0 };
    /* one cell: the map is constant and the peak 0; the mean score is seen by two texts */
    mcs_rise_opts o = { .masks = 1000, .grid = 8, .keep = 0.2f };
    float peak[1] = { -1 };
    assert_non_null(mcs_rise(c, &m, &o, image, text, peak));
    assert_true(peak[0] == 0);
    m.grid_h = m.grid_w = 2;
    assert_non_null(mcs_rise(c, &m, &o, image, text, peak));
    check_ok(c);
    assert_true(peak[0] < 0.05f); /* of 0.2: E[s M] / keep */

    /* one mask by hand: the upper two of four cells, so w(y) = 1 - clamp((y + .5) / 12 - .5) */
    double rows[GRID] = { 0 }, score = 0;
    for (int y = 0; y < SIDE; y++) {
        double w = 1.5 - (y + 0.5) / 12;
        w = w > 1 ? 1 : w;
        rows[y * GRID / SIDE] += w * GRID / SIDE;
        score += w / SIDE;
    }
    m.grid_h = m.grid_w = GRID;
    o = (mcs_rise_opts){ .masks = 1, .grid = 2, .keep = 0.4f };
    o.cells = (const uint8_t[]){ 1, 1, 0, 0 };
    o.offsets = (const int[]){ 0, 0 };
    assert_non_null(mcs_rise(c, &m, &o, image, text, peak));
    double expected = score * (rows[0] - rows[GRID - 1]) / 0.4;
    assert_true(fabs((double)peak[0] / expected - 1) < 1e-5);
    mcs_ctx_free(c);
}

static void refused(mcs_rise_opts o, mcs_status s, const char *words)
{
    fixture f = begin();
    mcs_cam_model m = { tiny_features, &f.t, NULL, GRID, GRID, 1 };
    check_fails(f.c, mcs_rise(f.c, &m, &o, f.image, f.text, NULL), s, words);
    mcs_ctx_free(f.c);
}

static void test_refusals(void **state)
{
    (void)state;
    const mcs_rise_opts fine = mcs_rise_defaults();
    mcs_rise_opts bad[6] = { fine, fine, fine, fine, fine, fine };
    bad[0].masks = 0;
    bad[1].grid = MCS_RISE_GRID_MAX + 1;
    bad[2].keep = 1;
    bad[3].keep = NAN;
    bad[4].batch = -1;
    bad[5].cells = (const uint8_t[]){ 1 };
    for (int i = 0; i < 6; i++)
        refused(bad[i], MCS_EINVAL, "rise:");
    fixture f = begin();
    mcs_cam_model m = { tiny_features, &f.t, NULL, 3, 4, 1 };
    check_fails(f.c, mcs_rise(f.c, &m, NULL, f.image, f.text, NULL), MCS_ESHAPE, "4 x 3");
    mcs_ctx_free(f.c);
    f = begin();
    m.grid_h = 4;
    assert_null(mcs_rise(f.c, &m, NULL, NULL, f.text, NULL));
    assert_null(mcs_rise(f.c, &m, NULL, f.image, NULL, NULL));
    check_ok(f.c);
    check_fails(f.c,
                mcs_rise(f.c, &m, NULL, f.image, mcs_zeros(f.c, 2, MCS_SHAPE(1, OUT + 1)), NULL),
                MCS_ESHAPE, "features of 8");
    mcs_ctx_free(f.c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_golden),
        cmocka_unit_test(test_drawn_masks),
        cmocka_unit_test(test_share_kept),
        cmocka_unit_test(test_refusals),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
