/* The kernels of vec.h: accuracy against double, the same bits on every instruction set and at
 * every position, alignment and length. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "tests/check.h"
#include "tensor/vec.h"

enum { N = 211 }; /* not a multiple of any vector */

static void fill(float *x, uint32_t seed, float lo, float hi)
{
    for (int i = 0; i < N; i++) {
        seed = seed * 1664525u + 1013904223u;
        x[i] = lo + (hi - lo) * (float)(seed >> 8) * (1.0f / 16777216.0f);
    }
}

/* ---- Accuracy ---- */

static double exact_gelu(double x)
{
    return x * 0.5 * erfc(-x * 0.70710678118654752);
}

static double exact_gelu_slope(double x)
{
    return 0.5 * erfc(-x * 0.70710678118654752) + x * exp(-0.5 * x * x) * 0.39894228040143268;
}

static double exact_sigmoid(double x)
{
    return 1.0 / (1.0 + exp(-x));
}

/* Largest error of f over [lo,hi], relative where rel is set. */
static double worst(mcs_vec_map *f, double (*exact)(double), float lo, float hi, int rel)
{
    double bad = 0.0;
    enum { STEPS = 200000, BLOCK = 500 };
    for (int s = 0; s < STEPS; s += BLOCK) {
        float x[BLOCK], y[BLOCK];
        for (int i = 0; i < BLOCK; i++)
            x[i] = lo + (hi - lo) * (float)(s + i) / (float)STEPS;
        f(y, x, BLOCK);
        for (int i = 0; i < BLOCK; i++) {
            double want = exact((double)x[i]), e = fabs((double)y[i] - want);
            bad = fmax(bad, rel && want != 0.0 ? e / fabs(want) : e);
        }
    }
    return bad;
}

static void expect_below(const char *what, double error, double limit)
{
    if (!(error < limit))
        fail_msg("%s: error %.3g, limit %.3g", what, error, limit);
}

static void test_accuracy(void **state)
{
    (void)state;
    const mcs_vec *v = mcs_vec_get();
    expect_below("exp", worst(v->exp, exp, -87.0f, 88.7f, 1), 1e-7);
    expect_below("gelu", worst(v->gelu, exact_gelu, -10.0f, 10.0f, 0), 5e-7);
    expect_below("gelu near 0", worst(v->gelu, exact_gelu, -4.0f, 4.0f, 0), 2.5e-7);
    expect_below("gelu in the tail", worst(v->gelu, exact_gelu, -6.0f, -1.0f, 1), 3e-6);
    expect_below("sigmoid", worst(v->sigmoid, exact_sigmoid, -80.0f, 80.0f, 1), 3e-7);
    expect_below("tanh", worst(v->tanh, tanh, -10.0f, 10.0f, 1), 3e-7);
    expect_below("sqrt", worst(v->sqrt, sqrt, 0.0f, 10.0f, 1), 6.1e-8);
}

static void test_gelu_slope(void **state)
{
    (void)state;
    float x[N], one[N], y[N] = { 0 };
    for (int i = 0; i < N; i++) {
        x[i] = -9.0f + 18.0f * (float)i / (float)N;
        one[i] = 1.0f;
    }
    mcs_vec_get()->gelu_grad(y, one, x, N);
    for (int i = 0; i < N; i++)
        expect_below("gelu'", fabs((double)y[i] - exact_gelu_slope((double)x[i])), 3.5e-7);
}

static void test_special_values(void **state)
{
    (void)state;
    const mcs_vec *v = mcs_vec_get();
    const float x[8] = { INFINITY, -INFINITY, NAN, 0.0f, 1e30f, -1e30f, -104.5f, -100.0f };
    float y[8];
    v->exp(y, x, 8);
    assert_true(y[0] == INFINITY && y[1] == 0.0f && isnan(y[2]) && y[3] == 1.0f);
    assert_true(y[4] == INFINITY && y[5] == 0.0f && y[6] == 0.0f);
    assert_true(fabsf(y[7] - expf(-100.0f)) <= 1.5e-45f);
    v->gelu(y, x, 8);
    assert_true(y[0] == INFINITY && y[1] == 0.0f && isnan(y[2]) && y[3] == 0.0f);
    assert_true(y[4] == 1e30f && y[5] == 0.0f);
    v->sigmoid(y, x, 8);
    assert_true(y[0] == 1.0f && y[1] == 0.0f && isnan(y[2]) && y[3] == 0.5f);
    v->tanh(y, x, 8);
    assert_true(y[0] == 1.0f && y[1] == -1.0f && isnan(y[2]) && y[3] == 0.0f);
    v->relu(y, x, 8);
    assert_true(y[0] == INFINITY && y[1] == 0.0f && isnan(y[2]));
    v->clamp(y, x, -2.0f, 3.0f, 8);
    assert_true(y[0] == 3.0f && y[1] == -2.0f && isnan(y[2]) && y[3] == 0.0f);
    assert_true(isnan(v->max(x, 8)) && v->max(x + 3, 5) == 1e30f);
    const float masked[4] = { 1.0f, -INFINITY, 1.0f, -INFINITY };
    v->softmax_row(y, masked, 4);
    assert_true(y[0] == 0.5f && y[1] == 0.0f && y[2] == 0.5f && y[3] == 0.0f);
}

/* ---- Reductions and rows against double ---- */

static void near_double(const char *what, float got, double want, double scale)
{
    expect_below(what, fabs((double)got - want) / scale, 1e-6);
}

static void check_reductions(const mcs_vec *v, int n)
{
    float a[N], b[N];
    fill(a, 1, -1.0f, 2.0f);
    fill(b, 2, -1.0f, 2.0f);
    double sum = 0.0, dot = 0.0, sq = 0.0, top = -9.0, all = 0.0;
    for (int i = 0; i < n; i++) {
        double x = (double)a[i];
        sum += x;
        dot += x * (double)b[i];
        sq += (x - 0.5) * (x - 0.5);
        top = fmax(top, x);
    }
    near_double("sum", v->sum(a, n), sum, n + 1);
    near_double("dot", v->dot(a, b, n), dot, n + 1);
    double diff = dot;
    for (int i = 0; i < n; i++)
        diff -= 0.25 * (double)a[i];
    near_double("dot_diff", v->dot_diff(a, b, 0.25f, n), diff, n + 1);
    near_double("sum_sq_diff", v->sum_sq_diff(a, 0.5f, n), sq, n + 1);
    if (n == 0)
        return;
    near_double("max", v->max(a, n), top, 1.0);
    float y[N];
    v->softmax_row(y, a, n);
    for (int i = 0; i < n; i++)
        all += exp((double)a[i] - top);
    for (int i = 0; i < n; i++)
        near_double("softmax", y[i], exp((double)a[i] - top) / all, 1.0);
    near_double("exp_sum", v->exp_sum(y, a, (float)top, n), all, n);
}

static void test_reductions(void **state)
{
    (void)state;
    for (int i = 0; mcs_vec_at(i); i++)
        for (int n = 0; n <= N; n++)
            check_reductions(mcs_vec_at(i), n);
}

static void test_norm_rows(void **state)
{
    (void)state;
    float x[N], dy[N], w[N], b[N], y[N], dx[N] = { 0 }, dw[N] = { 0 }, db[N] = { 0 };
    fill(x, 3, 100.0f, 103.0f); /* a mean far from 0: one-pass variance would fail */
    fill(dy, 4, -1.0f, 1.0f);
    fill(w, 5, 0.5f, 1.5f);
    fill(b, 6, -1.0f, 1.0f);
    const mcs_vec *v = mcs_vec_get();
    float mean, var;
    v->moments(x, N, &mean, &var);
    double m = 0.0, s = 0.0, g1 = 0.0, g2 = 0.0;
    for (int i = 0; i < N; i++)
        m += (double)x[i] / N;
    for (int i = 0; i < N; i++)
        s += ((double)x[i] - m) * ((double)x[i] - m) / N;
    near_double("mean", mean, m, m);
    near_double("variance", var, s, s);
    float r = (float)(1.0 / sqrt(s));
    v->norm_row(y, x, mean, r, w, b, N);
    v->norm_grad_row(dx, dy, x, mean, r, w, N);
    v->norm_param_grad_row(dw, db, dy, x, mean, r, N);
    for (int i = 0; i < N; i++) {
        double g = (double)dy[i] * (double)w[i];
        g1 += g / N;
        g2 += g * ((double)x[i] - m) / sqrt(s) / N;
    }
    for (int i = 0; i < N; i++) {
        double h = ((double)x[i] - m) / sqrt(s), g = (double)dy[i] * (double)w[i];
        near_double("norm_row", y[i], h * (double)w[i] + (double)b[i], 10.0);
        near_double("norm_grad_row", dx[i], (g - g1 - h * g2) / sqrt(s), 10.0);
        near_double("dw", dw[i], (double)dy[i] * h, 10.0);
        assert_true(db[i] == dy[i]);
    }
}

/* ---- The same bits everywhere ---- */

/* Every kernel that writes a vector, applied one after the other to y. */
static void chain(const mcs_vec *v, float *y, const float *a, const float *b, int n)
{
    mcs_vec_map *maps[] = { v->exp, v->gelu, v->sigmoid, v->tanh, v->relu, v->sqrt, v->abs };
    float *t = malloc(N * sizeof *t);
    assert_non_null(t);
    memset(y, 0, (size_t)n * sizeof *y);
    for (size_t k = 0; k < sizeof maps / sizeof maps[0]; k++) {
        maps[k](t, k == 5 ? b : a, n);
        v->axpy(y, 0.7f, t, n);
    }
    v->gelu_grad(y, b, a, n);
    v->relu_grad(y, b, a, n);
    v->sigmoid_grad(y, b, a, n);
    v->tanh_grad(y, b, a, n);
    v->prelu(t, a, 0.3f, n);
    v->axpy(y, 0.7f, t, n);
    v->prelu_grad(y, b, a, 0.3f, n);
    mcs_vec_zip *zips[] = { v->add, v->sub, v->mul, v->div };
    for (size_t k = 0; k < 4; k++) {
        zips[k](t, a, b, n);
        v->mul_acc(y, t, b, n);
    }
    v->affine(t, a, 1.3f, 0.1f, n);
    v->center(t, t, 0.3f, 1.7f, 0.2f, n);
    v->center_acc(y, b, 0.3f, 1.7f, 0.2f, n);
    v->clamp(t, t, -1.0f, 1.5f, n);
    v->add(y, y, t, n);
    free(t);
}

static void rows(const mcs_vec *v, float *y, const float *a, const float *b, int n)
{
    float mean, var;
    v->softmax_row(y, a, n);
    v->softmax_grad_row(y, b, a, n);
    v->moments(a, n, &mean, &var);
    v->norm_grad_row(y, b, a, mean, 1.0f / sqrtf(var + 1e-5f), b, n);
    v->norm_param_grad_row(y, y, b, a, mean, var, n);
    v->norm_row(y, y, mean, var, a, NULL, n);
    y[0] += v->dot(a, b, n) + v->dot_diff(a, b, 0.5f, n) + v->prelu_dot(b, a, n) + v->max(b, n);
}

static void test_same_bits(void **state)
{
    (void)state;
    float a[N + 1], b[N + 1], y0[N + 1], y1[N + 1];
    fill(a, 7, -6.0f, 6.0f);
    fill(b, 8, 0.25f, 2.0f);
    for (int i = 1; mcs_vec_at(i); i++)
        for (int n = 1; n <= N; n++) {
            chain(mcs_vec_at(0), y0, a, b, n);
            chain(mcs_vec_at(i), y1, a, b, n);
            assert_memory_equal(y0, y1, (size_t)n * sizeof(float));
            rows(mcs_vec_at(0), y0, a, b, n);
            rows(mcs_vec_at(i), y1, a, b, n);
            assert_memory_equal(y0, y1, (size_t)n * sizeof(float));
        }
}

static void test_position_and_alignment(void **state)
{
    (void)state;
    float a[N], b[N], whole[N], part[N + 8], row[N], shifted[N + 8], *at;
    fill(a, 9, -6.0f, 6.0f);
    fill(b, 10, 0.25f, 2.0f);
    for (int i = 0; mcs_vec_at(i); i++) {
        const mcs_vec *v = mcs_vec_at(i);
        chain(v, whole, a, b, N);
        rows(v, row, a, b, N);
        for (int k = 0; k < 40; k++) {
            chain(v, part, a + k, b + k, N - k);
            assert_memory_equal(part, whole + k, (size_t)(N - k) * sizeof(float));
        }
        for (int k = 1; k < 8; k++) {
            at = shifted + k;
            memcpy(at, a, sizeof a);
            rows(v, part + k, at, b, N);
            assert_memory_equal(part + k, row, sizeof row);
        }
    }
}

/* Output and input may be the same array. */
static void test_in_place(void **state)
{
    (void)state;
    float a[N], b[N], y[N], z[N];
    fill(a, 11, -6.0f, 6.0f);
    fill(b, 12, 0.25f, 2.0f);
    const mcs_vec *v = mcs_vec_get();
    mcs_vec_map *maps[] = { v->exp, v->gelu, v->sigmoid, v->tanh, v->relu, v->abs };
    for (size_t k = 0; k < sizeof maps / sizeof maps[0]; k++) {
        maps[k](y, a, N);
        memcpy(z, a, sizeof z);
        maps[k](z, z, N);
        assert_memory_equal(y, z, sizeof y);
    }
    mcs_vec_zip *zips[] = { v->add, v->sub, v->mul, v->div };
    for (size_t k = 0; k < 4; k++) {
        zips[k](y, a, b, N);
        memcpy(z, b, sizeof z);
        zips[k](z, a, z, N);
        assert_memory_equal(y, z, sizeof y);
    }
    v->softmax_row(y, a, N);
    memcpy(z, a, sizeof z);
    v->softmax_row(z, z, N);
    assert_memory_equal(y, z, sizeof y);
    v->norm_row(y, a, 0.1f, 2.0f, b, b, N);
    memcpy(z, a, sizeof z);
    v->norm_row(z, z, 0.1f, 2.0f, b, b, N);
    assert_memory_equal(y, z, sizeof y);
}

/* Nothing beyond n is read (sanitizers see it) or written. */
static void test_bounds(void **state)
{
    (void)state;
    for (int i = 0; mcs_vec_at(i); i++)
        for (int n = 1; n < 70; n++) {
            size_t bytes = (size_t)n * sizeof(float);
            float *a = malloc(bytes), *y = malloc(bytes);
            assert_true(a && y);
            for (int j = 0; j < n; j++)
                a[j] = 0.1f * (float)(j + 1);
            chain(mcs_vec_at(i), y, a, a, n);
            rows(mcs_vec_at(i), y, a, a, n);
            free(a);
            free(y);
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_accuracy),
        cmocka_unit_test(test_gelu_slope),
        cmocka_unit_test(test_special_values),
        cmocka_unit_test(test_reductions),
        cmocka_unit_test(test_norm_rows),
        cmocka_unit_test(test_same_bits),
        cmocka_unit_test(test_bounds),
        cmocka_unit_test(test_in_place),
        cmocka_unit_test(test_position_and_alignment),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
