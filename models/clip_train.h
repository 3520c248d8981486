/* clip_train.h - one training step of BiomedCLIP on a batch of picture-caption pairs: the
 * contrastive loss of the whole batch and its gradient in the weights, in the memory of a part.
 *
 *     mcs_params_train(mcs_biomedclip_params(m), "", true);
 *     mcs_optim *adamw = mcs_adamw_new(mcs_biomedclip_params(m), &settings);
 *     for each step:
 *         mcs_params_zero_grad(p);
 *         mcs_clip_step(c, m, &batch, &(mcs_clip_step_opts){ .loss = ..., .micro = 8 }, &loss);
 *         mcs_grad_clip(p, pool, 1.0);
 *         mcs_optim_step(adamw, pool, mcs_schedule_lr(&schedule, step), &e);
 */
#ifndef MCS_CLIP_TRAIN_H
#define MCS_CLIP_TRAIN_H
#include "losses/losses.h"
#include "models/biomedclip.h"
#include "nn/comm.h"

/* Pictures first .. first+count-1 of the batch as (count,3,S,S), made in c.  Called once for each
 * picture, or twice if the batch is worked off in parts, with the same answer both times.  NULL:
 * failed, see c. */
typedef mcs_tensor *mcs_clip_images(mcs_ctx *c, void *arg, int64_t first, int64_t count);

typedef struct {
    int64_t size; /* B pairs, at least 2 */
    int captions; /* K captions of every picture, at least 1 */
    int64_t length; /* N ids a caption */
    const int64_t *ids; /* (K,B,N): caption k of picture i, 0 ([PAD]) after its end */
    const uint8_t *negatives; /* Nullable; (K,B,B): 0 where caption k of picture j is no negative
                                 of picture i, that is, says something true of it */
    mcs_clip_images *images;
    void *images_arg; /* Nullable; passed on */
} mcs_clip_batch;

typedef struct {
    mcs_contrastive_opts loss; /* its `scale` and `negatives` are set here */
    bool learn_scale; /* logits are multiplied by exp(logit_scale), which gets a gradient, instead
                         of 1 / loss.temperature */
    int64_t micro; /* pairs in memory at a time; 0, or B and more: all in one pass */
    uint64_t seed, step; /* of the dropout masks */
    mcs_comm *comm; /* Nullable; the batch is this rank's share of one batch, see below */
} mcs_clip_step_opts;

/* Adds the gradient of the loss (the mean over the K sets of captions) to the weights that are
 * trained.  With micro < B it is computed in three rounds (Gao et al. 2021, "GradCache"):
 * embeddings of all parts without a tape; the loss over all B x B pairs and its gradient in the
 * embeddings; each part once more with a tape, from its share of that gradient.  The result equals
 * the one pass up to rounding, for the price of a second forward.
 * The context is reset on the way: tensors made in it before are gone, and its grad setting is as
 * before at the end.  MCS_ESHAPE, MCS_EINVAL, MCS_ENOMEM; MCS_ENUMERIC: the loss is not finite
 * (no gradient was added then); the message is in c.
 *
 * Among ranks (`comm`) each gives its share of the batch: `size` pairs, 0 or more, the same K, and
 * `negatives` of the whole batch (K,B,B), in which the shares stand one after the other.  Each rank
 * adds its part of the gradient of the loss of the whole batch; mcs_params_sum_grads() then gives
 * the gradient of all.  The loss is that of the whole batch on every rank, and so is the status:
 * if one fails, all do, with its message. */
mcs_status mcs_clip_step(mcs_ctx *c, const mcs_biomedclip *m, const mcs_clip_batch *b,
                         const mcs_clip_step_opts *o, double *loss) MCS_MUST_CHECK;

/* The loss alone, of embeddings that need not be normalised: image (B,E), text (K*B,E). */
mcs_tensor *mcs_clip_loss(mcs_ctx *c, const mcs_biomedclip *m, const mcs_tensor *image,
                          const mcs_tensor *text, const uint8_t *negatives,
                          const mcs_clip_step_opts *o);

/* About the bytes that the tape holds for one pair with captions of `length` ids, to choose
 * micro; `recompute`: in a context with mcs_set_recompute(). */
int64_t mcs_clip_pair_bytes(const mcs_biomedclip_config *cfg, int64_t length, int captions,
                            bool recompute);

/* ---- Which weights are trained ---- */

typedef struct {
    bool image; /* freeze the vision transformer; the projection "visual.head" is still trained */
    int image_groups; /* but for the last groups: 1 the last block and the norm, 2 one block more ... */
    bool text; /* freeze BERT; the projection "text.proj" is still trained */
    int text_layers; /* but for the last layers */
    bool text_norms; /* freeze the LayerNorms of a frozen BERT, too */
    bool scale; /* freeze logit_scale */
} mcs_clip_lock;

/* open_clip's --lock-image and --lock-text: gives gradients to all other weights and takes them
 * from these. */
mcs_status mcs_clip_train_lock(mcs_biomedclip *m, const mcs_clip_lock *lock,
                               mcs_error *e) MCS_MUST_CHECK;
#endif
