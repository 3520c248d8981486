/* linear_internal.h - what the fully connected operations share.  Private to tensor/. */
#ifndef MCS_LINEAR_INTERNAL_H
#define MCS_LINEAR_INTERNAL_H
#include "tensor/op.h"

/* op_linear.c: x (...,K), w (N,K), bias (N) fit together; residual has the shape of the result. */
bool mcs_linear_check(mcs_ctx *c, const char *op, const mcs_tensor *x, const mcs_tensor *w,
                      const mcs_tensor *bias);
bool mcs_linear_check_residual(mcs_ctx *c, const char *op, const mcs_tensor *x, const mcs_tensor *w,
                               const mcs_tensor *residual);
/* op_linear.c: db (n) += column sums of dy (m,n); dr += dy.  Nullable: db, dr. */
void mcs_linear_spread(mcs_ctx *c, const float *dy, int64_t m, int64_t n, float *db, float *dr);

/* op_norm.c: layer norm of `rows` rows.  Nullable: w, b, stats (rows,2). */
void mcs_norm_rows(mcs_ctx *c, float *y, const float *x, int64_t rows, int64_t size, const float *w,
                   const float *b, float eps, float *stats);
/* op_norm.c: its gradients, added.  Nullable: w, dx, dw, db. */
void mcs_norm_grad_rows(mcs_ctx *c, const float *dy, const float *x, int64_t rows, int64_t size,
                        const float *w, const float *stats, float *dx, float *dw, float *db);
#endif
