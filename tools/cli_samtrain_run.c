/* cli_samtrain_run.c - the loop of finetune_sam over steps and epochs. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "tools/cli_samtrain.h"

/* ---- One step ---- */

static int64_t epoch_steps(const st_run *r)
{
    return r->train.count / r->batch;
}

static int order_epoch(st_run *r, int64_t epoch)
{
    mcs_error e = { 0 };
    const mcs_sampler s = { .count = r->train.count,
                            .batch = r->batch,
                            .seed = (uint64_t)r->t->seed };
    if (r->order_epoch == epoch)
        return CLI_CONTINUE;
    r->order_epoch = epoch;
    return mcs_sampler_epoch(&s, epoch, r->order, &e) == MCS_OK ? CLI_CONTINUE
                                                                : cli_die(r->t, &e, false);
}

static double rate(const st_run *r)
{
    static const mcs_schedule_kind kinds[] = { MCS_SCHEDULE_CONST, MCS_SCHEDULE_COSINE,
                                               MCS_SCHEDULE_STEP, MCS_SCHEDULE_POLY };
    const st_opts *o = r->o;
    const mcs_schedule s = { .kind = kinds[o->scheduler],
                             .lr = (double)o->lr,
                             .warmup = o->warmup,
                             .total = epoch_steps(r) * o->epochs,
                             .every = epoch_steps(r),
                             .gamma = (double)o->gamma };
    return mcs_schedule_lr(&s, r->s.step);
}

static int update(st_run *r, int64_t epoch, double lr, mcs_sam_result *result, double *norm)
{
    mcs_error e = { 0 };
    mcs_params_zero_grad(r->params);
    mcs_status s = st_step(r, epoch, r->s.step - epoch * epoch_steps(r), result);
    if (s == MCS_ENUMERIC)
        return cli_error(r->t, CLI_NOT_FINITE,
                         "step %lld: %s; the last checkpoint is kept, try a lower --lr",
                         (long long)r->s.step, mcs_ctx_message(r->ctx));
    if (s != MCS_OK)
        return cli_die(r->t, mcs_ctx_error(r->ctx), false);
    mcs_pool *pool = mcs_ctx_pool(r->ctx);
    *norm = r->o->clip_norm > 0 ? mcs_grad_clip(r->params, pool, (double)r->o->clip_norm)
                                : mcs_grad_norm(r->params, pool);
    if (!isfinite(*norm))
        return cli_error(r->t, CLI_NOT_FINITE,
                         "the gradient is not finite at step %lld; the last checkpoint is kept, "
                         "try a lower --lr",
                         (long long)r->s.step);
    if (mcs_optim_step(r->optim, pool, lr, &e) != MCS_OK)
        return cli_die(r->t, &e, false);
    r->s.loss_sum += result->loss;
    r->s.loss_count++;
    return CLI_CONTINUE;
}

static int one_step(st_run *r, int64_t epoch, cli_progress *bar)
{
    mcs_sam_result result;
    double start = cli_clock(), norm = 0, lr = rate(r);
    int code = order_epoch(r, epoch);
    if (code == CLI_CONTINUE)
        code = update(r, epoch, lr, &result, &norm);
    if (code != CLI_CONTINUE)
        return code;
    r->s.step++;
    char text[80];
    snprintf(text, sizeof text, "epoch %lld loss %.4f", (long long)epoch + 1, result.loss);
    cli_progress_now(bar, text);
    bar->done++;
    cli_progress_draw(bar);
    if (r->s.step % r->o->log_every && r->s.step % epoch_steps(r))
        return CLI_CONTINUE;
    return cli_run_log(&r->run, json_pack("{s:I, s:I, s:f, s:f, s:f, s:f, s:f}", "step",
                                          (json_int_t)r->s.step, "epoch", (json_int_t)epoch + 1,
                                          "loss", result.loss, "iou", result.iou, "lr", lr,
                                          "grad_norm", norm, "seconds", cli_clock() - start));
}

/* ---- The end of an epoch ---- */

static const char *best_key(const st_opts *o)
{
    static const char *const keys[] = { "dsc", "dsc_jitter", "val_loss" };
    return keys[o->save_best];
}

static int close_epoch(st_run *r, int64_t epoch)
{
    const st_opts *o = r->o;
    bool last = epoch + 1 == o->epochs;
    int code = CLI_CONTINUE;
    json_t *record = json_pack("{s:I, s:I, s:f, s:f}", "epoch", (json_int_t)epoch + 1, "step",
                               (json_int_t)r->s.step, "lr", rate(r), "train_loss",
                               r->s.loss_sum / (double)(r->s.loss_count ? r->s.loss_count : 1));
    if (!record)
        return cli_error(r->t, CLI_NO_MEMORY, "out of memory");
    if (r->val.count && o->val_frequency && ((epoch + 1) % o->val_frequency == 0 || last))
        code = st_validate(r, record);
    if (code != CLI_CONTINUE) {
        json_decref(record);
        return code;
    }
    cli_run_judge(&r->run, record, epoch, best_key(o), o->save_best != ST_BEST_LOSS);
    json_array_append(r->s.history, record);
    r->s.loss_sum = 0;
    r->s.loss_count = 0;
    char name[40];
    snprintf(name, sizeof name, "epoch_%lld", (long long)epoch + 1);
    bool stop = o->patience && r->s.stale >= o->patience;
    bool save = last || stop || o->save_recent || r->s.best_epoch == epoch + 1 ||
                (o->save_frequency && (epoch + 1) % o->save_frequency == 0);
    code = cli_run_log(&r->run, record); /* first: a resumed run drops what it will do again */
    if (code == CLI_CONTINUE && save)
        code = cli_run_save(&r->run, name);
    return code == CLI_CONTINUE ? cli_run_log_epoch(&r->run) : code;
}

/* ---- The loop ---- */

/* A signal that asked to finish: saves and gives the exit code. */
static int stop_now(st_run *r)
{
    int code = cli_run_save_step(&r->run), sig = cli_stop();
    cli_info(r->t, "stopped after step %lld; --resume latest goes on", (long long)r->s.step);
    return code == CLI_CONTINUE ? CLI_SIGNALLED + sig : code;
}

static int loop(st_run *r, cli_progress *bar)
{
    for (;;) {
        int64_t epoch = (int64_t)json_array_size(r->s.history);
        bool enough = r->o->patience && r->s.stale >= r->o->patience;
        int code = CLI_CONTINUE;
        if (epoch >= r->o->epochs || enough)
            return CLI_DONE;
        if (r->s.step < (epoch + 1) * epoch_steps(r)) {
            code = one_step(r, epoch, bar);
            bool due = r->o->save_steps && r->s.step % r->o->save_steps == 0;
            if (code == CLI_CONTINUE && !cli_stop() && (cli_checkpoint_asked() || due))
                code = cli_run_save_step(&r->run);
        } else {
            code = close_epoch(r, epoch);
        }
        if (cli_stop() && code == CLI_CONTINUE)
            return stop_now(r);
        if (code != CLI_CONTINUE)
            return code;
    }
}

static int train(st_run *r)
{
    cli_progress bar;
    cli_progress_begin(&bar, r->t, epoch_steps(r) * r->o->epochs - r->s.step, "steps");
    int code = loop(r, &bar);
    cli_progress_end(&bar);
    if (code != CLI_DONE)
        return code;
    if (!r->t->quiet) {
        char best[80] = "";
        if (r->s.best_epoch)
            snprintf(best, sizeof best, ", best epoch %lld", (long long)r->s.best_epoch);
        printf("%s: %lld epochs, %lld steps%s\n", r->run.dir,
               (long long)json_array_size(r->s.history), (long long)r->s.step, best);
    }
    return json_array_size(r->train.problems) + json_array_size(r->val.problems) ? CLI_SOME_FAILED
                                                                                 : CLI_DONE;
}

/* ---- Preparation ---- */

static int read_data(st_run *r)
{
    const st_opts *o = r->o;
    int code = st_data_read(r->t, o, o->images, &o->masks, &r->train);
    if (code == CLI_CONTINUE && o->val_images)
        code = st_data_read(r->t, o, o->val_images, &o->val_masks, &r->val);
    if (code != CLI_CONTINUE)
        return code;
    r->batch = (int64_t)o->batch * o->accum;
    if (r->batch > r->train.count) {
        cli_warn(r->t, "there are only %lld pictures: batches of %lld instead of %lld",
                 (long long)r->train.count, (long long)r->train.count, (long long)r->batch);
        r->batch = r->train.count;
    }
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
    const st_opts *o = r->o;
    r->about = json_pack("[{s:o, s:I, s:I, s:s}]", "folder", cli_json_text(o->images), "pictures",
                         (json_int_t)r->train.count, "masks", (json_int_t)r->train.sample_count,
                         "fingerprint", r->train.fingerprint);
    r->problems = json_pack("[O, O*]", r->train.problems, r->val.problems);
    r->s.history = json_array();
    if (!r->about || !r->problems || !r->s.history)
        return cli_error(r->t, CLI_NO_MEMORY, "out of memory");
    r->run = (cli_run){ .t = r->t,
                        .program = r->program,
                        .opts = o,
                        .logs = o->logs,
                        .name = o->name,
                        .resume = o->resume,
                        .save_frequency = o->save_frequency,
                        .keep = o->keep,
                        .save = save_weights,
                        .s = &r->s,
                        .settings = r->settings,
                        .data = r->about,
                        .problems = r->problems,
                        .columns = columns,
                        .panels = panels,
                        .lock = { .fd = -1 },
                        .log_fd = -1 };
    return cli_run_open(&r->run);
}

static int make_caches(st_run *r)
{
    uint64_t all = r->o->cache;
    r->order = malloc((size_t)r->train.count * sizeof *r->order);
    if (!r->order || !st_cache_begin(&r->embeddings, r->train.count, all / 2) ||
        !st_cache_begin(&r->targets, r->train.sample_count, all / 4) ||
        !st_cache_begin(&r->val_embeddings, r->val.count, all / 4))
        return cli_error(r->t, CLI_NO_MEMORY, "out of memory");
    return CLI_CONTINUE;
}

int st_run_all(st_run *r)
{
    int code = read_data(r);
    if (code != CLI_CONTINUE)
        return code;
    if (r->t->dry_run) {
        cli_info(r->t, "would train %lld steps in %d epochs; nothing is written",
                 (long long)(epoch_steps(r) * r->o->epochs), r->o->epochs);
        return CLI_DONE;
    }
    code = open_folder(r);
    if (code != CLI_CONTINUE)
        return code;
    r->ctx = cli_context(r->t, true, &code);
    if (!r->ctx)
        return code;
    code = make_caches(r);
    if (code == CLI_CONTINUE)
        code = st_model_make(r);
    if (code == CLI_CONTINUE)
        code = cli_run_log_begin(&r->run);
    return code == CLI_CONTINUE ? train(r) : code;
}
