/* cli_reproduce_score.c - the tables that eval_seg left, and what follows for a set and for all. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "tools/cli_reproduce.h"
#include "tools/cli_table.h"

const char *const rp_metric_names[RP_METRICS] = { "dsc", "iou", "nsd", "nsd_boundary" };
enum { DRAWS = 2000 };

/* Row of every picture's name, without extension. */
static json_t *rows_by_stem(const cli_table *t, int column)
{
    json_t *rows = json_object();
    for (int64_t r = 0; r < t->rows; r++) {
        char name[1024];
        const char *cell = cli_table_cell(t, r, column);
        size_t n = strlen(cell);
        if (n >= sizeof name)
            continue;
        memcpy(name, cell, n + 1);
        char *dot = strrchr(name, '.');
        if (dot && cli_is_picture(name))
            *dot = 0;
        if (!json_object_get(rows, name)) /* the summary's rows come last */
            json_object_set_new(rows, name, json_integer(r));
    }
    return rows;
}

static void take_column(const rp_work *w, const rp_set *s, const cli_table *t, const json_t *rows,
                        const char *name, double *v)
{
    int column = cli_table_column(t, name);
    for (int64_t i = 0; i < s->count; i++) {
        const json_t *row = json_object_get(rows, s->stems[i]);
        const char *cell =
            row && column >= 0 ? cli_table_cell(t, json_integer_value(row), column) : "";
        char *end;
        double x = strtod(cell, &end);
        v[i] += (end == cell ? (double)NAN : x) / w->seed_count;
    }
}

static int take_table(rp_work *w, const rp_set *s, const char *folder, rp_cell *c)
{
    static const char *const columns[RP_METRICS] = { "DSC", "IoU", "NSD_official_region", "NSD" };
    mcs_error e = { 0 };
    cli_table t = { 0 };
    int name;
    char *path = cli_join(folder, "scores.csv", "");
    if (!path || cli_table_read(&t, path, ',', &e) != MCS_OK ||
        cli_table_need(&t, "Name", &name, &e) != MCS_OK) {
        cli_table_free(&t);
        free(path);
        return cli_die(w->t, &e, false);
    }
    json_t *rows = rows_by_stem(&t, name);
    for (int64_t i = 0; i < s->count; i++)
        c->missing += !json_object_get(rows, s->stems[i]);
    for (int k = 0; k < RP_METRICS; k++)
        take_column(w, s, &t, rows, columns[k], c->v[k]);
    json_decref(rows);
    cli_table_free(&t);
    free(path);
    return CLI_CONTINUE;
}

int rp_score_read(rp_work *w, const rp_set *s, const char *folder, rp_cell *c)
{
    char *mark = cli_join(folder, "done.json", "");
    bool done = mark && cli_exists(mark);
    free(mark);
    if (!done)
        return CLI_CONTINUE; /* --table of an unfinished run */
    for (int k = 0; k < RP_METRICS; k++)
        if (!c->v[k] && !(c->v[k] = calloc((size_t)s->count, sizeof **c->v)))
            return cli_error(w->t, CLI_NO_MEMORY, "out of memory");
    int code = take_table(w, s, folder, c);
    c->there = code == CLI_CONTINUE;
    return code;
}

/* ---- Summaries ---- */

static int64_t gather(const rp_work *w, int set, int method, int metric, double *out)
{
    int64_t n = 0;
    for (int s = 0; s < w->set_count; s++) {
        const rp_cell *c = &w->cells[s * w->method_count + method];
        if ((set >= 0 && s != set) || !c->there)
            continue;
        for (int64_t i = 0; i < w->sets[s].count; i++)
            out[n++] = c->v[metric][i];
    }
    return n;
}

/* All sets: only if each that was run has it, for otherwise methods' means are of different
 * pictures. */
static bool complete(const rp_work *w, int method)
{
    for (int s = 0; s < w->set_count; s++)
        for (int m = 0; m < w->method_count; m++)
            if (w->cells[s * w->method_count + m].there &&
                !w->cells[s * w->method_count + method].there)
                return false;
    return true;
}

bool rp_summarise(const rp_work *w, int set, int method, int minus, int metric, mcs_summary *s,
                  double *p)
{
    int64_t room = 1;
    mcs_error e = { 0 };
    mcs_signed_rank rank = { 0 };
    *s = (mcs_summary){ 0 };
    for (int i = 0; i < w->set_count; i++)
        room += w->sets[i].count;
    double *a = calloc((size_t)room, sizeof *a), *b = calloc((size_t)room, sizeof *b);
    bool ok = a && b;
    int64_t n = ok ? gather(w, set, method, metric, a) : 0;
    if (set < 0 && !complete(w, method))
        n = 0;
    if (n && minus >= 0) {
        if (gather(w, set, minus, metric, b) != n || (set < 0 && !complete(w, minus)))
            n = 0;
        if (p && n) {
            ok = mcs_wilcoxon(a, b, n, &rank, &e) == MCS_OK;
            *p = rank.p;
        }
        for (int64_t i = 0; i < n; i++)
            a[i] -= b[i];
    }
    if (ok && n)
        ok = mcs_summarise(a, n, DRAWS, 1, s, &e) == MCS_OK;
    free(a);
    free(b);
    return ok;
}
