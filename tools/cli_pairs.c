/* cli_pairs.c - the pairs of a table: captions checked, paths resolved, pictures numbered. */
#include "tools/cli_pairs.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { SAY_AT_MOST = 10, KEEP_AT_MOST = 100000, KINDS_MAX = 10000 };

/* ---- Problems ---- */

static void note(cli *t, cli_pairs *p, const char *input, int64_t line, const char *what)
{
    size_t n = json_array_size(p->problems);
    if (n < SAY_AT_MOST)
        cli_warn(t, "%s: line %lld: %s%s%s", p->table.path, (long long)line, input,
                 *input ? ": " : "", what);
    else if (n == SAY_AT_MOST)
        cli_warn(t, "%s: further problems are not printed", p->table.path);
    if (n < KEEP_AT_MOST)
        json_array_append_new(p->problems,
                              json_pack("{s:o, s:I, s:o}", "input", cli_json_text(input), "line",
                                        (json_int_t)line, "error", cli_json_text(what)));
}

void cli_pairs_broken(cli *t, cli_pairs *p, const cli_pair *pair, const char *why, bool *seen)
{
    if (seen[pair->image])
        return;
    seen[pair->image] = true;
    note(t, p, "", pair->line, why); /* the reason names the file */
}

/* ---- Paths ---- */

static bool climbs(const char *path)
{
    for (const char *at = path; at; at = strchr(at, '/')) {
        at += *at == '/';
        if (strncmp(at, "..", 2) == 0 && (!at[2] || at[2] == '/'))
            return true;
    }
    return false;
}

static char *folder_of(const char *path)
{
    const char *slash = strrchr(path, '/');
    if (!slash || strcmp(path, "-") == 0)
        return strdup(".");
    return slash == path ? strdup("/") : strndup(path, (size_t)(slash - path));
}

/* Why the file cannot be used, or NULL. */
static const char *file_problem(const cli_pairs_query *q, const char *cell, const char *path)
{
    struct stat st;
    if (cli_table_empty(cell))
        return "no file name";
    if (q->root && climbs(cell))
        return "the path climbs out of --data-root with '..'";
    if (stat(path, &st) != 0)
        return "no such file";
    return S_ISREG(st.st_mode) ? NULL : "is not a file";
}

/* ---- Rows ---- */

typedef struct {
    int image, caption, group, facts, kind;
} columns;

static mcs_status find_columns(const cli_pairs_query *q, const cli_table *t, columns *c,
                               mcs_error *e)
{
    c->group = cli_table_column(t, q->group_key ? q->group_key : "group");
    c->facts = cli_table_column(t, q->facts_key ? q->facts_key : "facts");
    c->kind = cli_table_column(t, q->kind_key ? q->kind_key : "kind");
    mcs_status s = cli_table_need(t, q->image_key, &c->image, e);
    if (s == MCS_OK)
        s = cli_table_need(t, q->caption_key, &c->caption, e);
    if (s == MCS_OK && q->group_key)
        s = cli_table_need(t, q->group_key, &c->group, e);
    if (s == MCS_OK && q->facts_key)
        s = cli_table_need(t, q->facts_key, &c->facts, e);
    if (s == MCS_OK && q->kind_key)
        s = cli_table_need(t, q->kind_key, &c->kind, e);
    return s;
}

/* Cuts at a character's border. */
static bool shorten(char *caption)
{
    size_t n = strlen(caption), at = CLI_CAPTION_BYTES;
    if (n <= at)
        return false;
    while (at && ((unsigned char)caption[at] & 0xC0) == 0x80)
        at--;
    caption[at] = 0;
    return true;
}

static int32_t kind_of(cli_pairs *p, uint64_t *known, const char *cell)
{
    uint64_t h = cli_hash(cell);
    for (int i = 0; i < p->kinds; i++)
        if (known[i] == h)
            return i;
    if (p->kinds < KINDS_MAX)
        known[p->kinds++] = h;
    return p->kinds - 1;
}

static const char *use_row(cli_pairs *p, const cli_pairs_query *q, const columns *c, int64_t row,
                           const char *root, uint64_t *kinds)
{
    const char *cell = cli_table_cell(&p->table, row, c->image);
    const char *caption = cli_table_cell(&p->table, row, c->caption);
    const char *group = c->group >= 0 ? cli_table_cell(&p->table, row, c->group) : "";
    if (cli_table_empty(caption))
        return "no caption";
    char *path = cell[0] == '/' ? strdup(cell) : cli_join(root, cell, "");
    const char *problem = path ? file_problem(q, cell, path) : "out of memory";
    if (problem) {
        free(path);
        return problem;
    }
    cli_pair *pair = &p->items[p->count++];
    *pair = (cli_pair){
        .path = path, .caption = caption, .group = -1, .line = cli_table_line(&p->table, row)
    };
    const char *facts = c->facts >= 0 ? cli_table_cell(&p->table, row, c->facts) : group;
    pair->claims = group;
    pair->facts = cli_table_empty(facts) ? "" : facts;
    if (!cli_table_empty(group))
        pair->group = (int64_t)(cli_hash(group) >> 1);
    pair->kind = kind_of(p, kinds, c->kind >= 0 ? cli_table_cell(&p->table, row, c->kind) : "");
    return NULL;
}

static int use_rows(cli *t, cli_pairs *p, const cli_pairs_query *q, const columns *c)
{
    int64_t bad = 0, cut = 0;
    char *own = folder_of(p->table.path);
    uint64_t *kinds = malloc(KINDS_MAX * sizeof *kinds);
    p->items = calloc((size_t)p->table.rows + 1, sizeof *p->items);
    p->problems = json_array();
    if (!own || !kinds || !p->items || !p->problems) {
        free(own);
        free(kinds);
        return cli_error(t, CLI_NO_MEMORY, "%s: out of memory", p->table.path);
    }
    p->grouped = c->group >= 0;
    for (int64_t i = 0; i < p->table.rows; i++) {
        const char *why = use_row(p, q, c, i, q->root ? q->root : own, kinds);
        if (!why) { /* the cell lies in the table's own text */
            cut += shorten((char *)(uintptr_t)p->items[p->count - 1].caption);
            continue;
        }
        bad++;
        note(t, p, cli_table_cell(&p->table, i, c->image), cli_table_line(&p->table, i), why);
    }
    free(own);
    free(kinds);
    if (cut)
        cli_warn(t, "%s: %lld captions are longer than %d bytes: their ends are not read",
                 p->table.path, (long long)cut, CLI_CAPTION_BYTES);
    if (bad && !q->skip)
        return cli_error(t, CLI_NOTHING,
                         "%s: %lld of %lld rows cannot be used; mend them, or leave "
                         "them out with --on-error skip",
                         p->table.path, (long long)bad, (long long)p->table.rows);
    if (!p->count)
        return cli_error(t, CLI_NOTHING, "%s: no usable rows", p->table.path);
    return CLI_CONTINUE;
}

/* ---- Pictures by path ---- */

typedef struct {
    const char *path;
    int64_t row;
} path_row;

static int by_path(const void *a, const void *b)
{
    const path_row *x = a, *y = b;
    int c = strcmp(x->path, y->path);
    return c ? c : (x->row > y->row) - (x->row < y->row);
}

/* Pictures are numbered by the row they first occur in. */
static bool number_pictures(cli_pairs *p)
{
    size_t n = (size_t)p->count;
    path_row *sorted = malloc(n * sizeof *sorted);
    int64_t *number = malloc(n * sizeof *number); /* first row of the row's picture */
    p->rows = malloc(n * sizeof *p->rows);
    p->first = calloc(n + 2, sizeof *p->first);
    p->embed_failed = calloc(n, sizeof *p->embed_failed);
    bool ok = sorted && number && p->rows && p->first && p->embed_failed;
    for (int64_t i = 0; ok && i < p->count; i++)
        sorted[i] = (path_row){ p->items[i].path, i };
    if (ok)
        qsort(sorted, n, sizeof *sorted, by_path);
    for (int64_t i = 0; ok && i < p->count; i++) {
        bool same = i && strcmp(sorted[i].path, sorted[i - 1].path) == 0;
        number[sorted[i].row] = same ? number[sorted[i - 1].row] : sorted[i].row;
    }
    for (int64_t i = 0; ok && i < p->count; i++) {
        if (number[i] == i)
            p->items[i].image = (int32_t)p->images++;
        else
            p->items[i].image = p->items[number[i]].image;
        p->first[p->items[i].image + 2]++;
    }
    for (int64_t i = 0; ok && i < p->images; i++)
        p->first[i + 2] += p->first[i + 1];
    for (int64_t i = 0; ok && i < p->count; i++)
        p->rows[p->first[p->items[i].image + 1]++] = i;
    free(sorted);
    free(number);
    return ok;
}

static void take_fingerprint(cli_pairs *p)
{
    cli_sha256 s;
    cli_sha256_begin(&s);
    for (int64_t i = 0; i < p->count; i++) {
        const cli_pair *x = &p->items[i];
        const int64_t numbers[] = { x->group, x->kind, x->image };
        cli_sha256_add(&s, x->path, strlen(x->path) + 1);
        cli_sha256_add(&s, x->caption, strlen(x->caption) + 1);
        cli_sha256_add(&s, x->facts, strlen(x->facts) + 1);
        cli_sha256_add(&s, numbers, sizeof numbers);
    }
    cli_sha256_hex(&s, p->fingerprint);
}

int cli_pairs_read(cli *t, const char *path, const cli_pairs_query *q, cli_pairs *out)
{
    mcs_error e = { 0 };
    columns c;
    int separator = cli_table_separator(q->separator);
    *out = (cli_pairs){ .count = 0 };
    if (separator < 0)
        return cli_error(t, CLI_BAD_USAGE,
                         "--csv-separator: '%s' is not auto, tab, comma, "
                         "semicolon or a character",
                         q->separator);
    mcs_status s = cli_table_read(&out->table, path, (char)separator, &e);
    if (s == MCS_OK)
        s = find_columns(q, &out->table, &c, &e);
    if (s != MCS_OK)
        return cli_error(t, s == MCS_ENOMEM ? CLI_NO_MEMORY : CLI_NOTHING, "%s", e.message);
    int code = use_rows(t, out, q, &c);
    if (code != CLI_CONTINUE)
        return code;
    if (!number_pictures(out))
        return cli_error(t, CLI_NO_MEMORY, "%s: out of memory", path);
    take_fingerprint(out);
    return CLI_CONTINUE;
}

void cli_pairs_free(cli_pairs *p)
{
    for (int64_t i = 0; i < p->count; i++)
        free(p->items[i].path);
    free(p->items);
    free(p->rows);
    free(p->first);
    free(p->embed_failed);
    json_decref(p->problems);
    cli_table_free(&p->table);
    *p = (cli_pairs){ .count = 0 };
}
