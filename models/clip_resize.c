/* clip_resize.c - resampling of positions and patch filters.
 *
 * R (new x old) resamples a row of `old` values: torch's antialiased bicubic filter, a = -0.5,
 * support widened by the reduction, half-pixel centres, weights normalised.  A grid G becomes
 * R G R^T.  A patch x (p x p) resized is R x R^T; filters w' with <w', R x R^T> = <w, x> for all x
 * exist if R has full column rank (p' >= p), and else are sought in the least-squares sense for
 * white x:  w' = P w P^T with P = pinv(R^T), which is R (R^T R)^-1 or (R R^T)^-1 R. */
#include "models/clip_resize.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- Small dense matrices, row-major, double ---- */

static double cubic(double x)
{
    const double a = -0.5;
    x = fabs(x);
    if (x < 1)
        return ((a + 2) * x - (a + 3)) * x * x + 1;
    return x < 2 ? (((x - 5) * x + 8) * x - 4) * a : 0;
}

/* (n_new, n_old) */
static void resample_matrix(double *r, int n_new, int n_old)
{
    double scale = (double)n_old / n_new, wide = scale > 1 ? scale : 1;
    for (int i = 0; i < n_new; i++) {
        double centre = scale * (i + 0.5), sum = 0;
        int from = (int)(centre - 2 * wide + 0.5), to = (int)(centre + 2 * wide + 0.5);
        from = from > 0 ? from : 0;
        to = to < n_old ? to : n_old;
        for (int j = 0; j < n_old; j++) {
            r[i * n_old + j] = j >= from && j < to ? cubic((j - centre + 0.5) / wide) : 0;
            sum += r[i * n_old + j];
        }
        for (int j = 0; j < n_old; j++)
            r[i * n_old + j] /= sum;
    }
}

/* Solves A X = B in place by Gauss and Jordan with pivots: A (n,n), B (n,m). */
static bool solve(double *a, double *b, int n, int m)
{
    for (int k = 0; k < n; k++) {
        int p = k;
        for (int i = k + 1; i < n; i++)
            if (fabs(a[i * n + k]) > fabs(a[p * n + k]))
                p = i;
        if (!(fabs(a[p * n + k]) > 1e-12))
            return false;
        for (int j = 0; j < n + m; j++) {
            double *x = j < n ? &a[k * n + j] : &b[k * m + j - n];
            double *y = j < n ? &a[p * n + j] : &b[p * m + j - n], t = *x;
            *x = *y;
            *y = t;
        }
        for (int i = 0; i < n; i++) {
            double f = a[i * n + k] / a[k * n + k];
            for (int j = 0; j < n && i != k; j++)
                a[i * n + j] -= f * a[k * n + j];
            for (int j = 0; j < m && i != k; j++)
                b[i * m + j] -= f * b[k * m + j];
        }
    }
    for (int i = 0; i < n; i++)
        for (int j = 0; j < m; j++)
            b[i * m + j] /= a[i * n + i];
    return true;
}

/* pinv(R^T) of R (n_new, n_old) in out (n_new, n_old).  Growing: out^T = (R^T R)^-1 R^T;
 * shrinking: out = (R R^T)^-1 R. */
static bool pseudo_inverse(const double *r, int n_new, int n_old, double *out)
{
    bool grows = n_new >= n_old;
    int n = grows ? n_old : n_new, m = grows ? n_new : n_old;
    double *a = calloc((size_t)n * (size_t)(n + m), sizeof *a), *b = a ? a + n * n : NULL;
    if (!a)
        return false;
    for (int i = 0; i < n; i++) {
        for (int j = 0; j < m; j++)
            b[i * m + j] = grows ? r[j * n_old + i] : r[i * n_old + j];
        for (int j = 0; j < n; j++)
            for (int k = 0; k < m; k++)
                a[i * n + j] += grows ? r[k * n_old + i] * r[k * n_old + j]
                                      : r[i * n_old + k] * r[j * n_old + k];
    }
    bool ok = solve(a, b, n, m);
    for (int i = 0; ok && i < n_new; i++)
        for (int j = 0; j < n_old; j++)
            out[i * n_old + j] = grows ? b[j * m + i] : b[i * m + j];
    free(a);
    return ok;
}

/* dst (n_new,n_new) = M src M^T, src (n_old,n_old), elements `step` apart. */
static void both_sides(const double *m, int n_new, int n_old, const float *src, int64_t src_step,
                       float *dst, int64_t dst_step, double *half)
{
    for (int i = 0; i < n_new; i++)
        for (int j = 0; j < n_old; j++) {
            double sum = 0;
            for (int k = 0; k < n_old; k++)
                sum += m[i * n_old + k] * (double)src[(k * n_old + j) * src_step];
            half[i * n_old + j] = sum;
        }
    for (int i = 0; i < n_new; i++)
        for (int j = 0; j < n_new; j++) {
            double sum = 0;
            for (int k = 0; k < n_old; k++)
                sum += half[i * n_old + k] * m[j * n_old + k];
            dst[(i * n_new + j) * dst_step] = (float)sum;
        }
}

/* ---- The two tensors ---- */

/* (1, 1 + old^2, C) -> (1, 1 + new^2, C) */
static bool resize_positions(const mcs_tensor *src, mcs_tensor *dst)
{
    int64_t dim = src->shape[2];
    int n_old = (int)lround(sqrt((double)src->shape[1] - 1));
    int n_new = (int)lround(sqrt((double)dst->shape[1] - 1));
    double *m = malloc((size_t)n_new * (size_t)n_old * 2 * sizeof *m);
    if (!m)
        return false;
    memcpy(dst->data, src->data, (size_t)dim * sizeof(float));
    resample_matrix(m, n_new, n_old);
    for (int64_t k = 0; k < dim; k++)
        both_sides(m, n_new, n_old, mcs_f32(src) + dim + k, dim, mcs_f32(dst) + dim + k, dim,
                   m + n_new * n_old);
    free(m);
    return true;
}

/* (C,3,old,old) -> (C,3,new,new) */
static bool resize_patches(const mcs_tensor *src, mcs_tensor *dst)
{
    int n_old = (int)src->shape[3], n_new = (int)dst->shape[3];
    size_t n = (size_t)n_new * (size_t)n_old;
    double *r = malloc(3 * n * sizeof *r);
    if (r)
        resample_matrix(r, n_new, n_old);
    bool ok = r && pseudo_inverse(r, n_new, n_old, r + n);
    for (int64_t i = 0; ok && i < src->shape[0] * src->shape[1]; i++)
        both_sides(r + n, n_new, n_old, mcs_f32(src) + i * n_old * n_old, 1,
                   mcs_f32(dst) + i * n_new * n_new, 1, r + 2 * n);
    free(r);
    return ok;
}

static bool same_shape(const mcs_tensor *a, const mcs_tensor *b)
{
    return mcs_numel(a) == mcs_numel(b) &&
           a->shape[a->ndim ? a->ndim - 1 : 0] == b->shape[b->ndim ? b->ndim - 1 : 0];
}

static mcs_status copy_weights(const mcs_params *from, mcs_params *to, mcs_error *e)
{
    for (int64_t i = 0; i < mcs_params_count(to); i++) {
        mcs_param_entry dst = mcs_params_at(to, i);
        const mcs_tensor *src = mcs_params_find(from, dst.name);
        if (!src || !src->data)
            return mcs_error_set(e, MCS_EINVAL, "resize: %s has no values", dst.name);
        if (!mcs_params_data(to, i))
            return mcs_error_set(e, MCS_ENOMEM, "resize: no memory for %s", dst.name);
        bool ok = true;
        if (same_shape(src, dst.tensor))
            memcpy(dst.tensor->data, src->data, (size_t)mcs_numel(src) * sizeof(float));
        else if (src->ndim == 4)
            ok = resize_patches(src, dst.tensor);
        else
            ok = resize_positions(src, dst.tensor);
        if (!ok)
            return mcs_error_set(e, MCS_ENOMEM, "resize: no memory for %s", dst.name);
    }
    return MCS_OK;
}

mcs_biomedclip *mcs_biomedclip_resized(const mcs_biomedclip *m, int image, int patch, mcs_error *e)
{
    mcs_biomedclip_config cfg = *mcs_biomedclip_get_config(m);
    cfg.vision.image = image;
    cfg.vision.patch = patch;
    mcs_biomedclip *out = mcs_biomedclip_new(&cfg, e);
    if (!out)
        return NULL;
    if (copy_weights(mcs_biomedclip_params(m), mcs_biomedclip_params(out), e) == MCS_OK)
        return out;
    mcs_biomedclip_free(out);
    return NULL;
}
