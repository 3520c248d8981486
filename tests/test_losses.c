/* test_losses.c - losses and their gradients against float64 PyTorch (golden/make_losses.py). */
#include <math.h>
#include <string.h>
#include "tests/check.h"
#include "losses/losses.h"

static mcs_tensor *golden(mcs_ctx *c, const char *name, const char *what)
{
    char key[100];
    snprintf(key, sizeof key, "%s.%s", name, what);
    return check_golden_tensor(c, "losses", key);
}

static void check_contrastive(const char *name, mcs_contrastive_opts o, float tol)
{
    mcs_ctx *c = check_ctx();
    mcs_tensor *image = mcs_leaf(c, golden(c, name, "image"));
    mcs_tensor *text = mcs_leaf(c, golden(c, name, "text"));
    mcs_tensor *scale = mcs_leaf(c, golden(c, name, "scale"));
    o.scale = scale;
    mcs_tensor *loss = mcs_contrastive_loss(c, image, text, &o);
    check_ok(c);
    assert_int_equal(mcs_backward(c, loss, NULL), MCS_OK);
    check_near_named(name, loss, golden(c, name, "loss"), tol, tol);
    check_near_named(name, mcs_grad(c, image), golden(c, name, "dimage"), tol, tol);
    check_near_named(name, mcs_grad(c, text), golden(c, name, "dtext"), tol, tol);
    check_near_named(name, mcs_grad(c, scale), golden(c, name, "dscale"), tol, tol);
    mcs_ctx_free(c);
}

static void test_contrastive_golden(void **state)
{
    (void)state;
    static const char *const kinds[] = { "infonce", "dcl", "hn", "dhn", "official" };
    static const int sizes[] = { 2, 3, 17, 64 };
    for (int b = 0; b < 4; b++)
        for (int k = 0; k < 5; k++) {
            char name[50];
            snprintf(name, sizeof name, "%s.%d.0.6", kinds[k], sizes[b]);
            check_contrastive(name, mcs_contrastive_defaults((mcs_contrastive_kind)k), 5e-6f);
            snprintf(name, sizeof name, "%s.%d.0.01", kinds[k], sizes[b]);
            /* a cosine's rounding of 6e-8 is 6e-6 in the exponent, and gradients are ~100 */
            check_contrastive(name, mcs_contrastive_defaults((mcs_contrastive_kind)k), 2e-4f);
        }
}

static void test_contrastive_options(void **state)
{
    (void)state;
    mcs_contrastive_opts o = mcs_contrastive_defaults(MCS_LOSS_DHN_NCE);
    o.beta1 = 0.3f;
    o.beta2 = 0.5f;
    mcs_contrastive_opts fixed = o, alpha = o;
    fixed.fixed_weights = true;
    check_contrastive("dhn.fixed", fixed, 1e-5f);
    alpha.kind = MCS_LOSS_HN_NCE;
    alpha.alpha = 0.25f;
    check_contrastive("hn.alpha", alpha, 1e-5f);
    mcs_ctx *masks = mcs_ctx_new(NULL);
    o.negatives = check_u8(masks, golden(masks, "dhn.masked", "mask"));
    check_contrastive("dhn.masked", o, 1e-5f);
    mcs_contrastive_opts info = mcs_contrastive_defaults(MCS_LOSS_INFONCE);
    info.negatives = check_u8(masks, golden(masks, "infonce.masked", "mask"));
    check_contrastive("infonce.masked", info, 1e-5f);
    mcs_ctx_free(masks);
}

/* DHN-NCE with beta 0 is DCL; shares of the anchors add up to the whole. */
static void test_identities(void **state)
{
    (void)state;
    mcs_ctx *c = check_ctx();
    mcs_tensor *image = mcs_leaf(c, golden(c, "dhn.17.0.6", "image"));
    mcs_tensor *text = golden(c, "dhn.17.0.6", "text");
    mcs_contrastive_opts dhn = mcs_contrastive_defaults(MCS_LOSS_DHN_NCE), none = dhn;
    mcs_contrastive_opts dcl = mcs_contrastive_defaults(MCS_LOSS_DCL);
    none.beta1 = none.beta2 = 0;
    check_near(mcs_contrastive_loss(c, image, text, &none),
               mcs_contrastive_loss(c, image, text, &dcl), 1e-6f, 0);
    mcs_tensor *whole = mcs_contrastive_loss(c, image, text, &dhn), *sum = mcs_scalar(c, 0);
    for (int64_t i = 0; i < 17; i += 6) {
        int64_t end = i + 6 > 17 ? 17 : i + 6;
        sum = mcs_add(c, sum, mcs_contrastive_rows(c, mcs_rows(c, image, i, end), text, i, true,
                                                   &dhn));
        sum = mcs_add(c, sum, mcs_contrastive_rows(c, mcs_rows(c, text, i, end), image, i, false,
                                                   &dhn));
    }
    check_near(sum, whole, 1e-6f, 0);
    assert_int_equal(mcs_backward(c, sum, NULL), MCS_OK);
    check_near(mcs_grad(c, image), golden(c, "dhn.17.0.6", "dimage"), 1e-5f, 1e-6f);
    mcs_ctx_free(c);
}

static void test_contrastive_refusals(void **state)
{
    (void)state;
    mcs_ctx *c = check_ctx();
    mcs_contrastive_opts o = mcs_contrastive_defaults(MCS_LOSS_DHN_NCE);
    mcs_tensor *one = mcs_full(c, 2, MCS_SHAPE(1, 4), 0.5f);
    check_fails(c, mcs_contrastive_loss(c, one, one, &o), MCS_ESHAPE, "at least 2 pairs");
    mcs_tensor *two = mcs_full(c, 2, MCS_SHAPE(2, 4), 0.5f);
    o.temperature = 0;
    check_fails(c, mcs_contrastive_loss(c, two, two, &o), MCS_EINVAL, "temperature");
    o = mcs_contrastive_defaults(MCS_LOSS_DHN_NCE);
    o.beta1 = -1;
    two = mcs_full(c, 2, MCS_SHAPE(2, 4), 0.5f);
    check_fails(c, mcs_contrastive_loss(c, two, two, &o), MCS_EINVAL, "beta1");
    o = mcs_contrastive_defaults(MCS_LOSS_DHN_NCE);
    two = mcs_full(c, 2, MCS_SHAPE(2, 4), 0.5f);
    o.negatives = two;
    check_fails(c, mcs_contrastive_loss(c, two, two, &o), MCS_ESHAPE, "uint8");
    o = mcs_contrastive_defaults(MCS_LOSS_DHN_NCE_OFFICIAL);
    two = mcs_full(c, 2, MCS_SHAPE(2, 4), 0.5f);
    check_fails(c, mcs_contrastive_rows(c, two, two, 0, true, &o), MCS_EINVAL, "official");
    assert_null(mcs_contrastive_loss(c, NULL, NULL, &o));
    mcs_ctx_free(c);
}

/* All negatives masked: nothing to push from, so no loss and no gradient, and no NaN. */
static void test_anchor_without_negatives(void **state)
{
    (void)state;
    mcs_ctx *c = check_ctx();
    mcs_tensor *x = mcs_leaf(c, mcs_from(c, MCS_F32, 2, MCS_SHAPE(2, 2), (float[]){ 1, 0, 0, 1 }));
    mcs_contrastive_opts o = mcs_contrastive_defaults(MCS_LOSS_DHN_NCE);
    o.negatives = mcs_from(c, MCS_U8, 2, MCS_SHAPE(2, 2), (uint8_t[]){ 1, 0, 0, 1 });
    mcs_tensor *loss = mcs_contrastive_loss(c, x, x, &o);
    assert_true(mcs_f32(loss)[0] == 0);
    assert_int_equal(mcs_backward(c, loss, NULL), MCS_OK);
    for (int i = 0; i < 4; i++)
        assert_true(mcs_f32(mcs_grad(c, x))[i] == 0);
    mcs_ctx_free(c);
}

static void check_pixel(const char *name, mcs_tensor *(*fn)(mcs_ctx *, const mcs_tensor *,
                                                           const mcs_tensor *))
{
    mcs_ctx *c = check_ctx();
    mcs_tensor *x = mcs_leaf(c, golden(c, name, "logits"));
    mcs_tensor *loss = fn(c, x, golden(c, name, "target"));
    check_ok(c);
    assert_int_equal(mcs_backward(c, loss, NULL), MCS_OK);
    check_near_named(name, loss, golden(c, name, "loss"), 1e-6f, 0);
    check_near_named(name, mcs_grad(c, x), golden(c, name, "grad"), 1e-5f, 1e-9f);
    mcs_ctx_free(c);
}

static mcs_tensor *dice(mcs_ctx *c, const mcs_tensor *x, const mcs_tensor *t)
{
    return mcs_dice_loss(c, x, t, 1);
}
static mcs_tensor *focal(mcs_ctx *c, const mcs_tensor *x, const mcs_tensor *t)
{
    return mcs_focal_loss(c, x, t, 0.25f, 2);
}
static mcs_tensor *focal_plain(mcs_ctx *c, const mcs_tensor *x, const mcs_tensor *t)
{
    return mcs_focal_loss(c, x, t, -1, 1.5f);
}

static void test_pixel_golden(void **state)
{
    (void)state;
    check_pixel("bce", mcs_bce_loss);
    check_pixel("dice", dice);
    check_pixel("focal", focal);
    check_pixel("focal_plain", focal_plain);
    check_pixel("cross_entropy", mcs_cross_entropy);
}

static void test_pixel_extremes(void **state)
{
    (void)state;
    mcs_ctx *c = check_ctx();
    mcs_tensor *x = mcs_leaf(c, mcs_from(c, MCS_F32, 1, MCS_SHAPE(4), (float[]){ 300, -300, 300, -300 }));
    mcs_tensor *t = mcs_from(c, MCS_F32, 1, MCS_SHAPE(4), (float[]){ 1, 0, 0, 1 });
    mcs_tensor *loss = mcs_bce_loss(c, x, t);
    assert_true(mcs_f32(loss)[0] == 150);
    mcs_tensor *f = mcs_focal_loss(c, x, t, 0.25f, 2);
    assert_int_equal(mcs_backward(c, mcs_add(c, loss, f), NULL), MCS_OK);
    for (int i = 0; i < 4; i++)
        assert_true(isfinite(mcs_f32(mcs_grad(c, x))[i]));
    mcs_ctx_reset(c);
    x = mcs_zeros(c, 2, MCS_SHAPE(2, 3));
    check_fails(c, mcs_bce_loss(c, x, mcs_zeros(c, 2, MCS_SHAPE(3, 2))), MCS_ESHAPE, "bce_loss");
    x = mcs_zeros(c, 2, MCS_SHAPE(2, 3));
    check_fails(c, mcs_dice_loss(c, x, x, 0), MCS_EINVAL, "smooth");
    x = mcs_zeros(c, 2, MCS_SHAPE(1, 2));
    mcs_tensor *bad = mcs_from(c, MCS_I64, 1, MCS_SHAPE(1), (int64_t[]){ 2 });
    check_fails(c, mcs_cross_entropy(c, x, bad), MCS_EINVAL, "label 2");
    mcs_ctx_free(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_contrastive_golden),
        cmocka_unit_test(test_contrastive_options),
        cmocka_unit_test(test_identities),
        cmocka_unit_test(test_contrastive_refusals),
        cmocka_unit_test(test_anchor_without_negatives),
        cmocka_unit_test(test_pixel_golden),
        cmocka_unit_test(test_pixel_extremes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
