/* test_preprocess.c - the floats a network reads, against torchvision's and SAM's steps to the
 * last bit, and the way back from the square to the picture. */
#include <math.h>
#include "image/preprocess.h"
#include "tests/picture.h"

static void check_floats(const char *name, const float *got, int64_t n)
{
    mcs_ctx *c = check_ctx();
    const mcs_tensor *x = check_golden_tensor(c, "image_preprocess", name);
    assert_non_null(x);
    int64_t all = 1;
    for (int d = 0; d < x->ndim; d++)
        all *= x->shape[d];
    assert_int_equal(all, n);
    const float *want = x->data;
    for (int64_t i = 0; i < n; i++)
        if (memcmp(&got[i], &want[i], sizeof *got))
            fail_msg("%s: value %lld is %.9g, expected %.9g", name, (long long)i, (double)got[i],
                     (double)want[i]);
    mcs_ctx_free(c);
}

static void test_clip_values(void **state)
{
    (void)state;
    static const int sizes[][2] = { { 37, 23 }, { 39, 23 }, { 23, 37 }, { 16, 16 }, { 5, 4 } };
    float out[3 * 16 * 16];
    for (int i = 0; i < 5; i++) {
        char name[32];
        mcs_image *im = noise_image(sizes[i][0], sizes[i][1], 3);
        mcs_error e = { MCS_OK, "" };
        assert_int_equal(
            mcs_preprocess_clip(im, 16, MCS_FIT_CROP, mcs_clip_mean, mcs_clip_std, out, NULL, &e),
            MCS_OK);
        snprintf(name, sizeof name, "clip.%d.%d", sizes[i][0], sizes[i][1]);
        check_floats(name, out, 3 * 16 * 16);
        mcs_image_free(im);
    }
    mcs_image *im = noise_image(37, 23, 4); /* alpha is dropped */
    assert_int_equal(
        mcs_preprocess_clip(im, 16, MCS_FIT_SQUASH, mcs_clip_mean, mcs_clip_std, out, NULL, NULL),
        MCS_OK);
    check_floats("squash.37.23", out, 3 * 16 * 16);
    mcs_image_free(im);
}

static void test_sam_values(void **state)
{
    (void)state;
    static const int sizes[][2] = { { 37, 23 }, { 9, 9 } };
    float out[3 * 32 * 32];
    for (int i = 0; i < 2; i++) {
        char name[32];
        mcs_geometry g;
        mcs_image *im = noise_image(sizes[i][0], sizes[i][1], 3);
        memset(out, 0xff, sizeof out);
        assert_int_equal(mcs_preprocess_sam(im, 32, mcs_sam_mean, mcs_sam_std, out, &g, NULL),
                         MCS_OK);
        assert_int_equal(g.new_width, 32);
        assert_int_equal(g.new_height, i == 0 ? 20 : 32);
        snprintf(name, sizeof name, "sam.%d.%d", sizes[i][0], sizes[i][1]);
        check_floats(name, out, 3 * 32 * 32);
        mcs_image_free(im);
    }
}

static void check_geometry(mcs_geometry g, int nw, int nh, int left, int top)
{
    if (g.new_width != nw || g.new_height != nh || g.left != left || g.top != top)
        fail_msg("%d x %d: resized %d x %d at (%d, %d); expected %d x %d at (%d, %d)", g.width,
                 g.height, g.new_width, g.new_height, g.left, g.top, nw, nh, left, top);
}

/* Numbers from torchvision and segment_anything. */
static void test_geometry(void **state)
{
    (void)state;
    check_geometry(mcs_geometry_clip(562, 471, 224, MCS_FIT_CROP), 267, 224, 22, 0); /* 21.5 */
    check_geometry(mcs_geometry_clip(471, 562, 224, MCS_FIT_CROP), 224, 267, 0, 22);
    check_geometry(mcs_geometry_clip(500, 471, 224, MCS_FIT_CROP), 237, 224, 6, 0); /* 6.5 */
    check_geometry(mcs_geometry_clip(300, 300, 224, MCS_FIT_CROP), 224, 224, 0, 0);
    check_geometry(mcs_geometry_clip(562, 471, 224, MCS_FIT_SQUASH), 224, 224, 0, 0);
    check_geometry(mcs_geometry_clip(65500, 1, 224, MCS_FIT_CROP), 14672000, 224, 7335888, 0);
    check_geometry(mcs_geometry_sam(562, 471, 1024), 1024, 858, 0, 0);
    check_geometry(mcs_geometry_sam(471, 562, 1024), 858, 1024, 0, 0);
    check_geometry(mcs_geometry_sam(23, 37, 32), 20, 32, 0, 0); /* 19.9 */
    check_geometry(mcs_geometry_sam(3000, 4000, 1024), 768, 1024, 0, 0);
    check_geometry(mcs_geometry_sam(5000, 1, 1024), 1024, 1, 0, 0);
    mcs_geometry g = mcs_geometry_sam(562, 471, 1024);
    double x, y, bx, by;
    mcs_geometry_to_square(&g, 100.0, 200.0, &x, &y);
    assert_true(x == 100.0 * (1024.0 / 562.0) && y == 200.0 * (858.0 / 471.0));
    g = mcs_geometry_clip(562, 471, 224, MCS_FIT_CROP);
    mcs_geometry_to_square(&g, 100.0, 200.0, &x, &y);
    mcs_geometry_to_image(&g, x, y, &bx, &by);
    assert_true(fabs(bx - 100.0) < 1e-9 && fabs(by - 200.0) < 1e-9);
}

static void test_map_resize(void **state)
{
    (void)state;
    static const int cases[][4] = {
        { 7, 5, 31, 23 }, { 31, 23, 7, 5 }, { 14, 14, 14, 14 }, { 1, 1, 3, 2 }
    };
    mcs_ctx *c = check_ctx();
    for (int i = 0; i < 4; i++) {
        const int *k = cases[i];
        char name[64];
        float src[31 * 23];
        for (int y = 0; y < k[1]; y++)
            for (int x = 0; x < k[0]; x++)
                src[y * k[0] + x] = (float)noise_at(x, y, 0) / 255.0f;
        mcs_tensor *out = mcs_zeros(c, 2, MCS_SHAPE(k[3], k[2]));
        mcs_map_resize(src, k[0], k[1], out->data, k[2], k[3]);
        snprintf(name, sizeof name, "map.%d.%d.%d.%d", k[0], k[1], k[2], k[3]);
        check_near_named(name, out, check_golden_tensor(c, "image_preprocess", name), 0.0f, 5e-7f);
    }
    mcs_ctx_free(c);
}

/* What the network marks in its square must come back where it was in the picture. */
static void test_map_back(void **state)
{
    (void)state;
    enum { W = 200, H = 100, S = 14 };
    float map[S * S], back[W * H], plain[W * H];
    for (int i = 0; i < S * S; i++)
        map[i] = (float)(i % S); /* grows to the right */
    mcs_geometry g = mcs_geometry_clip(W, H, 224, MCS_FIT_CROP);
    mcs_geometry_map(&g, map, S, S, -1.0f, back);
    /* The square covers columns 50..149. */
    assert_true(back[49] == -1.0f && back[150] == -1.0f && back[50] >= 0.0f && back[149] <= 13.0f);
    for (int x = 60; x < 140; x++) {
        double want = (x + 0.5 - 50.0) / 100.0 * S - 0.5;
        assert_true(fabs((double)back[40 * W + x] - want) < 1e-5);
    }
    g = mcs_geometry_clip(W, H, 224, MCS_FIT_SQUASH);
    mcs_geometry_map(&g, map, S, S, -1.0f, back);
    mcs_map_resize(map, S, S, plain, W, H);
    for (int i = 0; i < W * H; i++)
        assert_true(fabsf(back[i] - plain[i]) < 1e-5f);
    g = mcs_geometry_sam(W, H, 224); /* padding below: row 0.5 of the picture is 1.12 of 224 */
    mcs_geometry_map(&g, map, S, S, -1.0f, back);
    for (int i = 0; i < W * H; i++)
        assert_true(back[i] >= 0.0f);
}

/* A 1-pixel line and a 16-bit picture go through; nonsense does not. */
static void test_edges(void **state)
{
    (void)state;
    static float out[3 * 224 * 224];
    static const float zero[3] = { 1.0f, 0.0f, 1.0f };
    mcs_error e = { MCS_OK, "" };
    mcs_image *line = noise_image(20000, 1, 1), *deep = mcs_image_new(30, 20, 1, 16);
    for (int i = 0; i < 600; i++)
        ((uint16_t *)deep->data)[i] = (uint16_t)(i < 300 ? 1000 : 3000);
    assert_int_equal(
        mcs_preprocess_clip(line, 224, MCS_FIT_CROP, mcs_clip_mean, mcs_clip_std, out, NULL, &e),
        MCS_OK);
    assert_int_equal(mcs_preprocess_sam(line, 224, mcs_sam_mean, mcs_sam_std, out, NULL, &e),
                     MCS_OK);
    assert_int_equal(
        mcs_preprocess_clip(deep, 224, MCS_FIT_CROP, mcs_clip_mean, mcs_clip_std, out, NULL, &e),
        MCS_OK);
    assert_true(out[0] == (0.0f - mcs_clip_mean[0]) / mcs_clip_std[0]); /* its minimum is black */
    assert_int_equal(
        mcs_preprocess_clip(NULL, 224, MCS_FIT_CROP, mcs_clip_mean, mcs_clip_std, out, NULL, NULL),
        MCS_EINVAL);
    assert_int_equal(mcs_preprocess_sam(line, 0, mcs_sam_mean, mcs_sam_std, out, NULL, NULL),
                     MCS_EINVAL);
    assert_int_equal(mcs_preprocess_sam(line, 5000, mcs_sam_mean, mcs_sam_std, out, NULL, NULL),
                     MCS_EINVAL);
    assert_int_equal(mcs_preprocess_sam(line, 224, mcs_sam_mean, zero, out, NULL, &e), MCS_EINVAL);
    assert_non_null(strstr(e.message, "std[1] is 0"));
    mcs_image_free(line);
    mcs_image_free(deep);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_clip_values), cmocka_unit_test(test_sam_values),
        cmocka_unit_test(test_geometry),    cmocka_unit_test(test_map_resize),
        cmocka_unit_test(test_map_back),    cmocka_unit_test(test_edges),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
