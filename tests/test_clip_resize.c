/* test_clip_resize.c - positions and patch filters against timm's, and what they are for: the same
 * embedding of an enlarged picture. */
#include <math.h>
#include <string.h>
#include "models/clip_resize.h"
#include "tests/clip_tiny.h"

static const char pos[] = "visual.trunk.pos_embed";
static const char proj[] = "visual.trunk.patch_embed.proj.weight";

static mcs_biomedclip *resized(const mcs_biomedclip *m, int image, int patch)
{
    mcs_error e = { MCS_OK, "" };
    mcs_biomedclip *r = mcs_biomedclip_resized(m, image, patch, &e);
    if (!r)
        fail_msg("%s", e.message);
    return r;
}

static void test_against_timm(void **state)
{
    (void)state;
    static const int sizes[][2] = { { 35, 5 }, { 32, 8 }, { 8, 4 }, { 63, 7 } };
    mcs_biomedclip *m = load("clip_tiny");
    mcs_ctx *c = check_ctx();
    for (int i = 0; i < 4; i++) {
        char name[40];
        mcs_biomedclip *r = resized(m, sizes[i][0], sizes[i][1]);
        mcs_params *p = mcs_biomedclip_params(r);
        snprintf(name, sizeof name, "pos.%d", sizes[i][0]);
        check_near_named(name, mcs_params_find(p, pos), check_golden_tensor(c, "resize_clip", name),
                         1e-5f, 2e-6f);
        snprintf(name, sizeof name, "patch.%d", sizes[i][0]);
        const mcs_tensor *want = check_golden_tensor(c, "resize_clip", name); /* 4 filters */
        check_near_named(name, mcs_rows(c, mcs_params_find(p, proj), 0, 4), want, 1e-4f, 1e-5f);
        mcs_biomedclip_free(r);
    }
    mcs_ctx_free(c);
    mcs_biomedclip_free(m);
}

static void test_same_size_is_a_copy(void **state)
{
    (void)state;
    mcs_biomedclip *m = load("clip_tiny"), *r = resized(m, 18, 6);
    for (int64_t i = 0; i < mcs_params_count(mcs_biomedclip_params(m)); i++) {
        const mcs_tensor *a = mcs_params_at(mcs_biomedclip_params(m), i).tensor;
        const mcs_tensor *b = mcs_params_at(mcs_biomedclip_params(r), i).tensor;
        assert_memory_equal(a->data, b->data, (size_t)mcs_numel(a) * sizeof(float));
    }
    mcs_biomedclip_free(r);
    mcs_biomedclip_free(m);
}

/* Patches of one colour each stay so at any size: larger filters must see the same. */
static void test_answers_stay(void **state)
{
    (void)state;
    mcs_biomedclip *m = load("clip_tiny"), *r = resized(m, 36, 12);
    mcs_ctx *c = check_ctx();
    mcs_set_grad(c, false);
    mcs_tensor *small = mcs_new(c, 4, MCS_SHAPE(1, 3, 18, 18));
    mcs_tensor *large = mcs_new(c, 4, MCS_SHAPE(1, 3, 36, 36));
    for (int i = 0; i < 3 * 36 * 36; i++) {
        int k = i / 1296, y = i / 36 % 36, x = i % 36;
        float v = (float)((k * 31 + y / 12 * 7 + x / 12 * 3) % 11) / 11;
        mcs_f32(large)[i] = v;
        mcs_f32(small)[(k * 18 + y / 2) * 18 + x / 2] = v;
    }
    check_near(mcs_biomedclip_encode_image(c, r, large), mcs_biomedclip_encode_image(c, m, small),
               1e-4f, 1e-4f);
    mcs_ctx_free(c);
    mcs_biomedclip_free(r);
    mcs_biomedclip_free(m);
}

static void test_refusals(void **state)
{
    (void)state;
    mcs_error e = { MCS_OK, "" };
    mcs_biomedclip *m = load("clip_tiny");
    assert_null(mcs_biomedclip_resized(m, 20, 6, &e));
    assert_int_equal(e.status, MCS_EINVAL);
    mcs_biomedclip_free(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_against_timm),
        cmocka_unit_test(test_same_size_is_a_copy),
        cmocka_unit_test(test_answers_stay),
        cmocka_unit_test(test_refusals),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
