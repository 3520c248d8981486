/* jpeg.c - JPEG (ITU-T T.81) through libjpeg-turbo, baseline and progressive, 8 bits.
 *
 * Decoding settings are the library's defaults, which are Pillow's: accurate integer DCT (islow),
 * fancy (triangle) chroma upsampling.  What libjpeg merely warns about and patches with grey - data
 * that ends early, wrong Huffman codes - is an error here: half a picture must not become a mask.
 *
 * Bounds: every block of the largest component costs at least one bit of file, so a claim of
 * 65,500 x 65,500 in a kilobyte is refused before anything is allocated; a progressive file may
 * come in 64 scans (encoders make about ten), since each one costs a pass over the coefficients.
 * Errors leave by longjmp to read_pixels(), whose state lives in a struct. */
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <jpeglib.h>
#include <jerror.h>
#include "image/image_internal.h"

#define SCANS_MAX 64
#define JPEG_MEMORY_MAX (1L << 30)

typedef struct {
    struct jpeg_error_mgr errors; /* first: cinfo.err points here */
    struct jpeg_progress_mgr progress;
    struct jpeg_decompress_struct cinfo;
    jmp_buf jump;
    const uint8_t *bytes;
    size_t size;
    const char *name;
    mcs_error *e;
    mcs_image *im; /* what is being filled; owned */
} reader;

/* Leaves the decoder; an error is already recorded. */
static _Noreturn void leave(reader *r)
{
    longjmp(r->jump, 1);
}

/* Our words for the refusals people meet; NULL: libjpeg's. */
static const char *sentence(int code)
{
    switch (code) {
    case JERR_BAD_PRECISION:
        return "it has more than 8 bits per sample, which is not supported: convert it to PNG";
    case JERR_SOF_UNSUPPORTED:
        return "its coding (lossless or hierarchical) is not supported: convert it to PNG";
    case JERR_INPUT_EOF:
    case JWRN_JPEG_EOF:
    case JWRN_HIT_MARKER:
        return "it is cut short";
    case JERR_NO_IMAGE:
    case JERR_INPUT_EMPTY:
        return "it holds no picture";
    default:
        return NULL;
    }
}

static void fail(reader *r)
{
    int code = r->errors.msg_code;
    char buffer[JMSG_LENGTH_MAX];
    const char *words = sentence(code);
    if (!words) {
        r->errors.format_message((j_common_ptr)&r->cinfo, buffer);
        words = buffer;
    }
    bool memory = code == JERR_OUT_OF_MEMORY || code == JERR_NO_BACKING_STORE;
    mcs_error_set(r->e, memory ? MCS_ENOMEM : MCS_EFORMAT, "%s: JPEG cannot be read: %s", r->name,
                  words);
    leave(r);
}

static void on_error(j_common_ptr cinfo)
{
    fail((reader *)cinfo->err);
}

/* Warnings: those that mean lost pixels are errors. */
static void on_message(j_common_ptr cinfo, int level)
{
    reader *r = (reader *)cinfo->err;
    int code = r->errors.msg_code;
    if (level < 0 && code != JWRN_EXTRANEOUS_DATA && code != JWRN_ADOBE_XFORM &&
        code != JWRN_JFIF_MAJOR && code != JWRN_TOO_MUCH_DATA)
        fail(r);
}

static void on_output(j_common_ptr cinfo)
{
    (void)cinfo;
}

static void on_progress(j_common_ptr cinfo)
{
    reader *r = (reader *)cinfo->err;
    if (r->cinfo.input_scan_number > SCANS_MAX) {
        mcs_error_set(r->e, MCS_EFORMAT, "%s: JPEG has more than %d scans: refused as unsafe",
                      r->name, SCANS_MAX);
        leave(r);
    }
}

/* Refuses what we do not decode and claims the file is too small for. */
static bool check_header(const reader *r)
{
    const struct jpeg_decompress_struct *c = &r->cinfo;
    const char *what = NULL;
    if (c->num_components == 4)
        what = "CMYK, which has no defined colours here: convert it to RGB";
    else if (c->num_components != 1 && c->num_components != 3)
        what = "neither grey nor RGB";
    else if (c->data_precision != 8)
        what = "not 8 bits per sample: convert it to PNG";
    else if (c->arith_code)
        what = "arithmetic-coded, which is not supported: convert it to PNG";
    if (what) {
        mcs_error_set(r->e, MCS_EFORMAT, "%s: JPEG is %s", r->name, what);
        return false;
    }
    uint64_t blocks = ((uint64_t)c->image_width + 7) / 8 * (((uint64_t)c->image_height + 7) / 8);
    if (blocks / 8 > r->size) {
        mcs_error_set(r->e, MCS_EFORMAT,
                      "%s: JPEG says %u x %u pixels, but its %zu bytes cannot hold them", r->name,
                      c->image_width, c->image_height, r->size);
        return false;
    }
    return true;
}

static bool read_pixels(reader *r)
{
    j_decompress_ptr c = &r->cinfo;
    if (setjmp(r->jump))
        return false;
    jpeg_create_decompress(c);
    c->progress = &r->progress;
    c->mem->max_memory_to_use = JPEG_MEMORY_MAX;
    jpeg_mem_src(c, r->bytes, (unsigned long)r->size);
    jpeg_read_header(c, TRUE);
    if (!check_header(r))
        return false;
    c->out_color_space = c->num_components == 1 ? JCS_GRAYSCALE : JCS_RGB;
    r->im = mcs_image_make((int)c->image_width, (int)c->image_height, c->num_components, 8, r->name,
                           r->e);
    if (!r->im)
        return false;
    jpeg_start_decompress(c);
    while (c->output_scanline < c->output_height) {
        JSAMPROW row = mcs_image_row(r->im, (int)c->output_scanline);
        jpeg_read_scanlines(c, &row, 1);
    }
    jpeg_finish_decompress(c);
    return true;
}

mcs_image *mcs_jpeg_decode(const uint8_t *bytes, size_t size, const char *name, mcs_error *e)
{
    reader *r = calloc(1, sizeof *r);
    if (!r) {
        mcs_error_set(e, MCS_ENOMEM, "%s: no memory to read this JPEG", name);
        return NULL;
    }
    r->bytes = bytes, r->size = size, r->name = name, r->e = e;
    r->cinfo.err = jpeg_std_error(&r->errors);
    r->errors.error_exit = on_error;
    r->errors.emit_message = on_message;
    r->errors.output_message = on_output;
    r->progress.progress_monitor = on_progress;
    mcs_image *im = NULL;
    if (read_pixels(r))
        im = r->im;
    else
        mcs_image_free(r->im);
    jpeg_destroy_decompress(&r->cinfo);
    free(r);
    return im;
}
