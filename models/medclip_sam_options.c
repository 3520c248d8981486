/* medclip_sam_options.c - defaults and ranges of the zero-shot pipeline.
 *
 * Every constant of the published method stands here once: gScoreCAM with 300 channels, dense CRF
 * with a Gaussian kernel (sxy 3, compat 3), a bilateral kernel (sxy 60, srgb 5, compat 5), one
 * mean-field iteration and unaries with tau 1.05, eps 1e-8.  The released code departs from the
 * paper in the ways that MCS_PRESET_OFFICIAL_CODE switches on (medclip_sam.h). */
#include "models/medclip_sam.h"

#include <string.h>

void mcs_zeroshot_defaults(mcs_zeroshot_opts *o, mcs_zeroshot_preset preset)
{
    memset(o, 0, sizeof *o);
    o->cams[0] = MCS_CAM_GSCORECAM;
    o->cam_count = 1;
    o->gradient = MCS_CAM_GRADIENT_CLS;
    o->fit = MCS_ZEROSHOT_SQUASH;
    o->ensemble = MCS_ENSEMBLE_EMBEDDING;
    o->negative_weight = 1.0f;
    o->topk = 300;
    o->m2ib_beta = 0.1f;
    o->m2ib_lr = 1.0f;
    o->m2ib_layer = -1;
    o->m2ib_steps = 10;
    o->rise_masks = 1000;
    o->rise_grid = 8;
    o->rise_keep = 0.5f;
    o->coarse = MCS_COARSE_CRF;
    o->gaussian_sxy = 3.0f;
    o->gaussian_compat = 3.0f;
    o->bilateral_sxy = 60.0f;
    o->bilateral_srgb = 5.0f;
    o->bilateral_compat = 5.0f;
    o->epsilon = 1e-8f;
    o->tau = 1.05f;
    o->crf_iters = 1;
    o->threshold = 0.3f;
    o->num_contours = 1;
    o->prompts = MCS_SAM_BOXES;
    o->points = 10;
    o->empty = MCS_EMPTY_WHOLE;
    if (preset == MCS_PRESET_OFFICIAL_CODE) {
        o->gradient = MCS_CAM_GRADIENT_OFFICIAL;
        o->fit = MCS_ZEROSHOT_STRETCH;
        o->overlay_saliency = true;
        o->contour_holes = true;
        o->num_contours = 0;
    }
    if (preset == MCS_PRESET_V2) {
        o->cams[0] = MCS_CAM_M2IB;
        o->coarse = MCS_COARSE_KMEANS;
        o->match_contours = true;
        o->gaussian_sxy = o->bilateral_sxy = 5.0f;
        o->bilateral_srgb = 3.0f;
    }
}

typedef struct {
    const char *name;
    double value, low, high;
} field_range;

mcs_status mcs_zeroshot_check(const mcs_zeroshot_opts *o, mcs_error *e)
{
    const field_range fields[] = {
        { "cam_scale", (double)o->cam_scale, 0.0, 1e4 },
        { "cam_count", o->cam_count, 1, MCS_CAM_FACTORS },
        { "negative_weight", (double)o->negative_weight, 0.0, 100.0 },
        { "topk", o->topk, 1, 1e6 },
        { "batch", o->batch, 0, 4096 },
        { "m2ib_beta", (double)o->m2ib_beta, 0.0, 1e6 },
        { "m2ib_lr", (double)o->m2ib_lr, 1e-6, 100.0 },
        { "m2ib_layer", o->m2ib_layer, -1, 126 },
        { "m2ib_steps", o->m2ib_steps, 1, 10000 },
        { "rise_masks", o->rise_masks, 1, 1e6 },
        { "rise_grid", o->rise_grid, 1, 64 },
        { "rise_keep", (double)o->rise_keep, 0.001, 0.999 },
        { "gaussian_sxy", (double)o->gaussian_sxy, 1e-3, 1e5 },
        { "gaussian_compat", (double)o->gaussian_compat, 0.0, 1e5 },
        { "bilateral_sxy", (double)o->bilateral_sxy, 1e-3, 1e5 },
        { "bilateral_srgb", (double)o->bilateral_srgb, 1e-3, 1e5 },
        { "bilateral_compat", (double)o->bilateral_compat, 0.0, 1e5 },
        { "epsilon", (double)o->epsilon, 1e-30, 0.5 },
        { "tau", (double)o->tau, 1e-3, 1e3 },
        { "crf_iters", o->crf_iters, 0, 1000 },
        { "threshold", (double)o->threshold, 0.0, 1.0 },
        { "num_contours", o->num_contours, 0, 1e6 },
        { "min_size", (double)o->min_size, 0, 1e9 },
        { "fill_holes", (double)o->fill_holes, 0, 1e9 },
        { "refine", o->refine, 0, 10 },
        { "pad_box", (double)o->pad_box, -49.0, 1000.0 },
        { "points", o->points, 1, 1000 },
        { "background_points", o->background_points, 0, 1000 },
    };
    for (size_t i = 0; i < sizeof fields / sizeof *fields; i++) {
        const field_range *f = &fields[i];
        if (!(f->value >= f->low && f->value <= f->high)) /* catches NaN as well */
            return mcs_error_set(e, MCS_EINVAL, "%s is %g; it must lie in [%g, %g]", f->name,
                                 f->value, f->low, f->high);
    }
    return MCS_OK;
}

/* In the order of mcs_zeroshot_cam. */
static const char *const cam_names[] = { "gscorecam", "scorecam", "gradcam",   "gradcam++",
                                         "layercam",  "xgradcam", "relevance", "scan",
                                         "m2ib",      "eigencam", "rise" };

static int cam_named(const char *name, size_t n)
{
    for (size_t i = 0; i < sizeof cam_names / sizeof *cam_names; i++)
        if (strlen(cam_names[i]) == n && strncmp(cam_names[i], name, n) == 0)
            return (int)i;
    return -1;
}

mcs_status mcs_zeroshot_set_cam(mcs_zeroshot_opts *o, const char *text, mcs_error *e)
{
    int count = 0;
    for (const char *at = text;;) {
        size_t n = strcspn(at, "*");
        int cam = cam_named(at, n);
        if (cam < 0 || count == MCS_CAM_FACTORS)
            return mcs_error_set(e, MCS_EINVAL,
                                 "cam: '%.100s' is not one of gscorecam scorecam gradcam gradcam++ "
                                 "layercam xgradcam relevance scan m2ib eigencam rise, nor a "
                                 "product of up to %d such as gscorecam*relevance",
                                 text, MCS_CAM_FACTORS);
        o->cams[count++] = (mcs_zeroshot_cam)cam;
        if (!at[n])
            break;
        at += n + 1;
    }
    o->cam_count = count;
    return MCS_OK;
}
