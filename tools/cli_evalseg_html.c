/* cli_evalseg_html.c - a page of cases, worst first: outline of the truth green, of the
 * segmentation red, yellow where both run.  No script, no outside address; the pictures lie in a
 * folder beside the page.  Of a volume the slice with the most wrong pixels is shown. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "tools/cli_evalseg.h"

enum { SHOWN = 320 }; /* the longer side of a picture, at most and about */

static const char head[] =
    "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\n"
    "<meta name=\"viewport\" content=\"width=device-width\">\n"
    "<meta http-equiv=\"Content-Security-Policy\" "
    "content=\"default-src 'none'; img-src 'self' file:; style-src 'unsafe-inline'\">\n"
    "<title>Segmentations, worst first</title>\n<style>\n"
    "body{font:15px/1.45 system-ui,sans-serif;margin:2em auto;max-width:1180px;padding:0 1em;"
    "color:#1b2530;background:#f6f7f9}h1{font-size:1.5em}\n"
    ".cards{display:grid;grid-template-columns:repeat(auto-fill,minmax(250px,1fr));gap:14px}\n"
    "figure{margin:0;background:#fff;border:1px solid #dfe3e8;border-radius:8px;padding:10px}\n"
    ".frame{height:240px;background:#0b0e11;border-radius:4px;display:flex;"
    "align-items:center;justify-content:center}\n"
    "img{max-width:100%;max-height:240px;width:100%;height:100%;object-fit:contain}\n"
    "figcaption{font-size:.85em;margin-top:.5em;overflow-wrap:anywhere}"
    "figcaption b{font-size:1.05em}\n.note{color:#b3261e}"
    ".values{color:#5b6672;font-variant-numeric:tabular-nums}\n"
    "table{border-collapse:collapse;font-size:.9em;margin:1em 0}td,th{padding:.15em 1.1em .15em "
    "0;text-align:right}td:first-child,th:first-child{text-align:left}"
    "td{font-variant-numeric:tabular-nums}\n"
    ".key{font-weight:600}.gt{color:#16883a}.seg{color:#d0271d}.both{color:#a87b00}\n"
    "@media(prefers-color-scheme:dark){body{background:#14181d;color:#e4e8ec}figure{background:"
    "#1c2229;border-color:#303943}.values{color:#9aa6b2}.note{color:#ff8a80}"
    ".gt{color:#4cd97b}.seg{color:#ff6b5e}.both{color:#ffd54a}}\n</style></head><body>\n";

/* ---- One picture ---- */

typedef struct {
    const uint8_t *gt, *seg; /* (h,w) labels of the slice */
    int64_t slice, h, w;
    int width, height; /* of the picture */
} view;

static void worst_slice(const es_volume *v, view *s)
{
    int flat = v->grid.dims == 2;
    int64_t slices = flat ? 1 : v->grid.size[0], most = -1;
    s->h = v->grid.size[1 - flat];
    s->w = v->grid.size[2 - flat];
    for (int64_t z = 0; z < slices; z++) {
        const uint8_t *a = v->label[ES_GT] + z * s->h * s->w;
        const uint8_t *b = v->label[ES_SEG] + z * s->h * s->w;
        int64_t wrong = 0;
        for (int64_t i = 0; i < s->h * s->w; i++)
            wrong += a[i] != b[i];
        if (wrong > most) {
            most = wrong;
            s->gt = a;
            s->seg = b;
            s->slice = z;
        }
    }
    int64_t side = s->h > s->w ? s->h : s->w;
    double scale = side < SHOWN / 2 ? (double)((SHOWN + side - 1) / side)
                   : side > SHOWN   ? (double)SHOWN / (double)side
                                    : 1;
    s->width = (int)fmax(1, (double)s->w * scale);
    s->height = (int)fmax(1, (double)s->h * scale);
}

static uint8_t label_at(const view *s, const uint8_t *mask, int x, int y)
{
    if (x < 0 || y < 0 || x >= s->width || y >= s->height)
        return 0;
    return mask[(2 * (int64_t)y + 1) * s->h / (2 * s->height) * s->w +
                (2 * (int64_t)x + 1) * s->w / (2 * s->width)];
}

/* Two pixels wide, inside the mask: the page may show pictures smaller than they are. */
static bool outline(const view *s, const uint8_t *mask, int x, int y)
{
    uint8_t l = label_at(s, mask, x, y);
    for (int d = 1; l && d <= 2; d++)
        if (label_at(s, mask, x - d, y) != l || label_at(s, mask, x + d, y) != l ||
            label_at(s, mask, x, y - d) != l || label_at(s, mask, x, y + d) != l)
            return true;
    return false;
}

static mcs_image *background(const view *s, const cli_input *file)
{
    mcs_image *im = file ? mcs_image_read(file->path, NULL) : NULL;
    mcs_image *rgb = im ? mcs_image_to_rgb(im, NULL) : NULL;
    mcs_image *fit =
        rgb ? mcs_image_resize(rgb, s->width, s->height, MCS_FILTER_BICUBIC, NULL) : NULL;
    mcs_image_free(im);
    mcs_image_free(rgb);
    if (fit || !(fit = mcs_image_new(s->width, s->height, 3, 8)))
        return fit;
    uint8_t *p = fit->data;
    for (int y = 0; y < s->height; y++)
        for (int x = 0; x < s->width; x++, p += 3) { /* the areas, dimmed */
            p[0] = label_at(s, s->seg, x, y) ? 70 : 18;
            p[1] = label_at(s, s->gt, x, y) ? 70 : 18;
            p[2] = 18;
        }
    return fit;
}

static mcs_status draw(const es_volume *v, const es_case *c, const char *path, mcs_error *e)
{
    view s = { 0 };
    worst_slice(v, &s);
    mcs_image *im = background(&s, c->file[ES_IMAGE][s.slice]);
    if (!im)
        return mcs_error_set(e, MCS_ENOMEM, "out of memory for a picture");
    uint8_t *p = im->data;
    for (int y = 0; y < s.height; y++)
        for (int x = 0; x < s.width; x++, p += 3) {
            bool g = outline(&s, s.gt, x, y), r = outline(&s, s.seg, x, y);
            if (g || r) {
                p[0] = r ? 255 : 40;
                p[1] = g ? 230 : 50;
                p[2] = 40;
            }
        }
    mcs_status status = mcs_png_write(path, im, e);
    mcs_image_free(im);
    return status;
}

/* ---- The page ---- */

static void caption(const es_run *r, cli_html *h, int64_t i)
{
    const es_score *s = es_at(r, ES_SEG, i, -1);
    cli_html_raw(h, "<figcaption><b>");
    cli_html_text(h, r->cases[i].name);
    cli_html_raw(h, "</b>");
    if (r->failure[i]) {
        cli_html_raw(h, "<br><span class=\"note\">");
        cli_html_text(h, r->failure[i]);
        cli_html_raw(h, "</span>");
    } else if (s->truth_empty || s->found_empty) {
        cli_html_rawf(h, " <span class=\"note\">%s</span>",
                      !s->truth_empty  ? "missed: nothing found"
                      : s->found_empty ? "both empty"
                                       : "false alarm: no truth");
    }
    cli_html_raw(h, "<br><span class=\"values\">");
    for (int k = 0; k < r->metrics && !r->failure[i]; k++) {
        double v = s->v[r->order[k]];
        cli_html_rawf(h, isnan(v) ? "%s%s &ndash;" : "%s%s %.3f", k ? " &middot; " : "",
                      es_columns[r->order[k]], v);
    }
    cli_html_raw(h, "</span></figcaption></figure>\n");
}

static mcs_status card(const es_run *r, cli_html *h, const char *folder, int64_t place, int64_t i,
                       mcs_error *e)
{
    char name[32];
    snprintf(name, sizeof name, "%05lld.png", (long long)place);
    es_volume v = { 0 };
    mcs_status s = MCS_OK;
    char *path = cli_join(folder, name, "");
    if (!path)
        return mcs_error_set(e, MCS_ENOMEM, "out of memory");
    cli_html_raw(h, "<figure>");
    if (!r->failure[i]) {
        s = es_volume_read(r, &r->cases[i], &v, e);
        if (s == MCS_OK)
            s = draw(&v, &r->cases[i], path, e);
        const char *last = strrchr(folder, '/');
        cli_html_raw(h, "<div class=\"frame\"><img alt=\"outlines\" src=\"");
        cli_html_url(h, last ? last + 1 : folder);
        cli_html_rawf(h, "/%s\"></div>", name);
        es_volume_free(&v);
    }
    caption(r, h, i);
    free(path);
    return s;
}

static void summary_table(const es_run *r, cli_html *h)
{
    char level[16];
    es_level_name(r, r->levels - 1, level);
    const json_t *all = json_object_get(json_object_get(r->report, "labels"), level);
    cli_html_raw(h, "<table><tr><th>measure</th><th>cases</th><th>mean</th><th>std</th>"
                    "<th>95 % of the mean</th><th>median</th></tr>\n");
    for (int k = 0; k < r->metrics; k++) {
        const json_t *j = json_object_get(all, es_columns[r->order[k]]);
        const json_t *range = json_object_get(j, "interval95");
        cli_html_rawf(h,
                      "<tr><td>%s</td><td>%lld</td><td>%.4f</td><td>%.4f</td>"
                      "<td>%.4f &ndash; %.4f</td><td>%.4f</td></tr>\n",
                      es_columns[r->order[k]],
                      (long long)json_integer_value(json_object_get(j, "n")),
                      json_number_value(json_object_get(j, "mean")),
                      json_number_value(json_object_get(j, "std")),
                      json_number_value(json_array_get(range, 0)),
                      json_number_value(json_array_get(range, 1)),
                      json_number_value(json_object_get(j, "median")));
    }
    cli_html_raw(h, "</table>\n");
}

static void begin(const es_run *r, cli_html *h, int64_t shown)
{
    const json_t *c = json_object_get(r->report, "counts");
    cli_html_raw(h, head);
    cli_html_rawf(h, "<h1>Segmentations, worst %s first</h1>\n", es_columns[r->order[0]]);
    cli_html_raw(h, "<p><span class=\"key gt\">green</span> the truth, <span class=\"key seg\">red"
                    "</span> the segmentation, <span class=\"key both\">yellow</span> both. ");
    cli_html_rawf(h,
                  "%lld of %lld cases. %lld missed, %lld false alarms, %lld empty in both, "
                  "%lld without a segmentation.</p>\n",
                  (long long)shown, (long long)r->count,
                  (long long)json_integer_value(json_object_get(c, "missed")),
                  (long long)json_integer_value(json_object_get(c, "false_alarms")),
                  (long long)json_integer_value(json_object_get(c, "both_empty")),
                  (long long)r->without_seg);
    summary_table(r, h);
    cli_html_raw(h, "<div class=\"cards\">\n");
}

/* page.html -> page_files */
static char *folder_for(const char *path)
{
    const char *slash = strrchr(path, '/'), *dot = strrchr(path, '.');
    size_t n = dot && (!slash || dot > slash + 1) ? (size_t)(dot - path) : strlen(path);
    char *folder = malloc(n + 7);
    if (folder)
        snprintf(folder, n + 7, "%.*s_files", (int)n, path);
    return folder;
}

mcs_status es_html(const es_run *r, mcs_error *e)
{
    cli_html h = { 0 };
    int64_t *order = es_rank(r);
    char *folder = folder_for(r->o->html);
    int64_t shown = r->count < r->o->shown ? r->count : r->o->shown;
    mcs_status s =
        order && folder ? cli_mkdirs(folder, e) : mcs_error_set(e, MCS_ENOMEM, "out of memory");
    if (s == MCS_OK)
        begin(r, &h, shown);
    for (int64_t i = 0; i < shown && s == MCS_OK; i++)
        s = card(r, &h, folder, i + 1, order[i], e);
    cli_html_raw(&h, "</div>\n</body></html>\n");
    s = cli_html_save(&h, "", r->o->html, e);
    free(order);
    free(folder);
    return s;
}
