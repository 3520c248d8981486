/* comm_threads.c - ranks are threads of one process, so that tests of data-parallel training need
 * no MPI.  Each lays down the address of what it has to give, waits for all, copies what it wants
 * from the others, and waits again before its own may change. */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include "nn/comm_internal.h"

enum { THREADS_MAX = 64 };

typedef struct {
    pthread_mutex_t lock;
    pthread_cond_t turned;
    int size, waiting;
    unsigned round;
    bool broken; /* a rank has gone */
    int blamed;
    const void *given[THREADS_MAX];
} meeting;

typedef struct {
    mcs_comm comm;
    void (*body)(mcs_comm *c, void *arg);
    void *arg;
    pthread_t thread;
} member;

/* Lays down `mine` and waits for all.  In the end each rank waits again, with mine NULL. */
static mcs_status meet(const mcs_comm *c, const void *mine, mcs_error *e)
{
    meeting *m = c->link;
    pthread_mutex_lock(&m->lock);
    unsigned round = m->round;
    if (mine)
        m->given[c->rank] = mine;
    if (!m->broken && ++m->waiting == m->size) {
        m->waiting = 0;
        m->round++;
        pthread_cond_broadcast(&m->turned);
    }
    while (!m->broken && m->round == round)
        pthread_cond_wait(&m->turned, &m->lock);
    bool met = m->round != round;
    int blamed = m->blamed;
    pthread_mutex_unlock(&m->lock);
    return met ? MCS_OK : mcs_error_set(e, MCS_EIO, "rank %d has ended", blamed);
}

static mcs_status thread_gather(mcs_comm *c, const void *mine, const size_t *bytes, void *all,
                                mcs_error *e)
{
    const meeting *m = c->link;
    char *to = all;
    mcs_status s = meet(c, mine ? mine : all, e);
    for (int r = 0; r < c->size && s == MCS_OK; r++) {
        if (bytes[r])
            memmove(to, m->given[r], bytes[r]);
        to += bytes[r];
    }
    return s == MCS_OK ? meet(c, NULL, e) : s;
}

static mcs_status thread_exchange(mcs_comm *c, const float *x, int64_t share, float *in,
                                  mcs_error *e)
{
    const meeting *m = c->link;
    mcs_status s = meet(c, x, e);
    for (int r = 0; r < c->size && s == MCS_OK; r++)
        memcpy(in + r * share, (const float *)m->given[r] + c->rank * share,
               (size_t)share * sizeof *in);
    return s == MCS_OK ? meet(c, NULL, e) : s;
}

static mcs_status thread_broadcast(mcs_comm *c, void *x, size_t bytes, mcs_error *e)
{
    const meeting *m = c->link;
    mcs_status s = meet(c, x, e);
    if (s == MCS_OK && c->rank)
        memcpy(x, m->given[0], bytes);
    return s == MCS_OK ? meet(c, NULL, e) : s;
}

static void thread_abort(mcs_comm *c, int code)
{
    meeting *m = c->link;
    (void)code;
    pthread_mutex_lock(&m->lock);
    if (!m->broken)
        m->blamed = c->rank;
    m->broken = true;
    pthread_cond_broadcast(&m->turned);
    pthread_mutex_unlock(&m->lock);
}

static const mcs_comm_calls thread_calls = { thread_gather, thread_exchange, thread_broadcast,
                                             thread_abort, NULL };

static void *run(void *arg)
{
    member *m = arg;
    mcs_error e = { MCS_OK, "" };
    if (meet(&m->comm, NULL, &e) != MCS_OK) /* not all could be started */
        return NULL;
    m->body(&m->comm, m->arg);
    thread_abort(&m->comm, 0); /* whoever still waits for this rank waits in vain */
    return NULL;
}

static bool start(member *m, meeting *place, int rank)
{
    m->comm =
        (mcs_comm){ .calls = &thread_calls, .rank = rank, .size = place->size, .link = place };
    return mcs_comm_prepare(&m->comm) && pthread_create(&m->thread, NULL, run, m) == 0;
}

mcs_status mcs_comm_threads(int size, void (*body)(mcs_comm *c, void *arg), void *arg, mcs_error *e)
{
    meeting place = { .size = size };
    int started = 0;
    if (size < 1 || size > THREADS_MAX)
        return mcs_error_set(e, MCS_EINVAL, "ranks: %d threads; 1 to %d are possible", size,
                             THREADS_MAX);
    member *all = calloc((size_t)size, sizeof *all);
    if (!all)
        return mcs_error_set(e, MCS_ENOMEM, "ranks: out of memory");
    pthread_mutex_init(&place.lock, NULL);
    pthread_cond_init(&place.turned, NULL);
    for (; started < size; started++) {
        all[started].body = body;
        all[started].arg = arg;
        if (!start(&all[started], &place, started))
            break;
    }
    if (started < size)
        thread_abort(&all[started].comm, 0);
    for (int i = 0; i < started; i++)
        pthread_join(all[i].thread, NULL);
    for (int i = 0; i < size; i++)
        mcs_comm_drop(&all[i].comm);
    free(all);
    pthread_cond_destroy(&place.turned);
    pthread_mutex_destroy(&place.lock);
    return started == size ? MCS_OK
                           : mcs_error_set(e, MCS_ENOMEM, "ranks: only %d of %d threads started",
                                           started, size);
}
