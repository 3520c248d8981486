/* cli_zeroshot_save.c - what zeroshot_seg writes for one picture. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "tools/cli_zeroshot.h"

typedef struct {
    const zs_run *r;
    const cli_input *in;
    const mcs_image *rgb;
    const mcs_zeroshot_result *res;
    int count;
    uint8_t *labels; /* 0, 1, ... count */
    json_t *line;
} saver;

/* Path of "kind/NAME.ext" in the output folder, its folder made; the relative one goes to the
 * line as `key`.  free() it; NULL: see e. */
static char *place(const saver *s, const char *key, const char *kind, const char *ext, mcs_error *e)
{
    char *rel = cli_join(kind, s->in->stem, ext);
    char *path = rel ? cli_join(s->r->o->out, rel, "") : NULL;
    if (!path)
        mcs_error_set(e, MCS_ENOMEM, "%s: out of memory", s->in->rel);
    else if (cli_mkdirs_for(path, e) != MCS_OK) {
        free(path);
        path = NULL;
    } else {
        json_object_set_new(s->line, key, cli_json_text(rel));
    }
    free(rel);
    return path;
}

static mcs_status write_png(const saver *s, const char *key, const char *kind, const mcs_image *im,
                            mcs_error *e)
{
    char *path = im ? place(s, key, kind, ".png", e) : NULL;
    mcs_status status = MCS_ENOMEM;
    if (path)
        status = mcs_png_write(path, im, e);
    else
        status = mcs_error_set(e, MCS_ENOMEM, "%s: out of memory", s->in->rel);
    free(path);
    return status;
}

/* ---- Labels ---- */

/* Where several classes claim a pixel, the one with the highest saliency has it. */
static uint8_t *make_labels(const saver *s)
{
    size_t n = (size_t)s->rgb->width * (size_t)s->rgb->height;
    uint8_t *labels = calloc(n, 1);
    for (size_t i = 0; labels && i < n; i++) {
        float best = -1.0f;
        for (int k = 0; k < s->count; k++) {
            const mcs_zeroshot_result *res = &s->res[k];
            const uint8_t *mask = res->mask ? res->mask : res->coarse;
            float value = res->saliency ? res->saliency[i] : 0.0f;
            if (mask && mask[i] && value > best) {
                best = value;
                labels[i] = (uint8_t)(k + 1);
            }
        }
    }
    return labels;
}

static mcs_status save_mask(const saver *s, mcs_error *e)
{
    mcs_image *im = mcs_image_new(s->rgb->width, s->rgb->height, 1, 8);
    size_t n = (size_t)s->rgb->width * (size_t)s->rgb->height;
    bool map = s->r->task.class_count && s->r->task.classes[0].name;
    for (size_t i = 0; im && i < n; i++)
        ((uint8_t *)im->data)[i] = map ? s->labels[i] : s->labels[i] ? 255 : 0;
    mcs_status status = write_png(s, "mask", "masks", im, e);
    mcs_image_free(im);
    return status;
}

/* ---- Pictures to look at ---- */

static mcs_image *copy_of(const mcs_image *im)
{
    mcs_image *copy = mcs_image_new(im->width, im->height, im->channels, im->depth);
    if (copy)
        memcpy(copy->data, im->data, (size_t)im->width * (size_t)im->height * (size_t)im->channels);
    return copy;
}

static void draw_one(const saver *s, mcs_image *im, int k, uint8_t *mask)
{
    const mcs_zeroshot_result *res = &s->res[k];
    mcs_colour colour = mcs_label_colour(k + 1);
    size_t n = (size_t)im->width * (size_t)im->height;
    for (size_t i = 0; i < n; i++)
        mask[i] = s->labels[i] == k + 1;
    mcs_draw_mask(im, mask, colour, 0.35f);
    for (int i = 0; i < res->box_count; i++)
        mcs_draw_box(im, res->boxes[i].x0, res->boxes[i].y0, res->boxes[i].x1, res->boxes[i].y1,
                     colour);
    for (int i = 0; i < res->point_count; i++) {
        mcs_colour grey = { 160, 160, 160 };
        mcs_draw_point(im, res->points[i].x, res->points[i].y,
                       res->points[i].label ? colour : grey);
    }
}

static mcs_status save_overlay(const saver *s, mcs_error *e)
{
    mcs_image *im = copy_of(s->rgb);
    uint8_t *mask = malloc((size_t)s->rgb->width * (size_t)s->rgb->height);
    for (int k = 0; im && mask && k < s->count; k++)
        draw_one(s, im, k, mask);
    mcs_status status = write_png(s, "overlay", "overlays", mask ? im : NULL, e);
    free(mask);
    mcs_image_free(im);
    return status;
}

/* ---- Maps: one file per class, "NAME.CLASS" when there are several ---- */

static mcs_image *grey16(const mcs_zeroshot_result *res)
{
    mcs_image *im = mcs_image_new(res->width, res->height, 1, 16);
    size_t n = (size_t)res->width * (size_t)res->height;
    for (size_t i = 0; im && i < n; i++) {
        float v = res->saliency[i];
        v = v > 0.0f ? v < 1.0f ? v : 1.0f : 0.0f;
        ((uint16_t *)im->data)[i] = (uint16_t)(v * 65535.0f + 0.5f);
    }
    return im;
}

static mcs_image *grey8(const mcs_zeroshot_result *res)
{
    mcs_image *im = mcs_image_new(res->width, res->height, 1, 8);
    size_t n = (size_t)res->width * (size_t)res->height;
    for (size_t i = 0; im && i < n; i++)
        ((uint8_t *)im->data)[i] = res->coarse[i] ? 255 : 0;
    return im;
}

static mcs_image *heat(const saver *s, const mcs_zeroshot_result *res)
{
    mcs_image *im = copy_of(s->rgb);
    if (im)
        mcs_draw_heat(im, res->saliency, 0.5f);
    return im;
}

static mcs_status save_npy(const saver *s, const mcs_zeroshot_result *res, mcs_error *e)
{
    const int64_t shape[2] = { res->height, res->width };
    char *path = place(s, "npy", "npy", ".npy", e);
    mcs_status status = path ? cli_write_npy(path, 2, shape, res->saliency, e) : e->status;
    free(path);
    return status;
}

static mcs_status save_map(const saver *s, const mcs_zeroshot_result *res, mcs_error *e)
{
    unsigned save = s->r->save;
    mcs_status status = MCS_OK;
    if (save & ZS_SAVE_COARSE && res->coarse) {
        mcs_image *im = grey8(res);
        status = write_png(s, "coarse", "coarse", im, e);
        mcs_image_free(im);
    }
    if (status == MCS_OK && save & ZS_SAVE_SALIENCY && res->saliency) {
        mcs_image *im = grey16(res);
        status = write_png(s, "saliency", "saliency", im, e);
        mcs_image_free(im);
    }
    if (status == MCS_OK && save & ZS_SAVE_HEAT && res->saliency) {
        mcs_image *im = heat(s, res);
        status = write_png(s, "heat", "heat", im, e);
        mcs_image_free(im);
    }
    if (status == MCS_OK && save & ZS_SAVE_NPY && res->saliency)
        status = save_npy(s, res, e);
    return status;
}

/* Characters of a class name that are safe in a file name. */
static void safe_name(char *out, size_t n, const char *name)
{
    size_t i = 0;
    for (; name[i] && i + 1 < n; i++) {
        bool plain = strchr("/\\:*?\"<>|. ", name[i]) == NULL && (unsigned char)name[i] >= 32;
        out[i] = plain ? name[i] : '_';
    }
    out[i] = 0;
}

static mcs_status save_maps(const saver *s, mcs_error *e)
{
    if (s->count == 1)
        return save_map(s, &s->res[0], e);
    mcs_status status = MCS_OK;
    for (int k = 0; status == MCS_OK && k < s->count; k++) {
        char name[80], suffix[120];
        safe_name(name, sizeof name, s->r->task.classes[k].name);
        snprintf(suffix, sizeof suffix, ".%d-%s", k + 1, name);
        cli_input in = *s->in;
        in.stem = cli_join("", s->in->stem, suffix);
        saver one = *s;
        one.in = &in;
        one.line = json_array_get(json_object_get(s->line, "classes"), (size_t)k);
        status =
            in.stem ? save_map(&one, &s->res[k], e) : mcs_error_set(e, MCS_ENOMEM, "out of memory");
        free(in.stem);
    }
    return status;
}

/* ---- Run lengths, as COCO writes them: columns first, beginning with zeros ---- */

static json_t *run_lengths(const saver *s, int label)
{
    json_t *counts = json_array();
    int64_t run = 0;
    bool inside = false;
    for (int x = 0; x < s->rgb->width; x++)
        for (int y = 0; y < s->rgb->height; y++) {
            if ((s->labels[(size_t)y * (size_t)s->rgb->width + (size_t)x] == label) != inside) {
                json_array_append_new(counts, json_integer(run));
                run = 0;
                inside = !inside;
            }
            run++;
        }
    json_array_append_new(counts, json_integer(run));
    return json_pack("{s:[i,i], s:o}", "size", s->rgb->height, s->rgb->width, "counts", counts);
}

static mcs_status save_rle(const saver *s, mcs_error *e)
{
    json_t *all = json_array();
    for (int k = 0; k < s->count; k++)
        json_array_append_new(all, run_lengths(s, k + 1));
    char *path = place(s, "rle", "rle", ".json", e);
    mcs_status status = path ? cli_write_json(path, s->count == 1 ? json_array_get(all, 0) : all, e)
                             : mcs_error_set(e, MCS_ENOMEM, "out of memory");
    free(path);
    json_decref(all);
    return status;
}

mcs_status zs_save(const zs_run *r, const cli_input *in, const mcs_image *rgb,
                   const mcs_zeroshot_result *res, int count, json_t *line, mcs_error *e)
{
    saver s = { .r = r, .in = in, .rgb = rgb, .res = res, .count = count, .line = line };
    s.labels = make_labels(&s);
    if (!s.labels)
        return mcs_error_set(e, MCS_ENOMEM, "%s: out of memory", in->rel);
    mcs_status status = MCS_OK;
    if (r->save & ZS_SAVE_MASK && res[0].mask)
        status = save_mask(&s, e);
    if (status == MCS_OK && r->save & ZS_SAVE_OVERLAY)
        status = save_overlay(&s, e);
    if (status == MCS_OK)
        status = save_maps(&s, e);
    if (status == MCS_OK && r->save & ZS_SAVE_RLE)
        status = save_rle(&s, e);
    if (status == MCS_OK && r->o->gt)
        zs_truth(r, in, rgb->width, rgb->height, s.labels, count, line);
    free(s.labels);
    return status;
}
