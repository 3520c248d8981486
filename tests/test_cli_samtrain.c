/* finetune_sam's data: which masks a picture has, what labels and components become, what is
 * refused; how jitter is written. */
#include <math.h>
#include "image/image.h"
#include "tests/folder.h"
#include "tools/cli_samtrain.h"

enum { W = 10, H = 8 };
static const cli_program program = { .name = "test" };

static int make_folders(void **state)
{
    return make_folder(state) || mkdir(in_folder("img"), 0700) || mkdir(in_folder("a"), 0700) ||
           mkdir(in_folder("b"), 0700);
}

/* Rows of digits: the value of each pixel is the digit times `scale`. */
static void draw(const char *name, const char *const *rows, int h, int depth, int scale)
{
    mcs_error e = { 0 };
    mcs_image *im = mcs_image_new((int)strlen(rows[0]), h, 1, depth);
    assert_non_null(im);
    for (int y = 0; y < h; y++)
        for (int x = 0; x < im->width; x++) {
            int v = (rows[y][x] - '0') * scale;
            if (depth == 16)
                ((uint16_t *)im->data)[y * im->width + x] = (uint16_t)v;
            else
                ((uint8_t *)im->data)[y * im->width + x] = (uint8_t)v;
        }
    assert_int_equal(mcs_png_write(in_folder(name), im, &e), MCS_OK);
    mcs_image_free(im);
}

static const char *const two_blobs[H] = { "0000000000", "0110000000", "0110000110", "0000000110",
                                          "0000000110", "0000000000", "0000000000", "0000000001" };
static const char *const labels[H] = { "0000000000", "0110000000", "0110000220", "0000000220",
                                       "0000000220", "0000000000", "0000000000", "0000000002" };
static const char *const empty[H] = { "0000000000", "0000000000", "0000000000", "0000000000",
                                      "0000000000", "0000000000", "0000000000", "0000000000" };

/* Reads folder/img with the masks of the `count` folders. */
static int read_data(const st_opts *o, int count, st_data *d)
{
    static char images[200], a[200], b[200];
    static char *folders[2] = { a, b };
    cli t = { .program = &program, .quiet = true, .progress = 3, .log_fd = -1 };
    snprintf(images, sizeof images, "%s/img", folder);
    snprintf(a, sizeof a, "%s/a", folder);
    snprintf(b, sizeof b, "%s/b", folder);
    const cli_list masks = { .items = folders, .count = count };
    const cli_list pictures = { .items = (char *[]){ images }, .count = 1 };
    *d = (st_data){ 0 };
    return st_data_read(&t, o, &pictures, &masks, d);
}

static void check_sample(const st_data *d, int64_t i, int64_t area, double x0, double y0, double x1,
                         double y1)
{
    const st_sample *s = &d->samples[i];
    mcs_error e = { 0 };
    const double want[4] = { x0, y0, x1, y1 };
    assert_int_equal(s->area, area);
    for (int k = 0; k < 4; k++)
        assert_true(s->box[k] == want[k]);
    const st_picture *p = d->pictures;
    while (i >= p->first + p->count)
        p++;
    uint8_t *mask = st_data_mask(d, p, s, &e);
    int64_t sum = 0;
    assert_non_null(mask);
    for (int k = 0; k < W * H; k++) {
        sum += mask[k];
        if (mask[k])
            assert_true(k % W >= x0 && k % W < x1 && k / W >= y0 && k / W < y1);
    }
    assert_int_equal(sum, area);
    free(mask);
}

static void labels_and_components(void **state)
{
    (void)state;
    const int scales[][2] = { { 8, 1 }, { 8, 255 }, { 16, 1 }, { 16, 65535 } };
    st_opts o = { .min_area = 1 };
    st_data d;
    draw("img/1.png", empty, H, 8, 1);
    for (int i = 0; i < 4; i++) { /* 0/1 and 0/255, 8 and 16 bits */
        draw("a/1.png", two_blobs, H, scales[i][0], scales[i][1]);
        o.samples = 0;
        assert_int_equal(read_data(&o, 1, &d), CLI_CONTINUE);
        assert_int_equal(d.sample_count, 1);
        check_sample(&d, 0, 11, 1, 1, 10, 8);
        st_data_free(&d);
        o.samples = 1;
        assert_int_equal(read_data(&o, 1, &d), CLI_CONTINUE);
        assert_int_equal(d.sample_count, 3);
        check_sample(&d, 0, 4, 1, 1, 3, 3);
        check_sample(&d, 1, 6, 7, 2, 9, 5);
        check_sample(&d, 2, 1, 9, 7, 10, 8);
        st_data_free(&d);
    }
    o = (st_opts){ .min_area = 2 };
    draw("a/1.png", labels, H, 8, 1);
    assert_int_equal(read_data(&o, 1, &d), CLI_CONTINUE);
    assert_int_equal(d.sample_count, 2);
    check_sample(&d, 0, 4, 1, 1, 3, 3);
    check_sample(&d, 1, 7, 7, 2, 10, 8);
    st_data_free(&d);
    o.samples = 1; /* the single pixel is too small */
    assert_int_equal(read_data(&o, 1, &d), CLI_CONTINUE);
    assert_int_equal(d.sample_count, 2);
    check_sample(&d, 1, 6, 7, 2, 9, 5);
    st_data_free(&d);
    o = (st_opts){ .min_area = 1, .labels = 1 }; /* one object: what is above half the range */
    draw("a/1.png", labels, H, 8, 100);
    assert_int_equal(read_data(&o, 1, &d), CLI_CONTINUE);
    assert_int_equal(d.sample_count, 1);
    check_sample(&d, 0, 7, 7, 2, 10, 8);
    st_data_free(&d);
}

static void several_folders(void **state)
{
    (void)state;
    st_opts o = { .min_area = 1 };
    st_data d, again;
    draw("img/1.png", empty, H, 8, 1);
    draw("img/2.png", empty, H, 8, 1);
    draw("a/1.png", labels, H, 8, 1);
    draw("b/1.png", two_blobs, H, 8, 255);
    draw("b/2_mask.png", two_blobs, H, 8, 255);
    assert_int_equal(read_data(&o, 2, &d), CLI_CONTINUE);
    assert_int_equal(d.count, 2);
    assert_int_equal(d.sample_count, 4);
    assert_int_equal(d.pictures[0].count, 3);
    assert_int_equal(d.samples[2].folder, 1);
    check_sample(&d, 3, 11, 1, 1, 10, 8);
    assert_int_equal(read_data(&o, 2, &again), CLI_CONTINUE);
    assert_string_equal(d.fingerprint, again.fingerprint);
    st_data_free(&again);
    assert_int_equal(read_data(&o, 1, &again), CLI_CONTINUE); /* the second has none in a/ */
    assert_int_equal(again.count, 1);
    assert_int_equal(json_array_size(again.problems), 1);
    assert_string_not_equal(d.fingerprint, again.fingerprint);
    st_data_free(&again);
    draw("a/2.png", empty, H, 8, 1); /* empty here, but not in b/ */
    assert_int_equal(read_data(&o, 2, &again), CLI_CONTINUE);
    assert_int_equal(again.count, 2);
    assert_int_equal(json_array_size(again.problems), 0);
    st_data_free(&again);
    st_data_free(&d);
}

static void refusals(void **state)
{
    (void)state;
    st_opts o = { .min_area = 1 };
    st_data d;
    draw("a/2.png", two_blobs, H - 1, 8, 1); /* another size */
    assert_int_equal(read_data(&o, 1, &d), CLI_CONTINUE);
    assert_int_equal(d.count, 1);
    const char *why = json_string_value(json_object_get(json_array_get(d.problems, 0), "error"));
    assert_non_null(strstr(why, "is 10 x 7 pixels, the picture 10 x 8"));
    st_data_free(&d);
    draw("a/1.png", empty, H, 8, 1);
    assert_int_equal(read_data(&o, 1, &d), CLI_NOTHING);
    assert_int_equal(json_array_size(d.problems), 2);
    why = json_string_value(json_object_get(json_array_get(d.problems, 0), "error"));
    assert_non_null(strstr(why, "its mask is empty"));
    st_data_free(&d);
    o.on_error = 1;
    draw("a/1.png", labels, H, 8, 1);
    assert_int_equal(read_data(&o, 1, &d), CLI_NOTHING);
    st_data_free(&d);
}

static void written_jitter(void **state)
{
    (void)state;
    mcs_sam_jitter j;
    const char *const wrong[] = { "", "x", "-1", "3px", "5%%", "nan", "2000", "% 3", "inf" };
    assert_true(st_parse_jitter("20", 0, &j));
    assert_true(j.amount == 20 && j.unit == MCS_SAM_JITTER_PIXELS && !j.inward);
    assert_true(st_parse_jitter("10%", 0, &j));
    assert_true(fabs(j.amount - 0.1) < 1e-12 && j.unit == MCS_SAM_JITTER_SHARE && j.inward);
    assert_true(st_parse_jitter("10%", 1, &j) && !j.inward);
    assert_true(st_parse_jitter("0", 2, &j) && j.inward && j.amount == 0);
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        assert_false(st_parse_jitter(wrong[i], 0, &j));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(labels_and_components),
        cmocka_unit_test(several_folders),
        cmocka_unit_test(refusals),
        cmocka_unit_test(written_jitter),
    };
    return cmocka_run_group_tests(tests, make_folders, drop_folder);
}
