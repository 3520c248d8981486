/* test_augment_labels.c - moves of a picture with its labels: each by hand, ranges and independence
 * of what is drawn, brightness and noise. */
#include <math.h>
#include <string.h>
#include "image/augment.h"
#include "tests/check.h"

enum { W = 6, H = 4, S = 8 };
static const mcs_augment_draw plain = { .a = { 1, 0, 0, 1 }, .gamma = 1, .gain = 1 };

static void fill(uint8_t *p, int n)
{
    for (int i = 0; i < n; i++)
        p[i] = (uint8_t)(i * 37 % 251);
}

static void as_it_is(void **state)
{
    (void)state;
    uint8_t src[S * S * 3], labels[S * S], out_labels[S * S];
    float out[3 * S * S];
    fill(src, sizeof src);
    fill(labels, sizeof labels);
    const mcs_augment_draw d = mcs_augment_by_lot(&(mcs_augment){ 0 }, 5, 6);
    mcs_augment_picture(src, S, S, 3, (mcs_window){ 0, 0, S, S }, &d, out, S);
    mcs_augment_labels(labels, S, S, (mcs_window){ 0, 0, S, S }, &d, out_labels, S);
    for (int i = 0; i < S * S; i++)
        for (int k = 0; k < 3; k++)
            assert_true(out[k * S * S + i] == (float)(src[i * 3 + k] / 255.0));
    assert_memory_equal(labels, out_labels, sizeof labels);
}

/* A window of whole pixels that begins outside and ends outside. */
static void windows(void **state)
{
    (void)state;
    uint8_t src[W * H], labels[S * S];
    float out[S * S];
    fill(src, sizeof src);
    mcs_augment_picture(src, W, H, 1, (mcs_window){ -1, 2, S, S }, &plain, out, S);
    mcs_augment_labels(src, W, H, (mcs_window){ -1, 2, S, S }, &plain, labels, S);
    for (int y = 0; y < S; y++)
        for (int x = 0; x < S; x++) {
            bool inside = x >= 1 && x - 1 < W && y + 2 < H;
            int want = inside ? src[(y + 2) * W + x - 1] : 0;
            assert_int_equal(labels[y * S + x], want);
            assert_true(fabs((double)out[y * S + x] * 255 - want) < 1e-4);
        }
    /* twice as large: the mean of two neighbours lies at three quarters between their centres */
    mcs_augment_picture(src, W, H, 1, (mcs_window){ 0, 0, 4, 4 }, &plain, out, S);
    assert_true(fabs((double)out[S + 2] * 255 - (0.75 * (0.75 * src[1] + 0.25 * src[0]) +
                                                 0.25 * (0.75 * src[W + 1] + 0.25 * src[W]))) <
                1e-4);
}

/* Flips, a quarter turn, a scale of 2 and a shift, given by hand. */
static void moves(void **state)
{
    (void)state;
    uint8_t src[S * S], labels[S * S];
    float out[S * S];
    const mcs_window all = { 0, 0, S, S };
    const struct {
        double a[4], dx, dy;
    } cases[] = {
        { { -1, 0, 0, 1 }, 0, 0 }, /* left-right */
        { { 1, 0, 0, -1 }, 0, 0 }, /* upside down */
        { { 0, 1, -1, 0 }, 0, 0 }, /* quarter turn */
        { { 1, 0, 0, 1 }, 0.25, 0.125 }, /* by two pixels and one */
    };
    fill(src, sizeof src);
    for (int k = 0; k < 4; k++) {
        mcs_augment_draw d = plain;
        memcpy(d.a, cases[k].a, sizeof d.a);
        d.dx = cases[k].dx;
        d.dy = cases[k].dy;
        mcs_augment_picture(src, S, S, 1, all, &d, out, S);
        mcs_augment_labels(src, S, S, all, &d, labels, S);
        for (int y = 0; y < S; y++)
            for (int x = 0; x < S; x++) {
                const int sx[] = { S - 1 - x, x, y, x + 2 },
                          sy[] = { y, S - 1 - y, S - 1 - x, y + 1 };
                int want = sx[k] < S && sy[k] < S ? src[sy[k] * S + sx[k]] : 0;
                assert_int_equal(labels[y * S + x], want);
                assert_true(fabs((double)out[y * S + x] * 255 - want) < 1e-3);
            }
    }
    mcs_augment_draw half = plain;
    half.a[0] = half.a[3] = 0.5;
    mcs_augment_labels(src, S, S, all, &half, labels, S);
    for (int i = 0; i < S * S; i++)
        assert_int_equal(labels[i], src[(2 + i / S / 2) * S + 2 + i % S / 2]);
}

static void drawn(void **state)
{
    (void)state;
    const mcs_augment o = { .flip_x = 0.5f,
                            .flip_y = 0.1f,
                            .rotate = 30,
                            .scale = 0.5f,
                            .shift = 0.1f,
                            .gamma = 1,
                            .contrast = 0.2f,
                            .brightness = 0.3f,
                            .noise = 0.4f,
                            .chance = 0.75f };
    enum { N = 4000 };
    double moved = 0, mirrored = 0, turned = 0, bent = 0, lit = 0, grain = 0, most[6] = { 0 };
    for (uint64_t i = 0; i < N; i++) {
        mcs_augment_draw d = mcs_augment_by_lot(&o, 3, i), again = mcs_augment_by_lot(&o, 3, i);
        assert_memory_equal(&d, &again, sizeof d);
        double det = d.a[0] * d.a[3] - d.a[1] * d.a[2], size = 1 / sqrt(fabs(det));
        double angle = atan2(fabs(d.a[1]), fabs(d.a[0])) * 180 / 3.14159265358979;
        most[0] = fmax(most[0], angle);
        most[1] = fmax(most[1], fmax(size, 1 / size));
        most[2] = fmax(most[2], fmax(fabs(d.dx), fabs(d.dy)));
        most[3] = fmax(most[3], (double)fmaxf(d.gamma, 1 / d.gamma));
        most[4] = fmax(most[4], fabs((double)d.gain - 1));
        most[5] = fmax(most[5], fabs((double)d.offset));
        assert_true(d.noise >= 0 && d.noise <= 0.4f);
        moved += d.dx != 0;
        mirrored += d.a[0] < 0;
        turned += d.a[3] < 0;
        bent += d.gamma != 1;
        lit += d.gain != 1;
        grain += d.noise > 0;
    }
    const double limit[6] = { 30, 1.5, 0.1, 2, 0.2, 0.3 };
    for (int k = 0; k < 6; k++)
        assert_true(most[k] <= limit[k] * (1 + 1e-6) && most[k] > limit[k] * 0.98);
    assert_true(fabs(mirrored / N - 0.5) < 0.03 && fabs(turned / N - 0.1) < 0.02);
    assert_true(fabs(moved / N - 0.75) < 0.03 && fabs(bent / N - 0.75) < 0.03);
    assert_true(fabs(lit / N - 0.75) < 0.03 && fabs(grain / N - 0.75) < 0.03);
    /* One setting leaves the others' lots alone; another sample or seed does not. */
    mcs_augment other = o;
    other.rotate = 0;
    mcs_augment_draw a = mcs_augment_by_lot(&o, 3, 8), b = mcs_augment_by_lot(&other, 3, 8);
    assert_true(a.dx == b.dx && a.gamma == b.gamma && a.noise == b.noise && a.offset == b.offset);
    b = mcs_augment_by_lot(&o, 4, 8);
    assert_true(memcmp(a.a, b.a, sizeof a.a) != 0);
    other = (mcs_augment){ .rotate = 90, .noise = 1, .gamma = 1 }; /* chance 0: nothing */
    a = mcs_augment_by_lot(&other, 1, 1);
    for (int i = 0; i < 4; i++)
        assert_true(a.a[i] == plain.a[i]);
    assert_true(a.gamma == 1 && a.noise == 0 && a.gain == 1 && a.offset == 0);
}

static void brightness(void **state)
{
    (void)state;
    enum { B = 64 };
    static uint8_t src[B * B * 3];
    static float out[3 * B * B];
    const mcs_window all = { 0, 0, B, B };
    memset(src, 102, sizeof src); /* 0.4 */
    mcs_augment_draw d = plain;
    d.gamma = 2;
    d.gain = 1.5f;
    d.offset = 0.1f;
    mcs_augment_picture(src, B, B, 3, all, &d, out, B);
    for (int i = 0; i < 3 * B * B; i++)
        assert_true(fabs((double)out[i] - ((0.16 - 0.5) * 1.5 + 0.6)) < 1e-6);
    d.gain = 9;
    mcs_augment_picture(src, B, B, 3, all, &d, out, B);
    assert_true(out[7] == 0); /* clamped */
    d = plain;
    d.noise = 0.1f;
    d.seed = 4;
    mcs_augment_picture(src, B, B, 3, all, &d, out, B);
    double mean = 0, square = 0, next = 0;
    for (int i = 0; i < B * B; i++) {
        double v = (double)out[i] - 0.4;
        mean += v / (B * B);
        square += v * v / (B * B);
        next += i ? v * ((double)out[i - 1] - 0.4) / (B * B) : 0;
        assert_true(out[i] == out[B * B + i] && out[i] == out[2 * B * B + i]);
    }
    assert_true(fabs(mean) < 0.005 && fabs(sqrt(square) - 0.1) < 0.005 && fabs(next) < 0.001);
    float first = out[0];
    d.sample = 1;
    mcs_augment_picture(src, B, B, 3, all, &d, out, B);
    assert_true(out[0] != first);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(as_it_is), cmocka_unit_test(windows),    cmocka_unit_test(moves),
        cmocka_unit_test(drawn),    cmocka_unit_test(brightness),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
