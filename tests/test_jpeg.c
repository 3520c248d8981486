/* test_jpeg.c - JPEG against Pillow's decoding of the same files, and files that mean harm, made
 * with libjpeg's own encoder. */
#include <stdio.h>
#include <jpeglib.h>
#include "tests/picture.h"

/* ---- As Pillow ---- */
static void test_as_pillow(void **state)
{
    (void)state;
    char line[256], name[64], path[128];
    FILE *f = fopen("tests/golden/pictures.tsv", "r");
    assert_non_null(f);
    int n = 0;
    for (; fgets(line, sizeof line, f); n++) {
        int w, h;
        unsigned crc_rgb, crc_grey;
        assert_int_equal(sscanf(line, "%63s %d %d %x %x", name, &w, &h, &crc_rgb, &crc_grey), 5);
        snprintf(path, sizeof path, "tests/golden/pictures/%s", name);
        mcs_error e = { MCS_OK, "" };
        mcs_image *im = mcs_image_read(path, &e), *rgb = mcs_image_to_rgb(im, &e);
        mcs_image *grey = mcs_image_to_grey(im, &e);
        if (!rgb || !grey)
            fail_msg("%s", e.message);
        assert_int_equal(im->channels, strstr(name, "grey") ? 1 : 3);
        assert_int_equal(rgb->width, w);
        assert_int_equal(rgb->height, h);
        if (crc32(0, rgb->data, (uInt)image_bytes(rgb)) != crc_rgb ||
            crc32(0, grey->data, (uInt)image_bytes(grey)) != crc_grey)
            fail_msg("%s: samples differ from Pillow's", name);
        mcs_image_free(im);
        mcs_image_free(rgb);
        mcs_image_free(grey);
    }
    fclose(f);
    assert_int_equal(n, 12);
}

/* ---- Files made on the spot ---- */
enum { BASELINE, PROGRESSIVE, ARITHMETIC, RESTARTS };

typedef struct {
    unsigned char *bytes;
    unsigned long size;
} file;

/* Grey progressive script: DC, `n` single AC coefficients, then their refinements. */
static int script(jpeg_scan_info *s, int n)
{
    int k = 0;
    s[k++] = (jpeg_scan_info){ 1, { 0 }, 0, 0, 0, 0 };
    for (int i = 1; i <= n && i < 64; i++)
        s[k++] = (jpeg_scan_info){ 1, { 0 }, i, i, 0, 1 };
    for (int i = 64; i <= n; i++)
        s[k++] = (jpeg_scan_info){ 1, { 0 }, i - 63, i - 63, 1, 0 };
    return k;
}

static file encode(int w, int h, int channels, int how, int scans)
{
    struct jpeg_compress_struct c;
    struct jpeg_error_mgr errors;
    file f = { NULL, 0 };
    jpeg_scan_info s[128];
    c.err = jpeg_std_error(&errors);
    jpeg_create_compress(&c);
    jpeg_mem_dest(&c, &f.bytes, &f.size);
    c.image_width = (JDIMENSION)w;
    c.image_height = (JDIMENSION)h;
    c.input_components = channels;
    c.in_color_space = channels == 1 ? JCS_GRAYSCALE : channels == 3 ? JCS_RGB : JCS_CMYK;
    jpeg_set_defaults(&c);
    if (how == PROGRESSIVE)
        jpeg_simple_progression(&c);
    if (scans) {
        c.num_scans = script(s, scans - 1);
        c.scan_info = s;
    }
    c.arith_code = how == ARITHMETIC;
    c.restart_interval = how == RESTARTS ? 1 : 0;
    jpeg_start_compress(&c, TRUE);
    mcs_image *im = noise_image(w, h, channels);
    for (int y = 0; y < h; y++) {
        JSAMPROW row = (JSAMPROW)im->data + y * w * channels;
        jpeg_write_scanlines(&c, &row, 1);
    }
    jpeg_finish_compress(&c);
    jpeg_destroy_compress(&c);
    mcs_image_free(im);
    return f;
}

/* First byte of the frame header (SOF), behind its length. */
static unsigned char *frame_of(file f)
{
    for (unsigned long i = 2; i + 9 < f.size;
         i += 2 + (unsigned)f.bytes[i + 2] * 256 + f.bytes[i + 3])
        if (f.bytes[i + 1] >= 0xc0 && f.bytes[i + 1] <= 0xc2)
            return f.bytes + i + 4;
    fail_msg("no SOF marker");
    return NULL;
}

static void test_cut_short(void **state)
{
    (void)state;
    for (int how = BASELINE; how <= RESTARTS; how++) {
        if (how == ARITHMETIC)
            continue;
        file f = encode(21, 18, how == RESTARTS ? 1 : 3, how, 0);
        mcs_image *im = mcs_image_read_memory(f.bytes, f.size, "whole", NULL);
        assert_non_null(im);
        mcs_image_free(im);
        for (unsigned long n = 0; n < f.size; n++) {
            unsigned char *copy = malloc(n ? n : 1);
            assert_non_null(copy);
            memcpy(copy, f.bytes, n);
            refuses(copy, n, MCS_EFORMAT, "");
            free(copy);
        }
        refuses(f.bytes, f.size - 2, MCS_EFORMAT, "cut short");
        refuses(f.bytes, f.size - 40, MCS_EFORMAT, "cut short");
        free(f.bytes);
    }
}

/* Single bits: no crash; no check sum promises more. */
static void test_bit_flips(void **state)
{
    (void)state;
    for (int how = BASELINE; how <= PROGRESSIVE; how++) {
        file f = encode(19, 9, 3, how, 0);
        for (unsigned long bit = 0; bit < 8 * f.size; bit++) {
            f.bytes[bit / 8] ^= (unsigned char)(1 << bit % 8);
            mcs_image_free(mcs_image_read_memory(f.bytes, f.size, "flipped", NULL));
            f.bytes[bit / 8] ^= (unsigned char)(1 << bit % 8);
        }
        free(f.bytes);
    }
}

static void test_unsupported(void **state)
{
    (void)state;
    file f = encode(17, 17, 4, BASELINE, 0);
    refuses(f.bytes, f.size, MCS_EFORMAT, "CMYK");
    free(f.bytes);
    f = encode(17, 17, 1, ARITHMETIC, 0);
    refuses(f.bytes, f.size, MCS_EFORMAT, "arithmetic-coded");
    free(f.bytes);
    f = encode(17, 17, 3, BASELINE, 0);
    unsigned char *frame = frame_of(f);
    frame[0] = 12;
    refuses(f.bytes, f.size, MCS_EFORMAT, "more than 8 bits");
    frame[0] = 8;
    frame[-3] = 0xc3;
    refuses(f.bytes, f.size, MCS_EFORMAT, "lossless");
    free(f.bytes);
    refuses("\xff\xd8\xff\xd9", 4, MCS_EFORMAT, "no picture");
    refuses("\xff\xd8\xff\xe0", 4, MCS_EFORMAT, "cut short");
}

static void test_huge_claims(void **state)
{
    (void)state;
    file f = encode(16, 16, 3, BASELINE, 0);
    unsigned char *frame = frame_of(f);
    memcpy(frame + 1, "\xff\xdc\xff\xdc", 4); /* 65500 x 65500 */
    refuses(f.bytes, f.size, MCS_EFORMAT, "cannot hold them");
    memcpy(frame + 1, "\x4e\x20\x4e\x20", 4); /* 20000 x 20000 in a file that might */
    unsigned char *big = calloc(1, 1 << 20);
    assert_non_null(big);
    memcpy(big, f.bytes, f.size);
    refuses(big, 1 << 20, MCS_ENOMEM, "over the limit");
    memcpy(frame + 1, "\xff\xff\xff\xff", 4);
    refuses(f.bytes, f.size, MCS_EFORMAT, "JPEG cannot be read");
    memcpy(frame + 1, "\0\0\0\x10", 4);
    refuses(f.bytes, f.size, MCS_EFORMAT, "JPEG cannot be read");
    free(big);
    free(f.bytes);
}

static void test_scan_bomb(void **state)
{
    (void)state;
    file f = encode(40, 40, 1, PROGRESSIVE, 64);
    mcs_image *im = mcs_image_read_memory(f.bytes, f.size, "64 scans", NULL);
    assert_non_null(im);
    mcs_image_free(im);
    free(f.bytes);
    f = encode(40, 40, 1, PROGRESSIVE, 65);
    refuses(f.bytes, f.size, MCS_EFORMAT, "more than 64 scans");
    free(f.bytes);
    f = encode(40, 40, 1, PROGRESSIVE, 120);
    refuses(f.bytes, f.size, MCS_EFORMAT, "more than 64 scans");
    free(f.bytes);
}

/* EXIF that points into itself or nowhere, a restart interval beyond the picture, bytes behind
 * the end: none of it matters. */
static void test_harmless(void **state)
{
    (void)state;
    static const unsigned char exif[] = { 0xff, 0xe1, 0, 30, 'E', 'x', 'i', 'f', 0, 0,    'I',
                                          'I',  42,   0, 8,  0,   0,   0,   1,   0, 0x69, 0x87,
                                          4,    0,    1, 0,  0,   0,   8,   0,   0, 0 };
    static const unsigned char restart[] = { 0xff, 0xdd, 0, 4, 0xff, 0xff };
    file f = encode(33, 20, 3, BASELINE, 0);
    size_t size = f.size + sizeof exif + sizeof restart + 3;
    unsigned char *p = malloc(size);
    assert_non_null(p);
    memcpy(p, f.bytes, 2);
    memcpy(p + 2, exif, sizeof exif);
    memcpy(p + 2 + sizeof exif, restart, sizeof restart);
    memcpy(p + 2 + sizeof exif + sizeof restart, f.bytes + 2, f.size - 2);
    memcpy(p + size - 3, "end", 3);
    mcs_error e = { MCS_OK, "" };
    mcs_image *a = mcs_image_read_memory(f.bytes, f.size, "a", &e);
    mcs_image *b = mcs_image_read_memory(p, size, "b", &e);
    assert_string_equal(e.message, "");
    assert_true(same_image(a, b));
    mcs_image_free(a);
    mcs_image_free(b);
    free(p);
    free(f.bytes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_as_pillow),   cmocka_unit_test(test_cut_short),
        cmocka_unit_test(test_bit_flips),   cmocka_unit_test(test_unsupported),
        cmocka_unit_test(test_huge_claims), cmocka_unit_test(test_scan_bomb),
        cmocka_unit_test(test_harmless),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
