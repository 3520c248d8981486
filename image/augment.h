/* augment.h - random crops of pictures for training. */
#ifndef MCS_AUGMENT_H
#define MCS_AUGMENT_H
#include "image/image.h"

typedef struct {
    int x, y, width, height;
} mcs_crop_box;

/* torchvision's RandomResizedCrop.get_params: a box with a share of the area drawn from
 * [low, high] and an aspect (width / height) drawn log-uniformly from [3/4, 4/3]; after ten draws
 * that do not fit, the largest centred box of an aspect in that range.  The draws are a function
 * of (seed, sample): not torch's numbers, but their distribution.  0 < low <= high <= 1. */
mcs_crop_box mcs_random_crop(int width, int height, double low, double high, uint64_t seed,
                             uint64_t sample);
/* The picture as 8-bit RGB, cut to the box and resized to side x side with Pillow's bicubic:
 * functional.resized_crop(im.convert("RGB"), ..., BICUBIC). */
mcs_image *mcs_image_resized_crop(const mcs_image *im, mcs_crop_box box, int side, mcs_error *e);
#endif
