/* medclip_sam_segment.c - boxes and points to the final mask (MedCLIP-SAM sec. 2.3).
 *
 * The picture is encoded once.  Each box is a prompt of its own and the masks are joined; points
 * go with every box, or alone are one prompt.  A refining pass gives SAM its own low-resolution
 * logits back as mask prompt, and takes the single mask that is meant for unambiguous prompts. */
#include <math.h>
#include <stdlib.h>
#include "cam/components.h"
#include "models/medclip_sam_internal.h"

static bool encode(mcs_zeroshot_job *j, mcs_zeroshot_result *r)
{
    if (j->embedding)
        return true;
    double t = mcs_zeroshot_clock();
    mcs_tensor *x = mcs_sam_image(j->c, j->m->sam, j->rgb->data, j->rgb->width, j->rgb->height);
    j->embedding = mcs_sam_encode(j->c, j->m->sam, x);
    r->seconds[MCS_STAGE_SAM_ENCODE] = mcs_zeroshot_clock() - t;
    return j->embedding != NULL;
}

/* Joins one prompt's logits (H,W) into the mask; returns |logit > 1| / |logit > -1|. */
static float join(const float *logits, int64_t n, uint8_t *mask)
{
    int64_t inner = 0, outer = 0;
    for (int64_t i = 0; i < n; i++) {
        mask[i] |= logits[i] > 0.0f;
        inner += logits[i] > 1.0f;
        outer += logits[i] > -1.0f;
    }
    return outer > 0 ? (float)inner / (float)outer : 0.0f;
}

typedef struct {
    const double *box; /* 4, or NULL */
    const double *points; /* 2 each */
    const int *labels;
    int point_count;
} prompt;

/* The logits (1,1,4G,4G) of the mask with the best estimate, which goes to *iou. */
static mcs_tensor *best_mask(mcs_zeroshot_job *j, const mcs_sam_prompts *p, bool multimask,
                             float *iou)
{
    mcs_sam_masks m = mcs_sam_decode(j->c, j->m->sam, j->embedding, p, multimask);
    int64_t best = 0;
    for (int64_t i = 1; m.iou && i < m.iou->shape[1]; i++)
        if (mcs_f32(m.iou)[i] > mcs_f32(m.iou)[best])
            best = i;
    *iou = m.iou ? mcs_f32(m.iou)[best] : 0;
    return m.logits ? mcs_slice(j->c, m.logits, 1, best, best + 1) : NULL;
}

/* predict() rounds coordinates once, predict_torch() (several boxes) in float32. */
static bool decode(mcs_zeroshot_job *j, mcs_zeroshot_result *r, const prompt *p, int k)
{
    mcs_ctx *c = j->c;
    const mcs_sam *sam = j->m->sam;
    mcs_sam_rounding how = r->box_count > 1 ? MCS_SAM_PREDICT_TORCH : MCS_SAM_PREDICT;
    float box[4], *xy = malloc((size_t)(2 * p->point_count + 1) * sizeof *xy);
    if (!xy) {
        mcs_fail(c, MCS_ENOMEM, "out of memory for %d points", p->point_count);
        return false;
    }
    mcs_scope s = mcs_scope_begin(c);
    if (p->box)
        mcs_sam_coords(sam, r->width, r->height, 2, p->box, box, how);
    mcs_sam_coords(sam, r->width, r->height, p->point_count, p->points, xy, how);
    mcs_sam_prompts prompts = { .count = 1, .boxes = p->box ? box : NULL, .points = p->point_count,
                                .xy = xy, .labels = p->labels };
    mcs_tensor *low = best_mask(j, &prompts, j->o->multimask, &r->iou_pred[k]);
    for (int pass = 0; low && pass < j->o->refine; pass++) {
        prompts.mask = low;
        low = best_mask(j, &prompts, false, &r->iou_pred[k]);
    }
    mcs_tensor *full = mcs_sam_resize(c, sam, low, r->width, r->height);
    if (full)
        r->stability[k] = join(mcs_f32(full), j->pixels, r->mask);
    mcs_scope_end(c, s, NULL);
    free(xy);
    return full != NULL;
}

static bool allocate(mcs_zeroshot_job *j, mcs_zeroshot_result *r, int prompts, double **xy,
                     int **labels)
{
    r->mask = calloc((size_t)j->pixels, 1);
    r->iou_pred = calloc((size_t)prompts + 1, sizeof *r->iou_pred);
    r->stability = calloc((size_t)prompts + 1, sizeof *r->stability);
    *xy = calloc((size_t)r->point_count * 2 + 1, sizeof **xy);
    *labels = calloc((size_t)r->point_count + 1, sizeof **labels);
    if (r->mask && r->iou_pred && r->stability && *xy && *labels)
        return true;
    mcs_fail(j->c, MCS_ENOMEM, "out of memory for a mask of %lld pixels", (long long)j->pixels);
    return false;
}

static bool decode_all(mcs_zeroshot_job *j, mcs_zeroshot_result *r, int prompts, prompt *p)
{
    for (int k = 0; k < prompts; k++) {
        double box[4];
        if (k < r->box_count) {
            const mcs_zeroshot_box *b = &r->boxes[k];
            box[0] = (double)b->x0;
            box[1] = (double)b->y0;
            box[2] = (double)b->x1;
            box[3] = (double)b->y1;
        }
        p->box = k < r->box_count ? box : NULL;
        if (!decode(j, r, p, k))
            return false;
    }
    return true;
}

/* As many components as the coarse mask has. */
static bool match(mcs_zeroshot_job *j, mcs_zeroshot_result *r)
{
    mcs_error *e = mcs_ctx_error(j->c);
    int64_t count = 0;
    return mcs_components_keep(r->coarse, r->width, r->height, 0, 0, &count, e) == MCS_OK &&
           mcs_components_keep(r->mask, r->width, r->height, (int)count, 0, NULL, e) == MCS_OK;
}

bool mcs_zeroshot_segment(mcs_zeroshot_job *j, int i)
{
    mcs_zeroshot_result *r = &j->results[i];
    bool given = mcs_zeroshot_prompted(&j->queries[i]);
    if (!given && j->o->prompts == MCS_SAM_POINTS && r->point_count > 0)
        r->box_count = 0;
    int prompts = r->box_count > 0 ? r->box_count : r->point_count > 0;
    double *xy = NULL;
    int *labels = NULL;
    bool fine = allocate(j, r, prompts, &xy, &labels) && (prompts == 0 || encode(j, r));
    double t = mcs_zeroshot_clock();
    for (int k = 0; fine && k < r->point_count; k++) {
        xy[2 * k] = (double)r->points[k].x;
        xy[2 * k + 1] = (double)r->points[k].y;
        labels[k] = r->points[k].label;
    }
    prompt p = { .points = xy, .labels = labels, .point_count = r->point_count };
    fine = fine && decode_all(j, r, prompts, &p);
    if (fine && j->o->match_contours && r->coarse && !r->coarse_empty)
        fine = match(j, r);
    for (int64_t k = 0; fine && k < j->pixels; k++)
        r->mask_area += r->mask[k];
    r->seconds[MCS_STAGE_SAM_DECODE] = mcs_zeroshot_clock() - t;
    free(xy);
    free(labels);
    return fine;
}
