/* cli_unet_val.c - how well held-out masks are found: DSC = 2|P&G| / (|P| + |G|) at the picture's
 * own size, mean over pictures.  One class: a picture without it, of which nothing is found, counts
 * as 1.  Several: the mean over classes, each over the pictures where it is or was found. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include "tools/cli_unet.h"

typedef struct {
    double sum[UN_CLASSES_MAX + 1];
    int64_t count[UN_CLASSES_MAX + 1];
} totals;

static void compare(const uint8_t *found, const uint8_t *truth, int64_t n, int classes, totals *all)
{
    int64_t both[UN_CLASSES_MAX + 1] = { 0 }, sum[UN_CLASSES_MAX + 1] = { 0 };
    for (int64_t i = 0; i < n; i++) {
        both[found[i]] += found[i] == truth[i];
        sum[found[i]]++;
        sum[truth[i]]++;
    }
    for (int k = 1; k <= classes; k++) {
        if (!sum[k] && classes > 1)
            continue;
        all->sum[k] += sum[k] ? 2 * (double)both[k] / (double)sum[k] : 1;
        all->count[k]++;
    }
}

static mcs_status one_picture(un_run *r, const un_picture *p, totals *all, mcs_error *e)
{
    const mcs_unet *nets[] = { r->model };
    const mcs_unet_view view = { .kind = r->notes.input, .side = r->notes.side, .overlap = 0.5f };
    const int planes = mcs_unet_planes(mcs_unet_get_config(r->model));
    const int64_t n = (int64_t)p->width * p->height;
    cli_grid g = { 0 };
    float *prob = malloc((size_t)planes * (size_t)n * sizeof *prob + 1);
    uint8_t *found = malloc((size_t)n + 1), *truth = NULL;
    mcs_image *im = mcs_image_read(p->path, e);
    mcs_status s = im ? MCS_OK : e->status;
    if (s == MCS_OK && (!prob || !found))
        s = mcs_error_set(e, MCS_ENOMEM, "%s: out of memory", p->path);
    if (s == MCS_OK && (im->width != p->width || im->height != p->height))
        s = mcs_error_set(e, MCS_EFORMAT, "%s: changed while it was in use", p->path);
    if (s == MCS_OK)
        s = cli_grid_read(p->mask, &g, e);
    if (s == MCS_OK && !(truth = un_labels(&r->val, &g, p->width, p->height, e)))
        s = e->status;
    if (s == MCS_OK)
        s = mcs_unet_predict(r->ctx, nets, 1, im, &view, prob, e);
    if (s == MCS_OK) {
        mcs_unet_labels(prob, planes, n, 0.5f, found);
        compare(found, truth, n, r->val.kind.classes, all);
    }
    mcs_image_free(im);
    free(g.value);
    free(prob);
    free(found);
    free(truth);
    return s;
}

static int report(const un_run *r, const totals *all, double loss, json_t *record)
{
    double dsc = 0;
    int seen = 0;
    json_t *by = json_object();
    for (int k = 1; k <= r->val.kind.classes; k++) {
        char name[20];
        if (!all->count[k])
            continue;
        snprintf(name, sizeof name, "%d", r->val.kind.value[k - 1]);
        json_object_set_new(by, name, json_real(all->sum[k] / (double)all->count[k]));
        dsc += all->sum[k] / (double)all->count[k];
        seen++;
    }
    dsc = seen ? dsc / seen : 0;
    int bad = json_object_update_new(record, json_pack("{s:f, s:f}", "val_loss", loss, "dsc", dsc));
    if (r->val.kind.classes > 1)
        bad |= json_object_set(record, "dsc_of", by);
    json_decref(by);
    if (bad)
        return cli_error(r->t, CLI_NO_MEMORY, "out of memory");
    cli_detail(r->t, "validation: loss %.4f, DSC %.4f", loss, dsc);
    return CLI_CONTINUE;
}

int un_validate(un_run *r, json_t *record)
{
    mcs_error e = { 0 };
    totals all = { 0 };
    double loss = 0;
    bool grad = mcs_set_grad(r->ctx, false), training = mcs_set_training(r->ctx, false);
    mcs_status s = un_measure(r, &loss);
    int code = s == MCS_OK ? CLI_CONTINUE : cli_run_failed(&r->run, r->ctx);
    for (int64_t i = 0; i < r->val.count && code == CLI_CONTINUE; i++)
        if (one_picture(r, &r->val.items[i], &all, &e) != MCS_OK)
            code = cli_die(r->t, &e, false);
    mcs_set_grad(r->ctx, grad);
    mcs_set_training(r->ctx, training);
    return code == CLI_CONTINUE ? report(r, &all, loss, record) : code;
}
