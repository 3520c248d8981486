/* cli_job.h - what tools share that go through pictures one by one: the output folder with run.json,
 * results.jsonl, errors.jsonl and index.html; skipping what an earlier run did; failures; signals.
 *
 * A line of results.jsonl is appended when all files of a picture are written: it is what makes the
 * picture done. */
#ifndef MCS_CLI_JOB_H
#define MCS_CLI_JOB_H
#include "tools/cli_files.h"

typedef struct {
    const cli_input *in;
    json_t *line; /* of results.jsonl: "input", "path", "sha256", "settings" are set */
    char sha256[65];
    bool output_failed; /* the failure concerns the output folder: no use going on */
} cli_job_item;

typedef struct {
    cli *t;
    const cli_program *program;
    const void *opts; /* of the program */
    const char *out, *shard; /* shard Nullable, checked */
    bool resume, stop_on_error;
    /* Writes the picture's files and adds to its line. */
    mcs_status (*work)(void *arg, cli_job_item *item, mcs_error *e);
    /* After the last: reports over all lines, an object by input.  Nullable. */
    mcs_status (*report)(void *arg, const json_t *lines, mcs_error *e);
    void *arg;
    cli_inputs inputs; /* freed by cli_job_close() */
    json_t *run; /* run.json */
    char *results_path, *errors_path;
    /* private */
    json_t *finished; /* input -> line */
    char settings_hash[65];
    int results_fd, errors_fd;
    cli_lock lock;
    mcs_status last_failure;
} cli_job;
#define CLI_JOB_CLOSED                                                                             \
    {                                                                                              \
        .results_fd = -1, .errors_fd = -1, .lock = {.fd = -1 }                                     \
    }

/* Finds the pictures; none: CLI_NOTHING, or CLI_DONE for an empty shard.  CLI_CONTINUE or an exit
 * code, as all of these. */
int cli_job_inputs(cli_job *j, const cli_inputs_query *q);
/* Makes and locks the output folder. */
int cli_job_lock(cli_job *j);
/* Refuses results made with other settings or files of weights (unless --force), begins run.json.
 * weights: {"role": {"path", "sha256"}}; more: further keys of run.json.  Both are taken over. */
int cli_job_begin(cli_job *j, json_t *weights, json_t *more);
/* All pictures; an exit code. */
int cli_job_run(cli_job *j);
void cli_job_close(cli_job *j);

/* Parts of cli_job_begin() and cli_job_run(), for a tool with a loop of its own. */
/* Opens the lists (their paths are set) afresh or with j->finished, and writes j->run. */
int cli_job_open(cli_job *j);
/* A line for errors.jsonl. */
int cli_job_note(cli_job *j, const cli_input *in, const mcs_error *why);
/* Completes run.json and reports. */
mcs_status cli_job_finish(cli_job *j, const cli_progress *bar, mcs_error *e) MCS_MUST_CHECK;
/* Says what was done; the exit code, if `code` is CLI_CONTINUE. */
int cli_job_end(const cli_job *j, const cli_progress *bar, int code);

/* {"path", "sha256"} of a file; NULL: see e. */
json_t *cli_job_file(const char *path, mcs_error *e);
/* "kind/NAME.ext" in the output folder, its folder made; the relative path goes to the line as
 * `key`.  free() it; NULL: see e. */
char *cli_job_place(const cli_job *j, cli_job_item *item, const char *key, const char *kind,
                    const char *ext, mcs_error *e);

/* ---- run.json (cli_job_run.c) ---- */

json_t *cli_job_now(void); /* "2026-11-21T12:00:00Z" */
json_t *cli_job_machine(const cli *t);
/* SHA-256 of what decides results: its "result_settings" and the hashes of its "weights". */
void cli_job_hash(const json_t *run, char hex[65]);
mcs_status cli_job_write_run(const char *out, const json_t *run, mcs_error *e) MCS_MUST_CHECK;
/* run.json of an earlier run that has results; *before NULL: there is none. */
mcs_status cli_job_before(const char *out, json_t **before, mcs_error *e) MCS_MUST_CHECK;
/* Same settings and weights?  CLI_CONTINUE, or what cli_job_refuse() gives: a usage error. */
int cli_job_compare(cli *t, const char *out, const json_t *before, const json_t *run);
int cli_job_refuse(cli *t, const char *out, const char *what, const json_t *was, const json_t *is);

/* ---- index.html (cli_page.c) ---- */

void cli_page_begin(cli_html *h, const char *title);
/* Heading, counts, settings and weights of run.json. */
void cli_page_summary(cli_html *h, const char *title, const json_t *run, const json_t *lines);
void cli_page_failures(cli_html *h, const char *errors_path, mcs_error *e);
/* A card for each line, in the order of their names: fn adds figures and facts of one of them. */
void cli_page_cards(cli_html *h, const json_t *lines, void (*fn)(cli_html *h, const json_t *line));
/* The end of the page, which is written as index.html into `out` and freed (cli_html_save()). */
mcs_status cli_page_end(cli_html *h, const char *out, mcs_error *e) MCS_MUST_CHECK;
/* The picture whose relative path is in the line, if it is there. */
void cli_page_figure(cli_html *h, const json_t *line, const char *key, const char *caption);
/* A row of a table; nothing for null and empty lists. */
void cli_page_row(cli_html *h, const char *name, const json_t *v);
#endif
