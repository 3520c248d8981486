/* metrics_internal.h - between the files of metrics.h. */
#ifndef MCS_METRICS_INTERNAL_H
#define MCS_METRICS_INTERNAL_H
#include "losses/metrics.h"

/* A grid as three axes; of a 2-D one the first has length 1. */
typedef struct {
    int64_t n[3], count;
    double spacing[3];
} mcs_axes;
/* Checks sizes (the corners between pixels, one more a side, must be countable) and spacing. */
mcs_status mcs_axes_of(const mcs_grid *g, mcs_axes *a, mcs_error *e) MCS_MUST_CHECK;

/* d holds 0 at sites and INFINITY elsewhere: squared distances to the nearest site, in place. */
mcs_status mcs_distance_squares(const mcs_axes *a, double *d, mcs_error *e) MCS_MUST_CHECK;

/* The smallest box with all foreground of both masks: first pixel and size; false: both empty. */
bool mcs_axes_box(const mcs_axes *a, const uint8_t *x, const uint8_t *y, int64_t first[3],
                  int64_t size[3]);

/* Sorts v; numpy.percentile (linear) of sorted values, 0 <= percent <= 100, n > 0. */
void mcs_sort_values(double *v, int64_t n);
double mcs_percentile(const double *v, int64_t n, double percent);
#endif
