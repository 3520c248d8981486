/* boxes.c - masks to boxes, as segment-anything/prompt_sam.py of MedCLIP-SAM does with
 * cv2.findContours, contourArea and boundingRect.
 *
 * Among the outer contours the published choice is the largest polygon area, and on a tie the last
 * one in reading order, for cv2 lists contours backwards.  Holes never win: they are smaller than
 * what surrounds them, or the same polygon.  A hole's contour runs through the pixels around it,
 * so its rectangle is one pixel larger on each side than the hole. */
#include <stdlib.h>
#include "cam/boxes.h"

static mcs_box box_of(const mcs_component *c, int w, int h)
{
    int grow = c->hole ? 1 : 0;
    mcs_box b = { c->x0 - grow, c->y0 - grow, c->x1 + grow + 1, c->y1 + grow + 1 };
    b.x1 = b.x1 < w - 1 ? b.x1 : w - 1;
    b.y1 = b.y1 < h - 1 ? b.y1 : h - 1;
    return b;
}

static mcs_box box_union(mcs_box a, mcs_box b)
{
    return (mcs_box){ a.x0 < b.x0 ? a.x0 : b.x0, a.y0 < b.y0 ? a.y0 : b.y0,
                      a.x1 > b.x1 ? a.x1 : b.x1, a.y1 > b.y1 ? a.y1 : b.y1 };
}

/* Falling contour area; on a tie the later one, which cv2 lists first. */
static int by_contour(const void *a, const void *b)
{
    const mcs_component *x = *(const mcs_component *const *)a;
    const mcs_component *y = *(const mcs_component *const *)b;
    if (x->contour_area != y->contour_area)
        return x->contour_area < y->contour_area ? 1 : -1;
    return x < y ? 1 : -(x > y);
}

static void boxes_fill(const mcs_component **c, int64_t count, int w, int h, const mcs_box_opts *o,
                       mcs_boxes *out)
{
    if (o->mode == MCS_BOX_LARGEST && count > 1)
        count = 1;
    if (o->mode != MCS_BOX_UNION && o->boxes_max > 0 && count > o->boxes_max)
        count = o->boxes_max;
    for (int64_t i = 0; i < count; i++) {
        mcs_box b = box_of(c[i], w, h);
        if (o->mode == MCS_BOX_UNION && i > 0)
            out->box[0] = box_union(out->box[0], b);
        else
            out->box[out->count++] = b;
    }
    if (count == 0 && o->empty_is_whole)
        out->box[out->count++] = (mcs_box){ 0, 0, w, h };
}

mcs_status mcs_boxes_find(const uint8_t *mask, int w, int h, const mcs_box_opts *o, mcs_boxes *out,
                          mcs_error *e)
{
    *out = (mcs_boxes){ 0 };
    mcs_components all = { 0 };
    mcs_status s =
        mcs_components_find(mask, w, h, o->mode == MCS_BOX_EACH_AND_HOLES, NULL, &all, e);
    if (s != MCS_OK)
        return s;
    const mcs_component **chosen = malloc((size_t)(all.count + 1) * sizeof *chosen);
    out->box = malloc((size_t)(all.count + 1) * sizeof *out->box);
    if (chosen && out->box) {
        int64_t count = 0;
        for (int64_t i = 0; i < all.count; i++)
            if (all.item[i].hole || all.item[i].area >= o->min_area)
                chosen[count++] = &all.item[i];
        qsort(chosen, (size_t)count, sizeof *chosen, by_contour);
        boxes_fill(chosen, count, w, h, o, out);
    } else {
        mcs_boxes_free(out);
        s = mcs_error_set(e, MCS_ENOMEM, "boxes: out of memory for %lld components",
                          (long long)all.count);
    }
    free(chosen);
    mcs_components_free(&all);
    return s;
}

void mcs_boxes_free(mcs_boxes *b)
{
    free(b->box);
    *b = (mcs_boxes){ 0 };
}
