/* augment.h - random changes of pictures for training: crops; moves of pictures with their labels. */
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
/* ---- Pictures with labels: segmentation ----
 *
 * One draw moves a picture and its labels alike and changes the picture's brightness.  In this
 * order, about the centre of the square that comes out:
 *   flips       left-right and upside down, each with its own probability
 *   rotation    by an angle uniform in [-rotate, rotate] degrees
 *   scale       by a factor log-uniform in [1/(1+scale), 1+scale]
 *   shift       by shares of the side, uniform in [-shift, shift], both ways
 *   gamma       v^g, g log-uniform in [1/(1+gamma), 1+gamma]
 *   contrast    (v - 1/2) k + 1/2, k uniform in [1-contrast, 1+contrast]
 *   brightness  v + b, b uniform in [-brightness, brightness]
 *   noise       v + s n, n normal and the same in all channels, s uniform in [0, noise]
 * and v is then clamped to [0,1].  Rotation with scale and shift, gamma, contrast with brightness,
 * and noise each take place with probability `chance`.  What comes from outside the picture is 0,
 * in the labels too. */
typedef struct {
    float flip_x, flip_y; /* probabilities */
    float rotate, scale, shift;
    float gamma, contrast, brightness, noise;
    float chance;
} mcs_augment;
/* Nothing at all: { 0 }.  These: flip_x .5, flip_y 0, rotate 15, scale .15, shift .05, gamma .3,
 * contrast .2, brightness .1, noise .05, chance .5. */
mcs_augment mcs_augment_defaults(void);

/* The outcome, a function of (o, seed, sample). */
typedef struct {
    double
        a[4]; /* output to input, about the centre: x' = a0 x + a1 y + dx, y' = a2 x + a3 y + dy */
    double dx, dy; /* in sides of the square */
    float gamma, gain, offset, noise;
    uint64_t seed, sample;
} mcs_augment_draw;
mcs_augment_draw mcs_augment_by_lot(const mcs_augment *o, uint64_t seed, uint64_t sample);

/* Part of a picture, in pixels; it may reach beyond the borders. */
typedef struct {
    double x, y, width, height;
} mcs_window;
/* The window of src (height,width,channels), 8 bits, onto a square: dst (channels,side,side), planes
 * in [0,1], bilinear.  Where the draw does nothing and the window is side x side at whole pixels,
 * dst is src / 255 exactly. */
void mcs_augment_picture(const uint8_t *src, int width, int height, int channels, mcs_window w,
                         const mcs_augment_draw *d, float *dst, int side);
/* The same of labels (height,width): dst (side,side), the nearest pixel's. */
void mcs_augment_labels(const uint8_t *src, int width, int height, mcs_window w,
                        const mcs_augment_draw *d, uint8_t *dst, int side);
#endif
