/* cli_zeroshot.h - parts of zeroshot_seg: what was asked for, one picture, reports. */
#ifndef MCS_CLI_ZEROSHOT_H
#define MCS_CLI_ZEROSHOT_H
#include "models/medclip_sam.h"
#include "tools/cli_job.h"

enum {                          /* --save, as bits */
    ZS_SAVE_MASK = 1, ZS_SAVE_OVERLAY = 2, ZS_SAVE_SALIENCY = 4, ZS_SAVE_COARSE = 8,
    ZS_SAVE_HEAT = 16, ZS_SAVE_NPY = 32, ZS_SAVE_RLE = 64
};
enum { ZS_RANGE_AUTO, ZS_RANGE_NONE, ZS_RANGE_MINMAX, ZS_RANGE_PERCENTILE };

typedef struct {                /* the options, as the table fills them */
    cli_list input, exclude, prompt, classes, negative, box;
    const char *list, *shard, *out, *window, *normalize;
    const char *prompt_file, *prompt_json, *boxes, *points;
    const char *clip, *vocab, *sam, *models, *save, *gt;
    int preset, model_type, on_error;
    bool recursive, html, resume, list_layers, rivals;
    const char *cam;            /* the product of maps, by name; read into z */
    const char *cam_default;    /* what it is if not given */
    bool shipped;               /* clip and sam are the models that come with the project */
    float min_clip_score, min_iou;
    mcs_zeroshot_opts z;
} zs_opts;

/* ---- What to look for (cli_zeroshot_query.c) ---- */

typedef struct {                /* one class, or the only one (name NULL) */
    char *name;
    cli_list texts, negatives;
} zs_class;
typedef struct {                /* the same for all pictures unless the JSON files say otherwise */
    zs_class *classes;
    int class_count;            /* 0: boxes or points alone */
    mcs_zeroshot_box *boxes;
    int box_count;
    mcs_zeroshot_point *points;
    int point_count;
    json_t *prompt_json, *box_json;     /* by picture; Nullable */
    const cli_list *negatives;          /* those of every text */
    /* Of classes, texts and then negatives, and of `negatives`; NULL until zs_task_embed(). */
    const mcs_tensor **embeddings;
    const mcs_tensor *negative_embedding;
    mcs_ctx *text_ctx;
} zs_task;
/* Reads flags and files.  CLI_CONTINUE or an exit code; the message is said. */
int zs_task_read(cli *t, const zs_opts *o, zs_task *task);
/* Encodes the texts that all pictures share. */
int zs_task_embed(cli *t, zs_task *task, const mcs_medclip_sam *m);
void zs_task_free(zs_task *task);
bool zs_task_needs_text(const zs_task *task);
/* x0, y0, x1, y1; false: not a box. */
bool zs_make_box(const double v[4], mcs_zeroshot_box *box);

/* The queries of one picture; free with zs_queries_free(). */
typedef struct {
    mcs_zeroshot_query *list;
    int count;
    const char **texts;         /* owned array, borrowed strings */
    mcs_zeroshot_box *boxes;
} zs_queries;
mcs_status zs_queries_make(const zs_task *task, const cli_input *in, zs_queries *q, mcs_error *e)
    MCS_MUST_CHECK;
void zs_queries_free(zs_queries *q);
json_t *zs_queries_json(const zs_task *task, const zs_queries *q);

/* ---- The run (cli_zeroshot_run.c) ---- */

typedef struct {
    cli *t;
    const zs_opts *o;
    const cli_program *program;
    zs_task task;
    cli_job job;                /* inputs, output folder, run.json; not its loop */
    mcs_medclip_sam *model;
    mcs_ctx *ctx;
    unsigned save;
    int range;                  /* ZS_RANGE_*, and its numbers */
    double range_low, range_high;
    bool has_window;
    bool truth_failed;          /* a mask of --gt could not be compared */
} zs_run;

int zs_run_all(zs_run *r);

/* ---- One picture (cli_zeroshot_picture.c) ---- */

typedef struct {
    const cli_input *in;
    zs_queries q;
    json_t *line;               /* of results.jsonl */
    char sha256[65], hash[65];  /* of the file; of all that decides the result */
    bool skipped;               /* an earlier run did it */
    bool output_failed;         /* the failure concerns the output folder: no use going on */
} zs_picture;
/* Skips or segments p->in, writes its files and its line. */
mcs_status zs_work_on(zs_run *r, zs_picture *p, mcs_error *e) MCS_MUST_CHECK;

/* ---- Outputs of one picture (cli_zeroshot_save.c) ---- */

/* Writes what --save asks for and adds the paths, relative to the output folder, to `line`. */
mcs_status zs_save(const zs_run *r, const cli_input *in, const mcs_image *rgb,
                   const mcs_zeroshot_result *res, int count, json_t *line, mcs_error *e)
    MCS_MUST_CHECK;

/* ---- 16-bit pictures (cli_zeroshot_window.c) ---- */

int zs_window_read(zs_run *r);  /* --window, --normalize: CLI_CONTINUE or an exit code */
/* The picture as 8 bits; the range used goes to `line`.  NULL: see e. */
mcs_image *zs_window(const zs_run *r, const mcs_image *im, json_t *line, mcs_error *e);

/* ---- Ground truth (cli_zeroshot_truth.c) ---- */

/* DSC and IoU against --gt of labels 0, 1, ... count; adds "metrics" to `line`.  No mask of that
 * name: nothing is added; one that does not fit: a warning. */
void zs_truth(const zs_run *r, const cli_input *in, int width, int height, const uint8_t *labels,
              int count, json_t *line);
/* metrics.csv and summary.json from the lines of results.jsonl. */
mcs_status zs_truth_report(const zs_run *r, const json_t *lines, mcs_error *e) MCS_MUST_CHECK;

/* ---- Reports (cli_zeroshot_report.c) ---- */

/* run.json begins: settings, weights and their hashes, machine.  Compares with that of an earlier
 * run in the same folder; CLI_CONTINUE or an exit code. */
int zs_report_begin(zs_run *r);
/* At the end, over all lines by input; of a zs_run, for cli_job. */
mcs_status zs_report(void *run, const json_t *lines, mcs_error *e) MCS_MUST_CHECK;
mcs_status zs_html(const zs_run *r, const json_t *lines, mcs_error *e) MCS_MUST_CHECK;
#endif
