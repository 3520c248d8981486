/* cli_message.c - errors, warnings and the event log; the context a tool works in.
 *
 * Names of files are hostile: control characters never reach the terminal. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include "tools/cli.h"
#include "tools/cli_files.h"

static bool colour(void)
{
    const char *no = getenv("NO_COLOR"), *term = getenv("TERM");
    return isatty(2) && !(no && *no) && term && strcmp(term, "dumb") != 0;
}

/* Control characters (C0 and DEL) become '?', newlines blanks. */
static void clean(char *s)
{
    for (; *s; s++)
        if ((unsigned char)*s < 32 || *s == 127)
            *s = *s == '\n' ? ' ' : '?';
}

json_t *cli_json_text(const char *s)
{
    json_t *text = json_string(s);
    if (text)
        return text;
    size_t n = strlen(s);
    char *out = malloc(n * 4 + 1), *o = out;
    if (!out)
        return json_null();
    while (*s) {
        size_t step = 1; /* the longest valid character here, or one escaped byte */
        while (step <= 4 && step <= strlen(s) && !(text = json_stringn(s, step)))
            step++;
        if (text) {
            json_decref(text);
            memcpy(o, s, step);
            o += step;
            s += step;
        } else {
            o += sprintf(o, "\\x%02x", (unsigned char)*s++);
        }
    }
    *o = 0;
    text = json_string(out);
    free(out);
    return text ? text : json_null();
}

json_t *cli_json_list(const cli_list *l)
{
    json_t *all = json_array();
    for (int i = 0; i < l->count; i++)
        json_array_append_new(all, cli_json_text(l->items[i]));
    return all;
}

static void log_line(cli *t, json_t *event)
{
    mcs_error e = { 0 };
    if (t->log_fd < 0)
        t->log_fd = cli_jsonl_open(t->log_json, &e);
    if (t->log_fd < 0 || cli_jsonl_append(t->log_fd, t->log_json, event, &e) != MCS_OK) {
        fprintf(stderr, "%s: warning: --log-json: %s\n", t->program->name, e.message);
        t->log_json = NULL; /* said once */
    }
}

void cli_log(cli *t, const char *level, const char *event, json_t *fields)
{
    if (!t->log_json) {
        json_decref(fields);
        return;
    }
    struct timespec now;
    struct tm utc;
    char stamp[64];
    clock_gettime(CLOCK_REALTIME, &now);
    gmtime_r(&now.tv_sec, &utc);
    size_t n = strftime(stamp, sizeof stamp, "%Y-%m-%dT%H:%M:%S", &utc);
    snprintf(stamp + n, sizeof stamp - n, ".%03ldZ", now.tv_nsec / 1000000);
    json_t *line = json_pack("{s:s, s:s, s:s, s:s}", "time", stamp, "tool", t->program->name,
                             "level", level, "event", event);
    if (line && fields)
        json_object_update(line, fields);
    json_decref(fields);
    if (line)
        log_line(t, line);
    json_decref(line);
}

static void say(cli *t, const char *level, const char *ansi, const char *fmt, va_list ap)
{
    char text[1600];
    vsnprintf(text, sizeof text, fmt, ap);
    clean(text);
    cli_line_clear(t);
    bool paint = ansi && colour();
    fprintf(stderr, "%s: ", t->program->name);
    if (t->rank)
        fprintf(stderr, "rank %d: ", t->rank);
    if (ansi)
        fprintf(stderr, "%s%s:%s ", paint ? ansi : "", level, paint ? "\033[0m" : "");
    fprintf(stderr, "%s\n", text);
    cli_log(t, level, "message", json_pack("{s:o}", "text", cli_json_text(text)));
}

int cli_error(cli *t, int code, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    say(t, "error", "\033[1;31m", fmt, ap);
    va_end(ap);
    return code;
}

void cli_warn(cli *t, const char *fmt, ...)
{
    va_list ap;
    if (t->rank)
        return;
    va_start(ap, fmt);
    say(t, "warning", "\033[1;33m", fmt, ap);
    va_end(ap);
}

void cli_info(cli *t, const char *fmt, ...)
{
    va_list ap;
    if (t->quiet)
        return;
    va_start(ap, fmt);
    say(t, "info", NULL, fmt, ap);
    va_end(ap);
}

void cli_detail(cli *t, const char *fmt, ...)
{
    va_list ap;
    if (t->quiet || !t->verbose)
        return;
    va_start(ap, fmt);
    say(t, "detail", NULL, fmt, ap);
    va_end(ap);
}

int cli_code(mcs_status s, bool model)
{
    switch (s) {
    case MCS_OK:
        return CLI_DONE;
    case MCS_ENOMEM:
        return CLI_NO_MEMORY;
    case MCS_EIO:
        return CLI_IO_ERROR;
    case MCS_ENUMERIC:
        return CLI_NOT_FINITE;
    case MCS_EINVAL:
        return CLI_BAD_USAGE;
    case MCS_ENOTFOUND: /* no such file: nothing was invalid */
        return CLI_NOTHING;
    case MCS_ESHAPE:
    case MCS_EFORMAT:
        break;
    }
    return model ? CLI_BAD_MODEL : CLI_NOTHING;
}

int cli_die(cli *t, const mcs_error *e, bool model)
{
    return cli_error(t, cli_code(e->status, model), "%s", e->message);
}

mcs_ctx *cli_context(cli *t, bool grad, int *code)
{
    if (t->precision != MCS_PREC_F32) {
        *code = cli_error(t, CLI_BAD_USAGE, "--precision: only f32 is available in this build");
        return NULL;
    }
    if (!t->pool)
        t->pool = mcs_pool_new(t->threads);
    mcs_ctx *c = NULL;
    if (t->pool)
        c = mcs_ctx_new(&(mcs_ctx_opts){ .pool = t->pool,
                                         .seed = (uint64_t)t->seed,
                                         .bytes_max = (size_t)t->mem_limit,
                                         .grad = grad });
    if (!c)
        *code = cli_error(t, CLI_NO_MEMORY, "out of memory");
    return c;
}

void cli_close(cli *t)
{
    cli_line_clear(t);
    if (t->log_json && t->log_fd >= 0)
        close(t->log_fd);
    mcs_pool_free(t->pool);
    for (int i = 0; i < t->owned_count; i++)
        free(t->owned[i]);
    free(t->owned);
    *t = (cli){ .log_fd = -1 };
}
