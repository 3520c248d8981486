/* tensor.h - tensors, contexts, automatic differentiation, hooks.  Operations are in ops.h.
 *
 * Computation is float32; data is row-major and contiguous, dimensions in PyTorch's order.  A
 * context owns every tensor made with it; mcs_ctx_reset() or mcs_ctx_free() releases them all.
 * One thread uses a context at a time; different contexts are independent.  A tensor of one
 * context may be a constant input in another that does not outlive it.
 *
 * Errors are sticky: the first failing call records status and message in the context and
 * returns NULL; later calls on that context, or with a NULL tensor, return NULL at once.
 * Compose freely, test the final result only. */
#ifndef MCS_TENSOR_H
#define MCS_TENSOR_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "tensor/status.h"

#define MCS_MAX_DIM 6

typedef enum { MCS_F32, MCS_I64, MCS_U8 } mcs_dtype;

/* The accuracy that products must reach at least, never how values are stored.  Every mode runs
 * in float32 today, which satisfies all of them; reduced-precision kernels come later. */
typedef enum { MCS_PREC_F32, MCS_PREC_BF16X6, MCS_PREC_BF16X3, MCS_PREC_BF16 } mcs_precision;

typedef struct mcs_ctx mcs_ctx;     /* arena, tape, hooks, random stream, first error */
typedef struct mcs_pool mcs_pool;   /* worker threads */
typedef struct mcs_node mcs_node;   /* autograd record (op.h) */

typedef struct mcs_tensor {         /* fields are read-only outside tensor/ and nn/ */
    mcs_dtype dtype;                /* F32 for values, I64 for ids and labels, U8 for masks */
    int ndim;                       /* 0: a scalar */
    int64_t shape[MCS_MAX_DIM];
    void *data;                     /* mcs_numel() elements */
    mcs_node *node;                 /* NULL: no gradient flows into this tensor */
} mcs_tensor;

typedef struct {
    mcs_pool *pool;                 /* Nullable: the calling thread only */
    uint64_t seed;                  /* dropout stream */
    size_t bytes_max;               /* arena limit in bytes; 0: none */
    mcs_precision precision;
    bool grad;                      /* record operations for mcs_backward() */
    bool training;                  /* dropout on, batch norm uses the batch */
} mcs_ctx_opts;

/* ---- Threads.  Results do not depend on the number of threads. ---- */

/* A pool of `threads` threads, the caller being one of them; threads < 1 means one per core.
 * Contexts may share a pool: their parallel sections are serialised.  NULL: out of memory.
 * Side effect on the process: OpenBLAS is set to one thread (it runs inside our workers). */
mcs_pool *mcs_pool_new(int threads);
void mcs_pool_free(mcs_pool *pool);             /* Nullable: pool */
int mcs_pool_threads(const mcs_pool *pool);     /* NULL: 1 */

/* ---- Context ---- */

mcs_ctx *mcs_ctx_new(const mcs_ctx_opts *opts); /* Nullable: opts.  NULL: out of memory */
void mcs_ctx_free(mcs_ctx *c);                  /* Nullable: c */
/* A context with c's settings, pool and what c's memory limit leaves, without c's hooks: for work
 * whose tape is forgotten before c's is.  NULL: out of memory. */
mcs_ctx *mcs_ctx_new_like(const mcs_ctx *c);
void mcs_ctx_reset(mcs_ctx *c);                 /* forgets tensors, tape and error; keeps hooks */
mcs_status mcs_ctx_status(const mcs_ctx *c);
const char *mcs_ctx_message(const mcs_ctx *c);  /* "" if MCS_OK; valid until reset */
mcs_error *mcs_ctx_error(mcs_ctx *c);           /* for functions that take an mcs_error */
size_t mcs_ctx_peak(const mcs_ctx *c);          /* most bytes the arena ever held */
mcs_pool *mcs_ctx_pool(const mcs_ctx *c);
bool mcs_ctx_training(const mcs_ctx *c);
bool mcs_set_training(mcs_ctx *c, bool on);     /* returns the old setting */
/* Restarts the random stream: the masks that follow depend on (seed, stream) alone. */
void mcs_ctx_seed(mcs_ctx *c, uint64_t seed, uint64_t stream);

/* Records the first error of the context and returns NULL. */
mcs_tensor *mcs_fail(mcs_ctx *c, mcs_status s, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* Scopes bound the memory of inference.  scope_end frees all that was made since scope_begin
 * except `keep` (moved, one copy), if nothing was recorded on the tape in between; otherwise
 * the tape needs the values and the scope does nothing.  Nullable: keep. */
typedef struct { int64_t chunk; size_t used; int64_t recorded; } mcs_scope;
mcs_scope mcs_scope_begin(mcs_ctx *c);
mcs_tensor *mcs_scope_end(mcs_ctx *c, mcs_scope s, mcs_tensor *keep);

/* ---- Creation ---- */

/* Shape lists may be written mcs_new(c, 2, MCS_SHAPE(rows, cols)). */
#define MCS_SHAPE(...) ((const int64_t[]){ __VA_ARGS__ })

mcs_tensor *mcs_new(mcs_ctx *c, int ndim, const int64_t *shape);    /* f32, uninitialised */
mcs_tensor *mcs_new_like(mcs_ctx *c, const mcs_tensor *x);          /* f32, uninitialised */
mcs_tensor *mcs_new_typed(mcs_ctx *c, mcs_dtype t, int ndim, const int64_t *shape);
mcs_tensor *mcs_zeros(mcs_ctx *c, int ndim, const int64_t *shape);
mcs_tensor *mcs_full(mcs_ctx *c, int ndim, const int64_t *shape, float value);
mcs_tensor *mcs_scalar(mcs_ctx *c, float value);
mcs_tensor *mcs_from(mcs_ctx *c, mcs_dtype t, int ndim, const int64_t *shape, const void *src);
                                                    /* copies src */
mcs_tensor *mcs_wrap(mcs_ctx *c, mcs_dtype t, int ndim, const int64_t *shape, void *data);
                                                    /* borrows data, which must outlive the tensor */
mcs_tensor *mcs_detach(mcs_ctx *c, const mcs_tensor *x);    /* same data, no gradient */

int64_t mcs_numel(const mcs_tensor *x);
int64_t mcs_dim(const mcs_tensor *x, int i);        /* shape[i]; i < 0 counts from the end; x NULL: 0 */
static inline float *mcs_f32(const mcs_tensor *x) { return (float *)x->data; }
static inline int64_t *mcs_i64(const mcs_tensor *x) { return (int64_t *)x->data; }
static inline uint8_t *mcs_u8(const mcs_tensor *x) { return (uint8_t *)x->data; }
/* "(2, 3, 4)" into buf of n bytes; returns buf. */
const char *mcs_shape_str(const mcs_tensor *x, char *buf, size_t n);

/* ---- Differentiation ---- */

bool mcs_grad_enabled(const mcs_ctx *c);
bool mcs_set_grad(mcs_ctx *c, bool on);             /* returns the old setting */
/* A view of x (same data) whose gradient mcs_backward() will fill: a leaf. */
mcs_tensor *mcs_leaf(mcs_ctx *c, const mcs_tensor *x);
/* Adds d(sum(y*dy))/dx to the gradient of every recorded tensor and parameter.  dy NULL: y is
 * a scalar and dy = 1.  dy has y's shape.  The tape stays until mcs_ctx_reset(); calling twice
 * accumulates into leaves only. */
mcs_status mcs_backward(mcs_ctx *c, const mcs_tensor *y, const mcs_tensor *dy) MCS_MUST_CHECK;
/* The same gradients, bit by bit, while the tape is freed on the way back, and gradients on their
 * way and scratch take the memory it leaves.  Afterwards only that is valid which was made before
 * the first recorded operation (leaves, their gradients) or belongs to no context (parameters); all
 * else, y and dy too, is gone.  While something is watched or hooked it is mcs_backward(). */
mcs_status mcs_backward_free(mcs_ctx *c, const mcs_tensor *y, const mcs_tensor *dy) MCS_MUST_CHECK;
/* The gradient of a leaf, a watched tensor or a parameter as a tensor that shares memory with
 * it; NULL if there is none.  (Intermediate gradients are released as backward proceeds.) */
mcs_tensor *mcs_grad(mcs_ctx *c, const mcs_tensor *x);

/* ---- Memory for time ---- */

/* Part of a network: x and weights to y.  It may draw random numbers, but must leave nothing
 * behind that running it twice would change (running statistics of a batch norm). */
typedef mcs_tensor *mcs_recomputed(mcs_ctx *c, const void *arg, const mcs_tensor *x);
/* fn(c, arg, x).  While mcs_set_recompute() is on and gradients are recorded, the tape keeps only x
 * and y of the block; mcs_backward() runs fn again, with the same random numbers, when it gets
 * there (Chen et al. 2016, "sublinear memory"; torch.utils.checkpoint).  Gradients are the same bit
 * for bit, for the price of a second forward.  `bytes` of arg are copied; tensors that it points to
 * must live as long as the tape, and only x and weights get gradients.  With hooks or a trace set
 * it is a plain call, for whoever looks into a block needs its tape. */
mcs_tensor *mcs_recompute(mcs_ctx *c, mcs_recomputed *fn, const void *arg, size_t bytes,
                          const mcs_tensor *x);
/* The same whatever is set: for what keeps much and costs little. */
mcs_tensor *mcs_recompute_always(mcs_ctx *c, mcs_recomputed *fn, const void *arg, size_t bytes,
                                 const mcs_tensor *x);
bool mcs_set_recompute(mcs_ctx *c, bool on); /* off at first; returns the old setting */
/* Only this share of the blocks since mcs_ctx_reset(), spread evenly: 1 at first, 0.25 every fourth.
 * Memory and time lie in between; the bits stay the same. */
void mcs_set_recompute_share(mcs_ctx *c, float share);

/* ---- Hooks.  Modules call mcs_tap() on their output under their state-dict path. ---- */

typedef mcs_tensor *mcs_hook(mcs_ctx *c, const char *name, mcs_tensor *x, void *arg);
mcs_tensor *mcs_tap(mcs_ctx *c, const char *name, mcs_tensor *x);   /* x, or what the hook returns */
/* Keep that output and its gradient at the next forward.  The name is copied. */
mcs_status mcs_watch(mcs_ctx *c, const char *name) MCS_MUST_CHECK;
/* After forward; NULL if the name was not watched or never reached.  Valid until reset. */
mcs_tensor *mcs_watched(const mcs_ctx *c, const char *name);
/* Replace that output by what fn returns (NULL = fn failed). */
mcs_status mcs_hook_add(mcs_ctx *c, const char *name, mcs_hook *fn, void *arg) MCS_MUST_CHECK;
/* Someone watches or replaces that name, or traces: a module with a fused path then takes the
 * plain one, which passes all taps. */
bool mcs_hooked(const mcs_ctx *c, const char *name);
/* fn is called for every tap that is passed (--list-layers, per-layer comparison); NULL: off. */
void mcs_trace(mcs_ctx *c, void (*fn)(const char *name, const mcs_tensor *x, void *arg), void *arg);
void mcs_hook_clear(mcs_ctx *c);                    /* forgets watches and hooks */

#include "tensor/ops.h"
#endif
