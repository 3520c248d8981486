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

/* mcs_gemm, but a batch of products into one C is added up in order. */
static void gemm_into(mcs_ctx *c, mcs_gemm_args g)
{
    if (g.stride_c) {
        mcs_gemm(c, &g);
        return;
    }
    int64_t batch = g.batch;
    g.batch = 1;
    for (int64_t i = 0; i < batch; i++) {
        mcs_gemm(c, &g);
        g.a += g.stride_a;
        g.b += g.stride_b;
    }
}

static void product_backward(mcs_ctx *c, mcs_node *n, bool trans_b)
{
    const mcs_tensor *a = n->in[0], *b = n->in[1];
    product_dims d = dims_of(a, b, trans_b);
    if (mcs_numel(n->out) == 0)
        return;
    float *da = mcs_grad_buf(c, a), *db = mcs_grad_buf(c, b);
    mcs_gemm_args dy = {
        .alpha = 1, .beta = 1, .batch = d.batch, .a = n->grad, .lda = d.n, .stride_a = d.m * d.n
    };
    if (da) {
        mcs_gemm_args g = dy;
        g.m = d.m, g.n = d.k, g.k = d.n;
        g.b = mcs_f32(b), g.ldb = trans_b ? d.k : d.n, g.stride_b = d.stride_b;
        g.trans_b = !trans_b;
        g.c = da, g.ldc = d.k, g.stride_c = d.stride_a;
        gemm_into(c, g);
    }
    if (!db)
        return;
    mcs_gemm_args g = dy;
    g.trans_a = true;
    g.k = d.m;
    g.c = db, g.stride_c = d.stride_b;
    if (trans_b) {
        g.m = d.n, g.n = g.ldc = d.k;
        g.b = mcs_f32(a), g.ldb = d.k, g.stride_b = d.stride_a;
    } else {
        g.m = d.k, g.n = g.ldc = d.n;
        g.b = g.a, g.ldb = d.n, g.stride_b = g.stride_a;
        g.a = mcs_f32(a), g.lda = d.k, g.stride_a = d.stride_a;
    }
    gemm_into(c, g);
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
    mcs_gemm_args g = { .m = d.m,
                        .n = d.n,
                        .k = d.k,
                        .alpha = 1,
                        .trans_b = trans_b,
                        .a = mcs_f32(a),
                        .lda = d.k,
                        .stride_a = d.stride_a,
                        .b = mcs_f32(b),
                        .ldb = trans_b ? d.k : d.n,
                        .stride_b = d.stride_b,
                        .c = mcs_f32(y),
                        .ldc = d.n,
                        .stride_c = d.m * d.n,
                        .batch = d.batch };
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
