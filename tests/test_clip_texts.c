/* test_clip_texts.c - captions in groups of like length: the rows and the gradients of one group. */
#include "models/clip_texts.h"
#include "tests/clip_tiny.h"

enum { COUNT = 37, LENGTH = 9 };

static uint64_t draw(uint64_t *state)
{
    *state = *state * UINT64_C(6364136223846793005) + 1442695040888963407u;
    return *state >> 33;
}

/* Lengths 1 to LENGTH in no order; all of them `same` unless that is 0. */
static void fill(int64_t *ids, int64_t same)
{
    uint64_t state = 7;
    for (int64_t i = 0; i < COUNT; i++) {
        int64_t n = same ? same : 1 + (int64_t)(draw(&state) % LENGTH);
        for (int64_t j = 0; j < LENGTH; j++)
            ids[i * LENGTH + j] = j < n ? 1 + (int64_t)(draw(&state) % 20) : 0;
    }
}

static mcs_tensor *ids_of(mcs_ctx *c, const int64_t *ids, int64_t count)
{
    return mcs_from(c, MCS_I64, 2, MCS_SHAPE(count, LENGTH), ids);
}

static void compare(const int64_t *ids, int64_t count, float tol, size_t *peak)
{
    mcs_biomedclip *m[2] = { load("clip_tiny"), load("clip_tiny") };
    mcs_ctx *c[2] = { check_ctx(), check_ctx() };
    mcs_tensor *y[2];
    for (int k = 0; k < 2; k++) {
        assert_int_equal(mcs_params_train(mcs_biomedclip_params(m[k]), "text.", true), MCS_OK);
        y[k] = k ? mcs_biomedclip_encode_text(c[k], m[k], ids_of(c[k], ids, count), NULL)
                 : mcs_clip_encode_texts(c[k], m[k], ids, count, LENGTH);
        check_ok(c[k]);
        peak[k] = mcs_ctx_peak(c[k]);
        const mcs_tensor *dy = check_random(c[k], 3, -1, 1, 2, y[k]->shape);
        assert_int_equal(mcs_backward_free(c[k], y[k], dy), MCS_OK);
    }
    const mcs_params *p = mcs_biomedclip_params(m[0]);
    for (int64_t i = 0; i < mcs_params_count(p); i++) {
        mcs_param_entry w = mcs_params_at(p, i);
        if (w.tensor->node)
            check_near_named(w.name, mcs_grad(c[0], w.tensor),
                             mcs_grad(c[1], mcs_params_at(mcs_biomedclip_params(m[1]), i).tensor),
                             tol, tol);
    }
    for (int k = 0; k < 2; k++) {
        mcs_ctx_free(c[k]);
        mcs_biomedclip_free(m[k]);
    }
}

static void test_rows(void **state)
{
    (void)state;
    int64_t ids[COUNT * LENGTH];
    fill(ids, 0);
    mcs_biomedclip *m = load("clip_tiny");
    mcs_ctx *c = check_ctx();
    mcs_tensor *y = mcs_clip_encode_texts(c, m, ids, COUNT, LENGTH);
    check_ok(c);
    for (int64_t i = 0; i < COUNT; i++)
        check_near(mcs_rows(c, y, i, i + 1),
                   mcs_biomedclip_encode_text(c, m, ids_of(c, ids + i * LENGTH, 1), NULL), 1e-5f,
                   1e-5f);
    check_ok(c);
    mcs_ctx_free(c);
    mcs_biomedclip_free(m);
}

static void test_gradients(void **state)
{
    (void)state;
    int64_t ids[COUNT * LENGTH];
    size_t peak[2];
    fill(ids, 0);
    compare(ids, COUNT, 2e-5f, peak);
    assert_true((double)peak[0] < 0.9 * (double)peak[1]); /* less padding, less tape */
    compare(ids, 15, 0, peak);                             /* one group */
    fill(ids, 4);
    compare(ids, COUNT, 0, peak); /* nothing to gain */
}

static void test_refusals(void **state)
{
    (void)state;
    int64_t ids[COUNT * LENGTH];
    mcs_biomedclip *m = load("clip_tiny");
    mcs_ctx *c = check_ctx();
    fill(ids, 0);
    ids[5] = 1 << 20;
    check_fails(c, mcs_clip_encode_texts(c, m, ids, COUNT, LENGTH), MCS_EINVAL, "1048576");
    for (int64_t i = 0; i < COUNT * LENGTH; i++)
        ids[i] = 0;
    assert_non_null(mcs_clip_encode_texts(c, m, ids, COUNT, LENGTH)); /* empty ones */
    mcs_ctx_free(c);
    mcs_biomedclip_free(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rows),
        cmocka_unit_test(test_gradients),
        cmocka_unit_test(test_refusals),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
