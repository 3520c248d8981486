/* augment.c - RandomResizedCrop (Szegedy et al. 2015, as in torchvision): crop, then resize, so
 * that no pixel outside the box takes part in the filter. */
#include "image/augment.h"
#include <math.h>
#include "tensor/op.h"

enum { TRIES = 10 };
static const double aspect_low = 3.0 / 4.0, aspect_high = 4.0 / 3.0;

static double uniform(uint32_t r)
{
    return ((double)r + 0.5) / 4294967296.0;
}

/* A whole number in [0, n]. */
static int up_to(uint32_t r, int n)
{
    return (int)((uint64_t)r * ((uint64_t)n + 1) >> 32);
}

static mcs_crop_box centre(int width, int height)
{
    double aspect = (double)width / (double)height;
    int w = width, h = height;
    if (aspect < aspect_low)
        h = (int)nearbyint(width / aspect_low);
    else if (aspect > aspect_high)
        w = (int)nearbyint(height * aspect_high);
    return (mcs_crop_box){ (width - w) / 2, (height - h) / 2, w, h };
}

mcs_crop_box mcs_random_crop(int width, int height, double low, double high, uint64_t seed,
                             uint64_t sample)
{
    const uint64_t key[2] = { seed, sample };
    double area = (double)width * (double)height;
    for (uint64_t i = 0; i < TRIES; i++) {
        uint32_t r[4];
        mcs_philox(key, i, r);
        double target = area * (low + (high - low) * uniform(r[0]));
        double span = log(aspect_high) - log(aspect_low);
        double aspect = exp(log(aspect_low) + span * uniform(r[1]));
        double w = nearbyint(sqrt(target * aspect)), h = nearbyint(sqrt(target / aspect));
        if (w >= 1 && h >= 1 && w <= width && h <= height)
            return (mcs_crop_box){ up_to(r[3], width - (int)w), up_to(r[2], height - (int)h),
                                   (int)w, (int)h };
    }
    return centre(width, height);
}

mcs_image *mcs_image_resized_crop(const mcs_image *im, mcs_crop_box box, int side, mcs_error *e)
{
    mcs_image *rgb = im ? mcs_image_to_rgb(im, e) : NULL;
    mcs_image *cut = rgb ? mcs_image_crop(rgb, box.x, box.y, box.width, box.height, e) : NULL;
    mcs_image *out = cut ? mcs_image_resize(cut, side, side, MCS_FILTER_BICUBIC, e) : NULL;
    mcs_image_free(rgb);
    mcs_image_free(cut);
    return out;
}
