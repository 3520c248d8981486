/* test_optim.c - optimisers against PyTorch, clipping, schedules. */
#include <math.h>
#include <string.h>
#include "tests/check.h"
#include "nn/optim.h"

static void set_grad(mcs_ctx *c, mcs_params *p, const char *weight, const char *prefix, int i)
{
    char name[40];
    snprintf(name, sizeof name, "%s.%d", prefix, i);
    mcs_tensor *g = mcs_grad(c, mcs_params_find(p, weight));
    memcpy(g->data, check_golden_tensor(c, "optim", name)->data, (size_t)mcs_numel(g) * 4);
}

static mcs_params *two_weights(mcs_ctx *c)
{
    mcs_params *p = mcs_params_new();
    mcs_param(mcs_root(p), "w", MCS_INIT_ZEROS, 2, MCS_SHAPE(3, 5));
    mcs_param(mcs_root(p), "b", MCS_INIT_ZEROS, 1, MCS_SHAPE(5));
    assert_int_equal(mcs_params_init(p, 1), MCS_OK);
    assert_int_equal(mcs_params_train(p, "", true), MCS_OK);
    memcpy(mcs_params_find(p, "w")->data, check_golden_tensor(c, "optim", "w")->data, 60);
    memcpy(mcs_params_find(p, "b")->data, check_golden_tensor(c, "optim", "b")->data, 20);
    return p;
}

static void run(const char *name, mcs_optim *(*make)(mcs_params *), double clip)
{
    mcs_ctx *c = check_ctx();
    mcs_params *p = two_weights(c);
    mcs_optim *o = make(p);
    for (int i = 0; i < 4; i++) {
        char key[40];
        set_grad(c, p, "w", "gw", i);
        set_grad(c, p, "b", "gb", i);
        if (clip > 0)
            assert_true(mcs_grad_clip(p, mcs_ctx_pool(c), clip) > clip);
        assert_int_equal(mcs_optim_step(o, mcs_ctx_pool(c), 1e-2, NULL), MCS_OK);
        snprintf(key, sizeof key, "%s.w.%d", name, i);
        check_near_named(key, mcs_params_find(p, "w"), check_golden_tensor(c, "optim", key), 1e-6f, 1e-7f);
        snprintf(key, sizeof key, "%s.b.%d", name, i);
        check_near_named(key, mcs_params_find(p, "b"), check_golden_tensor(c, "optim", key), 1e-6f, 1e-7f);
    }
    assert_int_equal(mcs_optim_steps(o), 4);
    mcs_optim_free(o);
    mcs_params_free(p);
    mcs_ctx_free(c);
}

static mcs_optim *adamw(mcs_params *p)
{
    return mcs_adamw_new(p, &(mcs_adamw_opts){ 0.9f, 0.98f, 1e-6f, 0.1f });
}
static mcs_optim *sgd(mcs_params *p) { return mcs_sgd_new(p, &(mcs_sgd_opts){ 0.9f, 0.1f, false }); }
static mcs_optim *nesterov(mcs_params *p)
{
    return mcs_sgd_new(p, &(mcs_sgd_opts){ 0.9f, 0.1f, true });
}

static void test_against_pytorch(void **state)
{
    (void)state;
    run("adamw", adamw, 0);
    run("clip", adamw, 1);
    run("sgd", sgd, 0);
    run("nesterov", nesterov, 0);
}

static void test_frozen_stays(void **state)
{
    (void)state;
    mcs_ctx *c = check_ctx();
    mcs_params *p = two_weights(c);
    assert_int_equal(mcs_params_train(p, "b", false), MCS_OK);
    mcs_optim *o = adamw(p);
    set_grad(c, p, "w", "gw", 0);
    assert_int_equal(mcs_optim_step(o, NULL, 1e-2, NULL), MCS_OK);
    check_near(mcs_params_find(p, "b"), check_golden_tensor(c, "optim", "b"), 0, 0);
    assert_null(mcs_optim_state(o, 1, 0));
    assert_non_null(mcs_optim_state(o, 0, 1));
    mcs_optim_free(o);
    mcs_params_free(p);
    mcs_ctx_free(c);
}

static void test_norm(void **state)
{
    (void)state;
    mcs_ctx *c = check_ctx();
    mcs_params *p = mcs_params_new();
    const int64_t n = 3000001;      /* more than one round of blocks */
    mcs_param(mcs_root(p), "big", MCS_INIT_ZEROS, 1, &n);
    assert_int_equal(mcs_params_init(p, 1), MCS_OK);
    assert_int_equal(mcs_params_train(p, "", true), MCS_OK);
    float *g = mcs_f32(mcs_grad(c, mcs_params_find(p, "big")));
    for (int64_t i = 0; i < n; i++)
        g[i] = 0.5f;
    double want = 0.5 * sqrt((double)n), norm = mcs_grad_norm(p, NULL);
    assert_true(fabs(norm - want) < 1e-6 * want);
    assert_true(norm == mcs_grad_norm(p, mcs_ctx_pool(c)));
    mcs_grad_clip(p, NULL, 2 * want);
    assert_true(g[7] == 0.5f);
    mcs_grad_clip(p, NULL, want / 2);
    assert_true(fabsf(g[n - 1] - 0.25f) < 1e-5f);
    mcs_params_zero_grad(p);
    assert_true(mcs_grad_norm(p, NULL) == 0);
    mcs_params_free(p);
    mcs_ctx_free(c);
}

static void near(double a, double b) { assert_true(fabs(a - b) < 1e-12); }

static void test_schedules(void **state)
{
    (void)state;
    mcs_schedule s = { MCS_SCHEDULE_COSINE, 2.0, 10, 110, 0, 0 };
    near(mcs_schedule_lr(&s, 0), 0.2);
    near(mcs_schedule_lr(&s, 9), 2.0);
    near(mcs_schedule_lr(&s, 10), 2.0);
    near(mcs_schedule_lr(&s, 60), 1.0);
    near(mcs_schedule_lr(&s, 110), 0.0);
    near(mcs_schedule_lr(&s, 500), 0.0);
    s = (mcs_schedule){ MCS_SCHEDULE_STEP, 1.0, 0, 0, 5, 0.5 };
    near(mcs_schedule_lr(&s, 4), 1.0);
    near(mcs_schedule_lr(&s, 10), 0.25);
    s = (mcs_schedule){ MCS_SCHEDULE_POLY, 1.0, 0, 100, 0, 0.9 };
    near(mcs_schedule_lr(&s, 50), pow(0.5, 0.9));
    s = (mcs_schedule){ MCS_SCHEDULE_CONST, 3.0, 2, 0, 0, 0 };
    near(mcs_schedule_lr(&s, 0), 1.5);
    near(mcs_schedule_lr(&s, 99), 3.0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_against_pytorch), cmocka_unit_test(test_frozen_stays),
        cmocka_unit_test(test_norm), cmocka_unit_test(test_schedules),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
