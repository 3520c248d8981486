/* fused_internal.h - operations that stand for two of ops.h where what is between them would fill
 * the memory of training.  Private to the library: models choose them by themselves. */
#ifndef MCS_FUSED_INTERNAL_H
#define MCS_FUSED_INTERNAL_H
#include "tensor/tensor.h"

/* F.prelu(F.instance_norm(...), slope) without keeping what is between; slope (C) or (1).  The same
 * bits as mcs_prelu(mcs_instance_norm()).  Nullable: weight, bias (C). */
mcs_tensor *mcs_instance_norm_prelu(mcs_ctx *c, const mcs_tensor *x, const mcs_tensor *weight,
                                    const mcs_tensor *bias, float eps, const mcs_tensor *slope);
#endif
