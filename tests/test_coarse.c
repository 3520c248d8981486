/* test_coarse.c - thresholds by hand; Otsu and two-means by trying all of them. */
#include <math.h>
#include "cam/coarse.h"
#include "tests/check.h"

static void test_threshold(void **state)
{
    (void)state;
    float map[5] = { 0, 0.3f, 0.31f, 1, NAN };
    uint8_t mask[5];
    mcs_coarse_threshold(map, 5, 0.3f, mask);
    const uint8_t expected[5] = { 0, 0, 1, 1, 0 };
    assert_memory_equal(mask, expected, 5);
}

enum { N = 400 };

/* Two humps of different weight. */
static void humps(float *map)
{
    for (int i = 0; i < N; i++) {
        float u = (float)((i * 37) % 101) / 101 + (float)((i * 53) % 97) / 97 - 1;
        map[i] = i % 4 == 0 ? 0.75f + 0.12f * u : 0.25f + 0.2f * u;
    }
}

static double within(const float *map, double t)
{
    double sum[2] = { 0 }, square = 0, count[2] = { 0 };
    for (int i = 0; i < N; i++) {
        int s = (double)map[i] > t;
        sum[s] += (double)map[i];
        count[s]++;
        square += (double)map[i] * (double)map[i];
    }
    for (int s = 0; s < 2; s++)
        square -= count[s] > 0 ? sum[s] * sum[s] / count[s] : 0;
    return square;
}

static void test_otsu(void **state)
{
    (void)state;
    float map[N], rounded[N];
    humps(map);
    for (int i = 0; i < N; i++)
        rounded[i] = rintf(255 * map[i]) / 255;
    double t = (double)mcs_coarse_otsu(map, N), best = within(rounded, t);
    for (int level = 0; level < 255; level++)
        assert_true(best <= within(rounded, (level + 0.5) / 255) + 1e-9);
    float two[4] = { 0.1f, 0.1f, 0.9f, 0.9f };
    t = (double)mcs_coarse_otsu(two, 4);
    assert_true(t > 0.1 && t < 0.11); /* the first of many equal ones */
    float flat[3] = { 0.5f, 0.5f, 0.5f };
    mcs_coarse_otsu(flat, 3);
}

static void test_two_means(void **state)
{
    (void)state;
    float map[N];
    humps(map);
    double t = (double)mcs_coarse_two_means(map, N), best = within(map, t);
    for (int i = 0; i < N; i++)
        assert_true(best <= within(map, (double)map[i]) + 1e-9);
    float four[5] = { 0, 0.2f, 0.8f, 1, NAN };
    assert_true(fabsf(mcs_coarse_two_means(four, 5) - 0.5f) < 1e-6f);
    /* five levels where Lloyd from the extremes would stop at 0.53 */
    for (int i = 0; i < N; i++)
        map[i] = rintf(4 * powf((float)i / N, 1.5f)) / 4;
    t = (double)mcs_coarse_two_means(map, N);
    assert_true(within(map, t) <= within(map, 0.375) + 1e-9 && t < 0.5);
    float flat[2] = { 0.25f, 0.25f };
    assert_true(mcs_coarse_two_means(flat, 2) == 0.25f);
    float none[1] = { NAN };
    assert_true(mcs_coarse_two_means(none, 1) == 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_threshold),
        cmocka_unit_test(test_otsu),
        cmocka_unit_test(test_two_means),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
