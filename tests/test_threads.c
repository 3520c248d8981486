/* test_threads.c - the pool: every index once, the same cut whatever the threads, shared pools. */
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include "tests/check.h"
#include "tensor/gemm.h"

enum { COUNT = 10007 };
typedef struct { atomic_int hits[COUNT]; int64_t begins[COUNT]; } tally;

static void count_body(void *arg, int64_t begin, int64_t end)
{
    tally *t = arg;
    for (int64_t i = begin; i < end; i++) {
        atomic_fetch_add(&t->hits[i], 1);
        t->begins[i] = begin;
    }
}

static void test_every_index_once(void **state)
{
    (void)state;
    static tally t;
    for (int threads = 1; threads <= 4; threads++) {
        mcs_pool *p = mcs_pool_new(threads);
        assert_int_equal(mcs_pool_threads(p), threads);
        for (int64_t grain = 1; grain < 20000; grain = grain * 5 + 2) {
            memset(&t, 0, sizeof t);
            mcs_pool_for(p, COUNT, grain, count_body, &t);
            for (int i = 0; i < COUNT; i++) {
                assert_int_equal(t.hits[i], 1);
                assert_int_equal(t.begins[i], i / grain * grain);
            }
        }
        mcs_pool_for(p, 0, 1, count_body, NULL);        /* nothing to do, nothing called */
        mcs_pool_free(p);
    }
    mcs_pool_for(NULL, 3, 0, count_body, &t);
}

typedef struct { mcs_pool *pool; atomic_llong sum; } nested;

static void inner_body(void *arg, int64_t begin, int64_t end)
{
    nested *n = arg;
    atomic_fetch_add(&n->sum, end - begin);
}

static void outer_body(void *arg, int64_t begin, int64_t end)
{
    nested *n = arg;
    for (int64_t i = begin; i < end; i++)
        mcs_pool_for(n->pool, 100, 7, inner_body, n);
}

static void test_nested_runs_serially(void **state)
{
    (void)state;
    nested n = { .pool = mcs_pool_new(3) };
    mcs_pool_for(n.pool, 50, 1, outer_body, &n);
    assert_int_equal(n.sum, 5000);
    mcs_pool_free(n.pool);
}

static void *hammer(void *arg)
{
    nested *n = arg;
    for (int i = 0; i < 300; i++)
        mcs_pool_for(n->pool, 64, 4, inner_body, n);
    return NULL;
}

static void test_two_callers_one_pool(void **state)
{
    (void)state;
    nested n = { .pool = mcs_pool_new(2) };
    pthread_t other;
    assert_int_equal(pthread_create(&other, NULL, hammer, &n), 0);
    hammer(&n);
    pthread_join(other, NULL);
    assert_int_equal(n.sum, 2 * 300 * 64);
    mcs_pool_free(n.pool);
}

/* C for every transposition against three loops in double, with epilogue, batch and strides. */
static void check_gemm(mcs_ctx *c, int64_t m, int64_t n, int64_t k, bool ta, bool tb, bool full)
{
    int64_t batch = full ? 3 : 1;
    mcs_tensor *a = check_random(c, 1, -1, 1, 3, MCS_SHAPE(batch, ta ? k : m, ta ? m : k));
    mcs_tensor *b = check_random(c, 2, -1, 1, 3, MCS_SHAPE(batch, tb ? n : k, tb ? k : n));
    mcs_tensor *bias = check_random(c, 3, -1, 1, 1, &n), *rows = check_random(c, 4, -1, 1, 1, &m);
    mcs_tensor *res = check_random(c, 5, -1, 1, 3, MCS_SHAPE(batch, m, n));
    mcs_tensor *y = mcs_zeros(c, 3, MCS_SHAPE(batch, m, n)), *want = mcs_new_like(c, y);
    mcs_gemm(c, &(mcs_gemm_args){
        .m = m, .n = n, .k = k, .trans_a = ta, .trans_b = tb, .alpha = 0.5f, .a = mcs_f32(a),
        .b = mcs_f32(b), .c = mcs_f32(y), .lda = ta ? m : k, .ldb = tb ? k : n, .ldc = n,
        .batch = batch, .stride_a = m * k, .stride_b = n * k, .stride_c = m * n,
        .bias = full ? mcs_f32(bias) : NULL, .row_bias = full ? mcs_f32(rows) : NULL,
        .act = full ? MCS_ACT_RELU : MCS_ACT_NONE, .residual = full ? mcs_f32(res) : NULL });
    for (int64_t z = 0; z < batch; z++)
        for (int64_t i = 0; i < m; i++)
            for (int64_t j = 0; j < n; j++) {
                const float *pa = mcs_f32(a) + z * m * k, *pb = mcs_f32(b) + z * n * k;
                double s = 0;
                for (int64_t l = 0; l < k; l++)
                    s += (double)pa[ta ? l * m + i : i * k + l] *
                         (double)pb[tb ? j * k + l : l * n + j];
                s *= 0.5;
                if (full) {
                    s += (double)mcs_f32(bias)[j] + (double)mcs_f32(rows)[i];
                    s = (s > 0 ? s : 0) + (double)mcs_f32(res)[(z * m + i) * n + j];
                }
                mcs_f32(want)[(z * m + i) * n + j] = (float)s;
            }
    check_near(y, want, 1e-5f, 1e-4f);
    mcs_ctx_reset(c);
}

static void test_gemm(void **state)
{
    (void)state;
    mcs_ctx *c = check_ctx();
    const int64_t sizes[][3] = { { 1, 1, 1 }, { 7, 13, 5 }, { 1, 97, 64 }, { 130, 3, 33 },
                                 { 197, 150, 70 }, { 600, 40, 30 }, { 30, 900, 20 } };
    for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++)
        for (int f = 0; f < 8; f++)
            check_gemm(c, sizes[s][0], sizes[s][1], sizes[s][2], f & 1, f & 2, f & 4);
    mcs_ctx_free(c);
}

static void test_gemm_threads_bitwise(void **state)
{
    (void)state;
    const int64_t m = 700, n = 900, k = 300;
    float *first = NULL;
    for (int threads = 1; threads <= 4; threads *= 2) {
        mcs_pool *p = mcs_pool_new(threads);
        mcs_ctx *c = mcs_ctx_new(&(mcs_ctx_opts){ .pool = p });
        mcs_tensor *a = check_random(c, 1, -1, 1, 2, MCS_SHAPE(m, k));
        mcs_tensor *b = check_random(c, 2, -1, 1, 2, MCS_SHAPE(n, k));
        mcs_tensor *y = mcs_zeros(c, 2, MCS_SHAPE(m, n));
        mcs_gemm(c, &(mcs_gemm_args){ .m = m, .n = n, .k = k, .trans_b = true, .alpha = 1,
                                      .a = mcs_f32(a), .b = mcs_f32(b), .c = mcs_f32(y),
                                      .lda = k, .ldb = k, .ldc = n, .act = MCS_ACT_GELU });
        size_t bytes = (size_t)(m * n) * sizeof(float);
        if (!first) {
            first = test_malloc(bytes);
            memcpy(first, y->data, bytes);
        }
        assert_memory_equal(first, y->data, bytes);
        mcs_ctx_free(c);
        mcs_pool_free(p);
    }
    test_free(first);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_index_once), cmocka_unit_test(test_nested_runs_serially),
        cmocka_unit_test(test_two_callers_one_pool), cmocka_unit_test(test_gemm),
        cmocka_unit_test(test_gemm_threads_bitwise),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
