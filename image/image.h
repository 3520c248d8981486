/* image.h - pictures: 8- and 16-bit, 1 to 4 channels, interleaved rows, top to bottom. */
#ifndef MCS_IMAGE_H
#define MCS_IMAGE_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "tensor/status.h"

typedef struct {
    int width, height;
    int channels;               /* 1 grey, 2 grey+alpha, 3 RGB, 4 RGBA */
    int depth;                  /* 8 or 16 bits per sample (uint16_t in host order) */
    void *data;                 /* height * width * channels samples */
} mcs_image;

/* Limits against hostile files. */
#define MCS_IMAGE_MAX_SIDE 65500
#define MCS_IMAGE_MAX_PIXELS (INT64_C(1) << 29)     /* 512 Mpixel */

mcs_image *mcs_image_new(int width, int height, int channels, int depth);  /* zeroed; NULL: no memory or bad size */
void mcs_image_free(mcs_image *im);                                         /* Nullable */

/* Reads PNG or JPEG by content.  The samples are the file's own: 16-bit stays 16-bit, grey stays
 * grey; palettes are expanded, 1/2/4-bit grey is scaled to 8.  NULL: see e. */
mcs_image *mcs_image_read(const char *path, mcs_error *e);
mcs_image *mcs_image_read_memory(const void *bytes, size_t size, const char *name, mcs_error *e);
/* As PIL's Image.open(path).convert("RGB"): 8-bit RGB.  New image. */
mcs_image *mcs_image_to_rgb(const mcs_image *im, mcs_error *e);
/* As PIL's convert("L") of an 8-bit image.  New image. */
mcs_image *mcs_image_to_grey(const mcs_image *im, mcs_error *e);

/* PNG, 8 or 16 bit; temporary file, fsync, rename. */
mcs_status mcs_png_write(const char *path, const mcs_image *im, mcs_error *e) MCS_MUST_CHECK;

/* Pillow's resampler, bit for bit: antialiased (support scaled by the reduction), horizontal
 * then vertical pass, 8-bit rounding after each.  8-bit, any channels.  New image. */
typedef enum { MCS_FILTER_NEAREST, MCS_FILTER_BILINEAR, MCS_FILTER_BICUBIC } mcs_filter;
mcs_image *mcs_image_resize(const mcs_image *im, int width, int height, mcs_filter f, mcs_error *e);
mcs_image *mcs_image_crop(const mcs_image *im, int x, int y, int width, int height, mcs_error *e);

/* cv2.resize(map, (w,h), interpolation=INTER_LINEAR) of a float map: half-pixel centres, edges
 * replicated, no antialiasing. */
void mcs_map_resize(const float *src, int sw, int sh, float *dst, int dw, int dh);

/* ---- Drawing on 8-bit RGB ---- */
typedef struct { uint8_t r, g, b; } mcs_colour;
mcs_colour mcs_colormap_jet(float v);               /* v in [0,1]; matplotlib/OpenCV JET */
mcs_colour mcs_colormap_viridis(float v);
mcs_colour mcs_label_colour(int label);             /* distinct colours for label maps, 1... */
/* Blends a map (w*h values in [0,1]) over im: alpha 0..1. */
void mcs_draw_heat(mcs_image *im, const float *map, float alpha);
/* Tints mask != 0 and draws its outline, thickness adapted to the image size. */
void mcs_draw_mask(mcs_image *im, const uint8_t *mask, mcs_colour colour, float alpha);
void mcs_draw_box(mcs_image *im, float x0, float y0, float x1, float y1, mcs_colour colour);
void mcs_draw_point(mcs_image *im, float x, float y, mcs_colour colour);
/* Small built-in 5x7 font, ASCII, scaled by `scale`. */
void mcs_draw_text(mcs_image *im, int x, int y, const char *text, int scale, mcs_colour colour);
#endif
