/* clip_resize.h - a BiomedCLIP for pictures or patches of another size, with the weights of one it
 * knows: to begin with large patches, which are cheap, and go on with small ones. */
#ifndef MCS_CLIP_RESIZE_H
#define MCS_CLIP_RESIZE_H
#include "models/biomedclip.h"

/* The same weights, but for the patch embedding and the positions, which are resized for pictures
 * of image x image pixels cut in patches of patch x patch.  Positions: the grid resampled with the
 * antialiased bicubic filter, the class token's as it is (timm's resample_abs_pos_embed).  Patches:
 * the filters that answer a resized patch most nearly as the old ones answered the patch (Beyer et
 * al. 2023, FlexiViT, eq. 2; timm's resample_patch_embed); exactly so when patches grow.  The
 * vocabulary is not taken over.  NULL: see e (MCS_EINVAL: image is no multiple of patch). */
mcs_biomedclip *mcs_biomedclip_resized(const mcs_biomedclip *m, int image, int patch, mcs_error *e);
#endif
