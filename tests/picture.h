/* picture.h - pictures and files for the tests of image/. */
#ifndef MCS_TEST_PICTURE_H
#define MCS_TEST_PICTURE_H
#include <stdlib.h>
#include <string.h>
#include <zlib.h>
#include "image/image.h"
#include "tests/check.h"

/* The sample formula of tests/golden/make_image.py. */
static inline uint8_t noise_at(int x, int y, int c)
{
    return (uint8_t)((x * 37 + y * 91 + c * 53 + x * y % 17 * 13) % 256);
}

static inline mcs_image *noise_image(int w, int h, int channels)
{
    mcs_image *im = mcs_image_new(w, h, channels, 8);
    assert_non_null(im);
    uint8_t *p = im->data;
    for (int y = 0; y < h; y++)
        for (int x = 0; x < w; x++)
            for (int c = 0; c < channels; c++)
                *p++ = noise_at(x, y, c);
    return im;
}

static inline size_t image_bytes(const mcs_image *im)
{
    return (size_t)im->width * (size_t)im->height * (size_t)im->channels * (size_t)(im->depth / 8);
}

static inline bool same_image(const mcs_image *a, const mcs_image *b)
{
    return a->width == b->width && a->height == b->height && a->channels == b->channels &&
           a->depth == b->depth && !memcmp(a->data, b->data, image_bytes(a));
}

/* Reads must fail with this status and these words, and leave the name in the message. */
static inline void refuses(const void *bytes, size_t size, mcs_status s, const char *words)
{
    mcs_error e = { MCS_OK, "" };
    mcs_image *im = mcs_image_read_memory(bytes, size, "evil.file", &e);
    if (im)
        fail_msg("accepted: expected \"%s\"", words);
    if (e.status != s || !strstr(e.message, words) || strncmp(e.message, "evil.file: ", 11))
        fail_msg("status %d, message \"%s\"; expected %d, \"%s\"", e.status, e.message, s, words);
}
#endif
