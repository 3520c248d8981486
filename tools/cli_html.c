/* cli_html.c - a growing HTML text; whatever comes from names or prompts is escaped. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "tools/cli_files.h"

static void put(cli_html *h, const char *bytes, size_t n)
{
    if (h->failed)
        return;
    if (h->size + n + 1 > h->room) {
        size_t room = h->room ? h->room * 2 : 4096;
        while (room < h->size + n + 1)
            room *= 2;
        char *text = realloc(h->text, room);
        if (!text) {
            h->failed = true;
            return;
        }
        h->text = text;
        h->room = room;
    }
    memcpy(h->text + h->size, bytes, n);
    h->size += n;
    h->text[h->size] = 0;
}

void cli_html_raw(cli_html *h, const char *markup)
{
    put(h, markup, strlen(markup));
}

void cli_html_rawf(cli_html *h, const char *fmt, ...)
{
    char buf[1000];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(buf, sizeof buf, fmt, ap);
    va_end(ap);
    cli_html_raw(h, buf);
}

void cli_html_text(cli_html *h, const char *text)
{
    for (; *text; text++) {
        char one[8];
        unsigned char c = (unsigned char)*text;
        if (c == '&' || c == '<' || c == '>' || c == '"' || c == '\'')
            snprintf(one, sizeof one, "&#%d;", c);
        else if (c < 32 || c == 127)
            snprintf(one, sizeof one, "\xEF\xBF\xBD"); /* the replacement character */
        else
            snprintf(one, sizeof one, "%c", c);
        cli_html_raw(h, one);
    }
}

void cli_html_url(cli_html *h, const char *path)
{
    static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                "0123456789-._~/";
    for (; *path; path++) {
        if (strchr(plain, *path))
            put(h, path, 1);
        else
            cli_html_rawf(h, "%%%02X", (unsigned char)*path);
    }
}

void cli_csv_field(cli_html *h, const char *text)
{
    if (!text[strcspn(text, "\",\r\n")]) {
        cli_html_raw(h, text);
        return;
    }
    cli_html_raw(h, "\"");
    for (; *text; text++)
        cli_html_rawf(h, *text == '"' ? "\"\"" : "%c", *text);
    cli_html_raw(h, "\"");
}

mcs_status cli_html_save(cli_html *h, const char *folder, const char *name, mcs_error *e)
{
    char *path = h->failed ? NULL : cli_join(folder, name, "");
    if (!path)
        mcs_error_set(e, MCS_ENOMEM, "%s: out of memory", name);
    mcs_status s = e->status;
    if (s == MCS_OK)
        s = cli_write(path, h->text ? h->text : "", h->size, e);
    free(path);
    free(h->text);
    *h = (cli_html){ 0 };
    return s;
}
