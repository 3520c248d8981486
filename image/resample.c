/* resample.c - Pillow's resampler (src/libImaging/Resample.c), restated: same numbers, bit for bit.
 *
 * Output pixel i of a line shrunk by s = in/out looks at the filter's support, widened by
 * f = max(s, 1), around c = (i + 1/2) s:
 *
 *   k_j = filter((j - c + 1/2) / f) / sum,   j in [int(c - S f + 1/2), int(c + S f + 1/2))
 *   out = clamp((2^21 + sum_j K_j in_j) >> 22),   K_j = k_j 2^22 rounded half away from zero
 *
 *   bilinear  S = 1   1 - |x|
 *   bicubic   S = 2   (a+2)|x|^3 - (a+3)|x|^2 + 1, |x| < 1;  a(|x|^3 - 5|x|^2 + 8|x| - 4), |x| < 2;
 *                     a = -1/2 (Keys 1981)
 *
 * All lines horizontally into 8 bits, then columns.  Nearest takes in[int(p)], where p starts at
 * s/2 and s is added once per pixel, as Pillow does (the sum's rounding errors are part of it).
 *
 * Speed: K does not fit 16 bits, but K = 2^11 hi + lo does, and both halves' dot products with
 * pixels widened to 16 bits are one multiply-add instruction (pmaddwd) on every x86-64.  Integer
 * sums are exact in any order, so the split changes nothing. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "image/image_internal.h"

#define BITS 22
#define LOW_BITS 11
#define PAD 8 /* weights per output are padded to a multiple, lines by as much */

/* What outputs [first, first + n) of one axis are made of. */
typedef struct {
    int n, stride; /* stride: weights per output, a multiple of PAD */
    int *start, *count; /* (n) first input and number of inputs */
    int16_t *hi, *lo; /* (n, stride), zero beyond count */
} taps;

static double bilinear(double x)
{
    x = fabs(x);
    return x < 1.0 ? 1.0 - x : 0.0;
}

static double bicubic(double x)
{
    const double a = -0.5;
    x = fabs(x);
    if (x < 1.0)
        return ((a + 2.0) * x - (a + 3.0)) * x * x + 1;
    if (x < 2.0)
        return (((x - 5) * x + 8) * x - 4) * a;
    return 0.0;
}

static void taps_free(taps *t)
{
    free(t->start);
    free(t->count);
    free(t->hi);
    free(t->lo);
}

/* Weights k[0..count) of the output at `center`; returns the first input. */
static int weigh(double center, double support, double scale, int in, double (*filter)(double),
                 double *k, int *count)
{
    int first = (int)(center - support + 0.5), end = (int)(center + support + 0.5);
    double sum = 0.0;
    first = first < 0 ? 0 : first;
    end = end > in ? in : end;
    for (int j = first; j < end; j++)
        sum += k[j - first] = filter((j - center + 0.5) * (1.0 / scale));
    for (int j = 0; j < end - first; j++)
        if (sum != 0.0)
            k[j] /= sum;
    *count = end - first;
    return first;
}

static void store(const double *k, int count, int16_t *hi, int16_t *lo)
{
    for (int j = 0; j < count; j++) {
        double v = k[j] * (1 << BITS);
        int w = (int)(v < 0 ? v - 0.5 : v + 0.5);
        lo[j] = (int16_t)(w & ((1 << LOW_BITS) - 1));
        hi[j] = (int16_t)((w - lo[j]) / (1 << LOW_BITS));
    }
}

/* Outputs [first, first + n) of a line of `in` samples resized to `out`; false: no memory. */
static bool taps_init(taps *t, int in, int out, int first, int n, mcs_filter f)
{
    double (*filter)(double) = f == MCS_FILTER_BICUBIC ? bicubic : bilinear;
    double step = (double)in / out, scale = step < 1.0 ? 1.0 : step;
    double support = (f == MCS_FILTER_BICUBIC ? 2.0 : 1.0) * scale;
    size_t most = (size_t)ceil(support) * 2 + 1;
    size_t stride = ((most < (size_t)in ? most : (size_t)in) + PAD - 1) / PAD * PAD;
    size_t all = stride * (size_t)n;
    double *k = malloc(most * sizeof *k);
    *t = (taps){ n,
                 (int)stride,
                 malloc((size_t)n * sizeof(int)),
                 malloc((size_t)n * sizeof(int)),
                 calloc(all, sizeof(int16_t)),
                 calloc(all, sizeof(int16_t)) };
    bool ok = k && t->start && t->count && t->hi && t->lo;
    for (int i = 0; ok && i < n; i++) {
        double center = (first + i + 0.5) * step;
        t->start[i] = weigh(center, support, scale, in, filter, k, &t->count[i]);
        store(k, t->count[i], t->hi + (size_t)i * stride, t->lo + (size_t)i * stride);
    }
    free(k);
    if (!ok)
        taps_free(t);
    return ok;
}

static uint8_t rounded(int32_t sum)
{
    int32_t v = (sum + (1 << (BITS - 1))) >> BITS;
    return (uint8_t)(v < 0 ? 0 : v > 255 ? 255 : v);
}

/* Sum of n samples times 2^11 hi + lo; n is a multiple of PAD.  The sum of |K| is below 2^23 and
 * samples are 8-bit, so sum and parts fit 32 bits; lo's may not when n > 4096. */
static int32_t dot(const int16_t *x, const int16_t *hi, const int16_t *lo, int n)
{
    int32_t a = 0, b = 0;
    for (int i = 0; i < n; i++) {
        a += x[i] * hi[i];
        b += x[i] * lo[i];
    }
    return a * (1 << LOW_BITS) + b;
}

static int32_t dot_long(const int16_t *x, const int16_t *hi, const int16_t *lo, int n)
{
    int64_t a = 0, b = 0;
    for (int i = 0; i < n; i++) {
        a += x[i] * hi[i];
        b += x[i] * lo[i];
    }
    return (int32_t)(a * (1 << LOW_BITS) + b);
}

/* One line of `channels` interleaved samples, from `in` pixels to t->n.  planes: room for
 * (channels, in + PAD) with zeros behind each plane. */
static void line_resize(const uint8_t *src, int in, int channels, const taps *t, int16_t *planes,
                        uint8_t *dst)
{
    size_t plane = (size_t)in + PAD;
    for (int c = 0; c < channels; c++)
        for (int x = 0; x < in; x++)
            planes[(size_t)c * plane + (size_t)x] = src[(size_t)x * (size_t)channels + (size_t)c];
    for (int i = 0; i < t->n; i++) {
        int n = (t->count[i] + PAD - 1) / PAD * PAD;
        const int16_t *hi = t->hi + (size_t)i * (size_t)t->stride;
        const int16_t *lo = t->lo + (size_t)i * (size_t)t->stride;
        for (int c = 0; c < channels; c++) {
            const int16_t *x = planes + (size_t)c * plane + t->start[i];
            dst[i * channels + c] = rounded(n > 4096 ? dot_long(x, hi, lo, n) : dot(x, hi, lo, n));
        }
    }
}

/* Rows [row, row + rows) of im, each resized to t->n pixels. */
static mcs_image *rows_resize(const mcs_image *im, int row, int rows, const taps *t, mcs_error *e)
{
    size_t plane = (size_t)im->width + PAD;
    int16_t *planes = calloc(plane * (size_t)im->channels, sizeof *planes);
    mcs_image *out = mcs_image_make(t->n, rows, im->channels, 8, "resize", e);
    if (!planes && out) {
        mcs_error_set(e, MCS_ENOMEM, "resize: no memory");
        mcs_image_free(out);
        out = NULL;
    }
    for (int y = 0; out && y < rows; y++)
        line_resize(mcs_image_row(im, row + y), im->width, im->channels, t, planes,
                    mcs_image_row(out, y));
    free(planes);
    return out;
}

#define TILE 512 /* sums kept in the first-level cache */

/* dst[x] = rounded sum over `count` rows of n samples, `stride` bytes apart. */
static void column_sums(const uint8_t *src, size_t stride, int count, const int16_t *hi,
                        const int16_t *lo, uint8_t *dst, int n)
{
    int32_t sum[TILE] = { 0 };
    for (int j = 0; j < count; j++, src += stride) {
        int16_t h = hi[j], l = lo[j];
        for (int x = 0; x < n; x++)
            sum[x] += (int32_t)((uint32_t)(src[x] * h) << LOW_BITS) + src[x] * l;
    }
    for (int x = 0; x < n; x++)
        dst[x] = rounded(sum[x]);
}

/* Columns of im, whose row 0 is input row `row` of t. */
static void columns_resize(const mcs_image *im, int row, const taps *t, mcs_image *out)
{
    size_t bytes = mcs_image_row_bytes(im);
    for (int i = 0; i < t->n; i++) {
        const uint8_t *src = mcs_image_row(im, t->start[i] - row);
        uint8_t *dst = mcs_image_row(out, i);
        for (size_t x = 0; x < bytes; x += TILE)
            column_sums(src + x, bytes, t->count[i], t->hi + (size_t)i * (size_t)t->stride,
                        t->lo + (size_t)i * (size_t)t->stride, dst + x,
                        (int)(bytes - x < TILE ? bytes - x : TILE));
    }
}

/* A wanted part of the resized picture. */
typedef struct {
    int width, height, x, y, w, h;
} part;

static mcs_image *resize_filtered(const mcs_image *im, const part *p, mcs_filter f, mcs_error *e)
{
    taps across = { 0 }, down = { 0 };
    mcs_image *lines = NULL, *out = NULL;
    if (!taps_init(&across, im->width, p->width, p->x, p->w, f)) {
        mcs_error_set(e, MCS_ENOMEM, "resize: no memory");
        return NULL;
    }
    if (!taps_init(&down, im->height, p->height, p->y, p->h, f)) {
        mcs_error_set(e, MCS_ENOMEM, "resize: no memory");
        taps_free(&across);
        return NULL;
    }
    int first = down.start[0], last = down.start[p->h - 1] + down.count[p->h - 1];
    lines = rows_resize(im, first, last - first, &across, e);
    if (lines)
        out = mcs_image_make(p->w, p->h, im->channels, 8, "resize", e);
    if (out)
        columns_resize(lines, first, &down, out);
    mcs_image_free(lines);
    taps_free(&across);
    taps_free(&down);
    return out;
}

/* Source index of outputs [first, first + n); to be freed. */
static int *nearest_index(int in, int out, int first, int n)
{
    int *index = malloc((size_t)n * sizeof *index);
    double step = (double)in / out, at = step * 0.5;
    for (int i = 0; index && i < first + n; i++, at += step)
        if (i >= first)
            index[i - first] = (int)at < in ? (int)at : in - 1;
    return index;
}

static mcs_image *resize_nearest(const mcs_image *im, const part *p, mcs_error *e)
{
    int *xs = nearest_index(im->width, p->width, p->x, p->w);
    int *ys = nearest_index(im->height, p->height, p->y, p->h);
    mcs_image *out = NULL;
    if (!xs || !ys)
        mcs_error_set(e, MCS_ENOMEM, "resize: no memory");
    else
        out = mcs_image_make(p->w, p->h, im->channels, 8, "resize", e);
    size_t channels = (size_t)im->channels;
    for (int y = 0; out && y < p->h; y++) {
        const uint8_t *src = mcs_image_row(im, ys[y]);
        uint8_t *dst = mcs_image_row(out, y);
        if (channels == 3) /* a constant size: two moves instead of a call */
            for (int x = 0; x < p->w; x++)
                memcpy(dst + (size_t)x * 3, src + (size_t)xs[x] * 3, 3);
        else
            for (int x = 0; x < p->w; x++)
                memcpy(dst + (size_t)x * channels, src + (size_t)xs[x] * channels, channels);
    }
    free(xs);
    free(ys);
    return out;
}

mcs_image *mcs_image_resize_crop(const mcs_image *im, int width, int height, mcs_filter f, int x,
                                 int y, int w, int h, mcs_error *e)
{
    if (!im)
        return NULL;
    if (im->depth != 8) {
        mcs_error_set(e, MCS_EINVAL, "resize: the image has %d bits, expected 8: window it first",
                      im->depth);
        return NULL;
    }
    if (x < 0 || y < 0 || w < 1 || h < 1 || w > width - x || h > height - y) {
        mcs_error_set(e, MCS_EINVAL, "resize: part %d x %d at (%d, %d) does not lie inside %d x %d",
                      w, h, x, y, width, height);
        return NULL;
    }
    part p = { width, height, x, y, w, h };
    return f == MCS_FILTER_NEAREST ? resize_nearest(im, &p, e) : resize_filtered(im, &p, f, e);
}

mcs_image *mcs_image_resize(const mcs_image *im, int width, int height, mcs_filter f, mcs_error *e)
{
    return mcs_image_resize_crop(im, width, height, f, 0, 0, width, height, e);
}
