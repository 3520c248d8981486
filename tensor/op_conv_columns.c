/* op_conv_columns.c - the column matrix of a convolution, in blocks of output pixels.
 *
 * A block holds at most 8 MB whatever the picture: the product with the weights reads it once,
 * so it may as well be small enough to stay near the cores.  Rows of the matrix are filled in
 * parallel; the adjoint is parallel over channels, whose pixels no other channel touches, and
 * adds in one order.  After Chellapilla et al. 2006. */
#include "tensor/conv_internal.h"
#include <string.h>

#define BLOCK_FLOATS (2 * 1024 * 1024)

int64_t mcs_conv_block(const mcs_conv_geom *g)
{
    int64_t pixels = mcs_conv_pixels(g), most = BLOCK_FLOATS / mcs_conv_taps(g);
    if (most < 1)
        most = 1;
    if (pixels <= most)
        return pixels;
    int64_t even = mcs_range_count(pixels, mcs_range_count(pixels, most));
    return even >= 64 ? (even + 15) / 16 * 16 : even;
}

/* One row of the matrix: the tap (ky, kx) of the picture x (h, w). */
typedef struct {
    const mcs_conv_geom *g;
    int64_t ky, kx;
    int64_t ox0, ox1; /* outputs whose tap lies inside the picture, of a whole row */
} tap;

static int64_t ceil_div(int64_t a, int64_t b)
{
    return a > 0 ? (a + b - 1) / b : 0;
}
static int64_t min64(int64_t a, int64_t b)
{
    return a < b ? a : b;
}
static int64_t max64(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

static tap tap_of(const mcs_conv_geom *g, int64_t row)
{
    tap t = { .g = g, .ky = row / g->kw % g->kh, .kx = row % g->kw };
    t.ox0 = ceil_div(g->pw - t.kx, g->sw);
    t.ox1 = min64(g->ow, ceil_div(g->w + g->pw - t.kx, g->sw));
    return t;
}

/* Where the outputs ox .. ox+n of row oy fall: those in [*a, *b) are at x0 + (ox - *a) * sw. */
static int64_t segment(const tap *t, int64_t oy, int64_t ox, int64_t n, int64_t *a, int64_t *b)
{
    int64_t y = oy * t->g->sh + t->ky - t->g->ph;
    *a = max64(ox, t->ox0), *b = min64(ox + n, t->ox1);
    if (y < 0 || y >= t->g->h || *a >= *b) {
        *a = *b = ox;
        return 0;
    }
    return y * t->g->w + *a * t->g->sw + t->kx - t->g->pw;
}

static void gather(float *col, const float *x, int64_t n, int64_t stride)
{
    if (stride == 1)
        memcpy(col, x, (size_t)n * sizeof *col);
    else if (stride == 2)
        for (int64_t i = 0; i < n; i++)
            col[i] = x[2 * i];
    else
        for (int64_t i = 0; i < n; i++)
            col[i] = x[i * stride];
}

static void gather_row(const tap *t, const float *x, int64_t p0, int64_t count, float *col)
{
    int64_t ow = t->g->ow, oy = p0 / ow, ox = p0 % ow;
    while (count > 0) {
        int64_t n = min64(ow - ox, count), a, b;
        int64_t at = segment(t, oy, ox, n, &a, &b);
        memset(col, 0, (size_t)(a - ox) * sizeof *col);
        gather(col + (a - ox), x + at, b - a, t->g->sw);
        memset(col + (b - ox), 0, (size_t)(ox + n - b) * sizeof *col);
        col += n, count -= n, ox = 0, oy++;
    }
}

static void scatter_row(const tap *t, const float *col, int64_t p0, int64_t count, float *x)
{
    int64_t ow = t->g->ow, oy = p0 / ow, ox = p0 % ow, sw = t->g->sw;
    while (count > 0) {
        int64_t n = min64(ow - ox, count), a, b;
        float *to = x + segment(t, oy, ox, n, &a, &b);
        const float *from = col + (a - ox);
        if (sw == 1)
            for (int64_t i = 0; i < b - a; i++)
                to[i] += from[i];
        else
            for (int64_t i = 0; i < b - a; i++)
                to[i * sw] += from[i];
        col += n, count -= n, ox = 0, oy++;
    }
}

typedef struct {
    const mcs_conv_geom *g;
    const float *from;
    float *to;
    int64_t p0, count;
} columns_work;

static void gather_rows(void *arg, int64_t begin, int64_t end)
{
    const columns_work *w = arg;
    int64_t window = w->g->kh * w->g->kw;
    for (int64_t row = begin; row < end; row++) {
        tap t = tap_of(w->g, row);
        gather_row(&t, w->from + row / window * w->g->h * w->g->w, w->p0, w->count,
                   w->to + row * w->count);
    }
}

static void scatter_channels(void *arg, int64_t begin, int64_t end)
{
    const columns_work *w = arg;
    int64_t window = w->g->kh * w->g->kw;
    for (int64_t row = begin * window; row < end * window; row++) {
        tap t = tap_of(w->g, row);
        scatter_row(&t, w->from + row * w->count, w->p0, w->count,
                    w->to + row / window * w->g->h * w->g->w);
    }
}

void mcs_im2col(mcs_ctx *c, const mcs_conv_geom *g, const float *x, int64_t p0, int64_t count,
                float *col)
{
    columns_work w = { g, x, col, p0, count };
    mcs_parallel_for(c, mcs_conv_taps(g), mcs_grain(count), gather_rows, &w);
}

void mcs_col2im(mcs_ctx *c, const mcs_conv_geom *g, const float *col, int64_t p0, int64_t count,
                float *x)
{
    columns_work w = { g, col, x, p0, count };
    mcs_parallel_for(c, g->ch, mcs_grain(count * g->kh * g->kw), scatter_channels, &w);
}
