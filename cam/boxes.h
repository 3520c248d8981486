/* boxes.h - from a mask to the boxes that prompt SAM. */
#ifndef MCS_BOXES_H
#define MCS_BOXES_H
#include "cam/components.h"

/* Corners as the published pipeline writes them: x1 = min(x + width, W - 1), so one past the last
 * column unless that leaves the picture; y1 alike. */
typedef struct {
    int x0, y0, x1, y1;
} mcs_box;
typedef struct {
    int64_t count;
    mcs_box *box;
} mcs_boxes;

typedef enum {
    MCS_BOX_LARGEST, /* one: the component whose outer contour encloses most */
    MCS_BOX_EACH, /* one for every component, largest contour first */
    MCS_BOX_EACH_AND_HOLES, /* as the published --multi-contour: holes give boxes as well */
    MCS_BOX_UNION /* one around everything (version 2 of the published pipeline) */
} mcs_box_mode;

typedef struct {
    mcs_box_mode mode;
    int64_t min_area; /* components of fewer pixels are passed over (holes are not) */
    int64_t boxes_max; /* at most that many, the first ones; 0: no limit */
    bool empty_is_whole; /* an empty mask gives the box (0, 0, W, H), as published; else none */
} mcs_box_opts;

/* Boxes of mask != 0 (h*w).  out->count may be 0.  Release with mcs_boxes_free().  Nullable: e. */
mcs_status mcs_boxes_find(const uint8_t *mask, int w, int h, const mcs_box_opts *o, mcs_boxes *out,
                          mcs_error *e) MCS_MUST_CHECK;
void mcs_boxes_free(mcs_boxes *b);
#endif
