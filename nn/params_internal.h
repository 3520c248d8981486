/* params_internal.h - the store behind mcs_params.  Private to nn/. */
#ifndef MCS_PARAMS_INTERNAL_H
#define MCS_PARAMS_INTERNAL_H
#include "nn/nn.h"
#include "tensor/op.h"

typedef struct {
    const char *name;           /* interned in the store */
    mcs_tensor tensor;
    mcs_node node;              /* the leaf, while trained */
    mcs_init init;
    bool buffer;
} mcs_param_slot;

typedef struct mcs_block { struct mcs_block *next; } mcs_block;

struct mcs_params {
    mcs_error error;
    mcs_param_slot **slots;     /* in order of declaration; each allocated by itself, since layers
                                   keep pointers to the tensors */
    int64_t count, capacity;
    int32_t *index;             /* open-addressed hash of names: slot + 1, 0 empty */
    int64_t index_size;         /* a power of two >= 2 * count */
    mcs_block *blocks;          /* interned strings, modules */
};

/* Fills x by init from numbers that depend on seed and name alone (init.c).  before: the weight
 * declared before x, NULL if none. */
void mcs_init_fill(mcs_tensor *x, mcs_init init, uint64_t seed, const char *name,
                   const mcs_tensor *before);
uint64_t mcs_name_hash(const char *name);
#endif
