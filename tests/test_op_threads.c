/* Every operation of ops.h that is not a product: output and gradients have the same bits on the
 * calling thread alone and on pools of 1, 2 and 4 threads.  Sizes span several ranges. */
#include <stdlib.h>
#include <string.h>
#define OPS_N 4
#define OPS_C 24
#define OPS_H 33
#define OPS_W 67
#include "tests/op_cases.h"

enum { PARTS = 3 };

typedef struct {
    float *data[PARTS]; /* output, gradients of the two inputs; malloced */
    size_t bytes[PARTS];
} result;

static void keep(result *r, int i, const mcs_tensor *x)
{
    r->bytes[i] = x ? (size_t)mcs_numel(x) * sizeof(float) : 0;
    r->data[i] = x ? malloc(r->bytes[i]) : NULL;
    if (x && r->data[i])
        memcpy(r->data[i], x->data, r->bytes[i]);
}

static result run(mcs_pool *pool, int i)
{
    mcs_ctx *c =
        mcs_ctx_new(&(mcs_ctx_opts){ .pool = pool, .seed = 3, .grad = true, .training = true });
    assert_non_null(c);
    mcs_tensor *in[2] = { mcs_leaf(c, first_input(c)), mcs_leaf(c, second_input(c, cases[i].b)) };
    mcs_tensor *y = cases[i].fn(c, in);
    check_ok(c);
    mcs_tensor *dy = check_random(c, 3, -1, 1, y->ndim, y->shape);
    if (mcs_backward(c, y, dy) != MCS_OK)
        check_ok(c);
    result r;
    keep(&r, 0, y);
    keep(&r, 1, mcs_grad(c, in[0]));
    keep(&r, 2, mcs_grad(c, in[1]));
    mcs_ctx_free(c);
    return r;
}

static void release(result *r)
{
    for (int k = 0; k < PARTS; k++)
        free(r->data[k]);
}

static void test_same_bits(void **state)
{
    (void)state;
    for (int i = 0; i < CASES; i++) {
        result serial = run(NULL, i);
        for (int threads = 1; threads <= 4; threads *= 2) {
            mcs_pool *pool = mcs_pool_new(threads);
            result r = run(pool, i);
            for (int k = 0; k < PARTS; k++)
                if (r.bytes[k] != serial.bytes[k] ||
                    (r.bytes[k] && memcmp(r.data[k], serial.data[k], r.bytes[k]) != 0))
                    fail_msg("%s: part %d differs on %d threads", cases[i].name, k, threads);
            release(&r);
            mcs_pool_free(pool);
        }
        release(&serial);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_same_bits) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
