/* keep_scan.c - the score of the picture with all but a window removed, for every window.
 *
 * The complement of occlusion (Zeiler and Fergus 2014): what a window must show for the text to
 * fit.  No gradients, no layer, and the pictures do not depend on the text.  The soft edge spares
 * the model a contour that is not in the picture. */
#include <math.h>
#include <string.h>
#include "cam/cam_internal.h"
#include "tensor/op.h"

typedef struct {
    const mcs_tensor *image;
    float *out; /* (B,C,H,W) */
    int64_t first; /* window of out's first picture */
    int64_t grid_h, grid_w;
    float radius;
} window_args;

static void window_range(void *arg, int64_t begin, int64_t end)
{
    const window_args *a = arg;
    const int64_t *s = a->image->shape;
    int64_t pixels = s[2] * s[3];
    for (int64_t b = begin; b < end; b++) {
        int64_t cell = a->first + b;
        float cy = ((float)(cell / a->grid_w) + 0.5f) * (float)s[2] / (float)a->grid_h - 0.5f;
        float cx = ((float)(cell % a->grid_w) + 0.5f) * (float)s[3] / (float)a->grid_w - 0.5f;
        for (int64_t i = 0; i < pixels; i++) {
            float dy = (float)(i / s[3]) - cy, dx = (float)(i % s[3]) - cx;
            float keep = 1 / (1 + expf(-8 * (1 - sqrtf(dx * dx + dy * dy) / a->radius)));
            for (int64_t k = 0; k < s[1]; k++)
                a->out[(b * s[1] + k) * pixels + i] = keep * mcs_f32(a->image)[k * pixels + i];
        }
    }
}

/* Adds the scores of windows first..first+n-1 to maps (P, cells). */
static bool scan_chunk(mcs_ctx *c, const mcs_cam_model *m, window_args *a, int64_t n,
                       const mcs_tensor *text, float *maps)
{
    const int64_t *s = a->image->shape;
    int64_t cells = (int64_t)m->grid_h * m->grid_w, width = text->shape[1];
    mcs_scope scope = mcs_scope_begin(c);
    mcs_tensor *x = mcs_new(c, 4, MCS_SHAPE(n, s[1], s[2], s[3]));
    if (x) {
        a->out = mcs_f32(x);
        mcs_parallel_for(c, n, 1, window_range, a);
    }
    const mcs_tensor *f = x ? m->features(c, x, m->arg) : NULL;
    bool ok = f && f->ndim == 2 && f->shape[0] == n && f->shape[1] == width;
    if (f && !ok)
        mcs_fail(c, MCS_ESHAPE, "scan: features of %lld pictures are not (%lld,%lld) as the text",
                 (long long)n, (long long)n, (long long)width);
    for (int64_t p = 0; ok && p < text->shape[0]; p++)
        for (int64_t i = 0; i < n; i++) {
            double score = 0;
            for (int64_t d = 0; d < width; d++)
                score += (double)mcs_f32(f)[i * width + d] * (double)mcs_f32(text)[p * width + d];
            maps[p * cells + a->first + i] += isnan(score) ? 0 : (float)score;
        }
    mcs_scope_end(c, scope, NULL);
    return ok;
}

mcs_tensor *mcs_keep_scan(mcs_ctx *c, const mcs_cam_model *m, const float *radii, int count,
                          int batch, const mcs_tensor *image, const mcs_tensor *text)
{
    if (!mcs_ok_dim(c, "scan: image", image, 4) || !mcs_ok_dim(c, "scan: text", text, 2))
        return NULL;
    bool valid = count > 0 && batch >= 0 && m->grid_h > 0 && m->grid_w > 0 && image->shape[0] == 1;
    for (int i = 0; valid && i < count; i++)
        valid = radii[i] > 0 && isfinite(radii[i]);
    if (!valid)
        return mcs_fail(c, MCS_EINVAL,
                        "scan: %d radii, batch %d, grid %d x %d, %lld pictures: radii "
                        "must be positive, for a grid on one picture",
                        count, batch, m->grid_h, m->grid_w, (long long)image->shape[0]);
    int64_t cells = (int64_t)m->grid_h * m->grid_w, most = batch ? batch : 8;
    mcs_tensor *maps = mcs_zeros(c, 3, MCS_SHAPE(text->shape[0], m->grid_h, m->grid_w));
    bool grad = mcs_set_grad(c, false), ok = maps != NULL;
    for (int r = 0; r < count; r++)
        for (int64_t first = 0; ok && first < cells; first += most) {
            window_args a = { .image = image,
                              .first = first,
                              .grid_h = m->grid_h,
                              .grid_w = m->grid_w,
                              .radius = radii[r] };
            int64_t n = cells - first < most ? cells - first : most;
            ok = scan_chunk(c, m, &a, n, text, mcs_f32(maps));
        }
    mcs_set_grad(c, grad);
    for (int64_t p = 0; ok && p < text->shape[0]; p++) {
        float *map = mcs_f32(maps) + p * cells, low = INFINITY;
        for (int64_t i = 0; i < cells; i++)
            low = map[i] < low ? map[i] : low;
        for (int64_t i = 0; i < cells; i++)
            map[i] -= low; /* a score's zero means nothing: only differences count */
        mcs_cam_scale(map, cells);
    }
    return ok ? maps : NULL;
}
