/* cli_phantoms_stats.c - what a set of phantoms is like: how often a structure is there, how far it
 * stands out, and how well the best range of grey levels alone would cut it out.
 *
 * Best range: over all 0 <= lo <= hi < 256 the DSC of {lo <= grey <= hi} with the mask, from two
 * histograms; an oracle that no method without the mask can reach. */
#include <stdio.h>
#include <stdlib.h>
#include "tensor/parallel.h"
#include "tools/cli_phantoms.h"

typedef struct {
    float contrast, area, range; /* contrast: absolute; range: best DSC by grey alone */
} sample;

typedef struct {
    const ph_job *j;
    sample *all; /* (count, MCS_PHANTOM_STRUCTURES); area 0: absent */
    float *saturated; /* (count) share of pixels at 255; below 0: failed */
} work;

static float best_range(const int64_t in[256], const int64_t all[256], int64_t total)
{
    double best = 0;
    for (int lo = 0; lo < 256; lo++) {
        int64_t hit = 0, taken = 0;
        for (int hi = lo; hi < 256; hi++) {
            hit += in[hi];
            taken += all[hi];
            double dsc = 2.0 * (double)hit / (double)(taken + total);
            best = dsc > best ? dsc : best;
        }
    }
    return (float)best;
}

static void measure(const mcs_phantom *p, sample *out, float *saturated)
{
    int64_t n = (int64_t)p->size * p->size, all[256] = { 0 };
    for (int64_t i = 0; i < n; i++)
        all[p->grey[i]]++;
    *saturated = (float)all[255] / (float)n;
    for (int s = 0; s < MCS_PHANTOM_STRUCTURES; s++) {
        const mcs_phantom_part *q = &p->facts.part[s];
        int64_t in[256] = { 0 }, total = 0;
        for (int64_t i = 0; i < n; i++)
            if (p->bits[i] >> s & 1) {
                in[p->grey[i]]++;
                total++;
            }
        if (total)
            out[s] = (sample){ q->contrast < 0 ? -q->contrast : q->contrast, q->area,
                               best_range(in, all, total) };
    }
}

static void body(void *arg, int64_t begin, int64_t end)
{
    work *w = arg;
    mcs_phantom p = { 0 };
    for (int64_t i = begin; i < end; i++) {
        w->saturated[i] = -1;
        if (ph_phantom(w->j, i, w->j->o->size, &p, NULL) == MCS_OK)
            measure(&p, w->all + i * MCS_PHANTOM_STRUCTURES, &w->saturated[i]);
    }
    mcs_phantom_free(&p);
}

static int ascending(const void *a, const void *b)
{
    float x = *(const float *)a, y = *(const float *)b;
    return (x > y) - (x < y);
}

/* Least, 1 %, median of a column of samples that are there. */
static int64_t column(const work *w, int s, size_t field, float *v)
{
    int64_t n = 0;
    for (int64_t i = 0; i < w->j->o->count; i++) {
        const sample *q = w->all + i * MCS_PHANTOM_STRUCTURES + s;
        if (q->area > 0)
            v[n++] = *(const float *)(const void *)((const char *)q + field);
    }
    qsort(v, (size_t)n, sizeof *v, ascending);
    return n;
}

/* False: some structure has too little contrast. */
static bool table(const work *w, float *v)
{
    bool good = true;
    int64_t count = w->j->o->count;
    printf("structure    there   contrast min    1%%  median   area 1%%  33%%    67%%    99%%   "
           "best range median\n");
    for (int s = 0; s < MCS_PHANTOM_STRUCTURES; s++) {
        int64_t n = column(w, s, offsetof(sample, contrast), v);
        if (!n)
            continue;
        printf("%-10s %7lld %14.1f %6.1f %7.1f", mcs_phantom_structure_name(s), (long long)n,
               (double)v[0], (double)v[n / 100], (double)v[n / 2]);
        good = good && v[0] >= MCS_PHANTOM_CONTRAST;
        column(w, s, offsetof(sample, area), v);
        printf(" %10.4f %.4f %.4f %.4f", (double)v[n / 100], (double)v[n / 3], (double)v[n * 2 / 3],
               (double)v[n * 99 / 100]);
        column(w, s, offsetof(sample, range), v);
        printf(" %12.2f\n", (double)v[n / 2]);
    }
    int64_t by[8] = { 0 };
    for (int64_t i = 0; i < count; i++) {
        int here = 0;
        for (int s = 0; s < MCS_PHANTOM_STRUCTURES; s++)
            here += w->all[i * MCS_PHANTOM_STRUCTURES + s].area > 0;
        by[here]++;
        v[i] = w->saturated[i];
    }
    qsort(v, (size_t)count, sizeof *v, ascending);
    printf("phantoms with 0, 1, 2, 3 structures: %lld %lld %lld %lld\n", (long long)by[0],
           (long long)by[1], (long long)by[2], (long long)by[3]);
    printf("pixels at 255, median and 99%%: %.3f %.3f\n", (double)v[count / 2],
           (double)v[count * 99 / 100]);
    return good;
}

int ph_stats(ph_job *j)
{
    int64_t count = j->o->count;
    work w = { .j = j };
    w.all = calloc((size_t)count * MCS_PHANTOM_STRUCTURES, sizeof *w.all);
    w.saturated = calloc((size_t)count, sizeof *w.saturated);
    float *v = calloc((size_t)count, sizeof *v);
    int code = CLI_NO_MEMORY;
    if (w.all && w.saturated && v) {
        double start = cli_clock();
        mcs_pool_for(j->pool, count, 16, body, &w);
        double seconds = cli_clock() - start;
        code = table(&w, v) ? CLI_DONE : CLI_MISMATCH;
        cli_info(j->t, "%.2f ms a phantom (with these measurements)",
                 1e3 * seconds / (double)count);
        if (code == CLI_MISMATCH)
            cli_error(j->t, code, "a structure has less contrast than %d grey levels",
                      MCS_PHANTOM_CONTRAST);
    } else {
        cli_error(j->t, code, "out of memory for %lld phantoms", (long long)count);
    }
    free(w.all);
    free(w.saturated);
    free(v);
    return code;
}
