/* test_op_conv.c - conv2d: columns, pointwise, depthwise. */
#include "tests/check.h"

static mcs_tensor *conv(mcs_ctx *c, mcs_tensor **in, int sh, int sw, int ph, int pw, int groups)
{
    return mcs_conv2d(c, in[0], in[1], in[2], (mcs_conv_opts){ sh, sw, ph, pw, groups });
}

static mcs_tensor *same_3x3(mcs_ctx *c, mcs_tensor **in)
{
    return conv(c, in, 1, 1, 1, 1, 1);
}
/* Padding beyond the kernel: always by columns. */
static mcs_tensor *far_3x3(mcs_ctx *c, mcs_tensor **in)
{
    return conv(c, in, 1, 1, 3, 3, 1);
}
static mcs_tensor *groups_2(mcs_ctx *c, mcs_tensor **in)
{
    return conv(c, in, 2, 3, 1, 2, 2);
}
static mcs_tensor *patch_4(mcs_ctx *c, mcs_tensor **in)
{
    return conv(c, in, 4, 4, 0, 0, 0);
}
static mcs_tensor *point_2(mcs_ctx *c, mcs_tensor **in)
{
    return conv(c, in, 0, 0, 0, 0, 2);
}
static mcs_tensor *point_1(mcs_ctx *c, mcs_tensor **in)
{
    return conv(c, in, 1, 1, 0, 0, 1);
}
static mcs_tensor *deep_1(mcs_ctx *c, mcs_tensor **in)
{
    return conv(c, in, 1, 1, 1, 1, 3);
}
static mcs_tensor *deep_2(mcs_ctx *c, mcs_tensor **in)
{
    return conv(c, in, 2, 2, 1, 1, 3);
}
static mcs_tensor *deep_5x4(mcs_ctx *c, mcs_tensor **in)
{
    return conv(c, in, 2, 1, 1, 3, 2);
}
static mcs_tensor *plain(mcs_ctx *c, mcs_tensor **in)
{
    return conv(c, in, 1, 1, 0, 0, 1);
}

static mcs_tensor *picture(mcs_ctx *c, uint64_t seed, int64_t n, int64_t ch, int64_t h, int64_t w)
{
    return check_random(c, seed, -1, 1, 4, MCS_SHAPE(n, ch, h, w));
}

static mcs_tensor *vector(mcs_ctx *c, uint64_t seed, int64_t n)
{
    return check_random(c, seed, -1, 1, 1, MCS_SHAPE(n));
}

/* One 2x2 kernel over a 2x3 picture; padding and stride as numbers of zeros and steps. */
static void test_by_hand(void **state)
{
    (void)state;
    mcs_ctx *c = check_ctx();
    mcs_tensor *x = mcs_from(c, MCS_F32, 4, MCS_SHAPE(1, 1, 2, 3), (float[]){ 1, 2, 3, 4, 5, 6 });
    mcs_tensor *w = mcs_from(c, MCS_F32, 4, MCS_SHAPE(1, 1, 2, 2), (float[]){ 1, 10, 100, 1000 });
    mcs_tensor *b = mcs_from(c, MCS_F32, 1, MCS_SHAPE(1), (float[]){ .5f });
    mcs_tensor *in[] = { x, w, b };
    check_near(plain(c, in),
               mcs_from(c, MCS_F32, 4, MCS_SHAPE(1, 1, 1, 2), (float[]){ 5421.5f, 6532.5f }), 0, 0);
    mcs_tensor *y = mcs_conv2d(c, x, w, NULL, (mcs_conv_opts){ 2, 2, 1, 1, 1 });
    check_near(y, mcs_from(c, MCS_F32, 4, MCS_SHAPE(1, 1, 2, 2), (float[]){ 1000, 3200, 40, 65 }),
               0, 0);
    check_ok(c);
    mcs_ctx_free(c);
}

static void test_golden(void **state)
{
    (void)state;
    mcs_ctx *c = check_ctx();
    check_golden(c, "conv_3x3", same_3x3, 1e-5f, 4e-6f);
    check_golden(c, "conv_strided_groups", groups_2, 1e-5f, 4e-6f);
    check_golden(c, "conv_patch", patch_4, 1e-5f, 4e-6f);
    check_golden(c, "conv_1x1", point_2, 1e-5f, 4e-6f);
    check_golden(c, "conv_depthwise", deep_1, 1e-5f, 4e-6f);
    check_golden(c, "conv_depthwise_strided", deep_2, 1e-5f, 4e-6f);
    check_golden(c, "conv_depthwise_5x4", deep_5x4, 1e-5f, 4e-6f);
    mcs_ctx_free(c);
}

static void test_gradients(void **state)
{
    (void)state;
    mcs_ctx *c = check_ctx();
    mcs_tensor *in[] = { picture(c, 1, 2, 3, 5, 6), picture(c, 2, 4, 3, 3, 3), vector(c, 3, 4) };
    check_grad(c, same_3x3, 3, in, 1e-3f);
    check_each_grad(c, same_3x3, 3, in);
    in[1] = picture(c, 2, 4, 3, 1, 1);
    check_grad(c, point_1, 3, in, 1e-3f);
    check_each_grad(c, point_1, 3, in);
    in[1] = picture(c, 2, 6, 1, 3, 3), in[2] = vector(c, 3, 6);
    check_grad(c, deep_1, 3, in, 1e-3f);
    check_grad(c, deep_2, 3, in, 1e-3f);
    check_each_grad(c, deep_2, 3, in);
    mcs_ctx_free(c);
}

/* y[o] = sum of taps, written out. */
static float direct(const mcs_tensor *x, const mcs_tensor *w, int64_t o, int64_t oy, int64_t ox,
                    const mcs_conv_opts *p)
{
    int64_t h = x->shape[2], wide = x->shape[3], ch = w->shape[1], kh = w->shape[2];
    int64_t kw = w->shape[3], first = o / (w->shape[0] / p->groups) * ch;
    double sum = 0;
    for (int64_t i = 0; i < ch * kh * kw; i++) {
        int64_t y = oy * p->stride_h + i / kw % kh - p->pad_h;
        int64_t xx = ox * p->stride_w + i % kw - p->pad_w;
        if (y >= 0 && y < h && xx >= 0 && xx < wide)
            sum += (double)mcs_f32(w)[o * ch * kh * kw + i] *
                   (double)mcs_f32(x)[((first + i / (kh * kw)) * h + y) * wide + xx];
    }
    return (float)sum;
}

static void check_direct(mcs_ctx *c, int64_t ch, int64_t h, int64_t w, int64_t o, int kernel,
                         mcs_conv_opts p)
{
    mcs_tensor *x = picture(c, 1, 1, ch, h, w);
    mcs_tensor *k = picture(c, 2, o, ch / p.groups, kernel, kernel);
    mcs_tensor *b = vector(c, 3, o);
    mcs_tensor *y = mcs_conv2d(c, x, k, b, p);
    check_ok(c);
    mcs_tensor *expected = mcs_new_like(c, y);
    int64_t oh = y->shape[2], ow = y->shape[3];
    for (int64_t i = 0; i < mcs_numel(y); i++)
        mcs_f32(expected)[i] =
            mcs_f32(b)[i / (oh * ow)] + direct(x, k, i / (oh * ow), i / ow % oh, i % ow, &p);
    check_near(y, expected, 1e-4f, 1e-4f);
}

/* Pictures narrower than the kernel, kernels that only see padding, one pixel. */
static void test_edges(void **state)
{
    (void)state;
    mcs_ctx *c = check_ctx();
    for (int groups = 1; groups <= 2; groups++)
        for (int stride = 1; stride <= 3; stride++)
            for (int pad = 0; pad <= 4; pad++)
                for (int64_t w = 1; w <= 6; w++)
                    if (w + 2 * pad >= 3)
                        check_direct(c, 2, 3, w, 4, 3,
                                     (mcs_conv_opts){ stride, stride, pad, pad, groups });
    mcs_ctx_free(c);
}

/* More than one block of columns, which begins in the middle of a row. */
static void test_blocks(void **state)
{
    (void)state;
    mcs_ctx *c = check_ctx();
    check_direct(c, 64, 71, 103, 2, 3, (mcs_conv_opts){ 1, 1, 1, 1, 1 });
    mcs_ctx_reset(c);
    check_direct(c, 64, 71, 103, 2, 3, (mcs_conv_opts){ 1, 1, 3, 3, 1 });
    mcs_ctx_reset(c);
    mcs_tensor *in[] = { picture(c, 1, 1, 64, 61, 83), picture(c, 2, 2, 64, 3, 3), NULL };
    check_grad(c, far_3x3, 3, in, 2e-3f);
    mcs_ctx_free(c);
}

/* The whole column matrix would be 9 times the picture: 151 MB. */
static void test_memory_is_bounded(void **state)
{
    (void)state;
    mcs_ctx *c = check_ctx();
    mcs_tensor *in[] = { mcs_zeros(c, 4, MCS_SHAPE(1, 16, 512, 512)), picture(c, 2, 1, 16, 3, 3),
                         NULL };
    assert_non_null(same_3x3(c, in));
    assert_true(mcs_ctx_peak(c) < (size_t)32 << 20);
    assert_non_null(far_3x3(c, in));
    assert_true(mcs_ctx_peak(c) < (size_t)32 << 20);
    mcs_ctx_free(c);
}

static void test_threads(void **state)
{
    (void)state;
    mcs_ctx *c = check_ctx();
    mcs_tensor *in[] = { picture(c, 1, 2, 3, 70, 81), picture(c, 2, 33, 3, 3, 3),
                         vector(c, 3, 33) };
    check_threads(same_3x3, 3, in);
    check_threads(far_3x3, 3, in);
    in[1] = picture(c, 2, 33, 3, 1, 1);
    check_threads(point_1, 3, in);
    in[1] = picture(c, 2, 6, 1, 3, 3), in[2] = vector(c, 3, 6);
    check_threads(deep_2, 3, in);
    mcs_ctx_free(c);
}

static void test_memory_limits(void **state)
{
    (void)state;
    mcs_ctx *c = check_ctx();
    mcs_tensor *in[] = { picture(c, 1, 1, 64, 61, 83), picture(c, 2, 2, 64, 3, 3), NULL };
    check_limits(same_3x3, 3, in);
    check_limits(far_3x3, 3, in);
    mcs_ctx_free(c);
}

static void test_refusals(void **state)
{
    (void)state;
    mcs_ctx *c = check_ctx();
    mcs_conv_opts o = { 1, 1, 0, 0, 1 }, two = { 1, 1, 0, 0, 2 }, back = { -1, 1, 0, 0, 1 };
#define OF(...) mcs_zeros(c, (int)(sizeof(MCS_SHAPE(__VA_ARGS__)) / 8), MCS_SHAPE(__VA_ARGS__))
    check_fails(c, mcs_conv2d(c, OF(1, 2, 4, 4), OF(3, 3, 3, 3), NULL, o), MCS_ESHAPE,
                "has 2 channels");
    check_fails(c, mcs_conv2d(c, OF(1, 4, 4, 4), OF(3, 2, 3, 3), NULL, two), MCS_ESHAPE,
                "3 channels cannot be split into 2 groups");
    check_fails(c, mcs_conv2d(c, OF(1, 2, 4, 4), OF(3, 2, 3, 3), OF(2), o), MCS_ESHAPE,
                "bias has 2 values");
    check_fails(c, mcs_conv2d(c, OF(1, 2, 2, 4), OF(3, 2, 3, 3), NULL, o), MCS_ESHAPE, "smaller");
    check_fails(c, mcs_conv2d(c, OF(1, 2, 4, 2), OF(3, 2, 3, 3), NULL, o), MCS_ESHAPE, "smaller");
    check_fails(c, mcs_conv2d(c, OF(1, 0, 4, 4), OF(3, 0, 3, 3), NULL, o), MCS_ESHAPE, "empty");
    check_fails(c, mcs_conv2d(c, OF(2, 4, 4), OF(3, 2, 3, 3), NULL, o), MCS_ESHAPE, "conv2d");
    check_fails(c, mcs_conv2d(c, OF(1, 2, 4, 4), OF(3, 2, 3, 3), NULL, back), MCS_EINVAL,
                "stride (-1, 1)");
    back = (mcs_conv_opts){ 1, 1, 2147483647, 0, 1 };
    check_fails(c, mcs_conv2d(c, OF(1, 2, 4, 4), OF(3, 2, 3, 3), NULL, back), MCS_EINVAL,
                "padding");
    assert_null(mcs_conv2d(c, NULL, OF(3, 2, 3, 3), NULL, o));
    assert_null(mcs_conv2d(c, OF(1, 2, 4, 4), NULL, NULL, o));
    check_ok(c);
    mcs_ctx_free(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_by_hand),   cmocka_unit_test(test_golden),
        cmocka_unit_test(test_gradients), cmocka_unit_test(test_edges),
        cmocka_unit_test(test_blocks),    cmocka_unit_test(test_memory_is_bounded),
        cmocka_unit_test(test_threads),   cmocka_unit_test(test_memory_limits),
        cmocka_unit_test(test_refusals),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
