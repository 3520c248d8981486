/* sam_target.c - what a training step asks and expects: boxes with jitter, masks on the grid of the
 * logits.
 *
 * A cell of the grid is S / 4G pixels of the model's frame wide; the picture is the frame's
 * top-left part, scaled by w / W and h / H.  In the picture, column i of the grid is the interval
 * [i a, (i+1) a), a = (S / 4G) (W / w), cut off at W.  The share of a cell that a mask of pixels
 * covers separates:  t_ij = sum_y sum_x overlap(i,y) overlap(j,x) mask(y,x) / (a b). */
#include <math.h>
#include <stdlib.h>
#include "models/sam_train.h"

/* Uniform in [0,1): SplitMix64's finaliser (Steele, Lea, Flood 2014) of the counter. */
static double uniform(uint64_t seed, uint64_t stream, uint64_t i)
{
    uint64_t z = seed * UINT64_C(0xD1342543DE82EF95) + stream * UINT64_C(0x9E3779B97F4A7C15) + i;
    for (int round = 0; round < 2; round++) {
        z = (z ^ (z >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
        z = (z ^ (z >> 27)) * UINT64_C(0x94D049BB133111EB);
        z = (z ^ (z >> 31)) + UINT64_C(0x9E3779B97F4A7C15);
    }
    return (double)(z >> 11) * 0x1p-53;
}

static void order(float *lo, float *hi, float end)
{
    if (*hi - *lo < 1) {
        float middle = fminf(fmaxf((*lo + *hi) / 2, 0.5f), fmaxf(end - 0.5f, 0.5f));
        *lo = fmaxf(middle - 0.5f, 0);
        *hi = fminf(middle + 0.5f, fmaxf(end, 1));
    }
}

void mcs_sam_jitter_box(const mcs_sam *m, int width, int height, const double box[4],
                        const mcs_sam_jitter *j, uint64_t seed, uint64_t stream, float out[4])
{
    int end[2];
    double side = mcs_sam_get_config(m)->image;
    mcs_sam_coords(m, width, height, 2, box, out, MCS_SAM_PREDICT);
    mcs_sam_scaled_size(m, width, height, &end[0], &end[1]);
    const double size[2] = { (double)out[2] - (double)out[0], (double)out[3] - (double)out[1] };
    for (int i = 0; i < 4; i++) {
        double unit = j->unit == MCS_SAM_JITTER_PIXELS ? side / 1024 : size[i % 2];
        double u = uniform(seed, stream, (uint64_t)i);
        double move = j->amount * unit * (j->inward ? 2 * u - 1 : u);
        double v = (double)out[i] + (i < 2 ? -move : move);
        out[i] = (float)fmin(fmax(v, 0), end[i % 2]);
    }
    order(&out[0], &out[2], (float)end[0]);
    order(&out[1], &out[3], (float)end[1]);
}

/* ---- Targets ---- */

typedef struct {
    double cell; /* pixels of the picture in a cell */
    int cells, pixels;
} axis;

/* The pixels that cell i of the axis meets: [first, last). */
static void span(const axis *a, int i, int *first, int *last)
{
    double lo = i * a->cell, hi = (i + 1) * a->cell;
    *first = lo < a->pixels ? (int)lo : a->pixels;
    *last = hi < a->pixels ? (int)ceil(hi) : a->pixels;
}

/* Length of pixel p inside cell i, in cells. */
static float overlap(const axis *a, int i, int p)
{
    double lo = fmax(i * a->cell, p), hi = fmin((i + 1) * a->cell, p + 1.0);
    return hi > lo ? (float)((hi - lo) / a->cell) : 0;
}

static mcs_status by_area(const axis *x, const axis *y, const uint8_t *mask, float *out,
                          mcs_error *e)
{
    int n = x->cells, first, last;
    float *rows = calloc((size_t)y->pixels * (size_t)n, sizeof *rows); /* (H, 4G) */
    if (!rows)
        return mcs_error_set(e, MCS_ENOMEM, "target of %d x %d pixels: out of memory", x->pixels,
                             y->pixels);
    for (int r = 0; r < y->pixels; r++) {
        const uint8_t *line = mask + (int64_t)r * x->pixels;
        for (int j = 0; j < n; j++) {
            span(x, j, &first, &last);
            for (int p = first; p < last; p++)
                rows[(int64_t)r * n + j] += line[p] ? overlap(x, j, p) : 0;
        }
    }
    for (int i = 0; i < n; i++) {
        span(y, i, &first, &last);
        for (int r = first; r < last; r++) {
            float w = overlap(y, i, r);
            for (int j = 0; j < n; j++)
                out[(int64_t)i * n + j] += w * rows[(int64_t)r * n + j];
        }
    }
    for (int64_t i = 0; i < (int64_t)n * n; i++)
        out[i] = fminf(out[i], 1);
    free(rows);
    return MCS_OK;
}

static void by_centre(const axis *x, const axis *y, const uint8_t *mask, float *out)
{
    int n = x->cells;
    for (int i = 0; i < n; i++)
        for (int j = 0; j < n; j++) {
            double py = (i + 0.5) * y->cell, px = (j + 0.5) * x->cell;
            if (py < y->pixels && px < x->pixels)
                out[(int64_t)i * n + j] = mask[(int64_t)py * x->pixels + (int64_t)px] != 0;
        }
}

mcs_status mcs_sam_target(const mcs_sam *m, const uint8_t *mask, int width, int height,
                          mcs_sam_target_kind kind, float *out, mcs_error *e)
{
    int w, h, n = 4 * mcs_sam_grid(m);
    if (width < 1 || height < 1)
        return mcs_error_set(e, MCS_EINVAL, "target: mask of %d x %d pixels", width, height);
    mcs_sam_scaled_size(m, width, height, &w, &h);
    double cell = (double)mcs_sam_get_config(m)->image / n;
    const axis x = { cell * width / (w > 0 ? w : 1), n, width };
    const axis y = { cell * height / (h > 0 ? h : 1), n, height };
    for (int64_t i = 0; i < (int64_t)n * n; i++)
        out[i] = 0;
    if (kind == MCS_SAM_TARGET_AREA)
        return by_area(&x, &y, mask, out, e);
    by_centre(&x, &y, mask, out);
    return MCS_OK;
}
