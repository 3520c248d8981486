/* test_relevance.c - attention relevance and the keep-window scan against PyTorch. */
#include "cam/cam.h"
#include "tests/cam_tiny.h"

static void test_relevance(void **state)
{
    (void)state;
    fixture f = begin();
    f.t.more = 1;
    const char *probs[2] = { "probs.0", "probs.1" };
    mcs_cam_model m = { tiny_features, &f.t, NULL, GRID, GRID, 1 };
    float peak[TEXTS];
    compare(f.c, "relevance", mcs_relevance(f.c, &m, probs, 2, f.image, f.text, peak));
    assert_true(peak[0] > 0);
    assert_int_equal(f.t.calls, 1);
    probs[1] = "probs.2";
    check_fails(f.c, mcs_relevance(f.c, &m, probs, 2, f.image, f.text, NULL), MCS_ENOTFOUND,
                "probs.2");
    mcs_ctx_free(f.c);

    f = begin();
    const char *wrong[1] = { "norm1" };
    check_fails(f.c, mcs_relevance(f.c, &m, wrong, 1, f.image, f.text, NULL), MCS_ESHAPE, "norm1");
    mcs_ctx_free(f.c);
    f = begin();
    m.skip = 0;
    check_fails(f.c, mcs_relevance(f.c, &m, wrong, 1, f.image, f.text, NULL), MCS_EINVAL,
                "0 leading");
    mcs_ctx_free(f.c);
}

static void test_keep_scan(void **state)
{
    (void)state;
    fixture f = begin();
    mcs_cam_model m = { tiny_features, &f.t, NULL, GRID, GRID, 1 };
    const float radii[2] = { 3, 5.5f };
    compare(f.c, "scan", mcs_keep_scan(f.c, &m, radii, 2, 5, f.image, f.text));
    assert_int_equal(f.t.pictures, 2 * GRID * GRID);
    check_fails(f.c, mcs_keep_scan(f.c, &m, (float[]){ 0 }, 1, 0, f.image, f.text), MCS_EINVAL,
                "radii");
    mcs_ctx_free(f.c);
}

typedef mcs_tensor *map_fn(mcs_ctx *c, fixture *f);

static mcs_tensor *by_scores(mcs_ctx *c, fixture *f)
{
    mcs_cam_model m = { tiny_features, &f->t, "norm2", GRID, GRID, 1 };
    return mcs_gscorecam(mcs_cam_new(c, &m, f->image), f->text, NULL, NULL);
}

static mcs_tensor *by_gradient(mcs_ctx *c, fixture *f)
{
    mcs_cam_model m = { tiny_features, &f->t, "norm1", GRID, GRID, 1 };
    return mcs_gradcam(mcs_cam_new(c, &m, f->image), MCS_GRADCAM, f->text, NULL, NULL);
}

static mcs_tensor *by_relevance(mcs_ctx *c, fixture *f)
{
    const char *probs[1] = { "probs.0" };
    mcs_cam_model m = { tiny_features, &f->t, NULL, GRID, GRID, 1 };
    return mcs_relevance(c, &m, probs, 1, f->image, f->text, NULL);
}

static mcs_tensor *by_scan(mcs_ctx *c, fixture *f)
{
    mcs_cam_model m = { tiny_features, &f->t, NULL, GRID, GRID, 1 };
    return mcs_keep_scan(c, &m, (const float[]){ 4 }, 1, 3, f->image, f->text);
}

static mcs_tensor *by_m2ib(mcs_ctx *c, fixture *f)
{
    mcs_cam_model m = { tiny_features, &f->t, "norm1", GRID, GRID, 1 };
    mcs_m2ib_opts o = mcs_m2ib_defaults();
    o.steps = 2;
    o.samples = 2;
    return mcs_m2ib(mcs_cam_new(c, &m, f->image), f->text, &o, NULL);
}

static mcs_tensor *by_direction(mcs_ctx *c, fixture *f)
{
    mcs_cam_model m = { tiny_features, &f->t, "norm1", GRID, GRID, 1 };
    return mcs_eigencam(mcs_cam_new(c, &m, f->image), NULL);
}

static mcs_tensor *by_random_masks(mcs_ctx *c, fixture *f)
{
    mcs_cam_model m = { tiny_features, &f->t, NULL, GRID, GRID, 1 };
    mcs_rise_opts o = mcs_rise_defaults();
    o.masks = 9;
    return mcs_rise(c, &m, &o, f->image, f->text, NULL);
}

/* Whatever the memory limit, a map or MCS_ENOMEM; the context can be used again. */
static void test_memory_limits(void **state)
{
    (void)state;
    map_fn *fns[] = { by_scores, by_gradient, by_relevance, by_scan,
                      by_m2ib,   by_direction, by_random_masks };
    fixture f = begin();
    for (int k = 0; k < 7; k++) {
        int failed = 0, made = 0;
        for (size_t limit = 1024; limit < (size_t)1 << 23; limit += limit / 7) {
            mcs_ctx *c = mcs_ctx_new(&(mcs_ctx_opts){ .bytes_max = limit });
            assert_non_null(c);
            bool map = fns[k](c, &f) != NULL;
            assert_int_equal(mcs_ctx_status(c), map ? MCS_OK : MCS_ENOMEM);
            made += map;
            failed += !map;
            mcs_ctx_reset(c);
            assert_non_null(mcs_zeros(c, 1, MCS_SHAPE(3)));
            mcs_ctx_free(c);
        }
        assert_true(failed > 0 && made > 0);
    }
    mcs_ctx_free(f.c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_relevance),
        cmocka_unit_test(test_keep_scan),
        cmocka_unit_test(test_memory_limits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
