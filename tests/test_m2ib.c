/* test_m2ib.c - the information bottleneck against PyTorch's optimiser on the same noise; seeds,
 * texts, refusals. */
#include <math.h>
#include <string.h>
#include "cam/cam_internal.h"
#include "tests/cam_tiny.h"

static mcs_cam *open_block(fixture *f, const char *layer)
{
    f->t.more = 1;
    mcs_cam_model m = { tiny_features, &f->t, layer, GRID, GRID, 1 };
    mcs_cam *cam = mcs_cam_new(f->c, &m, f->image);
    check_ok(f->c);
    return cam;
}

static mcs_m2ib_opts golden_opts(mcs_ctx *c, float beta, float lr)
{
    const mcs_tensor *noise = check_golden_tensor(c, "cam_noise", "noise");
    assert_non_null(noise);
    mcs_m2ib_opts o = mcs_m2ib_defaults();
    o.beta = beta;
    o.lr = lr;
    o.steps = (int)noise->shape[0];
    o.samples = (int)noise->shape[1];
    o.noise = mcs_f32(noise);
    return o;
}

static void test_golden(void **state)
{
    (void)state;
    const struct {
        const char *name;
        float beta, lr;
    } cases[3] = { { "m2ib.0.1.1.0", 0.1f, 1 },
                   { "m2ib.2.0.1.0", 2, 1 },
                   { "m2ib.0.5.0.3", 0.5f, 0.3f } };
    for (int i = 0; i < 3; i++) {
        fixture f = begin();
        mcs_cam *cam = open_block(&f, "block.0");
        mcs_m2ib_opts o = golden_opts(f.c, cases[i].beta, cases[i].lr);
        float peak[TEXTS];
        compare_to(f.c, "cam_noise", cases[i].name, mcs_m2ib(cam, f.text, &o, peak));
        assert_true(peak[0] > 0 && peak[1] > 0 && peak[2] > 0);
        mcs_ctx_free(f.c);
    }
}

/* A model that counts its pictures: the samples are then pictures from the start. */
static mcs_tensor *counting(mcs_ctx *c, const mcs_tensor *image, void *arg)
{
    return mcs_reshape(c, tiny_features(c, image, arg), 2, MCS_SHAPE(image->shape[0], OUT));
}

static void test_bypassed_layer(void **state)
{
    (void)state;
    fixture f = begin();
    f.t.more = 1;
    mcs_cam_model m = { counting, &f.t, "block.0", GRID, GRID, 1 };
    mcs_m2ib_opts o = golden_opts(f.c, 2, 1);
    mcs_cam *cam = mcs_cam_new(f.c, &m, f.image);
    compare_to(f.c, "cam_noise", "m2ib.2.0.1.0", mcs_m2ib(cam, f.text, &o, NULL));
    mcs_ctx_free(f.c);
}

/* One step: the map is that of l = sigmoid(5) for any text, -1/2 sum (1 + ln v - l^2 x^2 - v). */
static void test_first_step_by_hand(void **state)
{
    (void)state;
    fixture f = begin();
    mcs_cam *cam = open_block(&f, "block.0");
    mcs_m2ib_opts o = mcs_m2ib_defaults();
    o.steps = 1;
    float peak[TEXTS];
    mcs_tensor *maps = mcs_m2ib(cam, f.text, &o, peak);
    check_ok(f.c);
    double rest = 1 / (1 + exp(5.0)), most = 0;
    for (int i = 0; i < GRID * GRID; i++) {
        double sum = 0;
        for (int k = 0; k < DIM; k++) {
            double mean = (1 - rest) * (double)cam->a[k * GRID * GRID + i];
            sum -= 0.5 * (1 + 2 * log(rest) - mean * mean - rest * rest);
        }
        most = sum > most ? sum : most;
    }
    for (int p = 0; p < TEXTS; p++)
        assert_true(fabs((double)peak[p] / most - 1) < 1e-5);
    check_near(mcs_rows(f.c, maps, 0, 1), mcs_rows(f.c, maps, 1, 2), 0, 0);
    mcs_ctx_free(f.c);
}

/* The map is a function of the seed; texts do not disturb each other; neither do threads. */
static void test_seeds(void **state)
{
    (void)state;
    float kept[GRID * GRID];
    for (int run = 0; run < 3; run++) {
        mcs_pool *pool = mcs_pool_new(run + 1);
        fixture f = { .c = mcs_ctx_new(&(mcs_ctx_opts){ .pool = pool }) };
        tiny_init(f.c, &f.t);
        f.image = check_golden_tensor(f.c, "cam", "image");
        f.text = check_golden_tensor(f.c, "cam", "text");
        mcs_m2ib_opts o = mcs_m2ib_defaults();
        o.seed = 5;
        o.samples = 3;
        mcs_cam *cam = open_block(&f, "block.0");
        mcs_tensor *map = mcs_rows(f.c, mcs_m2ib(cam, f.text, &o, NULL), 1, 2);
        check_ok(f.c);
        if (run == 0)
            memcpy(kept, map->data, sizeof kept);
        assert_memory_equal(kept, map->data, sizeof kept);
        check_near(mcs_m2ib(cam, mcs_rows(f.c, f.text, 1, 2), &o, NULL), map, 0, 0);
        o.seed = 6;
        map = mcs_m2ib(cam, mcs_rows(f.c, f.text, 1, 2), &o, NULL);
        assert_memory_not_equal(kept, map->data, sizeof kept);
        assert_false(mcs_hooked(f.c, "block.0"));
        mcs_ctx_free(f.c);
        mcs_pool_free(pool);
    }
}

/* The tape of a step is forgotten before the next: memory does not grow with the steps. */
static void test_memory(void **state)
{
    (void)state;
    size_t peak[2];
    for (int i = 0; i < 2; i++) {
        fixture f = begin();
        mcs_m2ib_opts o = mcs_m2ib_defaults();
        o.steps = i ? 40 : 2;
        assert_non_null(mcs_m2ib(open_block(&f, "block.0"), f.text, &o, NULL));
        peak[i] = mcs_ctx_peak(f.c);
        mcs_ctx_free(f.c);
    }
    assert_int_equal(peak[0], peak[1]);
}

static mcs_tensor *fixed_batch(mcs_ctx *c, const mcs_tensor *image, void *arg)
{
    mcs_tensor *f = tiny_features(c, image, arg);
    return f && f->shape[0] > 1 ? mcs_rows(c, f, 0, 1) : f;
}

static mcs_tensor *layer_twice(mcs_ctx *c, const mcs_tensor *image, void *arg)
{
    mcs_tap(c, "patches", mcs_zeros(c, 4, MCS_SHAPE(1, DIM, GRID, GRID)));
    return tiny_features(c, image, arg);
}

static void test_refusals(void **state)
{
    (void)state;
    fixture f = begin();
    const mcs_m2ib_opts fine = mcs_m2ib_defaults();
    mcs_m2ib_opts bad[6] = { fine, fine, fine, fine, fine, fine };
    bad[0].beta = -1;
    bad[1].lr = 0;
    bad[2].steps = 0;
    bad[3].samples = 0;
    bad[4].beta = NAN;
    bad[5].lr = INFINITY;
    for (int i = 0; i < 6; i++) {
        mcs_cam *cam = open_block(&f, "block.0");
        check_fails(f.c, mcs_m2ib(cam, f.text, &bad[i], NULL), MCS_EINVAL, "m2ib: beta");
        mcs_ctx_free(f.c);
        f = begin();
    }
    assert_null(mcs_m2ib(NULL, f.text, NULL, NULL));
    mcs_cam *cam = open_block(&f, "block.0");
    check_fails(f.c, mcs_m2ib(cam, mcs_zeros(f.c, 2, MCS_SHAPE(1, OUT + 1)), NULL, NULL),
                MCS_ESHAPE, "expected (P,6)");
    mcs_ctx_free(f.c);

    f = begin();
    mcs_cam_model m = { fixed_batch, &f.t, "norm1", GRID, GRID, 1 };
    cam = mcs_cam_new(f.c, &m, f.image);
    check_fails(f.c, mcs_m2ib(cam, f.text, NULL, NULL), MCS_ESHAPE, "take the number of pictures");
    mcs_ctx_free(f.c);
    f = begin();
    m = (mcs_cam_model){ layer_twice, &f.t, "patches", 0, 0, 0 };
    cam = mcs_cam_new(f.c, &m, f.image);
    check_fails(f.c, mcs_m2ib(cam, f.text, NULL, NULL), MCS_ESHAPE, "'patches' is passed twice");
    mcs_ctx_free(f.c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_golden),
        cmocka_unit_test(test_bypassed_layer),   cmocka_unit_test(test_first_step_by_hand),
        cmocka_unit_test(test_seeds),    cmocka_unit_test(test_memory),
        cmocka_unit_test(test_refusals),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
