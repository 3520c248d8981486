/* cli_zeroshot_report.c - run.json, the check against an earlier run, index.html. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>
#include "tensor/parallel.h"
#include "tools/cli_zeroshot.h"

/* ---- run.json ---- */

static json_t *now_utc(void)
{
    char stamp[40];
    time_t now = time(NULL);
    struct tm utc;
    gmtime_r(&now, &utc);
    strftime(stamp, sizeof stamp, "%Y-%m-%dT%H:%M:%SZ", &utc);
    return json_string(stamp);
}

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

static void hash_settings(zs_run *r, const json_t *settings, const json_t *weights)
{
    cli_sha256 s;
    const char *role;
    json_t *file;
    char *text = json_dumps(settings, JSON_COMPACT | JSON_SORT_KEYS | JSON_REAL_PRECISION(9));
    cli_sha256_begin(&s);
    if (text)
        cli_sha256_add(&s, text, strlen(text));
    json_object_foreach((json_t *)(uintptr_t)weights, role, file)
    {
        const char *hex = json_string_value(json_object_get(file, "sha256"));
        cli_sha256_add(&s, hex, strlen(hex));
    }
    cli_sha256_hex(&s, r->settings_hash);
    free(text);
}

static json_t *machine(const zs_run *r)
{
    struct utsname u;
    if (uname(&u) != 0)
        memset(&u, 0, sizeof u);
    return json_pack("{s:s, s:s, s:s, s:I, s:i}", "host", u.nodename, "system", u.sysname, "arch",
                     u.machine, "cores", (json_int_t)sysconf(_SC_NPROCESSORS_ONLN), "threads",
                     mcs_pool_threads(r->t->pool));
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

static mcs_status write_run(const zs_run *r, mcs_error *e)
{
    char *path = cli_join(r->o->out, "run.json", "");
    mcs_status s =
        path ? cli_write_json(path, r->run, e) : mcs_error_set(e, MCS_ENOMEM, "out of memory");
    free(path);
    return s;
}

mcs_status zs_report_begin(zs_run *r, mcs_error *e)
{
    json_object_set_new(r->run, "tool", json_string(r->program->name));
    json_object_set_new(r->run, "version", json_string(MCS_VERSION));
    json_object_set_new(r->run, "started", now_utc());
    json_object_set_new(r->run, "settings", cli_settings(r->program, r->o, false));
    json_object_set_new(r->run, "saliency",
                        json_pack("{s:s, s:s, s:s}", "cam", r->o->cam, "default", r->o->cam_default,
                                  "models", r->o->shipped ? "shipped" : "given"));
    json_object_set_new(r->run, "machine", machine(r));
    json_object_set_new(r->run, "labels", labels(r));
    json_object_set_new(r->run, "ground_truth", json_boolean(r->o->gt != NULL));
    return write_run(r, e);
}

/* ---- Against an earlier run in the same folder ---- */

static int refuse_change(const zs_run *r, const char *what, const json_t *was, const json_t *is)
{
    char *a = json_dumps(was, JSON_ENCODE_ANY | JSON_COMPACT | JSON_REAL_PRECISION(7));
    char *b = json_dumps(is, JSON_ENCODE_ANY | JSON_COMPACT | JSON_REAL_PRECISION(7));
    int code = cli_error(r->t, CLI_BAD_USAGE,
                         "%s holds results made with other settings: %s was %.200s and is %.200s "
                         "now; choose another folder, or --force to start over",
                         r->o->out, what, a ? a : "(absent)", b ? b : "(absent)");
    free(a);
    free(b);
    return code;
}

static int compare_runs(const zs_run *r, const json_t *before)
{
    const char *key;
    json_t *now;
    const json_t *old = json_object_get(before, "result_settings");
    json_object_foreach(json_object_get(r->run, "result_settings"), key, now)
    {
        const json_t *was = json_object_get(old, key);
        bool equal = json_is_real(now) ? json_number_value(now) == json_number_value(was)
                                       : json_equal(now, was);
        char flag[100];
        snprintf(flag, sizeof flag, "--%s", key);
        if (was && !equal)
            return refuse_change(r, flag, was, now);
    }
    old = json_object_get(before, "weights");
    json_object_foreach(json_object_get(r->run, "weights"), key, now)
    {
        const json_t *was = json_object_get(json_object_get(old, key), "sha256");
        char flag[100];
        snprintf(flag, sizeof flag, "the file of --%s (by its hash)", key);
        if (was && !json_equal(was, json_object_get(now, "sha256")))
            return refuse_change(r, flag, was, json_object_get(now, "sha256"));
    }
    return CLI_CONTINUE;
}

int zs_report_compare(zs_run *r)
{
    mcs_error e = { 0 };
    json_t *weights = hash_weights(r, &e);
    if (!weights)
        return cli_die(r->t, &e, true);
    json_t *settings = result_settings(r);
    hash_settings(r, settings, weights);
    r->run = json_pack("{s:o, s:o}", "result_settings", settings, "weights", weights);
    char *path = cli_join(r->o->out, "run.json", "");
    if (!r->run || !path)
        return cli_error(r->t, CLI_NO_MEMORY, "out of memory");
    int code = CLI_CONTINUE;
    struct stat results;
    bool some = stat(r->results_path, &results) == 0 && results.st_size > 0;
    if (some && cli_exists(path) && r->o->resume && !r->t->force) {
        json_t *before = cli_read_json(path, &e);
        code = before ? compare_runs(r, before)
                      : cli_error(r->t, CLI_IO_ERROR, "%s; --force starts over", e.message);
        json_decref(before);
    }
    free(path);
    return code;
}

/* ---- The end ---- */

static void collect(void *arg, json_t *line)
{
    const char *input = json_string_value(json_object_get(line, "input"));
    if (input)
        json_object_set(arg, input, line); /* the last line of an input counts */
}

mcs_status zs_report_end(zs_run *r, const cli_progress *p, mcs_error *e)
{
    json_object_set_new(r->run, "finished", now_utc());
    json_object_set_new(r->run, "seconds", json_real(cli_clock() - p->start));
    json_object_set_new(r->run, "peak_bytes", json_integer((json_int_t)mcs_ctx_peak(r->ctx)));
    json_object_set_new(r->run, "counts",
                        json_pack("{s:I, s:I, s:I}", "done", (json_int_t)(p->done - p->failed),
                                  "skipped", (json_int_t)p->skipped, "failed",
                                  (json_int_t)p->failed));
    mcs_status s = write_run(r, e);
    if (s != MCS_OK || (!r->o->html && !r->o->gt))
        return s;
    json_t *lines = json_object();
    s = cli_jsonl_read(r->results_path, collect, lines, NULL, e);
    if (s == MCS_OK && r->o->gt)
        s = zs_truth_report(r, lines, e);
    if (s == MCS_OK && r->o->html)
        s = zs_html(r, lines, e);
    json_decref(lines);
    return s;
}
