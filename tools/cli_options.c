/* cli_options.c - the command line: finds options in the tool's table and the common one.
 *
 * --name value, --name=value, -n value, -nvalue, -- ; '_' equals '-' in long names.  A value may
 * begin with '-', unless it is itself an option of the tool (then a value was forgotten).
 * --config is read first and the command line written over it. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "tools/cli.h"

#define AT(field) offsetof(cli, field)
const cli_option cli_common[] = {
    { .kind = CLI_SECTION, .help = "Common to all tools" },
    { CLI_INT, "threads", 0, AT(threads), "N", 0, 4096, "worker threads; 0: one per core", NULL,
      0 },
    { CLI_INT64, "seed", 0, AT(seed), "N", 0, 9e15, "seed of everything random", NULL, 0 },
    { CLI_FLAG, "quiet", 'q', AT(quiet), NULL, 0, 0, "errors only", NULL, 0 },
    { CLI_FLAG, "verbose", 'v', AT(verbose), NULL, 0, 0, "say more", NULL, 0 },
    { CLI_CHOICE, "progress", 0, AT(progress), "auto|bar|plain|off", 0, 0,
      "progress on standard error: a line redrawn on a terminal, else a plain line each 30 s or 5 "
      "%",
      NULL, 0 },
    { CLI_TEXT, "log-json", 0, AT(log_json), "FILE", 0, 0, "append events, one JSON object a line",
      NULL, 0 },
    { CLI_TEXT, "config", 0, AT(config), "FILE.json", 0, 0,
      "options as a JSON object by flag name; flags on the command line win", NULL, 0 },
    { CLI_FLAG, "dry-run", 0, AT(dry_run), NULL, 0, 0,
      "check options and inputs, say what would be done, write nothing", NULL, 0 },
    { CLI_FLAG, "force", 0, AT(force), NULL, 0, 0,
      "replace earlier results made with other settings", NULL, 0 },
    { CLI_CHOICE, "precision", 0, AT(precision), "f32|bf16x6|bf16x3|bf16", 0, 0,
      "how matrix products are computed", NULL, 0 },
    { CLI_BYTES, "mem-limit", 0, AT(mem_limit), "BYTES", 0, 0,
      "limit of working memory, e.g. 4G; 0: none", NULL, 0 },
    { CLI_FLAG, "deterministic", 0, AT(deterministic), NULL, 0, 0,
      "same bytes for any number of threads; always so", NULL, 0 },
    { .kind = CLI_END },
};
#undef AT

static char fold(char c)
{
    return c == '_' ? '-' : c;
}

static bool same_name(const char *option, const char *given, size_t n)
{
    if (!option || strlen(option) != n)
        return false;
    for (size_t i = 0; i < n; i++)
        if (option[i] != fold(given[i]))
            return false;
    return true;
}

const cli_option *cli_find(const cli_option *table, const char *name, size_t n)
{
    for (const cli_option *o = table; o->kind != CLI_END; o++)
        if (same_name(o->name, name, n) || same_name(o->alias, name, n))
            return o;
    return NULL;
}

static const cli_option *find_letter(const cli_option *table, char letter)
{
    for (const cli_option *o = table; o->kind != CLI_END; o++)
        if (o->letter && o->letter == letter)
            return o;
    return NULL;
}

/* ---- The nearest name, for wrong ones ---- */

/* Edit distance with insertion, deletion, substitution and swap of neighbours, capped. */
static int distance(const char *a, const char *b)
{
    enum { MAX = 48 };
    int d[3][MAX + 1];
    size_t n = strlen(a), m = strlen(b);
    if (n > MAX || m > MAX)
        return MAX;
    for (size_t j = 0; j <= m; j++)
        d[0][j] = (int)j;
    for (size_t i = 1; i <= n; i++) {
        int *now = d[i % 3], *before = d[(i + 2) % 3], *two = d[(i + 1) % 3];
        now[0] = (int)i;
        for (size_t j = 1; j <= m; j++) {
            int cost = fold(a[i - 1]) != b[j - 1], best = before[j - 1] + cost;
            best = before[j] + 1 < best ? before[j] + 1 : best;
            best = now[j - 1] + 1 < best ? now[j - 1] + 1 : best;
            if (i > 1 && j > 1 && fold(a[i - 1]) == b[j - 2] && fold(a[i - 2]) == b[j - 1] &&
                two[j - 2] + 1 < best)
                best = two[j - 2] + 1;
            now[j] = best;
        }
    }
    return d[n % 3][m];
}

static void nearest_in(const cli_option *table, const char *name, const char **best, int *least)
{
    for (const cli_option *o = table; o->kind != CLI_END; o++) {
        if (!o->name || o->flags & CLI_HIDDEN)
            continue;
        int d = distance(name, o->name);
        if (strlen(name) > 2 && strncmp(o->name, name, strlen(name)) == 0)
            d = 1; /* the beginning of a name */
        if (d < *least)
            *least = d, *best = o->name;
    }
}

const char *cli_nearest(const cli_program *p, const char *name)
{
    const char *best = NULL;
    int least = (int)strlen(name) / 2 + 1;
    if (least > 5)
        least = 5;
    nearest_in(p->options, name, &best, &least);
    nearest_in(cli_common, name, &best, &least);
    return best;
}

/* ---- Parsing ---- */

typedef struct {
    cli *t;
    const cli_program *p;
    void *opts;
    int argc, at;
    char **argv;
    bool *seen_own, *seen_common; /* by index in the tables: the command line gave it */
} parser;

static int unknown(parser *s, const char *name, bool is_long)
{
    const char *near = is_long ? cli_nearest(s->p, name) : NULL;
    if (near)
        return cli_error(s->t, CLI_BAD_USAGE, "unknown option --%s; did you mean --%s?", name,
                         near);
    return cli_error(s->t, CLI_BAD_USAGE, "unknown option %s%s; %s --help lists them",
                     is_long ? "--" : "-", name, s->p->name);
}

/* The value after an option, or NULL after saying that it is missing. */
static const char *next_value(parser *s, const cli_option *o)
{
    if (s->at + 1 >= s->argc) {
        cli_error(s->t, CLI_BAD_USAGE, "--%s needs a value (%s)", o->name,
                  o->arg ? o->arg : "text");
        return NULL;
    }
    const char *value = s->argv[s->at + 1];
    if (strncmp(value, "--", 2) == 0) {
        size_t n = strcspn(value + 2, "=");
        if (cli_find(s->p->options, value + 2, n) || cli_find(cli_common, value + 2, n)) {
            cli_error(s->t, CLI_BAD_USAGE,
                      "--%s needs a value before %s (write --%s=%s if that is the value)", o->name,
                      value, o->name, value);
            return NULL;
        }
    }
    s->at++;
    return value;
}

static int apply(parser *s, const cli_option *o, bool common, const char *value)
{
    void *base = common ? (void *)s->t : s->opts;
    bool *seen = common ? &s->seen_common[o - cli_common] : &s->seen_own[o - s->p->options];
    if (!value && o->kind == CLI_FLAG)
        value = "yes";
    if (!value)
        value = next_value(s, o);
    if (!value)
        return CLI_BAD_USAGE;
    if (o->kind == CLI_LIST && !*seen) /* what --config gave is replaced */
        ((cli_list *)(void *)((char *)base + o->offset))->count = 0;
    *seen = true;
    return cli_set(s->t, o, base, value, "") ? CLI_CONTINUE : CLI_BAD_USAGE;
}

static int parse_long(parser *s, const char *arg)
{
    size_t n = strcspn(arg, "=");
    const char *value = arg[n] ? arg + n + 1 : NULL;
    for (int common = 0; common < 2; common++) {
        const cli_option *table = common ? cli_common : s->p->options;
        const cli_option *o = cli_find(table, arg, n);
        if (o)
            return apply(s, o, common, value);
        if (n > 3 && !value && arg[0] == 'n' && arg[1] == 'o' && fold(arg[2]) == '-') {
            o = cli_find(table, arg + 3, n - 3);
            if (o && o->kind == CLI_FLAG)
                return apply(s, o, common, "no");
        }
    }
    char name[80];
    snprintf(name, sizeof name, "%.*s", (int)(n < 79 ? n : 79), arg);
    return unknown(s, name, true);
}

static int parse_short(parser *s, const char *arg)
{
    for (; *arg; arg++) {
        const cli_option *o = find_letter(s->p->options, *arg);
        bool common = !o;
        if (!o)
            o = find_letter(cli_common, *arg);
        if (!o)
            return unknown(s, (const char[]){ *arg, 0 }, false);
        bool takes = o->kind != CLI_FLAG;
        int code = apply(s, o, common, takes && arg[1] ? arg + 1 : NULL);
        if (code != CLI_CONTINUE || takes)
            return code;
    }
    return CLI_CONTINUE;
}

static int parse_rest(parser *s, const char *arg)
{
    if (!s->p->rest)
        return cli_error(s->t, CLI_BAD_USAGE, "unexpected argument '%s'; %s --help shows the usage",
                         arg, s->p->name);
    return cli_set(s->t, s->p->rest, s->opts, arg, "") ? CLI_CONTINUE : CLI_BAD_USAGE;
}

static int parse_all(parser *s)
{
    bool options = true;
    for (s->at = 1; s->at < s->argc; s->at++) {
        const char *arg = s->argv[s->at];
        int code;
        if (options && strcmp(arg, "--") == 0) {
            options = false;
            continue;
        }
        if (options && strncmp(arg, "--", 2) == 0)
            code = parse_long(s, arg + 2);
        else if (options && arg[0] == '-' && arg[1])
            code = parse_short(s, arg + 1);
        else
            code = parse_rest(s, arg);
        if (code != CLI_CONTINUE)
            return code;
    }
    return CLI_CONTINUE;
}

/* --help, --version and --help-markdown work whatever else is wrong. */
static bool asked(int argc, char **argv, const char *name, const char *letter)
{
    for (int i = 1; i < argc && strcmp(argv[i], "--") != 0; i++)
        if (strcmp(argv[i], name) == 0 || (letter && strcmp(argv[i], letter) == 0))
            return true;
    return false;
}

static const char *config_path(int argc, char **argv)
{
    const char *path = NULL;
    for (int i = 1; i < argc && strcmp(argv[i], "--") != 0; i++) {
        if (strcmp(argv[i], "--config") == 0 && i + 1 < argc)
            path = argv[i + 1];
        else if (strncmp(argv[i], "--config=", 9) == 0)
            path = argv[i] + 9;
    }
    return path;
}

static size_t table_size(const cli_option *table)
{
    size_t n = 1;
    while (table[n - 1].kind != CLI_END)
        n++;
    return n;
}

int cli_parse(cli *t, const cli_program *p, void *opts, int argc, char **argv)
{
    t->program = p;
    t->log_fd = -1;
    if (asked(argc, argv, "--version", NULL)) {
        printf("%s (mcs) %s\n", p->name, MCS_VERSION);
        return CLI_DONE;
    }
    bool markdown = asked(argc, argv, "--help-markdown", NULL);
    if (markdown || asked(argc, argv, "--help", "-h")) {
        cli_help(p, opts, t, markdown);
        return CLI_DONE;
    }
    if (asked(argc, argv, "--help-markdown-common", NULL)) {
        cli_help_common(t);
        return CLI_DONE;
    }
    parser s = { .t = t, .p = p, .opts = opts, .argc = argc, .argv = argv };
    const char *config = config_path(argc, argv);
    if (config && !cli_read_config(t, opts, config))
        return CLI_BAD_USAGE;
    s.seen_own = calloc(table_size(p->options), sizeof(bool));
    s.seen_common = calloc(table_size(cli_common), sizeof(bool));
    int code = CLI_NO_MEMORY;
    if (s.seen_own && s.seen_common)
        code = parse_all(&s);
    free(s.seen_own);
    free(s.seen_common);
    return code;
}
