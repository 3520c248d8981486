/* image_tool.c - the image functions as a filter, for the parity scripts.
 *
 * Commands on stdin, one a line, fields separated by tabs; for each the answer on stdout is a
 * header line "h w c bytes-per-value\n" and the values, or "error: message\n".
 *
 *   read PATH | rgb PATH | grey PATH
 *   resize PATH W H nearest|bilinear|bicubic       of the RGB picture
 *   clip PATH SIDE crop|squash    sam PATH SIDE    (3 * side, side) floats
 *   map SW SH DW DH                                SW * SH floats follow on stdin
 *   time PATH W H FILTER N                         milliseconds per resize, as one float */
#define _POSIX_C_SOURCE 200809L
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include "image/image.h"
#include "image/preprocess.h"

static void answer(const void *data, int h, int w, int c, int size)
{
    printf("%d %d %d %d\n", h, w, c, size);
    fwrite(data, (size_t)size, (size_t)h * (size_t)w * (size_t)c, stdout);
    fflush(stdout);
}

static void answer_image(mcs_image *im, const mcs_error *e)
{
    if (im)
        answer(im->data, im->height, im->width, im->channels, im->depth / 8);
    else
        printf("error: %s\n", e->message);
    fflush(stdout);
    mcs_image_free(im);
}

static mcs_filter filter_of(const char *s)
{
    return !strcmp(s, "nearest")   ? MCS_FILTER_NEAREST
           : !strcmp(s, "bicubic") ? MCS_FILTER_BICUBIC
                                   : MCS_FILTER_BILINEAR;
}

static void preprocess(mcs_image *im, char **f, mcs_error *e)
{
    int side = atoi(f[2]);
    float *out = malloc(3 * (size_t)side * (size_t)side * sizeof *out);
    mcs_status s = MCS_ENOMEM;
    if (out && f[0][0] == 'c')
        s = mcs_preprocess_clip(im, side, f[3][0] == 'c' ? MCS_FIT_CROP : MCS_FIT_SQUASH,
                                mcs_clip_mean, mcs_clip_std, out, NULL, e);
    else if (out)
        s = mcs_preprocess_sam(im, side, mcs_sam_mean, mcs_sam_std, out, NULL, e);
    if (s == MCS_OK)
        answer(out, 3 * side, side, 1, 4);
    else
        printf("error: %s\n", e->message);
    fflush(stdout);
    free(out);
}

static void map(char **f)
{
    int sw = atoi(f[1]), sh = atoi(f[2]), dw = atoi(f[3]), dh = atoi(f[4]);
    size_t n = (size_t)sw * (size_t)sh;
    float *src = malloc(n * sizeof *src), *dst = malloc((size_t)dw * (size_t)dh * sizeof *dst);
    if (src && dst && fread(src, sizeof *src, n, stdin) == n) {
        mcs_map_resize(src, sw, sh, dst, dw, dh);
        answer(dst, dh, dw, 1, 4);
    }
    free(src);
    free(dst);
}

static double now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec * 1e-6;
}

static void measure(const mcs_image *im, char **f)
{
    float best = 1e30f;
    for (int i = 0; i < atoi(f[5]); i++) {
        double start = now_ms();
        mcs_image_free(mcs_image_resize(im, atoi(f[2]), atoi(f[3]), filter_of(f[4]), NULL));
        float ms = (float)(now_ms() - start);
        best = ms < best ? ms : best;
    }
    answer(&best, 1, 1, 1, 4);
}

static void run(char **f)
{
    mcs_error e = { 0 };
    if (!strcmp(f[0], "map")) {
        map(f);
        return;
    }
    mcs_image *im = mcs_image_read(f[1], &e);
    mcs_image *rgb = strcmp(f[0], "read") ? mcs_image_to_rgb(im, &e) : NULL;
    if (!strcmp(f[0], "read"))
        answer_image(im, &e), im = NULL;
    else if (!strcmp(f[0], "rgb"))
        answer_image(rgb, &e), rgb = NULL;
    else if (!strcmp(f[0], "grey"))
        answer_image(mcs_image_to_grey(im, &e), &e);
    else if (!strcmp(f[0], "resize"))
        answer_image(mcs_image_resize(rgb, atoi(f[2]), atoi(f[3]), filter_of(f[4]), &e), &e);
    else if (!strcmp(f[0], "time"))
        measure(rgb, f);
    else
        preprocess(im, f, &e);
    mcs_image_free(rgb);
    mcs_image_free(im);
}

int main(void)
{
    char line[4096];
    while (fgets(line, sizeof line, stdin)) {
        char *fields[8] = { 0 }, *at = line;
        line[strcspn(line, "\n")] = 0;
        for (int i = 0; i < 8 && at; i++) {
            fields[i] = at;
            at = strchr(at, '\t');
            if (at)
                *at++ = 0;
        }
        run(fields);
    }
    return 0;
}
