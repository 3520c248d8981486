/* cli_run_checkpoint.c - saving and resuming.
 *
 * Two files a checkpoint, NAME.safetensors (weights) and NAME.state.safetensors (moments, and as
 * metadata where training stands); each is written beside and renamed, and `latest` is set only
 * when both are there.  A kill at any moment leaves the previous `latest` whole. */
#include <dirent.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "tools/cli_run.h"
#include "weights/optim_state.h"

static const char meta_key[] = "mcs.train";

/* ---- The folder ---- */

static bool holds_run(const cli_run *r)
{
    char *latest = cli_join(r->dir, "latest", "");
    bool used = latest && cli_exists(latest);
    free(latest);
    return used;
}

void cli_run_begin(cli_run *r, cli *t, const cli_program *program, const void *opts,
                   const cli_run_opts *o, cli_run_state *s)
{
    r->t = t;
    r->program = program;
    r->opts = opts;
    r->o = o;
    r->s = s;
    r->settings = cli_settings(program, opts, true);
    json_object_set_new(r->settings, "seed", json_integer(t->seed));
}

int cli_run_open(cli_run *r)
{
    mcs_error e = { 0 };
    r->s->history = json_array();
    if (!r->settings || !r->data || !r->problems || !r->s->history)
        return cli_error(r->t, CLI_NO_MEMORY, "out of memory");
    r->dir = cli_own(r->t, cli_join(r->o->logs, r->o->name, ""));
    r->checkpoints = r->dir ? cli_own(r->t, cli_join(r->dir, "checkpoints", "")) : NULL;
    if (!r->checkpoints)
        return cli_error(r->t, CLI_NO_MEMORY, "out of memory");
    if (holds_run(r) && !r->o->resume && !r->t->force)
        return cli_error(r->t, CLI_BAD_USAGE,
                         "%s holds an earlier run; --resume latest goes on "
                         "with it, --force begins anew, or choose another "
                         "--name",
                         r->dir);
    if (r->t->rank)
        return CLI_CONTINUE;
    if (cli_mkdirs(r->checkpoints, &e) != MCS_OK ||
        cli_lock_take(&r->lock, r->dir, ".lock", &e) != MCS_OK)
        return cli_die(r->t, &e, false);
    return CLI_CONTINUE;
}

void cli_run_close(cli_run *r)
{
    if (r->log_fd >= 0)
        close(r->log_fd);
    cli_lock_drop(&r->lock);
    mcs_optim_free(r->optim);
    json_decref(r->settings);
    json_decref(r->data);
    json_decref(r->problems);
    if (r->s)
        json_decref(r->s->history);
}

/* ---- Names ---- */

/* N of "epoch_N" (what = "epoch_") followed by `suffix`; -1. */
static int64_t number_in(const char *name, const char *what, const char *suffix)
{
    size_t n = strlen(what), digits = strspn(name + (strncmp(name, what, n) ? 0 : n), "0123456789");
    if (strncmp(name, what, n) != 0 || !digits || digits > 15 ||
        strcmp(name + n + digits, suffix) != 0)
        return -1;
    return strtoll(name + n, NULL, 10);
}

static char *file_of(const cli_run *r, const char *name, const char *suffix)
{
    return cli_join(r->checkpoints, name, suffix);
}

/* ---- Tidying ---- */

static void remove_checkpoint(const cli_run *r, const char *name)
{
    static const char *const suffixes[] = { ".state.safetensors", ".safetensors" };
    for (int i = 0; i < 2; i++) {
        char *path = file_of(r, name, suffixes[i]);
        if (path)
            unlink(path);
        free(path);
    }
}

/* Is the checkpoint that was saved after `epoch` epochs to be kept? */
static bool keeps(const cli_run *r, int64_t epoch)
{
    int64_t done = (int64_t)json_array_size(r->s->history), every = r->o->save_frequency;
    if (epoch == done || epoch == r->s->best_epoch)
        return true;
    if (epoch < done && r->milestone && r->milestone(r->opts, epoch))
        return true;
    if (epoch > done || every < 1 || epoch % every)
        return false;
    return !r->o->keep || epoch > (done / every - r->o->keep) * every;
}

/* Removes what is older than asked for, and what killed runs left behind. */
static void tidy(const cli_run *r, const char *latest)
{
    DIR *d = opendir(r->checkpoints);
    const struct dirent *entry;
    while (d && (entry = readdir(d))) {
        char name[300];
        int64_t epoch = number_in(entry->d_name, "epoch_", ".safetensors");
        int64_t step = number_in(entry->d_name, "step_", ".safetensors");
        if (strstr(entry->d_name, ".tmp")) {
            char *path = file_of(r, entry->d_name, "");
            if (path)
                unlink(path);
            free(path);
            continue;
        }
        snprintf(name, sizeof name, "%s", entry->d_name);
        name[strcspn(name, ".")] = 0;
        if (strcmp(name, latest) != 0 && ((epoch >= 0 && !keeps(r, epoch)) || step >= 0))
            remove_checkpoint(r, name);
    }
    if (d)
        closedir(d);
}

/* ---- Saving ---- */

static char *state_text(const cli_run *r)
{
    const json_t *one;
    size_t i;
    json_t *data = json_array();
    json_array_foreach(r->data, i, one)
        json_array_append(data, json_object_get(one, "fingerprint"));
    json_t *j = json_pack("{s:I, s:f, s:I, s:O, s:I, s:I, s:f, s:O, s:o}", "step",
                          (json_int_t)r->s->step, "loss_sum", r->s->loss_sum, "loss_count",
                          (json_int_t)r->s->loss_count, "history", r->s->history, "best_epoch",
                          (json_int_t)r->s->best_epoch, "stale", (json_int_t)r->s->stale, "best",
                          r->s->best, "settings", r->settings, "data", data);
    char *text = j ? json_dumps(j, JSON_COMPACT | JSON_SORT_KEYS | JSON_REAL_PRECISION(17)) : NULL;
    json_decref(j);
    return text;
}

static mcs_status check_weights(const cli_run *r, mcs_error *e)
{
    for (int64_t i = 0; i < mcs_params_count(r->params); i++) {
        mcs_param_entry w = mcs_params_at(r->params, i);
        if (!w.tensor->node)
            continue;
        for (int64_t k = 0; k < mcs_numel(w.tensor); k++)
            if (!isfinite(mcs_f32(w.tensor)[k]))
                return mcs_error_set(e, MCS_ENUMERIC,
                                     "%s is no longer finite; the last checkpoint "
                                     "is kept, try a lower --lr",
                                     w.name);
    }
    return MCS_OK;
}

static mcs_status write_pair(cli_run *r, const char *name, mcs_error *e)
{
    char *weights = file_of(r, name, ".safetensors"), *text = state_text(r);
    char *state = file_of(r, name, ".state.safetensors");
    const char *meta[] = { meta_key, text, NULL };
    mcs_status s = check_weights(r, e);
    if (s == MCS_OK && (!weights || !state || !text))
        s = mcs_error_set(e, MCS_ENOMEM, "out of memory for a checkpoint");
    if (s == MCS_OK)
        s = r->save(r->model, weights, e);
    if (s == MCS_OK)
        s = mcs_optim_save(r->optim, r->params, state, meta, e);
    free(weights);
    free(state);
    free(text);
    return s;
}

static mcs_status point(const cli_run *r, const char *file, const char *name, mcs_error *e)
{
    char line[80], *path = cli_join(r->dir, file, "");
    int n = snprintf(line, sizeof line, "%s\n", name);
    mcs_status s =
        path ? cli_write(path, line, (size_t)n, e) : mcs_error_set(e, MCS_ENOMEM, "out of memory");
    free(path);
    return s;
}

int cli_run_save(cli_run *r, const char *name)
{
    mcs_error e = { 0 };
    char best[40];
    if (r->t->rank)
        return CLI_CONTINUE;
    mcs_status s = write_pair(r, name, &e);
    if (s == MCS_OK)
        s = point(r, "latest", name, &e);
    snprintf(best, sizeof best, "epoch_%lld", (long long)r->s->best_epoch);
    if (s == MCS_OK && r->s->best_epoch)
        s = point(r, "best", best, &e);
    if (s != MCS_OK)
        return cli_die(r->t, &e, false);
    tidy(r, name);
    cli_detail(r->t, "saved %s/%s.safetensors", r->checkpoints, name);
    return CLI_CONTINUE;
}

int cli_run_save_step(cli_run *r)
{
    char name[40];
    snprintf(name, sizeof name, "step_%lld", (long long)r->s->step);
    return cli_run_save(r, name);
}

void cli_run_judge(cli_run *r, const json_t *record, int64_t epoch, const char *key, bool larger)
{
    const json_t *v = json_object_get(record, key);
    double value = json_number_value(v);
    if (!json_is_number(v))
        return;
    if (!r->s->best_epoch || (larger ? value > r->s->best : value < r->s->best)) {
        r->s->best = value;
        r->s->best_epoch = epoch + 1;
        r->s->stale = 0;
    } else {
        r->s->stale++;
    }
}

/* ---- Resuming ---- */

static int find_latest(cli_run *r, const char **weights)
{
    mcs_error e = { 0 };
    char *path = cli_join(r->dir, "latest", "");
    char *name = path && cli_exists(path) ? cli_read_text(path, NULL, &e) : NULL;
    free(path);
    if (e.status != MCS_OK)
        return cli_die(r->t, &e, false);
    if (!name) {
        cli_info(r->t, "%s: no checkpoint yet, training begins", r->dir);
        return CLI_CONTINUE;
    }
    name[strcspn(name, "\r\n")] = 0;
    bool good = number_in(name, "epoch_", "") >= 0 || number_in(name, "step_", "") >= 0;
    char *file = good ? file_of(r, name, ".safetensors") : NULL;
    free(name);
    if (!good)
        return cli_error(r->t, CLI_BAD_MODEL,
                         "%s/latest does not name a checkpoint (epoch_N or "
                         "step_N)",
                         r->dir);
    *weights = cli_own(r->t, file);
    return *weights ? CLI_CONTINUE : cli_error(r->t, CLI_NO_MEMORY, "out of memory");
}

int cli_run_find(cli_run *r, const char **weights)
{
    if (!r->o->resume)
        return CLI_CONTINUE;
    if (strcmp(r->o->resume, "latest") == 0)
        return find_latest(r, weights);
    *weights = r->o->resume;
    return CLI_CONTINUE;
}

/* "x.safetensors" -> "x.state.safetensors" */
static char *state_of(const char *weights)
{
    static const char tail[] = ".safetensors";
    size_t n = strlen(weights), m = sizeof tail - 1;
    char *path = malloc(n + sizeof ".state");
    if (path && n > m && strcmp(weights + n - m, tail) == 0)
        snprintf(path, n + sizeof ".state", "%.*s.state%s", (int)(n - m), weights, tail);
    else if (path)
        snprintf(path, n + sizeof ".state", "%s.state", weights);
    return path;
}

/* The flag whose value differs, or NULL. */
static const char *changed(json_t *now, const json_t *then)
{
    for (void *it = json_object_iter(now); it; it = json_object_iter_next(now, it)) {
        const char *key = json_object_iter_key(it);
        if (!json_equal(json_object_iter_value(it), json_object_get(then, key)))
            return key;
    }
    return NULL;
}

static int take_state(cli_run *r, const json_t *j, const char *path)
{
    const json_t *data = json_object_get(j, "data");
    const char *flag = changed(r->settings, json_object_get(j, "settings"));
    if (flag && !r->t->force)
        return cli_error(r->t, CLI_BAD_USAGE,
                         "%s: was trained with another --%s; give the same settings, or --force to "
                         "go on with the new ones",
                         path, flag);
    bool same = json_array_size(data) == json_array_size(r->data);
    for (size_t i = 0; same && i < json_array_size(data); i++)
        same = json_equal(json_array_get(data, i),
                          json_object_get(json_array_get(r->data, i), "fingerprint"));
    if (!same && !r->t->force)
        return cli_error(r->t, CLI_BAD_USAGE,
                         "%s: was trained on other data; --force goes on with "
                         "the new data",
                         path);
    const json_t *history = json_object_get(j, "history");
    r->s->step = json_integer_value(json_object_get(j, "step"));
    r->s->loss_sum = json_number_value(json_object_get(j, "loss_sum"));
    r->s->loss_count = json_integer_value(json_object_get(j, "loss_count"));
    r->s->best_epoch = json_integer_value(json_object_get(j, "best_epoch"));
    r->s->stale = json_integer_value(json_object_get(j, "stale"));
    r->s->best = json_number_value(json_object_get(j, "best"));
    if (!json_is_array(history) || r->s->step < 0 || r->s->step < mcs_optim_steps(r->optim))
        return cli_error(r->t, CLI_BAD_MODEL, "%s: where training stood is damaged", path);
    json_decref(r->s->history);
    r->s->history = json_deep_copy(history);
    return r->s->history ? CLI_CONTINUE : cli_error(r->t, CLI_NO_MEMORY, "out of memory");
}

int cli_run_load(cli_run *r, const char *weights)
{
    mcs_error e = { 0 };
    char *path = state_of(weights);
    mcs_checkpoint *k = path ? mcs_checkpoint_open(path, &e) : NULL;
    int code = CLI_CONTINUE;
    if (!k || mcs_optim_load(r->optim, r->params, k, &e) != MCS_OK)
        code = path ? cli_die(r->t, &e, true) : cli_error(r->t, CLI_NO_MEMORY, "out of memory");
    const char *text = code == CLI_CONTINUE ? mcs_checkpoint_meta(k, meta_key) : NULL;
    json_t *j = text ? json_loads(text, JSON_REJECT_DUPLICATES, NULL) : NULL;
    if (code == CLI_CONTINUE && !json_is_object(j))
        code = cli_error(r->t, CLI_BAD_MODEL, "%s: does not say where training stood", path);
    if (code == CLI_CONTINUE)
        code = take_state(r, j, path);
    if (code == CLI_CONTINUE)
        cli_info(r->t, "going on from %s: step %lld", weights, (long long)r->s->step);
    json_decref(j);
    mcs_checkpoint_close(k);
    free(path);
    return code;
}
