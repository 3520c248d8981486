/* coarse.h - binary masks from a map by a threshold, given or found. */
#ifndef MCS_COARSE_H
#define MCS_COARSE_H
#include <stdint.h>

/* mask = map > threshold (1 or 0); NaN gives 0. */
void mcs_coarse_threshold(const float *map, int64_t n, float threshold, uint8_t *mask);
/* The threshold of Otsu (1979) on 256 levels, as cv2.threshold(THRESH_OTSU) of rint(255 map):
 * midway between the last level below and the next, in units of the map, so that `map > t` is
 * the same mask.  Values outside [0,1] count as the nearest level, NaN as 0. */
float mcs_coarse_otsu(const float *map, int64_t n);
/* Two-means of the values (NaN left out): the midpoint of the two means, Lloyd's iteration from
 * the best split of a histogram.  All values equal: that value, so that nothing is above it. */
float mcs_coarse_two_means(const float *map, int64_t n);
#endif
