/* medclip_sam_maps.c - the saliency methods by name, and products of their maps.
 *
 * gScoreCAM chooses the right structure but is blurred; relevance is sharp but noisy; their product
 * localises better than either. */
#include <math.h>
#include <stdio.h>
#include <string.h>
#include "models/medclip_sam_internal.h"
#include "tensor/op.h"

/* Radii of the scan's windows, parts of the input's side: about one and one and a half patches
 * of a structure's usual size. */
static const float scan_radii[] = { 0.115f, 0.19f };

static mcs_tensor *scan(mcs_zeroshot_job *j, const mcs_cam_model *m, const mcs_tensor *image,
                        const mcs_tensor *rows, float *peak)
{
    float radii[2], side = (float)image->shape[3];
    for (int i = 0; i < 2; i++)
        radii[i] = scan_radii[i] * side;
    for (int64_t p = 0; p < rows->shape[0]; p++)
        peak[p] = 1;
    return mcs_keep_scan(j->c, m, radii, 2, j->o->batch, image, rows);
}

/* The probabilities of every block, in order. */
static mcs_tensor *relevance(mcs_zeroshot_job *j, const mcs_cam_model *m, const mcs_tensor *image,
                             const mcs_tensor *rows, float *peak)
{
    int depth = mcs_biomedclip_get_config(j->m->clip)->vision.depth;
    char(*names)[48] = mcs_alloc(j->c, (size_t)depth * sizeof *names);
    const char **list = mcs_alloc(j->c, (size_t)depth * sizeof *list);
    if (!names || !list)
        return NULL;
    for (int i = 0; i < depth; i++) {
        snprintf(names[i], sizeof names[i], "visual.trunk.blocks.%d.attn.probs", i);
        list[i] = names[i];
    }
    return mcs_relevance(j->c, m, list, depth, image, rows, peak);
}

/* The bottleneck stands after a block of its own, so it has a forward pass of its own. */
static mcs_tensor *m2ib(mcs_zeroshot_job *j, const mcs_cam_model *m, const mcs_tensor *image,
                        const mcs_tensor *rows, float *peak)
{
    const mcs_zeroshot_opts *o = j->o;
    int depth = mcs_biomedclip_get_config(j->m->clip)->vision.depth, at = o->m2ib_layer;
    char name[48];
    if (at < 0)
        at = depth > 5 ? depth - 5 : 0;
    if (at > depth - 2)
        return mcs_fail(
            j->c, MCS_EINVAL,
            "m2ib_layer is %d; of %d blocks it must be 0..%d: attention must follow, or "
            "the patches do not reach the score",
            at, depth, depth - 2);
    snprintf(name, sizeof name, "visual.trunk.blocks.%d", at);
    mcs_cam_model model = *m;
    model.layer = name;
    mcs_m2ib_opts opts = mcs_m2ib_defaults();
    opts.beta = o->m2ib_beta;
    opts.lr = o->m2ib_lr;
    opts.steps = o->m2ib_steps;
    opts.seed = o->seed;
    return mcs_m2ib(mcs_cam_new(j->c, &model, image), rows, &opts, peak);
}

/* The same map for every text. */
static mcs_tensor *eigencam(mcs_zeroshot_job *j, mcs_cam *cam, const mcs_tensor *rows, float *peak)
{
    mcs_tensor *map = mcs_eigencam(cam, peak);
    for (int64_t p = 1; map && p < rows->shape[0]; p++)
        peak[p] = peak[0];
    return map ? mcs_expand(j->c, map, 3, MCS_SHAPE(rows->shape[0], map->shape[1], map->shape[2]))
               : NULL;
}

static mcs_tensor *rise(mcs_zeroshot_job *j, const mcs_cam_model *m, const mcs_tensor *image,
                        const mcs_tensor *rows, float *peak)
{
    mcs_rise_opts opts = mcs_rise_defaults();
    opts.masks = j->o->rise_masks;
    opts.grid = j->o->rise_grid;
    opts.keep = j->o->rise_keep;
    opts.batch = j->o->batch;
    opts.seed = j->o->seed;
    return mcs_rise(j->c, m, &opts, image, rows, peak);
}

static mcs_tensor *one_method(mcs_zeroshot_job *j, mcs_zeroshot_cam how, mcs_cam *cam,
                              const mcs_cam_model *m, const mcs_tensor *image,
                              const mcs_tensor *rows, float *peak)
{
    const mcs_zeroshot_opts *o = j->o;
    mcs_cam_opts opts = {
        .at = o->gradient == MCS_CAM_GRADIENT_CLS     ? MCS_CAM_AT_CLS
              : o->gradient == MCS_CAM_GRADIENT_PATCH ? MCS_CAM_AT_PATCH
                                                      : MCS_CAM_AT_OFFICIAL,
        .top_k = o->topk,
        .scale = o->cam_scale > 0 ? o->cam_scale : mcs_biomedclip_scale(j->m->clip),
        .batch = o->batch,
    };
    switch (how) {
    case MCS_CAM_GSCORECAM:
        return mcs_gscorecam(cam, rows, &opts, peak);
    case MCS_CAM_SCORECAM:
        return mcs_scorecam(cam, rows, &opts, peak);
    case MCS_CAM_GRADCAM:
        return mcs_gradcam(cam, MCS_GRADCAM, rows, &opts, peak);
    case MCS_CAM_GRADCAM_PLUSPLUS:
        return mcs_gradcam(cam, MCS_GRADCAM_PLUSPLUS, rows, &opts, peak);
    case MCS_CAM_LAYERCAM:
        return mcs_gradcam(cam, MCS_GRADCAM_LAYER, rows, &opts, peak);
    case MCS_CAM_XGRADCAM:
        return mcs_gradcam(cam, MCS_GRADCAM_X, rows, &opts, peak);
    case MCS_CAM_RELEVANCE:
        return relevance(j, m, image, rows, peak);
    case MCS_CAM_SCAN:
        return scan(j, m, image, rows, peak);
    case MCS_CAM_M2IB:
        return m2ib(j, m, image, rows, peak);
    case MCS_CAM_EIGENCAM:
        return eigencam(j, cam, rows, peak);
    case MCS_CAM_RISE:
        return rise(j, m, image, rows, peak);
    }
    return mcs_fail(j->c, MCS_EINVAL, "no such saliency method: %d", (int)how);
}

/* Maps of a method, kept for other products that it is in. */
static mcs_tensor *method_once(mcs_zeroshot_job *j, mcs_zeroshot_cam how, mcs_cam *cam,
                               const mcs_cam_model *m, const mcs_tensor *image,
                               const mcs_tensor *rows, float *peak)
{
    size_t bytes = (size_t)rows->shape[0] * sizeof *peak;
    if ((int)how < 0 || (int)how >= MCS_ZEROSHOT_CAMS)
        return one_method(j, how, cam, m, image, rows, peak);
    if (j->seen[how].maps) {
        memcpy(peak, j->seen[how].peak, bytes);
        return j->seen[how].maps;
    }
    float *kept = mcs_alloc(j->c, bytes);
    mcs_tensor *maps = kept ? one_method(j, how, cam, m, image, rows, peak) : NULL;
    if (!maps)
        return NULL;
    memcpy(kept, peak, bytes);
    j->seen[how].maps = maps;
    j->seen[how].peak = kept;
    return maps;
}

/* Each map of the product is scaled to [0,1] again; its peak is the largest value before. */
static void scale_product(mcs_tensor *maps, float *peak)
{
    int64_t cells = maps->shape[1] * maps->shape[2];
    for (int64_t p = 0; p < maps->shape[0]; p++) {
        float *map = mcs_f32(maps) + p * cells, low = INFINITY, high = -INFINITY;
        for (int64_t i = 0; i < cells; i++) {
            low = fminf(low, map[i]);
            high = fmaxf(high, map[i]);
        }
        for (int64_t i = 0; i < cells; i++)
            map[i] = (map[i] - low) / (1e-8f + (high - low));
        peak[p] = high;
    }
}

mcs_tensor *mcs_zeroshot_maps(mcs_zeroshot_job *j, mcs_cam *cam, const mcs_cam_model *m,
                              const mcs_tensor *image, const mcs_tensor *rows,
                              const mcs_tensor *against, float *peak)
{
    mcs_tensor *maps = NULL;
    for (int k = 0; k < j->o->cam_count; k++) {
        mcs_zeroshot_cam how = j->o->cams[k];
        const mcs_tensor *texts = how == MCS_CAM_RELEVANCE ? against : rows;
        mcs_tensor *factor = method_once(j, how, cam, m, image, texts, peak);
        maps = k == 0 ? factor : mcs_mul(j->c, maps, factor);
        if (!maps)
            return NULL;
    }
    if (j->o->cam_count > 1)
        scale_product(maps, peak);
    return maps;
}
