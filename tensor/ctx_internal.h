/* ctx_internal.h - what a context is made of.  Private to tensor/. */
#ifndef MCS_CTX_INTERNAL_H
#define MCS_CTX_INTERNAL_H
#include "tensor/arena_internal.h"
#include "tensor/op.h"

struct mcs_vec;

typedef struct {                /* one mcs_watch() or mcs_hook_add() */
    char *name;
    mcs_hook *fn;               /* NULL: a watch */
    void *arg;
    mcs_tensor *seen;           /* watch: the output, once reached */
} mcs_hook_entry;

typedef struct mcs_pinned { struct mcs_pinned *next; } mcs_pinned;

typedef struct { float *data; size_t bytes; } mcs_free_grad;

struct mcs_ctx {
    mcs_error error;
    mcs_arena work;             /* tensors, saved values, scratch */
    mcs_arena grads;            /* gradients of intermediate tensors; apart from work so that
                                   each backward function can run in a scope of its own */
    mcs_pool *pool;
    const struct mcs_vec *vec;  /* kernels for this processor */
    mcs_precision precision;
    bool grad, training;
    float recompute_share;      /* of the blocks, see mcs_set_recompute_share */
    int64_t recompute_seen;     /* blocks since the last reset */
    bool free_tape;             /* mcs_backward_free() is under way */
    bool recompute;             /* blocks keep only their input, see recompute.c */
    bool probing, wanted;       /* grad is off, but tell whether anything would be recorded */

    mcs_node **tape;            /* in order of execution, hence topological */
    int64_t tape_count, tape_capacity;
    mcs_free_grad *free_grads;  /* released gradient buffers, to be used again */
    int64_t free_count, free_capacity;

    mcs_hook_entry *hooks;
    int hook_count, hook_capacity;
    mcs_pinned *pinned;         /* watched tensors that a scope must not free */
    void (*trace)(const char *name, const mcs_tensor *x, void *arg);
    void *trace_arg;

    uint64_t seed, stream, op_counter;
};

/* tape.c: mcs_record() without asking mcs_will_record(). */
mcs_tensor *mcs_record_node(mcs_ctx *c, const mcs_op *op, mcs_tensor *out, void *saved,
                            int in_count, const mcs_tensor *const *in);
/* tape.c: the tape backwards, from its end to node `first`. */
void mcs_tape_walk(mcs_ctx *c, int64_t first);
/* tape.c: appends a leaf node for x; NULL after mcs_fail(). */
mcs_node *mcs_node_leaf(mcs_ctx *c, const mcs_tensor *x);
/* hook.c: frees pinned tensors and forgets what the watches saw. */
void mcs_hooks_reset(mcs_ctx *c);
/* threads.c: runs OpenBLAS on one thread from now on. */
void mcs_blas_single(void);
#endif
