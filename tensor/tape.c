/* tape.c - recording operations and walking them backwards.
 *
 * Operations run eagerly, so the order of execution is a topological order and the backward
 * pass is a reverse loop.  A gradient buffer of an intermediate tensor is used again as soon as
 * its operation has run; those of leaves and watched tensors stay until the context is reset,
 * those of parameters belong to the parameter store.
 *
 * mcs_backward_free() also rewinds the arena to behind each node whose turn it is: all that was made
 * later has served.  Chunks that become empty so are lent to the gradients until the next reset. */
#include <stdlib.h>
#include <string.h>
#include "tensor/ctx_internal.h"

bool mcs_will_record(mcs_ctx *c, int in_count, const mcs_tensor *const *in)
{
    if (!c->grad && !c->probing)
        return false;
    bool any = false;
    for (int i = 0; i < in_count && !any; i++)
        any = in[i] && in[i]->node;
    if (c->grad)
        return any;
    c->wanted |= any;
    return false;
}

bool mcs_may_record(const mcs_ctx *c) { return c->grad || c->probing; }

static mcs_node *node_new(mcs_ctx *c, const mcs_op *op, const mcs_tensor *out)
{
    if (c->tape_count == c->tape_capacity) {
        int64_t capacity = c->tape_capacity ? 2 * c->tape_capacity : 256;
        mcs_node **grown = realloc(c->tape, (size_t)capacity * sizeof *grown);
        if (!grown) {
            mcs_fail(c, MCS_ENOMEM, "out of memory: the tape has %lld operations",
                     (long long)c->tape_count);
            return NULL;
        }
        c->tape = grown;
        c->tape_capacity = capacity;
    }
    mcs_node *n = mcs_alloc(c, sizeof *n);
    if (!n)
        return NULL;
    memset(n, 0, sizeof *n);
    n->op = op;
    n->out = out;
    c->tape[c->tape_count++] = n;
    return n;
}

mcs_tensor *mcs_record(mcs_ctx *c, const mcs_op *op, mcs_tensor *out, void *saved, int in_count,
                       const mcs_tensor *const *in)
{
    if (c->error.status != MCS_OK)
        return NULL;                    /* the operation ran out of memory on its way */
    bool recorded = out && mcs_will_record(c, in_count, in);
    return recorded ? mcs_record_node(c, op, out, saved, in_count, in) : out;
}

mcs_tensor *mcs_record_node(mcs_ctx *c, const mcs_op *op, mcs_tensor *out, void *saved,
                            int in_count, const mcs_tensor *const *in)
{
    size_t bytes = (size_t)in_count * sizeof *in;
    const mcs_tensor **copy = mcs_alloc(c, bytes);
    mcs_node *n = copy ? node_new(c, op, out) : NULL;
    if (!n)
        return NULL;
    memcpy(copy, in, bytes);
    n->in = copy;
    n->in_count = in_count;
    n->saved = saved;
    out->node = n;
    return out;
}

mcs_node *mcs_node_leaf(mcs_ctx *c, const mcs_tensor *x)
{
    mcs_node *n = node_new(c, NULL, x);
    if (n)
        n->keep_grad = true;
    return n;
}

mcs_tensor *mcs_leaf(mcs_ctx *c, const mcs_tensor *x)
{
    mcs_tensor *leaf = mcs_detach(c, x);
    if (!leaf)
        return NULL;
    leaf->node = mcs_node_leaf(c, leaf);
    return leaf->node ? leaf : NULL;
}

static size_t grad_bytes(const mcs_tensor *x) { return (size_t)mcs_numel(x) * sizeof(float); }

/* A released buffer of nearly the size wanted, else a new one. */
static float *grad_take(mcs_ctx *c, size_t bytes)
{
    for (int64_t i = c->free_count - 1; i >= 0; i--) {
        mcs_free_grad f = c->free_grads[i];
        if (f.bytes >= bytes && f.bytes <= bytes + bytes / 4) {
            c->free_grads[i] = c->free_grads[--c->free_count];
            return f.data;
        }
    }
    float *data = mcs_arena_alloc(&c->grads, bytes);
    if (!data)
        mcs_fail(c, MCS_ENOMEM, "out of memory: a gradient of %zu bytes", bytes);
    return data;
}

static void grad_release(mcs_ctx *c, mcs_node *n)
{
    if (c->free_count == c->free_capacity) {
        int64_t capacity = c->free_capacity ? 2 * c->free_capacity : 64;
        mcs_free_grad *grown = realloc(c->free_grads, (size_t)capacity * sizeof *grown);
        if (!grown)
            return;                     /* the buffer is lost until reset, no harm done */
        c->free_grads = grown;
        c->free_capacity = capacity;
    }
    c->free_grads[c->free_count++] = (mcs_free_grad){ n->grad, grad_bytes(n->out) };
    n->grad = NULL;
}

float *mcs_grad_buf(mcs_ctx *c, const mcs_tensor *x)
{
    if (!x || !x->node || c->error.status != MCS_OK)
        return NULL;
    if (!x->node->grad) {
        x->node->grad = grad_take(c, grad_bytes(x));
        if (x->node->grad)
            memset(x->node->grad, 0, grad_bytes(x));
    }
    return x->node->grad;
}

static bool seed_gradient(mcs_ctx *c, const mcs_tensor *y, const mcs_tensor *dy)
{
    float *g = mcs_grad_buf(c, y);
    if (!g)
        return false;
    if (!dy)
        g[0] += 1.0f;
    else
        for (int64_t i = 0, n = mcs_numel(y); i < n; i++)
            g[i] += mcs_f32(dy)[i];
    return true;
}

void mcs_tape_walk(mcs_ctx *c, int64_t first)
{
    for (int64_t i = c->tape_count - 1; i >= first && c->error.status == MCS_OK; i--) {
        mcs_node *n = c->tape[i];
        if (!n->op || !n->grad)
            continue;
        if (c->free_tape) /* what was made after n has served: it is later on the tape */
            mcs_arena_release(&c->work, mcs_arena_after(&c->work, n, sizeof *n));
        mcs_arena_mark m = mcs_arena_now(&c->work);
        n->op->backward(c, n);
        mcs_arena_release(&c->work, m);
        if (!n->keep_grad && n->grad)
            grad_release(c, n);
    }
}

mcs_status mcs_backward(mcs_ctx *c, const mcs_tensor *y, const mcs_tensor *dy)
{
    if (c->error.status != MCS_OK)
        return c->error.status;
    if (!y || !y->node)
        mcs_fail(c, MCS_EINVAL, "backward: the result does not depend on anything that has a "
                                "gradient; turn grad on before the forward");
    else if (dy ? !mcs_same_shape(y, dy) || dy->dtype != MCS_F32 : mcs_numel(y) != 1)
        mcs_fail(c, MCS_ESHAPE, "backward: %s",
                 dy ? "dy must have the shape of y" : "y is no scalar, so dy is needed");
    else if (seed_gradient(c, y, dy))
        mcs_tape_walk(c, 0);
    return c->error.status;
}

mcs_status mcs_backward_free(mcs_ctx *c, const mcs_tensor *y, const mcs_tensor *dy)
{
    if (c->hook_count > 0)
        return mcs_backward(c, y, dy);
    c->free_tape = true;
    mcs_arena_borrow(&c->grads, &c->work);
    mcs_status status = mcs_backward(c, y, dy);
    mcs_arena_borrow(&c->grads, NULL);
    c->free_tape = false;
    c->tape_count = 0;
    return status;
}

mcs_tensor *mcs_grad(mcs_ctx *c, const mcs_tensor *x)
{
    if (!x || !x->node || !x->node->keep_grad || !x->node->grad)
        return NULL;
    return mcs_wrap(c, MCS_F32, x->ndim, x->shape, x->node->grad);
}
