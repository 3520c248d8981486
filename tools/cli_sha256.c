/* cli_sha256.c - SHA-256 as FIPS 180-4 defines it, for the identity of inputs and weights. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#if defined(__x86_64__)
#include <cpuid.h>
#include <immintrin.h>
#endif
#include "tools/cli_files.h"

/* Fractional parts of the cube roots of the first 64 primes. */
static const uint32_t round_constants[64] = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2
};

/* ---- The compression function ---- */

static inline uint32_t rotate(uint32_t x, int n)
{
    return x >> n | x << (32 - n);
}

/* One round; the eight variables move by a change of their roles, not of their values. */
#define ROUND(a, b, c, d, e, f, g, h, t)                                                           \
    do {                                                                                           \
        uint32_t x = h + (rotate(e, 6) ^ rotate(e, 11) ^ rotate(e, 25)) + (g ^ (e & (f ^ g))) +    \
                     round_constants[t] + w[t];                                                    \
        d += x;                                                                                    \
        h = x + (rotate(a, 2) ^ rotate(a, 13) ^ rotate(a, 22)) + ((a & b) | (c & (a | b)));        \
    } while (0)

static void expand(uint32_t w[64], const uint8_t *block)
{
    for (int i = 0; i < 16; i++, block += 4)
        w[i] = (uint32_t)block[0] << 24 | (uint32_t)block[1] << 16 | (uint32_t)block[2] << 8 |
               block[3];
    for (int i = 16; i < 64; i++) {
        uint32_t a = w[i - 15], b = w[i - 2];
        w[i] = w[i - 16] + (rotate(a, 7) ^ rotate(a, 18) ^ a >> 3) + w[i - 7] +
               (rotate(b, 17) ^ rotate(b, 19) ^ b >> 10);
    }
}

void cli_sha256_plain(uint32_t state[8], const uint8_t *blocks, size_t count)
{
    uint32_t w[64];
    for (; count; count--, blocks += 64) {
        uint32_t a = state[0], b = state[1], c = state[2], d = state[3];
        uint32_t e = state[4], f = state[5], g = state[6], h = state[7];
        expand(w, blocks);
        for (int t = 0; t < 64; t += 8) {
            ROUND(a, b, c, d, e, f, g, h, t);
            ROUND(h, a, b, c, d, e, f, g, t + 1);
            ROUND(g, h, a, b, c, d, e, f, t + 2);
            ROUND(f, g, h, a, b, c, d, e, t + 3);
            ROUND(e, f, g, h, a, b, c, d, t + 4);
            ROUND(d, e, f, g, h, a, b, c, t + 5);
            ROUND(c, d, e, f, g, h, a, b, t + 6);
            ROUND(b, c, d, e, f, g, h, a, t + 7);
        }
        state[0] += a;
        state[1] += b;
        state[2] += c;
        state[3] += d;
        state[4] += e;
        state[5] += f;
        state[6] += g;
        state[7] += h;
    }
}

#if defined(__x86_64__)
/* The same with the processor's own instructions: checkpoints are gigabytes, and this is five
 * times as fast.  The state is kept as the instructions want it, ABEF and CDGH. */
__attribute__((target("sha,sse4.1"))) static void compress_x86(uint32_t state[8],
                                                               const uint8_t *blocks, size_t count)
{
    const __m128i swap = _mm_set_epi64x(0x0c0d0e0f08090a0bLL, 0x0405060700010203LL);
    __m128i low = _mm_shuffle_epi32(_mm_loadu_si128((const __m128i *)(const void *)state), 0xB1);
    __m128i s1 =
        _mm_shuffle_epi32(_mm_loadu_si128((const __m128i *)(const void *)(state + 4)), 0x1B);
    __m128i s0 = _mm_alignr_epi8(low, s1, 8), m[4];
    s1 = _mm_blend_epi16(s1, low, 0xF0);
    for (; count; count--, blocks += 64) {
        __m128i before0 = s0, before1 = s1;
        for (int i = 0; i < 16; i++) {
            if (i < 4) {
                m[i] = _mm_loadu_si128((const __m128i *)(const void *)(blocks + 16 * i));
                m[i] = _mm_shuffle_epi8(m[i], swap);
            } else {
                __m128i x = _mm_sha256msg1_epu32(m[i & 3], m[(i + 1) & 3]);
                x = _mm_add_epi32(x, _mm_alignr_epi8(m[(i + 3) & 3], m[(i + 2) & 3], 4));
                m[i & 3] = _mm_sha256msg2_epu32(x, m[(i + 3) & 3]);
            }
            const void *constants = round_constants + 4 * i;
            __m128i k = _mm_add_epi32(m[i & 3], _mm_loadu_si128((const __m128i *)constants));
            s1 = _mm_sha256rnds2_epu32(s1, s0, k);
            s0 = _mm_sha256rnds2_epu32(s0, s1, _mm_shuffle_epi32(k, 0x0E));
        }
        s0 = _mm_add_epi32(s0, before0);
        s1 = _mm_add_epi32(s1, before1);
    }
    low = _mm_shuffle_epi32(s0, 0x1B);
    s1 = _mm_shuffle_epi32(s1, 0xB1);
    _mm_storeu_si128((__m128i *)(void *)state, _mm_blend_epi16(low, s1, 0xF0));
    _mm_storeu_si128((__m128i *)(void *)(state + 4), _mm_alignr_epi8(s1, low, 8));
}

static bool has_sha(void)
{
    unsigned a, b, c, d;
    return __get_cpuid_count(7, 0, &a, &b, &c, &d) && b >> 29 & 1 &&
           __get_cpuid(1, &a, &b, &c, &d) && c >> 19 & 1;
}
#endif

static void compress(uint32_t state[8], const uint8_t *blocks, size_t count)
{
#if defined(__x86_64__)
    if (has_sha()) {
        compress_x86(state, blocks, count);
        return;
    }
#endif
    cli_sha256_plain(state, blocks, count);
}

/* ---- Messages ---- */

void cli_sha256_begin(cli_sha256 *s)
{
    static const uint32_t first[8] = { 0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
                                       0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19 };
    memcpy(s->state, first, sizeof first);
    s->length = 0;
}

void cli_sha256_add(cli_sha256 *s, const void *bytes, size_t n)
{
    const uint8_t *p = bytes;
    while (n) {
        size_t at = s->length % 64, take = 64 - at < n ? 64 - at : n;
        if (at == 0 && n >= 64) { /* whole blocks from where they are */
            take = n - n % 64;
            compress(s->state, p, take / 64);
        } else {
            memcpy(s->block + at, p, take);
            if (at + take == 64)
                compress(s->state, s->block, 1);
        }
        s->length += take;
        p += take;
        n -= take;
    }
}

void cli_sha256_hex(cli_sha256 *s, char hex[65])
{
    uint64_t bits = s->length * 8;
    uint8_t tail[72] = { 0x80 };
    size_t zeros = (119 - s->length % 64) % 64; /* so that 0x80, zeros and 8 bytes end a block */
    for (int i = 0; i < 8; i++)
        tail[1 + zeros + (size_t)i] = (uint8_t)(bits >> (56 - 8 * i));
    cli_sha256_add(s, tail, zeros + 9);
    for (int i = 0; i < 8; i++)
        snprintf(hex + 8 * i, 9, "%08x", s->state[i]);
}

mcs_status cli_sha256_file(const char *path, char hex[65], mcs_error *e)
{
    enum { CHUNK = 1 << 18 };
    cli_sha256 s;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return mcs_error_set(e, MCS_EIO, "%s: cannot open: %s", path, strerror(errno));
    uint8_t *buf = malloc(CHUNK);
    ssize_t got = buf ? 1 : -1;
    cli_sha256_begin(&s);
    while (buf && got != 0) {
        got = read(fd, buf, CHUNK);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            break;
        cli_sha256_add(&s, buf, (size_t)got);
    }
    int saved = errno;
    bool memory = buf != NULL;
    close(fd);
    free(buf);
    if (!memory)
        return mcs_error_set(e, MCS_ENOMEM, "%s: out of memory", path);
    if (got < 0)
        return mcs_error_set(e, MCS_EIO, "%s: cannot read: %s", path, strerror(saved));
    cli_sha256_hex(&s, hex);
    return MCS_OK;
}
