/* op_permute.c - permute and transpose: y[i_0 ... ] = x with its dimensions in another order;
 * backward adds dy through the same loops.
 *
 * Neighbouring dimensions that stay neighbours are merged first, so (B,N,H,D) -> (B,H,N,D) moves
 * rows of D and (B,N,C) -> (B,C,N) is a batch of matrix transpositions.  If the last dimension
 * moves, y is written in tiles that keep both sides in cache. */
#include <string.h>
#include "tensor/op.h"
#include "tensor/vec.h"

enum { TILE = 32 };

typedef struct {
    int ndim; /* of y, merged */
    int64_t shape[MCS_MAX_DIM]; /* of y */
    int64_t step[MCS_MAX_DIM]; /* through x */
    int fast; /* dimension of y that is contiguous in x */
    const mcs_vec *vec;
    const float *from; /* x, or dy */
    float *to; /* y, or dx (added to) */
    int64_t tiles; /* per transposed matrix, along `fast` */
    int64_t run; /* elements of y per step of dimension `fast` */
    bool back;
} permute_args;

static void plan(permute_args *p, const mcs_tensor *x, const int *axes)
{
    int64_t step[MCS_MAX_DIM] = { 0 }, run = 1;
    for (int i = x->ndim - 1; i >= 0; i--) {
        step[i] = run;
        run *= x->shape[i];
    }
    p->ndim = 0;
    for (int i = 0; i < x->ndim; i++) {
        int64_t size = x->shape[axes[i]], s = step[axes[i]];
        int d = p->ndim - 1;
        if (size == 1)
            continue;
        if (d >= 0 && p->step[d] == s * size) {
            p->shape[d] *= size;
            p->step[d] = s;
            continue;
        }
        p->shape[p->ndim] = size;
        p->step[p->ndim++] = s;
    }
    if (p->ndim == 0) {
        p->shape[0] = p->step[0] = 1;
        p->ndim = 1;
    }
    p->run = 1;
    for (p->fast = p->ndim - 1; p->step[p->fast] != 1; p->fast--)
        p->run *= p->shape[p->fast];
}

/* Where row r of y (all dimensions but the last and `skip`) starts: in x, and in y. */
static int64_t start(const permute_args *p, int64_t r, int skip, int64_t *in_y)
{
    int64_t at = 0, run = p->shape[p->ndim - 1];
    *in_y = 0;
    for (int i = p->ndim - 2; i >= 0; i--) {
        if (i != skip) {
            at += r % p->shape[i] * p->step[i];
            *in_y += r % p->shape[i] * run;
            r /= p->shape[i];
        }
        run *= p->shape[i];
    }
    return at;
}

/* The last dimension stays: items are rows of y. */
static void move_rows(void *arg, int64_t begin, int64_t end)
{
    const permute_args *p = arg;
    int64_t n = p->shape[p->ndim - 1], y;
    for (int64_t r = begin; r < end; r++) {
        int64_t x = start(p, r, -1, &y);
        if (p->back)
            p->vec->add(p->to + x, p->to + x, p->from + y, n);
        else
            memcpy(p->to + y, p->from + x, (size_t)n * sizeof(float));
    }
}

/* Tiles of the matrix y[i * run + j] = x[i + j * step], i < rows (dimension `fast`), all j.  A
 * tile goes through a small buffer, so that both sides are touched by whole cache lines: strides
 * are often powers of two, where lines that wait for their neighbours evict each other. */
static void move_tile(const permute_args *p, int64_t x, int64_t y, int64_t rows)
{
    int64_t n = p->shape[p->ndim - 1], step = p->step[p->ndim - 1];
    float t[TILE][TILE];
    for (int64_t j0 = 0; j0 < n; j0 += TILE) {
        int64_t cols = n - j0 < TILE ? n - j0 : TILE;
        for (int64_t j = 0; j < cols; j++)
            for (int64_t i = 0; i < rows; i++)
                t[i][j] = p->from[x + i + (j0 + j) * step];
        for (int64_t i = 0; i < rows; i++)
            memcpy(p->to + y + i * p->run + j0, t[i], (size_t)cols * sizeof(float));
    }
}

/* The same from y to x, added. */
static void add_tile(const permute_args *p, int64_t x, int64_t y, int64_t rows)
{
    int64_t n = p->shape[p->ndim - 1], step = p->step[p->ndim - 1];
    float t[TILE][TILE];
    for (int64_t j0 = 0; j0 < n; j0 += TILE) {
        int64_t cols = n - j0 < TILE ? n - j0 : TILE;
        for (int64_t i = 0; i < rows; i++)
            for (int64_t j = 0; j < cols; j++)
                t[j][i] = p->from[y + i * p->run + j0 + j];
        for (int64_t j = 0; j < cols; j++) {
            float *to = p->to + x + (j0 + j) * step;
            p->vec->add(to, to, t[j], rows);
        }
    }
}

/* The last dimension moves: items are tiles of `fast`, in every matrix. */
static void move_tiles(void *arg, int64_t begin, int64_t end)
{
    const permute_args *p = arg;
    for (int64_t t = begin; t < end; t++) {
        int64_t i = t % p->tiles * TILE, y, left = p->shape[p->fast] - i;
        int64_t x = start(p, t / p->tiles, p->fast, &y);
        (p->back ? add_tile : move_tile)(p, x + i, y + i * p->run, left < TILE ? left : TILE);
    }
}

static void move(mcs_ctx *c, permute_args *p, int64_t numel)
{
    if (numel == 0)
        return;
    p->vec = mcs_vec_get();
    int64_t n = p->shape[p->ndim - 1];
    if (p->fast == p->ndim - 1) {
        mcs_parallel_for(c, numel / n, mcs_grain(n), move_rows, p);
        return;
    }
    p->tiles = mcs_range_count(p->shape[p->fast], TILE);
    mcs_parallel_for(c, numel / n / p->shape[p->fast] * p->tiles, mcs_grain(n * TILE), move_tiles,
                     p);
}

static void permute_backward(mcs_ctx *c, mcs_node *n)
{
    float *dx = mcs_grad_buf(c, n->in[0]);
    if (!dx)
        return;
    permute_args p = { .from = n->grad, .to = dx, .back = true };
    plan(&p, n->in[0], n->saved);
    move(c, &p, mcs_numel(n->out));
}

static const mcs_op op_permute = { "permute", permute_backward };

static bool is_permutation(const int *axes, int ndim)
{
    unsigned seen = 0;
    for (int i = 0; i < ndim; i++)
        if (axes[i] >= 0 && axes[i] < ndim)
            seen |= 1u << axes[i];
    return seen == (1u << ndim) - 1;
}

mcs_tensor *mcs_permute(mcs_ctx *c, const mcs_tensor *x, const int *axes)
{
    if (!mcs_ok(c, "permute", x))
        return NULL;
    int *saved = mcs_alloc(c, MCS_MAX_DIM * sizeof *saved);
    if (!saved)
        return NULL;
    int64_t shape[MCS_MAX_DIM];
    for (int i = 0; i < x->ndim; i++)
        saved[i] = axes[i] < 0 ? axes[i] + x->ndim : axes[i];
    if (!is_permutation(saved, x->ndim))
        return mcs_fail(c, MCS_EINVAL, "permute: axes are not a permutation of 0..%d", x->ndim - 1);
    for (int i = 0; i < x->ndim; i++)
        shape[i] = x->shape[saved[i]];
    mcs_tensor *y = mcs_new(c, x->ndim, shape);
    if (!y)
        return NULL;
    permute_args p = { .from = mcs_f32(x), .to = mcs_f32(y) };
    plan(&p, x, saved);
    move(c, &p, mcs_numel(x));
    return mcs_record(c, &op_permute, y, saved, MCS_INPUTS(x));
}

mcs_tensor *mcs_transpose(mcs_ctx *c, const mcs_tensor *x, int a, int b)
{
    if (!mcs_ok(c, "transpose", x))
        return NULL;
    int n = x->ndim, axes[MCS_MAX_DIM];
    int da = a < 0 ? a + n : a, db = b < 0 ? b + n : b;
    if (da < 0 || da >= n || db < 0 || db >= n)
        return mcs_fail(c, MCS_EINVAL, "transpose: dimensions %d and %d of a tensor of %d", a, b,
                        n);
    for (int i = 0; i < n; i++)
        axes[i] = i == da ? db : i == db ? da : i;
    return mcs_permute(c, x, axes);
}
