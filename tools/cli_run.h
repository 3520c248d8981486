/* cli_run.h - what training tools share: the folder of a run, checkpoints, resuming, logs, curves.
 *
 * LOGS/NAME/ holds params.json, log.jsonl, metrics.csv, curves.svg, errors.jsonl, `latest`, `best`
 * and checkpoints/.  A tool that draws everything a step does from the settings, the seed and the
 * number of the step resumes to the same bits. */
#ifndef MCS_CLI_RUN_H
#define MCS_CLI_RUN_H
#include "nn/optim.h"
#include "tools/cli_files.h"

/* ---- Options that all trainers have ---- */

typedef struct {
    const char *logs, *name, *resume; /* resume Nullable */
    int epochs, warmup;
    float lr, gamma, wd, beta1, beta2, eps, clip_norm;
    cli_list freeze; /* prefixes of weights */
    int save_frequency, save_steps, keep, save_best, val_frequency, log_every, patience;
    bool save_recent;
} cli_run_opts;
/* What they are in all trainers, unless said. */
#define CLI_RUN_DEFAULTS                                                                           \
    .logs = "logs", .name = "run", .save_frequency = 1, .keep = 3, .val_frequency = 1,             \
    .log_every = 10

/* Rows of a table for the member `run` of the type T of its options. */
#define CLI_RUN_FREEZE(T, help)                                                                    \
    {                                                                                              \
        CLI_LIST, "freeze", 0, offsetof(T, run.freeze), "PREFIX", 0, 0, help, NULL, CLI_RESULT     \
    }
#define CLI_RUN_LENGTH(T)                                                                           \
    { CLI_INT, "epochs", 0, offsetof(T, run.epochs), "N", 1, 1e6, "rounds of the data", NULL, 0 },  \
        { CLI_FLOAT, "lr", 0, offsetof(T, run.lr), "X", 0, 10, "learning rate", NULL, CLI_RESULT }, \
        { CLI_FLOAT, "wd",                                                                          \
          0,         offsetof(T, run.wd),                                                           \
          "X",       0,                                                                             \
          10,        "weight decay (not of biases, norms and other weights of one dimension)",      \
          NULL,      CLI_RESULT },                                                                  \
    {                                                                                               \
        CLI_INT, "warmup", 0, offsetof(T, run.warmup), "STEPS", 0, 1e9, "steps of linear warm-up",  \
            NULL, CLI_RESULT                                                                        \
    }
#define CLI_RUN_ADAMW(T)                                                                                \
    { CLI_FLOAT, "beta1", 0, offsetof(T, run.beta1), "X", 0, 0.9999, "AdamW", NULL, CLI_RESULT },       \
        { CLI_FLOAT, "beta2", 0, offsetof(T, run.beta2), "X", 0, 0.999999, "AdamW", NULL, CLI_RESULT }, \
        { CLI_FLOAT, "eps", 0, offsetof(T, run.eps), "X", 0, 1, "AdamW", NULL, CLI_RESULT },            \
    {                                                                                                   \
        CLI_FLOAT, "grad-clip-norm", 0, offsetof(T, run.clip_norm), "X", 0, 1e9,                        \
            "largest norm of the gradient; 0: any", NULL, CLI_RESULT                                    \
    }
#define CLI_RUN_OUTPUT(T, best)                                                                      \
    { CLI_TEXT, "logs", 0, offsetof(T, run.logs), "DIR", 0, 0, "folder of runs", NULL, 0 },          \
        { CLI_TEXT, "name", 0, offsetof(T, run.name), "NAME", 0, 0, "folder of this run in it",      \
          NULL,     0 },                                                                             \
        { CLI_TEXT,      "resume", 0, offsetof(T, run.resume),                                       \
          "latest|FILE", 0,        0, "go on from the run's newest checkpoint, or from a file",      \
          NULL,          0 },                                                                        \
        { CLI_INT, "save-frequency",                                                                 \
          0,       offsetof(T, run.save_frequency),                                                  \
          "N",     0,                                                                                \
          1e6,     "checkpoint each N epochs",                                                       \
          NULL,    0 },                                                                              \
        { CLI_INT, "save-every-steps",                                                               \
          0,       offsetof(T, run.save_steps),                                                      \
          "N",     0,                                                                                \
          1e9,     "and each N steps; the next one replaces it",                                     \
          NULL,    0 },                                                                              \
        { CLI_FLAG, "save-most-recent",                                                              \
          0,        offsetof(T, run.save_recent),                                                    \
          NULL,     0,                                                                               \
          0,        "and after each epoch; the next one replaces it",                                \
          NULL,     0 },                                                                             \
        { CLI_INT, "keep", 0, offsetof(T, run.keep), "N", 0, 1e6, "newest checkpoints kept; 0: all", \
          NULL,    0 },                                                                              \
        { CLI_CHOICE, "save-best",                                                                   \
          0,          offsetof(T, run.save_best),                                                    \
          best,       0,                                                                             \
          0,          "what the best epoch is, which is kept as well",                               \
          NULL,       0 },                                                                           \
        { CLI_INT, "val-frequency",                                                                  \
          0,       offsetof(T, run.val_frequency),                                                   \
          "N",     0,                                                                                \
          1e6,     "validate each N epochs",                                                         \
          NULL,    0 },                                                                              \
        { CLI_INT, "log-every-n-steps",                                                              \
          0,       offsetof(T, run.log_every),                                                       \
          "N",     1,                                                                                \
          1e9,     "line in log.jsonl",                                                              \
          NULL,    0 },                                                                              \
    {                                                                                                \
        CLI_INT, "patience", 0, offsetof(T, run.patience), "N", 0, 1e6,                              \
            "stop after N validations without a better one; 0: never", NULL, 0                       \
    }

/* Is --name a name?  CLI_CONTINUE or an exit code. */
int cli_run_check_options(cli *t, const cli_run_opts *o);

/* ---- The folder of a run ---- */

/* What a checkpoint remembers besides weights and moments. */
typedef struct {
    int64_t step; /* steps done */
    double loss_sum; /* of the steps of the epoch begun */
    int64_t loss_count;
    json_t *history; /* a record for every epoch done */
    int64_t best_epoch, stale; /* 0: none yet; epochs since the best */
    double best;
} cli_run_state;

/* A panel of curves.svg with up to two curves, each of a key of the epochs' records. */
typedef struct {
    const char *title;
    double factor; /* 100: per cent */
    struct {
        const char *key, *label;
    } curves[2]; /* key Nullable */
} cli_run_panel;

typedef struct {
    cli *t;
    const cli_program *program;
    const void *opts; /* of the program */
    const cli_run_opts *o;
    /* Nullable: is this epoch (from 1) always saved and kept?  Given `opts`. */
    bool (*milestone)(const void *opts, int64_t epoch);
    mcs_params *params;
    mcs_optim *optim;
    mcs_status (*save)(const void *model, const char *path, mcs_error *e); /* weights */
    const void *model;
    cli_run_state *s;
    json_t *settings; /* what decides the weights; of cli_settings() and more */
    json_t *data; /* [{"fingerprint": TEXT, ...}, ...]: what is trained on */
    json_t *problems; /* arrays of records for errors.jsonl */
    const char *const *columns; /* of metrics.csv, keys of the epochs' records; NULL ends them */
    const cli_run_panel *panels; /* title NULL ends them; the first is drawn always, the others if
                                    there are values for them */
    /* private */
    cli_lock lock;
    char *dir, *checkpoints, *log_path; /* LOGS/NAME, and below it */
    int log_fd;
    int stop; /* the signal on which it is to stop, if any */
    bool save_asked; /* SIGUSR1 came */
} cli_run;
#define CLI_RUN_CLOSED                                                                             \
    {                                                                                              \
        .log_fd = -1, .lock = {.fd = -1 }                                                          \
    }

/* All return CLI_CONTINUE or the exit code of what they said.  Of several ranks (cli.rank) the
 * first alone writes; the others only read. */

/* Sets the members that are named, and the settings: what of the options decides results, and
 * the seed. */
void cli_run_begin(cli_run *r, cli *t, const cli_program *program, const void *opts,
                   const cli_run_opts *o, cli_run_state *s);
/* Makes and locks the folder; an earlier run in it is refused unless resume or --force.  Begins the
 * history. */
int cli_run_open(cli_run *r);
/* Frees the settings, data, problems, history and optimiser as well. */
void cli_run_close(cli_run *r);

/* Saves "epoch_3" or "step_120": the weights and the state, then `latest`; older ones go. */
int cli_run_save(cli_run *r, const char *name);
int cli_run_save_step(cli_run *r); /* "step_N" of the step reached */
/* From --resume: *weights stays as it is if there is nothing to resume from, else the path of the
 * weights, owned by the cli. */
int cli_run_find(cli_run *r, const char **weights);
/* Moments and state beside those weights.  The settings and the data must be the same, or
 * --force. */
int cli_run_load(cli_run *r, const char *weights);
/* After an epoch: is its record's `key` the best so far?  No such key: nothing is judged. */
void cli_run_judge(cli_run *r, const json_t *record, int64_t epoch, const char *key, bool larger);

int cli_run_log_begin(cli_run *r); /* params.json; log.jsonl without what will be done again */
int cli_run_log(cli_run *r, json_t *line); /* takes over line */
int cli_run_log_epoch(cli_run *r); /* metrics.csv, curves.svg, errors.jsonl */

/* ---- The optimiser (cli_run_optim.c) ---- */

/* --freeze, over what the tool itself has frozen; something must be left. */
int cli_run_freeze(const cli_run *r);
/* An AdamW of the options, as r->optim. */
int cli_run_adamw(cli_run *r);
/* With the weights loaded or made, and frozen as the tool wants: --freeze, AdamW, and from the
 * checkpoint `resume` where training stood; "": it begins. */
int cli_run_ready(cli_run *r, const char *resume);
/* One update from the gradients in the weights, clipped; *norm: theirs before. */
int cli_run_update(cli_run *r, mcs_pool *pool, double lr, double *norm);
/* What a step's failure (in c) means to the run. */
int cli_run_failed(const cli_run *r, mcs_ctx *c);

/* Whole numbers of a description: {"key": 3, "part": {"key": 4}}. */
typedef struct {
    const char *part, *key; /* part NULL: at the top */
    int *value;
} cli_run_size;
/* Reads those that are there; gives their number.  *wrong: a key whose value is none. */
size_t cli_run_sizes(const json_t *root, const cli_run_size *sizes, size_t n, const char **wrong);

/* ---- Pictures in batches (cli_run_order.c) ---- */

/* An epoch takes `count` pictures in batches of one size, in an order of its own that seed and
 * epoch decide; what does not fill a batch is left to another epoch. */
typedef struct {
    int64_t count, batch; /* pictures in all; in a step */
    int64_t *at; /* the pictures of `epoch`, step by step */
    int64_t epoch; /* -1: none */
} cli_run_order;
/* Batches of at most `batch`; said if there are fewer pictures.  free() o->at. */
int cli_run_order_make(cli *t, int64_t count, int64_t batch, cli_run_order *o);
int cli_run_order_draw(cli *t, cli_run_order *o, int64_t epoch);
int64_t cli_run_order_steps(const cli_run_order *o); /* of an epoch */

/* ---- The loop over steps and epochs (cli_run_loop.c) ---- */

typedef struct {
    double loss, norm; /* of the gradient */
    int64_t failed; /* inputs that could not be used so far */
    json_t *line; /* Nullable; further keys for log.jsonl, taken over */
    bool skipped; /* nothing could be done: no loss */
} cli_run_step;

typedef struct {
    void *arg; /* of the functions, which return CLI_CONTINUE or an exit code */
    int64_t (*steps_before)(const void *arg, int64_t epoch); /* the step that begins the epoch */
    double (*rate)(const void *arg, int64_t epoch); /* of the step reached */
    int (*step)(void *arg, int64_t epoch, double lr, cli_run_step *out);
    int (*validate)(void *arg, json_t *record); /* adds to it; Nullable */
    const char *best; /* key of the record that says which epoch is the best */
    bool best_larger;
    /* Of several ranks: the code of all.  meet: between two steps, with the signals of all in
     * r->stop and r->save_asked.  Nullable, both. */
    int (*agree)(void *arg, int code);
    int (*meet)(void *arg, int code);
} cli_run_work;

/* After resuming: does the step reached lie in the epoch begun?  --force with other data or another
 * batch may have moved it. */
int cli_run_check_place(const cli_run *r, const cli_run_work *w);
/* All that is left to do, with a progress line; CLI_DONE, CLI_SOME_FAILED or another code. */
int cli_run_train(cli_run *r, const cli_run_work *w);

/* Draws DIR/curves.svg. */
mcs_status cli_run_curves(const cli_run_panel *panels, const json_t *history, const char *dir,
                          mcs_error *e) MCS_MUST_CHECK;
#endif
