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
#include "tools/cli_samtrain.h"

enum { LABELS = 65536, MAP_MAX = 64 }; /* values a mask may have; labels of a map */
enum { AS_AUTO, AS_BINARY, AS_MAP }; /* st_opts.labels */

/* ---- Reading a file of masks ---- */

typedef struct {
    int width, height;
    int range; /* 255 or 65535 */
    uint16_t *value; /* (height,width) */
} grid;

/* Grey as stored, 16 bits too; colours as grey. */
static mcs_status read_grid(const char *path, grid *g, mcs_error *e)
{
    mcs_image *im = mcs_image_read(path, e);
    mcs_image *grey = im && im->channels != 1 ? mcs_image_to_grey(im, e) : NULL;
    const mcs_image *use = grey ? grey : im && im->channels == 1 ? im : NULL;
    mcs_status s = use ? MCS_OK : e->status;
    size_t n = use ? (size_t)use->width * (size_t)use->height : 0;
    *g = (grid){ 0 };
    if (use)
        *g = (grid){ use->width, use->height, use->depth == 16 ? 65535 : 255,
                     malloc(n * sizeof *g->value + 1) };
    if (use && !g->value)
        s = mcs_error_set(e, MCS_ENOMEM, "%s: out of memory", path);
    for (size_t i = 0; s == MCS_OK && i < n; i++)
        g->value[i] =
            use->depth == 16 ? ((const uint16_t *)use->data)[i] : ((const uint8_t *)use->data)[i];
    mcs_image_free(im);
    mcs_image_free(grey);
    return s;
}

static bool in_label(const grid *g, size_t i, int label)
{
    return label < 0 ? g->value[i] > g->range / 2 : g->value[i] == label;
}

static uint8_t *pixels_of(const grid *g, int label)
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
    grid g;
    uint8_t *mask = NULL;
    mcs_status status = read_grid(d->masks[s->file], &g, e);
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
    const cli_list *folders;
    int64_t sample_room, mask_room, empty;
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

static mcs_status add_label(reader *r, const grid *g, st_sample s, mcs_error *e)
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
static int labels_of(const grid *g, int as, int list[MAP_MAX])
{
    int count = 0;
    uint8_t *seen = calloc(LABELS, 1);
    if (!seen)
        return -1;
    for (size_t i = 0; i < (size_t)g->width * (size_t)g->height; i++)
        seen[g->value[i]] = 1;
    for (int v = 1; v < LABELS; v++) {
        if (!seen[v])
            continue;
        if (count < MAP_MAX)
            list[count] = v;
        count++;
    }
    free(seen);
    if (count > 1 && (as == AS_BINARY || (as == AS_AUTO && count > MAP_MAX / 2))) {
        list[0] = -1;
        return 1;
    }
    return count;
}

static mcs_status read_masks(reader *r, const st_picture *p, const char *path, int folder,
                             mcs_error *e)
{
    grid g;
    int list[MAP_MAX];
    mcs_status s = read_grid(path, &g, e);
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

/* NAME.png, the picture's own name, NAME_mask.png (BUSI). */
static char *find_mask(const char *folder, const cli_input *in)
{
    static const char *const endings[] = { ".png", "_mask.png", ".PNG", ".jpg", ".jpeg" };
    for (int i = 0; i < 5; i++) {
        char *path = cli_join(folder, in->stem, endings[i]);
        if (path && cli_exists(path))
            return path;
        free(path);
    }
    char *path = cli_join(folder, in->rel, "");
    if (path && cli_exists(path))
        return path;
    free(path);
    return NULL;
}

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
    for (int i = 0; i < r->folders->count; i++) {
        char *path = find_mask(r->folders->items[i], in);
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

static int read_all(reader *r, const cli_inputs *in)
{
    st_data *d = r->d;
    cli_progress bar;
    int code = CLI_CONTINUE;
    cli_progress_begin(&bar, r->t, in->count, "pictures");
    for (int64_t i = 0; i < in->count && code == CLI_CONTINUE && !cli_stop(); i++) {
        mcs_error e = { 0 };
        st_picture *p = &d->pictures[d->count];
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

int st_data_read(cli *t, const st_opts *o, const char *images, const cli_list *masks, st_data *d)
{
    mcs_error e = { 0 };
    cli_inputs in = { 0 };
    const cli_list paths = { .items = (char *[]){ (char *)(uintptr_t)images }, .count = 1 };
    reader r = { .t = t, .o = o, .d = d, .folders = masks };
    d->problems = json_array();
    if (cli_inputs_find(&in, &(cli_inputs_query){ .paths = &paths, .recursive = o->recursive },
                        &e) != MCS_OK)
        return cli_die(t, &e, false);
    for (int i = 0; i < masks->count; i++)
        if (!cli_exists(masks->items[i])) {
            cli_inputs_free(&in);
            return cli_error(t, CLI_NOTHING, "%s: no such folder of masks", masks->items[i]);
        }
    d->pictures = calloc((size_t)in.count + 1, sizeof *d->pictures);
    int code = d->pictures && d->problems ? read_all(&r, &in)
                                          : cli_error(t, CLI_NO_MEMORY, "out of memory");
    int64_t listed = in.count;
    cli_inputs_free(&in);
    if (code != CLI_CONTINUE)
        return code;
    if (!d->count)
        return cli_error(t, CLI_NOTHING,
                         "%s: none of %lld pictures has a usable mask; masks have the pictures' "
                         "names (NAME.png or NAME_mask.png), their size, and pixels that are not 0",
                         images, (long long)listed);
    if (o->on_error == 1 && d->count < listed)
        return cli_error(t, CLI_NOTHING,
                         "%s: %lld of %lld pictures cannot be used; mend them, or leave them out "
                         "with --on-error skip",
                         images, (long long)(listed - d->count), (long long)listed);
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
