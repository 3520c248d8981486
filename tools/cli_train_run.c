/* cli_train_run.c - the loop of finetune_clip over steps and epochs. */
#include <math.h>
#include <stdlib.h>
#include <unistd.h>
#include "tools/cli_train.h"

/* ---- One step ---- */

static double rate(const void *arg, int64_t epoch)
{
    const tr_run *r = arg;
    const cli_run_opts *o = &r->o->run;
    mcs_schedule s = { .kind =
                           r->o->scheduler == TR_COSINE ? MCS_SCHEDULE_COSINE : MCS_SCHEDULE_CONST,
                       .lr = (double)o->lr,
                       .warmup = o->warmup,
                       .total = tr_steps_before(r, o->epochs) };
    return mcs_schedule_lr(&s, r->s.step) *
           (r->o->scheduler == TR_STEP ? pow((double)o->gamma, (double)epoch) : 1);
}

/* Room for the tape: half of --mem-limit or of the machine, but 8 GiB at most, which with the 3 GB
 * of BiomedCLIP's weights, gradients and moments leaves something of 16.  Not what is free at the
 * moment: the cut decides the last bits, and a resumed run must cut alike. */
static int64_t tape_room(const tr_run *r)
{
    int64_t room = INT64_C(8) << 30;
    int64_t limit = (int64_t)sysconf(_SC_PHYS_PAGES) * sysconf(_SC_PAGESIZE);
    if (r->t->mem_limit)
        limit = (int64_t)r->t->mem_limit;
    return limit > 0 && limit / 2 < room ? limit / 2 : room;
}

/* In one pass if it fits, for parts cost a second forward; else in as few parts, of one size. */
static int64_t micro_of(const tr_run *r, const mcs_clip_batch *b)
{
    if (r->o->micro > 0)
        return r->o->micro;
    int64_t pair = mcs_clip_pair_bytes(mcs_biomedclip_get_config(r->model), b->length, b->captions,
                                       r->o->checkpointing && r->o->checkpoint_share >= 1.0f);
    int64_t fits = tape_room(r) / pair;
    if (r->o->accum > 1 && r->o->batch < fits)
        fits = r->o->batch;
    if (fits < 1 || b->size <= fits)
        return fits < 1 ? 1 : fits;
    int64_t parts = (b->size + fits - 1) / fits;
    return (b->size + parts - 1) / parts;
}

/* open_clip keeps the scale of the logits between 1 and 100. */
static void clamp_scale(tr_run *r)
{
    float *s = mcs_f32(mcs_params_find(r->run.params, "logit_scale"));
    if (r->o->learn_temperature)
        *s = fminf(fmaxf(*s, 0), logf(100));
}

static int update(tr_run *r, const tr_batch *b, double lr, cli_run_step *out)
{
    mcs_error e = { 0 };
    mcs_clip_step_opts o = tr_step_opts(r);
    o.micro = micro_of(r, &b->in);
    o.comm = r->comm;
    mcs_params_zero_grad(r->run.params);
    mcs_status s = mcs_clip_step(r->ctx, r->model, &b->in, &o, &out->loss);
    if (s != MCS_OK && r->t->rank)
        return cli_code(s, false); /* rank 0 says it */
    if (s != MCS_OK)
        return cli_run_failed(&r->run, r->ctx);
    if (mcs_params_sum_grads(r->run.params, r->comm, &e) != MCS_OK)
        return cli_die(r->t, &e, false);
    int code = cli_run_update(&r->run, mcs_ctx_pool(r->ctx), lr, &out->norm);
    if (code == CLI_CONTINUE)
        clamp_scale(r);
    return code;
}

static int one_step(void *arg, int64_t epoch, double lr, cli_run_step *out)
{
    tr_run *r = arg;
    tr_batch b;
    int code = tr_agree(r, tr_order_epoch(r, epoch));
    if (code != CLI_CONTINUE)
        return code;
    code = tr_batch_make(r, epoch, r->s.step - tr_steps_before(r, epoch), &b);
    out->skipped = b.total < 2;
    if (code == CLI_CONTINUE && !out->skipped)
        code = update(r, &b, lr, out);
    else if (code == CLI_CONTINUE)
        cli_warn(r->t, "step %lld: fewer than 2 pictures of its batch can be read: left out",
                 (long long)r->s.step);
    out->failed = r->broken;
    out->line = json_pack("{s:f, s:I}", "logit_scale", (double)mcs_biomedclip_scale(r->model),
                          "pairs", (json_int_t)b.total);
    tr_batch_free(&b);
    return code;
}

static int64_t steps_before(const void *arg, int64_t epoch)
{
    return tr_steps_before(arg, epoch);
}

static int validate(void *arg, json_t *record)
{
    tr_run *r = arg;
    if (!r->o->val_data)
        return CLI_CONTINUE;
    int code = tr_agree(r, r->t->rank ? CLI_CONTINUE : tr_validate(r, record));
    return code == CLI_CONTINUE ? tr_share_record(r, record) : code;
}

static int agree(void *arg, int code)
{
    return tr_agree(arg, code);
}

static int meet(void *arg, int code)
{
    return tr_meet(arg, code);
}

static cli_run_work work_of(tr_run *r)
{
    bool top1 = r->o->run.save_best == TR_BEST_TOP1;
    return (cli_run_work){ .arg = r,
                           .steps_before = steps_before,
                           .rate = rate,
                           .step = one_step,
                           .validate = validate,
                           .best = top1 ? "top1" : "val_loss",
                           .best_larger = top1,
                           .agree = agree,
                           .meet = meet };
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

static const char *const columns[] = {
    "epoch",    "step",     "lr",       "train_loss",      "val_loss",        "i2t_top1",
    "i2t_top2", "t2i_top1", "t2i_top2", "i2t_top1_masked", "t2i_top1_masked", NULL
};
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
    cli_run *run = &r->run;
    run->data = json_array();
    run->problems = json_array();
    for (int i = 0; i < o->train_data.count; i++) {
        json_array_append_new(run->data, json_pack("{s:o, s:I, s:I, s:s}", "file",
                                                   cli_json_text(o->train_data.items[i]), "pairs",
                                                   (json_int_t)r->train[i].count, "pictures",
                                                   (json_int_t)r->train[i].images, "fingerprint",
                                                   r->train[i].fingerprint));
        json_array_append(run->problems, r->train[i].problems);
    }
    if (r->val.problems)
        json_array_append(run->problems, r->val.problems);
    run->save = save_weights;
    run->columns = columns;
    run->panels = panels;
    return cli_run_open(run);
}

static int dry_run(const tr_run *r)
{
    for (int i = 0; i < r->o->train_data.count; i++)
        cli_info(r->t, "%s: %lld pairs, %lld pictures, %d kinds%s", r->o->train_data.items[i],
                 (long long)r->train[i].count, (long long)r->train[i].images, r->train[i].kinds,
                 r->train[i].grouped ? ", groups" : "");
    cli_info(r->t, "would train %lld steps in %d epochs with batches of %lld; nothing is written",
             (long long)tr_steps_before(r, r->o->run.epochs), r->o->run.epochs,
             (long long)r->batch);
    return CLI_DONE;
}

int tr_run_all(tr_run *r)
{
    const cli_run_work work = work_of(r);
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
    code = tr_agree(r, code);
    if (code != CLI_CONTINUE)
        return code;
    mcs_set_training(r->ctx, true);
    mcs_set_recompute(r->ctx, r->o->checkpointing);
    mcs_set_recompute_share(r->ctx, r->o->checkpoint_share);
    code = tr_model_make(r);
    code = tr_agree(r, code == CLI_CONTINUE ? cli_run_check_place(&r->run, &work) : code);
    if (code == CLI_CONTINUE)
        code = tr_ranks_begin(r);
    if (code == CLI_CONTINUE && !r->t->rank)
        code = tr_vocab_copy(r);
    if (code == CLI_CONTINUE)
        code = cli_run_log_begin(&r->run);
    code = tr_agree(r, code);
    return code == CLI_CONTINUE ? tr_agree(r, cli_run_train(&r->run, &work)) : code;
}
