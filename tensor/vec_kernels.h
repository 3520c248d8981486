/* vec_kernels.h - the kernels of vec.h as a template (libdeflate's way): a vec_*.c defines
 * VEC_BYTES, VEC_TABLE and VEC_NAME and includes this once.  Here: reductions and rows. */
#include "tensor/vec.h"
#if defined(__clang__)
#pragma STDC FP_CONTRACT OFF /* gcc -std=c11 does not contract; the bits must agree */
#endif
#include "tensor/vec_math.h"
#include "tensor/vec_map.h"

#define LANES 32 /* partial sums of a reduction, on every instruction set */
#define ACCS (LANES / (VEC_BYTES / sizeof(float)))

/* acc[k] = COMBINE(acc[k], E) over all elements, element i into lane i % LANES. */
#define FOLD(acc, COMBINE, E)                                                                      \
    int64_t i = 0;                                                                                 \
    while (i + LANES <= n)                                                                         \
        for (size_t k = 0; k < ACCS; k++, i += W)                                                  \
            acc[k] = COMBINE(acc[k], E(FULL));                                                     \
    size_t last = 0;                                                                               \
    for (; i + W <= n; i += W, last++)                                                             \
        acc[last] = COMBINE(acc[last], E(FULL));                                                   \
    if (i < n)                                                                                     \
    acc[last] = COMBINE(acc[last], E(PART))

#define PLUS(a, b) ((a) + (b))

INLINE float sum_lanes(const vf acc[ACCS])
{
    float t[LANES];
    for (size_t k = 0; k < ACCS; k++)
        store(t + (int64_t)k * W, acc[k]);
    for (int half = LANES / 2; half > 0; half /= 2)
        for (int j = 0; j < half; j++)
            t[j] += t[j + half];
    return t[0];
}

/* ---- Reductions ---- */

static float k_sum(const float *x, int64_t n)
{
    vf acc[ACCS] = { { 0 } };
#define E(L) L(x, 0.0f)
    FOLD(acc, PLUS, E);
#undef E
    return sum_lanes(acc);
}

static float k_dot(const float *a, const float *b, int64_t n)
{
    vf acc[ACCS] = { { 0 } };
    FOLD(acc, PLUS, E_MUL);
    return sum_lanes(acc);
}

INLINE vf square(vf x)
{
    return x * x;
}

static float k_sum_sq_diff(const float *x, float mean, int64_t n)
{
    vf acc[ACCS] = { { 0 } };
#define E(L) square(L(x, mean) - mean)
    FOLD(acc, PLUS, E);
#undef E
    return sum_lanes(acc);
}

static float k_dot_diff(const float *a, const float *x, float mean, int64_t n)
{
    vf acc[ACCS] = { { 0 } };
#define E(L) (L(a, 0.0f) * (L(x, mean) - mean))
    FOLD(acc, PLUS, E);
#undef E
    return sum_lanes(acc);
}

static float k_max(const float *x, int64_t n)
{
    vf acc[ACCS];
    for (size_t k = 0; k < ACCS; k++)
        acc[k] = set1(x[0]);
#define E(L) L(x, x[0])
    FOLD(acc, max2, E);
#undef E
    for (size_t k = 1; k < ACCS; k++)
        acc[0] = max2(acc[0], acc[k]);
    float m = acc[0][0];
    for (int j = 1; j < (int)W; j++)
        m = acc[0][j] > m || acc[0][j] != acc[0][j] ? acc[0][j] : m;
    return m;
}

static float k_prelu_dot(const float *dy, const float *x, int64_t n)
{
    vf acc[ACCS] = { { 0 } };
#define E(L) positive_else(L(x, 0.0f), set1(0.0f), L(dy, 0.0f) * L(x, 0.0f))
    FOLD(acc, PLUS, E);
#undef E
    return sum_lanes(acc);
}

/* ---- Softmax ---- */

INLINE vf exp_store(float *y, vf x, int64_t n)
{
    vf e = vexp(x);
    if (n < W)
        store_part(y, n, e);
    else
        store(y, e);
    return e;
}

static float k_exp_sum(float *y, const float *x, float m, int64_t n)
{
    vf acc[ACCS] = { { 0 } };
#define E(L) exp_store(y + i, L(x, -INFINITY) - m, n - i)
    FOLD(acc, PLUS, E);
#undef E
    return sum_lanes(acc);
}

static void k_softmax_row(float *y, const float *x, int64_t n)
{
    float sum = k_exp_sum(y, x, k_max(x, n), n);
    k_affine(y, y, 1.0f / sum, 0.0f, n);
}

static void k_softmax_grad_row(float *dx, const float *dy, const float *y, int64_t n)
{
    float d = k_dot(y, dy, n);
#define E(L) (L(dx, 0.0f) + L(y, 0.0f) * (L(dy, 0.0f) - d))
    MAP(dx, E);
#undef E
}

/* ---- Normalisation of rows ---- */

static void k_moments(const float *x, int64_t n, float *mean, float *var)
{
    *mean = k_sum(x, n) / (float)n;
    *var = k_sum_sq_diff(x, *mean, n) / (float)n;
}

static void k_norm_row(float *y, const float *x, float mean, float rstd, const float *w,
                       const float *b, int64_t n)
{
    if (w && b) {
#define E(L) ((L(x, 0.0f) - mean) * rstd * L(w, 0.0f) + L(b, 0.0f))
        MAP(y, E);
#undef E
        return;
    }
    k_center(y, x, mean, rstd, 0.0f, n);
    if (w)
        k_mul(y, y, w, n);
    if (b)
        k_add(y, y, b, n);
}

static void k_norm_grad_row(float *dx, const float *dy, const float *x, float mean, float rstd,
                            const float *w, int64_t n)
{
    float g_mean = (w ? k_dot(dy, w, n) : k_sum(dy, n)) / (float)n;
    vf acc[ACCS] = { { 0 } };
#define G(L) (w ? L(dy, 0.0f) * L(w, 0.0f) : L(dy, 0.0f))
#define H(L) ((L(x, mean) - mean) * rstd)
#define E(L) (G(L) * H(L))
    FOLD(acc, PLUS, E);
#undef E
    float gh_mean = sum_lanes(acc) / (float)n;
#define E(L) (L(dx, 0.0f) + (G(L) - g_mean - H(L) * gh_mean) * rstd)
    for (i = 0; i + W <= n; i += W)
        store(dx + i, E(FULL));
    if (i < n)
        store_part(dx + i, n - i, E(PART));
#undef E
#undef G
}

static void k_norm_param_grad_row(float *dw, float *db, const float *dy, const float *x, float mean,
                                  float rstd, int64_t n)
{
    if (db)
        k_add(db, db, dy, n);
    if (!dw)
        return;
#define E(L) (L(dw, 0.0f) + L(dy, 0.0f) * H(L))
    MAP(dw, E);
#undef E
#undef H
}

const mcs_vec VEC_TABLE = {
    .name = VEC_NAME,
    .exp = k_exp,
    .gelu = k_gelu,
    .sigmoid = k_sigmoid,
    .tanh = k_tanh,
    .relu = k_relu,
    .sqrt = k_sqrt,
    .abs = k_abs,
    .gelu_grad = k_gelu_grad,
    .relu_grad = k_relu_grad,
    .sigmoid_grad = k_sigmoid_grad,
    .tanh_grad = k_tanh_grad,
    .prelu = k_prelu,
    .prelu_grad = k_prelu_grad,
    .prelu_dot = k_prelu_dot,
    .add = k_add,
    .sub = k_sub,
    .mul = k_mul,
    .div = k_div,
    .mul_acc = k_mul_acc,
    .affine = k_affine,
    .center = k_center,
    .center_acc = k_center_acc,
    .axpy = k_axpy,
    .clamp = k_clamp,
    .sum = k_sum,
    .dot = k_dot,
    .sum_sq_diff = k_sum_sq_diff,
    .dot_diff = k_dot_diff,
    .max = k_max,
    .exp_sum = k_exp_sum,
    .softmax_row = k_softmax_row,
    .softmax_grad_row = k_softmax_grad_row,
    .moments = k_moments,
    .norm_row = k_norm_row,
    .norm_grad_row = k_norm_grad_row,
    .norm_param_grad_row = k_norm_param_grad_row,
};
