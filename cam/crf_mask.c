/* crf_mask.c - from a saliency map to a mask: energies and features as MedCLIP-SAM's
 * crf/densecrf_sal.py has them, and pictures beyond the pixel limit at reduced scale. */
#include <math.h>
#include <stdlib.h>
#include "cam/crf.h"

void mcs_crf_positions(int w, int h, float sxy, float *f)
{
    for (int y = 0; y < h; y++)
        for (int x = 0; x < w; x++, f += 2) {
            f[0] = (float)x / sxy;
            f[1] = (float)y / sxy;
        }
}

void mcs_crf_colours(const uint8_t *rgb, int w, int h, float sxy, float srgb, float *f)
{
    for (int y = 0; y < h; y++)
        for (int x = 0; x < w; x++, f += 5, rgb += 3) {
            f[0] = (float)x / sxy;
            f[1] = (float)y / sxy;
            for (int i = 0; i < 3; i++)
                f[2 + i] = (float)rgb[i] / srgb;
        }
}

void mcs_crf_unary(const float *map, int64_t n, float epsilon, float tau, float *unary)
{
    double eps = (double)epsilon, t = (double)tau;
    for (int64_t i = 0; i < n; i++) {
        double a = (double)map[i];
        a = a < 0 ? 0 : a > 1 ? 1 : a;
        double fg = 1 / (1 + exp(-a)), bg = 1 / (1 + exp(a - 1));
        unary[2 * i] = (float)(-log(1 - a + eps) / (t * bg));
        unary[2 * i + 1] = (float)(-log(a + eps) / (t * fg));
    }
}

mcs_crf_opts mcs_crf_defaults(void)
{
    return (mcs_crf_opts){ .epsilon = 1e-8f,
                           .tau = 1.05f,
                           .gaussian_sxy = 3,
                           .gaussian_compat = 3,
                           .bilateral_sxy = 60,
                           .bilateral_srgb = 5,
                           .bilateral_compat = 5,
                           .iterations = 1,
                           .pixels_max = INT64_C(1) << 23,
                           .reduce = true };
}

static mcs_status check_opts(const mcs_crf_opts *o, mcs_error *e)
{
    const struct {
        const char *name;
        float value;
        bool used;
    } must_be_positive[] = {
        { "epsilon", o->epsilon, true },
        { "tau", o->tau, true },
        { "gaussian_sxy", o->gaussian_sxy, o->gaussian_compat != 0 },
        { "bilateral_sxy", o->bilateral_sxy, o->bilateral_compat != 0 },
        { "bilateral_srgb", o->bilateral_srgb, o->bilateral_compat != 0 },
    };
    for (size_t i = 0; i < sizeof must_be_positive / sizeof must_be_positive[0]; i++)
        if (must_be_positive[i].used &&
            !(must_be_positive[i].value > 0 && isfinite(must_be_positive[i].value)))
            return mcs_error_set(e, MCS_EINVAL, "crf: %s is %g; expected a positive number",
                                 must_be_positive[i].name, (double)must_be_positive[i].value);
    if (!isfinite(o->gaussian_compat) || !isfinite(o->bilateral_compat))
        return mcs_error_set(e, MCS_EINVAL, "crf: a compatibility is not finite");
    if (o->iterations < 0 || o->iterations > 1000)
        return mcs_error_set(e, MCS_EINVAL, "crf: %d iterations; expected 0 to 1000",
                             o->iterations);
    return MCS_OK;
}

/* Probabilities (n, 2) at the scale given; unary is replaced by them. */
static mcs_status infer(float *unary, const uint8_t *rgb, int w, int h, const mcs_crf_opts *o,
                        float scale, mcs_pool *pool, mcs_error *e)
{
    int64_t n = (int64_t)w * h;
    float *features = malloc((size_t)n * 5 * sizeof *features);
    if (!features)
        return mcs_error_set(e, MCS_ENOMEM, "crf: out of memory for %d x %d pixels", w, h);
    mcs_status s = MCS_ENOMEM;
    mcs_crf *f = mcs_crf_new(n, 2, unary, pool, e);
    if (f) {
        s = MCS_OK;
        if (o->gaussian_compat != 0) {
            mcs_crf_positions(w, h, o->gaussian_sxy / scale, features);
            s = mcs_crf_add(f, features, 2, o->gaussian_compat, e);
        }
        if (s == MCS_OK && o->bilateral_compat != 0) {
            mcs_crf_colours(rgb, w, h, o->bilateral_sxy / scale, o->bilateral_srgb, features);
            s = mcs_crf_add(f, features, 5, o->bilateral_compat, e);
        }
    }
    free(features);
    if (s == MCS_OK)
        s = mcs_crf_infer(f, o->iterations, unary, e);
    mcs_crf_free(f);
    return s;
}

/* Averages over blocks of factor x factor pixels, cut at the right and lower edge. */
static void box_average(const float *map, const uint8_t *rgb, int w, int h, int factor,
                        float *small_map, uint8_t *small_rgb)
{
    for (int y0 = 0; y0 < h; y0 += factor)
        for (int x0 = 0; x0 < w; x0 += factor) {
            int y1 = h - y0 < factor ? h : y0 + factor, x1 = w - x0 < factor ? w : x0 + factor;
            uint64_t colour[3] = { 0 }, count = (uint64_t)(y1 - y0) * (uint64_t)(x1 - x0);
            double sum = 0;
            for (int y = y0; y < y1; y++)
                for (int x = x0; x < x1; x++) {
                    int64_t i = (int64_t)y * w + x;
                    sum += (double)map[i];
                    for (int k = 0; rgb && k < 3; k++)
                        colour[k] += rgb[3 * i + k];
                }
            *small_map++ = (float)(sum / (double)count);
            for (int k = 0; rgb && k < 3; k++)
                *small_rgb++ = (uint8_t)((colour[k] + count / 2) / count);
        }
}

static mcs_status mask_at(const float *map, const uint8_t *rgb, int w, int h, const mcs_crf_opts *o,
                          float scale, mcs_pool *pool, float **q, mcs_error *e)
{
    int64_t n = (int64_t)w * h;
    *q = malloc((size_t)n * 2 * sizeof **q);
    if (!*q)
        return mcs_error_set(e, MCS_ENOMEM, "crf: out of memory for %d x %d pixels", w, h);
    mcs_crf_unary(map, n, o->epsilon, o->tau, *q);
    return infer(*q, rgb, w, h, o, scale, pool, e);
}

static mcs_status mask_reduced(const float *map, const uint8_t *rgb, int w, int h, int factor,
                               const mcs_crf_opts *o, mcs_pool *pool, float **q, mcs_error *e)
{
    int sw = (w - 1) / factor + 1, sh = (h - 1) / factor + 1;
    size_t n = (size_t)sw * (size_t)sh;
    float *small_map = malloc(n * sizeof *small_map);
    uint8_t *small_rgb = malloc(n * 3);
    mcs_status s;
    if (small_map && small_rgb) {
        box_average(map, rgb, w, h, factor, small_map, small_rgb);
        s = mask_at(small_map, small_rgb, sw, sh, o, (float)factor, pool, q, e);
    } else {
        s = mcs_error_set(e, MCS_ENOMEM, "crf: out of memory for %d x %d pixels", sw, sh);
    }
    free(small_map);
    free(small_rgb);
    return s;
}

mcs_status mcs_crf_mask(const float *map, const uint8_t *rgb, int w, int h, const mcs_crf_opts *o,
                        mcs_pool *pool, uint8_t *mask, float *prob, mcs_error *e)
{
    mcs_crf_opts defaults = mcs_crf_defaults();
    o = o ? o : &defaults;
    if (!map || !mask || w < 1 || h < 1 || (!rgb && o->bilateral_compat != 0))
        return mcs_error_set(e, MCS_EINVAL,
                             "crf: map, mask or picture is missing, or the size %d x %d is empty",
                             w, h);
    mcs_status s = check_opts(o, e);
    if (s != MCS_OK)
        return s;
    int64_t limit = o->pixels_max > 0 ? o->pixels_max : defaults.pixels_max;
    int factor = 1;
    while ((int64_t)((w - 1) / factor + 1) * ((h - 1) / factor + 1) > limit)
        factor++;
    if (factor > 1 && !o->reduce)
        return mcs_error_set(e, MCS_EINVAL,
                             "crf: %d x %d pixels exceed the limit of %lld; raise pixels_max "
                             "or allow a reduced scale",
                             w, h, (long long)limit);
    for (int64_t i = 0; i < (int64_t)w * h; i++)
        if (!isfinite(map[i]))
            return mcs_error_set(e, MCS_ENUMERIC,
                                 "crf: the map has NaN or infinity at pixel (%lld, %lld)",
                                 (long long)(i % w), (long long)(i / w));
    float *q = NULL;
    s = factor == 1 ? mask_at(map, rgb, w, h, o, 1, pool, &q, e)
                    : mask_reduced(map, rgb, w, h, factor, o, pool, &q, e);
    int64_t stride = (w - 1) / factor + 1;
    for (int y = 0; s == MCS_OK && y < h; y++)
        for (int x = 0; x < w; x++) {
            const float *p = q + 2 * (y / factor * stride + x / factor);
            mask[(int64_t)y * w + x] = p[1] > p[0];
            if (prob)
                prob[(int64_t)y * w + x] = p[1];
        }
    free(q);
    return s;
}
