/* embedding.c - torch.nn.Embedding: weight (count,dim). */
#include "nn/nn.h"

void mcs_embedding_init(mcs_embedding_layer *m, mcs_ns ns, int64_t count, int64_t dim)
{
    m->name = ns.path;
    m->weight = mcs_param(ns, "weight", MCS_INIT_NORMAL02, 2, MCS_SHAPE(count, dim));
}

mcs_tensor *mcs_embedding_forward(mcs_ctx *c, const mcs_embedding_layer *m, const mcs_tensor *ids)
{
    return mcs_tap(c, m->name, mcs_embedding(c, m->weight, ids));
}
