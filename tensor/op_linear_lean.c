/* op_linear_lean.c - linear layers that keep what goes into a cheap function, not what comes out.
 *
 *   norm_linear       y = W layer_norm(x) + b
 *   gelu_linear_add   y = W gelu(x) + b + residual
 *
 * Both are y = W u + b with u = f(x) row by row.  dW += dy^T u needs u; it is computed again, for f
 * costs a hundredth of the products beside it, and a transformer block that is trained holds 10
 * instead of 16 times its width a token.  Rows are worked off in parts of the same size, whose u
 * lies in scratch memory, which then takes du = dy W:
 *
 *   dW += dy^T u,  du = dy W,  dx += f'(x) du,  db += column sums of dy,  dresidual += dy
 *
 * (Chen et al. 2016, "Training deep nets with sublinear memory cost", applied to single
 * operations.)  Must agree with the plain operations in op_linear.c, op_norm.c, op_gelu.c. */
#include "tensor/gemm.h"
#include "tensor/linear_internal.h"
#include "tensor/vec.h"

enum { IN_X, IN_WEIGHT, IN_BIAS, IN_RESIDUAL, IN_NORM_WEIGHT = IN_RESIDUAL, IN_NORM_BIAS };
enum { ROWS = 2048, GRAIN = 16384 };

typedef struct {
    const float *x, *norm_w, *norm_b; /* (m,k), (k), (k) */
    float *stats; /* (m,2); NULL: gelu, or nothing is recorded */
    bool norm;
    float eps;
    int64_t m, k, rows; /* rows: of a part */
} lean;

typedef struct {
    const mcs_vec *vec;
    const float *x, *du;
    float *out;
} gelu_args;

static void gelu_range(void *arg, int64_t begin, int64_t end)
{
    const gelu_args *a = arg;
    if (a->du)
        a->vec->gelu_grad(a->out + begin, a->du + begin, a->x + begin, end - begin);
    else
        a->vec->gelu(a->out + begin, a->x + begin, end - begin);
}

/* u = f(x) of rows from `at` on. */
static void apply(mcs_ctx *c, const lean *l, int64_t at, int64_t rows, float *u)
{
    const float *x = l->x + at * l->k;
    gelu_args a = { mcs_vec_get(), x, NULL, u };
    if (l->norm)
        mcs_norm_rows(c, u, x, rows, l->k, l->norm_w, l->norm_b, l->eps,
                      l->stats ? l->stats + 2 * at : NULL);
    else
        mcs_parallel_for(c, rows * l->k, GRAIN, gelu_range, &a);
}

/* dx += f'(x) du, and the gradients of the norm's weights. */
static void apply_grad(mcs_ctx *c, const lean *l, int64_t at, int64_t rows, const float *du,
                       float *dx, float *dw, float *db)
{
    const float *x = l->x + at * l->k;
    gelu_args a = { mcs_vec_get(), x, du, dx ? dx + at * l->k : NULL };
    if (l->norm)
        mcs_norm_grad_rows(c, du, x, rows, l->k, l->norm_w, l->stats + 2 * at, a.out, dw, db);
    else if (dx)
        mcs_parallel_for(c, rows * l->k, GRAIN, gelu_range, &a);
}

static int64_t part(const lean *l, int64_t at)
{
    return l->m - at < l->rows ? l->m - at : l->rows;
}

static void lean_backward(mcs_ctx *c, mcs_node *node)
{
    const lean *l = node->saved;
    const mcs_tensor *w = node->in[IN_WEIGHT];
    const int64_t n = w->shape[0], k = l->k;
    if (l->m == 0 || n == 0)
        return;
    float *dx = mcs_grad_buf(c, node->in[IN_X]), *dw = mcs_grad_buf(c, w);
    float *db = mcs_grad_buf(c, node->in[IN_BIAS]), *dr = NULL, *dnw = NULL, *dnb = NULL;
    if (l->norm) {
        dnw = mcs_grad_buf(c, node->in[IN_NORM_WEIGHT]);
        dnb = mcs_grad_buf(c, node->in[IN_NORM_BIAS]);
    } else {
        dr = mcs_grad_buf(c, node->in[IN_RESIDUAL]);
    }
    mcs_linear_spread(c, node->grad, l->m, n, db, dr);
    if (!dx && !dw && !dnw && !dnb)
        return;
    float *u = mcs_alloc(c, (size_t)(l->rows * k) * sizeof *u);
    for (int64_t at = 0; u && at < l->m; at += l->rows) {
        const float *dy = node->grad + at * n;
        int64_t rows = part(l, at);
        mcs_gemm_args g = mcs_gemm_tn(n, k, rows, dy, n, u, k, 1, dw, k);
        if (dw) {
            apply(c, l, at, rows, u);
            mcs_gemm(c, &g);
        }
        if (!dx && !dnw && !dnb)
            continue;
        g = mcs_gemm_nn(rows, k, n, dy, n, mcs_f32(w), k, 0, u, k);
        g.weight = w;
        mcs_gemm(c, &g);
        apply_grad(c, l, at, rows, u, dx, dnw, dnb);
    }
}

static const mcs_op op_norm_linear = { "norm_linear", lean_backward };
static const mcs_op op_gelu_linear_add = { "gelu_linear_add", lean_backward };

/* W f(x) + b + residual, not recorded. */
static mcs_tensor *forward(mcs_ctx *c, lean *l, const mcs_tensor *x, const mcs_tensor *w,
                           const mcs_tensor *bias, const mcs_tensor *residual)
{
    int64_t shape[MCS_MAX_DIM], n = w->shape[0];
    for (int i = 0; i < x->ndim; i++)
        shape[i] = x->shape[i];
    shape[x->ndim - 1] = n;
    mcs_tensor *y = mcs_new(c, x->ndim, shape);
    l->x = mcs_f32(x);
    l->k = w->shape[1];
    l->m = mcs_numel(x) / l->k;
    l->rows = l->m ? mcs_range_count(l->m, mcs_range_count(l->m, ROWS)) : 1;
    mcs_scope s = mcs_scope_begin(c);
    float *u = mcs_alloc(c, (size_t)(l->rows * l->k) * sizeof *u);
    for (int64_t at = 0; y && u && at < l->m; at += l->rows) {
        int64_t rows = part(l, at);
        apply(c, l, at, rows, u);
        mcs_gemm_args g =
            mcs_gemm_nt(rows, n, l->k, u, l->k, mcs_f32(w), l->k, 0, mcs_f32(y) + at * n, n);
        g.weight = w;
        g.bias = bias ? mcs_f32(bias) : NULL;
        g.residual = residual ? mcs_f32(residual) + at * n : NULL;
        mcs_gemm(c, &g);
    }
    mcs_scope_end(c, s, NULL);
    return mcs_ctx_status(c) == MCS_OK ? y : NULL;
}

static bool norm_fits(mcs_ctx *c, const mcs_tensor *p, int64_t size)
{
    if (!p)
        return true;
    if (!mcs_ok_dim(c, "norm_linear", p, 1))
        return false;
    if (p->shape[0] != size)
        mcs_fail(c, MCS_ESHAPE, "norm_linear: the norm has %lld values, the input %lld features",
                 (long long)p->shape[0], (long long)size);
    return p->shape[0] == size;
}

mcs_tensor *mcs_norm_linear(mcs_ctx *c, const mcs_tensor *x, const mcs_tensor *norm_weight,
                            const mcs_tensor *norm_bias, float eps, const mcs_tensor *weight,
                            const mcs_tensor *bias)
{
    if (!mcs_linear_check(c, "norm_linear", x, weight, bias) ||
        !norm_fits(c, norm_weight, weight->shape[1]) || !norm_fits(c, norm_bias, weight->shape[1]))
        return NULL;
    lean *l = mcs_alloc(c, sizeof *l);
    if (!l)
        return NULL;
    *l = (lean){ .norm_w = norm_weight ? mcs_f32(norm_weight) : NULL,
                 .norm_b = norm_bias ? mcs_f32(norm_bias) : NULL,
                 .norm = true,
                 .eps = eps };
    if (mcs_will_record(c, MCS_INPUTS(x, weight, bias, norm_weight, norm_bias)))
        l->stats = mcs_alloc(c, 2 * sizeof(float) * (size_t)(mcs_numel(x) / weight->shape[1]));
    mcs_tensor *y = forward(c, l, x, weight, bias, NULL);
    return mcs_record(c, &op_norm_linear, y, l,
                      MCS_INPUTS(x, weight, bias, norm_weight, norm_bias));
}

mcs_tensor *mcs_gelu_linear_add(mcs_ctx *c, const mcs_tensor *x, const mcs_tensor *weight,
                                const mcs_tensor *bias, const mcs_tensor *residual)
{
    if (!mcs_linear_check(c, "gelu_linear_add", x, weight, bias) ||
        !mcs_linear_check_residual(c, "gelu_linear_add", x, weight, residual))
        return NULL;
    lean *l = mcs_alloc(c, sizeof *l);
    if (!l)
        return NULL;
    *l = (lean){ .norm = false };
    mcs_tensor *y = forward(c, l, x, weight, bias, residual);
    return mcs_record(c, &op_gelu_linear_add, y, l, MCS_INPUTS(x, weight, bias, residual));
}
