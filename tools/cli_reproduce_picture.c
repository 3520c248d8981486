/* cli_reproduce_picture.c - the worst and the best pictures of a set, by the DSC of its last method
 * of the first table, with what each method made of them; PNG in base64. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "image/image.h"
#include "tools/cli_reproduce.h"

enum { SHOWN = 240 }; /* longer side in the page */

static void put_base64(cli_html *h, const uint8_t *bytes, size_t n)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for (size_t i = 0; i < n; i += 3) {
        uint32_t v = (uint32_t)bytes[i] << 16 | (i + 1 < n ? (uint32_t)bytes[i + 1] << 8 : 0) |
                     (i + 2 < n ? bytes[i + 2] : 0);
        char four[5] = { digits[v >> 18], digits[v >> 12 & 63],
                         i + 1 < n ? digits[v >> 6 & 63] : '=', i + 2 < n ? digits[v & 63] : '=',
                         0 };
        cli_html_raw(h, four);
    }
}

/* Through a file of the output folder, for that is where PNG are written. */
static void put_picture(const rp_work *w, cli_html *h, const mcs_image *im)
{
    mcs_error e = { 0 };
    size_t n = 0;
    char *path = cli_join(w->o->out, ".picture.png", "");
    char *bytes =
        path && mcs_png_write(path, im, &e) == MCS_OK ? cli_read_text(path, &n, &e) : NULL;
    if (bytes)
        put_base64(h, (const uint8_t *)bytes, n);
    else
        cli_warn(w->t, "%s", e.message);
    if (path)
        unlink(path);
    free(bytes);
    free(path);
}

/* "folder/stem" with the extension it has. */
static mcs_image *read_any(const char *folder, const char *sub, const char *stem)
{
    static const char *const endings[] = { ".png", ".jpg", ".jpeg", ".PNG", ".JPG", ".JPEG" };
    mcs_error e = { 0 };
    mcs_image *im = NULL;
    char *dir = cli_join(folder, sub, "");
    for (int i = 0; dir && !im && i < 6; i++) {
        char *path = cli_join(dir, stem, endings[i]);
        if (path && cli_exists(path))
            im = mcs_image_read(path, &e);
        free(path);
    }
    free(dir);
    return im;
}

static mcs_image *shown(const mcs_image *im, mcs_filter filter)
{
    mcs_error e = { 0 };
    int longer = im->width > im->height ? im->width : im->height;
    int width = im->width * SHOWN / longer, height = im->height * SHOWN / longer;
    return mcs_image_resize(im, width > 0 ? width : 1, height > 0 ? height : 1, filter, &e);
}

/* A mask at the size shown; NULL: there is none. */
static mcs_image *read_mask(const char *folder, const char *sub, const char *stem)
{
    mcs_error e = { 0 };
    mcs_image *file = read_any(folder, sub, stem),
              *grey = file ? mcs_image_to_grey(file, &e) : NULL;
    uint8_t *v = grey ? grey->data : NULL, max = 0;
    size_t n = grey ? (size_t)grey->width * (size_t)grey->height : 0;
    for (size_t i = 0; i < n; i++)
        max = v[i] > max ? v[i] : max;
    for (size_t i = 0; i < n; i++)
        v[i] = v[i] > (max > 127 ? 127 : 0);
    mcs_image *small = grey ? shown(grey, MCS_FILTER_NEAREST) : NULL;
    mcs_image_free(file);
    mcs_image_free(grey);
    return small;
}

static void put_figure(const rp_work *w, cli_html *h, const mcs_image *plain, const mcs_image *mask,
                       mcs_colour colour, const char *caption)
{
    mcs_error e = { 0 };
    mcs_image *im = mcs_image_crop(plain, 0, 0, plain->width, plain->height, &e);
    if (im && mask && mask->width == im->width && mask->height == im->height)
        mcs_draw_mask(im, mask->data, colour, 0.35f);
    cli_html_raw(h, "<figure><img alt=\"\" src=\"data:image/png;base64,");
    if (im)
        put_picture(w, h, im);
    cli_html_raw(h, "\"><figcaption>");
    cli_html_text(h, caption);
    cli_html_raw(h, "</figcaption></figure>\n");
    mcs_image_free(im);
}

static void put_methods(const rp_work *w, cli_html *h, int set, int64_t i, const mcs_image *plain)
{
    const rp_set *s = &w->sets[set];
    for (int m = 0; m < w->method_count; m++) {
        const rp_cell *c = &w->cells[set * w->method_count + m];
        const rp_method *method = &w->methods[m];
        char caption[300];
        if (!c->there || !c->folder)
            continue;
        char *run = cli_join(c->folder, "run", "");
        mcs_image *mask = run ? read_mask(run, rp_masks(method, c->folder), s->stems[i]) : NULL;
        snprintf(caption, sizeof caption, "%s: %.3f%s", method->title, c->v[RP_DSC][i],
                 mask ? "" : " (no mask)");
        put_figure(w, h, plain, mask, (mcs_colour){ 255, 90, 60 }, caption);
        mcs_image_free(mask);
        free(run);
    }
}

static void put_row(const rp_work *w, cli_html *h, int set, int64_t i)
{
    const rp_set *s = &w->sets[set];
    mcs_error e = { 0 };
    mcs_image *file = read_any(s->folder, "images", s->stems[i]);
    mcs_image *rgb = file ? mcs_image_to_rgb(file, &e) : NULL;
    mcs_image *plain = rgb ? shown(rgb, MCS_FILTER_BICUBIC) : NULL;
    mcs_image *truth = read_mask(s->folder, "masks", s->stems[i]);
    if (plain) {
        cli_html_raw(h, "<div class=\"row\">\n");
        put_figure(w, h, plain, NULL, (mcs_colour){ 0 }, s->stems[i]);
        put_figure(w, h, plain, truth, (mcs_colour){ 80, 160, 255 }, "truth");
        put_methods(w, h, set, i, plain);
        cli_html_raw(h, "</div>\n");
    }
    mcs_image_free(file);
    mcs_image_free(rgb);
    mcs_image_free(plain);
    mcs_image_free(truth);
}

typedef struct {
    double v;
    int64_t i;
} ranked;

static int by_value(const void *a, const void *b)
{
    const ranked *x = a, *y = b;
    return x->v != y->v ? (x->v < y->v ? -1 : 1) : (x->i > y->i) - (x->i < y->i);
}

static void put_set(const rp_work *w, cli_html *h, int set, int method)
{
    const rp_set *s = &w->sets[set];
    const double *v = w->cells[set * w->method_count + method].v[RP_DSC];
    ranked *list = calloc((size_t)s->count, sizeof *list);
    int64_t n = 0, half = w->o->pictures / 2;
    for (int64_t i = 0; i < s->count && list; i++)
        if (isfinite(v[i]))
            list[n++] = (ranked){ v[i], i };
    if (!list || !n) {
        free(list);
        return;
    }
    qsort(list, (size_t)n, sizeof *list, by_value);
    cli_html_raw(h, "<h3>");
    cli_html_text(h, s->title);
    cli_html_raw(h, "</h3>\n");
    for (int64_t i = 0; i < n; i++)
        if (n <= w->o->pictures || i < w->o->pictures - half || i >= n - half)
            put_row(w, h, set, list[i].i);
    free(list);
}

void rp_html_pictures(rp_work *w, cli_html *h)
{
    if (!w->o->pictures)
        return;
    cli_html_raw(h, "<h2>Worst and best</h2>\n<p>By the DSC of the last method that was run, worst "
                    "first; the number is DSC. Blue: truth; red: what was found.</p>\n");
    for (int s = 0; s < w->set_count; s++)
        for (int m = w->method_count - 1; m >= 0; m--)
            if (w->cells[s * w->method_count + m].there) {
                put_set(w, h, s, m);
                break;
            }
}
