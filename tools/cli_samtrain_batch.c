/* cli_samtrain_batch.c - the inputs of one step: which pictures, which of their masks, what boxes.
 *
 * If the encoder is frozen, embeddings are constants: they are computed without a tape and kept
 * while --cache has room.  So are targets, which spares reading the masks again. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "image/image.h"
#include "tools/cli_samtrain.h"

bool st_parse_jitter(const char *text, int direction, mcs_sam_jitter *j)
{
    char *end;
    double v = strtod(text, &end);
    bool share = *end == '%';
    if (end == text || end[share] || !(v >= 0) || v > 1024)
        return false;
    *j = (mcs_sam_jitter){ .amount = share ? v / 100 : v,
                           .unit = share ? MCS_SAM_JITTER_SHARE : MCS_SAM_JITTER_PIXELS,
                           .inward = direction ? direction == 2 : share };
    return true;
}

/* ---- What is kept ---- */

bool st_cache_begin(st_cache *k, int64_t n, uint64_t limit)
{
    *k = (st_cache){ .items = calloc((size_t)n + 1, sizeof *k->items), .count = n, .limit = limit };
    return k->items != NULL;
}

void st_cache_free(st_cache *k)
{
    for (int64_t i = 0; i < k->count; i++)
        free(k->items[i]);
    free(k->items);
    *k = (st_cache){ 0 };
}

static void keep(st_cache *k, int64_t i, const float *values, int64_t n)
{
    uint64_t bytes = (uint64_t)n * sizeof *values;
    if (k->used + bytes > k->limit || !(k->items[i] = malloc(bytes)))
        return;
    memcpy(k->items[i], values, bytes);
    k->used += bytes;
}

/* ---- Pictures ---- */

const mcs_tensor *st_image(mcs_ctx *c, const st_run *r, const st_picture *p)
{
    mcs_error *e = mcs_ctx_error(c);
    mcs_image *im = mcs_image_read(p->path, e), *rgb = im ? mcs_image_to_rgb(im, e) : NULL;
    const mcs_tensor *x = NULL;
    if (rgb && (rgb->width != p->width || rgb->height != p->height))
        mcs_fail(c, MCS_EFORMAT, "%s: changed while it was in use", p->path);
    else if (rgb)
        x = mcs_sam_image(c, r->model, rgb->data, rgb->width, rgb->height);
    mcs_image_free(im);
    mcs_image_free(rgb);
    return x;
}

const mcs_tensor *st_embedding(mcs_ctx *c, const st_run *r, st_cache *cache, const st_data *d,
                               int64_t picture)
{
    int64_t g = mcs_sam_grid(r->model), dim = mcs_sam_get_config(r->model)->decoder.dim;
    if (cache->items && cache->items[picture])
        return mcs_wrap(c, MCS_F32, 4, MCS_SHAPE(1, dim, g, g), cache->items[picture]);
    bool grad = mcs_set_grad(c, false);
    const mcs_tensor *y = mcs_sam_encode(c, r->model, st_image(c, r, &d->pictures[picture]));
    mcs_set_grad(c, grad);
    if (y && cache->items)
        keep(cache, picture, mcs_f32(y), mcs_numel(y));
    return y;
}

/* ---- The batch ---- */

typedef struct {
    st_run *r;
    int64_t epoch, index;
    float boxes[4 * ST_PROMPTS_MAX];
} batch;

/* Streams of random numbers, apart from those of the order (twice the epoch, and one more). */
static uint64_t stream(int64_t epoch, int64_t sample, int purpose)
{
    return UINT64_C(1) << 63 | (uint64_t)purpose << 60 | (uint64_t)epoch << 36 | (uint64_t)sample;
}

static int prompts_of(const st_run *r, const st_picture *p)
{
    int64_t most = r->o->prompts ? r->o->prompts : ST_PROMPTS_MAX;
    return (int)(p->count < most ? p->count : most);
}

static mcs_status fill_target(mcs_ctx *c, st_run *r, const st_picture *p, int64_t sample,
                              float *out)
{
    int64_t side = 4 * mcs_sam_grid(r->model), n = side * side;
    mcs_error *e = mcs_ctx_error(c);
    if (r->targets.items[sample]) {
        memcpy(out, r->targets.items[sample], (size_t)n * sizeof *out);
        return MCS_OK;
    }
    uint8_t *mask = st_data_mask(&r->train, p, &r->train.samples[sample], e);
    mcs_status s = mask ? mcs_sam_target(r->model, mask, p->width, p->height,
                                         (mcs_sam_target_kind)r->o->target, out, e)
                        : e->status;
    free(mask);
    if (s == MCS_OK)
        keep(&r->targets, sample, out, n);
    return s;
}

static mcs_status supply(mcs_ctx *c, void *arg, int64_t i, mcs_sam_example *out)
{
    batch *b = arg;
    st_run *r = b->r;
    int64_t picture = r->order.at[b->index * r->order.batch + i], side = 4 * mcs_sam_grid(r->model);
    const st_picture *p = &r->train.pictures[picture];
    int count = prompts_of(r, p);
    mcs_tensor *target = mcs_new(c, 4, MCS_SHAPE(count, 1, side, side));
    int64_t *chosen = malloc((size_t)p->count * sizeof *chosen);
    if (!target || !chosen) {
        free(chosen);
        mcs_fail(c, MCS_ENOMEM, "%s: out of memory", p->path);
        return MCS_ENOMEM;
    }
    mcs_permutation(chosen, p->count, (uint64_t)r->t->seed, stream(b->epoch, picture, 1));
    mcs_status s = MCS_OK;
    for (int k = 0; k < count && s == MCS_OK; k++) {
        int64_t sample = p->first + chosen[k];
        mcs_sam_jitter_box(r->model, p->width, p->height, r->train.samples[sample].box, &r->jitter,
                           (uint64_t)r->t->seed, stream(b->epoch, sample, 2), b->boxes + 4 * k);
        s = fill_target(c, r, p, sample, mcs_f32(target) + k * side * side);
    }
    free(chosen);
    if (s != MCS_OK)
        return s;
    *out = (mcs_sam_example){ .count = count, .boxes = b->boxes, .target = target };
    if (mcs_sam_encoder_trained(r->model))
        out->image = st_image(c, r, p);
    else
        out->embedding = st_embedding(c, r, &r->embeddings, &r->train, picture);
    return mcs_ctx_status(c);
}

mcs_status st_step(st_run *r, int64_t epoch, int64_t index, mcs_sam_result *result)
{
    batch b = { .r = r, .epoch = epoch, .index = index };
    mcs_sam_batch in = { .size = r->order.batch, .supply = supply, .arg = &b };
    for (int64_t i = 0; i < r->order.batch; i++)
        in.prompts += prompts_of(r, &r->train.pictures[r->order.at[index * r->order.batch + i]]);
    return mcs_sam_step(r->ctx, r->model, &in, &r->loss, result);
}
