/* test_optim_state.c - the optimiser's state to a file and back: the same bits as without
 * interruption; refusals. */
#include <math.h>
#include <unistd.h>
#include "tests/train_tiny.h"
#include "weights/optim_state.h"

static void test_state_round_trip(void **state)
{
    (void)state;
    const char *path = "build/test_optim_state.safetensors";
    const char *meta[] = { "epoch", "3", NULL };
    mcs_error e = { MCS_OK, "" };
    mcs_clip_step_opts o = dhn(4);
    bench a = begin(), b = begin();
    assert_int_equal(mcs_clip_train_lock(a.m, &(mcs_clip_lock){ .image = true, .scale = true }, &e),
                     MCS_OK);
    for (int n = 0; n < 3; n++)
        step(&a, n, &o);
    assert_int_equal(mcs_optim_save(a.adamw, a.p, path, meta, &e), MCS_OK);
    for (int64_t i = 0; i < mcs_params_count(a.p); i++)
        memcpy(mcs_params_at(b.p, i).tensor->data, mcs_params_at(a.p, i).tensor->data,
               (size_t)mcs_numel(mcs_params_at(a.p, i).tensor) * sizeof(float));
    mcs_checkpoint *k = mcs_checkpoint_open(path, &e);
    assert_non_null(k);
    assert_string_equal(mcs_checkpoint_meta(k, "epoch"), "3");
    assert_int_equal(mcs_optim_load(b.adamw, b.p, k, &e), MCS_OK);
    mcs_checkpoint_close(k);
    assert_int_equal(mcs_optim_steps(b.adamw), 3);
    assert_int_equal(mcs_clip_train_lock(b.m, &(mcs_clip_lock){ .image = true, .scale = true }, &e),
                     MCS_OK);
    for (int n = 3; n < 5; n++) {
        double x = step(&a, n, &o), y = step(&b, n, &o);
        assert_true(x == y);
    }
    for (int64_t i = 0; i < mcs_params_count(a.p); i++)
        assert_memory_equal(mcs_params_at(b.p, i).tensor->data, mcs_params_at(a.p, i).tensor->data,
                            (size_t)mcs_numel(mcs_params_at(a.p, i).tensor) * sizeof(float));
    unlink(path);
    end(&a);
    end(&b);
}

static void test_state_refusals(void **state)
{
    (void)state;
    mcs_error e = { MCS_OK, "" };
    bench t = begin();
    mcs_checkpoint *k = mcs_checkpoint_open("tests/golden/clip_tiny.safetensors", &e);
    assert_int_equal(mcs_optim_load(t.adamw, t.p, k, &e), MCS_ENOTFOUND);
    assert_non_null(strstr(e.message, "not the state of an optimiser"));
    mcs_checkpoint_close(k);
    const char *path = "build/test_optim_state2.safetensors",
               *meta[] = { "mcs.optim.steps", "1", NULL };
    float x[4] = { 0 };
    mcs_save_entry one = { "exp_avg.logit_scale", MCS_ST_F32, 1, { 4 }, x, MCS_F32 };
    const struct {
        const char *name;
        int ndim;
        float value;
        mcs_status want;
    } cases[] = {
        { "exp_avg.logit_scale", 1, 0, MCS_ESHAPE },
        { "exp_avg.logit_scale", 0, 0, MCS_EFORMAT },
        { "exp_avg.logit_scale", 0, NAN, MCS_ENUMERIC },
        { "exp_avg.nothing", 0, 0, MCS_ENOTFOUND },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        e = (mcs_error){ MCS_OK, "" };
        one.name = cases[i].name;
        one.ndim = cases[i].ndim;
        x[0] = cases[i].value;
        assert_int_equal(mcs_safetensors_write(path, 1, &one, meta, &e), MCS_OK);
        k = mcs_checkpoint_open(path, &e);
        assert_int_equal(mcs_optim_load(t.adamw, t.p, k, &e), cases[i].want);
        mcs_checkpoint_close(k);
    }
    unlink(path);
    end(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_state_round_trip),
        cmocka_unit_test(test_state_refusals),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
