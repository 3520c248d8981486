/* threads.c - the worker pool and the one parallel loop.
 *
 * A loop is cut into ranges of fixed size; threads take the next range from a counter, so a
 * slow thread (another process, a stolen core) delays only its own range.  The cut does not
 * depend on the thread count, hence neither do results.  One loop runs at a time: a caller that
 * finds the pool busy, or is itself a worker, runs its loop serially. */
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <unistd.h>
#include "tensor/ctx_internal.h"

#define SPIN 4000       /* polls before a worker sleeps: a few tens of microseconds */

typedef struct {
    mcs_body *fn;
    void *arg;
    int64_t n, grain, ranges;
    atomic_llong next;
} job;

struct mcs_pool {
    pthread_mutex_t owner;          /* held by the thread whose loop runs */
    pthread_mutex_t lock;           /* guards the fields below */
    pthread_cond_t wake, done;
    job job;
    bool open, quit;                /* open: workers may join the job */
    int active;                     /* workers inside the job */
    atomic_ullong generation;       /* grows with each job; polled without the lock */
    int threads;                    /* workers + the caller */
    pthread_t *workers;
};

static void run_range(const job *j, int64_t i)
{
    int64_t begin = i * j->grain;
    int64_t end = j->n - begin < j->grain ? j->n : begin + j->grain;
    j->fn(j->arg, begin, end);
}

static void work(job *j)
{
    for (;;) {
        int64_t i = atomic_fetch_add(&j->next, 1);
        if (i >= j->ranges)
            return;
        run_range(j, i);
    }
}

static void *worker(void *arg)
{
    mcs_pool *p = arg;
    unsigned long long seen = 0;
    for (;;) {
        for (int i = 0; i < SPIN && atomic_load(&p->generation) == seen; i++)
            ;
        pthread_mutex_lock(&p->lock);
        while (!p->quit && atomic_load(&p->generation) == seen)
            pthread_cond_wait(&p->wake, &p->lock);
        seen = atomic_load(&p->generation);
        bool quit = p->quit, join = p->open;
        p->active += join && !quit;
        pthread_mutex_unlock(&p->lock);
        if (quit)
            return NULL;
        if (!join)
            continue;
        work(&p->job);
        pthread_mutex_lock(&p->lock);
        if (--p->active == 0)
            pthread_cond_signal(&p->done);
        pthread_mutex_unlock(&p->lock);
    }
}

static void run_parallel(mcs_pool *p, int64_t n, int64_t grain, mcs_body *fn, void *arg)
{
    pthread_mutex_lock(&p->lock);
    p->job.fn = fn;
    p->job.arg = arg;
    p->job.n = n;
    p->job.grain = grain;
    p->job.ranges = mcs_range_count(n, grain);
    atomic_store(&p->job.next, 0);
    p->open = true;
    atomic_fetch_add(&p->generation, 1);
    pthread_cond_broadcast(&p->wake);
    pthread_mutex_unlock(&p->lock);

    work(&p->job);

    pthread_mutex_lock(&p->lock);
    p->open = false;
    while (p->active > 0)
        pthread_cond_wait(&p->done, &p->lock);
    pthread_mutex_unlock(&p->lock);
}

void mcs_pool_for(mcs_pool *p, int64_t n, int64_t grain, mcs_body *fn, void *arg)
{
    if (n <= 0)
        return;
    if (grain < 1)
        grain = 1;
    if (p && p->threads > 1 && n > grain && pthread_mutex_trylock(&p->owner) == 0) {
        run_parallel(p, n, grain, fn, arg);
        pthread_mutex_unlock(&p->owner);
        return;
    }
    job j = { .fn = fn, .arg = arg, .n = n, .grain = grain };
    for (int64_t i = 0, ranges = mcs_range_count(n, grain); i < ranges; i++)
        run_range(&j, i);
}

void mcs_parallel_for(mcs_ctx *c, int64_t n, int64_t grain, mcs_body *fn, void *arg)
{
    if (c->error.status == MCS_OK)
        mcs_pool_for(c->pool, n, grain, fn, arg);
}

static bool start_workers(mcs_pool *p, int threads)
{
    p->workers = calloc((size_t)threads, sizeof *p->workers);
    if (!p->workers)
        return false;
    for (p->threads = 1; p->threads < threads; p->threads++)
        if (pthread_create(&p->workers[p->threads - 1], NULL, worker, p) != 0)
            return false;
    return true;
}

mcs_pool *mcs_pool_new(int threads)
{
    if (threads < 1) {
        long cores = sysconf(_SC_NPROCESSORS_ONLN);
        threads = cores < 1 ? 1 : cores > 64 ? 64 : (int)cores;
    }
    mcs_pool *p = calloc(1, sizeof *p);
    if (!p)
        return NULL;
    pthread_mutex_init(&p->owner, NULL);
    pthread_mutex_init(&p->lock, NULL);
    pthread_cond_init(&p->wake, NULL);
    pthread_cond_init(&p->done, NULL);
    mcs_blas_single();
    if (!start_workers(p, threads)) {
        mcs_pool_free(p);
        return NULL;
    }
    return p;
}

void mcs_pool_free(mcs_pool *p)
{
    if (!p)
        return;
    pthread_mutex_lock(&p->lock);
    p->quit = true;
    atomic_fetch_add(&p->generation, 1);
    pthread_cond_broadcast(&p->wake);
    pthread_mutex_unlock(&p->lock);
    for (int i = 0; p->workers && i < p->threads - 1; i++)
        pthread_join(p->workers[i], NULL);
    pthread_cond_destroy(&p->done);
    pthread_cond_destroy(&p->wake);
    pthread_mutex_destroy(&p->lock);
    pthread_mutex_destroy(&p->owner);
    free(p->workers);
    free(p);
}

int mcs_pool_threads(const mcs_pool *p) { return p ? p->threads : 1; }
