/* planes.c - see planes_internal.h.  Sums run in float over blocks of a plane (32 partial sums
 * each) and in double from block to block, so a 1024 x 1024 plane costs no digits. */
#include "tensor/planes_internal.h"

enum { BLOCK = 4096 };

/* Sums over one plane: of x, of (x - mean)^2, of a (x - mean). */
static double plane_sum(const mcs_vec *v, const float *x, int64_t n)
{
    double s = 0.0;
    for (int64_t i = 0; i < n; i += BLOCK)
        s += (double)v->sum(x + i, n - i < BLOCK ? n - i : BLOCK);
    return s;
}

static double plane_sq_diff(const mcs_vec *v, const float *x, float mean, int64_t n)
{
    double s = 0.0;
    for (int64_t i = 0; i < n; i += BLOCK)
        s += (double)v->sum_sq_diff(x + i, mean, n - i < BLOCK ? n - i : BLOCK);
    return s;
}

static double plane_dot_diff(const mcs_vec *v, const float *a, const float *x, float mean,
                             int64_t n)
{
    double s = 0.0;
    for (int64_t i = 0; i < n; i += BLOCK)
        s += (double)v->dot_diff(a + i, x + i, mean, n - i < BLOCK ? n - i : BLOCK);
    return s;
}

bool mcs_planes_ok(mcs_ctx *c, const char *op, const mcs_tensor *x, int count,
                   const mcs_tensor *const *vectors)
{
    if (!mcs_ok_dim(c, op, x, -2))
        return false;
    for (int i = 0; i < count; i++) {
        if (!vectors[i])
            continue;
        if (!mcs_ok_dim(c, op, vectors[i], 1))
            return false;
        if (vectors[i]->shape[0] != x->shape[1]) {
            mcs_fail(c, MCS_ESHAPE, "%s: a parameter has %lld values, the input has %lld channels",
                     op, (long long)vectors[i]->shape[0], (long long)x->shape[1]);
            return false;
        }
    }
    return true;
}

mcs_planes mcs_planes_of(const mcs_tensor *x, const mcs_tensor *weight, const mcs_tensor *bias)
{
    mcs_planes p = { .vec = mcs_vec_get(),
                     .x = mcs_f32(x),
                     .w = weight ? mcs_f32(weight) : NULL,
                     .b = bias ? mcs_f32(bias) : NULL,
                     .images = x->shape[0],
                     .channels = x->shape[1],
                     .area = 1 };
    for (int i = 2; i < x->ndim; i++)
        p.area *= x->shape[i];
    return p;
}

void mcs_planes_moments(const mcs_planes *p, int64_t first, int64_t step, int64_t count,
                        double *mean, double *var)
{
    double sum = 0.0, n = (double)(count * p->area);
    for (int64_t k = 0; k < count; k++)
        sum += plane_sum(p->vec, p->x + (first + k * step) * p->area, p->area);
    *mean = sum / n;
    sum = 0.0;
    for (int64_t k = 0; k < count; k++)
        sum += plane_sq_diff(p->vec, p->x + (first + k * step) * p->area, (float)*mean, p->area);
    *var = sum / n;
}

void mcs_plane_apply(const mcs_planes *p, int64_t plane, float mean, float r)
{
    int64_t c = plane % p->channels;
    p->vec->center(p->out + plane * p->area, p->x + plane * p->area, mean, p->w ? r * p->w[c] : r,
                   p->b ? p->b[c] : 0.0f, p->area);
}

void mcs_planes_sums(const mcs_planes *p, int64_t first, int64_t step, int64_t count, float mean,
                     float r, double *dy_sum, double *dyh_sum)
{
    *dy_sum = *dyh_sum = 0.0;
    for (int64_t k = 0; k < count; k++) {
        int64_t at = (first + k * step) * p->area;
        *dy_sum += plane_sum(p->vec, p->dy + at, p->area);
        *dyh_sum += plane_dot_diff(p->vec, p->dy + at, p->x + at, mean, p->area) * (double)r;
    }
}

void mcs_plane_grad(const mcs_planes *p, int64_t plane, float mean, float r, float dy_mean,
                    float dyh_mean)
{
    int64_t at = plane * p->area;
    float s = p->w ? r * p->w[plane % p->channels] : r;
    p->vec->axpy(p->out + at, s, p->dy + at, p->area);
    p->vec->center_acc(p->out + at, p->x + at, mean, -s * dyh_mean * r, -s * dy_mean, p->area);
}
