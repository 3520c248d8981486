/* cli_evalseg.h - parts of eval_seg: which masks belong together, what their values mean, scores,
 * reports. */
#ifndef MCS_CLI_EVALSEG_H
#define MCS_CLI_EVALSEG_H
#include "image/image.h"
#include "losses/metrics.h"
#include "tools/cli_files.h"

typedef enum {
    ES_DSC,
    ES_IOU,
    ES_NSD,
    ES_NSD_OFFICIAL,
    ES_HD95,
    ES_HD95_MONAI,
    ES_HD,
    ES_AUC,
    ES_SENSITIVITY,
    ES_PRECISION,
    ES_METRICS
} es_metric;
extern const char *const es_columns[ES_METRICS]; /* "DSC", ... */
enum { ES_EMPTY_NAN, ES_EMPTY_ZERO, ES_EMPTY_ONE, ES_EMPTY_WORST };
enum { ES_LABELS_MAX = 255, ES_MORE = 9 };

typedef struct { /* the options, as the table fills them */
    const char *gt, *seg, *other, *prob, *images, *out, *json, *html;
    const char *metrics, *labels, *gt_threshold, *seg_threshold, *spacing;
    float tolerance;
    int nsd, empty, volumes, missing, mismatch, draws, shown;
} es_opts;

/* ---- What values mean (cli_evalseg_values.c) ---- */

/* A value is a grey, or a colour with bit 24 set (greys among colours are greys). */
enum { ES_COLOUR = 1 << 24, ES_VALUES = 256 };
typedef struct {
    uint32_t v[ES_VALUES]; /* distinct ones, ascending */
    int count;
    bool many; /* more than fit */
    bool lossy; /* from a JPEG */
    uint32_t max; /* the largest grey */
} es_values;
typedef struct { /* how a folder's values become labels */
    bool labels; /* the label list says; else: luma > threshold is label 1 */
    uint32_t threshold;
    char said[200];
} es_meaning;
uint32_t es_value(const mcs_image *im, bool alpha, int64_t pixel);
/* The colour is constant and alpha is not: the mask is in alpha. */
bool es_in_alpha(const mcs_image *im);
uint32_t es_luma(uint32_t value);
void es_values_add(es_values *s, const mcs_image *im);
void es_values_merge(es_values *s, const es_values *more);
void es_value_name(uint32_t value, char name[16]);

/* ---- Cases (cli_evalseg_cases.c) ---- */

enum { ES_GT, ES_SEG, ES_OTHER, ES_PROB, ES_IMAGE, ES_SIDES };
typedef struct { /* a picture, or a volume of several */
    char *name;
    int64_t slices, room;
    const cli_input **file[ES_SIDES]; /* (slices); entries may be NULL: no such file */
    const cli_input *more[ES_MORE]; /* further true masks of the picture, to be united */
    int mores;
} es_case;
typedef struct { /* of one case and label */
    double v[ES_METRICS];
    bool truth_empty, found_empty;
} es_score;
typedef struct {
    cli *t;
    es_opts *o;
    mcs_ctx *ctx;
    bool wanted[ES_METRICS];
    int order[ES_METRICS], metrics; /* columns as asked for */
    double spacing[3]; /* of slices, rows, columns */
    cli_inputs in[ES_SIDES];
    bool given[ES_SIDES];
    es_meaning meaning[ES_SIDES];
    uint32_t label[ES_LABELS_MAX]; /* label k+1 is this value */
    int labels; /* 1: foreground against background */
    bool binary;
    es_case *cases;
    int64_t count;
    es_score *score[2]; /* of seg and other: (count, levels) */
    int levels; /* labels, and their mean if there are several */
    char **failure; /* (count) why a case has no scores; NULL: it has */
    int64_t without_seg, without_gt, resized, failed;
    json_t *problems; /* {name, problem} */
    json_t *report;
} es_run;

/* Pairs the folders by name: CLI_CONTINUE or an exit code. */
int es_cases_find(es_run *r);
void es_problem(es_run *r, const char *name, const char *what);
/* Looks at all masks and decides what their values mean; says so. */
int es_meaning_find(es_run *r);

/* ---- One case (cli_evalseg_score.c) ---- */

typedef struct { /* a case as it is in memory */
    mcs_grid grid;
    int64_t n;
    uint8_t *label[3]; /* gt, seg, other: (n) labels from 1; NULL: not there */
    float *prob; /* (n); Nullable */
    int64_t resized; /* slices of another size than the truth's */
} es_volume;
mcs_status es_volume_read(const es_run *r, const es_case *c, es_volume *v,
                          mcs_error *e) MCS_MUST_CHECK;
void es_volume_free(es_volume *v);
/* Scores of seg (which 1) or other (2) for all levels. */
mcs_status es_score_all(const es_run *r, const es_volume *v, int which, es_score *out,
                        mcs_error *e) MCS_MUST_CHECK;
/* All cases, several at once. */
int es_score_cases(es_run *r);
/* The score of case i at a level (-1: the one that ranks: the mean of labels). */
const es_score *es_at(const es_run *r, int which, int64_t i, int level);
bool es_is_distance(es_metric m);

/* ---- Reports (cli_evalseg_report.c, cli_evalseg_compare.c, cli_evalseg_html.c) ---- */

int es_report(es_run *r);
void es_level_name(const es_run *r, int level, char name[16]);
/* Cases from the worst by the first measure; those without a value and failed ones last.  To
 * free(), NULL: no memory. */
int64_t *es_rank(const es_run *r);
/* One measure of all cases at a level, NAN where there is none; to free(), NULL: no memory. */
double *es_column(const es_run *r, int which, int level, es_metric m);
mcs_status es_compare(es_run *r, cli_html *out, mcs_error *e) MCS_MUST_CHECK;
mcs_status es_html(const es_run *r, mcs_error *e) MCS_MUST_CHECK;
/* A number for CSV, "nan" if it is none; for JSON, null. */
void es_number(cli_html *h, double v);
json_t *es_json_number(double v);
#endif
