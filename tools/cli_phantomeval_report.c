/* cli_phantomeval_report.c - scores.csv, scores.json, the page. */
#include <stdio.h>
#include <stdlib.h>
#include "tools/cli_phantomeval.h"

void pe_emit(pe_eval *w, const char *method, const char *structure, const char *metric,
             const pe_summary *s)
{
    cli_html_rawf(&w->csv, "%s,%s,%s,%lld,%.4f,%.4f,%.4f,%.4f\n", method, structure, metric,
                  (long long)s->n, s->mean, s->low, s->high, s->median);
    json_array_append_new(w->scores, json_pack("{s:s, s:s, s:s, s:I, s:f, s:f, s:f, s:f}", "method",
                                               method, "structure", structure, "metric", metric,
                                               "n", (json_int_t)s->n, "mean", s->mean, "low95",
                                               s->low, "high95", s->high, "median", s->median));
}

static int report_table(pe_eval *w, const pe_table *t)
{
    for (int s = -1; s < MCS_PHANTOM_STRUCTURES; s++)
        for (int m = 0; m < PE_METRICS; m++) {
            pe_summary sum;
            if (!pe_summarise(t, w->o->count, s, (pe_metric)m, &sum))
                return cli_error(w->t, CLI_NO_MEMORY, "out of memory");
            if (sum.n)
                pe_emit(w, t->name,
                        s < 0 ? "all" : mcs_phantom_structure_name((mcs_phantom_structure)s),
                        pe_names[m], &sum);
        }
    return CLI_CONTINUE;
}

static mcs_status write_files(pe_eval *w, mcs_error *e)
{
    const char *out = w->o->out;
    mcs_status s = MCS_OK;
    if (!w->o->demo) {
        pe_html_table(&w->html, w->scores);
        s = cli_html_save(&w->csv, out, "scores.csv", e);
        if (s == MCS_OK)
            s = cli_save_json(out, "scores.json", w->scores, e);
    }
    cli_html_raw(&w->html, "</body></html>\n");
    return s == MCS_OK ? cli_html_save(&w->html, out, "index.html", e) : s;
}

int pe_report(pe_eval *w)
{
    mcs_error e = { 0 };
    int code = CLI_CONTINUE;
    cli_html_raw(&w->csv, "method,structure,metric,n,mean,low95,high95,median\n");
    if (!w->o->demo && w->clip)
        code = pe_report_retrieval(w);
    if (code == CLI_CONTINUE && !w->o->demo && w->clip)
        code = pe_report_words(w);
    for (int m = 0; m < w->methods + 2 && code == CLI_CONTINUE && !w->o->demo; m++)
        code = report_table(w, &w->tables[m]);
    if (code != CLI_CONTINUE)
        return code;
    if (w->csv.failed)
        return cli_error(w->t, CLI_NO_MEMORY, "out of memory");
    if (!w->o->demo)
        fputs(w->csv.text, stdout);
    if (w->o->out && write_files(w, &e) != MCS_OK)
        return cli_die(w->t, &e, false);
    return CLI_DONE;
}
