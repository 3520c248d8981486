/* tinyvit.h - TinyViT as MobileSAM and LiteMedSAM use it: the light image encoder of SAM.
 *
 * Wu et al. 2022 (arXiv 2207.10666), changed by Zhang et al. 2023 (MobileSAM, arXiv 2306.14289):
 * the last down-sampling keeps its resolution, so that the output is 1/16 of the input, and the
 * classifier is not run.  LiteMedSAM (Ma et al. 2024, bowang-lab/MedSAM) replaces the stem's strided
 * 3x3 convolutions by 1x1 ones, so that a picture of 256 gives the same grid of 64.  State-dict
 * names equal mobile_sam.pt's. */
#ifndef MCS_TINYVIT_H
#define MCS_TINYVIT_H
#include "nn/nn.h"

enum { MCS_TINYVIT_STAGES = 4 };

typedef struct {
    int dim[MCS_TINYVIT_STAGES];        /* 64 128 160 320 */
    int depth[MCS_TINYVIT_STAGES];      /* 2 2 6 2 */
    int heads[MCS_TINYVIT_STAGES];      /* - 4 5 10: stage 0 is convolutional */
    int window[MCS_TINYVIT_STAGES];     /* - 7 14 7 */
    int mlp_ratio, expand_ratio;        /* 4, 4: hidden widths of MLP and MBConv over dim */
    int stem_stride;                    /* 2: MobileSAM, 3x3 convolutions; 1: LiteMedSAM, 1x1 */
    int classes;                        /* 1000: the unused classifier's weights, kept so that a
                                         * saved file has them; 0: the file has none */
} mcs_tinyvit_config;

typedef struct mcs_tinyvit mcs_tinyvit;

/* Declares the weights under ns.  Owned by ns.params; NULL: see mcs_params_message(). */
mcs_tinyvit *mcs_tinyvit_new(mcs_ns ns, const mcs_tinyvit_config *cfg);

/* Pixels per side of a token: 16 (stem_stride 2) or 4. */
int mcs_tinyvit_reduction(const mcs_tinyvit_config *cfg);
/* (B,3,S,S), S divisible by the reduction r -> tokens (B,S/r,S/r,dim[3]).  In a training context
 * batch norm uses the batch; otherwise it is folded into the convolutions, differentiably. */
mcs_tensor *mcs_tinyvit_tokens(mcs_ctx *c, const mcs_tinyvit *m, const mcs_tensor *image);
#endif
