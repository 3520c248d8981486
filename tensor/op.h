/* op.h - what an operation is written with.  Private: included by tensor/, nn/, losses/ and cam/ only.
 *
 * An operation is a function that checks its inputs, computes at once into a new tensor, and
 * calls mcs_record() with the address of its `static const mcs_op`.  See op_gelu.c. */
#ifndef MCS_OP_H
#define MCS_OP_H
#include "tensor/tensor.h"
#include "tensor/parallel.h"

typedef struct {                    /* one static const per operation, beside its forward */
    const char *name;
    /* Adds d(loss)/d(in) into mcs_grad_buf(c, n->in[i]) for every input that wants it;
     * n->grad holds d(loss)/d(out) and n->saved what the forward left. */
    void (*backward)(mcs_ctx *c, mcs_node *n);
} mcs_op;

struct mcs_node {
    const mcs_op *op;               /* NULL: leaf (parameter, watched tensor, mcs_leaf()) */
    const mcs_tensor *out;
    const mcs_tensor **in;          /* in_count entries, in the arena; entries may be NULL */
    int in_count;
    bool keep_grad;                 /* leaf or watched: the gradient outlives backward */
    void *saved;                    /* forward's notes for backward, in the arena */
    float *grad;                    /* d(loss)/d(out); NULL until first needed */
};

/* 64-byte aligned memory of the context's arena, uninitialised; NULL after mcs_fail(ENOMEM). */
void *mcs_alloc(mcs_ctx *c, size_t bytes);
/* True if recording this op would add a node: grad is on and some input has a node.  An op
 * that must save something for backward asks first. */
bool mcs_will_record(mcs_ctx *c, int in_count, const mcs_tensor *const *in);
/* True while operations may be recorded, now or when a block is run again in backward
 * (mcs_recompute): a layer that has a form for the tape takes it then. */
bool mcs_may_record(const mcs_ctx *c);
/* Gives out a node if mcs_will_record(); returns out (NULL in -> NULL out, and NULL once the
 * context has failed). */
mcs_tensor *mcs_record(mcs_ctx *c, const mcs_op *op, mcs_tensor *out, void *saved,
                       int in_count, const mcs_tensor *const *in);
#define MCS_INPUTS(...) (int)(sizeof((const mcs_tensor *const[]){ __VA_ARGS__ }) / sizeof(void *)), \
                        (const mcs_tensor *const[]){ __VA_ARGS__ }
/* The buffer to add d(loss)/dx into, zeroed when first asked for; NULL: x is NULL or needs no
 * gradient, or memory ran out (then the context has the error and backward stops). */
float *mcs_grad_buf(mcs_ctx *c, const mcs_tensor *x);
/* Numbers of the next operation of the random stream: key for mcs_philox(). */
void mcs_next_stream(mcs_ctx *c, uint64_t key[2]);
/* Philox4x32-10 (Salmon et al. 2011): four 32-bit numbers for (key, counter). */
void mcs_philox(const uint64_t key[2], uint64_t counter, uint32_t out[4]);

/* Shared checks: false (after mcs_fail) unless the context is sound, x is not NULL and f32. */
bool mcs_ok(mcs_ctx *c, const char *op, const mcs_tensor *x);
/* The same and ndim == n, or n < 0: ndim >= -n. */
bool mcs_ok_dim(mcs_ctx *c, const char *op, const mcs_tensor *x, int n);
bool mcs_same_shape(const mcs_tensor *a, const mcs_tensor *b);

/* The kernels for this processor (vec.h). */
const struct mcs_vec *mcs_ctx_vec(const mcs_ctx *c);

/* Elements per range so that a range costs about 64K scalar operations. */
static inline int64_t mcs_grain(int64_t ops_per_item)
{
    int64_t g = 65536 / (ops_per_item < 1 ? 1 : ops_per_item);
    return g < 1 ? 1 : g;
}
#endif
