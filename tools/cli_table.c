/* cli_table.c - reading CSV and TSV.
 *
 * The text is parsed where it lies: a field without its quotes is never longer than with them, so
 * it is written over itself and ended by a NUL in place of what separated it. */
#include "tools/cli_table.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct {
    cli_table *t;
    char *at, *end, *out; /* read, write position: out <= at */
    int64_t line;
    int64_t cells_n, cells_room, records_n, records_room;
    mcs_error *e;
} parser;

static mcs_status fail(const parser *p, mcs_status s, int64_t line, const char *what)
{
    return mcs_error_set(p->e, s, "%s: line %lld: %s", p->t->path, (long long)line, what);
}

/* ---- Growing lists ---- */

static bool add_cell(parser *p, const char *begin)
{
    cli_table *t = p->t;
    if (p->cells_n == p->cells_room) {
        int64_t room = p->cells_room ? 2 * p->cells_room : 1024;
        uint32_t *cells = realloc(t->cells, (size_t)room * sizeof *cells);
        if (!cells)
            return false;
        t->cells = cells;
        p->cells_room = room;
    }
    t->cells[p->cells_n++] = (uint32_t)(begin - t->text);
    return true;
}

/* Opens a record; there is always room for one entry more in `first`, which ends the last. */
static bool add_record(parser *p)
{
    cli_table *t = p->t;
    if (p->records_n + 1 >= p->records_room) {
        int64_t room = p->records_room ? 2 * p->records_room : 256;
        int64_t *first = realloc(t->first, (size_t)room * sizeof *first);
        t->first = first ? first : t->first;
        int64_t *lines = first ? realloc(t->lines, (size_t)room * sizeof *lines) : NULL;
        if (!lines)
            return false;
        t->lines = lines;
        p->records_room = room;
    }
    t->first[p->records_n] = p->cells_n;
    t->lines[p->records_n++] = p->line;
    return true;
}

/* ---- Fields ---- */

static bool line_end(char c)
{
    return c == '\n' || c == '\r';
}

/* Past \n, \r\n or \r. */
static void skip_line_end(parser *p)
{
    if (p->at < p->end && *p->at == '\r' && p->at + 1 < p->end && p->at[1] == '\n')
        p->at++;
    p->at++;
    p->line++;
}

/* What stands in quotes, from behind the opening one to behind the closing one. */
static mcs_status quoted(parser *p)
{
    int64_t opened = p->line;
    while (p->at < p->end) {
        char c = *p->at++;
        if (c == '"' && !(p->at < p->end && *p->at == '"'))
            return MCS_OK;
        if (c == '"')
            p->at++;
        if (c == '\n' || (c == '\r' && !(p->at < p->end && *p->at == '\n')))
            p->line++;
        *p->out++ = c;
    }
    return fail(p, MCS_EFORMAT, opened, "a quotation mark opens here and is never closed");
}

/* Leaves p->at on the separator, the line's end or the text's end. */
static mcs_status field(parser *p)
{
    if (p->at < p->end && *p->at == '"') {
        p->at++;
        if (quoted(p) != MCS_OK)
            return MCS_EFORMAT;
    }
    while (p->at < p->end && *p->at != p->t->separator && !line_end(*p->at))
        *p->out++ = *p->at++;
    return MCS_OK;
}

static mcs_status record(parser *p)
{
    int64_t line = p->line, fields = 0;
    int limit = p->records_n ? p->t->columns : CLI_TABLE_COLUMNS;
    if (!add_record(p))
        return fail(p, MCS_ENOMEM, line, "out of memory");
    for (;;) {
        char *begin = p->out = p->at;
        if (field(p) != MCS_OK)
            return MCS_EFORMAT;
        if (++fields > limit)
            return fail(p, MCS_EFORMAT, line,
                        "more fields than the header has; is the separator "
                        "right, are captions with separators quoted?");
        if (p->cells_n == CLI_TABLE_CELLS || !add_cell(p, begin))
            return fail(p, MCS_ENOMEM, line, "the table is too large");
        bool more = p->at < p->end && *p->at == p->t->separator;
        char *stop = p->out;
        if (more)
            p->at++;
        else if (p->at < p->end)
            skip_line_end(p);
        *stop = 0;
        if (!more)
            return MCS_OK;
    }
}

/* ---- Whole tables ---- */

static char guess_separator(const char *s, const char *end)
{
    static const char known[] = "\t,;|";
    int64_t count[4] = { 0 };
    bool in = false;
    int best = 1;
    for (; s < end && (in || !line_end(*s)); s++) {
        const char *k = *s ? strchr(known, *s) : NULL;
        if (*s == '"')
            in = !in;
        else if (k && !in)
            count[k - known]++;
    }
    for (int i = 0; i < 4; i++)
        if (count[i] > count[best])
            best = i;
    return known[best];
}

static mcs_status parse(parser *p, size_t size, char separator)
{
    cli_table *t = p->t;
    if (memchr(t->text, 0, size))
        return mcs_error_set(p->e, MCS_EFORMAT, "%s: contains NUL bytes: not a text table",
                             t->path);
    for (;;) {
        while (p->at < p->end && line_end(*p->at))
            skip_line_end(p);
        if (p->at >= p->end)
            break;
        if (!p->records_n)
            t->separator = separator ? separator : guess_separator(p->at, p->end);
        mcs_status s = record(p);
        if (s != MCS_OK)
            return s;
        if (p->records_n == 1)
            t->columns = (int)p->cells_n;
    }
    if (!p->records_n)
        return mcs_error_set(p->e, MCS_EFORMAT, "%s: empty; a header line is expected", t->path);
    t->first[p->records_n] = p->cells_n;
    t->rows = p->records_n - 1;
    return MCS_OK;
}

mcs_status cli_table_read(cli_table *t, const char *path, char separator, mcs_error *e)
{
    mcs_error local = { 0 };
    size_t size;
    e = e ? e : &local;
    *t = (cli_table){ .path = strdup(path), .text = cli_read_text(path, &size, e) };
    if (!t->text)
        return e->status;
    if (!t->path)
        return mcs_error_set(e, MCS_ENOMEM, "%s: out of memory", path);
    parser p = { .t = t, .at = t->text, .end = t->text + size, .line = 1, .e = e };
    return parse(&p, size, separator);
}

void cli_table_free(cli_table *t)
{
    free(t->path);
    free(t->text);
    free(t->cells);
    free(t->first);
    free(t->lines);
    *t = (cli_table){ .rows = 0 };
}

static const char *cell_of(const cli_table *t, int64_t record_n, int column)
{
    int64_t at = t->first[record_n] + column;
    return at < t->first[record_n + 1] ? t->text + t->cells[at] : "";
}

const char *cli_table_cell(const cli_table *t, int64_t row, int column)
{
    return cell_of(t, row + 1, column);
}

int64_t cli_table_line(const cli_table *t, int64_t row)
{
    return t->lines[row + 1];
}

int cli_table_column(const cli_table *t, const char *name)
{
    for (int i = 0; i < t->columns; i++)
        if (strcmp(cell_of(t, 0, i), name) == 0)
            return i;
    return -1;
}

mcs_status cli_table_need(const cli_table *t, const char *name, int *column, mcs_error *e)
{
    char list[400] = "";
    size_t used = 0;
    int count = 0;
    *column = cli_table_column(t, name);
    for (int i = 0; i < t->columns; i++)
        count += strcmp(cell_of(t, 0, i), name) == 0;
    if (count == 1)
        return MCS_OK;
    for (int i = 0; i < t->columns && used < sizeof list - 1; i++)
        used += (size_t)snprintf(list + used, sizeof list - used, "%s%.60s", i ? ", " : "",
                                 cell_of(t, 0, i));
    return mcs_error_set(e, MCS_ENOTFOUND, "%s: %s column '%.100s'; there are: %s", t->path,
                         count ? "more than one" : "no", name, list);
}

bool cli_table_empty(const char *cell)
{
    static const char *const words[] = { "nan",  "NaN",  "NAN",  "NA",   "N/A",  "n/a", "#N/A",
                                         "null", "NULL", "None", "<NA>", "-nan", "-NaN" };
    size_t skip = strspn(cell, " \t\r\n"), n = strlen(cell + skip);
    while (n && strchr(" \t\r\n", cell[skip + n - 1]))
        n--;
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (strlen(words[i]) == n && memcmp(words[i], cell + skip, n) == 0)
            return true;
    return n == 0;
}

int cli_table_separator(const char *text)
{
    static const struct {
        const char *name;
        char value;
    } names[] = {
        { "auto", 0 }, { "tab", '\t' }, { "\\t", '\t' }, { "comma", ',' }, { "semicolon", ';' }
    };
    if (!text)
        return 0;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strcmp(text, names[i].name) == 0)
            return names[i].value;
    bool usable = text[0] && !text[1] && !strchr("\"\r\n", text[0]);
    return usable ? (unsigned char)text[0] : -1;
}
