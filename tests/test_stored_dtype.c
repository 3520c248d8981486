/* Element types of files: every half and bfloat16, every float8, rounding, integer ranges. */
#include <math.h>
#include "tests/weights_files.h"

static float decode(mcs_stored_dtype t, uint16_t bits)
{
    float f;
    assert_int_equal(mcs_stored_convert(t, &bits, MCS_ST_F32, &f, 1, NULL), MCS_OK);
    return f;
}

static uint16_t encode(mcs_stored_dtype t, float f)
{
    uint16_t bits = 0;
    assert_int_equal(mcs_stored_convert(MCS_ST_F32, &f, t, &bits, 1, NULL), MCS_OK);
    return bits;
}

/* All 65536 patterns survive; between two neighbours, the middle rounds to the even one and what
 * lies above it up: together that is correct rounding. */
static void check_small(mcs_stored_dtype t, uint16_t infinity)
{
    for (uint32_t i = 0; i < 65536; i++) {
        uint16_t h = (uint16_t)i;
        float f = decode(t, h);
        if ((h & 0x7fff) > infinity) {
            assert_true(isnan(f));
            assert_true((encode(t, f) & 0x7fff) > infinity);
            continue;
        }
        assert_int_equal(encode(t, f), h);
        if ((h & 0x7fff) >= infinity - 1)
            continue;
        float g = decode(t, (uint16_t)(h + 1)), middle = f + (g - f) / 2;
        assert_int_equal(encode(t, middle), h & 1 ? h + 1 : h);
        assert_int_equal(encode(t, nextafterf(middle, g)), h + 1);
        assert_int_equal(encode(t, nextafterf(middle, f)), h);
    }
}

static void test_f16(void **state)
{
    (void)state;
    check_small(MCS_ST_F16, 0x7c00);
    assert_true(decode(MCS_ST_F16, 0x3c00) == 1.0f);
    assert_true(decode(MCS_ST_F16, 0x0001) == 5.9604644775390625e-8f);
    assert_true(decode(MCS_ST_F16, 0x7bff) == 65504.0f);
    assert_int_equal(encode(MCS_ST_F16, 65519.996f), 0x7bff);
    assert_int_equal(encode(MCS_ST_F16, 65520.0f), 0x7c00);
    assert_int_equal(encode(MCS_ST_F16, -1e30f), 0xfc00);
    assert_int_equal(encode(MCS_ST_F16, 1e-30f), 0);
    assert_int_equal(encode(MCS_ST_F16, -0.0f), 0x8000);
}

static void test_bf16(void **state)
{
    (void)state;
    check_small(MCS_ST_BF16, 0x7f80);
    assert_true(decode(MCS_ST_BF16, 0x3f80) == 1.0f);
    assert_int_equal(encode(MCS_ST_BF16, 3.4028235e38f), 0x7f80);
}

static void test_f8(void **state)
{
    (void)state;
    static const struct {
        uint8_t bits;
        float e4m3, e5m2;
    } cases[] = {
        { 0x00, 0.0f, 0.0f },
        { 0x01, 0.001953125f, 1.52587890625e-5f },
        { 0x07, 0.013671875f, 1.068115234375e-4f },
        { 0x08, 0.015625f, 1.220703125e-4f },
        { 0x38, 1.0f, 0.5f },
        { 0x3c, 1.5f, 1.0f },
        { 0x77, 240.0f, 28672.0f },
        { 0x78, 256.0f, 32768.0f },
        { 0x7b, 352.0f, 57344.0f },
        { 0x7e, 448.0f, NAN },
        { 0x7f, NAN, NAN },
        { 0x7c, 384.0f, INFINITY },
        { 0xfc, -384.0f, -INFINITY },
        { 0xbc, -1.5f, -1.0f },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        float a = decode(MCS_ST_F8_E4M3, cases[i].bits), b = decode(MCS_ST_F8_E5M2, cases[i].bits);
        assert_true(a == cases[i].e4m3 || (isnan(a) && isnan(cases[i].e4m3)));
        assert_true(b == cases[i].e5m2 || (isnan(b) && isnan(cases[i].e5m2)));
    }
}

/* v of type `from` to `to`: the value, or refused. */
static void integer(mcs_stored_dtype from, int64_t v, mcs_stored_dtype to, bool fits)
{
    int64_t out = 0, back = 0;
    mcs_error e = { 0 };
    mcs_status s = mcs_stored_convert(from, &v, to, &out, 1, &e);
    assert_int_equal(s, fits ? MCS_OK : MCS_ESHAPE);
    if (fits) {
        assert_int_equal(mcs_stored_convert(to, &out, MCS_ST_I64, &back, 1, NULL), MCS_OK);
        assert_int_equal(back, v);
    } else {
        assert_non_null(strstr(e.message, "does not fit"));
    }
}

static void test_integers(void **state)
{
    (void)state;
    integer(MCS_ST_I64, -128, MCS_ST_I8, true);
    integer(MCS_ST_I64, -129, MCS_ST_I8, false);
    integer(MCS_ST_I64, 127, MCS_ST_I8, true);
    integer(MCS_ST_I64, 128, MCS_ST_I8, false);
    integer(MCS_ST_I64, 255, MCS_ST_U8, true);
    integer(MCS_ST_I64, 256, MCS_ST_U8, false);
    integer(MCS_ST_I64, -1, MCS_ST_U8, false);
    integer(MCS_ST_I64, 1, MCS_ST_BOOL, true);
    integer(MCS_ST_I64, 2, MCS_ST_BOOL, false);
    integer(MCS_ST_I64, INT32_MIN, MCS_ST_I32, true);
    integer(MCS_ST_I64, (int64_t)INT32_MIN - 1, MCS_ST_I32, false);
    integer(MCS_ST_I64, UINT32_MAX, MCS_ST_U32, true);
    integer(MCS_ST_I64, -1, MCS_ST_U64, false);
    integer(MCS_ST_I64, INT64_MAX, MCS_ST_U64, true);
    integer(MCS_ST_U64, -1, MCS_ST_I64, false); /* 2^64 - 1 */
    integer(MCS_ST_U16, 65535, MCS_ST_I16, false);
    integer(MCS_ST_I64, -32768, MCS_ST_I16, true);
}

static void test_to_float(void **state)
{
    (void)state;
    uint64_t big = UINT64_MAX;
    int8_t small = -5;
    uint8_t odd_bool = 7;
    double d = 1e300, third = 1.0 / 3.0;
    float f;
    assert_int_equal(mcs_stored_convert(MCS_ST_U64, &big, MCS_ST_F32, &f, 1, NULL), MCS_OK);
    assert_true(f == 18446744073709551616.0f);
    assert_int_equal(mcs_stored_convert(MCS_ST_I8, &small, MCS_ST_F32, &f, 1, NULL), MCS_OK);
    assert_true(f == -5.0f);
    assert_int_equal(mcs_stored_convert(MCS_ST_BOOL, &odd_bool, MCS_ST_F32, &f, 1, NULL), MCS_OK);
    assert_true(f == 1.0f);
    assert_int_equal(mcs_stored_convert(MCS_ST_F64, &d, MCS_ST_F32, &f, 1, NULL), MCS_OK);
    assert_true(isinf(f));
    assert_int_equal(mcs_stored_convert(MCS_ST_F64, &third, MCS_ST_F32, &f, 1, NULL), MCS_OK);
    assert_true(f == (float)(1.0 / 3.0));
}

static void test_refused(void **state)
{
    (void)state;
    float f = 1.0f;
    int64_t i;
    mcs_error e = { 0 };
    assert_int_equal(mcs_stored_convert(MCS_ST_F32, &f, MCS_ST_I64, &i, 1, &e), MCS_ESHAPE);
    assert_int_equal(mcs_stored_convert(MCS_ST_F32, &f, MCS_ST_F8_E5M2, &i, 1, NULL), MCS_EINVAL);
    assert_int_equal(mcs_stored_convert(MCS_ST_COUNT, &f, MCS_ST_F32, &i, 1, NULL), MCS_EINVAL);
    assert_int_equal(mcs_stored_convert(MCS_ST_F32, &f, MCS_ST_F32, &i, -1, NULL), MCS_EINVAL);
    assert_int_equal(mcs_stored_size(MCS_ST_COUNT), 0);
    assert_string_equal(mcs_stored_name(MCS_ST_COUNT), "?");
}

/* More than one chunk, at odd addresses. */
static void test_unaligned(void **state)
{
    (void)state;
    enum { N = 1237 };
    uint8_t src[2 * N + 1], dst[4 * N + 1];
    for (int i = 0; i < N; i++) {
        uint16_t h = (uint16_t)(0x3c00 + i);
        memcpy(src + 1 + 2 * i, &h, 2);
    }
    assert_int_equal(mcs_stored_convert(MCS_ST_F16, src + 1, MCS_ST_F32, dst + 1, N, NULL), MCS_OK);
    for (int i = 0; i < N; i++) {
        float f;
        memcpy(&f, dst + 1 + 4 * i, 4);
        assert_true(f == decode(MCS_ST_F16, (uint16_t)(0x3c00 + i)));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_f16),       cmocka_unit_test(test_bf16),
        cmocka_unit_test(test_f8),        cmocka_unit_test(test_integers),
        cmocka_unit_test(test_to_float),  cmocka_unit_test(test_refused),
        cmocka_unit_test(test_unaligned),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
