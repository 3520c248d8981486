/* op_softmax.c - softmax, log_softmax and logsumexp over the last dimension.
 *
 *   softmax       y = exp(x - m) / sum exp(x - m), m = max x     dx = y (dy - <y, dy>)
 *   log_softmax   y = (x - m) - ln sum exp(x - m)              dx = dy - exp(y) sum dy
 *   logsumexp     l = m + ln sum exp(x - m)                      dx = dy exp(x - l)
 *
 * A row is in cache for all its passes.  A row of -infinity gives NaN, as in PyTorch. */
#include <math.h>
#include "tensor/op.h"
#include "tensor/vec.h"

enum { PIECE = 512 }; /* exponentials held on the stack */

typedef struct {
    const mcs_vec *vec;
    const float *x, *y, *dy;
    float *out;
    int64_t size; /* of a row */
} rows_args;

static void run_rows(mcs_ctx *c, const mcs_tensor *x, mcs_body *f, rows_args *a)
{
    a->vec = mcs_vec_get();
    a->size = mcs_dim(x, -1);
    if (a->size > 0)
        mcs_parallel_for(c, mcs_numel(x) / a->size, mcs_grain(8 * a->size), f, a);
}

/* dx of any of the three. */
static void rows_backward(mcs_ctx *c, mcs_node *n, mcs_body *f)
{
    float *dx = mcs_grad_buf(c, n->in[0]);
    if (!dx)
        return;
    rows_args a = { .x = mcs_f32(n->in[0]), .y = mcs_f32(n->out), .dy = n->grad, .out = dx };
    run_rows(c, n->in[0], f, &a);
}

static mcs_tensor *rows_forward(mcs_ctx *c, const mcs_op *op, mcs_body *f, const mcs_tensor *x)
{
    mcs_tensor *y = mcs_ok_dim(c, op->name, x, -1) ? mcs_new_like(c, x) : NULL;
    if (!y)
        return NULL;
    rows_args a = { .x = mcs_f32(x), .out = mcs_f32(y) };
    run_rows(c, x, f, &a);
    return mcs_record(c, op, y, NULL, MCS_INPUTS(x));
}

/* ---- softmax ---- */

static void softmax_range(void *arg, int64_t begin, int64_t end)
{
    const rows_args *a = arg;
    for (int64_t i = begin; i < end; i++)
        a->vec->softmax_row(a->out + i * a->size, a->x + i * a->size, a->size);
}

static void softmax_grad_range(void *arg, int64_t begin, int64_t end)
{
    const rows_args *a = arg;
    for (int64_t i = begin; i < end; i++) {
        int64_t at = i * a->size;
        a->vec->softmax_grad_row(a->out + at, a->dy + at, a->y + at, a->size);
    }
}

static void softmax_backward(mcs_ctx *c, mcs_node *n)
{
    rows_backward(c, n, softmax_grad_range);
}

static const mcs_op op_softmax = { "softmax", softmax_backward };

mcs_tensor *mcs_softmax(mcs_ctx *c, const mcs_tensor *x)
{
    return rows_forward(c, &op_softmax, softmax_range, x);
}

/* ---- log_softmax ---- */

/* ln sum exp(x - m) */
static float row_log_sum(const mcs_vec *v, const float *x, float m, int64_t n)
{
    float piece[PIECE], sum = v->exp_sum(piece, x, m, n < PIECE ? n : PIECE);
    for (int64_t i = PIECE; i < n; i += PIECE)
        sum += v->exp_sum(piece, x + i, m, n - i < PIECE ? n - i : PIECE);
    return logf(sum);
}

static void log_softmax_range(void *arg, int64_t begin, int64_t end)
{
    const rows_args *a = arg;
    for (int64_t i = begin; i < end; i++) {
        const float *x = a->x + i * a->size;
        float m = a->vec->max(x, a->size), l = row_log_sum(a->vec, x, m, a->size);
        /* (x - m) - l: m + l would lose l's digits where m is large. */
        a->vec->center(a->out + i * a->size, x, m, 1.0f, -l, a->size);
    }
}

/* dx += s * exp(x - l) */
static void add_exp(const mcs_vec *v, float *dx, float s, const float *x, float l, int64_t n)
{
    float piece[PIECE];
    for (int64_t i = 0; i < n; i += PIECE) {
        int64_t k = n - i < PIECE ? n - i : PIECE;
        (void)v->exp_sum(piece, x + i, l, k);
        v->axpy(dx + i, s, piece, k);
    }
}

static void log_softmax_grad_range(void *arg, int64_t begin, int64_t end)
{
    const rows_args *a = arg;
    for (int64_t i = begin; i < end; i++) {
        int64_t at = i * a->size;
        float s = a->vec->sum(a->dy + at, a->size);
        a->vec->add(a->out + at, a->out + at, a->dy + at, a->size);
        add_exp(a->vec, a->out + at, -s, a->y + at, 0.0f, a->size);
    }
}

static void log_softmax_backward(mcs_ctx *c, mcs_node *n)
{
    rows_backward(c, n, log_softmax_grad_range);
}

static const mcs_op op_log_softmax = { "log_softmax", log_softmax_backward };

mcs_tensor *mcs_log_softmax(mcs_ctx *c, const mcs_tensor *x)
{
    return rows_forward(c, &op_log_softmax, log_softmax_range, x);
}

/* ---- logsumexp ---- */

static void logsumexp_range(void *arg, int64_t begin, int64_t end)
{
    const rows_args *a = arg;
    for (int64_t i = begin; i < end; i++) {
        const float *x = a->x + i * a->size;
        float m = a->vec->max(x, a->size);
        a->out[i] = isinf(m) ? m : m + row_log_sum(a->vec, x, m, a->size);
    }
}

static void logsumexp_grad_range(void *arg, int64_t begin, int64_t end)
{
    const rows_args *a = arg;
    for (int64_t i = begin; i < end; i++)
        add_exp(a->vec, a->out + i * a->size, a->dy[i], a->x + i * a->size, a->y[i], a->size);
}

static void logsumexp_backward(mcs_ctx *c, mcs_node *n)
{
    rows_backward(c, n, logsumexp_grad_range);
}

static const mcs_op op_logsumexp = { "logsumexp", logsumexp_backward };

mcs_tensor *mcs_logsumexp(mcs_ctx *c, const mcs_tensor *x)
{
    if (!mcs_ok_dim(c, "logsumexp", x, -1))
        return NULL;
    if (mcs_dim(x, -1) == 0)
        return mcs_fail(c, MCS_ESHAPE, "logsumexp: the last dimension is empty");
    mcs_tensor *y = mcs_new(c, x->ndim - 1, x->shape);
    if (!y)
        return NULL;
    rows_args a = { .x = mcs_f32(x), .out = mcs_f32(y) };
    run_rows(c, x, logsumexp_range, &a);
    return mcs_record(c, &op_logsumexp, y, NULL, MCS_INPUTS(x));
}
