/* cli_unet_batch.c - the inputs of one step: pictures read (or taken from the cache), changed at
 * random and laid out, as many at a time as threads there are.
 *
 * Resized, a picture is kept at the side of the net; for patches at its own size.  Kept or not, the
 * step gets the same numbers. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "tensor/parallel.h"
#include "tools/cli_unet.h"

/* ---- One picture ---- */

static uint8_t *read_labels(const un_data *d, const un_picture *p, int width, int height,
                            mcs_error *e)
{
    cli_grid g;
    uint8_t *labels =
        cli_grid_read(p->mask, &g, e) == MCS_OK ? un_labels(d, &g, width, height, e) : NULL;
    free(g.value);
    return labels;
}

mcs_status un_load(const un_run *r, const un_data *d, const un_picture *p, mcs_image **pixels,
                   uint8_t **labels, mcs_error *e)
{
    bool resize = r->notes.input == MCS_UNET_RESIZE;
    int channels = mcs_unet_get_config(r->model)->in_channels, side = r->notes.side;
    mcs_image *file = mcs_image_read(p->path, e);
    mcs_image *eight = file ? mcs_unet_picture(file, channels, e) : NULL;
    *pixels = eight && resize ? mcs_image_resize(eight, side, side, MCS_FILTER_BILINEAR, e) : eight;
    if (resize)
        mcs_image_free(eight);
    mcs_image_free(file);
    *labels = NULL;
    if (!*pixels)
        return e->status;
    if (!resize && ((*pixels)->width != p->width || (*pixels)->height != p->height))
        mcs_error_set(e, MCS_EFORMAT, "%s: changed while it was in use", p->path);
    else
        *labels = read_labels(d, p, (*pixels)->width, (*pixels)->height, e);
    if (*labels)
        return MCS_OK;
    mcs_image_free(*pixels);
    *pixels = NULL;
    return e->status;
}

/* ---- Where to look ---- */

/* Streams of random numbers, apart from those of the order (twice the epoch, and one more). */
static uint64_t stream(int64_t epoch, int64_t picture, int purpose)
{
    return UINT64_C(1) << 63 | (uint64_t)purpose << 60 | (uint64_t)epoch << 36 | (uint64_t)picture;
}

/* The n-th labelled pixel. */
static int64_t find_labelled(const uint8_t *labels, int64_t count, int64_t n)
{
    int64_t i = 0;
    for (; i < count; i++)
        if (labels[i] && n-- == 0)
            break;
    return i;
}

/* Corner of a square of `side` about `centre`, inside the length if it fits. */
static double corner(double centre, int side, int length)
{
    double at = floor(centre - side / 2.0);
    double most = length > side ? length - side : 0;
    return fmin(fmax(at, 0), most);
}

/* A square of the picture, drawn by lot: about a labelled pixel in `foreground` of the cases. */
static mcs_window patch(const un_run *r, const mcs_image *im, const uint8_t *labels, int64_t epoch,
                        int64_t picture)
{
    uint64_t seed = (uint64_t)r->t->seed, lot = stream(epoch, picture, 2);
    int64_t n = (int64_t)im->width * im->height, marked = 0;
    int side = r->notes.side;
    for (int64_t i = 0; i < n; i++)
        marked += labels[i] != 0;
    bool aim = marked &&
               (double)mcs_random_below(seed, lot, 1 << 20) / (1 << 20) < (double)r->o->foreground;
    int64_t at = aim ? find_labelled(labels, n, mcs_random_below(seed, lot + (1 << 30), marked))
                     : mcs_random_below(seed, lot + (1 << 30), n);
    return (mcs_window){ corner((double)(at % im->width), side, im->width),
                         corner((double)(at / im->width), side, im->height), side, side };
}

static mcs_window middle(const mcs_image *im, int side)
{
    return (mcs_window){ corner(im->width / 2.0, side, im->width),
                         corner(im->height / 2.0, side, im->height), side, side };
}

/* ---- The batch ---- */

typedef struct {
    un_run *r;
    un_data *d;
    const int64_t *order; /* of the pictures of the batch; NULL: as they are listed, unchanged */
    int64_t epoch, first; /* first: of the part, in the batch */
    int channels;
    float *images;
    uint8_t *labels;
    mcs_error *errors; /* one for each picture of the part */
} batch;

static int64_t picture_of(const batch *b, int64_t i)
{
    return b->order ? b->order[b->first + i] : b->first + i;
}

static void lay_out(const batch *b, int64_t i, const mcs_image *im, const uint8_t *labels)
{
    const un_run *r = b->r;
    int side = r->notes.side;
    int64_t n = (int64_t)side * side, picture = picture_of(b, i);
    float *x = b->images + i * b->channels * n;
    const mcs_augment none = { 0 };
    const mcs_augment_draw d = mcs_augment_by_lot(
        b->order ? &r->change : &none, (uint64_t)r->t->seed, stream(b->epoch, picture, 1));
    mcs_window w = { 0, 0, side, side };
    if (r->notes.input == MCS_UNET_SLIDING)
        w = b->order ? patch(r, im, labels, b->epoch, picture) : middle(im, side);
    mcs_augment_picture(im->data, im->width, im->height, b->channels, w, &d, x, side);
    mcs_augment_labels(labels, im->width, im->height, w, &d, b->labels + i * n, side);
    for (int64_t k = 0; k < b->channels * n; k++)
        x[k] = (x[k] - MCS_UNET_MEAN) / MCS_UNET_STD;
}

/* Loads what is not kept and lays it out; what it loads for the first time is left in the list. */
static void fill_range(void *arg, int64_t begin, int64_t end)
{
    const batch *b = arg;
    for (int64_t i = begin; i < end; i++) {
        un_picture *p = &b->d->items[picture_of(b, i)];
        if (!p->pixels && un_load(b->r, b->d, p, &p->pixels, &p->labels, &b->errors[i]) != MCS_OK)
            continue;
        lay_out(b, i, p->pixels, p->labels);
    }
}

/* Afterwards: keeps the pictures of the part while there is room. */
static void settle(const batch *b, int64_t count)
{
    un_run *r = b->r;
    for (int64_t i = 0; i < count; i++) {
        un_picture *p = &b->d->items[picture_of(b, i)];
        if (!p->pixels || p->kept)
            continue;
        uint64_t bytes = (uint64_t)p->pixels->width * (uint64_t)p->pixels->height *
                         (uint64_t)(p->pixels->channels + 1);
        p->kept = r->cached + bytes <= r->o->cache;
        r->cached += p->kept ? bytes : 0;
        if (p->kept)
            continue;
        mcs_image_free(p->pixels);
        free(p->labels);
        p->pixels = NULL;
        p->labels = NULL;
    }
}

static mcs_status supply(mcs_ctx *c, void *arg, int64_t first, int64_t count,
                         const mcs_tensor **images, const mcs_tensor **labels)
{
    batch *b = arg;
    int side = b->r->notes.side;
    mcs_tensor *x = mcs_new(c, 4, MCS_SHAPE(count, b->channels, side, side));
    mcs_tensor *y = mcs_new_typed(c, MCS_U8, 3, MCS_SHAPE(count, side, side));
    b->errors = calloc((size_t)count, sizeof *b->errors);
    if (x && y && b->errors) {
        b->first = first;
        b->images = mcs_f32(x);
        b->labels = mcs_u8(y);
        mcs_pool_for(mcs_ctx_pool(c), count, 1, fill_range, b);
        for (int64_t i = 0; i < count; i++)
            if (b->errors[i].status != MCS_OK)
                mcs_fail(c, b->errors[i].status, "%s", b->errors[i].message);
        settle(b, count);
    } else {
        mcs_fail(c, MCS_ENOMEM, "out of memory for %lld pictures", (long long)count);
    }
    free(b->errors);
    *images = x;
    *labels = y;
    return mcs_ctx_status(c);
}

static mcs_status run_batch(un_run *r, batch *b, int64_t size, double *loss)
{
    float *weight = malloc((size_t)size * sizeof *weight);
    if (!weight) {
        mcs_fail(r->ctx, MCS_ENOMEM, "out of memory");
        return MCS_ENOMEM;
    }
    b->r = r;
    b->channels = mcs_unet_get_config(r->model)->in_channels;
    for (int64_t i = 0; i < size; i++)
        weight[i] = b->d->items[picture_of(b, i)].weight;
    const mcs_unet_batch in = { .size = size,
                                .micro = r->micro < size ? r->micro : size,
                                .weight = r->o->weight_iou && b->order ? weight : NULL,
                                .supply = supply,
                                .arg = b };
    mcs_status s = mcs_unet_step(r->ctx, r->model, &in, &r->loss, loss);
    free(weight);
    return s;
}

mcs_status un_step(un_run *r, int64_t epoch, int64_t index, double *loss)
{
    batch b = { .d = &r->train, .order = r->order.at + index * r->order.batch, .epoch = epoch };
    return run_batch(r, &b, r->order.batch, loss);
}

mcs_status un_measure(un_run *r, double *loss)
{
    batch b = { .d = &r->val };
    return run_batch(r, &b, r->val.count, loss);
}
