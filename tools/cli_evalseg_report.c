/* cli_evalseg_report.c - the CSV of all cases, the summary, counts of empty masks. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "tools/cli_evalseg.h"

const char *const es_columns[ES_METRICS] = {
    "DSC",        "IoU", "NSD", "NSD_official_region", "HD95",
    "HD95_monai", "HD",  "AUC", "Sensitivity",         "Precision"
};

void es_number(cli_html *h, double v)
{
    if (isnan(v))
        cli_html_raw(h, "nan");
    else
        cli_html_rawf(h, "%.9g", v);
}

json_t *es_json_number(double v)
{
    return isfinite(v) ? json_real(v) : json_null();
}

void es_level_name(const es_run *r, int level, char name[16])
{
    if (level >= r->labels)
        snprintf(name, 16, "mean");
    else if (r->binary)
        snprintf(name, 16, "foreground");
    else
        es_value_name(r->label[level], name);
}

double *es_column(const es_run *r, int which, int level, es_metric m)
{
    double *v = malloc(((size_t)r->count + 1) * sizeof *v);
    for (int64_t i = 0; v && i < r->count; i++)
        v[i] = r->failure[i] ? (double)NAN : es_at(r, which, i, level)->v[m];
    return v;
}

/* ---- The table of cases ---- */

static void csv_line(const es_run *r, cli_html *h, const char *name, int level)
{
    char label[16];
    cli_csv_field(h, name);
    if (r->levels > 1) {
        es_level_name(r, level, label);
        cli_html_rawf(h, ",%s", label);
    }
}

static void csv_cases(const es_run *r, cli_html *h)
{
    cli_html_raw(h, r->levels > 1 ? "Name,Label" : "Name");
    for (int k = 0; k < r->metrics; k++)
        cli_html_rawf(h, ",%s", es_columns[r->order[k]]);
    cli_html_raw(h, "\n");
    for (int64_t i = 0; i < r->count; i++)
        for (int level = 0; level < r->levels && !r->failure[i]; level++) {
            csv_line(r, h, r->cases[i].name, level);
            for (int k = 0; k < r->metrics; k++) {
                cli_html_raw(h, ",");
                es_number(h, es_at(r, ES_SEG, i, level)->v[r->order[k]]);
            }
            cli_html_raw(h, "\n");
        }
}

static double part(const mcs_summary *s, int row)
{
    const double v[] = { s->mean, s->std, s->low, s->high, s->median, (double)s->n };
    return v[row];
}

static const char *const rows[] = { "mean", "std", "low95", "high95", "median", "n" };

/* ---- The summary ---- */

/* Of one level: (metrics). */
static mcs_status summarise(const es_run *r, int level, mcs_summary *s, mcs_error *e)
{
    mcs_status status = MCS_OK;
    for (int k = 0; k < r->metrics && status == MCS_OK; k++) {
        double *v = es_column(r, ES_SEG, level, (es_metric)r->order[k]);
        status = v ? mcs_summarise(v, r->count, r->o->draws, (uint64_t)r->t->seed, &s[k], e)
                   : mcs_error_set(e, MCS_ENOMEM, "out of memory");
        free(v);
    }
    return status;
}

/* The mean over cases whose truth is not empty. */
static double with_truth(const es_run *r, int level, es_metric m)
{
    double sum = 0;
    int64_t n = 0;
    for (int64_t i = 0; i < r->count; i++) {
        const es_score *s = es_at(r, ES_SEG, i, level);
        if (r->failure[i] || s->truth_empty || isnan(s->v[m]))
            continue;
        sum += s->v[m];
        n++;
    }
    return n ? sum / (double)n : (double)NAN;
}

static json_t *level_json(const es_run *r, int level, const mcs_summary *s)
{
    json_t *all = json_object();
    for (int k = 0; k < r->metrics; k++)
        json_object_set_new(
            all, es_columns[r->order[k]],
            json_pack("{s:I, s:o, s:o, s:[o,o], s:o, s:o}", "n", (json_int_t)s[k].n, "mean",
                      es_json_number(s[k].mean), "std", es_json_number(s[k].std), "interval95",
                      es_json_number(s[k].low), es_json_number(s[k].high), "median",
                      es_json_number(s[k].median), "mean_with_truth",
                      es_json_number(with_truth(r, level, (es_metric)r->order[k]))));
    return all;
}

static void print_level(const es_run *r, cli_html *out, const char *name, int level,
                        const mcs_summary *s)
{
    for (int k = 0; k < r->metrics; k++) {
        if (r->levels > 1)
            cli_html_rawf(out, "%s,", name);
        cli_html_rawf(out, "%s,%lld", es_columns[r->order[k]], (long long)s[k].n);
        for (int row = 0; row < 5; row++) {
            double v = part(&s[k], row);
            cli_html_rawf(out, isnan(v) ? ",nan" : ",%.4f", v);
        }
        double v = with_truth(r, level, (es_metric)r->order[k]);
        cli_html_rawf(out, isnan(v) ? ",nan\n" : ",%.4f\n", v);
    }
}

static mcs_status all_levels(es_run *r, cli_html *csv, cli_html *out, mcs_error *e)
{
    json_t *levels = json_object();
    mcs_summary s[ES_METRICS];
    mcs_status status = MCS_OK;
    cli_html_rawf(out, "%smetric,n,mean,std,low95,high95,median,mean_with_truth\n",
                  r->levels > 1 ? "label," : "");
    for (int level = 0; level < r->levels && status == MCS_OK; level++) {
        char name[16];
        es_level_name(r, level, name);
        status = summarise(r, level, s, e);
        if (status != MCS_OK)
            break;
        print_level(r, out, name, level, s);
        json_object_set_new(levels, name, level_json(r, level, s));
        for (int row = 0; row < 6; row++) {
            csv_line(r, csv, rows[row], level);
            for (int k = 0; k < r->metrics; k++) {
                cli_html_raw(csv, ",");
                es_number(csv, part(&s[k], row));
            }
            cli_html_raw(csv, "\n");
        }
    }
    json_object_set_new(r->report, "labels", levels);
    return status;
}

/* ---- Counts ---- */

static void counts(es_run *r, cli_html *out)
{
    enum {
        CASES,
        TRUTH,
        FOUND,
        BOTH,
        MISSED,
        FALSE_ALARM,
        WITHOUT_SEG,
        WITHOUT_GT,
        FAILED,
        RESIZED,
        COUNTS
    };
    static const char *const names[COUNTS] = {
        "measured",     "truth_empty",          "segmentation_empty", "both_empty", "missed",
        "false_alarms", "without_segmentation", "without_truth",      "failed",     "resized"
    };
    int64_t n[COUNTS] = { 0 };
    for (int64_t i = 0; i < r->count; i++) {
        n[CASES] += !r->failure[i];
        for (int level = 0; level < r->labels && !r->failure[i]; level++) {
            const es_score *s = es_at(r, ES_SEG, i, level);
            n[TRUTH] += s->truth_empty;
            n[FOUND] += s->found_empty;
            n[BOTH] += s->truth_empty && s->found_empty;
            n[MISSED] += !s->truth_empty && s->found_empty;
            n[FALSE_ALARM] += s->truth_empty && !s->found_empty;
        }
    }
    n[WITHOUT_SEG] = r->without_seg;
    n[WITHOUT_GT] = r->without_gt;
    n[FAILED] = r->failed;
    n[RESIZED] = r->resized;
    json_t *j = json_object();
    cli_html_raw(out, r->labels > 1 ? "\ncount (empty, missed: of cases and labels),\n" : "\n");
    for (int k = 0; k < COUNTS; k++) {
        cli_html_rawf(out, "%s,%lld\n", names[k], (long long)n[k]);
        json_object_set_new(j, names[k], json_integer((json_int_t)n[k]));
    }
    json_object_set_new(r->report, "counts", j);
}

/* ---- Files ---- */

typedef struct {
    double key;
    int64_t at;
} ranked;

static int worst_first(const void *a, const void *b)
{
    const ranked *x = a, *y = b;
    if (isnan(x->key) != isnan(y->key))
        return isnan(x->key) ? 1 : -1;
    if (!isnan(x->key) && x->key != y->key)
        return x->key < y->key ? -1 : 1;
    return (x->at > y->at) - (x->at < y->at);
}

int64_t *es_rank(const es_run *r)
{
    es_metric m = (es_metric)r->order[0];
    ranked *list = malloc(((size_t)r->count + 1) * sizeof *list);
    int64_t *order = malloc(((size_t)r->count + 1) * sizeof *order);
    for (int64_t i = 0; list && i < r->count; i++) {
        const es_score *s = es_at(r, ES_SEG, i, -1);
        double v = r->failure[i] ? (double)NAN : es_is_distance(m) ? -s->v[m] : s->v[m];
        if (isnan(v) && !r->failure[i] && s->truth_empty != s->found_empty)
            v = -(double)INFINITY; /* missed, or a false alarm */
        list[i] = (ranked){ v, i };
    }
    if (list)
        qsort(list, (size_t)r->count, sizeof *list, worst_first);
    for (int64_t i = 0; list && order && i < r->count; i++)
        order[i] = list[i].at;
    if (!list) {
        free(order);
        order = NULL;
    }
    free(list);
    return order;
}

static void worst(es_run *r)
{
    json_t *list = json_array();
    int64_t *order = es_rank(r);
    for (int64_t i = 0; order && i < r->count && i < 10; i++)
        if (!r->failure[order[i]])
            json_array_append_new(list, cli_json_text(r->cases[order[i]].name));
    free(order);
    json_object_set_new(r->report, "worst", list);
}

static mcs_status write_files(es_run *r, const cli_html *csv, mcs_error *e)
{
    mcs_status s = MCS_OK;
    if (r->o->out)
        s = cli_mkdirs_for(r->o->out, e);
    if (r->o->out && s == MCS_OK)
        s = cli_write(r->o->out, csv->text, csv->size, e);
    if (r->o->json && s == MCS_OK)
        s = cli_mkdirs_for(r->o->json, e);
    if (r->o->json && s == MCS_OK)
        s = cli_write_json(r->o->json, r->report, e);
    if (r->o->html && s == MCS_OK)
        s = es_html(r, e);
    return s;
}

static json_t *settings(const es_run *r)
{
    static const char *const rules[] = { "nan", "zero", "one", "worst" };
    json_t *said = json_array();
    for (int i = 0; i < 3; i++)
        if (r->given[i])
            json_array_append_new(said, json_string(r->meaning[i].said));
    return json_pack("{s:o, s:o, s:f, s:[f,f,f], s:s, s:i, s:I, s:o}", "gt",
                     cli_json_text(r->o->gt), "seg", cli_json_text(r->o->seg), "nsd_tolerance",
                     (double)r->o->tolerance, "spacing_xyz", r->spacing[2], r->spacing[1],
                     r->spacing[0], "empty", rules[r->o->empty], "bootstrap", r->o->draws, "seed",
                     (json_int_t)r->t->seed, "assumed", said);
}

int es_report(es_run *r)
{
    mcs_error e = { 0 };
    cli_html csv = { 0 }, out = { 0 };
    r->report = settings(r);
    csv_cases(r, &csv);
    mcs_status s = all_levels(r, &csv, &out, &e);
    counts(r, &out);
    worst(r);
    if (s == MCS_OK && r->given[ES_OTHER])
        s = es_compare(r, &out, &e);
    json_object_set(r->report, "problems", r->problems);
    if (s == MCS_OK && (csv.failed || out.failed || !r->report))
        s = mcs_error_set(&e, MCS_ENOMEM, "out of memory");
    if (s == MCS_OK)
        fputs(out.text, stdout);
    if (s == MCS_OK)
        s = write_files(r, &csv, &e);
    free(csv.text);
    free(out.text);
    if (s != MCS_OK)
        return cli_die(r->t, &e, false);
    return r->failed || (r->without_seg && !r->o->missing) ? CLI_SOME_FAILED : CLI_DONE;
}
