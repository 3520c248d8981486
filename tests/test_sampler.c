/* test_sampler.c - epochs: every sample at most once, functions of seed and epoch, kinds. */
#include <stdlib.h>
#include <string.h>
#include "models/sampler.h"
#include "tests/check.h"

enum { N = 103, BATCH = 10 };

static void epoch_of(const mcs_sampler *s, int64_t epoch, int64_t *order)
{
    mcs_error e = { MCS_OK, "" };
    if (mcs_sampler_epoch(s, epoch, order, &e) != MCS_OK)
        fail_msg("%s", e.message);
}

static void test_epochs(void **state)
{
    (void)state;
    int64_t a[N], b[N], seen[N] = { 0 };
    mcs_sampler s = { .count = N, .batch = BATCH, .seed = 5 };
    assert_int_equal(mcs_sampler_batches(&s), 10);
    epoch_of(&s, 3, a);
    epoch_of(&s, 3, b);
    assert_memory_equal(a, b, 100 * sizeof *a);
    epoch_of(&s, 4, b);
    assert_memory_not_equal(a, b, 100 * sizeof *a);
    s.seed = 6;
    epoch_of(&s, 3, b);
    assert_memory_not_equal(a, b, 100 * sizeof *a);
    for (int i = 0; i < 100; i++)
        assert_int_equal(seen[a[i]]++, 0);
}

static void test_kinds(void **state)
{
    (void)state;
    int64_t order[N], seen[N] = { 0 };
    int32_t kind[N];
    for (int i = 0; i < N; i++)
        kind[i] = i % 3;
    mcs_sampler s = {
        .count = N, .batch = BATCH, .kind = kind, .kinds = 3, .same_kind = 0.6, .seed = 1
    };
    epoch_of(&s, 0, order);
    int same = 0, first_mixed = -1, last_same = -1;
    for (int b = 0; b < 10; b++) {
        bool one = true;
        for (int i = 0; i < BATCH; i++) {
            assert_int_equal(seen[order[b * BATCH + i]]++, 0);
            one = one && kind[order[b * BATCH + i]] == kind[order[b * BATCH]];
        }
        same += one;
        if (one)
            last_same = b;
        else if (first_mixed < 0)
            first_mixed = b;
    }
    assert_int_equal(same, 6); /* floor(.6 * 34) / 10 of each kind */
    assert_true(first_mixed < last_same); /* their order is shuffled too */
}

static void test_uniform(void **state)
{
    (void)state;
    int count[5][5] = { { 0 } };
    for (uint64_t i = 0; i < 5000; i++) {
        int64_t order[5];
        mcs_permutation(order, 5, 9, i);
        for (int k = 0; k < 5; k++)
            count[k][order[k]]++;
    }
    for (int i = 0; i < 25; i++) /* 1000 expected, sd 28 */
        assert_in_range(count[i / 5][i % 5], 880, 1120);
    for (uint64_t i = 0; i < 100; i++)
        assert_in_range(mcs_random_below(1, i, 3), 0, 2);
}

static void test_refusals(void **state)
{
    (void)state;
    int64_t order[N];
    int32_t kind[N] = { 0 };
    mcs_error e = { MCS_OK, "" };
    mcs_sampler s = { .count = N, .batch = N + 1 };
    assert_int_equal(mcs_sampler_epoch(&s, 0, order, &e), MCS_EINVAL);
    s.batch = 0;
    assert_int_equal(mcs_sampler_epoch(&s, 0, order, &e), MCS_EINVAL);
    s = (mcs_sampler){ .count = N, .batch = 5, .kind = kind, .kinds = 1, .same_kind = 1 };
    assert_int_equal(mcs_sampler_epoch(&s, 0, order, &e), MCS_OK);
    kind[7] = 1;
    assert_int_equal(mcs_sampler_epoch(&s, 0, order, &e), MCS_EINVAL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_epochs),
        cmocka_unit_test(test_kinds),
        cmocka_unit_test(test_uniform),
        cmocka_unit_test(test_refusals),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
