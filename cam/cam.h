/* cam.h - class activation maps: where in the picture a score comes from.
 *
 * They explain any model whose modules call mcs_tap().  The model is a function from pictures to
 * feature vectors, and a score is the product of a picture's feature with a given vector: for
 * CLIP the text embedding (cosine, if both are L2-normalised), for a classifier a unit vector.
 * What does not depend on the text is done once and kept: several texts, given at once or one
 * after the other, share the forward pass and the features of the masked pictures.
 *
 *     mcs_cam *cam = mcs_cam_new(c, &model, image);
 *     mcs_tensor *maps = mcs_gscorecam(cam, text, NULL, NULL);       (P, grid_h, grid_w)
 *     if (!maps)
 *         ... mcs_ctx_message(c)                                                          */
#ifndef MCS_CAM_H
#define MCS_CAM_H
#include "tensor/tensor.h"

/* Features of a batch: (B,3,H,W) -> (B,D), f32.  Must pass the watched layer through mcs_tap()
 * under its name.  NULL: failed, the context has the error. */
typedef mcs_tensor *mcs_cam_features(mcs_ctx *c, const mcs_tensor *images, void *arg);

typedef struct {
    mcs_cam_features *features;
    void *arg;
    /* A tap: "visual.trunk.blocks.11.norm2".  With a grid its output is
     * (1, skip + grid_h * grid_w, C), row by row after `skip` leading tokens that are no patches
     * (class token: 1); with grid 0, 0 it is (1,C,h,w). */
    const char *layer;
    int grid_h, grid_w;
    int skip;
} mcs_cam_model;

/* What ranks or weighs the channels. */
typedef enum {
    /* The gradient at token 0, the rule of gScoreCAM's authors for transformers.  Without leading
     * tokens as MCS_CAM_AT_PATCH. */
    MCS_CAM_AT_CLS,
    /* The mean of the gradient over the grid.  Identically zero if no attention follows the layer.
     * Ties: lower channels first. */
    MCS_CAM_AT_PATCH,
    /* The same, but ties are left as PyTorch's topk on a CPU leaves them.  This is what the released
     * MedCLIP-SAM computes: on BiomedCLIP's last norm2 the channels 385-576, 601-612, 672-767
     * whatever picture and text. */
    MCS_CAM_AT_OFFICIAL
} mcs_cam_at;

typedef struct {
    mcs_cam_at at;
    int top_k; /* gscorecam: channels that are scored; 0: 300 (or all) */
    float scale; /* scores are scale * <feature, text>: exp(logit_scale); 0: 100 */
    int batch; /* masked pictures per forward pass; 0: 8 */
} mcs_cam_opts;

typedef struct mcs_cam mcs_cam;

/* Runs the model on image (1,3,H,W) with the layer watched.  The object, the image and all maps
 * live in the context until it is reset.  Clears the context's hooks; leaves its grad setting.
 * The model's weights should be frozen: those that are not receive gradients.
 * NULL: see the context: MCS_ENOTFOUND (no such layer; the message names the nearest),
 * MCS_ESHAPE (the layer's output does not fit the grid), MCS_ENUMERIC (NaN or infinity in the
 * layer's output), MCS_EINVAL (the features do not depend on the layer). */
mcs_cam *mcs_cam_new(mcs_ctx *c, const mcs_cam_model *m, const mcs_tensor *image);
int64_t mcs_cam_channels(const mcs_cam *cam);
/* The features (1,D) of the picture itself. */
const mcs_tensor *mcs_cam_feature(const mcs_cam *cam);

/* All maps: text (P,D) -> (P, grid_h, grid_w), each ReLU'd and scaled to [0,1] as
 * (m - min) / (1e-8 + max(m - min)).  peak (P), Nullable: the largest value before scaling; 0:
 * the map is empty.  Nullable: o (all fields 0).  NULL cam -> NULL.  A_c: the layer's output. */

/* gScoreCAM (Chen et al., ACCV 2022): w = softmax over all C of v, v_c = scale <f(image * M_c),
 * text> for the top_k channels and 0 for the others; m = sum_c w_c A_c.  M_c: A_c enlarged to the
 * image (align_corners) and scaled to [0,1].  A NaN score counts as 0.  At most `batch` masked
 * pictures are held at a time, each is embedded once for all texts. */
mcs_tensor *mcs_gscorecam(mcs_cam *cam, const mcs_tensor *text, const mcs_cam_opts *o, float *peak);
/* ScoreCAM (Wang et al., CVPR workshops 2020): the same over all channels. */
mcs_tensor *mcs_scorecam(mcs_cam *cam, const mcs_tensor *text, const mcs_cam_opts *o, float *peak);

/* Maps from the gradient G of the score with respect to A alone; <.> is the mean over the grid.
 *   MCS_GRADCAM           sum_c <G_c> A_c                            (Selvaraju et al. 2017)
 *   MCS_GRADCAM_PLUSPLUS  sum_c w_c A_c, w = sum relu(G) a,
 *                         a = G^2 / (2 G^2 + sum(A) G^3 + 1e-6)      (Chattopadhay et al. 2018)
 *   MCS_GRADCAM_X         sum_c w_c A_c, w = sum G A / (sum A + 1e-7)  (Fu et al. 2020)
 *   MCS_GRADCAM_LAYER     sum_c relu(G_c) A_c, point by point        (Jiang et al. 2021)
 * With o->at MCS_CAM_AT_CLS, G is the gradient at the class token for every patch. */
typedef enum {
    MCS_GRADCAM,
    MCS_GRADCAM_PLUSPLUS,
    MCS_GRADCAM_X,
    MCS_GRADCAM_LAYER
} mcs_gradcam_kind;
mcs_tensor *mcs_gradcam(mcs_cam *cam, mcs_gradcam_kind kind, const mcs_tensor *text,
                        const mcs_cam_opts *o, float *peak);

/* M2IB (Wang, Rudner, Wilson, NeurIPS 2023): noise replaces what the text does not need of the
 * layer's output, t = l x + (1 - l) e with e ~ N(0,1) and l = sigmoid(a) for every element; the map
 * is what is left, KL(t || N(0,1)) summed over the channels.  a is found by Adam (betas .9, .999, eps
 * 1e-8) from 5 on, on beta * mean KL - mean <f(t), text>; as in the released code the KL is that
 * of the last forward pass, before the last step.  Attention must follow the layer: a block, e.g.
 * "visual.trunk.blocks.7" of 12, not the last.  Layers before it run once for all samples if
 * nothing bypasses it. */
typedef struct {
    float beta; /* weight of the KL: 0.1 */
    float lr; /* 1 */
    int steps; /* 10 */
    int samples; /* noises per step: 10 */
    uint64_t seed; /* the noise is a function of seed, step and place, the same for all texts */
    const float *noise; /* (steps, samples, elements of the layer) to use instead; Nullable */
} mcs_m2ib_opts;
mcs_m2ib_opts mcs_m2ib_defaults(void);
/* Nullable: o (the defaults).  MCS_EINVAL: an option is out of range. */
mcs_tensor *mcs_m2ib(mcs_cam *cam, const mcs_tensor *text, const mcs_m2ib_opts *o, float *peak);

/* EigenCAM (Muhammad and Yeasin, IJCNN 2020): the projection of A, its mean over the grid taken off,
 * on its first right singular vector; no text.  The sign: the value of largest size is positive.
 * (1, grid_h, grid_w); peak: one. */
mcs_tensor *mcs_eigencam(mcs_cam *cam, float *peak);

/* ---- Maps that need no layer of channels: m->layer is not used ---- */

/* Relevance (Chefer, Gur, Wolf, ICCV 2021) of the patches to the class token through all attention
 * layers: R = I, then for each layer in order of execution R += mean over heads of relu(dA * A) R;
 * the map is row 0 of R at the patches.  A: the tap of a layer's probabilities
 * (1,heads,skip+N,skip+N), e.g. "visual.trunk.blocks.0.attn.probs"; dA: the gradient of
 * <feature, text>.  m->skip >= 1.  Clears the context's hooks, as mcs_cam_new(). */
mcs_tensor *mcs_relevance(mcs_ctx *c, const mcs_cam_model *m, const char *const *probs, int layers,
                          const mcs_tensor *image, const mcs_tensor *text, float *peak);

/* Keep-window scan: for every cell of the grid all but a soft disc around its centre is set to the
 * mean colour, image * sigmoid(8 (1 - distance / radius)); the map is <feature, text>, averaged
 * over the radii (pixels of the input), scaled to [0,1] by its extremes.  grid_h * grid_w forward
 * pictures per radius, for all texts together; at most batch (0: 8) at a time. */
mcs_tensor *mcs_keep_scan(mcs_ctx *c, const mcs_cam_model *m, const float *radii, int count,
                          int batch, const mcs_tensor *image, const mcs_tensor *text);

/* RISE (Petsiuk, Das, Saenko, BMVC 2018): 1 / (masks keep) sum_i <f(image * M_i), text> M_i over
 * random masks M_i, averaged over the cells of the map, scaled to [0,1] by its extremes.  M_i: a
 * grid x grid picture of ones (probability keep) and zeros, enlarged bilinearly to (grid + 1) cells
 * of ceil(side / grid) pixels and cut out at a random offset within a cell.  grid_h and grid_w must
 * divide the picture's sides; those of the picture itself give the map at full size. */
enum { MCS_RISE_GRID_MAX = 64 };
typedef struct {
    int masks; /* 1000; the paper: 8000 */
    int grid; /* 8 */
    float keep; /* 0.5 */
    int batch; /* masked pictures per forward pass; 0: 8 */
    /* Scores less their mean: what is expected stays the same but for a constant, the noise of
     * the sample is a fraction of it.  Off: as published. */
    bool centred; /* true */
    uint64_t seed;
    const uint8_t *cells; /* (masks, grid, grid) of 0 and 1, and */
    const int *offsets; /* (masks, 2), down and right, to use instead; Nullable, both */
} mcs_rise_opts;
mcs_rise_opts mcs_rise_defaults(void);
/* Nullable: o (the defaults), peak.  MCS_EINVAL: an option is out of range. */
mcs_tensor *mcs_rise(mcs_ctx *c, const mcs_cam_model *m, const mcs_rise_opts *o,
                     const mcs_tensor *image, const mcs_tensor *text, float *peak);

/* A map (gh, gw) enlarged to (h, w) as cv2.resize(INTER_LINEAR), then scaled to [0,1] again as
 * above: the published treatment. */
void mcs_cam_enlarge(const float *map, int gw, int gh, float *out, int w, int h);
#endif
