/* test_retrieval.c - ranks against a plain count, ties, groups, batches, intervals. */
#include <math.h>
#include <string.h>
#include "models/retrieval.h"
#include "tests/check.h"

enum { N = 130, WIDTH = 5 };

typedef struct {
    float image[N * WIDTH], text[N * WIDTH];
} pairs;

static pairs noisy(double noise)
{
    pairs p;
    uint32_t r = 77;
    for (int i = 0; i < N * WIDTH; i++) {
        r = r * 1664525u + 1013904223u;
        p.image[i] = (float)(r >> 8) / 8388608.0f - 1;
        r = r * 1664525u + 1013904223u;
        p.text[i] = (float)(3 * ((double)p.image[i] + noise * ((double)(r >> 8) / 8388608.0 - 1)));
    }
    return p;
}

static mcs_retrieval_result run(const pairs *p, int64_t count, const int64_t *group,
                                const mcs_retrieval_opts *o)
{
    mcs_error e = { MCS_OK, "" };
    mcs_retrieval_result r;
    mcs_retrieval_pairs q = {
        .image = p->image, .text = p->text, .count = count, .width = WIDTH, .group = group
    };
    mcs_ctx *c = check_ctx();
    if (mcs_retrieval(&q, o, mcs_ctx_pool(c), &r, &e) != MCS_OK)
        fail_msg("%s", e.message);
    mcs_ctx_free(c);
    return r;
}

static double cosine(const float *a, const float *b)
{
    double ab = 0, aa = 0, bb = 0;
    for (int k = 0; k < WIDTH; k++) {
        ab += (double)a[k] * (double)b[k];
        aa += (double)a[k] * (double)a[k];
        bb += (double)b[k] * (double)b[k];
    }
    return ab / sqrt(aa * bb);
}

/* Share of rows whose own column is among the k largest. */
static double plain(const float *a, const float *b, int k)
{
    int right = 0;
    for (int i = 0; i < N; i++) {
        int above = 0;
        for (int j = 0; j < N; j++)
            above += cosine(a + i * WIDTH, b + j * WIDTH) > cosine(a + i * WIDTH, b + i * WIDTH);
        right += above < k;
    }
    return right / (double)N;
}

static void test_whole_set(void **state)
{
    (void)state;
    pairs p = noisy(0.5);
    mcs_retrieval_opts o = { .runs = 5, .k = { 1, 2, 10 }, .ks = 3 };
    mcs_retrieval_result r = run(&p, N, NULL, &o);
    for (int i = 0; i < 3; i++) {
        assert_true(fabs(r.image_to_text[i].mean - plain(p.image, p.text, o.k[i])) < 1e-9);
        assert_true(fabs(r.text_to_image[i].mean - plain(p.text, p.image, o.k[i])) < 1e-9);
        assert_true(r.image_to_text[i].sd == 0);
        assert_true(r.image_to_text[i].low < r.image_to_text[i].mean);
        assert_true(r.image_to_text[i].high > r.image_to_text[i].mean);
        double m = r.image_to_text[i].mean, half = 1.96 * sqrt(m * (1 - m) / N);
        assert_true(fabs(r.image_to_text[i].high - r.image_to_text[i].low - 2 * half) < 0.03);
    }
    assert_true(r.image_to_text[0].mean < r.image_to_text[1].mean);
    assert_true(r.rank_image > 1 && r.rank_text > 1);
}

static void test_batches(void **state)
{
    (void)state;
    pairs p = noisy(0.5);
    mcs_retrieval_opts o = { .batch = 50, .runs = 5, .k = { 1, 50 }, .ks = 2, .seed = 3 };
    mcs_retrieval_result whole =
        run(&p, N, NULL, &(mcs_retrieval_opts){ .runs = 1, .k = { 1 }, .ks = 1 });
    mcs_retrieval_result a = run(&p, N, NULL, &o), b = run(&p, N, NULL, &o);
    assert_memory_equal(&a, &b, sizeof a);
    assert_true(a.image_to_text[0].mean > whole.image_to_text[0].mean); /* fewer rivals */
    assert_true(a.image_to_text[0].sd > 0 && a.image_to_text[0].sd < 0.1);
    assert_true(a.text_to_image[1].mean == 1 && a.text_to_image[1].sd == 0);
    o.seed = 4;
    b = run(&p, N, NULL, &o);
    assert_true(a.image_to_text[0].mean != b.image_to_text[0].mean);
}

/* Equal embeddings for all: one pair of each batch comes first. */
static void test_collapse_is_chance(void **state)
{
    (void)state;
    pairs p = noisy(0);
    for (int i = 0; i < N * WIDTH; i++)
        p.image[i] = p.text[i] = (float)(1 + i % WIDTH);
    mcs_retrieval_opts o = { .batch = 10, .runs = 3, .k = { 1, 2 }, .ks = 2 };
    mcs_retrieval_result r = run(&p, N, NULL, &o);
    assert_true(fabs(r.image_to_text[0].mean - 0.1) < 1e-9);
    assert_true(fabs(r.text_to_image[1].mean - 0.2) < 1e-9);
}

static void test_groups(void **state)
{
    (void)state;
    pairs p = noisy(0);
    int64_t group[N];
    for (int i = 0; i < N; i++)
        group[i] = i < 2 ? 7 : -1;
    memcpy(p.image + WIDTH, p.image, WIDTH * sizeof(float)); /* pair 1 is pair 0 again */
    memcpy(p.text + WIDTH, p.text, WIDTH * sizeof(float));
    mcs_retrieval_opts o = { .runs = 1, .k = { 1 }, .ks = 1 };
    assert_true(run(&p, N, NULL, &o).image_to_text[0].mean < 1);
    assert_true(run(&p, N, group, &o).image_to_text[0].mean == 1);
}

static bool neighbours(const void *arg, int64_t caption, int64_t image)
{
    (void)arg; /* caption 0 is true of image 1, but not the other way round */
    return caption == 0 && image == 1;
}

/* Pair 1 is pair 0 again; the order of the whole set decides who is first of the two. */
static void test_true_of_another(void **state)
{
    (void)state;
    pairs p = noisy(0);
    memcpy(p.image + WIDTH, p.image, WIDTH * sizeof(float));
    memcpy(p.text + WIDTH, p.text, WIDTH * sizeof(float));
    for (uint64_t seed = 0; seed < 8; seed++) {
        mcs_error e = { MCS_OK, "" };
        mcs_retrieval_opts o = { .runs = 1, .k = { 1 }, .ks = 1, .seed = seed };
        mcs_retrieval_pairs q = {
            .image = p.image, .text = p.text, .count = N, .width = WIDTH, .also = neighbours
        };
        mcs_retrieval_result r, without = run(&p, N, NULL, &o);
        assert_int_equal(mcs_retrieval(&q, &o, NULL, &r, &e), MCS_OK);
        /* Without: who comes second in the order is wrong both ways, 1/N each.  Masked: image 1
         * never sees caption 0, caption 0 never sees image 1; image 0 and caption 1 still do. */
        double lost = 2 - r.image_to_text[0].mean - r.text_to_image[0].mean;
        double before = 2 - without.image_to_text[0].mean - without.text_to_image[0].mean;
        assert_true(fabs(before - 2.0 / N) < 1e-9);
        assert_true(fabs(lost - 1.0 / N) < 1e-9);
    }
}

/* Caption 0 says the same of images 0, 1, 2; captions 1 and 2 fit their own image better. */
static double three_alike(const void *arg, int64_t caption, int64_t image)
{
    (void)arg;
    if (caption == image)
        return caption == 0 ? 1 : 2;
    return caption == 0 && image < 3 ? 1 : 0;
}

static void test_ceiling(void **state)
{
    (void)state;
    mcs_error e = { MCS_OK, "" };
    mcs_retrieval_result r;
    mcs_retrieval_opts o = { .runs = 1, .k = { 1, 2, 3 }, .ks = 3 };
    assert_int_equal(mcs_retrieval_ceiling(10, three_alike, NULL, &o, NULL, &r, &e), MCS_OK);
    for (int k = 0; k < 3; k++) {
        assert_true(fabs(r.image_to_text[k].mean - 1) < 1e-9);
        assert_true(fabs(r.text_to_image[k].mean - (9 + (k + 1) / 3.0) / 10) < 1e-9);
    }
    assert_true(fabs(r.rank_image - 1) < 1e-9 && fabs(r.rank_text - 1.1) < 1e-9);
    assert_true(r.text_to_image[0].low < r.text_to_image[0].mean);
    o.batch = 1;
    assert_int_equal(mcs_retrieval_ceiling(10, three_alike, NULL, &o, NULL, &r, &e), MCS_EINVAL);
    o.batch = 5; /* now some of the three are in the other batch */
    o.runs = 40;
    assert_int_equal(mcs_retrieval_ceiling(10, three_alike, NULL, &o, NULL, &r, &e), MCS_OK);
    assert_true(r.text_to_image[0].mean > (9 + 1 / 3.0) / 10 && r.text_to_image[0].mean < 1);
}

static void test_refusals(void **state)
{
    (void)state;
    pairs p = noisy(1);
    mcs_error e = { MCS_OK, "" };
    mcs_retrieval_result r;
    mcs_retrieval_pairs q = { .image = p.image, .text = p.text, .count = 1, .width = WIDTH };
    mcs_retrieval_opts o = { .runs = 1, .k = { 1 }, .ks = 1 };
    assert_int_equal(mcs_retrieval(&q, &o, NULL, &r, &e), MCS_EINVAL);
    q.count = N;
    o.k[0] = 0;
    assert_int_equal(mcs_retrieval(&q, &o, NULL, &r, &e), MCS_EINVAL);
    o.k[0] = 1;
    o.batch = 1;
    assert_int_equal(mcs_retrieval(&q, &o, NULL, &r, &e), MCS_EINVAL);
    o.batch = 0;
    p.text[8] = NAN;
    e.status = MCS_OK;
    assert_int_equal(mcs_retrieval(&q, &o, NULL, &r, &e), MCS_ENUMERIC);
    assert_non_null(strstr(e.message, "pair 1"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_whole_set),          cmocka_unit_test(test_batches),
        cmocka_unit_test(test_collapse_is_chance), cmocka_unit_test(test_groups),
        cmocka_unit_test(test_true_of_another),    cmocka_unit_test(test_ceiling),
        cmocka_unit_test(test_refusals),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
