/* png.c - PNG (ISO/IEC 15948) through libpng.
 *
 * Before libpng sees a byte, the chain of chunks is walked: every chunk must lie inside the file,
 * IHDR first and once, IEND last, and the compressed data must be able to hold the pixels claimed
 * (deflate expands at most 1032 : 1), so memory is bounded by the file's size, not by its header.
 * libpng then parses IHDR, PLTE, tRNS, IDAT and IEND only; all other chunks (text, profiles: the
 * usual decompression bombs) are skipped unread but for their CRC, which must be right.
 *
 * Palette indices are read as they are and expanded here, since libpng paints an index without a
 * colour black where we want an error.  libpng's errors leave by longjmp to read_pixels(), whose
 * state lives in a struct: no local variable is at stake. */
#include <png.h>
#include <setjmp.h>
#include <stdlib.h>
#include <string.h>
#include "image/image_internal.h"

#define CHUNKS_MAX (1 << 19)
#define DEFLATE_RATIO_MAX 1032

typedef struct {
    const uint8_t *bytes;
    size_t size, pos;
    const char *name;
    mcs_error *e;
    png_structp png;
    png_infop info;
    bool no_memory;
    mcs_image *im; /* what is being filled; owned */
    int palette_n; /* 0: not a palette image */
    uint8_t palette[256][4];
    bool palette_alpha;
} reader;

static uint32_t be32(const uint8_t *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static bool malformed(const reader *r, const char *what)
{
    mcs_error_set(r->e, MCS_EFORMAT, "%s: PNG is malformed: %s", r->name, what);
    return false;
}

/* Is the IHDR at byte 8 within limits, and can `data` compressed bytes hold its pixels? */
static bool check_claim(const reader *r, uint64_t data)
{
    static const int channels[7] = { 1, 0, 3, 1, 2, 0, 4 };
    const uint8_t *h = r->bytes + 16;
    uint32_t w = be32(h), height = be32(h + 4);
    unsigned depth = h[8], type = h[9];
    if (w == 0 || height == 0 || type > 6 || !channels[type] || depth > 16)
        return malformed(r, "impossible size, depth or colour type");
    if (w > MCS_IMAGE_MAX_SIDE || height > MCS_IMAGE_MAX_SIDE ||
        (int64_t)w * height > MCS_IMAGE_MAX_PIXELS) {
        mcs_error_set(r->e, MCS_ENOMEM,
                      "%s: %u x %u pixels is over the limit (side %d, %lld pixels): crop or shrink "
                      "it first",
                      r->name, w, height, MCS_IMAGE_MAX_SIDE, (long long)MCS_IMAGE_MAX_PIXELS);
        return false;
    }
    uint64_t bits = (uint64_t)w * height * depth * (unsigned)channels[type];
    if (bits / 8 > data * DEFLATE_RATIO_MAX) {
        mcs_error_set(r->e, MCS_EFORMAT,
                      "%s: PNG says %u x %u pixels, but its %llu bytes of data cannot hold them",
                      r->name, w, height, (unsigned long long)data);
        return false;
    }
    return true;
}

static bool cut_short(const reader *r, size_t at, const uint8_t *type, uint32_t length)
{
    char name[5] = "?";
    if (type)
        for (int i = 0; i < 4; i++)
            name[i] = type[i] >= 'A' && type[i] <= 'z' ? (char)type[i] : '?';
    mcs_error_set(r->e, MCS_EFORMAT,
                  "%s: PNG is cut short: chunk %s at byte %zu has %lu bytes, the file ends at %zu",
                  r->name, name, at, (unsigned long)length, r->size);
    return false;
}

/* Walks the chunks from the signature to IEND. */
static bool check_chunks(const reader *r)
{
    size_t at = 8;
    uint64_t data = 0;
    for (int n = 0;; n++) {
        if (r->size - at < 12)
            return cut_short(r, at, NULL, 0);
        const uint8_t *type = r->bytes + at + 4;
        uint32_t length = be32(r->bytes + at);
        if (n == 0 && (memcmp(type, "IHDR", 4) || length != 13))
            return malformed(r, "it does not begin with an IHDR chunk of 13 bytes");
        if (n > 0 && !memcmp(type, "IHDR", 4))
            return malformed(r, "it has a second IHDR chunk");
        if (n == CHUNKS_MAX)
            return malformed(r, "it has more than 524288 chunks");
        if (length > r->size - at - 12)
            return cut_short(r, at, type, length);
        if (!memcmp(type, "IDAT", 4))
            data += length;
        if (!memcmp(type, "IEND", 4))
            return check_claim(r, data);
        at += 12 + (size_t)length;
    }
}

static void on_error(png_structp png, png_const_charp message)
{
    const reader *r = png_get_error_ptr(png);
    if (r->no_memory)
        mcs_error_set(r->e, MCS_ENOMEM, "%s: no memory to read this PNG", r->name);
    else
        malformed(r, message);
    png_longjmp(png, 1);
}

static void on_warning(png_structp png, png_const_charp message)
{
    (void)png, (void)message;
}

static void on_read(png_structp png, png_bytep dst, size_t n)
{
    reader *r = png_get_io_ptr(png);
    if (n > r->size - r->pos)
        png_error(png, "it is cut short");
    memcpy(dst, r->bytes + r->pos, n);
    r->pos += n;
}

static png_voidp on_alloc(png_structp png, png_alloc_size_t n)
{
    reader *r = png_get_mem_ptr(png);
    void *p = malloc(n);
    if (!p)
        r->no_memory = true;
    return p;
}

static void on_free(png_structp png, png_voidp p)
{
    (void)png;
    free(p);
}

/* Copies the palette and its alpha; libpng has checked their sizes. */
static void take_palette(reader *r)
{
    png_colorp colours = NULL;
    png_bytep alpha = NULL;
    int n = 0, alpha_n = 0;
    if (!png_get_PLTE(r->png, r->info, &colours, &n))
        png_error(r->png, "palette image without PLTE chunk");
    if (png_get_valid(r->png, r->info, PNG_INFO_tRNS))
        png_get_tRNS(r->png, r->info, &alpha, &alpha_n, NULL);
    for (int i = 0; i < n && i < 256; i++) {
        r->palette[i][0] = colours[i].red;
        r->palette[i][1] = colours[i].green;
        r->palette[i][2] = colours[i].blue;
        r->palette[i][3] = i < alpha_n ? alpha[i] : 255;
    }
    r->palette_n = n;
    r->palette_alpha = alpha_n > 0;
}

/* Reads the header and asks libpng for whole bytes in host order. */
static void set_up(reader *r)
{
    png_structp png = r->png;
    static const uint16_t one = 1;
    /* Strict about IHDR, PLTE and tRNS; some encoders end IDAT oddly, which harms nobody. */
    png_set_benign_errors(png, 0);
    png_set_crc_action(png, PNG_CRC_ERROR_QUIT, PNG_CRC_ERROR_QUIT);
    png_set_keep_unknown_chunks(png, PNG_HANDLE_CHUNK_NEVER, NULL, -1);
    png_set_user_limits(png, MCS_IMAGE_MAX_SIDE, MCS_IMAGE_MAX_SIDE);
    png_set_read_fn(png, r, on_read);
    png_read_info(png, r->info);
    png_set_benign_errors(png, 1);
    if (png_get_color_type(png, r->info) == PNG_COLOR_TYPE_PALETTE) {
        take_palette(r);
        png_set_packing(png);
    } else {
        png_set_expand_gray_1_2_4_to_8(png);
        if (png_get_valid(png, r->info, PNG_INFO_tRNS))
            png_set_tRNS_to_alpha(png);
    }
    if (png_get_bit_depth(png, r->info) == 16 && *(const uint8_t *)&one == 1)
        png_set_swap(png);
}

/* Fills r->im; false if libpng or a limit said no. */
static bool read_pixels(reader *r)
{
    if (setjmp(png_jmpbuf(r->png)))
        return false;
    set_up(r);
    int passes = png_set_interlace_handling(r->png);
    png_read_update_info(r->png, r->info);
    r->im = mcs_image_make(
        (int)png_get_image_width(r->png, r->info), (int)png_get_image_height(r->png, r->info),
        png_get_channels(r->png, r->info), png_get_bit_depth(r->png, r->info), r->name, r->e);
    if (!r->im)
        return false;
    if (png_get_rowbytes(r->png, r->info) != mcs_image_row_bytes(r->im))
        return malformed(r, "unexpected row size");
    for (int pass = 0; pass < passes; pass++)
        for (int y = 0; y < r->im->height; y++)
            png_read_row(r->png, mcs_image_row(r->im, y), NULL);
    png_read_end(r->png, NULL);
    return true;
}

/* Replaces r->im, indices, by their colours. */
static bool expand_palette(reader *r)
{
    int channels = r->palette_alpha ? 4 : 3;
    mcs_image *out = mcs_image_make(r->im->width, r->im->height, channels, 8, r->name, r->e);
    if (!out)
        return false;
    const uint8_t *src = r->im->data;
    uint8_t *dst = out->data;
    size_t n = (size_t)out->width * (size_t)out->height;
    for (size_t i = 0; i < n; i++, dst += channels) {
        if (src[i] >= r->palette_n) {
            mcs_error_set(r->e, MCS_EFORMAT,
                          "%s: PNG is malformed: a pixel has palette index %d, the palette has %d "
                          "colours",
                          r->name, src[i], r->palette_n);
            mcs_image_free(out);
            return false;
        }
        for (int c = 0; c < channels; c++)
            dst[c] = r->palette[src[i]][c];
    }
    mcs_image_free(r->im);
    r->im = out;
    return true;
}

mcs_image *mcs_png_decode(const uint8_t *bytes, size_t size, const char *name, mcs_error *e)
{
    reader r = { .bytes = bytes, .size = size, .name = name, .e = e };
    if (!check_chunks(&r))
        return NULL;
    r.png = png_create_read_struct_2(PNG_LIBPNG_VER_STRING, &r, on_error, on_warning, &r, on_alloc,
                                     on_free);
    r.info = r.png ? png_create_info_struct(r.png) : NULL;
    bool ok = false;
    if (!r.info)
        mcs_error_set(e, MCS_ENOMEM, "%s: no memory to read this PNG", name);
    else
        ok = read_pixels(&r) && (!r.palette_n || expand_palette(&r));
    png_destroy_read_struct(&r.png, &r.info, NULL);
    if (ok)
        return r.im;
    mcs_image_free(r.im);
    return NULL;
}
