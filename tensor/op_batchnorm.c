/* op_batchnorm.c - F.batch_norm, x (N,C,...) (Ioffe & Szegedy 2015).
 *
 *   h = (x - mean[c]) r[c], r = 1 / sqrt(var + eps), y = h w + b
 *   training: mean and (biased) variance of the batch; running = (1 - m) running + m batch, with
 *             the unbiased variance.  dx = w r (dy - mean(dy) - h mean(dy h))
 *   else:     the running ones, constants.  dx = w r dy
 *   dw = sum dy h, db = sum dy
 *
 * A channel belongs to one range, so its sums have one order. */
#include <math.h>
#include "tensor/planes_internal.h"

enum { IN_X, IN_WEIGHT, IN_BIAS };

typedef struct {
    mcs_planes p;
    float *mean, *r; /* (C) */
    float *running_mean, *running_var;
    float momentum, eps;
    bool training;
} batch_args;

static void batch_statistics(const batch_args *a, int64_t c)
{
    const mcs_planes *p = &a->p;
    double mean, var, n = (double)(p->images * p->area);
    mcs_planes_moments(p, c, p->channels, p->images, &mean, &var);
    a->mean[c] = (float)mean;
    a->r[c] = 1.0f / sqrtf((float)var + a->eps);
    float unbiased = (float)(var * n / (n - 1.0));
    a->running_mean[c] = (1.0f - a->momentum) * a->running_mean[c] + a->momentum * (float)mean;
    a->running_var[c] = (1.0f - a->momentum) * a->running_var[c] + a->momentum * unbiased;
}

/* Items are channels. */
static void batch_range(void *arg, int64_t begin, int64_t end)
{
    const batch_args *a = arg;
    for (int64_t c = begin; c < end; c++) {
        if (a->training) {
            batch_statistics(a, c);
        } else {
            a->mean[c] = a->running_mean[c];
            a->r[c] = 1.0f / sqrtf(a->running_var[c] + a->eps);
        }
        for (int64_t i = 0; i < a->p.images; i++)
            mcs_plane_apply(&a->p, i * a->p.channels + c, a->mean[c], a->r[c]);
    }
}

static void batch_grad_range(void *arg, int64_t begin, int64_t end)
{
    const batch_args *a = arg;
    const mcs_planes *p = &a->p;
    float n = (float)(p->images * p->area);
    for (int64_t c = begin; c < end; c++) {
        double dy_sum, dyh_sum;
        mcs_planes_sums(p, c, p->channels, p->images, a->mean[c], a->r[c], &dy_sum, &dyh_sum);
        if (p->dw)
            p->dw[c] += (float)dyh_sum;
        if (p->db)
            p->db[c] += (float)dy_sum;
        float dy_mean = a->training ? (float)dy_sum / n : 0.0f;
        float dyh_mean = a->training ? (float)dyh_sum / n : 0.0f;
        for (int64_t i = 0; p->out && i < p->images; i++)
            mcs_plane_grad(p, i * p->channels + c, a->mean[c], a->r[c], dy_mean, dyh_mean);
    }
}

static void run(mcs_ctx *c, mcs_body *f, batch_args *a)
{
    if (a->p.images * a->p.area > 0)
        mcs_parallel_for(c, a->p.channels, mcs_grain(4 * a->p.images * a->p.area), f, a);
}

static void batch_norm_backward(mcs_ctx *c, mcs_node *n)
{
    batch_args a = *(batch_args *)n->saved;
    a.p.dy = n->grad;
    a.p.out = mcs_grad_buf(c, n->in[IN_X]);
    a.p.dw = mcs_grad_buf(c, n->in[IN_WEIGHT]);
    a.p.db = mcs_grad_buf(c, n->in[IN_BIAS]);
    if (mcs_ctx_status(c) == MCS_OK)
        run(c, batch_grad_range, &a);
}

static const mcs_op op_batch_norm = { "batch_norm", batch_norm_backward };

mcs_tensor *mcs_batch_norm(mcs_ctx *c, const mcs_tensor *x, const mcs_tensor *weight,
                           const mcs_tensor *bias, mcs_tensor *running_mean,
                           mcs_tensor *running_var, float momentum, float eps)
{
    if (!running_mean || !running_var ||
        !mcs_planes_ok(c, "batch_norm", x, MCS_INPUTS(weight, bias, running_mean, running_var)))
        return NULL;
    batch_args *a = mcs_alloc(c, sizeof *a);
    float *stats = mcs_alloc(c, 2 * (size_t)x->shape[1] * sizeof *stats);
    mcs_tensor *y = mcs_new_like(c, x);
    if (!a || !stats || !y)
        return NULL;
    *a = (batch_args){ .p = mcs_planes_of(x, weight, bias),
                       .mean = stats,
                       .r = stats + x->shape[1],
                       .running_mean = mcs_f32(running_mean),
                       .running_var = mcs_f32(running_var),
                       .momentum = momentum,
                       .eps = eps,
                       .training = mcs_ctx_training(c) };
    if (a->training && a->p.images * a->p.area == 1)
        return mcs_fail(c, MCS_ESHAPE,
                        "batch_norm: training needs more than one value per "
                        "channel; use a larger batch");
    a->p.out = mcs_f32(y);
    run(c, batch_range, a);
    return mcs_record(c, &op_batch_norm, y, a, MCS_INPUTS(x, weight, bias));
}
