/* permutohedral.h - Gaussian filtering of scattered points in d dimensions, in linear time
 * (Adams, Baek and Davis 2010). */
#ifndef MCS_PERMUTOHEDRAL_H
#define MCS_PERMUTOHEDRAL_H
#include <stddef.h>
#include <stdint.h>
#include "tensor/parallel.h"
#include "tensor/status.h"

#define MCS_LATTICE_MAX_DIM 8

typedef struct mcs_lattice mcs_lattice; /* immutable once built: threads may share it */

/* The lattice of n points with features (n, d), each already divided by its standard deviation;
 * features are not kept.  n >= 1, 1 <= d <= MCS_LATTICE_MAX_DIM.
 * Memory: 6 (d+1) bytes per point and 8 (d+1) per vertex, while building about 60 more per
 * vertex; a point has d+1 vertices, shared with its neighbours, so that n (d+1) vertices are the
 * worst case (pure noise).
 * NULL: MCS_EINVAL (n, d), MCS_ENUMERIC (a feature is not finite, or so large that a lattice
 * coordinate leaves 16 bits: about 7000 standard deviations at d = 5, 16000 at d = 2), MCS_ENOMEM.
 * Nullable: pool, e. */
mcs_lattice *mcs_lattice_new(const float *features, int64_t n, int d, mcs_pool *pool, mcs_error *e);
void mcs_lattice_free(mcs_lattice *l); /* Nullable: l */
int64_t mcs_lattice_vertices(const mcs_lattice *l);

/* out_i = sum_j K_ij in_j with K_ij about exp(-|f_i - f_j|^2 / 2), j = i included, up to a factor
 * common to all points.  in, out (n, channels), which may be the same array.  The same bits for
 * any number of threads.  MCS_EINVAL, MCS_ENOMEM.  Nullable: pool, e. */
mcs_status mcs_lattice_filter(const mcs_lattice *l, const float *in, float *out, int channels,
                              mcs_pool *pool, mcs_error *e) MCS_MUST_CHECK;
#endif
