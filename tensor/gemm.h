/* gemm.h - the one door to matrix products.  Private to the library.
 *
 * Nothing else calls BLAS.  OpenBLAS runs single-threaded inside our own workers: C is cut
 * into tiles whose size follows from the shape, so the bits do not depend on the thread count. */
#ifndef MCS_GEMM_H
#define MCS_GEMM_H
#include "tensor/op.h"

typedef enum { MCS_ACT_NONE, MCS_ACT_GELU, MCS_ACT_RELU } mcs_act;

typedef struct {
    int64_t m, n, k;            /* C (m,n) = alpha * op(A) (m,k) * op(B) (k,n) + beta * C */
    bool trans_a, trans_b;      /* A is stored (k,m); B is stored (n,k), as a Linear weight is */
    float alpha, beta;
    const float *a, *b;
    float *c;
    int64_t lda, ldb, ldc;      /* elements between rows as stored */
    /* Batched: `batch` products at these strides (elements); 0 counts as 1. */
    int64_t batch, stride_a, stride_b, stride_c;
    /* Epilogue, applied to each tile while it is in cache: C = act(C + bias) + residual. */
    const float *bias;          /* n values, one per column; NULL: none */
    const float *row_bias;      /* m values, one per row (convolution); NULL: none */
    mcs_act act;
    const float *residual;      /* (m,n) at stride ldc and stride_c; NULL: none */
    /* The stored weight that b is a view of; NULL for an activation.  A reduced-precision
     * kernel caches packed panels beside it. */
    const mcs_tensor *weight;
} mcs_gemm_args;

void mcs_gemm(mcs_ctx *c, const mcs_gemm_args *g);

/* Arguments of a plain product C = A B + beta C, to be completed with batch or epilogue:
 * nn: as stored; nt: B is stored (n,k); tn: A is stored (k,m). */
static inline mcs_gemm_args mcs_gemm_nn(int64_t m, int64_t n, int64_t k, const float *a,
                                        int64_t lda, const float *b, int64_t ldb, float beta,
                                        float *c, int64_t ldc)
{
    return (mcs_gemm_args){ .m = m, .n = n, .k = k, .alpha = 1, .beta = beta, .a = a, .b = b,
                            .c = c, .lda = lda, .ldb = ldb, .ldc = ldc };
}
static inline mcs_gemm_args mcs_gemm_nt(int64_t m, int64_t n, int64_t k, const float *a,
                                        int64_t lda, const float *b, int64_t ldb, float beta,
                                        float *c, int64_t ldc)
{
    mcs_gemm_args g = mcs_gemm_nn(m, n, k, a, lda, b, ldb, beta, c, ldc);
    g.trans_b = true;
    return g;
}
static inline mcs_gemm_args mcs_gemm_tn(int64_t m, int64_t n, int64_t k, const float *a,
                                        int64_t lda, const float *b, int64_t ldb, float beta,
                                        float *c, int64_t ldc)
{
    mcs_gemm_args g = mcs_gemm_nn(m, n, k, a, lda, b, ldb, beta, c, ldc);
    g.trans_a = true;
    return g;
}

/* One product on the calling thread, for bodies of mcs_parallel_for.  No epilogue, no batch. */
void mcs_gemm_serial(bool trans_a, bool trans_b, int64_t m, int64_t n, int64_t k, float alpha,
                     const float *a, int64_t lda, const float *b, int64_t ldb, float beta,
                     float *c, int64_t ldc);
#endif
