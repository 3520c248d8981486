/* metrics_distance.c - the exact Euclidean distance transform in linear time.
 *
 * Squared distances separate by axis: along a line, d(p) = min_q f(q) + (w (p - q))^2 is the lower
 * envelope of parabolas of one width, built by keeping a stack of those that are lowest somewhere
 * (Felzenszwalb & Huttenlocher, Theory of Computing 8, 2012).  One pass an axis, the first axis
 * first, so that the squares add in the order in which SciPy adds them. */
#include <math.h>
#include <stdlib.h>
#include "losses/metrics_internal.h"

#define MAX_SIDE (INT64_C(1) << 30)
#define MAX_CORNERS (INT64_C(1) << 40)

mcs_status mcs_axes_of(const mcs_grid *g, mcs_axes *a, mcs_error *e)
{
    if (g->dims != 2 && g->dims != 3)
        return mcs_error_set(e, MCS_ESHAPE, "a grid has 2 or 3 axes, not %d", g->dims);
    *a = (mcs_axes){ { 1, 1, 1 }, 1, { 1, 1, 1 } };
    int64_t corners = 1;
    for (int i = 0; i < g->dims; i++) {
        int k = 3 - g->dims + i;
        if (g->size[i] < 1 || g->size[i] > MAX_SIDE || corners > MAX_CORNERS / (g->size[i] + 1))
            return mcs_error_set(e, MCS_ESHAPE, "axis %d of the grid has %lld pixels", i,
                                 (long long)g->size[i]);
        if (!(g->spacing[i] > 0) || !isfinite(g->spacing[i]))
            return mcs_error_set(e, MCS_EINVAL, "spacing of axis %d is %g, expected above 0", i,
                                 g->spacing[i]);
        corners *= g->size[i] + 1;
        a->n[k] = g->size[i];
        a->spacing[k] = g->spacing[i];
        a->count *= g->size[i];
    }
    return MCS_OK;
}

typedef struct {
    double *f, *from; /* (n) heights of the line; (n+1) where the k-th parabola becomes lowest */
    int64_t *at; /* (n) its vertex */
} envelope;

static void line_pass(envelope *v, double *d, int64_t n, int64_t stride, double w)
{
    int64_t k = -1;
    for (int64_t q = 0; q < n; q++) {
        v->f[q] = d[q * stride];
        if (isinf(v->f[q]))
            continue;
        double s = -(double)INFINITY;
        for (; k >= 0; k--) { /* drop what q hides */
            int64_t p = v->at[k];
            double a = (double)p * w, b = (double)q * w;
            s = (v->f[q] + b * b - v->f[p] - a * a) / (2 * w * w * (double)(q - p));
            if (s > v->from[k])
                break;
        }
        v->at[++k] = q;
        v->from[k] = k ? s : -(double)INFINITY;
    }
    if (k < 0)
        return;
    v->from[k + 1] = (double)INFINITY;
    for (int64_t p = 0, j = 0; p < n; p++) {
        while (v->from[j + 1] < (double)p)
            j++;
        double step = (double)(p - v->at[j]) * w;
        d[p * stride] = v->f[v->at[j]] + step * step;
    }
}

mcs_status mcs_distance_squares(const mcs_axes *a, double *d, mcs_error *e)
{
    int64_t longest = a->n[0];
    for (int k = 1; k < 3; k++)
        longest = a->n[k] > longest ? a->n[k] : longest;
    size_t room = (size_t)longest + 1;
    envelope v = { malloc(room * sizeof *v.f), malloc(room * sizeof *v.from),
                   malloc(room * sizeof *v.at) };
    bool ok = v.f && v.from && v.at;
    const int64_t stride[3] = { a->n[1] * a->n[2], a->n[2], 1 };
    for (int k = 0; ok && k < 3; k++) {
        if (a->n[k] == 1)
            continue;
        int u = k == 0 ? 1 : 0, w = k == 2 ? 1 : 2;
        for (int64_t i = 0; i < a->n[u]; i++)
            for (int64_t j = 0; j < a->n[w]; j++)
                line_pass(&v, d + i * stride[u] + j * stride[w], a->n[k], stride[k], a->spacing[k]);
    }
    free(v.f);
    free(v.from);
    free(v.at);
    return ok ? MCS_OK : mcs_error_set(e, MCS_ENOMEM, "out of memory for distances");
}

mcs_status mcs_distance_transform(const mcs_grid *g, const uint8_t *site, double *distance,
                                  mcs_error *e)
{
    mcs_axes a;
    mcs_status s = mcs_axes_of(g, &a, e);
    if (s != MCS_OK)
        return s;
    for (int64_t i = 0; i < a.count; i++)
        distance[i] = site[i] ? 0 : (double)INFINITY;
    s = mcs_distance_squares(&a, distance, e);
    for (int64_t i = 0; i < a.count; i++)
        distance[i] = sqrt(distance[i]);
    return s;
}

bool mcs_axes_box(const mcs_axes *a, const uint8_t *x, const uint8_t *y, int64_t first[3],
                  int64_t size[3])
{
    int64_t low[3] = { a->n[0], a->n[1], a->n[2] }, high[3] = { -1, -1, -1 };
    for (int64_t z = 0, i = 0; z < a->n[0]; z++)
        for (int64_t r = 0; r < a->n[1]; r++)
            for (int64_t c = 0; c < a->n[2]; c++, i++) {
                if (!x[i] && !y[i])
                    continue;
                const int64_t at[3] = { z, r, c };
                for (int k = 0; k < 3; k++) {
                    low[k] = at[k] < low[k] ? at[k] : low[k];
                    high[k] = at[k] > high[k] ? at[k] : high[k];
                }
            }
    for (int k = 0; k < 3; k++) {
        first[k] = low[k];
        size[k] = high[k] - low[k] + 1;
    }
    return high[0] >= 0;
}
