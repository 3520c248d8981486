/* parity.h - what the programs of this folder share: an end with a message, clocks and memory,
 * tensors read from and kept for a file.  Define PROGRAM, the name in messages, before. */
#ifndef MCS_PARITY_H
#define MCS_PARITY_H
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include "weights/weights.h"

static inline void die(const char *what)
{
    fprintf(stderr, PROGRAM ": %s\n", what);
    exit(1);
}

/* CLOCK_MONOTONIC, or CLOCK_PROCESS_CPUTIME_ID: the time of all threads, which unlike the clock on
 * the wall does not count other work beside it. */
static inline double seconds(clockid_t clock)
{
    struct timespec t;
    clock_gettime(clock, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* getrusage() would count the process that started this one. */
static inline double peak_rss_mb(void)
{
    char line[256];
    double kb = 0;
    FILE *f = fopen("/proc/self/status", "r");
    while (f && fgets(line, sizeof line, f))
        if (!strncmp(line, "VmHWM:", 6))
            kb = atof(line + 6);
    if (f)
        fclose(f);
    return kb * 1.024e-3;
}

static inline mcs_tensor *input(mcs_ctx *c, mcs_checkpoint *k, const char *name)
{
    mcs_tensor *x = mcs_checkpoint_tensor(c, k, name);
    if (!x)
        die(mcs_ctx_message(c));
    return x;
}

/* ---- Tensors for a file ---- */

enum { ENTRIES_MAX = 4096 };

typedef struct {
    mcs_save_entry entry[ENTRIES_MAX];
    int count;
} dump;

/* x, of F32 or I64, under that name; neither is copied. */
static inline void enter(dump *d, const char *name, const mcs_tensor *x)
{
    if (d->count == ENTRIES_MAX)
        die("too much to keep");
    mcs_save_entry *e = &d->entry[d->count++];
    *e = (mcs_save_entry){ .name = name, .ndim = x->ndim, .data = x->data, .source = x->dtype };
    e->dtype = x->dtype == MCS_I64 ? MCS_ST_I64 : MCS_ST_F32;
    memcpy(e->shape, x->shape, sizeof x->shape);
}

/* A copy of x; a name met again (one decode per prompt) gets a number. */
static inline void keep(dump *d, const char *prefix, const char *name, const mcs_tensor *x)
{
    if (!x)
        die("nothing to keep");
    size_t bytes = (size_t)mcs_numel(x) * (x->dtype == MCS_I64 ? sizeof(int64_t) : sizeof(float));
    char *full = malloc(strlen(prefix) + strlen(name) + 16);
    void *data = malloc(bytes ? bytes : 1);
    if (!full || !data)
        die("out of memory");
    for (int n = 0, used = 1; used; n++) {
        sprintf(full, n ? "%s%s#%d" : "%s%s", prefix, name, n);
        used = 0;
        for (int i = 0; i < d->count; i++)
            used |= !strcmp(d->entry[i].name, full);
    }
    enter(d, full, x);
    d->entry[d->count - 1].data = memcpy(data, x->data, bytes);
}

/* For mcs_trace(): keeps the floats that are tapped. */
static inline void keep_tap(const char *name, const mcs_tensor *x, void *d)
{
    if (x && x->dtype == MCS_F32)
        keep(d, "tap/", name, x);
}

static inline void write_dump(const char *path, const dump *d)
{
    mcs_error e = { MCS_OK, "" };
    if (mcs_safetensors_write(path, d->count, d->entry, NULL, &e))
        die(e.message);
}
#endif
