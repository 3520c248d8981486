/* parallel.h - the one parallel primitive. */
#ifndef MCS_PARALLEL_H
#define MCS_PARALLEL_H
#include "tensor/tensor.h"

/* A parallel version of: for (i = 0; i < n; i++) body(i), cut into ranges of `grain` items (the
 * last may be shorter): fn(arg, begin, end) for each.  The cut depends on n and grain alone,
 * never on the thread count, so a body that writes one partial sum per range (its index is
 * begin / grain) gives the same bits on any number of threads.  fn must not fail and must not
 * allocate from a context; a nested call runs serially.  NULL pool: serial. */
typedef void mcs_body(void *arg, int64_t begin, int64_t end);
void mcs_pool_for(mcs_pool *pool, int64_t n, int64_t grain, mcs_body *fn, void *arg);
/* The same on the context's pool; does nothing once the context has failed. */
void mcs_parallel_for(mcs_ctx *c, int64_t n, int64_t grain, mcs_body *fn, void *arg);

static inline int64_t mcs_range_count(int64_t n, int64_t grain) { return (n + grain - 1) / grain; }
#endif
