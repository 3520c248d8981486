/* cli_table.h - tables as text: CSV (RFC 4180) and TSV, with a header.
 *
 * Fields in double quotes may hold separators, line breaks and doubled quotes; lines end in \n,
 * \r\n or \r; a UTF-8 byte order mark and empty lines are skipped; a record with fewer fields than
 * the header has empty ones at its end. */
#ifndef MCS_CLI_TABLE_H
#define MCS_CLI_TABLE_H
#include "tools/cli_files.h"

#define CLI_TABLE_COLUMNS 4096
#define CLI_TABLE_CELLS (INT64_C(1) << 26)

typedef struct {
    char *path, *text; /* the cells lie in text */
    uint32_t *cells; /* where each begins in text */
    int64_t *
        first; /* of each record, the header being record 0: its first cell; and one past the last */
    int64_t *lines; /* the line each record begins on, from 1 */
    int64_t rows; /* without the header */
    int columns;
    char separator;
} cli_table;

/* separator 0: the one among tab, comma, semicolon and bar that the header has most of.  At most
 * CLI_TEXT_MAX bytes.  MCS_EFORMAT names the line: no header, a quote that is never closed, more
 * fields than the header has, a NUL byte.  cli_table_free() is due in any case. */
mcs_status cli_table_read(cli_table *t, const char *path, char separator,
                          mcs_error *e) MCS_MUST_CHECK;
void cli_table_free(cli_table *t);
/* Number of the column of that name; -1: none. */
int cli_table_column(const cli_table *t, const char *name);
/* The same, which must exist and only once: MCS_ENOTFOUND lists the columns there are. */
mcs_status cli_table_need(const cli_table *t, const char *name, int *column,
                          mcs_error *e) MCS_MUST_CHECK;
const char *cli_table_cell(const cli_table *t, int64_t row, int column); /* row from 0 */
int64_t cli_table_line(const cli_table *t, int64_t row);
/* Nothing in it but blanks, or one of pandas' words for "no value": nan, NaN, NA, N/A, null ... */
bool cli_table_empty(const char *cell);
/* "auto", "tab", "\t", "comma", ... or the character itself: 0 for auto; -1: not understood. */
int cli_table_separator(const char *text);
#endif
