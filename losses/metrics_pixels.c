/* metrics_pixels.c - the Hausdorff distance between centres of border pixels.
 *
 * MONAI's definition, and that of most scripts: the border of a mask is the mask without its
 * erosion by the 4- (6-) neighbourhood, the outside of the picture being background; each of its
 * pixels counts once, wherever it lies; the percentile interpolates between neighbours. */
#include <math.h>
#include <stdlib.h>
#include "losses/metrics_internal.h"

/* Part of the mask with a neighbour (or the outside) that is not: 0 at these, INFINITY elsewhere. */
static void border(const mcs_axes *a, int dims, const uint8_t *mask, double *d)
{
    const int64_t stride[3] = { a->n[1] * a->n[2], a->n[2], 1 };
    for (int64_t i = 0; i < a->count; i++) {
        d[i] = (double)INFINITY;
        if (!mask[i])
            continue;
        const int64_t at[3] = { i / stride[0], i / stride[1] % a->n[1], i % a->n[2] };
        for (int k = 3 - dims; k < 3; k++) {
            if (at[k] == 0 || at[k] == a->n[k] - 1 || !mask[i - stride[k]] || !mask[i + stride[k]])
                d[i] = 0;
        }
    }
}

/* Percentile of the distances from `from` (0 at border pixels) to the nearest of `to`. */
static mcs_status directed(const mcs_axes *a, const double *from, double *to, double percent,
                           double *value, mcs_error *e)
{
    mcs_status s = mcs_distance_squares(a, to, e);
    int64_t n = 0;
    for (int64_t i = 0; s == MCS_OK && i < a->count; i++)
        if (from[i] == 0)
            to[n++] = sqrt(to[i]);
    mcs_sort_values(to, n);
    *value = n ? mcs_percentile(to, n, percent) : (double)NAN;
    return s;
}

static mcs_status both_ways(const mcs_axes *a, int dims, const uint8_t *truth, const uint8_t *found,
                            double percent, double *value, mcs_error *e)
{
    double *d = malloc((size_t)a->count * 2 * sizeof *d), forth, back;
    if (!d)
        return mcs_error_set(e, MCS_ENOMEM, "out of memory for distances in %lld pixels",
                             (long long)a->count);
    border(a, dims, truth, d);
    border(a, dims, found, d + a->count);
    mcs_status s = directed(a, d, d + a->count, percent, &forth, e);
    if (s == MCS_OK) {
        border(a, dims, found, d + a->count);
        s = directed(a, d + a->count, d, percent, &back, e);
    }
    if (s == MCS_OK) /* one empty: a NAN and an infinity; both: two NAN */
        *value = isnan(forth) ? back : isnan(back) || forth > back ? forth : back;
    free(d);
    return s;
}

mcs_status mcs_hausdorff_pixels(const mcs_grid *g, const uint8_t *truth, const uint8_t *found,
                                double percent, double *value, mcs_error *e)
{
    mcs_axes a;
    *value = (double)NAN;
    mcs_status s = mcs_axes_of(g, &a, e);
    return s == MCS_OK ? both_ways(&a, g->dims, truth, found, percent, value, e) : s;
}
