/* cli_unet.h - the parts of train_unet, and what predict_unet shares with it.  Everything a step
 * does is a function of the settings, the seed and the number of the step. */
#ifndef MCS_CLI_UNET_H
#define MCS_CLI_UNET_H
#include "image/augment.h"
#include "models/sampler.h"
#include "models/unet_predict.h"
#include "models/unet_train.h"
#include "tools/cli_masks.h"
#include "tools/cli_run.h"

enum { UN_ADAMW, UN_SGD }; /* un_opts.optimizer */
enum { UN_POLY, UN_COSINE, UN_CONST }; /* un_opts.scheduler */
enum { UN_AUTO, UN_BINARY, UN_MAP }; /* un_opts.labels */
enum { UN_CLASSES_MAX = 32 }; /* labels of a map, without the background */

typedef struct {
    cli_list images, masks, val_images, val_masks, results;
    bool recursive, weight_iou, keep_empty;
    int on_error, labels;
    float val_share, min_iou;
    const char *pretrained, *channels;
    int norm, res_units, in_channels;
    float dropout;
    int sampling, side;
    float foreground; /* share of patches that are centred on a labelled pixel */
    int aug;
    mcs_augment change;
    const char *loss;
    float smooth;
    int batch, accum, optimizer, scheduler, cycles, cycle_saves;
    float momentum, hold;
    uint64_t cache;
    cli_run_opts run;
} un_opts;

/* ---- What checkpoints say besides weights (cli_unet_notes.c) ---- */

typedef struct {
    int side;
    mcs_unet_inference input;
    int classes; /* labels besides the background; 1: a mask */
    int value[UN_CLASSES_MAX]; /* what stood for them in the files of masks */
} un_notes;
#define UN_NOTES "mcs.unet" /* key of the metadata */
/* A new string; NULL: out of memory. */
char *un_notes_text(const un_notes *n);
/* false: there are none, or they make no sense; *n stays as it is. */
bool un_notes_read(const char *text, un_notes *n);

/* ---- Data (cli_unet_data.c, cli_unet_kind.c) ---- */

typedef struct {
    char *path, *rel, *mask;
    int width, height;
    float weight; /* in the loss */
    int top; /* largest value of the mask */
    uint64_t hash; /* of its values */
    /* once read, if the cache has room: 8 bits, and labels 0, 1, ... of the same size */
    mcs_image *pixels;
    uint8_t *labels;
    bool kept;
} un_picture;

typedef struct {
    un_picture *items;
    int64_t count, room;
    un_notes kind; /* only classes and values */
    int cut; /* binary: above this value of 0..65535 is the class; 0: any but 0 */
    double share[UN_CLASSES_MAX + 1]; /* of the pixels of all masks, by label */
    json_t *problems; /* {"input", "error"}: could not be used */
    json_t *left_out; /* {"input", "reason"}: could, but is not wanted */
    char fingerprint[65]; /* SHA-256 of names, sizes, labels and weights */
} un_data;

/* What the values of all masks together are (cli_unet_kind.c). */
typedef struct {
    int64_t seen[65536]; /* pixels of each value */
    int64_t files, jpeg, colour, deep, resized;
    int top; /* the largest value */
} un_survey;
void un_survey_add(un_survey *v, const cli_grid *g);
/* Decides what the values mean, says it, and fills in kind and cut.  */
int un_survey_decide(cli *t, const un_opts *o, const un_survey *v, un_data *d);
/* Labels (height,width) of a mask as 0, 1, ..., brought to that size; free() it.  NULL: see e. */
uint8_t *un_labels(const un_data *d, const cli_grid *g, int width, int height, mcs_error *e);

/* Pairs pictures and masks by name and reads all of both once.  like: what the values mean, decided
 * before; Nullable.  CLI_CONTINUE or an exit code. */
int un_data_read(cli *t, const un_opts *o, const cli_list *images, const cli_list *masks,
                 const un_data *like, un_data *d);
/* Moves a share of the pictures, by a hash of their names, to val. */
int un_data_split(cli *t, double share, un_data *d, un_data *val);
/* SHA-256 of all that decides training. */
void un_data_fingerprint(un_data *d);
void un_data_free(un_data *d);

/* SAM's estimates (cli_unet_quality.c): by the path of a mask.  -1: nothing is known; -2: rejected
 * by zeroshot_seg. */
typedef struct {
    json_t *by_mask;
} un_quality;
int un_quality_read(cli *t, const un_opts *o, const cli_list *masks, un_quality *q);
double un_quality_of(const un_quality *q, const char *mask);
void un_quality_free(un_quality *q);

/* ---- The run ---- */

typedef struct {
    cli *t;
    const un_opts *o;
    un_data train, val;
    un_notes notes;
    mcs_unet *model;
    mcs_ctx *ctx;
    cli_run_state s;
    cli_run run;
    mcs_unet_loss loss;
    mcs_augment change;
    cli_run_order order; /* of train.items */
    int64_t micro; /* pictures of a part of a step */
    uint64_t cached; /* bytes of pictures kept */
} un_run;

int un_run_all(un_run *r); /* cli_unet_run.c */
int un_model_make(un_run *r); /* cli_unet_model.c: from options or a checkpoint; the optimiser */
/* "16,32,64" into the layout; false: it makes no sense. */
bool un_parse_channels(const char *text, mcs_unet_config *c);
/* "dice+bce", "2*dice+focal"; false: it makes no sense. */
bool un_parse_loss(const char *text, mcs_unet_loss *loss);

/* Loss of the step, gradients in the weights (cli_unet_batch.c). */
mcs_status un_step(un_run *r, int64_t epoch, int64_t index, double *loss) MCS_MUST_CHECK;
/* The loss of the validation pictures, unchanged. */
mcs_status un_measure(un_run *r, double *loss) MCS_MUST_CHECK;
/* Reads a picture (mcs_unet_picture(), at the side of the net if it is resized) and its labels. */
mcs_status un_load(const un_run *r, const un_data *d, const un_picture *p, mcs_image **pixels,
                   uint8_t **labels, mcs_error *e) MCS_MUST_CHECK;

/* Adds val_loss, dsc and those of the classes to the record (cli_unet_val.c). */
int un_validate(un_run *r, json_t *record);
#endif
