/* cli.h - what all tools share: options, exit codes, messages, progress, signals.
 *
 * One option table per tool makes the parser, --help and docs/tools.md, so that they cannot
 * disagree.  The table holds offsets into the tool's own options struct, whose values before
 * parsing are the defaults that --help shows.
 *
 *     static const cli_option options[] = {
 *         { .kind = CLI_SECTION, .help = "Input" },
 *         { CLI_LIST, "input", 'i', offsetof(opts, input), "PATH", 0, 0, "picture or folder", 0, 0 },
 *         { .kind = CLI_END }
 *     };
 *     int main(int argc, char **argv)
 *     {
 *         cli t = { 0 };
 *         opts o = { .threshold = 0.3f };
 *         int code = cli_parse(&t, &program, &o, argc, argv);
 *         if (code == CLI_CONTINUE)
 *             code = work(&t, &o);
 *         cli_close(&t);
 *         return code;
 *     }
 */
#ifndef MCS_CLI_H
#define MCS_CLI_H
#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "tensor/tensor.h"

/* Exit codes, the same for every tool. */
typedef enum {
    CLI_CONTINUE = -1,          /* of cli_parse(): go on, nothing to report */
    CLI_DONE = 0,
    CLI_NOTHING = 1,            /* nothing could be done */
    CLI_BAD_USAGE = 2,
    CLI_SOME_FAILED = 3,        /* done, some inputs failed: see errors.jsonl */
    CLI_BAD_MODEL = 4,          /* model file invalid or unsafe */
    CLI_NO_MEMORY = 5,          /* out of memory, or over --mem-limit */
    CLI_IO_ERROR = 6,           /* disk full, no permission, output locked */
    CLI_NOT_FINITE = 7,         /* NaN or infinity in weights or results */
    CLI_MISMATCH = 8,           /* verification failed */
    CLI_SIGNALLED = 128         /* + signal number: stopped after saving */
} cli_exit;

/* ---- Options ---- */

typedef struct {
    char **items;
    int count;
} cli_list;

typedef enum {
    CLI_END,
    CLI_SECTION,                /* `help` is the heading of the options that follow */
    CLI_FLAG,                   /* bool: --x, --no-x, --x=yes, --x=no */
    CLI_INT,                    /* int */
    CLI_INT64,                  /* int64_t */
    CLI_FLOAT,                  /* float */
    CLI_BYTES,                  /* uint64_t, written 800M, 4G, 65536 */
    CLI_TEXT,                   /* const char *; NULL: not given */
    CLI_CHOICE,                 /* int, the index in `arg` = "one|two|three" */
    CLI_LIST                    /* cli_list: may be given several times */
} cli_kind;

enum {                          /* cli_option.flags */
    CLI_RESULT = 1,             /* changes results: part of cli_settings(..., true) */
    CLI_HIDDEN = 2,             /* not in --help */
    CLI_AUTO = 4                /* a number for which "auto" is written instead of 0 */
};

typedef struct {
    cli_kind kind;
    const char *name;           /* long name with '-'; '_' is accepted for it everywhere */
    char letter;                /* short form, or 0 */
    size_t offset;              /* of the value in the options struct */
    const char *arg;            /* name of the value in --help; the choices of CLI_CHOICE */
    double low, high;           /* range of numbers; equal: any */
    const char *help;
    const char *alias;          /* second long name; Nullable */
    unsigned flags;
} cli_option;

typedef struct {
    const char *name, *summary;
    const char *usage;          /* what follows the name; further lines after '\n' */
    const cli_option *options;
    const char *notes;          /* text after the options; Nullable */
    const cli_option *rest;     /* a CLI_LIST for arguments that are not options; Nullable: refused */
} cli_program;

typedef struct cli {
    const cli_program *program;
    /* common options */
    int threads, progress, precision;
    int64_t seed;
    uint64_t mem_limit;
    bool quiet, verbose, dry_run, force, deterministic;
    const char *log_json, *config;
    int rank;                   /* of several that run together: above 0 only errors are said */
    /* private */
    bool markdown, line_open;   /* line_open: a progress line stands on the terminal */
    int log_fd;
    void **owned;
    int owned_count;
    mcs_pool *pool;
} cli;

/* Fills opts and the common options from --config and argv.  CLI_CONTINUE, or the code to exit
 * with (--help, --version, wrong usage: all said).  Values live until cli_close().  It may be
 * called again with opts reset to other defaults (a preset). */
int cli_parse(cli *t, const cli_program *p, void *opts, int argc, char **argv);
void cli_close(cli *t);

/* The values of all options as a JSON object by flag name, or of those marked CLI_RESULT. */
json_t *cli_settings(const cli_program *p, const void *opts, bool results_only);
/* Item i of "one|two|three" as a new string owned by t. */
const char *cli_choice(cli *t, const char *choices, int i);
/* A copy of a string that lives until cli_close(); NULL: out of memory. */
char *cli_keep(cli *t, const char *text);
/* "folder/name", likewise. */
char *cli_keep_path(cli *t, const char *folder, const char *name);

/* --help; --help-markdown; the head of docs/tools.md (--help-markdown-common). */
void cli_help(const cli_program *p, const void *opts, const cli *t, bool markdown);
void cli_help_common(const cli *t);

/* Parts of the parser (cli_*.c only). */
extern const cli_option cli_common[];
const cli_option *cli_find(const cli_option *table, const char *name, size_t n);
const char *cli_nearest(const cli_program *p, const char *name);
bool cli_set(cli *t, const cli_option *o, void *base, const char *value, const char *where);
bool cli_list_add(cli *t, cli_list *list, const char *value);
bool cli_read_config(cli *t, void *opts, const char *path);
void *cli_own(cli *t, void *p);

/* ---- Messages (standard error, and --log-json) ---- */

/* "tool: error: ..." and returns code, for `return cli_error(t, CLI_IO_ERROR, ...)`.
 * Control characters in what is printed come out as '?'. */
int cli_error(cli *t, int code, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
void cli_warn(cli *t, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void cli_info(cli *t, const char *fmt, ...) __attribute__((format(printf, 2, 3)));  /* not --quiet */
void cli_detail(cli *t, const char *fmt, ...) __attribute__((format(printf, 2, 3))); /* -v */
/* The exit code of a library failure; model: while reading a model file. */
int cli_code(mcs_status s, bool model);
/* cli_error() with the message of e and the code of its status. */
int cli_die(cli *t, const mcs_error *e, bool model);
/* One event for --log-json: takes over `fields`; Nullable: fields. */
void cli_log(cli *t, const char *level, const char *event, json_t *fields);
/* A string for JSON: bytes that are not UTF-8 become "\xNN". */
json_t *cli_json_text(const char *s);
json_t *cli_json_list(const cli_list *l);   /* an array of them */

/* A context as --threads, --seed, --precision and --mem-limit ask for; it shares one pool with
 * others of this cli.  NULL: said on standard error, exit code in *code. */
mcs_ctx *cli_context(cli *t, bool grad, int *code);

/* ---- Progress: one line redrawn on a terminal; elsewhere a line each 30 s or 5 % ---- */

typedef struct {
    cli *t;
    const char *unit;           /* "images" */
    int64_t total, done, skipped, failed;
    double start, shown;        /* seconds; time of the last line */
    int percent_shown;
    bool bar, off;
    char current[512];
} cli_progress;

void cli_progress_begin(cli_progress *p, cli *t, int64_t total, const char *unit);
void cli_progress_now(cli_progress *p, const char *what);   /* what is being worked on */
void cli_progress_draw(cli_progress *p);                    /* after done, skipped, failed changed */
void cli_progress_end(cli_progress *p);                     /* final line, with the rate */
void cli_line_clear(cli *t);                                /* before other text is printed */
double cli_clock(void);                                     /* monotonic seconds */
uint64_t cli_rss(void);                                     /* bytes resident; 0: unknown */

/* ---- Signals: the first SIGINT or SIGTERM asks to finish, the second exits at once ---- */

void cli_signals(void);
int cli_stop(void);             /* the signal that asked to finish, or 0 */
bool cli_checkpoint_asked(void);/* SIGUSR1 came since the last call */
#endif
