/* cli_value.c - the value of one option: from text with range checks, and back to JSON. */
#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "tools/cli.h"

/* Takes ownership of p, freed by cli_close(); NULL stays NULL, and p is freed if there is no
 * memory to remember it. */
void *cli_own(cli *t, void *p)
{
    if (!p)
        return NULL;
    void **owned = realloc(t->owned, ((size_t)t->owned_count + 1) * sizeof *owned);
    if (!owned) {
        free(p);
        return NULL;
    }
    t->owned = owned;
    t->owned[t->owned_count++] = p;
    return p;
}

char *cli_keep(cli *t, const char *text)
{
    return cli_own(t, strdup(text));
}

/* The array of a list is kept at a power of two; older ones stay owned until cli_close(). */
bool cli_list_add(cli *t, cli_list *list, const char *value)
{
    int n = list->count;
    if ((n & (n - 1)) == 0) {
        char **items = cli_own(t, malloc((n ? (size_t)n * 2 : 1) * sizeof *items));
        if (!items)
            return false;
        if (n)
            memcpy(items, list->items, (size_t)n * sizeof *items);
        list->items = items;
    }
    list->items[n] = cli_keep(t, value);
    if (!list->items[n])
        return false;
    list->count++;
    return true;
}

/* ---- Choices ---- */

static int choice_index(const char *choices, const char *value)
{
    size_t n = strlen(value);
    int index = 0;
    for (const char *c = choices;; index++) {
        size_t len = strcspn(c, "|");
        if (len == n) {
            size_t i = 0;
            while (i < n && (value[i] == '_' ? '-' : value[i]) == c[i])
                i++;
            if (i == n)
                return index;
        }
        if (!c[len])
            return -1;
        c += len + 1;
    }
}

static const char *choice_at(const char *choices, int i, int *length)
{
    const char *c = choices;
    for (; i > 0 && strchr(c, '|'); i--)
        c = strchr(c, '|') + 1;
    *length = (int)strcspn(c, "|");
    return c;
}

const char *cli_choice(cli *t, const char *choices, int i)
{
    char name[64];
    int n;
    const char *c = choice_at(choices, i, &n);
    snprintf(name, sizeof name, "%.*s", n, c);
    return cli_keep(t, name);
}

/* ---- Text to value ---- */

static bool refuse(cli *t, const cli_option *o, const char *where, const char *value,
                   const char *what)
{
    char range[100] = "";
    if (o->low < o->high)
        snprintf(range, sizeof range, "; expected %.10g to %.10g", o->low, o->high);
    cli_error(t, CLI_BAD_USAGE, "%s--%s: '%s' %s%s", where, o->name, value, what, range);
    return false;
}

static bool in_range(const cli_option *o, double v)
{
    return o->low >= o->high || (v >= o->low && v <= o->high);
}

static bool set_int(cli *t, const cli_option *o, void *dst, const char *value, const char *where)
{
    char *end;
    errno = 0;
    long long v = strtoll(value, &end, 10);
    if (end == value || *end || isspace((unsigned char)*value))
        return refuse(t, o, where, value, "is not a whole number");
    bool fits = !errno && (o->kind == CLI_INT64 || (v >= INT32_MIN && v <= INT32_MAX));
    if (!fits || !in_range(o, (double)v))
        return refuse(t, o, where, value, "is out of range");
    if (o->kind == CLI_INT)
        *(int *)dst = (int)v;
    else
        *(int64_t *)dst = v;
    return true;
}

static bool set_float(cli *t, const cli_option *o, void *dst, const char *value, const char *where)
{
    char *end;
    double v = strtod(value, &end);
    if (end == value || *end || isspace((unsigned char)*value) || !isfinite(v))
        return refuse(t, o, where, value, "is not a finite number");
    if (!in_range(o, v))
        return refuse(t, o, where, value, "is out of range");
    *(float *)dst = (float)v;
    return true;
}

static bool set_bytes(cli *t, const cli_option *o, void *dst, const char *value, const char *where)
{
    char *end;
    errno = 0;
    unsigned long long v = strtoull(value, &end, 10);
    int shift = 0;
    if (*end && end != value) {
        const char *unit = strchr("KkMmGgTt", *end);
        if (!unit || (end[1] && strcmp(end + 1, "B") != 0 && strcmp(end + 1, "iB") != 0))
            end = (char *)(uintptr_t)value;
        else
            shift = 10 * ((int)(unit - strchr("KkMmGgTt", 'K')) / 2 + 1);
    }
    if (end == value || !isdigit((unsigned char)*value))
        return refuse(t, o, where, value, "is not a number of bytes such as 800M or 4G");
    if (errno || (v << shift) >> shift != v)
        return refuse(t, o, where, value, "is out of range");
    *(uint64_t *)dst = (uint64_t)(v << shift);
    return true;
}

static bool set_flag(cli *t, const cli_option *o, void *dst, const char *value, const char *where)
{
    int i = choice_index("no|yes|false|true|0|1|off|on", value);
    if (i < 0)
        return refuse(t, o, where, value, "is neither yes nor no");
    *(bool *)dst = i & 1;
    return true;
}

static bool set_choice(cli *t, const cli_option *o, void *dst, const char *value, const char *where)
{
    int i = choice_index(o->arg, value);
    if (i < 0) {
        char what[400];
        snprintf(what, sizeof what, "is not one of %s", o->arg);
        return refuse(t, o, where, value, what);
    }
    *(int *)dst = i;
    return true;
}

/* where: "" or "FILE: ", said before the flag's name. */
bool cli_set(cli *t, const cli_option *o, void *base, const char *value, const char *where)
{
    void *dst = (char *)base + o->offset;
    if (o->flags & CLI_AUTO && strcmp(value, "auto") == 0)
        value = "0";
    switch (o->kind) {
    case CLI_FLAG:
        return set_flag(t, o, dst, value, where);
    case CLI_INT:
    case CLI_INT64:
        return set_int(t, o, dst, value, where);
    case CLI_FLOAT:
        return set_float(t, o, dst, value, where);
    case CLI_BYTES:
        return set_bytes(t, o, dst, value, where);
    case CLI_CHOICE:
        return set_choice(t, o, dst, value, where);
    case CLI_TEXT:
        *(const char **)dst = cli_keep(t, value);
        return *(const char **)dst != NULL;
    case CLI_LIST:
        return cli_list_add(t, dst, value);
    case CLI_END:
    case CLI_SECTION:
        break;
    }
    return false;
}

/* ---- Value to JSON ---- */

static json_t *list_json(const cli_list *list)
{
    json_t *a = json_array();
    for (int i = 0; i < list->count; i++)
        json_array_append_new(a, cli_json_text(list->items[i]));
    return a;
}

static json_t *value_json(const cli_option *o, const void *src)
{
    int n;
    const char *c;
    switch (o->kind) {
    case CLI_FLAG:
        return json_boolean(*(const bool *)src);
    case CLI_INT:
        return json_integer(*(const int *)src);
    case CLI_INT64:
        return json_integer(*(const int64_t *)src);
    case CLI_FLOAT: { /* the shortest decimal that is this float: 0.3, not 0.30000001192 */
        char text[40];
        for (int digits = 6; digits < 10; digits++) {
            snprintf(text, sizeof text, "%.*g", digits, (double)*(const float *)src);
            if (strtof(text, NULL) == *(const float *)src)
                break;
        }
        return json_real(strtod(text, NULL));
    }
    case CLI_BYTES:
        return json_integer((json_int_t) * (const uint64_t *)src);
    case CLI_CHOICE:
        c = choice_at(o->arg, *(const int *)src, &n);
        return json_stringn(c, (size_t)n);
    case CLI_TEXT:
        return *(char *const *)src ? cli_json_text(*(char *const *)src) : json_null();
    case CLI_LIST:
        return list_json(src);
    case CLI_END:
    case CLI_SECTION:
        break;
    }
    return json_null();
}

json_t *cli_settings(const cli_program *p, const void *opts, bool results_only)
{
    json_t *all = json_object();
    for (const cli_option *o = p->options; o->kind != CLI_END; o++)
        if (o->name && (!results_only || o->flags & CLI_RESULT))
            json_object_set_new(all, o->name, value_json(o, (const char *)opts + o->offset));
    return all;
}
