/* biomedclip_internal.h - the pieces of BiomedCLIP: model, layouts. */
#ifndef MCS_BIOMEDCLIP_INTERNAL_H
#define MCS_BIOMEDCLIP_INTERNAL_H
#include "models/biomedclip.h"

enum { MCS_CLIP_NAME_MAX = 256, MCS_CLIP_PARTS_MAX = 3 };

struct mcs_biomedclip {
    mcs_params *params; /* owns this struct */
    mcs_biomedclip_config cfg;
    mcs_vit *vision;
    mcs_bert *text;
    mcs_linear_layer head, proj_in, proj_out; /* without bias */
    mcs_tensor *logit_scale; /* scalar */
    const char *cam_layer;
    mcs_wordpiece *vocab; /* owned; NULL: none */
};

/* The names of one of our weights in the HF layout: 1, or 3 (q, k, v) whose rows follow each
 * other in ours. */
int mcs_clip_hf_names(const char *ours, char name[MCS_CLIP_PARTS_MAX][MCS_CLIP_NAME_MAX]);
/* What stands before the names of a BiomedCLIP in the file, and its layout. */
mcs_status mcs_clip_find_layout(const mcs_checkpoint *k, mcs_clip_layout *layout, char *prefix,
                                size_t n, mcs_error *e) MCS_MUST_CHECK;
/* mcs_params_load() for a file in the HF layout. */
mcs_status mcs_clip_load_hf(mcs_params *p, mcs_checkpoint *k, const char *prefix, int flags,
                            mcs_error *e) MCS_MUST_CHECK;
mcs_status mcs_clip_save_hf(const mcs_params *p, const char *path, const char *const *meta,
                            mcs_stored_dtype dtype, mcs_error *e) MCS_MUST_CHECK;
/* Name endings that are neither missing nor unexpected. */
extern const char *const mcs_clip_ignored[];
#endif
