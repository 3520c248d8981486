/* test_cli_claims.c - which captions are true of which pictures. */
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_claims),
        cmocka_unit_test(test_plain_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
