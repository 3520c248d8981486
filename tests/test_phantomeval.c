/* Scores and intervals of eval_phantoms, by hand. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "tests/check.h"
#include "tools/cli_phantomeval.h"

enum { N = 32 * 32, A = MCS_PHANTOM_MASS, B = MCS_PHANTOM_CYST };

/* The mass is rows 0-3, the cyst rows 8-9. */
static mcs_phantom two_structures(uint8_t *bits)
{
    mcs_phantom p = { .size = 32, .bits = bits };
    memset(bits, 0, N);
    memset(bits, 1 << A, 4 * 32);
    memset(bits + 8 * 32, 1 << B, 2 * 32);
    p.facts.kind = MCS_PHANTOM_ULTRASOUND;
    for (int s = A; s <= B; s++)
        p.facts.part[s] = (mcs_phantom_part){ .visible = 1, .area = 0.1f, .contrast = 50 };
    return p;
}

static void scores_by_hand(void **state)
{
    (void)state;
    static uint8_t bits[N], mask[N], coarse[N], room[N];
    static float map[N];
    mcs_phantom p = two_structures(bits);
    mcs_zeroshot_result r = { .saliency = map, .coarse = coarse, .mask = mask };
    pe_row row;
    memset(mask, 0, N);
    memset(mask, 1, 2 * 32); /* half of the mass: 2*64/(128+64) */
    memset(mask + 8 * 32, 1, 32); /* half of the cyst, so that both are wrong in part */
    memset(coarse, 0, N);
    memset(map, 0, sizeof map);
    map[5] = 1;
    pe_score(&p, A, &r, room, &row);
    assert_true(fabs(row.v[PE_MASK] - (2.0 * 64 / (128 + 96))) < 1e-12);
    assert_true(fabs(row.v[PE_CROSS] - (2.0 * 32 / (64 + 96))) < 1e-12);
    assert_true(row.v[PE_ABOVE] > 0.5);
    assert_true(fabs(row.v[PE_COARSE] - (0)) < 1e-12);
    assert_true(fabs(row.v[PE_SALIENCY] - (2.0 / 129)) < 1e-12);
    assert_true(row.v[PE_POINT] > 0.5 && row.v[PE_POINT_OTHER] < 0.5);
    pe_score(&p, B, &r, room, &row);
    assert_true(row.v[PE_ABOVE] < 0.5);
    assert_true(row.v[PE_POINT] < 0.5 && row.v[PE_POINT_OTHER] > 0.5);
    r.mask = NULL;
    r.saliency = NULL;
    pe_score(&p, B, &r, room, &row);
    assert_true(isnan(row.v[PE_MASK]) && isnan(row.v[PE_POINT]) && isnan(row.v[PE_CROSS]));
}

static void summary_by_hand(void **state)
{
    (void)state;
    pe_table t = { 0 };
    pe_summary s;
    for (int i = 0; i < 40; i++) {
        pe_row row = { .phantom = i / 2, .structure = i % 2 ? B : A };
        for (int m = 0; m < PE_METRICS; m++)
            row.v[m] = i % 4 < 2 ? 0.25 : 0.75; /* both prompts of a phantom alike */
        if (i == 39)
            row.v[PE_MASK] = nan("");
        assert_true(pe_add(&t, &row));
    }
    assert_true(pe_summarise(&t, 20, -1, PE_COARSE, &s));
    assert_int_equal(s.n, 40);
    assert_true(fabs(s.mean - (0.5)) < 1e-12);
    assert_true(fabs(s.median - (0.5)) < 1e-12);
    /* 20 independent phantoms, sd .25: 1.96 * .25 / sqrt(20) = .11; 40 would give .077 */
    assert_true(fabs(s.high - s.low - 0.22) < 0.03);
    assert_true(pe_summarise(&t, 20, B, PE_MASK, &s));
    assert_int_equal(s.n, 19);
    assert_true(fabs(s.mean - ((10 * 0.25 + 9 * 0.75) / 19)) < 1e-12);
    assert_true(pe_summarise(&t, 20, MCS_PHANTOM_HEART, PE_MASK, &s));
    assert_int_equal(s.n, 0);
    assert_true(isnan(s.mean));
    free(t.rows);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(scores_by_hand),
                                        cmocka_unit_test(summary_by_hand) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
