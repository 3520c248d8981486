/* cli_unet_predict.h - the parts of predict_unet. */
#ifndef MCS_CLI_UNET_PREDICT_H
#define MCS_CLI_UNET_PREDICT_H
#include "tools/cli_job.h"
#include "tools/cli_unet.h"

enum { UP_AUTO, UP_RESIZE, UP_SLIDING }; /* up_opts.inference */
enum { UP_SAVE_MASK = 1, UP_SAVE_PROB = 2, UP_SAVE_UNCERTAINTY = 4, UP_SAVE_OVERLAY = 8 };

typedef struct {
    cli_list input, exclude, weights;
    const char *list, *shard, *out, *save;
    bool recursive, html, resume, flips;
    int inference, side, on_error;
    float overlap, threshold;
} up_opts;

typedef struct {
    cli *t;
    const up_opts *o;
    cli_job job;
    unsigned save;
    mcs_ctx *ctx;
    mcs_unet **nets;
    int count, planes;
    un_notes notes; /* of the first net */
    mcs_unet_view view;
} up_run;

/* CLI_CONTINUE or an exit code; the files and their hashes go to *weights. */
int up_load(up_run *r, json_t **weights); /* cli_unet_load.c */
/* A picture of the job (cli_unet_predict.c). */
mcs_status up_work(void *run, cli_job_item *item, mcs_error *e);
mcs_status up_report(void *run, const json_t *lines, mcs_error *e);
#endif
