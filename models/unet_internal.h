/* unet_internal.h - the parts of the UNet to each other.  Private. */
#ifndef MCS_UNET_INTERNAL_H
#define MCS_UNET_INTERNAL_H
#include "models/unet.h"

/* MONAI's Convolution: convolution (or transposed), then norm, dropout, activation unless `bare`.
 * "conv.*", "adn.N.*", "adn.A.*" */
typedef struct {
    const char *adn_name;
    bool transposed, bare;
    mcs_conv conv;
    mcs_conv_transpose up;
    mcs_batchnorm batch; /* batch norm: all of it; instance norm: eps, weight and bias or NULL */
    mcs_tensor *slope; /* of PReLU; NULL: a constant */
} mcs_unet_unit;

/* ResidualUnit, or with cfg.res_units = 0 its one unit alone. */
typedef struct {
    const char *name;
    int units;
    mcs_unet_unit unit[MCS_UNET_MAX_UNITS];
    enum { MCS_UNET_PLAIN, MCS_UNET_IDENTITY, MCS_UNET_PROJECTION } shortcut;
    mcs_conv projection;
} mcs_unet_block;

typedef struct {
    const char *name;
    mcs_unet_unit conv; /* transposed */
    mcs_unet_block block; /* units 0: none */
} mcs_unet_up;

struct mcs_unet {
    mcs_params *params;
    mcs_unet_config cfg;
    const char *name;
    mcs_unet_block down[MCS_UNET_MAX_LEVELS]; /* the last one is the bottom */
    mcs_unet_up up[MCS_UNET_MAX_LEVELS];
};

/* mcs_unet_new(); old: with the names of MONAI before 0.4. */
mcs_unet *mcs_unet_declare(const mcs_unet_config *cfg, bool old, mcs_error *e);
#endif
