/* test_metrics.c - masks compared: by hand, against surface-distance, MONAI, scikit-learn and SciPy
 * (tests/golden/make_metrics.py), degenerate masks, refusals. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "losses/metrics.h"
#include "tests/check.h"

#define NEAR(a, b) check_value(__LINE__, a, b, 1e-9)

static void check_value(int line, double a, double b, double tol)
{
    bool same = a == b || (isnan(a) && isnan(b)) || fabs(a - b) <= tol * fmax(1, fabs(b));
    if (!same)
        fail_msg("line %d: %.12g, expected %.12g", line, a, b);
}

static void test_overlap(void **state)
{
    (void)state;
    const uint8_t truth[8] = { 1, 255, 1, 1, 0, 0, 0, 0 }, found[8] = { 0, 1, 2, 0, 1, 0, 0, 0 };
    const uint8_t none[8] = { 0 };
    mcs_overlap o = mcs_overlap_count(truth, found, 8);
    NEAR(mcs_dsc(&o), 4 / 7.0);
    NEAR(mcs_iou(&o), 2 / 5.0);
    NEAR(mcs_overlap_sensitivity(&o), 0.5);
    NEAR(mcs_overlap_precision(&o), 2 / 3.0);
    NEAR(mcs_auc_mask(&o), 0.5 * (0.5 + 0.75));
    o = mcs_overlap_count(none, none, 8);
    NEAR(mcs_dsc(&o), (double)NAN);
    NEAR(mcs_iou(&o), (double)NAN);
    NEAR(mcs_auc_mask(&o), (double)NAN);
    NEAR(mcs_metric_or(mcs_dsc(&o), 1), 1);
    o = mcs_overlap_count(none, found, 8);
    NEAR(mcs_dsc(&o), 0);
    NEAR(mcs_metric_or(mcs_dsc(&o), 1), 0);
    NEAR(mcs_overlap_sensitivity(&o), (double)NAN);
    NEAR(mcs_overlap_precision(&o), 0);
}

/* ---- Distances ---- */

/* Against all pairs of pixels. */
static void check_transform(const mcs_grid *g, unsigned seed)
{
    int64_t n[3] = { 1, 1, 1 }, count;
    double w[3] = { 1, 1, 1 }, d[400];
    uint8_t site[400] = { 0 };
    for (int i = 0; i < g->dims; i++) {
        n[3 - g->dims + i] = g->size[i];
        w[3 - g->dims + i] = g->spacing[i];
    }
    count = n[0] * n[1] * n[2];
    for (int64_t i = 0; i < count; i++) {
        seed = seed * 1664525u + 1013904223u;
        site[i] = seed >> 24 < 20;
    }
    assert_int_equal(mcs_distance_transform(g, site, d, NULL), MCS_OK);
    for (int64_t i = 0; i < count; i++) {
        double best = (double)INFINITY;
        for (int64_t j = 0; j < count; j++) {
            double z = (double)(i / (n[1] * n[2]) - j / (n[1] * n[2])) * w[0];
            double y = (double)(i / n[2] % n[1] - j / n[2] % n[1]) * w[1];
            double x = (double)(i % n[2] - j % n[2]) * w[2];
            if (site[j])
                best = fmin(best, sqrt(z * z + y * y + x * x));
        }
        NEAR(d[i], best);
    }
}

static void test_transform(void **state)
{
    (void)state;
    for (unsigned seed = 1; seed < 6; seed++) {
        check_transform(&(mcs_grid){ 2, { 17, 19 }, { 1, 1 } }, seed);
        check_transform(&(mcs_grid){ 2, { 1, 50 }, { 0.3, 2 } }, seed);
        check_transform(&(mcs_grid){ 3, { 5, 8, 9 }, { 3, 0.5, 0.8 } }, seed);
    }
    uint8_t none[6] = { 0 };
    double d[6];
    assert_int_equal(mcs_distance_transform(&(mcs_grid){ 2, { 2, 3 }, { 1, 1 } }, none, d, NULL),
                     MCS_OK);
    assert_true(isinf(d[0]) && isinf(d[5]));
}

static void test_weights(void **state)
{
    (void)state;
    double w[256];
    mcs_surface_weights(&(mcs_grid){ 2, { 1, 1 }, { 3, 4 } }, w);
    NEAR(w[0] + w[15], 0);
    NEAR(w[1], 2.5);
    NEAR(w[3], 4);
    NEAR(w[5], 3);
    NEAR(w[6], 5);
    mcs_surface_weights(&(mcs_grid){ 3, { 1, 1, 1 }, { 1, 2, 3 } }, w);
    NEAR(w[0] + w[255], 0);
    NEAR(w[0x0F], 6); /* a flat face across the first axis */
    NEAR(w[0x33], 3); /* the second */
    NEAR(w[1], 0.125 * sqrt(36 + 9 + 4)); /* a corner cut off */
    NEAR(w[3], 0.5 * sqrt(36 + 9)); /* an edge */
    for (int i = 0; i < 256; i++)
        NEAR(w[i], w[255 - i]);
}

/* ---- Boundaries ---- */

enum { SIDE = 40 };

static void square(uint8_t *mask, int x, int y, int side)
{
    memset(mask, 0, SIDE * SIDE);
    for (int i = 0; i < side; i++)
        memset(mask + (y + i) * SIDE + x, 1, (size_t)side);
}

/* Two 20 x 20 squares, one shifted: region and boundary NSD are different things. */
static void test_shifted_squares(void **state)
{
    (void)state;
    static const double expected[3][4] = { { 3, 0.850, 0.967, 0.551 },
                                           { 5, 0.750, 0.868, 0.500 },
                                           { 8, 0.600, 0.721, 0.424 } };
    const mcs_grid g = { 2, { SIDE, SIDE }, { 1, 1 } };
    for (int i = 0; i < 3; i++) {
        uint8_t a[SIDE * SIDE], b[SIDE * SIDE];
        int shift = (int)expected[i][0];
        double region, pixels;
        mcs_surface s;
        square(a, 5, 5, 20);
        square(b, 5 + shift, 5, 20);
        mcs_overlap o = mcs_overlap_count(a, b, SIDE * SIDE);
        assert_int_equal(mcs_surface_compare(&g, a, b, &s, NULL), MCS_OK);
        assert_int_equal(mcs_nsd_official_region(a, b, SIDE, SIDE, 2, &region, NULL), MCS_OK);
        assert_int_equal(mcs_hausdorff_pixels(&g, a, b, 95, &pixels, NULL), MCS_OK);
        check_value(__LINE__, mcs_dsc(&o), expected[i][1], 6e-4);
        check_value(__LINE__, region, expected[i][2], 6e-4);
        check_value(__LINE__, mcs_nsd(&s, 2), expected[i][3], 6e-4);
        NEAR(mcs_hausdorff(&s, 100), shift);
        NEAR(pixels, shift);
        mcs_surface_free(&s);
    }
}

/* 19 of 20 equal weights are 95 %: the distance that is reached, not the next. */
static void test_percentile(void **state)
{
    (void)state;
    mcs_surfel x[20], y = { 3, 1 };
    for (int i = 0; i < 20; i++)
        x[i] = (mcs_surfel){ i, 1 };
    NEAR(mcs_hausdorff(&(const mcs_surface){ x, &y, 20, 1 }, 95), 18);
    NEAR(mcs_hausdorff(&(const mcs_surface){ &y, x, 1, 20 }, 100), 19);
    x[19].weight = 2; /* the last one now has more than 5 % */
    NEAR(mcs_hausdorff(&(const mcs_surface){ x, &y, 20, 1 }, 95), 19);
}

static void test_empty(void **state)
{
    (void)state;
    const mcs_grid g = { 2, { SIDE, SIDE }, { 1, 1 } };
    uint8_t a[SIDE * SIDE], none[SIDE * SIDE] = { 0 };
    double v;
    mcs_surface s;
    square(a, 0, 0, SIDE);
    assert_int_equal(mcs_surface_compare(&g, none, none, &s, NULL), MCS_OK);
    NEAR(mcs_nsd(&s, 2), (double)NAN);
    NEAR(mcs_hausdorff(&s, 95), (double)NAN);
    mcs_surface_free(&s);
    assert_int_equal(mcs_surface_compare(&g, a, none, &s, NULL), MCS_OK);
    NEAR(mcs_nsd(&s, 2), 0);
    NEAR(mcs_hausdorff(&s, 95), (double)INFINITY);
    assert_int_equal(s.truths, 4 * SIDE);
    mcs_surface_free(&s);
    mcs_surface_free(NULL);
    assert_int_equal(mcs_hausdorff_pixels(&g, none, a, 95, &v, NULL), MCS_OK);
    NEAR(v, (double)INFINITY);
    assert_int_equal(mcs_hausdorff_pixels(&g, none, none, 95, &v, NULL), MCS_OK);
    NEAR(v, (double)NAN);
    assert_int_equal(mcs_nsd_official_region(none, none, SIDE, SIDE, 2, &v, NULL), MCS_OK);
    NEAR(v, (double)NAN);
}

static void test_refusals(void **state)
{
    (void)state;
    uint8_t m[4] = { 1, 0, 0, 1 };
    double d[4];
    mcs_surface s;
    mcs_error e = { 0 };
    assert_int_equal(mcs_distance_transform(&(mcs_grid){ 4, { 1, 1, 1 }, { 1, 1, 1 } }, m, d, &e),
                     MCS_ESHAPE);
    assert_int_equal(mcs_surface_compare(&(mcs_grid){ 2, { 2, 0 }, { 1, 1 } }, m, m, &s, NULL),
                     MCS_ESHAPE);
    assert_int_equal(
        mcs_surface_compare(&(mcs_grid){ 3, { 1 << 30, 1 << 30, 2 }, { 1, 1, 1 } }, m, m, &s, NULL),
        MCS_ESHAPE);
    assert_int_equal(mcs_surface_compare(&(mcs_grid){ 2, { 2, 2 }, { 1, 0 } }, m, m, &s, NULL),
                     MCS_EINVAL);
    assert_int_equal(
        mcs_hausdorff_pixels(&(mcs_grid){ 2, { 2, 2 }, { (double)NAN, 1 } }, m, m, 95, d, NULL),
        MCS_EINVAL);
}

/* ---- Golden values ---- */

static mcs_tensor *golden(mcs_ctx *c, const char *a, const char *b)
{
    char name[64];
    snprintf(name, sizeof name, "%s%s", a, b);
    mcs_tensor *x = check_golden_tensor(c, "metrics", name);
    assert_non_null(x);
    return x;
}

static void check_pair(const mcs_grid *g, const uint8_t *a, const uint8_t *b, const float *value)
{
    mcs_surface s;
    double v;
    int64_t n = g->size[0] * g->size[1] * (g->dims == 3 ? g->size[2] : 1);
    assert_int_equal(mcs_surface_compare(g, a, b, &s, NULL), MCS_OK);
    check_value(__LINE__, mcs_nsd(&s, 1.5), (double)value[0], 1e-6);
    check_value(__LINE__, mcs_hausdorff(&s, 95), (double)value[1], 1e-6);
    check_value(__LINE__, mcs_hausdorff(&s, 100), (double)value[2], 1e-6);
    mcs_surface_free(&s);
    assert_int_equal(mcs_hausdorff_pixels(g, a, b, 95, &v, NULL), MCS_OK);
    check_value(__LINE__, v, (double)value[3],
                1e-5); /* MONAI's percentile is in single precision */
    mcs_overlap o = mcs_overlap_count(a, b, n);
    check_value(__LINE__, mcs_auc_mask(&o), (double)value[4], 1e-6);
    if (g->dims == 3)
        return;
    assert_int_equal(mcs_nsd_official_region(a, b, g->size[0], g->size[1], 2, &v, NULL), MCS_OK);
    check_value(__LINE__, v, (double)value[5], 1e-6);
}

static void check_masks(const char *name, int dims)
{
    mcs_ctx *c = check_ctx();
    const mcs_tensor *x = check_u8(c, golden(c, name, ".truth"));
    const mcs_tensor *y = check_u8(c, golden(c, name, ".found"));
    const float *w = mcs_f32(golden(c, name, ".spacing"));
    const float *value = mcs_f32(golden(c, name, ".value"));
    int64_t n = mcs_numel(x) / x->shape[0];
    for (int64_t i = 0; i < x->shape[0]; i++) {
        mcs_grid g = { .dims = dims };
        for (int k = 0; k < dims; k++) {
            g.size[k] = x->shape[k + 1];
            g.spacing[k] = round((double)w[i * dims + k] * 10) / 10;
        }
        check_pair(&g, mcs_u8(x) + i * n, mcs_u8(y) + i * n, value + i * 6);
    }
    mcs_ctx_free(c);
}

static void test_golden_masks(void **state)
{
    (void)state;
    check_masks("flat", 2);
    check_masks("solid", 3);
}

static void test_auc(void **state)
{
    (void)state;
    mcs_ctx *c = check_ctx();
    const mcs_tensor *score = golden(c, "auc", ".score");
    const uint8_t *truth = mcs_u8(check_u8(c, golden(c, "auc", ".truth")));
    const float *value = mcs_f32(golden(c, "auc", ".value"));
    int64_t n = score->shape[1];
    double v;
    for (int64_t i = 0; i < score->shape[0]; i++) {
        assert_int_equal(mcs_auc(truth + i * n, mcs_f32(score) + i * n, n, &v, NULL), MCS_OK);
        check_value(__LINE__, v, (double)value[i], 1e-6);
    }
    const float ties[4] = { 0, -0.0f, 1e30f, -1e30f };
    assert_int_equal(mcs_auc((const uint8_t[4]){ 1, 0, 1, 0 }, ties, 4, &v, NULL), MCS_OK);
    NEAR(v, 0.875);
    assert_int_equal(mcs_auc((const uint8_t[4]){ 0 }, ties, 4, &v, NULL), MCS_OK);
    NEAR(v, (double)NAN);
    assert_int_equal(mcs_auc(truth, &(const float){ (float)NAN }, 1, &v, NULL), MCS_ENUMERIC);
    mcs_ctx_free(c);
}

/* ---- Many ---- */

static void test_summary(void **state)
{
    (void)state;
    const double v[5] = { 1, (double)NAN, 4, 2, 3 };
    mcs_summary s, again;
    assert_int_equal(mcs_summarise(v, 5, 2000, 3, &s, NULL), MCS_OK);
    assert_int_equal(mcs_summarise(v, 5, 2000, 3, &again, NULL), MCS_OK);
    assert_int_equal(s.n, 4);
    NEAR(s.mean, 2.5);
    NEAR(s.std, sqrt(5 / 3.0));
    NEAR(s.median, 2.5);
    assert_memory_equal(&s, &again, sizeof s);
    /* 4^4 equally likely samples: 2.5 % of their means lie at or below 1.5, and so above */
    NEAR(s.low, 1.5);
    NEAR(s.high, 3.5);
    /* 1 sample in 27 has three ones: the 97.5th percentile, not yet the 95th */
    assert_int_equal(mcs_summarise((const double[3]){ 0, 0, 1 }, 3, 5000, 3, &s, NULL), MCS_OK);
    NEAR(s.high, 1);
    assert_int_equal(mcs_summarise(v + 1, 1, 100, 1, &s, NULL), MCS_OK);
    assert_true(s.n == 0 && isnan(s.mean) && isnan(s.low));
    assert_int_equal(mcs_summarise(v, 1, 100, 1, &s, NULL), MCS_OK);
    assert_true(s.n == 1 && s.low == 1 && s.high == 1 && isnan(s.std));
}

static void check_wilcoxon(int n, int digits)
{
    mcs_ctx *c = check_ctx();
    char key[32];
    double a[80], b[80], scale = pow(10, digits);
    mcs_signed_rank r;
    snprintf(key, sizeof key, "wilcoxon.%d.%d", n, digits);
    const float *x = mcs_f32(golden(c, key, "")), *value = mcs_f32(golden(c, key, ".value"));
    for (int i = 0; i < n; i++) { /* the decimals that single precision lost, for ties */
        a[i] = digits < 9 ? round((double)x[i] * scale) / scale : (double)x[i];
        b[i] = digits < 9 ? round((double)x[n + i] * scale) / scale : (double)x[n + i];
    }
    assert_int_equal(mcs_wilcoxon(a, b, n, &r, NULL), MCS_OK);
    check_value(__LINE__, r.statistic, (double)value[0], 1e-6);
    check_value(__LINE__, r.p, (double)value[1], 1e-6);
    mcs_ctx_free(c);
}

static void test_wilcoxon(void **state)
{
    (void)state;
    static const int cases[][2] = { { 5, 9 },  { 12, 1 }, { 13, 9 }, { 30, 9 },
                                    { 30, 1 }, { 50, 9 }, { 51, 9 }, { 80, 2 } };
    for (int i = 0; i < 8; i++)
        check_wilcoxon(cases[i][0], cases[i][1]);
    const double a[4] = { 1, 2, 3, (double)NAN }, b[4] = { 0, 0, 0, 1 };
    mcs_signed_rank r;
    assert_int_equal(mcs_wilcoxon(a, b, 4, &r, NULL), MCS_OK);
    assert_true(r.n == 3 && r.larger == 3 && r.exact);
    NEAR(r.p, 0.25);
    assert_int_equal(mcs_wilcoxon(a, a, 4, &r, NULL), MCS_OK);
    assert_true(r.zeros == 3 && r.p == 1);
    double many[15];
    for (int i = 0; i < 15; i++)
        many[i] = i;
    assert_int_equal(mcs_wilcoxon(many, (const double[15]){ 0 }, 15, &r, NULL), MCS_OK);
    assert_true(r.zeros == 1 && !r.exact); /* as SciPy, though there are no ties */
    assert_int_equal(mcs_wilcoxon(a, b, 0, &r, NULL), MCS_OK);
    assert_true(r.n == 0 && isnan(r.p));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_overlap),    cmocka_unit_test(test_transform),
        cmocka_unit_test(test_weights),    cmocka_unit_test(test_shifted_squares),
        cmocka_unit_test(test_percentile), cmocka_unit_test(test_empty),
        cmocka_unit_test(test_refusals),   cmocka_unit_test(test_golden_masks),
        cmocka_unit_test(test_auc),        cmocka_unit_test(test_summary),
        cmocka_unit_test(test_wilcoxon),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
