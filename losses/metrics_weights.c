/* metrics_weights.c - length or area of the contour in a cell of 2x2 or 2x2x2 pixels.
 *
 * Marching squares and cubes (Lorensen & Cline 1987): contour vertices lie in the middle of the
 * cell edges whose ends differ; on a face with four of them, each corner of the kind that is in
 * the minority in the cell is cut off by itself.  The vertices then form closed polygons of 3 to
 * 6 sides.  Where one is not flat, its area depends on how it is cut into triangles; the tables of
 * surface-distance are those of the cut with the largest area at spacing 1, which this file
 * finds, so that there is no table of 256 rows to trust.  Both kinds of pixels are treated alike:
 * a code and its complement have the same weight. */
#include <math.h>
#include <string.h>
#include "losses/metrics_internal.h"

enum { EDGES = 12 };
typedef struct {
    double p[3]; /* in units of the spacing */
} vertex;

static double triangle(const vertex *a, const vertex *b, const vertex *c, const double w[3])
{
    double u[3], v[3];
    for (int k = 0; k < 3; k++) {
        u[k] = (b->p[k] - a->p[k]) * w[k];
        v[k] = (c->p[k] - a->p[k]) * w[k];
    }
    double x = u[1] * v[2] - u[2] * v[1], y = u[2] * v[0] - u[0] * v[2];
    double z = u[0] * v[1] - u[1] * v[0];
    return 0.5 * sqrt(x * x + y * y + z * z);
}

/* Area at spacing w of the cut that is largest at spacing 1, from those of shorter runs of sides. */
static double polygon(const vertex *v, int n, const double w[3])
{
    static const double one[3] = { 1, 1, 1 };
    double best[EDGES][EDGES] = { { 0 } }, area[EDGES][EDGES] = { { 0 } };
    for (int run = 2; run < n; run++)
        for (int i = 0, j = run; j < n; i++, j++) {
            best[i][j] = -1;
            for (int k = i + 1; k < j; k++) {
                double b = best[i][k] + best[k][j] + triangle(&v[i], &v[k], &v[j], one);
                if (b < best[i][j] + 1e-12)
                    continue;
                best[i][j] = b;
                area[i][j] = area[i][k] + area[k][j] + triangle(&v[i], &v[k], &v[j], w);
            }
        }
    return area[0][n - 1];
}

/* Corners are numbered zyx in binary; an edge by its axis and its end without that bit. */
static int edge_of(int a, int b)
{
    int bit = a ^ b, axis = bit == 4 ? 0 : bit == 2 ? 1 : 2, low = a & b;
    int rest = axis == 0 ? low : axis == 1 ? (low >> 2) * 2 + (low & 1) : low >> 1;
    return axis * 4 + rest;
}

static void edge_middle(int edge, vertex *v)
{
    int axis = edge / 4, rest = edge % 4, first = axis == 0 ? 1 : 0, last = axis == 2 ? 1 : 2;
    v->p[axis] = 0.5;
    v->p[first] = rest / 2;
    v->p[last] = rest % 2;
}

typedef struct {
    int to[EDGES][2], count[EDGES]; /* each cut edge is an end of two segments */
} segments;

static void segment(segments *s, int a, int b)
{
    s->to[a][s->count[a]++] = b;
    s->to[b][s->count[b]++] = a;
}

static void cut_face(segments *s, int code, const int corner[4])
{
    int edge[4], cut[4], cuts = 0;
    for (int i = 0; i < 4; i++) {
        int a = corner[i], b = corner[(i + 1) % 4];
        edge[i] = edge_of(a, b);
        if ((code >> a & 1) != (code >> b & 1))
            cut[cuts++] = i;
    }
    if (cuts == 2)
        segment(s, edge[cut[0]], edge[cut[1]]);
    if (cuts == 4)
        for (int i = 0; i < 4; i++)
            if (code >> corner[i] & 1)
                segment(s, edge[i], edge[(i + 3) % 4]);
}

static double cell_area(int code, const double w[3])
{
    int bits = 0;
    for (int i = 0; i < 8; i++)
        bits += code >> i & 1;
    if (bits > 4)
        code = ~code & 255;
    segments s = { .count = { 0 } };
    for (int axis = 0; axis < 3; axis++)
        for (int side = 0; side < 2; side++) {
            int u = axis == 0 ? 2 : 4, v = axis == 2 ? 2 : 1, at = side << (2 - axis);
            cut_face(&s, code, (const int[4]){ at, at | u, at | u | v, at | v });
        }
    double area = 0;
    bool done[EDGES] = { false };
    for (int start = 0; start < EDGES; start++) {
        vertex v[EDGES];
        int n = 0;
        for (int at = start, from = -1; s.count[at] == 2 && !done[at];) {
            done[at] = true;
            edge_middle(at, &v[n++]);
            int next = s.to[at][s.to[at][0] == from || done[s.to[at][0]]];
            from = at;
            at = next;
        }
        if (n)
            area += polygon(v, n, w);
    }
    return area;
}

static double cell_length(int code, const double w[2])
{
    double across = 0.5 * sqrt(w[0] * w[0] + w[1] * w[1]);
    switch (code) {
    case 0:
    case 15:
        return 0;
    case 3:
    case 12: /* a row of pixels: the contour runs along it */
        return w[1];
    case 5:
    case 10: /* a column */
        return w[0];
    case 6:
    case 9:
        return 2 * across;
    default:
        return across;
    }
}

void mcs_surface_weights(const mcs_grid *g, double *weight)
{
    for (int code = 0; code < (g->dims == 2 ? 16 : 256); code++)
        weight[code] = g->dims == 2 ? cell_length(code, g->spacing) : cell_area(code, g->spacing);
}
