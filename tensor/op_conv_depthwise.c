/* op_conv_depthwise.c - convolution with one input channel per group.
 *
 *   y[f][oy][ox] = b[f] + sum_{ky,kx} w[f][ky][kx] x[f / feat][oy sh + ky - ph][ox sw + kx - pw]
 *   dx[..][oy sh + ky - ph][ox sw + kx - pw] += w[f][ky][kx] dy[f][oy][ox]
 *   dw[f][ky][kx] += sum_{oy,ox} dy[f][oy][ox] x[..][oy sh + ky - ph][ox sw + kx - pw]
 *
 * A product per group would have kh*kw terms, too few to pay for its packing; here a row of
 * output is a sum of kh*kw shifted rows of input, which the first-level cache holds.  Tasks are
 * planes (forward) and input channels (backward, images in order), so sums have one order. */
#include "tensor/conv_internal.h"
#include "tensor/vec.h"

typedef struct {
    const mcs_conv_geom *g;
    const float *x, *w, *bias, *dy;
    float *y, *dx, *dw;
    const mcs_vec *vec;
} depthwise_work;

/* The outputs [ox0, ox1) whose tap kx lies inside the row, and the input of the first one. */
typedef struct {
    int64_t ox0, ox1, ix;
} span;

static span span_of(const mcs_conv_geom *g, int64_t kx)
{
    int64_t before = g->pw - kx, after = g->w + g->pw - kx;
    span s = { before > 0 ? (before + g->sw - 1) / g->sw : 0,
               after > 0 ? (after + g->sw - 1) / g->sw : 0, 0 };
    if (s.ox1 > g->ow)
        s.ox1 = g->ow;
    if (s.ox0 > s.ox1)
        s.ox0 = s.ox1;
    s.ix = s.ox0 * g->sw + kx - g->pw;
    return s;
}

static void add_tap(const depthwise_work *d, float *y, const float *x, float w, span s)
{
    int64_t n = s.ox1 - s.ox0, sw = d->g->sw;
    y += s.ox0;
    x += s.ix;
    if (sw == 1)
        d->vec->axpy(y, w, x, n);
    else
        for (int64_t i = 0; i < n; i++)
            y[i] += w * x[i * sw];
}

/* A 3x3 kernel at n outputs whose windows lie inside the picture: all nine taps in one pass over
 * the three input rows a, b, c.  */
static void nine_taps(float *restrict y, const float *restrict a, const float *restrict b,
                      const float *restrict c, const float *w, float bias, int64_t n)
{
    float w0 = w[0], w1 = w[1], w2 = w[2], w3 = w[3], w4 = w[4];
    float w5 = w[5], w6 = w[6], w7 = w[7], w8 = w[8];
    for (int64_t i = 0; i < n; i++)
        y[i] = bias + ((w0 * a[i] + w1 * a[i + 1] + w2 * a[i + 2]) +
                       (w3 * b[i] + w4 * b[i + 1] + w5 * b[i + 2]) +
                       (w6 * c[i] + w7 * c[i + 1] + w8 * c[i + 2]));
}

/* Three taps at stride 2: nine would not leave registers for sorting even from odd. */
static void three_taps_2(float *restrict y, const float *restrict x, const float *w, int64_t n)
{
    float w0 = w[0], w1 = w[1], w2 = w[2];
    for (int64_t i = 0; i < n; i++)
        y[i] += w0 * x[2 * i] + w1 * x[2 * i + 1] + w2 * x[2 * i + 2];
}

/* One output at the border of the picture. */
static float border_pixel(const mcs_conv_geom *g, const float *x, const float *w, float bias,
                          int64_t oy, int64_t ox)
{
    float sum = bias;
    for (int64_t t = 0; t < g->kh * g->kw; t++) {
        int64_t iy = oy * g->sh + t / g->kw - g->ph, ix = ox * g->sw + t % g->kw - g->pw;
        if (iy >= 0 && iy < g->h && ix >= 0 && ix < g->w)
            sum += w[t] * x[iy * g->w + ix];
    }
    return sum;
}

/* Row oy of a 3x3 kernel of stride 1 or 2 whose three input rows exist. */
static void row_3x3(const mcs_conv_geom *g, const float *x, const float *w, float bias, int64_t oy,
                    float *y)
{
    span first = span_of(g, 0), last = span_of(g, 2);
    int64_t begin = first.ox0, end = last.ox1 > begin ? last.ox1 : begin;
    const float *a = x + (oy * g->sh - g->ph) * g->w + first.ix;
    if (end > begin && g->sw == 1)
        nine_taps(y + begin, a, a + g->w, a + 2 * g->w, w, bias, end - begin);
    if (end > begin && g->sw == 2) {
        for (int64_t ox = begin; ox < end; ox++)
            y[ox] = bias;
        for (int64_t ky = 0; ky < 3; ky++)
            three_taps_2(y + begin, a + ky * g->w, w + 3 * ky, end - begin);
    }
    for (int64_t ox = 0; ox < begin; ox++)
        y[ox] = border_pixel(g, x, w, bias, oy, ox);
    for (int64_t ox = end; ox < g->ow; ox++)
        y[ox] = border_pixel(g, x, w, bias, oy, ox);
}

static void any_row(const depthwise_work *d, const float *x, const float *w, float bias, int64_t oy,
                    float *y)
{
    const mcs_conv_geom *g = d->g;
    for (int64_t ox = 0; ox < g->ow; ox++)
        y[ox] = bias;
    for (int64_t t = 0; t < g->kh * g->kw; t++) {
        int64_t iy = oy * g->sh + t / g->kw - g->ph;
        span s = span_of(g, t % g->kw);
        if (iy >= 0 && iy < g->h && s.ox1 > s.ox0)
            add_tap(d, y, x + iy * g->w, w[t], s);
    }
}

static void forward_planes(void *arg, int64_t begin, int64_t end)
{
    const depthwise_work *d = arg;
    const mcs_conv_geom *g = d->g;
    bool small = g->kh == 3 && g->kw == 3 && g->sw <= 2;
    int64_t features = g->groups * g->feat;
    for (int64_t p = begin; p < end; p++) {
        int64_t f = p % features;
        const float *x = d->x + (p / features * g->groups + f / g->feat) * g->h * g->w;
        const float *w = d->w + f * g->kh * g->kw;
        float bias = d->bias ? d->bias[f] : 0;
        for (int64_t oy = 0; oy < g->oh; oy++) {
            float *y = d->y + (p * g->oh + oy) * g->ow;
            int64_t iy = oy * g->sh - g->ph;
            if (small && iy >= 0 && iy + 3 <= g->h)
                row_3x3(g, x, w, bias, oy, y);
            else
                any_row(d, x, w, bias, oy, y);
        }
    }
}

void mcs_depthwise_forward(mcs_ctx *c, const mcs_conv_geom *g, const float *x, const float *w,
                           const float *bias, float *y)
{
    depthwise_work d = { .g = g, .x = x, .w = w, .bias = bias, .y = y, .vec = mcs_vec_get() };
    mcs_parallel_for(c, g->n * g->groups * g->feat, mcs_grain(mcs_conv_pixels(g) * g->kh * g->kw),
                     forward_planes, &d);
}

static void scatter_tap(const depthwise_work *d, float *dx, const float *dy, float w, span s)
{
    int64_t n = s.ox1 - s.ox0, sw = d->g->sw;
    dx += s.ix;
    dy += s.ox0;
    if (sw == 1)
        d->vec->axpy(dx, w, dy, n);
    else
        for (int64_t i = 0; i < n; i++)
            dx[i * sw] += w * dy[i];
}

static float dot_tap(const depthwise_work *d, const float *x, const float *dy, span s)
{
    int64_t n = s.ox1 - s.ox0, sw = d->g->sw;
    x += s.ix;
    dy += s.ox0;
    if (sw == 1)
        return d->vec->dot(x, dy, n);
    float sum = 0;
    for (int64_t i = 0; i < n; i++)
        sum += x[i * sw] * dy[i];
    return sum;
}

/* One tap of one plane: the rows of dy against the rows of x it was multiplied with. */
static void backward_tap(const depthwise_work *d, int64_t x_plane, int64_t y_plane, int64_t at,
                         int64_t ky, span s)
{
    const mcs_conv_geom *g = d->g;
    float sum = 0;
    for (int64_t oy = 0; oy < g->oh; oy++) {
        int64_t iy = oy * g->sh + ky - g->ph;
        if (iy < 0 || iy >= g->h)
            continue;
        int64_t row = (x_plane * g->h + iy) * g->w;
        const float *dy = d->dy + (y_plane * g->oh + oy) * g->ow;
        if (d->dx)
            scatter_tap(d, d->dx + row, dy, d->w[at], s);
        if (d->dw)
            sum += dot_tap(d, d->x + row, dy, s);
    }
    if (d->dw)
        d->dw[at] += sum;
}

static void backward_channels(void *arg, int64_t begin, int64_t end)
{
    const depthwise_work *d = arg;
    const mcs_conv_geom *g = d->g;
    int64_t features = g->groups * g->feat, taps = g->kh * g->kw;
    for (int64_t f = begin * g->feat; f < end * g->feat; f++)
        for (int64_t i = 0; i < g->n; i++)
            for (int64_t t = 0; t < taps; t++) {
                span s = span_of(g, t % g->kw);
                if (s.ox1 > s.ox0)
                    backward_tap(d, i * g->groups + f / g->feat, i * features + f, f * taps + t,
                                 t / g->kw, s);
            }
}

void mcs_depthwise_backward(mcs_ctx *c, const mcs_conv_geom *g, const float *x, const float *w,
                            const float *dy, float *dx, float *dw)
{
    depthwise_work d = {
        .g = g, .x = x, .w = w, .dy = dy, .dx = dx, .dw = dw, .vec = mcs_vec_get()
    };
    if (dx || dw)
        mcs_parallel_for(c, g->groups, 1, backward_channels, &d);
}
