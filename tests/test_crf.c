/* test_crf.c - dense CRF: closed forms, pydensecrf's numbers, threads, scale, refusals. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "cam/crf.h"
#include "tests/check.h"

/* K~ of coincident points is 1/n, so the message is the mean of q: softmax(-U + w mean(q)). */
static void test_coincident(void **state)
{
    (void)state;
    float u[4] = { 1, 0, 0, 0.5f }, f[4] = { 2, 3, 2, 3 }, q[4];
    mcs_error e = { 0 };
    mcs_crf *c = mcs_crf_new(2, 2, u, NULL, &e);
    assert_non_null(c);
    assert_int_equal(mcs_crf_add(c, f, 2, 4, &e), MCS_OK);
    assert_int_equal(mcs_crf_infer(c, 1, q, &e), MCS_OK);
    float p0 = 1 / (1 + expf(1)), p1 = 1 / (1 + expf(-0.5f)), mean = (p0 + p1) / 2;
    float lead = 4 * (mean - (1 - mean));
    assert_true(fabsf(q[0] - 1 / (1 + expf(1 - lead))) < 1e-5f);
    assert_true(fabsf(q[2] - 1 / (1 + expf(-0.5f - lead))) < 1e-5f);
    assert_true(fabsf(q[0] + q[1] - 1) < 1e-6f);
    assert_int_equal(mcs_crf_infer(c, 0, q, &e), MCS_OK);
    assert_true(fabsf(q[0] - p0) < 1e-6f);
    mcs_crf_free(c);
}

static void golden_case(const char *name, int terms, const float *compat, int iterations)
{
    mcs_ctx *c = check_ctx();
    char key[64];
    snprintf(key, sizeof key, "%s.unary", name);
    const mcs_tensor *u = check_golden_tensor(c, "crf", key);
    assert_non_null(u);
    mcs_error *e = mcs_ctx_error(c);
    mcs_crf *f = mcs_crf_new(u->shape[0], (int)u->shape[1], mcs_f32(u), mcs_ctx_pool(c), e);
    for (int t = 0; t < terms; t++) {
        snprintf(key, sizeof key, "%s.feature.%d", name, t);
        const mcs_tensor *x = check_golden_tensor(c, "crf", key);
        assert_non_null(x);
        assert_int_equal(mcs_crf_add(f, mcs_f32(x), (int)x->shape[1], compat[t], e), MCS_OK);
    }
    mcs_tensor *q = mcs_new_like(c, u);
    assert_int_equal(mcs_crf_infer(f, iterations, mcs_f32(q), e), MCS_OK);
    snprintf(key, sizeof key, "%s.q", name);
    check_near_named(name, q, check_golden_tensor(c, "crf", key), 1e-5f, 1e-6f);
    mcs_crf_free(f);
    mcs_ctx_free(c);
}

static void test_golden(void **state)
{
    (void)state;
    golden_case("two", 2, (const float[]){ 3, 5 }, 1);
    golden_case("three", 2, (const float[]){ 1.5f, 2 }, 3);
    golden_case("wide", 1, (const float[]){ 2 }, 2);
}

static void test_golden_picture(void **state)
{
    (void)state;
    mcs_ctx *c = check_ctx();
    const mcs_tensor *rgb = check_u8(c, check_golden_tensor(c, "crf", "picture.rgb"));
    const mcs_tensor *map = check_golden_tensor(c, "crf", "picture.map");
    const mcs_tensor *mask = check_u8(c, check_golden_tensor(c, "crf", "picture.mask"));
    assert_non_null(rgb);
    assert_non_null(mask);
    int h = (int)map->shape[0], w = (int)map->shape[1];
    uint8_t *out = malloc((size_t)(w * h));
    mcs_tensor *prob = mcs_new_like(c, map);
    assert_int_equal(mcs_crf_mask(mcs_f32(map), mcs_u8(rgb), w, h, NULL, mcs_ctx_pool(c), out,
                                  mcs_f32(prob), mcs_ctx_error(c)),
                     MCS_OK);
    assert_memory_equal(out, mcs_u8(mask), w * h);
    check_near(prob, check_golden_tensor(c, "crf", "picture.prob"), 1e-4f, 1e-6f);
    free(out);
    mcs_ctx_free(c);
}

static void test_unary(void **state)
{
    (void)state;
    float a[3] = { 0, 0.5f, 2 }, u[6];
    mcs_crf_unary(a, 3, 1e-8f, 1.05f, u);
    assert_true(fabsf(u[1] - 35.087f) < 1e-2f && fabsf(u[0]) < 1e-6f);
    assert_true(u[2] == u[3]);
    assert_true(fabsf(u[5]) < 1e-6f && u[4] > 20);
}

enum { W = 120, H = 90 };

/* A bright disc, and a map that is a wider blob around it. */
static void draw(float *map, uint8_t *rgb)
{
    for (int y = 0; y < H; y++)
        for (int x = 0; x < W; x++) {
            float r2 = (float)((x - 60) * (x - 60) + (y - 45) * (y - 45));
            map[y * W + x] = expf(-r2 / (2 * 20 * 20));
            for (int k = 0; k < 3; k++)
                rgb[3 * (y * W + x) + k] =
                    (uint8_t)((r2 < 18 * 18 ? 180 : 60) + (x * 7 + y * 5) % 5);
        }
}

static double overlap(const uint8_t *a, const uint8_t *b)
{
    int both = 0, all = 0;
    for (int i = 0; i < W * H; i++) {
        both += 2 * (a[i] && b[i]);
        all += (a[i] != 0) + (b[i] != 0);
    }
    return all ? (double)both / all : 1;
}

static void test_mask_follows_edges(void **state)
{
    (void)state;
    static float map[W * H];
    static uint8_t rgb[3 * W * H], mask[W * H], small[W * H], again[W * H], disc[W * H];
    draw(map, rgb);
    for (int i = 0; i < W * H; i++)
        disc[i] = rgb[3 * i] > 120;
    mcs_error e = { 0 };
    mcs_crf_opts o = mcs_crf_defaults();
    o.iterations = 5;
    assert_int_equal(mcs_crf_mask(map, rgb, W, H, &o, NULL, mask, NULL, &e), MCS_OK);
    assert_true(overlap(mask, disc) > 0.97);
    mcs_pool *pool = mcs_pool_new(3);
    assert_int_equal(mcs_crf_mask(map, rgb, W, H, &o, pool, again, NULL, &e), MCS_OK);
    assert_memory_equal(mask, again, W * H);
    mcs_pool_free(pool);

    o.pixels_max = W * H / 4; /* half the scale */
    assert_int_equal(mcs_crf_mask(map, rgb, W, H, &o, NULL, small, NULL, &e), MCS_OK);
    assert_true(overlap(small, mask) > 0.9);
    o.reduce = false;
    assert_int_equal(mcs_crf_mask(map, rgb, W, H, &o, NULL, small, NULL, &e), MCS_EINVAL);
    assert_non_null(strstr(e.message, "pixels_max"));

    e = (mcs_error){ 0 };
    o = mcs_crf_defaults();
    o.bilateral_compat = 0; /* then no picture is needed */
    assert_int_equal(mcs_crf_mask(map, NULL, W, H, &o, NULL, mask, NULL, &e), MCS_OK);
    assert_true(overlap(mask, disc) > 0.6);
}

static void refused(const mcs_crf_opts *o, const float *map, const uint8_t *rgb, mcs_status s,
                    const char *part)
{
    mcs_error e = { 0 };
    uint8_t mask[6];
    assert_int_equal(mcs_crf_mask(map, rgb, 3, 2, o, NULL, mask, NULL, &e), s);
    assert_non_null(strstr(e.message, part));
}

static void test_refusals(void **state)
{
    (void)state;
    float map[6] = { 0, .1f, .2f, .3f, .4f, .5f };
    uint8_t rgb[18] = { 0 };
    mcs_crf_opts o = mcs_crf_defaults();
    refused(&o, map, NULL, MCS_EINVAL, "missing");
    o.tau = 0;
    refused(&o, map, rgb, MCS_EINVAL, "tau");
    o = mcs_crf_defaults();
    o.bilateral_srgb = -1;
    refused(&o, map, rgb, MCS_EINVAL, "bilateral_srgb");
    o = mcs_crf_defaults();
    o.gaussian_sxy = NAN;
    refused(&o, map, rgb, MCS_EINVAL, "gaussian_sxy");
    o = mcs_crf_defaults();
    o.iterations = -1;
    refused(&o, map, rgb, MCS_EINVAL, "iterations");
    o = mcs_crf_defaults();
    o.gaussian_sxy = 1e-6f; /* beyond the lattice */
    refused(&o, map, rgb, MCS_ENUMERIC, "standard deviations");
    map[4] = NAN;
    refused(NULL, map, rgb, MCS_ENUMERIC, "(1, 1)");

    mcs_error e = { 0 };
    float u[4] = { 0, 1, INFINITY, 0 };
    assert_null(mcs_crf_new(2, 2, u, NULL, &e));
    assert_int_equal(e.status, MCS_ENUMERIC);
    e = (mcs_error){ 0 };
    assert_null(mcs_crf_new(4, 1, u, NULL, &e));
    assert_int_equal(e.status, MCS_EINVAL);
    mcs_crf_free(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_coincident),         cmocka_unit_test(test_golden),
        cmocka_unit_test(test_golden_picture),     cmocka_unit_test(test_unary),
        cmocka_unit_test(test_mask_follows_edges), cmocka_unit_test(test_refusals),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
