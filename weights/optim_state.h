/* optim_state.h - the state of an optimiser as safetensors: training goes on after loading as if
 * it had never stopped, bit for bit. */
#ifndef MCS_OPTIM_STATE_H
#define MCS_OPTIM_STATE_H
#include "nn/optim.h"
#include "weights/weights.h"

/* Tensors "<state>.<weight>" ("exp_avg.logit_scale") for every weight that has one, and the number
 * of steps as metadata "mcs.optim.steps".  p: the store that o updates.  meta: further metadata,
 * key, value, ..., NULL (Nullable, at most 32 pairs).  Written beside and renamed. */
mcs_status mcs_optim_save(mcs_optim *o, const mcs_params *p, const char *path,
                          const char *const *meta, mcs_error *e) MCS_MUST_CHECK;
/* Into an optimiser that has taken no step.  MCS_ENOTFOUND: a name that p has not, or no number of
 * steps; MCS_ESHAPE; MCS_ENUMERIC: not finite; MCS_EFORMAT: one of two moments is missing. */
mcs_status mcs_optim_load(mcs_optim *o, const mcs_params *p, mcs_checkpoint *k,
                          mcs_error *e) MCS_MUST_CHECK;
#endif
