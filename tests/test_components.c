/* test_components.c - components, holes and contour areas, by hand and against cv2. */
#include <stdlib.h>
#include <string.h>
#include "cam/components.h"
#include "tests/check.h"

/* '#' is set; rows are separated by '/'. */
static int draw(const char *rows, uint8_t *mask, int *h)
{
    int w = (int)strcspn(rows, "/"), n = 0;
    *h = 1;
    for (; *rows; rows++) {
        if (*rows == '/')
            ++*h;
        else
            mask[n++] = *rows == '#';
    }
    return w;
}

static mcs_components find(const char *rows, int32_t *labels)
{
    uint8_t mask[400];
    int h, w = draw(rows, mask, &h);
    mcs_components c;
    mcs_error e = { 0 };
    assert_int_equal(mcs_components_find(mask, w, h, true, labels, &c, &e), MCS_OK);
    return c;
}

static void check_item(const mcs_component *c, int x0, int y0, int x1, int y1, int area,
                       double contour, bool hole)
{
    assert_int_equal(c->x0, x0);
    assert_int_equal(c->y0, y0);
    assert_int_equal(c->x1, x1);
    assert_int_equal(c->y1, y1);
    assert_int_equal(c->area, area);
    assert_true(c->contour_area == contour);
    assert_int_equal(c->hole, hole);
}

static void test_shapes(void **state)
{
    (void)state;
    mcs_components c = find("..../..../....", NULL);
    assert_int_equal(c.count, 0);
    mcs_components_free(&c);

    c = find("#", NULL); /* one pixel */
    assert_int_equal(c.count, 1);
    check_item(&c.item[0], 0, 0, 0, 0, 1, 0, false);
    mcs_components_free(&c);

    c = find("####/####/####", NULL); /* 3 x 2 between the centres */
    assert_int_equal(c.count, 1);
    check_item(&c.item[0], 0, 0, 3, 2, 12, 6, false);
    mcs_components_free(&c);

    c = find("#...#/.#.#./..#..", NULL); /* a V of diagonals: one, without area */
    assert_int_equal(c.count, 1);
    check_item(&c.item[0], 0, 0, 4, 2, 5, 0, false);
    mcs_components_free(&c);

    c = find("..#../.#.#./#...#/.#.#./..#..", NULL); /* a diamond: its hole is 4-connected */
    assert_int_equal(c.count, 2);
    check_item(&c.item[0], 0, 0, 4, 4, 8, 8, false);
    check_item(&c.item[1], 1, 1, 3, 3, 5, 0, true);
    mcs_components_free(&c);
}

static void test_nested(void **state)
{
    (void)state;
    int32_t labels[49];
    mcs_components c = find("#######/#.....#/#.###.#/#.#.#.#/#.###.#/#.....#/#######", labels);
    assert_int_equal(c.count, 4); /* ring, ring inside, and their holes */
    check_item(&c.item[0], 0, 0, 6, 6, 24, 36, false);
    check_item(&c.item[1], 2, 2, 4, 4, 8, 4, false);
    check_item(&c.item[2], 1, 1, 5, 5, 16, 0, true);
    check_item(&c.item[3], 3, 3, 3, 3, 1, 0, true);
    assert_int_equal(labels[0], 1);
    assert_int_equal(labels[2 * 7 + 2], 2);
    assert_int_equal(labels[3 * 7 + 3], 0);
    mcs_components_free(&c);
}

/* A bay open to the picture's edge is no hole; branches that meet late are one component. */
static void test_merging(void **state)
{
    (void)state;
    mcs_components c = find("#.#.#/#.#.#/#####", NULL);
    assert_int_equal(c.count, 1);
    check_item(&c.item[0], 0, 0, 4, 2, 11, 2, false);
    mcs_components_free(&c);
}

static void test_golden(void **state)
{
    (void)state;
    mcs_ctx *ctx = check_ctx();
    const mcs_tensor *masks = check_u8(ctx, check_golden_tensor(ctx, "contours", "mask"));
    const mcs_tensor *t = check_golden_tensor(ctx, "contours", "contour");
    assert_non_null(masks);
    assert_non_null(t);
    int h = (int)masks->shape[1], w = (int)masks->shape[2];
    int64_t row = 0;
    for (int64_t m = 0; m < masks->shape[0]; m++) {
        const uint8_t *mask = mcs_u8(masks) + m * w * h;
        mcs_components c;
        mcs_error e = { 0 };
        assert_int_equal(mcs_components_find(mask, w, h, true, NULL, &c, &e), MCS_OK);
        int64_t seen = 0;
        for (; row < t->shape[0] && mcs_i64(t)[7 * row] == m; row++, seen++) {
            const int64_t *r = mcs_i64(t) + 7 * row; /* mask, x, y, w, h, hole, 2 area */
            bool found = false;
            for (int64_t i = 0; i < c.count; i++) {
                const mcs_component *k = &c.item[i];
                int g = k->hole;
                found |= k->x0 - g == r[1] && k->y0 - g == r[2] && k->x1 + g == r[1] + r[3] - 1 &&
                         k->y1 + g == r[2] + r[4] - 1 && k->hole == r[5] &&
                         2 * k->contour_area == (double)r[6];
            }
            assert_true(found);
        }
        assert_int_equal(c.count, seen);
        mcs_components_free(&c);
    }
    mcs_ctx_free(ctx);
}

static void test_keep(void **state)
{
    (void)state;
    const char *rows = "##.#.###/......../##.....#"; /* areas 2 1 3 2 1 */
    uint8_t mask[24];
    int h, w = draw(rows, mask, &h);
    int64_t kept = 0;
    mcs_error e = { 0 };
    mask[0] = 200;
    assert_int_equal(mcs_components_keep(mask, w, h, 2, 0, &kept, &e), MCS_OK);
    assert_int_equal(kept, 3); /* both of area 2 */
    uint8_t expected[24];
    draw("##...###/......../##......", expected, &h);
    assert_memory_equal(mask, expected, 24);
    assert_int_equal(mcs_components_keep(mask, w, h, 0, 3, &kept, &e), MCS_OK);
    assert_int_equal(kept, 1);
    assert_int_equal(mcs_components_keep(mask, w, h, 1, 4, &kept, &e), MCS_OK);
    assert_int_equal(kept, 0);
}

static void test_refusals(void **state)
{
    (void)state;
    uint8_t mask[1] = { 1 };
    mcs_components c;
    mcs_error e = { 0 };
    assert_int_equal(mcs_components_find(mask, 0, 1, false, NULL, &c, &e), MCS_EINVAL);
    assert_non_null(strstr(e.message, "0 x 1"));
    e = (mcs_error){ 0 };
    assert_int_equal(mcs_components_find(mask, 65536, 65536, false, NULL, &c, &e), MCS_EINVAL);
    assert_int_equal(c.count, 0);
}

/* Holes by 4-connection: a diagonal gap in the ring does not open the large one, the bay at the
 * edge is none. */
static void test_fill(void **state)
{
    (void)state;
    static const char *const picture[7] = { "#########", /* */
                                            "#..#....#", "#..#.##.#", "####.##.#",
                                            "#..#....#", ".#.######", ".#......." };
    static const char *const small[7] = { "#########", "####....#", "####.##.#", "####.##.#",
                                          "#..#....#", ".#.######", ".#......." };
    static const char *const all[7] = { "#########", "#########", "#########", "#########",
                                        "#..######", ".#.######", ".#......." };
    uint8_t mask[63], again[63];
    for (int i = 0; i < 63; i++)
        again[i] = mask[i] = (picture[i / 9][i % 9] == '#') * 255;
    int64_t filled = -1;
    assert_int_equal(mcs_components_fill(mask, 9, 7, 4, &filled, NULL), MCS_OK);
    assert_int_equal(filled, 4);
    for (int i = 0; i < 63; i++)
        assert_int_equal(mask[i] != 0, small[i / 9][i % 9] == '#');
    assert_int_equal(mcs_components_fill(again, 9, 7, 0, &filled, NULL), MCS_OK);
    for (int i = 0; i < 63; i++)
        assert_int_equal(again[i] != 0, all[i / 9][i % 9] == '#');
    assert_int_equal(mcs_components_fill(again, 9, 7, 0, &filled, NULL), MCS_OK);
    assert_int_equal(filled, 0);
    mcs_error e = { 0 };
    assert_int_equal(mcs_components_fill(again, 0, 7, 0, NULL, &e), MCS_EINVAL);
    assert_int_equal(mcs_components_fill(NULL, 3, 7, 0, NULL, &e), MCS_EINVAL);
    for (int side = 0; side < 4; side++) { /* a bay open at one edge alone */
        uint8_t bay[9] = { 1, 1, 1, 1, 0, 1, 1, 1, 1 };
        bay[(const int[]){ 1, 3, 5, 7 }[side]] = 0;
        assert_int_equal(mcs_components_fill(bay, 3, 3, 0, &filled, NULL), MCS_OK);
        assert_int_equal(filled, 0);
    }
    uint8_t none[4] = { 0 };
    assert_int_equal(mcs_components_fill(none, 2, 2, 0, &filled, NULL), MCS_OK);
    assert_int_equal(filled, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_shapes),  cmocka_unit_test(test_nested),
        cmocka_unit_test(test_merging), cmocka_unit_test(test_golden),
        cmocka_unit_test(test_keep),    cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_fill),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
