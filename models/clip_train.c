/* clip_train.c - the step over a batch, in one pass or in parts.
 *
 * Let a_i = f(x_i; w) be embeddings and L(a_1 ... a_B) a loss that couples all of them.  Then
 *   dL/dw = sum_i (da_i/dw)^T dL/da_i,
 * so dL/da_i may be computed first, from values alone, and the sum over i in parts, each with the
 * tape of its part only (Gao, Zhang, Han, Callan 2021, arXiv 2101.06983).  Nothing is approximated:
 * only the order of the sum over i differs from the one pass.  Random masks are replayed: their
 * stream is a function of (seed, step, tower, first sample of the part). */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "models/clip_texts.h"
#include "models/clip_train_internal.h"

typedef struct clip_step {
    mcs_ctx *c;
    const mcs_biomedclip *m;
    const mcs_clip_batch *b;
    const mcs_clip_step_opts *o;
    int64_t width; /* E */
} clip_step;

typedef struct {
    mcs_tensor *(*encode)(const clip_step *s, int64_t first, int64_t count);
    const char *prefix; /* of the tower's weights */
    int64_t rows;
    float *values, *grads; /* (rows,E) */
} tower;

/* ---- Forward ---- */

static mcs_tensor *encode_images(const clip_step *s, int64_t first, int64_t count)
{
    return mcs_biomedclip_encode_image(s->c, s->m,
                                       s->b->images(s->c, s->b->images_arg, first, count));
}

static mcs_tensor *encode_texts(const clip_step *s, int64_t first, int64_t count)
{
    int64_t n = s->b->length;
    return mcs_clip_encode_texts(s->c, s->m, s->b->ids + first * n, count, n);
}

mcs_tensor *mcs_clip_loss(mcs_ctx *c, const mcs_biomedclip *m, const mcs_tensor *image,
                          const mcs_tensor *text, const uint8_t *negatives,
                          const mcs_clip_step_opts *o)
{
    int64_t size = mcs_dim(image, 0), sets = size ? mcs_dim(text, 0) / size : 0;
    mcs_contrastive_opts l = o->loss;
    mcs_tensor *total = NULL, *x = mcs_l2_normalize(c, image, 1e-12f);
    mcs_tensor *y = mcs_l2_normalize(c, text, 1e-12f);
    if (!x || !y)
        return NULL;
    if (sets < 1 || sets * size != mcs_dim(text, 0))
        return mcs_fail(c, MCS_ESHAPE, "loss: %lld captions for %lld pictures",
                        (long long)mcs_dim(text, 0), (long long)size);
    l.scale = NULL;
    if (o->learn_scale)
        l.scale = mcs_exp(c, mcs_params_find(mcs_biomedclip_params(m), "logit_scale"));
    for (int64_t k = 0; k < sets; k++) {
        if (negatives)
            l.negatives =
                mcs_from(c, MCS_U8, 2, MCS_SHAPE(size, size), negatives + k * size * size);
        mcs_tensor *part = mcs_contrastive_loss(c, x, mcs_rows(c, y, k * size, (k + 1) * size), &l);
        total = total ? mcs_add(c, total, part) : part;
    }
    return sets > 1 ? mcs_affine(c, total, 1.0f / (float)sets, 0) : total;
}

/* Records the failure if whoever returned NULL did not. */
static mcs_status failure(const clip_step *s)
{
    if (mcs_ctx_status(s->c) == MCS_OK)
        mcs_fail(s->c, MCS_EINVAL, "training step: no pictures were supplied");
    return mcs_ctx_status(s->c);
}

static mcs_status check_finite(const clip_step *s, const mcs_tensor *loss, double *value)
{
    if (!loss)
        return failure(s);
    *value = (double)mcs_f32(loss)[0];
    if (!isfinite(*value))
        mcs_fail(s->c, MCS_ENUMERIC, "the loss is %g at step %llu", *value,
                 (unsigned long long)s->o->step);
    return mcs_ctx_status(s->c);
}

static void seed_part(const clip_step *s, const tower *t, int64_t first)
{
    uint64_t mixed = s->o->seed ^ (s->o->step * UINT64_C(0x9E3779B97F4A7C15));
    mcs_ctx_reset(s->c);
    mcs_ctx_seed(s->c, mixed, 2 * (uint64_t)first + (t->prefix[0] == 'v'));
}

/* ---- One pass ---- */

static mcs_status step_whole(const clip_step *s, tower *image, tower *text, double *value)
{
    mcs_set_grad(s->c, true);
    seed_part(s, image, 0);
    mcs_tensor *x = image->encode(s, 0, image->rows);
    mcs_tensor *y = x ? text->encode(s, 0, text->rows) : NULL;
    mcs_tensor *loss = mcs_clip_loss(s->c, s->m, x, y, s->b->negatives, s->o);
    mcs_status status = check_finite(s, loss, value);
    return status ? status : loss->node ? mcs_backward_free(s->c, loss, NULL) : MCS_OK;
}

/* ---- In parts ---- */

static int64_t part_of(const clip_step *s, const tower *t, int64_t first)
{
    return t->rows - first < s->o->micro ? t->rows - first : s->o->micro;
}

static mcs_status embed(const clip_step *s, tower *t)
{
    mcs_set_grad(s->c, false);
    for (int64_t first = 0; first < t->rows; first += s->o->micro) {
        int64_t count = part_of(s, t, first);
        seed_part(s, t, first);
        const mcs_tensor *y = t->encode(s, first, count);
        if (!y || mcs_ctx_status(s->c) != MCS_OK)
            return failure(s);
        memcpy(t->values + first * s->width, y->data, (size_t)(count * s->width) * sizeof(float));
    }
    return MCS_OK;
}

static mcs_status couple(const clip_step *s, tower *image, tower *text, double *value)
{
    mcs_ctx *c = s->c;
    tower *both[] = { image, text };
    mcs_tensor *leaf[2];
    mcs_ctx_reset(c);
    mcs_set_grad(c, true);
    for (int i = 0; i < 2; i++)
        leaf[i] = mcs_leaf(
            c, mcs_wrap(c, MCS_F32, 2, MCS_SHAPE(both[i]->rows, s->width), both[i]->values));
    mcs_tensor *loss = mcs_clip_loss(c, s->m, leaf[0], leaf[1], s->b->negatives, s->o);
    mcs_status status = check_finite(s, loss, value);
    if (!status)
        status = mcs_backward(c, loss, NULL);
    for (int i = 0; i < 2 && !status; i++) {
        const mcs_tensor *g = mcs_grad(c, leaf[i]);
        if (g)
            memcpy(both[i]->grads, g->data, (size_t)(both[i]->rows * s->width) * sizeof(float));
        else
            status = failure(s);
    }
    return status;
}

static mcs_status replay(const clip_step *s, const tower *t)
{
    mcs_set_grad(s->c, true);
    for (int64_t first = 0; first < t->rows; first += s->o->micro) {
        int64_t count = part_of(s, t, first);
        seed_part(s, t, first);
        const mcs_tensor *y = t->encode(s, first, count);
        const mcs_tensor *dy =
            mcs_wrap(s->c, MCS_F32, 2, MCS_SHAPE(count, s->width), t->grads + first * s->width);
        if (!y || !dy)
            return failure(s);
        if (mcs_backward_free(s->c, y, dy) != MCS_OK)
            return mcs_ctx_status(s->c);
    }
    return MCS_OK;
}

static bool is_trained(const mcs_biomedclip *m, const char *prefix)
{
    const mcs_params *p = mcs_biomedclip_params(m);
    for (int64_t i = 0; i < mcs_params_count(p); i++) {
        mcs_param_entry w = mcs_params_at(p, i);
        if (w.tensor->node && strncmp(w.name, prefix, strlen(prefix)) == 0)
            return true;
    }
    return false;
}

/* Among ranks every one goes all the way to mcs_clip_couple_ranks(), where they agree whether to go
 * on, and to the agreement at the end. */
static mcs_status step_parts(const clip_step *s, tower *image, tower *text, double *value)
{
    int64_t n = (image->rows + text->rows) * s->width;
    float *all = malloc((size_t)n * 2 * sizeof *all + 1);
    if (!all)
        mcs_fail(s->c, MCS_ENOMEM, "training step: no memory for %lld embeddings",
                 (long long)(image->rows + text->rows));
    image->values = all;
    text->values = all ? all + image->rows * s->width : NULL;
    image->grads = all ? all + n : NULL;
    text->grads = all ? image->grads + image->rows * s->width : NULL;
    mcs_status status = mcs_ctx_status(s->c);
    if (!status)
        status = embed(s, image);
    if (!status)
        status = embed(s, text);
    if (!status)
        mcs_ctx_reset(s->c);
    if (s->o->comm)
        status = mcs_clip_couple_ranks(
            s->c, s->m, s->b, s->o,
            &(mcs_clip_share){ { image->values, text->values }, { image->grads, text->grads } },
            value);
    else if (!status)
        status = couple(s, image, text, value);
    if (!status && is_trained(s->m, image->prefix))
        status = replay(s, image);
    if (!status && is_trained(s->m, text->prefix))
        status = replay(s, text);
    status = mcs_clip_agree(s->c, s->o->comm);
    if (!status)
        mcs_ctx_reset(s->c); /* it may hold tensors that borrow the embeddings */
    free(all);
    return status;
}

/* One pass of this rank's pairs: the tape of their embeddings waits for the gradient. */
static mcs_status step_whole_ranks(const clip_step *s, const tower *image, const tower *text,
                                   double *value)
{
    const tower *both[] = { image, text };
    mcs_tensor *y[2] = { NULL, NULL }, *dy[2];
    mcs_clip_share share = { { NULL, NULL }, { NULL, NULL } };
    mcs_set_grad(s->c, true);
    seed_part(s, image, 0);
    for (int i = 0; i < 2 && mcs_ctx_status(s->c) == MCS_OK; i++) {
        y[i] = both[i]->encode(s, 0, both[i]->rows);
        dy[i] = mcs_new(s->c, 2, MCS_SHAPE(both[i]->rows, s->width));
        if (!y[i] || !dy[i]) {
            failure(s);
            break;
        }
        share.values[i] = mcs_f32(y[i]);
        share.grads[i] = mcs_f32(dy[i]);
    }
    mcs_status status = mcs_clip_couple_ranks(s->c, s->m, s->b, s->o, &share, value);
    for (int i = 0; i < 2 && !status; i++)
        if (y[i]->node)
            status = mcs_backward(s->c, y[i], dy[i]);
    return mcs_clip_agree(s->c, s->o->comm);
}

static bool is_usable(const mcs_clip_batch *b, bool ranks)
{
    if (ranks && b->size == 0)
        return b->captions >= 1;
    return b->size >= (ranks ? 1 : 2) && b->captions >= 1 && b->length >= 1 && b->ids && b->images;
}

mcs_status mcs_clip_step(mcs_ctx *c, const mcs_biomedclip *m, const mcs_clip_batch *b,
                         const mcs_clip_step_opts *o, double *loss)
{
    mcs_clip_step_opts own = *o;
    mcs_ctx_reset(c);
    if (!is_usable(b, o->comm)) {
        mcs_fail(c, MCS_EINVAL,
                 "training step: %lld pairs with %d captions of %lld ids; a "
                 "contrastive loss needs at least 2 pairs and 1 caption each",
                 (long long)b->size, b->captions, (long long)b->length);
        return mcs_clip_agree(c, o->comm);
    }
    clip_step s = { c, m, b, &own, mcs_biomedclip_get_config(m)->embed };
    tower image = { .encode = encode_images, .prefix = "visual.", .rows = b->size };
    tower text = { .encode = encode_texts, .prefix = "text.", .rows = b->size * b->captions };
    bool grad = mcs_grad_enabled(c), whole = o->micro < 1 || o->micro >= b->size;
    double value = (double)NAN;
    if (whole)
        own.micro = b->size > 0 ? b->size : 1;
    mcs_status status = !whole || !b->size ? step_parts(&s, &image, &text, &value)
                        : o->comm          ? step_whole_ranks(&s, &image, &text, &value)
                                           : step_whole(&s, &image, &text, &value);
    mcs_set_grad(c, grad);
    if (loss)
        *loss = value;
    return status;
}

/* Values kept per token and layer, counted off the operations: q, k, v, both sums, in BERT both
 * norms as well, and the hidden layer before its activation; and once per token the gradients of a
 * layer on the way back, with the ends of the tower. */
static int64_t tower_bytes(int64_t tokens, int64_t widths, int64_t dim, int64_t hidden,
                           int64_t depth, bool recompute)
{
    int64_t layer = widths * dim + hidden, once = 8 * dim + 2 * hidden;
    int64_t all = (recompute ? depth * dim + layer : depth * layer) + once;
    return tokens * all * (int64_t)sizeof(float);
}

int64_t mcs_clip_pair_bytes(const mcs_biomedclip_config *cfg, int64_t length, int captions,
                            bool recompute)
{
    const mcs_vit_config *v = &cfg->vision;
    const mcs_bert_config *t = &cfg->text;
    int64_t grid = v->image / v->patch, pixels = v->image;
    return tower_bytes(grid * grid + 1, 5, v->dim, v->mlp_dim, v->depth, recompute) +
           captions * tower_bytes(length, 7, t->dim, t->mlp_dim, t->depth, recompute) +
           8 * 3 * pixels * pixels;
}
