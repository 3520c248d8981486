/* colour.c - colour maps and label colours.
 *
 * JET: the 256 colours of cv2.applyColorMap(COLORMAP_JET), which differ from matplotlib's jet by at
 * most a few levels: blue, cyan, yellow and red ramps of 4 levels a step.  Viridis (S. van der Walt
 * and N. Smith, 2015, CC0): every fifth of its 256 colours, linear between, within one level.
 * Label colours: the seven of Okabe and Ito (2008), which colour-blind readers can tell apart, then
 * hues by the golden ratio, which never repeat, in four brightnesses. */
#include <math.h>
#include "image/image.h"

/* v in [0,1] to 0..255; NaN to 0. */
static int level(float v)
{
    return v >= 1.0f ? 255 : v > 0.0f ? (int)(255.0f * v) : 0;
}

static uint8_t ramp(int v)
{
    return (uint8_t)(v < 0 ? 0 : v > 255 ? 255 : v);
}

mcs_colour mcs_colormap_jet(float v)
{
    int i = level(v);
    mcs_colour c;
    c.r = i < 160   ? ramp(4 * (i - 96) + (i >= 96 ? 2 : 0))
          : i < 224 ? 255
                    : ramp(252 - 4 * (i - 224));
    c.g = i < 96 ? ramp(4 * (i - 32)) : i < 160 ? 255 : ramp(252 - 4 * (i - 160));
    c.b = i < 32 ? ramp(128 + 4 * i) : i < 96 ? 255 : ramp(254 - 4 * (i - 96));
    if (i == 159)
        c.b = 1; /* sic */
    return c;
}

static const uint8_t viridis[52][3] = {
    { 68, 1, 84 },    { 70, 8, 92 },    { 71, 16, 99 },   { 72, 23, 105 },  { 72, 29, 111 },
    { 72, 36, 117 },  { 71, 42, 122 },  { 70, 48, 126 },  { 69, 55, 129 },  { 67, 61, 132 },
    { 65, 66, 135 },  { 63, 72, 137 },  { 61, 78, 138 },  { 58, 83, 139 },  { 56, 89, 140 },
    { 53, 94, 141 },  { 51, 99, 141 },  { 49, 104, 142 }, { 46, 109, 142 }, { 44, 113, 142 },
    { 42, 118, 142 }, { 41, 123, 142 }, { 39, 128, 142 }, { 37, 132, 142 }, { 35, 137, 142 },
    { 33, 142, 141 }, { 32, 146, 140 }, { 31, 151, 139 }, { 30, 156, 137 }, { 31, 161, 136 },
    { 33, 165, 133 }, { 36, 170, 131 }, { 40, 174, 128 }, { 46, 179, 124 }, { 53, 183, 121 },
    { 61, 188, 116 }, { 70, 192, 111 }, { 80, 196, 106 }, { 90, 200, 100 }, { 101, 203, 94 },
    { 112, 207, 87 }, { 124, 210, 80 }, { 137, 213, 72 }, { 149, 216, 64 }, { 162, 218, 55 },
    { 176, 221, 47 }, { 189, 223, 38 }, { 202, 225, 31 }, { 216, 226, 25 }, { 229, 228, 25 },
    { 241, 229, 29 }, { 253, 231, 37 }
};

mcs_colour mcs_colormap_viridis(float v)
{
    int i = level(v), k = i / 5, part = i % 5;
    const uint8_t *a = viridis[k], *b = viridis[k < 51 ? k + 1 : 51];
    uint8_t mix[3];
    for (int c = 0; c < 3; c++)
        mix[c] = (uint8_t)((a[c] * (5 - part) + b[c] * part + 2) / 5);
    return (mcs_colour){ mix[0], mix[1], mix[2] };
}

/* Hue in turns; saturation 3/4. */
static mcs_colour from_hue(double hue, double value)
{
    double rgb[3];
    for (int c = 0; c < 3; c++) {
        double k = fmod((5.0 - 2.0 * c) + 6.0 * hue, 6.0);
        double t = fmin(fmin(k, 4.0 - k), 1.0);
        rgb[c] = value * (1.0 - 0.75 * (t > 0.0 ? t : 0.0));
    }
    return (mcs_colour){ (uint8_t)(255.0 * rgb[0] + 0.5), (uint8_t)(255.0 * rgb[1] + 0.5),
                         (uint8_t)(255.0 * rgb[2] + 0.5) };
}

mcs_colour mcs_label_colour(int label)
{
    static const mcs_colour first[8] = { { 0, 0, 0 },     { 230, 159, 0 },  { 86, 180, 233 },
                                         { 0, 158, 115 }, { 240, 228, 66 }, { 0, 114, 178 },
                                         { 213, 94, 0 },  { 204, 121, 167 } };
    if (label < 0)
        label = 0;
    if (label < 8)
        return first[label];
    return from_hue(fmod(label * 0.6180339887498949, 1.0), 0.98 - 0.13 * (label % 4));
}
