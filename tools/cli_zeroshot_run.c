/* cli_zeroshot_run.c - the loop of zeroshot_seg over pictures: resume, failures, signals. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "tools/cli_zeroshot.h"

/* ---- Preparation ---- */

static int read_save(zs_run *r)
{
    static const char *const kinds[] = { "mask", "overlay", "saliency", "coarse",
                                         "heat", "npy",     "rle" };
    const char *at = r->o->save ? r->o->save : "mask,overlay";
    while (*at) {
        size_t n = strcspn(at, ","), k = 0;
        while (k < 7 && !(strlen(kinds[k]) == n && memcmp(kinds[k], at, n) == 0))
            k++;
        if (k == 7)
            return cli_error(r->t, CLI_BAD_USAGE,
                             "--save: '%.*s' is not one of mask, overlay, saliency, coarse, heat, "
                             "npy, rle",
                             (int)n, at);
        r->save |= 1u << k;
        at += n + (at[n] != 0);
    }
    if (!r->o->sam) /* the coarse mask is then the result */
        r->save |= ZS_SAVE_COARSE;
    return CLI_CONTINUE;
}

static int find_inputs(zs_run *r)
{
    mcs_error e = { 0 };
    const zs_opts *o = r->o;
    cli_inputs_query q = {
        .paths = &o->input, .list = o->list, .exclude = &o->exclude, .recursive = o->recursive
    };
    if (o->shard && !cli_parse_shard(o->shard, &q.shard, &q.shards))
        return cli_error(r->t, CLI_BAD_USAGE, "--shard: '%s' is not I/N with I from 1 to N",
                         o->shard);
    if (cli_inputs_find(&r->inputs, &q, &e) != MCS_OK)
        return cli_error(r->t, e.status == MCS_ENOTFOUND ? CLI_NOTHING : cli_code(e.status, false),
                         "%s", e.message);
    if (r->inputs.count)
        return CLI_CONTINUE;
    if (o->shard) {
        cli_info(r->t, "no picture falls into shard %s", o->shard);
        return CLI_DONE;
    }
    return cli_error(r->t, CLI_NOTHING, "%s: no pictures (.png, .jpg, .jpeg)%s",
                     o->input.count ? o->input.items[0] : o->list,
                     o->recursive || !o->input.count ? "" : "; --recursive looks into subfolders");
}

static int dry_run(zs_run *r)
{
    mcs_error e = { 0 };
    int64_t bad = 0;
    for (int64_t i = 0; i < r->inputs.count; i++) {
        zs_queries q;
        const cli_input *in = &r->inputs.items[i];
        if (zs_queries_make(&r->task, in, &q, &e) != MCS_OK) {
            cli_warn(r->t, "%s", e.message);
            e = (mcs_error){ 0 };
            bad++;
        }
        json_t *line = json_pack("{s:o, s:o, s:o}", "input", cli_json_text(in->path), "name",
                                 cli_json_text(in->stem), "queries",
                                 q.list ? zs_queries_json(&r->task, &q) : json_array());
        char *text = line ? json_dumps(line, JSON_COMPACT) : NULL;
        puts(text ? text : "");
        free(text);
        json_decref(line);
        zs_queries_free(&q);
    }
    cli_info(r->t, "would work on %lld pictures, %lld of them without a prompt; nothing is written",
             (long long)r->inputs.count, (long long)bad);
    return bad == r->inputs.count ? CLI_NOTHING : bad ? CLI_SOME_FAILED : CLI_DONE;
}

static int load_model(zs_run *r)
{
    static const char *const types[] = { NULL, "vit_b", "vit_l", "vit_h", "vit_t" };
    mcs_error e = { 0 };
    int code = CLI_CONTINUE;
    bool text = zs_task_needs_text(&r->task) || r->o->list_layers;
    const mcs_zeroshot_files files = { .clip = text ? r->o->clip : NULL,
                                       .vocab = r->o->vocab,
                                       .sam = r->o->list_layers ? NULL : r->o->sam,
                                       .sam_type = types[r->o->model_type] };
    r->ctx = cli_context(r->t, true, &code);
    if (!r->ctx)
        return code;
    double start = cli_clock();
    r->model = mcs_medclip_sam_load(&files, &e);
    if (!r->model)
        return cli_die(r->t, &e, true);
    cli_detail(r->t, "models loaded in %.2f s", cli_clock() - start);
    return zs_task_embed(r->t, &r->task, r->model);
}

static void print_layer(const char *name, const mcs_tensor *x, void *arg)
{
    char shape[100];
    (void)arg;
    printf("%s\t%s\n", name, mcs_shape_str(x, shape, sizeof shape));
}

static int list_layers(zs_run *r)
{
    int code = load_model(r);
    if (code != CLI_CONTINUE)
        return code;
    if (mcs_medclip_sam_layers(r->ctx, r->model, print_layer, NULL) != MCS_OK)
        return cli_die(r->t, mcs_ctx_error(r->ctx), true);
    return CLI_DONE;
}

/* ---- The loop ---- */

/* The picture is done but its ground truth is of no use: said, listed, and in the exit code. */
static int note_truth(zs_run *r, const zs_picture *p)
{
    const char *why = json_string_value(json_object_get(p->line, "gt_error"));
    mcs_error e = { .status = MCS_ESHAPE }, log = { 0 };
    if (!why || p->skipped)
        return CLI_CONTINUE;
    r->truth_failed = true;
    snprintf(e.message, sizeof e.message, "--gt: %s", why);
    cli_warn(r->t, "%s", e.message);
    return zs_note_failure(r, p->in, &e, &log) == MCS_OK ? CLI_CONTINUE : cli_die(r->t, &log, false);
}

/* CLI_CONTINUE, or why the run must end here. */
static int next_picture(zs_run *r, const cli_input *in, cli_progress *progress)
{
    mcs_error e = { 0 }, log = { 0 };
    zs_picture p = { .in = in, .line = json_object() };
    int code = CLI_CONTINUE;
    cli_progress_now(progress, in->rel);
    mcs_status s = p.line ? zs_work_on(r, &p, &e) : mcs_error_set(&e, MCS_ENOMEM, "out of memory");
    if (s == MCS_OK) {
        progress->done += !p.skipped;
        progress->skipped += p.skipped;
        if (!p.skipped)
            cli_detail(r->t, "%s: %.2f s", in->rel,
                       json_number_value(json_object_get(p.line, "seconds_total")));
        cli_log(r->t, "info", p.skipped ? "skipped" : "done", json_incref(p.line));
        code = note_truth(r, &p);
    } else if (p.output_failed) {
        code = cli_die(r->t, &e, false);
    } else {
        progress->failed++;
        progress->done++;
        r->last_failure = s;
        cli_warn(r->t, "%s", e.message);
        if (zs_note_failure(r, in, &e, &log) != MCS_OK)
            code = cli_die(r->t, &log, false);
        else if (r->o->on_error)
            code = progress->done - progress->failed ? CLI_SOME_FAILED : cli_code(s, false);
    }
    zs_queries_free(&p.q);
    json_decref(p.line);
    mcs_ctx_reset(r->ctx);
    cli_progress_draw(progress);
    return code;
}

static int end_code(const zs_run *r, const cli_progress *p)
{
    if (!p->failed)
        return r->truth_failed ? CLI_SOME_FAILED : CLI_DONE;
    if (p->done > p->failed || p->skipped)
        return CLI_SOME_FAILED;
    bool telling = r->last_failure == MCS_ENOMEM || r->last_failure == MCS_ENUMERIC;
    return telling ? cli_code(r->last_failure, false) : CLI_NOTHING;
}

static int loop(zs_run *r)
{
    mcs_error e = { 0 };
    cli_progress p;
    int code = CLI_CONTINUE;
    cli_log(r->t, "info", "begin", json_incref(r->run));
    cli_progress_begin(&p, r->t, r->inputs.count, "pictures");
    for (int64_t i = 0; code == CLI_CONTINUE && i < r->inputs.count; i++) {
        int stop = cli_stop();
        code = stop ? CLI_SIGNALLED + stop : next_picture(r, &r->inputs.items[i], &p);
    }
    cli_progress_end(&p);
    if (zs_report_end(r, &p, &e) != MCS_OK)
        return cli_die(r->t, &e, false);
    cli_log(r->t, "info", "end", json_incref(json_object_get(r->run, "counts")));
    if (code >= CLI_SIGNALLED)
        cli_info(r->t, "stopped; the same command goes on from here");
    if (p.failed)
        cli_info(r->t, "%lld of %lld pictures failed: %s", (long long)p.failed,
                 (long long)r->inputs.count, r->errors_path);
    if (!r->t->quiet)
        printf("done %lld, skipped %lld, failed %lld: %s\n", (long long)(p.done - p.failed),
               (long long)p.skipped, (long long)p.failed, r->o->out);
    return code == CLI_CONTINUE ? end_code(r, &p) : code;
}

/* ---- The whole ---- */

static void remember(void *arg, json_t *line)
{
    zs_run *r = arg;
    const char *input = json_string_value(json_object_get(line, "input"));
    if (input)
        json_object_set(r->finished, input, line);
}

static int open_outputs(zs_run *r)
{
    mcs_error e = { 0 };
    r->results_path = cli_keep_path(r->t, r->o->out, "results.jsonl");
    r->errors_path = cli_keep_path(r->t, r->o->out, "errors.jsonl");
    if (!r->results_path || !r->errors_path)
        return cli_error(r->t, CLI_NO_MEMORY, "out of memory");
    int code = zs_report_compare(r);
    if (code != CLI_CONTINUE)
        return code;
    bool afresh = !r->o->resume || r->t->force;
    if (!r->o->shard || afresh)
        unlink(r->errors_path); /* what failed before is tried again */
    if (afresh && !r->o->shard)
        unlink(r->results_path);
    if (!afresh) {
        int64_t bad;
        r->finished = json_object();
        if (cli_jsonl_read(r->results_path, remember, r, &bad, &e) != MCS_OK)
            return cli_die(r->t, &e, false);
        if (bad)
            cli_warn(r->t, "%s: %lld torn lines ignored", r->results_path, (long long)bad);
    }
    r->results_fd = cli_jsonl_open(r->results_path, &e);
    if (r->results_fd < 0 || zs_report_begin(r, &e) != MCS_OK)
        return cli_die(r->t, &e, false);
    return CLI_CONTINUE;
}

static int locked_run(zs_run *r)
{
    mcs_error e = { 0 };
    cli_lock lock;
    char name[60] = ".lock";
    int shard, shards;
    if (r->o->shard && cli_parse_shard(r->o->shard, &shard, &shards))
        snprintf(name, sizeof name, ".lock-%d-of-%d", shard ? shard : shards, shards);
    if (cli_mkdirs(r->o->out, &e) != MCS_OK || cli_lock_take(&lock, r->o->out, name, &e) != MCS_OK)
        return cli_die(r->t, &e, false);
    int code = load_model(r);
    if (code == CLI_CONTINUE)
        code = open_outputs(r);
    if (code == CLI_CONTINUE)
        code = loop(r);
    cli_lock_drop(&lock);
    return code;
}

int zs_run_all(zs_run *r)
{
    int code = CLI_CONTINUE;
    if (r->o->list_layers) {
        code = list_layers(r);
    } else {
        code = zs_task_read(r->t, r->o, &r->task);
        if (code == CLI_CONTINUE)
            code = read_save(r);
        if (code == CLI_CONTINUE)
            code = zs_window_read(r);
        if (code == CLI_CONTINUE)
            code = find_inputs(r);
        if (code == CLI_CONTINUE)
            code = r->t->dry_run ? dry_run(r) : locked_run(r);
    }
    cli_inputs_free(&r->inputs);
    zs_task_free(&r->task);
    mcs_medclip_sam_free(r->model);
    mcs_ctx_free(r->ctx);
    json_decref(r->run);
    json_decref(r->finished);
    if (r->results_fd >= 0)
        close(r->results_fd);
    if (r->errors_fd >= 0)
        close(r->errors_fd);
    return code;
}
