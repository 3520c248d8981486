/* medclip_sam_coarse.c - saliency to coarse mask to boxes (MedCLIP-SAM sec. 2.2).
 *
 * The dense CRF reads the map itself.  The released code reads back the picture it saved, a JET
 * overlay, as grey levels, whose brightness is not monotone in the saliency: that is
 * `overlay_saliency`. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "cam/boxes.h"
#include "cam/coarse.h"
#include "cam/crf.h"
#include "models/medclip_sam_internal.h"
#include "tensor/op.h"

/* Grey levels of the saved overlay / 255: JET(uint8(255 m)) + picture, divided by its largest
 * sample, truncated to 8 bits, then cv2's fixed-point luminance. */
static void overlay_grey(const float *map, const uint8_t *rgb, int64_t n, float *grey)
{
    float top = 0;
    for (int pass = 0; pass < 2; pass++)
        for (int64_t i = 0; i < n; i++) {
            mcs_colour heat = mcs_colormap_jet(floorf(255.0f * map[i]) / 255.0f);
            const uint8_t h[3] = { heat.r, heat.g, heat.b };
            int level[3];
            for (int k = 0; k < 3; k++) {
                float v = (float)h[k] / 255.0f + (float)rgb[3 * i + k] / 255.0f;
                top = pass == 0 ? fmaxf(top, v) : top;
                level[k] = (int)(255.0f * v / top);
            }
            if (pass == 1)
                grey[i] = (float)((4899 * level[0] + 9617 * level[1] + 1868 * level[2] + 8192) >> 14) /
                          255.0f;
        }
}

static bool run_crf(mcs_zeroshot_job *j, const float *map, uint8_t *mask)
{
    const mcs_zeroshot_opts *o = j->o;
    mcs_crf_opts crf = mcs_crf_defaults();
    crf.epsilon = o->epsilon;
    crf.tau = o->tau;
    crf.gaussian_sxy = o->gaussian_sxy;
    crf.gaussian_compat = o->gaussian_compat;
    crf.bilateral_sxy = o->bilateral_sxy;
    crf.bilateral_srgb = o->bilateral_srgb;
    crf.bilateral_compat = o->bilateral_compat;
    crf.iterations = o->crf_iters;
    return mcs_crf_mask(map, j->rgb->data, j->rgb->width, j->rgb->height, &crf,
                        mcs_ctx_pool(j->c), mask, NULL, mcs_ctx_error(j->c)) == MCS_OK;
}

static bool make_mask(mcs_zeroshot_job *j, const float *map, uint8_t *mask)
{
    switch (j->o->coarse) {
    case MCS_COARSE_CRF:
        return run_crf(j, map, mask);
    case MCS_COARSE_OTSU:
        mcs_coarse_threshold(map, j->pixels, mcs_coarse_otsu(map, j->pixels), mask);
        return true;
    case MCS_COARSE_KMEANS:
        mcs_coarse_threshold(map, j->pixels, mcs_coarse_two_means(map, j->pixels), mask);
        return true;
    case MCS_COARSE_THRESHOLD:
        mcs_coarse_threshold(map, j->pixels, j->o->threshold, mask);
        return true;
    case MCS_COARSE_NONE:
        mcs_coarse_threshold(map, j->pixels, 0.0f, mask);
        return true;
    }
    mcs_fail(j->c, MCS_EINVAL, "no such coarse method: %d", (int)j->o->coarse);
    return false;
}

/* ---- Boxes ---- */

static mcs_zeroshot_box pad(const mcs_zeroshot_job *j, const mcs_box *b)
{
    float w = (float)(b->x1 - b->x0), h = (float)(b->y1 - b->y0), p = j->o->pad_box / 100.0f;
    mcs_zeroshot_box out = { (float)b->x0, (float)b->y0, (float)b->x1, (float)b->y1 };
    if (p == 0.0f)
        return out;
    out.x0 = fmaxf(0, out.x0 - p * w);
    out.y0 = fmaxf(0, out.y0 - p * h);
    out.x1 = fminf((float)j->rgb->width, out.x1 + p * w);
    out.y1 = fminf((float)j->rgb->height, out.y1 + p * h);
    return out;
}

/* The released code takes the largest contour; otherwise the box goes around all that is kept. */
static mcs_box_mode box_mode(const mcs_zeroshot_opts *o)
{
    if (o->multi_contour)
        return o->contour_holes ? MCS_BOX_EACH_AND_HOLES : MCS_BOX_EACH;
    return o->contour_holes ? MCS_BOX_LARGEST : MCS_BOX_UNION;
}

static bool find_boxes(mcs_zeroshot_job *j, mcs_zeroshot_result *r)
{
    mcs_box_opts opts = { .mode = box_mode(j->o), .boxes_max = 1000,
                          .empty_is_whole = j->o->empty == MCS_EMPTY_WHOLE };
    mcs_boxes found = { 0 };
    if (mcs_boxes_find(r->coarse, r->width, r->height, &opts, &found, mcs_ctx_error(j->c)) !=
        MCS_OK)
        return false;
    r->boxes = calloc((size_t)found.count + 1, sizeof *r->boxes);
    for (int64_t k = 0; r->boxes && k < found.count; k++)
        r->boxes[k] = pad(j, &found.box[k]);
    r->box_count = r->boxes ? (int)found.count : 0;
    mcs_boxes_free(&found);
    if (!r->boxes)
        mcs_fail(j->c, MCS_ENOMEM, "out of memory for boxes");
    return r->boxes != NULL;
}

/* ---- Points: pixels of the mask, or outside it, drawn at random, with replacement, reproducibly ---- */

/* n of the `area` pixels that are `inside` or not, behind those there are. */
static bool draw_some(mcs_zeroshot_job *j, mcs_zeroshot_result *r, int n, int64_t area, int inside)
{
    int64_t *rank = calloc((size_t)n + 1, sizeof *rank), seen = 0;
    mcs_zeroshot_point *out = r->points + r->point_count;
    if (!rank) {
        mcs_fail(j->c, MCS_ENOMEM, "out of memory for %d points", n);
        return false;
    }
    for (int k = 0; k < n; k++) {
        uint32_t u[4];
        mcs_philox((uint64_t[]){ j->o->seed, 0x706f696e7473u + !inside }, (uint64_t)k, u);
        rank[k] = (int64_t)((((uint64_t)u[0] << 32) | u[1]) % (uint64_t)area);
    }
    for (int64_t i = 0; i < j->pixels; i++) {
        if (r->coarse[i] != inside)
            continue;
        for (int k = 0; k < n; k++)
            if (rank[k] == seen)
                out[k] = (mcs_zeroshot_point){ (float)(i % r->width), (float)(i / r->width), inside };
        seen++;
    }
    free(rank);
    r->point_count += n;
    return true;
}

static bool draw_points(mcs_zeroshot_job *j, mcs_zeroshot_result *r)
{
    int64_t outside = j->pixels - r->coarse_area;
    int n = r->coarse_area > 0 ? j->o->points : 0;
    int away = n > 0 && outside > 0 ? j->o->background_points : 0;
    r->points = calloc((size_t)n + (size_t)away + 1, sizeof *r->points);
    if (!r->points) {
        mcs_fail(j->c, MCS_ENOMEM, "out of memory for %d points", n);
        return false;
    }
    return (n == 0 || draw_some(j, r, n, r->coarse_area, 1)) &&
           (away == 0 || draw_some(j, r, away, outside, 0));
}

/* The components that are asked for, without their holes. */
static bool clean(mcs_zeroshot_job *j, mcs_zeroshot_result *r)
{
    const mcs_zeroshot_opts *o = j->o;
    mcs_error *e = mcs_ctx_error(j->c);
    return mcs_components_keep(r->coarse, r->width, r->height, o->num_contours, o->min_size, NULL,
                               e) == MCS_OK &&
           (o->fill_holes == 0 || mcs_components_fill(r->coarse, r->width, r->height, o->fill_holes,
                                                      NULL, e) == MCS_OK);
}

bool mcs_zeroshot_coarse_mask(mcs_zeroshot_job *j, int i)
{
    mcs_zeroshot_result *r = &j->results[i];
    float *grey = j->o->overlay_saliency ? malloc((size_t)j->pixels * sizeof *grey) : NULL;
    r->coarse = calloc((size_t)j->pixels, 1);
    if (!r->coarse || (j->o->overlay_saliency && !grey)) {
        free(grey);
        mcs_fail(j->c, MCS_ENOMEM, "out of memory for a mask of %lld pixels", (long long)j->pixels);
        return false;
    }
    if (grey)
        overlay_grey(r->saliency, j->rgb->data, j->pixels, grey);
    bool fine = make_mask(j, grey ? grey : r->saliency, r->coarse);
    free(grey);
    if (!fine || !clean(j, r))
        return false;
    for (int64_t p = 0; p < j->pixels; p++)
        r->coarse_area += r->coarse[p];
    r->coarse_empty = r->coarse_area == 0;
    if (!find_boxes(j, r))
        return false;
    return j->o->prompts == MCS_SAM_BOXES || draw_points(j, r);
}
