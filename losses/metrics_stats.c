/* metrics_stats.c - mean, standard deviation, bootstrap interval; Wilcoxon's signed-rank test.
 *
 * Bootstrap: Efron 1979, percentile method.  Signed ranks (Wilcoxon 1945): R+ is the sum of the
 * ranks of |d| over d > 0.  Exact: the number of sign patterns with each R+, by adding one rank
 * after the other; ranks are doubled, so that mean ranks of ties are integers too.  Else
 *   z = (R+ - n(n+1)/4) / sqrt((n(n+1)(2n+1) - sum(t^3 - t) / 2) / 24),  t the sizes of ties. */
#include <math.h>
#include <stdlib.h>
#include "losses/metrics_internal.h"

enum { EXACT_MAX = 50, EXACT_TIES_MAX = 13 };

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

void mcs_sort_values(double *v, int64_t n)
{
    qsort(v, (size_t)n, sizeof *v, by_value);
}

double mcs_percentile(const double *v, int64_t n, double percent)
{
    double at = percent / 100 * (double)(n - 1);
    int64_t i = (int64_t)at;
    i = i < 0 ? 0 : i > n - 1 ? n - 1 : i;
    double part = at - (double)i;
    if (part <= 0 || i == n - 1 || v[i] == v[i + 1]) /* equal: infinities too */
        return v[i];
    return v[i] + part * (v[i + 1] - v[i]);
}

static uint64_t draw(uint64_t *state) /* SplitMix64 (Steele et al. 2014) */
{
    uint64_t z = *state += UINT64_C(0x9E3779B97F4A7C15);
    z = (z ^ (z >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94D049BB133111EB);
    return z ^ (z >> 31);
}

static mcs_status interval(const double *v, int64_t n, int draws, uint64_t seed, mcs_summary *out,
                           mcs_error *e)
{
    double *means = malloc((size_t)draws * sizeof *means);
    if (!means)
        return mcs_error_set(e, MCS_ENOMEM, "out of memory for %d draws", draws);
    for (int d = 0; d < draws; d++) {
        double sum = 0;
        for (int64_t i = 0; i < n; i++)
            sum += v[draw(&seed) % (uint64_t)n];
        means[d] = sum / (double)n;
    }
    mcs_sort_values(means, draws);
    out->low = mcs_percentile(means, draws, 2.5);
    out->high = mcs_percentile(means, draws, 97.5);
    free(means);
    return MCS_OK;
}

static void moments(const double *v, int64_t n, mcs_summary *out)
{
    double sum = 0, square = 0;
    for (int64_t i = 0; i < n; i++)
        sum += v[i];
    out->mean = sum / (double)n;
    for (int64_t i = 0; i < n; i++)
        square += (v[i] - out->mean) * (v[i] - out->mean);
    if (n > 1)
        out->std = sqrt(square / (double)(n - 1));
}

mcs_status mcs_summarise(const double *v, int64_t n, int draws, uint64_t seed, mcs_summary *out,
                         mcs_error *e)
{
    const double none = (double)NAN;
    *out = (mcs_summary){ 0, none, none, none, none, none };
    double *there = malloc(((size_t)n + 1) * sizeof *there);
    if (!there)
        return mcs_error_set(e, MCS_ENOMEM, "out of memory for %lld values", (long long)n);
    for (int64_t i = 0; i < n; i++)
        if (!isnan(v[i]))
            there[out->n++] = v[i];
    mcs_status s = MCS_OK;
    if (out->n) {
        moments(there, out->n, out);
        if (draws > 0)
            s = interval(there, out->n, draws, seed, out, e);
        mcs_sort_values(there, out->n);
        out->median = mcs_percentile(there, out->n, 50);
    }
    free(there);
    return s;
}

/* ---- Signed ranks ---- */

typedef struct {
    double size; /* |d| */
    int sign;
    int rank2; /* twice the mean rank */
} difference;

static int by_size(const void *a, const void *b)
{
    const difference *x = a, *y = b;
    return (x->size > y->size) - (x->size < y->size);
}

/* Ranks sorted differences; the sum of t^3 - t. */
static double rank(difference *d, int64_t n)
{
    double ties = 0;
    for (int64_t i = 0, j; i < n; i = j) {
        for (j = i; j < n && d[j].size == d[i].size; j++)
            ;
        for (int64_t k = i; k < j; k++)
            d[k].rank2 = (int)(i + 1 + j);
        double t = (double)(j - i);
        ties += t * t * t - t;
    }
    return ties;
}

/* Two-sided p of the doubled rank sum: twice the smaller tail. */
static double exact_p(const difference *d, int64_t n, int64_t plus2)
{
    double ways[EXACT_MAX * (EXACT_MAX + 1) + 1] = { 1 }, low = 0, high = 0, all = 0;
    int64_t top = 0;
    for (int64_t i = 0; i < n; i++) {
        for (int64_t s = top; s >= 0; s--)
            ways[s + d[i].rank2] += ways[s];
        top += d[i].rank2;
    }
    for (int64_t s = 0; s <= top; s++) {
        all += ways[s];
        low += s <= plus2 ? ways[s] : 0;
        high += s >= plus2 ? ways[s] : 0;
    }
    double p = 2 * (low < high ? low : high) / all;
    return p < 1 ? p : 1;
}

static void test(difference *d, int64_t n, mcs_signed_rank *out)
{
    qsort(d, (size_t)n, sizeof *d, by_size);
    double ties = rank(d, n), m = (double)n, plus = 0;
    for (int64_t i = 0; i < n; i++)
        plus += d[i].sign > 0 ? 0.5 * d[i].rank2 : 0;
    double all = m * (m + 1) / 2;
    out->statistic = plus < all - plus ? plus : all - plus;
    out->exact = out->n <= (ties > 0 || out->zeros ? EXACT_TIES_MAX : EXACT_MAX);
    if (out->exact) {
        out->p = exact_p(d, n, (int64_t)(2 * plus));
        return;
    }
    double sd = sqrt((m * (m + 1) * (2 * m + 1) - ties / 2) / 24);
    out->p = n ? erfc(fabs(plus - all / 2) / sd / sqrt(2.0)) : 1;
}

mcs_status mcs_wilcoxon(const double *a, const double *b, int64_t n, mcs_signed_rank *out,
                        mcs_error *e)
{
    *out = (mcs_signed_rank){ .p = (double)NAN };
    difference *d = malloc(((size_t)n + 1) * sizeof *d);
    if (!d)
        return mcs_error_set(e, MCS_ENOMEM, "out of memory for %lld pairs", (long long)n);
    int64_t k = 0;
    for (int64_t i = 0; i < n; i++) {
        double v = a[i] - b[i];
        if (isnan(v))
            continue;
        out->n++;
        out->zeros += v == 0;
        out->larger += v > 0;
        out->smaller += v < 0;
        if (v != 0)
            d[k++] = (difference){ fabs(v), v > 0 ? 1 : -1, 0 };
    }
    if (out->n)
        test(d, k, out);
    free(d);
    return MCS_OK;
}
