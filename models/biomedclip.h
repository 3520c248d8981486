/* biomedclip.h - BiomedCLIP (Zhang et al. 2023, arXiv 2303.00915): a ViT and a BERT that map
 * pictures and captions to vectors of the same space.
 *
 *     mcs_error e = { 0 };
 *     mcs_biomedclip *m = mcs_biomedclip_load("open_clip_pytorch_model.bin", NULL, &e);
 *     mcs_image *im = mcs_image_read("scan.png", &e);
 *     mcs_ctx *c = mcs_ctx_new(NULL);
 *     mcs_tensor *x = mcs_biomedclip_image(c, m, im);
 *     mcs_tensor *a = mcs_biomedclip_encode_image(c, m, x);
 *     mcs_tensor *b = mcs_biomedclip_encode_caption(c, m, "chest X-ray with pneumonia");
 *     mcs_tensor *cosine = mcs_biomedclip_cosine(c, a, b);
 *     printf("%s%f\n", e.message, cosine ? (double)mcs_f32(cosine)[0] : 0.0);
 *
 * Weights and taps have open_clip's names whatever the file's layout: "visual.trunk.*" (vit.h),
 * "visual.head.proj", "text.transformer.*" (bert.h), "text.proj.0", "text.proj.2", "logit_scale".
 * A loaded model is const: contexts may share it.  Functions that take a context accept a NULL
 * model: MCS_EINVAL there, so that errors can be looked at once, at the end. */
#ifndef MCS_BIOMEDCLIP_H
#define MCS_BIOMEDCLIP_H
#include "image/preprocess.h"
#include "models/bert.h"
#include "models/vit.h"
#include "models/wordpiece.h"
#include "weights/weights.h"

typedef struct {
    mcs_vit_config vision;
    mcs_bert_config text;
    int text_hidden; /* width inside the text projection: 640 */
    int embed; /* width of the embeddings: 512 */
    int context; /* ids of a caption, [CLS] and [SEP] included: 256 */
} mcs_biomedclip_config;

typedef enum {
    MCS_CLIP_OPEN_CLIP, /* open_clip_pytorch_model.bin: visual.trunk.*, text.* */
    MCS_CLIP_HF /* MedCLIP-SAMv2's port: vision_model.*, text_model.*; q, k, v apart */
} mcs_clip_layout;

typedef struct mcs_biomedclip mcs_biomedclip;

/* ---- Models ---- */

mcs_biomedclip_config mcs_biomedclip_published(void); /* ViT-B/16 at 224, BERT-base */
/* Reads the sizes off an opened checkpoint of either layout: all from shapes, but for the numbers
 * of heads (64-wide ones) and the context (256), which the JSON object in the safetensors
 * metadata "mcs.config" may set ({"vision_heads": 12, "text_heads": 12, "context": 256}). */
mcs_status mcs_biomedclip_config_read(const mcs_checkpoint *k, mcs_biomedclip_config *cfg,
                                      mcs_clip_layout *layout, mcs_error *e) MCS_MUST_CHECK;
/* Declares a model without values: mcs_params_init(mcs_biomedclip_params(m), seed) or a load
 * follow.  NULL: see e (MCS_EINVAL names the field of cfg that is out of range). */
mcs_biomedclip *mcs_biomedclip_new(const mcs_biomedclip_config *cfg, mcs_error *e);
/* Opens a PyTorch file or safetensors of either layout, with any prefix ("model.", "module.",
 * "state_dict.", ...), and vocab.txt.  vocab NULL: the one beside the checkpoint; if there is
 * none, the model loads and only captions cannot be encoded.  MCS_EFORMAT: a vocabulary with
 * more tokens than the word embedding has rows.  NULL: see e. */
mcs_biomedclip *mcs_biomedclip_load(const char *path, const char *vocab, mcs_error *e);
mcs_biomedclip *mcs_biomedclip_load_flags(const char *path, const char *vocab, int flags,
                                          mcs_error *e); /* MCS_LOAD_* */
/* Writes safetensors in either layout, with the metadata that loading needs. */
mcs_status mcs_biomedclip_save(const mcs_biomedclip *m, const char *path, mcs_clip_layout layout,
                               mcs_stored_dtype dtype, mcs_error *e) MCS_MUST_CHECK;
void mcs_biomedclip_free(mcs_biomedclip *m); /* Nullable */

const mcs_biomedclip_config *mcs_biomedclip_get_config(const mcs_biomedclip *m);
mcs_params *mcs_biomedclip_params(const mcs_biomedclip *m); /* the weights, owned by m */
const mcs_wordpiece *mcs_biomedclip_vocab(const mcs_biomedclip *m); /* NULL: none loaded */
/* Gives the model a vocabulary, which it then owns (what it had is freed). */
mcs_status mcs_biomedclip_set_vocab(mcs_biomedclip *m, mcs_wordpiece *w,
                                    mcs_error *e) MCS_MUST_CHECK;
float mcs_biomedclip_scale(const mcs_biomedclip *m); /* exp(logit_scale), about 85 */
/* Name of the layer that CAMs explain by default: the last block's norm2. */
const char *mcs_biomedclip_cam_layer(const mcs_biomedclip *m);

/* ---- Pictures and captions to inputs ---- */

/* One picture as the published model sees it (shorter side to S with Pillow's bicubic, centre
 * crop, CLIP's mean and deviation), (1,3,S,S).  mcs_preprocess_clip() offers other fits. */
mcs_tensor *mcs_biomedclip_image(mcs_ctx *c, const mcs_biomedclip *m, const mcs_image *im);
/* `count` captions, cleaned and tokenised: ids I64 (count,N), N the longest one's length, padded
 * with [PAD].  NULL: see the context (MCS_ENOTFOUND: the model has no vocabulary). */
mcs_tensor *mcs_biomedclip_tokens(mcs_ctx *c, const mcs_biomedclip *m, const char *const *captions,
                                  int count);

/* ---- Embeddings, not normalised ---- */

/* (B,3,S,S) -> (B,E) */
mcs_tensor *mcs_biomedclip_encode_image(mcs_ctx *c, const mcs_biomedclip *m,
                                        const mcs_tensor *images);
/* ids I64 (B,N), mask U8 (B,N) -> (B,E).  mask NULL: every id but 0 is a token, as open_clip has
 * it.  Columns that are padding in every row are not computed. */
mcs_tensor *mcs_biomedclip_encode_text(mcs_ctx *c, const mcs_biomedclip *m, const mcs_tensor *ids,
                                       const mcs_tensor *mask);
mcs_tensor *mcs_biomedclip_encode_caption(mcs_ctx *c, const mcs_biomedclip *m,
                                          const char *caption); /* (1,E) */

/* (A,E), (B,E) -> cosines (A,B). */
mcs_tensor *mcs_biomedclip_cosine(mcs_ctx *c, const mcs_tensor *a, const mcs_tensor *b);
/* exp(logit_scale) * cosine: the contrastive logits, differentiable in logit_scale too. */
mcs_tensor *mcs_biomedclip_logits(mcs_ctx *c, const mcs_biomedclip *m, const mcs_tensor *images,
                                  const mcs_tensor *texts);
#endif
