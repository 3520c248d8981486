/* preprocess.c - the reference programs' input pipelines, value for value.
 *
 * After resizing, every sample is one of 256 values, so a table per channel gives the floats:
 * exactly torch's ((v / 255) - mean) / std in float32 steps, computed 768 times instead of once
 * per pixel.
 *
 * Only the pixels the network sees are computed: resize and centre crop are one call, so a
 * 10,000 x 10 picture does not become 224,000 x 224 on the way. */
#include <math.h>
#include <string.h>
#include "image/preprocess.h"
#include "image/image_internal.h"

#define SIDE_MAX 4096

const float mcs_clip_mean[3] = { 0.48145466f, 0.4578275f, 0.40821073f };
const float mcs_clip_std[3] = { 0.26862954f, 0.26130258f, 0.27577711f };
const float mcs_sam_mean[3] = { 123.675f, 116.28f, 103.53f };
const float mcs_sam_std[3] = { 58.395f, 57.12f, 57.375f };

/* int(round((n - side) / 2)), halves to even: Python's round. */
static int crop_start(int n, int side)
{
    int twice = n - side, half = twice / 2;
    return twice % 2 == 0 ? half : half + half % 2;
}

mcs_geometry mcs_geometry_clip(int width, int height, int side, mcs_fit fit)
{
    mcs_geometry g = { width, height, side, side, 0, 0, side };
    if (fit == MCS_FIT_SQUASH)
        return g;
    int64_t shorter = width < height ? width : height, longer = width < height ? height : width;
    int64_t scaled = side * longer / shorter;
    if (width < height)
        g.new_height = (int)scaled;
    else
        g.new_width = (int)scaled;
    g.left = crop_start(g.new_width, side);
    g.top = crop_start(g.new_height, side);
    return g;
}

mcs_geometry mcs_geometry_sam(int width, int height, int side)
{
    double scale = side * 1.0 / (width > height ? width : height);
    int w = (int)(width * scale + 0.5), h = (int)(height * scale + 0.5);
    return (mcs_geometry){ width, height, w > 0 ? w : 1, h > 0 ? h : 1, 0, 0, side };
}

/* table[c][v] = (v / unit - mean[c]) / std[c] in float32 steps. */
static void fill_table(float table[3][256], float unit, const float mean[3], const float std[3])
{
    for (int c = 0; c < 3; c++)
        for (int v = 0; v < 256; v++) {
            float x = (float)v / unit;
            x -= mean[c];
            table[c][v] = x / std[c];
        }
}

/* Interleaved RGB to planes of side * side, the rest of which stays as it is. */
static void spread(const mcs_image *im, const float table[3][256], int side, float *out)
{
    size_t plane = (size_t)side * (size_t)side;
    for (int y = 0; y < im->height; y++) {
        const uint8_t *p = mcs_image_row(im, y);
        float *row = out + (size_t)y * (size_t)side;
        for (int x = 0; x < im->width; x++, p += 3)
            for (int c = 0; c < 3; c++)
                row[(size_t)c * plane + (size_t)x] = table[c][p[c]];
    }
}

static mcs_status check(const mcs_image *im, int side, const float std[3], const char *what,
                        mcs_error *e)
{
    if (!im)
        return mcs_error_set(e, MCS_EINVAL, "%s: there is no image", what);
    if (side < 1 || side > SIDE_MAX)
        return mcs_error_set(e, MCS_EINVAL, "%s: side %d; expected 1 to %d", what, side, SIDE_MAX);
    for (int c = 0; c < 3; c++)
        if (!(std[c] > 0.0f))
            return mcs_error_set(e, MCS_EINVAL, "%s: std[%d] is %g; expected a positive number",
                                 what, c, (double)std[c]);
    return MCS_OK;
}

/* The w x h corner of the square, resized, in RGB. */
static mcs_image *seen(const mcs_image *im, const mcs_geometry *g, mcs_filter f, int w, int h,
                       mcs_error *e)
{
    mcs_image *made = im->depth == 8 && im->channels == 3 ? NULL : mcs_image_to_rgb(im, e);
    const mcs_image *rgb = made ? made : im;
    mcs_image *out = NULL;
    if (rgb->depth == 8 && rgb->channels == 3)
        out = mcs_image_resize_crop(rgb, g->new_width, g->new_height, f, g->left, g->top, w, h, e);
    mcs_image_free(made);
    return out;
}

static mcs_status failed(mcs_error *e)
{
    return e ? e->status : MCS_ENOMEM;
}

mcs_status mcs_preprocess_clip(const mcs_image *im, int side, mcs_fit fit, const float mean[3],
                               const float std[3], float *out, mcs_geometry *g, mcs_error *e)
{
    mcs_status s = check(im, side, std, "CLIP preprocessing", e);
    if (s != MCS_OK)
        return s;
    mcs_geometry geo = mcs_geometry_clip(im->width, im->height, side, fit);
    mcs_image *part = seen(im, &geo, MCS_FILTER_BICUBIC, side, side, e);
    if (!part)
        return failed(e);
    float table[3][256];
    fill_table(table, 255.0f, mean, std);
    spread(part, (const float(*)[256])table, side, out);
    mcs_image_free(part);
    if (g)
        *g = geo;
    return MCS_OK;
}

mcs_status mcs_preprocess_sam(const mcs_image *im, int side, const float mean[3],
                              const float std[3], float *out, mcs_geometry *g, mcs_error *e)
{
    mcs_status s = check(im, side, std, "SAM preprocessing", e);
    if (s != MCS_OK)
        return s;
    mcs_geometry geo = mcs_geometry_sam(im->width, im->height, side);
    mcs_image *part = seen(im, &geo, MCS_FILTER_BILINEAR, geo.new_width, geo.new_height, e);
    if (!part)
        return failed(e);
    float table[3][256];
    fill_table(table, 1.0f, mean, std);
    memset(out, 0, 3 * (size_t)side * (size_t)side * sizeof *out);
    spread(part, (const float(*)[256])table, side, out);
    mcs_image_free(part);
    if (g)
        *g = geo;
    return MCS_OK;
}

void mcs_geometry_to_square(const mcs_geometry *g, double x, double y, double *sx, double *sy)
{
    *sx = x * ((double)g->new_width / g->width) - g->left;
    *sy = y * ((double)g->new_height / g->height) - g->top;
}

void mcs_geometry_to_image(const mcs_geometry *g, double sx, double sy, double *x, double *y)
{
    *x = (sx + g->left) * ((double)g->width / g->new_width);
    *y = (sy + g->top) * ((double)g->height / g->new_height);
}
