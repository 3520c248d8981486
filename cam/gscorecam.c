/* gscorecam.c - gScoreCAM (Chen, Li, Biaz, Bui, Nguyen: gScoreCAM: What objects is CLIP looking at?
 * ACCV 2022): ScoreCAM over the channels with the largest gradients only.
 *
 *   importance_c = mean over the grid of d<f, text>/dA_c        MCS_CAM_AT_PATCH, _OFFICIAL
 *                  d<f, text>/dA_c at the class token           MCS_CAM_AT_CLS
 * The sign counts.  A transformer that reads out its class token gives patch tokens a gradient
 * only through a later attention: after the last one it is zero, and the choice of channels then
 * says nothing of picture or text (see channels.c).  The scale of the score does not matter for
 * the order, so it is left out. */
#include "cam/cam_internal.h"
#include "tensor/op.h"

static bool choose(mcs_cam *cam, const mcs_tensor *text, const mcs_cam_opts *o, bool *wanted)
{
    mcs_ctx *c = cam->c;
    int64_t channels = cam->channels, cells = cam->cells;
    float *gradient = mcs_alloc(c, (size_t)(channels * cells) * sizeof *gradient);
    float *importance = mcs_alloc(c, (size_t)channels * sizeof *importance);
    void *scratch = mcs_alloc(c, (size_t)channels * 16);
    if (!gradient || !importance || !scratch)
        return false;
    for (int64_t p = 0; p < text->shape[0]; p++) {
        if (!mcs_cam_gradient(cam, mcs_f32(text) + p * text->shape[1], o->at, gradient))
            return false;
        for (int64_t k = 0; k < channels; k++) {
            double sum = 0;
            for (int64_t i = 0; i < cells; i++)
                sum += (double)gradient[k * cells + i];
            importance[k] = (float)(sum / (double)cells);
        }
        mcs_cam_top(importance, channels, o->top_k, o->at == MCS_CAM_AT_OFFICIAL, scratch,
                    wanted + p * channels);
    }
    return true;
}

mcs_tensor *mcs_gscorecam(mcs_cam *cam, const mcs_tensor *text, const mcs_cam_opts *o, float *peak)
{
    mcs_cam_opts used;
    if (!mcs_cam_check(cam, text, o, &used))
        return NULL;
    bool *wanted = mcs_alloc(cam->c, (size_t)text->shape[0] * (size_t)cam->channels);
    if (!wanted || !choose(cam, text, &used, wanted))
        return NULL;
    return mcs_cam_scored(cam, text, wanted, &used, peak);
}
