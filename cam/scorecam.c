/* scorecam.c - pictures masked by channels, their features, and the maps weighted by scores.
 *
 *   U_c = bilinear enlargement of A_c to the picture, align_corners (torch's UpsamplingBilinear2d)
 *   M_c = (U_c - min U_c) / (max U_c - min U_c + 1e-6)
 *   v_c = scale <f(X M_c), text>       X is the normalised picture, so M_c = 0 is the mean colour
 *   w = softmax(v) over all channels, those that were not scored having v = 0
 *   map = relu(sum_c w_c A_c)
 * as MedCLIP-SAM's copy of gScoreCAM has it (saliency_maps/pytorch_grad_cam/gscore_cam.py).  With
 * scores of about 85 cos the zeros weigh next to nothing.  The masked pictures do not depend on
 * the text, so their features are kept.  1e-6 is in gScoreCAM only; ScoreCAM's own masks differ by
 * that and its flat channels are NaN, i.e. score 0. */
#include <math.h>
#include <string.h>
#include "cam/cam_internal.h"
#include "tensor/op.h"

typedef struct {
    const float *image; /* (3, pixels) */
    const float *enlarged; /* (B, pixels) */
    float *out; /* (B, 3, pixels) */
    int64_t planes, pixels;
} mask_args;

static void mask_range(void *arg, int64_t begin, int64_t end)
{
    const mask_args *a = arg;
    for (int64_t b = begin; b < end; b++) {
        const float *u = a->enlarged + b * a->pixels;
        float low = u[0], high = u[0];
        for (int64_t i = 1; i < a->pixels; i++) {
            low = u[i] < low ? u[i] : low;
            high = u[i] > high ? u[i] : high;
        }
        float by = high - low + 1e-6f;
        for (int64_t p = 0; p < a->planes; p++) {
            const float *x = a->image + p * a->pixels;
            float *y = a->out + (b * a->planes + p) * a->pixels;
            for (int64_t i = 0; i < a->pixels; i++)
                y[i] = x[i] * ((u[i] - low) / by);
        }
    }
}

/* (count, planes, H, W): the picture under the masks of these channels. */
static mcs_tensor *masked_pictures(mcs_cam *cam, const int64_t *channel, int64_t count)
{
    mcs_ctx *c = cam->c;
    const int64_t *s = cam->image->shape;
    int64_t grid[4] = { 1, count, cam->model.grid_h, cam->model.grid_w };
    mcs_tensor *maps = mcs_new(c, 4, grid);
    if (!maps)
        return NULL;
    for (int64_t i = 0; i < count; i++)
        memcpy(mcs_f32(maps) + i * cam->cells, cam->a + channel[i] * cam->cells,
               (size_t)cam->cells * sizeof(float));
    mcs_tensor *enlarged = mcs_resize_bilinear(c, maps, s[2], s[3], true);
    mcs_tensor *out = mcs_new(c, 4, MCS_SHAPE(count, s[1], s[2], s[3]));
    if (!enlarged || !out)
        return NULL;
    mask_args a = { mcs_f32(cam->image), mcs_f32(enlarged), mcs_f32(out), s[1], s[2] * s[3] };
    mcs_parallel_for(c, count, 1, mask_range, &a);
    return out;
}

static bool embed_chunk(mcs_cam *cam, const int64_t *channel, int64_t count)
{
    mcs_ctx *c = cam->c;
    int64_t width = cam->feature->shape[1];
    mcs_scope scope = mcs_scope_begin(c);
    mcs_tensor *x = masked_pictures(cam, channel, count);
    mcs_tensor *f = x ? cam->model.features(c, x, cam->model.arg) : NULL;
    bool ok = f && f->ndim == 2 && f->shape[0] == count && f->shape[1] == width;
    if (f && !ok)
        mcs_fail(c, MCS_ESHAPE, "cam: features of %lld pictures are not (%lld,%lld)",
                 (long long)count, (long long)count, (long long)width);
    for (int64_t i = 0; ok && i < count; i++) {
        memcpy(cam->masked + channel[i] * width, mcs_f32(f) + i * width,
               (size_t)width * sizeof(float));
        cam->done[channel[i]] = true;
    }
    mcs_scope_end(c, scope, NULL);
    return ok;
}

bool mcs_cam_embed(mcs_cam *cam, const bool *wanted, int batch)
{
    mcs_ctx *c = cam->c;
    int64_t width = cam->feature->shape[1], count = 0;
    if (!cam->masked) {
        cam->masked = mcs_alloc(c, (size_t)cam->channels * (size_t)width * sizeof(float));
        cam->done = mcs_alloc(c, (size_t)cam->channels * sizeof *cam->done);
        if (!cam->masked || !cam->done)
            return false;
        memset(cam->done, 0, (size_t)cam->channels * sizeof *cam->done);
    }
    int64_t *chunk = mcs_alloc(c, (size_t)batch * sizeof *chunk);
    if (!chunk)
        return false;
    bool grad = mcs_set_grad(c, false), ok = true;
    for (int64_t k = 0; ok && k < cam->channels; k++) {
        if (wanted[k] && !cam->done[k])
            chunk[count++] = k;
        if (count == batch || (k + 1 == cam->channels && count > 0)) {
            ok = embed_chunk(cam, chunk, count);
            count = 0;
        }
    }
    mcs_set_grad(c, grad);
    return ok;
}

/* w = softmax of the scores, channels that are not wanted scoring 0. */
static void softmax_scores(const mcs_cam *cam, const float *text, const bool *wanted, float scale,
                           double *w)
{
    int64_t width = cam->feature->shape[1];
    double top = -HUGE_VAL, sum = 0;
    for (int64_t k = 0; k < cam->channels; k++) {
        double score = 0;
        for (int64_t j = 0; wanted[k] && j < width; j++)
            score += (double)cam->masked[k * width + j] * (double)text[j];
        w[k] = isnan(score) ? 0 : (double)scale * score;
        top = w[k] > top ? w[k] : top;
    }
    for (int64_t k = 0; k < cam->channels; k++)
        sum += w[k] = exp(w[k] - top);
    for (int64_t k = 0; k < cam->channels; k++)
        w[k] /= sum;
}

mcs_tensor *mcs_cam_scored(mcs_cam *cam, const mcs_tensor *text, const bool *wanted,
                           const mcs_cam_opts *o, float *peak)
{
    mcs_ctx *c = cam->c;
    int64_t texts = text->shape[0], channels = cam->channels;
    mcs_tensor *maps = mcs_new(c, 3, MCS_SHAPE(texts, cam->model.grid_h, cam->model.grid_w));
    bool *any = mcs_alloc(c, (size_t)channels * sizeof *any);
    double *weight = mcs_alloc(c, (size_t)channels * sizeof *weight);
    if (!maps || !any || !weight)
        return NULL;
    memset(any, 0, (size_t)channels * sizeof *any);
    for (int64_t i = 0; i < texts * channels; i++)
        any[i % channels] |= wanted[i];
    if (!mcs_cam_embed(cam, any, o->batch))
        return NULL;
    for (int64_t p = 0; p < texts; p++) {
        softmax_scores(cam, mcs_f32(text) + p * text->shape[1], wanted + p * channels, o->scale,
                       weight);
        float top = mcs_cam_combine(cam, weight, mcs_f32(maps) + p * cam->cells);
        if (peak)
            peak[p] = top;
    }
    return maps;
}

mcs_tensor *mcs_scorecam(mcs_cam *cam, const mcs_tensor *text, const mcs_cam_opts *o, float *peak)
{
    mcs_cam_opts used;
    if (!mcs_cam_check(cam, text, o, &used))
        return NULL;
    size_t n = (size_t)text->shape[0] * (size_t)cam->channels;
    bool *all = mcs_alloc(cam->c, n * sizeof *all);
    if (!all)
        return NULL;
    for (size_t i = 0; i < n; i++)
        all[i] = true;
    return mcs_cam_scored(cam, text, all, &used, peak);
}
