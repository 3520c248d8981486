/* convert.c - 8-bit RGB and grey from any picture; windowing of 16-bit samples.
 *
 *   L = (19595 R + 38470 G + 7471 B + 2^15) >> 16       ITU-R 601-2 luma as Pillow computes it
 *   window: v -> floor(255 (v - lo) / (hi - lo) + 1/2), clamped to 0..255
 *
 * 16-bit samples go through a table of 65,536 bytes: one pass, one rounding rule.  Percentiles
 * come from a histogram, exactly, with numpy's linear interpolation between order statistics. */
#include <math.h>
#include <stdlib.h>
#include "image/image_internal.h"

#define LEVELS 65536

static size_t pixel_count(const mcs_image *im)
{
    return (size_t)im->width * (size_t)im->height;
}

static int colour_channels(const mcs_image *im)
{
    return im->channels - (im->channels % 2 == 0);
}

static unsigned sample(const mcs_image *im, size_t i)
{
    return im->depth == 8 ? ((const uint8_t *)im->data)[i] : ((const uint16_t *)im->data)[i];
}

/* Colour samples through table (LEVELS entries), alpha to its high byte. */
static mcs_image *map_levels(const mcs_image *im, const uint8_t *table, const char *name,
                             mcs_error *e)
{
    mcs_image *out = mcs_image_make(im->width, im->height, im->channels, 8, name, e);
    if (!out)
        return NULL;
    size_t n = pixel_count(im);
    int colours = colour_channels(im), channels = im->channels;
    uint8_t *dst = out->data;
    for (size_t p = 0, i = 0; p < n; p++) {
        for (int c = 0; c < channels; c++, i++) {
            unsigned v = sample(im, i);
            dst[i] = c < colours ? table[v] : (uint8_t)(im->depth == 8 ? v : v >> 8);
        }
    }
    return out;
}

mcs_image *mcs_image_window(const mcs_image *im, double lo, double hi, mcs_error *e)
{
    if (!im)
        return NULL;
    if (!(hi > lo) || !isfinite(hi - lo)) {
        mcs_error_set(e, MCS_EINVAL, "window: from %g to %g; the end must exceed the beginning", lo,
                      hi);
        return NULL;
    }
    uint8_t *table = malloc(LEVELS);
    if (!table) {
        mcs_error_set(e, MCS_ENOMEM, "window: no memory");
        return NULL;
    }
    for (int v = 0; v < LEVELS; v++) {
        double y = floor(255.0 * (v - lo) / (hi - lo) + 0.5);
        table[v] = (uint8_t)(y < 0.0 ? 0.0 : y > 255.0 ? 255.0 : y);
    }
    mcs_image *out = map_levels(im, table, "window", e);
    free(table);
    return out;
}

/* The k-th smallest (from 0) of the samples counted in hist. */
static int order_statistic(const uint64_t *hist, uint64_t k)
{
    int v = 0;
    for (uint64_t seen = hist[0]; seen <= k; seen += hist[v])
        v++;
    return v;
}

static double percentile(const uint64_t *hist, uint64_t n, double percent)
{
    double rank = percent / 100.0 * (double)(n - 1), whole = floor(rank);
    uint64_t k = (uint64_t)whole;
    int a = order_statistic(hist, k), b = k + 1 < n ? order_statistic(hist, k + 1) : a;
    return a + (rank - whole) * (b - a);
}

/* Counts colour samples; returns how many. */
static uint64_t histogram(const mcs_image *im, uint64_t *hist)
{
    size_t n = pixel_count(im);
    int colours = colour_channels(im), channels = im->channels;
    for (size_t p = 0; p < n; p++)
        for (int c = 0; c < colours; c++)
            hist[sample(im, p * (size_t)channels + (size_t)c)]++;
    return (uint64_t)n * (uint64_t)colours;
}

mcs_image *mcs_image_normalize(const mcs_image *im, double low, double high, mcs_error *e)
{
    if (!im)
        return NULL;
    if (!(low >= 0.0 && low < high && high <= 100.0)) {
        mcs_error_set(e, MCS_EINVAL,
                      "normalize: percentiles %g and %g; expected 0 <= low < high <= 100", low,
                      high);
        return NULL;
    }
    uint64_t *hist = calloc(LEVELS, sizeof *hist);
    if (!hist) {
        mcs_error_set(e, MCS_ENOMEM, "normalize: no memory");
        return NULL;
    }
    uint64_t n = histogram(im, hist);
    double lo = percentile(hist, n, low), hi = percentile(hist, n, high);
    free(hist);
    /* One value between the percentiles: a step there; for a constant image all become 0. */
    return mcs_image_window(im, lo, hi > lo ? hi : lo + 1.0, e);
}

/* An 8-bit picture with im's channels: im itself, or a new one left in *made. */
static const mcs_image *to_8bit(const mcs_image *im, mcs_image **made, mcs_error *e)
{
    *made = NULL;
    if (im->depth == 8)
        return im;
    if (im->channels <= 2)
        return *made = mcs_image_normalize(im, 0.0, 100.0, e);
    /* The high byte of 16-bit colour: a window of 65536 values, 256 to a level. */
    uint8_t *table = malloc(LEVELS);
    if (!table) {
        mcs_error_set(e, MCS_ENOMEM, "convert: no memory");
        return NULL;
    }
    for (int v = 0; v < LEVELS; v++)
        table[v] = (uint8_t)(v >> 8);
    *made = map_levels(im, table, "convert", e);
    free(table);
    return *made;
}

static void rgb_from(const mcs_image *im, uint8_t *dst)
{
    const uint8_t *src = im->data;
    size_t n = pixel_count(im);
    int channels = im->channels, second = channels >= 3 ? 1 : 0;
    for (size_t p = 0; p < n; p++, src += channels, dst += 3) {
        dst[0] = src[0];
        dst[1] = src[second];
        dst[2] = src[2 * second];
    }
}

static void grey_from(const mcs_image *im, uint8_t *dst)
{
    const uint8_t *src = im->data;
    size_t n = pixel_count(im);
    int channels = im->channels;
    for (size_t p = 0; p < n; p++, src += channels)
        dst[p] =
            channels < 3
                ? src[0]
                : (uint8_t)((src[0] * 19595u + src[1] * 38470u + src[2] * 7471u + 0x8000u) >> 16);
}

static mcs_image *convert(const mcs_image *im, int channels, mcs_error *e)
{
    if (!im)
        return NULL;
    mcs_image *made;
    const mcs_image *src = to_8bit(im, &made, e);
    mcs_image *out = src ? mcs_image_make(im->width, im->height, channels, 8, "convert", e) : NULL;
    if (out && channels == 3)
        rgb_from(src, out->data);
    else if (out)
        grey_from(src, out->data);
    mcs_image_free(made);
    return out;
}

mcs_image *mcs_image_to_rgb(const mcs_image *im, mcs_error *e)
{
    return convert(im, 3, e);
}

mcs_image *mcs_image_to_grey(const mcs_image *im, mcs_error *e)
{
    return convert(im, 1, e);
}
