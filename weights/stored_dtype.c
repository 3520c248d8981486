/* stored_dtype.c - element types of checkpoint files and conversion between them.
 *
 * Files are little-endian, and so are the machines this builds for (checked below).  A value
 * goes through int64 when both sides are integers, through double otherwise: double holds every
 * float type exactly, so only the last step rounds.  Rounding to f16 and bf16 starts from the
 * float, as in PyTorch, so that a converted file equals tensor.to(dtype). */
#include <string.h>
#include "weights/weights_internal.h"

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "files are read in place");

enum { CHUNK = 512 };

static const struct {
    const char *name;
    int size;
    bool is_float;
} types[MCS_ST_COUNT] = {
    [MCS_ST_F64] = { "F64", 8, true },         [MCS_ST_F32] = { "F32", 4, true },
    [MCS_ST_F16] = { "F16", 2, true },         [MCS_ST_BF16] = { "BF16", 2, true },
    [MCS_ST_I64] = { "I64", 8, false },        [MCS_ST_I32] = { "I32", 4, false },
    [MCS_ST_I16] = { "I16", 2, false },        [MCS_ST_I8] = { "I8", 1, false },
    [MCS_ST_U8] = { "U8", 1, false },          [MCS_ST_BOOL] = { "BOOL", 1, false },
    [MCS_ST_U64] = { "U64", 8, false },        [MCS_ST_U32] = { "U32", 4, false },
    [MCS_ST_U16] = { "U16", 2, false },        [MCS_ST_F8_E4M3] = { "F8_E4M3", 1, true },
    [MCS_ST_F8_E5M2] = { "F8_E5M2", 1, true },
};

const char *mcs_stored_name(mcs_stored_dtype t)
{
    return (unsigned)t < MCS_ST_COUNT ? types[t].name : "?";
}

int mcs_stored_size(mcs_stored_dtype t)
{
    return (unsigned)t < MCS_ST_COUNT ? types[t].size : 0;
}

bool mcs_stored_is_float(mcs_stored_dtype t)
{
    return (unsigned)t < MCS_ST_COUNT && types[t].is_float;
}

static float float_of_bits(uint32_t u)
{
    float f;
    memcpy(&f, &u, sizeof f);
    return f;
}

static uint32_t bits_of_float(float f)
{
    uint32_t u;
    memcpy(&u, &f, sizeof u);
    return u;
}

/* A small float of `ebits` exponent and `mbits` mantissa bits with IEEE specials. */
static float small_float(uint32_t h, int ebits, int mbits)
{
    uint32_t sign = h >> (ebits + mbits) << 31, top = (1u << ebits) - 1;
    uint32_t exponent = h >> mbits & top, mantissa = h & ((1u << mbits) - 1);
    int bias = (1 << (ebits - 1)) - 1;
    if (exponent == top)
        return float_of_bits(sign | 0x7f800000u | mantissa << (23 - mbits));
    if (exponent > 0)
        return float_of_bits(sign | (exponent + 127u - (uint32_t)bias) << 23 |
                             mantissa << (23 - mbits));
    /* subnormal: mantissa * 2^(1 - bias - mbits), exact in float */
    float f = (float)mantissa * float_of_bits((uint32_t)(127 + 1 - bias - mbits) << 23);
    return sign ? -f : f;
}

/* float8_e4m3fn has no infinity: only 0x7f and 0xff are NaN, exponent 15 is a number. */
static float e4m3_float(uint32_t h)
{
    if ((h & 0x7f) == 0x7f)
        return float_of_bits(0x7fc00000u | (h & 0x80) << 24);
    if ((h & 0x78) == 0x78) {
        float f = 256.0f * (1.0f + (float)(h & 7) / 8.0f);
        return h & 0x80 ? -f : f;
    }
    return small_float(h, 4, 3);
}

/* Round to nearest even, drop to the top 16 bits. */
static uint16_t bf16_bits(float f)
{
    uint32_t u = bits_of_float(f);
    if ((u & 0x7fffffffu) > 0x7f800000u)
        return (uint16_t)(u >> 16 | 0x40); /* keep it a NaN */
    return (uint16_t)((u + 0x7fffu + (u >> 16 & 1)) >> 16);
}

static uint16_t f16_bits(float f)
{
    uint32_t u = bits_of_float(f), sign = u >> 16 & 0x8000u, a = u & 0x7fffffffu;
    if (a > 0x7f800000u)
        return (uint16_t)(sign | 0x7e00u);
    if (a >= 0x477ff000u) /* 65520 and above round to infinity */
        return (uint16_t)(sign | 0x7c00u);
    if (a < 0x38800000u) { /* below 2^-14: the sum's last bits are the subnormal, rounded */
        uint32_t sum = bits_of_float(float_of_bits(a) + 0.5f);
        return (uint16_t)(sign | (sum - 0x3f000000u));
    }
    a += 0xfffu + (a >> 13 & 1);
    return (uint16_t)(sign | (a - 0x38000000u) >> 13);
}

#define LOAD(T)                                                                                    \
    do {                                                                                           \
        T x_;                                                                                      \
        memcpy(&x_, p + (size_t)i * sizeof x_, sizeof x_);                                         \
        v = x_;                                                                                    \
    } while (0)

/* clang-format off */

/* n <= CHUNK elements as doubles. */
static void load_doubles(mcs_stored_dtype t, const uint8_t *p, double *out, int64_t n)
{
    for (int64_t i = 0; i < n; i++) {
        double v = 0.0;
        switch (t) {
        case MCS_ST_F64: LOAD(double); break;
        case MCS_ST_F32: v = (double)float_of_bits(mcs_le32(p + 4 * i)); break;
        case MCS_ST_F16: v = (double)small_float(mcs_le16(p + 2 * i), 5, 10); break;
        case MCS_ST_BF16: v = (double)float_of_bits((uint32_t)mcs_le16(p + 2 * i) << 16); break;
        case MCS_ST_F8_E4M3: v = (double)e4m3_float(p[i]); break;
        case MCS_ST_F8_E5M2: v = (double)small_float(p[i], 5, 2); break;
        case MCS_ST_U64: v = (double)mcs_le64(p + 8 * i); break;
        case MCS_ST_U32: v = (double)mcs_le32(p + 4 * i); break;
        case MCS_ST_I64: v = (double)(int64_t)mcs_le64(p + 8 * i); break;
        case MCS_ST_I32: LOAD(int32_t); break;
        case MCS_ST_I16: LOAD(int16_t); break;
        case MCS_ST_U16: LOAD(uint16_t); break;
        case MCS_ST_I8: LOAD(int8_t); break;
        case MCS_ST_U8: v = p[i]; break;
        case MCS_ST_BOOL: v = p[i] != 0; break;
        case MCS_ST_COUNT:
            break;
        }
        out[i] = v;
    }
}

/* false: element *bad does not fit int64 */
static bool load_ints(mcs_stored_dtype t, const uint8_t *p, int64_t *out, int64_t n, int64_t *bad)
{
    for (int64_t i = 0; i < n; i++) {
        int64_t v = 0;
        switch (t) {
        case MCS_ST_I64: LOAD(int64_t); break;
        case MCS_ST_I32: LOAD(int32_t); break;
        case MCS_ST_I16: LOAD(int16_t); break;
        case MCS_ST_I8: LOAD(int8_t); break;
        case MCS_ST_U32: LOAD(uint32_t); break;
        case MCS_ST_U16: LOAD(uint16_t); break;
        case MCS_ST_U8: v = p[i]; break;
        case MCS_ST_BOOL: v = p[i] != 0; break;
        default: { /* U64 */
            uint64_t u = mcs_le64(p + 8 * i);
            *bad = i;
            if (u > INT64_MAX)
                return false;
            v = (int64_t)u;
        }
        }
        out[i] = v;
    }
    return true;
}

static void store_doubles(mcs_stored_dtype t, const double *in, uint8_t *p, int64_t n)
{
    for (int64_t i = 0; i < n; i++) {
        float f = (float)in[i];
        uint16_t h;
        switch (t) {
        case MCS_ST_F64: memcpy(p + 8 * i, &in[i], 8); break;
        case MCS_ST_F32: memcpy(p + 4 * i, &f, 4); break;
        case MCS_ST_F16:
            h = f16_bits(f);
            memcpy(p + 2 * i, &h, 2);
            break;
        default:
            h = bf16_bits(f);
            memcpy(p + 2 * i, &h, 2);
            break;
        }
    }
}
/* clang-format on */

static bool store_ints(mcs_stored_dtype t, const int64_t *in, uint8_t *p, int64_t n, int64_t *bad)
{
    int size = types[t].size, bits = 8 * size;
    bool is_signed = t == MCS_ST_I64 || t == MCS_ST_I32 || t == MCS_ST_I16 || t == MCS_ST_I8;
    int64_t high = t == MCS_ST_BOOL ? 1
                   : bits == 64     ? INT64_MAX
                                    : ((int64_t)1 << (is_signed ? bits - 1 : bits)) - 1;
    int64_t low = is_signed ? -high - 1 : 0;
    for (int64_t i = 0; i < n; i++) {
        *bad = i;
        if (in[i] < low || in[i] > high)
            return false;
        memcpy(p + i * size, &in[i], (size_t)size);
    }
    return true;
}

static mcs_status convert_chunk(mcs_stored_dtype from, const uint8_t *src, mcs_stored_dtype to,
                                uint8_t *dst, int64_t n, mcs_error *e)
{
    int64_t bad = 0;
    if (types[to].is_float) {
        double d[CHUNK];
        load_doubles(from, src, d, n);
        store_doubles(to, d, dst, n);
        return MCS_OK;
    }
    int64_t v[CHUNK];
    if (!load_ints(from, src, v, n, &bad) || !store_ints(to, v, dst, n, &bad))
        return mcs_error_set(e, MCS_ESHAPE, "an element of type %s does not fit %s",
                             types[from].name, types[to].name);
    return MCS_OK;
}

mcs_status mcs_stored_convert(mcs_stored_dtype from, const void *src, mcs_stored_dtype to,
                              void *dst, int64_t n, mcs_error *e)
{
    if ((unsigned)from >= MCS_ST_COUNT || (unsigned)to >= MCS_ST_COUNT || n < 0)
        return mcs_error_set(e, MCS_EINVAL, "convert: no such element type");
    if (from == to) {
        if (n > 0)
            memcpy(dst, src, (size_t)n * (size_t)types[to].size);
        return MCS_OK;
    }
    if (to == MCS_ST_F8_E4M3 || to == MCS_ST_F8_E5M2)
        return mcs_error_set(e, MCS_EINVAL, "convert: float8 is read, not written");
    if (types[from].is_float && !types[to].is_float)
        return mcs_error_set(e, MCS_ESHAPE, "the elements are %s, integers are wanted",
                             types[from].name);
    const uint8_t *s = src;
    uint8_t *d = dst;
    for (int64_t i = 0; i < n; i += CHUNK) {
        mcs_status status = convert_chunk(from, s + i * types[from].size, to,
                                          d + i * types[to].size, n - i < CHUNK ? n - i : CHUNK, e);
        if (status != MCS_OK)
            return status;
    }
    return MCS_OK;
}
