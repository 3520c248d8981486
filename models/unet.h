/* unet.h - the Residual UNet of weak supervision: MONAI's UNet (monai.networks.nets.UNet) in two
 * dimensions, after Kerfoot et al. 2018, "Left-Ventricle Quantification Using Residual U-Net"
 * (doi 10.1007/978-3-030-12029-0_40).
 *
 * The paper (MedCLIP-SAM, arXiv 2403.20253, sec. 2.3) trains "a Residual UNet" on the zero-shot
 * masks and gives no layout; mcs_unet_defaults() is the customary one.  State dicts carry MONAI's
 * names, so checkpoints load here and there alike.
 *
 *     mcs_unet_config cfg = mcs_unet_defaults();
 *     mcs_unet *m = mcs_unet_new(&cfg, &e);               or mcs_unet_load(path, NULL, &e)
 *     mcs_params_init(mcs_unet_params(m), seed);
 *     mcs_params_train(mcs_unet_params(m), "", true);
 *     mcs_tensor *logits = mcs_unet_forward(c, m, images);         (B,3,H,W) -> (B,classes,H,W)
 *     mcs_tensor *loss = mcs_add(c, mcs_dice_loss(c, logits, target, 1), mcs_bce_loss(c, logits, target));
 *
 * A model is const but for the running statistics that batch norm writes in a training context.
 * Taps: every unit below its state-dict path ("model.0", "model.0.conv.unit0.conv",
 * "model.0.conv.unit0.adn", "model.0.residual", ..., "model.1.submodule.2.0.adn", "model"). */
#ifndef MCS_UNET_H
#define MCS_UNET_H
#include "nn/nn.h"
#include "weights/weights.h"

enum { MCS_UNET_MAX_LEVELS = 8, MCS_UNET_MAX_UNITS = 8 };

typedef enum {
    MCS_UNET_INSTANCE,          /* InstanceNorm2d, no parameters: MONAI's default */
    MCS_UNET_INSTANCE_AFFINE,   /* InstanceNorm2d(affine=True) */
    MCS_UNET_BATCH,             /* BatchNorm2d: in training contexts the batch's statistics, else
                                 * the running ones */
    MCS_UNET_NO_NORM
} mcs_unet_norm;

typedef enum {
    MCS_UNET_PRELU,             /* one weight for all channels, .25 at the start: MONAI's default */
    MCS_UNET_RELU,
    MCS_UNET_LEAKY_RELU         /* slope: cfg.slope */
} mcs_unet_act;

typedef struct {
    int in_channels;                    /* 3: RGB */
    int classes;                        /* 1: channels of the logits */
    int levels;                         /* 5; 2..8 */
    int channels[MCS_UNET_MAX_LEVELS];  /* 16 32 64 128 256, the finest level first */
    int strides[MCS_UNET_MAX_LEVELS];   /* 2 2 2 2: levels-1 of them, each 1..8 */
    int res_units;                      /* 2; convolutions of a residual unit on the way down.
                                         * 0: single convolutions, no residual units at all */
    int kernel, up_kernel;              /* 3, 3; odd, 1..15 */
    mcs_unet_norm norm;
    mcs_unet_act act;
    float slope;                        /* .01; of MCS_UNET_LEAKY_RELU alone */
    float dropout;                      /* 0; 0 <= p < 1, on elements, in training contexts */
    bool no_bias;                       /* false; MONAI's bias=False */
} mcs_unet_config;

typedef struct mcs_unet mcs_unet;

/* ---- Models ---- */

/* The layout above: 1,625,420 weights. */
mcs_unet_config mcs_unet_defaults(void);
/* MCS_EINVAL names the field that is out of range. */
mcs_status mcs_unet_check(const mcs_unet_config *cfg, mcs_error *e) MCS_MUST_CHECK;
/* Declares a model without values: mcs_params_init(mcs_unet_params(m), seed) draws them as PyTorch
 * does (uniform +-1/sqrt(fan_in), PReLU .25, norms 1 and 0), or a load follows.  NULL: see e. */
mcs_unet *mcs_unet_new(const mcs_unet_config *cfg, mcs_error *e);
/* Reads the layout off an opened checkpoint.  Names and shapes tell the channels, kernels, numbers
 * of units, biases, batch norm and PReLU.  The rest (strides, instance norm or none, ReLU or leaky
 * ReLU, dropout) comes from the metadata that mcs_unet_save() writes, else from `hint`, else (hint
 * NULL) from mcs_unet_defaults(); a residual unit's shortcut also tells a stride of 1.
 * MCS_ENOTFOUND: no UNet; MCS_ESHAPE: a three-dimensional one, or shapes that do not fit. */
mcs_status mcs_unet_config_read(const mcs_checkpoint *k, const mcs_unet_config *hint,
                                mcs_unet_config *cfg, mcs_error *e) MCS_MUST_CHECK;
/* Opens a .pt, .pth or .safetensors of MONAI's UNet and loads it, strictly.  Names may carry a
 * prefix ("module.", "state_dict.", "net.", ...), also those of MONAI before 0.4 (".act.", ".norm."
 * instead of ".adn.A.", ".adn.N.").  Nullable: hint (see above).  NULL: see e. */
mcs_unet *mcs_unet_load(const char *path, const mcs_unet_config *hint, mcs_error *e);
/* The same of an opened checkpoint, which stays the caller's (its metadata may be of interest). */
mcs_unet *mcs_unet_read(mcs_checkpoint *k, const mcs_unet_config *hint, mcs_error *e);
/* Writes the weights and the layout ("mcs.model": "unet", "mcs.config"), and the pairs of `meta`
 * besides (key, value, ..., NULL; Nullable).  torch: load_state_dict(load_file(path)). */
mcs_status mcs_unet_save(const mcs_unet *m, const char *path, const char *const *meta,
                         mcs_stored_dtype dtype, mcs_error *e) MCS_MUST_CHECK;
void mcs_unet_free(mcs_unet *m);                                /* Nullable */

const mcs_unet_config *mcs_unet_get_config(const mcs_unet *m);
mcs_params *mcs_unet_params(const mcs_unet *m);     /* the weights, owned by m */
/* Height and width must be multiples of this: the product of the strides, 16. */
int mcs_unet_multiple(const mcs_unet_config *cfg);

/* ---- The model ---- */

/* images (B,in_channels,H,W) -> logits (B,classes,H,W): a pixel belongs to the class if its logit
 * is > 0, sigmoid gives the probability.  MCS_ESHAPE: other channels, sides that are no multiple
 * of mcs_unet_multiple(), or so small that instance norm has one value per channel at the coarsest
 * level (side = multiple).  A NULL model is MCS_EINVAL in the context. */
mcs_tensor *mcs_unet_forward(mcs_ctx *c, const mcs_unet *m, const mcs_tensor *images);
#endif
