/* The Residual UNet against MONAI's in small layouts: logits in both modes, all gradients, running
 * statistics, ten training steps; layouts read off checkpoints, round trips, refusals. */
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include "losses/losses.h"
#include "models/unet.h"
#include "nn/optim.h"
#include "tests/wave.h"

/* make_unet.py: what names, shapes and defaults do not tell of each case, and its images. */
typedef struct {
    const char *name;
    mcs_unet_config hint;
    int64_t shape[4];
    bool train;
} unet_case;

static const unet_case *case_of(const char *name)
{
    static unet_case all[4] = { { .name = "res2", .shape = { 3, 3, 12, 20 }, .train = true },
                                { .name = "res0", .shape = { 3, 2, 18, 12 } },
                                { .name = "res1", .shape = { 2, 1, 8, 12 }, .train = true },
                                { .name = "affine", .shape = { 1, 3, 6, 10 } } };
    for (int i = 0; i < 4; i++)
        all[i].hint = mcs_unet_defaults();
    all[1].hint.strides[1] = 3;
    all[1].hint.act = MCS_UNET_LEAKY_RELU;
    all[1].hint.slope = 0.1f;
    for (int i = 0; i < 4; i++)
        if (!strcmp(all[i].name, name))
            return &all[i];
    fail_msg("no case %s", name);
    return NULL;
}

static mcs_unet *load(const unet_case *k)
{
    char path[128];
    mcs_error e = { 0 };
    snprintf(path, sizeof path, "tests/golden/unet_%s.safetensors", k->name);
    mcs_unet *m = mcs_unet_load(path, &k->hint, &e);
    if (!m)
        fail_msg("%s", e.message);
    return m;
}

static mcs_tensor *golden(mcs_ctx *c, const unet_case *k, const char *name)
{
    char file[64];
    snprintf(file, sizeof file, "unet_%s_out", k->name);
    return check_golden_tensor(c, file, name);
}

static void check_stats(mcs_ctx *c, const unet_case *k, mcs_params *p)
{
    for (int64_t i = 0; i < mcs_params_count(p); i++) {
        mcs_param_entry entry = mcs_params_at(p, i);
        char name[256];
        snprintf(name, sizeof name, "stats.%s", entry.name);
        if (entry.buffer)
            check_near_named(name, entry.tensor, golden(c, k, name), 2e-5f, 2e-6f);
    }
}

static void check_gradients(mcs_ctx *c, const unet_case *k, mcs_params *p)
{
    for (int64_t i = 0; i < mcs_params_count(p); i++) {
        mcs_param_entry entry = mcs_params_at(p, i);
        char name[256];
        snprintf(name, sizeof name, "grad.%s", entry.name);
        mcs_tensor *expected = golden(c, k, name);
        assert_int_equal(expected == NULL, entry.buffer);
        if (expected) /* 2e-5: a bias before a norm has none but rounding */
            check_near_scaled(name, mcs_grad(c, entry.tensor), expected, 1e-4f, 2e-5f);
    }
}

static void agrees(const char *name)
{
    const unet_case *k = case_of(name);
    mcs_unet *m = load(k);
    mcs_params *p = mcs_unet_params(m);
    mcs_ctx *c = check_ctx();
    mcs_tensor *x = wave(c, 3, 4, 4, k->shape), *y = mcs_unet_forward(c, m, x);
    check_ok(c);
    check_near_named("eval", y, golden(c, k, "out.eval"), 1e-4f, 2e-5f);
    mcs_set_training(c, k->train);
    assert_int_equal(mcs_params_train(p, "", true), MCS_OK);
    y = mcs_unet_forward(c, m, x);
    check_ok(c);
    check_near_named("mode", y, golden(c, k, k->train ? "out.train" : "out.eval"), 1e-4f, 2e-5f);
    if (k->train)
        check_stats(c, k, p);
    assert_int_equal(mcs_backward(c, y, wave(c, 0, 1, 4, y->shape)), MCS_OK);
    check_gradients(c, k, p);
    mcs_ctx_free(c);
    mcs_unet_free(m);
}

static void two_residual_units(void **state)
{
    (void)state;
    agrees("res2");
}
static void no_residual_units(void **state)
{
    (void)state;
    agrees("res0");
}
static void one_residual_unit(void **state)
{
    (void)state;
    agrees("res1");
}
static void affine_instance_norm(void **state)
{
    (void)state;
    agrees("affine");
}

static void training_agrees(void **state)
{
    (void)state;
    const unet_case *k = case_of("res2");
    mcs_unet *m = load(k);
    mcs_params *p = mcs_unet_params(m);
    mcs_error e = { 0 };
    mcs_optim *opt = mcs_adamw_new(p, &(mcs_adamw_opts){ 0.9f, 0.999f, 1e-8f, 1e-2f });
    assert_int_equal(mcs_params_train(p, "", true), MCS_OK);
    mcs_ctx *c = check_ctx();
    const mcs_tensor *expected = golden(c, k, "steps.loss"), *out = golden(c, k, "steps.out");
    float losses[10];
    assert_non_null(expected);
    memcpy(losses, expected->data, sizeof losses);
    for (int step = 0; step < 10; step++) {
        mcs_ctx_reset(c);
        mcs_tensor *t = wave(c, 5, 1, 4, MCS_SHAPE(3, 1, 12, 20));
        for (int64_t i = 0; i < mcs_numel(t); i++)
            mcs_f32(t)[i] = mcs_f32(t)[i] > 0;
        mcs_tensor *y = mcs_unet_forward(c, m, wave(c, 3, 4, 4, k->shape));
        mcs_tensor *loss = mcs_add(c, mcs_dice_loss(c, y, t, 1), mcs_bce_loss(c, y, t));
        check_ok(c);
        if (fabsf(mcs_f32(loss)[0] - losses[step]) > 2e-5f)
            fail_msg("step %d: loss %.6f, expected %.6f", step, (double)mcs_f32(loss)[0],
                     (double)losses[step]);
        mcs_params_zero_grad(p);
        assert_int_equal(mcs_backward(c, loss, NULL), MCS_OK);
        assert_int_equal(mcs_optim_step(opt, mcs_ctx_pool(c), 2e-3, &e), MCS_OK);
    }
    mcs_ctx_reset(c);
    out = golden(c, k, "steps.out");
    check_near_named("after ten steps", mcs_unet_forward(c, m, wave(c, 3, 4, 4, k->shape)), out, 0,
                     2e-5f);
    mcs_optim_free(opt);
    mcs_ctx_free(c);
    mcs_unet_free(m);
}

static void refusals(void **state)
{
    (void)state;
    mcs_unet *m = load(case_of("res2"));
    mcs_ctx *c = check_ctx();
    assert_null(mcs_unet_forward(c, m, NULL));
    check_fails(c, mcs_unet_forward(c, NULL, mcs_zeros(c, 4, MCS_SHAPE(1, 3, 8, 8))), MCS_EINVAL,
                "model is NULL");
    check_fails(c, mcs_unet_forward(c, m, mcs_zeros(c, 4, MCS_SHAPE(1, 3, 8, 6))), MCS_ESHAPE,
                "multiples of 4");
    check_fails(c, mcs_unet_forward(c, m, mcs_zeros(c, 4, MCS_SHAPE(1, 1, 8, 8))), MCS_ESHAPE,
                "(1, 1, 8, 8), expected float (B, 3, H, W)");
    check_fails(c, mcs_unet_forward(c, m, mcs_zeros(c, 4, MCS_SHAPE(1, 3, 4, 4))), MCS_ESHAPE,
                "more than one value");
    mcs_ctx_free(c);
    mcs_unet_free(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(two_residual_units), cmocka_unit_test(no_residual_units),
        cmocka_unit_test(one_residual_unit),  cmocka_unit_test(affine_instance_norm),
        cmocka_unit_test(training_agrees),    cmocka_unit_test(refusals),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
