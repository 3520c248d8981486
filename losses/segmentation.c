/* segmentation.c - pixel losses on logits: binary cross-entropy, soft Dice, focal, cross-entropy.
 *
 * Each forward leaves d(loss)/d(logit) for the backward, which scales and adds it: the logits
 * are read once.  Sums run in fixed blocks in double.  Targets are constants. */
#include <math.h>
#include "losses/losses.h"
#include "tensor/op.h"

enum { BLOCK = 16384 };

static void scaled_backward(mcs_ctx *c, mcs_node *n)
{
    const float *g = n->saved;
    float *dx = mcs_grad_buf(c, n->in[0]);
    for (int64_t i = 0, count = dx ? mcs_numel(n->in[0]) : 0; i < count; i++)
        dx[i] += n->grad[0] * g[i];
}

static const mcs_op op_bce = { "bce_loss", scaled_backward };
static const mcs_op op_dice = { "dice_loss", scaled_backward };
static const mcs_op op_focal = { "focal_loss", scaled_backward };
static const mcs_op op_cross_entropy = { "cross_entropy", scaled_backward };

static bool check(mcs_ctx *c, const char *op, const mcs_tensor *x, const mcs_tensor *t)
{
    if (!mcs_ok_dim(c, op, x, -1) || !mcs_ok(c, op, t))
        return false;
    if (mcs_same_shape(x, t) && mcs_numel(x) > 0)
        return true;
    char a[120], b[120];
    mcs_fail(c, MCS_ESHAPE, "%s: logits have shape %s, targets %s; equal and not empty is needed",
             op, mcs_shape_str(x, a, sizeof a), mcs_shape_str(t, b, sizeof b));
    return false;
}

typedef struct {
    const float *x, *t;
    float *g;                   /* d(loss)/d(logit) */
    double *sum;                /* one per block */
    double count, alpha, gamma;
} pixel_args;

/* log(1 + e^-|x|) + max(x,0) - x t: stable for any x. */
static double bce(double x, double t) { return fmax(x, 0) - x * t + log1p(exp(-fabs(x))); }
static double sigmoid(double x) { return x >= 0 ? 1 / (1 + exp(-x)) : exp(x) / (1 + exp(x)); }

static void bce_range(void *arg, int64_t begin, int64_t end)
{
    const pixel_args *a = arg;
    double sum = 0;
    for (int64_t i = begin; i < end; i++) {
        sum += bce((double)a->x[i], (double)a->t[i]);
        a->g[i] = (float)((sigmoid((double)a->x[i]) - (double)a->t[i]) / a->count);
    }
    a->sum[begin / BLOCK] = sum;
}

/* With ce = bce, p_t = p t + (1-p)(1-t), m = 1 - p_t:
 *   d(m^gamma ce)/dx = m^gamma (p - t) - gamma m^(gamma-1) ce p (1-p) (2t - 1) */
static void focal_range(void *arg, int64_t begin, int64_t end)
{
    const pixel_args *a = arg;
    double sum = 0;
    for (int64_t i = begin; i < end; i++) {
        double x = (double)a->x[i], t = (double)a->t[i], p = sigmoid(x), ce = bce(x, t);
        double m = 1 - (p * t + (1 - p) * (1 - t));
        double w = a->alpha >= 0 ? a->alpha * t + (1 - a->alpha) * (1 - t) : 1;
        double mg = pow(m, a->gamma), slope = m > 0 ? a->gamma * pow(m, a->gamma - 1) : 0;
        sum += w * mg * ce;
        a->g[i] = (float)(w * (mg * (p - t) - slope * ce * p * (1 - p) * (2 * t - 1)) / a->count);
    }
    a->sum[begin / BLOCK] = sum;
}

static mcs_tensor *pixel_loss(mcs_ctx *c, const mcs_op *op, mcs_body *body, const mcs_tensor *x,
                              const mcs_tensor *t, double alpha, double gamma)
{
    if (!check(c, op->name, x, t))
        return NULL;
    int64_t n = mcs_numel(x), blocks = mcs_range_count(n, BLOCK);
    mcs_tensor *loss = mcs_scalar(c, 0);
    float *g = mcs_alloc(c, (size_t)n * sizeof *g);
    double *sum = mcs_alloc(c, (size_t)blocks * sizeof *sum), total = 0;
    if (!loss || !g || !sum)
        return NULL;
    pixel_args a = { mcs_f32(x), mcs_f32(t), g, sum, (double)n, alpha, gamma };
    mcs_parallel_for(c, n, BLOCK, body, &a);
    for (int64_t i = 0; i < blocks; i++)
        total += sum[i];
    mcs_f32(loss)[0] = (float)(total / (double)n);
    return mcs_record(c, op, loss, g, MCS_INPUTS(x));
}

mcs_tensor *mcs_bce_loss(mcs_ctx *c, const mcs_tensor *logits, const mcs_tensor *target)
{
    return pixel_loss(c, &op_bce, bce_range, logits, target, -1, 0);
}

mcs_tensor *mcs_focal_loss(mcs_ctx *c, const mcs_tensor *logits, const mcs_tensor *target,
                           float alpha, float gamma)
{
    if (!(gamma >= 0) || alpha > 1)
        return mcs_fail(c, MCS_EINVAL, "focal_loss: gamma must be >= 0 and alpha <= 1");
    return pixel_loss(c, &op_focal, focal_range, logits, target, (double)alpha, (double)gamma);
}

typedef struct {
    const float *x, *t;
    float *g;
    double *loss, smooth;       /* loss: one per sample */
    int64_t per_sample, samples;
} dice_args;

/* With I = sum p t, S = sum p + sum t:  d/dp (1 - (2I+s)/(S+s)) = ((2I+s)/(S+s) - 2t) / (S+s) */
static void dice_range(void *arg, int64_t begin, int64_t end)
{
    const dice_args *a = arg;
    for (int64_t s = begin; s < end; s++) {
        const float *x = a->x + s * a->per_sample, *t = a->t + s * a->per_sample;
        float *g = a->g + s * a->per_sample;
        double both = 0, sum = 0;
        for (int64_t i = 0; i < a->per_sample; i++) {
            double p = sigmoid((double)x[i]);
            both += p * (double)t[i];
            sum += p + (double)t[i];
        }
        double ratio = (2 * both + a->smooth) / (sum + a->smooth);
        a->loss[s] = 1 - ratio;
        for (int64_t i = 0; i < a->per_sample; i++) {
            double p = sigmoid((double)x[i]);
            g[i] = (float)((ratio - 2 * (double)t[i]) / (sum + a->smooth) * p * (1 - p) /
                           (double)a->samples);
        }
    }
}

mcs_tensor *mcs_dice_loss(mcs_ctx *c, const mcs_tensor *logits, const mcs_tensor *target,
                          float smooth)
{
    if (!check(c, "dice_loss", logits, target))
        return NULL;
    if (!(smooth > 0))
        return mcs_fail(c, MCS_EINVAL, "dice_loss: smooth must be > 0 (got %g): an empty mask "
                                       "would divide by zero", (double)smooth);
    int64_t n = mcs_numel(logits), samples = logits->shape[0];
    mcs_tensor *loss = mcs_scalar(c, 0);
    float *g = mcs_alloc(c, (size_t)n * sizeof *g);
    double *per = mcs_alloc(c, (size_t)samples * sizeof *per), total = 0;
    if (!loss || !g || !per)
        return NULL;
    dice_args a = { mcs_f32(logits), mcs_f32(target), g, per, (double)smooth, n / samples, samples };
    mcs_parallel_for(c, samples, 1, dice_range, &a);
    for (int64_t i = 0; i < samples; i++)
        total += per[i];
    mcs_f32(loss)[0] = (float)(total / (double)samples);
    return mcs_record(c, &op_dice, loss, g, MCS_INPUTS(logits));
}

typedef struct {
    const float *x;             /* (N,K,P) */
    const int64_t *labels;      /* (N,P) */
    float *g;
    double *sum;
    int64_t classes, pixels, count;
} entropy_args;

static void entropy_range(void *arg, int64_t begin, int64_t end)
{
    const entropy_args *a = arg;
    double total = 0;
    for (int64_t i = begin; i < end; i++) {
        int64_t at = i / a->pixels * a->classes * a->pixels + i % a->pixels;
        double top = -HUGE_VAL, sum = 0;
        for (int64_t k = 0; k < a->classes; k++)
            top = fmax(top, (double)a->x[at + k * a->pixels]);
        for (int64_t k = 0; k < a->classes; k++)
            sum += exp((double)a->x[at + k * a->pixels] - top);
        for (int64_t k = 0; k < a->classes; k++) {
            double p = exp((double)a->x[at + k * a->pixels] - top) / sum;
            a->g[at + k * a->pixels] = (float)((p - (k == a->labels[i])) / (double)a->count);
        }
        total += top + log(sum) - (double)a->x[at + a->labels[i] * a->pixels];
    }
    a->sum[begin / BLOCK] = total;
}

static bool check_labels(mcs_ctx *c, const mcs_tensor *x, const mcs_tensor *labels)
{
    if (!mcs_ok_dim(c, "cross_entropy", x, -2) || !labels)
        return false;
    int64_t n = mcs_numel(x) / (x->shape[1] ? x->shape[1] : 1);
    if (labels->dtype != MCS_I64 || mcs_numel(labels) != n || n == 0) {
        mcs_fail(c, MCS_ESHAPE, "cross_entropy: int64 labels of %lld pixels are needed, got %lld",
                 (long long)n, (long long)mcs_numel(labels));
        return false;
    }
    for (int64_t i = 0; i < n; i++)
        if (mcs_i64(labels)[i] < 0 || mcs_i64(labels)[i] >= x->shape[1]) {
            mcs_fail(c, MCS_EINVAL, "cross_entropy: label %lld, classes are 0..%lld",
                     (long long)mcs_i64(labels)[i], (long long)x->shape[1] - 1);
            return false;
        }
    return true;
}

mcs_tensor *mcs_cross_entropy(mcs_ctx *c, const mcs_tensor *logits, const mcs_tensor *labels)
{
    if (!check_labels(c, logits, labels))
        return NULL;
    int64_t n = mcs_numel(labels), blocks = mcs_range_count(n, BLOCK);
    mcs_tensor *loss = mcs_scalar(c, 0);
    float *g = mcs_alloc(c, (size_t)mcs_numel(logits) * sizeof *g);
    double *sum = mcs_alloc(c, (size_t)blocks * sizeof *sum), total = 0;
    if (!loss || !g || !sum)
        return NULL;
    entropy_args a = { mcs_f32(logits), mcs_i64(labels), g, sum, logits->shape[1],
                       n / logits->shape[0], n };
    mcs_parallel_for(c, n, BLOCK, entropy_range, &a);
    for (int64_t i = 0; i < blocks; i++)
        total += sum[i];
    mcs_f32(loss)[0] = (float)(total / (double)n);
    return mcs_record(c, &op_cross_entropy, loss, g, MCS_INPUTS(logits));
}
