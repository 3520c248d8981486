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

/* Two ultrasounds with a mass at one place, the second with a cyst as well. */
static void captions_that_fit(void **state)
{
    (void)state;
    uint8_t bits[N];
    mcs_phantom p = two_structures(bits), q = p;
    mcs_phantom_wording w = { .position = 1, .size = 1 };
    mcs_phantom_caption one, both;
    p.facts.part[B].visible = 0;
    mcs_phantom_describe(&p.facts, &w, 1, &one);
    mcs_phantom_describe(&q.facts, &w, 1, &both);
    assert_true(pe_fits(&one, &p.facts) && pe_fits(&both, &q.facts));
    assert_int_equal(mcs_phantom_holds(&one, &q.facts), 1); /* true, but it leaves out the cyst */
    assert_false(pe_fits(&one, &q.facts));
    assert_false(pe_fits(&both, &p.facts));
    q.facts.part[B].size = 1;
    assert_false(pe_fits(&both, &q.facts));
    q.facts.part[B].visible = q.facts.part[A].visible = 0;
    mcs_phantom_describe(&q.facts, &w, 1, &both);
    assert_true(pe_fits(&both, &q.facts));
    assert_false(pe_fits(&both, &p.facts));
}

/* Of complete captions: what tells two of them apart tells their pictures apart. */
static void complete_captions(void **state)
{
    (void)state;
    enum { COUNT = 48 };
    static mcs_phantom_caption said[COUNT];
    static mcs_phantom_facts facts[COUNT];
    mcs_phantom p = { 0 };
    mcs_phantom_wording w = { .position = 1, .size = 1 };
    double sure = 0;
    for (int i = 0; i < COUNT; i++) {
        mcs_error e = { 0 };
        assert_int_equal(mcs_phantom_make(7, (uint64_t)i, 32, &p, &e), MCS_OK);
        facts[i] = p.facts;
        mcs_phantom_describe(&p.facts, &w, p.index + 1, &said[i]);
    }
    mcs_phantom_free(&p);
    for (int i = 0; i < COUNT; i++) { /* complete captions fit both ways or not at all */
        int mine = 0, ours = 0;
        for (int k = 0; k < COUNT; k++) {
            mine += pe_fits(&said[i], &facts[k]);
            ours += pe_fits(&said[k], &facts[i]);
        }
        assert_true(mine >= 1);
        assert_int_equal(mine, ours);
        sure += 1.0 / mine / COUNT;
    }
    assert_true(sure > 0.6 && sure < 1);
}

/* Pictures are sums of unit vectors, one for presence, one for a place, one for a size. */
static void words_by_hand(void **state)
{
    (void)state;
    enum { COUNT = 12 };
    static float image[COUNT * PE_TEXTS], text[PE_TEXTS * PE_TEXTS];
    static mcs_phantom_facts facts[COUNT];
    pe_pairs p = { .image = image, .facts = facts, .width = PE_TEXTS };
    mcs_error e = { 0 };
    pe_words out;
    for (int k = 0; k < PE_TEXTS; k++)
        text[k * PE_TEXTS + k] = 1;
    for (int i = 0; i < COUNT; i++) {
        mcs_phantom_part *part = &facts[i].part[MCS_PHANTOM_CYST];
        float *x = image + i * PE_TEXTS;
        *part = (mcs_phantom_part){ .row = i / 3 % 3, .column = i % 3, .size = i % 3, .area = 0.1f };
        part->visible = i < 9 ? 1 : i < 11 ? 0 : 0.3f; /* 9 with, 2 without, a part left out */
        x[0] = i == 9 ? 1.f : i == 10 ? 0.f : 0.5f; /* one without it scores above all, one below */
        x[1 + (i < 6 ? i : 0)] = 0.7f; /* places 6 to 8 taken for the first */
        x[1 + PE_PLACES + (i % 3 == 2 ? 1 : i % 3)] = 0.2f; /* large taken for medium */
    }
    assert_int_equal(pe_words_of(&p, COUNT, MCS_PHANTOM_CYST, text, &out, &e), MCS_OK);
    assert_int_equal(out.present.n, 11);
    assert_true(fabs(out.present.mean - 0.5) < 1e-12);
    assert_true(out.present.low < 0.3 && out.present.high > 0.7);
    assert_int_equal(out.place.n, 9);
    assert_true(fabs(out.place.mean - 6.0 / 9) < 1e-12);
    assert_true(fabs(out.place.low - 0.354) < 0.001 && fabs(out.place.high - 0.879) < 0.001);
    assert_true(fabs(out.size.mean - 6.0 / 9) < 1e-12);
    assert_true(fabs(out.most.mean - 1.0 / 9) < 1e-12);
    assert_int_equal(pe_words_of(&p, COUNT, MCS_PHANTOM_MASS, text, &out, &e), MCS_OK);
    assert_int_equal(out.present.n + out.place.n + out.size.n, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(scores_by_hand),
                                        cmocka_unit_test(summary_by_hand),
                                        cmocka_unit_test(captions_that_fit),
                                        cmocka_unit_test(complete_captions),
                                        cmocka_unit_test(words_by_hand) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
