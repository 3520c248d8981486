/* model_internal.h - what the models declare and look for alike.  Private. */
#ifndef MCS_MODEL_INTERNAL_H
#define MCS_MODEL_INTERNAL_H
#include "weights/weights.h"

/* What is wrong with the sizes of a transformer ("depth must be 1..128"); NULL: nothing. */
const char *mcs_transformer_wrong(int dim, int depth, int heads, int mlp_dim);
/* After weights of `model` could not be declared in p (Nullable): e says why, p is freed. */
void mcs_declare_failed(mcs_params *p, const char *model, mcs_error *e);
/* Does name end with tail?  Then what stands before it goes to prefix, at most n-1 bytes. */
bool mcs_prefix_of(const char *name, const char *tail, char *prefix, size_t n);
#endif
