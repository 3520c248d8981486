/* vit.h - the Vision Transformer (Dosovitskiy et al. 2021, arXiv 2010.11929) in timm's naming:
 * vit_base_patch16_224 and other sizes of the same structure.
 *
 * Taps, for CAMs and comparisons: "<ns>.patch_embed", and for every block i "<ns>.blocks.i" and
 * below it .norm1 .attn .attn.qkv .attn.probs .attn.proj .norm2 .mlp .mlp.fc1 .mlp.fc2, last
 * "<ns>.norm".  All are (B,1+N,...) with the class token first; .attn.probs is
 * (B,heads,1+N,1+N). */
#ifndef MCS_VIT_H
#define MCS_VIT_H
#include "nn/nn.h"

typedef struct {
    int image; /* side of the square input in pixels: 224 */
    int patch; /* 16; divides image */
    int dim, depth, heads; /* 768, 12, 12; heads divides dim */
    int mlp_dim; /* 3072 */
} mcs_vit_config;

typedef struct mcs_vit mcs_vit;

/* MCS_EINVAL names the field that is out of range. */
mcs_status mcs_vit_check(const mcs_vit_config *cfg, mcs_error *e) MCS_MUST_CHECK;
/* Declares the weights under ns ("visual.trunk"); the store owns the model.  cfg must have
 * passed mcs_vit_check().  NULL: the store's status. */
mcs_vit *mcs_vit_new(mcs_ns ns, const mcs_vit_config *cfg);

/* (B,3,S,S), normalised -> (B,1+N,C): all tokens after the final norm; token 0 is the class token,
 * the others are the patches row by row.  MCS_ESHAPE for other sizes. */
mcs_tensor *mcs_vit_tokens(mcs_ctx *c, const mcs_vit *m, const mcs_tensor *images);
/* The class token of that, (B,C).  The last block is computed for the class token alone (7 % less
 * work, results equal up to rounding) unless something of that block or the final norm is
 * watched, replaced or traced. */
mcs_tensor *mcs_vit_cls(mcs_ctx *c, const mcs_vit *m, const mcs_tensor *images);
#endif
