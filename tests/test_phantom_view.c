/* test_phantom_view.c - crops, spotlights and jitter of phantoms, and what their facts say. */
#include <math.h>
#include <stdlib.h>
#include "tests/phantom_maker.h"

static void test_view_of_everything(void **state)
{
    (void)state;
    const mcs_phantom_view_options plain = { 0 };
    for (uint64_t i = 0; i < 3; i++) {
        mcs_phantom p = made(8, i, 96), v = { 0 };
        assert_int_equal(mcs_phantom_view(&p, &plain, 1, 96, &v, NULL), MCS_OK);
        assert_int_equal(hash(&p), hash(&v));
        assert_memory_equal(&p.facts, &v.facts, sizeof p.facts);
        mcs_phantom_free(&p);
        mcs_phantom_free(&v);
    }
}

static void test_crops(void **state)
{
    (void)state;
    mcs_phantom_view_options o = { .crop = 1, .crop_min = 0.3f, .crop_max = 0.6f };
    mcs_phantom v = { 0 };
    int cut = 0, shown = 0;
    for (uint64_t i = 0; i < 60; i++) {
        mcs_phantom p = made(9, i, 96);
        o.crop_centred = i % 2 ? 1 : 0;
        assert_int_equal(mcs_phantom_view(&p, &o, i, 64, &v, NULL), MCS_OK);
        assert_int_equal(v.size, 64);
        for (int s = 0; s < MCS_PHANTOM_STRUCTURES; s++) {
            const mcs_phantom_part *a = &p.facts.part[s], *b = &v.facts.part[s];
            int n = 0;
            for (int k = 0; k < 64 * 64; k++)
                n += v.bits[k] >> s & 1;
            assert_true(fabs((double)b->area * 4096 - n) < 0.01);
            assert_true(b->area == 0 || a->area > 0);
            assert_true(b->visible >= 0 && b->visible <= 1);
            assert_int_equal(b->visible > 0, n > 0);
            /* between 1/0.6^2 and 1/0.3^2 times larger, as far as it is in view */
            assert_true(b->area <= a->area * b->visible / 0.089f + 0.002f);
            assert_true(b->area >= a->area * b->visible / 0.361f - 0.002f);
            bool shows = mcs_phantom_shows(&v.facts, (mcs_phantom_structure)s);
            cut += n > 0 && !shows;
            shown += shows;
            assert_false(shows && b->visible < 0.5f);
        }
        mcs_phantom_free(&p);
    }
    assert_true(cut > 10 && shown > 20);
    mcs_phantom_free(&v);
}

static void test_spotlights(void **state)
{
    (void)state;
    const mcs_phantom_view_options o = { .spotlight = 1 };
    mcs_phantom v = { 0 };
    for (uint64_t i = 0; i < 30; i++) {
        mcs_phantom p = made(10, i, 96);
        assert_int_equal(mcs_phantom_view(&p, &o, i, 96, &v, NULL), MCS_OK);
        int shows = 0, before = 0, lit = -1;
        for (int s = 0; s < MCS_PHANTOM_STRUCTURES; s++) {
            bool here = mcs_phantom_shows(&v.facts, (mcs_phantom_structure)s);
            before += mcs_phantom_shows(&p.facts, (mcs_phantom_structure)s);
            shows += here;
            lit = here ? s : lit;
        }
        assert_int_equal(shows, before > 0);
        for (int k = 0; lit >= 0 && k < 96 * 96; k++) {
            float x = ((float)(k % 96) + 0.5f) / 96 - p.facts.part[lit].x;
            float y = ((float)(k / 96) + 0.5f) / 96 - p.facts.part[lit].y;
            /* towards the middle grey, never away from it */
            assert_true(abs(v.grey[k] - 116) <= abs(p.grey[k] - 116) + 2);
            if (lit != MCS_PHANTOM_LUNGS && x * x + y * y > 0.36f)
                assert_true(abs(v.grey[k] - 116) <= abs(p.grey[k] - 116) / 2 + 2);
        }
        mcs_phantom_free(&p);
    }
    mcs_phantom_free(&v);
}

/* What strict spotlights leave in the dark: false to name, neither true nor false to deny. */
static void test_unlit(void **state)
{
    (void)state;
    const mcs_phantom_view_options open = { .spotlight = 1 },
                                   strict = { .spotlight = 1, .strict = true };
    mcs_phantom v = { 0 }, w = { 0 };
    int dark = 0, half_lit = 0;
    for (uint64_t i = 0; i < 60; i++) {
        mcs_phantom p = made(12, i, 96);
        assert_int_equal(mcs_phantom_view(&p, &open, i, 96, &v, NULL), MCS_OK);
        assert_int_equal(mcs_phantom_view(&p, &strict, i, 96, &w, NULL), MCS_OK);
        assert_memory_equal(v.grey, w.grey, 96 * 96);
        for (int s = 0; s < MCS_PHANTOM_STRUCTURES; s++) {
            mcs_phantom_caption name = { .kind = p.facts.kind, .keys = 1 }, deny = name;
            const mcs_phantom_part *q = &w.facts.part[s];
            name.key[0] = (mcs_phantom_key){ (mcs_phantom_structure)s, false, -1, -1, -1 };
            deny.key[0] = (mcs_phantom_key){ (mcs_phantom_structure)s, true, -1, -1, -1 };
            assert_false(v.facts.part[s].unlit);
            if (!mcs_phantom_shows(&p.facts, (mcs_phantom_structure)s) ||
                mcs_phantom_shows(&w.facts, (mcs_phantom_structure)s))
                continue;
            assert_int_equal(mcs_phantom_holds(&name, &v.facts), -1);
            assert_int_equal(mcs_phantom_holds(&name, &w.facts), q->unlit ? 0 : -1);
            assert_int_equal(mcs_phantom_holds(&deny, &w.facts), -1);
            dark += q->unlit;
            half_lit += !q->unlit;
        }
        mcs_phantom_free(&p);
    }
    assert_true(dark > 10 && half_lit > 3);
    mcs_phantom_free(&v);
    mcs_phantom_free(&w);
}

static void test_jitter(void **state)
{
    (void)state;
    const mcs_phantom_view_options o = { .jitter = 1 };
    mcs_phantom p = made(11, 0, 96), v = { 0 };
    int darker = 0;
    for (uint64_t seed = 0; seed < 40; seed++) {
        assert_int_equal(mcs_phantom_view(&p, &o, seed, 96, &v, NULL), MCS_OK);
        double a = 0, b = 0;
        for (int k = 0; k < 96 * 96; k++) {
            a += p.grey[k];
            b += v.grey[k];
            assert_int_equal(p.bits[k], v.bits[k]);
        }
        darker += b < a;
        assert_true(b < 1.27 * a + 13 * 9216 && b > 0.79 * a - 13 * 9216);
    }
    assert_in_range(darker, 8, 32);
    mcs_phantom_free(&p);
    mcs_phantom_free(&v);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_view_of_everything),
        cmocka_unit_test(test_crops),
        cmocka_unit_test(test_spotlights),
        cmocka_unit_test(test_unlit),
        cmocka_unit_test(test_jitter),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
