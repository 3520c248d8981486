/* sam_frame.c - between a picture's pixels and SAM's square frame.
 *
 * Must agree with segment_anything/utils/transforms.py (ResizeLongestSide), Sam.preprocess() and
 * Sam.postprocess_masks():
 *   image  = mcs_preprocess_sam(); minmax instead (x - least) / max(largest - least, 1e-8) over
 *            the resized picture, as LiteMedSAM's inference script
 *   coords = x * (scaled width / W), y * (scaled height / H)
 *   masks  = bilinear to S x S, crop to the scaled size, bilinear to (H,W) */
#include <stdlib.h>
#include "image/preprocess.h"
#include "models/sam_internal.h"
#include "tensor/parallel.h"

void mcs_sam_scaled_size(const mcs_sam *m, int width, int height, int *w, int *h)
{
    mcs_geometry g = mcs_geometry_sam(width, height, m->cfg.image);
    *w = g.new_width;
    *h = g.new_height;
}

/* Scales the picture inside x (3,S,S) from pixel values to [0,1] by its extremes. */
static void scale_minmax(float *x, const mcs_geometry *g)
{
    float lo = 255, hi = 0;
    for (int pass = 0; pass < 2; pass++) {
        float range = hi > lo ? hi - lo : 1e-8f;
        for (int64_t row = 0; row < 3 * (int64_t)g->new_height; row++) {
            int64_t plane = row / g->new_height, y = row % g->new_height;
            float *v = x + (plane * g->side + y) * g->side;
            for (int i = 0; i < g->new_width; i++) {
                if (pass) {
                    v[i] = (v[i] - lo) / range;
                } else {
                    lo = v[i] < lo ? v[i] : lo;
                    hi = v[i] > hi ? v[i] : hi;
                }
            }
        }
    }
}

mcs_tensor *mcs_sam_image(mcs_ctx *c, const mcs_sam *m, const uint8_t *rgb, int width, int height)
{
    static const float zeros[3] = { 0, 0, 0 }, ones[3] = { 1, 1, 1 };
    if (!mcs_sam_ok(c, m))
        return NULL;
    if (width < 1 || height < 1)
        return mcs_fail(c, MCS_EINVAL, "sam: picture of %d x %d pixels", width, height);
    int side = m->cfg.image;
    mcs_tensor *x = mcs_new(c, 4, MCS_SHAPE(1, 3, side, side));
    if (!x)
        return NULL;
    mcs_image source = {
        .width = width, .height = height, .channels = 3, .depth = 8, .data = (void *)(uintptr_t)rgb
    };
    mcs_geometry g;
    if (mcs_preprocess_sam(&source, side, m->cfg.minmax ? zeros : mcs_sam_mean,
                           m->cfg.minmax ? ones : mcs_sam_std, mcs_f32(x), &g, mcs_ctx_error(c)))
        return NULL;
    if (m->cfg.minmax)
        scale_minmax(mcs_f32(x), &g);
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
    if (!logits || !mcs_sam_ok(c, m))
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
