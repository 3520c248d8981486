/* recompute.c - blocks whose tape is made when backward needs it.
 *
 * A network of L blocks keeps L inputs and, while backward runs, the tape of one block, instead of
 * L tapes.  The block's forward runs without recording.  It is one node of the outer tape, if
 * anything in it would have been recorded: frozen blocks stay off the tape.  Backward puts the
 * random stream back to where the block began, records the block at the end of the tape, hands
 * its result the gradient of the node, walks the new part back and drops it.  The block is given
 * x itself, not a copy, so the gradient of x is summed in the order in which it would have been
 * without all this: the bits are the same. */
#include <math.h>
#include <string.h>
#include "tensor/ctx_internal.h"

typedef struct {
    mcs_recomputed *fn;
    void *arg;
    uint64_t seed, stream, op_counter; /* where the block's random numbers begin */
    bool training;
} block_notes;

/* The tape of the block, at the end of the tape.  Hooks set since forward wait for the next one:
 * what they would keep is dropped here. */
static mcs_tensor *record_again(mcs_ctx *c, const block_notes *b, const mcs_tensor *x)
{
    const mcs_ctx now = *c;
    c->grad = true;
    c->hook_count = 0;
    c->trace = NULL;
    c->seed = b->seed;
    c->stream = b->stream;
    c->op_counter = b->op_counter;
    c->training = b->training;
    mcs_tensor *y = b->fn(c, b->arg, x);
    c->grad = now.grad;
    c->hook_count = now.hook_count;
    c->trace = now.trace;
    c->seed = now.seed;
    c->stream = now.stream;
    c->op_counter = now.op_counter;
    c->training = now.training;
    return y;
}

/* The gradient is moved, not copied; who wants to keep it (a watch) gets it back. */
static void recompute_backward(mcs_ctx *c, mcs_node *n)
{
    const int64_t end = c->tape_count;
    mcs_tensor *y = record_again(c, n->saved, n->in[0]);
    if (y && y->node) {
        y->node->grad = n->grad;
        y->node->keep_grad = n->keep_grad;
        if (!n->keep_grad)
            n->grad = NULL;
        mcs_tape_walk(c, end);
    }
    c->tape_count = end;
}

static const mcs_op op_recompute = { "recompute", recompute_backward };

/* fn without a tape; *wanted: with one, it would have been recorded. */
static mcs_tensor *run_unrecorded(mcs_ctx *c, mcs_recomputed *fn, const void *arg,
                                  const mcs_tensor *x, bool *wanted)
{
    mcs_set_grad(c, false);
    c->probing = true;
    c->wanted = false;
    mcs_scope s = mcs_scope_begin(c);
    mcs_tensor *y = fn(c, arg, x);
    if (y != x)
        y = mcs_scope_end(c, s, y);
    *wanted = c->wanted;
    c->probing = false;
    mcs_set_grad(c, true);
    return y;
}

/* Blocks that are run again are spread evenly, the first one among them: at the end of the tape, where
 * backward begins and memory is fullest, those that are kept are better. */
static bool is_turn(mcs_ctx *c)
{
    double share = (double)c->recompute_share, seen = (double)c->recompute_seen++;
    return ceil((seen + 1) * share) > ceil(seen * share);
}

mcs_tensor *mcs_recompute(mcs_ctx *c, mcs_recomputed *fn, const void *arg, size_t bytes,
                          const mcs_tensor *x)
{
    if (!x || c->error.status != MCS_OK)
        return NULL;
    return c->recompute && c->grad && is_turn(c) ? mcs_recompute_always(c, fn, arg, bytes, x)
                                                 : fn(c, arg, x);
}

mcs_tensor *mcs_recompute_always(mcs_ctx *c, mcs_recomputed *fn, const void *arg, size_t bytes,
                                 const mcs_tensor *x)
{
    if (!x || c->error.status != MCS_OK)
        return NULL;
    if (!c->grad || c->hook_count || c->trace)
        return fn(c, arg, x);
    block_notes *b = mcs_alloc(c, sizeof *b);
    void *copy = mcs_alloc(c, bytes);
    if (!b || !copy)
        return NULL;
    if (bytes)
        memcpy(copy, arg, bytes);
    *b = (block_notes){ .fn = fn,
                        .arg = copy,
                        .seed = c->seed,
                        .stream = c->stream,
                        .op_counter = c->op_counter,
                        .training = c->training };
    bool wanted;
    mcs_tensor *y = run_unrecorded(c, fn, copy, x, &wanted);
    if (!y || y == x || y->node || !wanted) /* what the block did not make is not its node's */
        return y;
    return mcs_record_node(c, &op_recompute, y, b, MCS_INPUTS(x));
}

bool mcs_set_recompute(mcs_ctx *c, bool on)
{
    bool old = c->recompute;
    c->recompute = on;
    return old;
}

void mcs_set_recompute_share(mcs_ctx *c, float share)
{
    c->recompute_share = share;
}
