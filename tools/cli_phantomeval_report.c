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
    mcs_status s = MCS_OK;
    char *path[3] = { cli_join(w->o->out, "scores.csv", ""), cli_join(w->o->out, "scores.json", ""),
                      cli_join(w->o->out, "index.html", "") };
    if (!w->o->demo)
        pe_html_table(&w->html, w->scores);
    cli_html_raw(&w->html, "</body></html>\n");
    if (!path[0] || !path[1] || !path[2] || w->html.failed)
        s = mcs_error_set(e, MCS_ENOMEM, "out of memory");
    if (s == MCS_OK && !w->o->demo)
        s = cli_write(path[0], w->csv.text, w->csv.size, e);
    if (s == MCS_OK && !w->o->demo)
        s = cli_write_json(path[1], w->scores, e);
    if (s == MCS_OK)
        s = cli_write(path[2], w->html.text, w->html.size, e);
    for (int i = 0; i < 3; i++)
        free(path[i]);
    return s;
}

int pe_report(pe_eval *w)
{
    mcs_error e = { 0 };
    int code = CLI_CONTINUE;
    cli_html_raw(&w->csv, "method,structure,metric,n,mean,low95,high95,median\n");
    if (!w->o->demo && w->clip)
        code = pe_report_retrieval(w);
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
