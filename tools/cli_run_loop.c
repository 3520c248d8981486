/* cli_run_loop.c - steps and epochs of any training: order, signals, checkpoints, early stop.
 *
 * The tool's functions do a step and a validation; all that is counted here stands in the state
 * that checkpoints hold, so the loop may be left and entered again between any two steps. */
#include <math.h>
#include <stdio.h>
#include "tools/cli_run.h"

int cli_run_check_options(cli *t, const cli_run_opts *o)
{
    bool bad = !*o->name || o->name[0] == '.';
    for (const char *s = o->name; *s; s++)
        bad = bad || *s == '/';
    return bad ? cli_error(t, CLI_BAD_USAGE, "--name: '%s' is not the name of a folder", o->name)
               : CLI_CONTINUE;
}

static int64_t epochs_done(const cli_run *r)
{
    return (int64_t)json_array_size(r->s->history);
}

static int agree(const cli_run_work *w, int code)
{
    return w->agree ? w->agree(w->arg, code) : code;
}

static int meet(cli_run *r, const cli_run_work *w, int code)
{
    if (w->meet)
        return w->meet(w->arg, code);
    r->stop = cli_stop();
    r->save_asked = cli_checkpoint_asked() || r->save_asked;
    return code;
}

/* ---- One step ---- */

static int log_step(cli_run *r, int64_t epoch, double lr, double seconds, const cli_run_step *out)
{
    json_t *line = json_pack("{s:I, s:I, s:f, s:f, s:f, s:f}", "step", (json_int_t)r->s->step,
                             "epoch", (json_int_t)epoch + 1, "loss", out->loss, "lr", lr,
                             "grad_norm", out->norm, "seconds", seconds);
    if (line && out->line)
        json_object_update(line, out->line);
    return cli_run_log(r, line);
}

static int one_step(cli_run *r, const cli_run_work *w, int64_t epoch, cli_progress *bar)
{
    cli_run_step out = { .loss = (double)NAN, .norm = (double)NAN };
    double start = cli_clock(), lr = w->rate(w->arg, epoch);
    int code = w->step(w->arg, epoch, lr, &out);
    if (code == CLI_CONTINUE) {
        char text[80];
        r->s->step++;
        r->s->loss_sum += out.skipped ? 0 : out.loss;
        r->s->loss_count += !out.skipped;
        snprintf(text, sizeof text, "epoch %lld loss %.4f", (long long)epoch + 1, out.loss);
        cli_progress_now(bar, text);
        bar->done++;
        bar->failed = out.failed;
        cli_progress_draw(bar);
        bool last = r->s->step == w->steps_before(w->arg, epoch + 1);
        if (!out.skipped && (last || r->s->step % r->o->log_every == 0))
            code = log_step(r, epoch, lr, cli_clock() - start, &out);
    }
    json_decref(out.line);
    return code;
}

/* ---- The end of an epoch ---- */

static bool enough(const cli_run *r)
{
    return r->o->patience && r->s->stale >= r->o->patience;
}

/* Saved after this epoch?  Counted from 1, the one just added to the history. */
static bool is_saved(const cli_run *r, int64_t epoch)
{
    const cli_run_opts *o = r->o;
    return epoch == o->epochs || enough(r) || o->save_recent || r->s->best_epoch == epoch ||
           (o->save_frequency && epoch % o->save_frequency == 0) ||
           (r->milestone && r->milestone(r->opts, epoch));
}

static int close_epoch(cli_run *r, const cli_run_work *w, int64_t epoch)
{
    const cli_run_opts *o = r->o;
    int code = CLI_CONTINUE;
    if (!r->s->loss_count)
        return cli_error(r->t, CLI_NOTHING,
                         "epoch %lld: no picture could be read: nothing was trained",
                         (long long)epoch + 1);
    json_t *record = json_pack("{s:I, s:I, s:f, s:f}", "epoch", (json_int_t)epoch + 1, "step",
                               (json_int_t)r->s->step, "lr", w->rate(w->arg, epoch), "train_loss",
                               r->s->loss_sum / (double)r->s->loss_count);
    if (!record)
        return cli_error(r->t, CLI_NO_MEMORY, "out of memory");
    bool due = o->val_frequency && ((epoch + 1) % o->val_frequency == 0 || epoch + 1 == o->epochs);
    if (w->validate && due)
        code = w->validate(w->arg, record);
    if (code != CLI_CONTINUE) {
        json_decref(record);
        return code;
    }
    cli_run_judge(r, record, epoch, w->best, w->best_larger);
    json_array_append(r->s->history, record);
    r->s->loss_sum = 0;
    r->s->loss_count = 0;
    char name[40];
    snprintf(name, sizeof name, "epoch_%lld", (long long)epoch + 1);
    /* The log first: a resumed run drops from it what its checkpoint does not know. */
    code = cli_run_log(r, record);
    if (code == CLI_CONTINUE && is_saved(r, epoch + 1))
        code = cli_run_save(r, name);
    return code == CLI_CONTINUE ? cli_run_log_epoch(r) : code;
}

/* ---- The loop ---- */

/* A signal that asked to finish: saves and gives the exit code. */
static int stop_now(cli_run *r, const cli_run_work *w)
{
    int code = agree(w, cli_run_save_step(r));
    cli_info(r->t, "stopped after step %lld; --resume latest goes on", (long long)r->s->step);
    return code == CLI_CONTINUE ? CLI_SIGNALLED + r->stop : code;
}

static int loop(cli_run *r, const cli_run_work *w, cli_progress *bar)
{
    for (;;) {
        int64_t epoch = epochs_done(r);
        if (epoch >= r->o->epochs || enough(r))
            return CLI_DONE;
        bool step = r->s->step < w->steps_before(w->arg, epoch + 1);
        int code = meet(r, w, step ? one_step(r, w, epoch, bar) : close_epoch(r, w, epoch));
        bool due = r->o->save_steps && r->s->step % r->o->save_steps == 0;
        if (code == CLI_CONTINUE && step && !r->stop && (r->save_asked || due)) {
            code = agree(w, cli_run_save_step(r));
            r->save_asked = false;
        }
        if (r->stop && (code == CLI_CONTINUE || code == CLI_SIGNALLED + r->stop))
            return stop_now(r, w);
        if (code != CLI_CONTINUE)
            return code;
    }
}

static size_t problems(const cli_run *r)
{
    size_t all = 0;
    for (size_t i = 0; i < json_array_size(r->problems); i++)
        all += json_array_size(json_array_get(r->problems, i));
    return all;
}

int cli_run_check_place(const cli_run *r, const cli_run_work *w)
{
    int64_t epoch = epochs_done(r);
    if (epoch > 1000000 || r->s->step < w->steps_before(w->arg, epoch) ||
        r->s->step > w->steps_before(w->arg, epoch + 1))
        return cli_error(r->t, CLI_BAD_USAGE,
                         "epochs have another number of steps now (step %lld of epoch %lld was "
                         "reached): begin a new run from the checkpoint instead of resuming",
                         (long long)r->s->step, (long long)epoch + 1);
    return CLI_CONTINUE;
}

int cli_run_train(cli_run *r, const cli_run_work *w)
{
    cli_progress bar;
    cli_progress_begin(&bar, r->t, w->steps_before(w->arg, r->o->epochs) - r->s->step, "steps");
    int code = loop(r, w, &bar);
    cli_progress_end(&bar);
    if (code != CLI_DONE)
        return code;
    if (!r->t->quiet) {
        char best[80] = "";
        if (r->s->best_epoch)
            snprintf(best, sizeof best, ", best epoch %lld", (long long)r->s->best_epoch);
        printf("%s: %lld epochs, %lld steps%s\n", r->dir, (long long)epochs_done(r),
               (long long)r->s->step, best);
    }
    return problems(r) ? CLI_SOME_FAILED : CLI_DONE;
}
