/* cli_train_val.c - the loss and the retrieval of the validation pairs. */
#include <math.h>
#include <stdlib.h>
#include "models/retrieval.h"
#include "tools/cli_train.h"

mcs_clip_step_opts tr_step_opts(const tr_run *r)
{
    static const mcs_contrastive_kind kinds[] = { MCS_LOSS_DHN_NCE, MCS_LOSS_HN_NCE, MCS_LOSS_DCL,
                                                  MCS_LOSS_INFONCE, MCS_LOSS_DHN_NCE_OFFICIAL };
    const tr_opts *o = r->o;
    mcs_contrastive_opts l = mcs_contrastive_defaults(kinds[o->dhnnce ? 0 : o->loss]);
    l.temperature = o->temperature;
    l.beta1 = o->hardness1;
    l.beta2 = o->hardness2;
    if (o->alpha > 0 || l.kind != MCS_LOSS_HN_NCE) /* HN-NCE without its positive is DHN-NCE */
        l.alpha = o->alpha;
    l.fixed_weights = o->fixed_weights;
    return (mcs_clip_step_opts){ .loss = l,
                                 .learn_scale = o->learn_temperature,
                                 .seed = (uint64_t)r->t->seed,
                                 .step = (uint64_t)r->s.step };
}

bool tr_masked(const tr_run *r, const cli_pairs *p)
{
    return p->grouped && (r->o->dhnnce || r->o->loss != 4);
}

/* Mean over batches in the table's order, each weighted by its pairs. */
static int val_loss(tr_run *r, const cli_embedded *v, double *loss)
{
    mcs_clip_step_opts o = tr_step_opts(r);
    double sum = 0;
    int64_t used = 0;
    bool grad = mcs_set_grad(r->ctx, false);
    for (int64_t at = 0; at < v->count; at += r->batch) {
        int64_t n = v->count - at < r->batch ? v->count - at : r->batch;
        if (n < 2)
            break;
        mcs_ctx_reset(r->ctx);
        const mcs_tensor *x =
            mcs_wrap(r->ctx, MCS_F32, 2, MCS_SHAPE(n, v->width), v->image + at * v->width);
        const mcs_tensor *y =
            mcs_wrap(r->ctx, MCS_F32, 2, MCS_SHAPE(n, v->width), v->text + at * v->width);
        bool masked = tr_masked(r, &r->val);
        uint8_t *mask = masked ? tr_negatives(&r->val, v->row + at, n, 1) : NULL;
        const mcs_tensor *l = mcs_clip_loss(r->ctx, r->model, x, y, mask, &o);
        bool no_mask = masked && !mask;
        free(mask);
        if (no_mask)
            return cli_error(r->t, CLI_NO_MEMORY, "out of memory for a mask of negatives");
        if (!l)
            return cli_die(r->t, mcs_ctx_error(r->ctx), false);
        sum += (double)mcs_f32(l)[0] * (double)n;
        used += n;
    }
    mcs_ctx_reset(r->ctx);
    mcs_set_grad(r->ctx, grad);
    *loss = used ? sum / (double)used : 0;
    return CLI_CONTINUE;
}

typedef struct {
    const cli_pairs *pairs;
    const int64_t *row;
} known;

static bool also_true(const void *arg, int64_t caption, int64_t image)
{
    const known *k = arg;
    const cli_pair *items = k->pairs->items;
    return cli_pairs_true(k->pairs, &items[k->row[caption]], items[k->row[image]].image);
}

/* Retrieval in batches of 50; masked: captions that are true of another picture are no rivals,
 * as in the loss. */
static int rank(tr_run *r, const cli_embedded *v, json_t *record)
{
    mcs_error e = { 0 };
    mcs_retrieval_result out, masked = { .rank_image = 0 };
    int64_t *group = malloc((size_t)v->count * sizeof *group);
    const known k = { &r->val, v->row };
    const mcs_retrieval_opts o = { .batch = 50, .runs = 1, .k = { 1, 2 }, .ks = 2 };
    mcs_retrieval_pairs p = { .image = v->image,
                              .text = v->text,
                              .count = v->count,
                              .width = v->width,
                              .group = r->val.grouped ? group : NULL };
    if (!group)
        return cli_error(r->t, CLI_NO_MEMORY, "out of memory");
    for (int64_t i = 0; i < v->count; i++)
        group[i] = r->val.items[v->row[i]].group;
    mcs_status s = mcs_retrieval(&p, &o, mcs_ctx_pool(r->ctx), &out, &e);
    p.also = also_true;
    p.arg = &k;
    if (s == MCS_OK && r->val.grouped)
        s = mcs_retrieval(&p, &o, mcs_ctx_pool(r->ctx), &masked, &e);
    free(group);
    if (s != MCS_OK)
        return s == MCS_EINVAL ? cli_error(r->t, CLI_NOTHING, "validation: %s", e.message)
                               : cli_die(r->t, &e, false);
    const mcs_retrieval_score *i2t = out.image_to_text, *t2i = out.text_to_image;
    json_t *more = json_pack("{s:f, s:f, s:f, s:f, s:f}", "top1", (i2t[0].mean + t2i[0].mean) / 2,
                             "i2t_top1", i2t[0].mean, "i2t_top2", i2t[1].mean, "t2i_top1",
                             t2i[0].mean, "t2i_top2", t2i[1].mean);
    if (r->val.grouped && more)
        json_object_update_new(more, json_pack("{s:f, s:f}", "i2t_top1_masked",
                                               masked.image_to_text[0].mean, "t2i_top1_masked",
                                               masked.text_to_image[0].mean));
    return json_object_update_new(record, more) ? cli_error(r->t, CLI_NO_MEMORY, "out of memory")
                                                : CLI_CONTINUE;
}

static int measure(tr_run *r, const cli_embedded *v, json_t *record)
{
    double loss = 0;
    int code = rank(r, v, record);
    if (code == CLI_CONTINUE)
        code = val_loss(r, v, &loss);
    if (code == CLI_CONTINUE && !isfinite(loss))
        code = cli_error(r->t, CLI_NOT_FINITE, "the validation loss is %g", loss);
    if (code == CLI_CONTINUE && json_object_set_new(record, "val_loss", json_real(loss)))
        code = cli_error(r->t, CLI_NO_MEMORY, "out of memory");
    return code;
}

int tr_validate(tr_run *r, json_t *record)
{
    cli_embedded v;
    int code = cli_pairs_embed(r->t, r->ctx, r->model, &r->val, r->o->on_error == 1,
                               "validation pairs", &v);
    if (code == CLI_CONTINUE)
        code = measure(r, &v, record);
    cli_embedded_free(&v);
    return code;
}
