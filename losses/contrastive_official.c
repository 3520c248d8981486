/* contrastive_official.c - what the released DHN-NCE code computes (HealthX-Lab/MedCLIP-SAM,
 * loss/hnl.py), in closed form; for comparison only.
 *
 * The code multiplies logits by a 0/1 mask before exp, so masked entries become 1 instead of 0;
 * negatives are never summed; the normaliser belongs to the wrong axis.  With alpha = 0 and
 * Zv_i = 1 + sum_{j!=i} e^{l_ij}, Zt_j = 1 + sum_{i!=j} e^{l_ij} it equals
 *   L = 2 log(B-1) - (2/B^2) sum_i l_ii + ((2+b1+b2)/B^2) sum_{i!=j} l_ij
 *       - (1/B) sum_i log Zv_i - (1/B) sum_j log Zt_j
 * whose gradient attracts hard negatives: dL/dl_ij = (2+b1+b2)/B^2 - (e^{l_ij}/Zv_i +
 * e^{l_ij}/Zt_j)/B. */
#include <math.h>
#include <string.h>
#include "losses/losses_internal.h"
#include "tensor/gemm.h"

typedef struct { float *dlogit; double scale, dscale; } saved_official;

static void official_backward(mcs_ctx *c, mcs_node *n)
{
    const saved_official *s = n->saved;
    int64_t b = n->in[0]->shape[0], dim = n->in[0]->shape[1];
    for (int side = 0; side < 2; side++) {
        float *grad = mcs_grad_buf(c, n->in[side]);
        if (grad)
            mcs_gemm(c, &(mcs_gemm_args){ .m = b, .n = dim, .k = b, .trans_a = side == 1,
                                          .alpha = (float)s->scale * n->grad[0], .beta = 1,
                                          .a = s->dlogit, .b = mcs_f32(n->in[1 - side]),
                                          .c = grad, .lda = b, .ldb = dim, .ldc = dim });
    }
    float *dscale = mcs_grad_buf(c, n->in[2]);
    if (dscale)
        *dscale += (float)s->dscale * n->grad[0];
}

static const mcs_op op_official = { "contrastive official", official_backward };

/* log(1 + sum over the others of e^l): along row i (step 1) or column i (step b). */
static double log_z(const float *cosines, double scale, int64_t b, int64_t i, bool row)
{
    double top = 0, sum = 0;
    for (int64_t j = 0; j < b; j++) {
        double l = scale * (double)cosines[row ? i * b + j : j * b + i];
        if (j != i && l > top)
            top = l;
    }
    for (int64_t j = 0; j < b; j++) {
        double l = scale * (double)cosines[row ? i * b + j : j * b + i];
        sum += j == i ? exp(-top) : exp(l - top);
    }
    return top + log(sum);
}

/* Turns cosines into d(loss)/d(logit); returns the loss. */
static double official_loss(saved_official *s, int64_t b, const double *zv, const double *zt,
                            double betas)
{
    double n = (double)b, loss = 2 * log(n - 1);
    for (int64_t i = 0; i < b; i++) {
        loss -= (zv[i] + zt[i]) / n;
        for (int64_t j = 0; j < b; j++) {
            double cosine = (double)s->dlogit[i * b + j], l = s->scale * cosine, g;
            if (i == j)
                g = -2 / (n * n);
            else
                g = (2 + betas) / (n * n);
            loss += g * l;
            if (i != j)
                g -= (exp(l - zv[i]) + exp(l - zt[j])) / n;
            s->dscale += g * cosine;
            s->dlogit[i * b + j] = (float)g;
        }
    }
    return loss;
}

mcs_tensor *mcs_contrastive_official(mcs_ctx *c, const mcs_tensor *image, const mcs_tensor *text,
                                     const mcs_contrastive_opts *o)
{
    int64_t b = image->shape[0], dim = image->shape[1];
    if (o->alpha > 0 || o->negatives)
        return mcs_fail(c, MCS_EINVAL, "contrastive loss: the official form knows neither alpha "
                                       "nor a mask of negatives");
    mcs_tensor *loss = mcs_scalar(c, 0);
    saved_official *s = mcs_alloc(c, sizeof *s);
    float *cosines = mcs_alloc(c, (size_t)(b * b) * sizeof(float));
    double *zv = mcs_alloc(c, (size_t)(2 * b) * sizeof(double));
    if (!loss || !s || !cosines || !zv)
        return NULL;
    *s = (saved_official){ cosines, o->scale ? (double)mcs_f32(o->scale)[0]
                                             : 1.0 / (double)o->temperature, 0 };
    mcs_gemm(c, &(mcs_gemm_args){ .m = b, .n = b, .k = dim, .trans_b = true, .alpha = 1,
                                  .a = mcs_f32(image), .b = mcs_f32(text), .c = cosines,
                                  .lda = dim, .ldb = dim, .ldc = b });
    for (int64_t i = 0; i < b; i++) {
        zv[i] = log_z(cosines, s->scale, b, i, true);
        zv[b + i] = log_z(cosines, s->scale, b, i, false);
    }
    mcs_f32(loss)[0] = (float)official_loss(s, b, zv, zv + b, (double)o->beta1 + (double)o->beta2);
    return mcs_record(c, &op_official, loss, s, MCS_INPUTS(image, text, o->scale));
}
