/* vec.h - the inner loops of elementwise work, one copy per instruction set, chosen at run time.
 * Private to the library.
 *
 * Every implementation gives the same bits: elementwise kernels use the same IEEE operations in
 * the same order without fused multiply-add, reductions always keep 32 partial sums (element i
 * goes to i % 32) and combine them in one fixed order.  Hence the value of an element depends on
 * neither its position, the alignment nor the machine.  Pointers need no alignment beyond that
 * of float; n may be 0 unless said otherwise; an output may be the same array as an input, but
 * not overlap it shifted.  NaN in, NaN out. */
#ifndef MCS_VEC_H
#define MCS_VEC_H
#include <stdint.h>

typedef void mcs_vec_map(float *y, const float *x, int64_t n); /* y = f(x) */
typedef void mcs_vec_zip(float *y, const float *a, const float *b, int64_t n);

typedef struct mcs_vec {
    const char *name;           /* "base", "avx2", "avx512" */

    /* Relative error < 1e-7; below -103.97: 0, above 88.72: infinity. */
    mcs_vec_map *exp;
    /* x Phi(x), absolute error < 2.5e-7 for |x| < 4. */
    mcs_vec_map *gelu;
    mcs_vec_map *sigmoid, *tanh, *relu, *sqrt, *abs;
    /* y += dy * f'(...): gelu_grad and relu_grad take x as `of`, the others the output. */
    void (*gelu_grad)(float *y, const float *dy, const float *of, int64_t n);
    void (*relu_grad)(float *y, const float *dy, const float *of, int64_t n);
    void (*sigmoid_grad)(float *y, const float *dy, const float *of, int64_t n);
    void (*tanh_grad)(float *y, const float *dy, const float *of, int64_t n);

    /* y = x where x > 0, else w x; y += dy * (1 or w); the sum of dy * x where x <= 0 */
    void (*prelu)(float *y, const float *x, float w, int64_t n);
    void (*prelu_grad)(float *y, const float *dy, const float *x, float w, int64_t n);
    float (*prelu_dot)(const float *dy, const float *x, int64_t n);

    mcs_vec_zip *add, *sub, *mul, *div;
    /* y += a * b */
    mcs_vec_zip *mul_acc;
    /* y = x * scale + shift */
    void (*affine)(float *y, const float *x, float scale, float shift, int64_t n);
    /* y = (x - mean) * scale + shift, and y += the same */
    void (*center)(float *y, const float *x, float mean, float scale, float shift, int64_t n);
    void (*center_acc)(float *y, const float *x, float mean, float scale, float shift, int64_t n);
    /* y += s * x */
    void (*axpy)(float *y, float s, const float *x, int64_t n);
    void (*clamp)(float *y, const float *x, float lo, float hi, int64_t n);

    float (*sum)(const float *x, int64_t n);
    float (*dot)(const float *a, const float *b, int64_t n);
    /* sum of (x - mean)^2 */
    float (*sum_sq_diff)(const float *x, float mean, int64_t n);
    /* <a, x - mean> */
    float (*dot_diff)(const float *a, const float *x, float mean, int64_t n);
    /* n >= 1; NaN if any is */
    float (*max)(const float *x, int64_t n);

    /* y = exp(x - m); returns the sum of y. */
    float (*exp_sum)(float *y, const float *x, float m, int64_t n);
    /* y = exp(x - max x) / sum; n >= 1 */
    void (*softmax_row)(float *y, const float *x, int64_t n);
    /* dx += y * (dy - <y, dy>) */
    void (*softmax_grad_row)(float *dx, const float *dy, const float *y, int64_t n);

    /* Two passes: mean, then the biased variance about it; n >= 1. */
    void (*moments)(const float *x, int64_t n, float *mean, float *var);
    /* y = (x - mean) * rstd * w + b.  Nullable: w, b. */
    void (*norm_row)(float *y, const float *x, float mean, float rstd, const float *w,
                     const float *b, int64_t n);
    /* With g = dy * w (w NULL: dy) and h = (x - mean) * rstd:
     * dx += rstd * (g - mean(g) - h * mean(g * h)) */
    void (*norm_grad_row)(float *dx, const float *dy, const float *x, float mean, float rstd,
                          const float *w, int64_t n);
    /* dw += dy * h, db += dy.  Nullable: dw, db. */
    void (*norm_param_grad_row)(float *dw, float *db, const float *dy, const float *x, float mean,
                                float rstd, int64_t n);
} mcs_vec;

/* The best implementation this processor runs.  Cheap: reads feature bits. */
const mcs_vec *mcs_vec_get(void);
/* The i-th implementation this processor runs, slowest first; NULL past the end (for tests). */
const mcs_vec *mcs_vec_at(int i);

extern const mcs_vec mcs_vec_base;
#if defined(__x86_64__)
extern const mcs_vec mcs_vec_avx2, mcs_vec_avx512;
#endif
#endif
