/* clip_train_ranks.c - the loss of a batch whose embeddings are spread over ranks.
 *
 * Rank r holds b_r pairs, B = sum b_r.  All embeddings go to all ranks (B x E floats each way);
 * rank r computes the rows of its anchors against all others,
 *   L = sum_r L_r,  L_r = 1/B ( sum_{i in r} l(I_i; T) + sum_{i in r} l(T_i; I) ),
 * and dL_r in all embeddings.  The sum of those over the ranks, of which each keeps its own rows,
 * is what a gather "with gradients" gives (open_clip: --local-loss --gather-with-grad), without
 * its factor R.  Everything is summed in the order of the ranks.
 *
 * dhn-nce-official has no rows (a row's weights depend on other rows): every rank computes all. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "models/clip_train_internal.h"

typedef struct {
    mcs_ctx *c;
    const mcs_biomedclip *m;
    const mcs_clip_batch *b;
    const mcs_clip_step_opts *o;
    int64_t width; /* E */
    int64_t *sizes; /* (R) */
    size_t *bytes; /* (R) */
    int64_t total, first; /* B; where this rank's pairs begin */
    mcs_tensor *all[2]; /* leaves: pictures (B,E), captions (K*B,E) */
    mcs_tensor *grads[2];
} spread;

mcs_status mcs_clip_agree(mcs_ctx *c, mcs_comm *comm)
{
    mcs_error e = { mcs_ctx_status(c), "" };
    if (e.status != MCS_OK)
        e = *mcs_ctx_error(c);
    mcs_status s = mcs_comm_agree(comm, &e);
    if (s != MCS_OK)
        mcs_fail(c, s, "%s", e.message); /* keeps what is there */
    return s;
}

/* ---- Gathering ---- */

static mcs_status count_pairs(spread *s)
{
    mcs_error e = { MCS_OK, "" };
    int ranks = mcs_comm_size(s->o->comm);
    s->sizes = malloc((size_t)ranks * sizeof *s->sizes);
    s->bytes = malloc((size_t)ranks * sizeof *s->bytes);
    if (!s->sizes || !s->bytes)
        mcs_fail(s->c, MCS_ENOMEM, "training step: out of memory");
    mcs_status status = mcs_clip_agree(s->c, s->o->comm);
    if (status)
        return status;
    if (mcs_comm_gather(s->o->comm, &s->b->size, sizeof s->b->size, s->sizes, &e) != MCS_OK)
        mcs_fail(s->c, e.status, "%s", e.message);
    for (int r = 0; r < ranks && e.status == MCS_OK; r++) {
        s->first += r < mcs_comm_rank(s->o->comm) ? s->sizes[r] : 0;
        s->total += s->sizes[r];
        s->bytes[r] = (size_t)(s->sizes[r] * s->width) * sizeof(float);
    }
    if (e.status == MCS_OK && s->total < 2)
        mcs_fail(s->c, MCS_EINVAL, "training step: a contrastive loss needs at least 2 pairs");
    return mcs_ctx_status(s->c);
}

/* The shares of one set of captions lie together, as if one process had embedded them. */
static mcs_status gather(spread *s, const mcs_clip_share *share)
{
    mcs_error e = { MCS_OK, "" };
    for (int i = 0; i < 2; i++)
        s->all[i] = mcs_new(s->c, 2, MCS_SHAPE(s->total * (i ? s->b->captions : 1), s->width));
    mcs_status status = mcs_clip_agree(s->c, s->o->comm);
    for (int k = -1; k < s->b->captions && !status; k++) {
        const float *mine = share->values[k >= 0];
        float *all = mcs_f32(s->all[k >= 0]);
        int64_t set = k > 0 ? k : 0;
        status = mcs_comm_gather_parts(s->o->comm, mine + set * s->b->size * s->width, s->bytes,
                                       all + set * s->total * s->width, &e);
    }
    if (e.status != MCS_OK)
        mcs_fail(s->c, e.status, "%s", e.message);
    return status;
}

/* ---- This rank's part of the loss ---- */

static const mcs_tensor *scale_of(const spread *s)
{
    const mcs_tensor *w = mcs_params_find(mcs_biomedclip_params(s->m), "logit_scale");
    return s->o->learn_scale ? mcs_exp(s->c, w) : NULL;
}

/* Both directions of one set of captions for the anchors of this rank. */
static mcs_tensor *rows_loss(const spread *s, const mcs_tensor *x, const mcs_tensor *y,
                             const mcs_contrastive_opts *l)
{
    mcs_ctx *c = s->c;
    int64_t last = s->first + s->b->size;
    const mcs_tensor *a = mcs_rows(c, x, s->first, last), *t = mcs_rows(c, y, s->first, last);
    return mcs_add(c, mcs_contrastive_rows(c, a, y, s->first, true, l),
                   mcs_contrastive_rows(c, t, x, s->first, false, l));
}

static mcs_tensor *share_of_loss(const spread *s, const mcs_tensor *image, const mcs_tensor *text)
{
    mcs_ctx *c = s->c;
    mcs_contrastive_opts l = s->o->loss;
    mcs_tensor *total = NULL, *x = mcs_l2_normalize(c, image, 1e-12f);
    mcs_tensor *y = mcs_l2_normalize(c, text, 1e-12f);
    int64_t n = s->total, sets = s->b->captions;
    if (!x || !y)
        return NULL;
    l.scale = scale_of(s);
    for (int64_t k = 0; k < sets; k++) {
        if (s->b->negatives)
            l.negatives = mcs_from(c, MCS_U8, 2, MCS_SHAPE(n, n), s->b->negatives + k * n * n);
        mcs_tensor *part = rows_loss(s, x, mcs_rows(c, y, k * n, (k + 1) * n), &l);
        total = total ? mcs_add(c, total, part) : part;
    }
    return mcs_affine(c, total, 1.0f / (float)sets, 0);
}

/* The loss that this rank contributes: *value, and its gradients in all embeddings. */
static mcs_status differentiate(spread *s, double *value)
{
    bool official = s->o->loss.kind == MCS_LOSS_DHN_NCE_OFFICIAL;
    mcs_clip_step_opts o = *s->o;
    mcs_tensor *leaf[2] = { mcs_leaf(s->c, s->all[0]), mcs_leaf(s->c, s->all[1]) };
    mcs_tensor *loss;
    *value = 0;
    if (official && o.learn_scale && mcs_comm_rank(o.comm)) { /* rank 0 has its whole gradient */
        o.learn_scale = false;
        o.loss.temperature = 1 / mcs_biomedclip_scale(s->m);
    }
    if (!official && !s->b->size)
        return MCS_OK;
    loss = official ? mcs_clip_loss(s->c, s->m, leaf[0], leaf[1], s->b->negatives, &o)
                    : share_of_loss(s, leaf[0], leaf[1]);
    if (!loss || mcs_backward(s->c, loss, NULL) != MCS_OK)
        return mcs_ctx_status(s->c);
    *value = official && mcs_comm_rank(o.comm) ? 0 : (double)mcs_f32(loss)[0];
    for (int i = 0; i < 2; i++)
        s->grads[i] = mcs_grad(s->c, leaf[i]);
    return mcs_ctx_status(s->c);
}

/* ---- Back to each rank's own rows ---- */

static mcs_status sum_over_ranks(spread *s, mcs_error *e)
{
    mcs_status status = MCS_OK;
    if (s->o->loss.kind == MCS_LOSS_DHN_NCE_OFFICIAL)
        return MCS_OK;
    for (int i = 0; i < 2 && !status; i++)
        status = mcs_comm_sum(s->o->comm, mcs_f32(s->grads[i]), mcs_numel(s->grads[i]), e);
    return status;
}

static void take_rows(const spread *s, const mcs_clip_share *share)
{
    for (int k = -1; k < s->b->captions && s->b->size; k++) {
        int64_t set = k > 0 ? k : 0;
        memcpy(share->grads[k >= 0] + set * s->b->size * s->width,
               mcs_f32(s->grads[k >= 0]) + (set * s->total + s->first) * s->width,
               (size_t)(s->b->size * s->width) * sizeof(float));
    }
}

static mcs_status couple(spread *s, const mcs_clip_share *share, double *value)
{
    mcs_error e = { MCS_OK, "" };
    mcs_status status = gather(s, share);
    if (status)
        return status;
    differentiate(s, value);
    for (int i = 0; i < 2; i++) /* none: a rank without pairs adds nothing */
        s->grads[i] = s->grads[i] ? s->grads[i]
                                  : mcs_zeros(s->c, 2, MCS_SHAPE(s->all[i]->shape[0], s->width));
    status = mcs_clip_agree(s->c, s->o->comm);
    if (status)
        return status;
    if (mcs_comm_sum_double(s->o->comm, value, &e) != MCS_OK || sum_over_ranks(s, &e) != MCS_OK)
        mcs_fail(s->c, e.status, "%s", e.message);
    else if (!isfinite(*value)) /* the same on all */
        mcs_fail(s->c, MCS_ENUMERIC, "the loss is %g at step %llu", *value,
                 (unsigned long long)s->o->step);
    else
        take_rows(s, share);
    return mcs_ctx_status(s->c);
}

mcs_status mcs_clip_couple_ranks(mcs_ctx *c, const mcs_biomedclip *m, const mcs_clip_batch *b,
                                 const mcs_clip_step_opts *o, const mcs_clip_share *share,
                                 double *value)
{
    spread s = { .c = c, .m = m, .b = b, .o = o, .width = mcs_biomedclip_get_config(m)->embed };
    mcs_status status = count_pairs(&s);
    mcs_set_grad(c, true);
    if (!status)
        status = couple(&s, share, value);
    free(s.sizes);
    free(s.bytes);
    return status;
}
