/* unet_predict.c - whole pictures through UNets (see unet_predict.h).
 *
 * Sliding: squares begin at equal distances of at most side (1 - overlap), the first at 0 and the
 * last flush with the far border; a picture smaller than the square lies in its corner, zeros
 * around it, as training has it.  prob = sum_w g_w p_w / sum_w g_w at every pixel. */
#include "models/unet_predict.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "image/augment.h"

mcs_image *mcs_unet_picture(const mcs_image *im, int channels, mcs_error *e)
{
    return channels == 1 ? mcs_image_to_grey(im, e) : mcs_image_to_rgb(im, e);
}

int mcs_unet_planes(const mcs_unet_config *cfg)
{
    return cfg->classes;
}

/* ---- One square ---- */

static void mirror(float *x, int64_t rows, int side)
{
    for (int64_t r = 0; r < rows; r++)
        for (int i = 0; i < side / 2; i++) {
            float *line = x + r * side, keep = line[i];
            line[i] = line[side - 1 - i];
            line[side - 1 - i] = keep;
        }
}

/* Adds the probabilities of a square (1,C,S,S) to out (planes,S,S), `share` of them. */
static mcs_status add_square(mcs_ctx *c, const mcs_unet *m, mcs_tensor *x, bool mirrored,
                             float share, float *out)
{
    mcs_scope scope = mcs_scope_begin(c);
    int side = (int)mcs_dim(x, 3), planes = mcs_unet_planes(mcs_unet_get_config(m));
    int64_t n = (int64_t)side * side;
    mcs_tensor *y = mcs_unet_forward(c, m, x);
    const mcs_tensor *p = NULL;
    if (planes == 1)
        p = mcs_sigmoid(c, y);
    else
        p = mcs_transpose(
            c,
            mcs_softmax(c, mcs_transpose(c, mcs_reshape(c, y, 3, MCS_SHAPE(1, planes, n)), 1, 2)),
            1, 2);
    if (p && mirrored)
        mirror(mcs_f32(p), (int64_t)planes * side, side);
    for (int64_t i = 0; p && i < planes * n; i++)
        out[i] += share * mcs_f32(p)[i];
    mcs_scope_end(c, scope, NULL);
    return mcs_ctx_status(c);
}

/* Mean over nets (and mirrors) of the probabilities of a square given as planes in [0,1]. */
static mcs_status one_square(mcs_ctx *c, const mcs_unet *const *nets, int count, mcs_tensor *x,
                             bool flips, float *out)
{
    int side = (int)mcs_dim(x, 3), planes = mcs_unet_planes(mcs_unet_get_config(nets[0]));
    float share = 1.0f / (float)(count * (flips ? 2 : 1));
    mcs_status s = MCS_OK;
    memset(out, 0, (size_t)planes * (size_t)side * (size_t)side * sizeof *out);
    for (int64_t i = 0; i < mcs_numel(x); i++)
        mcs_f32(x)[i] = (mcs_f32(x)[i] - MCS_UNET_MEAN) / MCS_UNET_STD;
    for (int pass = 0; pass < (flips ? 2 : 1); pass++) {
        if (pass)
            mirror(mcs_f32(x), mcs_dim(x, 1) * side, side);
        for (int k = 0; k < count && s == MCS_OK; k++)
            s = add_square(c, nets[k], x, pass, share, out);
    }
    return s;
}

/* ---- Whole pictures ---- */

typedef struct {
    mcs_ctx *c;
    const mcs_unet *const *nets;
    int count, planes, channels;
    const mcs_unet_view *v;
    const mcs_image *im; /* 8 bits, `channels` */
    float *prob; /* (planes,height,width) */
    float *square; /* (planes,side,side) */
    mcs_error *e;
} work;

static mcs_status fail(const work *w, mcs_status s)
{
    return mcs_error_set(w->e, s, "%s", mcs_ctx_message(w->c));
}

static mcs_tensor *take(const work *w, const mcs_image *from, mcs_window at)
{
    const mcs_augment_draw as_it_is = mcs_augment_by_lot(&(mcs_augment){ 0 }, 0, 0);
    int side = w->v->side;
    mcs_tensor *x = mcs_new(w->c, 4, MCS_SHAPE(1, w->channels, side, side));
    if (x)
        mcs_augment_picture(from->data, from->width, from->height, w->channels, at, &as_it_is,
                            mcs_f32(x), side);
    return x;
}

static mcs_status by_resizing(const work *w)
{
    int side = w->v->side;
    mcs_image *small = mcs_image_resize(w->im, side, side, MCS_FILTER_BILINEAR, w->e);
    if (!small)
        return w->e->status;
    mcs_tensor *x = take(w, small, (mcs_window){ 0, 0, side, side });
    mcs_image_free(small);
    mcs_status s =
        x ? one_square(w->c, w->nets, w->count, x, w->v->flips, w->square) : mcs_ctx_status(w->c);
    if (s != MCS_OK)
        return fail(w, s);
    for (int k = 0; k < w->planes; k++)
        mcs_map_resize(w->square + (size_t)k * (size_t)side * (size_t)side, side, side,
                       w->prob + (size_t)k * (size_t)w->im->width * (size_t)w->im->height,
                       w->im->width, w->im->height);
    return MCS_OK;
}

/* How many squares along a length, and where the i-th of them begins. */
static int squares(int length, const mcs_unet_view *v)
{
    double step = fmax(1, floor(v->side * (1 - (double)v->overlap)));
    return length <= v->side ? 1 : (int)ceil((length - v->side) / step) + 1;
}

static int begin_of(int length, int side, int i, int count)
{
    return count < 2 ? 0 : (int)floor((double)(length - side) * i / (count - 1) + 0.5);
}

static void add_weighted(const work *w, int x0, int y0, const float *bell, float *sum)
{
    int side = w->v->side, width = w->im->width, height = w->im->height;
    for (int y = 0; y < side && y0 + y < height; y++)
        for (int x = 0; x < side && x0 + x < width; x++) {
            size_t at = (size_t)(y0 + y) * (size_t)width + (size_t)(x0 + x);
            float g = bell[x] * bell[y];
            sum[at] += g;
            for (int k = 0; k < w->planes; k++)
                w->prob[(size_t)k * (size_t)width * (size_t)height + at] +=
                    g *
                    w->square[((size_t)k * (size_t)side + (size_t)y) * (size_t)side + (size_t)x];
        }
}

static mcs_status by_sliding(const work *w, float *bell, float *sum)
{
    int side = w->v->side, width = w->im->width, height = w->im->height;
    size_t n = (size_t)width * (size_t)height;
    int across = squares(width, w->v), down = squares(height, w->v);
    for (int i = 0; i < side; i++) {
        double d = (i + 0.5 - side / 2.0) / (side / 8.0);
        bell[i] = (float)fmax(exp(-d * d / 2), 1e-3);
    }
    memset(sum, 0, n * sizeof *sum);
    memset(w->prob, 0, (size_t)w->planes * n * sizeof *w->prob);
    for (int j = 0; j < down; j++)
        for (int i = 0; i < across; i++) {
            int x0 = begin_of(width, side, i, across), y0 = begin_of(height, side, j, down);
            mcs_ctx_reset(w->c);
            mcs_tensor *x = take(w, w->im, (mcs_window){ x0, y0, side, side });
            mcs_status s = x ? one_square(w->c, w->nets, w->count, x, w->v->flips, w->square)
                             : mcs_ctx_status(w->c);
            if (s != MCS_OK)
                return fail(w, s);
            add_weighted(w, x0, y0, bell, sum);
        }
    for (int k = 0; k < w->planes; k++)
        for (size_t i = 0; i < n; i++)
            w->prob[(size_t)k * n + i] /= sum[i];
    return MCS_OK;
}

static mcs_status check(const mcs_unet *const *nets, int count, const mcs_unet_view *v,
                        mcs_error *e)
{
    if (count < 1 || !nets[0])
        return mcs_error_set(e, MCS_EINVAL, "unet: no net is given");
    const mcs_unet_config *first = mcs_unet_get_config(nets[0]);
    for (int i = 1; i < count; i++) {
        const mcs_unet_config *cfg = mcs_unet_get_config(nets[i]);
        if (cfg->classes != first->classes || cfg->in_channels != first->in_channels)
            return mcs_error_set(
                e, MCS_EINVAL, "unet: net %d has %d classes and %d channels, the first %d and %d",
                i + 1, cfg->classes, cfg->in_channels, first->classes, first->in_channels);
    }
    if (first->in_channels != 1 && first->in_channels != 3)
        return mcs_error_set(e, MCS_EINVAL, "unet: pictures have 1 or 3 channels, the net wants %d",
                             first->in_channels);
    if (v->side < 1 || v->side > MCS_IMAGE_MAX_SIDE || !(v->overlap >= 0) || !(v->overlap < 1))
        return mcs_error_set(e, MCS_EINVAL, "unet: side %d, overlap %g; 0 <= overlap < 1 is needed",
                             v->side, (double)v->overlap);
    return MCS_OK;
}

mcs_status mcs_unet_predict(mcs_ctx *c, const mcs_unet *const *nets, int count, const mcs_image *im,
                            const mcs_unet_view *v, float *prob, mcs_error *e)
{
    mcs_status s = check(nets, count, v, e);
    if (s != MCS_OK)
        return s;
    const mcs_unet_config *cfg = mcs_unet_get_config(nets[0]);
    mcs_image *eight = mcs_unet_picture(im, cfg->in_channels, e);
    size_t side = (size_t)v->side, n = eight ? (size_t)im->width * (size_t)im->height : 0;
    work w = { .c = c,
               .nets = nets,
               .count = count,
               .planes = mcs_unet_planes(cfg),
               .channels = cfg->in_channels,
               .v = v,
               .im = eight,
               .prob = prob,
               .e = e };
    bool slide = v->kind == MCS_UNET_SLIDING;
    float *bell = slide ? malloc(side * sizeof *bell) : NULL;
    float *sum = slide ? malloc(n * sizeof *sum + 1) : NULL;
    w.square = malloc((size_t)w.planes * side * side * sizeof *w.square);
    mcs_ctx_reset(c);
    if (!eight)
        s = e->status;
    else if (!w.square || (slide && (!bell || !sum)))
        s = mcs_error_set(e, MCS_ENOMEM, "unet: out of memory for a picture of %d x %d", im->width,
                          im->height);
    else
        s = slide ? by_sliding(&w, bell, sum) : by_resizing(&w);
    free(w.square);
    free(bell);
    free(sum);
    mcs_image_free(eight);
    return s;
}

/* ---- What follows from probabilities ---- */

void mcs_unet_labels(const float *prob, int planes, int64_t n, float threshold, uint8_t *labels)
{
    for (int64_t i = 0; i < n; i++) {
        int best = 0;
        for (int k = 1; k < planes; k++)
            if (prob[k * n + i] > prob[best * n + i])
                best = k;
        labels[i] = planes == 1 ? prob[i] > threshold : (uint8_t)best;
    }
}

static double surprise(double p)
{
    return p > 0 ? -p * log2(p) : 0;
}

void mcs_unet_entropy(const float *prob, int planes, int64_t n, float *out)
{
    for (int64_t i = 0; i < n; i++) {
        double sum = planes == 1 ? surprise(1 - (double)prob[i]) : 0;
        for (int k = 0; k < planes; k++)
            sum += surprise((double)prob[k * n + i]);
        out[i] = (float)fmin(1, fmax(0, planes > 2 ? sum / log2(planes) : sum));
    }
}
