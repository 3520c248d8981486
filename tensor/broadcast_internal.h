/* broadcast_internal.h - NumPy broadcasting of two operands, and its transpose, the sum over the
 * broadcast dimensions.  Shared by elementwise operations, expand and the reductions. */
#ifndef MCS_BROADCAST_INTERNAL_H
#define MCS_BROADCAST_INTERNAL_H
#include "tensor/op.h"
#include "tensor/vec.h"

/* The result's dimensions, merged where both operands allow it (neighbours that are both stepped
 * through or both repeated), and the step of each operand in each: 0 where it is repeated.  The
 * last step is 0 or 1. */
typedef struct {
    int ndim; /* >= 1 */
    int64_t shape[MCS_MAX_DIM];
    int64_t step[2][MCS_MAX_DIM];
    int64_t numel;
} mcs_bcast;

/* The shape a and b broadcast to; false if they do not. */
bool mcs_bcast_shape(const mcs_tensor *a, const mcs_tensor *b, int *ndim, int64_t *shape);
/* Plan for a result of that shape; a and b must broadcast to it.  b NULL: the same as a. */
void mcs_bcast_plan(mcs_bcast *p, int ndim, const int64_t *shape, const mcs_tensor *a,
                    const mcs_tensor *b);
/* Offset of operand k at the start of merged row r (all dimensions but the last). */
int64_t mcs_bcast_offset(const mcs_bcast *p, int k, int64_t row);

/* y = f(a, b) over the plan. */
void mcs_bcast_zip(mcs_ctx *c, const mcs_bcast *p, mcs_vec_zip *f, float *y, const float *a,
                   const float *b);
/* y += scale * a, a repeated by the plan (operand 0).  y has the result's shape. */
void mcs_bcast_spread(mcs_ctx *c, const mcs_bcast *p, float scale, const float *a, float *y);
/* a += scale * (sum of x over the repetitions), in fixed blocks: the transpose of the above. */
void mcs_bcast_reduce(mcs_ctx *c, const mcs_bcast *p, float scale, const float *x, float *a);
/* y += scale * x, n elements. */
void mcs_add_scaled(mcs_ctx *c, float *y, float scale, const float *x, int64_t n);
#endif
