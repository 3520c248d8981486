/* draw_internal.h - what draw.c and font.c share; not installed. */
#ifndef MCS_DRAW_INTERNAL_H
#define MCS_DRAW_INTERNAL_H
#include "image/image_internal.h"

/* 8-bit RGB: everything else is left untouched. */
static inline bool mcs_drawable(const mcs_image *im)
{
    return im && im->depth == 8 && im->channels == 3;
}
/* Far from overflowing int arithmetic. */
static inline bool mcs_near(const mcs_image *im, int v)
{
    return v > -MCS_IMAGE_MAX_SIDE && v < 2 * MCS_IMAGE_MAX_SIDE && im->width > 0;
}
/* For outlines: a quarter of the brightness. */
static inline mcs_colour mcs_darker(mcs_colour c)
{
    return (mcs_colour){ c.r / 4, c.g / 4, c.b / 4 };
}
/* The part inside the image. */
void mcs_fill_rectangle(mcs_image *im, int x, int y, int w, int h, mcs_colour colour);
#endif
