/* test_eigencam.c - the first principal direction against PyTorch's SVD, by hand, on either side of
 * the matrix; degenerate layers. */
#include <math.h>
#include <string.h>
#include "cam/cam_internal.h"
#include "tests/cam_tiny.h"

static void test_golden(void **state)
{
    (void)state;
    const char *const layers[2] = { "norm1", "norm2" };
    for (int i = 0; i < 2; i++) {
        fixture f = begin();
        char name[40];
        mcs_cam_model m = { tiny_features, &f.t, layers[i], GRID, GRID, 1 };
        mcs_cam *cam = mcs_cam_new(f.c, &m, f.image);
        float peak = -1;
        snprintf(name, sizeof name, "eigencam.%s", layers[i]);
        compare_to(f.c, "cam_noise", name, mcs_eigencam(cam, &peak));
        assert_true(peak > 0);
        mcs_ctx_free(f.c);
    }
}

static mcs_cam made(mcs_ctx *c, float *a, int channels, int cells)
{
    return (mcs_cam){ .c = c,
                      .model = { .grid_h = 1, .grid_w = cells },
                      .channels = channels,
                      .cells = cells,
                      .a = a };
}

/* Every channel twice: more channels than cells, so X X^T instead of X^T X, and the same map. */
static void test_either_side(void **state)
{
    (void)state;
    mcs_ctx *c = check_ctx();
    mcs_tensor *a = check_random(c, 3, -1, 1, 2, MCS_SHAPE(10, 9));
    memcpy(mcs_f32(a) + 45, mcs_f32(a), 45 * sizeof(float));
    mcs_cam few = made(c, mcs_f32(a), 5, 9), many = made(c, mcs_f32(a), 10, 9);
    float peak[2];
    mcs_tensor *one = mcs_eigencam(&few, &peak[0]), *two = mcs_eigencam(&many, &peak[1]);
    check_ok(c);
    check_near(one, two, 1e-5f, 1e-6f);
    assert_true(fabsf(peak[1] / peak[0] - sqrtf(2)) < 1e-5f);
    mcs_ctx_free(c);
}

/* Channels 3 b and -4 b + 7: the direction is (3, -4) / 5, the projection 5 (b - mean b), and the
 * cell that stands out is positive. */
static void test_by_hand(void **state)
{
    (void)state;
    mcs_ctx *c = check_ctx();
    const float b[4] = { 1, 2, 1, -4 };
    float a[8], peak;
    for (int i = 0; i < 4; i++) {
        a[i] = 3 * b[i];
        a[4 + i] = -4 * b[i] + 7;
    }
    mcs_cam cam = made(c, a, 2, 4);
    mcs_tensor *map = mcs_eigencam(&cam, &peak);
    check_ok(c);
    const float expected[4] = { 0, 0, 0, 1 };
    check_near(map, mcs_from(c, MCS_F32, 3, MCS_SHAPE(1, 1, 4), expected), 0, 1e-6f);
    assert_true(fabsf(peak - 20) < 1e-4f);
    float flat[8] = { 2, 2, 2, 2, -1, -1, -1, -1 };
    cam = made(c, flat, 2, 4);
    map = mcs_eigencam(&cam, &peak);
    check_ok(c);
    assert_true(peak == 0 && mcs_f32(map)[0] == 0 && mcs_f32(map)[3] == 0);
    assert_null(mcs_eigencam(NULL, NULL));
    mcs_ctx_free(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_golden),
        cmocka_unit_test(test_either_side),
        cmocka_unit_test(test_by_hand),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
