/* cli_unet_kind.c - what the values of masks mean: one class, or a map of labels.
 *
 * All masks are looked at together, for a single one may lack a label.  Values other than 0:
 *   one; or 1 and 255 (0/1 and 0/255 files mixed)       a mask: anything but 0
 *   2 to 32 of them                                     a map: 1, 2, ... in their order
 *   more, or any file is a JPEG (whose edges are soft)  a mask: above half of the largest */
#include <stdio.h>
#include <stdlib.h>
#include "tools/cli_unet.h"

void un_survey_add(un_survey *v, const cli_grid *g)
{
    size_t n = (size_t)g->width * (size_t)g->height;
    for (size_t i = 0; i < n; i++) {
        v->seen[g->value[i]]++;
        v->top = g->value[i] > v->top ? g->value[i] : v->top;
    }
    v->files++;
    v->jpeg += g->jpeg;
    v->colour += g->channels > 2;
    v->deep += g->range > 255;
}

static int values_of(const un_survey *v, int *list)
{
    int count = 0;
    for (int i = 1; i < 65536; i++) {
        if (!v->seen[i])
            continue;
        if (count < UN_CLASSES_MAX)
            list[count] = i;
        count++;
    }
    return count;
}

static void say_files(cli *t, const un_survey *v)
{
    if (v->jpeg)
        cli_warn(t,
                 "%lld of %lld masks are JPEG files, which are not exact: their pixels are cut at "
                 "half of the largest value",
                 (long long)v->jpeg, (long long)v->files);
    if (v->colour)
        cli_info(t, "%lld of %lld masks are RGB or have a palette: their grey values are taken",
                 (long long)v->colour, (long long)v->files);
    if (v->resized)
        cli_warn(t,
                 "%lld of %lld masks have another size than their picture: they are resized to it",
                 (long long)v->resized, (long long)v->files);
}

static void as_mask(cli *t, const un_survey *v, int count, const int *list, un_data *d)
{
    d->kind.classes = 1;
    d->kind.value[0] = v->top;
    if (count == 1 || (count == 2 && list[0] == 1 && list[1] == 255 && !v->jpeg)) {
        cli_info(t, "masks: 0 and %s%d; everything but 0 is the structure",
                 count == 2 ? "1 or " : "", list[count - 1]);
        return;
    }
    d->cut = v->top / 2 > 0 ? v->top / 2 : 1;
    (v->jpeg ? cli_info : cli_warn)(
        t, "masks: %d different values up to %d; what is above %d is the structure", count, v->top,
        d->cut);
}

static void as_map(cli *t, int count, const int *list, un_data *d)
{
    cli_html text = { 0 };
    d->kind.classes = count;
    for (int i = 0; i < count; i++) {
        d->kind.value[i] = list[i];
        cli_html_rawf(&text, "%s%d", i ? ", " : "", list[i]);
    }
    cli_info(t, "masks: maps of %d labels besides 0: %s", count, text.text ? text.text : "");
    free(text.text);
}

/* The label of a value; the background if it was not there when labels were decided. */
static uint8_t label_of(const un_data *d, int value)
{
    if (d->kind.classes == 1)
        return d->cut ? value > d->cut : value > 0;
    for (int i = 0; i < d->kind.classes; i++)
        if (d->kind.value[i] == value)
            return (uint8_t)(i + 1);
    return 0;
}

static void count_shares(const un_survey *v, un_data *d)
{
    double all = 0;
    for (int i = 0; i < 65536; i++) {
        d->share[v->seen[i] ? label_of(d, i) : 0] += (double)v->seen[i];
        all += (double)v->seen[i];
    }
    for (int k = 0; k <= d->kind.classes && all > 0; k++)
        d->share[k] /= all;
}

int un_survey_decide(cli *t, const un_opts *o, const un_survey *v, un_data *d)
{
    int list[UN_CLASSES_MAX] = { 0 }, count = values_of(v, list);
    say_files(t, v);
    if (!count)
        return cli_error(t, CLI_NOTHING,
                         "all of %lld masks are empty: there is nothing to learn; was --min-iou of "
                         "zeroshot_seg too high?",
                         (long long)v->files);
    if (o->labels == UN_MAP && (count > UN_CLASSES_MAX || v->jpeg))
        return cli_error(t, CLI_BAD_USAGE, "--labels map: %s, at most %d labels are expected",
                         v->jpeg ? "JPEG masks hold no labels" : "there are too many values",
                         UN_CLASSES_MAX);
    bool mixed = count == 2 && list[0] == 1 && list[1] == 255;
    bool map = count > 1 && count <= UN_CLASSES_MAX && !v->jpeg && !mixed;
    if (o->labels == UN_MAP || (o->labels == UN_AUTO && map))
        as_map(t, count, list, d);
    else
        as_mask(t, v, count, list, d);
    count_shares(v, d);
    return CLI_CONTINUE;
}

uint8_t *un_labels(const un_data *d, const cli_grid *g, int width, int height, mcs_error *e)
{
    uint8_t *out = malloc((size_t)width * (size_t)height + 1);
    if (!out) {
        mcs_error_set(e, MCS_ENOMEM, "labels of %d x %d: out of memory", width, height);
        return NULL;
    }
    for (int y = 0; y < height; y++) {
        int64_t row = (int64_t)((y + 0.5) * g->height / height) * g->width;
        for (int x = 0; x < width; x++)
            out[(int64_t)y * width + x] =
                label_of(d, g->value[row + (int64_t)((x + 0.5) * g->width / width)]);
    }
    return out;
}
