/* unet_train.c - Dice and cross-entropy of a UNet's logits, for two classes or several.
 *
 * All terms are means over pictures, so the gradient of a batch is the weighted sum of those of its
 * parts.  The Dice of K classes is put together from operations:
 *   p = softmax over the last of (B, P, K); I = sum_P p t, S = sum_P p + sum_P t;
 *   1 - mean over B and k >= 1 of (2 I + s) / (S + s). */
#include "models/unet_train.h"
#include <math.h>
#include <stdlib.h>
#include "losses/losses.h"

mcs_unet_loss mcs_unet_loss_defaults(void)
{
    return (mcs_unet_loss){ .dice = 1, .bce = 1, .smooth = 1 };
}

static bool check_options(mcs_ctx *c, const mcs_tensor *logits, const mcs_unet_loss *o)
{
    const float w[] = { o->dice, o->bce, o->focal };
    float sum = 0;
    for (int i = 0; i < 3; i++) {
        if (!(w[i] >= 0) || !isfinite(w[i])) {
            mcs_fail(c, MCS_EINVAL, "unet loss: weights must be finite and >= 0, got %g",
                     (double)w[i]);
            return false;
        }
        sum += w[i];
    }
    if (sum > 0 && (o->focal <= 0 || logits->shape[1] == 1))
        return true;
    mcs_fail(c, MCS_EINVAL, "unet loss: %s",
             sum > 0 ? "there is no focal loss of several classes" : "all weights are 0");
    return false;
}

static bool check_labels(mcs_ctx *c, const mcs_tensor *x, const mcs_tensor *labels)
{
    char a[120], b[120];
    int64_t most = x->ndim == 4 && x->shape[1] > 1 ? x->shape[1] : 2;
    if (x->ndim != 4 || labels->ndim != 3 || labels->dtype != MCS_U8 ||
        labels->shape[0] != x->shape[0] || labels->shape[1] != x->shape[2] ||
        labels->shape[2] != x->shape[3] || mcs_numel(x) == 0) {
        mcs_fail(c, MCS_ESHAPE,
                 "unet loss: logits have shape %s, labels %s; (B,K,H,W) and uint8 "
                 "(B,H,W) are needed",
                 mcs_shape_str(x, a, sizeof a), mcs_shape_str(labels, b, sizeof b));
        return false;
    }
    for (int64_t i = 0; i < mcs_numel(labels); i++)
        if (mcs_u8(labels)[i] >= most) {
            mcs_fail(c, MCS_EINVAL, "unet loss: label %d, classes are 0..%lld", mcs_u8(labels)[i],
                     (long long)most - 1);
            return false;
        }
    return true;
}

/* ---- Terms ---- */

static mcs_tensor *add_term(mcs_ctx *c, mcs_tensor *sum, mcs_tensor *term, float weight)
{
    mcs_tensor *scaled = weight == 1 ? term : mcs_affine(c, term, weight, 0);
    return sum ? mcs_add(c, sum, scaled) : scaled;
}

static mcs_tensor *binary_loss(mcs_ctx *c, const mcs_tensor *x, const mcs_tensor *labels,
                               const mcs_unet_loss *o)
{
    mcs_tensor *t = mcs_new_like(c, x), *sum = NULL;
    for (int64_t i = 0; t && i < mcs_numel(t); i++)
        mcs_f32(t)[i] = mcs_u8(labels)[i] ? 1 : 0;
    if (o->dice > 0)
        sum = add_term(c, sum, mcs_dice_loss(c, x, t, o->smooth), o->dice);
    if (o->bce > 0)
        sum = add_term(c, sum, mcs_bce_loss(c, x, t), o->bce);
    if (o->focal > 0)
        sum = add_term(c, sum, mcs_focal_loss(c, x, t, 0.25f, 2), o->focal);
    return sum;
}

/* 1 where the pixel has the label k + 1: (B, P, K - 1). */
static mcs_tensor *one_hot(mcs_ctx *c, const mcs_tensor *labels, int64_t b, int64_t p, int64_t k)
{
    mcs_tensor *t = mcs_zeros(c, 3, MCS_SHAPE(b, p, k - 1));
    for (int64_t i = 0; t && i < b * p; i++)
        if (mcs_u8(labels)[i])
            mcs_f32(t)[i * (k - 1) + mcs_u8(labels)[i] - 1] = 1;
    return t;
}

static mcs_tensor *classes_dice(mcs_ctx *c, const mcs_tensor *x, const mcs_tensor *labels,
                                float smooth)
{
    int64_t b = x->shape[0], k = x->shape[1], p = x->shape[2] * x->shape[3];
    const mcs_tensor *rows =
        mcs_transpose(c, mcs_reshape(c, x, 3, MCS_SHAPE(b, k, p)), 1, 2); /* (B,P,K) */
    const mcs_tensor *prob = mcs_slice(c, mcs_softmax(c, rows), 2, 1, k);
    const mcs_tensor *t = one_hot(c, labels, b, p, k);
    const mcs_tensor *both = mcs_sum_dim(c, mcs_mul(c, prob, t), 1, false);
    const mcs_tensor *all = mcs_add(c, mcs_sum_dim(c, prob, 1, false), mcs_sum_dim(c, t, 1, false));
    const mcs_tensor *ratio =
        mcs_div(c, mcs_affine(c, both, 2, smooth), mcs_affine(c, all, 1, smooth));
    return mcs_affine(c, mcs_mean(c, ratio), -1, 1);
}

static mcs_tensor *classes_loss(mcs_ctx *c, const mcs_tensor *x, const mcs_tensor *labels,
                                const mcs_unet_loss *o)
{
    mcs_tensor *ids = mcs_new_typed(c, MCS_I64, 3, labels->shape), *sum = NULL;
    for (int64_t i = 0; ids && i < mcs_numel(ids); i++)
        mcs_i64(ids)[i] = mcs_u8(labels)[i];
    if (o->dice > 0)
        sum = add_term(c, sum, classes_dice(c, x, labels, o->smooth), o->dice);
    if (o->bce > 0)
        sum = add_term(c, sum, mcs_cross_entropy(c, x, ids), o->bce);
    return sum;
}

static mcs_tensor *plain_loss(mcs_ctx *c, const mcs_tensor *x, const mcs_tensor *labels,
                              const mcs_unet_loss *o)
{
    if (!x || !labels)
        return NULL;
    return x->shape[1] == 1 ? binary_loss(c, x, labels, o) : classes_loss(c, x, labels, o);
}

mcs_tensor *mcs_unet_train_loss(mcs_ctx *c, const mcs_tensor *logits, const mcs_tensor *labels,
                                const float *weight, const mcs_unet_loss *o)
{
    if (!logits || !labels || !check_labels(c, logits, labels) || !check_options(c, logits, o))
        return NULL;
    double total = 0;
    bool equal = true;
    int64_t n = logits->shape[0];
    for (int64_t i = 0; weight && i < n; i++) {
        if (!(weight[i] >= 0) || !isfinite(weight[i]))
            return mcs_fail(c, MCS_EINVAL, "unet loss: weight %g of a picture; >= 0 is needed",
                            (double)weight[i]);
        equal = equal && weight[i] == weight[0];
        total += (double)weight[i];
    }
    if (weight && !(total > 0))
        return mcs_fail(c, MCS_EINVAL, "unet loss: all pictures have weight 0");
    if (!weight || equal)
        return plain_loss(c, logits, labels, o);
    mcs_tensor *sum = NULL;
    for (int64_t i = 0; i < n; i++)
        if (weight[i] > 0)
            sum = add_term(
                c, sum,
                plain_loss(c, mcs_rows(c, logits, i, i + 1), mcs_rows(c, labels, i, i + 1), o),
                (float)((double)weight[i] / total));
    return sum;
}

/* ---- One step ---- */

static double weight_of(const mcs_unet_batch *b, int64_t first, int64_t count)
{
    double sum = 0;
    for (int64_t i = first; i < first + count; i++)
        sum += b->weight ? (double)b->weight[i] : 1;
    return sum;
}

static mcs_status one_part(mcs_ctx *c, const mcs_unet *m, const mcs_unet_batch *b, int64_t first,
                           int64_t count, double share, const mcs_unet_loss *o, double *loss)
{
    const mcs_tensor *images = NULL, *labels = NULL;
    mcs_ctx_reset(c);
    mcs_status s = b->supply(c, b->arg, first, count, &images, &labels);
    if (s != MCS_OK)
        return s;
    const mcs_tensor *y = mcs_unet_train_loss(c, mcs_unet_forward(c, m, images), labels,
                                              b->weight ? b->weight + first : NULL, o);
    if (!y)
        return mcs_ctx_status(c);
    if (!isfinite(mcs_f32(y)[0])) {
        mcs_fail(c, MCS_ENUMERIC, "the loss is %g", (double)mcs_f32(y)[0]);
        return MCS_ENUMERIC;
    }
    *loss += share * (double)mcs_f32(y)[0];
    if (!mcs_grad_enabled(c))
        return MCS_OK;
    return mcs_backward_free(c, mcs_affine(c, y, (float)share, 0), NULL);
}

mcs_status mcs_unet_step(mcs_ctx *c, const mcs_unet *m, const mcs_unet_batch *b,
                         const mcs_unet_loss *o, double *loss)
{
    double total = weight_of(b, 0, b->size);
    *loss = 0;
    if (b->size < 1 || b->micro < 1 || !(total > 0)) {
        mcs_fail(c, MCS_EINVAL, "unet step: %lld pictures, %lld at a time, weights add up to %g",
                 (long long)b->size, (long long)b->micro, total);
        return mcs_ctx_status(c);
    }
    for (int64_t i = 0; i < b->size; i += b->micro) {
        int64_t n = b->size - i < b->micro ? b->size - i : b->micro;
        double part = weight_of(b, i, n);
        if (!(part > 0))
            continue;
        mcs_status s = one_part(c, m, b, i, n, part / total, o, loss);
        if (s != MCS_OK)
            return s;
    }
    return MCS_OK;
}
