/* cli_unet_predict.c - one picture of predict_unet: probabilities, mask, uncertainty, files. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "tools/cli_unet_predict.h"

typedef struct {
    const up_run *r;
    cli_job_item *item;
    mcs_image *rgb;
    int width, height;
    int64_t n; /* pixels */
    float *prob, *entropy; /* (planes,n), (n) */
    uint8_t *labels; /* (n) */
    mcs_error *e;
} picture;

/* ---- Files ---- */

static mcs_status write_png(picture *p, const char *key, const char *kind, const char *ext,
                            mcs_image *im)
{
    char *path = im ? cli_job_place(&p->r->job, p->item, key, kind, ext, p->e) : NULL;
    mcs_status s = path ? mcs_png_write(path, im, p->e)
                        : mcs_error_set(p->e, MCS_ENOMEM, "%s: out of memory", p->item->in->rel);
    if (path && s != MCS_OK)
        p->item->output_failed = true;
    free(path);
    mcs_image_free(im);
    return s == MCS_OK ? MCS_OK : p->e->status;
}

static mcs_status save_mask(picture *p)
{
    const un_notes *k = &p->r->notes;
    int top = 255;
    for (int i = 0; i < k->classes; i++)
        top = k->value[i] > top ? k->value[i] : top;
    bool deep = top > 255 && k->classes > 1;
    mcs_image *im = mcs_image_new(p->width, p->height, 1, deep ? 16 : 8);
    for (int64_t i = 0; im && i < p->n; i++) {
        int v = !p->labels[i] ? 0 : k->classes == 1 ? 255 : k->value[p->labels[i] - 1];
        if (deep)
            ((uint16_t *)im->data)[i] = (uint16_t)v;
        else
            ((uint8_t *)im->data)[i] = (uint8_t)v;
    }
    return write_png(p, "mask", "masks", ".png", im);
}

static mcs_image *grey16(const picture *p, const float *map)
{
    mcs_image *im = mcs_image_new(p->width, p->height, 1, 16);
    for (int64_t i = 0; im && i < p->n; i++)
        ((uint16_t *)im->data)[i] = (uint16_t)(fminf(fmaxf(map[i], 0), 1) * 65535.0f + 0.5f);
    return im;
}

/* One class: NAME.png; several: NAME.LABEL.png of each. */
static mcs_status save_prob(picture *p)
{
    const un_notes *k = &p->r->notes;
    if (p->r->planes <= 2)
        return write_png(p, "prob", "prob", ".png", grey16(p, p->prob + (p->r->planes - 1) * p->n));
    mcs_status s = MCS_OK;
    for (int i = 1; i < p->r->planes && s == MCS_OK; i++) {
        char key[30], ext[30];
        snprintf(key, sizeof key, "prob_%d", k->value[i - 1]);
        snprintf(ext, sizeof ext, ".%d.png", k->value[i - 1]);
        s = write_png(p, key, "prob", ext, grey16(p, p->prob + i * p->n));
    }
    return s;
}

static mcs_image *copy_of(const mcs_image *im)
{
    mcs_image *copy = mcs_image_new(im->width, im->height, im->channels, im->depth);
    if (copy)
        memcpy(copy->data, im->data, (size_t)im->width * (size_t)im->height * (size_t)im->channels);
    return copy;
}

static mcs_status save_uncertainty(picture *p)
{
    mcs_status s = write_png(p, "uncertainty", "uncertainty", ".png", grey16(p, p->entropy));
    if (s != MCS_OK)
        return s;
    mcs_image *im = copy_of(p->rgb);
    if (im)
        mcs_draw_heat(im, p->entropy, 0.5f);
    return write_png(p, "uncertainty_overlay", "uncertainty_overlays", ".png", im);
}

static mcs_status save_overlay(picture *p)
{
    mcs_image *im = copy_of(p->rgb);
    uint8_t *one = malloc((size_t)p->n + 1);
    for (int k = 1; im && one && k <= p->r->notes.classes; k++) {
        for (int64_t i = 0; i < p->n; i++)
            one[i] = p->labels[i] == k;
        mcs_draw_mask(im, one, mcs_label_colour(k), 0.35f);
    }
    if (!one) {
        mcs_image_free(im);
        im = NULL;
    }
    free(one);
    return write_png(p, "overlay", "overlays", ".png", im);
}

static mcs_status save(picture *p)
{
    unsigned what = p->r->save;
    mcs_status s = what & UP_SAVE_MASK ? save_mask(p) : MCS_OK;
    if (s == MCS_OK && what & UP_SAVE_PROB)
        s = save_prob(p);
    if (s == MCS_OK && what & UP_SAVE_UNCERTAINTY)
        s = save_uncertainty(p);
    if (s == MCS_OK && what & UP_SAVE_OVERLAY)
        s = save_overlay(p);
    return s;
}

/* ---- Figures ---- */

/* Pixels outside the mask that touch it, corners included. */
static int64_t outline(const picture *p)
{
    int64_t count = 0;
    for (int y = 0; y < p->height; y++)
        for (int x = 0; x < p->width; x++) {
            bool touches = false;
            for (int k = 0; k < 9 && !p->labels[(int64_t)y * p->width + x]; k++) {
                int nx = x + k % 3 - 1, ny = y + k / 3 - 1;
                touches = touches || (nx >= 0 && ny >= 0 && nx < p->width && ny < p->height &&
                                      p->labels[(int64_t)ny * p->width + nx]);
            }
            count += touches;
        }
    return count;
}

/* Areas, and how unsure the nets are: the mean entropy; and its sum by the length of the outline,
 * where it lies in the best of cases, which does not reward large masks. */
static void describe(picture *p)
{
    json_t *line = p->item->line, *areas = json_object();
    const un_notes *k = &p->r->notes;
    int64_t area[UN_CLASSES_MAX + 1] = { 0 }, border = outline(p);
    double sum = 0;
    for (int64_t i = 0; i < p->n; i++) {
        area[p->labels[i]]++;
        sum += (double)p->entropy[i];
    }
    for (int i = 1; i <= k->classes && k->classes > 1; i++) {
        char name[20];
        snprintf(name, sizeof name, "%d", k->value[i - 1]);
        json_object_set_new(areas, name, json_integer(area[i]));
    }
    json_object_set_new(line, "width", json_integer(p->width));
    json_object_set_new(line, "height", json_integer(p->height));
    json_object_set_new(line, "area", json_integer(p->n - area[0]));
    if (k->classes > 1)
        json_object_set(line, "areas", areas);
    json_decref(areas);
    json_object_set_new(line, "uncertainty_mean", json_real(sum / (double)p->n));
    if (border)
        json_object_set_new(line, "uncertainty_per_outline", json_real(sum / (double)border));
}

/* ---- The picture ---- */

static mcs_status segment(picture *p, const mcs_image *im)
{
    const up_run *r = p->r;
    mcs_status s = mcs_unet_predict(r->ctx, (const mcs_unet *const *)r->nets, r->count, im,
                                    &r->view, p->prob, p->e);
    if (s != MCS_OK)
        return s;
    for (int64_t i = 0; i < r->planes * p->n; i++)
        if (!isfinite(p->prob[i]))
            return mcs_error_set(p->e, MCS_ENUMERIC, "%s: a probability is %g", p->item->in->rel,
                                 (double)p->prob[i]);
    mcs_unet_labels(p->prob, r->planes, p->n, r->o->threshold, p->labels);
    mcs_unet_entropy(p->prob, r->planes, p->n, p->entropy);
    describe(p);
    return save(p);
}

mcs_status up_work(void *run, cli_job_item *item, mcs_error *e)
{
    const up_run *r = run;
    mcs_image *im = mcs_image_read(item->in->path, e);
    mcs_image *rgb = im ? mcs_image_to_rgb(im, e) : NULL;
    mcs_status s = rgb ? MCS_OK : e->status;
    picture p = { .r = r, .item = item, .rgb = rgb, .e = e };
    if (s == MCS_OK) {
        p.width = im->width;
        p.height = im->height;
        p.n = (int64_t)im->width * im->height;
        p.prob = malloc((size_t)r->planes * (size_t)p.n * sizeof *p.prob);
        p.entropy = malloc((size_t)p.n * sizeof *p.entropy);
        p.labels = malloc((size_t)p.n);
        s = p.prob && p.entropy && p.labels
                ? segment(&p, im)
                : mcs_error_set(e, MCS_ENOMEM, "%s: out of memory", item->in->rel);
    }
    free(p.prob);
    free(p.entropy);
    free(p.labels);
    mcs_image_free(im);
    mcs_image_free(rgb);
    return s;
}

/* ---- index.html ---- */

static void card(cli_html *h, const json_t *line)
{
    static const char *const keys[][2] = {
        { "area", "area (pixels)" },
        { "areas", "area by label" },
        { "uncertainty_mean", "mean uncertainty" },
        { "uncertainty_per_outline", "uncertainty by outline" },
    };
    cli_html_raw(h, "<div class=\"row\">\n");
    cli_page_figure(h, line, "overlay", "mask");
    cli_page_figure(h, line, "mask", "mask alone");
    cli_page_figure(h, line, "prob", "probability");
    cli_page_figure(h, line, "uncertainty_overlay", "uncertainty");
    cli_html_raw(h, "</div>\n<table>\n");
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
        cli_page_row(h, keys[i][1], json_object_get(line, keys[i][0]));
    cli_html_raw(h, "</table>\n");
}

mcs_status up_report(void *run, const json_t *lines, mcs_error *e)
{
    const up_run *r = run;
    cli_html h = { 0 };
    if (!r->o->html)
        return MCS_OK;
    cli_page_begin(&h, "predict_unet");
    cli_page_summary(&h, "predict_unet", r->job.run, lines);
    cli_page_failures(&h, r->job.errors_path, e);
    cli_page_cards(&h, lines, card);
    return cli_page_end(&h, r->o->out, e);
}
