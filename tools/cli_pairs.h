/* cli_pairs.h - picture-caption pairs of the training tools: from a table to pixels, ids and
 * embeddings.  A row that cannot be used (no caption, no file, a broken picture) stops the tool or,
 * on request, is reported and left out. */
#ifndef MCS_CLI_PAIRS_H
#define MCS_CLI_PAIRS_H
#include "models/biomedclip.h"
#include "tools/cli_table.h"

/* Longer captions are cut: 256 tokens are read, which are shorter. */
#define CLI_CAPTION_BYTES (1 << 16)

typedef struct {
    const char *image_key, *caption_key;
    const char *group_key, *kind_key; /* Nullable: "group", "kind" if the table has them */
    const char *facts_key; /* Nullable: "facts" if the table has it */
    const char *separator; /* of cli_table_separator(); Nullable */
    const char *root; /* of relative paths; Nullable: the table's folder */
    bool skip; /* leave unusable rows out instead of stopping */
} cli_pairs_query;

typedef struct {
    char *path; /* of the picture */
    const char *caption; /* in the table's text */
    const char *claims, *facts; /* cells of group and facts; facts: the group's if there are none */
    int64_t group; /* captions of one group are true of each other's pictures; -1: none */
    int32_t kind; /* 0 .. kinds-1; 0 if there is no such column */
    int32_t image; /* number of the picture: the same for rows of one path */
    int64_t line; /* in the table */
} cli_pair;

typedef struct {
    cli_table table;
    cli_pair *items;
    int64_t count, images; /* usable rows; different pictures among them */
    int kinds;
    bool grouped;
    int64_t *rows, *first; /* rows of picture i: rows[first[i]] .. rows[first[i+1]-1] */
    bool *embed_failed; /* by picture: cli_pairs_embed() has reported it */
    json_t *problems; /* {"input", "line", "error"} of what was left out */
    char fingerprint[65]; /* SHA-256 of all that training sees of the table */
} cli_pairs;

/* Reads the table and looks for the files; what is wrong is said.  CLI_CONTINUE or an exit code:
 * CLI_NOTHING for a missing file or column, or if no row is left. */
int cli_pairs_read(cli *t, const char *path, const cli_pairs_query *q, cli_pairs *out);
void cli_pairs_free(cli_pairs *p);
/* Notes a picture that turned out to be broken: said once for each (`seen`: a flag for each
 * picture). */
void cli_pairs_broken(cli *t, cli_pairs *p, const cli_pair *pair, const char *why, bool *seen);

/* Is a caption true of a picture: its own, of the same group, or with claims (its group cell) that
 * the picture's facts contain? */
bool cli_pairs_true(const cli_pairs *p, const cli_pair *caption, int64_t image);
/* "xray:heart/large+no nodule" holds where `facts` (count of them, all of one picture) contain each
 * of its claims: "xray:heart/large/upper middle+no nodule+lungs"; '*' there contains any word. */
bool cli_claims_hold(const char *claims, const char *const *facts, int64_t count);

/* ---- Pictures ---- */

typedef struct {
    const char *path;
    bool crop; /* a random crop of 0.9 to 1 of the area, drawn from the next two */
    uint64_t seed, sample;
    mcs_image *image; /* out: side x side RGB; NULL: failed */
    mcs_error error; /* out: why */
} cli_picture;
/* Reads and resizes in parallel; without crop as mcs_preprocess_clip() with MCS_FIT_CROP does.
 * The caller frees the pictures. */
void cli_pictures_read(mcs_pool *pool, cli_picture *list, int64_t count, int side);
/* Normalised pixels of list[0 .. count) as (count,3,side,side).  NULL: see c. */
mcs_tensor *cli_pictures_tensor(mcs_ctx *c, const cli_picture *list, int64_t count, int side);

/* ---- Embeddings of all pairs ---- */

typedef struct {
    float *image, *text; /* (count, width) */
    int64_t *row; /* which pair of cli_pairs each is */
    int64_t count, width, failed;
} cli_embedded;
/* In batches, pairs with broken pictures left out if `skip`.  CLI_CONTINUE or an exit code. */
int cli_pairs_embed(cli *t, mcs_ctx *c, const mcs_biomedclip *m, cli_pairs *p, bool skip,
                    const char *what, cli_embedded *out);
void cli_embedded_free(cli_embedded *e);
#endif
