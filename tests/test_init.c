/* test_init.c - initial values: positions of sines and cosines, bounds, reproducibility. */
#include <math.h>
#include "nn/nn.h"
#include "tests/check.h"

/* get_2d_sincos_pos_embed of MAE, written as its authors explain it: angles of the column first. */
static double expected(int64_t grid, int64_t dim, int64_t at, int64_t k)
{
    int64_t half = dim / 2, quarter = dim / 4;
    double place = (double)(k < half ? at % grid : at / grid) * 16 / (double)grid;
    int64_t i = k % half;
    double angle = place * pow(10000, -(double)(i % quarter) / (double)quarter);
    return 2 * (i < quarter ? sin(angle) : cos(angle));
}

static void test_sincos(void **state)
{
    (void)state;
    const int64_t grid = 3, dim = 8;
    mcs_params *p = mcs_params_new();
    mcs_tensor *x = mcs_param(mcs_root(p), "pos_embed", MCS_INIT_TRUNC02, 3,
                              MCS_SHAPE(1, 1 + grid * grid, dim));
    mcs_tensor *odd = mcs_param(mcs_root(p), "odd", MCS_INIT_SINCOS, 3, MCS_SHAPE(1, 8, dim));
    mcs_tensor *thin = mcs_param(mcs_root(p), "thin", MCS_INIT_SINCOS, 3, MCS_SHAPE(1, 10, 6));
    mcs_params_reinit(p, "pos", MCS_INIT_TRUNC02, MCS_INIT_SINCOS);
    assert_int_equal(mcs_params_init(p, 1), MCS_OK);
    for (int64_t k = 0; k < dim; k++)
        assert_true(mcs_f32(x)[k] == 0);
    for (int64_t i = 0; i < grid * grid; i++)
        for (int64_t k = 0; k < dim; k++)
            assert_true(fabs((double)mcs_f32(x)[(1 + i) * dim + k] - expected(grid, dim, i, k)) <
                        1e-6);
    for (int64_t i = 0; i < mcs_numel(odd); i++)
        assert_true(mcs_f32(odd)[i] == 0);
    for (int64_t i = 0; i < mcs_numel(thin); i++)
        assert_true(mcs_f32(thin)[i] == 0);
    mcs_params_free(p);
}

/* Largest value of `n` draws: just under the bound. */
static double largest(const mcs_tensor *x)
{
    double top = 0;
    for (int64_t i = 0; i < mcs_numel(x); i++)
        top = fmax(top, fabs((double)mcs_f32(x)[i]));
    return top;
}

static void test_bounds(void **state)
{
    (void)state;
    mcs_params *p = mcs_params_new(), *q = mcs_params_new();
    mcs_tensor *k = mcs_param(mcs_root(p), "k", MCS_INIT_KAIMING, 2, MCS_SHAPE(100, 25));
    mcs_tensor *x = mcs_param(mcs_root(p), "x", MCS_INIT_XAVIER, 4, MCS_SHAPE(10, 20, 3, 3));
    mcs_tensor *t = mcs_param(mcs_root(p), "t", MCS_INIT_TRUNC02, 1, MCS_SHAPE(2000));
    mcs_tensor *alone = mcs_param(mcs_root(q), "t", MCS_INIT_TRUNC02, 1, MCS_SHAPE(2000));
    assert_int_equal(mcs_params_init(p, 5), MCS_OK);
    assert_int_equal(mcs_params_init(q, 5), MCS_OK);
    assert_in_range((int)(largest(k) * 1e4), 1980, 2000);
    assert_in_range((int)(largest(x) * 1e4), (int)(sqrt(6.0 / 270) * .99e4),
                    (int)(sqrt(6.0 / 270) * 1e4));
    assert_in_range((int)(largest(t) * 1e5), 3950, 4000);
    assert_memory_equal(mcs_f32(t), mcs_f32(alone), 2000 * sizeof(float));
    mcs_params_free(p);
    mcs_params_free(q);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sincos),
        cmocka_unit_test(test_bounds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
