/* cli_run_log.c - what a run leaves behind besides weights: params.json, log.jsonl, metrics.csv,
 * curves.svg, errors.jsonl. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "tools/cli_run.h"

/* ---- log.jsonl ---- */

typedef struct {
    cli_html text;
    int64_t step, epochs;
} kept_lines;

/* Lines of steps and epochs that the resumed run will do again are dropped. */
static void keep_line(void *arg, json_t *line)
{
    kept_lines *k = arg;
    const json_t *epoch = json_object_get(line, "val_loss") || json_object_get(line, "train_loss")
                              ? json_object_get(line, "epoch")
                              : NULL;
    if (json_integer_value(json_object_get(line, "step")) > k->step ||
        (epoch && json_integer_value(epoch) > k->epochs))
        return;
    char *text = json_dumps(line, JSON_COMPACT | JSON_REAL_PRECISION(9));
    k->text.failed = k->text.failed || !text;
    if (text) {
        cli_html_raw(&k->text, text);
        cli_html_raw(&k->text, "\n");
    }
    free(text);
}

static mcs_status trim_log(cli_run *r, mcs_error *e)
{
    kept_lines k = { .step = r->s->step, .epochs = (int64_t)json_array_size(r->s->history) };
    mcs_status s = MCS_OK;
    if (r->s->step > 0)
        s = cli_jsonl_read(r->log_path, keep_line, &k, NULL, e);
    if (s == MCS_OK)
        return cli_html_save(&k.text, "", r->log_path, e);
    free(k.text.text);
    return s;
}

static mcs_status write_params(cli_run *r, mcs_error *e)
{
    json_t *all = cli_settings(r->program, r->opts, false);
    json_t *j =
        json_pack("{s:s, s:s, s:o, s:I, s:O}", "tool", r->program->name, "version", MCS_VERSION,
                  "settings", all, "seed", (json_int_t)r->t->seed, "data", r->data);
    mcs_status s = cli_save_json(r->dir, "params.json", j, e);
    json_decref(j);
    return s;
}

static mcs_status write_errors(cli_run *r, mcs_error *e)
{
    char *path = cli_join(r->dir, "errors.jsonl", "");
    if (!path)
        return mcs_error_set(e, MCS_ENOMEM, "out of memory");
    unlink(path);
    mcs_status s = MCS_OK;
    int fd = -1;
    for (size_t i = 0; i < json_array_size(r->problems) && s == MCS_OK; i++) {
        const json_t *list = json_array_get(r->problems, i);
        for (size_t k = 0; k < json_array_size(list) && s == MCS_OK; k++) {
            fd = fd < 0 ? cli_jsonl_open(path, e) : fd;
            s = fd < 0 ? MCS_EIO : cli_jsonl_append(fd, path, json_array_get(list, k), e);
        }
    }
    if (fd >= 0)
        close(fd);
    free(path);
    return s;
}

int cli_run_log_begin(cli_run *r)
{
    mcs_error e = { 0 };
    if (r->t->rank)
        return CLI_CONTINUE;
    r->log_path = cli_own(r->t, cli_join(r->dir, "log.jsonl", ""));
    if (!r->log_path)
        return cli_error(r->t, CLI_NO_MEMORY, "out of memory");
    if (write_params(r, &e) != MCS_OK || write_errors(r, &e) != MCS_OK || trim_log(r, &e) != MCS_OK)
        return cli_die(r->t, &e, false);
    r->log_fd = cli_jsonl_open(r->log_path, &e);
    if (r->log_fd < 0)
        return cli_die(r->t, &e, false);
    return json_array_size(r->s->history) ? cli_run_log_epoch(r) : CLI_CONTINUE;
}

int cli_run_log(cli_run *r, json_t *line)
{
    mcs_error e = { 0 };
    if (r->t->rank) {
        json_decref(line);
        return CLI_CONTINUE;
    }
    mcs_status s = line ? cli_jsonl_append(r->log_fd, r->log_path, line, &e)
                        : mcs_error_set(&e, MCS_ENOMEM, "out of memory");
    json_decref(line);
    return s == MCS_OK ? CLI_CONTINUE : cli_die(r->t, &e, false);
}

/* ---- metrics.csv and the curves ---- */

static mcs_status write_metrics(const cli_run *r, mcs_error *e)
{
    cli_html h = { 0 };
    for (int i = 0; r->columns[i]; i++)
        cli_html_rawf(&h, "%s%s", r->columns[i], r->columns[i + 1] ? "," : "\n");
    for (size_t k = 0; k < json_array_size(r->s->history); k++) {
        const json_t *line = json_array_get(r->s->history, k);
        for (int i = 0; r->columns[i]; i++) {
            const json_t *v = json_object_get(line, r->columns[i]);
            if (json_is_number(v))
                cli_html_rawf(&h, "%.9g", json_number_value(v));
            cli_html_raw(&h, r->columns[i + 1] ? "," : "\n");
        }
    }
    return cli_html_save(&h, r->dir, "metrics.csv", e);
}

int cli_run_log_epoch(cli_run *r)
{
    mcs_error e = { 0 };
    if (r->t->rank)
        return CLI_CONTINUE;
    mcs_status s = write_metrics(r, &e);
    if (s == MCS_OK)
        s = cli_run_curves(r->panels, r->s->history, r->dir, &e);
    if (s == MCS_OK)
        s = write_errors(r, &e);
    return s == MCS_OK ? CLI_CONTINUE : cli_die(r->t, &e, false);
}
