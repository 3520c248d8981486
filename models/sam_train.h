/* sam_train.h - training SAM on boxes and masks: the loss, one step over a batch of pictures, boxes
 * with jitter, targets in the frame of the logits.
 *
 * As MedSAM (Ma et al. 2024, Nature Communications 15:654): the prompt is the box around the mask,
 * loosened at random; one mask per prompt; Dice plus cross-entropy.  MedSAM measures the loss after
 * resizing the logits to 1024 x 1024; here it is measured on the logits' own grid (256 x 256),
 * against the mask reduced to it, at a sixteenth of the cost.
 *
 *     mcs_sam_train_only(sam, MCS_SAM_TRAIN_DECODER, &e);
 *     mcs_optim *adamw = mcs_adamw_new(mcs_sam_params(sam), &settings);
 *     for each step:
 *         mcs_params_zero_grad(p);
 *         mcs_sam_step(c, sam, &batch, &loss, &result);
 *         mcs_optim_step(adamw, pool, lr, &e);
 */
#ifndef MCS_SAM_TRAIN_H
#define MCS_SAM_TRAIN_H
#include "models/sam.h"

/* ---- The loss ---- */

/* Weights of the terms; a term of weight 0 is not computed.  Over n prompts with logits x (before
 * the sigmoid), p = sigmoid(x), targets t in [0,1]:
 *   dice   mean of 1 - (2 sum p t + s) / (sum p^2 + sum t^2 + s), squared = true: MONAI's DiceLoss
 *          with squared_pred, as in MedSAM; without squares if false
 *   bce    binary cross-entropy, mean over all pixels
 *   focal  Lin et al. 2017, alpha 0.25, gamma 2, mean over all pixels
 *   iou    mean of (q - IoU)^2, q the model's estimate, IoU that of x > 0 and t >= 0.5 (constant) */
typedef struct {
    float dice, bce, focal, iou;
    bool squared;
    float smooth; /* s */
} mcs_sam_loss;
/* MedSAM's: dice 1, bce 1, others 0, squared, s = 1e-5. */
mcs_sam_loss mcs_sam_loss_defaults(void);

/* logits (n,1,h,w), iou (n,1), target (n,1,h,w) -> scalar.  MCS_ESHAPE; MCS_EINVAL: a weight that
 * is negative or not finite, or all 0. */
mcs_tensor *mcs_sam_train_loss(mcs_ctx *c, mcs_sam_masks out, const mcs_tensor *target,
                               const mcs_sam_loss *o);

/* ---- One step ---- */

/* A picture of the batch with its prompts, made in the context that the supplier is given. */
typedef struct {
    const mcs_tensor *image; /* (1,3,S,S); encoded here, with a tape if the encoder is trained */
    const mcs_tensor *embedding; /* or its embedding (1,dim,G,G), a constant */
    int count; /* prompts, at least 1 */
    const float *boxes; /* (count,4) in the model's frame; lives until the next call */
    const mcs_tensor *target; /* (count,1,4G,4G) */
} mcs_sam_example;
/* Fills in picture i of the batch; its status if that failed (also in c, with the message). */
typedef mcs_status mcs_sam_supply(mcs_ctx *c, void *arg, int64_t i, mcs_sam_example *out);

typedef struct {
    int64_t size; /* pictures */
    int64_t prompts; /* of all of them together */
    mcs_sam_supply *supply;
    void *arg; /* Nullable; passed on */
} mcs_sam_batch;

typedef struct {
    double loss; /* mean over the prompts */
    double iou; /* mean IoU of the logits > 0 with target >= 0.5 */
} mcs_sam_result;

/* Adds the gradient of the mean loss over all prompts of the batch to the weights that are trained,
 * picture by picture: the memory is that of one.  (All terms are means over prompts, so the sum of
 * the pictures' shares is the gradient of the batch.)  With gradients off in c, measures only.
 * The context is reset for each picture; BatchNorm (TinyViT) uses its running statistics.
 * MCS_ENUMERIC: the loss is not finite; MCS_EINVAL: the prompts supplied are not as many as
 * announced; the message is in c. */
mcs_status mcs_sam_step(mcs_ctx *c, const mcs_sam *m, const mcs_sam_batch *b, const mcs_sam_loss *o,
                        mcs_sam_result *result) MCS_MUST_CHECK;

typedef enum {
    MCS_SAM_TRAIN_DECODER, /* "mask_decoder." alone */
    MCS_SAM_TRAIN_ALL /* encoder, prompt encoder and decoder */
} mcs_sam_part;
/* Gives gradients to those weights and takes them from all others. */
mcs_status mcs_sam_train_only(mcs_sam *m, mcs_sam_part part, mcs_error *e) MCS_MUST_CHECK;
/* Is any weight of the image encoder trained?  If not, embeddings are constants. */
bool mcs_sam_encoder_trained(const mcs_sam *m);

/* ---- Prompts and targets ---- */

typedef enum {
    MCS_SAM_JITTER_PIXELS, /* amount in pixels of a frame of 1024, whatever the model's is */
    MCS_SAM_JITTER_SHARE /* amount as a share of the box's width (x) or height (y) */
} mcs_sam_jitter_unit;
typedef struct {
    double amount; /* 0: the box as it is */
    mcs_sam_jitter_unit unit;
    bool inward; /* edges move out or in, by [-amount, amount], instead of out only, by
                    [0, amount] (MedSAM) */
} mcs_sam_jitter;
/* A box x0,y0,x1,y1 in pixels of a picture (edges: the last column + 1) into the model's frame,
 * each edge moved by its own number, uniform and a function of (seed, stream) alone.  It stays
 * inside the picture, and in order, at least a pixel of the frame wide where the picture is. */
void mcs_sam_jitter_box(const mcs_sam *m, int width, int height, const double box[4],
                        const mcs_sam_jitter *j, uint64_t seed, uint64_t stream, float out[4]);

typedef enum {
    MCS_SAM_TARGET_AREA, /* the share of each cell that the mask covers */
    MCS_SAM_TARGET_NEAREST /* 1 if the pixel under the cell's centre is in the mask */
} mcs_sam_target_kind;
/* mask != 0 (height,width) on the grid of the logits, out (4G,4G), 0 outside the picture. */
mcs_status mcs_sam_target(const mcs_sam *m, const uint8_t *mask, int width, int height,
                          mcs_sam_target_kind kind, float *out, mcs_error *e) MCS_MUST_CHECK;
#endif
