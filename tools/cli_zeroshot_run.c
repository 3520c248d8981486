/* cli_zeroshot_run.c - the loop of zeroshot_seg over pictures: resume, failures, signals. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
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

static int dry_run(zs_run *r)
{
    mcs_error e = { 0 };
    int64_t bad = 0;
    for (int64_t i = 0; i < r->job.inputs.count; i++) {
        zs_queries q;
        const cli_input *in = &r->job.inputs.items[i];
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
             (long long)r->job.inputs.count, (long long)bad);
    return bad == r->job.inputs.count ? CLI_NOTHING : bad ? CLI_SOME_FAILED : CLI_DONE;
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
    mcs_error e = { .status = MCS_ESHAPE };
    if (!why || p->skipped)
        return CLI_CONTINUE;
    r->truth_failed = true;
    snprintf(e.message, sizeof e.message, "--gt: %s", why);
    cli_warn(r->t, "%s", e.message);
    return cli_job_note(&r->job, p->in, &e);
}

/* CLI_CONTINUE, or why the run must end here. */
static int next_picture(zs_run *r, const cli_input *in, cli_progress *progress)
{
    mcs_error e = { 0 };
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
        r->job.last_failure = s;
        cli_warn(r->t, "%s", e.message);
        code = cli_job_note(&r->job, in, &e);
        if (code == CLI_CONTINUE && r->o->on_error)
            code = progress->done - progress->failed ? CLI_SOME_FAILED : cli_code(s, false);
    }
    zs_queries_free(&p.q);
    json_decref(p.line);
    mcs_ctx_reset(r->ctx);
    cli_progress_draw(progress);
    return code;
}

static int loop(zs_run *r)
{
    mcs_error e = { 0 };
    cli_progress p;
    cli_job *j = &r->job;
    int code = CLI_CONTINUE;
    cli_log(r->t, "info", "begin", json_incref(j->run));
    cli_progress_begin(&p, r->t, j->inputs.count, "pictures");
    for (int64_t i = 0; code == CLI_CONTINUE && i < j->inputs.count; i++) {
        int stop = cli_stop();
        code = stop ? CLI_SIGNALLED + stop : next_picture(r, &j->inputs.items[i], &p);
    }
    cli_progress_end(&p);
    json_object_set_new(j->run, "peak_bytes", json_integer((json_int_t)mcs_ctx_peak(r->ctx)));
    if (cli_job_finish(j, &p, &e) != MCS_OK)
        return cli_die(r->t, &e, false);
    cli_log(r->t, "info", "end", json_incref(json_object_get(j->run, "counts")));
    code = cli_job_end(j, &p, code);
    return code == CLI_DONE && r->truth_failed ? CLI_SOME_FAILED : code;
}

/* ---- The whole ---- */

static int open_outputs(zs_run *r)
{
    cli_job *j = &r->job;
    j->results_path = cli_keep_path(r->t, j->out, "results.jsonl");
    j->errors_path = cli_keep_path(r->t, j->out, "errors.jsonl");
    if (!j->results_path || !j->errors_path)
        return cli_error(r->t, CLI_NO_MEMORY, "out of memory");
    int code = zs_report_begin(r);
    return code == CLI_CONTINUE ? cli_job_open(j) : code;
}

static int locked_run(zs_run *r)
{
    int code = cli_job_lock(&r->job);
    if (code == CLI_CONTINUE)
        code = load_model(r);
    if (code == CLI_CONTINUE)
        code = open_outputs(r);
    return code == CLI_CONTINUE ? loop(r) : code;
}

static void set_job(zs_run *r)
{
    const zs_opts *o = r->o;
    r->job = (cli_job)CLI_JOB_CLOSED;
    r->job.t = r->t;
    r->job.program = r->program;
    r->job.opts = o;
    r->job.out = o->out;
    r->job.shard = o->shard;
    r->job.resume = o->resume;
    r->job.report = o->html || o->gt ? zs_report : NULL;
    r->job.arg = r;
}

int zs_run_all(zs_run *r)
{
    int code = CLI_CONTINUE;
    const zs_opts *o = r->o;
    const cli_inputs_query q = {
        .paths = &o->input, .list = o->list, .exclude = &o->exclude, .recursive = o->recursive
    };
    set_job(r);
    if (o->list_layers) {
        code = list_layers(r);
    } else {
        code = zs_task_read(r->t, o, &r->task);
        if (code == CLI_CONTINUE)
            code = read_save(r);
        if (code == CLI_CONTINUE)
            code = zs_window_read(r);
        if (code == CLI_CONTINUE)
            code = cli_job_inputs(&r->job, &q);
        if (code == CLI_CONTINUE)
            code = r->t->dry_run ? dry_run(r) : locked_run(r);
    }
    zs_task_free(&r->task);
    mcs_medclip_sam_free(r->model);
    mcs_ctx_free(r->ctx);
    cli_job_close(&r->job);
    return code;
}
