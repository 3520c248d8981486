/* cli_job.c - the loop over pictures and the folder it fills. */
#include "tools/cli_job.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "image/image.h"

/* ---- Before ---- */

int cli_job_inputs(cli_job *j, const cli_inputs_query *query)
{
    mcs_error e = { 0 };
    cli_inputs_query q = *query;
    if (j->shard && !cli_parse_shard(j->shard, &q.shard, &q.shards))
        return cli_error(j->t, CLI_BAD_USAGE, "--shard: '%s' is not I/N with I from 1 to N",
                         j->shard);
    if (cli_inputs_find(&j->inputs, &q, &e) != MCS_OK)
        return cli_error(j->t, e.status == MCS_ENOTFOUND ? CLI_NOTHING : cli_code(e.status, false),
                         "%s", e.message);
    if (j->inputs.count)
        return CLI_CONTINUE;
    if (j->shard) {
        cli_info(j->t, "no picture falls into shard %s", j->shard);
        return CLI_DONE;
    }
    return cli_error(j->t, CLI_NOTHING, "%s: no pictures (.png, .jpg, .jpeg)%s",
                     q.paths->count ? q.paths->items[0] : q.list,
                     q.recursive || !q.paths->count ? "" : "; --recursive looks into subfolders");
}

int cli_job_lock(cli_job *j)
{
    mcs_error e = { 0 };
    char name[60] = ".lock";
    int shard, shards;
    if (j->shard && cli_parse_shard(j->shard, &shard, &shards))
        snprintf(name, sizeof name, ".lock-%d-of-%d", shard ? shard : shards, shards);
    if (cli_mkdirs(j->out, &e) != MCS_OK || cli_lock_take(&j->lock, j->out, name, &e) != MCS_OK)
        return cli_die(j->t, &e, false);
    return CLI_CONTINUE;
}

json_t *cli_job_file(const char *path, mcs_error *e)
{
    char hex[65];
    if (cli_sha256_file(path, hex, e) != MCS_OK)
        return NULL;
    return json_pack("{s:o, s:s}", "path", cli_json_text(path), "sha256", hex);
}

/* ---- Against an earlier run in the same folder ---- */

/* Other nets, or more of them, are another ensemble. */
static int compare(const cli_job *j)
{
    mcs_error e = { 0 };
    json_t *before = NULL;
    if (!j->resume || j->t->force)
        return CLI_CONTINUE;
    if (cli_job_before(j->out, &before, &e) != MCS_OK)
        return cli_error(j->t, CLI_IO_ERROR, "%s; --force starts over", e.message);
    const json_t *was = json_object_get(before, "weights"),
                 *is = json_object_get(j->run, "weights");
    int code = CLI_CONTINUE;
    if (before && json_object_size(was) != json_object_size(is))
        code = cli_job_refuse(j->t, j->out, "the list of weights", was, is);
    else if (before)
        code = cli_job_compare(j->t, j->out, before, j->run);
    json_decref(before);
    return code;
}

static void remember(void *arg, json_t *line)
{
    const char *input = json_string_value(json_object_get(line, "input"));
    if (input)
        json_object_set(arg, input, line); /* the last line of an input counts */
}

int cli_job_open(cli_job *j)
{
    mcs_error e = { 0 };
    bool afresh = !j->resume || j->t->force;
    int64_t bad = 0;
    if (!j->shard || afresh)
        unlink(j->errors_path); /* what failed before is tried again */
    if (afresh && !j->shard)
        unlink(j->results_path);
    if (!afresh) {
        j->finished = json_object();
        if (cli_jsonl_read(j->results_path, remember, j->finished, &bad, &e) != MCS_OK)
            return cli_die(j->t, &e, false);
        if (bad)
            cli_warn(j->t, "%s: %lld torn lines ignored", j->results_path, (long long)bad);
    }
    j->results_fd = cli_jsonl_open(j->results_path, &e);
    if (j->results_fd < 0 || cli_job_write_run(j->out, j->run, &e) != MCS_OK)
        return cli_die(j->t, &e, false);
    return CLI_CONTINUE;
}

int cli_job_begin(cli_job *j, json_t *weights, json_t *more)
{
    json_t *settings = cli_settings(j->program, j->opts, true);
    json_object_set_new(settings, "seed", json_integer(j->t->seed));
    j->results_path = cli_keep_path(j->t, j->out, "results.jsonl");
    j->errors_path = cli_keep_path(j->t, j->out, "errors.jsonl");
    j->run = json_pack("{s:o, s:o, s:s, s:s, s:o, s:o, s:o}", "result_settings", settings,
                       "weights", weights, "tool", j->program->name, "version", MCS_VERSION,
                       "started", cli_job_now(), "settings",
                       cli_settings(j->program, j->opts, false), "machine", cli_job_machine(j->t));
    json_object_update(j->run, more);
    json_decref(more);
    if (!j->run || !j->results_path || !j->errors_path)
        return cli_error(j->t, CLI_NO_MEMORY, "out of memory");
    cli_job_hash(j->run, j->settings_hash);
    int code = compare(j);
    return code == CLI_CONTINUE ? cli_job_open(j) : code;
}

/* ---- One picture ---- */

/* The earlier line for this input, if it still holds. */
static bool is_finished(const cli_job *j, const cli_job_item *item)
{
    json_t *key = cli_json_text(item->in->rel);
    const json_t *line = json_object_get(j->finished, json_string_value(key));
    const char *was = json_string_value(json_object_get(line, "sha256"));
    const char *how = json_string_value(json_object_get(line, "settings"));
    const char *mask = json_string_value(json_object_get(line, "mask"));
    mcs_error e = { 0 };
    json_decref(key);
    if (!was || !how || strcmp(was, item->sha256) != 0 || strcmp(how, j->settings_hash) != 0)
        return false;
    char *path = mask ? cli_join(j->out, mask, "") : NULL;
    mcs_image *im = path ? mcs_image_read(path, &e) : NULL;
    bool holds = !mask || im;
    mcs_image_free(im);
    free(path);
    return holds;
}

int cli_job_note(cli_job *j, const cli_input *in, const mcs_error *why)
{
    mcs_error e = { 0 };
    json_t *line = json_pack("{s:o, s:o, s:s, s:o}", "input", cli_json_text(in->rel), "path",
                             cli_json_text(in->path), "status", mcs_status_name(why->status),
                             "message", cli_json_text(why->message));
    if (j->errors_fd < 0)
        j->errors_fd = cli_jsonl_open(j->errors_path, &e);
    mcs_status s =
        j->errors_fd < 0 ? MCS_EIO : cli_jsonl_append(j->errors_fd, j->errors_path, line, &e);
    json_decref(line);
    return s == MCS_OK ? CLI_CONTINUE : cli_die(j->t, &e, false);
}

static mcs_status do_one(cli_job *j, cli_job_item *item, bool *skipped, mcs_error *e)
{
    const cli_input *in = item->in;
    double start = cli_clock();
    mcs_status s = cli_sha256_file(in->path, item->sha256, e);
    if (s != MCS_OK)
        return s;
    *skipped = j->finished && is_finished(j, item);
    if (*skipped)
        return MCS_OK;
    item->line =
        json_pack("{s:o, s:o, s:s, s:s}", "input", cli_json_text(in->rel), "path",
                  cli_json_text(in->path), "sha256", item->sha256, "settings", j->settings_hash);
    if (!item->line)
        return mcs_error_set(e, MCS_ENOMEM, "out of memory");
    s = j->work(j->arg, item, e);
    if (s != MCS_OK)
        return s;
    json_object_set_new(item->line, "seconds_total", json_real(cli_clock() - start));
    s = cli_jsonl_append(j->results_fd, j->results_path, item->line, e);
    item->output_failed = s != MCS_OK;
    return s;
}

/* CLI_CONTINUE, or why the run must end here. */
static int next_picture(cli_job *j, const cli_input *in, cli_progress *bar)
{
    mcs_error e = { 0 };
    cli_job_item item = { .in = in };
    bool skipped = false;
    int code = CLI_CONTINUE;
    cli_progress_now(bar, in->rel);
    mcs_status s = do_one(j, &item, &skipped, &e);
    bar->done += !skipped;
    bar->skipped += skipped;
    if (s != MCS_OK && item.output_failed) {
        code = cli_die(j->t, &e, false);
    } else if (s != MCS_OK) {
        bar->failed++;
        j->last_failure = s;
        cli_warn(j->t, "%s", e.message);
        code = cli_job_note(j, in, &e);
        if (code == CLI_CONTINUE && j->stop_on_error)
            code = bar->done > bar->failed ? CLI_SOME_FAILED : cli_code(s, false);
    } else if (!skipped) {
        cli_log(j->t, "info", "done", json_incref(item.line));
    }
    json_decref(item.line);
    cli_progress_draw(bar);
    return code;
}

/* ---- All of them ---- */

mcs_status cli_job_finish(cli_job *j, const cli_progress *bar, mcs_error *e)
{
    json_object_set_new(j->run, "finished", cli_job_now());
    json_object_set_new(j->run, "seconds", json_real(cli_clock() - bar->start));
    json_object_set_new(j->run, "counts",
                        json_pack("{s:I, s:I, s:I}", "done", (json_int_t)(bar->done - bar->failed),
                                  "skipped", (json_int_t)bar->skipped, "failed",
                                  (json_int_t)bar->failed));
    mcs_status s = cli_job_write_run(j->out, j->run, e);
    if (s != MCS_OK || !j->report)
        return s;
    json_t *lines = json_object();
    s = cli_jsonl_read(j->results_path, remember, lines, NULL, e);
    if (s == MCS_OK)
        s = j->report(j->arg, lines, e);
    json_decref(lines);
    return s;
}

static int end_code(const cli_job *j, const cli_progress *bar)
{
    if (!bar->failed)
        return CLI_DONE;
    if (bar->done > bar->failed || bar->skipped)
        return CLI_SOME_FAILED;
    bool telling = j->last_failure == MCS_ENOMEM || j->last_failure == MCS_ENUMERIC;
    return telling ? cli_code(j->last_failure, false) : CLI_NOTHING;
}

int cli_job_end(const cli_job *j, const cli_progress *bar, int code)
{
    if (code >= CLI_SIGNALLED)
        cli_info(j->t, "stopped; the same command goes on from here");
    if (bar->failed)
        cli_info(j->t, "%lld of %lld pictures failed: %s", (long long)bar->failed,
                 (long long)j->inputs.count, j->errors_path);
    if (!j->t->quiet)
        printf("done %lld, skipped %lld, failed %lld: %s\n", (long long)(bar->done - bar->failed),
               (long long)bar->skipped, (long long)bar->failed, j->out);
    return code == CLI_CONTINUE ? end_code(j, bar) : code;
}

int cli_job_run(cli_job *j)
{
    mcs_error e = { 0 };
    cli_progress bar;
    int code = CLI_CONTINUE;
    cli_progress_begin(&bar, j->t, j->inputs.count, "pictures");
    for (int64_t i = 0; code == CLI_CONTINUE && i < j->inputs.count; i++) {
        int stop = cli_stop();
        code = stop ? CLI_SIGNALLED + stop : next_picture(j, &j->inputs.items[i], &bar);
    }
    cli_progress_end(&bar);
    if (cli_job_finish(j, &bar, &e) != MCS_OK)
        return cli_die(j->t, &e, false);
    return cli_job_end(j, &bar, code);
}

void cli_job_close(cli_job *j)
{
    cli_inputs_free(&j->inputs);
    json_decref(j->run);
    json_decref(j->finished);
    if (j->results_fd >= 0)
        close(j->results_fd);
    if (j->errors_fd >= 0)
        close(j->errors_fd);
    cli_lock_drop(&j->lock);
}

/* ---- Files of a picture ---- */

char *cli_job_place(const cli_job *j, cli_job_item *item, const char *key, const char *kind,
                    const char *ext, mcs_error *e)
{
    char *rel = cli_join(kind, item->in->stem, ext);
    char *path = rel ? cli_join(j->out, rel, "") : NULL;
    if (!path) {
        mcs_error_set(e, MCS_ENOMEM, "%s: out of memory", item->in->rel);
    } else if (cli_mkdirs_for(path, e) != MCS_OK) {
        item->output_failed = true;
        free(path);
        path = NULL;
    } else {
        json_object_set_new(item->line, key, cli_json_text(rel));
    }
    free(rel);
    return path;
}
