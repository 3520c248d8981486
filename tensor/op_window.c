/* op_window.c - windows of a token grid (window attention of ViTDet/SAM, Swin, TinyViT).
 *
 * partition:  y[(b*nh + i)*nw + j, r*s + q, :] = x[b, i*s + r, j*s + q, :]   inside the grid,
 *                                               fill[:]                      outside
 * merge:      the inverse, reading inside cells only.
 * backward of either is the other one's copy, added; d(fill) is the sum over outside cells.
 *
 * PyTorch pads, permutes and copies (three passes over memory); here each run of up to s tokens
 * of a row, contiguous on both sides, is moved once.  `fill` exists so that a projection can be
 * done before the partition, on the true tokens only: a padding token p projects to W p + b,
 * the same row everywhere.  Must agree with segment_anything's window_partition and
 * window_unpartition (image_encoder.py) followed or preceded by that projection. */
#include <string.h>
#include "tensor/op.h"

typedef struct {
    int64_t h, w, channels, side, nh, nw;
} win_geometry;

typedef struct {
    win_geometry g;
    float *grid, *windows;
    const float *fill; /* for the forward partition; NULL: zeros */
    bool to_windows, add;
} win_args;

/* One run of cells of a window row: move, add or fill. */
static void win_run(const win_args *a, float *win, float *cells, int64_t inside)
{
    int64_t c = a->g.channels, n = inside * c;
    float *dst = a->to_windows ? win : cells;
    const float *src = a->to_windows ? cells : win;
    if (a->add) {
        for (int64_t i = 0; i < n; i++)
            dst[i] += src[i];
    } else if (n > 0) {
        memcpy(dst, src, (size_t)n * sizeof(float));
    }
    if (!a->to_windows || a->add)
        return;
    for (int64_t q = inside; q < a->g.side; q++) {
        if (a->fill)
            memcpy(win + q * c, a->fill, (size_t)c * sizeof(float));
        else
            memset(win + q * c, 0, (size_t)c * sizeof(float));
    }
}

/* Items are window rows: ((b*nh + i)*nw + j)*s + r. */
static void win_range(void *arg, int64_t begin, int64_t end)
{
    const win_args *a = arg;
    const win_geometry *g = &a->g;
    for (int64_t item = begin; item < end; item++) {
        int64_t r = item % g->side, win = item / g->side;
        int64_t j = win % g->nw, i = win / g->nw % g->nh, b = win / (g->nw * g->nh);
        int64_t y = i * g->side + r, x = j * g->side;
        int64_t inside = y >= g->h ? 0 : g->w - x < g->side ? g->w - x : g->side;
        float *cells = inside ? a->grid + ((b * g->h + y) * g->w + x) * g->channels : NULL;
        win_run(a, a->windows + item * g->side * g->channels, cells, inside);
    }
}

static void win_move(mcs_ctx *c, const win_args *a, int64_t batch)
{
    int64_t rows = batch * a->g.nh * a->g.nw * a->g.side;
    win_args copy = *a;
    mcs_parallel_for(c, rows, mcs_grain(a->g.side * a->g.channels), win_range, &copy);
}

/* d(fill) = sum of the gradient over the cells outside the grid.  Serial: they are few. */
static void win_fill_grad(const win_geometry *g, int64_t batch, const float *dy, float *dfill)
{
    for (int64_t item = 0; item < batch * g->nh * g->nw * g->side; item++) {
        int64_t r = item % g->side, win = item / g->side;
        int64_t y = win / g->nw % g->nh * g->side + r, x = win % g->nw * g->side;
        for (int64_t q = 0; q < g->side; q++) {
            if (y < g->h && x + q < g->w)
                continue;
            const float *row = dy + (item * g->side + q) * g->channels;
            for (int64_t k = 0; k < g->channels; k++)
                dfill[k] += row[k];
        }
    }
}

static void partition_backward(mcs_ctx *c, mcs_node *n)
{
    const win_geometry *g = n->saved;
    int64_t batch = n->in[0]->shape[0];
    float *dx = mcs_grad_buf(c, n->in[0]);
    if (dx) {
        win_args a = { .g = *g, .grid = dx, .windows = n->grad, .add = true };
        win_move(c, &a, batch);
    }
    float *dfill = n->in_count > 1 ? mcs_grad_buf(c, n->in[1]) : NULL;
    if (dfill)
        win_fill_grad(g, batch, n->grad, dfill);
}

static void merge_backward(mcs_ctx *c, mcs_node *n)
{
    float *dx = mcs_grad_buf(c, n->in[0]);
    if (!dx)
        return;
    win_args a = { .g = *(const win_geometry *)n->saved,
                   .grid = n->grad,
                   .windows = dx,
                   .to_windows = true,
                   .add = true };
    win_move(c, &a, n->out->shape[0]);
}

static const mcs_op op_partition = { "window_partition", partition_backward };
static const mcs_op op_merge = { "window_merge", merge_backward };

static win_geometry win_shape(int64_t h, int64_t w, int64_t channels, int side)
{
    return (win_geometry){ h, w, channels, side, (h + side - 1) / side, (w + side - 1) / side };
}

/* The geometry in the arena, if backward will want it. */
static win_geometry *win_save(mcs_ctx *c, const win_geometry *g, int n, const mcs_tensor *const *in)
{
    if (!mcs_will_record(c, n, in))
        return NULL;
    win_geometry *s = mcs_alloc(c, sizeof *s);
    if (s)
        *s = *g;
    return s;
}

mcs_tensor *mcs_window_partition(mcs_ctx *c, const mcs_tensor *x, int window,
                                 const mcs_tensor *fill)
{
    if (!mcs_ok_dim(c, "window_partition", x, 4))
        return NULL;
    if (window < 1)
        return mcs_fail(c, MCS_EINVAL, "window_partition: window %d, expected at least 1", window);
    const int64_t *s = x->shape;
    if (fill && !mcs_ok_dim(c, "window_partition fill", fill, 1))
        return NULL;
    if (fill && fill->shape[0] != s[3])
        return mcs_fail(c, MCS_ESHAPE, "window_partition: fill has %lld values, tokens have %lld",
                        (long long)fill->shape[0], (long long)s[3]);
    win_geometry g = win_shape(s[1], s[2], s[3], window);
    mcs_tensor *y = mcs_new(c, 3, MCS_SHAPE(s[0] * g.nh * g.nw, (int64_t)window * window, s[3]));
    if (!y)
        return NULL;
    win_args a = { .g = g,
                   .grid = mcs_f32(x),
                   .windows = mcs_f32(y),
                   .to_windows = true,
                   .fill = fill ? mcs_f32(fill) : NULL };
    win_move(c, &a, s[0]);
    const mcs_tensor *in[2] = { x, fill };
    int n = fill ? 2 : 1;
    return mcs_record(c, &op_partition, y, win_save(c, &g, n, in), n, in);
}

mcs_tensor *mcs_window_merge(mcs_ctx *c, const mcs_tensor *x, int window, int64_t h, int64_t w)
{
    if (!mcs_ok_dim(c, "window_merge", x, 3))
        return NULL;
    if (window < 1 || h < 1 || w < 1)
        return mcs_fail(c, MCS_EINVAL, "window_merge: window %d, grid %lld x %lld: expected >= 1",
                        window, (long long)h, (long long)w);
    win_geometry g = win_shape(h, w, x->shape[2], window);
    int64_t per_image = g.nh * g.nw;
    if (x->shape[1] != (int64_t)window * window || x->shape[0] % per_image)
        return mcs_fail(c, MCS_ESHAPE,
                        "window_merge: %lld windows of %lld tokens, expected a multiple of %lld "
                        "windows of %lld",
                        (long long)x->shape[0], (long long)x->shape[1], (long long)per_image,
                        (long long)window * window);
    int64_t batch = x->shape[0] / per_image;
    mcs_tensor *y = mcs_new(c, 4, MCS_SHAPE(batch, h, w, x->shape[2]));
    if (!y)
        return NULL;
    win_args a = { .g = g, .grid = mcs_f32(y), .windows = mcs_f32(x) };
    win_move(c, &a, batch);
    return mcs_record(c, &op_merge, y, win_save(c, &g, 1, &x), 1, &x);
}
