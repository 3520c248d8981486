/* test_permutohedral.c - the lattice: its sums, its likeness to a Gaussian, threads, refusals. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "cam/permutohedral.h"
#include "tests/check.h"

/* One point at 0, d = 2: it is the vertex v0 of its simplex, and the axes 0, 1, 2 join v2-v0,
 * v1-v2 and v0-v1.  From (1,0,0) the blur gives (1,0,1/2), (1,1/4,1/2), (9/8,..): 9/8 / (5/4). */
static void test_single_point(void **state)
{
    (void)state;
    float zero[2] = { 0, 0 }, in = 3, out = 0;
    mcs_error e = { 0 };
    mcs_lattice *l = mcs_lattice_new(zero, 1, 2, NULL, &e);
    assert_non_null(l);
    assert_int_equal(mcs_lattice_vertices(l), 3);
    assert_int_equal(mcs_lattice_filter(l, &in, &out, 1, NULL, &e), MCS_OK);
    assert_true(fabsf(out - 2.7f) < 1e-6f);
    mcs_lattice_free(l);
}

/* Equal points share everything: out is the same for all and linear in the sum. */
static void test_coincident_points(void **state)
{
    (void)state;
    enum { N = 9 };
    float f[N * 3], in[N * 2], out[N * 2];
    for (int i = 0; i < N; i++) {
        f[3 * i] = .3f, f[3 * i + 1] = -1.7f, f[3 * i + 2] = 2.2f;
        in[2 * i] = (float)i, in[2 * i + 1] = 1;
    }
    mcs_error e = { 0 };
    mcs_lattice *l = mcs_lattice_new(f, N, 3, NULL, &e);
    assert_non_null(l);
    assert_int_equal(mcs_lattice_filter(l, in, out, 2, NULL, &e), MCS_OK);
    for (int i = 0; i < N; i++) {
        assert_true(out[2 * i + 1] > 0);
        assert_true(fabsf(out[2 * i] / out[2 * i + 1] - 4) < 1e-5f);
    }
    mcs_lattice_free(l);
}

/* On a dense grid the filter is a Gaussian of deviation 1 to a few per cent. */
static void test_is_gaussian(void **state)
{
    (void)state;
    enum { S = 41 };
    float *f = malloc(S * S * 2 * sizeof *f), *in = calloc(S * S, sizeof *in),
          *out = malloc(S * S * sizeof *out);
    for (int i = 0; i < S * S; i++) {
        f[2 * i] = (float)(i % S) / 5 + 0.13f;
        f[2 * i + 1] = (float)(i / S) / 5 - 0.07f;
    }
    in[20 * S + 20] = 1;
    mcs_error e = { 0 };
    mcs_lattice *l = mcs_lattice_new(f, S * S, 2, NULL, &e);
    assert_non_null(l);
    assert_int_equal(mcs_lattice_filter(l, in, out, 1, NULL, &e), MCS_OK);
    double sum = 0, moment = 0;
    for (int i = 0; i < S * S; i++) {
        double dx = (i % S - 20) / 5.0, dy = (i / S - 20) / 5.0;
        sum += (double)out[i];
        moment += (double)out[i] * (dx * dx + dy * dy);
    }
    assert_true(fabs(moment / sum - 2) < 0.1); /* the variance, over both axes */
    double peak = (double)out[20 * S + 20], at1 = (double)out[20 * S + 25];
    assert_true(fabs(at1 / peak - exp(-0.5)) < 0.12);
    mcs_lattice_free(l);
    free(f);
    free(in);
    free(out);
}

static void fill(float *f, int64_t n, float spread)
{
    uint32_t s = 12345;
    for (int64_t i = 0; i < n; i++) {
        s = s * 1664525u + 1013904223u;
        f[i] = spread * ((float)(s >> 8) / 16777216.0f - 0.5f);
    }
}

/* Several chunks: bits do not depend on the threads, and in place is the same. */
static void test_threads_bitwise(void **state)
{
    (void)state;
    enum { N = 30011, D = 5, K = 3 };
    float *f = malloc(N * D * sizeof *f), *in = malloc(N * K * sizeof *in);
    float *a = malloc(N * K * sizeof *a), *b = malloc(N * K * sizeof *b);
    fill(f, N * D, 6);
    fill(in, N * K, 2);
    memcpy(b, in, N * K * sizeof *b);
    mcs_pool *pool = mcs_pool_new(4);
    mcs_error e = { 0 };
    mcs_lattice *l = mcs_lattice_new(f, N, D, NULL, &e), *m = mcs_lattice_new(f, N, D, pool, &e);
    assert_non_null(l);
    assert_non_null(m);
    assert_int_equal(mcs_lattice_vertices(l), mcs_lattice_vertices(m));
    assert_int_equal(mcs_lattice_filter(l, in, a, K, NULL, &e), MCS_OK);
    assert_int_equal(mcs_lattice_filter(m, b, b, K, pool, &e), MCS_OK);
    assert_memory_equal(a, b, N * K * sizeof *a);
    mcs_lattice_free(l);
    mcs_lattice_free(m);
    mcs_pool_free(pool);
    free(f);
    free(in);
    free(a);
    free(b);
}

/* Points given three times, in different chunks, are the points given once with the sum. */
static void test_chunks_add_up(void **state)
{
    (void)state;
    enum { ONE = 9000, N = 3 * ONE, D = 5 };
    float *f = malloc(N * D * sizeof *f), *in = malloc(N * sizeof *in),
          *sum = malloc(ONE * sizeof *sum);
    fill(f, ONE * D, 6);
    memcpy(f + ONE * D, f, ONE * D * sizeof *f);
    memcpy(f + 2 * ONE * D, f, ONE * D * sizeof *f);
    fill(in, N, 2);
    for (int i = 0; i < ONE; i++)
        sum[i] = in[i] + in[ONE + i] + in[2 * ONE + i];
    mcs_error e = { 0 };
    mcs_lattice *one = mcs_lattice_new(f, ONE, D, NULL, &e),
                *all = mcs_lattice_new(f, N, D, NULL, &e);
    assert_non_null(one);
    assert_non_null(all);
    assert_int_equal(mcs_lattice_filter(one, sum, sum, 1, NULL, &e), MCS_OK);
    assert_int_equal(mcs_lattice_filter(all, in, in, 1, NULL, &e), MCS_OK);
    for (int i = 0; i < N; i++)
        assert_true(fabsf(in[i] - sum[i % ONE]) < 1e-4f);
    mcs_lattice_free(one);
    mcs_lattice_free(all);
    free(f);
    free(in);
    free(sum);
}

/* The filter is symmetric, <a, K b> = <K a, b>, up to the order of the axes of the blur. */
static void test_symmetric(void **state)
{
    (void)state;
    enum { N = 500 };
    float f[N * 2], a[N], b[N], ka[N], kb[N];
    fill(f, N * 2, 8);
    fill(a, N, 1);
    for (int i = 0; i < N; i++)
        b[i] = a[(i * 7 + 3) % N];
    mcs_error e = { 0 };
    mcs_lattice *l = mcs_lattice_new(f, N, 2, NULL, &e);
    assert_non_null(l);
    assert_int_equal(mcs_lattice_filter(l, a, ka, 1, NULL, &e), MCS_OK);
    assert_int_equal(mcs_lattice_filter(l, b, kb, 1, NULL, &e), MCS_OK);
    double left = 0, right = 0, size = 0;
    for (int i = 0; i < N; i++) {
        left += (double)(a[i] * kb[i]);
        right += (double)(ka[i] * b[i]);
        size += (double)fabsf(a[i] * kb[i]);
    }
    assert_true(fabs(left - right) < 0.02 * size);
    mcs_lattice_free(l);
}

static void refused(const float *f, int64_t n, int d, mcs_status s, const char *part)
{
    mcs_error e = { 0 };
    assert_null(mcs_lattice_new(f, n, d, NULL, &e));
    assert_int_equal(e.status, s);
    assert_non_null(strstr(e.message, part));
}

static void test_refusals(void **state)
{
    (void)state;
    float f[16] = { 0 }, x[2] = { 0, 0 };
    refused(f, 0, 2, MCS_EINVAL, "0 points");
    refused(f, 1, 0, MCS_EINVAL, "dimension 0");
    refused(f, 1, 9, MCS_EINVAL, "dimension 9");
    refused(NULL, 1, 2, MCS_EINVAL, "lattice");
    f[3] = NAN;
    refused(f, 4, 2, MCS_ENUMERIC, "finite");
    f[3] = -INFINITY;
    refused(f, 4, 2, MCS_ENUMERIC, "finite");
    f[3] = 40000;
    refused(f, 4, 2, MCS_ENUMERIC, "standard deviations");
    mcs_error e = { 0 };
    mcs_lattice *l = mcs_lattice_new(x, 1, 2, NULL, &e);
    assert_int_equal(mcs_lattice_filter(l, x, x, 0, NULL, &e), MCS_EINVAL);
    mcs_lattice_free(l);
    mcs_lattice_free(NULL);
}

/* All dimensions and the far end of the range: sums of barycentric weights are 1, so a constant
 * is preserved up to the blur, the same factor for all well surrounded points. */
static void test_dimensions(void **state)
{
    (void)state;
    for (int d = 1; d <= MCS_LATTICE_MAX_DIM; d++) {
        enum { N = 61 };
        float f[N * MCS_LATTICE_MAX_DIM], one[N], out[N];
        fill(f, N * d, 4000);
        for (int i = 0; i < N; i++)
            one[i] = 1;
        mcs_error e = { 0 };
        mcs_lattice *l = mcs_lattice_new(f, N, d, NULL, &e);
        assert_non_null(l);
        assert_true(mcs_lattice_vertices(l) <= (N + 1) * (d + 1));
        assert_int_equal(mcs_lattice_filter(l, one, out, 1, NULL, &e), MCS_OK);
        for (int i = 0; i < N; i++)
            assert_true(out[i] > 0.9f / (float)(d + 1) && out[i] < (float)N);
        mcs_lattice_free(l);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_single_point),  cmocka_unit_test(test_coincident_points),
        cmocka_unit_test(test_is_gaussian),   cmocka_unit_test(test_threads_bitwise),
        cmocka_unit_test(test_chunks_add_up), cmocka_unit_test(test_symmetric),
        cmocka_unit_test(test_refusals),      cmocka_unit_test(test_dimensions),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
