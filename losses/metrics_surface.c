/* metrics_surface.c - surface elements of two masks, their distances, NSD and Hausdorff distance.
 *
 * Elements sit at the corners between pixels.  Every foreground pixel marks, at each of its 4 (8)
 * corners, the bit of its place there; a corner with some but not all bits is an element, with the
 * weight of metrics_weights.c.  Its distance is that to the nearest element of the other mask.
 *
 *   NSD(t) = (weight of G within t of P + weight of P within t of G) / (weight of G + P)
 *   HD(p)  = max over both directions of the distance at which p % of the weight is reached
 *
 * Nikolov et al., "Deep learning to achieve clinically applicable segmentation of head and neck
 * anatomy for radiotherapy", 2018.  The work is confined to the box around both masks. */
#include <math.h>
#include <stdlib.h>
#include "losses/metrics_internal.h"

typedef struct {
    mcs_axes corners;
    int64_t first[3], size[3]; /* of the box, in pixels */
    const mcs_axes *pixels;
    bool flat; /* 2-D */
    double weight[256];
} cells;

/* Neighbour codes of one mask in the box; NULL: no memory. */
static uint8_t *codes_of(const cells *c, const uint8_t *mask)
{
    uint8_t *code = calloc((size_t)c->corners.count, 1);
    const int64_t *n = c->pixels->n, *m = c->corners.n;
    for (int64_t z = 0; code && z < c->size[0]; z++)
        for (int64_t y = 0; y < c->size[1]; y++) {
            const uint8_t *row = mask + ((z + c->first[0]) * n[1] + y + c->first[1]) * n[2];
            for (int64_t x = 0; x < c->size[2]; x++) {
                if (!row[x + c->first[2]])
                    continue;
                for (int i = 0; i < (c->flat ? 4 : 8); i++) { /* corner -i, pixel there: ~i */
                    int64_t at = ((z + (i >> 2)) * m[1] + y + (i >> 1 & 1)) * m[2] + x + (i & 1);
                    code[at] |= (uint8_t)(1 << ((c->flat ? 3 : 7) - i));
                }
            }
        }
    return code;
}

static bool is_element(const cells *c, uint8_t code)
{
    return code && code != (c->flat ? 15 : 255);
}

static int by_distance(const void *a, const void *b)
{
    const mcs_surfel *x = a, *y = b;
    if (x->distance != y->distance)
        return x->distance < y->distance ? -1 : 1;
    return (x->weight > y->weight) - (x->weight < y->weight);
}

/* Elements of `of` with their distances to those of `to`; room: a double a corner. */
static mcs_status elements(const cells *c, const uint8_t *of, const uint8_t *to, double *room,
                           mcs_surfel **list, int64_t *count, mcs_error *e)
{
    int64_t n = 0, k = 0;
    for (int64_t i = 0; i < c->corners.count; i++) {
        room[i] = is_element(c, to[i]) ? 0 : (double)INFINITY;
        n += is_element(c, of[i]);
    }
    mcs_surfel *s = malloc(((size_t)n + 1) * sizeof *s);
    if (!s)
        return mcs_error_set(e, MCS_ENOMEM, "out of memory for %lld surface elements",
                             (long long)n);
    *list = s;
    mcs_status status = mcs_distance_squares(&c->corners, room, e);
    for (int64_t i = 0; i < c->corners.count; i++)
        if (is_element(c, of[i]))
            s[k++] = (mcs_surfel){ sqrt(room[i]), c->weight[of[i]] };
    *count = n;
    qsort(s, (size_t)n, sizeof *s, by_distance);
    return status;
}

mcs_status mcs_surface_compare(const mcs_grid *g, const uint8_t *truth, const uint8_t *found,
                               mcs_surface *out, mcs_error *e)
{
    mcs_axes a;
    *out = (mcs_surface){ 0 };
    mcs_status s = mcs_axes_of(g, &a, e);
    if (s != MCS_OK)
        return s;
    cells c = { .pixels = &a, .flat = g->dims == 2, .corners = { .count = 1 } };
    if (!mcs_axes_box(&a, truth, found, c.first, c.size))
        return MCS_OK;
    mcs_surface_weights(g, c.weight);
    for (int k = 0; k < 3; k++) {
        c.corners.n[k] = c.size[k] + (k > 0 || !c.flat);
        c.corners.spacing[k] = a.spacing[k];
        c.corners.count *= c.corners.n[k];
    }
    uint8_t *x = codes_of(&c, truth), *y = codes_of(&c, found);
    double *room = malloc((size_t)c.corners.count * sizeof *room);
    if (!x || !y || !room)
        s = mcs_error_set(e, MCS_ENOMEM, "out of memory for a surface in %lld pixels",
                          (long long)c.corners.count);
    if (s == MCS_OK)
        s = elements(&c, x, y, room, &out->truth, &out->truths, e);
    if (s == MCS_OK)
        s = elements(&c, y, x, room, &out->found, &out->founds, e);
    free(x);
    free(y);
    free(room);
    if (s != MCS_OK)
        mcs_surface_free(out);
    return s;
}

void mcs_surface_free(mcs_surface *s)
{
    if (!s)
        return;
    free(s->truth);
    free(s->found);
    *s = (mcs_surface){ 0 };
}

double mcs_nsd(const mcs_surface *s, double tolerance)
{
    double near = 0, all = 0;
    for (int side = 0; side < 2; side++) {
        const mcs_surfel *x = side ? s->found : s->truth;
        for (int64_t i = 0; i < (side ? s->founds : s->truths); i++) {
            near += x[i].distance <= tolerance ? x[i].weight : 0;
            all += x[i].weight;
        }
    }
    return all > 0 ? near / all : (double)NAN;
}

/* The sum in NumPy's order (pairs of halves, blocks of 128 in eight strands): where the share is
 * reached exactly, rounding decides, and it is to decide as in surface-distance. */
static double block_sum(const mcs_surfel *x, int64_t n)
{
    double r[8], sum;
    int64_t i = 8;
    if (n < 8) {
        for (i = 0, sum = 0; i < n; i++)
            sum += x[i].weight;
        return sum;
    }
    for (int k = 0; k < 8; k++)
        r[k] = x[k].weight;
    for (; i + 8 <= n; i += 8)
        for (int k = 0; k < 8; k++)
            r[k] += x[i + k].weight;
    sum = ((r[0] + r[1]) + (r[2] + r[3])) + ((r[4] + r[5]) + (r[6] + r[7]));
    for (; i < n; i++)
        sum += x[i].weight;
    return sum;
}

static double weight_sum(const mcs_surfel *x, int64_t n)
{
    if (n <= 128)
        return block_sum(x, n);
    int64_t half = n / 2 - n / 2 % 8;
    return weight_sum(x, half) + weight_sum(x + half, n - half);
}

/* The distance of the first element with which the share of the weight is reached. */
static double directed(const mcs_surfel *x, int64_t n, double share)
{
    double all = weight_sum(x, n), sum = 0;
    for (int64_t i = 0; i < n; i++) {
        sum += x[i].weight;
        if (sum / all >= share)
            return x[i].distance;
    }
    return n ? x[n - 1].distance : (double)INFINITY;
}

double mcs_hausdorff(const mcs_surface *s, double percent)
{
    if (!s->truths && !s->founds)
        return (double)NAN;
    double a = directed(s->truth, s->truths, percent / 100);
    double b = directed(s->found, s->founds, percent / 100);
    return a > b ? a : b;
}

mcs_status mcs_nsd_official_region(const uint8_t *truth, const uint8_t *found, int64_t rows,
                                   int64_t columns, double tolerance, double *value, mcs_error *e)
{
    const mcs_grid thin = { 3, { rows, columns, 1 }, { 1, 1, 1 } };
    mcs_surface s;
    mcs_status status = mcs_surface_compare(&thin, truth, found, &s, e);
    *value = status == MCS_OK ? mcs_nsd(&s, tolerance) : (double)NAN;
    mcs_surface_free(&s);
    return status;
}
