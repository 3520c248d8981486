/* cli_reproduce_set.c - a data set as folders that the tools pair by name: images/ and masks/ with
 * links, train/ with pictures alone, boxes.json from the masks if the description asks for it.
 *
 * Only pictures with a mask are taken.  NAME<suffix>_1.png, NAME<suffix>_2.png, ... beside
 * NAME<suffix>.png (BUSI) are further findings in the same picture: their union is the truth.  With
 * the suffix "*" every NAME_ANYTHING.png is a case of its own (organs of one slice, SAM-Med2D). */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "cam/boxes.h"
#include "image/image.h"
#include "tools/cli_reproduce.h"

typedef struct {
    char *name, *stem, *path; /* of the picture */
    const json_t *masks; /* its masks' paths; borrowed */
} pair;
typedef struct {
    cli_inputs images, masks;
    json_t *by_stem; /* stem of the picture -> [paths of masks] */
    pair *list;
    int64_t count;
} pairs;

static void free_pairs(pairs *p)
{
    cli_inputs_free(&p->images);
    cli_inputs_free(&p->masks);
    json_decref(p->by_stem);
    free(p->list);
}

static mcs_status list_folder(const rp_work *w, const char *text, cli_inputs *in, mcs_error *e)
{
    char *path = rp_expand(w, text, w->o->out, "", rp_plan_seed(w, 0));
    cli_list list = { &path, 1 };
    mcs_status s = path ? cli_inputs_find(in, &(cli_inputs_query){ .paths = &list }, e)
                        : mcs_error_set(e, MCS_EINVAL, "%s: not a folder", text);
    free(path);
    return s;
}

/* Length of the picture's stem if `stem` is a mask's: STEM<suffix>, STEM<suffix>_1; else 0. */
static size_t mask_of(const char *stem, const char *suffix)
{
    size_t n = strlen(stem), k = strlen(suffix), digits = 0;
    if (!k)
        return n;
    while (digits < n && stem[n - 1 - digits] >= '0' && stem[n - 1 - digits] <= '9')
        digits++;
    if (digits && digits < n && stem[n - 1 - digits] == '_' && n - digits - 1 > k &&
        strncmp(stem + n - digits - 1 - k, suffix, k) == 0)
        return n - digits - 1 - k;
    return n > k && strcmp(stem + n - k, suffix) == 0 ? n - k : 0;
}

static mcs_status sort_masks(pairs *p, const char *suffix, mcs_error *e)
{
    p->by_stem = json_object();
    for (int64_t i = 0; i < p->masks.count; i++) {
        char key[512];
        size_t n = mask_of(p->masks.items[i].stem, suffix);
        if (!n || n >= sizeof key)
            continue;
        memcpy(key, p->masks.items[i].stem, n);
        key[n] = 0;
        json_t *list = json_object_get(p->by_stem, key);
        if (!list && json_object_set_new(p->by_stem, key, list = json_array()) != 0)
            return mcs_error_set(e, MCS_EINVAL, "%s: the name is not UTF-8", key);
        json_array_append_new(list, json_string(p->masks.items[i].path));
    }
    return MCS_OK;
}

/* At most `count` of them, evenly taken; 0: all. */
static void thin(pairs *p, int64_t count)
{
    if (count <= 0 || count >= p->count)
        return;
    for (int64_t i = 0; i < count; i++)
        p->list[i] = p->list[i * p->count / count];
    p->count = count;
}

/* The picture with the longest stem that a mask's begins with, before "_". */
static const cli_input *picture_of(const cli_inputs *images, const char *mask)
{
    const cli_input *best = NULL;
    size_t longest = 0;
    for (int64_t i = 0; i < images->count; i++) {
        size_t n = strlen(images->items[i].stem);
        if (n > longest && strncmp(mask, images->items[i].stem, n) == 0 && mask[n] == '_') {
            best = &images->items[i];
            longest = n;
        }
    }
    return best;
}

static mcs_status pair_each_mask(pairs *p, mcs_error *e)
{
    p->list = calloc((size_t)p->masks.count + 1, sizeof *p->list);
    if (!p->list)
        return mcs_error_set(e, MCS_ENOMEM, "out of memory");
    for (int64_t i = 0; i < p->masks.count; i++) {
        const cli_input *m = &p->masks.items[i], *of = picture_of(&p->images, m->stem);
        if (of)
            p->list[p->count++] =
                (pair){ m->rel, m->stem, of->path, json_object_get(p->by_stem, m->stem) };
    }
    return MCS_OK;
}

static mcs_status pair_pictures(pairs *p, const char *suffix, bool all, mcs_error *e)
{
    p->list = calloc((size_t)p->images.count + 1, sizeof *p->list);
    if (!p->list)
        return mcs_error_set(e, MCS_ENOMEM, "out of memory");
    for (int64_t i = 0; i < p->images.count; i++) {
        cli_input *in = &p->images.items[i];
        const json_t *found = json_object_get(p->by_stem, in->stem);
        if (found || (all && !(*suffix && mask_of(in->stem, suffix))))
            p->list[p->count++] = (pair){ in->rel, in->stem, in->path, found };
    }
    return MCS_OK;
}

/* masks Nullable: every picture is taken. */
static mcs_status find_pairs(const rp_work *w, const rp_set *s, const char *images,
                             const char *masks, int64_t count, pairs *p, mcs_error *e)
{
    const char *suffix = rp_text(s->json, "mask_suffix", "");
    bool each = masks && strcmp(suffix, "*") == 0;
    mcs_status st = list_folder(w, images, &p->images, e);
    if (st == MCS_OK && masks)
        st = list_folder(w, masks, &p->masks, e);
    if (st == MCS_OK)
        st = sort_masks(p, each ? "" : suffix, e);
    if (st == MCS_OK)
        st = each ? pair_each_mask(p, e) : pair_pictures(p, suffix, !masks, e);
    if (st == MCS_OK && !p->count)
        st = mcs_error_set(e, MCS_ENOTFOUND, "%s: no picture%s", images,
                           masks ? " has a mask of its name" : "");
    thin(p, count);
    return st;
}

/* ---- Links ---- */

static char *absolute(const char *path)
{
    char here[PATH_MAX];
    if (*path == '/')
        return strdup(path);
    return getcwd(here, sizeof here) ? cli_join(here, path, "") : NULL;
}

static mcs_status link_to(const char *target, const char *folder, const char *name, mcs_error *e)
{
    char *path = cli_join(folder, name, ""), *full = absolute(target);
    mcs_status s = path && full ? MCS_OK : mcs_error_set(e, MCS_ENOMEM, "out of memory");
    if (s == MCS_OK && ((unlink(path) != 0 && errno != ENOENT) || symlink(full, path) != 0))
        s = mcs_error_set(e, MCS_EIO, "%s: cannot link to %s: %s", path, full, strerror(errno));
    free(path);
    free(full);
    return s;
}

/* Above 127 where a mask goes that far, else above 0: of 0 and 255, of 0 and 1. */
static mcs_image *read_mask(const char *path, mcs_error *e)
{
    mcs_image *file = mcs_image_read(path, e), *grey = file ? mcs_image_to_grey(file, e) : NULL;
    mcs_image_free(file);
    if (!grey)
        return NULL;
    uint8_t *v = grey->data, max = 0;
    size_t n = (size_t)grey->width * (size_t)grey->height;
    for (size_t i = 0; i < n; i++)
        max = v[i] > max ? v[i] : max;
    for (size_t i = 0; i < n; i++)
        v[i] = v[i] > (max > 127 ? 127 : 0) ? 255 : 0;
    return grey;
}

static mcs_image *united(const json_t *masks, mcs_error *e)
{
    mcs_image *all = read_mask(json_string_value(json_array_get(masks, 0)), e);
    for (size_t i = 1; i < json_array_size(masks) && all; i++) {
        const char *path = json_string_value(json_array_get(masks, i));
        mcs_image *more = read_mask(path, e);
        bool fits = more && more->width == all->width && more->height == all->height;
        if (more && !fits)
            mcs_error_set(e, MCS_ESHAPE, "%s: %d x %d pixels, its sibling %d x %d", path,
                          more->width, more->height, all->width, all->height);
        uint8_t *a = all->data;
        for (int64_t k = 0; fits && k < (int64_t)all->width * all->height; k++)
            a[k] |= ((const uint8_t *)more->data)[k];
        mcs_image_free(more);
        if (!fits) {
            mcs_image_free(all);
            return NULL;
        }
    }
    return all;
}

static mcs_status put_mask(const pair *p, const char *folder, mcs_error *e)
{
    if (json_array_size(p->masks) == 1) {
        const char *mask = json_string_value(json_array_get(p->masks, 0));
        const char *dot = strrchr(mask, '.');
        char *name = cli_join("", p->stem, dot ? dot : ".png");
        mcs_status s =
            name ? link_to(mask, folder, name, e) : mcs_error_set(e, MCS_ENOMEM, "out of memory");
        free(name);
        return s;
    }
    char *path = cli_join(folder, p->stem, ".png");
    mcs_image *all = path ? united(p->masks, e) : NULL;
    mcs_status s = all ? mcs_png_write(path, all, e) : e->status;
    mcs_image_free(all);
    free(path);
    return s;
}

/* ---- Boxes of the truth ---- */

static mcs_status add_boxes(json_t *all, const pair *p, bool parts, mcs_error *e)
{
    mcs_image *mask = united(p->masks, e);
    mcs_boxes b = { 0 };
    const mcs_box_opts o = { .mode = parts ? MCS_BOX_EACH : MCS_BOX_UNION,
                             .min_area = parts ? 16 : 0 };
    mcs_status s =
        mask ? mcs_boxes_find(mask->data, mask->width, mask->height, &o, &b, e) : e->status;
    json_t *list = json_array();
    for (int64_t i = 0; i < b.count && s == MCS_OK; i++)
        json_array_append_new(
            list, json_pack("[i,i,i,i]", b.box[i].x0, b.box[i].y0, b.box[i].x1, b.box[i].y1));
    if (json_array_size(list))
        json_object_set(all, p->name, list);
    json_decref(list);
    mcs_boxes_free(&b);
    mcs_image_free(mask);
    return s;
}

/* ---- The whole ---- */

static mcs_status fill(const rp_work *w, rp_set *s, const pairs *test, const pairs *train,
                       mcs_error *e)
{
    (void)w;
    char *dir[3] = { cli_join(s->folder, "images", ""), cli_join(s->folder, "masks", ""),
                     cli_join(s->folder, "train", "") };
    char *boxes = cli_join(s->folder, "boxes.json", ""),
         *mark = cli_join(s->folder, "set.json", "");
    mcs_status st = MCS_OK;
    json_t *all = json_object(),
           *note = json_pack("{s:I, s:I}", "pictures", (json_int_t)test->count, "train",
                             (json_int_t)train->count);
    if (!dir[0] || !dir[1] || !dir[2] || !boxes || !mark)
        st = mcs_error_set(e, MCS_ENOMEM, "out of memory");
    for (int i = 0; i < 3 && st == MCS_OK; i++)
        st = cli_mkdirs(dir[i], e);
    for (int64_t i = 0; i < test->count && st == MCS_OK; i++) {
        st = link_to(test->list[i].path, dir[0], test->list[i].name, e);
        st = st == MCS_OK ? put_mask(&test->list[i], dir[1], e) : st;
        if (st == MCS_OK && s->boxes)
            st = add_boxes(all, &test->list[i],
                           strcmp(rp_text(s->json, "boxes", ""), "truth-parts") == 0, e);
    }
    for (int64_t i = 0; i < train->count && st == MCS_OK; i++)
        st = link_to(train->list[i].path, dir[2], train->list[i].name, e);
    if (st == MCS_OK && s->boxes)
        st = cli_write_json(boxes, all, e);
    if (st == MCS_OK)
        st = cli_write_json(mark, note, e);
    json_decref(all);
    json_decref(note);
    for (int i = 0; i < 3; i++)
        free(dir[i]);
    free(boxes);
    free(mark);
    return st;
}

static void hash_pairs(cli_sha256 *h, const pairs *p)
{
    for (int64_t i = 0; i < p->count; i++) {
        rp_hash_file(h, p->list[i].path);
        for (size_t k = 0; k < json_array_size(p->list[i].masks); k++)
            rp_hash_file(h, json_string_value(json_array_get(p->list[i].masks, k)));
    }
    rp_hash_text(h, "");
}

static int keep_stems(rp_work *w, rp_set *s, const pairs *p)
{
    s->stems = calloc((size_t)p->count, sizeof *s->stems);
    for (int64_t i = 0; i < p->count && s->stems; i++)
        if (!(s->stems[s->count++] = strdup(p->list[i].stem)))
            return cli_error(w->t, CLI_NO_MEMORY, "out of memory");
    return s->stems ? CLI_CONTINUE : cli_error(w->t, CLI_NO_MEMORY, "out of memory");
}

static int64_t limit_of(const rp_work *w, const rp_set *s, const char *key)
{
    int64_t n = json_integer_value(json_object_get(s->json, key));
    return w->o->count > 0 && (n <= 0 || n > w->o->count) ? w->o->count : n;
}

static int make(rp_work *w, rp_set *s, const pairs *test, const pairs *train)
{
    mcs_error e = { 0 };
    cli_sha256 h;
    cli_sha256_begin(&h);
    rp_hash_text(&h, rp_text(s->json, "boxes", ""));
    hash_pairs(&h, test);
    hash_pairs(&h, train);
    cli_sha256_hex(&h, s->hash);
    s->boxes = rp_text(s->json, "boxes", NULL) != NULL;
    s->train = train->count > 0;
    s->folder = rp_folder(w, "sets", s->name, s->hash);
    char *mark = s->folder ? cli_join(s->folder, "set.json", "") : NULL;
    if (!mark)
        return CLI_IO_ERROR;
    bool whole = cli_exists(mark) || w->o->table;
    free(mark);
    if (!whole && fill(w, s, test, train, &e) != MCS_OK)
        return cli_die(w->t, &e, false);
    return keep_stems(w, s, test);
}

int rp_set_make(rp_work *w, rp_set *s)
{
    mcs_error e = { 0 };
    pairs test = { 0 }, train = { 0 };
    const char *images = rp_text(s->json, "train_images", NULL);
    mcs_status st = find_pairs(w, s, rp_text(s->json, "images", ""), rp_text(s->json, "masks", ""),
                               limit_of(w, s, "count"), &test, &e);
    if (st == MCS_OK && images)
        st = find_pairs(w, s, images, rp_text(s->json, "train_masks", NULL),
                        limit_of(w, s, "train_count"), &train, &e);
    int code = st == MCS_OK ? make(w, s, &test, &train) : cli_die(w->t, &e, false);
    free_pairs(&test);
    free_pairs(&train);
    return code;
}
