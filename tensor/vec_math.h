/* vec_math.h - vectors of VEC_BYTES and the functions on them; included by vec_kernels.h only.
 *
 * GCC's vector extensions: the compiler emits the instructions of the current target.  A
 * comparison gives all-ones or all-zeros per element, so a choice is a bit mask; masks are
 * written so that NaN falls through to the result. */
#include <math.h>
#include <stdint.h>
#include <string.h>

#define W ((int64_t)(VEC_BYTES / sizeof(float)))
#define INLINE static inline __attribute__((always_inline))

typedef float vf __attribute__((vector_size(VEC_BYTES)));
typedef int32_t vi __attribute__((vector_size(VEC_BYTES)));
typedef float vf_any __attribute__((vector_size(VEC_BYTES), aligned(4), may_alias));

INLINE vf set1(float s)
{
    return (vf){ 0 } + s;
}

INLINE vf load(const float *p)
{
    return *(const vf_any *)p;
}

INLINE void store(float *p, vf v)
{
    *(vf_any *)p = v;
}

/* The last n < W elements, the rest filled up; the tail is computed exactly as the body is. */
#if defined(__x86_64__) && VEC_BYTES == 64
INLINE vf load_part(const float *p, int64_t n, float fill)
{
    return (vf)_mm512_mask_loadu_ps((__m512)set1(fill), (__mmask16)((1u << n) - 1), p);
}

INLINE void store_part(float *p, int64_t n, vf v)
{
    _mm512_mask_storeu_ps(p, (__mmask16)((1u << n) - 1), (__m512)v);
}
#else
INLINE vf load_part(const float *p, int64_t n, float fill)
{
    float t[VEC_BYTES / sizeof(float)];
    store(t, set1(fill));
    for (int64_t i = 0; i < n; i++)
        t[i] = p[i];
    return load(t);
}

INLINE void store_part(float *p, int64_t n, vf v)
{
    float t[VEC_BYTES / sizeof(float)];
    store(t, v);
    for (int64_t i = 0; i < n; i++)
        p[i] = t[i];
}
#endif

INLINE vf choose(vi mask, vf yes, vf no)
{
    return (vf)((mask & (vi)yes) | (~mask & (vi)no));
}

INLINE vf at_most(vf x, float hi)
{
    return choose((vi)(x > set1(hi)), set1(hi), x);
}

INLINE vf at_least(vf x, float lo)
{
    return choose((vi)(x < set1(lo)), set1(lo), x);
}

INLINE vf vabs(vf x)
{
    return (vf)((vi)x & 0x7fffffff);
}

INLINE vf copy_sign(vf magnitude, vf sign)
{
    return (vf)(((vi)magnitude & 0x7fffffff) | ((vi)sign & (int32_t)0x80000000));
}

INLINE vf max2(vf a, vf b) /* NaN if either is */
{
    return choose((vi)(a > b) | (vi)(a != a), a, b);
}

INLINE vf vsqrt(vf x)
{
    float t[VEC_BYTES / sizeof(float)];
    store(t, x);
    for (int64_t i = 0; i < W; i++)
        t[i] = sqrtf(t[i]);
    return load(t);
}

/* exp x = 2^n exp r with n = round(x / ln 2), |r| <= ln 2 / 2; ln 2 in two parts, the first exact
 * in 12 bits so that n * part is exact (Cody & Waite 1980).  exp r = 1 + r + r^2 P(r), P the
 * minimax polynomial of degree 4 (error 3e-9).  2^n is applied in two factors: n runs to 128,
 * and subnormal results round once.  Adding 1.5 * 2^23 rounds to integer. */
INLINE vf vexp(vf x)
{
    vf z = at_least(at_most(x, 89.0f), -104.0f);
    vf magic = set1(12582912.0f), t = z * 1.44269504f + magic, n = t - magic;
    vf r = (z - n * 0.693359375f) - n * -2.12194440e-4f;
    vf p = set1(0.00138146023f);
    p = p * r + 0.00836871564f;
    p = p * r + 0.0416683890f;
    p = p * r + 0.166665211f;
    p = p * r + 0.499999940f;
    vf e = r * r * p + r + 1.0f;
    vi k = (vi)t - (vi)magic, half = k >> 1;
    return e * (vf)((half + 127) << 23) * (vf)((k - half + 127) << 23);
}

INLINE vf vsigmoid(vf x)
{
    return 1.0f / (1.0f + vexp(-x));
}

/* Below 0.625 an odd minimax polynomial (error 4e-9 relative), above 1 - 2 / (exp 2|x| + 1). */
INLINE vf vtanh(vf x)
{
    vf a = vabs(x), u = x * x, p = set1(-0.00570490910f);
    p = p * u + 0.0206390210f;
    p = p * u - 0.0537396967f;
    p = p * u + 0.133314416f;
    p = p * u - 0.333332807f;
    vf small = x + x * u * p;
    vf large = copy_sign(1.0f - 2.0f / (vexp(a + a) + 1.0f), x);
    return choose((vi)(a > set1(0.625f)), large, small);
}

/* Upper tail of the normal distribution Q(t) = exp(-t^2/2) s R(s), s = 1 / (1 + 0.33 t), t >= 0:
 * the form of Abramowitz & Stegun 26.2.17 with a minimax R of our own (relative error 4e-7 for
 * t < 6).  Unlike 1 - erf it keeps its relative accuracy in the tail.  *density = exp(-t^2/2). */
INLINE vf normal_tail(vf t, vf *density)
{
    vf s = 1.0f / (1.0f + 0.33f * t), p = set1(0.0241981316f);
    p = p * s - 0.0681180134f;
    p = p * s + 0.00358249387f;
    p = p * s + 0.0910465270f;
    p = p * s + 0.0613839738f;
    p = p * s + 0.125835702f;
    p = p * s + 0.130341336f;
    p = p * s + 0.131730020f;
    *density = vexp(t * t * -0.5f);
    return p * s * *density;
}

INLINE vf vgelu(vf x)
{
    vf density, t = at_most(vabs(x), 16.0f), tail = t * normal_tail(t, &density);
    return choose((vi)(x > 0.0f), x - tail, -tail);
}

/* d/dx x Phi(x) = Phi(x) + x phi(x) */
INLINE vf vgelu_slope(vf x)
{
    vf density, z = at_least(at_most(x, 16.0f), -16.0f), tail = normal_tail(vabs(z), &density);
    return choose((vi)(z > 0.0f), 1.0f - tail, tail) + z * density * 0.398942280f;
}
