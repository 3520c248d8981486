/* cli_phantomeval_html.c - a page of phantoms with two prompts each, and the tables.  One file,
 * no script, no outside address. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "tools/cli_phantomeval.h"

static const char head[] =
    "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\n"
    "<meta name=\"viewport\" content=\"width=device-width\">\n"
    "<meta http-equiv=\"Content-Security-Policy\" "
    "content=\"default-src 'none'; img-src 'self' file:; style-src 'unsafe-inline'\">\n"
    "<title>Phantoms</title>\n<style>\n"
    "body{font:15px/1.45 system-ui,sans-serif;margin:2em auto;max-width:1100px;padding:0 1em;"
    "color:#1b2530;background:#f6f7f9}h1{font-size:1.5em}h2{font-size:1.05em;margin:0}\n"
    ".card{background:#fff;border:1px solid #dfe3e8;border-radius:8px;padding:1em;margin:1em 0}\n"
    ".row{display:flex;flex-wrap:wrap;gap:12px;margin:.7em 0}figure{margin:0;max-width:220px}\n"
    "img{width:205px;display:block;border-radius:4px;image-rendering:pixelated}\n"
    "figcaption{font-size:.85em;color:#5b6672;margin-top:.2em}\n"
    "table{border-collapse:collapse;font-size:.9em}td,th{padding:.15em .9em .15em 0;"
    "text-align:left}td{font-variant-numeric:tabular-nums}\n"
    "@media(prefers-color-scheme:dark){body{background:#14181d;color:#e4e8ec}.card{background:"
    "#1c2229;border-color:#303943}figcaption{color:#9aa6b2}}\n</style></head><body>\n";

void pe_html_begin(cli_html *h, bool demo, const char *cam)
{
    cli_html_raw(h, head);
    cli_html_rawf(h,
                  "<h1>%s</h1>\n<p>Saliency: ", demo ? "What the small models find" : "Phantoms");
    cli_html_text(h, cam);
    cli_html_raw(
        h, ". The same picture is asked for different structures: the text decides. These are "
           "drawn phantoms; the models know no patients.</p>\n");
}

void pe_html_phantom(cli_html *h, const mcs_phantom *p, bool open)
{
    if (open)
        cli_html_rawf(h, "<section class=\"card\"><h2>%s, seed %llu, number %llu</h2>\n",
                      mcs_phantom_kind_name(p->facts.kind), (unsigned long long)p->seed,
                      (unsigned long long)p->index);
    else
        cli_html_raw(h, "</section>\n");
}

static void figure(cli_html *h, const char *name, const char *caption)
{
    cli_html_raw(h, "<figure><img src=\"");
    cli_html_url(h, name);
    cli_html_raw(h, "\" alt=\"\"><figcaption>");
    cli_html_text(h, caption);
    cli_html_raw(h, "</figcaption></figure>\n");
}

/* Small phantoms are enlarged so that lines and boxes are thin. */
enum { SHOWN = 288 };

static mcs_image *enlarged(const mcs_phantom *p, mcs_error *e)
{
    mcs_image grey = { p->size, p->size, 1, 8, p->grey };
    mcs_image *rgb = mcs_image_to_rgb(&grey, e);
    mcs_image *large = rgb ? mcs_image_resize(rgb, SHOWN, SHOWN, MCS_FILTER_BICUBIC, e) : NULL;
    mcs_image_free(rgb);
    return large;
}

static void draw_mask(mcs_image *im, const mcs_phantom *p, const uint8_t *mask, int bit,
                      mcs_colour colour, float alpha)
{
    uint8_t *large = malloc((size_t)SHOWN * SHOWN);
    for (int y = 0; large && y < SHOWN; y++)
        for (int x = 0; x < SHOWN; x++) {
            size_t at =
                (size_t)(y * p->size / SHOWN) * (size_t)p->size + (size_t)(x * p->size / SHOWN);
            large[y * SHOWN + x] = mask ? mask[at] != 0 : p->bits[at] >> bit & 1;
        }
    if (large)
        mcs_draw_mask(im, large, colour, alpha);
    free(large);
}

typedef enum { PLAIN, TRUTH, HEAT, FOUND } picture_kind;

static mcs_status draw(const char *path, picture_kind kind, const mcs_phantom *p, int structure,
                       const mcs_zeroshot_result *r, mcs_error *e)
{
    mcs_image *im = enlarged(p, e);
    float scale = (float)SHOWN / (float)p->size;
    if (!im)
        return e->status;
    if (kind == TRUTH)
        draw_mask(im, p, NULL, structure, (mcs_colour){ 80, 160, 255 }, 0.35f);
    if (kind == HEAT) {
        float *map = malloc((size_t)SHOWN * SHOWN * sizeof *map);
        if (map) {
            mcs_map_resize(r->saliency, p->size, p->size, map, SHOWN, SHOWN);
            mcs_draw_heat(im, map, 0.5f);
        }
        free(map);
    }
    if (kind == FOUND) {
        draw_mask(im, p, r->mask ? r->mask : r->coarse, 0, (mcs_colour){ 255, 90, 60 }, 0.35f);
        for (int i = 0; i < r->box_count; i++)
            mcs_draw_box(im, r->boxes[i].x0 * scale, r->boxes[i].y0 * scale, r->boxes[i].x1 * scale,
                         r->boxes[i].y1 * scale, (mcs_colour){ 255, 220, 60 });
    }
    mcs_status s = mcs_png_write(path, im, e);
    mcs_image_free(im);
    return s;
}

mcs_status pe_html_prompt(cli_html *h, const char *folder, const mcs_phantom *p, const char *prompt,
                          const mcs_zeroshot_result *r, const pe_row *row, mcs_error *e)
{
    static const char *const kinds[] = { "picture", "truth", "saliency", "mask" };
    const char *structure = mcs_phantom_structure_name((mcs_phantom_structure)row->structure);
    mcs_status s = MCS_OK;
    cli_html_raw(h, "<p>&ldquo;");
    cli_html_text(h, prompt);
    cli_html_rawf(h, "&rdquo;: DSC %.3f",
                  isnan(row->v[PE_MASK]) ? row->v[PE_COARSE] : row->v[PE_MASK]);
    if (!isnan(row->v[PE_CROSS]))
        cli_html_rawf(h, "; with what was not asked for %.3f", row->v[PE_CROSS]);
    cli_html_raw(h, "</p>\n<div class=\"row\">\n");
    for (int k = PLAIN; k <= FOUND && s == MCS_OK; k++) {
        char name[160];
        snprintf(name, sizeof name, "%06llu_%s_%s.png", (unsigned long long)p->index, structure,
                 kinds[k]);
        char *path = cli_join(folder, name, "");
        s = path ? draw(path, (picture_kind)k, p, row->structure, r, e)
                 : mcs_error_set(e, MCS_ENOMEM, "out of memory");
        free(path);
        figure(h, name, k == FOUND ? "mask found, box that SAM was given" : kinds[k]);
    }
    cli_html_raw(h, "</div>\n");
    return s;
}

void pe_html_table(cli_html *h, const json_t *scores)
{
    cli_html_raw(
        h, "<details><summary>All figures</summary><table><tr><th>method</th><th>structure</th>"
           "<th>measure</th><th>n</th><th>mean</th><th>95 %</th><th>median</th></tr>\n");
    for (size_t i = 0; i < json_array_size(scores); i++) {
        const json_t *j = json_array_get(scores, i);
        const char *const keys[] = { "method", "structure", "metric" };
        cli_html_raw(h, "<tr>");
        for (int k = 0; k < 3; k++) {
            cli_html_raw(h, "<td>");
            cli_html_text(h, json_string_value(json_object_get(j, keys[k])));
            cli_html_raw(h, "</td>");
        }
        cli_html_rawf(h, "<td>%lld</td><td>%.3f</td><td>%.3f to %.3f</td><td>%.3f</td></tr>\n",
                      (long long)json_integer_value(json_object_get(j, "n")),
                      json_number_value(json_object_get(j, "mean")),
                      json_number_value(json_object_get(j, "low95")),
                      json_number_value(json_object_get(j, "high95")),
                      json_number_value(json_object_get(j, "median")));
    }
    cli_html_raw(h, "</table></details>\n");
}
