/* test_phantom.c - phantoms: the same bytes everywhere, masks that fit what is seen, at any size;
 * what is refused. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "tests/phantom_maker.h"

/* The bytes of three phantoms, once and for all machines; to be renewed whenever the pictures are
 * meant to change. */
static void test_same_bytes(void **state)
{
    (void)state;
    static const uint64_t expected[3] = { UINT64_C(0xC85329D30FAF88CF),
                                          UINT64_C(0xD4B8E09F429CEE37),
                                          UINT64_C(0x68BD2D3DDEA9A3F8) };
    for (uint64_t i = 0; i < 3; i++) {
        mcs_phantom p = made(1, i, 64), q = made(1, i, 64), r = made(2, i, 64);
        assert_int_equal(hash(&p), hash(&q));
        assert_int_not_equal(hash(&p), hash(&r));
        if (hash(&p) != expected[i])
            fail_msg("phantom %d: 0x%016llx", (int)i, (unsigned long long)hash(&p));
        assert_int_equal(p.facts.kind, i);
        mcs_phantom_free(&p);
        mcs_phantom_free(&q);
        mcs_phantom_free(&r);
    }
}

/* Memory is used again for other sizes, and nothing of the past shows. */
static void test_reuse(void **state)
{
    (void)state;
    static const int sizes[] = { 128, 64, 32, 96, 64 };
    mcs_phantom p = { 0 };
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        assert_int_equal(mcs_phantom_make(7, i, sizes[i], &p, NULL), MCS_OK);
        mcs_phantom fresh = made(7, i, sizes[i]);
        assert_int_equal(hash(&p), hash(&fresh));
        assert_memory_equal(&p.facts, &fresh.facts, sizeof p.facts);
        mcs_phantom_free(&fresh);
    }
    mcs_phantom_free(&p);
    mcs_phantom_free(&p);
    mcs_phantom_free(NULL);
}

/* Every third pixel centre of the threefold size is a pixel centre of the size: equal masks. */
static void test_sizes_agree_exactly(void **state)
{
    (void)state;
    for (uint64_t i = 0; i < 9; i++) {
        mcs_phantom p = made(3, i, 50), q = made(3, i, 150);
        for (int y = 0; y < 50; y++)
            for (int x = 0; x < 50; x++)
                assert_int_equal(p.bits[y * 50 + x], q.bits[(3 * y + 1) * 150 + 3 * x + 1]);
        mcs_phantom_free(&p);
        mcs_phantom_free(&q);
    }
}

static void test_sizes_agree_by_dsc(void **state)
{
    (void)state;
    double sum[MCS_PHANTOM_STRUCTURES] = { 0 };
    int count[MCS_PHANTOM_STRUCTURES] = { 0 };
    for (uint64_t i = 0; i < 45; i++) {
        mcs_phantom p = made(4, i, 96), q = made(4, i, 192);
        for (int s = 0; s < MCS_PHANTOM_STRUCTURES; s++) {
            int both = 0, a = 0, b = 0;
            for (int k = 0; k < 96 * 96; k++) {
                const uint8_t *four = q.bits + k / 96 * 2 * 192 + k % 96 * 2;
                int small = p.bits[k] >> s & 1;
                int large = (four[0] >> s & 1) + (four[1] >> s & 1) + (four[192] >> s & 1) +
                                (four[193] >> s & 1) >=
                            2;
                a += small;
                b += large;
                both += small & large;
            }
            assert_int_equal(a > 0, b > 0);
            if (!a)
                continue;
            sum[s] += 2.0 * both / (a + b);
            count[s]++;
        }
        mcs_phantom_free(&p);
        mcs_phantom_free(&q);
    }
    for (int s = 0; s < MCS_PHANTOM_STRUCTURES; s++) {
        assert_true(count[s] > 3);
        if (sum[s] / count[s] <= 0.95)
            fail_msg("%s: DSC %.3f", mcs_phantom_structure_name((mcs_phantom_structure)s),
                     sum[s] / count[s]);
    }
}

/* Mean inside minus mean of the pixels outside within four pixels, by brute force. */
static double contrast(const mcs_phantom *p, int s)
{
    double in = 0, out = 0;
    int inside = 0, outside = 0, n = p->size;
    for (int y = 0; y < n; y++)
        for (int x = 0; x < n; x++) {
            bool here = p->bits[y * n + x] >> s & 1, near = false;
            for (int v = y - 4; v <= y + 4 && !here; v++)
                for (int u = x - 4; u <= x + 4; u++)
                    near = near ||
                           (u >= 0 && v >= 0 && u < n && v < n && (p->bits[v * n + u] >> s & 1));
            in += here ? p->grey[y * n + x] : 0;
            inside += here;
            out += near ? p->grey[y * n + x] : 0;
            outside += near;
        }
    return in / inside - out / outside;
}

static void test_structures_stand_out(void **state)
{
    (void)state;
    int seen[MCS_PHANTOM_STRUCTURES] = { 0 }, two = 0, none = 0;
    for (uint64_t i = 0; i < 150; i++) {
        mcs_phantom p = made(5, i, i % 2 ? 96 : 80);
        int here = 0, bright = 0;
        for (int k = 0; k < p.size * p.size; k++) {
            bright += p.grey[k] == 255;
            assert_false(p.bits[k] >> MCS_PHANTOM_STRUCTURES);
        }
        assert_true(bright < 0.15 * p.size * p.size);
        for (int s = 0; s < MCS_PHANTOM_STRUCTURES; s++) {
            const mcs_phantom_part *q = &p.facts.part[s];
            assert_int_equal(q->area > 0, mcs_phantom_shows(&p.facts, (mcs_phantom_structure)s));
            if (q->area <= 0)
                continue;
            assert_int_equal(mcs_phantom_kind_of((mcs_phantom_structure)s), p.facts.kind);
            double c = contrast(&p, s);
            assert_true(fabs(c) > 15);
            assert_true(fabs(c - (double)q->contrast) < 12);
            assert_true(fabs((double)q->contrast) >= MCS_PHANTOM_CONTRAST);
            if (s == MCS_PHANTOM_NODULE)
                assert_true(q->x1 - q->x0 > 0.095f);
            seen[s]++;
            here++;
        }
        two += here >= 2;
        none += here == 0;
        mcs_phantom_free(&p);
    }
    assert_true(two > 75);
    assert_true(none > 0);
    for (int s = 0; s < MCS_PHANTOM_STRUCTURES; s++)
        assert_in_range(seen[s], 15, 50);
}

/* Is (x, y) within r pixels of a pixel whose bit s is `value`? */
static bool beside(const mcs_phantom *p, int s, int value, int x, int y, int r)
{
    for (int v = y - r; v <= y + r; v++)
        for (int u = x - r; u <= x + r; u++)
            if (u >= 0 && v >= 0 && u < p->size && v < p->size &&
                (p->bits[v * p->size + u] >> s & 1) == value)
                return true;
    return false;
}

/* Outlines run where the brightness changes: the step from the second and third pixel inside to
 * those outside is most of the whole contrast.  A mask too small or too large would have none. */
static void test_outlines_lie_on_edges(void **state)
{
    (void)state;
    double step[MCS_PHANTOM_STRUCTURES] = { 0 }, whole[MCS_PHANTOM_STRUCTURES] = { 0 };
    for (uint64_t i = 0; i < 60; i++) {
        mcs_phantom p = made(12, i, 128);
        for (int s = 0; s < MCS_PHANTOM_STRUCTURES; s++) {
            double sum[2] = { 0 };
            int count[2] = { 0 };
            if (p.facts.part[s].area <= 0)
                continue;
            for (int y = 0; y < 128; y++)
                for (int x = 0; x < 128; x++) {
                    int in = p.bits[y * 128 + x] >> s & 1;
                    if (!beside(&p, s, !in, x, y, 3) || beside(&p, s, !in, x, y, 1))
                        continue;
                    sum[in] += p.grey[y * 128 + x];
                    count[in]++;
                }
            if (count[0] && count[1])
                step[s] += fabs(sum[1] / count[1] - sum[0] / count[0]);
            whole[s] += fabs((double)p.facts.part[s].contrast);
        }
        mcs_phantom_free(&p);
    }
    for (int s = 0; s < MCS_PHANTOM_STRUCTURES; s++)
        if (step[s] < 0.95 * whole[s])
            fail_msg("%s: %.2f", mcs_phantom_structure_name((mcs_phantom_structure)s),
                     step[s] / whole[s]);
}

/* The coil's gain leaves no half of a head dark. */
static void test_gain_is_even(void **state)
{
    (void)state;
    for (uint64_t i = 1; i < 60; i += 3) {
        mcs_phantom p = made(13, i, 64);
        double half[4] = { 0 };
        for (int k = 0; k < 64 * 64; k++) {
            half[k % 64 < 32] += p.grey[k];
            half[2 + (k / 64 < 32)] += p.grey[k];
        }
        assert_true(half[0] < 1.45 * half[1] && half[1] < 1.45 * half[0]);
        assert_true(half[2] < 1.45 * half[3] && half[3] < 1.45 * half[2]);
        mcs_phantom_free(&p);
    }
}

static void test_facts_fit_masks(void **state)
{
    (void)state;
    uint8_t mask[90 * 90];
    for (uint64_t i = 0; i < 30; i++) {
        mcs_phantom p = made(6, i, 90);
        for (int s = 0; s < MCS_PHANTOM_STRUCTURES; s++) {
            const mcs_phantom_part *q = &p.facts.part[s];
            int64_t count = mcs_phantom_mask(&p, (mcs_phantom_structure)s, mask), n = 0;
            double sx = 0, sy = 0;
            for (int k = 0; k < 90 * 90; k++) {
                assert_int_equal(mask[k], p.bits[k] >> s & 1 ? 255 : 0);
                if (!mask[k])
                    continue;
                double x = (k % 90 + 0.5) / 90, y = (k / 90 + 0.5) / 90;
                assert_true(x > (double)q->x0 && x < (double)q->x1 && y > (double)q->y0 &&
                            y < (double)q->y1);
                sx += x;
                sy += y;
                n++;
            }
            assert_int_equal(n, count);
            assert_true(fabs((double)q->area * 8100 - (double)n) < 0.01);
            if (!n)
                continue;
            assert_true(fabs(sx / (double)n - (double)q->x) < 1e-4);
            assert_true(fabs(sy / (double)n - (double)q->y) < 1e-4);
            assert_int_equal(q->row, (int)(3 * sy / (double)n));
            assert_int_equal(q->column, (int)(3 * sx / (double)n));
        }
        mcs_phantom_free(&p);
    }
}

static void test_refusals(void **state)
{
    (void)state;
    mcs_phantom p = { 0 }, v = { 0 };
    const mcs_phantom_view_options o = mcs_phantom_view_defaults();
    static const int bad[] = { -1, 0, 31, 2049, 2147483647 };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        mcs_error e = { 0 };
        assert_int_equal(mcs_phantom_make(1, 1, bad[i], &p, &e), MCS_EINVAL);
        assert_non_null(strstr(e.message, "expected 32 to 2048"));
    }
    mcs_error e = { 0 };
    assert_int_equal(mcs_phantom_make_kind(1, 1, (mcs_phantom_kind)3, 64, &p, &e), MCS_EINVAL);
    assert_int_equal(mcs_phantom_view(&v, &o, 1, 64, &p, NULL), MCS_EINVAL);
    assert_int_equal(mcs_phantom_view(NULL, &o, 1, 64, &p, NULL), MCS_EINVAL);
    assert_null(p.grey);
    assert_string_equal(mcs_phantom_kind_name((mcs_phantom_kind)9), "");
    assert_string_equal(mcs_phantom_structure_name((mcs_phantom_structure)-1), "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_same_bytes),
        cmocka_unit_test(test_reuse),
        cmocka_unit_test(test_sizes_agree_exactly),
        cmocka_unit_test(test_sizes_agree_by_dsc),
        cmocka_unit_test(test_structures_stand_out),
        cmocka_unit_test(test_outlines_lie_on_edges),
        cmocka_unit_test(test_gain_is_even),
        cmocka_unit_test(test_facts_fit_masks),
        cmocka_unit_test(test_refusals),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
