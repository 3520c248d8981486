/* op_instancenorm.c - F.instance_norm without running statistics (Ulyanov et al. 2016).
 *   h = (x - mean) r over each plane (n, c), r = 1 / sqrt(var + eps), y = h w[c] + b[c]
 *   dx = w r (dy - mean(dy) - h mean(dy h));  dw = sum dy h;  db = sum dy
 * Statistics are kept per plane; a channel belongs to one range in backward. */
#include <math.h>
#include "tensor/planes_internal.h"

enum { IN_X, IN_WEIGHT, IN_BIAS };

typedef struct {
    mcs_planes p;
    float *mean, *r; /* (N,C) */
    float eps;
} instance_args;

/* Items are planes. */
static void instance_range(void *arg, int64_t begin, int64_t end)
{
    const instance_args *a = arg;
    for (int64_t i = begin; i < end; i++) {
        double mean, var;
        mcs_planes_moments(&a->p, i, 1, 1, &mean, &var);
        a->mean[i] = (float)mean;
        a->r[i] = 1.0f / sqrtf((float)var + a->eps);
        mcs_plane_apply(&a->p, i, a->mean[i], a->r[i]);
    }
}

/* Items are channels. */
static void instance_grad_range(void *arg, int64_t begin, int64_t end)
{
    const instance_args *a = arg;
    const mcs_planes *p = &a->p;
    float n = (float)p->area;
    for (int64_t c = begin; c < end; c++) {
        double dw = 0.0, db = 0.0, dy_sum, dyh_sum;
        for (int64_t i = c; i < p->images * p->channels; i += p->channels) {
            mcs_planes_sums(p, i, 1, 1, a->mean[i], a->r[i], &dy_sum, &dyh_sum);
            dw += dyh_sum;
            db += dy_sum;
            if (p->out)
                mcs_plane_grad(p, i, a->mean[i], a->r[i], (float)dy_sum / n, (float)dyh_sum / n);
        }
        if (p->dw)
            p->dw[c] += (float)dw;
        if (p->db)
            p->db[c] += (float)db;
    }
}

static void instance_norm_backward(mcs_ctx *c, mcs_node *n)
{
    instance_args a = *(instance_args *)n->saved;
    a.p.dy = n->grad;
    a.p.out = mcs_grad_buf(c, n->in[IN_X]);
    a.p.dw = mcs_grad_buf(c, n->in[IN_WEIGHT]);
    a.p.db = mcs_grad_buf(c, n->in[IN_BIAS]);
    if (mcs_ctx_status(c) == MCS_OK && a.p.images * a.p.area > 0)
        mcs_parallel_for(c, a.p.channels, mcs_grain(4 * a.p.images * a.p.area), instance_grad_range,
                         &a);
}

static const mcs_op op_instance_norm = { "instance_norm", instance_norm_backward };

mcs_tensor *mcs_instance_norm(mcs_ctx *c, const mcs_tensor *x, const mcs_tensor *weight,
                              const mcs_tensor *bias, float eps)
{
    if (!mcs_planes_ok(c, "instance_norm", x, MCS_INPUTS(weight, bias)))
        return NULL;
    int64_t planes = x->shape[0] * x->shape[1];
    instance_args *a = mcs_alloc(c, sizeof *a);
    float *stats = mcs_alloc(c, 2 * (size_t)planes * sizeof *stats);
    mcs_tensor *y = mcs_new_like(c, x);
    if (!a || !stats || !y)
        return NULL;
    *a = (instance_args){
        .p = mcs_planes_of(x, weight, bias), .mean = stats, .r = stats + planes, .eps = eps
    };
    if (a->p.area == 1)
        return mcs_fail(c, MCS_ESHAPE, "instance_norm: needs more than one value per plane");
    a->p.out = mcs_f32(y);
    if (a->p.area > 0)
        mcs_parallel_for(c, planes, mcs_grain(4 * a->p.area), instance_range, a);
    return mcs_record(c, &op_instance_norm, y, a, MCS_INPUTS(x, weight, bias));
}
