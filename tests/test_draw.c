/* test_draw.c - colour maps and overlays: right colours, right places, nothing outside. */
#include <math.h>
#include "tests/picture.h"

static void test_maps_as_cv2(void **state)
{
    (void)state;
    mcs_ctx *c = check_ctx();
    const mcs_tensor *jet = check_golden_tensor(c, "image_resize", "jet");
    const mcs_tensor *viridis = check_golden_tensor(c, "image_resize", "viridis");
    const int64_t *j = jet->data, *v = viridis->data;
    for (int i = 0; i < 256; i++, j += 3, v += 3) {
        mcs_colour a = mcs_colormap_jet(((float)i + 0.5f) / 255.0f);
        mcs_colour b = mcs_colormap_viridis(((float)i + 0.5f) / 255.0f);
        if (a.r != j[0] || a.g != j[1] || a.b != j[2])
            fail_msg("JET %d: %d %d %d, cv2 %d %d %d", i, a.r, a.g, a.b, (int)j[0], (int)j[1],
                     (int)j[2]);
        assert_true(llabs(b.r - v[0]) <= 1 && llabs(b.g - v[1]) <= 1 && llabs(b.b - v[2]) <= 1);
    }
    mcs_colour cold = mcs_colormap_jet(-3.0f), nan = mcs_colormap_jet(NAN);
    assert_true(cold.b == 128 && nan.b == 128 && mcs_colormap_jet(9.0f).r == 128);
    mcs_ctx_free(c);
}

static void test_label_colours_differ(void **state)
{
    (void)state;
    for (int i = 0; i < 40; i++)
        for (int k = 0; k < i; k++) {
            mcs_colour a = mcs_label_colour(i), b = mcs_label_colour(k);
            int d = abs(a.r - b.r) + abs(a.g - b.g) + abs(a.b - b.b);
            if (d < 20)
                fail_msg("labels %d and %d differ by %d only", k, i, d);
        }
    assert_int_equal(mcs_label_colour(-5).r, 0);
    (void)mcs_label_colour(2147483647);
}

static const uint8_t *at(const mcs_image *im, int x, int y)
{
    return (const uint8_t *)im->data + 3 * (y * im->width + x);
}

static mcs_image *grey(int w, int h, int v)
{
    mcs_image *im = mcs_image_new(w, h, 3, 8);
    assert_non_null(im);
    memset(im->data, v, image_bytes(im));
    return im;
}

static bool is(const uint8_t *p, int r, int g, int b)
{
    return p[0] == r && p[1] == g && p[2] == b;
}

static void test_heat(void **state)
{
    (void)state;
    static const float map[6] = { 0.0f, 1.0f, 0.5f, NAN, 7.0f, -7.0f };
    mcs_image *im = grey(6, 1, 100);
    mcs_draw_heat(im, map, 1.0f);
    assert_true(is(at(im, 1, 0), 128, 0, 0)); /* hottest: all colour */
    assert_true(is(at(im, 0, 0), 50, 50, 114)); /* coldest: half of it */
    assert_true(!memcmp(at(im, 3, 0), at(im, 0, 0), 3) && !memcmp(at(im, 5, 0), at(im, 0, 0), 3));
    assert_true(!memcmp(at(im, 4, 0), at(im, 1, 0), 3));
    memset(im->data, 100, image_bytes(im));
    mcs_draw_heat(im, map, 0.0f);
    for (int x = 0; x < 6; x++)
        assert_true(is(at(im, x, 0), 100, 100, 100));
    mcs_image_free(im);
}

static void test_mask(void **state)
{
    (void)state;
    enum { N = 60 };
    static uint8_t mask[N * N];
    const mcs_colour c = { 200, 0, 100 };
    for (int y = 20; y < 40; y++)
        memset(mask + y * N + 20, 255, 20);
    mcs_image *im = grey(N, N, 100);
    mcs_draw_mask(im, mask, c, 0.5f);
    assert_true(is(at(im, 30, 30), 150, 50, 100)); /* tint */
    assert_true(is(at(im, 20, 30), 200, 0, 100) && is(at(im, 30, 39), 200, 0, 100)); /* outline */
    assert_true(is(at(im, 19, 30), 100, 100, 100) && is(at(im, 40, 40), 100, 100, 100));
    memset(mask, 1, sizeof mask); /* all of it: no outline at the border */
    memset(im->data, 100, image_bytes(im));
    mcs_draw_mask(im, mask, c, 0.5f);
    assert_true(is(at(im, 0, 0), 150, 50, 100) && is(at(im, N - 1, 30), 150, 50, 100));
    mcs_image_free(im);
    im = grey(1000, 1000, 100); /* thicker, with a dark rim */
    uint8_t *big = calloc(1000, 1000);
    for (int y = 300; y < 700; y++)
        memset(big + y * 1000 + 300, 1, 400);
    mcs_draw_mask(im, big, c, 0.5f);
    assert_true(is(at(im, 301, 500), 200, 0, 100) && is(at(im, 299, 500), 200, 0, 100));
    assert_true(is(at(im, 298, 500), 50, 0, 25) && is(at(im, 290, 500), 100, 100, 100));
    free(big);
    mcs_image_free(im);
}

static void test_box_and_point(void **state)
{
    (void)state;
    const mcs_colour c = { 1, 2, 3 };
    mcs_image *im = grey(60, 50, 100);
    mcs_draw_box(im, 10.0f, 5.0f, 30.2f, 20.0f, c);
    assert_true(is(at(im, 10, 5), 1, 2, 3) && is(at(im, 30, 20), 1, 2, 3) &&
                is(at(im, 30, 12), 1, 2, 3));
    assert_true(is(at(im, 11, 6), 100, 100, 100) && is(at(im, 31, 12), 100, 100, 100));
    mcs_draw_point(im, 45.0f, 30.0f, c);
    assert_true(is(at(im, 45, 30), 1, 2, 3) && is(at(im, 55, 30), 100, 100, 100));
    mcs_image_free(im);
}

static void test_text(void **state)
{
    (void)state;
    const mcs_colour white = { 255, 255, 255 };
    mcs_image *im = grey(40, 20, 100);
    mcs_draw_text(im, 2, 2, "F\xc3\xa9", 1, white);
    static const char *const rows[7] = { "#####", "#....", "#....", "####.",
                                         "#....", "#....", "#...." };
    for (int y = 0; y < 7; y++)
        for (int x = 0; x < 5; x++)
            assert_int_equal(is(at(im, 2 + x, 2 + y), 255, 255, 255), rows[y][x] == '#');
    assert_true(is(at(im, 8, 3), 255, 255, 255)); /* the accented letter: one '?' */
    mcs_image_free(im);
}

/* Anything far outside, not finite or of the wrong kind draws nothing or its visible part, and
 * never writes outside (the address sanitizer looks on). */
static void test_outside(void **state)
{
    (void)state;
    static const float wild[] = { -1e30f, 1e30f, NAN,  INFINITY, -INFINITY,
                                  -5.0f,  0.0f,  7.0f, 12.0f,    1e9f };
    static const int far[] = { -2147483647 - 1, 2147483647, -70000, 70000, -3, 0, 9, 100000 };
    const mcs_colour c = { 1, 2, 3 };
    mcs_image *im = grey(10, 8, 100), *one = mcs_image_new(4, 4, 1, 8),
              *deep = mcs_image_new(4, 4, 3, 16);
    for (int i = 0; i < 10; i++)
        for (int k = 0; k < 10; k++) {
            mcs_draw_box(im, wild[i], wild[k], wild[k], wild[(i + k) % 10], c);
            mcs_draw_point(im, wild[i], wild[k], c);
        }
    for (int i = 0; i < 8; i++)
        for (int k = 0; k < 8; k++)
            for (int s = -1; s < 200; s += 67)
                mcs_draw_text(im, far[i], far[k], "Wy\n!", s, c);
    uint8_t mask[16] = { 1 };
    float map[16] = { 0 };
    mcs_image *wrong[] = { NULL, one, deep };
    for (int i = 0; i < 3; i++) {
        mcs_draw_box(wrong[i], 0, 0, 2, 2, c);
        mcs_draw_point(wrong[i], 1, 1, c);
        mcs_draw_text(wrong[i], 0, 0, "x", 1, c);
        mcs_draw_mask(wrong[i], mask, c, 1.0f);
        mcs_draw_heat(wrong[i], map, 1.0f);
    }
    for (size_t i = 0; i < image_bytes(deep); i++)
        assert_int_equal(((uint8_t *)deep->data)[i], 0);
    mcs_image_free(im);
    mcs_image_free(one);
    mcs_image_free(deep);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_maps_as_cv2),   cmocka_unit_test(test_label_colours_differ),
        cmocka_unit_test(test_heat),          cmocka_unit_test(test_mask),
        cmocka_unit_test(test_box_and_point), cmocka_unit_test(test_text),
        cmocka_unit_test(test_outside),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
