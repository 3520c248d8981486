/* image.c - pictures in memory: creation within limits, cropping.
 *
 * Every picture, whatever it came from, is allocated here, so the limits of image.h hold for all
 * of them.  All sizes are checked in int64_t before anything is allocated: sides below 2^16, 4
 * channels and 2 bytes cannot overflow. */
#include <stdlib.h>
#include <string.h>
#include "image/image_internal.h"

mcs_image *mcs_image_make(int width, int height, int channels, int depth, const char *name,
                          mcs_error *e)
{
    if (width < 1 || height < 1 || channels < 1 || channels > 4 || (depth != 8 && depth != 16)) {
        mcs_error_set(e, MCS_EINVAL, "%s: no image has %d x %d pixels, %d channels, %d bits", name,
                      width, height, channels, depth);
        return NULL;
    }
    bool small = width <= MCS_IMAGE_MAX_SIDE && height <= MCS_IMAGE_MAX_SIDE;
    int64_t pixels = small ? (int64_t)width * height : 0, bytes = pixels * channels * (depth / 8);
    if (!small || pixels > MCS_IMAGE_MAX_PIXELS || bytes > MCS_IMAGE_MAX_BYTES) {
        mcs_error_set(e, MCS_ENOMEM,
                      "%s: %d x %d pixels, %d channels, %d bits is over the limit (side %d, %lld "
                      "pixels, %lld bytes): crop or shrink it first",
                      name, width, height, channels, depth, MCS_IMAGE_MAX_SIDE,
                      (long long)MCS_IMAGE_MAX_PIXELS, (long long)MCS_IMAGE_MAX_BYTES);
        return NULL;
    }
    mcs_image *im = malloc(sizeof *im);
    void *data = im ? calloc((size_t)bytes, 1) : NULL;
    if (!data) {
        free(im);
        mcs_error_set(e, MCS_ENOMEM, "%s: no memory for %d x %d pixels (%lld bytes)", name, width,
                      height, (long long)bytes);
        return NULL;
    }
    *im = (mcs_image){ width, height, channels, depth, data };
    return im;
}

mcs_image *mcs_image_new(int width, int height, int channels, int depth)
{
    return mcs_image_make(width, height, channels, depth, "image", NULL);
}

void mcs_image_free(mcs_image *im)
{
    if (!im)
        return;
    free(im->data);
    free(im);
}

mcs_image *mcs_image_crop(const mcs_image *im, int x, int y, int width, int height, mcs_error *e)
{
    if (!im)
        return NULL;
    if (x < 0 || y < 0 || width < 1 || height < 1 || width > im->width - x ||
        height > im->height - y) {
        mcs_error_set(e, MCS_EINVAL,
                      "crop: %d x %d pixels at (%d, %d) do not lie inside the image of %d x %d",
                      width, height, x, y, im->width, im->height);
        return NULL;
    }
    mcs_image *out = mcs_image_make(width, height, im->channels, im->depth, "crop", e);
    size_t left = (size_t)x * (size_t)im->channels * (size_t)(im->depth / 8);
    for (int row = 0; out && row < height; row++)
        memcpy(mcs_image_row(out, row), mcs_image_row(im, y + row) + left,
               mcs_image_row_bytes(out));
    return out;
}
