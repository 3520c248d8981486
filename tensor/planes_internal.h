/* planes_internal.h - normalisation over planes: x (N,C,...) seen as N*C planes of `area` values.
 * Instance norm takes the statistics of each plane, batch norm those of a channel's N planes. */
#ifndef MCS_PLANES_INTERNAL_H
#define MCS_PLANES_INTERNAL_H
#include "tensor/op.h"
#include "tensor/vec.h"

typedef struct {
    const mcs_vec *vec;
    const float *x, *dy; /* (N,C,area) */
    float *out; /* y or dx (added to); NULL: not wanted */
    const float *w, *b; /* (C); NULL: 1 and 0 */
    float *dw, *db; /* (C); NULL: not wanted */
    int64_t images, channels, area;
} mcs_planes;

/* Checks x (at least N,C) and the optional vectors (C); false after mcs_fail(). */
bool mcs_planes_ok(mcs_ctx *c, const char *op, const mcs_tensor *x, int count,
                   const mcs_tensor *const *vectors);
mcs_planes mcs_planes_of(const mcs_tensor *x, const mcs_tensor *weight, const mcs_tensor *bias);

/* Planes first, first + step, ... (count of them): mean and biased variance of all together. */
void mcs_planes_moments(const mcs_planes *p, int64_t first, int64_t step, int64_t count,
                        double *mean, double *var);
/* y = (x - mean) r w[c] + b[c] for one plane. */
void mcs_plane_apply(const mcs_planes *p, int64_t plane, float mean, float r);
/* sum of dy and of dy * h over such planes, h = (x - mean) r. */
void mcs_planes_sums(const mcs_planes *p, int64_t first, int64_t step, int64_t count, float mean,
                     float r, double *dy_sum, double *dyh_sum);
/* dx += w[c] r (dy - dy_mean - h dyh_mean) for one plane. */
void mcs_plane_grad(const mcs_planes *p, int64_t plane, float mean, float r, float dy_mean,
                    float dyh_mean);
#endif
