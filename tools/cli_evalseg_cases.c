/* cli_evalseg_cases.c - pairs truth, segmentation, probabilities and pictures by their names
 * relative to their folders, never by order; a folder of slices may be one volume. */
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "tools/cli_evalseg.h"

/* What data sets and tools hang on the names of masks: BUSI, ISIC, nnU-Net, ... */
static const char *const endings[] = { "",      "_mask",  "_segmentation", "_seg",
                                       "_gt",   "_label", "_labels",       "_pred",
                                       "_prob", "_0000",  "-mask" };
enum { ENDINGS = sizeof endings / sizeof endings[0] };

void es_problem(es_run *r, const char *name, const char *what)
{
    json_t *j =
        json_pack("{s:o, s:o}", "name", cli_json_text(name), "problem", cli_json_text(what));
    if (json_array_append_new(r->problems, j))
        cli_warn(r->t, "%s: %s (not listed: out of memory)", name, what);
}

/* ---- By name ---- */

static int by_stem(const void *a, const void *b)
{
    const cli_input *const *x = a, *const *y = b;
    return strcmp((*x)->stem, (*y)->stem);
}

typedef struct {
    const cli_input **list; /* sorted by stem */
    bool *used;
    int64_t count;
} names;

static bool names_make(names *n, const cli_inputs *in)
{
    n->list = calloc((size_t)in->count + 1, sizeof *n->list);
    n->used = calloc((size_t)in->count + 1, sizeof *n->used);
    n->count = in->count;
    for (int64_t i = 0; n->list && i < in->count; i++)
        n->list[i] = &in->items[i];
    if (n->list)
        qsort(n->list, (size_t)n->count, sizeof *n->list, by_stem);
    return n->list && n->used;
}

static void names_free(names *n)
{
    free(n->list);
    free(n->used);
}

static int64_t names_at(const names *n, const char *stem)
{
    int64_t low = 0, high = n->count;
    while (low < high) {
        int64_t mid = (low + high) / 2;
        int c = strcmp(n->list[mid]->stem, stem);
        if (c == 0)
            return mid;
        if (c < 0)
            low = mid + 1;
        else
            high = mid;
    }
    return -1;
}

/* The stem itself, else with one of the endings in place of (or after) its own; -1: none. */
static int64_t names_find(const names *n, const char *stem)
{
    size_t length = strlen(stem), room = length + 32;
    char *text = malloc(room);
    int64_t at = names_at(n, stem);
    for (int cut = 0; text && at < 0 && cut < ENDINGS; cut++) {
        size_t end = strlen(endings[cut]);
        if (end >= length || strcmp(stem + length - end, endings[cut]) != 0)
            continue;
        for (int add = 0; at < 0 && add < ENDINGS; add++) {
            snprintf(text, room, "%.*s%s", (int)(length - end), stem, endings[add]);
            at = names_at(n, text);
        }
    }
    free(text);
    return at;
}

/* ---- Cases ---- */

static bool add_slice(es_case *c, const cli_input *const files[ES_SIDES])
{
    if (c->slices == c->room) {
        int64_t room = c->room ? 2 * c->room : 1;
        for (int s = 0; s < ES_SIDES; s++) {
            const cli_input **list = realloc(c->file[s], (size_t)room * sizeof *list);
            if (!list)
                return false;
            c->file[s] = list;
        }
        c->room = room;
    }
    for (int s = 0; s < ES_SIDES; s++)
        c->file[s][c->slices] = files[s];
    c->slices++;
    return true;
}

static char *folder_of(const char *rel)
{
    const char *slash = strrchr(rel, '/');
    return slash ? strndup(rel, (size_t)(slash - rel)) : strdup(".");
}

/* Numbers in names by value: slice_2 before slice_10. */
static int by_number(const char *a, const char *b)
{
    while (*a && *b) {
        if (isdigit((unsigned char)*a) && isdigit((unsigned char)*b)) {
            a += strspn(a, "0");
            b += strspn(b, "0");
            size_t m = strspn(a, "0123456789"), n = strspn(b, "0123456789");
            int c = m != n ? (m > n) - (m < n) : strncmp(a, b, n);
            if (c)
                return c;
            a += m;
            b += n;
        } else if (*a++ != *b++) {
            return (unsigned char)a[-1] - (unsigned char)b[-1];
        }
    }
    return (unsigned char)*a - (unsigned char)*b;
}

static int by_volume(const void *a, const void *b)
{
    const cli_input *x = a, *y = b;
    char *p = folder_of(x->rel), *q = folder_of(y->rel);
    int c = p && q ? strcmp(p, q) : 0;
    free(p);
    free(q);
    c = c ? c : by_number(x->stem, y->stem);
    return c ? c : strcmp(x->stem, y->stem);
}

/* The case to which the next truth belongs: the last one if it is of the same volume. */
static es_case *case_for(es_run *r, const cli_input *truth)
{
    char *name = r->o->volumes ? folder_of(truth->rel) : strdup(truth->stem);
    es_case *c = r->count ? &r->cases[r->count - 1] : NULL;
    if (name && r->o->volumes && c && strcmp(c->name, name) == 0) {
        free(name);
        return c;
    }
    if (!name)
        return NULL;
    c = &r->cases[r->count++];
    *c = (es_case){ .name = name };
    return c;
}

/* Pictures and masks in one folder (BUSI): "X.png" is no mask if there is "X_mask.png", to which
 * "X_mask_1.png", ... belong. */
static void set_aside(es_run *r, names *n)
{
    static const char *const marks[] = { "_mask", "-mask", "_segmentation", "_seg", "_gt" };
    int64_t pictures = 0;
    for (int64_t i = 0; i < n->count && !r->o->volumes; i++)
        for (int m = 0; m < 5; m++) {
            char text[1024];
            snprintf(text, sizeof text, "%.1000s%s", n->list[i]->stem, marks[m]);
            if (names_at(n, text) < 0)
                continue;
            pictures += !n->used[i];
            n->used[i] = true;
            for (int k = 1; k <= ES_MORE; k++) {
                snprintf(text, sizeof text, "%.1000s%s_%d", n->list[i]->stem, marks[m], k);
                int64_t at = names_at(n, text);
                if (at >= 0)
                    n->used[at] = true;
            }
        }
    if (pictures)
        cli_info(r->t, "truth: %lld files are pictures, beside masks that are called NAME_mask",
                 (long long)pictures);
}

static void add_more(const names *n, const cli_input *truth, es_case *c)
{
    for (int k = 1; k <= ES_MORE; k++) {
        char text[1024];
        snprintf(text, sizeof text, "%.1000s_%d", truth->stem, k);
        int64_t at = names_at(n, text);
        if (at >= 0 && n->used[at])
            c->more[c->mores++] = n->list[at];
    }
}

/* The picture of a mask: the name without ending first, since masks may lie beside pictures. */
static int64_t picture_find(const names *n, const char *stem)
{
    size_t length = strlen(stem);
    for (int cut = 1; cut < ENDINGS; cut++) {
        char text[1024];
        size_t end = strlen(endings[cut]);
        if (end >= length || length - end >= sizeof text ||
            strcmp(stem + length - end, endings[cut]) != 0)
            continue;
        snprintf(text, sizeof text, "%.*s", (int)(length - end), stem);
        int64_t at = names_at(n, text);
        if (at >= 0)
            return at;
    }
    return names_find(n, stem);
}

static bool pair_one(es_run *r, const cli_input *truth, names n[ES_SIDES])
{
    const cli_input *files[ES_SIDES] = { truth };
    for (int s = ES_SEG; s < ES_SIDES; s++) {
        int64_t at = !r->given[s]    ? -1
                     : s == ES_IMAGE ? picture_find(&n[s], truth->stem)
                                     : names_find(&n[s], truth->stem);
        if (r->given[s] && s != ES_IMAGE && r->in[ES_GT].count == 1 && r->in[s].count == 1)
            at = 0; /* two files, whatever they are called */
        if (at >= 0 && s != ES_IMAGE && s != ES_PROB)
            n[s].used[at] = true;
        files[s] = at >= 0 ? n[s].list[at] : NULL;
    }
    if (!files[ES_SEG]) {
        r->without_seg++;
        es_problem(r, truth->rel, "no segmentation of that name");
        if (r->o->missing == 0 && !r->o->volumes)
            return true;
    }
    es_case *c = case_for(r, truth);
    if (c)
        add_more(&n[ES_GT], truth, c);
    return c && add_slice(c, files);
}

static int nothing_paired(es_run *r)
{
    return cli_error(r->t, CLI_NOTHING,
                     "no segmentation has the name of a truth: the first are %s and %s",
                     r->in[ES_GT].items[0].rel, r->in[ES_SEG].items[0].rel);
}

static int pair_all(es_run *r, names n[ES_SIDES])
{
    cli_inputs *gt = &r->in[ES_GT];
    if (r->o->volumes)
        qsort(gt->items, (size_t)gt->count, sizeof *gt->items, by_volume);
    int64_t truths = 0;
    bool ok = true;
    set_aside(r, &n[ES_GT]);
    for (int64_t i = 0; ok && i < gt->count; i++) {
        int64_t at = names_at(&n[ES_GT], gt->items[i].stem);
        if (at >= 0 && n[ES_GT].used[at])
            continue;
        ok = pair_one(r, &gt->items[i], n);
        truths++;
    }
    if (!ok)
        return cli_error(r->t, CLI_NO_MEMORY, "out of memory");
    for (int64_t i = 0; i < n[ES_SEG].count; i++)
        if (!n[ES_SEG].used[i]) {
            r->without_gt++;
            es_problem(r, n[ES_SEG].list[i]->rel, "no truth of that name");
        }
    if (r->without_seg == truths && r->o->missing == 0)
        return nothing_paired(r);
    if (r->without_seg)
        cli_warn(r->t, "%lld of %lld truths have no segmentation%s, such as %s",
                 (long long)r->without_seg, (long long)truths,
                 r->o->missing ? "; they count as empty ones" : "",
                 json_string_value(json_object_get(json_array_get(r->problems, 0), "name")));
    if (r->without_gt)
        cli_warn(r->t, "%lld segmentations have no truth of that name", (long long)r->without_gt);
    return CLI_CONTINUE;
}

static int list_folder(es_run *r, int side, const char *path)
{
    mcs_error e = { 0 };
    cli_list one = { (char **)&path, 1 };
    const cli_inputs_query q = { .paths = &one, .recursive = true };
    if (!path)
        return CLI_CONTINUE;
    r->given[side] = true;
    if (cli_inputs_find(&r->in[side], &q, &e) != MCS_OK)
        return cli_die(r->t, &e, false);
    if (r->in[side].count == 0)
        return cli_error(r->t, CLI_NOTHING, "%s: no pictures (png, jpg) in it", path);
    return CLI_CONTINUE;
}

int es_cases_find(es_run *r)
{
    const char *path[ES_SIDES] = { r->o->gt, r->o->seg, r->o->other, r->o->prob, r->o->images };
    names n[ES_SIDES] = { 0 };
    int code = CLI_CONTINUE;
    for (int s = 0; s < ES_SIDES && code == CLI_CONTINUE; s++)
        code = list_folder(r, s, path[s]);
    if (code != CLI_CONTINUE)
        return code;
    bool ok = true;
    for (int s = 0; s < ES_SIDES; s++)
        ok = names_make(&n[s], &r->in[s]) && ok;
    r->cases = calloc((size_t)r->in[ES_GT].count, sizeof *r->cases);
    code = ok && r->cases ? pair_all(r, n) : cli_error(r->t, CLI_NO_MEMORY, "out of memory");
    for (int s = 0; s < ES_SIDES; s++)
        names_free(&n[s]);
    return code;
}
