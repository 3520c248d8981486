/* cli_page.c - index.html of tools that go through pictures: a card for each.  One file, no script,
 * no outside address; all that comes from names and prompts is escaped. */
#include <stdlib.h>
#include <string.h>
#include "tools/cli_job.h"

static const char style[] =
    "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\n"
    "<meta name=\"viewport\" content=\"width=device-width\">\n"
    "<meta http-equiv=\"Content-Security-Policy\" "
    "content=\"default-src 'none'; img-src 'self' file:; style-src 'unsafe-inline'\">\n"
    "<style>\n"
    "body{font:15px/1.45 system-ui,sans-serif;margin:2em auto;max-width:1200px;padding:0 1em;"
    "color:#1b2530;background:#f6f7f9}\n"
    "h1{font-size:1.5em;margin:0 0 .2em}h2{font-size:1.05em;margin:0;overflow-wrap:anywhere}\n"
    ".meta{color:#5b6672}.card{background:#fff;border:1px solid #dfe3e8;border-radius:8px;"
    "padding:1em;margin:1em 0}\n"
    ".row{display:flex;flex-wrap:wrap;gap:12px;margin:.7em 0 .3em}figure{margin:0}\n"
    "img{height:205px;max-width:100%;object-fit:contain;background:#000;border-radius:4px;"
    "display:block;image-rendering:auto}\n"
    "figcaption{font-size:.85em;color:#5b6672;margin-top:.2em}\n"
    "table{border-collapse:collapse;font-size:.9em}td,th{padding:.15em .9em .15em 0;"
    "text-align:left;vertical-align:top}td{font-variant-numeric:tabular-nums;overflow-wrap:"
    "anywhere}\n"
    ".bad{color:#a4262c}details{margin:.6em 0}summary{cursor:pointer}\n"
    "@media(prefers-color-scheme:dark){body{background:#14181d;color:#e4e8ec}.card{background:"
    "#1c2229;border-color:#303943}.meta,figcaption{color:#9aa6b2}.bad{color:#ff8a8a}}\n"
    "</style>\n";

void cli_page_begin(cli_html *h, const char *title)
{
    cli_html_raw(h, style);
    cli_html_rawf(h, "<title>%s</title></head><body>\n", title);
}

mcs_status cli_page_end(cli_html *h, const char *out, mcs_error *e)
{
    cli_html_raw(h, "</body></html>\n");
    return cli_html_save(h, out, "index.html", e);
}

static void row_text(cli_html *h, const char *name, const char *text)
{
    cli_html_raw(h, "<tr><th>");
    cli_html_text(h, name);
    cli_html_raw(h, "</th><td>");
    cli_html_text(h, text);
    cli_html_raw(h, "</td></tr>\n");
}

void cli_page_row(cli_html *h, const char *name, const json_t *v)
{
    if (!v || json_is_null(v) || (json_is_array(v) && !json_array_size(v)))
        return;
    if (json_is_string(v)) {
        row_text(h, name, json_string_value(v));
        return;
    }
    char *text = json_dumps(v, JSON_ENCODE_ANY | JSON_REAL_PRECISION(4));
    if (text)
        row_text(h, name, text);
    free(text);
}

void cli_page_figure(cli_html *h, const json_t *line, const char *key, const char *caption)
{
    const char *path = json_string_value(json_object_get(line, key));
    if (!path)
        return;
    cli_html_raw(h, "<figure><a href=\"");
    cli_html_url(h, path);
    cli_html_raw(h, "\"><img loading=\"lazy\" src=\"");
    cli_html_url(h, path);
    cli_html_raw(h, "\" alt=\"");
    cli_html_text(h, caption);
    cli_html_raw(h, "\"></a><figcaption>");
    cli_html_text(h, caption);
    cli_html_raw(h, "</figcaption></figure>\n");
}

static void failure(void *arg, json_t *line)
{
    cli_html *h = arg;
    const char *input = json_string_value(json_object_get(line, "input"));
    const char *message = json_string_value(json_object_get(line, "message"));
    if (!input || !message)
        return;
    cli_html_raw(h, "<section class=\"card\"><h2 class=\"bad\">");
    cli_html_text(h, input);
    cli_html_raw(h, "</h2>");
    cli_html_text(h, message);
    cli_html_raw(h, "</section>\n");
}

void cli_page_failures(cli_html *h, const char *errors_path, mcs_error *e)
{
    h->failed = cli_jsonl_read(errors_path, failure, h, NULL, e) != MCS_OK || h->failed;
}

void cli_page_summary(cli_html *h, const char *title, const json_t *run, const json_t *lines)
{
    const json_t *counts = json_object_get(run, "counts");
    const char *key;
    json_t *v;
    cli_html_rawf(
        h,
        "<h1>%s</h1>\n<div class=\"meta\">pictures: %lld; failed in the last run: %lld; version "
        "%s</div>\n",
        title, (long long)json_object_size(lines),
        (long long)json_integer_value(json_object_get(counts, "failed")), MCS_VERSION);
    cli_html_raw(h, "<details><summary>Settings</summary><table>\n");
    json_object_foreach(json_object_get(run, "settings"), key, v) cli_page_row(h, key, v);
    cli_page_row(h, "weights", json_object_get(run, "weights"));
    cli_html_raw(h, "</table></details>\n");
}

static void card(cli_html *h, const char *input, const json_t *line,
                 void (*fn)(cli_html *h, const json_t *line))
{
    cli_html_raw(h, "<section class=\"card\"><h2>");
    cli_html_text(h, input);
    cli_html_rawf(h, "</h2><div class=\"meta\">%lld &times; %lld pixels, %.2f s</div>\n",
                  (long long)json_integer_value(json_object_get(line, "width")),
                  (long long)json_integer_value(json_object_get(line, "height")),
                  json_number_value(json_object_get(line, "seconds_total")));
    fn(h, line);
    cli_html_raw(h, "</section>\n");
}

static int by_key(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

void cli_page_cards(cli_html *h, const json_t *lines, void (*fn)(cli_html *h, const json_t *line))
{
    size_t n = json_object_size(lines), i = 0;
    const char **keys = malloc((n ? n : 1) * sizeof *keys), *key;
    json_t *v;
    if (!keys) {
        h->failed = true;
        return;
    }
    json_object_foreach((json_t *)(uintptr_t)lines, key, v) keys[i++] = key;
    qsort(keys, n, sizeof *keys, by_key);
    for (i = 0; i < n; i++)
        card(h, keys[i], json_object_get(lines, keys[i]), fn);
    free(keys);
}
