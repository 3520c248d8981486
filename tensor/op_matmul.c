/* op_matmul.c - batched matrix products.
 *
 * matmul:    Y = A B      A (..., M, K), B (..., K, N)
 * matmul_t:  Y = A B^T    A (..., M, K), B (..., N, K)
 *
 * Backward, per image of the batch:
 *   matmul:    dA += dY B^T,  dB += A^T dY
 *   matmul_t:  dA += dY B,    dB += dY^T A
 *
 * A shared B (no leading dimensions) turns the batch into more rows of one large product,
 * forward and backward.  A shared A is read again for every image, and its gradient is summed
 * over the images one after the other, so that the order of the sum is fixed.
 * Must agree with torch.matmul. */
#include "tensor/gemm.h"
#include "tensor/op.h"

typedef struct {
    int64_t batch, m, n, k;
    int64_t stride_a, stride_b; /* elements between images; 0: shared */
} product_dims;

static bool check_product(mcs_ctx *c, const char *op, const mcs_tensor *a, const mcs_tensor *b,
                          bool trans_b)
{
    if (!mcs_ok_dim(c, op, a, -2) || !mcs_ok_dim(c, op, b, -2))
        return false;
    char as[96], bs[96];
    bool inner = mcs_dim(a, -1) == mcs_dim(b, trans_b ? -1 : -2) && mcs_dim(a, -1) > 0;
    bool lead = a->ndim == 2 || b->ndim == 2 || a->ndim == b->ndim;
    for (int i = 0; lead && a->ndim == b->ndim && i < a->ndim - 2; i++)
        lead = a->shape[i] == b->shape[i];
    if (inner && lead)
        return true;
    mcs_fail(c, MCS_ESHAPE, "%s: %s and %s do not fit: %s", op, mcs_shape_str(a, as, sizeof as),
             mcs_shape_str(b, bs, sizeof bs),
             inner ? "leading dimensions must be equal, or absent from one of the two"
                   : "the summed dimensions differ or are empty");
    return false;
}

static product_dims dims_of(const mcs_tensor *a, const mcs_tensor *b, bool trans_b)
{
    product_dims d = { .batch = 1, .m = mcs_dim(a, -2), .k = mcs_dim(a, -1) };
    d.n = mcs_dim(b, trans_b ? -2 : -1);
    const mcs_tensor *lead = a->ndim > 2 ? a : b;
    for (int i = 0; i < lead->ndim - 2; i++)
        d.batch *= lead->shape[i];
    if (b->ndim == 2) {
        d.m *= d.batch;
        d.batch = 1;
    }
    d.stride_a = a->ndim == 2 ? 0 : d.m * d.k;
    d.stride_b = b->ndim == 2 ? 0 : d.k * d.n;
    return d;
}

/* A batch of products at these strides; if they share one C, they are added up in order. */
static void gemm_into(mcs_ctx *c, mcs_gemm_args g, int64_t batch, int64_t stride_a,
                      int64_t stride_b, int64_t stride_c)
{
    if (stride_c) {
        g.batch = batch;
        g.stride_a = stride_a, g.stride_b = stride_b, g.stride_c = stride_c;
        mcs_gemm(c, &g);
        return;
    }
    for (int64_t i = 0; i < batch; i++) {
        mcs_gemm(c, &g);
        g.a += stride_a;
        g.b += stride_b;
    }
}

static void product_backward(mcs_ctx *c, mcs_node *n, bool trans_b)
{
    const mcs_tensor *a = n->in[0], *b = n->in[1];
    product_dims d = dims_of(a, b, trans_b);
    if (mcs_numel(n->out) == 0)
        return;
    float *da = mcs_grad_buf(c, a), *db = mcs_grad_buf(c, b);
    const float *dy = n->grad, *av = mcs_f32(a), *bv = mcs_f32(b);
    int64_t stride_y = d.m * d.n;
    mcs_gemm_args g;
    if (da) {
        g = trans_b ? mcs_gemm_nn(d.m, d.k, d.n, dy, d.n, bv, d.k, 1, da, d.k)
                    : mcs_gemm_nt(d.m, d.k, d.n, dy, d.n, bv, d.n, 1, da, d.k);
        gemm_into(c, g, d.batch, stride_y, d.stride_b, d.stride_a);
    }
    if (db && trans_b) {
        g = mcs_gemm_tn(d.n, d.k, d.m, dy, d.n, av, d.k, 1, db, d.k);
        gemm_into(c, g, d.batch, stride_y, d.stride_a, d.stride_b);
    } else if (db) {
        g = mcs_gemm_tn(d.k, d.n, d.m, av, d.k, dy, d.n, 1, db, d.n);
        gemm_into(c, g, d.batch, d.stride_a, stride_y, d.stride_b);
    }
}

static void matmul_backward(mcs_ctx *c, mcs_node *n)
{
    product_backward(c, n, false);
}

static void matmul_t_backward(mcs_ctx *c, mcs_node *n)
{
    product_backward(c, n, true);
}

static const mcs_op op_matmul = { "matmul", matmul_backward };
static const mcs_op op_matmul_t = { "matmul_t", matmul_t_backward };

static mcs_tensor *product(mcs_ctx *c, const mcs_op *op, const mcs_tensor *a, const mcs_tensor *b,
                           bool trans_b)
{
    if (!check_product(c, op->name, a, b, trans_b))
        return NULL;
    const mcs_tensor *lead = a->ndim > 2 ? a : b;
    int64_t shape[MCS_MAX_DIM];
    for (int i = 0; i < lead->ndim - 2; i++)
        shape[i] = lead->shape[i];
    shape[lead->ndim - 2] = mcs_dim(a, -2);
    shape[lead->ndim - 1] = mcs_dim(b, trans_b ? -2 : -1);
    mcs_tensor *y = mcs_new(c, lead->ndim, shape);
    if (!y)
        return NULL;
    product_dims d = dims_of(a, b, trans_b);
    const float *av = mcs_f32(a), *bv = mcs_f32(b);
    float *yv = mcs_f32(y);
    mcs_gemm_args g = trans_b ? mcs_gemm_nt(d.m, d.n, d.k, av, d.k, bv, d.k, 0, yv, d.n)
                              : mcs_gemm_nn(d.m, d.n, d.k, av, d.k, bv, d.n, 0, yv, d.n);
    g.batch = d.batch;
    g.stride_a = d.stride_a, g.stride_b = d.stride_b, g.stride_c = d.m * d.n;
    mcs_gemm(c, &g);
    return mcs_record(c, op, y, NULL, MCS_INPUTS(a, b));
}

mcs_tensor *mcs_matmul(mcs_ctx *c, const mcs_tensor *a, const mcs_tensor *b)
{
    return product(c, &op_matmul, a, b, false);
}

mcs_tensor *mcs_matmul_t(mcs_ctx *c, const mcs_tensor *a, const mcs_tensor *b)
{
    return product(c, &op_matmul_t, a, b, true);
}
