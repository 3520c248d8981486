/* model.c - what the models declare and look for alike.
 *
 * Sizes are bounded so that no product of theirs overflows and a hostile file cannot ask for more
 * than a large model needs.  Checkpoints of one model differ in what stands before its names
 * ("module.", "model."): the name of a weight that all of them have tells. */
#include <string.h>
#include "models/model_internal.h"

const char *mcs_transformer_wrong(int dim, int depth, int heads, int mlp_dim)
{
    if (dim < 1 || dim > 1 << 15)
        return "dim must be 1..32768";
    if (heads < 1 || dim % heads)
        return "heads must be at least 1 and divide dim";
    if (depth < 1 || depth > 128)
        return "depth must be 1..128";
    if (mlp_dim < 1 || mlp_dim > 1 << 17)
        return "mlp_dim must be 1..131072";
    return NULL;
}

void mcs_declare_failed(mcs_params *p, const char *model, mcs_error *e)
{
    mcs_error_set(e, p && mcs_params_status(p) ? mcs_params_status(p) : MCS_ENOMEM,
                  "%s: declaring the weights: %s", model,
                  p ? mcs_params_message(p) : "out of memory");
    mcs_params_free(p);
}

bool mcs_prefix_of(const char *name, const char *tail, char *prefix, size_t n)
{
    size_t len = strlen(name), end = strlen(tail);
    if (len < end || len - end >= n || strcmp(name + len - end, tail) != 0)
        return false;
    memcpy(prefix, name, len - end);
    prefix[len - end] = 0;
    return true;
}
