/* cli_evalseg_compare.c - two methods on the same cases: paired differences.
 *
 * The case is the unit: a case with several labels enters with the mean of its labels.  Only cases
 * that have a value from both methods count.  The interval of the mean difference is bootstrapped
 * over cases; p is Wilcoxon's signed-rank test, two-sided, not corrected for several measures. */
#include <math.h>
#include <stdlib.h>
#include "tools/cli_evalseg.h"

typedef struct {
    mcs_summary a, b, d;
    mcs_signed_rank w;
} comparison;

static mcs_status compare(const es_run *r, double *a, double *b, comparison *c, mcs_error *e)
{
    uint64_t seed = (uint64_t)r->t->seed;
    mcs_status s = a && b ? MCS_OK : mcs_error_set(e, MCS_ENOMEM, "out of memory");
    for (int64_t i = 0; s == MCS_OK && i < r->count; i++)
        if (isnan(a[i]) || isnan(b[i]))
            a[i] = b[i] = (double)NAN;
    if (s == MCS_OK)
        s = mcs_wilcoxon(a, b, r->count, &c->w, e);
    if (s == MCS_OK)
        s = mcs_summarise(a, r->count, 0, seed, &c->a, e);
    if (s == MCS_OK)
        s = mcs_summarise(b, r->count, 0, seed, &c->b, e);
    for (int64_t i = 0; s == MCS_OK && i < r->count; i++)
        a[i] -= b[i];
    return s == MCS_OK ? mcs_summarise(a, r->count, r->o->draws, seed, &c->d, e) : s;
}

static void print_number(cli_html *out, double v)
{
    if (isnan(v))
        cli_html_raw(out, ",nan");
    else
        cli_html_rawf(out, ",%.4f", v);
}

static void print_row(cli_html *out, const char *name, const comparison *c)
{
    const double v[] = { c->a.mean, c->b.mean, c->d.mean, c->d.low, c->d.high };
    cli_html_rawf(out, "%s,%lld", name, (long long)c->w.n);
    for (int i = 0; i < 5; i++)
        print_number(out, v[i]);
    cli_html_rawf(out, ",%lld,%lld,%lld", (long long)c->w.larger, (long long)c->w.smaller,
                  (long long)c->w.zeros);
    cli_html_rawf(out, isnan(c->w.p) ? ",nan\n" : ",%.3g\n", c->w.p);
}

static json_t *row_json(const comparison *c)
{
    return json_pack("{s:I, s:o, s:o, s:o, s:[o,o], s:I, s:I, s:I, s:o, s:o, s:b}", "n",
                     (json_int_t)c->w.n, "mean", es_json_number(c->a.mean), "mean_other",
                     es_json_number(c->b.mean), "difference", es_json_number(c->d.mean),
                     "interval95", es_json_number(c->d.low), es_json_number(c->d.high), "larger",
                     (json_int_t)c->w.larger, "smaller", (json_int_t)c->w.smaller, "equal",
                     (json_int_t)c->w.zeros, "wilcoxon_p", es_json_number(c->w.p),
                     "wilcoxon_statistic", es_json_number(c->w.statistic), "exact",
                     (int)c->w.exact);
}

mcs_status es_compare(es_run *r, cli_html *out, mcs_error *e)
{
    json_t *all = json_object();
    mcs_status s = MCS_OK;
    cli_html_raw(out, "\nmetric,pairs,mean,other,difference,low95,high95,larger,smaller,equal,"
                      "wilcoxon_p\n");
    for (int k = 0; k < r->metrics && s == MCS_OK; k++) {
        es_metric m = (es_metric)r->order[k];
        double *a = es_column(r, ES_SEG, -1, m), *b = es_column(r, ES_OTHER, -1, m);
        comparison c = { 0 };
        s = compare(r, a, b, &c, e);
        free(a);
        free(b);
        if (s != MCS_OK)
            break;
        print_row(out, es_columns[m], &c);
        json_object_set_new(all, es_columns[m], row_json(&c));
    }
    json_object_set_new(r->report, "compare", all);
    return s;
}
