/* cli_inputs.c - which files a tool works on, and what their outputs are called.
 *
 * Outputs are named after the input's path relative to the folder it was found in, never after
 * its place in a listing: names pair a picture with its mask. */
#include <dirent.h>
#include <errno.h>
#include <fnmatch.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include "tools/cli_files.h"

uint64_t cli_hash(const char *text)
{
    uint64_t h = UINT64_C(0xcbf29ce484222325);
    for (; *text; text++)
        h = (h ^ (unsigned char)*text) * UINT64_C(0x100000001b3);
    return h;
}

bool cli_parse_shard(const char *text, int *shard, int *shards)
{
    char *end;
    errno = 0;
    long i = strtol(text, &end, 10);
    if (end == text || *end != '/')
        return false;
    const char *second = end + 1;
    long n = strtol(second, &end, 10);
    if (end == second || *end || errno || n < 1 || n > 1000000 || i < 0 || i > n)
        return false;
    *shard = (int)(i % n);
    *shards = (int)n;
    return true;
}

static const char *last_part(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

static const char *extension(const char *path)
{
    const char *name = last_part(path), *dot = strrchr(name, '.');
    return dot && dot != name ? dot : name + strlen(name);
}

bool cli_is_picture(const char *name)
{
    const char *ext = extension(name);
    return strcasecmp(ext, ".png") == 0 || strcasecmp(ext, ".jpg") == 0 ||
           strcasecmp(ext, ".jpeg") == 0;
}

/* ---- Collecting ---- */

static mcs_status no_memory(mcs_error *e)
{
    return mcs_error_set(e, MCS_ENOMEM, "list of inputs: out of memory");
}

static bool excluded(const cli_inputs_query *q, const char *rel)
{
    for (int i = 0; q->exclude && i < q->exclude->count; i++)
        if (fnmatch(q->exclude->items[i], rel, 0) == 0 ||
            fnmatch(q->exclude->items[i], last_part(rel), 0) == 0)
            return true;
    return false;
}

/* Takes over path and rel (NULL: out of memory). */
static mcs_status add(cli_inputs *in, const cli_inputs_query *q, char *path, char *rel,
                      mcs_error *e)
{
    bool skip = path && rel &&
                (excluded(q, rel) ||
                 (q->shards > 1 && cli_hash(rel) % (uint64_t)q->shards != (uint64_t)q->shard));
    if (skip || !path || !rel) {
        free(path);
        free(rel);
        return skip ? MCS_OK : no_memory(e);
    }
    if ((in->count & (in->count - 1)) == 0) {
        size_t room = in->count ? (size_t)in->count * 2 : 1;
        cli_input *items = realloc(in->items, room * sizeof *items);
        if (!items) {
            free(path);
            free(rel);
            return no_memory(e);
        }
        in->items = items;
    }
    in->items[in->count++] = (cli_input){ .path = path, .rel = rel };
    return MCS_OK;
}

/* ---- Folders, with a work list instead of recursion ---- */

typedef struct {
    char *rel; /* relative to the root, "" for itself */
    dev_t dev;
    ino_t ino;
} folder;
typedef struct {
    const char *root;
    folder *list;
    size_t count, room;
} walk;

static mcs_status push_folder(walk *w, const char *rel, const struct stat *st, mcs_error *e)
{
    for (size_t i = 0; i < w->count; i++) /* a link back to a folder already seen */
        if (w->list[i].dev == st->st_dev && w->list[i].ino == st->st_ino)
            return MCS_OK;
    if (w->count == w->room) {
        size_t room = w->room ? w->room * 2 : 16;
        folder *list = realloc(w->list, room * sizeof *list);
        if (!list)
            return no_memory(e);
        w->list = list;
        w->room = room;
    }
    char *copy = strdup(rel);
    if (!copy)
        return no_memory(e);
    w->list[w->count++] = (folder){ copy, st->st_dev, st->st_ino };
    return MCS_OK;
}

static mcs_status visit_entry(cli_inputs *in, const cli_inputs_query *q, walk *w, const char *rel,
                              const char *name, mcs_error *e)
{
    struct stat st;
    mcs_status s = MCS_OK;
    char *sub = cli_join(rel, name, ""), *path = sub ? cli_join(w->root, sub, "") : NULL;
    if (!path)
        s = no_memory(e);
    else if (stat(path, &st) != 0)
        s = MCS_OK; /* a dangling link: not a picture */
    else if (S_ISDIR(st.st_mode) && q->recursive)
        s = push_folder(w, sub, &st, e);
    else if (S_ISREG(st.st_mode) && cli_is_picture(name)) {
        s = add(in, q, path, sub, e);
        path = sub = NULL;
    }
    free(path);
    free(sub);
    return s;
}

static mcs_status visit_folder(cli_inputs *in, const cli_inputs_query *q, walk *w, size_t index,
                               mcs_error *e)
{
    char *rel = w->list[index].rel; /* w->list may move, this does not */
    char *path = cli_join(w->root, rel, "");
    DIR *d = path ? opendir(path) : NULL;
    mcs_status s = MCS_OK;
    if (!path)
        s = no_memory(e);
    else if (!d)
        s = mcs_error_set(e, MCS_EIO, "%s: cannot read the folder: %s", path, strerror(errno));
    const struct dirent *entry;
    while (s == MCS_OK && (entry = readdir(d)))
        if (entry->d_name[0] != '.')
            s = visit_entry(in, q, w, rel, entry->d_name, e);
    if (d)
        closedir(d);
    free(path);
    return s;
}

static int by_rel(const void *a, const void *b)
{
    return strcmp(((const cli_input *)a)->rel, ((const cli_input *)b)->rel);
}

static mcs_status add_folder(cli_inputs *in, const cli_inputs_query *q, const char *root,
                             const struct stat *st, mcs_error *e)
{
    walk w = { .root = root };
    int64_t first = in->count;
    mcs_status s = push_folder(&w, "", st, e);
    for (size_t i = 0; s == MCS_OK && i < w.count; i++)
        s = visit_folder(in, q, &w, i, e);
    for (size_t i = 0; i < w.count; i++)
        free(w.list[i].rel);
    free(w.list);
    if (in->count > first)
        qsort(in->items + first, (size_t)(in->count - first), sizeof *in->items, by_rel);
    return s;
}

/* ---- Files and lists ---- */

/* Without leading "/", "./" and "../": a name that stays inside the output folder. */
static char *inside(const char *path)
{
    for (const char *up = path; (up = strstr(up, "../")); up += 3)
        if (up == path || up[-1] == '/')
            path = up + 3;
    while (*path == '/' || strncmp(path, "./", 2) == 0)
        path += *path == '/' ? 1 : 2;
    return strdup(*path ? path : "input");
}

static mcs_status add_path(cli_inputs *in, const cli_inputs_query *q, const char *path, bool listed,
                           mcs_error *e)
{
    struct stat st;
    if (stat(path, &st) != 0 && !listed)
        return mcs_error_set(e, MCS_ENOTFOUND, "%s: %s", path, strerror(errno));
    if (!listed && S_ISDIR(st.st_mode))
        return add_folder(in, q, path, &st, e);
    /* what a list names is tried one by one: a missing file fails alone */
    bool relative = listed && path[0] != '/';
    return add(in, q, strdup(path), relative ? inside(path) : strdup(last_part(path)), e);
}

static mcs_status add_list(cli_inputs *in, const cli_inputs_query *q, mcs_error *e)
{
    size_t size;
    char *text = cli_read_text(q->list, &size, e);
    if (!text)
        return e ? e->status : MCS_EIO;
    mcs_status s = MCS_OK;
    char end = memchr(text, 0, size) ? 0 : '\n';
    for (char *at = text; s == MCS_OK && at < text + size;) {
        char *stop = memchr(at, end, (size_t)(text + size - at));
        char *next = stop ? stop + 1 : text + size;
        if (!stop)
            stop = text + size;
        *stop = 0;
        if (end && stop > at && stop[-1] == '\r')
            stop[-1] = 0;
        if (*at)
            s = add_path(in, q, at, true, e);
        at = next;
    }
    free(text);
    return s;
}

/* ---- Names of outputs ---- */

static int by_path(const void *a, const void *b)
{
    const cli_input *const *x = a, *const *y = b;
    int c = strcmp((*x)->path, (*y)->path);
    return c ? c : (*x < *y ? -1 : *x > *y);
}

static int by_stem(const void *a, const void *b)
{
    const cli_input *const *x = a, *const *y = b;
    int c = strcmp((*x)->stem, (*y)->stem);
    return c ? c : strcmp((*x)->path, (*y)->path);
}

static void drop_repeats(cli_inputs *in, cli_input **order)
{
    qsort(order, (size_t)in->count, sizeof *order, by_path);
    for (int64_t i = in->count - 1; i > 0; i--) {
        if (strcmp(order[i]->path, order[i - 1]->path) == 0) {
            free(order[i]->path);
            free(order[i]->rel);
            order[i]->path = NULL;
        }
    }
    int64_t kept = 0;
    for (int64_t i = 0; i < in->count; i++)
        if (in->items[i].path)
            in->items[kept++] = in->items[i];
    in->count = kept;
}

/* a.png and a.jpg become "a.png" and "a.jpg"; what is then still equal (x/a.png and y/a.png given
 * as two folders) gets a number. */
static mcs_status make_unique(cli_inputs *in, cli_input **order, mcs_error *e)
{
    for (int round = 0; round < 2; round++) {
        qsort(order, (size_t)in->count, sizeof *order, by_stem);
        for (int64_t i = 0, j; i < in->count; i = j) {
            for (j = i + 1; j < in->count && strcmp(order[i]->stem, order[j]->stem) == 0;)
                j++;
            for (int64_t k = i; j - i > 1 && k < j; k++) {
                char number[32] = "";
                if (round)
                    snprintf(number, sizeof number, "~%lld", (long long)(k - i + 1));
                char *stem = cli_join("", order[k]->rel, number);
                if (!stem)
                    return no_memory(e);
                free(order[k]->stem);
                order[k]->stem = stem;
            }
        }
    }
    return MCS_OK;
}

static mcs_status name_outputs(cli_inputs *in, bool keep_repeats, mcs_error *e)
{
    if (!in->count)
        return MCS_OK;
    cli_input **order = malloc((size_t)in->count * sizeof *order);
    if (!order)
        return no_memory(e);
    for (int64_t i = 0; i < in->count; i++)
        order[i] = &in->items[i];
    if (!keep_repeats)
        drop_repeats(in, order);
    mcs_status s = MCS_OK;
    for (int64_t i = 0; i < in->count; i++) {
        cli_input *one = order[i] = &in->items[i];
        one->stem = strdup(one->rel);
        if (one->stem)
            one->stem[extension(one->rel) - one->rel] = 0;
        else
            s = no_memory(e);
    }
    if (s == MCS_OK)
        s = make_unique(in, order, e);
    free(order);
    return s;
}

mcs_status cli_inputs_find(cli_inputs *in, const cli_inputs_query *q, mcs_error *e)
{
    *in = (cli_inputs){ 0 };
    mcs_status s = MCS_OK;
    for (int i = 0; s == MCS_OK && q->paths && i < q->paths->count; i++)
        s = add_path(in, q, q->paths->items[i], false, e);
    if (s == MCS_OK && q->list)
        s = add_list(in, q, e);
    if (s == MCS_OK)
        s = name_outputs(in, q->keep_repeats, e);
    if (s != MCS_OK)
        cli_inputs_free(in);
    return s;
}

void cli_inputs_free(cli_inputs *in)
{
    for (int64_t i = 0; i < in->count; i++) {
        free(in->items[i].path);
        free(in->items[i].rel);
        free(in->items[i].stem);
    }
    free(in->items);
    *in = (cli_inputs){ 0 };
}
