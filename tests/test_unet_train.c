/* test_unet_train.c - the loss of a UNet by hand and by differences, weights of pictures, batches in
 * parts, refusals. */
#include <math.h>
#include <string.h>
#include "losses/losses.h"
#include "models/unet_train.h"
#include "tests/check.h"

enum { B = 3, K = 4, H = 4, W = 6, P = H * W };

static const mcs_tensor *labels_of(mcs_ctx *c, int classes, int64_t b)
{
    mcs_tensor *y = mcs_new_typed(c, MCS_U8, 3, MCS_SHAPE(b, H, W));
    for (int64_t i = 0; y && i < mcs_numel(y); i++)
        mcs_u8(y)[i] = (uint8_t)(i * 7 % 11 < 6 ? 0 : i * 5 % classes);
    return y;
}

static void two_classes(void **state)
{
    (void)state;
    mcs_ctx *c = check_ctx();
    const mcs_tensor *x = check_random(c, 1, -3, 3, 4, MCS_SHAPE(B, 1, H, W));
    const mcs_tensor *y = labels_of(c, 2, B);
    mcs_tensor *t = mcs_new_like(c, x);
    for (int64_t i = 0; i < B * P; i++)
        mcs_f32(t)[i] = mcs_u8(y)[i];
    const mcs_unet_loss o = { 0.5f, 2, 3, 0.7f };
    float want = 0.5f * mcs_f32(mcs_dice_loss(c, x, t, 0.7f))[0] +
                 2 * mcs_f32(mcs_bce_loss(c, x, t))[0] +
                 3 * mcs_f32(mcs_focal_loss(c, x, t, 0.25f, 2))[0];
    const mcs_tensor *loss = mcs_unet_train_loss(c, x, y, NULL, &o);
    check_ok(c);
    assert_true(fabsf(mcs_f32(loss)[0] - want) < 1e-6f * want);
    /* weighted: the mean of the pictures' own losses */
    const float weight[B] = { 0.2f, 0, 0.7f };
    double sum = 0;
    for (int i = 0; i < B; i++)
        sum += (double)weight[i] / 0.9 *
               (double)mcs_f32(mcs_unet_train_loss(c, mcs_rows(c, x, i, i + 1),
                                                   mcs_rows(c, y, i, i + 1), NULL, &o))[0];
    loss = mcs_unet_train_loss(c, x, y, weight, &o);
    check_ok(c);
    assert_true(fabs((double)mcs_f32(loss)[0] - sum) < 1e-5);
    mcs_ctx_free(c);
}

/* Cross-entropy plus Dice of the labels but the background, in double. */
static double by_hand(const float *x, const uint8_t *y, double smooth)
{
    double entropy = 0, dice = 0;
    for (int b = 0; b < B; b++) {
        double both[K] = { 0 }, all[K] = { 0 };
        for (int i = 0; i < P; i++) {
            double e[K], sum = 0;
            for (int k = 0; k < K; k++)
                sum += e[k] = exp((double)x[(b * K + k) * P + i]);
            int label = y[b * P + i];
            entropy -= log(e[label] / sum) / (B * P);
            for (int k = 1; k < K; k++) {
                both[k] += label == k ? e[k] / sum : 0;
                all[k] += e[k] / sum + (label == k);
            }
        }
        for (int k = 1; k < K; k++)
            dice += (1 - (2 * both[k] + smooth) / (all[k] + smooth)) / (B * (K - 1));
    }
    return entropy + dice;
}

static void several_classes(void **state)
{
    (void)state;
    mcs_ctx *c = check_ctx();
    const mcs_tensor *x = check_random(c, 2, -3, 3, 4, MCS_SHAPE(B, K, H, W));
    const mcs_tensor *y = labels_of(c, K, B);
    const mcs_unet_loss o = { 1, 1, 0, 0.5f };
    const mcs_tensor *loss = mcs_unet_train_loss(c, x, y, NULL, &o);
    check_ok(c);
    assert_true(fabs((double)mcs_f32(loss)[0] - by_hand(mcs_f32(x), mcs_u8(y), 0.5)) < 1e-5);
    mcs_ctx_free(c);
}

static mcs_tensor *binary_case(mcs_ctx *c, mcs_tensor **in)
{
    const float weight[B] = { 1, 0.5f, 2 };
    const mcs_unet_loss o = { 1, 1, 1, 1 };
    return mcs_unet_train_loss(c, in[0], labels_of(c, 2, B), weight, &o);
}

static mcs_tensor *classes_case(mcs_ctx *c, mcs_tensor **in)
{
    const float weight[B] = { 1, 0.5f, 2 };
    const mcs_unet_loss o = mcs_unet_loss_defaults();
    return mcs_unet_train_loss(c, in[0], labels_of(c, K, B), weight, &o);
}

static void gradients(void **state)
{
    (void)state;
    mcs_ctx *c = check_ctx();
    mcs_tensor *one[] = { check_random(c, 3, -2, 2, 4, MCS_SHAPE(B, 1, H, W)) };
    check_grad(c, binary_case, 1, one, 2e-3f);
    mcs_ctx_reset(c);
    mcs_tensor *many[] = { check_random(c, 4, -2, 2, 4, MCS_SHAPE(B, K, H, W)) };
    check_grad(c, classes_case, 1, many, 2e-3f);
    mcs_ctx_reset(c);
    many[0] = check_random(c, 4, -2, 2, 4, MCS_SHAPE(B, K, H, W));
    check_limits(classes_case, 1, many);
    mcs_ctx_free(c);
}

/* ---- Steps ---- */

enum { SIDE = 8, N = 5 };

static mcs_status supply(mcs_ctx *c, void *arg, int64_t first, int64_t count,
                         const mcs_tensor **images, const mcs_tensor **labels)
{
    int64_t n = SIDE * SIDE;
    mcs_tensor *x = mcs_new(c, 4, MCS_SHAPE(count, 1, SIDE, SIDE));
    mcs_tensor *y = mcs_new_typed(c, MCS_U8, 3, MCS_SHAPE(count, SIDE, SIDE));
    for (int64_t i = 0; x && y && i < count * n; i++) {
        int64_t at = first * n + i;
        mcs_f32(x)[i] = (float)(at * 7919 % 2003) / 1000 - 1;
        mcs_u8(y)[i] = (uint8_t)(at * 31 % 17 < 5);
    }
    if (arg)
        mcs_f32(x)[0] = (float)NAN;
    *images = x;
    *labels = y;
    return mcs_ctx_status(c);
}

static mcs_unet *small_net(void)
{
    mcs_error e = { 0 };
    mcs_unet_config cfg = mcs_unet_defaults();
    cfg.in_channels = 1;
    cfg.levels = 2;
    cfg.channels[0] = 4;
    cfg.channels[1] = 6;
    mcs_unet *m = mcs_unet_new(&cfg, &e);
    assert_non_null(m);
    assert_int_equal(mcs_params_init(mcs_unet_params(m), 5), MCS_OK);
    assert_int_equal(mcs_params_train(mcs_unet_params(m), "", true), MCS_OK);
    return m;
}

/* All gradients, one after the other, after a step with `micro` pictures at a time. */
static int64_t step(mcs_ctx *c, mcs_unet *m, int64_t micro, const float *weight, double *loss,
                    float *out)
{
    mcs_params *p = mcs_unet_params(m);
    const mcs_unet_loss o = mcs_unet_loss_defaults();
    const mcs_unet_batch b = { .size = N, .micro = micro, .weight = weight, .supply = supply };
    int64_t n = 0;
    mcs_params_zero_grad(p);
    assert_int_equal(mcs_unet_step(c, m, &b, &o, loss), MCS_OK);
    for (int64_t i = 0; i < mcs_params_count(p); i++) {
        const mcs_tensor *g = mcs_grad(c, mcs_params_at(p, i).tensor);
        for (int64_t k = 0; g && k < mcs_numel(g); k++)
            out[n++] = mcs_f32(g)[k];
    }
    return n;
}

static void in_parts(void **state)
{
    (void)state;
    static float whole[20000], parts[20000];
    mcs_ctx *c = check_ctx();
    mcs_unet *m = small_net();
    const float weight[N] = { 0.5f, 1, 0, 0, 2 };
    double a, b;
    for (int w = 0; w < 2; w++) {
        int64_t n = step(c, m, N, w ? weight : NULL, &a, whole);
        assert_true(n > 500 && n < 20000);
        double norm = 0, off = 0;
        for (int64_t micro = 1; micro < N; micro++) {
            assert_int_equal(step(c, m, micro, w ? weight : NULL, &b, parts), n);
            assert_true(fabs(a - b) < 1e-6);
            for (int64_t i = 0; i < n; i++) {
                norm += (double)whole[i] * (double)whole[i];
                off +=
                    ((double)whole[i] - (double)parts[i]) * ((double)whole[i] - (double)parts[i]);
            }
            assert_true(norm > 0 && sqrt(off / norm) < 1e-5);
        }
    }
    bool grad = mcs_set_grad(c, false); /* measures only */
    mcs_params_zero_grad(mcs_unet_params(m));
    assert_int_equal(step(c, m, 2, NULL, &b, parts) > 0, 1);
    for (int64_t i = 0; i < 100; i++)
        assert_true(parts[i] == 0);
    mcs_set_grad(c, grad);
    mcs_unet_free(m);
    mcs_ctx_free(c);
}

static void refusals(void **state)
{
    (void)state;
    mcs_ctx *c = check_ctx();
    const mcs_unet_loss o = mcs_unet_loss_defaults();
    const mcs_unet_loss none = { .smooth = 1 }, focal = { .focal = 1, .smooth = 1 },
                        negative = { .dice = -1, .bce = 2, .smooth = 1 };
    const float zero[B] = { 0 }, minus[B] = { 1, -1, 1 };
#define X(k) check_random(c, 1, -1, 1, 4, MCS_SHAPE(B, k, H, W))
    check_fails(c, mcs_unet_train_loss(c, X(1), labels_of(c, 2, B), NULL, &none), MCS_EINVAL,
                "all weights are 0");
    check_fails(c, mcs_unet_train_loss(c, X(1), labels_of(c, 2, B), NULL, &negative), MCS_EINVAL,
                "must be finite");
    check_fails(c, mcs_unet_train_loss(c, X(K), labels_of(c, K, B), NULL, &focal), MCS_EINVAL,
                "no focal loss of several");
    check_fails(c, mcs_unet_train_loss(c, X(1), labels_of(c, 3, B), NULL, &o), MCS_EINVAL,
                "label 2, classes are 0..1");
    check_fails(c, mcs_unet_train_loss(c, X(1), labels_of(c, 2, B - 1), NULL, &o), MCS_ESHAPE,
                "(B,H,W) are needed");
    check_fails(c, mcs_unet_train_loss(c, X(1), labels_of(c, 2, B), zero, &o), MCS_EINVAL,
                "all pictures have weight 0");
    check_fails(c, mcs_unet_train_loss(c, X(1), labels_of(c, 2, B), minus, &o), MCS_EINVAL,
                "weight -1");
#undef X
    assert_null(mcs_unet_train_loss(c, NULL, labels_of(c, 2, B), NULL, &o));
    assert_int_equal(mcs_ctx_status(c), MCS_OK);
    mcs_unet *m = small_net();
    double loss;
    int broken = 1;
    mcs_unet_batch b = { .size = N, .micro = 0, .supply = supply };
    assert_int_equal(mcs_unet_step(c, m, &b, &o, &loss), MCS_EINVAL);
    mcs_ctx_reset(c);
    b = (mcs_unet_batch){ .size = N, .micro = 2, .supply = supply, .arg = &broken };
    assert_int_equal(mcs_unet_step(c, m, &b, &o, &loss), MCS_ENUMERIC);
    mcs_ctx_free(c);
    mcs_unet_free(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(two_classes), cmocka_unit_test(several_classes),
        cmocka_unit_test(gradients),   cmocka_unit_test(in_parts),
        cmocka_unit_test(refusals),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
