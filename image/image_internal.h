/* image_internal.h - what the files of image/ share; not installed. */
#ifndef MCS_IMAGE_INTERNAL_H
#define MCS_IMAGE_INTERNAL_H
#include "image/image.h"

/* mcs_image_new() that says why it failed: MCS_ENOMEM, beyond a limit or no memory, or MCS_EINVAL;
 * `name` (a file or a function) opens the message.  Samples are zero. */
mcs_image *mcs_image_make(int width, int height, int channels, int depth, const char *name,
                          mcs_error *e);

/* Decoders; the caller has looked at the first bytes. */
mcs_image *mcs_png_decode(const uint8_t *bytes, size_t size, const char *name, mcs_error *e);
mcs_image *mcs_jpeg_decode(const uint8_t *bytes, size_t size, const char *name, mcs_error *e);

static inline size_t mcs_image_row_bytes(const mcs_image *im)
{
    return (size_t)im->width * (size_t)im->channels * (size_t)(im->depth / 8);
}
static inline uint8_t *mcs_image_row(const mcs_image *im, int y)
{
    return (uint8_t *)im->data + (size_t)y * mcs_image_row_bytes(im);
}
#endif
