/* sam_train.c - the loss over prompts and the step over pictures.
 *
 * With N prompts in the batch and n_k of them on picture k, every term of the loss is a mean over
 * prompts (or over their pixels, of which each prompt has equally many), so
 *   L = sum_k (n_k / N) L_k,   dL/dw = sum_k (n_k / N) dL_k/dw,
 * and each picture is worked off with a tape of its own, seeded with n_k / N.
 *
 * Dice with squares has the gradient of its parts: with I = sum p t, S = sum p^2 + sum t^2,
 *   D = 1 - (2 I + s) / (S + s). */
#include <math.h>
#include <string.h>
#include "losses/losses.h"
#include "models/sam_train.h"

/* ---- The loss ---- */

mcs_sam_loss mcs_sam_loss_defaults(void)
{
    return (mcs_sam_loss){ .dice = 1, .bce = 1, .squared = true, .smooth = 1e-5f };
}

/* Sum over everything but the first dimension: (n,...) -> (n). */
static mcs_tensor *row_sums(mcs_ctx *c, const mcs_tensor *x)
{
    return mcs_sum_dim(c, mcs_reshape(c, x, 2, MCS_SHAPE(mcs_dim(x, 0), -1)), 1, false);
}

static mcs_tensor *dice_squared(mcs_ctx *c, const mcs_tensor *x, const mcs_tensor *t, float s)
{
    mcs_tensor *p = mcs_sigmoid(c, x);
    mcs_tensor *both = row_sums(c, mcs_mul(c, p, t));
    mcs_tensor *sum = mcs_add(c, row_sums(c, mcs_square(c, p)), row_sums(c, mcs_square(c, t)));
    mcs_tensor *ratio = mcs_div(c, mcs_affine(c, both, 2, s), mcs_affine(c, sum, 1, s));
    return mcs_affine(c, mcs_mean(c, ratio), -1, 1);
}

/* IoU of x > 0 and t >= 0.5 for every row; 1 if both are empty. */
static void row_ious(const mcs_tensor *x, const mcs_tensor *t, float *out)
{
    int64_t rows = x->shape[0], n = mcs_numel(x) / rows;
    for (int64_t k = 0; k < rows; k++) {
        int64_t both = 0, any = 0;
        for (int64_t i = k * n; i < (k + 1) * n; i++) {
            bool a = mcs_f32(x)[i] > 0, b = mcs_f32(t)[i] >= 0.5f;
            both += a && b;
            any += a || b;
        }
        out[k] = any ? (float)both / (float)any : 1;
    }
}

static mcs_tensor *iou_error(mcs_ctx *c, mcs_sam_masks out, const mcs_tensor *t)
{
    mcs_tensor *truth = mcs_new_like(c, out.iou);
    if (!truth)
        return NULL;
    row_ious(out.logits, t, mcs_f32(truth));
    return mcs_mean(c, mcs_square(c, mcs_sub(c, out.iou, truth)));
}

static bool same_shape(const mcs_tensor *a, const mcs_tensor *b)
{
    return a->ndim == b->ndim &&
           memcmp(a->shape, b->shape, (size_t)a->ndim * sizeof *a->shape) == 0;
}

static bool loss_ok(mcs_ctx *c, mcs_sam_masks out, const mcs_tensor *t, const mcs_sam_loss *o)
{
    const float w[] = { o->dice, o->bce, o->focal, o->iou };
    char a[96], b[96];
    float sum = 0;
    if (mcs_ctx_status(c) != MCS_OK || !out.logits || !out.iou || !t)
        return false;
    for (int i = 0; i < 4; i++) {
        if (!(w[i] >= 0) || !isfinite(w[i]))
            mcs_fail(c, MCS_EINVAL, "sam loss: a weight is %g, expected 0 or more", (double)w[i]);
        sum += w[i];
    }
    if (!(sum > 0))
        mcs_fail(c, MCS_EINVAL, "sam loss: all its terms have weight 0");
    if (t->dtype != MCS_F32 || t->ndim != 4 || t->shape[1] != 1 || !same_shape(out.logits, t) ||
        mcs_numel(t) < 1 || mcs_numel(out.iou) != t->shape[0])
        mcs_fail(c, MCS_ESHAPE,
                 "sam loss: target is %s, logits are %s, expected float (n, 1, h, w)",
                 mcs_shape_str(t, a, sizeof a), mcs_shape_str(out.logits, b, sizeof b));
    return mcs_ctx_status(c) == MCS_OK;
}

static mcs_tensor *add_term(mcs_ctx *c, mcs_tensor *sum, float weight, mcs_tensor *term)
{
    mcs_tensor *part = mcs_affine(c, term, weight, 0);
    return sum ? mcs_add(c, sum, part) : part;
}

mcs_tensor *mcs_sam_train_loss(mcs_ctx *c, mcs_sam_masks out, const mcs_tensor *target,
                               const mcs_sam_loss *o)
{
    const mcs_tensor *x = out.logits, *t = target;
    mcs_tensor *sum = NULL;
    if (!loss_ok(c, out, t, o))
        return NULL;
    if (o->dice > 0)
        sum = add_term(c, sum, o->dice,
                       o->squared ? dice_squared(c, x, t, o->smooth)
                                  : mcs_dice_loss(c, x, t, o->smooth));
    if (o->bce > 0)
        sum = add_term(c, sum, o->bce, mcs_bce_loss(c, x, t));
    if (o->focal > 0)
        sum = add_term(c, sum, o->focal, mcs_focal_loss(c, x, t, 0.25f, 2));
    if (o->iou > 0)
        sum = add_term(c, sum, o->iou, iou_error(c, out, t));
    return mcs_ctx_status(c) == MCS_OK ? sum : NULL;
}

/* ---- One step ---- */

static mcs_status failure(mcs_ctx *c, int64_t i)
{
    if (mcs_ctx_status(c) == MCS_OK)
        mcs_fail(c, MCS_EINVAL, "training step: picture %lld was not supplied", (long long)i);
    return mcs_ctx_status(c);
}

static const mcs_tensor *embedding_of(mcs_ctx *c, const mcs_sam *m, const mcs_sam_example *x)
{
    if (x->embedding)
        return x->embedding;
    bool grad = mcs_set_grad(c, mcs_grad_enabled(c) && mcs_sam_encoder_trained(m));
    const mcs_tensor *y = mcs_sam_encode(c, m, x->image);
    mcs_set_grad(c, grad);
    return y;
}

static mcs_status one_picture(mcs_ctx *c, const mcs_sam *m, const mcs_sam_batch *b,
                              const mcs_sam_loss *o, int64_t i, mcs_sam_result *sum, int64_t *done)
{
    mcs_sam_example x = { 0 };
    mcs_ctx_reset(c);
    if (b->supply(c, b->arg, i, &x) != MCS_OK || mcs_ctx_status(c) != MCS_OK ||
        (!x.image && !x.embedding) || x.count < 1 || !x.boxes || !x.target)
        return failure(c, i);
    *done += x.count;
    mcs_sam_masks y =
        mcs_sam_decode(c, m, embedding_of(c, m, &x),
                       &(mcs_sam_prompts){ .count = x.count, .boxes = x.boxes }, false);
    mcs_tensor *loss = mcs_sam_train_loss(c, y, x.target, o);
    if (!loss)
        return failure(c, i);
    double value = (double)mcs_f32(loss)[0], share = (double)x.count / (double)b->prompts;
    if (!isfinite(value)) {
        mcs_fail(c, MCS_ENUMERIC, "the loss of picture %lld of the batch is %g", (long long)i,
                 value);
        return MCS_ENUMERIC;
    }
    const mcs_tensor *iou = mcs_new_like(c, y.iou);
    if (!iou)
        return failure(c, i);
    row_ious(y.logits, x.target, mcs_f32(iou));
    for (int k = 0; k < x.count; k++)
        sum->iou += (double)mcs_f32(iou)[k] / (double)b->prompts;
    sum->loss += share * value;
    return loss->node ? mcs_backward_free(c, loss, mcs_scalar(c, (float)share)) : MCS_OK;
}

mcs_status mcs_sam_step(mcs_ctx *c, const mcs_sam *m, const mcs_sam_batch *b, const mcs_sam_loss *o,
                        mcs_sam_result *result)
{
    mcs_sam_result sum = { 0, 0 };
    int64_t done = 0;
    mcs_status s = MCS_OK;
    mcs_ctx_reset(c);
    if (!m || !b->supply || b->size < 1 || b->prompts < 1) {
        mcs_fail(c, MCS_EINVAL, "training step: %lld pictures with %lld prompts%s",
                 (long long)b->size, (long long)b->prompts, m ? "" : ", no model");
        return MCS_EINVAL;
    }
    bool training = mcs_set_training(c, false);
    for (int64_t i = 0; i < b->size && s == MCS_OK; i++)
        s = one_picture(c, m, b, o, i, &sum, &done);
    mcs_set_training(c, training);
    if (s == MCS_OK && done != b->prompts) {
        mcs_fail(c, MCS_EINVAL, "training step: %lld prompts were announced, %lld supplied",
                 (long long)b->prompts, (long long)done);
        s = MCS_EINVAL;
    }
    if (result)
        *result = s == MCS_OK ? sum : (mcs_sam_result){ (double)NAN, (double)NAN };
    return s;
}

/* ---- Which weights ---- */

mcs_status mcs_sam_train_only(mcs_sam *m, mcs_sam_part part, mcs_error *e)
{
    mcs_params *p = mcs_sam_params(m);
    bool all = part == MCS_SAM_TRAIN_ALL;
    mcs_status s = mcs_params_train(p, "", all);
    if (s == MCS_OK && !all)
        s = mcs_params_train(p, "mask_decoder.", true);
    return s == MCS_OK ? s : mcs_error_set(e, s, "%s", mcs_params_message(p));
}

bool mcs_sam_encoder_trained(const mcs_sam *m)
{
    const mcs_params *p = mcs_sam_params(m);
    for (int64_t i = 0; i < mcs_params_count(p); i++) {
        mcs_param_entry w = mcs_params_at(p, i);
        if (w.tensor->node && strncmp(w.name, "image_encoder.", 14) == 0)
            return true;
    }
    return false;
}
