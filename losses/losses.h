/* losses.h - training objectives.  Every loss is a scalar tensor with a hand-written gradient. */
#ifndef MCS_LOSSES_H
#define MCS_LOSSES_H
#include "tensor/tensor.h"

/* ---- Contrastive: B image embeddings and their B captions ----
 *
 * Notation of MedCLIP-SAM (arXiv 2403.20253, sec. 2.1): rows I_i, T_j are L2-normalised,
 * l_ij = s <I_i, T_j> with s = 1/temperature (or the value of `scale`).  One direction, for
 * anchor i with negatives j in N(i) (all j != i that the mask allows, n_i of them):
 *
 *   InfoNCE  -l_ii + log( e^{l_ii} + sum_j e^{l_ij} )              (Radford et al. 2021), halved
 *   DCL      -l_ii + log( sum_j e^{l_ij} )                         (Yeh et al. 2022)
 *   HN-NCE   -l_ii + log( alpha e^{l_ii} + sum_j e^{l_ij} W_ij )   (Radenovic et al. 2023)
 *   DHN-NCE  the same with alpha = 0                               (MedCLIP-SAM, eq. 1-3)
 *   W_ij = n_i e^{beta l_ij} / sum_k e^{beta l_ik}
 *
 * computed with the maximum subtracted: log sum_j e^l W = log n_i + LSE((1+beta) l) - LSE(beta l).
 * The loss is the mean over anchors, image->text (beta1) plus text->image (beta2).  An anchor all
 * of whose negatives are masked out contributes 0, and nothing to the gradient. */
typedef enum {
    MCS_LOSS_INFONCE,
    MCS_LOSS_DCL,
    MCS_LOSS_HN_NCE,
    MCS_LOSS_DHN_NCE,
    MCS_LOSS_DHN_NCE_OFFICIAL   /* what the released code computes; for comparison only */
} mcs_contrastive_kind;

typedef struct {
    mcs_contrastive_kind kind;
    float temperature;          /* 0.6 in the paper; used unless `scale` is given */
    const mcs_tensor *scale;    /* Nullable; a scalar that multiplies the cosines (the exponential
                                   of a learnable logit_scale); gets a gradient */
    float beta1, beta2;         /* hardness, 0.15 in the paper: image->text, text->image */
    float alpha;                /* HN-NCE: weight of the positive, 1 */
    bool fixed_weights;         /* W is held constant in the gradient */
    const mcs_tensor *negatives;/* Nullable; U8 (B,B): 0 where text j is no negative of image i
                                   (a false negative); the diagonal is ignored */
} mcs_contrastive_opts;

/* The paper's settings of one loss: temperature .6, beta .15 (0 for InfoNCE and DCL), alpha 0. */
mcs_contrastive_opts mcs_contrastive_defaults(mcs_contrastive_kind kind);

/* image, text (B,D), L2-normalised rows; B >= 2 (MCS_ESHAPE).  temperature > 0, beta >= 0,
 * 0 <= alpha (MCS_EINVAL). */
mcs_tensor *mcs_contrastive_loss(mcs_ctx *c, const mcs_tensor *image, const mcs_tensor *text,
                                 const mcs_contrastive_opts *o);

/* One direction for a share of the anchors, for data-parallel training: x (b,D) are the rows
 * first .. first+b-1 of the batch, y (B,D) the whole other side; sum over those anchors / B.  The
 * losses of all shares and both directions add up to mcs_contrastive_loss().  Not for OFFICIAL. */
mcs_tensor *mcs_contrastive_rows(mcs_ctx *c, const mcs_tensor *x, const mcs_tensor *y,
                                 int64_t first, bool image_to_text, const mcs_contrastive_opts *o);

/* ---- Segmentation: logits and targets of one shape (N, ...), targets in [0,1] ---- */

/* F.binary_cross_entropy_with_logits(x, t): mean. */
mcs_tensor *mcs_bce_loss(mcs_ctx *c, const mcs_tensor *logits, const mcs_tensor *target);
/* Mean over N of 1 - (2 sum p t + smooth) / (sum p + sum t + smooth), p = sigmoid(x)
 * (Milletari et al. 2016, without squares). */
mcs_tensor *mcs_dice_loss(mcs_ctx *c, const mcs_tensor *logits, const mcs_tensor *target,
                          float smooth);
/* Mean of alpha_t (1 - p_t)^gamma bce (Lin et al. 2017; torchvision.ops.sigmoid_focal_loss);
 * alpha < 0: no alpha_t. */
mcs_tensor *mcs_focal_loss(mcs_ctx *c, const mcs_tensor *logits, const mcs_tensor *target,
                           float alpha, float gamma);
/* F.cross_entropy(x, labels): x (N,K,...), labels I64 (N,...) in [0,K); mean. */
mcs_tensor *mcs_cross_entropy(mcs_ctx *c, const mcs_tensor *logits, const mcs_tensor *labels);
#endif
