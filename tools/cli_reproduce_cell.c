/* cli_reproduce_cell.c - one cell of the table: zeroshot_seg, or a UNet trained on the masks that a
 * zero-shot method made of the training pictures; then eval_seg.
 *
 * What decides a cell is hashed into its folder's name.  The tools resume inside it. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "tools/cli_reproduce.h"

typedef struct {
    const rp_set *set;
    const rp_method *method;
    int seed;
    bool train; /* masks of the training pictures, to learn from */
    char *folder, *log;
    char hash[65];
} job;

static bool given(const json_t *list, const char *flag)
{
    for (size_t i = 0; i < json_array_size(list); i++) {
        const char *v = json_string_value(json_array_get(list, i));
        if (v && strcmp(v, flag) == 0)
            return true;
    }
    return false;
}

static bool hash_list(const rp_work *w, cli_sha256 *h, const json_t *list, int seed)
{
    rp_args words = { 0 }, files = { 0 };
    bool ok = rp_args_json(w, &words, list, "OUT", "SELF", seed) &&
              rp_args_json(w, &files, list, w->o->out, "SELF", seed);
    for (int i = 0; i < words.count && ok; i++) {
        if (*files.v[i] && cli_exists(files.v[i]))
            rp_hash_file(h, files.v[i]);
        else
            rp_hash_text(h, words.v[i]);
    }
    rp_args_free(&words);
    rp_args_free(&files);
    return ok;
}

/* Without --clip and --sam the shipped models decide. */
static void hash_shipped(const rp_work *w, cli_sha256 *h, const json_t *a, const json_t *b)
{
    static const char *const names[] = { "clip.safetensors", "sam.safetensors", "zeroshot.json" };
    if (given(a, "--clip") || given(b, "--clip") || given(a, "--sam") || given(b, "--sam"))
        return;
    for (int i = 0; i < 3; i++) {
        const char *path = cli_shipped(w->t, NULL, names[i]);
        if (path)
            rp_hash_file(h, path);
    }
}

/* base: the cell whose masks a UNet learns from; Nullable. */
static int name_job(rp_work *w, job *j, const char *base_hash)
{
    const json_t *m = j->method->json, *options = json_object_get(j->set->json, "options");
    char tail[200], text[40];
    cli_sha256 h;
    cli_sha256_begin(&h);
    snprintf(text, sizeof text, "%d %d", j->seed, j->train);
    rp_hash_text(&h, text);
    rp_hash_text(&h, j->set->hash);
    rp_hash_text(&h, base_hash ? base_hash : rp_text(m, "result", ""));
    const char *const lists[] = { "zeroshot", "train", "predict", "weights" };
    rp_hash_text(&h, rp_text(m, "weights", ""));
    bool ok = base_hash || hash_list(w, &h, options, j->seed);
    for (int i = 0; i < 4 && ok; i++)
        ok = hash_list(w, &h, json_object_get(m, lists[i]), j->seed);
    if (!ok)
        return CLI_BAD_USAGE;
    if (!base_hash)
        hash_shipped(w, &h, options, json_object_get(m, "zeroshot"));
    cli_sha256_hex(&h, j->hash);
    snprintf(tail, sizeof tail, "cells/%s", j->set->name);
    snprintf(text, sizeof text, "-s%d%s", j->seed, j->train ? "-train" : "");
    char *name = cli_join("", j->method->name, text);
    j->folder = name ? rp_folder(w, tail, name, j->hash) : NULL;
    j->log = j->folder ? cli_join(j->folder, "log.txt", "") : NULL;
    free(name);
    return j->log ? CLI_CONTINUE : CLI_IO_ERROR;
}

/* Ends a list of text parts: flag, folder/name (name Nullable: the folder itself). */
static bool add_path(rp_args *a, const char *flag, const char *folder, const char *name)
{
    char *path = name ? cli_join(folder, name, "") : strdup(folder);
    bool ok = path && rp_args_add(a, flag) && rp_args_add(a, path);
    free(path);
    return ok;
}

static bool add_common(const rp_work *w, rp_args *a, int seed)
{
    char threads[16], number[16];
    snprintf(threads, sizeof threads, "%d", w->t->threads);
    snprintf(number, sizeof number, "%d", seed);
    return rp_args_add(a, "--seed") && rp_args_add(a, number) && rp_args_add(a, "--progress") &&
           rp_args_add(a, "off") &&
           (w->t->threads <= 0 || (rp_args_add(a, "--threads") && rp_args_add(a, threads)));
}

static int run_and_free(rp_work *w, const char *tool, rp_args *a, bool ok, const char *log)
{
    int code = ok ? rp_run_tool(w, tool, a, log)
                  : cli_error(w->t, CLI_NO_MEMORY, "out of memory for %s", tool);
    rp_args_free(a);
    return code;
}

/* ---- Zero-shot ---- */

static int zeroshot(rp_work *w, const job *j)
{
    rp_args a = { 0 };
    const json_t *list = json_object_get(j->method->json, "zeroshot");
    const json_t *options = json_object_get(j->set->json, "options");
    bool ok = add_path(&a, "-i", j->set->folder, j->train ? "train" : "images") &&
              add_path(&a, "-o", j->folder, "run") && rp_args_add(&a, "--save") &&
              rp_args_add(&a, "mask,coarse") && add_common(w, &a, j->seed);
    if (ok && j->set->boxes && !j->train)
        ok = add_path(&a, "--boxes", j->set->folder, "boxes.json");
    ok = ok && rp_args_json(w, &a, options, w->o->out, j->folder, j->seed) &&
         rp_args_json(w, &a, list, w->o->out, j->folder, j->seed);
    return run_and_free(w, "zeroshot_seg", &a, ok, j->log);
}

/* ---- Weak supervision ---- */

static bool add_checkpoint(rp_args *a, const char *folder, const char *name)
{
    char *dir = cli_join(folder, "logs/unet/checkpoints", "");
    char *path = dir ? cli_join(dir, name, ".safetensors") : NULL;
    bool ok = path && cli_exists(path) && rp_args_add(a, "--weights") && rp_args_add(a, path);
    free(path);
    free(dir);
    return ok;
}

/* which: a list of names, whose probabilities are averaged; or a file that names one: "latest",
 * "best". */
static bool add_weights(rp_args *a, const char *folder, const json_t *which)
{
    mcs_error e = { 0 };
    bool ok = true;
    const char *one = json_string_value(which);
    for (size_t i = 0; i < json_array_size(which) && ok; i++) {
        const char *name = json_string_value(json_array_get(which, i));
        ok = name && add_checkpoint(a, folder, name);
    }
    if (json_array_size(which))
        return ok;
    char *note = cli_join(folder, "logs/unet", "/");
    char *path = note ? cli_join(note, one ? one : "latest", "") : NULL;
    char *name = path ? cli_read_text(path, NULL, &e) : NULL;
    if (name)
        name[strcspn(name, "\r\n")] = 0;
    ok = name && add_checkpoint(a, folder, name);
    free(name);
    free(path);
    free(note);
    return ok;
}

static int learn(rp_work *w, const job *j, const job *base)
{
    rp_args a = { 0 };
    const json_t *m = j->method->json;
    char *run = cli_join(base->folder, "run", "");
    bool ok = run && add_path(&a, "--images", j->set->folder, "train") &&
              add_path(&a, "--masks", run, rp_masks(base->method, base->folder)) &&
              add_path(&a, "--logs", j->folder, "logs") && rp_args_add(&a, "--name") &&
              rp_args_add(&a, "unet") && rp_args_add(&a, "--resume") && rp_args_add(&a, "latest") &&
              add_common(w, &a, j->seed) &&
              rp_args_json(w, &a, json_object_get(m, "train"), w->o->out, j->folder, j->seed);
    free(run);
    int code = run_and_free(w, "train_unet", &a, ok, j->log);
    if (code != CLI_CONTINUE)
        return code;
    a = (rp_args){ 0 };
    ok = add_path(&a, "-i", j->set->folder, "images") && add_path(&a, "-o", j->folder, "run") &&
         rp_args_add(&a, "--save") && rp_args_add(&a, "mask") && add_common(w, &a, j->seed) &&
         rp_args_json(w, &a, json_object_get(m, "predict"), w->o->out, j->folder, j->seed);
    if (ok && !add_weights(&a, j->folder, json_object_get(m, "weights"))) {
        rp_args_free(&a);
        return cli_error(w->t, CLI_BAD_MODEL, "%s/logs/unet: no such checkpoint as 'weights' says",
                         j->folder);
    }
    return run_and_free(w, "predict_unet", &a, ok, j->log);
}

/* ---- Scores ---- */

const char *rp_masks(const rp_method *m, const char *folder)
{
    if (m->masks)
        return m->masks;
    char *path = cli_join(folder, "run/masks", "");
    bool there = path && cli_exists(path);
    free(path);
    return there ? "masks" : "coarse";
}

static int score(rp_work *w, const job *j)
{
    rp_args a = { 0 };
    char *run = cli_join(j->folder, "run", "");
    bool ok = run && add_path(&a, "--gt", j->set->folder, "masks") &&
              add_path(&a, "--seg", run, rp_masks(j->method, j->folder)) &&
              add_path(&a, "-o", j->folder, "scores.csv") && rp_args_add(&a, "--metrics") &&
              rp_args_add(&a, "dsc,iou,nsd_official_region,nsd") && rp_args_add(&a, "--labels") &&
              rp_args_add(&a, "binary") && rp_args_add(&a, "--missing") &&
              rp_args_add(&a, "empty") && add_common(w, &a, j->seed);
    free(run);
    return run_and_free(w, "eval_seg", &a, ok, j->log);
}

/* ---- The whole ---- */

/* work: the job's own part; does nothing if it is done. */
static int once(rp_work *w, const job *j, const job *base)
{
    mcs_error e = { 0 };
    char *mark = cli_join(j->folder, "done.json", "");
    double cpu = rp_children_cpu(), start = cli_clock();
    int code = mark ? CLI_CONTINUE : cli_error(w->t, CLI_NO_MEMORY, "out of memory");
    if (code == CLI_CONTINUE && !cli_exists(mark) && !w->o->table) {
        char what[200];
        snprintf(what, sizeof what, "%s, %s%s", j->set->name, j->method->name,
                 j->train ? ", training pictures" : "");
        cli_progress_now(&w->progress, what);
        cli_progress_draw(&w->progress);
        code = base ? learn(w, j, base) : zeroshot(w, j);
        if (code == CLI_CONTINUE && !j->train)
            code = score(w, j);
        json_t *done = json_pack("{s:s, s:f, s:f}", "hash", j->hash, "cpu", rp_children_cpu() - cpu,
                                 "seconds", cli_clock() - start);
        if (code == CLI_CONTINUE && cli_write_json(mark, done, &e) != MCS_OK)
            code = cli_die(w->t, &e, false);
        json_decref(done);
    }
    free(mark);
    return code;
}

static double cpu_of(const job *j)
{
    mcs_error e = { 0 };
    char *mark = cli_join(j->folder, "done.json", "");
    json_t *done = mark && cli_exists(mark) ? cli_read_json(mark, &e) : NULL;
    double cpu = json_number_value(json_object_get(done, "cpu"));
    json_decref(done);
    free(mark);
    return cpu;
}

static void free_job(job *j)
{
    free(j->folder);
    free(j->log);
}

static int run_seed(rp_work *w, int set, int method, int seed, rp_cell *c)
{
    const rp_method *m = &w->methods[method];
    job j = { .set = &w->sets[set], .method = m, .seed = seed }, base = j;
    int code = CLI_CONTINUE;
    if (m->base >= 0) {
        if (!j.set->train)
            return cli_error(w->t, CLI_BAD_USAGE, "set '%s' has no train_images for method '%s'",
                             j.set->name, m->name);
        base.method = &w->methods[m->base];
        base.train = true;
        code = name_job(w, &base, NULL);
        code = code == CLI_CONTINUE ? once(w, &base, NULL) : code;
        c->cpu += base.folder ? cpu_of(&base) : 0;
    }
    if (code == CLI_CONTINUE)
        code = name_job(w, &j, m->base >= 0 ? base.hash : NULL);
    if (code == CLI_CONTINUE)
        code = once(w, &j, m->base >= 0 ? &base : NULL);
    if (code == CLI_CONTINUE)
        code = rp_score_read(w, j.set, j.folder, c);
    if (code == CLI_CONTINUE) {
        c->cpu += cpu_of(&j);
        if (!c->folder)
            c->folder = strdup(j.folder);
    }
    free_job(&j);
    free_job(&base);
    return code;
}

int rp_cell_run(rp_work *w, int set, int method)
{
    rp_cell *c = &w->cells[set * w->method_count + method];
    int code = CLI_CONTINUE;
    for (int i = 0; i < w->seed_count && code == CLI_CONTINUE; i++)
        code = run_seed(w, set, method, rp_plan_seed(w, i), c);
    return code;
}
