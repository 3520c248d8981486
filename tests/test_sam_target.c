/* test_sam_target.c - boxes with jitter and masks on the grid of the logits. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "models/sam_train.h"
#include "tests/sam_tiny.h"

enum { SIDE = 24 };

/* ---- Boxes ---- */

static void jitter(void **state)
{
    (void)state;
    mcs_sam *m = load("sam_tiny"); /* frame of 24 pixels */
    const double box[4] = { 10, 20, 30, 40 };
    float plain[4], out[4], again[4];
    const mcs_sam_jitter none = { 0, MCS_SAM_JITTER_PIXELS, false };
    mcs_sam_jitter_box(m, 48, 96, box, &none, 1, 1, plain); /* scaled by 1/4 */
    assert_true(plain[0] == 2.5f && plain[1] == 5 && plain[2] == 7.5f && plain[3] == 10);
    const mcs_sam_jitter out128 = { 128, MCS_SAM_JITTER_PIXELS, false }; /* 3 pixels of 24 */
    const mcs_sam_jitter half = { 0.5, MCS_SAM_JITTER_SHARE, true };
    float least[2] = { 9, 9 }, most[2] = { -9, -9 };
    for (uint64_t k = 0; k < 4000; k++) {
        mcs_sam_jitter_box(m, 48, 96, box, &out128, 7, k, out);
        for (int i = 0; i < 4; i++) {
            float d = i < 2 ? plain[i] - out[i] : out[i] - plain[i];
            least[0] = fminf(least[0], d);
            most[0] = fmaxf(most[0], d);
            assert_true(out[i] >= 0 && out[i] <= (i % 2 ? 24 : 12));
        }
        mcs_sam_jitter_box(m, 48, 96, box, &half, 7, k, out);
        mcs_sam_jitter_box(m, 48, 96, box, &half, 7, k, again);
        assert_memory_equal(out, again, sizeof out);
        assert_true(out[2] - out[0] >= 0.999f && out[3] - out[1] >= 0.999f);
        least[1] = fminf(least[1], out[1] - plain[1]);
        most[1] = fmaxf(most[1], out[1] - plain[1]);
    }
    assert_true(least[0] >= 0 && least[0] < 0.01f && most[0] > 2.95f && most[0] <= 3);
    assert_true(least[1] < -2.4f && least[1] >= -2.5f && most[1] > 2.4f && most[1] <= 2.5f);
    mcs_sam_jitter_box(m, 48, 96, box, &out128, 7, 1, out);
    mcs_sam_jitter_box(m, 48, 96, box, &out128, 8, 1, again);
    assert_memory_not_equal(out, again, sizeof out);
    const double edge[4] = { 40, 80, 47, 95 };
    for (uint64_t k = 0; k < 100; k++) {
        mcs_sam_jitter_box(m, 48, 96, edge, &out128, 7, k, out);
        assert_true(out[2] <= 12 && out[3] <= 24);
        assert_true(out[0] < out[2] && out[1] < out[3]);
    }
    assert_true(out[3] > 23.75f);
    const double dot[4] = { 47.9, 95.9, 48, 96 }; /* less than a pixel, in the corner */
    mcs_sam_jitter_box(m, 48, 96, dot, &none, 0, 0, out);
    assert_true(out[2] - out[0] >= 0.999f && out[2] <= 12 && out[3] <= 24);
    mcs_sam_free(m);
}

/* ---- Targets ---- */

static void targets(void **state)
{
    (void)state;
    mcs_error e = { 0 };
    mcs_sam *m = load("sam_tiny"); /* grid of 24 x 24 for a frame of 24 pixels */
    float t[SIDE * SIDE];
    uint8_t *mask = calloc(48 * 36, 1);
    for (int y = 0; y < 36; y++) /* 48 wide, 36 high: cells of 2 x 2 pixels, 18 rows of them */
        for (int x = 0; x < 48; x++)
            mask[y * 48 + x] = x >= 3 && x < 11 && y >= 4 && y < 35 ? 255 : 0;
    assert_int_equal(mcs_sam_target(m, mask, 48, 36, MCS_SAM_TARGET_AREA, t, &e), MCS_OK);
    const float row[8] = { 0, 0.5f, 1, 1, 1, 0.5f, 0, 0 };
    for (int j = 0; j < 8; j++) {
        assert_true(fabsf(t[5 * SIDE + j] - row[j]) < 1e-6f);
        assert_true(fabsf(t[17 * SIDE + j] - row[j] / 2) < 1e-6f);
        assert_true(t[1 * SIDE + j] == 0 && t[18 * SIDE + j] == 0);
    }
    assert_int_equal(mcs_sam_target(m, mask, 48, 36, MCS_SAM_TARGET_NEAREST, t, &e), MCS_OK);
    for (int j = 0; j < 8; j++)
        assert_true(t[5 * SIDE + j] == (j >= 1 && j <= 4)); /* the pixel at 2j + 1 */
    assert_true(t[16 * SIDE + 2] == 1 && t[17 * SIDE + 2] == 0);
    /* a full mask of any size fills the picture's part of the frame, and that only */
    for (int i = 0; i < 48 * 36; i++)
        mask[i] = 1;
    const int sizes[][2] = { { 5, 7 }, { 37, 19 }, { 24, 24 }, { 1, 36 } };
    for (int k = 0; k < 4; k++) {
        int w, h;
        double sum = 0;
        mcs_sam_scaled_size(m, sizes[k][0], sizes[k][1], &w, &h);
        assert_int_equal(
            mcs_sam_target(m, mask, sizes[k][0], sizes[k][1], MCS_SAM_TARGET_AREA, t, &e), MCS_OK);
        for (int i = 0; i < SIDE * SIDE; i++)
            sum += (double)t[i];
        assert_true(fabs(sum - w * h) < 1e-3);
    }
    assert_int_equal(mcs_sam_target(m, mask, 0, 3, MCS_SAM_TARGET_AREA, t, &e), MCS_EINVAL);
    free(mask);
    mcs_sam_free(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(jitter),
        cmocka_unit_test(targets),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
