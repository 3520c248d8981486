/* draw.c - overlays on 8-bit RGB pictures.
 *
 * Lines are about 1/250 of the shorter side thick and have a thin dark rim where there is room
 * for one, so that they show on white tissue and on black background.  The heat map's opacity
 * grows with its value (half of alpha at 0, all of it from 0.5 on): what the method finds cold
 * stays recognisable.  Nothing is allocated: drawing cannot fail, and what lies outside the
 * picture is clipped. */
#include <math.h>
#include "image/draw_internal.h"

void mcs_fill_rectangle(mcs_image *im, int x, int y, int w, int h, mcs_colour colour)
{
    int x1 = x + w < im->width ? x + w : im->width, y1 = y + h < im->height ? y + h : im->height;
    for (int row = y < 0 ? 0 : y; row < y1; row++) {
        uint8_t *p = mcs_image_row(im, row);
        for (int column = x < 0 ? 0 : x; column < x1; column++) {
            p[3 * column] = colour.r;
            p[3 * column + 1] = colour.g;
            p[3 * column + 2] = colour.b;
        }
    }
}

/* p = (1 - a) p + a colour, rounded. */
static void blend(uint8_t *p, mcs_colour colour, float a)
{
    const uint8_t c[3] = { colour.r, colour.g, colour.b };
    for (int i = 0; i < 3; i++)
        p[i] = (uint8_t)((float)p[i] + a * (float)(c[i] - p[i]) + 0.5f);
}

static float unit(float v)
{
    return v >= 1.0f ? 1.0f : v > 0.0f ? v : 0.0f; /* NaN: 0 */
}

/* Line thickness in pixels. */
static int thickness(const mcs_image *im)
{
    int shorter = im->width < im->height ? im->width : im->height;
    int t = (shorter + 125) / 250;
    return t < 1 ? 1 : t;
}

/* Width of the dark rim beside a line t thick; none on small pictures. */
static int rim(int t)
{
    return t < 2 ? 0 : (t + 2) / 4;
}

void mcs_draw_heat(mcs_image *im, const float *map, float alpha)
{
    if (!mcs_drawable(im) || !map)
        return;
    alpha = unit(alpha);
    for (int y = 0; y < im->height; y++) {
        uint8_t *p = mcs_image_row(im, y);
        const float *m = map + (size_t)y * (size_t)im->width;
        for (int x = 0; x < im->width; x++, p += 3) {
            float v = unit(m[x]);
            blend(p, mcs_colormap_jet(v), alpha * unit(0.5f + v));
        }
    }
}

/* Paints pixels whose centres are within radius of (x, y). */
static void fill_disc(mcs_image *im, int x, int y, float radius, mcs_colour colour)
{
    int r = (int)radius;
    for (int dy = -r; dy <= r; dy++) {
        int half = (int)sqrtf(radius * radius - (float)(dy * dy));
        mcs_fill_rectangle(im, x - half, y + dy, 2 * half + 1, 1, colour);
    }
}

/* Is (x, y) a mask pixel with a neighbour outside the mask?  Beyond the picture the mask goes on. */
static bool on_edge(const uint8_t *mask, int w, int h, int x, int y)
{
    const uint8_t *m = mask + (size_t)y * (size_t)w + x;
    if (!*m)
        return false;
    return (x > 0 && !m[-1]) || (x < w - 1 && !m[1]) || (y > 0 && !m[-w]) || (y < h - 1 && !m[w]);
}

/* A disc on every edge pixel: an outline with round corners, 2 radius + 1 thick. */
static void outline(mcs_image *im, const uint8_t *mask, float radius, mcs_colour colour)
{
    for (int y = 0; y < im->height; y++)
        for (int x = 0; x < im->width; x++)
            if (on_edge(mask, im->width, im->height, x, y))
                fill_disc(im, x, y, radius, colour);
}

void mcs_draw_mask(mcs_image *im, const uint8_t *mask, mcs_colour colour, float alpha)
{
    if (!mcs_drawable(im) || !mask)
        return;
    size_t n = (size_t)im->width * (size_t)im->height;
    uint8_t *p = im->data;
    alpha = unit(alpha);
    for (size_t i = 0; i < n; i++)
        if (mask[i])
            blend(p + 3 * i, colour, alpha);
    int t = thickness(im);
    float radius = 0.5f * (float)(t - 1);
    if (rim(t))
        outline(im, mask, radius + (float)rim(t), mcs_darker(colour));
    outline(im, mask, radius, colour);
}

/* The frame of the pixels [x0, x1) x [y0, y1), t thick, inwards. */
static void frame(mcs_image *im, int x0, int y0, int x1, int y1, int t, mcs_colour colour)
{
    mcs_fill_rectangle(im, x0, y0, x1 - x0, t, colour);
    mcs_fill_rectangle(im, x0, y1 - t, x1 - x0, t, colour);
    mcs_fill_rectangle(im, x0, y0, t, y1 - y0, colour);
    mcs_fill_rectangle(im, x1 - t, y0, t, y1 - y0, colour);
}

/* Nearest pixel border within one picture size around the picture; NaN: 0. */
static int place(float v, int n)
{
    float most = 2.0f * (float)n;
    return v > most ? (int)most : v > -(float)n ? (int)lrintf(v) : v <= -(float)n ? -n : 0;
}

void mcs_draw_box(mcs_image *im, float x0, float y0, float x1, float y1, mcs_colour colour)
{
    if (!mcs_drawable(im))
        return;
    int t = thickness(im), r = rim(t), out = t / 2;
    int left = place(fminf(x0, x1), im->width) - out, top = place(fminf(y0, y1), im->height) - out;
    int right = place(fmaxf(x0, x1), im->width) + 1 + out;
    int bottom = place(fmaxf(y0, y1), im->height) + 1 + out;
    if (r)
        frame(im, left - r, top - r, right + r, bottom + r, t + 2 * r, mcs_darker(colour));
    frame(im, left, top, right, bottom, t, colour);
}

void mcs_draw_point(mcs_image *im, float x, float y, mcs_colour colour)
{
    if (!mcs_drawable(im))
        return;
    int px = place(x, im->width), py = place(y, im->height), t = thickness(im);
    float radius = 2.5f * (float)t;
    fill_disc(im, px, py, radius + (float)t, mcs_darker(colour));
    fill_disc(im, px, py, radius + 0.5f * (float)t, (mcs_colour){ 255, 255, 255 });
    fill_disc(im, px, py, radius - 0.5f * (float)t, colour);
}
