/* image.h - pictures: 8- and 16-bit, 1 to 4 channels, interleaved rows, top to bottom.
 *
 * Functions that make a picture return it to the caller, who frees it with mcs_image_free(), or
 * NULL with the reason in e.  Nullable everywhere: e.  A NULL picture in gives NULL out with e
 * left as it is, so calls can be chained.  Nothing here is global: different threads may work on
 * different pictures, and several may read one. */
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

/* Limits against hostile files: a file beyond any of them is refused with MCS_ENOMEM, naming the
 * limit.  No picture is larger than MCS_IMAGE_MAX_BYTES of samples. */
#define MCS_IMAGE_MAX_SIDE 65500
#define MCS_IMAGE_MAX_PIXELS (INT64_C(1) << 28)     /* 268 Mpixel */
#define MCS_IMAGE_MAX_BYTES (INT64_C(1) << 30)
#define MCS_IMAGE_MAX_FILE (INT64_C(1) << 30)

mcs_image *mcs_image_new(int width, int height, int channels, int depth);  /* zeroed; NULL: no memory or bad size */
void mcs_image_free(mcs_image *im);                                         /* Nullable */

/* ---- Files ---- */
/* Reads PNG or JPEG by content, whatever the file is called.  The samples are the file's own:
 * 16-bit stays 16-bit, grey stays grey; palettes are expanded, 1/2/4-bit grey is scaled to 8, a
 * tRNS chunk becomes an alpha channel.  EXIF orientation, gamma and colour profiles are not
 * applied (PIL.Image.open does not either).  Refused with a sentence that names the file: cut
 * short or damaged files (bad CRC, wrong Huffman codes, missing end), CMYK, 12-bit, lossless and
 * arithmetic-coded JPEG, palette indices without a colour, files that claim more pixels than
 * their bytes can hold, more than 64 progressive scans.  MCS_EIO, MCS_EFORMAT or MCS_ENOMEM. */
mcs_image *mcs_image_read(const char *path, mcs_error *e);
/* The same from memory; `name` is what messages call it. */
mcs_image *mcs_image_read_memory(const void *bytes, size_t size, const char *name, mcs_error *e);

/* PNG, 8 or 16 bit, 1 to 4 channels.  Written to a temporary file in the same folder, fsynced,
 * then renamed: path is either the old file or the whole new one. */
mcs_status mcs_png_write(const char *path, const mcs_image *im, mcs_error *e) MCS_MUST_CHECK;
/* The same without waiting for the disk: for thousands of pictures that can be made again.  No
 * reader sees half a file, but after a power cut some may be missing or empty; whoever writes a
 * list of them calls sync() first. */
mcs_status mcs_png_write_unsynced(const char *path, const mcs_image *im,
                                  mcs_error *e) MCS_MUST_CHECK;

/* ---- Conversions; always a new image ---- */
/* As PIL's Image.open(path).convert("RGB"): 8-bit RGB; alpha is dropped, not blended.  16-bit
 * colour keeps the high byte, as PIL does.  16-bit GREY IS NOT PIL's: PIL clips at 255, which
 * turns a 12-bit X-ray white; here it is mcs_image_normalize(im, 0, 100), minimum to maximum.
 * For a fixed window call mcs_image_window() first; mcs_image_window(im, 0, 255) is PIL's clip. */
mcs_image *mcs_image_to_rgb(const mcs_image *im, mcs_error *e);
/* As PIL's convert("L"): 8-bit grey, (19595 R + 38470 G + 7471 B + 32768) >> 16.  16 bits as above. */
mcs_image *mcs_image_to_grey(const mcs_image *im, mcs_error *e);
/* 8-bit with the same channels: 255 * (v - lo) / (hi - lo), rounded half up and clamped to
 * 0..255.  Alpha keeps its high byte.  hi must exceed lo. */
mcs_image *mcs_image_window(const mcs_image *im, double lo, double hi, mcs_error *e);
/* mcs_image_window() between two percentiles of the image's own colour samples (all colour
 * channels together, numpy.percentile's linear rule), 0 <= low < high <= 100; 0 and 100 are the
 * minimum and the maximum.  An image with one value only becomes 0. */
mcs_image *mcs_image_normalize(const mcs_image *im, double low, double high, mcs_error *e);

/* ---- Geometry ---- */
/* Pillow's Image.resize, bit for bit: antialiased (support scaled by the reduction), horizontal
 * then vertical pass, 8-bit rounding after each; bicubic has a = -0.5.  8-bit, any channels; alpha
 * is a channel like any other (Pillow premultiplies).  New image. */
typedef enum { MCS_FILTER_NEAREST, MCS_FILTER_BILINEAR, MCS_FILTER_BICUBIC } mcs_filter;
mcs_image *mcs_image_resize(const mcs_image *im, int width, int height, mcs_filter f, mcs_error *e);
/* The same, only the pixels [x, x+w) x [y, y+h) of the resized image: equal to resizing and then
 * cropping, without the cost of the rest.  width and height may then exceed the image limits. */
mcs_image *mcs_image_resize_crop(const mcs_image *im, int width, int height, mcs_filter f, int x,
                                 int y, int w, int h, mcs_error *e);
/* Pixels [x, x+width) x [y, y+height), which must lie inside.  Any depth. */
mcs_image *mcs_image_crop(const mcs_image *im, int x, int y, int width, int height, mcs_error *e);

/* cv2.resize(map, (dw,dh), interpolation=INTER_LINEAR) of a float map, (sh,sw) -> (dh,dw):
 * half-pixel centres, edges replicated, no antialiasing.  src and dst must not overlap. */
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
