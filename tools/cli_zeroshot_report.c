/* cli_zeroshot_report.c - run.json, the check against an earlier run, index.html. */
#include "tensor/parallel.h"
#include "tools/cli_zeroshot.h"

/* ---- run.json ---- */

typedef struct {
    const char *role[3], *path[3];
    char sha256[3][65];
    mcs_error error[3];
} weight_files;

static void hash_range(void *arg, int64_t begin, int64_t end)
{
    weight_files *w = arg;
    for (int64_t i = begin; i < end; i++)
        if (w->path[i] && cli_sha256_file(w->path[i], w->sha256[i], &w->error[i]) != MCS_OK)
            w->sha256[i][0] = 0;
}

static json_t *hash_weights(const zs_run *r, mcs_error *e)
{
    bool text = zs_task_needs_text(&r->task);
    weight_files w = { .role = { "clip", "vocab", "sam" },
                       .path = { text ? r->o->clip : NULL, text ? r->o->vocab : NULL, r->o->sam } };
    mcs_pool_for(r->t->pool, 3, 1, hash_range, &w);
    json_t *all = json_object();
    for (int i = 0; i < 3; i++) {
        if (!w.path[i])
            continue;
        if (w.error[i].status != MCS_OK) {
            mcs_error_set(e, w.error[i].status, "%s", w.error[i].message);
            json_decref(all);
            return NULL;
        }
        json_object_set_new(
            all, w.role[i],
            json_pack("{s:o, s:s}", "path", cli_json_text(w.path[i]), "sha256", w.sha256[i]));
    }
    return all;
}

/* What decides results: marked options, and the weights by their content. */
static json_t *result_settings(const zs_run *r)
{
    json_t *all = cli_settings(r->program, r->o, true);
    json_object_set_new(all, "seed", json_integer(r->t->seed));
    return all;
}

static json_t *labels(const zs_run *r)
{
    json_t *all = json_object();
    for (int i = 0; i < r->task.class_count; i++)
        if (r->task.classes[i].name) {
            json_t *name = cli_json_text(r->task.classes[i].name);
            json_object_set_new(all, json_string_value(name), json_integer(i + 1));
            json_decref(name);
        }
    return all;
}

static json_t *begun(const zs_run *r, json_t *weights)
{
    json_t *run =
        json_pack("{s:o, s:o}", "result_settings", result_settings(r), "weights", weights);
    json_object_set_new(run, "tool", json_string(r->program->name));
    json_object_set_new(run, "version", json_string(MCS_VERSION));
    json_object_set_new(run, "started", cli_job_now());
    json_object_set_new(run, "settings", cli_settings(r->program, r->o, false));
    json_object_set_new(run, "saliency",
                        json_pack("{s:s, s:s, s:s}", "cam", r->o->cam, "default", r->o->cam_default,
                                  "models", r->o->shipped ? "shipped" : "given"));
    json_object_set_new(run, "machine", cli_job_machine(r->t));
    json_object_set_new(run, "labels", labels(r));
    json_object_set_new(run, "ground_truth", json_boolean(r->o->gt != NULL));
    return run;
}

/* ---- Against an earlier run in the same folder ---- */

int zs_report_begin(zs_run *r)
{
    mcs_error e = { 0 };
    json_t *weights = hash_weights(r, &e);
    if (!weights)
        return cli_die(r->t, &e, true);
    r->job.run = begun(r, weights);
    if (!r->job.run)
        return cli_error(r->t, CLI_NO_MEMORY, "out of memory");
    cli_job_hash(r->job.run, r->job.settings_hash);
    if (!r->o->resume || r->t->force)
        return CLI_CONTINUE;
    json_t *before = NULL;
    if (cli_job_before(r->o->out, &before, &e) != MCS_OK)
        return cli_error(r->t, CLI_IO_ERROR, "%s; --force starts over", e.message);
    int code = before ? cli_job_compare(r->t, r->o->out, before, r->job.run) : CLI_CONTINUE;
    json_decref(before);
    return code;
}

/* ---- The end ---- */

mcs_status zs_report(void *run, const json_t *lines, mcs_error *e)
{
    const zs_run *r = run;
    mcs_status s = r->o->gt ? zs_truth_report(r, lines, e) : MCS_OK;
    return s == MCS_OK && r->o->html ? zs_html(r, lines, e) : s;
}
