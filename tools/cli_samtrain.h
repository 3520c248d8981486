/* cli_samtrain.h - the parts of finetune_sam.  Everything a step does is a function of the settings,
 * the seed and the number of the step. */
#ifndef MCS_CLI_SAMTRAIN_H
#define MCS_CLI_SAMTRAIN_H
#include "models/sam_train.h"
#include "models/sampler.h"
#include "tools/cli_run.h"

enum { ST_PROMPTS_MAX = 64 }; /* of a picture in a step */
enum { ST_CONST, ST_COSINE, ST_STEP, ST_POLY }; /* st_opts.scheduler */
enum { ST_BEST_DSC, ST_BEST_JITTER, ST_BEST_LOSS }; /* of cli_run_opts.save_best */

typedef struct {
    cli_list images, masks, val_images, val_masks;
    bool recursive;
    int on_error, labels, samples, min_area;
    const char *sam, *scratch;
    int init, part;
    const char *jitter;
    int direction, prompts, target;
    float dice, bce, focal, iou, smooth;
    bool squared, checkpointing;
    int batch, accum, scheduler;
    uint64_t cache;
    cli_run_opts run;
} st_opts;

/* ---- Data (cli_samtrain_data.c) ---- */

/* One mask to learn: a label of a file of masks, or a connected component of it. */
typedef struct {
    int32_t file; /* number of the file in st_data.masks */
    int32_t folder; /* which --masks it is from */
    int32_t label; /* pixel value; -1: all above half of the range */
    int32_t component; /* number from 1; 0: all of the label */
    int64_t area;
    double box[4]; /* x0,y0,x1,y1 in pixels, edges */
} st_sample;

typedef struct {
    char *path, *rel;
    int width, height;
    int64_t first, count; /* its samples; pictures without any are not in the list */
} st_picture;

typedef struct {
    st_picture *pictures;
    st_sample *samples;
    char **masks;
    int64_t count, sample_count, mask_count;
    json_t *problems; /* {"input", "error"} of what was left out */
    char fingerprint[65]; /* SHA-256 of names, sizes and samples */
} st_data;

/* Looks for the masks of every picture and reads all of both.  One folder of pictures may have
 * several of masks; of several folders each has its own, in the same order, or its own k of them.
 * Pictures that cannot be used are said and listed, or stop the tool.  CLI_CONTINUE or an exit
 * code. */
int st_data_read(cli *t, const st_opts *o, const cli_list *images, const cli_list *masks,
                 st_data *d);
void st_data_free(st_data *d);
/* The pixels of a sample as 0 or 1, to free(); NULL: see e. */
uint8_t *st_data_mask(const st_data *d, const st_picture *p, const st_sample *s, mcs_error *e);

/* ---- The run ---- */

/* Arrays that are computed once, as many as fit. */
typedef struct {
    float **items;
    int64_t count;
    uint64_t used, limit;
} st_cache;

typedef struct {
    cli *t;
    const st_opts *o;
    st_data train, val;
    mcs_sam *model;
    mcs_ctx *ctx;
    cli_run_state s;
    cli_run run; /* with the weights of model and their optimiser */
    mcs_sam_loss loss;
    mcs_sam_jitter jitter;
    cli_run_order order; /* of train.pictures */
    st_cache embeddings, targets; /* of training; by picture, by sample */
    st_cache val_embeddings;
} st_run;

int st_run_all(st_run *r); /* cli_samtrain_run.c */
int st_model_make(st_run *r); /* cli_samtrain_model.c: loads or initialises, makes the optimiser */

/* ---- One batch (cli_samtrain_batch.c) ---- */

/* "20" or "10%" into j; false: neither. */
bool st_parse_jitter(const char *text, int direction, mcs_sam_jitter *j);
/* Loss and IoU of the step, gradients in the weights. */
mcs_status st_step(st_run *r, int64_t epoch, int64_t index, mcs_sam_result *result);
/* The picture's pixels (1,3,S,S), or its embedding (1,dim,G,G) from the cache or computed without a
 * tape.  NULL: see c. */
const mcs_tensor *st_image(mcs_ctx *c, const st_run *r, const st_picture *p);
const mcs_tensor *st_embedding(mcs_ctx *c, const st_run *r, st_cache *cache, const st_data *d,
                               int64_t picture);
/* NULL slots for n arrays; false: out of memory. */
bool st_cache_begin(st_cache *k, int64_t n, uint64_t limit);
void st_cache_free(st_cache *k);

/* ---- Validation (cli_samtrain_val.c) ---- */
/* Adds val_loss, dsc, dsc_jitter and more to the record. */
int st_validate(st_run *r, json_t *record);
#endif
