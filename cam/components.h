/* components.h - connected components of a mask and the contours around them. */
#ifndef MCS_COMPONENTS_H
#define MCS_COMPONENTS_H
#include <stdbool.h>
#include <stdint.h>
#include "tensor/status.h"

typedef struct {
    int x0, y0, x1, y1; /* first and last column and row with a pixel of it */
    int64_t area; /* pixels */
    /* Area of the polygon through the centres of the outer border's pixels, holes included, as
     * cv2.contourArea of its outer contour; 0 for lines and single pixels, and for holes. */
    double contour_area;
    bool hole; /* a hole: 4-connected background that meets no picture edge */
} mcs_component;

typedef struct {
    int64_t count;
    mcs_component *item;
} mcs_components;

/* The 8-connected components of mask != 0 (h*w), in the order of their first pixel, row by row;
 * with holes, their holes follow, in the same order.  labels (h*w), Nullable: receives the
 * component's number from 1, 0 elsewhere (holes are not marked).  Linear time.
 * Release with mcs_components_free().  MCS_EINVAL (size), MCS_ENOMEM.  Nullable: e. */
mcs_status mcs_components_find(const uint8_t *mask, int w, int h, bool holes, int32_t *labels,
                               mcs_components *out, mcs_error *e) MCS_MUST_CHECK;
void mcs_components_free(mcs_components *c);

/* Keeps the `keep` components of the largest pixel area, those that tie with the last included,
 * and of these the ones of at least min_area pixels; clears the others.  mask != 0 becomes 1.
 * keep <= 0: all.  *kept, Nullable: how many are left. */
mcs_status mcs_components_keep(uint8_t *mask, int w, int h, int keep, int64_t min_area,
                               int64_t *kept, mcs_error *e) MCS_MUST_CHECK;

/* Fills holes, 4-connected background that meets no picture edge, of at most max_area pixels
 * (<= 0: all) with 1.  *filled, Nullable: pixels.  Linear time.  MCS_EINVAL (size), MCS_ENOMEM. */
mcs_status mcs_components_fill(uint8_t *mask, int w, int h, int64_t max_area, int64_t *filled,
                               mcs_error *e) MCS_MUST_CHECK;
#endif
