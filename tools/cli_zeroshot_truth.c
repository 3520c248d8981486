/* cli_zeroshot_truth.c - agreement with masks of the same names: DSC = 2|P&G| / (|P| + |G|),
 * IoU = |P&G| / |P|G|.  Both empty: 1.  For more measures there is eval_seg. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "losses/metrics.h"
#include "tools/cli_masks.h"
#include "tools/cli_zeroshot.h"

/* Label maps hold small numbers; masks hold 0 and 255 (or 0 and 1). */
static int truth_label(int value, int max, int count)
{
    if (count > 1 && max <= count)
        return value;
    return max > 127 ? value > 127 : value > 0;
}

static json_t *scores(const mcs_overlap *o)
{
    return json_pack("{s:f, s:f}", "dsc", mcs_metric_or(mcs_dsc(o), 1), "iou",
                     mcs_metric_or(mcs_iou(o), 1));
}

static void compare(const zs_run *r, const mcs_image *gt, const uint8_t *labels, int count,
                    json_t *line)
{
    size_t n = (size_t)gt->width * (size_t)gt->height;
    const uint8_t *value = gt->data;
    mcs_overlap all[256] = { { 0 } }, any = { 0 };
    int max = 0;
    for (size_t i = 0; i < n; i++)
        max = value[i] > max ? value[i] : max;
    for (size_t i = 0; i < n; i++) {
        int g = truth_label(value[i], max, count), p = labels[i];
        any.both += g && p;
        any.found += p != 0;
        any.truth += g != 0;
        all[p].found++;
        all[g].truth++;
        all[p].both += p == g;
    }
    json_t *metrics = scores(&any);
    if (count > 1 && max <= count) {
        json_t *classes = json_object();
        for (int k = 0; k < count; k++)
            json_object_set_new(classes, r->task.classes[k].name, scores(&all[k + 1]));
        json_object_set_new(metrics, "classes", classes);
    }
    json_object_set_new(line, "metrics", metrics);
}

void zs_truth(const zs_run *r, const cli_input *in, int width, int height, const uint8_t *labels,
              int count, json_t *line)
{
    mcs_error e = { 0 };
    char *path = cli_mask_find(r->o->gt, in);
    if (!path) {
        cli_detail(r->t, "%s: no mask of that name in %s", in->rel, r->o->gt);
        return;
    }
    mcs_image *file = mcs_image_read(path, &e), *grey = file ? mcs_image_to_grey(file, &e) : NULL;
    if (grey && (grey->width != width || grey->height != height))
        mcs_error_set(&e, MCS_ESHAPE, "%s: the mask has %d x %d pixels, its picture %d x %d; not compared",
                      path, grey->width, grey->height, width, height);
    if (e.status == MCS_OK)
        compare(r, grey, labels, count, line);
    else
        json_object_set_new(line, "gt_error", cli_json_text(e.message));
    mcs_image_free(file);
    mcs_image_free(grey);
    free(path);
}

/* ---- metrics.csv, summary.json ---- */

typedef struct {
    double sum, square;
    int64_t n;
} moments;

static void count_in(moments *m, double v)
{
    m->sum += v;
    m->square += v * v;
    m->n++;
}

static json_t *mean_std(const moments *m)
{
    double mean = m->n ? m->sum / (double)m->n : 0;
    double var = m->n > 1 ? (m->square - (double)m->n * mean * mean) / (double)(m->n - 1) : 0;
    return json_pack("{s:f, s:f}", "mean", mean, "std", sqrt(var > 0 ? var : 0));
}

mcs_status zs_truth_report(const zs_run *r, const json_t *lines, mcs_error *e)
{
    cli_html csv = { 0 };
    moments dsc = { 0 }, iou = { 0 };
    const char *input;
    json_t *line;
    cli_html_raw(&csv, "Name,DSC,IoU\n");
    json_object_foreach((json_t *)(uintptr_t)lines, input, line)
    {
        const json_t *m = json_object_get(line, "metrics");
        if (!m)
            continue;
        double d = json_number_value(json_object_get(m, "dsc"));
        double u = json_number_value(json_object_get(m, "iou"));
        cli_csv_field(&csv, input);
        cli_html_rawf(&csv, ",%.6f,%.6f\n", d, u);
        count_in(&dsc, d);
        count_in(&iou, u);
    }
    json_t *summary =
        json_pack("{s:I, s:I, s:o, s:o}", "pictures", (json_int_t)json_object_size(lines),
                  "compared", (json_int_t)dsc.n, "dsc", mean_std(&dsc), "iou", mean_std(&iou));
    mcs_status s = cli_html_save(&csv, r->o->out, "metrics.csv", e);
    if (s == MCS_OK)
        s = cli_save_json(r->o->out, "summary.json", summary, e);
    if (s == MCS_OK)
        cli_info(r->t, "%lld pictures compared: DSC %.4f, IoU %.4f", (long long)dsc.n,
                 dsc.n ? dsc.sum / (double)dsc.n : 0, iou.n ? iou.sum / (double)iou.n : 0);
    json_decref(summary);
    return s;
}
