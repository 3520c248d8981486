/* cam_map.c - maps of BiomedCLIP for gscorecam.py.
 *   cam_map CHECKPOINT LAYER cls|patch|official TOPK SCALE BATCH < floats > floats
 * Input: the normalised picture (3,S,S), then P texts (P,E), already normalised, to the end.
 * Output: P maps (grid, grid); processor seconds on stderr. */
#define _POSIX_C_SOURCE 200809L
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include "cam/cam.h"
#include "models/biomedclip.h"

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

int main(int argc, char **argv)
{
    if (argc != 7)
        return 2;
    mcs_error e = { 0 };
    size_t count;
    float *x = read_all(&count);
    mcs_biomedclip *m = mcs_biomedclip_load(argv[1], NULL, &e);
    if (!m || !x) {
        fprintf(stderr, "cam_map: %s\n", e.message);
        return 1;
    }
    const mcs_biomedclip_config *cfg = mcs_biomedclip_get_config(m);
    int64_t side = cfg->vision.image, pixels = 3 * side * side, grid = side / cfg->vision.patch;
    mcs_pool *pool = mcs_pool_new(0);
    mcs_ctx *c = mcs_ctx_new(&(mcs_ctx_opts){ .pool = pool });
    mcs_cam_model model = { features, m, argv[2], (int)grid, (int)grid, 1 };
    mcs_cam_opts o = { .at = !strcmp(argv[3], "cls")     ? MCS_CAM_AT_CLS
                             : !strcmp(argv[3], "patch") ? MCS_CAM_AT_PATCH
                                                         : MCS_CAM_AT_OFFICIAL,
                       .top_k = atoi(argv[4]),
                       .scale = (float)atof(argv[5]),
                       .batch = atoi(argv[6]) };
    struct timespec a, b;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &a);
    mcs_cam *cam = mcs_cam_new(c, &model, mcs_wrap(c, MCS_F32, 4, MCS_SHAPE(1, 3, side, side), x));
    int64_t texts = ((int64_t)count - pixels) / cfg->embed;
    mcs_tensor *map = mcs_gscorecam(
        cam, mcs_wrap(c, MCS_F32, 2, MCS_SHAPE(texts, cfg->embed), x + pixels), &o, NULL);
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &b);
    if (!map) {
        fprintf(stderr, "cam_map: %s\n", mcs_ctx_message(c));
        return 1;
    }
    fwrite(map->data, sizeof(float), (size_t)mcs_numel(map), stdout);
    fprintf(stderr, "%.2f s, arena peak %.0f MB\n",
            (double)(b.tv_sec - a.tv_sec) + 1e-9 * (double)(b.tv_nsec - a.tv_nsec),
            (double)mcs_ctx_peak(c) / 1e6);
    mcs_ctx_free(c);
    mcs_pool_free(pool);
    mcs_biomedclip_free(m);
    free(x);
    return 0;
}
