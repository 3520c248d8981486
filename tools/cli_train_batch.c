/* cli_train_batch.c - the inputs of one step.
 *
 * A sample is a row of the table, or, with several captions a picture, a picture with all its
 * rows.  A picture that cannot be read is left out of its batch, which then is smaller. */
#include <stdio.h>
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
        b->row[k * r->share + slot] = p->rows[p->first[image] + order[k % n]];
}

static void list_pictures(tr_run *r, int64_t epoch, int64_t index, tr_batch *b)
{
    const cli_pairs *p = b->pairs;
    for (int64_t i = 0; i < r->share; i++) { /* rank, rank + ranks, ... */
        int64_t at = r->t->rank + i * mcs_comm_size(r->comm);
        int64_t sample = r->order[index * r->batch + at];
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

/* What ranks tell each other of pictures that cannot be read. */
typedef struct {
    int64_t row;
    mcs_status status;
    char why[400];
} broken_picture;

static broken_picture *list_broken(const tr_run *r, const tr_batch *b, int64_t *count)
{
    int64_t n = 0;
    for (int64_t i = 0; i < r->share; i++)
        n += !b->pictures[i].image;
    broken_picture *list = calloc((size_t)n + 1, sizeof *list);
    *count = 0;
    for (int64_t i = 0; i < r->share && list; i++)
        if (!b->pictures[i].image) {
            broken_picture *one = &list[(*count)++];
            one->row = b->row[i];
            one->status = b->pictures[i].error.status;
            snprintf(one->why, sizeof one->why, "%.399s", b->pictures[i].error.message);
        }
    return list;
}

/* Closes the gaps that unreadable pictures leave; rows become (captions, size). */
static void close_gaps(const tr_run *r, tr_batch *b)
{
    int64_t size = 0;
    for (int64_t i = 0; i < r->share; i++) {
        if (!b->pictures[i].image)
            continue;
        cli_picture moved = b->pictures[i];
        b->pictures[i].image = NULL;
        b->pictures[size] = moved;
        for (int k = 0; k < r->o->captions; k++)
            b->row[k * r->share + size] = b->row[k * r->share + i];
        size++;
    }
    b->size = size;
    for (int k = 1; k < r->o->captions; k++)
        memmove(b->row + k * size, b->row + k * r->share, (size_t)size * sizeof *b->row);
}

/* The same on all ranks. */
static int report_broken(tr_run *r, int64_t epoch, const tr_batch *b, const broken_picture *list,
                         int64_t count)
{
    int set = (int)(epoch % r->o->train_data.count);
    for (int64_t i = 0; i < count; i++) {
        const cli_pair *pair = &b->pairs->items[list[i].row];
        r->broken += !r->seen[set][pair->image];
        cli_pairs_broken(r->t, &r->train[set], pair, list[i].why, r->seen[set]);
        if (list[i].status == MCS_ENOMEM && !r->o->on_error)
            return r->t->rank ? CLI_NO_MEMORY : cli_error(r->t, CLI_NO_MEMORY, "%s", list[i].why);
    }
    if (!count || r->o->on_error)
        return CLI_CONTINUE;
    return r->t->rank ? CLI_NOTHING
                      : cli_error(r->t, CLI_NOTHING,
                                  "a picture cannot be read; mend it, or leave such out "
                                  "with --on-error skip");
}

static int drop_broken(tr_run *r, int64_t epoch, tr_batch *b)
{
    int64_t count, total = 0;
    void *all = NULL;
    broken_picture *mine = list_broken(r, b, &count);
    int code = tr_agree(r, mine ? CLI_CONTINUE : cli_error(r->t, CLI_NO_MEMORY, "out of memory"));
    if (code == CLI_CONTINUE)
        code = tr_gather(r, mine, sizeof *mine, count, &all, &total);
    if (code == CLI_CONTINUE)
        code = tr_agree(r, report_broken(r, epoch, b, all, total));
    free(mine);
    free(all);
    if (code == CLI_CONTINUE)
        close_gaps(r, b);
    b->total = r->batch - total;
    return code;
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
    b->in = (mcs_clip_batch){ .captions = r->o->captions, .negatives = b->negatives };
    if (!count) /* the other ranks have some */
        return CLI_CONTINUE;
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

/* tr_negatives() for the pairs of all ranks. */
static int mask_negatives(tr_run *r, tr_batch *b)
{
    int64_t *row = malloc((size_t)(b->total * r->o->captions) * sizeof *row), total;
    void *set = NULL;
    int code = tr_agree(r, row ? CLI_CONTINUE : cli_error(r->t, CLI_NO_MEMORY, "out of memory"));
    for (int k = 0; k < r->o->captions && code == CLI_CONTINUE; k++) {
        code = tr_gather(r, b->row + k * b->size, sizeof *row, b->size, &set, &total);
        if (code == CLI_CONTINUE)
            memcpy(row + k * b->total, set, (size_t)b->total * sizeof *row);
        free(set);
    }
    if (code == CLI_CONTINUE) {
        b->negatives = tr_negatives(b->pairs, row, b->total, r->o->captions);
        if (!b->negatives)
            code = cli_error(r->t, CLI_NO_MEMORY, "out of memory for a mask of negatives");
    }
    free(row);
    return code;
}

int tr_batch_make(tr_run *r, int64_t epoch, int64_t index, tr_batch *b)
{
    *b = (tr_batch){ .pairs = tr_epoch_pairs(r, epoch),
                     .side = mcs_biomedclip_get_config(r->model)->vision.image,
                     .size = r->share };
    int code = CLI_CONTINUE;
    b->pictures = calloc((size_t)r->share + 1, sizeof *b->pictures);
    b->row = malloc((size_t)(r->share * r->o->captions + 1) * sizeof *b->row);
    if (!b->pictures || !b->row)
        code = cli_error(r->t, CLI_NO_MEMORY, "out of memory for a batch of %lld",
                         (long long)r->share);
    code = tr_agree(r, code);
    if (code != CLI_CONTINUE)
        return code;
    list_pictures(r, epoch, index, b);
    cli_pictures_read(mcs_ctx_pool(r->ctx), b->pictures, r->share, b->side);
    code = drop_broken(r, epoch, b);
    if (code != CLI_CONTINUE || b->total < 2)
        return code;
    if (tr_masked(r, b->pairs))
        code = mask_negatives(r, b);
    if (code == CLI_CONTINUE)
        code = tokenize(r, b);
    return tr_agree(r, code);
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
