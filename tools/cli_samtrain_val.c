/* cli_samtrain_val.c - how well the masks of held-out pictures are found: Dice of the full-size
 * mask, DSC = 2|P&G| / (|P| + |G|), from the true box and from one whose edges lie up to 10 % of its
 * side further out or in (the same ones each time). */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "losses/metrics.h"
#include "tools/cli_samtrain.h"

static const mcs_sam_jitter jitters[] = { { .amount = 0 }, { 0.1, MCS_SAM_JITTER_SHARE, true } };
enum { BOXES = sizeof jitters / sizeof *jitters };

typedef struct {
    double loss, dsc[BOXES];
    int64_t count;
    double *by_folder; /* sums of dsc[0] */
    int64_t *in_folder;
} totals;

static double dice(const mcs_tensor *found, const uint8_t *truth)
{
    mcs_overlap o = mcs_overlap_count(truth, mcs_u8(found), mcs_numel(found));
    return mcs_metric_or(mcs_dsc(&o), 1);
}

static mcs_status one_box(mcs_ctx *c, const st_run *r, const mcs_tensor *embedding,
                          const st_picture *p, const st_sample *s, const uint8_t *truth, int which,
                          totals *sum)
{
    float box[4];
    int64_t side = 4 * mcs_sam_grid(r->model);
    mcs_scope scope = mcs_scope_begin(c);
    mcs_sam_jitter_box(r->model, p->width, p->height, s->box, &jitters[which], (uint64_t)r->t->seed,
                       (uint64_t)(s - r->val.samples), box);
    mcs_sam_masks y = mcs_sam_decode(c, r->model, embedding,
                                     &(mcs_sam_prompts){ .count = 1, .boxes = box }, false);
    mcs_tensor *target = mcs_new(c, 4, MCS_SHAPE(1, 1, side, side));
    const mcs_tensor *found =
        mcs_sam_threshold(c, mcs_sam_resize(c, r->model, y.logits, p->width, p->height));
    if (!found || !target ||
        mcs_sam_target(r->model, truth, p->width, p->height, (mcs_sam_target_kind)r->o->target,
                       mcs_f32(target), mcs_ctx_error(c)) != MCS_OK)
        return mcs_ctx_status(c);
    const mcs_tensor *loss = mcs_sam_train_loss(c, y, target, &r->loss);
    if (!loss)
        return mcs_ctx_status(c);
    double d = dice(found, truth);
    sum->dsc[which] += d;
    if (which == 0) {
        sum->loss += (double)mcs_f32(loss)[0];
        sum->by_folder[s->folder] += d;
        sum->in_folder[s->folder]++;
        sum->count++;
    }
    mcs_scope_end(c, scope, NULL);
    return mcs_ctx_status(c);
}

static mcs_status one_picture(st_run *r, int64_t i, totals *sum)
{
    mcs_ctx *c = r->ctx;
    const st_picture *p = &r->val.pictures[i];
    bool frozen = !mcs_sam_encoder_trained(r->model);
    st_cache none = { 0 };
    mcs_ctx_reset(c);
    const mcs_tensor *y = st_embedding(c, r, frozen ? &r->val_embeddings : &none, &r->val, i);
    if (!y)
        return mcs_ctx_status(c);
    for (int64_t k = p->first; k < p->first + p->count; k++) {
        uint8_t *truth = st_data_mask(&r->val, p, &r->val.samples[k], mcs_ctx_error(c));
        mcs_status s = truth ? MCS_OK : mcs_ctx_status(c);
        for (int b = 0; b < BOXES && s == MCS_OK; b++)
            s = one_box(c, r, y, p, &r->val.samples[k], truth, b, sum);
        free(truth);
        if (s != MCS_OK)
            return s;
    }
    return MCS_OK;
}

/* The folder's last part. */
static const char *short_name(const char *path)
{
    const char *name = path;
    for (const char *s = path; *s; s++)
        if (*s == '/' && s[1])
            name = s + 1;
    return name;
}

static int report(const st_run *r, const totals *sum, json_t *record)
{
    double n = (double)sum->count;
    json_t *by = json_object();
    for (int i = 0; i < r->o->val_masks.count; i++)
        if (sum->in_folder[i])
            json_object_set_new(by, short_name(r->o->val_masks.items[i]),
                                json_real(sum->by_folder[i] / (double)sum->in_folder[i]));
    json_t *more =
        json_pack("{s:f, s:f, s:f, s:I}", "val_loss", sum->loss / n, "dsc", sum->dsc[0] / n,
                  "dsc_jitter", sum->dsc[1] / n, "val_masks", (json_int_t)sum->count);
    int bad = json_object_update_new(record, more);
    if (json_object_size(by) > 1)
        bad |= json_object_set(record, "dsc_of", by);
    json_decref(by);
    if (bad)
        return cli_error(r->t, CLI_NO_MEMORY, "out of memory");
    cli_info(r->t, "validation: DSC %.4f with the true box, %.4f with 10 %% jitter",
             sum->dsc[0] / n, sum->dsc[1] / n);
    return CLI_CONTINUE;
}

int st_validate(st_run *r, json_t *record)
{
    size_t folders = (size_t)r->o->val_masks.count + 1;
    totals sum = { .by_folder = calloc(folders, sizeof *sum.by_folder),
                   .in_folder = calloc(folders, sizeof *sum.in_folder) };
    mcs_status s = sum.by_folder && sum.in_folder ? MCS_OK : MCS_ENOMEM;
    int code = s == MCS_OK ? CLI_CONTINUE : cli_error(r->t, CLI_NO_MEMORY, "out of memory");
    bool grad = mcs_set_grad(r->ctx, false), training = mcs_set_training(r->ctx, false);
    for (int64_t i = 0; i < r->val.count && s == MCS_OK; i++)
        s = one_picture(r, i, &sum);
    mcs_set_grad(r->ctx, grad);
    mcs_set_training(r->ctx, training);
    if (code == CLI_CONTINUE && s != MCS_OK)
        code = cli_die(r->t, mcs_ctx_error(r->ctx), false);
    if (code == CLI_CONTINUE && !isfinite(sum.loss))
        code = cli_error(r->t, CLI_NOT_FINITE,
                         "the validation loss is %g; the last checkpoint is kept", sum.loss);
    if (code == CLI_CONTINUE)
        code = report(r, &sum, record);
    free(sum.by_folder);
    free(sum.in_folder);
    return code;
}
