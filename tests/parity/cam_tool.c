/* cam_tool.c - CRF, thresholds, components and boxes as a filter, for the parity scripts.
 *
 * Commands on stdin, one a line, followed by their data; the answer is on stdout.
 *   crf W H ITERATIONS THREADS     W*H bytes of map, 3*W*H of RGB
 *                                  -> W*H bytes of mask, W*H floats of probability,
 *                                  a double: processor seconds
 *   boxes W H MODE                 W*H bytes -> an int32 count, four int32 for each
 *   parts W H                      W*H bytes -> an int32 count, six int32 for each:
 *                                  x0 y0 x1 y1 of the contour, hole, twice the contour area; seconds
 *   levels N                       N bytes of map -> two floats: Otsu, two-means */
#define PROGRAM "cam_tool"
#include "cam/boxes.h"
#include "cam/coarse.h"
#include "cam/crf.h"
#include "tests/parity/parity.h"

static void *take(size_t bytes)
{
    void *p = malloc(bytes);
    if (!p || fread(p, 1, bytes, stdin) != bytes)
        exit(1);
    return p;
}

static void die_unless_ok(mcs_status s, const mcs_error *e)
{
    if (s != MCS_OK)
        die(e->message);
}

static float *take_map(size_t n)
{
    uint8_t *grey = take(n);
    float *map = malloc(n * sizeof *map);
    if (!map)
        exit(1);
    for (size_t i = 0; i < n; i++)
        map[i] = (float)grey[i] / 255;
    free(grey);
    return map;
}

static void crf(int w, int h, int iterations, int threads)
{
    size_t n = (size_t)w * (size_t)h;
    float *map = take_map(n), *prob = malloc(n * sizeof *prob);
    uint8_t *rgb = take(3 * n), *mask = malloc(n);
    mcs_crf_opts o = mcs_crf_defaults();
    o.iterations = iterations;
    mcs_error e = { 0 };
    mcs_pool *pool = mcs_pool_new(threads);
    double start = seconds(CLOCK_PROCESS_CPUTIME_ID);
    die_unless_ok(mcs_crf_mask(map, rgb, w, h, &o, pool, mask, prob, &e), &e);
    double taken = seconds(CLOCK_PROCESS_CPUTIME_ID) - start;
    fwrite(mask, 1, n, stdout);
    fwrite(prob, sizeof *prob, n, stdout);
    fwrite(&taken, sizeof taken, 1, stdout);
    mcs_pool_free(pool);
    free(map);
    free(prob);
    free(rgb);
    free(mask);
}

static void put(int32_t v)
{
    fwrite(&v, sizeof v, 1, stdout);
}

static void boxes(int w, int h, int mode)
{
    uint8_t *mask = take((size_t)w * (size_t)h);
    mcs_boxes b;
    mcs_box_opts o = { .mode = (mcs_box_mode)mode, .empty_is_whole = true };
    mcs_error e = { 0 };
    die_unless_ok(mcs_boxes_find(mask, w, h, &o, &b, &e), &e);
    put((int32_t)b.count);
    for (int64_t i = 0; i < b.count; i++) {
        put(b.box[i].x0);
        put(b.box[i].y0);
        put(b.box[i].x1);
        put(b.box[i].y1);
    }
    mcs_boxes_free(&b);
    free(mask);
}

static void parts(int w, int h)
{
    uint8_t *mask = take((size_t)w * (size_t)h);
    mcs_components c;
    mcs_error e = { 0 };
    double start = seconds(CLOCK_PROCESS_CPUTIME_ID);
    die_unless_ok(mcs_components_find(mask, w, h, true, NULL, &c, &e), &e);
    double taken = seconds(CLOCK_PROCESS_CPUTIME_ID) - start;
    put((int32_t)c.count);
    for (int64_t i = 0; i < c.count; i++) {
        const mcs_component *k = &c.item[i];
        put(k->x0 - k->hole);
        put(k->y0 - k->hole);
        put(k->x1 + k->hole);
        put(k->y1 + k->hole);
        put(k->hole);
        put((int32_t)(2 * k->contour_area));
    }
    fwrite(&taken, sizeof taken, 1, stdout);
    mcs_components_free(&c);
    free(mask);
}

int main(void)
{
    char line[200];
    int a, b, c, d;
    while (fgets(line, sizeof line, stdin)) {
        if (sscanf(line, "crf %d %d %d %d", &a, &b, &c, &d) == 4) {
            crf(a, b, c, d);
        } else if (sscanf(line, "boxes %d %d %d", &a, &b, &c) == 3) {
            boxes(a, b, c);
        } else if (sscanf(line, "parts %d %d", &a, &b) == 2) {
            parts(a, b);
        } else if (sscanf(line, "levels %d", &a) == 1) {
            float *map = take_map((size_t)a), t[2];
            t[0] = mcs_coarse_otsu(map, a);
            t[1] = mcs_coarse_two_means(map, a);
            fwrite(t, sizeof *t, 2, stdout);
            free(map);
        } else {
            fprintf(stderr, "cam_tool: %s", line);
            return 2;
        }
        fflush(stdout);
    }
    return 0;
}
