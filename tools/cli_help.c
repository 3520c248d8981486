/* cli_help.c - --help for people and --help-markdown for docs/tools.md, from the same table. */
#include <stdio.h>
#include <string.h>
#include "tools/cli.h"

enum { COLUMN = 28, WIDTH = 96 };

/* Prints text after `used` columns, wrapped between `indent` and WIDTH. */
static void wrap(const char *text, int used, int indent)
{
    while (*text) {
        size_t n = strcspn(text, " ");
        if (used + (int)n > WIDTH && used > indent)
            used = printf("\n%*s", indent, "") - 1;
        printf("%.*s", (int)n, text);
        used += (int)n;
        text += n;
        if (*text == ' ') {
            putchar(' ');
            used++;
            text++;
        }
    }
    putchar('\n');
}

static bool is_on(const cli_option *o, const void *base)
{
    return o->kind == CLI_FLAG && *(const bool *)((const char *)base + o->offset);
}

/* "-i, --input PATH"; a flag that is on by default is shown as --no-flag. */
static void signature(char *buf, size_t n, const cli_option *o, const void *base)
{
    char letter[8] = "";
    if (o->letter)
        snprintf(letter, sizeof letter, "-%c, ", o->letter);
    bool value = o->kind != CLI_FLAG;
    snprintf(buf, n, "%s--%s%s%s%s", letter, is_on(o, base) ? "no-" : "", o->name, value ? " " : "",
             value ? o->arg : "");
}

/* " (default 300)", "" where there is nothing to say. */
static void default_text(char *buf, size_t n, const cli_option *o, const void *base)
{
    const cli_option one[2] = { *o, { .kind = CLI_END } };
    const cli_program only = { .options = one };
    buf[0] = 0;
    if (o->kind == CLI_FLAG || o->kind == CLI_LIST)
        return;
    json_t *settings = cli_settings(&only, base, false);
    const json_t *v = json_object_get(settings, o->name);
    if (json_is_string(v))
        snprintf(buf, n, " (default %s)", json_string_value(v));
    else if (json_is_integer(v) && o->flags & CLI_AUTO && json_integer_value(v) == 0)
        snprintf(buf, n, " (default auto)");
    else if (json_is_integer(v))
        snprintf(buf, n, " (default %lld)", (long long)json_integer_value(v));
    else if (json_is_real(v))
        snprintf(buf, n, " (default %g)", json_real_value(v));
    json_decref(settings);
}

static void describe(char *buf, size_t n, const cli_option *o, const void *base)
{
    char standard[200], alias[80] = "";
    default_text(standard, sizeof standard, o, base);
    if (o->alias)
        snprintf(alias, sizeof alias, " (also --%s)", o->alias);
    snprintf(buf, n, "%s%s%s%s", o->help, o->kind == CLI_LIST ? " (repeatable)" : "", standard,
             alias);
}

static void print_option(const cli_option *o, const void *base)
{
    char left[300], right[1200];
    signature(left, sizeof left, o, base);
    describe(right, sizeof right, o, base);
    int used = printf("  %s", left);
    if (used + 2 > COLUMN) {
        putchar('\n');
        used = 0;
    }
    printf("%*s", COLUMN - used, "");
    wrap(right, COLUMN, COLUMN);
}

static void print_table(const cli_option *table, const void *base)
{
    for (const cli_option *o = table; o->kind != CLI_END; o++) {
        if (o->flags & CLI_HIDDEN)
            continue;
        if (o->kind == CLI_SECTION)
            printf("\n%s\n", o->help);
        else
            print_option(o, base);
    }
}

static void print_usage(const cli_program *p)
{
    const char *line = p->usage;
    for (int first = 1; line; first = 0) {
        size_t n = strcspn(line, "\n");
        printf("%s %s %.*s\n", first ? "usage:" : "      ", p->name, (int)n, line);
        line = line[n] ? line + n + 1 : NULL;
    }
}

static const char exit_codes[] =
    "Exit codes: 0 all done; 1 nothing could be done; 2 wrong usage; 3 done, some inputs failed; "
    "4 model file invalid or unsafe; 5 out of memory or over the limit; 6 input or output failed; "
    "7 NaN or infinity; 8 verification failed; 128+n stopped by signal n after saving.";

static void print_plain(const cli_program *p, const void *opts, const cli *t)
{
    printf("%s - %s\n\n", p->name, p->summary);
    print_usage(p);
    print_table(p->options, opts);
    print_table(cli_common, t);
    print_option(
        &(cli_option){
            .kind = CLI_FLAG, .name = "help", .letter = 'h', .offset = 0, .help = "this text" },
        &(bool){ false });
    print_option(&(cli_option){ .kind = CLI_FLAG, .name = "version", .help = "the version" },
                 &(bool){ false });
    if (p->notes)
        printf("\n%s", p->notes);
    putchar('\n');
    wrap(exit_codes, 0, 0);
}

/* ---- Markdown ---- */

static void markdown_text(const char *s)
{
    for (; *s; s++) {
        if (strchr("|<>*_[]\\", *s))
            putchar('\\');
        putchar(*s);
    }
}

static void markdown_table(const cli_option *table, const void *base)
{
    char left[300], right[1200];
    for (const cli_option *o = table; o->kind != CLI_END; o++) {
        if (o->flags & CLI_HIDDEN)
            continue;
        if (o->kind == CLI_SECTION) {
            printf("\n| %s | |\n|---|---|\n", o->help);
            continue;
        }
        signature(left, sizeof left, o, base);
        describe(right, sizeof right, o, base);
        printf("| `");
        for (const char *s = left; *s; s++)
            printf(*s == '|' ? "\\|" : "%c", *s);
        printf("` | ");
        markdown_text(right);
        printf(" |\n");
    }
}

static void print_markdown(const cli_program *p, const void *opts)
{
    printf("## %s\n\n%s\n\n```\n", p->name, p->summary);
    print_usage(p);
    printf("```\n");
    markdown_table(p->options, opts);
    if (p->notes)
        printf("\n```\n%s```\n", p->notes);
    printf("\n");
}

void cli_help_common(const cli *t)
{
    printf("# The tools\n\nWritten by `make docs` from the option tables; do not edit.\n\n");
    printf("Long flags accept `_` for `-`, and `--flag=value` as well as `--flag value`. Standard "
           "output carries the answer, standard error messages and progress.\n");
    markdown_table(cli_common, t);
    printf("\n%s\n\n", exit_codes);
}

void cli_help(const cli_program *p, const void *opts, const cli *t, bool markdown)
{
    if (markdown)
        print_markdown(p, opts);
    else
        print_plain(p, opts, t);
}
