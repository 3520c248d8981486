/* comm.c - collective operations from three calls: gather, exchange, broadcast.
 *
 * Sum of n floats over R ranks, in blocks: a block is cut into R shares; rank r gets share r of
 * every rank (exchange), adds them up in double from rank 0 to R-1, and all shares go to all
 * (gather).  Rank r's sum is rounded once and copied, so all ranks hold the same bits; the order of
 * additions depends on R alone.  Traffic is that of the best ring, 2 n (R-1)/R (Rabenseifner 2004,
 * "Optimization of collective reduction operations"). */
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include "nn/comm_internal.h"

int mcs_comm_rank(const mcs_comm *c)
{
    return c ? c->rank : 0;
}

int mcs_comm_size(const mcs_comm *c)
{
    return c ? c->size : 1;
}

/* Floats of a block that each rank adds up. */
static int64_t largest_share(const mcs_comm *c)
{
    return (MCS_COMM_BLOCK + c->size - 1) / c->size;
}

bool mcs_comm_prepare(mcs_comm *c)
{
    size_t n = (size_t)(largest_share(c) * c->size);
    c->bytes = malloc((size_t)c->size * sizeof *c->bytes);
    c->out = calloc(n, sizeof *c->out);
    c->in = calloc(n, sizeof *c->in);
    return c->bytes && c->out && c->in;
}

void mcs_comm_drop(mcs_comm *c)
{
    free(c->bytes);
    free(c->out);
    free(c->in);
    c->bytes = NULL;
    c->out = c->in = NULL;
}

/* ---- Beginning and end ---- */

#ifndef MCS_MPI
/* Several ranks were started, but this library cannot reach the others: each would train alone and
 * write the same files. */
static bool started_among_others(int *ranks)
{
    static const char *const names[] = { "OMPI_COMM_WORLD_SIZE", "PMI_SIZE" };
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        const char *value = getenv(names[i]);
        *ranks = value ? atoi(value) : 0;
        if (*ranks > 1)
            return true;
    }
    return false;
}
#endif

mcs_comm *mcs_comm_open(mcs_error *e)
{
#ifdef MCS_MPI
    return mcs_comm_open_mpi(e);
#else
    int ranks;
    if (started_among_others(&ranks))
        mcs_error_set(e, MCS_EINVAL,
                      "started as one of %d MPI ranks, but built without MPI: build with "
                      "make MPI=1, or start a single process",
                      ranks);
    return NULL;
#endif
}

void mcs_comm_close(mcs_comm *c)
{
    if (c && c->calls->close)
        c->calls->close(c);
}

void mcs_comm_abort(mcs_comm *c, int code)
{
    if (c)
        c->calls->stop(c, code);
}

/* ---- Gather and broadcast ---- */

mcs_status mcs_comm_gather_parts(mcs_comm *c, const void *mine, const size_t *bytes, void *all,
                                 mcs_error *e)
{
    size_t sum = 0;
    if (!c) {
        if (bytes[0])
            memmove(all, mine, bytes[0]);
        return MCS_OK;
    }
    for (int r = 0; r < c->size; r++) {
        if (bytes[r] > INT_MAX - sum)
            return mcs_error_set(e, MCS_EINVAL, "ranks: more than %d bytes to gather", INT_MAX);
        sum += bytes[r];
    }
    return c->calls->gather(c, mine, bytes, all, e);
}

mcs_status mcs_comm_gather(mcs_comm *c, const void *mine, size_t bytes, void *all, mcs_error *e)
{
    if (!c)
        return mcs_comm_gather_parts(NULL, mine, &bytes, all, e);
    for (int r = 0; r < c->size; r++)
        c->bytes[r] = bytes;
    return mcs_comm_gather_parts(c, mine, c->bytes, all, e);
}

mcs_status mcs_comm_broadcast(mcs_comm *c, void *x, size_t bytes, mcs_error *e)
{
    const size_t most = sizeof(float) * MCS_COMM_BLOCK; /* MPI counts in int */
    mcs_status s = MCS_OK;
    for (size_t at = 0; c && at < bytes && s == MCS_OK; at += most)
        s = c->calls->broadcast(c, (char *)x + at, bytes - at < most ? bytes - at : most, e);
    return s;
}

/* ---- Sums, in the order of the ranks ---- */

static mcs_status sum_block(mcs_comm *c, float *x, int64_t n, mcs_error *e)
{
    int64_t share = (n + c->size - 1) / c->size;
    memcpy(c->out, x, (size_t)n * sizeof *x);
    memset(c->out + n, 0, (size_t)(share * c->size - n) * sizeof *x);
    mcs_status s = c->calls->exchange(c, c->out, share, c->in, e);
    if (s != MCS_OK)
        return s;
    for (int64_t i = 0; i < share; i++) {
        double sum = 0;
        for (int r = 0; r < c->size; r++)
            sum += (double)c->in[r * share + i];
        c->in[i] = (float)sum;
    }
    s = mcs_comm_gather(c, c->in, (size_t)share * sizeof *x, c->out, e);
    if (s == MCS_OK)
        memcpy(x, c->out, (size_t)n * sizeof *x);
    return s;
}

mcs_status mcs_comm_sum(mcs_comm *c, float *x, int64_t n, mcs_error *e)
{
    mcs_status s = MCS_OK;
    for (int64_t at = 0; c && at < n && s == MCS_OK; at += MCS_COMM_BLOCK)
        s = sum_block(c, x + at, n - at < MCS_COMM_BLOCK ? n - at : MCS_COMM_BLOCK, e);
    return s;
}

mcs_status mcs_comm_sum_double(mcs_comm *c, double *x, mcs_error *e)
{
    if (!c)
        return MCS_OK;
    double sum = 0, *all = malloc((size_t)c->size * sizeof *all);
    if (!all)
        return mcs_error_set(e, MCS_ENOMEM, "ranks: out of memory");
    mcs_status s = mcs_comm_gather(c, x, sizeof *x, all, e);
    for (int r = 0; r < c->size && s == MCS_OK; r++)
        sum += all[r];
    if (s == MCS_OK)
        *x = sum;
    free(all);
    return s;
}

/* ---- Agreement.  In the scratch of sums, so that it works when memory is short. ---- */

mcs_status mcs_comm_max(mcs_comm *c, int *v, int n, mcs_error *e)
{
    if (!c)
        return MCS_OK;
    if (n > 16 || (int64_t)n * c->size > MCS_COMM_BLOCK)
        return mcs_error_set(e, MCS_EINVAL, "ranks: the largest of %d numbers at once", n);
    mcs_status s = mcs_comm_gather(c, v, (size_t)n * sizeof *v, c->in, e);
    for (int i = 0; i < n * c->size && s == MCS_OK; i++) {
        int other;
        memcpy(&other, (char *)c->in + (size_t)i * sizeof other, sizeof other);
        v[i % n] = other > v[i % n] ? other : v[i % n];
    }
    return s;
}

/* The first rank whose status is not MCS_OK; -1. */
static int first_failed(mcs_comm *c, const mcs_error *mine, mcs_error *e)
{
    int status = (int)mine->status;
    if (mcs_comm_gather(c, &status, sizeof status, c->in, e) != MCS_OK)
        return c->rank;
    for (int r = 0; r < c->size; r++) {
        memcpy(&status, (char *)c->in + (size_t)r * sizeof status, sizeof status);
        if (status != MCS_OK)
            return r;
    }
    return -1;
}

mcs_status mcs_comm_agree(mcs_comm *c, mcs_error *e)
{
    mcs_error lost = { MCS_OK, "" }, first = *e;
    if (!c)
        return e->status;
    int failed = first_failed(c, e, &lost);
    if (failed < 0)
        return MCS_OK;
    if (lost.status == MCS_OK) {
        /* All but the first that failed send nothing: a broadcast whose root is not rank 0. */
        for (int r = 0; r < c->size; r++)
            c->bytes[r] = r == failed ? sizeof first : 0;
        if (c->calls->gather(c, e, c->bytes, &first, &lost) != MCS_OK)
            first = lost;
    } else if (first.status == MCS_OK) {
        first = lost;
    }
    if (e->status == MCS_OK)
        mcs_error_set(e, first.status, "rank %d: %.900s", failed, first.message);
    return first.status;
}
