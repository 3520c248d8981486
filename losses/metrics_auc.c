/* metrics_auc.c - area under the ROC curve, exactly, from ranks.
 *
 *   AUC = sum over background pixels of (foreground above it + half of the foreground equal to it)
 *         / (foreground * background)                              (Mann & Whitney 1947)
 *
 * Scores are sorted by their bits (flipped so that they order as integers), with the pixel's kind
 * in the lowest place: three passes of a radix sort, whatever the scores. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "losses/metrics.h"

static uint64_t key_of(float score, int kind)
{
    uint32_t b;
    score += 0.0f; /* -0 and 0 tie */
    memcpy(&b, &score, sizeof b);
    b ^= b >> 31 ? UINT32_MAX : UINT32_C(1) << 31;
    return (uint64_t)b << 1 | (uint64_t)kind;
}

enum { DIGIT = 11, PASSES = 3 };

/* Sorts a (n) with b (n) as room; the result is in b: an odd number of passes. */
static void radix_sort(uint64_t *a, uint64_t *b, int64_t n)
{
    for (int pass = 0; pass < PASSES; pass++) {
        int64_t start[(1 << DIGIT) + 1] = { 0 };
        int shift = DIGIT * pass;
        for (int64_t i = 0; i < n; i++)
            start[(a[i] >> shift & ((1 << DIGIT) - 1)) + 1]++;
        for (int d = 0; d < 1 << DIGIT; d++)
            start[d + 1] += start[d];
        for (int64_t i = 0; i < n; i++)
            b[start[a[i] >> shift & ((1 << DIGIT) - 1)]++] = a[i];
        uint64_t *swap = a;
        a = b;
        b = swap;
    }
}

static double from_sorted(const uint64_t *k, int64_t n)
{
    double above = 0, inside = 0, outside = 0;
    for (int64_t i = n; i > 0;) { /* groups of equal scores, from the highest down */
        double in = 0, out = 0;
        uint64_t score = k[i - 1] >> 1;
        for (; i > 0 && k[i - 1] >> 1 == score; i--) {
            in += (double)(k[i - 1] & 1);
            out += (double)(~k[i - 1] & 1);
        }
        above += out * (inside + 0.5 * in);
        inside += in;
        outside += out;
    }
    return inside > 0 && outside > 0 ? above / (inside * outside) : (double)NAN;
}

mcs_status mcs_auc(const uint8_t *truth, const float *score, int64_t n, double *value, mcs_error *e)
{
    *value = (double)NAN;
    if (n < 1)
        return MCS_OK;
    uint64_t *a = malloc((size_t)n * sizeof *a), *b = malloc((size_t)n * sizeof *b);
    mcs_status s = a && b ? MCS_OK
                          : mcs_error_set(e, MCS_ENOMEM, "out of memory for ranks of %lld pixels",
                                          (long long)n);
    for (int64_t i = 0; s == MCS_OK && i < n; i++) {
        if (isnan(score[i]))
            s = mcs_error_set(e, MCS_ENUMERIC, "score %lld is not a number", (long long)i);
        else
            a[i] = key_of(score[i], truth[i] != 0);
    }
    if (s == MCS_OK) {
        radix_sort(a, b, n);
        *value = from_sorted(b, n);
    }
    free(a);
    free(b);
    return s;
}
