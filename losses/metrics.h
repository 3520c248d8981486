/* metrics.h - how well a mask agrees with the truth, and what follows for a set of them.
 *
 * Definitions, rules for empty masks and differences between packages: docs/metrics.md.  A value
 * that a definition leaves open (0 / 0) is NAN; what to put in its place is the caller's rule.
 * Masks: one byte a pixel, 0 is background, anything else foreground; C order, the last axis
 * varies fastest.  Nothing here is global.  Nullable everywhere: e. */
#ifndef MCS_METRICS_H
#define MCS_METRICS_H
#include <stdbool.h>
#include <stdint.h>
#include "tensor/status.h"

/* ---- Overlap, from counts ---- */

typedef struct {
    int64_t both, truth, found, total; /* pixels: of both masks, of each, of the picture */
} mcs_overlap;
/* Counts two masks of n pixels. */
mcs_overlap mcs_overlap_count(const uint8_t *truth, const uint8_t *found, int64_t n);
double mcs_dsc(const mcs_overlap *o); /* 2 both / (truth + found); both empty: NAN */
double mcs_iou(const mcs_overlap *o); /* both / (truth + found - both); both empty: NAN */
double mcs_overlap_sensitivity(const mcs_overlap *o); /* both / truth (recall); no truth: NAN */
double mcs_overlap_precision(const mcs_overlap *o); /* both / found; nothing found: NAN */
/* value, or `instead` if it is NAN. */
double mcs_metric_or(double value, double instead);

/* ---- Distances ---- */

typedef struct {
    int dims; /* 2: (rows, columns); 3: (slices, rows, columns) */
    int64_t size[3]; /* the first `dims` count */
    double spacing[3]; /* between neighbours along each axis, in pixels or mm; > 0 */
} mcs_grid;

/* The exact Euclidean distance of every pixel to the nearest one with site != 0; INFINITY
 * everywhere if there is none.  scipy.ndimage.distance_transform_edt(site == 0, sampling), in
 * linear time (Felzenszwalb & Huttenlocher 2012).  distance: room for all pixels.  MCS_ESHAPE,
 * MCS_EINVAL (spacing), MCS_ENOMEM. */
mcs_status mcs_distance_transform(const mcs_grid *g, const uint8_t *site, double *distance,
                                  mcs_error *e) MCS_MUST_CHECK;

/* ---- Boundaries: DeepMind's surface-distance (Nikolov et al. 2018) ----
 *
 * A surface element sits where 2x2 (2x2x2) neighbouring pixels are neither all in nor all out; its
 * weight is the length (area) of the contour that marching squares (cubes) would draw there. */

typedef struct {
    double distance, weight; /* to the nearest element of the other surface; length or area */
} mcs_surfel;
typedef struct {
    mcs_surfel *truth, *found; /* each by increasing distance; INFINITY if the other is empty */
    int64_t truths, founds;
} mcs_surface;
/* compute_surface_distances().  Release with mcs_surface_free() if MCS_OK.  MCS_ESHAPE,
 * MCS_EINVAL (spacing), MCS_ENOMEM. */
mcs_status mcs_surface_compare(const mcs_grid *g, const uint8_t *truth, const uint8_t *found,
                               mcs_surface *out, mcs_error *e) MCS_MUST_CHECK;
void mcs_surface_free(mcs_surface *s); /* Nullable */

/* Normalised surface distance, or surface Dice: the share of both surfaces' weight that lies
 * within `tolerance` of the other (compute_surface_dice_at_tolerance).  Both empty: NAN, one: 0. */
double mcs_nsd(const mcs_surface *s, double tolerance);
/* The larger of the two directed distances that `percent` of the weight does not exceed
 * (compute_robust_hausdorff); 100: the Hausdorff distance.  Both empty: NAN, one: INFINITY. */
double mcs_hausdorff(const mcs_surface *s, double percent);
/* The same from centres of the outermost foreground pixels (those with a background neighbour by
 * an edge, or at the border), each of weight 1, and numpy's linear percentile:
 * monai.metrics.compute_hausdorff_distance(percentile=percent), scipy-style tools. */
mcs_status mcs_hausdorff_pixels(const mcs_grid *g, const uint8_t *truth, const uint8_t *found,
                                double percent, double *value, mcs_error *e) MCS_MUST_CHECK;
/* The NSD of MedCLIP-SAMv2's SurfaceDice.py (and MedSAM's): the picture counts as a volume one
 * slice thick, with spacing 1, so that every foreground pixel has a top and a bottom face that
 * belong to the surface.  It measures agreement of regions up to the tolerance, not of boundaries;
 * for comparison with published figures only.  Both empty: NAN, one: 0. */
mcs_status mcs_nsd_official_region(const uint8_t *truth, const uint8_t *found, int64_t rows,
                                   int64_t columns, double tolerance, double *value,
                                   mcs_error *e) MCS_MUST_CHECK;

/* length[16] (2-D), area[256] (3-D) of the element by neighbour code; bit i of a code is the pixel
 * at (i / 2, i % 2), in 3-D (i / 4, i / 2 % 2, i % 2). */
void mcs_surface_weights(const mcs_grid *g, double *weight);

/* ---- Ranking ---- */

/* Area under the ROC curve: the chance that a foreground pixel scores above a background pixel,
 * ties counted half (Mann-Whitney; sklearn.metrics.roc_auc_score).  Only one kind of pixel: NAN.
 * MCS_ENUMERIC (a score is NaN), MCS_ENOMEM. */
mcs_status mcs_auc(const uint8_t *truth, const float *score, int64_t n, double *value,
                   mcs_error *e) MCS_MUST_CHECK;
/* The same for a mask instead of scores: (sensitivity + specificity) / 2. */
double mcs_auc_mask(const mcs_overlap *o);

/* ---- Many values; NAN counts as absent ---- */

typedef struct {
    int64_t n; /* values that are there; 0: the rest is NAN */
    double mean, std; /* std of the sample (n - 1); NAN for one value */
    double median;
    double low, high; /* 95 % interval of the mean */
} mcs_summary;
/* Interval: percentile bootstrap, `draws` times n values drawn with replacement (SplitMix64 from
 * `seed`), 2.5th and 97.5th percentile of their means, as numpy.percentile.  draws 0: NAN.
 * MCS_ENOMEM. */
mcs_status mcs_summarise(const double *v, int64_t n, int draws, uint64_t seed, mcs_summary *out,
                         mcs_error *e) MCS_MUST_CHECK;

typedef struct {
    int64_t n, zeros; /* pairs with both values; those without difference */
    int64_t larger, smaller;
    double statistic; /* the smaller of the rank sums */
    double p; /* two-sided; no pairs: NAN; no differences: 1 */
    bool exact; /* from the distribution, not from its normal approximation */
} mcs_signed_rank;
/* Wilcoxon's signed-rank test of pairs a[i], b[i], as scipy.stats.wilcoxon(a, b): zero differences
 * dropped, mean ranks of ties; exact up to 50 pairs without zeros and ties, and up to 13 with
 * them; else normal with the variance corrected for ties, no continuity correction.  MCS_ENOMEM. */
mcs_status mcs_wilcoxon(const double *a, const double *b, int64_t n, mcs_signed_rank *out,
                        mcs_error *e) MCS_MUST_CHECK;
#endif
