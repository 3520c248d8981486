/* test_cli_unet.c - train_unet's data: what masks of every kind become, what is left out, SAM's
 * estimates. */
#include "tests/mask_maker.h"
#include "tools/cli_unet.h"

static const cli_program program = { .name = "test" };

static int make_folders(void **state)
{
    return make_folder(state) || mkdir(in_folder("img"), 0700) || mkdir(in_folder("masks"), 0700);
}

static cli quiet = { .program = &program, .quiet = true, .progress = 3, .log_fd = -1 };

static int read_like(const un_opts *o, const un_data *like, un_data *d)
{
    static char images[200], masks[200];
    snprintf(images, sizeof images, "%s/img", folder);
    snprintf(masks, sizeof masks, "%s/masks", folder);
    const cli_list i = { .items = (char *[]){ images }, .count = 1 };
    const cli_list m = { .items = (char *[]){ masks }, .count = 1 };
    *d = (un_data){ 0 };
    return un_data_read(&quiet, o, &i, &m, like, d);
}

static void remove_all(const char *names)
{
    char command[300];
    snprintf(command, sizeof command, "cd '%s' && rm -f %s", folder, names);
    assert_int_equal(system(command), 0);
}

/* Labels of picture i; the second block is `second`. */
static void check_labels(const un_data *d, int i, int second, int tolerated)
{
    mcs_error e = { 0 };
    cli_grid g;
    int wrong = 0;
    assert_int_equal(cli_grid_read(d->items[i].mask, &g, &e), MCS_OK);
    uint8_t *y = un_labels(d, &g, W, H, &e);
    assert_non_null(y);
    for (int k = 0; k < W * H; k++) {
        int want = label_at(k % W, k / W);
        wrong += y[k] != (want == 2 ? second : want);
    }
    if (wrong > tolerated)
        fail_msg("%s: %d pixels are wrong", d->items[i].mask, wrong);
    free(y);
    free(g.value);
}

static const int black[3] = { 0, 0, 0 };

static void begin(void)
{
    remove_all("img/* masks/* results.jsonl");
    grey("img/a.png", 8, (int[]){ 10, 50, 90 }, 1);
}

static void one_kind(void (*draw)(const char *), int classes, const int *values, int cut,
                     int tolerated)
{
    const un_opts o = { 0 };
    un_data d;
    begin();
    draw("masks/a.png");
    assert_int_equal(read_like(&o, NULL, &d), CLI_CONTINUE);
    assert_int_equal(d.count, 1);
    assert_int_equal(d.kind.classes, classes);
    assert_int_equal(d.cut, cut);
    for (int i = 0; i < classes && values; i++)
        assert_int_equal(d.kind.value[i], values[i]);
    check_labels(&d, 0, classes, tolerated);
    un_data_free(&d);
}

static void zero_one(const char *n)
{
    grey(n, 8, (int[]){ 0, 1, 1 }, 1);
}
static void zero_255(const char *n)
{
    grey(n, 8, (int[]){ 0, 255, 255 }, 1);
}
static void mixed(const char *n)
{
    grey(n, 8, (int[]){ 0, 1, 255 }, 1);
}
static void deep(const char *n)
{
    grey(n, 16, (int[]){ 0, 65535, 65535 }, 1);
}
static void map8(const char *n)
{
    grey(n, 8, (int[]){ 0, 1, 2 }, 1);
}
static void map_far(const char *n)
{
    grey(n, 8, (int[]){ 0, 85, 170 }, 1);
}
static void map16(const char *n)
{
    grey(n, 16, (int[]){ 0, 1000, 2000 }, 1);
}
static void bit(const char *n)
{
    special(n, 0, 1);
}
static void bit_palette(const char *n)
{
    special(n, 3, 1);
}
static void palette(const char *n)
{
    special(n, 3, 8);
}
static void rgb(const char *n)
{
    special(n, 2, 8);
}
static void rgba(const char *n)
{
    special(n, 6, 8);
}
static void larger(const char *n)
{
    grey(n, 8, (int[]){ 0, 255, 255 }, 3);
}
static void soft(const char *n)
{
    mcs_error e = { 0 };
    mcs_image *im = mcs_image_new(W, H, 1, 8);
    for (int i = 0; i < W * H; i++)
        ((uint8_t *)im->data)[i] = (uint8_t)(label_at(i % W, i / W) ? 150 + i % 100 : i % 100);
    assert_int_equal(mcs_png_write(in_folder(n), im, &e), MCS_OK);
    mcs_image_free(im);
}

static void kinds_of_masks(void **state)
{
    (void)state;
    one_kind(zero_one, 1, NULL, 0, 0);
    one_kind(zero_255, 1, NULL, 0, 0);
    one_kind(mixed, 1, NULL, 0, 0);
    one_kind(deep, 1, NULL, 0, 0);
    one_kind(bit, 1, NULL, 0, 0);
    one_kind(bit_palette, 1, NULL, 0, 0);
    one_kind(larger, 1, NULL, 0, 0);
    one_kind(soft, 1, NULL, 249 / 2, 0);
    one_kind(map8, 2, (int[]){ 1, 2 }, 0, 0);
    one_kind(map_far, 2, (int[]){ 85, 170 }, 0, 0);
    one_kind(map16, 2, (int[]){ 1000, 2000 }, 0, 0);
    one_kind(palette, 2, (int[]){ 38, 75 }, 0, 0); /* grey of (128,0,0), (0,128,0) */
    one_kind(rgb, 2, (int[]){ 60, 117 }, 0, 0);
    one_kind(rgba, 2, (int[]){ 60, 117 }, 0, 0);
    /* JPEG: found by another name, cut at half */
    const un_opts o = { 0 }, map = { .labels = UN_MAP };
    un_data d;
    begin();
    jpeg("masks/a.jpg");
    assert_int_equal(read_like(&o, NULL, &d), CLI_CONTINUE);
    assert_int_equal(d.kind.classes, 1);
    assert_int_equal(d.cut, d.kind.value[0] / 2);
    check_labels(&d, 0, 1, 3);
    un_data_free(&d);
    assert_int_equal(read_like(&map, NULL, &d), CLI_BAD_USAGE);
    un_data_free(&d);
    /* asked for otherwise */
    const un_opts binary = { .labels = UN_BINARY };
    begin();
    map_far("masks/a.png");
    assert_int_equal(read_like(&binary, NULL, &d), CLI_CONTINUE);
    assert_int_equal(d.kind.classes, 1);
    assert_int_equal(d.cut, 85);
    un_data_free(&d);
    zero_one("masks/a.png");
    assert_int_equal(read_like(&map, NULL, &d), CLI_CONTINUE);
    assert_int_equal(d.kind.classes, 1);
    un_data_free(&d);
}

/* Of another size: the pixel under the centre. */
static void other_size(void **state)
{
    (void)state;
    mcs_error e = { 0 };
    uint16_t value[10] = { 1, 2, 3, 4, 5, 6, 7, 8, 9, 10 };
    const cli_grid g = { .width = 5, .height = 2, .range = 255, .value = value };
    un_data d = { .kind = { .classes = 10 } };
    for (int i = 0; i < 10; i++)
        d.kind.value[i] = i + 1;
    uint8_t *y = un_labels(&d, &g, 4, 3, &e);
    assert_memory_equal(y, ((uint8_t[]){ 1, 2, 4, 5, 6, 7, 9, 10, 6, 7, 9, 10 }), 12);
    free(y);
}

/* BUSI: NAME_mask.png and NAME_mask_1.png are one mask together. */
static void several_files(void **state)
{
    (void)state;
    const un_opts o = { 0 };
    un_data d;
    begin();
    grey("masks/a_mask.png", 8, (int[]){ 0, 255, 0 }, 1);
    grey("masks/a_mask_1.png", 8, (int[]){ 0, 0, 255 }, 1);
    assert_int_equal(read_like(&o, NULL, &d), CLI_CONTINUE);
    assert_int_equal(json_array_size(d.problems), 0);
    check_labels(&d, 0, 1, 0);
    un_data_free(&d);
    grey("masks/a_mask_1.png", 8, (int[]){ 0, 0, 255 }, 2); /* of another size: refused */
    assert_int_equal(read_like(&o, NULL, &d), CLI_NOTHING);
    assert_int_equal(json_array_size(d.problems), 1);
    un_data_free(&d);
}

/* Labels are those of all masks together; shares are of their pixels. */
static void all_together(void **state)
{
    (void)state;
    const un_opts o = { 0 }, keep = { .keep_empty = true };
    un_data d, val;
    begin();
    grey("img/b.png", 8, (int[]){ 10, 50, 90 }, 1);
    grey("img/c.png", 8, (int[]){ 10, 50, 90 }, 1);
    grey("masks/a.png", 8, (int[]){ 0, 3, 0 }, 1);
    grey("masks/b_mask.png", 8, (int[]){ 0, 0, 7 }, 1);
    grey("masks/c.png", 8, black, 1);
    assert_int_equal(read_like(&o, NULL, &d), CLI_CONTINUE);
    assert_int_equal(d.kind.classes, 2);
    assert_int_equal(d.kind.value[1], 7);
    assert_int_equal(d.count, 2); /* the empty one is left out */
    assert_int_equal(json_array_size(d.left_out), 1);
    assert_int_equal(json_array_size(d.problems), 0);
    assert_true(d.share[1] > 0.052 && d.share[1] < 0.0521 && d.share[2] > 0.0434 &&
                d.share[2] < 0.0435 && d.share[0] + d.share[1] + d.share[2] > 0.999999);
    un_data_fingerprint(&d);
    grey("masks/a.png", 8, (int[]){ 0, 3, 9 }, 1); /* for validation: 9 is unknown */
    assert_int_equal(read_like(&o, &d, &val), CLI_CONTINUE);
    assert_int_equal(val.count, 3);
    check_labels(&val, 0, 0, 0);
    un_data_free(&val);
    char before[65];
    memcpy(before, d.fingerprint, 65);
    un_data_free(&d);
    grey("masks/a.png", 8, (int[]){ 0, 3, 0 }, 1);
    assert_int_equal(read_like(&keep, NULL, &d), CLI_CONTINUE);
    assert_int_equal(d.count, 3);
    un_data_fingerprint(&d);
    assert_string_not_equal(before, d.fingerprint);
    un_data_free(&d);
    grey("masks/a.png", 8, black, 1);
    grey("masks/b_mask.png", 8, black, 1);
    assert_int_equal(read_like(&o, NULL, &d), CLI_NOTHING);
    un_data_free(&d);
}

static void estimates(void **state)
{
    (void)state;
    static const char lines[] =
        "{\"mask\":\"masks/a.png\",\"iou_pred\":[0.5,0.9]}\n"
        "{\"mask\":\"masks/b.png\",\"classes\":[{\"iou_pred\":[0.9]},{\"iou_pred\":[0.4]}]}\n"
        "{\"mask\":\"masks/c.png\",\"iou_pred\":[0.95],\"rejected\":true}\n";
    const struct {
        un_opts o;
        int count;
        float weight;
    } cases[] = { { { .min_iou = 0 }, 3, 1 }, /* all but the rejected one */
                  { { .min_iou = 0.3f }, 2, 1 }, /* d: not known */
                  { { .min_iou = 0.69f }, 1, 1 },
                  { { .weight_iou = true }, 2, 0.7f } };
    un_data d;
    begin();
    for (const char *s = "abcd"; *s; s++) {
        char name[30];
        snprintf(name, sizeof name, "img/%c.png", *s);
        grey(name, 8, (int[]){ 10, 50, 90 }, 1);
        snprintf(name, sizeof name, "masks/%c.png", *s);
        zero_255(name);
    }
    store("results.jsonl", lines, sizeof lines - 1);
    for (int i = 0; i < 4; i++) {
        assert_int_equal(read_like(&cases[i].o, NULL, &d), CLI_CONTINUE);
        assert_int_equal(d.count, cases[i].count);
        assert_true(d.items[0].weight == cases[i].weight);
        assert_int_equal(json_array_size(d.left_out), 4 - cases[i].count);
        un_data_free(&d);
    }
    remove_all("results.jsonl");
    assert_int_equal(read_like(&cases[1].o, NULL, &d), CLI_NOTHING);
    un_data_free(&d);
}

static void split(void **state)
{
    (void)state;
    const un_opts o = { 0 };
    un_data d, val = { 0 };
    begin();
    for (int i = 0; i < 40; i++) {
        char name[30];
        snprintf(name, sizeof name, "img/x%d.png", i);
        grey(name, 8, (int[]){ 10, 50, 90 }, 1);
        snprintf(name, sizeof name, "masks/x%d.png", i);
        zero_255(name);
    }
    assert_int_equal(read_like(&o, NULL, &d), CLI_CONTINUE);
    assert_int_equal(json_array_size(d.problems), 1); /* a has no mask */
    assert_int_equal(un_data_split(&quiet, 0.3, &d, &val), CLI_CONTINUE);
    assert_int_equal(d.count + val.count, 40);
    assert_true(val.count > 4 && val.count < 22);
    un_data_free(&val);
    assert_int_equal(un_data_split(&quiet, 0, &d, &val), CLI_NOTHING);
    un_data_free(&d);
    un_data_free(&val);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(kinds_of_masks), cmocka_unit_test(other_size),
        cmocka_unit_test(several_files),  cmocka_unit_test(all_together),
        cmocka_unit_test(estimates),      cmocka_unit_test(split),
    };
    return cmocka_run_group_tests(tests, make_folders, drop_folder);
}
