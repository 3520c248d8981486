/* op_embedding.c - rows of a table: y[i] = weight[ids[i]], F.embedding.
 *   dweight[ids[i]] += dy[i]
 * The same id may come many times, so backward is cut by columns: a range walks all ids in order
 * over its own columns, and the sums are the same for any number of threads. */
#include <string.h>
#include "tensor/op.h"
#include "tensor/vec.h"

typedef struct {
    const mcs_vec *vec;
    const float *from; /* weight, or dy */
    float *to; /* y, or dweight */
    const int64_t *ids;
    int64_t count, size; /* ids, columns */
} embedding_args;

static void embedding_range(void *arg, int64_t begin, int64_t end)
{
    const embedding_args *a = arg;
    for (int64_t i = begin; i < end; i++)
        memcpy(a->to + i * a->size, a->from + a->ids[i] * a->size, (size_t)a->size * sizeof(float));
}

static void embedding_grad_range(void *arg, int64_t begin, int64_t end)
{
    const embedding_args *a = arg;
    for (int64_t i = 0; i < a->count; i++) {
        float *to = a->to + a->ids[i] * a->size + begin;
        a->vec->add(to, to, a->from + i * a->size + begin, end - begin);
    }
}

static void embedding_backward(mcs_ctx *c, mcs_node *n)
{
    const mcs_tensor *weight = n->in[0], *ids = n->in[1];
    float *dw = mcs_grad_buf(c, weight);
    if (!dw)
        return;
    embedding_args a = {
        mcs_vec_get(), n->grad, dw, mcs_i64(ids), mcs_numel(ids), weight->shape[1]
    };
    mcs_parallel_for(c, a.size, 64, embedding_grad_range, &a);
}

static const mcs_op op_embedding = { "embedding", embedding_backward };

static bool ids_fit(mcs_ctx *c, const mcs_tensor *ids, int64_t rows)
{
    for (int64_t i = 0, n = mcs_numel(ids); i < n; i++)
        if (mcs_i64(ids)[i] < 0 || mcs_i64(ids)[i] >= rows) {
            mcs_fail(c, MCS_EINVAL, "embedding: id %lld at position %lld, the table has %lld rows",
                     (long long)mcs_i64(ids)[i], (long long)i, (long long)rows);
            return false;
        }
    return true;
}

mcs_tensor *mcs_embedding(mcs_ctx *c, const mcs_tensor *weight, const mcs_tensor *ids)
{
    if (!ids || !mcs_ok_dim(c, "embedding", weight, 2))
        return NULL;
    if (ids->dtype != MCS_I64)
        return mcs_fail(c, MCS_ESHAPE, "embedding: ids must be int64");
    if (ids->ndim >= MCS_MAX_DIM)
        return mcs_fail(c, MCS_ESHAPE, "embedding: ids have %d dimensions, at most %d fit",
                        ids->ndim, MCS_MAX_DIM - 1);
    if (!ids_fit(c, ids, weight->shape[0]))
        return NULL;
    int64_t shape[MCS_MAX_DIM];
    memcpy(shape, ids->shape, sizeof shape);
    shape[ids->ndim] = weight->shape[1];
    mcs_tensor *y = mcs_new(c, ids->ndim + 1, shape);
    if (!y)
        return NULL;
    embedding_args a = { mcs_vec_get(), mcs_f32(weight), mcs_f32(y),
                         mcs_i64(ids),  mcs_numel(ids),  weight->shape[1] };
    mcs_parallel_for(c, a.count, mcs_grain(a.size), embedding_range, &a);
    return mcs_record(c, &op_embedding, y, NULL, MCS_INPUTS(weight, ids));
}
