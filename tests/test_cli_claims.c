/* test_cli_claims.c - which captions are true of which pictures. */
#include "image/phantom.h"
#include "tests/check.h"
#include "tools/cli_pairs.h"

static bool holds(const char *claims, const char *facts)
{
    return cli_claims_hold(claims, &facts, 1);
}

static void test_claims(void **state)
{
    (void)state;
    const char *x = "xray:heart/large/lower middle+no nodule+lungs/*";
    assert_true(holds("xray:heart", x));
    assert_true(holds("xray:heart/lower middle", x));
    assert_true(holds("xray:no nodule+heart/large", x));
    assert_true(holds("xray:lungs/small/on the left", x));
    assert_false(holds("xray:heart/small", x));
    assert_false(holds("xray:nodule", x));
    assert_false(holds("xray:heart+nodule", x));
    assert_false(holds("mri:heart", x));
    assert_false(holds("heart", x));
    assert_false(holds("xray:large", x));
    assert_false(holds("xray:hear", x));
    assert_false(holds("xray:heart/larg", x));
    assert_false(holds("xray:heart", ""));
}

static void test_plain_names(void **state)
{
    (void)state;
    assert_true(holds("g1", "g1"));
    assert_false(holds("g1", "g10"));
    assert_false(holds("g10", "g1"));
    assert_true(holds("a", "a+b"));
    assert_false(holds("a+b", "a"));
    const char *both[] = { "a", "b" };
    assert_true(cli_claims_hold("b+a", both, 2));
    assert_false(cli_claims_hold("a", both, 0));
}

/* The table of make_phantoms decides as the phantoms' own rule does. */
static void test_phantoms(void **state)
{
    (void)state;
    enum { N = 90 };
    static mcs_phantom_facts facts[N];
    static mcs_phantom_caption caption[N];
    static char truth[N][400];
    mcs_phantom p = { 0 }, view = { 0 };
    mcs_phantom_view_options o = mcs_phantom_view_defaults();
    o.strict = true;
    mcs_error e = { MCS_OK, "" };
    int yes = 0, no = 0, open = 0;
    for (uint64_t i = 0; i < N; i++) {
        assert_int_equal(mcs_phantom_make(3, i, 64, &p, &e), MCS_OK);
        assert_int_equal(mcs_phantom_view(&p, &o, i, 64, &view, &e), MCS_OK);
        facts[i] = i % 2 ? view.facts : p.facts;
        mcs_phantom_truth(&facts[i], truth[i], sizeof truth[i]);
        mcs_phantom_describe(&facts[i], NULL, i, &caption[i]);
    }
    for (int i = 0; i < N; i++)
        for (int j = 0; j < N; j++) {
            char group[200];
            int want = mcs_phantom_holds(&caption[i], &facts[j]);
            mcs_phantom_group(&caption[i], group, sizeof group);
            if (holds(group, truth[j]) != (want != 0))
                fail_msg("%s of %s: %d", group, truth[j], want);
            yes += want == 1;
            no += want == 0;
            open += want < 0;
        }
    assert_true(yes > 200 && no > 1000 && open > 20);
    mcs_phantom_free(&p);
    mcs_phantom_free(&view);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_claims),
        cmocka_unit_test(test_plain_names),
        cmocka_unit_test(test_phantoms),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
