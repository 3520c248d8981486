/* sam.h - the Segment Anything Model (Kirillov et al. 2023, arXiv 2304.02643), with its ViT
 * encoders (vit_b, vit_l, vit_h) and the TinyViTs of MobileSAM (vit_t) and LiteMedSAM (lite).
 *
 * An image is encoded once; every prompt (boxes, points, a rough mask) is then decoded in
 * milliseconds.  Two frames of coordinates: the picture's own pixels, and the model's frame, the
 * square of `image` pixels (1024) into which the picture is scaled (longer side = image) and
 * zero-padded on the right and at the bottom.
 *
 *     mcs_sam *sam = mcs_sam_load("sam_vit_b.pth", &e);
 *     mcs_tensor *x = mcs_sam_image(c, sam, rgb, width, height);
 *     mcs_tensor *f = mcs_sam_encode(c, sam, x);
 *     float box[4];
 *     mcs_sam_coords(sam, width, height, 2, box_in_pixels, box, MCS_SAM_PREDICT);
 *     mcs_sam_masks m = mcs_sam_decode(c, sam, f, &(mcs_sam_prompts){ .count = 1, .boxes = box },
 *                                      false);
 *     mcs_tensor *logits = mcs_sam_resize(c, sam, m.logits, width, height);
 *     mcs_tensor *mask = mcs_sam_threshold(c, logits);
 *
 * A loaded model is const: contexts may share it.  A NULL model is MCS_EINVAL in the context, so that
 * a program may check once, at its end.  Everything is differentiable with respect to
 * weights, image, embedding and mask prompt; coordinates are constants. */
#ifndef MCS_SAM_H
#define MCS_SAM_H
#include "models/tinyvit.h"
#include "nn/nn.h"
#include "weights/weights.h"

enum { MCS_SAM_MAX_DEPTH = 64 };

typedef struct {                    /* ImageEncoderViT; vit_b / vit_l / vit_h */
    int patch;                      /* 16 */
    int dim, depth, heads;          /* 768 12 12 / 1024 24 16 / 1280 32 16 */
    int mlp_dim;                    /* 4 * dim */
    int window;                     /* 14 */
    uint64_t global_blocks;         /* bit i: block i attends over the whole grid:
                                     * {2,5,8,11} / {5,11,17,23} / {7,15,23,31} */
} mcs_sam_vit_config;

typedef struct {                    /* prompt encoder and mask decoder */
    int dim;                        /* 256: channels of the image embedding, too */
    int depth, heads;               /* 2, 8 */
    int mlp_dim, cross_dim;         /* 2048, 128: inner width of cross-attention */
    int mask_tokens;                /* 4: one mask, or three for ambiguous prompts */
    int iou_depth, iou_dim;         /* 3, 256 */
    int mask_channels;              /* 16: of the mask prompt's convolutions */
} mcs_sam_decoder_config;

typedef struct {
    int image;                      /* side of the square input in pixels: 1024 */
    bool minmax;                    /* pixels are scaled to [0,1] by the picture's own extremes, as
                                     * MedSAM and LiteMedSAM were trained, instead of SAM's mean
                                     * and deviation */
    bool tiny;                      /* TinyViT encoder instead of ViT */
    mcs_sam_vit_config vit;         /* if !tiny */
    mcs_tinyvit_config tinyvit;     /* if tiny */
    mcs_sam_decoder_config decoder;
} mcs_sam_config;

typedef struct mcs_sam mcs_sam;

/* ---- Models ---- */

/* The published layouts: "vit_b", "vit_l", "vit_h", "vit_t", "lite".  MCS_EINVAL: no such type. */
mcs_status mcs_sam_config_of(const char *type, mcs_sam_config *cfg, mcs_error *e) MCS_MUST_CHECK;
/* Reads the layout off an opened checkpoint: everything from names and shapes, but for the
 * decoder's number of heads, the scaling of pixels and (TinyViT) the image side, which come from
 * the JSON object in the safetensors metadata "mcs.config" ({"decoder_heads": 8, "minmax": 0,
 * "image": 1024}) if it is there, else are the published ones. */
mcs_status mcs_sam_config_read(const mcs_checkpoint *k, mcs_sam_config *cfg,
                               mcs_error *e) MCS_MUST_CHECK;
/* Declares a model without values: mcs_params_init(mcs_sam_params(m), seed) or a load follow.
 * NULL: see e (MCS_EINVAL names the field of cfg that is out of range). */
mcs_sam *mcs_sam_new(const mcs_sam_config *cfg, mcs_error *e);
/* Opens a .pth, .pt or .safetensors of any of the layouts and loads it.  Names may carry a prefix
 * ("module.", "model.", "sam_model.", ...).  NULL: see e. */
mcs_sam *mcs_sam_load(const char *path, mcs_error *e);
mcs_sam *mcs_sam_load_flags(const char *path, int flags, mcs_error *e);     /* MCS_LOAD_* */
/* Writes the weights with the metadata that mcs_sam_load() needs. */
mcs_status mcs_sam_save(const mcs_sam *m, const char *path, mcs_stored_dtype dtype,
                        mcs_error *e) MCS_MUST_CHECK;
void mcs_sam_free(mcs_sam *m);                                  /* Nullable */

const mcs_sam_config *mcs_sam_get_config(const mcs_sam *m);
/* "vit_b", "vit_l", "vit_h", "vit_t" or "lite"; "vit" or "tiny" for another size. */
const char *mcs_sam_type(const mcs_sam *m);
mcs_params *mcs_sam_params(const mcs_sam *m);   /* the weights, owned by m */
int mcs_sam_grid(const mcs_sam *m);             /* side of the embedding: 64 */

/* ---- From the picture to the model and back ---- */

/* Size of the picture inside the model's frame: longer side = image, rounded as the original. */
void mcs_sam_scaled_size(const mcs_sam *m, int width, int height, int *w, int *h);
/* 8-bit RGB, height x width x 3 -> (1,3,S,S): Pillow's bilinear resize to 8 bits, mean and
 * deviation of the original (or the picture's extremes, cfg.minmax), zeros to the right and below.
 * LiteMedSAM's own script resizes by cv2's INTER_AREA instead.  NULL: see the context. */
mcs_tensor *mcs_sam_image(mcs_ctx *c, const mcs_sam *m, const uint8_t *rgb, int width, int height);
/* n points (x,y) of the picture into the model's frame; a box is two points.  The original's
 * SamPredictor.predict() multiplies in float64 and rounds once, predict_torch() in float32: some
 * coordinates differ in the last bit. */
typedef enum { MCS_SAM_PREDICT, MCS_SAM_PREDICT_TORCH } mcs_sam_rounding;
void mcs_sam_coords(const mcs_sam *m, int width, int height, int64_t n, const double *xy,
                    float *out, mcs_sam_rounding r);
/* Low-resolution logits (B,M,4G,4G) -> (B,M,height,width): bilinear to S x S, the padding cut
 * off, bilinear to the picture.  A pixel belongs to the mask if its logit is > 0. */
mcs_tensor *mcs_sam_resize(mcs_ctx *c, const mcs_sam *m, const mcs_tensor *logits, int width,
                           int height);
/* logits > 0 as U8 0 or 1, same shape. */
mcs_tensor *mcs_sam_threshold(mcs_ctx *c, const mcs_tensor *logits);

/* ---- The model ---- */

/* (B,3,S,S) from mcs_sam_image() -> image embedding (B,256,G,G).  MCS_ESHAPE for other sizes. */
mcs_tensor *mcs_sam_encode(mcs_ctx *c, const mcs_sam *m, const mcs_tensor *image);

/* `count` independent prompts; each may have a box, points and a mask prompt.  Coordinates are in
 * the model's frame, as mcs_sam_coords() gives them. */
typedef struct {
    int count;                  /* at least 1 */
    const float *boxes;         /* (count,4): x0,y0,x1,y1.  Nullable */
    int points;                 /* points per prompt; 0: none */
    const float *xy;            /* (count,points,2) */
    const int *labels;          /* (count,points): 1 object, 0 background, -1 no point (padding) */
    const mcs_tensor *mask;     /* (count,1,4G,4G) logits of an earlier decode.  Nullable */
} mcs_sam_prompts;

typedef struct {
    mcs_tensor *logits;         /* (count,M,4G,4G), M = 1, or mask_tokens - 1 = 3 if multimask */
    mcs_tensor *iou;            /* (count,M): the model's estimate of each mask's IoU */
} mcs_sam_masks;

/* embedding (1,256,G,G), shared by all prompts, or (count,256,G,G), one each.  On failure both
 * members are NULL: see the context (MCS_ESHAPE, MCS_EINVAL for a label or a coordinate that is
 * not finite). */
mcs_sam_masks mcs_sam_decode(mcs_ctx *c, const mcs_sam *m, const mcs_tensor *embedding,
                             const mcs_sam_prompts *p, bool multimask);
#endif
