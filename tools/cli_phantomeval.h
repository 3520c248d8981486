/* cli_phantomeval.h - parts of eval_phantoms: scores of prompts, statistics, the page. */
#ifndef MCS_CLI_PHANTOMEVAL_H
#define MCS_CLI_PHANTOMEVAL_H
#include "image/image.h"
#include "image/phantom.h"
#include "models/biomedclip.h"
#include "models/medclip_sam.h"
#include "tools/cli_files.h"

enum { PE_METHODS = 16 };
typedef enum { /* of a prompt; NAN: not defined for it */
               PE_POINT, /* the map's peak lies in the structure: 0 or 1 */
               PE_POINT_OTHER, /* it lies in another one that is there, and not in this */
               PE_SALIENCY, /* DSC of the map above Otsu's threshold */
               PE_COARSE, /* DSC of the coarse mask */
               PE_MASK, /* DSC of SAM's mask */
               PE_CROSS, /* mean DSC of that mask with the other structures that are there */
               PE_ABOVE, /* 1: larger with the asked one than with any other */
               PE_METRICS
} pe_metric;
extern const char *const pe_names[PE_METRICS];

typedef struct {
    int phantom, structure;
    double v[PE_METRICS];
} pe_row;
typedef struct {
    char name[64]; /* of the saliency method; "true box", "box 10 % off" */
    pe_row *rows;
    int64_t count, room;
} pe_table;
typedef struct {
    int64_t n;
    double mean, low, high, median; /* low, high: 95 %, phantoms drawn anew */
} pe_summary;

enum { PE_COMPLETE, PE_PLAIN, PE_WORDINGS }; /* captions for retrieval */
typedef struct {
    float *image, *text[PE_WORDINGS]; /* embeddings (count, width) */
    int64_t width;
    mcs_phantom_facts *facts; /* (count) */
    mcs_phantom_caption *said[PE_WORDINGS]; /* (count) each */
} pe_pairs;

typedef struct {
    const char *clip, *vocab, *sam, *models, *cam, *out;
    bool ablation, demo, retrieval_only;
    int count, size, pictures;
    mcs_zeroshot_opts z;
} pe_opts;
typedef struct {
    cli *t;
    pe_opts *o;
    mcs_medclip_sam *model;
    mcs_biomedclip *clip; /* for retrieval; NULL with --demo */
    mcs_ctx *ctx;
    pe_table tables[PE_METHODS];
    int methods; /* of saliency; two tables for boxes follow */
    mcs_zeroshot_opts ways[PE_METHODS]; /* by method */
    pe_pairs pairs;
    uint8_t *otsu;
    json_t *scores;
    cli_html csv, html;
    int shown;
} pe_eval;
/* Prints and writes all figures: an exit code (cli_phantomeval_report.c). */
int pe_report(pe_eval *w);
/* One line of the tables. */
void pe_emit(pe_eval *w, const char *method, const char *structure, const char *metric,
             const pe_summary *s);

/* ---- Retrieval (cli_phantomeval_retrieval.c) ---- */

bool pe_pairs_reserve(pe_pairs *p, int count, int64_t width); /* false: out of memory */
void pe_pairs_free(pe_pairs *p);
/* Describes and embeds phantom i; pe_report_retrieval() ranks them all: exit codes. */
int pe_embed(pe_eval *w, const mcs_phantom *p, int i, const mcs_image *rgb);
int pe_report_retrieval(pe_eval *w);
/* Could the caption, which names all there is, have been written about these facts? */
bool pe_fits(const mcs_phantom_caption *c, const mcs_phantom_facts *f);

/* ---- Words (cli_phantomeval_words.c) ---- */

enum { PE_PLACES = 9, PE_SIZES = 3, PE_TEXTS = 1 + PE_PLACES + PE_SIZES };
typedef struct {
    pe_summary present; /* AUC; n = 0: all pictures of the kind have it, or none */
    pe_summary place, size; /* share of the pictures with it whose place, size was named */
    pe_summary most; /* what naming the most frequent place would reach */
} pe_words;
/* text: (PE_TEXTS, width) for the structure alone, for row * 3 + column, for small to large; of any
 * length.  MCS_ENUMERIC, MCS_ENOMEM. */
mcs_status pe_words_of(const pe_pairs *p, int count, mcs_phantom_structure s, const float *text,
                       pe_words *out, mcs_error *e) MCS_MUST_CHECK;
int pe_report_words(pe_eval *w);

/* ---- Prompts ---- */

bool pe_add(pe_table *t, const pe_row *row);
/* Of one metric, for one structure or (-1) all.  false: out of memory. */
bool pe_summarise(const pe_table *t, int phantoms, int structure, pe_metric m, pe_summary *s);
/* Scores of one prompt: what was asked for, and all masks of the phantom.  otsu (size * size): room. */
void pe_score(const mcs_phantom *p, int structure, const mcs_zeroshot_result *r, uint8_t *otsu,
              pe_row *row);

/* ---- The page (cli_phantomeval_html.c) ---- */

void pe_html_begin(cli_html *h, bool demo, const char *cam);
/* Writes the pictures of one prompt into the folder and their figures into the page. */
mcs_status pe_html_prompt(cli_html *h, const char *folder, const mcs_phantom *p, const char *prompt,
                          const mcs_zeroshot_result *r, const pe_row *row,
                          mcs_error *e) MCS_MUST_CHECK;
void pe_html_phantom(cli_html *h, const mcs_phantom *p, bool open);
/* The tables: rows of the CSV as they are. */
void pe_html_table(cli_html *h, const json_t *scores);
#endif
