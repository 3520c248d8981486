/* crf.h - fully connected conditional random field: sharpens a coarse map to the edges of the
 * image (Kraehenbuehl and Koltun, NIPS 2011). */
#ifndef MCS_CRF_H
#define MCS_CRF_H
#include "cam/permutohedral.h"

/* ---- Any number of labels and of Gaussian terms ---- */

typedef struct mcs_crf mcs_crf;

/* n points, `labels` >= 2; unary (n, labels): energies, -log of probabilities (lower is more
 * likely), copied.  NULL: MCS_EINVAL, MCS_ENUMERIC (NaN or infinity), MCS_ENOMEM.
 * Nullable: pool (borrowed, must outlive the field), e. */
mcs_crf *mcs_crf_new(int64_t n, int labels, const float *unary, mcs_pool *pool, mcs_error *e);
void mcs_crf_free(mcs_crf *f); /* Nullable: f */
/* Adds a term: points of similar features (n, dim), divided by their deviations, tend to share
 * a label, with strength `compat` (Potts).  The kernel is normalised symmetrically,
 * K~_ij = K_ij / sqrt(sum_k K_ik  sum_k K_jk), self included.  Errors of mcs_lattice_new(). */
mcs_status mcs_crf_add(mcs_crf *f, const float *features, int dim, float compat,
                       mcs_error *e) MCS_MUST_CHECK;
/* Mean field: q = softmax(-unary), then `iterations` times
 *     q = softmax(-unary + sum over terms of compat K~ q).
 * q (n, labels).  iterations >= 0.  The same bits for any number of threads. */
mcs_status mcs_crf_infer(const mcs_crf *f, int iterations, float *q, mcs_error *e) MCS_MUST_CHECK;

/* Features of a w x h picture, row by row: (x/sxy, y/sxy) -> f (h*w, 2), and
 * (x/sxy, y/sxy, r/srgb, g/srgb, b/srgb) -> f (h*w, 5) from rgb (h*w, 3). */
void mcs_crf_positions(int w, int h, float sxy, float *f);
void mcs_crf_colours(const uint8_t *rgb, int w, int h, float sxy, float srgb, float *f);
/* Energies of background and foreground (n, 2) from a map a in [0,1] (values outside are
 * clamped):  -log(1-a+eps) / (tau sigmoid(1-a)),  -log(a+eps) / (tau sigmoid(a)). */
void mcs_crf_unary(const float *map, int64_t n, float epsilon, float tau, float *unary);

/* ---- Saliency to mask ---- */

typedef struct {
    float epsilon, tau; /* of the unary energies */
    /* Smoothness and appearance: deviations in pixels and 8-bit levels.  Compat 0: without. */
    float gaussian_sxy, gaussian_compat;
    float bilateral_sxy, bilateral_srgb, bilateral_compat;
    int iterations;
    /* Pictures with more pixels than this are worked on reduced by a whole factor (box
     * averages, sxy reduced alike) if `reduce`, else refused.  About 150 bytes per pixel are
     * needed for a usual picture, 700 for pure noise. */
    int64_t pixels_max;
    bool reduce;
} mcs_crf_opts;

/* The published setting: eps 1e-8, tau 1.05; 3, 3; 60, 5, 5; 1 iteration; 8 Mpixel, reduce. */
mcs_crf_opts mcs_crf_defaults(void);

/* mask (h*w): 1 where the foreground is more likely than the background, else 0 (ties: 0).
 * prob (h*w): its probability.  map (h*w) in [0,1]; rgb (h*w, 3), may be NULL if
 * bilateral_compat is 0.  The error names the option that is out of range, or the limit.
 * Nullable: o (the defaults), pool, prob, e. */
mcs_status mcs_crf_mask(const float *map, const uint8_t *rgb, int w, int h, const mcs_crf_opts *o,
                        mcs_pool *pool, uint8_t *mask, float *prob, mcs_error *e) MCS_MUST_CHECK;
#endif
