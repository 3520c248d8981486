/* clip_train_internal.h - the batch among ranks. */
#ifndef MCS_CLIP_TRAIN_INTERNAL_H
#define MCS_CLIP_TRAIN_INTERNAL_H
#include "models/clip_train.h"

/* Embeddings of a rank's share, [0] of pictures (b,E), [1] of captions (K*b,E), and where the
 * gradient of the loss of the whole batch goes. */
typedef struct {
    const float *values[2];
    float *grads[2];
} mcs_clip_share;

/* Collective.  Begins with an agreement on the context's status; what is in the context stays. */
mcs_status mcs_clip_couple_ranks(mcs_ctx *c, const mcs_biomedclip *m, const mcs_clip_batch *b,
                                 const mcs_clip_step_opts *o, const mcs_clip_share *share,
                                 double *value);
/* The context's status on which all ranks agree.  Nullable: comm. */
mcs_status mcs_clip_agree(mcs_ctx *c, mcs_comm *comm);
#endif
