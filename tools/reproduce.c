/* reproduce.c - a table of data sets, methods and seeds from one description in JSON: runs what is
 * not done yet, scores it, and puts the published figures beside it. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "tools/cli_reproduce.h"

#define AT(field) offsetof(rp_opts, field)
static const cli_option options[] = {
    { .kind = CLI_SECTION, .help = "What to run" },
    { CLI_TEXT, "output", 'o', AT(out), "DIR", 0, 0, "folder for everything; made if needed", "out",
      0 },
    { CLI_LIST, "set", 0, AT(places), "NAME=VALUE", 0, 0,
      "a place of the description, such as data=/data/sets (repeatable)", NULL, 0 },
    { CLI_LIST, "only", 0, AT(only), "SET|METHOD", 0, 0,
      "these sets and methods alone, and what they learn from (repeatable)", NULL, 0 },
    { CLI_INT, "count", 'n', AT(count), "N", 0, 1e9,
      "at most N pictures of each set, evenly taken; 0: all", NULL, 0 },
    { CLI_FLAG, "table", 0, AT(table), NULL, 0, 0, "report what is done, run nothing", NULL, 0 },

    { .kind = CLI_SECTION, .help = "Output" },
    { CLI_INT, "pictures", 0, AT(pictures), "N", 0, 50,
      "worst and best pictures of each set in index.html", NULL, 0 },
    { CLI_TEXT, "tools", 0, AT(tools), "DIR", 0, 0,
      "folder of zeroshot_seg and the others; that of this program if not given", NULL, 0 },
    { .kind = CLI_END },
};
static const cli_option rest = { CLI_LIST, "plan", 0, AT(plan), "FILE.json", 0, 0, NULL, NULL, 0 };
#undef AT

static const cli_program program = {
    .name = "reproduce",
    .summary = "a table of data sets, methods and seeds beside the published figures",
    .usage = "FILE.json -o DIR [--set NAME=VALUE]...",
    .options = options,
    .rest = &rest,
    .notes =
        "The description is explained in docs/reproduce/README.md.  A (set, method, seed) that is\n"
        "done is not done again; one that was stopped goes on; a changed one is done anew in a\n"
        "folder of its own.  Writes table.csv, table.json and index.html (one file, pictures in "
        "it)\n"
        "and prints the table.  Means over pictures, 95 % bootstrap intervals.\n",
};

static int run_cells(rp_work *w)
{
    int code = CLI_CONTINUE;
    for (int s = 0; s < w->set_count && code == CLI_CONTINUE; s++) {
        bool any = false;
        for (int m = 0; m < w->method_count; m++)
            any = any || rp_wanted(w, &w->sets[s], &w->methods[m]);
        if (any)
            code = rp_set_make(w, &w->sets[s]);
        for (int m = 0; m < w->method_count && code == CLI_CONTINUE; m++) {
            if (!rp_wanted(w, &w->sets[s], &w->methods[m]))
                continue;
            code = rp_cell_run(w, s, m);
            w->progress.done++;
            cli_progress_draw(&w->progress);
        }
    }
    return code;
}

static int run(rp_work *w)
{
    mcs_error e = { 0 };
    cli_lock lock = { .fd = -1 };
    int code = rp_plan_read(w);
    if (code != CLI_CONTINUE || w->t->dry_run)
        return code == CLI_CONTINUE ? CLI_DONE : code;
    if (cli_mkdirs(w->o->out, &e) != MCS_OK ||
        cli_lock_take(&lock, w->o->out, ".lock", &e) != MCS_OK)
        return cli_die(w->t, &e, false);
    int64_t total = 0;
    for (int i = 0; i < w->set_count * w->method_count; i++)
        total += rp_wanted(w, &w->sets[i / w->method_count], &w->methods[i % w->method_count]);
    cli_progress_begin(&w->progress, w->t, total, "cells");
    code = rp_prepare(w);
    if (code == CLI_CONTINUE)
        code = run_cells(w);
    cli_progress_end(&w->progress);
    if (code == CLI_CONTINUE)
        code = rp_report(w);
    cli_lock_drop(&lock);
    return code;
}

static void finish(rp_work *w)
{
    for (int i = 0; i < w->set_count * w->method_count && w->cells; i++) {
        for (int k = 0; k < RP_METRICS; k++)
            free(w->cells[i].v[k]);
        free(w->cells[i].folder);
    }
    for (int i = 0; i < w->set_count && w->sets; i++) {
        for (int64_t k = 0; k < w->sets[i].count; k++)
            free(w->sets[i].stems[k]);
        free(w->sets[i].stems);
        free(w->sets[i].folder);
    }
    free(w->cells);
    free(w->sets);
    free(w->methods);
    json_decref(w->plan);
    json_decref(w->places);
    json_decref(w->prepared);
}

/* The folder of this program. */
static const char *own_folder(cli *t, const char *argv0)
{
    char path[4096];
    ssize_t n = readlink("/proc/self/exe", path, sizeof path - 1);
    char *copy = cli_keep(t, argv0);
    if (n > 0) {
        path[n] = 0;
        copy = cli_keep(t, path);
    }
    char *slash = copy ? strrchr(copy, '/') : NULL;
    if (!slash)
        return ".";
    *slash = 0;
    return copy;
}

int main(int argc, char **argv)
{
    cli t = { 0 };
    rp_opts o = { .pictures = 4 };
    int code = cli_parse(&t, &program, &o, argc, argv);
    if (code == CLI_CONTINUE && o.plan.count != 1)
        code = cli_error(&t, CLI_BAD_USAGE, "%d descriptions: give one FILE.json", o.plan.count);
    if (code == CLI_CONTINUE && !o.out)
        code = cli_error(&t, CLI_BAD_USAGE, "no output folder: give -o DIR");
    if (code == CLI_CONTINUE) {
        if (!o.tools)
            o.tools = own_folder(&t, argv[0]);
        rp_work w = { .t = &t, .o = &o };
        cli_signals();
        code = run(&w);
        finish(&w);
    }
    cli_close(&t);
    return code;
}
