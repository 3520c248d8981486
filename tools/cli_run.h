/* cli_run.h - what training tools share: the folder of a run, checkpoints, resuming, logs, curves.
 *
 * LOGS/NAME/ holds params.json, log.jsonl, metrics.csv, curves.svg, errors.jsonl, `latest`, `best`
 * and checkpoints/.  A tool that draws everything a step does from the settings, the seed and the
 * number of the step resumes to the same bits. */
#ifndef MCS_CLI_RUN_H
#define MCS_CLI_RUN_H
#include "nn/optim.h"
#include "tools/cli_files.h"

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
    const char *logs, *name, *resume; /* options; resume Nullable */
    int save_frequency, keep;
    mcs_params *params;
    mcs_optim *optim;
    mcs_status (*save)(const void *model, const char *path, mcs_error *e); /* weights */
    const void *model;
    cli_run_state *s;
    const json_t *settings; /* what decides the weights; of cli_settings() and more */
    const json_t *data; /* [{"fingerprint": TEXT, ...}, ...]: what is trained on */
    const json_t *problems; /* arrays of records for errors.jsonl */
    const char *const *columns; /* of metrics.csv, keys of the epochs' records; NULL ends them */
    const cli_run_panel *panels; /* title NULL ends them; the first is drawn always, the others if
                                    there are values for them */
    /* private */
    cli_lock lock;
    char *dir, *checkpoints, *log_path; /* LOGS/NAME, and below it */
    int log_fd;
} cli_run;

/* All return CLI_CONTINUE or the exit code of what they said.  Of several ranks (cli.rank) the
 * first alone writes; the others only read. */

/* Makes and locks the folder; an earlier run in it is refused unless resume or --force. */
int cli_run_open(cli_run *r);
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
mcs_status cli_run_curves(const cli_run_panel *panels, const json_t *history, const char *path,
                          mcs_error *e) MCS_MUST_CHECK;
#endif
