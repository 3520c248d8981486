/* cli_files.h - files of the tools: lists of inputs, whole-file writes, hashes, locks, JSON lines,
 * the HTML page.  Functions that can fail take an mcs_error; messages begin with the path. */
#ifndef MCS_CLI_FILES_H
#define MCS_CLI_FILES_H
#include "tools/cli.h"

/* ---- Whole files ---- */

#define CLI_TEXT_MAX (INT64_C(256) << 20)

/* The file's bytes and a NUL after them; a UTF-8 BOM is dropped, UTF-16 refused.  "-": standard
 * input.  *size is without the NUL; Nullable: size.  At most CLI_TEXT_MAX.  free() it. */
char *cli_read_text(const char *path, size_t *size, mcs_error *e);
/* JSON of any type; duplicate keys are refused. */
json_t *cli_read_json(const char *path, mcs_error *e);
/* Temporary file in the same folder, fsync, rename. */
mcs_status cli_write(const char *path, const void *bytes, size_t size, mcs_error *e) MCS_MUST_CHECK;
mcs_status cli_write_json(const char *path, const json_t *j, mcs_error *e) MCS_MUST_CHECK;
/* The same as FOLDER/NAME.  Nothing is written if e holds a failure, or j is NULL (MCS_ENOMEM). */
mcs_status cli_save_json(const char *folder, const char *name, const json_t *j,
                         mcs_error *e) MCS_MUST_CHECK;
/* A NumPy file: float32 in C order, little-endian. */
mcs_status cli_write_npy(const char *path, int ndim, const int64_t *shape, const float *data,
                         mcs_error *e) MCS_MUST_CHECK;
/* Creates the folder and those above it. */
mcs_status cli_mkdirs(const char *path, mcs_error *e) MCS_MUST_CHECK;
/* Creates the folder that will hold the file `path`. */
mcs_status cli_mkdirs_for(const char *path, mcs_error *e) MCS_MUST_CHECK;
/* "a/b" + "c" + ".png" as a new string to free(); NULL: out of memory. */
char *cli_join(const char *folder, const char *name, const char *suffix);
bool cli_exists(const char *path);
/* A file of the small models that come with the project ("clip.safetensors", "sam.safetensors",
 * "zeroshot.json"), as a string owned by t; NULL: there is none.  models: the folder (--models);
 * Nullable: $MCS_MINI, else where the program stands or was installed (cli_shipped.c). */
const char *cli_shipped(cli *t, const char *models, const char *name);
/* What everyone should know who uses them: a sentence. */
extern const char cli_shipped_notice[];

/* ---- Inputs ---- */

typedef struct {
    char *path;                 /* to open */
    char *rel;                  /* relative to the folder it was found in: the name in reports */
    char *stem;                 /* rel without extension: the name of outputs, unique in the list */
} cli_input;
typedef struct {
    cli_input *items;
    int64_t count;
} cli_inputs;
typedef struct {
    const cli_list *paths;      /* files and folders */
    const char *list;           /* file of paths, one a line (or NUL-separated), "-": stdin; Nullable */
    const cli_list *exclude;    /* shell patterns on rel or its last part; Nullable */
    bool recursive;
    bool keep_repeats;          /* the same file twice is listed twice */
    int shard, shards;          /* keep those whose hash of rel is shard modulo shards; 0,0: all */
} cli_inputs_query;

/* Rows of a table for the members `input` and `recursive` of the type T of its options; and with
 * `list`, `exclude` and `shard`. */
#define CLI_INPUT_PATHS(T)                                                                         \
    { CLI_LIST, "input", 'i', offsetof(T, input), "PATH", 0, 0,                                    \
      "picture (PNG or JPEG), or a folder of them, taken by name order", NULL, 0 },                \
    { CLI_FLAG, "recursive", 'r', offsetof(T, recursive), NULL, 0, 0,                              \
      "folders inside folders too", NULL, 0 }
#define CLI_INPUT_OPTIONS(T)                                                                       \
    CLI_INPUT_PATHS(T),                                                                            \
    { CLI_TEXT, "list", 0, offsetof(T, list), "FILE", 0, 0,                                        \
      "file of paths, one a line or NUL-separated; - for standard input", NULL, 0 },               \
    { CLI_LIST, "exclude", 0, offsetof(T, exclude), "PATTERN", 0, 0,                               \
      "leave out names that match, e.g. '*_mask*'", NULL, 0 },                                     \
    { CLI_TEXT, "shard", 0, offsetof(T, shard), "I/N", 0, 0,                                       \
      "only the I-th of N parts (1 to N), cut by a stable hash of the names", NULL, 0 }

/* Files as given, folders by name order: pictures by extension (png jpg jpeg, any case), hidden
 * files left out.  Lines of a list are taken as they are, relative ones from the current folder.
 * Two inputs with the same stem keep their extension in it; the same file twice is listed once.
 * MCS_ENOTFOUND: a path that does not exist. */
mcs_status cli_inputs_find(cli_inputs *in, const cli_inputs_query *q, mcs_error *e) MCS_MUST_CHECK;
void cli_inputs_free(cli_inputs *in);
/* "I/N", I from 1 to N (0 is N). */
bool cli_parse_shard(const char *text, int *shard, int *shards);
uint64_t cli_hash(const char *text);    /* FNV-1a, the same everywhere and always */
bool cli_is_picture(const char *name);

/* ---- SHA-256 (FIPS 180-4) ---- */

typedef struct {
    uint32_t state[8];
    uint64_t length;
    uint8_t block[64];
} cli_sha256;
void cli_sha256_begin(cli_sha256 *s);
void cli_sha256_add(cli_sha256 *s, const void *bytes, size_t n);
void cli_sha256_hex(cli_sha256 *s, char hex[65]);
/* Adds whole blocks of 64 bytes to the state, in portable C. */
void cli_sha256_plain(uint32_t state[8], const uint8_t *blocks, size_t count);
mcs_status cli_sha256_file(const char *path, char hex[65], mcs_error *e) MCS_MUST_CHECK;

/* ---- Lock: one writer per output folder (and shard) ---- */

typedef struct {
    int fd;
    char *path;
} cli_lock;
/* MCS_EIO: held by another process, which the message names. */
mcs_status cli_lock_take(cli_lock *l, const char *folder, const char *name, mcs_error *e)
    MCS_MUST_CHECK;
void cli_lock_drop(cli_lock *l);        /* Nullable */

/* ---- JSON lines: one object a line, appended by a single write ---- */

int cli_jsonl_open(const char *path, mcs_error *e);     /* -1: see e; mends a torn last line */
mcs_status cli_jsonl_append(int fd, const char *path, const json_t *line, mcs_error *e)
    MCS_MUST_CHECK;
/* Calls fn for every line that is a JSON object, borrowed; *bad counts the others (Nullable).  A
 * file that is absent has no lines. */
mcs_status cli_jsonl_read(const char *path, void (*fn)(void *arg, json_t *line), void *arg,
                          int64_t *bad, mcs_error *e) MCS_MUST_CHECK;

/* ---- HTML, everything escaped ---- */

typedef struct {
    char *text;
    size_t size, room;
    bool failed;                /* out of memory: sticky */
} cli_html;
void cli_html_raw(cli_html *h, const char *markup);
void cli_html_rawf(cli_html *h, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void cli_html_text(cli_html *h, const char *text);      /* & < > " ' and controls escaped */
void cli_html_url(cli_html *h, const char *path);       /* relative path, percent-encoded */
void cli_csv_field(cli_html *h, const char *text);      /* not HTML: quoted if RFC 4180 asks for it */
/* Writes the text as FOLDER/NAME (folder "": NAME is a path) and frees it, which happens even if e
 * holds a failure or the text has failed, when nothing is written. */
mcs_status cli_html_save(cli_html *h, const char *folder, const char *name,
                         mcs_error *e) MCS_MUST_CHECK;
#endif
