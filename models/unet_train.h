/* unet_train.h - training a UNet on pictures and labels: the loss, one step over a batch. */
#ifndef MCS_UNET_TRAIN_H
#define MCS_UNET_TRAIN_H
#include "models/unet.h"

/* Weights of the terms; a term of weight 0 is not computed.  With one channel of logits x,
 * p = sigmoid(x) and target t = (label > 0):
 *   dice   1 - (2 sum p t + s) / (sum p + sum t + s), of each picture
 *   bce    binary cross-entropy, mean over pixels
 *   focal  Lin et al. 2017, alpha .25, gamma 2, mean over pixels
 * With K > 1 channels, p = softmax(x) over channels, channel 0 the background:
 *   dice   the same for each channel but the background, mean of them
 *   bce    cross-entropy, mean over pixels;  focal: not there (MCS_EINVAL) */
typedef struct {
    float dice, bce, focal;
    float smooth; /* s */
} mcs_unet_loss;
/* dice 1, bce 1, s = 1. */
mcs_unet_loss mcs_unet_loss_defaults(void);

/* logits (B,K,H,W), labels U8 (B,H,W) below max(K,2) -> scalar: the mean over pictures, weighted by
 * weight (B) >= 0, not all 0.  Nullable: weight (all equal).  MCS_ESHAPE, MCS_EINVAL. */
mcs_tensor *mcs_unet_train_loss(mcs_ctx *c, const mcs_tensor *logits, const mcs_tensor *labels,
                                const float *weight, const mcs_unet_loss *o);

/* Makes pictures first .. first+count-1 of the batch in c: images (count,C,H,W), labels U8
 * (count,H,W).  Its status if that failed, also in c with the message. */
typedef mcs_status mcs_unet_supply(mcs_ctx *c, void *arg, int64_t first, int64_t count,
                                   const mcs_tensor **images, const mcs_tensor **labels);
typedef struct {
    int64_t size; /* pictures */
    int64_t micro; /* of them in memory at a time, 1 .. size */
    const float *weight; /* (size), as above; Nullable */
    mcs_unet_supply *supply;
    void *arg; /* Nullable; passed on */
} mcs_unet_batch;
/* Adds the gradient of the mean loss of the batch to the weights that are trained.  It is the same
 * for any `micro`, up to rounding, unless the net has batch norm.  The context is reset for each
 * part.  With gradients off, measures only.  MCS_ENUMERIC: the loss is not finite. */
mcs_status mcs_unet_step(mcs_ctx *c, const mcs_unet *m, const mcs_unet_batch *b,
                         const mcs_unet_loss *o, double *loss) MCS_MUST_CHECK;
#endif
