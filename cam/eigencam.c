/* eigencam.c - the main direction of a layer's output (Muhammad, Yeasin: Eigen-CAM: Class Activation
 * Map using Principal Components, IJCNN 2020).
 *
 * X (cells, C): the layer's output, the mean over the cells taken from every channel.  The map is
 * X v = s u, with s, u, v the first singular triple.  It is found on the smaller of X X^T and X^T X
 * by power iteration in double.  A singular vector has no sign of its own: here the entry of the
 * largest size is positive, for what stands out is seldom most of the picture. */
#include <math.h>
#include <string.h>
#include "cam/cam_internal.h"
#include "tensor/op.h"

enum { ITERATIONS = 20000 };

/* X by rows of n elements; the other dimension is summed over: gram = X X^T (n, n). */
typedef struct {
    const double *x; /* (n, length) by the two steps */
    double *gram;
    int64_t n, length, row_step, step;
} gram_args;

static void gram_range(void *arg, int64_t begin, int64_t end)
{
    const gram_args *g = arg;
    for (int64_t i = begin; i < end; i++)
        for (int64_t j = 0; j < g->n; j++) {
            double sum = 0;
            for (int64_t k = 0; k < g->length; k++)
                sum += g->x[i * g->row_step + k * g->step] * g->x[j * g->row_step + k * g->step];
            g->gram[i * g->n + j] = sum;
        }
}

/* The first eigenvector of gram (n, n), of length 1; returns its eigenvalue; v, next (n). */
static double first_vector(const double *gram, int64_t n, double *v, double *next)
{
    int64_t start = 0;
    double value = 0, change = 1;
    for (int64_t i = 1; i < n; i++)
        start = gram[i * n + i] > gram[start * n + start] ? i : start;
    memset(v, 0, (size_t)n * sizeof *v);
    v[start] = 1;
    for (int pass = 0; pass < ITERATIONS && change > 1e-18; pass++) {
        double square = 0;
        for (int64_t i = 0; i < n; i++) {
            next[i] = 0;
            for (int64_t j = 0; j < n; j++)
                next[i] += gram[i * n + j] * v[j];
            square += next[i] * next[i];
        }
        value = sqrt(square);
        if (!(value > 0))
            return 0;
        change = 0;
        for (int64_t i = 0; i < n; i++) {
            double by = next[i] / value - v[i];
            change += by * by;
            v[i] += by;
        }
    }
    return value;
}

/* X from the activations (C, cells), every channel centred. */
static void centre(const mcs_cam *cam, double *x)
{
    for (int64_t k = 0; k < cam->channels; k++) {
        const float *a = cam->a + k * cam->cells;
        double mean = 0;
        for (int64_t i = 0; i < cam->cells; i++)
            mean += (double)a[i] / (double)cam->cells;
        for (int64_t i = 0; i < cam->cells; i++)
            x[k * cam->cells + i] = (double)a[i] - mean;
    }
}

static void project(const mcs_cam *cam, const double *x, const double *v, double value, bool cells,
                    float *map)
{
    double most = 0;
    for (int64_t i = 0; i < cam->cells; i++) {
        double sum = cells ? sqrt(value) * v[i] : 0;
        for (int64_t k = 0; !cells && k < cam->channels; k++)
            sum += x[k * cam->cells + i] * v[k];
        map[i] = (float)sum;
        most = fabs(sum) > fabs(most) ? sum : most;
    }
    for (int64_t i = 0; most < 0 && i < cam->cells; i++)
        map[i] = -map[i];
}

mcs_tensor *mcs_eigencam(mcs_cam *cam, float *peak)
{
    if (!cam)
        return NULL;
    mcs_ctx *c = cam->c;
    bool cells = cam->cells <= cam->channels;
    gram_args g = { .n = cells ? cam->cells : cam->channels,
                    .length = cells ? cam->channels : cam->cells,
                    .row_step = cells ? 1 : cam->cells,
                    .step = cells ? cam->cells : 1 };
    mcs_tensor *map = mcs_new(c, 3, MCS_SHAPE(1, cam->model.grid_h, cam->model.grid_w));
    double *x = mcs_alloc(c, (size_t)(cam->channels * cam->cells) * sizeof *x);
    double *v = mcs_alloc(c, 2 * (size_t)g.n * sizeof *v);
    g.gram = mcs_alloc(c, (size_t)(g.n * g.n) * sizeof *g.gram);
    if (!map || !x || !v || !g.gram)
        return NULL;
    centre(cam, x);
    g.x = x;
    mcs_parallel_for(c, g.n, mcs_grain(g.n * g.length), gram_range, &g);
    double value = first_vector(g.gram, g.n, v, v + g.n);
    project(cam, x, v, value, cells, mcs_f32(map));
    float top = mcs_cam_scale(mcs_f32(map), cam->cells);
    if (peak)
        *peak = top;
    return map;
}
