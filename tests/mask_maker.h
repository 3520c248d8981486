/* mask_maker.h - files of masks of every kind, in a temporary folder. */
#ifndef MCS_TEST_MASK_MAKER_H
#define MCS_TEST_MASK_MAKER_H
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <jpeglib.h>
#include "tests/folder.h"
#include "tests/png_maker.h"

enum { W = 16, H = 12 };

/* The label of a pixel: two blocks and a background. */
static inline int label_at(int x, int y)
{
    return x >= 2 && x < 7 && y >= 3 && y < 9 ? 1 : x >= 9 && x < 14 && y >= 1 && y < 6 ? 2 : 0;
}

/* A grey picture whose pixel of label k is value[k]; scale: larger by so much. */
static inline void grey(const char *name, int depth, const int value[3], int scale)
{
    mcs_error e = { 0 };
    mcs_image *im = mcs_image_new(W * scale, H * scale, 1, depth);
    for (int i = 0; i < W * H * scale * scale; i++) {
        int v = value[label_at(i % (W * scale) / scale, i / (W * scale) / scale)];
        if (depth == 16)
            ((uint16_t *)im->data)[i] = (uint16_t)v;
        else
            ((uint8_t *)im->data)[i] = (uint8_t)v;
    }
    assert_int_equal(mcs_png_write(in_folder(name), im, &e), MCS_OK);
    mcs_image_free(im);
}

/* PNG of 1 bit (grey or palette) or of 8-bit palette, RGB and RGBA. */
static inline void special(const char *name, int type, int depth)
{
    static const uint8_t colours[9] = { 0, 0, 0, 128, 0, 0, 0, 128, 0 };
    static const uint8_t rgb[3][4] = { { 0, 0, 0, 255 }, { 200, 0, 0, 255 }, { 0, 200, 0, 255 } };
    blob b = { 0 }, raw = { 0 };
    png_header(&b, W, H, depth, type, 0);
    if (type == 3)
        png_chunk(&b, "PLTE", colours, depth == 1 ? 6 : 9);
    for (int y = 0; y < H; y++) {
        uint8_t line[1 + 4 * W] = { 0 };
        size_t n = 1;
        for (int x = 0; x < W; x++) {
            int k = label_at(x, y);
            if (depth == 1)
                line[1 + x / 8] |= (uint8_t)((k != 0) << (7 - x % 8));
            else if (type == 3)
                line[n++] = (uint8_t)k;
            else
                for (int c = 0; c < (type == 6 ? 4 : 3); c++)
                    line[n++] = rgb[k][c];
        }
        blob_put(&raw, line, depth == 1 ? 1 + W / 8 : n);
    }
    png_data(&b, raw.bytes, raw.size, 1 << 16);
    png_end(&b);
    store(name, b.bytes, b.size);
    blob_free(&b);
    blob_free(&raw);
}

static inline void jpeg(const char *name)
{
    struct jpeg_compress_struct c;
    struct jpeg_error_mgr errors;
    unsigned char *bytes = NULL;
    unsigned long size = 0;
    c.err = jpeg_std_error(&errors);
    jpeg_create_compress(&c);
    jpeg_mem_dest(&c, &bytes, &size);
    c.image_width = W;
    c.image_height = H;
    c.input_components = 1;
    c.in_color_space = JCS_GRAYSCALE;
    jpeg_set_defaults(&c);
    jpeg_set_quality(&c, 60, TRUE);
    jpeg_start_compress(&c, TRUE);
    for (int y = 0; y < H; y++) {
        JSAMPLE line[W];
        JSAMPROW row = line;
        for (int x = 0; x < W; x++)
            line[x] = label_at(x, y) ? 255 : 0;
        jpeg_write_scanlines(&c, &row, 1);
    }
    jpeg_finish_compress(&c);
    jpeg_destroy_compress(&c);
    store(name, bytes, size);
    free(bytes);
}
#endif
