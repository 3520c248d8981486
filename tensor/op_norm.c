/* op_norm.c - layer_norm and l2_normalize over the last dimension (SAM's LayerNorm2d is in
 * op_norm2d.c).
 *
 *   layer_norm    h = (x - mean) r, r = 1 / sqrt(var + eps), y = h w + b     (biased variance)
 *                 g = dy w;  dx = r (g - mean(g) - h mean(g h));  dw = sum dy h;  db = sum dy
 *   l2_normalize  s = max(|x|, eps), y = x / s
 *                 dx = (dy - y <y, dy>) / s if |x| >= eps, else dy / s
 *
 * The variance is taken about the mean in a second pass over the row, which is in cache.  dw and
 * db are summed over blocks of rows whose number follows from the shape, then block by block:
 * the same bits for any number of threads.  Must agree with F.layer_norm (Ba et al. 2016). */
#include <math.h>
#include <string.h>
#include "tensor/linear_internal.h"
#include "tensor/vec.h"

enum { IN_X, IN_WEIGHT, IN_BIAS };
enum { BLOCKS_MAX = 64, ROWS_MIN = 16 }; /* of the weights' gradients */

typedef struct {
    const mcs_vec *vec;
    const float *x, *w, *b, *dy; /* (rows, size), (size), (size), (rows, size) */
    float *out; /* y or dx */
    float *stats; /* (rows, 2): mean, r; NULL: not kept */
    float *partial; /* (blocks, 2, size): dw, db */
    float *dw, *db;
    int64_t rows, size, block, blocks;
    float eps;
} norm_args;

static void norm_range(void *arg, int64_t begin, int64_t end)
{
    const norm_args *a = arg;
    for (int64_t i = begin; i < end; i++) {
        const float *x = a->x + i * a->size;
        float mean, var;
        a->vec->moments(x, a->size, &mean, &var);
        float r = 1.0f / sqrtf(var + a->eps);
        a->vec->norm_row(a->out + i * a->size, x, mean, r, a->w, a->b, a->size);
        if (a->stats) {
            a->stats[2 * i] = mean;
            a->stats[2 * i + 1] = r;
        }
    }
}

void mcs_norm_rows(mcs_ctx *c, float *y, const float *x, int64_t rows, int64_t size, const float *w,
                   const float *b, float eps, float *stats)
{
    norm_args a = { .vec = mcs_vec_get(),
                    .x = x,
                    .w = w,
                    .b = b,
                    .out = y,
                    .stats = stats,
                    .rows = rows,
                    .size = size,
                    .eps = eps };
    mcs_parallel_for(c, rows, mcs_grain(8 * size), norm_range, &a);
}

static void norm_grad_range(void *arg, int64_t begin, int64_t end)
{
    const norm_args *a = arg;
    for (int64_t i = begin; i < end; i++)
        a->vec->norm_grad_row(a->out + i * a->size, a->dy + i * a->size, a->x + i * a->size,
                              a->stats[2 * i], a->stats[2 * i + 1], a->w, a->size);
}

/* Items are blocks of rows. */
static void param_block(void *arg, int64_t begin, int64_t end)
{
    const norm_args *a = arg;
    for (int64_t k = begin; k < end; k++) {
        float *dw = a->partial + 2 * k * a->size, *db = dw + a->size;
        memset(dw, 0, 2 * (size_t)a->size * sizeof *dw);
        int64_t stop = (k + 1) * a->block < a->rows ? (k + 1) * a->block : a->rows;
        for (int64_t i = k * a->block; i < stop; i++)
            a->vec->norm_param_grad_row(a->dw ? dw : NULL, a->db ? db : NULL, a->dy + i * a->size,
                                        a->x + i * a->size, a->stats[2 * i], a->stats[2 * i + 1],
                                        a->size);
    }
}

static void param_grad(mcs_ctx *c, norm_args *a)
{
    a->block = mcs_range_count(a->rows, BLOCKS_MAX);
    a->block = a->block < ROWS_MIN ? ROWS_MIN : a->block;
    a->blocks = mcs_range_count(a->rows, a->block);
    a->partial = mcs_alloc(c, 2 * (size_t)(a->blocks * a->size) * sizeof(float));
    if (!a->partial)
        return;
    mcs_parallel_for(c, a->blocks, 1, param_block, a);
    for (int64_t k = 0; k < a->blocks; k++) {
        const float *dw = a->partial + 2 * k * a->size;
        if (a->dw)
            a->vec->add(a->dw, a->dw, dw, a->size);
        if (a->db)
            a->vec->add(a->db, a->db, dw + a->size, a->size);
    }
}

void mcs_norm_grad_rows(mcs_ctx *c, const float *dy, const float *x, int64_t rows, int64_t size,
                        const float *w, const float *stats, float *dx, float *dw, float *db)
{
    norm_args a = { .vec = mcs_vec_get(),
                    .x = x,
                    .w = w,
                    .dy = dy,
                    .out = dx,
                    .stats = (float *)stats,
                    .dw = dw,
                    .db = db,
                    .rows = rows,
                    .size = size };
    if (rows == 0)
        return;
    if (dx)
        mcs_parallel_for(c, rows, mcs_grain(8 * size), norm_grad_range, &a);
    if (dw || db)
        param_grad(c, &a);
}

static void layer_norm_backward(mcs_ctx *c, mcs_node *n)
{
    const mcs_tensor *x = n->in[IN_X], *w = n->in[IN_WEIGHT];
    int64_t size = mcs_dim(x, -1);
    float *dx = mcs_grad_buf(c, x), *dw = mcs_grad_buf(c, w);
    mcs_norm_grad_rows(c, n->grad, mcs_f32(x), mcs_numel(x) / size, size, w ? mcs_f32(w) : NULL,
                       n->saved, dx, dw, mcs_grad_buf(c, n->in[IN_BIAS]));
}

static const mcs_op op_layer_norm = { "layer_norm", layer_norm_backward };

static bool param_fits(mcs_ctx *c, const char *op, const char *what, const mcs_tensor *p,
                       int64_t size)
{
    if (!p)
        return true;
    if (!mcs_ok_dim(c, op, p, 1))
        return false;
    if (p->shape[0] == size)
        return true;
    mcs_fail(c, MCS_ESHAPE, "%s: %s has %lld values, the last dimension of the input is %lld", op,
             what, (long long)p->shape[0], (long long)size);
    return false;
}

mcs_tensor *mcs_layer_norm(mcs_ctx *c, const mcs_tensor *x, const mcs_tensor *weight,
                           const mcs_tensor *bias, float eps)
{
    if (!mcs_ok_dim(c, "layer_norm", x, -1))
        return NULL;
    int64_t size = mcs_dim(x, -1);
    if (size == 0)
        return mcs_fail(c, MCS_ESHAPE, "layer_norm: the last dimension is empty");
    if (!param_fits(c, "layer_norm", "weight", weight, size) ||
        !param_fits(c, "layer_norm", "bias", bias, size))
        return NULL;
    mcs_tensor *y = mcs_new_like(c, x);
    int64_t rows = mcs_numel(x) / size;
    float *stats = NULL;
    if (mcs_will_record(c, MCS_INPUTS(x, weight, bias)))
        stats = mcs_alloc(c, 2 * (size_t)rows * sizeof(float));
    if (!y || mcs_ctx_status(c) != MCS_OK)
        return NULL;
    mcs_norm_rows(c, mcs_f32(y), mcs_f32(x), rows, size, weight ? mcs_f32(weight) : NULL,
                  bias ? mcs_f32(bias) : NULL, eps, stats);
    return mcs_record(c, &op_layer_norm, y, stats, MCS_INPUTS(x, weight, bias));
}

/* ---- l2_normalize ---- */

static float length(const norm_args *a, const float *x)
{
    return sqrtf(a->vec->dot(x, x, a->size));
}

static void l2_range(void *arg, int64_t begin, int64_t end)
{
    const norm_args *a = arg;
    for (int64_t i = begin; i < end; i++) {
        const float *x = a->x + i * a->size;
        float s = length(a, x);
        a->vec->affine(a->out + i * a->size, x, 1.0f / (s < a->eps ? a->eps : s), 0.0f, a->size);
    }
}

static void l2_grad_range(void *arg, int64_t begin, int64_t end)
{
    const norm_args *a = arg;
    for (int64_t i = begin; i < end; i++) {
        const float *x = a->x + i * a->size, *dy = a->dy + i * a->size;
        float *dx = a->out + i * a->size, s = length(a, x);
        bool clipped = s < a->eps;
        s = clipped ? a->eps : s;
        a->vec->axpy(dx, 1.0f / s, dy, a->size);
        if (!clipped)
            a->vec->axpy(dx, -a->vec->dot(x, dy, a->size) / (s * s * s), x, a->size);
    }
}

static void l2_backward(mcs_ctx *c, mcs_node *n)
{
    const mcs_tensor *x = n->in[0];
    float *dx = mcs_grad_buf(c, x);
    norm_args a = { .vec = mcs_vec_get(),
                    .x = mcs_f32(x),
                    .dy = n->grad,
                    .out = dx,
                    .size = mcs_dim(x, -1),
                    .eps = *(float *)n->saved };
    if (dx && a.size > 0)
        mcs_parallel_for(c, mcs_numel(x) / a.size, mcs_grain(6 * a.size), l2_grad_range, &a);
}

static const mcs_op op_l2_normalize = { "l2_normalize", l2_backward };

mcs_tensor *mcs_l2_normalize(mcs_ctx *c, const mcs_tensor *x, float eps)
{
    if (!mcs_ok_dim(c, "l2_normalize", x, -1))
        return NULL;
    mcs_tensor *y = mcs_new_like(c, x);
    float *saved = mcs_alloc(c, sizeof *saved);
    if (!y || !saved)
        return NULL;
    *saved = eps;
    norm_args a = {
        .vec = mcs_vec_get(), .x = mcs_f32(x), .out = mcs_f32(y), .size = mcs_dim(x, -1), .eps = eps
    };
    if (a.size > 0)
        mcs_parallel_for(c, mcs_numel(x) / a.size, mcs_grain(4 * a.size), l2_range, &a);
    return mcs_record(c, &op_l2_normalize, y, saved, MCS_INPUTS(x));
}
