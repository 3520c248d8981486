/* cli_train_batch.c - the inputs of one step.
 *
 * A sample is a row of the table, or, with several captions a picture, a picture with all its
 * rows.  A picture that cannot be read is left out of its batch, which then is smaller. */
#include <stdlib.h>
#include <string.h>
#include "tools/cli_train.h"

enum { ROWS_MAX = 64 }; /* captions of a picture among which are chosen */

/* Streams of random numbers, apart from those of the order (even and odd epochs' numbers). */
static uint64_t stream(int64_t epoch, int64_t sample, int purpose)
{
    return UINT64_C(1) << 63 | (uint64_t)purpose << 60 | (uint64_t)epoch << 36 | (uint64_t)sample;
}

static void choose_captions(const tr_run *r, const cli_pairs *p, int64_t epoch, int64_t image,
                            int64_t slot, tr_batch *b)
{
    int64_t order[ROWS_MAX], n = p->first[image + 1] - p->first[image];
    n = n < ROWS_MAX ? n : ROWS_MAX;
    mcs_permutation(order, n, (uint64_t)r->t->seed, stream(epoch, image, 1));
    for (int k = 0; k < r->o->captions; k++)
        b->row[k * r->batch + slot] = p->rows[p->first[image] + order[k % n]];
}

static void list_pictures(tr_run *r, int64_t epoch, int64_t index, tr_batch *b)
{
    const cli_pairs *p = b->pairs;
    for (int64_t i = 0; i < r->batch; i++) {
        int64_t sample = r->order[index * r->batch + i];
        if (r->o->captions > 1)
            choose_captions(r, p, epoch, sample, i, b);
        else
            b->row[i] = sample;
        b->pictures[i] = (cli_picture){ .path = p->items[b->row[i]].path,
                                        .crop = r->o->aug == 1,
                                        .seed = (uint64_t)r->t->seed,
                                        .sample = stream(epoch, sample, 2) };
    }
}

/* Closes the gaps that unreadable pictures leave; rows become (captions, size). */
static int drop_broken(tr_run *r, int64_t epoch, tr_batch *b)
{
    int set = (int)(epoch % r->o->train_data.count);
    int64_t size = 0;
    for (int64_t i = 0; i < r->batch; i++) {
        if (b->pictures[i].image) {
            cli_picture moved = b->pictures[i];
            b->pictures[i].image = NULL;
            b->pictures[size] = moved;
            for (int k = 0; k < r->o->captions; k++)
                b->row[k * r->batch + size] = b->row[k * r->batch + i];
            size++;
            continue;
        }
        const cli_pair *pair = &b->pairs->items[b->row[i]];
        r->broken += !r->seen[set][pair->image];
        cli_pairs_broken(r->t, &r->train[set], pair, b->pictures[i].error.message, r->seen[set]);
        if (b->pictures[i].error.status == MCS_ENOMEM && !r->o->on_error)
            return cli_error(r->t, CLI_NO_MEMORY, "%s", b->pictures[i].error.message);
    }
    b->size = size;
    if (size < r->batch && !r->o->on_error)
        return cli_error(r->t, CLI_NOTHING,
                         "a picture cannot be read; mend it, or leave such out "
                         "with --on-error skip");
    for (int k = 1; k < r->o->captions; k++)
        memmove(b->row + k * size, b->row + k * r->batch, (size_t)size * sizeof *b->row);
    return CLI_CONTINUE;
}

uint8_t *tr_negatives(const cli_pairs *p, const int64_t *row, int64_t n, int captions)
{
    uint8_t *negatives = malloc((size_t)(captions * n * n) + 1);
    for (int64_t at = 0; negatives && at < captions * n * n; at++) {
        int64_t k = at / (n * n), i = at / n % n, j = at % n;
        const cli_pair *caption = &p->items[row[k * n + j]];
        negatives[at] = !cli_pairs_true(p, caption, p->items[row[i]].image);
    }
    return negatives;
}

static mcs_tensor *supply(mcs_ctx *c, void *arg, int64_t first, int64_t count)
{
    const tr_batch *b = arg;
    return cli_pictures_tensor(c, b->pictures + first, count, b->side);
}

static int tokenize(tr_run *r, tr_batch *b)
{
    int count = (int)(b->size * r->o->captions);
    const char **captions = malloc((size_t)count * sizeof *captions);
    if (!captions)
        return cli_error(r->t, CLI_NO_MEMORY, "out of memory");
    for (int i = 0; i < count; i++)
        captions[i] = b->pairs->items[b->row[i]].caption;
    mcs_ctx_reset(r->data);
    const mcs_tensor *ids = mcs_biomedclip_tokens(r->data, r->model, captions, count);
    free(captions);
    if (!ids)
        return cli_die(r->t, mcs_ctx_error(r->data), true);
    b->in = (mcs_clip_batch){ .size = b->size,
                              .captions = r->o->captions,
                              .length = mcs_dim(ids, 1),
                              .ids = mcs_i64(ids),
                              .negatives = b->negatives,
                              .images = supply,
                              .images_arg = b };
    return CLI_CONTINUE;
}

int tr_batch_make(tr_run *r, int64_t epoch, int64_t index, tr_batch *b)
{
    *b = (tr_batch){ .pairs = tr_epoch_pairs(r, epoch),
                     .side = mcs_biomedclip_get_config(r->model)->vision.image,
                     .size = r->batch };
    b->pictures = calloc((size_t)r->batch, sizeof *b->pictures);
    b->row = malloc((size_t)(r->batch * r->o->captions) * sizeof *b->row);
    if (!b->pictures || !b->row)
        return cli_error(r->t, CLI_NO_MEMORY, "out of memory for a batch of %lld",
                         (long long)r->batch);
    list_pictures(r, epoch, index, b);
    cli_pictures_read(mcs_ctx_pool(r->ctx), b->pictures, r->batch, b->side);
    int code = drop_broken(r, epoch, b);
    if (code != CLI_CONTINUE || b->size < 2)
        return code;
    if (b->pairs->grouped)
        b->negatives = tr_negatives(b->pairs, b->row, b->size, r->o->captions);
    if (b->pairs->grouped && !b->negatives)
        return cli_error(r->t, CLI_NO_MEMORY, "out of memory for a mask of negatives");
    return tokenize(r, b);
}

void tr_batch_free(tr_batch *b)
{
    for (int64_t i = 0; b->pictures && i < b->size; i++)
        mcs_image_free(b->pictures[i].image);
    free(b->pictures);
    free(b->row);
    free(b->negatives);
    *b = (tr_batch){ .size = 0 };
}
