/* cli_progress.c - progress on standard error: on a terminal one line redrawn at most 10 times a
 * second, elsewhere one plain line each 30 s or 5 %. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>
#include "tools/cli.h"

enum { PROGRESS_AUTO, PROGRESS_BAR, PROGRESS_PLAIN, PROGRESS_OFF };

double cli_clock(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

uint64_t cli_rss(void)
{
    unsigned long long pages = 0;
    FILE *f = fopen("/proc/self/statm", "r");
    if (!f)
        return 0;
    if (fscanf(f, "%*u %llu", &pages) != 1)
        pages = 0;
    fclose(f);
    return pages * (uint64_t)sysconf(_SC_PAGESIZE);
}

void cli_line_clear(cli *t)
{
    if (t->line_open)
        fputs("\r\033[K", stderr);
    t->line_open = false;
}

static bool wants_bar(const cli *t)
{
    const char *term = getenv("TERM");
    if (t->progress != PROGRESS_AUTO)
        return t->progress == PROGRESS_BAR;
    return isatty(2) && term && strcmp(term, "dumb") != 0;
}

void cli_progress_begin(cli_progress *p, cli *t, int64_t total, const char *unit)
{
    memset(p, 0, sizeof *p);
    p->t = t;
    p->total = total;
    p->unit = unit;
    p->start = p->shown = cli_clock();
    p->bar = wants_bar(t);
    p->off = t->quiet || t->progress == PROGRESS_OFF;
}

static int terminal_width(void)
{
    const char *columns = getenv("COLUMNS");
    int w = columns ? atoi(columns) : 0;
#ifdef TIOCGWINSZ
    struct winsize size;
    if (w <= 0 && ioctl(2, TIOCGWINSZ, &size) == 0)
        w = size.ws_col;
#endif
    return w > 20 && w < 1000 ? w : 80;
}

static void duration(char *buf, size_t n, double seconds)
{
    long s = seconds < 0 ? 0 : seconds > 359999 ? 359999 : (long)(seconds + 0.5);
    if (s < 3600)
        snprintf(buf, n, "%ld:%02ld", s / 60, s % 60);
    else
        snprintf(buf, n, "%ld:%02ld:%02ld", s / 3600, s / 60 % 60, s % 60);
}

/* "12/40 images 30%  1.2/s  eta 0:23  rss 812 MB  skipped 3  failed 1  a.png" */
static void compose(const cli_progress *p, char *line, size_t size, double now)
{
    char eta[32];
    int64_t past = p->done + p->skipped;
    double took = now - p->start, rate = took > 0 ? (double)p->done / took : 0;
    duration(eta, sizeof eta, rate > 0 ? (double)(p->total - past) / rate : 0);
    int n = snprintf(line, size, "%lld/%lld %s %d%%", (long long)past, (long long)p->total, p->unit,
                     p->total ? (int)(100 * past / p->total) : 100);
    if (rate >= 0.1)
        n += snprintf(line + n, size - (size_t)n, "  %.2f/s", rate);
    else if (rate > 0)
        n += snprintf(line + n, size - (size_t)n, "  %.1f s each", 1 / rate);
    if (rate > 0 && past < p->total)
        n += snprintf(line + n, size - (size_t)n, "  eta %s", eta);
    n += snprintf(line + n, size - (size_t)n, "  rss %.0f MB", (double)cli_rss() / 1e6);
    if (p->skipped)
        n += snprintf(line + n, size - (size_t)n, "  skipped %lld", (long long)p->skipped);
    if (p->failed)
        n += snprintf(line + n, size - (size_t)n, "  failed %lld", (long long)p->failed);
    if (p->current[0])
        snprintf(line + n, size - (size_t)n, "  %s", p->current);
}

/* Cuts to at most `width` bytes without leaving part of a UTF-8 character. */
static void cut(char *line, int width)
{
    size_t n = (size_t)width;
    if (strlen(line) <= n)
        return;
    while (n && ((unsigned char)line[n] & 0xC0) == 0x80)
        n--;
    line[n] = 0;
}

static void show(cli_progress *p, double now)
{
    char line[1024];
    compose(p, line, sizeof line, now);
    if (p->bar) {
        cut(line, terminal_width() - 1);
        fprintf(stderr, "\r%s\033[K", line);
        fflush(stderr);
        p->t->line_open = true;
    } else {
        fprintf(stderr, "%s: %s\n", p->t->program->name, line);
    }
    p->shown = now;
    p->percent_shown = p->total ? (int)(100 * (p->done + p->skipped) / p->total) : 0;
}

void cli_progress_draw(cli_progress *p)
{
    double now = cli_clock();
    int percent = p->total ? (int)(100 * (p->done + p->skipped) / p->total) : 0;
    if (p->off)
        return;
    if (p->bar ? now - p->shown >= 0.1 || !p->t->line_open
               : now - p->shown >= 30 || percent >= p->percent_shown + 5)
        show(p, now);
}

void cli_progress_now(cli_progress *p, const char *what)
{
    snprintf(p->current, sizeof p->current, "%s", what);
    for (char *s = p->current; *s; s++)
        if ((unsigned char)*s < 32 || *s == 127)
            *s = '?';
    if (p->bar)
        cli_progress_draw(p);
}

void cli_progress_end(cli_progress *p)
{
    if (p->off)
        return;
    if (!p->bar && p->percent_shown == 100)
        return; /* said already */
    p->current[0] = 0;
    cli_line_clear(p->t);
    p->bar = false;
    show(p, cli_clock());
}
