/* cli_samtrain_data.c - pictures and their masks, paired by relative name.
 *
 * A file of masks is a mask (0 and one other value; or grey, cut at half its range) or a map of
 * labels.  All files are read once at the start, so that what is wrong with them is said before
 * hours of training, and the boxes are known. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "cam/components.h"
#include "image/image.h"
#include "tools/cli_masks.h"
#include "tools/cli_samtrain.h"

enum { MAP_MAX = 64 }; /* labels of a map */
enum { AS_AUTO, AS_BINARY, AS_MAP }; /* st_opts.labels */

/* ---- Pixels of a sample ---- */

static bool in_label(const cli_grid *g, size_t i, int label)
{
    return label < 0 ? g->value[i] > g->range / 2 : g->value[i] == label;
}

static uint8_t *pixels_of(const cli_grid *g, int label)
{
    size_t n = (size_t)g->width * (size_t)g->height;
    uint8_t *mask = malloc(n + 1);
    for (size_t i = 0; mask && i < n; i++)
        mask[i] = in_label(g, i, label);
    return mask;
}

/* Keeps component `number` alone. */
static mcs_status keep_one(uint8_t *mask, int w, int h, int number, mcs_error *e)
{
    size_t n = (size_t)w * (size_t)h;
    mcs_components all = { 0 };
    int32_t *label = malloc(n * sizeof *label);
    mcs_status s = label ? mcs_components_find(mask, w, h, false, label, &all, e)
                         : mcs_error_set(e, MCS_ENOMEM, "components: out of memory");
    for (size_t i = 0; s == MCS_OK && i < n; i++)
        mask[i] = label[i] == number;
    mcs_components_free(&all);
    free(label);
    return s;
}

uint8_t *st_data_mask(const st_data *d, const st_picture *p, const st_sample *s, mcs_error *e)
{
    cli_grid g;
    uint8_t *mask = NULL;
    mcs_status status = cli_grid_read(d->masks[s->file], &g, e);
    if (status == MCS_OK && (g.width != p->width || g.height != p->height))
        status =
            mcs_error_set(e, MCS_EFORMAT, "%s: changed while it was in use", d->masks[s->file]);
    if (status == MCS_OK && !(mask = pixels_of(&g, s->label)))
        status = mcs_error_set(e, MCS_ENOMEM, "%s: out of memory", d->masks[s->file]);
    if (status == MCS_OK && s->component)
        status = keep_one(mask, g.width, g.height, s->component, e);
    free(g.value);
    if (status == MCS_OK)
        return mask;
    free(mask);
    return NULL;
}

/* ---- Samples of a file ---- */

typedef struct {
    cli *t;
    const st_opts *o;
    st_data *d;
    const cli_list *folders; /* of masks */
    int first, last; /* those of the folder of pictures that is read */
    int64_t sample_room, mask_room, picture_room, listed;
} reader;

static mcs_status grow(void **items, int64_t count, int64_t *room, size_t size, mcs_error *e)
{
    if (count < *room)
        return MCS_OK;
    int64_t want = *room ? *room * 2 : 64;
    void *grown = realloc(*items, (size_t)want * size);
    if (!grown)
        return mcs_error_set(e, MCS_ENOMEM, "list of masks: out of memory");
    *items = grown;
    *room = want;
    return MCS_OK;
}

static mcs_status add_sample(reader *r, st_sample s, const mcs_component *box, mcs_error *e)
{
    if (box->area < r->o->min_area || box->area < 1)
        return MCS_OK;
    void *items = r->d->samples;
    mcs_status status = grow(&items, r->d->sample_count, &r->sample_room, sizeof *r->d->samples, e);
    r->d->samples = items;
    s.area = box->area;
    s.box[0] = box->x0;
    s.box[1] = box->y0;
    s.box[2] = box->x1 + 1;
    s.box[3] = box->y1 + 1;
    if (status == MCS_OK)
        r->d->samples[r->d->sample_count++] = s;
    return status;
}

static mcs_component bounds(const uint8_t *mask, int w, int h)
{
    mcs_component b = { .x0 = w, .y0 = h, .x1 = -1, .y1 = -1 };
    for (int y = 0; y < h; y++)
        for (int x = 0; x < w; x++)
            if (mask[(int64_t)y * w + x]) {
                b.area++;
                b.x0 = x < b.x0 ? x : b.x0;
                b.x1 = x > b.x1 ? x : b.x1;
                b.y0 = y < b.y0 ? y : b.y0;
                b.y1 = y;
            }
    return b;
}

static mcs_status add_label(reader *r, const cli_grid *g, st_sample s, mcs_error *e)
{
    uint8_t *mask = pixels_of(g, s.label);
    mcs_status status = MCS_OK;
    if (!mask)
        return mcs_error_set(e, MCS_ENOMEM, "mask: out of memory");
    if (r->o->samples == 0) {
        mcs_component all = bounds(mask, g->width, g->height);
        status = add_sample(r, s, &all, e);
    } else {
        mcs_components parts = { 0 };
        status = mcs_components_find(mask, g->width, g->height, false, NULL, &parts, e);
        for (int64_t i = 0; i < parts.count && status == MCS_OK; i++) {
            s.component = (int32_t)i + 1;
            status = add_sample(r, s, &parts.item[i], e);
        }
        mcs_components_free(&parts);
    }
    free(mask);
    return status;
}

/* The labels of a file: `list` gets at most MAP_MAX values; -1 stands for "above half". */
static int labels_of(const cli_grid *g, int as, int list[MAP_MAX])
{
    int count = cli_grid_labels(g, list, MAP_MAX);
    if (count > 1 && (as == AS_BINARY || (as == AS_AUTO && count > MAP_MAX / 2))) {
        list[0] = -1;
        return 1;
    }
    return count;
}

static mcs_status read_masks(reader *r, const st_picture *p, const char *path, int folder,
                             mcs_error *e)
{
    cli_grid g;
    int list[MAP_MAX];
    mcs_status s = cli_grid_read(path, &g, e);
    int count = s == MCS_OK ? labels_of(&g, r->o->labels, list) : 0;
    if (count < 0)
        s = mcs_error_set(e, MCS_ENOMEM, "%s: out of memory", path);
    else if (count > MAP_MAX)
        s = mcs_error_set(e, MCS_EFORMAT,
                          "%s: has %d labels, at most %d are expected; is it a mask?", path, count,
                          MAP_MAX);
    else if (s == MCS_OK && (g.width != p->width || g.height != p->height))
        s = mcs_error_set(e, MCS_EFORMAT, "%s: is %d x %d pixels, the picture %d x %d", path,
                          g.width, g.height, p->width, p->height);
    for (int i = 0; i < count && s == MCS_OK; i++)
        s = add_label(
            r, &g,
            (st_sample){ .file = (int32_t)r->d->mask_count, .folder = folder, .label = list[i] },
            e);
    free(g.value);
    return s;
}

/* ---- Pictures ---- */

static mcs_status one_file(reader *r, const st_picture *p, char *path, int folder, mcs_error *e)
{
    void *items = r->d->masks;
    mcs_status s = grow(&items, r->d->mask_count, &r->mask_room, sizeof *r->d->masks, e);
    r->d->masks = items;
    int64_t before = r->d->sample_count;
    if (s == MCS_OK)
        s = read_masks(r, p, path, folder, e);
    if (s == MCS_OK && r->d->sample_count > before)
        r->d->masks[r->d->mask_count++] = path;
    else
        free(path);
    return s;
}

/* All of a picture, or nothing of it. */
static mcs_status one_picture(reader *r, const cli_input *in, st_picture *p, mcs_error *e)
{
    int found = 0;
    mcs_image *im = mcs_image_read(in->path, e);
    if (!im)
        return e->status;
    *p = (st_picture){ .width = im->width, .height = im->height, .first = r->d->sample_count };
    mcs_image_free(im);
    for (int i = r->first; i < r->last; i++) {
        char *path = cli_mask_find(r->folders->items[i], in);
        found += path != NULL;
        mcs_status s = path ? one_file(r, p, path, i, e) : MCS_OK;
        if (s != MCS_OK)
            return s;
    }
    p->count = r->d->sample_count - p->first;
    if (!found)
        return mcs_error_set(e, MCS_ENOTFOUND, "%s: no mask of the name %s", in->path, in->stem);
    if (!p->count)
        return mcs_error_set(e, MCS_EFORMAT, "%s: its mask is empty%s", in->path,
                             r->o->min_area > 1 ? " or smaller than --min-area" : "");
    p->path = strdup(in->path);
    p->rel = strdup(in->rel);
    return p->path && p->rel ? MCS_OK : mcs_error_set(e, MCS_ENOMEM, "out of memory");
}

static void note(reader *r, const cli_input *in, const mcs_error *e)
{
    cli_warn(r->t, "%s", e->message);
    json_array_append_new(r->d->problems, json_pack("{s:o, s:o}", "input", cli_json_text(in->rel),
                                                    "error", cli_json_text(e->message)));
}

/* Room for one more at the end of the list. */
static st_picture *new_picture(reader *r)
{
    mcs_error e = { 0 };
    void *items = r->d->pictures;
    mcs_status s = grow(&items, r->d->count, &r->picture_room, sizeof *r->d->pictures, &e);
    r->d->pictures = items;
    if (s != MCS_OK)
        return NULL;
    r->d->pictures[r->d->count] = (st_picture){ 0 };
    return &r->d->pictures[r->d->count];
}

static int read_all(reader *r, const cli_inputs *in)
{
    st_data *d = r->d;
    cli_progress bar;
    int code = CLI_CONTINUE;
    cli_progress_begin(&bar, r->t, in->count, "pictures");
    for (int64_t i = 0; i < in->count && code == CLI_CONTINUE && !cli_stop(); i++) {
        mcs_error e = { 0 };
        st_picture *p = new_picture(r);
        if (!p)
            return cli_error(r->t, CLI_NO_MEMORY, "out of memory");
        int64_t samples = d->sample_count, masks = d->mask_count;
        mcs_status s = one_picture(r, &in->items[i], p, &e);
        if (s == MCS_OK) {
            d->count++;
        } else {
            free(p->path);
            free(p->rel);
            d->sample_count = samples;
            while (d->mask_count > masks)
                free(d->masks[--d->mask_count]);
            if (s == MCS_ENOMEM && strstr(e.message, "out of memory"))
                code = cli_die(r->t, &e, false);
            else
                note(r, &in->items[i], &e);
            *p = (st_picture){ 0 };
        }
        bar.done++;
        bar.failed = (int64_t)json_array_size(d->problems);
        cli_progress_draw(&bar);
    }
    cli_progress_end(&bar);
    return cli_stop() ? CLI_SIGNALLED + cli_stop() : code;
}

static void fingerprint(st_data *d)
{
    cli_sha256 h;
    cli_sha256_begin(&h);
    for (int64_t i = 0; i < d->count; i++) {
        const st_picture *p = &d->pictures[i];
        const int64_t size[3] = { p->width, p->height, p->count };
        cli_sha256_add(&h, p->rel, strlen(p->rel) + 1);
        cli_sha256_add(&h, size, sizeof size);
    }
    for (int64_t i = 0; i < d->sample_count; i++) {
        const st_sample *s = &d->samples[i];
        const int64_t values[4] = { s->folder, s->label, s->component, s->area };
        cli_sha256_add(&h, values, sizeof values);
        cli_sha256_add(&h, s->box, sizeof s->box);
    }
    cli_sha256_hex(&h, d->fingerprint);
}

static int read_folder(reader *r, const char *images)
{
    mcs_error e = { 0 };
    cli_inputs in = { 0 };
    const cli_list paths = { .items = (char *[]){ (char *)(uintptr_t)images }, .count = 1 };
    const cli_inputs_query query = { .paths = &paths, .recursive = r->o->recursive };
    for (int i = r->first; i < r->last; i++)
        if (!cli_exists(r->folders->items[i]))
            return cli_error(r->t, CLI_NOTHING, "%s: no such folder of masks",
                             r->folders->items[i]);
    if (cli_inputs_find(&in, &query, &e) != MCS_OK)
        return cli_die(r->t, &e, false);
    int code = read_all(r, &in);
    r->listed += in.count;
    cli_inputs_free(&in);
    return code;
}

int st_data_read(cli *t, const st_opts *o, const cli_list *images, const cli_list *masks,
                 st_data *d)
{
    reader r = { .t = t, .o = o, .d = d, .folders = masks };
    int each = images->count ? masks->count / images->count : 0, code = CLI_CONTINUE;
    d->problems = json_array();
    if (!d->problems)
        return cli_error(t, CLI_NO_MEMORY, "out of memory");
    if (!each || masks->count % images->count)
        return cli_error(t, CLI_BAD_USAGE,
                         "%d folders of pictures and %d of masks: give --masks for each --images, "
                         "in the same order",
                         images->count, masks->count);
    for (int i = 0; i < images->count && code == CLI_CONTINUE; i++) {
        r.first = i * each;
        r.last = r.first + each;
        code = read_folder(&r, images->items[i]);
    }
    if (code != CLI_CONTINUE)
        return code;
    if (!d->count)
        return cli_error(t, CLI_NOTHING,
                         "%s: none of %lld pictures has a usable mask; masks have the pictures' "
                         "names (NAME.png or NAME_mask.png), their size, and pixels that are not 0",
                         images->items[0], (long long)r.listed);
    if (o->on_error == 1 && d->count < r.listed)
        return cli_error(t, CLI_NOTHING,
                         "%s: %lld of %lld pictures cannot be used; mend them, or leave them out "
                         "with --on-error skip",
                         images->items[0], (long long)(r.listed - d->count), (long long)r.listed);
    fingerprint(d);
    return CLI_CONTINUE;
}

void st_data_free(st_data *d)
{
    for (int64_t i = 0; i < d->count; i++) {
        free(d->pictures[i].path);
        free(d->pictures[i].rel);
    }
    for (int64_t i = 0; i < d->mask_count; i++)
        free(d->masks[i]);
    free(d->pictures);
    free(d->samples);
    free(d->masks);
    json_decref(d->problems);
    *d = (st_data){ 0 };
}
