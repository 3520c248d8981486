/* cli_samtrain_run.c - the loop of finetune_sam over steps and epochs. */
#include "tools/cli_samtrain.h"

/* ---- One step ---- */

static int64_t epoch_steps(const st_run *r)
{
    return cli_run_order_steps(&r->order);
}

static double rate(const void *arg, int64_t epoch)
{
    const st_run *r = arg;
    (void)epoch;
    static const mcs_schedule_kind kinds[] = { MCS_SCHEDULE_CONST, MCS_SCHEDULE_COSINE,
                                               MCS_SCHEDULE_STEP, MCS_SCHEDULE_POLY };
    const cli_run_opts *o = &r->o->run;
    const mcs_schedule s = { .kind = kinds[r->o->scheduler],
                             .lr = (double)o->lr,
                             .warmup = o->warmup,
                             .total = epoch_steps(r) * o->epochs,
                             .every = epoch_steps(r),
                             .gamma = (double)o->gamma };
    return mcs_schedule_lr(&s, r->s.step);
}

static int one_step(void *arg, int64_t epoch, double lr, cli_run_step *out)
{
    st_run *r = arg;
    mcs_sam_result result;
    int code = cli_run_order_draw(r->t, &r->order, epoch);
    if (code != CLI_CONTINUE)
        return code;
    mcs_params_zero_grad(r->run.params);
    if (st_step(r, epoch, r->s.step - epoch * epoch_steps(r), &result) != MCS_OK)
        return cli_run_failed(&r->run, r->ctx);
    out->loss = result.loss;
    out->line = json_pack("{s:f}", "iou", result.iou);
    return cli_run_update(&r->run, mcs_ctx_pool(r->ctx), lr, &out->norm);
}

static int64_t steps_before(const void *arg, int64_t epoch)
{
    return epoch * epoch_steps(arg);
}

static int validate(void *arg, json_t *record)
{
    st_run *r = arg;
    return r->val.count ? st_validate(r, record) : CLI_CONTINUE;
}

static cli_run_work work_of(st_run *r)
{
    static const char *const keys[] = { "dsc", "dsc_jitter", "val_loss" };
    return (cli_run_work){ .arg = r,
                           .steps_before = steps_before,
                           .rate = rate,
                           .step = one_step,
                           .validate = validate,
                           .best = keys[r->o->run.save_best],
                           .best_larger = r->o->run.save_best != ST_BEST_LOSS };
}

/* ---- Preparation ---- */

static int read_data(st_run *r)
{
    const st_opts *o = r->o;
    int code = st_data_read(r->t, o, &o->images, &o->masks, &r->train);
    if (code == CLI_CONTINUE && o->val_images.count)
        code = st_data_read(r->t, o, &o->val_images, &o->val_masks, &r->val);
    if (code != CLI_CONTINUE)
        return code;
    code = cli_run_order_make(r->t, r->train.count, (int64_t)o->batch * o->accum, &r->order);
    if (code != CLI_CONTINUE)
        return code;
    cli_info(r->t, "%lld pictures with %lld masks for training, %lld with %lld for validation",
             (long long)r->train.count, (long long)r->train.sample_count, (long long)r->val.count,
             (long long)r->val.sample_count);
    return CLI_CONTINUE;
}

static const char *const columns[] = { "epoch",    "step", "lr",         "train_loss",
                                       "val_loss", "dsc",  "dsc_jitter", NULL };
static const cli_run_panel panels[] = {
    { "Loss", 1, { { "train_loss", "training" }, { "val_loss", "validation" } } },
    { "Validation, mean DSC, %", 100, { { "dsc", "true box" }, { "dsc_jitter", "10 % jitter" } } },
    { .title = NULL },
};

static mcs_status save_weights(const void *model, const char *path, mcs_error *e)
{
    return mcs_sam_save(model, path, MCS_ST_F32, e);
}

static int open_folder(st_run *r)
{
    cli_run *run = &r->run;
    run->data = json_pack("[{s:o, s:I, s:I, s:s}]", "folders", cli_json_list(&r->o->images),
                          "pictures", (json_int_t)r->train.count, "masks",
                          (json_int_t)r->train.sample_count, "fingerprint", r->train.fingerprint);
    run->problems = json_pack("[O, O*]", r->train.problems, r->val.problems);
    run->save = save_weights;
    run->columns = columns;
    run->panels = panels;
    return cli_run_open(run);
}

static int make_caches(st_run *r)
{
    uint64_t all = r->o->cache;
    if (!st_cache_begin(&r->embeddings, r->train.count, all / 2) ||
        !st_cache_begin(&r->targets, r->train.sample_count, all / 4) ||
        !st_cache_begin(&r->val_embeddings, r->val.count, all / 4))
        return cli_error(r->t, CLI_NO_MEMORY, "out of memory");
    return CLI_CONTINUE;
}

int st_run_all(st_run *r)
{
    const cli_run_work work = work_of(r);
    int code = read_data(r);
    if (code != CLI_CONTINUE)
        return code;
    if (r->t->dry_run) {
        cli_info(r->t, "would train %lld steps in %d epochs; nothing is written",
                 (long long)(epoch_steps(r) * r->o->run.epochs), r->o->run.epochs);
        return CLI_DONE;
    }
    code = open_folder(r);
    if (code != CLI_CONTINUE)
        return code;
    r->ctx = cli_context(r->t, true, &code);
    if (!r->ctx)
        return code;
    mcs_set_recompute(r->ctx, r->o->checkpointing);
    code = make_caches(r);
    if (code == CLI_CONTINUE)
        code = st_model_make(r);
    if (code == CLI_CONTINUE)
        code = cli_run_check_place(&r->run, &work);
    if (code == CLI_CONTINUE)
        code = cli_run_log_begin(&r->run);
    return code == CLI_CONTINUE ? cli_run_train(&r->run, &work) : code;
}
