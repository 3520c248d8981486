/* op_dropout.c - F.dropout: y = x m / (1 - p), m = 1 with probability 1 - p (Srivastava et al.
 * 2014); dx = dy m / (1 - p).
 *
 * The number of element i is word i % 4 of Philox(key, i / 4), so the mask is a pure function of
 * the context's stream: backward draws it again instead of storing it. */
#include "tensor/op.h"

enum { GRAIN = 16384 }; /* a multiple of 4 */

typedef struct {
    uint64_t key[2];
    uint32_t dropped; /* numbers below this drop the element */
    float scale;
    const float *from; /* x or dy */
    float *to; /* y (set), or dx (added to) */
    bool back;
} dropout_args;

static void dropout_range(void *arg, int64_t begin, int64_t end)
{
    const dropout_args *a = arg;
    for (int64_t i = begin; i < end; i += 4) {
        uint32_t r[4];
        mcs_philox(a->key, (uint64_t)i / 4, r);
        for (int64_t k = 0; k < 4 && i + k < end; k++) {
            float v = r[k] < a->dropped ? 0.0f : a->from[i + k] * a->scale;
            a->to[i + k] = a->back ? a->to[i + k] + v : v;
        }
    }
}

static void dropout_backward(mcs_ctx *c, mcs_node *n)
{
    dropout_args a = *(dropout_args *)n->saved;
    a.from = n->grad;
    a.to = mcs_grad_buf(c, n->in[0]);
    a.back = true;
    if (a.to)
        mcs_parallel_for(c, mcs_numel(n->out), GRAIN, dropout_range, &a);
}

static const mcs_op op_dropout = { "dropout", dropout_backward };

mcs_tensor *mcs_dropout(mcs_ctx *c, const mcs_tensor *x, float p)
{
    if (!mcs_ok(c, "dropout", x))
        return NULL;
    if (!(p >= 0.0f && p < 1.0f))
        return mcs_fail(c, MCS_EINVAL, "dropout: probability %g is outside [0, 1)", (double)p);
    if (p == 0.0f || !mcs_ctx_training(c))
        return (mcs_tensor *)x; /* const is shallow: nobody writes to a result */
    mcs_tensor *y = mcs_new_like(c, x);
    dropout_args *a = mcs_alloc(c, sizeof *a);
    if (!y || !a)
        return NULL;
    *a = (dropout_args){ .dropped = (uint32_t)((double)p * 4294967296.0),
                         .scale = (float)(1.0 / (1.0 - (double)p)),
                         .from = mcs_f32(x),
                         .to = mcs_f32(y) };
    mcs_next_stream(c, a->key);
    mcs_parallel_for(c, mcs_numel(x), GRAIN, dropout_range, a);
    return mcs_record(c, &op_dropout, y, a, MCS_INPUTS(x));
}
