/* batch_norm and instance_norm: values, PyTorch in both modes, running statistics, gradients. */
#include <math.h>
#include "tests/check.h"

/* The running statistics are updated in place: every call gets its own copy. */
static mcs_tensor *batch(mcs_ctx *c, mcs_tensor **in, bool training)
{
    bool old = mcs_set_training(c, training);
    mcs_tensor *mean = mcs_from(c, MCS_F32, 1, in[3]->shape, in[3]->data);
    mcs_tensor *var = mcs_from(c, MCS_F32, 1, in[4]->shape, in[4]->data);
    mcs_tensor *y = mcs_batch_norm(c, in[0], in[1], in[2], mean, var, 0.1f, 1e-5f);
    mcs_set_training(c, old);
    return y;
}
static mcs_tensor *train(mcs_ctx *c, mcs_tensor **in)
{
    return batch(c, in, true);
}
static mcs_tensor *eval(mcs_ctx *c, mcs_tensor **in)
{
    return batch(c, in, false);
}
static mcs_tensor *instance(mcs_ctx *c, mcs_tensor **in)
{
    return mcs_instance_norm(c, in[0], in[1], in[2], 1e-5f);
}

static void golden(const char *name, check_fn *fn)
{
    mcs_ctx *c = check_ctx();
    check_golden(c, name, fn, 1e-5f, 1e-5f);
    mcs_ctx_free(c);
}

static void test_golden(void **state)
{
    (void)state;
    golden("ops/batch_norm_train_1d", train);
    golden("ops/batch_norm_train_2d", train);
    golden("ops/batch_norm_train_3d", train);
    golden("ops/batch_norm_train_plain", train);
    golden("ops/batch_norm_eval_1d", eval);
    golden("ops/batch_norm_eval_2d", eval);
    golden("ops/batch_norm_eval_3d", eval);
    golden("ops/instance_norm_1", instance);
    golden("ops/instance_norm_plain", instance);
}

static mcs_tensor *train3(mcs_ctx *c, mcs_tensor **in)
{
    return batch(c,
                 (mcs_tensor *[]){ in[0], in[1], in[2], mcs_zeros(c, 1, MCS_SHAPE(3)),
                                   mcs_full(c, 1, MCS_SHAPE(3), 2) },
                 true);
}
static mcs_tensor *eval3(mcs_ctx *c, mcs_tensor **in)
{
    return batch(c,
                 (mcs_tensor *[]){ in[0], in[1], in[2], mcs_zeros(c, 1, MCS_SHAPE(3)),
                                   mcs_full(c, 1, MCS_SHAPE(3), 2) },
                 false);
}

static void test_gradient(void **state)
{
    (void)state;
    mcs_ctx *c = check_ctx();
    mcs_tensor *in[3] = { check_random(c, 1, -2, 3, 4, MCS_SHAPE(4, 3, 5, 7)),
                          check_random(c, 2, 0.5f, 1, 1, MCS_SHAPE(3)),
                          check_random(c, 3, -1, 1, 1, MCS_SHAPE(3)) };
    check_grad(c, train3, 3, in, 1e-2f);
    check_grad(c, eval3, 3, in, 1e-2f);
    check_grad(c, instance, 3, in, 1e-2f);
    in[1] = in[2] = NULL;
    check_grad(c, train3, 3, in, 1e-2f);
    check_grad(c, instance, 3, in, 1e-2f);
    mcs_ctx_free(c);
}

static void test_running_statistics(void **state)
{
    (void)state;
    mcs_ctx *c = check_ctx();
    const char *file = "ops/batch_norm_train_2d";
    mcs_tensor *x = check_golden_tensor(c, file, "in.0");
    mcs_tensor *mean = check_golden_tensor(c, file, "in.3");
    mcs_tensor *var = check_golden_tensor(c, file, "in.4");
    mcs_tensor *mean0 = mcs_from(c, MCS_F32, 1, mean->shape, mean->data);
    mcs_batch_norm(c, x, NULL, NULL, mean, var, 0.1f, 1e-5f);
    check_near(mean, mean0, 0, 0); /* not training: untouched */
    mcs_set_training(c, true);
    mcs_batch_norm(c, x, NULL, NULL, mean, var, 0.1f, 1e-5f);
    check_ok(c);
    check_near(mean, check_golden_tensor(c, "ops/batch_norm_running", "mean"), 1e-6f, 1e-6f);
    check_near(var, check_golden_tensor(c, "ops/batch_norm_running", "var"), 1e-6f, 1e-6f);
    mcs_ctx_free(c);
}

static void test_values(void **state)
{
    (void)state;
    mcs_ctx *c = check_ctx();
    mcs_set_training(c, true);
    const float x[4] = { 1, 10, 3, 30 }; /* two images of two channels */
    mcs_tensor *mean = mcs_zeros(c, 1, MCS_SHAPE(2)), *var = mcs_full(c, 1, MCS_SHAPE(2), 1);
    mcs_tensor *y = mcs_batch_norm(c, mcs_from(c, MCS_F32, 2, MCS_SHAPE(2, 2), x), NULL, NULL, mean,
                                   var, 0.5f, 0);
    const float want[4] = { -1, -1, 1, 1 }, m[2] = { 1, 10 }, v[2] = { 1.5f, 100.5f };
    check_near(y, mcs_from(c, MCS_F32, 2, MCS_SHAPE(2, 2), want), 1e-6f, 0);
    check_near(mean, mcs_from(c, MCS_F32, 1, MCS_SHAPE(2), m), 1e-6f, 0);
    check_near(var, mcs_from(c, MCS_F32, 1, MCS_SHAPE(2), v), 1e-6f, 0);
    mcs_ctx_free(c);
}

/* A plane of 10^6 values far from 0: float sums in one run would lose the variance. */
static void test_large_plane(void **state)
{
    (void)state;
    mcs_ctx *c = check_ctx();
    mcs_set_grad(c, false);
    mcs_tensor *x = check_random(c, 1, 99, 101, 4, MCS_SHAPE(1, 1, 1000, 1003));
    mcs_tensor *y = mcs_instance_norm(c, x, NULL, NULL, 0);
    check_ok(c);
    double mean = 0, square = 0, n = (double)mcs_numel(y);
    for (int64_t i = 0; i < mcs_numel(y); i++) {
        mean += (double)mcs_f32(y)[i] / n;
        square += (double)mcs_f32(y)[i] * (double)mcs_f32(y)[i] / n;
    }
    assert_true(fabs(mean) < 1e-5 && fabs(square - 1) < 1e-5);
    mcs_ctx_free(c);
}

static void refuse_batch(mcs_ctx *c, int64_t n, int64_t channels, int64_t params, const char *part)
{
    mcs_set_training(c, true);
    mcs_tensor *x = mcs_zeros(c, 2, MCS_SHAPE(n, channels));
    mcs_tensor *m = mcs_zeros(c, 1, MCS_SHAPE(params)), *v = mcs_zeros(c, 1, MCS_SHAPE(channels));
    check_fails(c, mcs_batch_norm(c, x, NULL, NULL, m, v, 0.1f, 1e-5f), MCS_ESHAPE, part);
}

static void test_refusals(void **state)
{
    (void)state;
    mcs_ctx *c = check_ctx();
    mcs_tensor *v = mcs_zeros(c, 1, MCS_SHAPE(3)), *x = mcs_zeros(c, 2, MCS_SHAPE(2, 3));
    assert_null(mcs_batch_norm(c, NULL, v, v, v, v, 0.1f, 1e-5f));
    assert_null(mcs_batch_norm(c, x, v, v, NULL, v, 0.1f, 1e-5f));
    assert_null(mcs_instance_norm(c, NULL, v, v, 1e-5f));
    check_ok(c);
    refuse_batch(c, 2, 3, 4, "batch_norm: a parameter has 4 values, the input has 3 channels");
    refuse_batch(c, 1, 3, 3, "batch_norm: training needs more than one value per channel");
    check_fails(c, mcs_instance_norm(c, mcs_zeros(c, 3, MCS_SHAPE(2, 3, 1)), NULL, NULL, 1e-5f),
                MCS_ESHAPE, "instance_norm: needs more than one value");
    check_fails(c, mcs_instance_norm(c, mcs_zeros(c, 1, MCS_SHAPE(2)), NULL, NULL, 1e-5f),
                MCS_ESHAPE, "instance_norm: input has shape (2)");
    mcs_ctx_free(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_values),   cmocka_unit_test(test_golden),
        cmocka_unit_test(test_gradient), cmocka_unit_test(test_running_statistics),
        cmocka_unit_test(test_refusals), cmocka_unit_test(test_large_plane),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
