/* cli_train_run.c - the loop of finetune_clip over steps and epochs. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "tools/cli_train.h"

/* ---- One step ---- */

static double rate(const tr_run *r, int64_t epoch)
{
    const tr_opts *o = r->o;
    mcs_schedule s = { .kind = o->scheduler == TR_COSINE ? MCS_SCHEDULE_COSINE : MCS_SCHEDULE_CONST,
                       .lr = (double)o->lr,
                       .warmup = o->warmup,
                       .total = tr_steps_before(r, o->epochs) };
    return mcs_schedule_lr(&s, r->s.step) *
           (o->scheduler == TR_STEP ? pow((double)o->gamma, (double)epoch) : 1);
}

static int64_t micro_of(const tr_run *r, const mcs_clip_batch *b)
{
    if (r->o->micro > 0)
        return r->o->micro;
    const int64_t room = r->t->mem_limit ? (int64_t)(r->t->mem_limit / 2) : INT64_C(3) << 30;
    int64_t pair = mcs_clip_pair_bytes(mcs_biomedclip_get_config(r->model), b->length, b->captions);
    int64_t fits = room / pair > 0 ? room / pair : 1;
    return r->o->accum > 1 && r->o->batch < fits ? r->o->batch : fits;
}

/* open_clip keeps the scale of the logits between 1 and 100. */
static void clamp_scale(tr_run *r)
{
    float *s = mcs_f32(mcs_params_find(r->params, "logit_scale"));
    if (r->o->learn_temperature)
        *s = fminf(fmaxf(*s, 0), logf(100));
}

static int update(tr_run *r, const tr_batch *b, double lr, double *loss, double *norm)
{
    mcs_error e = { 0 };
    mcs_clip_step_opts o = tr_step_opts(r);
    o.micro = micro_of(r, &b->in);
    o.comm = r->comm;
    mcs_params_zero_grad(r->params);
    mcs_status s = mcs_clip_step(r->ctx, r->model, &b->in, &o, loss);
    if (s != MCS_OK && r->t->rank)
        return cli_code(s, false); /* rank 0 says it */
    if (s == MCS_ENUMERIC)
        return cli_error(r->t, CLI_NOT_FINITE, "%s; the last checkpoint is kept, try a lower --lr",
                         mcs_ctx_message(r->ctx));
    if (s != MCS_OK)
        return cli_die(r->t, mcs_ctx_error(r->ctx), false);
    if (mcs_params_sum_grads(r->params, r->comm, &e) != MCS_OK)
        return cli_die(r->t, &e, false);
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
    clamp_scale(r);
    r->s.loss_sum += *loss;
    r->s.loss_count++;
    return CLI_CONTINUE;
}

static int one_step(tr_run *r, int64_t epoch, cli_progress *bar)
{
    tr_batch b;
    double start = cli_clock(), loss = (double)NAN, norm = loss, lr = rate(r, epoch);
    int code = tr_agree(r, tr_order_epoch(r, epoch));
    if (code != CLI_CONTINUE)
        return code;
    code = tr_batch_make(r, epoch, r->s.step - tr_steps_before(r, epoch), &b);
    int64_t size = b.total;
    if (code == CLI_CONTINUE && size >= 2)
        code = update(r, &b, lr, &loss, &norm);
    else if (code == CLI_CONTINUE)
        cli_warn(r->t, "step %lld: fewer than 2 pictures of its batch can be read: left out",
                 (long long)r->s.step);
    tr_batch_free(&b);
    if (code != CLI_CONTINUE)
        return code;
    r->s.step++;
    char text[80];
    snprintf(text, sizeof text, "epoch %lld loss %.4f", (long long)epoch + 1, loss);
    cli_progress_now(bar, text);
    bar->done++;
    bar->failed = r->broken;
    cli_progress_draw(bar);
    if (size < 2 || (r->s.step % r->o->log_every && r->s.step != tr_steps_before(r, epoch + 1)))
        return CLI_CONTINUE;
    return cli_run_log(&r->run, json_pack("{s:I, s:I, s:f, s:f, s:f, s:f, s:I, s:f}", "step",
                                          (json_int_t)r->s.step, "epoch", (json_int_t)epoch + 1,
                                          "loss", loss, "lr", lr, "grad_norm", norm, "logit_scale",
                                          (double)mcs_biomedclip_scale(r->model), "pairs",
                                          (json_int_t)size, "seconds", cli_clock() - start));
}

/* ---- The end of an epoch ---- */

static int close_epoch(tr_run *r, int64_t epoch)
{
    const tr_opts *o = r->o;
    int code = CLI_CONTINUE;
    if (!r->s.loss_count)
        return cli_error(r->t, CLI_NOTHING,
                         "epoch %lld: no picture could be read: nothing was "
                         "trained",
                         (long long)epoch + 1);
    json_t *record = json_pack("{s:I, s:I, s:f, s:f}", "epoch", (json_int_t)epoch + 1, "step",
                               (json_int_t)r->s.step, "lr", rate(r, epoch), "train_loss",
                               r->s.loss_sum / (double)r->s.loss_count);
    if (!record)
        return cli_error(r->t, CLI_NO_MEMORY, "out of memory");
    bool last = epoch + 1 == o->epochs;
    if (o->val_data && o->val_frequency && ((epoch + 1) % o->val_frequency == 0 || last)) {
        code = tr_agree(r, r->t->rank ? CLI_CONTINUE : tr_validate(r, record));
        if (code == CLI_CONTINUE)
            code = tr_share_record(r, record);
    }
    if (code != CLI_CONTINUE) {
        json_decref(record);
        return code;
    }
    cli_run_judge(&r->run, record, epoch, o->save_best == TR_BEST_TOP1 ? "top1" : "val_loss",
                  o->save_best == TR_BEST_TOP1);
    json_array_append(r->s.history, record);
    r->s.loss_sum = 0;
    r->s.loss_count = 0;
    char name[40];
    snprintf(name, sizeof name, "epoch_%lld", (long long)epoch + 1);
    bool stop = o->patience && r->s.stale >= o->patience;
    bool save = last || stop || o->save_recent || r->s.best_epoch == epoch + 1 ||
                (o->save_frequency && (epoch + 1) % o->save_frequency == 0);
    code = cli_run_log(&r->run,
                       record); /* first: a resumed run drops what its checkpoint does not know */
    if (code == CLI_CONTINUE && save)
        code = cli_run_save(&r->run, name);
    return code == CLI_CONTINUE ? cli_run_log_epoch(&r->run) : code;
}

/* ---- The loop ---- */

/* A signal that asked to finish: saves and gives the exit code. */
static int stop_now(tr_run *r)
{
    int code = tr_agree(r, cli_run_save_step(&r->run)), sig = r->stop;
    cli_info(r->t, "stopped after step %lld; --resume latest goes on", (long long)r->s.step);
    return code == CLI_CONTINUE ? CLI_SIGNALLED + sig : code;
}

static int loop(tr_run *r, cli_progress *bar)
{
    for (;;) {
        int64_t epoch = (int64_t)json_array_size(r->s.history);
        bool enough = r->o->patience && r->s.stale >= r->o->patience;
        int code = CLI_CONTINUE;
        if (epoch >= r->o->epochs || enough)
            return CLI_DONE;
        if (r->s.step < tr_steps_before(r, epoch + 1)) {
            code = one_step(r, epoch, bar);
            bool due = r->o->save_steps && r->s.step % r->o->save_steps == 0;
            code = tr_meet(r, code);
            if (code == CLI_CONTINUE && !r->stop && (r->save_asked || due)) {
                code = tr_agree(r, cli_run_save_step(&r->run));
                r->save_asked = false;
            }
        } else {
            code = tr_meet(r, close_epoch(r, epoch));
        }
        if (r->stop && (code == CLI_CONTINUE || code == CLI_SIGNALLED + r->stop))
            return stop_now(r);
        if (code != CLI_CONTINUE)
            return code;
    }
}

static int train(tr_run *r)
{
    cli_progress bar;
    cli_progress_begin(&bar, r->t, tr_steps_before(r, r->o->epochs) - r->s.step, "steps");
    int code = loop(r, &bar);
    cli_progress_end(&bar);
    size_t problems = json_array_size(r->val.problems);
    for (int i = 0; i < r->o->train_data.count; i++)
        problems += json_array_size(r->train[i].problems);
    if (code != CLI_DONE)
        return code;
    if (!r->t->quiet) {
        char best[80] = "";
        if (r->s.best_epoch)
            snprintf(best, sizeof best, ", best epoch %lld", (long long)r->s.best_epoch);
        printf("%s: %lld epochs, %lld steps%s\n", r->run.dir,
               (long long)json_array_size(r->s.history), (long long)r->s.step, best);
    }
    return problems ? CLI_SOME_FAILED : CLI_DONE;
}

/* ---- Preparation ---- */

static int read_tables(tr_run *r)
{
    const tr_opts *o = r->o;
    cli_pairs_query q = o->query;
    q.skip = o->on_error == 1;
    r->train = calloc((size_t)o->train_data.count, sizeof *r->train);
    r->seen = calloc((size_t)o->train_data.count, sizeof *r->seen);
    if (!r->train || !r->seen)
        return cli_error(r->t, CLI_NO_MEMORY, "out of memory");
    int code = CLI_CONTINUE;
    for (int i = 0; i < o->train_data.count && code == CLI_CONTINUE; i++) {
        code = cli_pairs_read(r->t, o->train_data.items[i], &q, &r->train[i]);
        if (code == CLI_CONTINUE && tr_samples(r, &r->train[i]) < 2)
            code = cli_error(r->t, CLI_NOTHING, "%s: a contrastive loss needs at least 2 pairs",
                             o->train_data.items[i]);
        r->seen[i] = calloc((size_t)r->train[i].images + 1, sizeof **r->seen);
        if (code == CLI_CONTINUE && !r->seen[i])
            code = cli_error(r->t, CLI_NO_MEMORY, "out of memory");
    }
    if (code == CLI_CONTINUE && o->val_data)
        code = cli_pairs_read(r->t, o->val_data, &q, &r->val);
    return code;
}

static void size_batch(tr_run *r)
{
    int64_t fewest = INT64_MAX;
    const int ranks = mcs_comm_size(r->comm);
    r->batch = (int64_t)r->o->batch * r->o->accum * ranks;
    for (int i = 0; i < r->o->train_data.count; i++)
        fewest = tr_samples(r, &r->train[i]) < fewest ? tr_samples(r, &r->train[i]) : fewest;
    if (r->batch > fewest) {
        cli_warn(r->t, "there are only %lld samples: batches of %lld instead of %lld",
                 (long long)fewest, (long long)fewest, (long long)r->batch);
        r->batch = fewest;
    }
    r->share = (r->batch - r->t->rank + ranks - 1) / ranks;
}

static const char *const columns[] = { "epoch",    "step",     "lr",       "train_loss", "val_loss",
                                       "i2t_top1", "i2t_top2", "t2i_top1", "t2i_top2",   NULL };
static const cli_run_panel panels[] = {
    { "Loss", 1, { { "train_loss", "training" }, { "val_loss", "validation" } } },
    { "Retrieval, top-1 of 50, %",
      100,
      { { "i2t_top1", "caption of picture" }, { "t2i_top1", "picture of caption" } } },
    { .title = NULL },
};

static mcs_status save_weights(const void *model, const char *path, mcs_error *e)
{
    return mcs_biomedclip_save(model, path, MCS_CLIP_OPEN_CLIP, MCS_ST_F32, e);
}

static int open_folder(tr_run *r)
{
    const tr_opts *o = r->o;
    r->about = json_array();
    r->problems = json_array();
    for (int i = 0; i < o->train_data.count; i++) {
        json_array_append_new(r->about, json_pack("{s:o, s:I, s:I, s:s}", "file",
                                                  cli_json_text(o->train_data.items[i]), "pairs",
                                                  (json_int_t)r->train[i].count, "pictures",
                                                  (json_int_t)r->train[i].images, "fingerprint",
                                                  r->train[i].fingerprint));
        json_array_append(r->problems, r->train[i].problems);
    }
    if (r->val.problems)
        json_array_append(r->problems, r->val.problems);
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

static int dry_run(const tr_run *r)
{
    for (int i = 0; i < r->o->train_data.count; i++)
        cli_info(r->t, "%s: %lld pairs, %lld pictures, %d kinds%s", r->o->train_data.items[i],
                 (long long)r->train[i].count, (long long)r->train[i].images, r->train[i].kinds,
                 r->train[i].grouped ? ", groups" : "");
    cli_info(r->t, "would train %lld steps in %d epochs with batches of %lld; nothing is written",
             (long long)tr_steps_before(r, r->o->epochs), r->o->epochs, (long long)r->batch);
    return CLI_DONE;
}

/* After resuming: the step must lie in the epoch begun, which --force with other data or another
 * batch may have moved. */
static int check_place(tr_run *r)
{
    int64_t epoch = (int64_t)json_array_size(r->s.history);
    if (epoch > 1000000 || r->s.step < tr_steps_before(r, epoch) ||
        (r->s.step > tr_steps_before(r, epoch + 1)))
        return cli_error(r->t, CLI_BAD_USAGE,
                         "epochs have another number of steps now (step %lld of epoch %lld was "
                         "reached): begin a new run with --pretrained and the checkpoint instead",
                         (long long)r->s.step, (long long)epoch + 1);
    return CLI_CONTINUE;
}

int tr_run_all(tr_run *r)
{
    int code = tr_agree(r, read_tables(r));
    if (code != CLI_CONTINUE)
        return code;
    size_batch(r);
    if (r->t->dry_run)
        return dry_run(r);
    code = open_folder(r);
    if (code == CLI_CONTINUE)
        r->ctx = cli_context(r->t, true, &code);
    r->data = r->ctx ? cli_context(r->t, false, &code) : NULL;
    r->s.history = json_array();
    code = tr_agree(r, code);
    if (code != CLI_CONTINUE)
        return code;
    mcs_set_training(r->ctx, true);
    code = tr_model_make(r);
    code = tr_agree(r, code == CLI_CONTINUE ? check_place(r) : code);
    if (code == CLI_CONTINUE)
        code = tr_ranks_begin(r);
    if (code == CLI_CONTINUE && !r->t->rank)
        code = tr_vocab_copy(r);
    if (code == CLI_CONTINUE)
        code = cli_run_log_begin(&r->run);
    code = tr_agree(r, code);
    return code == CLI_CONTINUE ? tr_agree(r, train(r)) : code;
}
