/* map.c - float maps from one grid to another: bilinear, half-pixel centres, no antialiasing.
 *
 *   f = scale (x + 1/2) + shift - 1/2,  i = floor f,  a = f - i
 *   top = S[i][j] + a (S[i][j+1] - S[i][j]),  bottom: the same in row i+1
 *   out = top + b (bottom - top)                                     edges replicated
 *
 * f is computed in double: in float its fraction would be off by 1e-4 at column 1000.  cv2 does
 * the same; what remains is the last bit of its fused multiply-adds (2e-7).  Columns are done in tiles whose weights live on the stack: no
 * allocation, hence no failure. */
#include <math.h>
#include "image/image_internal.h"
#include "image/preprocess.h"

#define TILE 256

/* Outputs per input along one axis: input coordinate = scale (x + 1/2) + shift - 1/2. */
typedef struct {
    int n; /* samples of the input */
    double scale, shift;
} axis;

typedef struct {
    int i, next; /* the two samples */
    float a; /* weight of the second */
    bool inside; /* the centre lies on [0, n) */
} place;

static place locate(const axis *ax, int x)
{
    double at = (x + 0.5) * ax->scale + ax->shift;
    double f = at - 0.5, whole = floor(f);
    place p = { (int)whole, (int)whole + 1, (float)(f - whole), at >= 0.0 && at < ax->n };
    if (f < 0.0)
        p = (place){ 0, 0, 0.0f, p.inside };
    else if (p.i >= ax->n - 1)
        p = (place){ ax->n - 1, ax->n - 1, 0.0f, p.inside };
    return p;
}

/* Columns [x0, x0 + n) of all rows. */
static void resize_tile(const float *src, const axis *across, const axis *down, float outside,
                        float *dst, int dw, int dh, int x0, int n)
{
    place px[TILE];
    for (int x = 0; x < n; x++)
        px[x] = locate(across, x0 + x);
    for (int y = 0; y < dh; y++) {
        place py = locate(down, y);
        const float *s0 = src + (size_t)py.i * (size_t)across->n;
        const float *s1 = src + (size_t)py.next * (size_t)across->n;
        float *d = dst + (size_t)y * (size_t)dw + x0;
        for (int x = 0; x < n; x++) {
            place p = px[x];
            float top = s0[p.i] + (s0[p.next] - s0[p.i]) * p.a;
            float bottom = s1[p.i] + (s1[p.next] - s1[p.i]) * p.a;
            d[x] = p.inside && py.inside ? top + (bottom - top) * py.a : outside;
        }
    }
}

static void resize(const float *src, axis across, axis down, float outside, float *dst, int dw,
                   int dh)
{
    for (int x = 0; x < dw; x += TILE)
        resize_tile(src, &across, &down, outside, dst, dw, dh, x, dw - x < TILE ? dw - x : TILE);
}

void mcs_map_resize(const float *src, int sw, int sh, float *dst, int dw, int dh)
{
    axis across = { sw, 1.0 / ((double)dw / sw), 0.0 }, down = { sh, 1.0 / ((double)dh / sh), 0.0 };
    resize(src, across, down, 0.0f, dst, dw, dh);
}

void mcs_geometry_map(const mcs_geometry *g, const float *map, int mw, int mh, float outside,
                      float *dst)
{
    /* picture pixel -> resized picture -> square -> map */
    double kx = (double)mw / g->side, ky = (double)mh / g->side;
    axis across = { mw, kx / ((double)g->width / g->new_width), -kx * g->left };
    axis down = { mh, ky / ((double)g->height / g->new_height), -ky * g->top };
    resize(map, across, down, outside, dst, g->width, g->height);
}
