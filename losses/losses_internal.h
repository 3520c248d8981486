/* losses_internal.h - shared between the loss files. */
#ifndef MCS_LOSSES_INTERNAL_H
#define MCS_LOSSES_INTERNAL_H
#include "losses/losses.h"

/* contrastive_official.c; inputs already checked. */
mcs_tensor *mcs_contrastive_official(mcs_ctx *c, const mcs_tensor *image, const mcs_tensor *text,
                                     const mcs_contrastive_opts *o);
#endif
