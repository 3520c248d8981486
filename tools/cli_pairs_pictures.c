/* cli_pairs_pictures.c - pictures of pairs to pixels, and the embeddings of all pairs. */
#include <stdlib.h>
#include <string.h>
#include "image/augment.h"
#include "tensor/parallel.h"
#include "tools/cli_pairs.h"

/* ---- Pictures ---- */

typedef struct {
    cli_picture *list;
    int side;
} reading;

static mcs_image *whole_square(const mcs_image *im, int side, mcs_error *e)
{
    mcs_geometry g = mcs_geometry_clip(im->width, im->height, side, MCS_FIT_CROP);
    mcs_image *rgb = mcs_image_to_rgb(im, e);
    mcs_image *out = rgb ? mcs_image_resize_crop(rgb, g.new_width, g.new_height, MCS_FILTER_BICUBIC,
                                                 g.left, g.top, side, side, e)
                         : NULL;
    mcs_image_free(rgb);
    return out;
}

static void read_range(void *arg, int64_t begin, int64_t end)
{
    const reading *r = arg;
    for (int64_t i = begin; i < end; i++) {
        cli_picture *p = &r->list[i];
        mcs_image *im = mcs_image_read(p->path, &p->error);
        if (im && p->crop)
            p->image = mcs_image_resized_crop(
                im, mcs_random_crop(im->width, im->height, 0.9, 1.0, p->seed, p->sample), r->side,
                &p->error);
        else if (im)
            p->image = whole_square(im, r->side, &p->error);
        mcs_image_free(im);
    }
}

void cli_pictures_read(mcs_pool *pool, cli_picture *list, int64_t count, int side)
{
    reading r = { list, side };
    for (int64_t i = 0; i < count; i++) {
        list[i].image = NULL;
        list[i].error.status = MCS_OK;
    }
    mcs_pool_for(pool, count, 1, read_range, &r);
}

mcs_tensor *cli_pictures_tensor(mcs_ctx *c, const cli_picture *list, int64_t count, int side)
{
    mcs_tensor *x = mcs_new(c, 4, MCS_SHAPE(count, 3, side, side));
    mcs_error e = { 0 };
    for (int64_t i = 0; x && i < count; i++)
        if (mcs_preprocess_clip(list[i].image, side, MCS_FIT_CROP, mcs_clip_mean, mcs_clip_std,
                                mcs_f32(x) + i * 3 * side * side, NULL, &e) != MCS_OK)
            return mcs_fail(c, e.status, "%s", e.message);
    return x;
}

/* ---- Embeddings ---- */

enum { PART = 16 };

typedef struct {
    cli *t;
    mcs_ctx *c;
    const mcs_biomedclip *m;
    cli_pairs *p;
    bool skip;
    cli_embedded *out;
} embedding;

/* Drops failed pictures from the part; the number left, or -1 if that is not wanted. */
static int64_t keep_good(embedding *w, cli_picture *list, int64_t *row, int64_t count)
{
    int64_t kept = 0;
    for (int64_t i = 0; i < count; i++) {
        if (list[i].image) {
            cli_picture moved = list[i];
            list[i].image = NULL; /* so that each picture is freed once */
            list[kept] = moved;
            row[kept++] = row[i];
            continue;
        }
        cli_pairs_broken(w->t, w->p, &w->p->items[row[i]], list[i].error.message,
                         w->p->embed_failed);
        w->out->failed++;
    }
    return kept < count && !w->skip ? -1 : kept;
}

static bool embed_part(embedding *w, const cli_picture *list, const int64_t *row, int64_t count)
{
    const char *captions[PART];
    int side = mcs_biomedclip_get_config(w->m)->vision.image;
    cli_embedded *out = w->out;
    if (!count)
        return true;
    for (int64_t i = 0; i < count; i++)
        captions[i] = w->p->items[row[i]].caption;
    mcs_tensor *x = cli_pictures_tensor(w->c, list, count, side);
    const mcs_tensor *a = mcs_biomedclip_encode_image(w->c, w->m, x);
    const mcs_tensor *ids = mcs_biomedclip_tokens(w->c, w->m, captions, (int)count);
    const mcs_tensor *b = mcs_biomedclip_encode_text(w->c, w->m, ids, NULL);
    if (!a || !b)
        return false;
    size_t bytes = (size_t)(count * out->width) * sizeof(float);
    memcpy(out->image + out->count * out->width, a->data, bytes);
    memcpy(out->text + out->count * out->width, b->data, bytes);
    memcpy(out->row + out->count, row, (size_t)count * sizeof *row);
    out->count += count;
    return true;
}

static int next_part(embedding *w, int64_t first, int64_t count)
{
    cli_picture list[PART] = { { .path = NULL } };
    int64_t row[PART];
    for (int64_t i = 0; i < count; i++) {
        row[i] = first + i;
        list[i].path = w->p->items[first + i].path;
    }
    mcs_ctx_reset(w->c);
    cli_pictures_read(mcs_ctx_pool(w->c), list, count,
                      mcs_biomedclip_get_config(w->m)->vision.image);
    int64_t kept = keep_good(w, list, row, count);
    bool ok = kept < 0 || embed_part(w, list, row, kept);
    for (int64_t i = 0; i < count; i++)
        mcs_image_free(list[i].image);
    if (kept < 0)
        return cli_error(w->t, CLI_NOTHING,
                         "a picture cannot be read; mend it, or leave such out "
                         "with --on-error skip");
    return ok ? CLI_CONTINUE : cli_die(w->t, mcs_ctx_error(w->c), false);
}

static int embed_loop(embedding *w, const char *what)
{
    cli_progress bar;
    int code = CLI_CONTINUE;
    bool grad = mcs_set_grad(w->c, false), training = mcs_set_training(w->c, false);
    cli_progress_begin(&bar, w->t, w->p->count, what);
    for (int64_t i = 0; i < w->p->count && code == CLI_CONTINUE; i += PART) {
        int64_t count = w->p->count - i < PART ? w->p->count - i : PART;
        code = cli_stop() ? CLI_SIGNALLED + cli_stop() : next_part(w, i, count);
        bar.done += count;
        bar.failed = w->out->failed;
        cli_progress_draw(&bar);
    }
    cli_progress_end(&bar);
    mcs_ctx_reset(w->c);
    mcs_set_grad(w->c, grad);
    mcs_set_training(w->c, training);
    return code;
}

int cli_pairs_embed(cli *t, mcs_ctx *c, const mcs_biomedclip *m, cli_pairs *p, bool skip,
                    const char *what, cli_embedded *out)
{
    size_t n = (size_t)p->count, width = (size_t)mcs_biomedclip_get_config(m)->embed;
    embedding w = { t, c, m, p, skip, out };
    *out = (cli_embedded){ .image = malloc(n * width * sizeof(float)),
                           .text = malloc(n * width * sizeof(float)),
                           .row = malloc(n * sizeof(int64_t)),
                           .width = (int64_t)width };
    return out->image && out->text && out->row
               ? embed_loop(&w, what)
               : cli_error(t, CLI_NO_MEMORY, "out of memory for %zu embeddings", n);
}

void cli_embedded_free(cli_embedded *e)
{
    free(e->image);
    free(e->text);
    free(e->row);
    *e = (cli_embedded){ .count = 0 };
}
