/* cli_reproduce_html.c - the page: tables as in the papers, rows methods, columns sets.  One file,
 * no script, no outside address; pictures are in it as data. */
#include <math.h>
#include <stdio.h>
#include <string.h>
#include "tools/cli_reproduce.h"

static const char head[] =
    "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\n"
    "<meta name=\"viewport\" content=\"width=device-width\">\n"
    "<meta http-equiv=\"Content-Security-Policy\" "
    "content=\"default-src 'none'; img-src data:; style-src 'unsafe-inline'\">\n<title>";
static const char style[] =
    "</title>\n<style>\n"
    "body{font:15px/1.45 system-ui,sans-serif;margin:2em auto;max-width:1500px;padding:0 1.2em;"
    "color:#1b2530;background:#f6f7f9}h1{font-size:1.5em}h2{font-size:1.15em;margin:1.6em 0 .4em}"
    "h3{font-size:1em;margin:1.2em 0 .3em}p{max-width:60em}\n"
    ".scroll{overflow-x:auto}table{border-collapse:collapse;background:#fff;font-size:.9em}"
    "th,td{padding:.45em .8em;border-bottom:1px solid #dfe3e8;text-align:left;vertical-align:top;"
    "font-variant-numeric:tabular-nums;white-space:nowrap}thead th{border-bottom:2px solid "
    "#9aa6b2}\n"
    "b{font-weight:600}small{color:#5b6672;display:block}.pub{color:#8a4b00}.worse{color:#a32020}"
    ".better{color:#17692b}.all{background:#f0f4f8}\n"
    ".row{display:flex;flex-wrap:wrap;gap:10px;margin:.5em 0 1em}figure{margin:0;width:190px}"
    "img{width:190px;display:block;border-radius:4px}figcaption{font-size:.82em;color:#5b6672}\n"
    "@media(prefers-color-scheme:dark){body{background:#14181d;color:#e4e8ec}table{background:"
    "#1c2229}th,td{border-color:#303943}.all{background:#222a33}small,figcaption{color:#9aa6b2}"
    ".pub{color:#e0a45c}.worse{color:#f08a8a}.better{color:#7fd093}}\n</style></head><body>\n";

static void put_summary(cli_html *h, const char *label, const mcs_summary *s)
{
    if (s->n)
        cli_html_rawf(h, "%s <b>%.1f</b><small>%.1f to %.1f</small>", label, 100 * s->mean,
                      100 * s->low, 100 * s->high);
}

static void put_published(const rp_work *w, cli_html *h, const char *method, const char *set)
{
    const json_t *list = json_object_get(w->plan, "published");
    for (size_t i = 0; i < json_array_size(list); i++) {
        double dsc = rp_published(w, i, method, set, RP_DSC);
        double nsd = rp_published(w, i, method, set, RP_NSD);
        if (!isfinite(dsc) && !isfinite(nsd))
            continue;
        cli_html_raw(h, "<small class=\"pub\">");
        cli_html_text(h, rp_text(json_array_get(list, i), "label", "published"));
        cli_html_rawf(h, isfinite(nsd) ? ": %.2f / %.2f</small>" : ": %.2f</small>", dsc, nsd);
    }
}

static void put_cell(const rp_work *w, cli_html *h, int set, int method)
{
    mcs_summary dsc, nsd, edge;
    cli_html_raw(h, set < 0 ? "<td class=\"all\">" : "<td>");
    if (!rp_summarise(w, set, method, -1, RP_DSC, &dsc, NULL) ||
        !rp_summarise(w, set, method, -1, RP_NSD, &nsd, NULL) ||
        !rp_summarise(w, set, method, -1, RP_NSD_BOUNDARY, &edge, NULL)) {
        h->failed = true;
        return;
    }
    put_summary(h, "DSC", &dsc);
    put_summary(h, "NSD", &nsd);
    put_summary(h, "edge", &edge);
    if (!dsc.n)
        cli_html_raw(h, "&ndash;");
    put_published(w, h, w->methods[method].name, set < 0 ? "all" : w->sets[set].name);
    cli_html_raw(h, "</td>");
}

static bool among(const json_t *list, const char *name)
{
    if (!json_array_size(list))
        return true;
    for (size_t i = 0; i < json_array_size(list); i++) {
        const char *s = json_string_value(json_array_get(list, i));
        if (s && strcmp(s, name) == 0)
            return true;
    }
    return false;
}

static bool set_shown(const rp_work *w, const json_t *table, int set)
{
    const char *name = set == w->set_count ? "all" : w->sets[set].name;
    bool any = false;
    for (int m = 0; m < w->method_count * w->set_count; m++)
        any = any || (w->cells[m].there && (set == w->set_count || m / w->method_count == set));
    return any && among(json_object_get(table, "sets"), name) &&
           (set < w->set_count || w->set_count > 1);
}

static void put_head(const rp_work *w, cli_html *h, const json_t *table)
{
    cli_html_raw(h, "<div class=\"scroll\"><table><thead><tr><th>method</th>");
    for (int s = 0; s <= w->set_count; s++) {
        if (!set_shown(w, table, s))
            continue;
        cli_html_raw(h, "<th>");
        cli_html_text(h, s < w->set_count ? w->sets[s].title : "all pictures");
        if (s < w->set_count)
            cli_html_rawf(h, "<small>%lld pictures</small>", (long long)w->sets[s].count);
        cli_html_raw(h, "</th>");
    }
    cli_html_raw(h, "</tr></thead><tbody>\n");
}

static void put_table(const rp_work *w, cli_html *h, const json_t *table)
{
    cli_html_raw(h, "<h2>");
    cli_html_text(h, rp_text(table, "title", "Results"));
    cli_html_raw(h, "</h2>\n");
    if (rp_text(table, "note", NULL)) {
        cli_html_raw(h, "<p>");
        cli_html_text(h, rp_text(table, "note", ""));
        cli_html_raw(h, "</p>\n");
    }
    put_head(w, h, table);
    for (int m = 0; m < w->method_count; m++) {
        if (!among(json_object_get(table, "methods"), w->methods[m].name))
            continue;
        cli_html_raw(h, "<tr><th>");
        cli_html_text(h, w->methods[m].title);
        cli_html_raw(h, "</th>");
        for (int s = 0; s <= w->set_count; s++)
            if (set_shown(w, table, s))
                put_cell(w, h, s < w->set_count ? s : -1, m);
        cli_html_raw(h, "</tr>\n");
    }
    cli_html_raw(h, "</tbody></table></div>\n");
}

/* ---- Differences of two methods on the same pictures ---- */

static int method_number(const rp_work *w, const char *name)
{
    for (int m = 0; m < w->method_count; m++)
        if (name && strcmp(w->methods[m].name, name) == 0)
            return m;
    return -1;
}

static void put_difference(const rp_work *w, cli_html *h, int set, int a, int b)
{
    mcs_summary s;
    double p = (double)NAN;
    cli_html_raw(h, set < 0 ? "<td class=\"all\">" : "<td>");
    if (!rp_summarise(w, set, a, b, RP_DSC, &s, &p))
        h->failed = true;
    else if (s.n)
        cli_html_rawf(h, "<b class=\"%s\">%+.1f</b><small>%+.1f to %+.1f; p %.2g</small>",
                      s.low > 0    ? "better"
                      : s.high < 0 ? "worse"
                                   : "",
                      100 * s.mean, 100 * s.low, 100 * s.high, p);
    else
        cli_html_raw(h, "&ndash;");
    cli_html_raw(h, "</td>");
}

static void put_comparisons(const rp_work *w, cli_html *h)
{
    const json_t *list = json_object_get(w->plan, "compare");
    if (!json_array_size(list))
        return;
    cli_html_raw(h, "<h2>Differences in DSC, picture by picture</h2>\n");
    put_head(w, h, NULL);
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *two = json_array_get(list, i);
        int a = method_number(w, json_string_value(json_array_get(two, 0)));
        int b = method_number(w, json_string_value(json_array_get(two, 1)));
        if (a < 0 || b < 0)
            continue;
        cli_html_raw(h, "<tr><th>");
        cli_html_text(h, w->methods[a].title);
        cli_html_raw(h, "<small>minus</small>");
        cli_html_text(h, w->methods[b].title);
        cli_html_raw(h, "</th>");
        for (int s = 0; s <= w->set_count; s++)
            if (set_shown(w, NULL, s))
                put_difference(w, h, s < w->set_count ? s : -1, a, b);
        cli_html_raw(h, "</tr>\n");
    }
    cli_html_raw(h, "</tbody></table></div>\n");
}

static void put_about(const rp_work *w, cli_html *h)
{
    const json_t *about = json_object_get(w->plan, "about");
    const json_t *list = json_object_get(w->plan, "published");
    for (size_t i = 0; i < json_array_size(about); i++) {
        const char *s = json_string_value(json_array_get(about, i));
        cli_html_raw(h, "<p>");
        cli_html_text(h, s ? s : "");
        cli_html_raw(h, "</p>\n");
    }
    cli_html_rawf(h,
                  "<p>Means over pictures in %%, with 95 %% bootstrap intervals (2000 draws of "
                  "pictures); %d seed%s. NSD is computed as the published code does, which makes "
                  "it an overlap of regions; edge is the NSD of boundaries, tolerance 2 "
                  "pixels.</p>\n",
                  w->seed_count, w->seed_count == 1 ? "" : "s");
    for (size_t i = 0; i < json_array_size(list); i++) {
        cli_html_raw(h, "<p class=\"pub\">");
        cli_html_text(h, rp_text(json_array_get(list, i), "label", "published"));
        cli_html_raw(h, " (DSC / NSD): ");
        cli_html_text(h, rp_text(json_array_get(list, i), "source", "source not stated"));
        cli_html_raw(h, "</p>\n");
    }
}

void rp_html(rp_work *w, cli_html *h)
{
    const json_t *tables = json_object_get(w->plan, "tables");
    const char *title = rp_text(w->plan, "title", "Results");
    cli_html_raw(h, head);
    cli_html_text(h, title);
    cli_html_raw(h, style);
    cli_html_raw(h, "<h1>");
    cli_html_text(h, title);
    cli_html_raw(h, "</h1>\n");
    put_about(w, h);
    for (size_t i = 0; i < json_array_size(tables); i++)
        put_table(w, h, json_array_get(tables, i));
    if (!json_array_size(tables))
        put_table(w, h, NULL);
    put_comparisons(w, h);
    rp_html_pictures(w, h);
    cli_html_raw(h, "</body></html>\n");
}
