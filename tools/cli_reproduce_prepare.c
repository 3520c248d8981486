/* cli_reproduce_prepare.c - the steps of "prepare": commands that make data or models first. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include "tools/cli_reproduce.h"

void rp_hash_text(cli_sha256 *h, const char *text)
{
    cli_sha256_add(h, text, strlen(text) + 1);
}

void rp_hash_file(cli_sha256 *h, const char *path)
{
    struct stat st;
    char line[80];
    const char *slash = strrchr(path, '/');
    if (stat(path, &st) != 0)
        return;
    snprintf(line, sizeof line, "%lld %lld", (long long)st.st_size, (long long)st.st_mtime);
    rp_hash_text(h, slash ? slash + 1 : path);
    rp_hash_text(h, line);
}

char *rp_folder(rp_work *w, const char *kind, const char *name, const char hash[65])
{
    mcs_error e = { 0 };
    char tail[200];
    snprintf(tail, sizeof tail, "%s/%s-%.8s", kind, name, hash);
    char *path = cli_join(w->o->out, tail, "");
    if (path && !w->o->table && cli_mkdirs(path, &e) != MCS_OK) {
        cli_die(w->t, &e, false);
        free(path);
        return NULL;
    }
    if (!path)
        cli_error(w->t, CLI_NO_MEMORY, "out of memory");
    return path;
}

/* What decides the step: its words, and the steps before it by their names with hashes. */
static bool hash_command(const rp_work *w, cli_sha256 *h, const json_t *command)
{
    rp_args a = { 0 };
    bool ok = rp_args_json(w, &a, command, "OUT", "SELF", rp_plan_seed(w, 0));
    for (int i = 0; i < a.count; i++)
        rp_hash_text(h, a.v[i]);
    rp_args_free(&a);
    return ok;
}

static int run_command(rp_work *w, const json_t *command, const char *folder)
{
    rp_args a = { 0 };
    char *log = cli_join(folder, "log.txt", "");
    int code = CLI_NO_MEMORY;
    if (log && rp_args_json(w, &a, command, w->o->out, folder, rp_plan_seed(w, 0)) && a.count) {
        rp_args rest = { a.v + 1, a.count - 1 };
        if (strchr(a.v[0], '/'))
            code = cli_error(w->t, CLI_BAD_USAGE, "prepare: '%s': expected a tool's bare name",
                             a.v[0]);
        else
            code = rp_run_tool(w, a.v[0], &rest, log);
    }
    rp_args_free(&a);
    free(log);
    return code;
}

static const json_t *command_of(const json_t *run, size_t i)
{
    return json_is_array(json_array_get(run, 0)) ? json_array_get(run, i) : i ? NULL : run;
}

static int run_step(rp_work *w, const json_t *run, const char *name, const char *folder)
{
    mcs_error e = { 0 };
    char *mark = cli_join(folder, "done.json", "");
    int code = mark ? CLI_CONTINUE : cli_error(w->t, CLI_NO_MEMORY, "out of memory");
    double cpu = rp_children_cpu();
    if (code == CLI_CONTINUE && !cli_exists(mark) && !w->o->table) {
        cli_info(w->t, "preparing %s", name);
        const json_t *command;
        for (size_t i = 0; (command = command_of(run, i)) && code == CLI_CONTINUE; i++)
            code = run_command(w, command, folder);
        json_t *done = json_pack("{s:f}", "cpu", rp_children_cpu() - cpu);
        if (code == CLI_CONTINUE && cli_write_json(mark, done, &e) != MCS_OK)
            code = cli_die(w->t, &e, false);
        json_decref(done);
    }
    free(mark);
    return code;
}

static bool mentions(const json_t *j, const char *name)
{
    char word[140];
    char *text = json_dumps(j, JSON_COMPACT | JSON_ENCODE_ANY);
    snprintf(word, sizeof word, "{prep:%s}", name);
    bool yes = text && strstr(text, word);
    free(text);
    return yes;
}

enum { STEPS_MAX = 50 };

/* Is a step mentioned by a cell that is to be run? */
static bool used(const rp_work *w, const char *name)
{
    for (int s = 0; s < w->set_count; s++)
        for (int m = 0; m < w->method_count; m++) {
            const rp_method *method = &w->methods[m];
            if (rp_wanted(w, &w->sets[s], method) &&
                (mentions(w->sets[s].json, name) || mentions(method->json, name) ||
                 (method->base >= 0 && mentions(w->methods[method->base].json, name))))
                return true;
        }
    return false;
}

/* ... or by a later step that is needed? */
static void find_needed(const rp_work *w, const json_t *steps, bool needed[STEPS_MAX])
{
    for (size_t i = json_array_size(steps); i-- > 0;) {
        const char *name = rp_text(json_array_get(steps, i), "name", "");
        needed[i] = used(w, name);
        for (size_t k = i + 1; k < json_array_size(steps) && !needed[i]; k++)
            needed[i] = needed[k] && mentions(json_array_get(steps, k), name);
    }
}

int rp_prepare(rp_work *w)
{
    const json_t *steps = json_object_get(w->plan, "prepare");
    bool needed[STEPS_MAX] = { false };
    int code = CLI_CONTINUE;
    if (json_array_size(steps) > STEPS_MAX)
        return cli_error(w->t, CLI_BAD_USAGE, "prepare: more than %d steps", STEPS_MAX);
    find_needed(w, steps, needed);
    for (size_t i = 0; i < json_array_size(steps) && code == CLI_CONTINUE; i++) {
        const json_t *step = json_array_get(steps, i), *run = json_object_get(step, "run");
        const char *name = rp_text(step, "name", NULL);
        cli_sha256 h;
        char hash[65], tail[200];
        cli_sha256_begin(&h);
        if (!name || strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789-_") != strlen(name) ||
            !json_array_size(run))
            return cli_error(w->t, CLI_BAD_USAGE,
                             "prepare: step %d: expected a name (a-z, 0-9, -, _) and run", (int)i);
        const json_t *command;
        for (size_t k = 0; (command = command_of(run, k)); k++)
            if (!hash_command(w, &h, command))
                return CLI_BAD_USAGE;
        cli_sha256_hex(&h, hash);
        snprintf(tail, sizeof tail, "prepare/%s-%.8s", name, hash);
        json_object_set_new(w->prepared, name, json_string(tail));
        char *folder = rp_folder(w, "prepare", name, hash);
        code = folder ? CLI_CONTINUE : CLI_IO_ERROR;
        if (folder && needed[i])
            code = run_step(w, run, name, folder);
        free(folder);
    }
    return code;
}
