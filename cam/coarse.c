/* coarse.c - thresholds.
 *
 * Otsu: of all levels t, the one that maximises the variance between the classes,
 *     sigma^2(t) = q0 q1 (mu0 - mu1)^2,    q0 = P(level <= t),
 * the first one on a tie.  Two-means in one dimension is a threshold at the midpoint of the means,
 * so Lloyd's iteration needs no assignments: sums above and below the midpoint suffice.  In one
 * dimension it has many fixed points, some visibly off; it starts at the best boundary of a fine
 * histogram, so that it ends at, or within a level of, the global optimum. */
#include <math.h>
#include "cam/coarse.h"

void mcs_coarse_threshold(const float *map, int64_t n, float threshold, uint8_t *mask)
{
    for (int64_t i = 0; i < n; i++)
        mask[i] = map[i] > threshold;
}

static int level_of(float v)
{
    return v >= 1 ? 255 : v > 0 ? (int)rintf(255 * v) : 0;
}

float mcs_coarse_otsu(const float *map, int64_t n)
{
    int64_t count[256] = { 0 };
    double mean = 0, below = 0, below_sum = 0, best = 0;
    int level = 0;
    for (int64_t i = 0; i < n; i++)
        count[level_of(map[i])]++;
    for (int i = 0; i < 256; i++)
        mean += (double)i * (double)count[i] / (double)n;
    for (int i = 0; i < 256; i++) {
        double p = (double)count[i] / (double)n, above;
        below += p;
        below_sum += i * p;
        above = 1 - below;
        if ((below < above ? below : above) < 1e-9)
            continue;
        double gap = below_sum / below - (mean - below_sum) / above;
        double between = below * above * gap * gap;
        if (between > best) {
            best = between;
            level = i;
        }
    }
    return ((float)level + 0.5f) / 255;
}

enum { BINS = 2048 };

/* The bin boundary between lo and hi that leaves the least variance within the two sides. */
static double best_boundary(const float *map, int64_t n, float lo, float hi)
{
    double count[BINS] = { 0 }, sum[BINS] = { 0 }, all = 0, total = 0;
    double step = ((double)hi - (double)lo) / BINS, below = 0, below_sum = 0, best = -1;
    int at = BINS / 2;
    for (int64_t i = 0; i < n; i++) {
        if (isnan(map[i]))
            continue;
        int bin = (int)(((double)map[i] - (double)lo) / step);
        bin = bin < BINS ? bin : BINS - 1;
        count[bin]++;
        sum[bin] += (double)map[i];
        all++;
        total += (double)map[i];
    }
    for (int bin = 0; bin + 1 < BINS; bin++) {
        below += count[bin];
        below_sum += sum[bin];
        double gap = below_sum / below - (total - below_sum) / (all - below);
        double between = below * (all - below) * gap * gap;
        if (between > best) {
            best = between;
            at = bin + 1;
        }
    }
    return (double)lo + at * step;
}

float mcs_coarse_two_means(const float *map, int64_t n)
{
    float lo = INFINITY, hi = -INFINITY;
    for (int64_t i = 0; i < n; i++) {
        lo = map[i] < lo ? map[i] : lo;
        hi = map[i] > hi ? map[i] : hi;
    }
    if (!(lo < hi) || !isfinite(hi - lo))
        return lo == hi ? lo : 0;
    double middle = best_boundary(map, n, lo, hi);
    for (int pass = 0; pass < 300; pass++) { /* ends after a few: the cost falls every time */
        double sum[2] = { 0 };
        int64_t count[2] = { 0 };
        for (int64_t i = 0; i < n; i++) {
            if (isnan(map[i]))
                continue;
            int side = (double)map[i] > middle;
            sum[side] += (double)map[i];
            count[side]++;
        }
        if (count[0] == 0 || count[1] == 0)
            break;
        double next = (sum[0] / (double)count[0] + sum[1] / (double)count[1]) / 2;
        if (next == middle)
            break;
        middle = next;
    }
    return (float)middle;
}
