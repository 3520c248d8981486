/* cli_phantoms_write.c - the files of a data set of phantoms.
 *
 * Pictures are made and written in parallel, a batch at a time; each file appears whole, a
 * picture after its masks.  phantoms.json holds the settings: a folder with others is left alone.
 * What is there already is made again (milliseconds) for its captions, but not written.  The disk is
 * waited for once, before the lists: two fsync a picture cost more than drawing it. */
#define _XOPEN_SOURCE 700 /* sync() */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "tensor/parallel.h"
#include "tools/cli_phantoms.h"

enum { BATCH = 64 };

typedef struct {
    const ph_job *j;
    int64_t first;
    ph_item item[BATCH];
} batch;

/* ---- Pictures ---- */

static mcs_status write_plane(const char *folder, const char *stem, const uint8_t *plane, int size,
                              mcs_error *e)
{
    mcs_image im = { size, size, 1, 8, (void *)(uintptr_t)plane };
    char *path = cli_join(folder, stem, ".png");
    mcs_status s =
        path ? mcs_png_write_unsynced(path, &im, e) : mcs_error_set(e, MCS_ENOMEM, "out of memory");
    free(path);
    return s;
}

static mcs_status write_mask(const char *folder, const mcs_phantom *p, int structure, ph_item *item,
                             uint8_t *mask)
{
    memset(mask, 0, (size_t)p->size * (size_t)p->size);
    if (structure >= 0)
        mcs_phantom_mask(p, (mcs_phantom_structure)structure, mask);
    return write_plane(folder, item->stem, mask, p->size, &item->e);
}

static mcs_status write_structures(const ph_job *j, const mcs_phantom *p, ph_item *item,
                                   uint8_t *mask)
{
    mcs_status s = MCS_OK;
    for (int k = 0; k < MCS_PHANTOM_STRUCTURES && s == MCS_OK; k++) {
        const char *name = mcs_phantom_structure_name((mcs_phantom_structure)k);
        if (!mcs_phantom_shows(&p->facts, (mcs_phantom_structure)k))
            continue;
        char *folder = cli_join(j->folder[3], name, "");
        s = folder ? write_mask(folder, p, k, item, mask)
                   : mcs_error_set(&item->e, MCS_ENOMEM, "out of memory");
        free(folder);
    }
    return s;
}

/* A power cut can leave an empty file. */
static bool is_written(const char *path)
{
    struct stat s;
    return path && stat(path, &s) == 0 && s.st_size > 0;
}

static void write_item(const ph_job *j, int64_t i, ph_item *item, mcs_phantom *p, uint8_t *mask)
{
    if (ph_make(j, i, item, p) != MCS_OK)
        return;
    char *path = cli_join(j->folder[0], item->stem, ".png");
    bool there = is_written(path) && !j->t->force;
    free(path);
    if (there)
        return;
    if (j->o->masks &&
        (write_structures(j, p, item, mask) != MCS_OK ||
         write_mask(j->folder[1], p, item->finding, item, mask) != MCS_OK ||
         (item->other >= 0 && write_mask(j->folder[2], p, item->other, item, mask) != MCS_OK)))
        return;
    /* The error, if any, stays in the item. */
    if (write_plane(j->folder[0], item->stem, p->grey, p->size, &item->e) != MCS_OK)
        return;
}

static void body(void *arg, int64_t begin, int64_t end)
{
    batch *b = arg;
    mcs_phantom p = { 0 };
    size_t pixels = (size_t)b->j->o->size * (size_t)b->j->o->size;
    uint8_t *mask = malloc(pixels);
    for (int64_t i = begin; i < end; i++) {
        if (mask)
            write_item(b->j, b->first + i, &b->item[i], &p, mask);
        else
            mcs_error_set(&b->item[i].e, MCS_ENOMEM, "out of memory");
    }
    free(mask);
    mcs_phantom_free(&p);
}

/* ---- Lists ---- */

typedef struct {
    cli_html csv; /* a growing text */
    json_t *prompts, *other;
} lists;

static void add_captions(const ph_job *j, const ph_item *item, lists *l)
{
    mcs_phantom_wording w = mcs_phantom_wording_defaults();
    w.complete = j->o->complete;
    for (int k = 0; k < j->o->captions; k++) {
        mcs_phantom_caption c;
        char group[200], facts[300];
        uint64_t seed = cli_hash(item->stem) + (uint64_t)k + (uint64_t)j->t->seed * 1000003u;
        mcs_phantom_describe(&item->facts, &w, seed, &c);
        mcs_phantom_group(&c, group, sizeof group);
        mcs_phantom_truth(&item->facts, facts, sizeof facts);
        cli_html_rawf(&l->csv, "images/%s.png,%s,%s,%s,%s\n", item->stem, c.text, group,
                      mcs_phantom_kind_name(c.kind), facts);
    }
}

static void add_item(const ph_job *j, const ph_item *item, lists *l)
{
    char name[80];
    snprintf(name, sizeof name, "%s.png", item->stem);
    add_captions(j, item, l);
    if (item->finding >= 0)
        json_object_set_new(l->prompts, name,
                            json_string(mcs_phantom_prompt((mcs_phantom_structure)item->finding)));
    if (item->other >= 0)
        json_object_set_new(l->other, name,
                            json_string(mcs_phantom_prompt((mcs_phantom_structure)item->other)));
}

static mcs_status write_lists(const ph_job *j, const lists *l, mcs_error *e)
{
    json_t *names = json_object();
    for (int s = 0; s < MCS_PHANTOM_STRUCTURES; s++)
        json_object_set_new(names, mcs_phantom_structure_name((mcs_phantom_structure)s),
                            json_string(mcs_phantom_prompt((mcs_phantom_structure)s)));
    const struct {
        const char *name;
        const json_t *content;
    } files[] = { { "prompts.json", l->prompts },
                  { "prompts_other.json", l->other },
                  { "structures.json", names } };
    char *path = cli_join(j->o->out, "captions.csv", "");
    sync();
    mcs_status s = l->csv.failed || !names || !path ? mcs_error_set(e, MCS_ENOMEM, "out of memory")
                                                    : cli_write(path, l->csv.text, l->csv.size, e);
    free(path);
    for (size_t i = 0; i < sizeof files / sizeof *files && s == MCS_OK; i++) {
        path = cli_join(j->o->out, files[i].name, "");
        s = path ? cli_write_json(path, files[i].content, e)
                 : mcs_error_set(e, MCS_ENOMEM, "out of memory");
        free(path);
    }
    json_decref(names);
    return s;
}

/* ---- The folder ---- */

static mcs_status make_folders(ph_job *j, mcs_error *e)
{
    static const char *const names[] = { "images", "masks", "masks_other", "structures" };
    mcs_status s = MCS_OK;
    for (int i = 0; i < (j->o->masks ? 4 : 1) && s == MCS_OK; i++) {
        j->folder[i] = cli_keep_path(j->t, j->o->out, names[i]);
        s = j->folder[i] ? cli_mkdirs(j->folder[i], e)
                         : mcs_error_set(e, MCS_ENOMEM, "out of memory");
    }
    for (int k = 0; k < MCS_PHANTOM_STRUCTURES && s == MCS_OK && j->o->masks; k++) {
        mcs_phantom_structure name = (mcs_phantom_structure)k;
        char *folder = cli_join(j->folder[3], mcs_phantom_structure_name(name), "");
        s = folder ? cli_mkdirs(folder, e) : mcs_error_set(e, MCS_ENOMEM, "out of memory");
        free(folder);
    }
    return s;
}

/* As it was typed: 0.4f is another number once it has been written and read as a double. */
static double share(float x)
{
    return round((double)x * 1e6) / 1e6;
}

/* The settings of this run against those of the folder; count and captions may change. */
static int check_settings(ph_job *j)
{
    mcs_error e = { 0 };
    json_t *now =
        json_pack("{s:I,s:i,s:s,s:s,s:b,s:b,s:f,s:f,s:f,s:b,s:i}", "seed", (json_int_t)j->t->seed,
                  "size", j->o->size, "kinds", j->o->kinds, "views", j->o->views ? j->o->views : "",
                  "healthy", j->o->healthy, "masks", j->o->masks, "crops", share(j->o->crops),
                  "spotlights", share(j->o->spotlights), "complete", share(j->o->complete), "unlit",
                  j->o->unlit == 1, "format", 2);
    char *path = cli_join(j->o->out, "phantoms.json", "");
    json_t *old = path && cli_exists(path) && !j->t->force ? cli_read_json(path, &e) : NULL;
    int code = CLI_CONTINUE;
    const char *key;
    json_t *value;
    if (!now || !path)
        code = cli_error(j->t, CLI_NO_MEMORY, "out of memory");
    else if (e.status != MCS_OK)
        code = cli_die(j->t, &e, false);
    if (code == CLI_CONTINUE && old)
        json_object_foreach(now, key, value) if (code == CLI_CONTINUE &&
                                                 !json_equal(value, json_object_get(old, key)))
            code = cli_error(j->t, CLI_BAD_USAGE,
                             "%s: made with another --%s; choose another "
                             "folder, or --force to replace it",
                             j->o->out, key);
    if (code == CLI_CONTINUE && !old && cli_write_json(path, now, &e) != MCS_OK)
        code = cli_die(j->t, &e, false);
    json_decref(now);
    json_decref(old);
    free(path);
    return code;
}

static int write_batches(ph_job *j, lists *l)
{
    int64_t total = j->o->count * j->per_phantom;
    cli_progress p;
    batch *b = calloc(1, sizeof *b);
    int code = b ? CLI_CONTINUE : cli_error(j->t, CLI_NO_MEMORY, "out of memory");
    cli_progress_begin(&p, j->t, total, "pictures");
    for (int64_t first = 0; first < total && code == CLI_CONTINUE; first += BATCH) {
        int64_t n = total - first < BATCH ? total - first : BATCH;
        if (cli_stop()) {
            code = CLI_SIGNALLED + cli_stop();
            break;
        }
        b->j = j;
        b->first = first;
        mcs_pool_for(j->pool, n, 4, body, b);
        for (int64_t i = 0; i < n && code == CLI_CONTINUE; i++) {
            if (b->item[i].e.status != MCS_OK)
                code = cli_die(j->t, &b->item[i].e, false);
            else
                add_item(j, &b->item[i], l);
        }
        p.done += n;
        cli_progress_draw(&p);
    }
    cli_progress_end(&p);
    free(b);
    return code;
}

static int write_locked(ph_job *j)
{
    mcs_error e = { 0 };
    lists l = { .prompts = json_object(), .other = json_object() };
    int code = check_settings(j);
    if (code == CLI_CONTINUE && make_folders(j, &e) != MCS_OK)
        code = cli_die(j->t, &e, false);
    cli_html_raw(&l.csv, "filename,caption,group,kind,facts\n");
    if (code == CLI_CONTINUE && (!l.prompts || !l.other))
        code = cli_error(j->t, CLI_NO_MEMORY, "out of memory");
    if (code == CLI_CONTINUE)
        code = write_batches(j, &l);
    if (code == CLI_CONTINUE)
        code = write_lists(j, &l, &e) == MCS_OK ? CLI_DONE : cli_die(j->t, &e, false);
    if (code == CLI_DONE && !j->t->quiet)
        printf("%s: %lld pictures\n", j->o->out, (long long)(j->o->count * j->per_phantom));
    json_decref(l.prompts);
    json_decref(l.other);
    free(l.csv.text);
    return code;
}

int ph_write_all(ph_job *j)
{
    mcs_error e = { 0 };
    cli_lock lock = { .fd = -1 };
    if (cli_mkdirs(j->o->out, &e) != MCS_OK ||
        cli_lock_take(&lock, j->o->out, "make_phantoms", &e) != MCS_OK)
        return cli_die(j->t, &e, false);
    int code = write_locked(j);
    cli_lock_drop(&lock);
    return code;
}
