/* cli_unet_run.c - the run of train_unet: its data, its schedule, its folder. */
#include <math.h>
#include <stdlib.h>
#include "tools/cli_unet.h"

static int64_t epoch_steps(const un_run *r)
{
    return cli_run_order_steps(&r->order);
}

/* ---- Cycles: epochs first .. last-1 (from 0) of the cycle an epoch lies in ---- */

static void cycle_of(const un_opts *o, int64_t epoch, int64_t *first, int64_t *last)
{
    int64_t all = o->run.epochs, c = o->cycles, k = 0;
    while (k + 1 < c && (k + 1) * all / c <= epoch)
        k++;
    *first = k * all / c;
    *last = (k + 1) * all / c;
}

/* The schedule begins anew with each cycle, and stands still after --cycle-hold of it. */
static double rate(const void *arg, int64_t epoch)
{
    static const mcs_schedule_kind kinds[] = { MCS_SCHEDULE_POLY, MCS_SCHEDULE_COSINE,
                                               MCS_SCHEDULE_CONST };
    const un_run *r = arg;
    const un_opts *o = r->o;
    int64_t first, last, steps = epoch_steps(r);
    cycle_of(o, epoch, &first, &last);
    int64_t total = (last - first) * steps, at = r->s.step - first * steps;
    int64_t held = (int64_t)((double)o->hold * (double)total);
    at = at < total - 1 ? at : total - 1;
    const mcs_schedule s = { .kind = kinds[o->scheduler],
                             .lr = (double)o->run.lr,
                             .warmup = first ? 0 : o->run.warmup,
                             .total = total,
                             .gamma = (double)o->run.gamma };
    return mcs_schedule_lr(&s, o->cycles > 1 && at > held ? held : at);
}

static bool milestone(const void *opts, int64_t epoch)
{
    const un_opts *o = opts;
    int64_t first, last;
    cycle_of(o, epoch - 1, &first, &last);
    return o->cycles > 1 && epoch > last - o->cycle_saves;
}

/* ---- Steps ---- */

static int one_step(void *arg, int64_t epoch, double lr, cli_run_step *out)
{
    un_run *r = arg;
    int code = cli_run_order_draw(r->t, &r->order, epoch);
    if (code != CLI_CONTINUE)
        return code;
    mcs_params_zero_grad(r->run.params);
    mcs_ctx_seed(r->ctx, (uint64_t)r->t->seed, (uint64_t)r->s.step); /* of dropout */
    if (un_step(r, epoch, r->s.step - epoch * epoch_steps(r), &out->loss) != MCS_OK)
        return cli_run_failed(&r->run, r->ctx);
    return cli_run_update(&r->run, mcs_ctx_pool(r->ctx), lr, &out->norm);
}

static int64_t steps_before(const void *arg, int64_t epoch)
{
    return epoch * epoch_steps(arg);
}

static int validate(void *arg, json_t *record)
{
    un_run *r = arg;
    return r->val.count ? un_validate(r, record) : CLI_CONTINUE;
}

static cli_run_work work_of(un_run *r)
{
    bool dsc = r->o->run.save_best == 0;
    return (cli_run_work){ .arg = r,
                           .steps_before = steps_before,
                           .rate = rate,
                           .step = one_step,
                           .validate = validate,
                           .best = dsc ? "dsc" : "val_loss",
                           .best_larger = dsc };
}

/* ---- Preparation ---- */

static int read_data(un_run *r)
{
    const un_opts *o = r->o;
    int code = un_data_read(r->t, o, &o->images, &o->masks, NULL, &r->train);
    if (code == CLI_CONTINUE && o->val_images.count)
        code = un_data_read(r->t, o, &o->val_images, &o->val_masks, &r->train, &r->val);
    else if (code == CLI_CONTINUE && o->val_share > 0)
        code = un_data_split(r->t, (double)o->val_share, &r->train, &r->val);
    if (code != CLI_CONTINUE)
        return code;
    un_data_fingerprint(&r->train);
    r->notes = r->train.kind;
    r->notes.side = o->side;
    r->notes.input = o->sampling ? MCS_UNET_SLIDING : MCS_UNET_RESIZE;
    r->micro = o->batch;
    code = cli_run_order_make(r->t, r->train.count, (int64_t)o->batch * o->accum, &r->order);
    if (code != CLI_CONTINUE)
        return code;
    cli_info(r->t, "%lld pictures for training, %lld for validation", (long long)r->train.count,
             (long long)r->val.count);
    return CLI_CONTINUE;
}

static const char *const columns[] = {
    "epoch", "step", "lr", "train_loss", "val_loss", "dsc", NULL
};
static const cli_run_panel panels[] = {
    { "Loss", 1, { { "train_loss", "training" }, { "val_loss", "validation" } } },
    { "Validation, mean DSC, %", 100, { { "dsc", "DSC" } } },
    { "Learning rate, 1e-3", 1000, { { "lr", "at the end" } } },
    { .title = NULL },
};

static mcs_status save_weights(const void *model, const char *path, mcs_error *e)
{
    const un_run *r = model;
    char *text = un_notes_text(&r->notes);
    const char *meta[] = { UN_NOTES, text, NULL };
    mcs_status s = text ? mcs_unet_save(r->model, path, meta, MCS_ST_F32, e)
                        : mcs_error_set(e, MCS_ENOMEM, "%s: out of memory", path);
    free(text);
    return s;
}

/* left_out.jsonl: pictures that could have been used. */
static int write_left_out(const un_run *r)
{
    mcs_error e = { 0 };
    cli_html text = { 0 };
    for (size_t i = 0; i < json_array_size(r->train.left_out); i++) {
        char *line = json_dumps(json_array_get(r->train.left_out, i), JSON_COMPACT);
        cli_html_raw(&text, line ? line : "{}");
        cli_html_raw(&text, "\n");
        free(line);
    }
    return cli_html_save(&text, r->run.dir, "left_out.jsonl", &e) == MCS_OK
               ? CLI_CONTINUE
               : cli_die(r->t, &e, false);
}

static int open_folder(un_run *r)
{
    const un_opts *o = r->o;
    cli_run *run = &r->run;
    run->data = json_pack("[{s:o, s:o, s:I, s:I, s:I, s:s}]", "images", cli_json_list(&o->images),
                          "masks", cli_json_list(&o->masks), "pictures", (json_int_t)r->train.count,
                          "left_out", (json_int_t)json_array_size(r->train.left_out), "classes",
                          (json_int_t)r->train.kind.classes, "fingerprint", r->train.fingerprint);
    run->problems = json_pack("[O, O*]", r->train.problems, r->val.problems);
    run->milestone = milestone;
    run->save = save_weights;
    run->columns = columns;
    run->panels = panels;
    int code = cli_run_open(run);
    return code == CLI_CONTINUE ? write_left_out(r) : code;
}

static int prepare(un_run *r, const cli_run_work *work)
{
    int code = open_folder(r);
    if (code != CLI_CONTINUE)
        return code;
    r->ctx = cli_context(r->t, true, &code);
    if (!r->ctx)
        return code;
    mcs_set_training(r->ctx, true);
    code = un_model_make(r);
    if (code == CLI_CONTINUE)
        code = cli_run_check_place(&r->run, work);
    return code == CLI_CONTINUE ? cli_run_log_begin(&r->run) : code;
}

int un_run_all(un_run *r)
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
    code = prepare(r, &work);
    return code == CLI_CONTINUE ? cli_run_train(&r->run, &work) : code;
}
