/* sam_internal.h - the parts of SAM to each other.  Private. */
#ifndef MCS_SAM_INTERNAL_H
#define MCS_SAM_INTERNAL_H
#include "models/sam.h"

enum { MCS_SAM_MAX_MLP = 8, MCS_SAM_MAX_MASKS = 16 };   /* limits of a layout */

/* ---- sam_encoder.c ---- */
typedef struct mcs_sam_vit mcs_sam_vit;
mcs_sam_vit *mcs_sam_vit_new(mcs_ns ns, const mcs_sam_vit_config *cfg, int image);
/* (B,3,S,S) -> tokens (B,G,G,dim) */
mcs_tensor *mcs_sam_vit_tokens(mcs_ctx *c, const mcs_sam_vit *m, const mcs_tensor *image);

typedef struct {                    /* both encoders end with it */
    const char *name;
    mcs_conv conv1, conv2;          /* 1x1 dim -> out, 3x3 out -> out; no biases */
    mcs_layernorm norm1, norm2;     /* over channels */
} mcs_sam_neck;
void mcs_sam_neck_init(mcs_sam_neck *m, mcs_ns ns, int64_t dim, int64_t out);
/* tokens (B,G,G,dim) -> (B,out,G,G) */
mcs_tensor *mcs_sam_neck_forward(mcs_ctx *c, const mcs_sam_neck *m, const mcs_tensor *tokens);

/* ---- sam_prompt.c ---- */
typedef struct {
    int dim, grid, image;
    const char *mask_name;
    mcs_tensor *gaussian;           /* (2,dim/2) buffer: frequencies of the positional encoding */
    mcs_embedding_layer point[4];   /* background, object, box corners */
    mcs_embedding_layer not_a_point, no_mask;
    mcs_conv down[3];
    mcs_layernorm down_norm[2];
} mcs_sam_prompt_encoder;
void mcs_sam_prompt_init(mcs_sam_prompt_encoder *m, mcs_ns ns, const mcs_sam_decoder_config *cfg,
                         int grid, int image);
/* Positional encoding of the grid's cells as tokens, (1,G*G,dim).  A constant. */
mcs_tensor *mcs_sam_dense_pe(mcs_ctx *c, const mcs_sam_prompt_encoder *m);
/* Prompt i's tokens, (1,n,dim).  With neither box nor points there are none: *none is set. */
mcs_tensor *mcs_sam_sparse(mcs_ctx *c, const mcs_sam_prompt_encoder *m, const mcs_sam_prompts *p,
                           int i, bool *none);
/* What prompt i adds to the image tokens: (1,G*G,dim), or (1,1,dim) without a mask prompt. */
mcs_tensor *mcs_sam_dense(mcs_ctx *c, const mcs_sam_prompt_encoder *m, const mcs_sam_prompts *p,
                          int i);

/* ---- sam_decoder.c ---- */
typedef struct mcs_sam_decoder mcs_sam_decoder;
mcs_sam_decoder *mcs_sam_decoder_new(mcs_ns ns, const mcs_sam_decoder_config *cfg, int grid);
/* image (1,N,dim): embedding plus dense prompt, as tokens; pe (1,N,dim); sparse (1,n,dim),
 * Nullable.  Masks [first, first+count) as logits (count,4G,4G) and *iou (count). */
mcs_tensor *mcs_sam_decoder_forward(mcs_ctx *c, const mcs_sam_decoder *m, const mcs_tensor *image,
                                    const mcs_tensor *pe, const mcs_tensor *sparse, int first,
                                    int count, mcs_tensor **iou);

/* ---- sam.c ---- */
struct mcs_sam {
    mcs_params *params;
    mcs_sam_config cfg;
    int grid;
    mcs_sam_vit *vit;               /* one of the two encoders */
    mcs_tinyvit *tinyvit;
    mcs_sam_neck neck;
    mcs_sam_prompt_encoder prompt;
    mcs_sam_decoder *decoder;
};

/* False after mcs_fail() for a NULL model (a load whose error was not looked at yet). */
bool mcs_sam_ok(mcs_ctx *c, const mcs_sam *m);

/* ---- sam_config.c ---- */
/* MCS_EINVAL: the first field out of range. */
mcs_status mcs_sam_config_check(const mcs_sam_config *cfg, mcs_error *e) MCS_MUST_CHECK;
/* What stands before "image_encoder." in the checkpoint's names, of at most n-1 bytes. */
mcs_status mcs_sam_find_prefix(const mcs_checkpoint *k, char *prefix, size_t n,
                               mcs_error *e) MCS_MUST_CHECK;
#endif
