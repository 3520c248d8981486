/* cli_reproduce_report.c - table.csv, table.json and the table on standard output. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "tools/cli_reproduce.h"

/* Figures of all sets stand beside ours only if all were run. */
static bool all_run(const rp_work *w)
{
    bool all = true;
    for (int s = 0; s < w->set_count; s++) {
        bool any = false;
        for (int m = 0; m < w->method_count; m++)
            any = any || w->cells[s * w->method_count + m].there;
        all = all && any;
    }
    return all;
}

double rp_published(const rp_work *w, size_t index, const char *method, const char *set, int metric)
{
    const json_t *p = json_array_get(json_object_get(w->plan, "published"), index);
    const json_t *row = json_object_get(json_object_get(p, "figures"), method);
    const json_t *v = json_object_get(json_object_get(row, set), rp_metric_names[metric]);
    if (!json_is_number(v) || (strcmp(set, "all") == 0 && !all_run(w)))
        return (double)NAN;
    return json_number_value(v);
}

static const char *set_name(const rp_work *w, int set)
{
    return set < 0 ? "all" : w->sets[set].name;
}

/* One row of each file: a metric of a method, or of the difference of two. */
typedef struct {
    rp_work *w;
    cli_html csv;
    json_t *rows;
    bool failed;
} report;

static json_t *number(double v)
{
    return isfinite(v) ? json_real(v) : json_null();
}

static void add_published(report *r, json_t *row, const char *method, int set, int metric)
{
    const json_t *list = json_object_get(r->w->plan, "published");
    json_t *values = json_object();
    for (size_t i = 0; i < json_array_size(list); i++) {
        double v = rp_published(r->w, i, method, set_name(r->w, set), metric);
        const char *label = rp_text(json_array_get(list, i), "label", "published");
        if (isfinite(v))
            json_object_set_new(values, label, json_real(v));
        cli_html_rawf(&r->csv, isfinite(v) ? ",%.2f" : ",", v);
    }
    json_object_set_new(row, "published", values);
}

static void add_row(report *r, int set, int method, int minus, int metric)
{
    mcs_summary s;
    char name[160];
    double p = (double)NAN;
    if (!rp_summarise(r->w, set, method, minus, metric, &s, &p)) {
        r->failed = true;
        return;
    }
    if (!s.n)
        return;
    snprintf(name, sizeof name, "%s%s%s", r->w->methods[method].name, minus < 0 ? "" : " - ",
             minus < 0 ? "" : r->w->methods[minus].name);
    cli_html_rawf(&r->csv, "%s,%s,%s,%lld,%.4f,%.4f,%.4f,%.4f,%.4f,", set_name(r->w, set), name,
                  rp_metric_names[metric], (long long)s.n, 100 * s.mean, 100 * s.low, 100 * s.high,
                  100 * s.std, 100 * s.median);
    if (isfinite(p))
        cli_html_rawf(&r->csv, "%.3g", p);
    json_t *row =
        json_pack("{s:s, s:s, s:s, s:I, s:o, s:o, s:o, s:o, s:o, s:o}", "set", set_name(r->w, set),
                  "method", name, "metric", rp_metric_names[metric], "n", (json_int_t)s.n, "mean",
                  number(s.mean), "low95", number(s.low), "high95", number(s.high), "std",
                  number(s.std), "median", number(s.median), "p", number(p));
    add_published(r, row, minus < 0 ? r->w->methods[method].name : "", set, metric);
    cli_html_raw(&r->csv, "\n");
    json_array_append_new(r->rows, row);
}

static int method_number(const rp_work *w, const char *name)
{
    for (int m = 0; m < w->method_count; m++)
        if (name && strcmp(w->methods[m].name, name) == 0)
            return m;
    return -1;
}

static void add_all(report *r)
{
    const json_t *list = json_object_get(r->w->plan, "published");
    const json_t *compare = json_object_get(r->w->plan, "compare");
    cli_html_raw(&r->csv, "set,method,metric,n,mean,low95,high95,std,median,p");
    for (size_t i = 0; i < json_array_size(list); i++) {
        cli_html_raw(&r->csv, ",\"");
        for (const char *c = rp_text(json_array_get(list, i), "label", "published"); *c; c++)
            cli_html_rawf(&r->csv, *c == '"' ? "\"\"" : "%c", *c);
        cli_html_raw(&r->csv, "\"");
    }
    cli_html_raw(&r->csv, "\n");
    for (int set = -1; set < r->w->set_count; set++)
        for (int metric = 0; metric < RP_METRICS; metric++) {
            for (int m = 0; m < r->w->method_count; m++)
                add_row(r, set, m, -1, metric);
            for (size_t i = 0; i < json_array_size(compare); i++) {
                const json_t *two = json_array_get(compare, i);
                int a = method_number(r->w, json_string_value(json_array_get(two, 0)));
                int b = method_number(r->w, json_string_value(json_array_get(two, 1)));
                if (a >= 0 && b >= 0)
                    add_row(r, set, a, b, metric);
            }
        }
}

/* ---- Standard output ---- */

static void print_value(const json_t *rows, const char *set, const char *method, const char *metric)
{
    size_t i;
    json_t *row;
    json_array_foreach((json_t *)(uintptr_t)rows, i, row)
    {
        if (strcmp(rp_text(row, "set", ""), set) != 0 ||
            strcmp(rp_text(row, "method", ""), method) != 0 ||
            strcmp(rp_text(row, "metric", ""), metric) != 0)
            continue;
        char text[60];
        snprintf(text, sizeof text, "%.1f [%.1f, %.1f]",
                 100 * json_number_value(json_object_get(row, "mean")),
                 100 * json_number_value(json_object_get(row, "low95")),
                 100 * json_number_value(json_object_get(row, "high95")));
        printf("  %-19s", text);
        return;
    }
    printf("  %-19s", "-");
}

static bool row_there(const json_t *rows, const char *set, const char *method, long long *n)
{
    size_t i;
    json_t *row;
    json_array_foreach((json_t *)(uintptr_t)rows, i, row)
    {
        if (strcmp(rp_text(row, "set", ""), set) == 0 &&
            strcmp(rp_text(row, "method", ""), method) == 0) {
            *n = json_integer_value(json_object_get(row, "n"));
            return true;
        }
    }
    return false;
}

static void print_published(const rp_work *w, const char *set, const char *method)
{
    const json_t *list = json_object_get(w->plan, "published");
    for (size_t i = 0; i < json_array_size(list); i++) {
        double dsc = rp_published(w, i, method, set, RP_DSC);
        double nsd = rp_published(w, i, method, set, RP_NSD);
        if (isfinite(dsc) && isfinite(nsd))
            printf("  %.2f / %.2f (%s)", dsc, nsd, rp_text(json_array_get(list, i), "label", ""));
        else if (isfinite(dsc))
            printf("  %.2f (%s)", dsc, rp_text(json_array_get(list, i), "label", ""));
    }
}

static void print_row(const rp_work *w, const json_t *rows, const char *set, const char *method)
{
    long long n = 0;
    if (!row_there(rows, set, method, &n))
        return;
    printf("%-14s %-22s %5lld", set, method, n);
    print_value(rows, set, method, "dsc");
    print_value(rows, set, method, "nsd");
    print_value(rows, set, method, "nsd_boundary");
    print_published(w, set, method);
    printf("\n");
}

static void print_table(const rp_work *w, const json_t *rows)
{
    const json_t *compare = json_object_get(w->plan, "compare");
    printf("%-14s %-22s %5s  %-19s  %-19s  %-19s  %s\n", "set", "method", "n", "DSC %",
           "NSD %, as published", "NSD %, boundary", "published DSC / NSD");
    for (int s = -1; s < w->set_count; s++) {
        for (int m = 0; m < w->method_count; m++)
            print_row(w, rows, set_name(w, s), w->methods[m].name);
        for (size_t i = 0; i < json_array_size(compare); i++) {
            char name[160];
            const json_t *two = json_array_get(compare, i);
            snprintf(name, sizeof name, "%s - %s", json_string_value(json_array_get(two, 0)),
                     json_string_value(json_array_get(two, 1)));
            print_row(w, rows, set_name(w, s), name);
        }
    }
}

/* ---- The whole ---- */

static mcs_status write_all(report *r, mcs_error *e)
{
    cli_html page = { 0 };
    const char *out = r->w->o->out;
    rp_html(r->w, &page);
    mcs_status s = cli_html_save(&r->csv, out, "table.csv", e);
    if (s == MCS_OK)
        s = cli_save_json(out, "table.json", r->rows, e);
    return cli_html_save(&page, out, "index.html", e);
}

int rp_report(rp_work *w)
{
    mcs_error e = { 0 };
    report r = { .w = w, .rows = json_array() };
    add_all(&r);
    int code = r.failed ? cli_error(w->t, CLI_NO_MEMORY, "out of memory") : CLI_DONE;
    if (code == CLI_DONE && !json_array_size(r.rows))
        code = cli_error(w->t, CLI_NOTHING, "%s: nothing is done yet", w->o->out);
    if (code == CLI_DONE) {
        print_table(w, r.rows);
        if (write_all(&r, &e) != MCS_OK)
            code = cli_die(w->t, &e, false);
    }
    free(r.csv.text);
    json_decref(r.rows);
    return code;
}
