/* Every operation, forward and backward, in a context whose memory ends at every possible point:
 * it fails with MCS_ENOMEM, touches nothing it should not (sanitizers see it), or succeeds. */
#define OPS_N 2
#define OPS_C 3
#define OPS_H 4
#define OPS_W 5
#include "tests/op_cases.h"

static mcs_status run(int i, size_t bytes_max)
{
    mcs_ctx_opts o = { .bytes_max = bytes_max, .seed = 3, .grad = true, .training = true };
    mcs_ctx *inputs = check_ctx(), *c = mcs_ctx_new(&o);
    assert_non_null(c);
    /* The inputs live elsewhere: only the operation's own memory runs out. */
    mcs_tensor *in[2] = { mcs_leaf(c, first_input(inputs)),
                          mcs_leaf(c, second_input(inputs, cases[i].b)) };
    mcs_tensor *y = cases[i].fn(c, in);
    if (mcs_ctx_status(c) != MCS_OK)
        assert_null(y);
    mcs_status s = mcs_ctx_status(c);
    if (s == MCS_OK)
        s = mcs_backward(c, mcs_sum(c, y), NULL);
    assert_int_equal(s, mcs_ctx_status(c));
    mcs_ctx_free(c);
    mcs_ctx_free(inputs);
    return s;
}

static void test_memory_ends(void **state)
{
    (void)state;
    for (int i = 0; i < CASES; i++) {
        size_t limit = 64;
        mcs_status s;
        while ((s = run(i, limit)) != MCS_OK) {
            if (s != MCS_ENOMEM)
                fail_msg("%s with %zu bytes: %s", cases[i].name, limit, mcs_status_name(s));
            limit += 64;
            assert_true(limit < (size_t)1 << 21);
        }
        assert_true(limit > 512);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_memory_ends) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
