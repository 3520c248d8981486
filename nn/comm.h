/* comm.h - what the processes ("ranks") of a data-parallel training say to each other.
 *
 * A NULL mcs_comm is a single process: every function below accepts it and then is the identity.
 * All others are collective: each rank calls them, in the same order.  Results are a function of
 * the values and of the number of ranks alone: sums are taken in the order of the ranks, which
 * MPI_Allreduce does not promise.
 *
 *     mcs_comm *comm = mcs_comm_open(&e);         NULL and MCS_OK: a single process
 *     ...each rank computes gradients of its share of the batch...
 *     if (mcs_comm_agree(comm, &e) == MCS_OK)     did all succeed?
 *         mcs_params_sum_grads(p, comm, &e);
 *     mcs_comm_close(comm);
 */
#ifndef MCS_COMM_H
#define MCS_COMM_H
#include <stddef.h>
#include "nn/nn.h"

typedef struct mcs_comm mcs_comm;

/* The ranks that mpirun or srun started together, if the library was built with MPI=1 (MPI-3,
 * thread level FUNNELED: call only from the thread that opened it).  NULL with e->status MCS_OK: a
 * process of its own.  MCS_EINVAL: a launcher started several ranks, but the library was built
 * without MPI; MCS_EIO: MPI failed. */
mcs_comm *mcs_comm_open(mcs_error *e);
/* Waits for all ranks.  Nullable: c. */
void mcs_comm_close(mcs_comm *c);
/* Ends all ranks at once, with this exit code if the launcher passes it on: for failures after
 * which the others would wait for ever.  With MPI it does not return. */
void mcs_comm_abort(mcs_comm *c, int code);

int mcs_comm_rank(const mcs_comm *c); /* 0 .. size-1; NULL: 0 */
int mcs_comm_size(const mcs_comm *c); /* NULL: 1 */

/* Rank r gives bytes[r] bytes (all ranks know all counts); all ranks get the parts one after the
 * other.  At most INT_MAX bytes in all. */
mcs_status mcs_comm_gather_parts(mcs_comm *c, const void *mine, const size_t *bytes, void *all,
                                 mcs_error *e) MCS_MUST_CHECK;
/* The same with `bytes` from each: all has size * bytes. */
mcs_status mcs_comm_gather(mcs_comm *c, const void *mine, size_t bytes, void *all,
                           mcs_error *e) MCS_MUST_CHECK;
/* x[i] = sum over the ranks of their x[i], in double, from rank 0 to the last, rounded once: every
 * rank has the same bits.  Sends 2 n (R-1)/R floats a rank. */
mcs_status mcs_comm_sum(mcs_comm *c, float *x, int64_t n, mcs_error *e) MCS_MUST_CHECK;
/* The same of one double, not rounded. */
mcs_status mcs_comm_sum_double(mcs_comm *c, double *x, mcs_error *e) MCS_MUST_CHECK;
/* x of rank 0 to all. */
mcs_status mcs_comm_broadcast(mcs_comm *c, void *x, size_t bytes, mcs_error *e) MCS_MUST_CHECK;
/* v[i] = the largest of the ranks' v[i]; n <= 16. */
mcs_status mcs_comm_max(mcs_comm *c, int *v, int n, mcs_error *e) MCS_MUST_CHECK;
/* The state that all agree on: MCS_OK if e is MCS_OK everywhere, else the status of the first rank
 * that failed; there e stays, on ranks that did not fail it becomes "rank N: " and its message. */
mcs_status mcs_comm_agree(mcs_comm *c, mcs_error *e) MCS_MUST_CHECK;

/* ---- Of a store ---- */

/* Sums the gradients of all weights that are trained (the same on all ranks) over the ranks. */
mcs_status mcs_params_sum_grads(mcs_params *p, mcs_comm *c, mcs_error *e) MCS_MUST_CHECK;
/* All weights and buffers of rank 0 to all. */
mcs_status mcs_params_broadcast(mcs_params *p, mcs_comm *c, mcs_error *e) MCS_MUST_CHECK;

/* ---- Ranks that are threads of this process, for tests ---- */

/* Runs body(comm, arg) in `size` threads (1 to 64), each with its own comm, and waits for them.
 * What they share must not be written.  After mcs_comm_abort() in one of them, the others'
 * functions return MCS_EIO.  MCS_ENOMEM: not all threads could be started; none ran body. */
mcs_status mcs_comm_threads(int size, void (*body)(mcs_comm *c, void *arg), void *arg,
                            mcs_error *e) MCS_MUST_CHECK;
#endif
