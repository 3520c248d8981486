/* test_phantom_shapes.c - what phantoms are drawn with: random numbers, elementary functions against
 * the C library's, noise of mean 0 and variance 1, outlines. */
#include <stdlib.h>
#include "image/phantom_internal.h"
#include "tests/check.h"

static void test_functions(void **state)
{
    (void)state;
    for (int i = -4000; i <= 4000; i++) {
        float t = (float)i / 997;
        assert_true(fabs((double)mcs_sin_turns(t) - sin(6.283185307179586 * (double)t)) < 1e-5);
        assert_true(fabs((double)mcs_cos_turns(t) - cos(6.283185307179586 * (double)t)) < 1e-5);
        double e = exp((double)(t * 15)), l = log(exp((double)(t * 15)));
        assert_true(fabs((double)mcs_expf(t * 15) - e) < 2e-5 * e);
        assert_true(fabs((double)mcs_logf((float)e) - l) < 1e-5 * (1 + fabs(l)));
        float x = mcs_cos_turns(t) * 3, y = mcs_sin_turns(t) * 3;
        double turns = atan2((double)y, (double)x) / 6.283185307179586;
        double away = fabs((double)mcs_atan2_turns(y, x) - turns);
        assert_true(away < 1e-4 || away > 1 - 1e-4);
    }
    assert_true(mcs_expf(-1000) == 0);
    assert_true(mcs_powf(0, 0.5f) == 0);
    assert_true(fabsf(mcs_powf(2, 0.5f) - 1.4142135f) < 1e-5f);
    assert_true(mcs_atan2_turns(0, 0) == 0);
}

static void test_dice(void **state)
{
    (void)state;
    enum { N = 40000 };
    mcs_dice d = mcs_dice_of(1, 2, 3), same = mcs_dice_of(1, 2, 3), other = mcs_dice_of(1, 2, 4);
    double sum = 0, square = 0, normal = 0, normal2 = 0;
    int by[5] = { 0 }, equal = 0;
    for (int i = 0; i < N; i++) {
        uint64_t a = mcs_dice_next(&d);
        assert_true(a == mcs_dice_next(&same));
        equal += a == mcs_dice_next(&other);
        float u = mcs_dice_in(&d, -1, 3), n = mcs_dice_normal(&d);
        assert_true(u >= -1 && u < 3);
        sum += (double)u;
        square += (double)(u * u);
        normal += (double)n;
        normal2 += (double)(n * n);
        by[mcs_dice_below(&d, 5)]++;
        mcs_dice_next(&same);
        mcs_dice_next(&same);
        mcs_dice_next(&same);
    }
    assert_int_equal(equal, 0);
    assert_true(fabs(sum / N - 1) < 0.03);
    assert_true(fabs(square / N - 7 / 3.0) < 0.05);
    assert_true(fabs(normal / N) < 0.02);
    assert_true(fabs(normal2 / N - 1) < 0.03);
    for (int i = 0; i < 5; i++)
        assert_in_range(by[i], N / 5 - 400, N / 5 + 400);
}

/* A canvas with one plane. */
static mcs_canvas canvas(int size, uint64_t seed)
{
    mcs_canvas c = { .size = size, .dice = mcs_dice_of(seed, 0, 0) };
    c.plane[0] = malloc((size_t)size * (size_t)size * sizeof(float));
    c.work = malloc(MCS_FIELD_WORK(size) * sizeof(float));
    assert_non_null(c.plane[0]);
    assert_non_null(c.work);
    return c;
}

static void canvas_free(mcs_canvas *c)
{
    free(c->plane[0]);
    free(c->work);
}

static void test_noise(void **state)
{
    (void)state;
    static const int grids[][2] = { { 2, 2 }, { 3, 2 }, { 9, 30 }, { 80, 150 }, { 200, 200 } };
    for (size_t g = 0; g < sizeof grids / sizeof *grids; g++) {
        double mean = 0, square = 0, rough = 0;
        enum { SIZE = 60, TIMES = 40 };
        for (uint64_t k = 0; k < TIMES; k++) {
            mcs_canvas c = canvas(SIZE, k);
            mcs_canvas_field(&c, 0, grids[g][0], grids[g][1]);
            for (int i = 0; i < SIZE * SIZE; i++) {
                mean += (double)c.plane[0][i];
                square += (double)(c.plane[0][i] * c.plane[0][i]);
                if (i % SIZE)
                    rough += fabs((double)(c.plane[0][i] - c.plane[0][i - 1]));
            }
            canvas_free(&c);
        }
        double n = (double)SIZE * SIZE * TIMES;
        assert_true(fabs(mean / n) < 0.15);
        assert_true(square / n > 0.75 && square / n < 1.25);
        /* steps of few bumps are small, those of many are not */
        assert_true(rough / n < 0.09 * grids[g][0]);
        assert_true(rough / n > (grids[g][0] > 60 ? 0.5 : 0.005));
    }
}

/* One plane at two sizes, the larger threefold: the same values where pixel centres meet. */
static void test_noise_at_sizes(void **state)
{
    (void)state;
    mcs_canvas a = canvas(40, 5), b = canvas(120, 5);
    mcs_canvas_field(&a, 0, 11, 7);
    mcs_canvas_field(&b, 0, 11, 7);
    for (int y = 0; y < 40; y++)
        for (int x = 0; x < 40; x++)
            assert_true(a.plane[0][y * 40 + x] == b.plane[0][(3 * y + 1) * 120 + 3 * x + 1]);
    /* smooth: no step between pixels is larger than a bump is steep */
    for (int i = 1; i < 120 * 120; i++)
        if (i % 120)
            assert_true(fabsf(b.plane[0][i] - b.plane[0][i - 1]) < 0.35f);
    for (int i = 120; i < 120 * 120; i++)
        assert_true(fabsf(b.plane[0][i] - b.plane[0][i - 120]) < 0.25f);
    canvas_free(&a);
    canvas_free(&b);
}

static void test_blob(void **state)
{
    (void)state;
    mcs_blob b;
    mcs_dice d = mcs_dice_of(1, 1, 1);
    mcs_blob_make(&b, &d, 0.4f, 0.6f, 0.2f, 0.1f, 0.125f, 0, 6); /* an ellipse, turned 45 degrees */
    float r = sqrtf(0.5f);
    assert_true(mcs_blob_at(&b, 0.4f, 0.6f) == 0);
    assert_true(fabsf(mcs_blob_at(&b, 0.4f + 0.2f * r, 0.6f + 0.2f * r) - 1) < 1e-3f);
    assert_true(fabsf(mcs_blob_at(&b, 0.4f - 0.1f * r, 0.6f + 0.1f * r) - 1) < 1e-3f);
    assert_true(fabsf(mcs_blob_at(&b, 0.4f + 0.4f * r, 0.6f + 0.4f * r) - 2) < 2e-3f);
    assert_true(mcs_blob_at(&b, 0.95f, 0.6f) == 9);
    assert_true(fabsf(mcs_blob_cover(&b, 1, 0.02f) - 0.5f) < 1e-6f);
    assert_true(mcs_blob_cover(&b, 0.8f, 0.02f) == 1 && mcs_blob_cover(&b, 1.2f, 0.02f) == 0);
    /* an irregular one keeps to its limits and closes without a step */
    mcs_blob_make(&b, &d, 0.5f, 0.5f, 0.2f, 0.2f, 0, 0.3f, 10);
    float least = 9, most = 0;
    for (int i = 0; i < MCS_BLOB_ANGLES; i++) {
        least = b.radius[i] < least ? b.radius[i] : least;
        most = b.radius[i] > most ? b.radius[i] : most;
        assert_true(fabsf(b.radius[i + 1] - b.radius[i]) < 0.08f);
    }
    assert_true(b.radius[0] == b.radius[MCS_BLOB_ANGLES]);
    assert_true(least >= 0.45f && most <= 1.6f && most - least > 0.2f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_functions), cmocka_unit_test(test_dice),
        cmocka_unit_test(test_noise),     cmocka_unit_test(test_noise_at_sizes),
        cmocka_unit_test(test_blob),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
