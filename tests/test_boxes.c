/* test_boxes.c - masks to boxes: modes, ties, limits, and the published choice against cv2. */
#include <string.h>
#include "cam/boxes.h"
#include "tests/check.h"

enum { W = 12, H = 8 };

static void fill(uint8_t *mask, int x0, int y0, int x1, int y1, uint8_t value)
{
    for (int y = y0; y <= y1; y++)
        for (int x = x0; x <= x1; x++)
            mask[y * W + x] = value;
}

static mcs_boxes find(const uint8_t *mask, mcs_box_opts o)
{
    mcs_boxes b;
    mcs_error e = { 0 };
    assert_int_equal(mcs_boxes_find(mask, W, H, &o, &b, &e), MCS_OK);
    return b;
}

static void check_box(mcs_box b, int x0, int y0, int x1, int y1)
{
    assert_int_equal(b.x0, x0);
    assert_int_equal(b.y0, y0);
    assert_int_equal(b.x1, x1);
    assert_int_equal(b.y1, y1);
}

/* A speck, a thin line of many pixels, a 3 x 3 block and a ring to the right edge. */
static void scene(uint8_t *mask)
{
    memset(mask, 0, W * H);
    fill(mask, 0, 0, 0, 0, 1);
    fill(mask, 0, 7, 10, 7, 255);
    fill(mask, 1, 2, 3, 4, 3);
    fill(mask, 7, 1, 11, 5, 1);
    fill(mask, 8, 2, 10, 4, 0);
}

static void test_modes(void **state)
{
    (void)state;
    uint8_t mask[W * H];
    scene(mask);
    mcs_boxes b = find(mask, (mcs_box_opts){ .mode = MCS_BOX_LARGEST });
    assert_int_equal(b.count, 1);
    check_box(b.box[0], 7, 1, 11, 6); /* one past the row, not past the picture */
    mcs_boxes_free(&b);

    b = find(mask, (mcs_box_opts){ .mode = MCS_BOX_EACH });
    assert_int_equal(b.count, 4);
    check_box(b.box[0], 7, 1, 11, 6);
    check_box(b.box[1], 1, 2, 4, 5);
    check_box(b.box[2], 0, 7, 11, 7); /* areas 0: the later first */
    check_box(b.box[3], 0, 0, 1, 1);
    mcs_boxes_free(&b);

    b = find(mask, (mcs_box_opts){ .mode = MCS_BOX_EACH, .min_area = 2, .boxes_max = 2 });
    assert_int_equal(b.count, 2);
    check_box(b.box[1], 1, 2, 4, 5);
    mcs_boxes_free(&b);

    b = find(mask, (mcs_box_opts){ .mode = MCS_BOX_EACH_AND_HOLES });
    assert_int_equal(b.count, 5);
    int holes = 0;
    for (int i = 0; i < 5; i++)
        holes += b.box[i].x0 == 7 && b.box[i].y0 == 1;
    assert_int_equal(holes, 2); /* the hole's contour runs on the ring */
    mcs_boxes_free(&b);

    b = find(mask, (mcs_box_opts){ .mode = MCS_BOX_UNION, .min_area = 5, .boxes_max = 1 });
    assert_int_equal(b.count, 1);
    check_box(b.box[0], 0, 1, 11, 7);
    mcs_boxes_free(&b);
}

static void test_empty(void **state)
{
    (void)state;
    uint8_t mask[W * H] = { 0 };
    mcs_boxes b = find(mask, (mcs_box_opts){ .mode = MCS_BOX_UNION });
    assert_int_equal(b.count, 0);
    mcs_boxes_free(&b);
    for (int m = MCS_BOX_LARGEST; m <= MCS_BOX_UNION; m++) {
        b = find(mask, (mcs_box_opts){ .mode = (mcs_box_mode)m, .empty_is_whole = true });
        assert_int_equal(b.count, 1);
        check_box(b.box[0], 0, 0, W, H);
        mcs_boxes_free(&b);
    }
    mask[5] = 1; /* too small counts as empty */
    b = find(mask, (mcs_box_opts){ .min_area = 2, .empty_is_whole = true });
    check_box(b.box[0], 0, 0, W, H);
    mcs_boxes_free(&b);
}

static void test_golden(void **state)
{
    (void)state;
    mcs_ctx *c = check_ctx();
    const mcs_tensor *masks = check_u8(c, check_golden_tensor(c, "contours", "mask"));
    const mcs_tensor *t = check_golden_tensor(c, "contours", "box");
    assert_non_null(masks);
    assert_non_null(t);
    int h = (int)masks->shape[1], w = (int)masks->shape[2];
    for (int64_t m = 0; m < masks->shape[0]; m++) {
        mcs_boxes b;
        mcs_box_opts o = { .mode = MCS_BOX_LARGEST };
        assert_int_equal(mcs_boxes_find(mcs_u8(masks) + m * w * h, w, h, &o, &b, NULL), MCS_OK);
        const int64_t *r = mcs_i64(t) + 4 * m;
        check_box(b.box[0], (int)r[0], (int)r[1], (int)r[2], (int)r[3]);
        mcs_boxes_free(&b);
    }
    mcs_ctx_free(c);
}

static void test_refusals(void **state)
{
    (void)state;
    mcs_boxes b;
    mcs_box_opts o = { .mode = MCS_BOX_LARGEST };
    mcs_error e = { 0 };
    assert_int_equal(mcs_boxes_find(NULL, 3, 3, &o, &b, &e), MCS_EINVAL);
    assert_int_equal(b.count, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_modes),
        cmocka_unit_test(test_empty),
        cmocka_unit_test(test_golden),
        cmocka_unit_test(test_refusals),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
