/* cam_any.c - one map of BiomedCLIP for cams.py.
 *   cam_any CHECKPOINT METHOD LAYER < floats > floats
 * Input: the normalised picture (3,S,S); a text (E), normalised; then what the method was given there:
 *   m2ib: beta, lr, steps, samples, noise (steps, samples, tokens, C)
 *   rise: keep, masks, grid, centred, cells (masks, grid, grid), offsets (masks, 2)
 *   scan: radius;  gscorecam: k, scale;  gradcam...: scale.
 * Output: the map (grid, grid); processor seconds on stderr. */
#define _POSIX_C_SOURCE 200809L
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include "cam/cam.h"
#include "models/biomedclip.h"

typedef struct {
    mcs_ctx *c;
    mcs_cam_model model;
    int depth;
    const mcs_tensor *image, *text;
    const float *given;
} job;

static mcs_tensor *features(mcs_ctx *c, const mcs_tensor *images, void *arg)
{
    return mcs_l2_normalize(c, mcs_biomedclip_encode_image(c, arg, images), 1e-12f);
}

static float *read_all(size_t *count)
{
    size_t room = 1 << 20, n = 0;
    float *x = malloc(room * sizeof *x);
    while (x && !feof(stdin)) {
        n += fread(x + n, sizeof *x, room - n, stdin);
        if (n == room)
            x = realloc(x, (room *= 2) * sizeof *x);
    }
    *count = n;
    return x;
}

static mcs_tensor *by_m2ib(const job *j)
{
    const float *g = j->given;
    mcs_m2ib_opts o = { g[0], g[1], (int)g[2], (int)g[3], 0, g + 4 };
    return mcs_m2ib(mcs_cam_new(j->c, &j->model, j->image), j->text, &o, NULL);
}

static mcs_tensor *by_rise(const job *j)
{
    const float *g = j->given;
    mcs_rise_opts o = { .keep = g[0], .masks = (int)g[1], .grid = (int)g[2], .centred = g[3] > 0 };
    int cells = o.masks * o.grid * o.grid;
    uint8_t *ones = malloc((size_t)cells);
    int *offsets = malloc(2 * (size_t)o.masks * sizeof *offsets);
    if (!ones || !offsets)
        return NULL;
    for (int i = 0; i < cells; i++)
        ones[i] = g[4 + i] > 0;
    for (int i = 0; i < 2 * o.masks; i++)
        offsets[i] = (int)g[4 + cells + i];
    o.cells = ones;
    o.offsets = offsets;
    mcs_tensor *map = mcs_rise(j->c, &j->model, &o, j->image, j->text, NULL);
    free(ones);
    free(offsets);
    return map;
}

static mcs_tensor *by_relevance(const job *j)
{
    static char names[64][48];
    const char *list[64];
    for (int i = 0; i < j->depth && i < 64; i++) {
        snprintf(names[i], sizeof names[i], "visual.trunk.blocks.%d.attn.probs", i);
        list[i] = names[i];
    }
    return mcs_relevance(j->c, &j->model, list, j->depth, j->image, j->text, NULL);
}

static mcs_tensor *by_method(const job *j, const char *how)
{
    static const char *const gradient[] = { "gradcam", "gradcam++", "xgradcam", "layercam" };
    mcs_cam_opts o = { .at = MCS_CAM_AT_PATCH };
    if (!strcmp(how, "relevance"))
        return by_relevance(j);
    if (!strcmp(how, "rise"))
        return by_rise(j);
    if (!strcmp(how, "m2ib"))
        return by_m2ib(j);
    if (!strcmp(how, "scan"))
        return mcs_keep_scan(j->c, &j->model, j->given, 1, 0, j->image, j->text);
    mcs_cam *cam = mcs_cam_new(j->c, &j->model, j->image);
    if (!strcmp(how, "eigencam"))
        return mcs_eigencam(cam, NULL);
    o.scale = j->given[0];
    for (int k = 0; k < 4; k++)
        if (!strcmp(how, gradient[k]))
            return mcs_gradcam(cam, (mcs_gradcam_kind)k, j->text, &o, NULL);
    o.top_k = (int)j->given[1];
    return !strcmp(how, "scorecam") ? mcs_scorecam(cam, j->text, &o, NULL)
                                    : mcs_gscorecam(cam, j->text, &o, NULL);
}

int main(int argc, char **argv)
{
    mcs_error e = { 0 };
    size_t count;
    float *x = read_all(&count);
    mcs_biomedclip *m = argc == 4 ? mcs_biomedclip_load(argv[1], NULL, &e) : NULL;
    if (!m || !x) {
        fprintf(stderr, "cam_any: %s\n", e.message);
        return 1;
    }
    const mcs_biomedclip_config *cfg = mcs_biomedclip_get_config(m);
    int64_t side = cfg->vision.image, pixels = 3 * side * side, grid = side / cfg->vision.patch;
    mcs_pool *pool = mcs_pool_new(0);
    mcs_ctx *c = mcs_ctx_new(&(mcs_ctx_opts){ .pool = pool });
    job j = { c,
              { features, m, argv[3], (int)grid, (int)grid, 1 },
              cfg->vision.depth,
              mcs_wrap(c, MCS_F32, 4, MCS_SHAPE(1, 3, side, side), x),
              mcs_wrap(c, MCS_F32, 2, MCS_SHAPE(1, cfg->embed), x + pixels),
              x + pixels + cfg->embed };
    struct timespec a, b;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &a);
    mcs_tensor *map = by_method(&j, argv[2]);
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &b);
    if (!map) {
        fprintf(stderr, "cam_any: %s\n", mcs_ctx_message(c));
        return 1;
    }
    fwrite(map->data, sizeof(float), (size_t)mcs_numel(map), stdout);
    fprintf(stderr, "%.1f s\n",
            (double)(b.tv_sec - a.tv_sec) + 1e-9 * (double)(b.tv_nsec - a.tv_nsec));
    mcs_ctx_free(c);
    mcs_pool_free(pool);
    mcs_biomedclip_free(m);
    free(x);
    return 0;
}
