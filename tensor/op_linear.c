/* op_linear.c - fully connected layers: y = x W^T + b, with GELU or a residual sum fused.
 *
 *   x (..., K) seen as rows (M, K), W (N, K), b (N), y (..., N) seen as (M, N)
 *   backward:  dx += dy W,   dW += dy^T x,   db += column sums of dy,   dresidual += dy
 *
 * All of y is one product whose epilogue adds the bias, applies GELU or adds the residual while
 * the tile is in cache.  If linear_gelu is recorded, backward needs the value before GELU, so
 * it then is the two plain operations.  Column sums run down the rows in order, columns in
 * parallel: the same bits for any number of threads.
 * Must agree with torch.nn.functional.linear. */
#include "tensor/gemm.h"
#include "tensor/linear_internal.h"

enum { IN_X, IN_WEIGHT, IN_BIAS, IN_RESIDUAL };
enum { COLUMNS = 64 }; /* of a bias gradient per range: four cache lines */

bool mcs_linear_check(mcs_ctx *c, const char *op, const mcs_tensor *x, const mcs_tensor *w,
                      const mcs_tensor *bias)
{
    if (!mcs_ok_dim(c, op, x, -1) || !mcs_ok_dim(c, op, w, 2))
        return false;
    if (bias && !mcs_ok_dim(c, op, bias, 1))
        return false;
    char xs[96], ws[96];
    if (mcs_dim(x, -1) != w->shape[1] || w->shape[1] == 0) {
        mcs_fail(c, MCS_ESHAPE, "%s: input %s ends in %lld features, weight %s expects %lld", op,
                 mcs_shape_str(x, xs, sizeof xs), (long long)mcs_dim(x, -1),
                 mcs_shape_str(w, ws, sizeof ws), (long long)w->shape[1]);
        return false;
    }
    if (bias && bias->shape[0] != w->shape[0]) {
        mcs_fail(c, MCS_ESHAPE, "%s: bias has %lld values, weight %s has %lld rows", op,
                 (long long)bias->shape[0], mcs_shape_str(w, ws, sizeof ws),
                 (long long)w->shape[0]);
        return false;
    }
    return true;
}

typedef struct {
    const float *dy; /* (m, n) */
    float *db; /* (n) */
    int64_t m, n;
} column_sums;

static void add_columns(void *arg, int64_t begin, int64_t end)
{
    const column_sums *s = arg;
    for (int64_t j0 = begin; j0 < end; j0 += COLUMNS) {
        float sum[COLUMNS] = { 0 };
        int64_t count = end - j0 < COLUMNS ? end - j0 : COLUMNS;
        for (int64_t i = 0; i < s->m; i++) {
            const float *row = s->dy + i * s->n + j0;
            for (int64_t j = 0; j < count; j++)
                sum[j] += row[j];
        }
        for (int64_t j = 0; j < count; j++)
            s->db[j0 + j] += sum[j];
    }
}

static void add_values(void *arg, int64_t begin, int64_t end)
{
    const column_sums *s = arg;
    for (int64_t i = begin; i < end; i++)
        s->db[i] += s->dy[i];
}

void mcs_linear_spread(mcs_ctx *c, const float *dy, int64_t m, int64_t n, float *db, float *dr)
{
    column_sums bias = { dy, db, m, n }, residual = { dy, dr, m, n };
    if (db)
        mcs_parallel_for(c, n, COLUMNS, add_columns, &bias);
    if (dr)
        mcs_parallel_for(c, m * n, mcs_grain(1), add_values, &residual);
}

static void linear_backward(mcs_ctx *c, mcs_node *node)
{
    const mcs_tensor *x = node->in[IN_X], *w = node->in[IN_WEIGHT];
    int64_t n = w->shape[0], k = w->shape[1], m = mcs_numel(x) / k;
    if (m == 0 || n == 0)
        return;
    float *dx = mcs_grad_buf(c, x), *dw = mcs_grad_buf(c, w);
    float *db = mcs_grad_buf(c, node->in[IN_BIAS]);
    if (dx) {
        mcs_gemm_args g = mcs_gemm_nn(m, k, n, node->grad, n, mcs_f32(w), k, 1, dx, k);
        g.weight = w;
        mcs_gemm(c, &g);
    }
    if (dw) {
        mcs_gemm_args g = mcs_gemm_tn(n, k, m, node->grad, n, mcs_f32(x), k, 1, dw, k);
        mcs_gemm(c, &g);
    }
    float *dr = node->in_count > IN_RESIDUAL ? mcs_grad_buf(c, node->in[IN_RESIDUAL]) : NULL;
    mcs_linear_spread(c, node->grad, m, n, db, dr);
}

static const mcs_op op_linear = { "linear", linear_backward };
static const mcs_op op_linear_add = { "linear_add", linear_backward };

/* act(x W^T + b) + residual, not recorded. */
static mcs_tensor *linear_forward(mcs_ctx *c, const mcs_tensor *x, const mcs_tensor *w,
                                  const mcs_tensor *bias, mcs_act act, const mcs_tensor *residual)
{
    int64_t shape[MCS_MAX_DIM];
    for (int i = 0; i < x->ndim; i++)
        shape[i] = x->shape[i];
    shape[x->ndim - 1] = w->shape[0];
    mcs_tensor *y = mcs_new(c, x->ndim, shape);
    if (!y)
        return NULL;
    int64_t n = w->shape[0], k = w->shape[1];
    mcs_gemm_args g =
        mcs_gemm_nt(n ? mcs_numel(y) / n : 0, n, k, mcs_f32(x), k, mcs_f32(w), k, 0, mcs_f32(y), n);
    g.weight = w;
    g.act = act;
    g.bias = bias ? mcs_f32(bias) : NULL;
    g.residual = residual ? mcs_f32(residual) : NULL;
    mcs_gemm(c, &g);
    return y;
}

mcs_tensor *mcs_linear(mcs_ctx *c, const mcs_tensor *x, const mcs_tensor *weight,
                       const mcs_tensor *bias)
{
    if (!mcs_linear_check(c, "linear", x, weight, bias))
        return NULL;
    mcs_tensor *y = linear_forward(c, x, weight, bias, MCS_ACT_NONE, NULL);
    return mcs_record(c, &op_linear, y, NULL, MCS_INPUTS(x, weight, bias));
}

mcs_tensor *mcs_linear_gelu(mcs_ctx *c, const mcs_tensor *x, const mcs_tensor *weight,
                            const mcs_tensor *bias)
{
    if (!mcs_linear_check(c, "linear_gelu", x, weight, bias))
        return NULL;
    if (mcs_will_record(c, MCS_INPUTS(x, weight, bias)))
        return mcs_gelu(c, mcs_linear(c, x, weight, bias));
    return linear_forward(c, x, weight, bias, MCS_ACT_GELU, NULL);
}

bool mcs_linear_check_residual(mcs_ctx *c, const char *op, const mcs_tensor *x, const mcs_tensor *w,
                               const mcs_tensor *residual)
{
    if (!mcs_ok(c, op, residual))
        return false;
    bool fits = residual->ndim == x->ndim && mcs_dim(residual, -1) == w->shape[0];
    for (int i = 0; fits && i < x->ndim - 1; i++)
        fits = residual->shape[i] == x->shape[i];
    char rs[96], xs[96], ws[96];
    if (!fits)
        mcs_fail(c, MCS_ESHAPE, "%s: residual %s is not the shape of input %s times weight %s", op,
                 mcs_shape_str(residual, rs, sizeof rs), mcs_shape_str(x, xs, sizeof xs),
                 mcs_shape_str(w, ws, sizeof ws));
    return fits;
}

mcs_tensor *mcs_linear_add(mcs_ctx *c, const mcs_tensor *x, const mcs_tensor *weight,
                           const mcs_tensor *bias, const mcs_tensor *residual)
{
    if (!mcs_linear_check(c, "linear_add", x, weight, bias) ||
        !mcs_linear_check_residual(c, "linear_add", x, weight, residual))
        return NULL;
    mcs_tensor *y = linear_forward(c, x, weight, bias, MCS_ACT_NONE, residual);
    return mcs_record(c, &op_linear_add, y, NULL, MCS_INPUTS(x, weight, bias, residual));
}
