/* comm_params.c - gradients and weights of a store among ranks.  Gradients are packed into blocks:
 * a network answers one message of 4 MB sooner than hundreds of short ones. */
#include <stdlib.h>
#include <string.h>
#include "nn/comm_internal.h"
#include "tensor/op.h"

typedef struct {
    mcs_params *params;
    mcs_comm *comm;
    float *block;
    int64_t weight, at; /* the next gradient to pack: entry, element */
} packing;

/* Copies between the block and the gradients from (weight, at) on, until the block is full or no
 * weight is left; moves on.  Returns the floats copied. */
static int64_t copy_block(packing *k, bool in)
{
    int64_t n = 0;
    while (k->weight < mcs_params_count(k->params) && n < MCS_COMM_BLOCK) {
        const mcs_tensor *x = mcs_params_at(k->params, k->weight).tensor;
        float *g = x->node ? x->node->grad : NULL;
        int64_t left = g ? mcs_numel(x) - k->at : 0;
        int64_t part = left < MCS_COMM_BLOCK - n ? left : MCS_COMM_BLOCK - n;
        if (part && in)
            memcpy(k->block + n, g + k->at, (size_t)part * sizeof *g);
        else if (part)
            memcpy(g + k->at, k->block + n, (size_t)part * sizeof *g);
        n += part;
        k->at += part;
        if (part == left) {
            k->weight++;
            k->at = 0;
        }
    }
    return n;
}

mcs_status mcs_params_sum_grads(mcs_params *p, mcs_comm *c, mcs_error *e)
{
    mcs_error mine = { MCS_OK, "" };
    if (!c)
        return MCS_OK;
    packing from = { p, c, malloc(MCS_COMM_BLOCK * sizeof(float)), 0, 0 };
    if (!from.block)
        mcs_error_set(&mine, MCS_ENOMEM, "ranks: out of memory for gradients");
    mcs_status s = mcs_comm_agree(c, &mine);
    if (s != MCS_OK)
        mcs_error_set(e, s, "%s", mine.message);
    while (s == MCS_OK && from.weight < mcs_params_count(p)) {
        packing to = from;
        int64_t n = copy_block(&from, true);
        s = mcs_comm_sum(c, from.block, n, e);
        if (s == MCS_OK)
            copy_block(&to, false);
    }
    free(from.block);
    return s;
}

mcs_status mcs_params_broadcast(mcs_params *p, mcs_comm *c, mcs_error *e)
{
    mcs_status s = MCS_OK;
    for (int64_t i = 0; c && i < mcs_params_count(p) && s == MCS_OK; i++) {
        const mcs_tensor *x = mcs_params_at(p, i).tensor;
        if (x->data)
            s = mcs_comm_broadcast(c, x->data, (size_t)mcs_numel(x) * sizeof(float), e);
    }
    if (c)
        mcs_params_touch(p);
    return s;
}
