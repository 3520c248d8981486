/* gradcam.c - maps from gradients alone: Grad-CAM, Grad-CAM++, XGrad-CAM, LayerCAM (formulas and
 * references in cam.h).  They share one backward pass per text. */
#include "cam/cam_internal.h"
#include "tensor/op.h"

typedef struct {
    const float *a, *g;
    int64_t n;
} channel;

static double mean_weight(channel c)
{
    double sum = 0;
    for (int64_t i = 0; i < c.n; i++)
        sum += (double)c.g[i];
    return sum / (double)c.n;
}

static double sum_of(const float *x, int64_t n)
{
    double sum = 0;
    for (int64_t i = 0; i < n; i++)
        sum += (double)x[i];
    return sum;
}

static double plusplus_weight(channel c)
{
    double total = sum_of(c.a, c.n), sum = 0;
    for (int64_t i = 0; i < c.n; i++) {
        double g = (double)c.g[i];
        if (g > 0) /* relu(G) a: where G <= 0 the term is 0 */
            sum += g * (g * g / (2 * g * g + total * g * g * g + 1e-6));
    }
    return sum;
}

static double x_weight(channel c)
{
    double by = sum_of(c.a, c.n) + 1e-7, sum = 0;
    for (int64_t i = 0; i < c.n; i++)
        sum += (double)c.g[i] * (double)c.a[i] / by;
    return sum;
}

static void layer_map(const mcs_cam *cam, const float *g, float *map)
{
    for (int64_t i = 0; i < cam->cells; i++) {
        double sum = 0;
        for (int64_t k = 0; k < cam->channels; k++) {
            int64_t at = k * cam->cells + i;
            sum += g[at] > 0 ? (double)g[at] * (double)cam->a[at] : 0;
        }
        map[i] = (float)sum;
    }
}

static float one_map(const mcs_cam *cam, mcs_gradcam_kind kind, const float *g, double *weight,
                     float *map)
{
    if (kind == MCS_GRADCAM_LAYER) {
        layer_map(cam, g, map);
        return mcs_cam_scale(map, cam->cells);
    }
    for (int64_t k = 0; k < cam->channels; k++) {
        channel c = { cam->a + k * cam->cells, g + k * cam->cells, cam->cells };
        weight[k] = kind == MCS_GRADCAM            ? mean_weight(c)
                    : kind == MCS_GRADCAM_PLUSPLUS ? plusplus_weight(c)
                                                   : x_weight(c);
    }
    return mcs_cam_combine(cam, weight, map);
}

mcs_tensor *mcs_gradcam(mcs_cam *cam, mcs_gradcam_kind kind, const mcs_tensor *text,
                        const mcs_cam_opts *o, float *peak)
{
    mcs_cam_opts used;
    if (!mcs_cam_check(cam, text, o, &used))
        return NULL;
    mcs_ctx *c = cam->c;
    int64_t texts = text->shape[0];
    mcs_tensor *maps = mcs_new(c, 3, MCS_SHAPE(texts, cam->model.grid_h, cam->model.grid_w));
    float *g = mcs_alloc(c, (size_t)(cam->channels * cam->cells) * sizeof *g);
    double *weight = mcs_alloc(c, (size_t)cam->channels * sizeof *weight);
    if (!maps || !g || !weight)
        return NULL;
    for (int64_t p = 0; p < texts; p++) {
        float *row = mcs_f32(text) + p * text->shape[1];
        if (!mcs_cam_gradient(cam, row, used.at, g))
            return NULL;
        for (int64_t i = 0; i < cam->channels * cam->cells; i++)
            g[i] *= used.scale; /* Grad-CAM++ and 1e-8 see the size of the score */
        float top = one_map(cam, kind, g, weight, mcs_f32(maps) + p * cam->cells);
        if (peak)
            peak[p] = top;
    }
    return maps;
}
