/* m2ib.c - the multi-modal information bottleneck (Wang, Rudner, Wilson: Visual Explanations of
 * Image-Text Representations via Multi-Modal Information Bottleneck Attribution, NeurIPS 2023), as
 * the second version of MedCLIP-SAM applies it to the image tower.
 *
 * Noise replaces what the text does not need of a layer's output x, element by element:
 *   t = l x + (1 - l) e,  e ~ N(0,1),  l = sigmoid(a),  a = 5 at first
 *   KL = -(1 + ln v - l^2 x^2 - v) / 2,  v = (1 - l)^2      what t tells of x, against N(0,1)
 *   loss = beta mean KL - mean over the samples of <f(t), text>
 * Adam moves a; the map is the KL of the last forward pass, summed over the channels.  Gradients:
 *   dloss/da = l (1-l) sum over samples of dloss/dt (x - e)
 *            + beta / n (l + l^2 (1-l) x^2 - l (1-l)^2)
 * 1 - l is sigmoid(-a) and ln v is -2 softplus(a), so that nothing cancels where a is large.
 *
 * The layers before x run on one picture: the hook returns all samples, which are the batch from
 * there on.  Where something bypasses x (a residual around norm1) the batches then differ, and the
 * picture is given `samples` times.  Each step has its tape in a context of its own, forgotten
 * before the next. */
#include <math.h>
#include <string.h>
#include "cam/cam_internal.h"
#include "tensor/op.h"

typedef struct {
    mcs_cam *cam;
    mcs_m2ib_opts o;
    mcs_ctx *c; /* of the step */
    const mcs_tensor *image; /* one, or all alike */
    int64_t n; /* elements of the layer's output */
    const float *x; /* (n) */
    float *a, *first, *second; /* (n): parameter, Adam's moments */
    float *capacity; /* (n): KL */
    const float *noise; /* (samples, n) of the step */
    const float *dt; /* (samples, n) */
    mcs_tensor *t; /* (samples, ...), leaf */
    int step;
} bottleneck;

mcs_m2ib_opts mcs_m2ib_defaults(void)
{
    return (mcs_m2ib_opts){ .beta = 0.1f, .lr = 1, .steps = 10, .samples = 10 };
}

/* ---- Noise: a function of seed, step and place ---- */

typedef struct {
    float *out;
    uint64_t key[2];
    int64_t n;
} noise_args;

/* Box and Muller: four normal numbers of four uniform ones. */
static void noise_range(void *arg, int64_t begin, int64_t end)
{
    const noise_args *p = arg;
    for (int64_t i = begin; i < end; i++) {
        uint32_t u[4];
        mcs_philox(p->key, (uint64_t)i, u);
        for (int k = 0; k < 4 && 4 * i + k < p->n; k++) {
            float r = sqrtf(-2 * logf(((float)(u[k & 2] >> 8) + 0.5f) * 0x1p-24f));
            float angle = 6.2831853f * (float)(u[(k & 2) + 1] >> 8) * 0x1p-24f;
            p->out[4 * i + k] = r * (k & 1 ? sinf(angle) : cosf(angle));
        }
    }
}

static bool draw(bottleneck *b)
{
    int64_t n = b->n * b->o.samples;
    if (b->o.noise) {
        b->noise = b->o.noise + b->step * n;
        return true;
    }
    float *e = mcs_alloc(b->c, (size_t)n * sizeof *e);
    noise_args p = { e, { b->o.seed, 0x6d32696200000000u + (uint64_t)b->step }, n };
    if (e)
        mcs_parallel_for(b->c, (n + 3) / 4, mcs_grain(100), noise_range, &p);
    b->noise = e;
    return e != NULL;
}

/* ---- The bottleneck ---- */

static void squeeze_range(void *arg, int64_t begin, int64_t end)
{
    const bottleneck *b = arg;
    for (int64_t i = begin; i < end; i++) {
        float a = b->a[i], x = b->x[i];
        float l = 1 / (1 + expf(-a)), rest = 1 / (1 + expf(a)), mean = l * x;
        float log_v = -2 * (fmaxf(a, 0) + log1pf(expf(-fabsf(a))));
        b->capacity[i] = -0.5f * (1 + log_v - mean * mean - rest * rest);
        for (int64_t s = 0; s < b->o.samples; s++)
            mcs_f32(b->t)[s * b->n + i] = mean + rest * b->noise[s * b->n + i];
    }
}

static mcs_tensor *squeeze(mcs_ctx *c, const char *name, mcs_tensor *x, void *arg)
{
    bottleneck *b = arg;
    int64_t shape[MCS_MAX_DIM];
    if (mcs_numel(x) != b->n * b->image->shape[0] || b->t)
        return mcs_fail(c, MCS_ESHAPE, "m2ib: layer '%s' is passed twice, or in another shape",
                        name);
    memcpy(shape, x->shape, sizeof shape);
    shape[0] = b->o.samples;
    b->t = mcs_new(c, x->ndim, shape);
    if (b->t)
        mcs_parallel_for(c, b->n, mcs_grain(40 + 2 * b->o.samples), squeeze_range, b);
    return b->t ? b->t = mcs_leaf(c, b->t) : NULL;
}

static void adam_range(void *arg, int64_t begin, int64_t end)
{
    const bottleneck *b = arg;
    double t = b->step + 1;
    float fix1 = (float)(1 - pow(0.9, t)), fix2 = (float)sqrt(1 - pow(0.999, t));
    float weight = b->o.beta / (float)b->n;
    for (int64_t i = begin; i < end; i++) {
        float a = b->a[i], x = b->x[i], dl = 0;
        float l = 1 / (1 + expf(-a)), rest = 1 / (1 + expf(a));
        for (int64_t s = 0; s < b->o.samples; s++)
            dl += b->dt[s * b->n + i] * (x - b->noise[s * b->n + i]);
        float g = l * rest * dl + weight * (l + l * l * rest * x * x - l * rest * rest);
        b->first[i] = 0.9f * b->first[i] + 0.1f * g;
        b->second[i] = 0.999f * b->second[i] + 0.001f * g * g;
        b->a[i] -= b->o.lr / fix1 * b->first[i] / (sqrtf(b->second[i]) / fix2 + 1e-8f);
    }
}

/* d(-mean <f, text>)/df in every row. */
static mcs_tensor *fit_gradient(bottleneck *b, const mcs_tensor *f, const float *text)
{
    mcs_tensor *dy = mcs_new_like(b->c, f);
    int64_t width = dy ? f->shape[1] : 0;
    for (int64_t i = 0; i < width * b->o.samples; i++)
        mcs_f32(dy)[i] = -text[i % width] / (float)b->o.samples;
    return dy;
}

static mcs_tensor *forward(bottleneck *b)
{
    const mcs_cam_model *m = &b->cam->model;
    mcs_ctx_reset(b->c);
    b->t = NULL;
    return draw(b) ? m->features(b->c, b->image, m->arg) : NULL;
}

static bool repeat_image(bottleneck *b)
{
    int64_t shape[MCS_MAX_DIM];
    memcpy(shape, b->image->shape, sizeof shape);
    shape[0] = b->o.samples;
    const mcs_tensor *all = mcs_expand(b->cam->c, b->image, 4, shape);
    b->image = all ? all : b->image;
    return all != NULL;
}

static bool one_step(bottleneck *b, const float *text)
{
    char shape[80];
    const mcs_cam_model *m = &b->cam->model;
    mcs_tensor *f = forward(b);
    if (!f && mcs_ctx_status(b->c) == MCS_ESHAPE && b->image->shape[0] == 1 && repeat_image(b))
        f = forward(b);
    if (!f)
        return false;
    if (f->ndim != 2 || f->shape[0] != b->o.samples) {
        mcs_fail(b->c, MCS_ESHAPE,
                 "m2ib: %d samples of layer '%s' give features %s: the layers after it must take "
                 "the number of pictures from what they are given",
                 b->o.samples, m->layer, mcs_shape_str(f, shape, sizeof shape));
        return false;
    }
    mcs_tensor *dy = fit_gradient(b, f, text);
    if (!dy || mcs_backward(b->c, f, dy) != MCS_OK)
        return false;
    const mcs_tensor *g = mcs_grad(b->c, b->t);
    if (!g) {
        mcs_fail(b->c, MCS_EINVAL, "m2ib: the features do not depend on layer '%s'", m->layer);
        return false;
    }
    b->dt = mcs_f32(g);
    mcs_parallel_for(b->c, b->n, mcs_grain(60 + 2 * b->o.samples), adam_range, b);
    return true;
}

/* The map of one text: capacity per cell, not scaled. */
static bool one_text(bottleneck *b, const float *text, float *on_grid, float *map)
{
    const mcs_cam *cam = b->cam;
    for (int64_t i = 0; i < b->n; i++) {
        b->a[i] = 5;
        b->first[i] = b->second[i] = 0;
    }
    for (b->step = 0; b->step < b->o.steps; b->step++)
        if (!one_step(b, text))
            return false;
    bool finite = true;
    mcs_cam_to_grid(cam, b->capacity, on_grid);
    for (int64_t i = 0; i < cam->cells; i++) {
        double sum = 0;
        for (int64_t k = 0; k < cam->channels; k++)
            sum += (double)on_grid[k * cam->cells + i];
        map[i] = (float)sum;
        finite &= isfinite(sum) != 0;
    }
    if (!finite)
        mcs_fail(b->c, MCS_ENUMERIC, "m2ib: NaN or infinity after layer '%s'", cam->model.layer);
    return finite;
}

/* ---- All texts ---- */

static bool options_fit(mcs_ctx *c, const mcs_m2ib_opts *o)
{
    if (o->beta >= 0 && o->beta <= 1e6f && o->lr > 0 && o->lr <= 100 && o->steps >= 1 &&
        o->steps <= 10000 && o->samples >= 1 && o->samples <= 1000)
        return true;
    mcs_fail(c, MCS_EINVAL,
             "m2ib: beta %g, lr %g, steps %d, samples %d; expected 0..1e6, above 0 to 100, "
             "1..10000, 1..1000",
             (double)o->beta, (double)o->lr, o->steps, o->samples);
    return false;
}

static bool allocate(bottleneck *b, mcs_ctx *c)
{
    b->image = b->cam->image;
    b->n = mcs_numel(b->cam->layer);
    b->x = mcs_f32(b->cam->layer);
    b->a = mcs_alloc(c, 4 * (size_t)b->n * sizeof *b->a);
    if (!b->a)
        return false;
    b->first = b->a + b->n;
    b->second = b->first + b->n;
    b->capacity = b->second + b->n;
    b->c = mcs_ctx_new_like(c);
    if (!b->c) {
        mcs_fail(c, MCS_ENOMEM, "m2ib: out of memory for a context");
        return false;
    }
    mcs_set_grad(b->c, true);
    return mcs_hook_add(b->c, b->cam->model.layer, squeeze, b) == MCS_OK;
}

static bool all_texts(bottleneck *b, const mcs_tensor *text, float *on_grid, mcs_tensor *maps,
                      float *peak)
{
    int64_t cells = b->cam->cells;
    for (int64_t p = 0; p < text->shape[0]; p++) {
        float *map = mcs_f32(maps) + p * cells;
        if (!one_text(b, mcs_f32(text) + p * text->shape[1], on_grid, map))
            return false;
        float top = mcs_cam_scale(map, cells);
        if (peak)
            peak[p] = top;
    }
    return true;
}

mcs_tensor *mcs_m2ib(mcs_cam *cam, const mcs_tensor *text, const mcs_m2ib_opts *o, float *peak)
{
    mcs_cam_opts unused;
    bottleneck b = { .cam = cam, .o = o ? *o : mcs_m2ib_defaults() };
    if (!mcs_cam_check(cam, text, NULL, &unused) || !options_fit(cam->c, &b.o))
        return NULL;
    mcs_ctx *c = cam->c;
    const mcs_cam_model *m = &cam->model;
    mcs_tensor *maps = mcs_new(c, 3, MCS_SHAPE(text->shape[0], m->grid_h, m->grid_w));
    float *on_grid = mcs_alloc(c, (size_t)(cam->channels * cam->cells) * sizeof *on_grid);
    bool done = maps && on_grid && allocate(&b, c) && all_texts(&b, text, on_grid, maps, peak);
    if (b.c && !done)
        mcs_fail(c, mcs_ctx_status(b.c), "%s", mcs_ctx_message(b.c));
    mcs_ctx_free(b.c);
    return done ? maps : NULL;
}
