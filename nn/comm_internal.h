/* comm_internal.h - what a way of passing messages supplies (comm_mpi.c, comm_threads.c). */
#ifndef MCS_COMM_INTERNAL_H
#define MCS_COMM_INTERNAL_H
#include "nn/comm.h"

/* Floats of a sum that travel at a time: 4 MB hide the latency of any network. */
enum { MCS_COMM_BLOCK = 1 << 20 };

typedef struct {
    /* As mcs_comm_gather_parts(). */
    mcs_status (*gather)(mcs_comm *c, const void *mine, const size_t *bytes, void *all,
                         mcs_error *e);
    /* x (size,share): row r goes to rank r, which gets in (size,share), row q from rank q. */
    mcs_status (*exchange)(mcs_comm *c, const float *x, int64_t share, float *in, mcs_error *e);
    mcs_status (*broadcast)(mcs_comm *c, void *x, size_t bytes, mcs_error *e);
    void (*stop)(mcs_comm *c, int code);
    void (*close)(mcs_comm *c); /* Nullable */
} mcs_comm_calls;

struct mcs_comm {
    const mcs_comm_calls *calls;
    int rank, size;
    void *link; /* of the calls */
    size_t *bytes; /* (size) scratch */
    float *out, *in; /* (size, share of a block) scratch */
};

/* Scratch for a comm whose rank and size are set; false: out of memory. */
bool mcs_comm_prepare(mcs_comm *c);
void mcs_comm_drop(mcs_comm *c); /* its scratch */

/* comm_mpi.c; only with MPI=1. */
mcs_comm *mcs_comm_open_mpi(mcs_error *e);
#endif
