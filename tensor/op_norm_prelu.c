/* op_norm_prelu.c - F.prelu(F.instance_norm(x), a) in one pass over a plane.
 *   h = (x - mean) r,  z = h w[c] + b[c],  y = z where z > 0, else a z
 *   dz = dy (z > 0 ? 1 : a);  da = sum of dy z where z <= 0;  dx, dw, db from dz as instance norm's
 * z is not kept: backward makes it again from x plane by plane, which costs less than reading it from
 * memory, and saves the memory of every normalised activation.  Items of backward are channels, dealt
 * to a fixed number of ranges with a scratch plane each; the parts of da are added in order. */
#include <math.h>
#include <string.h>
#include "tensor/fused_internal.h"
#include "tensor/planes_internal.h"

enum { IN_X, IN_SLOPE, IN_WEIGHT, IN_BIAS, RANGES = 16, BLOCK = 4096 };

typedef struct {
    mcs_planes p;
    const float *slope;
    bool shared; /* one slope for all channels */
    float eps;
    float *mean, *r; /* (N,C) */
    float *scratch; /* 2 planes for each range */
    double *part; /* (C): da */
    int64_t grain;
} fused_args;

static float slope_of(const fused_args *a, int64_t channel)
{
    return a->slope[a->shared ? 0 : channel];
}

/* Items are planes. */
static void fused_range(void *arg, int64_t begin, int64_t end)
{
    const fused_args *a = arg;
    for (int64_t i = begin; i < end; i++) {
        double mean, var;
        float *y = a->p.out + i * a->p.area;
        mcs_planes_moments(&a->p, i, 1, 1, &mean, &var);
        a->mean[i] = (float)mean;
        a->r[i] = 1.0f / sqrtf((float)var + a->eps);
        mcs_plane_apply(&a->p, i, a->mean[i], a->r[i]);
        a->p.vec->prelu(y, y, slope_of(a, i % a->p.channels), a->p.area);
    }
}

/* dz of plane i into dz; returns the plane's part of da. */
static double slope_back(const fused_args *a, int64_t i, float *z, float *dz)
{
    const mcs_planes *p = &a->p;
    int64_t n = p->area, c = i % p->channels;
    const float *dy = p->dy + i * n;
    p->vec->center(z, p->x + i * n, a->mean[i], p->w ? a->r[i] * p->w[c] : a->r[i],
                   p->b ? p->b[c] : 0.0f, n);
    memset(dz, 0, (size_t)n * sizeof *dz);
    p->vec->prelu_grad(dz, dy, z, slope_of(a, c), n);
    double sum = 0.0;
    for (int64_t k = 0; k < n; k += BLOCK)
        sum += (double)p->vec->prelu_dot(dy + k, z + k, n - k < BLOCK ? n - k : BLOCK);
    return sum;
}

static void fused_grad_range(void *arg, int64_t begin, int64_t end)
{
    const fused_args *a = arg;
    const mcs_planes *p = &a->p;
    int64_t n = p->area;
    float *z = a->scratch + begin / a->grain * 2 * n, *dz = z + n;
    for (int64_t c = begin; c < end; c++) {
        double dw = 0.0, db = 0.0, sum, dot;
        a->part[c] = 0.0;
        for (int64_t i = c; i < p->images * p->channels; i += p->channels) {
            a->part[c] += slope_back(a, i, z, dz);
            mcs_planes one = *p; /* this plane alone, its gradient being dz */
            one.x += i * n, one.dy = dz, one.w = p->w ? p->w + c : NULL;
            one.images = one.channels = 1;
            mcs_planes_sums(&one, 0, 1, 1, a->mean[i], a->r[i], &sum, &dot);
            dw += dot;
            db += sum;
            if (!p->out)
                continue;
            one.out += i * n;
            mcs_plane_grad(&one, 0, a->mean[i], a->r[i], (float)sum / (float)n,
                           (float)dot / (float)n);
        }
        if (p->dw)
            p->dw[c] += (float)dw;
        if (p->db)
            p->db[c] += (float)db;
    }
}

static void norm_prelu_backward(mcs_ctx *c, mcs_node *n)
{
    fused_args a = *(fused_args *)n->saved;
    int64_t channels = a.p.channels;
    a.p.dy = n->grad;
    a.p.out = mcs_grad_buf(c, n->in[IN_X]);
    a.p.dw = mcs_grad_buf(c, n->in[IN_WEIGHT]);
    a.p.db = mcs_grad_buf(c, n->in[IN_BIAS]);
    float *da = mcs_grad_buf(c, n->in[IN_SLOPE]);
    a.grain = mcs_range_count(channels, RANGES);
    int64_t ranges = mcs_range_count(channels, a.grain);
    a.scratch = mcs_alloc(c, (size_t)(2 * ranges * a.p.area) * sizeof *a.scratch);
    a.part = mcs_alloc(c, (size_t)channels * sizeof *a.part);
    if (!a.scratch || !a.part)
        return;
    mcs_parallel_for(c, channels, a.grain, fused_grad_range, &a);
    for (int64_t i = 0; da && i < channels; i++)
        da[a.shared ? 0 : i] += (float)a.part[i];
}

static const mcs_op op_norm_prelu = { "instance_norm_prelu", norm_prelu_backward };

mcs_tensor *mcs_instance_norm_prelu(mcs_ctx *c, const mcs_tensor *x, const mcs_tensor *weight,
                                    const mcs_tensor *bias, float eps, const mcs_tensor *slope)
{
    const char *op = "instance_norm_prelu";
    if (!mcs_planes_ok(c, op, x, MCS_INPUTS(weight, bias)) || !mcs_ok_dim(c, op, slope, 1))
        return NULL;
    if (slope->shape[0] != 1 && slope->shape[0] != x->shape[1])
        return mcs_fail(c, MCS_ESHAPE, "%s: slope has %lld values, the input has %lld channels", op,
                        (long long)slope->shape[0], (long long)x->shape[1]);
    int64_t planes = x->shape[0] * x->shape[1];
    fused_args *a = mcs_alloc(c, sizeof *a);
    float *stats = mcs_alloc(c, 2 * (size_t)planes * sizeof *stats);
    mcs_tensor *y = mcs_new_like(c, x);
    if (!a || !stats || !y)
        return NULL;
    *a = (fused_args){ .p = mcs_planes_of(x, weight, bias),
                       .slope = mcs_f32(slope),
                       .shared = slope->shape[0] == 1,
                       .eps = eps,
                       .mean = stats,
                       .r = stats + planes };
    if (planes == 0 || a->p.area < 2)
        return mcs_fail(c, MCS_ESHAPE, "%s: needs more than one value per plane", op);
    a->p.out = mcs_f32(y);
    mcs_parallel_for(c, planes, mcs_grain(4 * a->p.area), fused_range, a);
    return mcs_record(c, &op_norm_prelu, y, a, MCS_INPUTS(x, slope, weight, bias));
}
