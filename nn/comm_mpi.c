/* comm_mpi.c - ranks are MPI processes (make MPI=1; Open MPI or MPICH).  Errors inside MPI end all
 * ranks, as is its default: there is nothing to save that the last checkpoint does not hold. */
#include <mpi.h>
#include <stdlib.h>
#include "nn/comm_internal.h"

typedef struct {
    int *counts, *starts; /* (size) */
} mpi_link;

static mcs_status done(int code, const char *what, mcs_error *e)
{
    return code == MPI_SUCCESS ? MCS_OK
                               : mcs_error_set(e, MCS_EIO, "MPI: %s failed (%d)", what, code);
}

static mcs_status mpi_gather(mcs_comm *c, const void *mine, const size_t *bytes, void *all,
                             mcs_error *e)
{
    const mpi_link *l = c->link;
    for (int r = 0, at = 0; r < c->size; r++) {
        l->counts[r] = (int)bytes[r];
        l->starts[r] = at;
        at += l->counts[r];
    }
    return done(MPI_Allgatherv(mine, l->counts[c->rank], MPI_BYTE, all, l->counts, l->starts,
                               MPI_BYTE, MPI_COMM_WORLD),
                "MPI_Allgatherv", e);
}

static mcs_status mpi_exchange(mcs_comm *c, const float *x, int64_t share, float *in, mcs_error *e)
{
    (void)c;
    return done(MPI_Alltoall(x, (int)share, MPI_FLOAT, in, (int)share, MPI_FLOAT, MPI_COMM_WORLD),
                "MPI_Alltoall", e);
}

static mcs_status mpi_broadcast(mcs_comm *c, void *x, size_t bytes, mcs_error *e)
{
    (void)c;
    return done(MPI_Bcast(x, (int)bytes, MPI_BYTE, 0, MPI_COMM_WORLD), "MPI_Bcast", e);
}

static void mpi_abort(mcs_comm *c, int code)
{
    (void)c;
    MPI_Abort(MPI_COMM_WORLD, code);
}

static void release(mcs_comm *c)
{
    mpi_link *l = c->link;
    if (l) {
        free(l->counts);
        free(l->starts);
    }
    free(l);
    mcs_comm_drop(c);
    free(c);
}

static void mpi_close(mcs_comm *c)
{
    release(c);
    MPI_Finalize();
}

static const mcs_comm_calls mpi_calls = { mpi_gather, mpi_exchange, mpi_broadcast, mpi_abort,
                                          mpi_close };

static mcs_comm *make(int rank, int size)
{
    mcs_comm *c = calloc(1, sizeof *c);
    mpi_link *l = calloc(1, sizeof *l);
    if (!c || !l) {
        free(c);
        free(l);
        return NULL;
    }
    *c = (mcs_comm){ .calls = &mpi_calls, .rank = rank, .size = size, .link = l };
    l->counts = malloc((size_t)size * sizeof *l->counts);
    l->starts = malloc((size_t)size * sizeof *l->starts);
    if (l->counts && l->starts && mcs_comm_prepare(c))
        return c;
    release(c);
    return NULL;
}

/* Was this process started by a launcher?  Without one there is no need to wait for MPI_Init. */
static bool is_launched(void)
{
    static const char *const names[] = { "OMPI_COMM_WORLD_SIZE", "PMIX_RANK", "PMI_RANK",
                                         "PMI_SIZE" };
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (getenv(names[i]))
            return true;
    return false;
}

mcs_comm *mcs_comm_open_mpi(mcs_error *e)
{
    int level, rank = 0, size = 1, was = 0;
    if (!is_launched())
        return NULL;
    if (MPI_Initialized(&was) != MPI_SUCCESS || was ||
        MPI_Init_thread(NULL, NULL, MPI_THREAD_FUNNELED, &level) != MPI_SUCCESS ||
        MPI_Comm_rank(MPI_COMM_WORLD, &rank) != MPI_SUCCESS ||
        MPI_Comm_size(MPI_COMM_WORLD, &size) != MPI_SUCCESS) {
        mcs_error_set(e, MCS_EIO, "MPI: cannot begin%s", was ? ": it was begun before" : "");
        return NULL;
    }
    mcs_comm *c = make(rank, size);
    if (!c) {
        mcs_error_set(e, MCS_ENOMEM, "MPI: out of memory");
        MPI_Abort(MPI_COMM_WORLD, 1);
    }
    return c;
}
