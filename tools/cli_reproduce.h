/* cli_reproduce.h - parts of reproduce: a table of sets x methods x seeds, run from one description.
 *
 * Everything lies under the output folder, named after what it is and a hash of what decides it, so
 * that a changed description makes new folders beside the old ones:
 *     prepare/NAME-HASH/              what a step of "prepare" made
 *     sets/NAME-HASH/                 images/ masks/ train/ (links), boxes.json
 *     cells/SET/METHOD-sSEED-HASH/    run/ (masks), scores.csv, done.json, log.txt
 */
#ifndef MCS_CLI_REPRODUCE_H
#define MCS_CLI_REPRODUCE_H
#include "losses/metrics.h"
#include "tools/cli_files.h"

enum { RP_DSC, RP_IOU, RP_NSD, RP_NSD_BOUNDARY, RP_METRICS };
extern const char *const rp_metric_names[RP_METRICS]; /* "dsc", "iou", ... as in the description */

typedef struct {
    const char *out, *tools;
    cli_list plan, places, only; /* plan: one description */
    int pictures, count;
    bool table; /* report what is there, run nothing */
} rp_opts;

typedef struct {
    const char *name, *title;
    const json_t *json;
    char *folder; /* sets/NAME-HASH under the output folder */
    bool boxes, train; /* it has boxes.json; train/ */
    char hash[65];
    char **stems; /* of its pictures, in order */
    int64_t count;
} rp_set;

typedef struct {
    const char *name, *title;
    const json_t *json;
    int base; /* the method whose masks it learns from; -1: none */
    const char *masks; /* folder of its result inside run/; NULL: masks, or coarse without SAM */
} rp_method;

typedef struct {
    double *v[RP_METRICS]; /* by picture of the set, mean over the seeds; NaN: undefined */
    int64_t missing; /* pictures without a score */
    char *folder; /* of the first seed */
    double cpu; /* seconds of processor time, training included */
    bool there;
} rp_cell;

typedef struct {
    cli *t;
    const rp_opts *o;
    json_t *plan, *places, *prepared;
    const char *here, *mini;
    rp_set *sets;
    rp_method *methods;
    rp_cell *cells; /* [set * method_count + method] */
    int set_count, method_count, seed_count;
    cli_progress progress;
} rp_work;

/* ---- The description (cli_reproduce_plan.c): CLI_CONTINUE or an exit code, all said ---- */

int rp_plan_read(rp_work *w);
int rp_plan_seed(const rp_work *w, int i);
const char *rp_text(const json_t *object, const char *key, const char *otherwise);
bool rp_wanted(const rp_work *w, const rp_set *s, const rp_method *m); /* --only */

typedef struct {
    char **v; /* NULL after the last */
    int count;
} rp_args;
/* Replaces {NAME} in text: places, here, mini, seed, out, prep:NAME; root stands for the output folder.
 * NULL: said.  free() it. */
char *rp_expand(const rp_work *w, const char *text, const char *root, const char *out, int seed);
bool rp_args_add(rp_args *a, const char *text);
/* Strings and numbers of a JSON array, expanded; list is Nullable.  False: said. */
bool rp_args_json(const rp_work *w, rp_args *a, const json_t *list, const char *root,
                  const char *out, int seed);
void rp_args_free(rp_args *a);

/* ---- Child processes (cli_reproduce_child.c) ---- */

/* Runs a tool of --tools, its output appended to the file `log`.  CLI_CONTINUE (exit codes 0 and 3)
 * or the exit code, said with the log's last line. */
int rp_run_tool(rp_work *w, const char *tool, rp_args *a, const char *log);
double rp_children_cpu(void);

/* ---- Material (cli_reproduce_set.c, cli_reproduce_prepare.c) ---- */

int rp_prepare(rp_work *w);
int rp_set_make(rp_work *w, rp_set *s);
/* Adds a string; a file's or folder's name, size and time of change. */
void rp_hash_text(cli_sha256 *h, const char *text);
void rp_hash_file(cli_sha256 *h, const char *path);
/* "OUT/kind/name-HASH8", made if needed. */
char *rp_folder(rp_work *w, const char *kind, const char *name, const char hash[65]);

/* ---- Cells (cli_reproduce_cell.c, cli_reproduce_score.c) ---- */

int rp_cell_run(rp_work *w, int set, int method);
/* "masks" or "coarse": where in FOLDER/run the method's result is. */
const char *rp_masks(const rp_method *m, const char *folder);
/* Adds the scores of one seed, divided by the number of seeds. */
int rp_score_read(rp_work *w, const rp_set *s, const char *folder, rp_cell *c);

/* Mean, 95 % bootstrap interval (2000 draws of pictures), deviation and median of metric over a set
 * (set -1: all sets' pictures together), of one method or of the paired difference method - minus
 * (minus -1: none); p, Nullable: of Wilcoxon's signed-rank test.  n 0: no figures.  False: out of
 * memory. */
bool rp_summarise(const rp_work *w, int set, int method, int minus, int metric, mcs_summary *s,
                  double *p);

/* ---- Reports (cli_reproduce_report.c, cli_reproduce_html.c, cli_reproduce_picture.c) ---- */

/* A figure of "published" in %; NaN: none.  index: which of several publications. */
double rp_published(const rp_work *w, size_t index, const char *method, const char *set, int metric);
int rp_report(rp_work *w);
void rp_html(rp_work *w, cli_html *h);
void rp_html_pictures(rp_work *w, cli_html *h);
#endif
