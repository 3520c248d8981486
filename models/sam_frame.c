/* sam_frame.c - between a picture's pixels and SAM's square frame.
 *
 * Must agree with segment_anything/utils/transforms.py (ResizeLongestSide), Sam.preprocess() and
 * Sam.postprocess_masks():
 *   scale  = S / max(H,W);  size = int(H * scale + .5), int(W * scale + .5)     in float64
 *   image  = Pillow's bilinear resize of the 8-bit picture, (x - mean) / deviation, zero-padded
 *            (minmax: (x - least) / max(largest - least, 1e-8) over the resized picture)
 *   coords = x * (scaled width / W), y * (scaled height / H)
 *   masks  = bilinear to S x S, crop to the scaled size, bilinear to (H,W) */
#include <stdlib.h>
#include "image/image.h"
#include "models/sam_internal.h"
#include "tensor/parallel.h"

static const float pixel_mean[3] = { 123.675f, 116.28f, 103.53f };
static const float pixel_sd[3] = { 58.395f, 57.12f, 57.375f };

void mcs_sam_scaled_size(const mcs_sam *m, int width, int height, int *w, int *h)
{
    double scale = (double)m->cfg.image / (double)(width > height ? width : height);
    *w = (int)((double)width * scale + 0.5);
    *h = (int)((double)height * scale + 0.5);
    *w = *w < 1 ? 1 : *w; /* thinner than half a pixel: the original fails here */
    *h = *h < 1 ? 1 : *h;
}

typedef struct {
    float offset[3], divisor[3];
} pixel_scale;

static pixel_scale scale_of(const mcs_sam *m, const mcs_image *im)
{
    pixel_scale s;
    const uint8_t *px = im->data;
    uint8_t lo = 255, hi = 0;
    for (int64_t i = 0; m->cfg.minmax && i < (int64_t)im->width * im->height * 3; i++) {
        lo = px[i] < lo ? px[i] : lo;
        hi = px[i] > hi ? px[i] : hi;
    }
    for (int k = 0; k < 3; k++) {
        s.offset[k] = m->cfg.minmax ? (float)lo : pixel_mean[k];
        s.divisor[k] = !m->cfg.minmax ? pixel_sd[k] : hi > lo ? (float)(hi - lo) : 1e-8f;
    }
    return s;
}

mcs_tensor *mcs_sam_image(mcs_ctx *c, const mcs_sam *m, const uint8_t *rgb, int width, int height)
{
    if (mcs_ctx_status(c))
        return NULL;
    if (width < 1 || height < 1)
        return mcs_fail(c, MCS_EINVAL, "sam: picture of %d x %d pixels", width, height);
    int64_t side = m->cfg.image;
    int w, h;
    mcs_sam_scaled_size(m, width, height, &w, &h);
    mcs_image source = {
        .width = width, .height = height, .channels = 3, .depth = 8, .data = (void *)(uintptr_t)rgb
    };
    mcs_image *im = mcs_image_resize(&source, w, h, MCS_FILTER_BILINEAR, mcs_ctx_error(c));
    mcs_tensor *x = im ? mcs_zeros(c, 4, MCS_SHAPE(1, 3, side, side)) : NULL;
    pixel_scale s = { 0 };
    if (x)
        s = scale_of(m, im);
    for (int k = 0; x && k < 3; k++) {
        const uint8_t *src = (const uint8_t *)im->data + k;
        for (int64_t i = 0; i < h; i++) {
            float *dst = mcs_f32(x) + (k * side + i) * side;
            for (int64_t j = 0; j < w; j++)
                dst[j] = ((float)src[3 * (i * w + j)] - s.offset[k]) / s.divisor[k];
        }
    }
    mcs_image_free(im);
    return x;
}

void mcs_sam_coords(const mcs_sam *m, int width, int height, int64_t n, const double *xy,
                    float *out, mcs_sam_rounding r)
{
    int w, h;
    mcs_sam_scaled_size(m, width, height, &w, &h);
    double sx = (double)w / (double)width, sy = (double)h / (double)height;
    for (int64_t i = 0; i < 2 * n; i++) {
        double s = i % 2 ? sy : sx;
        out[i] = r == MCS_SAM_PREDICT ? (float)(xy[i] * s) : (float)xy[i] * (float)s;
    }
}

/* One image (1,M,4G,4G) -> (1,M,height,width) */
static mcs_tensor *resize_one(mcs_ctx *c, const mcs_sam *m, const mcs_tensor *x, int width,
                              int height)
{
    mcs_scope s = mcs_scope_begin(c);
    int64_t side = m->cfg.image;
    int w, h;
    mcs_sam_scaled_size(m, width, height, &w, &h);
    mcs_tensor *y = mcs_resize_bilinear(c, x, side, side, false);
    if (h != side || w != side)
        y = mcs_pad(c, y, (const int64_t[]){ 0, 0, 0, 0, 0, h - side, 0, w - side }, 0.0f);
    if (h != height || w != width)
        y = mcs_resize_bilinear(c, y, height, width, false);
    return mcs_scope_end(c, s, y);
}

mcs_tensor *mcs_sam_resize(mcs_ctx *c, const mcs_sam *m, const mcs_tensor *logits, int width,
                           int height)
{
    if (!logits)
        return NULL;
    if (logits->ndim != 4 || logits->shape[0] < 1 || width < 1 || height < 1)
        return mcs_fail(c, MCS_ESHAPE, "sam: expected logits (B,M,h,w) and a size, got %d x %d",
                        width, height);
    int64_t n = logits->shape[0];
    const mcs_tensor **parts = calloc((size_t)n, sizeof *parts);
    if (!parts)
        return mcs_fail(c, MCS_ENOMEM, "sam: %lld masks: out of memory", (long long)n);
    for (int64_t i = 0; i < n; i++)
        parts[i] = resize_one(c, m, mcs_rows(c, logits, i, i + 1), width, height);
    mcs_tensor *all = mcs_concat(c, 0, (int)n, parts);
    free(parts);
    return all;
}

typedef struct {
    const float *x;
    uint8_t *y;
} threshold_args;

static void threshold_range(void *arg, int64_t begin, int64_t end)
{
    const threshold_args *a = arg;
    for (int64_t i = begin; i < end; i++)
        a->y[i] = a->x[i] > 0.0f;
}

mcs_tensor *mcs_sam_threshold(mcs_ctx *c, const mcs_tensor *logits)
{
    if (!logits)
        return NULL;
    mcs_tensor *y = mcs_new_typed(c, MCS_U8, logits->ndim, logits->shape);
    if (!y)
        return NULL;
    threshold_args a = { mcs_f32(logits), mcs_u8(y) };
    mcs_parallel_for(c, mcs_numel(y), 65536, threshold_range, &a);
    return y;
}
