/* comm_notes.h - what ranks that are threads report to the test. */
#ifndef MCS_TEST_COMM_NOTES_H
#define MCS_TEST_COMM_NOTES_H
#include <stdlib.h>
#include <string.h>
#include "nn/comm.h"
#include "tests/check.h"

enum { RANKS_MAX = 5 };

/* cmocka's assertions belong to the main thread: a rank notes what is wrong. */
typedef struct {
    mcs_status status[RANKS_MAX];
    char wrong[RANKS_MAX][1200];
    int64_t n;
    float *sums[RANKS_MAX];
} notes;

#define EXPECT(ok, ...)                                                                            \
    do {                                                                                           \
        if (!(ok) && !t->wrong[mcs_comm_rank(c)][0])                                               \
            snprintf(t->wrong[mcs_comm_rank(c)], sizeof t->wrong[0], __VA_ARGS__);                 \
    } while (0)

static inline void run_ranks(int size, void (*body)(mcs_comm *, void *), notes *t)
{
    mcs_error e = { MCS_OK, "" };
    assert_int_equal(mcs_comm_threads(size, body, t, &e), MCS_OK);
    for (int r = 0; r < size; r++)
        if (t->wrong[r][0])
            fail_msg("%d ranks, rank %d: %s", size, r, t->wrong[r]);
}
#endif
