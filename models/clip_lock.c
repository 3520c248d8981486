/* clip_lock.c - which weights of BiomedCLIP are trained: open_clip's rules.
 *
 * TimmModel.lock(): groups of the vision transformer are the stem, then each block; the final norm
 * belongs to the last block's group.  HFTextEncoder.lock(): groups are the embeddings, then each
 * layer; LayerNorms stay trained unless asked.  Both leave the projections trained. */
#include <stdlib.h>
#include <string.h>
#include "models/clip_train.h"

static const char trunk[] = "visual.trunk.", bert[] = "text.transformer.";

/* The number after `head` in name, or -1. */
static int number_after(const char *name, const char *head)
{
    size_t n = strlen(head);
    return strncmp(name, head, n) == 0 ? (int)strtol(name + n, NULL, 10) : -1;
}

static bool image_locked(const mcs_biomedclip_config *cfg, const mcs_clip_lock *lock,
                         const char *name)
{
    if (!lock->image || strncmp(name, trunk, sizeof trunk - 1) != 0)
        return false;
    int block = number_after(name, "visual.trunk.blocks.");
    int group = block >= 0 ? 1 + block : 0; /* 0: the stem */
    if (strncmp(name, "visual.trunk.norm.", 18) == 0)
        group = cfg->vision.depth;
    return group <= cfg->vision.depth - lock->image_groups;
}

static bool text_locked(const mcs_biomedclip_config *cfg, const mcs_clip_lock *lock,
                        const char *name)
{
    if (!lock->text || strncmp(name, bert, sizeof bert - 1) != 0)
        return false;
    if (strstr(name, ".LayerNorm.") && !lock->text_norms)
        return false;
    int layer = number_after(name, "text.transformer.encoder.layer.");
    int group = layer >= 0 ? 1 + layer : 0; /* 0: the embeddings */
    return group <= cfg->text.depth - lock->text_layers;
}

mcs_status mcs_clip_train_lock(mcs_biomedclip *m, const mcs_clip_lock *lock, mcs_error *e)
{
    mcs_params *p = mcs_biomedclip_params(m);
    const mcs_biomedclip_config *cfg = mcs_biomedclip_get_config(m);
    if (lock->image_groups < 0 || lock->text_layers < 0)
        return mcs_error_set(e, MCS_EINVAL, "unlocked groups and layers must be >= 0");
    for (int64_t i = 0; i < mcs_params_count(p); i++) {
        const char *name = mcs_params_at(p, i).name;
        bool locked = image_locked(cfg, lock, name) || text_locked(cfg, lock, name) ||
                      (lock->scale && strcmp(name, "logit_scale") == 0);
        if (mcs_params_train(p, name, !locked) != MCS_OK)
            return mcs_error_set(e, mcs_params_status(p), "%s", mcs_params_message(p));
    }
    return MCS_OK;
}
