/* test_comm.c - collective operations of several ranks, which are threads here: exchanges,
 * sums in a fixed order, agreement on failures. */
#include <math.h>
#include "tests/comm_notes.h"

/* ---- A single process ---- */

static void test_single(void **state)
{
    (void)state;
    mcs_error e = { MCS_OK, "" };
    float x[] = { 1, 2 }, y[2];
    double d = 3;
    int v = -4;
    unsetenv("OMPI_COMM_WORLD_SIZE");
    unsetenv("PMI_SIZE");
    unsetenv("PMI_RANK");
    unsetenv("PMIX_RANK");
    assert_null(mcs_comm_open(&e));
    assert_int_equal(e.status, MCS_OK);
    assert_int_equal(mcs_comm_size(NULL), 1);
    assert_int_equal(mcs_comm_rank(NULL), 0);
    assert_int_equal(mcs_comm_sum(NULL, x, 2, &e), MCS_OK);
    assert_int_equal(mcs_comm_sum_double(NULL, &d, &e), MCS_OK);
    assert_int_equal(mcs_comm_max(NULL, &v, 1, &e), MCS_OK);
    assert_int_equal(mcs_comm_broadcast(NULL, x, sizeof x, &e), MCS_OK);
    assert_int_equal(mcs_comm_gather(NULL, x, sizeof x, y, &e), MCS_OK);
    assert_true(x[1] == 2 && y[1] == 2 && d == 3 && v == -4);
    assert_int_equal(mcs_comm_agree(NULL, &e), MCS_OK);
    mcs_error_set(&e, MCS_EIO, "mine");
    assert_int_equal(mcs_comm_agree(NULL, &e), MCS_EIO);
    mcs_comm_abort(NULL, 1);
    mcs_comm_close(NULL);
}

#ifndef MCS_MPI
static void test_launched_without_mpi(void **state)
{
    (void)state;
    mcs_error e = { MCS_OK, "" };
    setenv("OMPI_COMM_WORLD_SIZE", "3", 1);
    assert_null(mcs_comm_open(&e));
    assert_int_equal(e.status, MCS_EINVAL);
    assert_non_null(strstr(e.message, "make MPI=1"));
    e = (mcs_error){ MCS_OK, "" };
    setenv("OMPI_COMM_WORLD_SIZE", "1", 1);
    assert_null(mcs_comm_open(&e));
    assert_int_equal(e.status, MCS_OK);
    unsetenv("OMPI_COMM_WORLD_SIZE");
}
#endif

/* ---- Gather, broadcast, maximum ---- */

static void exchange(mcs_comm *c, void *arg)
{
    notes *t = arg;
    mcs_error e = { MCS_OK, "" };
    int rank = mcs_comm_rank(c), size = mcs_comm_size(c), all[RANKS_MAX];
    int v[] = { rank, -rank, 7 }, root = 100 + rank;
    char text[32] = "", mine[8];
    size_t bytes[RANKS_MAX];
    for (int r = 0; r < size; r++)
        bytes[r] = (size_t)r; /* rank r says r times its letter */
    memset(mine, 'a' + rank, sizeof mine);
    EXPECT(!mcs_comm_gather(c, &root, sizeof root, all, &e), "gather: %s", e.message);
    for (int r = 0; r < size; r++)
        EXPECT(all[r] == 100 + r, "gather: %d from %d", all[r], r);
    EXPECT(!mcs_comm_gather_parts(c, mine, bytes, text, &e), "parts: %s", e.message);
    EXPECT(strncmp(text, "bccdddeeee", strlen(text)) == 0 &&
               (int)strlen(text) == size * (size - 1) / 2,
           "parts: '%s'", text);
    EXPECT(!mcs_comm_max(c, v, 3, &e), "max: %s", e.message);
    EXPECT(v[0] == size - 1 && v[1] == 0 && v[2] == 7, "max: %d %d %d", v[0], v[1], v[2]);
    EXPECT(!mcs_comm_broadcast(c, &root, sizeof root, &e), "broadcast: %s", e.message);
    EXPECT(root == 100, "broadcast: %d", root);
}

static void test_exchange(void **state)
{
    (void)state;
    for (int size = 1; size <= RANKS_MAX; size++)
        run_ranks(size, exchange, &(notes){ .n = 0 });
}

/* ---- Sums ---- */

/* Large terms that cancel if they are added first, and only then: the order shows. */
static float term(int rank, int64_t i)
{
    uint64_t x = ((uint64_t)i + 1) * UINT64_C(0x9E3779B97F4A7C15) + (uint64_t)rank * 7919;
    x = (x ^ (x >> 29)) * UINT64_C(0xBF58476D1CE4E5B9);
    if (i % 3 == 0 && rank < 2)
        return ldexpf(rank ? -1.0f : 1.0f, 60);
    return ldexpf((float)(int64_t)(x >> 40) - 8e6f, (int)(x % 40) - 30);
}

static void sum(mcs_comm *c, void *arg)
{
    notes *t = arg;
    mcs_error e = { MCS_OK, "" };
    int rank = mcs_comm_rank(c);
    float *x = malloc((size_t)(t->n + 1) * sizeof *x);
    double d = 0.1 * (rank + 1), want = 0;
    for (int64_t i = 0; i < t->n; i++)
        x[i] = term(rank, i);
    x[t->n] = -5;
    EXPECT(!mcs_comm_sum(c, x, t->n, &e), "sum: %s", e.message);
    EXPECT(x[t->n] == -5, "sum: wrote behind the end");
    EXPECT(!mcs_comm_sum_double(c, &d, &e), "sum_double: %s", e.message);
    for (int r = 0; r < mcs_comm_size(c); r++)
        want += 0.1 * (r + 1);
    EXPECT(d == want, "sum_double: %.17g", d);
    t->sums[rank] = x;
}

static void test_sum_in_order(void **state)
{
    (void)state;
    static const int64_t sizes[] = { 0, 1, 3, 1000, (1 << 20) + 5 }; /* the last: two blocks */
    for (int size = 1; size <= RANKS_MAX; size++)
        for (int k = 0; k < 5; k++) {
            notes t = { .n = sizes[k] };
            run_ranks(size, sum, &t);
            for (int64_t i = 0; i < t.n; i++) {
                double want = 0;
                for (int r = 0; r < size; r++)
                    want += (double)term(r, i);
                for (int r = 0; r < size; r++)
                    if (t.sums[r][i] != (float)want)
                        fail_msg("element %d of rank %d: %.9g, expected %.9g", (int)i, r,
                                 (double)t.sums[r][i], want);
            }
            for (int r = 0; r < size; r++)
                free(t.sums[r]);
        }
}

/* ---- Failures ---- */

static void agree(mcs_comm *c, void *arg)
{
    notes *t = arg;
    mcs_error e = { MCS_OK, "" };
    int rank = mcs_comm_rank(c);
    EXPECT(mcs_comm_agree(c, &e) == MCS_OK && e.status == MCS_OK, "nobody failed");
    if (rank == 1 || rank == 3)
        mcs_error_set(&e, rank == 1 ? MCS_EIO : MCS_ENOMEM, "disk %d", rank);
    EXPECT(mcs_comm_agree(c, &e) == MCS_EIO, "the first failure counts");
    const char *want = rank == 1 ? "disk 1" : rank == 3 ? "disk 3" : "rank 1: disk 1";
    EXPECT(strcmp(e.message, want) == 0, "'%s' instead of '%s'", e.message, want);
}

static void abandon(mcs_comm *c, void *arg)
{
    notes *t = arg;
    mcs_error e = { MCS_OK, "" };
    float x = 1;
    EXPECT(!mcs_comm_sum(c, &x, 1, &e), "%s", e.message);
    if (mcs_comm_rank(c) == 2) {
        mcs_comm_abort(c, 1);
        return;
    }
    EXPECT(mcs_comm_sum(c, &x, 1, &e) == MCS_EIO, "waited for a rank that had ended");
    EXPECT(strstr(e.message, "rank 2") != NULL, "'%s'", e.message);
}

static void test_failures(void **state)
{
    (void)state;
    mcs_error e = { MCS_OK, "" };
    run_ranks(4, agree, &(notes){ .n = 0 });
    run_ranks(3, abandon, &(notes){ .n = 0 });
    assert_int_equal(mcs_comm_threads(0, agree, NULL, &e), MCS_EINVAL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_single),
#ifndef MCS_MPI
        cmocka_unit_test(test_launched_without_mpi),
#endif
        cmocka_unit_test(test_exchange),
        cmocka_unit_test(test_sum_in_order),
        cmocka_unit_test(test_failures),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
