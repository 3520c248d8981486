/* test_unet_predict.c - whole pictures through small UNets: against the plain forward pass, means of
 * nets and mirrors, squares that overlap, labels and entropy by hand. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "models/unet_predict.h"
#include "tests/check.h"
#include "tests/picture.h"

enum { SIDE = 16 };

static mcs_unet *net(int classes, int channels, uint64_t seed)
{
    mcs_error e = { 0 };
    mcs_unet_config cfg = mcs_unet_defaults();
    cfg.in_channels = channels;
    cfg.classes = classes;
    cfg.levels = 2;
    cfg.channels[0] = 4;
    cfg.channels[1] = 6;
    mcs_unet *m = mcs_unet_new(&cfg, &e);
    assert_non_null(m);
    assert_int_equal(mcs_params_init(mcs_unet_params(m), seed), MCS_OK);
    return m;
}

static mcs_ctx *context(void)
{
    mcs_ctx *c = check_ctx();
    mcs_set_grad(c, false);
    return c;
}

static const mcs_unet_view whole = { .kind = MCS_UNET_RESIZE, .side = SIDE };

static float *predict(const mcs_unet *const *nets, int count, const mcs_image *im,
                      const mcs_unet_view *v)
{
    mcs_error e = { 0 };
    size_t n = (size_t)im->width * (size_t)im->height;
    float *prob = malloc((size_t)mcs_unet_planes(mcs_unet_get_config(nets[0])) * n * sizeof *prob);
    mcs_ctx *c = context();
    if (mcs_unet_predict(c, nets, count, im, v, prob, &e) != MCS_OK)
        fail_msg("%s", e.message);
    mcs_ctx_free(c);
    return prob;
}

/* A picture of the net's side needs no resizing: sigmoid, or softmax, of the logits. */
static void at_its_side(void **state)
{
    (void)state;
    mcs_ctx *c = context();
    mcs_image *im = noise_image(SIDE, SIDE, 3);
    for (int classes = 1; classes < 4; classes += 2) {
        mcs_unet *m = net(classes, 3, 4);
        const mcs_unet *nets[] = { m };
        float *prob = predict(nets, 1, im, &whole);
        mcs_unet_view slide = { .kind = MCS_UNET_SLIDING, .side = SIDE, .overlap = 0.5f };
        float *slid = predict(nets, 1, im, &slide);
        mcs_tensor *x = mcs_new(c, 4, MCS_SHAPE(1, 3, SIDE, SIDE));
        for (int i = 0; i < SIDE * SIDE * 3; i++)
            mcs_f32(x)[i % 3 * SIDE * SIDE + i / 3] =
                ((float)((uint8_t *)im->data)[i] / 255 - MCS_UNET_MEAN) / MCS_UNET_STD;
        const float *y = mcs_f32(mcs_unet_forward(c, m, x));
        check_ok(c);
        for (int i = 0; i < SIDE * SIDE; i++) {
            double sum = classes == 1 ? 1 : 0;
            for (int k = 0; k < classes; k++)
                sum += exp((double)y[k * SIDE * SIDE + i]);
            for (int k = 0; k < classes; k++) {
                int at = k * SIDE * SIDE + i;
                assert_true(fabs((double)prob[at] - exp((double)y[at]) / sum) < 1e-5);
                assert_true(fabs((double)slid[at] - (double)prob[at]) < 1e-6);
            }
        }
        mcs_ctx_reset(c);
        free(prob);
        free(slid);
        mcs_unet_free(m);
    }
    mcs_ctx_free(c);
    mcs_image_free(im);
}

static mcs_image *mirrored(const mcs_image *im)
{
    mcs_image *out = mcs_image_new(im->width, im->height, 1, 8);
    for (int y = 0; y < im->height; y++)
        for (int x = 0; x < im->width; x++)
            ((uint8_t *)out->data)[y * im->width + x] =
                ((uint8_t *)im->data)[y * im->width + im->width - 1 - x];
    return out;
}

static void means(void **state)
{
    (void)state;
    enum { W = 31, H = 22 };
    mcs_image *im = noise_image(W, H, 1), *flipped = mirrored(im);
    mcs_unet *a = net(1, 1, 4), *b = net(1, 1, 5);
    const mcs_unet *both[] = { a, b }, *first[] = { a }, *second[] = { b };
    float *pa = predict(first, 1, im, &whole), *pb = predict(second, 1, im, &whole);
    float *mean = predict(both, 2, im, &whole), *pf = predict(first, 1, flipped, &whole);
    mcs_unet_view flips = whole;
    flips.flips = true;
    float *pm = predict(first, 1, im, &flips);
    double apart = 0;
    for (int i = 0; i < W * H; i++) {
        int j = i / W * W + W - 1 - i % W;
        assert_true(fabsf(mean[i] - (pa[i] + pb[i]) / 2) < 1e-6f);
        assert_true(fabsf(pm[i] - (pa[i] + pf[j]) / 2) < 1e-5f);
        apart += fabs((double)pa[i] - (double)pb[i]) + fabs((double)pa[i] - (double)pf[j]);
    }
    assert_true(apart > 0.1);
    free(pa);
    free(pb);
    free(pf);
    free(pm);
    free(mean);
    mcs_unet_free(a);
    mcs_unet_free(b);
    mcs_image_free(im);
    mcs_image_free(flipped);
}

/* A net that always says the same says it in every pixel, wherever squares end. */
static void squares(void **state)
{
    (void)state;
    static const int sizes[][2] = { { 16, 16 }, { 17, 40 }, { 50, 16 }, { 5, 9 }, { 33, 31 } };
    mcs_unet *m = net(1, 1, 4);
    const mcs_unet *nets[] = { m };
    mcs_params *p = mcs_unet_params(m);
    for (int64_t i = 0; i < mcs_params_count(p); i++) {
        const mcs_tensor *w = mcs_params_at(p, i).tensor;
        memset(mcs_f32(w), 0, (size_t)mcs_numel(w) * sizeof(float));
        if (i + 1 == mcs_params_count(p) || strstr(mcs_params_at(p, i).name, "model.2.1.conv"))
            for (int64_t k = 0; k < mcs_numel(w) && w->ndim == 1; k++)
                mcs_f32(w)[k] = 0.7f;
    }
    for (int i = 0; i < 5; i++)
        for (int k = 0; k < 3; k++) {
            const mcs_unet_view v = { .kind = MCS_UNET_SLIDING,
                                      .side = SIDE,
                                      .overlap = (float)k * 0.45f };
            mcs_image *im = noise_image(sizes[i][0], sizes[i][1], 1);
            float *prob = predict(nets, 1, im, &v);
            for (int n = 0; n < im->width * im->height; n++)
                assert_true(fabs((double)prob[n] - 1 / (1 + exp(-0.7))) < 1e-5);
            free(prob);
            mcs_image_free(im);
        }
    mcs_unet_free(m);
}

static void what_follows(void **state)
{
    (void)state;
    const float one[] = { 0, 0.25f, 0.5f, 0.51f, 1 };
    const float three[] = { 0.2f, 0.5f, 1 / 3.0f, 0.5f, 0.5f, 1 / 3.0f, 0.3f, 0, 1 / 3.0f };
    uint8_t labels[5];
    float h[5];
    mcs_unet_labels(one, 1, 5, 0.5f, labels);
    assert_memory_equal(labels, ((uint8_t[]){ 0, 0, 0, 1, 1 }), 5);
    mcs_unet_labels(one, 1, 5, 0.2f, labels);
    assert_memory_equal(labels, ((uint8_t[]){ 0, 1, 1, 1, 1 }), 5);
    mcs_unet_labels(three, 3, 3, 0.5f, labels); /* the first of equals */
    assert_memory_equal(labels, ((uint8_t[]){ 1, 0, 0 }), 3);
    mcs_unet_entropy(one, 1, 5, h);
    assert_true(h[0] == 0 && h[4] == 0 && h[2] == 1);
    assert_true(fabs((double)h[1] - 0.8112781) < 1e-6);
    mcs_unet_entropy(three, 3, 3, h);
    assert_true(fabs((double)h[0] - 1.4854753 / log2(3)) < 1e-6);
    assert_true(fabs((double)h[1] - 1 / log2(3)) < 1e-6 && fabsf(h[2] - 1) < 1e-6f);
}

static void refuse(const mcs_unet *const *nets, int count, const mcs_unet_view *v, mcs_status s,
                   const char *part)
{
    mcs_error e = { 0 };
    float prob[3 * SIDE * SIDE];
    mcs_image *im = noise_image(SIDE, SIDE, 3);
    mcs_ctx *c = context();
    assert_int_equal(mcs_unet_predict(c, nets, count, im, v, prob, &e), s);
    if (!strstr(e.message, part))
        fail_msg("'%s' has no '%s'", e.message, part);
    mcs_image_free(im);
    mcs_ctx_free(c);
}

static void refusals(void **state)
{
    (void)state;
    mcs_unet *a = net(1, 3, 1), *b = net(2, 3, 1), *four = net(1, 4, 1);
    const mcs_unet *mixed[] = { a, b }, *wide[] = { four }, *good[] = { a };
    mcs_unet_view v = whole;
    refuse(good, 0, &v, MCS_EINVAL, "no net");
    refuse(mixed, 2, &v, MCS_EINVAL, "net 2 has 2 classes");
    refuse(wide, 1, &v, MCS_EINVAL, "1 or 3 channels");
    v.side = SIDE + 1;
    refuse(good, 1, &v, MCS_ESHAPE, "multiple");
    v = (mcs_unet_view){ .side = SIDE, .overlap = 1 };
    refuse(good, 1, &v, MCS_EINVAL, "overlap");
    mcs_unet_free(a);
    mcs_unet_free(b);
    mcs_unet_free(four);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(at_its_side),  cmocka_unit_test(means),    cmocka_unit_test(squares),
        cmocka_unit_test(what_follows), cmocka_unit_test(refusals),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
