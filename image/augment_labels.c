/* augment_labels.c - a picture and its labels, moved alike (see augment.h).
 *
 * Output pixel (i,j) looks at u = ((i + 1/2)/side - 1/2, (j + 1/2)/side - 1/2), which a rotation,
 * scale and flip about 0 and a shift take to u'; the input there is at window + (u' + 1/2) * extent.
 * One resampling for all of it, so nothing is blurred twice. */
#include <math.h>
#include <string.h>
#include "image/augment.h"
#include "tensor/op.h"

static const double pi = 3.14159265358979323846;

mcs_augment mcs_augment_defaults(void)
{
    return (mcs_augment){ .flip_x = 0.5f,
                          .rotate = 15,
                          .scale = 0.15f,
                          .shift = 0.05f,
                          .gamma = 0.3f,
                          .contrast = 0.2f,
                          .brightness = 0.1f,
                          .noise = 0.05f,
                          .chance = 0.5f };
}

/* ---- Drawing ---- */

/* The next number in (0,1) of a draw. */
typedef struct {
    uint64_t key[2], block;
    uint32_t r[4];
    int used;
} lots;

static double next(lots *l)
{
    if (l->used == 4) {
        mcs_philox(l->key, l->block++, l->r);
        l->used = 0;
    }
    return ((double)l->r[l->used++] + 0.5) / 4294967296.0;
}

static double spread(lots *l, float by)
{
    return (2 * next(l) - 1) * (double)by;
}

/* Every number is drawn whether it is used or not: one setting does not change another's lots. */
mcs_augment_draw mcs_augment_by_lot(const mcs_augment *o, uint64_t seed, uint64_t sample)
{
    lots l = { .key = { seed, sample }, .used = 4 };
    double flip_x = next(&l) < (double)o->flip_x ? -1 : 1;
    double flip_y = next(&l) < (double)o->flip_y ? -1 : 1;
    bool move = next(&l) < (double)o->chance, bend = next(&l) < (double)o->chance;
    bool light = next(&l) < (double)o->chance, grain = next(&l) < (double)o->chance;
    double angle = spread(&l, o->rotate) * pi / 180, size = exp(spread(&l, log1pf(o->scale)));
    double dx = spread(&l, o->shift), dy = spread(&l, o->shift);
    double gamma = exp(spread(&l, log1pf(o->gamma))), gain = 1 + spread(&l, o->contrast);
    double offset = spread(&l, o->brightness), noise = next(&l) * (double)o->noise;
    double c = move ? cos(angle) / size : 1, s = move ? sin(angle) / size : 0;
    return (mcs_augment_draw){ .a = { c * flip_x, s * flip_x, -s * flip_y, c * flip_y },
                               .dx = move ? dx : 0,
                               .dy = move ? dy : 0,
                               .gamma = bend ? (float)gamma : 1,
                               .gain = light ? (float)gain : 1,
                               .offset = light ? (float)offset : 0,
                               .noise = grain ? (float)noise : 0,
                               .seed = seed,
                               .sample = sample };
}

/* ---- Moving ---- */

typedef struct {
    double x, y; /* edge coordinates of the input: pixel i covers [i, i+1) */
} place;

static place source(const mcs_window *w, const mcs_augment_draw *d, int side, int i, int j)
{
    double u = (i + 0.5) / side - 0.5, v = (j + 0.5) / side - 0.5;
    double x = d->a[0] * u + d->a[1] * v + d->dx, y = d->a[2] * u + d->a[3] * v + d->dy;
    return (place){ w->x + (x + 0.5) * w->width, w->y + (y + 0.5) * w->height };
}

static double pixel(const uint8_t *src, int width, int height, int channels, double x, double y,
                    int k)
{
    if (x < 0 || y < 0 || x >= width || y >= height)
        return 0;
    return src[((int64_t)y * width + (int64_t)x) * channels + k];
}

static double bilinear(const uint8_t *src, int width, int height, int channels, place p, int k)
{
    double x = p.x - 0.5, y = p.y - 0.5, x0 = floor(x), y0 = floor(y), a = x - x0, b = y - y0;
    double v00 = pixel(src, width, height, channels, x0, y0, k);
    double v01 = a > 0 ? pixel(src, width, height, channels, x0 + 1, y0, k) : v00;
    double v10 = b > 0 ? pixel(src, width, height, channels, x0, y0 + 1, k) : v00;
    double v11 = a > 0   ? b > 0 ? pixel(src, width, height, channels, x0 + 1, y0 + 1, k) : v01
                 : b > 0 ? v10
                         : v00;
    double top = v00 + a * (v01 - v00), bottom = v10 + a * (v11 - v10);
    return (top + b * (bottom - top)) / 255;
}

/* ---- Brightness ---- */

/* Two normal numbers a block (Box and Muller 1958), of a stream apart from the draw's own. */
static float grain_of(const mcs_augment_draw *d, uint64_t at)
{
    const uint64_t key[2] = { d->seed ^ UINT64_C(0x6E6F697365000000), d->sample };
    uint32_t r[4];
    mcs_philox(key, at / 2, r);
    double u = ((double)r[0] + 0.5) / 4294967296.0, v = ((double)r[1] + 0.5) / 4294967296.0;
    double size = sqrt(-2 * log(u)), angle = 2 * pi * v;
    return (float)(size * (at % 2 ? sin(angle) : cos(angle)));
}

static float shade(const mcs_augment_draw *d, double v, float grain)
{
    float x = (float)v;
    if (d->gamma != 1)
        x = powf(x, d->gamma);
    x = (x - 0.5f) * d->gain + 0.5f + d->offset + grain;
    return fminf(fmaxf(x, 0), 1);
}

void mcs_augment_picture(const uint8_t *src, int width, int height, int channels, mcs_window w,
                         const mcs_augment_draw *d, float *dst, int side)
{
    const int64_t plane = (int64_t)side * side;
    bool shaded = d->gamma != 1 || d->gain != 1 || d->offset != 0 || d->noise > 0;
    for (int j = 0; j < side; j++)
        for (int i = 0; i < side; i++) {
            int64_t at = (int64_t)j * side + i;
            place p = source(&w, d, side, i, j);
            float grain = d->noise > 0 ? d->noise * grain_of(d, (uint64_t)at) : 0;
            for (int k = 0; k < channels; k++) {
                double v = bilinear(src, width, height, channels, p, k);
                dst[k * plane + at] = shaded ? shade(d, v, grain) : (float)v;
            }
        }
}

void mcs_augment_labels(const uint8_t *src, int width, int height, mcs_window w,
                        const mcs_augment_draw *d, uint8_t *dst, int side)
{
    for (int j = 0; j < side; j++)
        for (int i = 0; i < side; i++) {
            place p = source(&w, d, side, i, j);
            dst[(int64_t)j * side + i] =
                (uint8_t)pixel(src, width, height, 1, floor(p.x), floor(p.y), 0);
        }
}
