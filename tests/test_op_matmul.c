/* test_op_matmul.c - matmul and matmul_t. */
#include "tests/check.h"

static mcs_tensor *matmul(mcs_ctx *c, mcs_tensor **in)
{
    return mcs_matmul(c, in[0], in[1]);
}
static mcs_tensor *matmul_t(mcs_ctx *c, mcs_tensor **in)
{
    return mcs_matmul_t(c, in[0], in[1]);
}

static mcs_tensor *random_of(mcs_ctx *c, uint64_t seed, int ndim, const int64_t *shape)
{
    return check_random(c, seed, -1, 1, ndim, shape);
}

static void test_by_hand(void **state)
{
    (void)state;
    mcs_ctx *c = check_ctx();
    mcs_tensor *a = mcs_from(c, MCS_F32, 2, MCS_SHAPE(2, 3), (float[]){ 1, 2, 3, 4, 5, 6 });
    mcs_tensor *b = mcs_from(c, MCS_F32, 2, MCS_SHAPE(3, 2), (float[]){ 1, 0, 2, 1, 0, 3 });
    mcs_tensor *y = mcs_matmul(c, a, b);
    check_near(y, mcs_from(c, MCS_F32, 2, MCS_SHAPE(2, 2), (float[]){ 5, 11, 14, 23 }), 0, 0);
    y = mcs_matmul_t(c, a, mcs_from(c, MCS_F32, 2, MCS_SHAPE(1, 3), (float[]){ 1, -1, 2 }));
    check_near(y, mcs_from(c, MCS_F32, 2, MCS_SHAPE(2, 1), (float[]){ 5, 11 }), 0, 0);
    check_ok(c);
    mcs_ctx_free(c);
}

static void test_golden(void **state)
{
    (void)state;
    mcs_ctx *c = check_ctx();
    check_golden(c, "matmul_batch", matmul, 1e-5f, 1e-6f);
    check_golden(c, "matmul_shared_a", matmul, 1e-5f, 1e-6f);
    check_golden(c, "matmul_shared_b", matmul, 1e-5f, 1e-6f);
    check_golden(c, "matmul_t_batch", matmul_t, 1e-5f, 1e-6f);
    check_golden(c, "matmul_t_shared_a", matmul_t, 1e-5f, 1e-6f);
    mcs_ctx_free(c);
}

static void test_gradients(void **state)
{
    (void)state;
    mcs_ctx *c = check_ctx();
    mcs_tensor *in[] = { random_of(c, 1, 3, MCS_SHAPE(2, 3, 5)),
                         random_of(c, 2, 3, MCS_SHAPE(2, 5, 4)) };
    check_grad(c, matmul, 2, in, 1e-3f);
    check_each_grad(c, matmul, 2, in);
    in[1] = random_of(c, 2, 2, MCS_SHAPE(4, 5));
    check_grad(c, matmul_t, 2, in, 1e-3f);
    in[0] = random_of(c, 3, 2, MCS_SHAPE(3, 5));
    in[1] = random_of(c, 4, 3, MCS_SHAPE(2, 5, 4));
    check_grad(c, matmul, 2, in, 1e-3f);
    in[0] = random_of(c, 5, 2, MCS_SHAPE(1, 5));
    in[1] = random_of(c, 6, 2, MCS_SHAPE(5, 1)); /* a single number */
    check_grad(c, matmul, 2, in, 1e-3f);
    mcs_ctx_free(c);
}

/* A tensor times itself: both gradients meet in one buffer. */
static mcs_tensor *gram(mcs_ctx *c, mcs_tensor **in)
{
    return mcs_matmul_t(c, in[0], in[0]);
}

static void test_same_input_twice(void **state)
{
    (void)state;
    mcs_ctx *c = check_ctx();
    check_grad(c, gram, 1, (mcs_tensor *[]){ random_of(c, 1, 2, MCS_SHAPE(4, 6)) }, 1e-3f);
    mcs_ctx_free(c);
}

static void test_threads(void **state)
{
    (void)state;
    mcs_ctx *c = check_ctx();
    mcs_tensor *in[] = { random_of(c, 1, 3, MCS_SHAPE(3, 301, 170)),
                         random_of(c, 2, 2, MCS_SHAPE(170, 333)) };
    check_threads(matmul, 2, in);
    in[1] = random_of(c, 2, 3, MCS_SHAPE(3, 333, 170));
    check_threads(matmul_t, 2, in);
    mcs_ctx_free(c);
}

static void test_refusals(void **state)
{
    (void)state;
    mcs_ctx *c = check_ctx();
#define OF(...) mcs_zeros(c, (int)(sizeof(MCS_SHAPE(__VA_ARGS__)) / 8), MCS_SHAPE(__VA_ARGS__))
    check_fails(c, mcs_matmul(c, OF(2, 3), OF(2, 3)), MCS_ESHAPE, "(2, 3) and (2, 3)");
    check_fails(c, mcs_matmul_t(c, OF(2, 3), OF(3, 2)), MCS_ESHAPE, "summed dimensions differ");
    check_fails(c, mcs_matmul(c, OF(2, 2, 3), OF(3, 3, 2)), MCS_ESHAPE, "leading dimensions");
    check_fails(c, mcs_matmul(c, OF(1, 2, 2, 3), OF(2, 3, 2)), MCS_ESHAPE, "leading dimensions");
    check_fails(c, mcs_matmul(c, OF(3), OF(3, 2)), MCS_ESHAPE, "matmul");
    check_fails(c, mcs_matmul(c, OF(2, 0), OF(0, 2)), MCS_ESHAPE, "empty");
    mcs_tensor *ids = mcs_new_typed(c, MCS_I64, 2, MCS_SHAPE(3, 2));
    check_fails(c, mcs_matmul(c, OF(2, 3), ids), MCS_ESHAPE, "int64");
    assert_null(mcs_matmul(c, NULL, OF(2, 2)));
    assert_null(mcs_matmul_t(c, OF(2, 2), NULL));
    check_ok(c); /* NULL in, NULL out, and no error of its own */
    mcs_tensor *none = mcs_leaf(c, OF(2, 3));
    mcs_tensor *y = mcs_matmul(c, none, OF(3, 0));
    assert_int_equal(mcs_numel(y), 0);
    assert_int_equal(mcs_backward(c, y, mcs_zeros(c, 2, MCS_SHAPE(2, 0))), MCS_OK);
    mcs_ctx_free(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_by_hand),   cmocka_unit_test(test_golden),
        cmocka_unit_test(test_gradients), cmocka_unit_test(test_same_input_twice),
        cmocka_unit_test(test_threads),   cmocka_unit_test(test_refusals),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
