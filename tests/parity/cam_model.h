/* cam_model.h - BiomedCLIP as the maps' programs see it: floats on stdin, a map on stdout.
 * Define PROGRAM, the name in messages, before. */
#ifndef MCS_PARITY_CAM_MODEL_H
#define MCS_PARITY_CAM_MODEL_H
#include "cam/cam.h"
#include "models/biomedclip.h"
#include "tests/parity/parity.h"

typedef struct {
    mcs_biomedclip *m;
    int depth;
    mcs_pool *pool;
    mcs_ctx *c;
    mcs_cam_model model;
    float *floats; /* all of the input */
    const mcs_tensor *image, *text; /* (1,3,S,S), (P,E): the first of them */
    const float *given; /* the rest */
} job;

static inline mcs_tensor *features(mcs_ctx *c, const mcs_tensor *images, void *arg)
{
    return mcs_l2_normalize(c, mcs_biomedclip_encode_image(c, arg, images), 1e-12f);
}

static inline float *read_all(int64_t *count)
{
    size_t room = 1 << 20, n = 0;
    float *x = malloc(room * sizeof *x);
    while (x && !feof(stdin)) {
        n += fread(x + n, sizeof *x, room - n, stdin);
        if (n == room)
            x = realloc(x, (room *= 2) * sizeof *x);
    }
    *count = (int64_t)n;
    return x;
}

/* texts: so many follow the picture; 0: to the end. */
static inline job begin(const char *checkpoint, const char *layer, int64_t texts)
{
    mcs_error e = { 0 };
    int64_t count;
    float *x = read_all(&count);
    mcs_biomedclip *m = mcs_biomedclip_load(checkpoint, NULL, &e);
    if (!m || !x)
        die(e.message);
    const mcs_biomedclip_config *cfg = mcs_biomedclip_get_config(m);
    int64_t side = cfg->vision.image, pixels = 3 * side * side, grid = side / cfg->vision.patch;
    if (!texts)
        texts = (count - pixels) / cfg->embed;
    mcs_pool *pool = mcs_pool_new(0);
    mcs_ctx *c = mcs_ctx_new(&(mcs_ctx_opts){ .pool = pool });
    return (job){ .m = m,
                  .depth = cfg->vision.depth,
                  .pool = pool,
                  .c = c,
                  .model = { features, m, layer, (int)grid, (int)grid, 1 },
                  .floats = x,
                  .image = mcs_wrap(c, MCS_F32, 4, MCS_SHAPE(1, 3, side, side), x),
                  .text = mcs_wrap(c, MCS_F32, 2, MCS_SHAPE(texts, cfg->embed), x + pixels),
                  .given = x + pixels + texts * cfg->embed };
}

/* Writes the map; if there is none, the reason, and ends. */
static inline void answer(const job *j, const mcs_tensor *map)
{
    if (!map)
        die(mcs_ctx_message(j->c));
    fwrite(map->data, sizeof(float), (size_t)mcs_numel(map), stdout);
}

static inline void end(job *j)
{
    mcs_ctx_free(j->c);
    mcs_pool_free(j->pool);
    mcs_biomedclip_free(j->m);
    free(j->floats);
}
#endif
