/* embedding: values, PyTorch, gradients with repeated ids, refusals. */
#include "tests/check.h"

static mcs_tensor *embedding(mcs_ctx *c, mcs_tensor **in)
{
    return mcs_embedding(c, in[0], in[1]);
}

static void test_golden(void **state)
{
    (void)state;
    mcs_ctx *c = check_ctx();
    check_golden(c, "ops/embedding_1", embedding, 1e-6f, 1e-6f);
    mcs_ctx_free(c);
}

static void test_gradient(void **state)
{
    (void)state;
    mcs_ctx *c = check_ctx();
    const int64_t ids[6] = { 4, 0, 4, 4, 2, 0 };
    mcs_tensor *in[2] = { check_random(c, 1, -1, 1, 2, MCS_SHAPE(5, 130)),
                          mcs_from(c, MCS_I64, 2, MCS_SHAPE(2, 3), ids) };
    check_grad(c, embedding, 2, in, 1e-2f);
    mcs_ctx_free(c);
}

static void test_values(void **state)
{
    (void)state;
    mcs_ctx *c = check_ctx();
    const float w[6] = { 1, 2, 3, 4, 5, 6 }, want[4] = { 5, 6, 1, 2 };
    const int64_t ids[2] = { 2, 0 };
    mcs_tensor *t = mcs_from(c, MCS_F32, 2, MCS_SHAPE(3, 2), w);
    mcs_tensor *y = mcs_embedding(c, t, mcs_from(c, MCS_I64, 1, MCS_SHAPE(2), ids));
    check_near(y, mcs_from(c, MCS_F32, 2, MCS_SHAPE(2, 2), want), 0, 0);
    y = mcs_embedding(c, t, mcs_from(c, MCS_I64, 0, NULL, ids)); /* a scalar id */
    check_near(y, mcs_from(c, MCS_F32, 1, MCS_SHAPE(2), want), 0, 0);
    assert_int_equal(mcs_numel(mcs_embedding(c, t, mcs_new_typed(c, MCS_I64, 1, MCS_SHAPE(0)))), 0);
    check_ok(c);
    mcs_ctx_free(c);
}

static void refuse(mcs_ctx *c, mcs_dtype t, int64_t id, mcs_status s, const char *part)
{
    const int64_t ids[2] = { 0, id };
    mcs_tensor *w = mcs_zeros(c, 2, MCS_SHAPE(3, 2)), *i = mcs_from(c, t, 1, MCS_SHAPE(2), ids);
    check_fails(c, mcs_embedding(c, w, i), s, part);
}

static void test_refusals(void **state)
{
    (void)state;
    mcs_ctx *c = check_ctx();
    mcs_tensor *w = mcs_zeros(c, 2, MCS_SHAPE(3, 2));
    assert_null(mcs_embedding(c, w, NULL));
    assert_null(mcs_embedding(c, NULL, w));
    check_ok(c);
    refuse(c, MCS_I64, 3, MCS_EINVAL, "embedding: id 3 at position 1, the table has 3 rows");
    refuse(c, MCS_I64, -1, MCS_EINVAL, "embedding: id -1 at position 1");
    refuse(c, MCS_I64, INT64_MIN, MCS_EINVAL, "embedding: id -9223372036854775808");
    refuse(c, MCS_F32, 0, MCS_ESHAPE, "embedding: ids must be int64");
    mcs_tensor *deep = mcs_new_typed(c, MCS_I64, 6, MCS_SHAPE(1, 1, 1, 1, 1, 1));
    check_fails(c, mcs_embedding(c, mcs_zeros(c, 2, MCS_SHAPE(3, 2)), deep), MCS_ESHAPE,
                "embedding: ids have 6 dimensions");
    check_fails(
        c,
        mcs_embedding(c, mcs_zeros(c, 1, MCS_SHAPE(3)), mcs_new_typed(c, MCS_I64, 1, MCS_SHAPE(1))),
        MCS_ESHAPE, "embedding: input has shape (3)");
    mcs_ctx_free(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_values),
        cmocka_unit_test(test_golden),
        cmocka_unit_test(test_gradient),
        cmocka_unit_test(test_refusals),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
