/* cam.c - the forward pass that all maps share, gradients, and the combination of channels.
 *
 * The tape begins at the watched layer (hook.c), so a gradient costs the layers above it only.
 * The features of one picture serve every text: the score is linear in them, so each text is one
 * backward pass with dy = text. */
#include <math.h>
#include <string.h>
#include "cam/cam_internal.h"
#include "image/image.h"
#include "tensor/op.h"

/* ---- The nearest name, for a layer that does not exist ---- */

typedef struct {
    const char *wanted;
    char name[128];
    int distance;
} nearest_name;

/* Levenshtein distance over the first 127 characters, one row at a time. */
static int name_distance(const char *a, const char *b)
{
    int row[128], n = (int)strlen(b);
    n = n < 127 ? n : 127;
    for (int j = 0; j <= n; j++)
        row[j] = j;
    for (int i = 1; i < 128 && a[i - 1]; i++) {
        int diagonal = row[0];
        row[0] = i;
        for (int j = 1; j <= n; j++) {
            int best = diagonal + (a[i - 1] != b[j - 1]);
            best = row[j] + 1 < best ? row[j] + 1 : best;
            best = row[j - 1] + 1 < best ? row[j - 1] + 1 : best;
            diagonal = row[j];
            row[j] = best;
        }
    }
    return row[n];
}

static void consider_name(const char *name, const mcs_tensor *x, void *arg)
{
    nearest_name *n = arg;
    (void)x;
    int d = name_distance(n->wanted, name);
    if (strlen(name) >= sizeof n->name || (n->name[0] && d >= n->distance))
        return;
    strcpy(n->name, name);
    n->distance = d;
}

static void fail_no_layer(mcs_ctx *c, const mcs_cam_model *m, const mcs_tensor *image)
{
    nearest_name n = { .wanted = m->layer };
    bool grad = mcs_set_grad(c, false);
    mcs_trace(c, consider_name, &n);
    m->features(c, image, m->arg);
    mcs_trace(c, NULL, NULL);
    mcs_set_grad(c, grad);
    if (n.name[0])
        mcs_fail(c, MCS_ENOTFOUND, "cam: the model has no layer '%s'; the nearest is '%s'",
                 m->layer, n.name);
    else
        mcs_fail(c, MCS_ENOTFOUND, "cam: the model has no layer '%s'", m->layer);
}

/* ---- Forward ---- */

/* The shape of the layer: fills channels, grid and cells. */
static bool layer_shape(mcs_cam *cam)
{
    const mcs_tensor *x = cam->layer;
    mcs_cam_model *m = &cam->model;
    char shape[80];
    if (m->grid_h == 0 && m->grid_w == 0 && x->ndim == 4 && x->shape[0] == 1) {
        cam->channels = x->shape[1];
        m->grid_h = (int)x->shape[2];
        m->grid_w = (int)x->shape[3];
        m->skip = 0;
    } else if (m->grid_h > 0 && m->grid_w > 0 && m->skip >= 0 && x->ndim == 3 && x->shape[0] == 1 &&
               x->shape[1] == m->skip + (int64_t)m->grid_h * m->grid_w) {
        cam->channels = x->shape[2];
    } else {
        mcs_fail(cam->c, MCS_ESHAPE,
                 "cam: layer '%s' gives %s, expected (1, %d + %d*%d, C), or (1,C,h,w) with grid 0",
                 m->layer, mcs_shape_str(x, shape, sizeof shape), m->skip, m->grid_h, m->grid_w);
        return false;
    }
    cam->cells = (int64_t)m->grid_h * m->grid_w;
    return true;
}

void mcs_cam_to_grid(const mcs_cam *cam, const float *x, float *out)
{
    int64_t channels = cam->channels, cells = cam->cells;
    if (cam->layer->ndim == 4) {
        memcpy(out, x, (size_t)(channels * cells) * sizeof *out);
        return;
    }
    x += cam->model.skip * channels;
    for (int64_t i = 0; i < cells; i++)
        for (int64_t k = 0; k < channels; k++)
            out[k * cells + i] = x[i * channels + k];
}

static bool activations(mcs_cam *cam)
{
    int64_t n = cam->channels * cam->cells;
    cam->a = mcs_alloc(cam->c, (size_t)n * sizeof *cam->a);
    if (!cam->a)
        return false;
    mcs_cam_to_grid(cam, mcs_f32(cam->layer), cam->a);
    for (int64_t i = 0; i < n; i++)
        if (!isfinite(cam->a[i])) {
            mcs_fail(cam->c, MCS_ENUMERIC, "cam: the output of layer '%s' has NaN or infinity",
                     cam->model.layer);
            return false;
        }
    return true;
}

/* Forward with the layer watched and everything after it on the tape. */
static bool forward(mcs_cam *cam)
{
    mcs_ctx *c = cam->c;
    mcs_hook_clear(c);
    if (mcs_watch(c, cam->model.layer) != MCS_OK)
        return false;
    bool grad = mcs_set_grad(c, true);
    cam->feature = cam->model.features(c, cam->image, cam->model.arg);
    mcs_set_grad(c, grad);
    cam->layer = cam->feature ? mcs_watched(c, cam->model.layer) : NULL;
    mcs_hook_clear(c); /* the masked pictures must not be watched */
    if (!cam->feature)
        return false;
    if (!cam->layer) {
        fail_no_layer(c, &cam->model, cam->image);
        return false;
    }
    if (cam->feature->ndim != 2 || cam->feature->shape[0] != 1) {
        char shape[80];
        mcs_fail(c, MCS_ESHAPE, "cam: features of one picture are %s, expected (1,D)",
                 mcs_shape_str(cam->feature, shape, sizeof shape));
        return false;
    }
    if (!cam->feature->node) {
        mcs_fail(c, MCS_EINVAL, "cam: the features do not depend on layer '%s'", cam->model.layer);
        return false;
    }
    return layer_shape(cam) && activations(cam);
}

mcs_cam *mcs_cam_new(mcs_ctx *c, const mcs_cam_model *m, const mcs_tensor *image)
{
    char shape[80];
    if (!mcs_ok_dim(c, "cam", image, 4))
        return NULL;
    if (image->shape[0] != 1) {
        mcs_fail(c, MCS_ESHAPE, "cam: image is %s, expected (1,3,H,W)",
                 mcs_shape_str(image, shape, sizeof shape));
        return NULL;
    }
    mcs_cam *cam = mcs_alloc(c, sizeof *cam);
    if (!cam)
        return NULL;
    *cam = (mcs_cam){ .c = c, .model = *m, .image = mcs_detach(c, image) };
    return forward(cam) ? cam : NULL;
}

int64_t mcs_cam_channels(const mcs_cam *cam)
{
    return cam->channels;
}

const mcs_tensor *mcs_cam_feature(const mcs_cam *cam)
{
    return cam->feature;
}

/* ---- What every map needs ---- */

bool mcs_cam_check(mcs_cam *cam, const mcs_tensor *text, const mcs_cam_opts *o, mcs_cam_opts *out)
{
    char shape[80];
    if (!cam || !mcs_ok_dim(cam->c, "cam: text", text, 2))
        return false;
    *out = o ? *o : (mcs_cam_opts){ 0 };
    if (text->shape[0] < 1 || text->shape[1] != cam->feature->shape[1]) {
        mcs_fail(cam->c, MCS_ESHAPE, "cam: text is %s, expected (P,%lld)",
                 mcs_shape_str(text, shape, sizeof shape), (long long)cam->feature->shape[1]);
        return false;
    }
    if (out->top_k < 0 || out->batch < 0 || !isfinite(out->scale) ||
        out->at > MCS_CAM_AT_OFFICIAL) {
        mcs_fail(cam->c, MCS_EINVAL, "cam: top_k %d, batch %d, scale %g, at %d: out of range",
                 out->top_k, out->batch, (double)out->scale, (int)out->at);
        return false;
    }
    out->top_k = out->top_k ? out->top_k : 300;
    out->top_k = out->top_k < cam->channels ? out->top_k : (int)cam->channels;
    out->batch = out->batch ? out->batch : 8;
    out->scale = out->scale != 0 ? out->scale : 100;
    return true;
}

bool mcs_cam_gradient(mcs_cam *cam, const float *text, mcs_cam_at at, float *out)
{
    mcs_ctx *c = cam->c;
    mcs_tensor *g = mcs_grad(c, cam->layer);
    if (g) /* of the text before: gradients of leaves add up */
        memset(g->data, 0, (size_t)mcs_numel(g) * sizeof(float));
    mcs_tensor *dy = mcs_from(c, MCS_F32, 2, cam->feature->shape, text);
    if (!dy || mcs_backward(c, cam->feature, dy) != MCS_OK)
        return false;
    g = mcs_grad(c, cam->layer);
    if (!g) {
        mcs_fail(c, MCS_EINVAL, "cam: the features do not depend on layer '%s'", cam->model.layer);
        return false;
    }
    bool patches = at != MCS_CAM_AT_CLS || cam->model.skip == 0;
    if (patches)
        mcs_cam_to_grid(cam, mcs_f32(g), out);
    bool finite = true;
    for (int64_t k = 0; k < cam->channels; k++)
        for (int64_t i = 0; i < cam->cells; i++) {
            float *v = &out[k * cam->cells + i];
            *v = patches ? *v : mcs_f32(g)[k];
            finite &= isfinite(*v) != 0;
        }
    if (!finite)
        mcs_fail(c, MCS_ENUMERIC, "cam: the gradient at layer '%s' has NaN or infinity",
                 cam->model.layer);
    return finite;
}

float mcs_cam_scale(float *map, int64_t n)
{
    float low = INFINITY, peak = 0;
    for (int64_t i = 0; i < n; i++) {
        map[i] = map[i] > 0 ? map[i] : 0;
        low = map[i] < low ? map[i] : low;
        peak = map[i] > peak ? map[i] : peak;
    }
    float by = 1e-8f + (peak - low);
    for (int64_t i = 0; i < n; i++)
        map[i] = (map[i] - low) / by;
    return peak;
}

float mcs_cam_combine(const mcs_cam *cam, const double *weight, float *out)
{
    for (int64_t i = 0; i < cam->cells; i++) {
        double sum = 0;
        for (int64_t k = 0; k < cam->channels; k++)
            sum += weight[k] * (double)cam->a[k * cam->cells + i];
        out[i] = (float)sum;
    }
    return mcs_cam_scale(out, cam->cells);
}

void mcs_cam_enlarge(const float *map, int gw, int gh, float *out, int w, int h)
{
    mcs_map_resize(map, gw, gh, out, w, h);
    mcs_cam_scale(out, (int64_t)w * h);
}
