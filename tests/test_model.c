/* What the models check and look for alike. */
#include "tests/check.h"
#include "models/model_internal.h"

static void sizes_of_transformers(void **state)
{
    (void)state;
    assert_null(mcs_transformer_wrong(768, 12, 12, 3072));
    assert_null(mcs_transformer_wrong(1, 1, 1, 1));
    assert_null(mcs_transformer_wrong(1 << 15, 128, 1 << 15, 1 << 17));
    assert_string_equal(mcs_transformer_wrong(0, 1, 1, 1), "dim must be 1..32768");
    assert_string_equal(mcs_transformer_wrong((1 << 15) + 1, 1, 1, 1), "dim must be 1..32768");
    assert_string_equal(mcs_transformer_wrong(6, 1, 0, 1),
                        "heads must be at least 1 and divide dim");
    assert_string_equal(mcs_transformer_wrong(6, 1, 4, 1),
                        "heads must be at least 1 and divide dim");
    assert_string_equal(mcs_transformer_wrong(6, 129, 2, 1), "depth must be 1..128");
    assert_string_equal(mcs_transformer_wrong(6, 0, 2, 1), "depth must be 1..128");
    assert_string_equal(mcs_transformer_wrong(6, 1, 2, 0), "mlp_dim must be 1..131072");
    assert_string_equal(mcs_transformer_wrong(6, 1, 2, (1 << 17) + 1), "mlp_dim must be 1..131072");
}

static void prefixes(void **state)
{
    char prefix[8] = "before";
    (void)state;
    assert_false(mcs_prefix_of("weight", "a.weight", prefix, sizeof prefix));
    assert_false(mcs_prefix_of("model.a.bias", "a.weight", prefix, sizeof prefix));
    assert_false(mcs_prefix_of("longname.a.weight", "a.weight", prefix, sizeof prefix));
    assert_false(mcs_prefix_of("eightis.a.weight", "a.weight", prefix, sizeof prefix));
    assert_string_equal(prefix, "before");
    assert_true(mcs_prefix_of("seven7.a.weight", "a.weight", prefix, sizeof prefix));
    assert_string_equal(prefix, "seven7.");
    assert_true(mcs_prefix_of("a.weight", "a.weight", prefix, sizeof prefix));
    assert_string_equal(prefix, "");
}

static void failures_of_declaring(void **state)
{
    mcs_error e = { 0 };
    (void)state;
    mcs_declare_failed(NULL, "net", &e);
    assert_int_equal(e.status, MCS_ENOMEM);
    assert_string_equal(e.message, "net: declaring the weights: out of memory");
    e = (mcs_error){ 0 };
    mcs_params *p = mcs_params_new();
    assert_non_null(p);
    mcs_param(mcs_root(p), "w", MCS_INIT_ZEROS, 1, (int64_t[]){ 2 });
    mcs_param(mcs_root(p), "w", MCS_INIT_ZEROS, 1, (int64_t[]){ 2 });
    mcs_status s = mcs_params_status(p);
    assert_int_not_equal(s, MCS_OK);
    mcs_declare_failed(p, "net", &e);
    assert_int_equal(e.status, s);
    assert_non_null(strstr(e.message, "net: declaring the weights: "));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sizes_of_transformers),
        cmocka_unit_test(prefixes),
        cmocka_unit_test(failures_of_declaring),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
