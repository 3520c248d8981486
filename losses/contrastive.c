/* contrastive.c - InfoNCE, DCL, HN-NCE and DHN-NCE, one direction at a time.
 *
 * With P = softmax((1+beta) l_i.) and Q = softmax(beta l_i.) over the negatives of anchor i, and
 * N_i = log n_i + LSE((1+beta) l_i.) - LSE(beta l_i.) the log of the weighted negatives:
 *   L_i = -l_ii + logaddexp(log alpha + l_ii, N_i)
 *   dN_i/dl_ij = (1+beta) P_ij - beta Q_ij      (P_ij if the weights are held fixed)
 *   dL_i/dl_ij = r_i dN_i/dl_ij,  dL_i/dl_ii = -r_i,  r_i = share of the negatives in the sum
 * (1 for alpha = 0).  The products of embeddings are float32, everything after them is double:
 * at temperature 0.01 the exponents reach hundreds. */
#include <math.h>
#include "losses/losses_internal.h"
#include "tensor/gemm.h"

typedef struct {
    const mcs_tensor *x, *y;    /* (b,D), (B,D) */
    int64_t first;
    const mcs_tensor *negatives;
    bool transposed;            /* anchors are texts: mask entry (j,i) */
    double scale, beta, alpha, weight;  /* weight: 1/B, halved for InfoNCE */
    bool fixed_weights, positive_kept;
    float *cosines;             /* (b,B); d(loss)/d(logit) replaces them after the forward */
    double *loss, *dscale;      /* per anchor */
} direction;

static bool is_negative(const direction *d, int64_t i, int64_t j)
{
    int64_t anchor = d->first + i, total = d->y->shape[0];
    if (j == anchor)
        return false;
    if (!d->negatives)
        return true;
    return mcs_u8(d->negatives)[d->transposed ? j * total + anchor : anchor * total + j] != 0;
}

/* LSE of k * l over the negatives; count of them in n. */
static double log_sum_exp(const direction *d, int64_t i, const float *cosine, double k, int64_t *n)
{
    double top = -HUGE_VAL, sum = 0;
    *n = 0;
    for (int64_t j = 0; j < d->y->shape[0]; j++)
        if (is_negative(d, i, j) && k * d->scale * (double)cosine[j] > top)
            top = k * d->scale * (double)cosine[j];
    for (int64_t j = 0; j < d->y->shape[0]; j++)
        if (is_negative(d, i, j)) {
            sum += exp(k * d->scale * (double)cosine[j] - top);
            ++*n;
        }
    return top + log(sum);
}

static void anchor_loss(const direction *d, int64_t i, float *cosine)
{
    int64_t n, total = d->y->shape[0];
    double hard = log_sum_exp(d, i, cosine, 1 + d->beta, &n);
    double easy = log_sum_exp(d, i, cosine, d->beta, &n);
    double positive = d->scale * (double)cosine[d->first + i];
    d->loss[i] = d->dscale[i] = 0;
    if (n == 0) {
        for (int64_t j = 0; j < total; j++)
            cosine[j] = 0;
        return;
    }
    double negatives = d->beta > 0 ? log((double)n) + hard - easy : hard, share = 1;
    d->loss[i] = d->weight * (negatives - positive);
    if (d->alpha > 0) {
        double kept = log(d->alpha) + positive, top = fmax(kept, negatives);
        double sum = top + log(exp(kept - top) + exp(negatives - top));
        share = exp(negatives - sum);
        d->loss[i] = d->weight * (sum - positive);
    }
    for (int64_t j = 0; j < total; j++) {
        double l = d->scale * (double)cosine[j], g = 0;
        if (j == d->first + i)
            g = -share;
        else if (is_negative(d, i, j)) {
            g = exp((1 + d->beta) * l - hard);
            if (!d->fixed_weights)
                g = (1 + d->beta) * g - d->beta * exp(d->beta * l - easy);
            g *= share;
        }
        d->dscale[i] += d->weight * g * (double)cosine[j];
        cosine[j] = (float)(d->weight * g);
    }
}

static void anchors_range(void *arg, int64_t begin, int64_t end)
{
    const direction *d = arg;
    for (int64_t i = begin; i < end; i++)
        anchor_loss(d, i, d->cosines + i * d->y->shape[0]);
}

typedef struct { float *dlogit; double scale, dscale; } saved_rows;

static void add_product(mcs_ctx *c, const mcs_tensor *to, const mcs_tensor *from,
                        const mcs_tensor *x, const mcs_tensor *y, const saved_rows *s, float dy)
{
    float *grad = mcs_grad_buf(c, to);
    if (!grad)
        return;
    int64_t dim = x->shape[1], total = y->shape[0];
    mcs_gemm(c, &(mcs_gemm_args){ .m = to->shape[0], .n = dim, .k = from->shape[0],
                                  .trans_a = to == y, .alpha = (float)s->scale * dy, .beta = 1,
                                  .a = s->dlogit, .b = mcs_f32(from), .c = grad, .lda = total,
                                  .ldb = dim, .ldc = dim });
}

static void rows_backward(mcs_ctx *c, mcs_node *n)
{
    const saved_rows *s = n->saved;
    const mcs_tensor *x = n->in[0], *y = n->in[1];
    add_product(c, x, y, x, y, s, n->grad[0]);
    add_product(c, y, x, x, y, s, n->grad[0]);
    float *dscale = mcs_grad_buf(c, n->in[2]);
    if (dscale)
        *dscale += (float)s->dscale * n->grad[0];
}

static const mcs_op op_contrastive = { "contrastive", rows_backward };

static bool check(mcs_ctx *c, const mcs_tensor *x, const mcs_tensor *y, int64_t first,
                  const mcs_contrastive_opts *o)
{
    if (!mcs_ok_dim(c, "contrastive loss", x, 2) || !mcs_ok_dim(c, "contrastive loss", y, 2))
        return false;
    int64_t total = y->shape[0];
    const mcs_tensor *m = o->negatives;
    if (x->shape[1] != y->shape[1] || total < 2 || first < 0 || first + x->shape[0] > total)
        mcs_fail(c, MCS_ESHAPE, "contrastive loss: anchors %lld..%lld of width %lld against %lld "
                 "of width %lld; at least 2 pairs of one width are needed", (long long)first,
                 (long long)(first + x->shape[0]), (long long)x->shape[1], (long long)total,
                 (long long)y->shape[1]);
    else if (m && (m->dtype != MCS_U8 || m->ndim != 2 || m->shape[0] != total ||
                   m->shape[1] != total))
        mcs_fail(c, MCS_ESHAPE, "contrastive loss: the mask of negatives must be uint8 (%lld,%lld)",
                 (long long)total, (long long)total);
    else if ((o->scale && (o->scale->dtype != MCS_F32 || mcs_numel(o->scale) != 1)) ||
             (!o->scale && !(o->temperature > 0)))
        mcs_fail(c, MCS_EINVAL, "contrastive loss: temperature must be > 0 (got %g)",
                 (double)o->temperature);
    else if (!(o->beta1 >= 0 && o->beta2 >= 0 && o->alpha >= 0))
        mcs_fail(c, MCS_EINVAL, "contrastive loss: beta1, beta2, alpha must be >= 0 (got %g %g %g)",
                 (double)o->beta1, (double)o->beta2, (double)o->alpha);
    return mcs_ctx_status(c) == MCS_OK;
}

static direction describe(const mcs_tensor *x, const mcs_tensor *y, int64_t first,
                          bool image_to_text, const mcs_contrastive_opts *o)
{
    bool hard = o->kind == MCS_LOSS_HN_NCE || o->kind == MCS_LOSS_DHN_NCE;
    bool info = o->kind == MCS_LOSS_INFONCE;
    return (direction){
        .x = x, .y = y, .first = first, .negatives = o->negatives, .transposed = !image_to_text,
        .scale = o->scale ? (double)mcs_f32(o->scale)[0] : 1.0 / (double)o->temperature,
        .beta = hard ? (double)(image_to_text ? o->beta1 : o->beta2) : 0.0,
        .alpha = info ? 1.0 : hard ? (double)o->alpha : 0.0,
        .weight = (info ? 0.5 : 1.0) / (double)y->shape[0], .fixed_weights = o->fixed_weights,
    };
}

mcs_tensor *mcs_contrastive_rows(mcs_ctx *c, const mcs_tensor *x, const mcs_tensor *y,
                                 int64_t first, bool image_to_text, const mcs_contrastive_opts *o)
{
    if (!check(c, x, y, first, o))
        return NULL;
    if (o->kind == MCS_LOSS_DHN_NCE_OFFICIAL)
        return mcs_fail(c, MCS_EINVAL, "contrastive loss: the official form has no rows");
    int64_t b = x->shape[0], total = y->shape[0], dim = x->shape[1];
    mcs_tensor *loss = mcs_scalar(c, 0);
    saved_rows *s = mcs_alloc(c, sizeof *s);
    direction d = describe(x, y, first, image_to_text, o);
    d.cosines = mcs_alloc(c, (size_t)(b * total) * sizeof(float));
    d.loss = mcs_alloc(c, (size_t)(2 * b) * sizeof(double));
    if (!loss || !s || !d.cosines || !d.loss)
        return NULL;
    d.dscale = d.loss + b;
    mcs_gemm(c, &(mcs_gemm_args){ .m = b, .n = total, .k = dim, .trans_b = true, .alpha = 1,
                                  .a = mcs_f32(x), .b = mcs_f32(y), .c = d.cosines, .lda = dim,
                                  .ldb = dim, .ldc = total });
    mcs_parallel_for(c, b, mcs_grain(total * 40), anchors_range, &d);
    double sum = 0;
    *s = (saved_rows){ d.cosines, d.scale, 0 };
    for (int64_t i = 0; i < b; i++) {
        sum += d.loss[i];
        s->dscale += d.dscale[i];
    }
    mcs_f32(loss)[0] = (float)sum;
    return mcs_record(c, &op_contrastive, loss, s, MCS_INPUTS(x, y, o->scale));
}

mcs_tensor *mcs_contrastive_loss(mcs_ctx *c, const mcs_tensor *image, const mcs_tensor *text,
                                 const mcs_contrastive_opts *o)
{
    if (!check(c, image, text, 0, o))
        return NULL;
    if (image->shape[0] != text->shape[0])
        return mcs_fail(c, MCS_ESHAPE, "contrastive loss: %lld images, %lld texts",
                        (long long)image->shape[0], (long long)text->shape[0]);
    if (o->kind == MCS_LOSS_DHN_NCE_OFFICIAL)
        return mcs_contrastive_official(c, image, text, o);
    return mcs_add(c, mcs_contrastive_rows(c, image, text, 0, true, o),
                   mcs_contrastive_rows(c, text, image, 0, false, o));
}

mcs_contrastive_opts mcs_contrastive_defaults(mcs_contrastive_kind kind)
{
    bool hard = kind == MCS_LOSS_HN_NCE || kind >= MCS_LOSS_DHN_NCE;
    return (mcs_contrastive_opts){
        .kind = kind, .temperature = 0.6f, .beta1 = hard ? 0.15f : 0, .beta2 = hard ? 0.15f : 0,
        .alpha = kind == MCS_LOSS_HN_NCE ? 1.0f : 0,
    };
}
