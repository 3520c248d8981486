/* phantom_shapes.c - outlines of organs, smooth noise, and the loop over pixels.
 *
 * Outline: radius(t) = 1 + irregular * sum_{k=2..top} n_k k^-0.7 cos(2 pi (k t + phi_k)), n_k
 * normal, in the frame of a turned ellipse, clamped to 0.45..1.6 and tabulated over the turn: a
 * pixel costs one arc tangent and one look-up.  k begins at 2: k = 1 would only move the shape.
 *
 * Noise: f(x, y) = sum_ij n_ij B(x nx - i) B(y ny - j), B the cubic B-spline, n_ij normal: twice
 * differentiable, local, and separable (rows of nodes are stretched to the width first, then the
 * columns).  A point has the variance (sum of B^2)^2 on average, (151/315)^2, which is divided
 * out.  The nodes' own mean is taken out before: a gain field of few bumps would otherwise make
 * whole pictures dark or white. */
#include "image/phantom_internal.h"

void mcs_blob_make(mcs_blob *b, mcs_dice *d, float x, float y, float rx, float ry, float turn,
                   float irregular, int top)
{
    enum { MOST = 12 };
    float amount[MOST + 1], phase[MOST + 1], reach = 0;
    for (int k = 2; k <= top && k <= MOST; k++) {
        amount[k] = irregular * mcs_dice_normal(d) * mcs_powf((float)k, -0.7f);
        phase[k] = mcs_dice_in(d, 0, 1);
    }
    for (int i = 0; i <= MCS_BLOB_ANGLES; i++) {
        float t = (float)(i % MCS_BLOB_ANGLES) / MCS_BLOB_ANGLES, r = 1;
        for (int k = 2; k <= top && k <= MOST; k++)
            r += amount[k] * mcs_cos_turns((float)k * t + phase[k]);
        b->radius[i] = mcs_clampf(r, 0.45f, 1.6f);
        reach = b->radius[i] > reach ? b->radius[i] : reach;
    }
    b->x = x;
    b->y = y;
    b->rx = rx;
    b->ry = ry;
    b->cosine = mcs_cos_turns(turn);
    b->sine = mcs_sin_turns(turn);
    b->reach = 2.2f * reach * (rx > ry ? rx : ry);
}

float mcs_blob_at(const mcs_blob *b, float x, float y)
{
    float dx = x - b->x, dy = y - b->y;
    if (fabsf(dx) > b->reach || fabsf(dy) > b->reach)
        return 9;
    float u = (dx * b->cosine + dy * b->sine) / b->rx, v = (dy * b->cosine - dx * b->sine) / b->ry;
    float t = mcs_atan2_turns(v, u) * MCS_BLOB_ANGLES;
    t = t < 0 ? t + MCS_BLOB_ANGLES : t;
    int i = (int)t;
    i = i >= MCS_BLOB_ANGLES ? MCS_BLOB_ANGLES - 1 : i;
    float r = mcs_mixf(b->radius[i], b->radius[i + 1], t - (float)i);
    return sqrtf(u * u + v * v) / r;
}

/* The four weights of the nodes around a point at the fraction f of a cell. */
static void spline(float f, float w[4])
{
    float g = 1 - f;
    w[0] = g * g * g / 6;
    w[1] = (4 + f * f * (3 * f - 6)) / 6;
    w[2] = (4 + g * g * (3 * g - 6)) / 6;
    w[3] = f * f * f / 6;
}

/* n numbers of mean 0; divided by their deviation only where they are so few that it strays. */
static void nodes_make(mcs_dice *d, float *node, int n)
{
    double sum = 0, square = 0;
    for (int i = 0; i < n; i++) {
        node[i] = mcs_dice_normal(d);
        sum += (double)node[i];
    }
    float mean = (float)(sum / n);
    for (int i = 0; i < n; i++) {
        node[i] -= mean;
        square += (double)(node[i] * node[i]);
    }
    float scale = 2.0860927f / sqrtf((float)(square / n) + 1e-12f);
    for (int i = 0; i < n; i++)
        node[i] *= scale;
}

/* dst (size) = row of nodes at all pixel centres; w (size, 4) and at (size): weights, first node. */
static void stretch(const float *row, const float *w, const int *at, int size, float *dst)
{
    for (int x = 0; x < size; x++) {
        const float *p = row + at[x], *q = w + 4 * x;
        dst[x] = p[0] * q[0] + p[1] * q[1] + p[2] * q[2] + p[3] * q[3];
    }
}

void mcs_canvas_field(mcs_canvas *c, int plane, int nx, int ny)
{
    int size = c->size, columns = nx + 3, rows = ny + 3;
    float *node = c->work, *wide = node + (size_t)columns * (size_t)rows; /* (rows, size) */
    float *w = wide + (size_t)rows * (size_t)size, *out = c->plane[plane];
    int *at = (int *)(void *)(w + 4 * (size_t)size);
    nodes_make(&c->dice, node, columns * rows);
    for (int x = 0; x < size; x++) {
        float u = ((float)x + 0.5f) / (float)size * (float)nx;
        at[x] = (int)u < nx ? (int)u : nx - 1;
        spline(u - (float)at[x], w + 4 * x);
    }
    for (int j = 0; j < rows; j++)
        stretch(node + j * columns, w, at, size, wide + (size_t)j * (size_t)size);
    for (int y = 0; y < size; y++) {
        float v = ((float)y + 0.5f) / (float)size * (float)ny, q[4];
        int j = (int)v < ny ? (int)v : ny - 1;
        spline(v - (float)j, q);
        const float *p = wide + (size_t)j * (size_t)size;
        float *dst = out + (size_t)y * (size_t)size;
        for (int x = 0; x < size; x++)
            dst[x] =
                p[x] * q[0] + p[x + size] * q[1] + p[x + 2 * size] * q[2] + p[x + 3 * size] * q[3];
    }
}

void mcs_canvas_shade(mcs_canvas *c, int fields, mcs_shade *shade, const void *scene)
{
    for (int y = 0; y < c->size; y++)
        for (int x = 0; x < c->size; x++) {
            size_t i = (size_t)y * (size_t)c->size + (size_t)x;
            float f[MCS_PHANTOM_PLANES];
            for (int k = 0; k < fields; k++)
                f[k] = c->plane[k][i];
            shade(scene, ((float)x + 0.5f) / (float)c->size, ((float)y + 0.5f) / (float)c->size, f,
                  &c->grey[i], &c->bits[i]);
        }
}
