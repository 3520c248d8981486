/* cli_phantomeval_score.c - scores of one prompt, means and their 95 % intervals.
 *
 * DSC = 2|P&G| / (|P| + |G|).  Prompts of one phantom are not independent, so the bootstrap draws
 * phantoms, not prompts: 1000 times as many as there are, with replacement. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "cam/coarse.h"
#include "losses/metrics.h"
#include "tools/cli_phantomeval.h"

const char *const pe_names[PE_METRICS] = {
    "pointing", "pointing_other", "saliency_dsc", "coarse_dsc",
    "mask_dsc", "cross_dsc",      "asked_above",
};

bool pe_add(pe_table *t, const pe_row *row)
{
    if (t->count == t->room) {
        int64_t room = t->room ? 2 * t->room : 256;
        pe_row *rows = realloc(t->rows, (size_t)room * sizeof *rows);
        if (!rows)
            return false;
        t->rows = rows;
        t->room = room;
    }
    t->rows[t->count++] = *row;
    return true;
}

/* ---- One prompt ---- */

static double dsc(const mcs_phantom *p, int structure, const uint8_t *mask)
{
    mcs_overlap o = { .total = (int64_t)p->size * p->size };
    for (int64_t i = 0; i < o.total; i++) {
        int there = p->bits[i] >> structure & 1, found = mask[i] != 0;
        o.both += there & found;
        o.truth += there;
        o.found += found;
    }
    return mcs_metric_or(mcs_dsc(&o), 1);
}

static void score_map(const mcs_phantom *p, int structure, const float *map, uint8_t *otsu,
                      pe_row *row)
{
    int64_t n = (int64_t)p->size * p->size, peak = 0;
    for (int64_t i = 1; i < n; i++)
        peak = map[i] > map[peak] ? i : peak;
    bool in = p->bits[peak] >> structure & 1;
    row->v[PE_POINT] = in;
    row->v[PE_POINT_OTHER] = !in && p->bits[peak] != 0;
    mcs_coarse_threshold(map, n, mcs_coarse_otsu(map, n), otsu);
    row->v[PE_SALIENCY] = dsc(p, structure, otsu);
}

static void score_mask(const mcs_phantom *p, int structure, const uint8_t *mask, pe_row *row)
{
    double asked = dsc(p, structure, mask), sum = 0, best = -1;
    int others = 0;
    row->v[PE_MASK] = asked;
    for (int s = 0; s < MCS_PHANTOM_STRUCTURES; s++) {
        if (s == structure || !mcs_phantom_shows(&p->facts, (mcs_phantom_structure)s))
            continue;
        double d = dsc(p, s, mask);
        sum += d;
        best = d > best ? d : best;
        others++;
    }
    if (others) {
        row->v[PE_CROSS] = sum / others;
        row->v[PE_ABOVE] = asked > best;
    }
}

void pe_score(const mcs_phantom *p, int structure, const mcs_zeroshot_result *r, uint8_t *otsu,
              pe_row *row)
{
    row->structure = structure;
    for (int m = 0; m < PE_METRICS; m++)
        row->v[m] = nan("");
    if (r->saliency)
        score_map(p, structure, r->saliency, otsu, row);
    if (r->coarse)
        row->v[PE_COARSE] = dsc(p, structure, r->coarse);
    if (r->mask)
        score_mask(p, structure, r->mask, row);
}

/* ---- Many ---- */

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median(double *v, int64_t n)
{
    qsort(v, (size_t)n, sizeof *v, by_value);
    return n % 2 ? v[n / 2] : (v[n / 2 - 1] + v[n / 2]) / 2;
}

static uint64_t draw(uint64_t *state) /* SplitMix64 */
{
    uint64_t z = *state += UINT64_C(0x9E3779B97F4A7C15);
    z = (z ^ (z >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94D049BB133111EB);
    return z ^ (z >> 31);
}

typedef struct {
    double sum, n;
} phantom_sum;

/* Of the phantoms that have the metric. */
static void interval(const phantom_sum *sums, int64_t used, double *means, pe_summary *s)
{
    enum { DRAWS = 1000 };
    uint64_t state = 1;
    for (int d = 0; d < DRAWS; d++) {
        double sum = 0, n = 0;
        for (int64_t i = 0; i < used; i++) {
            const phantom_sum *one = &sums[draw(&state) % (uint64_t)used];
            sum += one->sum;
            n += one->n;
        }
        means[d] = sum / n;
    }
    qsort(means, DRAWS, sizeof *means, by_value);
    s->low = means[DRAWS / 40];
    s->high = means[DRAWS - 1 - DRAWS / 40];
}

bool pe_summarise(const pe_table *t, int phantoms, int structure, pe_metric m, pe_summary *s)
{
    double *values = malloc(((size_t)t->count + 1001) * sizeof *values), total = 0;
    phantom_sum *sums = calloc((size_t)phantoms + 1, sizeof *sums);
    int64_t n = 0, used = 0;
    bool ok = values && sums;
    *s = (pe_summary){ 0, nan(""), nan(""), nan(""), nan("") };
    for (int64_t i = 0; ok && i < t->count; i++) {
        const pe_row *row = &t->rows[i];
        if ((structure >= 0 && row->structure != structure) || isnan(row->v[m]))
            continue;
        sums[row->phantom].sum += row->v[m];
        sums[row->phantom].n++;
        total += row->v[m];
        values[n++] = row->v[m];
    }
    for (int i = 0; ok && i < phantoms; i++)
        if (sums[i].n > 0)
            sums[used++] = sums[i];
    if (ok && n) {
        s->n = n;
        s->mean = total / (double)n;
        s->median = median(values, n);
        interval(sums, used, values, s);
    }
    free(values);
    free(sums);
    return ok;
}
