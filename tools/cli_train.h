/* cli_train.h - the parts of finetune_clip.  Everything a step does is a function of the settings,
 * the seed and the number of the step, and a checkpoint holds all that steps leave behind, so a
 * resumed run ends with the same bits as one that was never stopped. */
#ifndef MCS_CLI_TRAIN_H
#define MCS_CLI_TRAIN_H
#include "models/clip_train.h"
#include "models/sampler.h"
#include "nn/comm.h"
#include "nn/optim.h"
#include "tools/cli_pairs.h"
#include "tools/cli_run.h"

typedef struct {
    cli_list train_data; /* epoch e reads table e modulo their number */
    const char *val_data;
    cli_pairs_query query;
    int on_error;
    const char *pretrained, *vocab, *scratch;
    int init, init_positions, image_size, patch_size;
    int batch, accum, micro, captions, scheduler;
    bool checkpointing;
    float checkpoint_share;
    int loss;
    bool dhnnce, fixed_weights, learn_temperature;
    float temperature, alpha, hardness1, hardness2, same_kind;
    bool lock_image, lock_text, lock_norms;
    int image_groups, text_layers;
    int aug;
    cli_run_opts run;
} tr_opts;

enum { TR_BEST_LOSS, TR_BEST_TOP1 }; /* of cli_run_opts.save_best */
enum { TR_STEP, TR_COSINE, TR_CONST }; /* tr_opts.scheduler */

typedef struct {
    cli *t;
    const tr_opts *o;
    cli_pairs *train; /* one for each --train-data */
    cli_pairs val;
    mcs_biomedclip *model;
    mcs_ctx *ctx, *data; /* of the step; of its inputs */
    cli_run_state s;
    cli_run run; /* the folder of the run; points to what is here; weights, optimiser, signals */
    int64_t batch, share; /* pairs of a step; those of them that this rank takes */
    mcs_comm *comm; /* NULL: a single process */
    int agreed; /* what tr_agree() gave */
    int64_t *order; /* samples of the epoch begun */
    int64_t order_epoch; /* -1: none */
    bool **seen; /* by table and picture: reported as broken */
    int64_t broken;
} tr_run;

/* ---- cli_train_run.c ---- */
int tr_run_all(tr_run *r);

/* ---- Epochs (cli_train_epoch.c) ---- */
const cli_pairs *tr_epoch_pairs(const tr_run *r, int64_t epoch);
int64_t tr_samples(const tr_run *r, const cli_pairs *p); /* rows, or pictures */
int64_t tr_steps_before(const tr_run *r, int64_t epoch); /* the step that begins the epoch */
int tr_order_epoch(tr_run *r, int64_t epoch); /* fills r->order */

/* ---- One batch (cli_train_batch.c) ---- */
typedef struct {
    cli_picture *pictures; /* (size) those that could be read */
    const cli_pairs *pairs;
    int64_t *row; /* (captions, size): row of caption k of picture i */
    uint8_t *negatives; /* Nullable; (captions, size, size) */
    int64_t size, total; /* pairs of this rank, of all */
    int side;
    mcs_clip_batch in;
} tr_batch;
/* The batch of the current step: pictures read, captions chosen and tokenised (in r->data).
 * CLI_CONTINUE or an exit code; tr_batch_free() in any case. */
int tr_batch_make(tr_run *r, int64_t epoch, int64_t index, tr_batch *b);
void tr_batch_free(tr_batch *b);
/* The mask (captions,n,n) of mcs_clip_batch for rows (captions,n) of a table with groups: 0 where
 * cli_pairs_true().  To free(); NULL: out of memory. */
uint8_t *tr_negatives(const cli_pairs *p, const int64_t *row, int64_t n, int captions);
/* Is there such a mask?  Not for the released code's loss, which knows none. */
bool tr_masked(const tr_run *r, const cli_pairs *p);

/* ---- Several ranks (cli_train_ranks.c).  Collective; of a single process: no more than a call.
 * ---- */
int tr_ranks_open(tr_run *r);
void tr_ranks_close(tr_run *r, int code); /* before the process ends with this code */
/* The same data, settings and checkpoint everywhere?  Then the weights of rank 0 are taken. */
int tr_ranks_begin(tr_run *r);
/* The largest of all ranks' codes: CLI_CONTINUE if nobody failed. */
int tr_agree(tr_run *r, int code);
/* The same, between two steps, with the signals that came: sets r->run.stop and r->run.save_asked. */
int tr_meet(tr_run *r, int code);
/* All ranks' items, from rank 0's on: *all to free(). */
int tr_gather(tr_run *r, const void *mine, size_t item, int64_t count, void **all, int64_t *total);
/* Adds what rank 0 has in the record. */
int tr_share_record(tr_run *r, json_t *record);

/* ---- Model (cli_train_model.c) ---- */
int tr_model_make(tr_run *r); /* loads or initialises, locks, makes the optimiser */
int tr_vocab_copy(tr_run *r); /* vocab.txt beside the checkpoints, so that tools find it */

/* ---- Validation (cli_train_val.c) ---- */
/* Adds val_loss and top-k figures to the record; CLI_CONTINUE or an exit code. */
int tr_validate(tr_run *r, json_t *record);
/* The loss and options of a step. */
mcs_clip_step_opts tr_step_opts(const tr_run *r);
#endif
