/* medclip_sam.h - the composed system: picture + text -> saliency -> coarse mask -> boxes -> mask.
 *
 * MedCLIP-SAM (Koleilat et al., MICCAI 2024, arXiv 2403.20253): BiomedCLIP explains its own
 * image-text score by a class activation map, a dense CRF turns the map into a coarse mask, the
 * box around it prompts the Segment Anything Model.  Boxes and points given by the user skip the
 * text stage.
 *
 * A loaded model is const: contexts may share it.  All functions take a context for its pool,
 * memory limit and error; what they return is allocated with malloc and outlives the context. */
#ifndef MCS_MEDCLIP_SAM_H
#define MCS_MEDCLIP_SAM_H
#include "image/image.h"
#include "tensor/tensor.h"

/* ---- Model ---- */

typedef struct {
    const char *clip;           /* BiomedCLIP checkpoint; Nullable: boxes and points only */
    const char *vocab;          /* Nullable: "vocab.txt" in the folder of `clip` */
    const char *sam;            /* SAM checkpoint; Nullable: the work ends with the coarse mask */
    const char *sam_type;       /* "vit_b", "vit_l", "vit_h", "vit_t"; Nullable: from the shapes */
    bool allow_nan;             /* else NaN or infinity in a weight is MCS_ENUMERIC */
} mcs_zeroshot_files;

typedef struct mcs_medclip_sam mcs_medclip_sam;

/* NULL: see e (MCS_EIO, MCS_EFORMAT, MCS_ESHAPE, MCS_ENOTFOUND, MCS_ENOMEM, MCS_ENUMERIC; the
 * message begins with the path of the file concerned). */
mcs_medclip_sam *mcs_medclip_sam_load(const mcs_zeroshot_files *files, mcs_error *e);
void mcs_medclip_sam_free(mcs_medclip_sam *m);          /* Nullable */

typedef struct {                /* what was loaded; zero or "" for a part that is absent */
    int clip_size, clip_patch, clip_depth, clip_embed;  /* 224, 16, 12, 512 */
    int64_t clip_weights, sam_weights;                  /* numbers of parameters */
    float logit_scale;          /* exp() of the checkpoint's own parameter, about 85 */
    char cam_layer[64];         /* what layer "auto" means: the last block's norm2 */
    char sam_type[8];
} mcs_zeroshot_info;
mcs_zeroshot_info mcs_medclip_sam_info(const mcs_medclip_sam *m);

/* Runs the image tower once on an empty picture and calls fn for every output that can be named
 * as a CAM layer, in order of execution. */
mcs_status mcs_medclip_sam_layers(mcs_ctx *c, const mcs_medclip_sam *m,
                                  void (*fn)(const char *name, const mcs_tensor *x, void *arg),
                                  void *arg) MCS_MUST_CHECK;

/* ---- Options.  Zero-initialise by mcs_zeroshot_defaults() only. ---- */

typedef enum { /* cam.h has the formulas */
    MCS_CAM_GSCORECAM, MCS_CAM_SCORECAM, MCS_CAM_GRADCAM, MCS_CAM_GRADCAM_PLUSPLUS,
    MCS_CAM_LAYERCAM, MCS_CAM_XGRADCAM,
    MCS_CAM_RELEVANCE,          /* Chefer et al. 2021, through all attention layers */
    MCS_CAM_SCAN,               /* keep-window scan */
    MCS_CAM_M2IB,               /* information bottleneck, as version 2 of the method */
    MCS_CAM_EIGENCAM,           /* principal direction; the text is not looked at */
    MCS_CAM_RISE                /* random masks */
} mcs_zeroshot_cam;
enum { MCS_CAM_FACTORS = 4 };
typedef enum {                  /* which gradient ranks (gScoreCAM) or weighs (Grad-CAM) channels */
    MCS_CAM_GRADIENT_CLS,       /* at the class token: gScoreCAM's own rule for transformers */
    MCS_CAM_GRADIENT_PATCH,     /* mean over patch tokens: zero at the default layer */
    MCS_CAM_GRADIENT_OFFICIAL   /* patch tokens, ties as PyTorch's topk leaves them: channels
                                 * 385-576, 601-612, 672-767 whatever the picture and text */
} mcs_zeroshot_gradient;
typedef enum {                  /* how a picture that is not square meets the square input */
    MCS_ZEROSHOT_SQUASH,             /* resized to the square; the map covers the whole picture */
    MCS_ZEROSHOT_CROP,               /* shorter side, centre crop; the map is put back, 0 outside */
    MCS_ZEROSHOT_STRETCH             /* centre crop, map stretched over everything (released code) */
} mcs_zeroshot_fit;
typedef enum { MCS_ENSEMBLE_EMBEDDING, MCS_ENSEMBLE_MAP } mcs_zeroshot_ensemble;
typedef enum {                  /* what is done with negative texts */
    MCS_NEGATIVE_EMBEDDING,     /* explained is cos(text) - weight * mean of the negatives' cos */
    MCS_NEGATIVE_MAP,           /* relu(map - weight * mean of the negatives' maps) */
    MCS_NEGATIVE_RELEVANCE      /* as EMBEDDING, but in the relevance map alone: for products */
} mcs_zeroshot_negative;
typedef enum {
    MCS_COARSE_CRF,
    MCS_COARSE_OTSU,
    MCS_COARSE_KMEANS,
    MCS_COARSE_THRESHOLD,
    MCS_COARSE_NONE             /* every pixel with saliency > 0 */
} mcs_zeroshot_coarse;
typedef enum { MCS_SAM_BOXES, MCS_SAM_POINTS, MCS_SAM_BOTH } mcs_zeroshot_prompts;
typedef enum { MCS_EMPTY_WHOLE, MCS_EMPTY_SKIP } mcs_zeroshot_empty;

typedef struct {
    /* Saliency: the product of cam_count maps, each scaled to [0,1].  A blurred map that chooses
     * the right structure times a sharp but noisy one is better than either. */
    mcs_zeroshot_cam cams[MCS_CAM_FACTORS];
    int cam_count;              /* 1 */
    mcs_zeroshot_gradient gradient;
    mcs_zeroshot_fit fit;
    mcs_zeroshot_ensemble ensemble;
    mcs_zeroshot_negative negative;
    float negative_weight;      /* 1 */
    const char *cam_layer;      /* Nullable: info.cam_layer */
    float cam_scale;            /* multiplies cosines in the channel scores; 0: info.logit_scale */
    int topk;                   /* channels that gScoreCAM scores: 300 */
    int batch;                  /* masked pictures per forward; 0: the library chooses */
    float m2ib_beta, m2ib_lr;   /* weight of the compression, step of Adam: 0.1, 1 */
    int m2ib_layer;             /* block after which the bottleneck stands, from 0; -1: the fifth from
                                 * the end (7 of 12, version 2's default), or the first */
    int m2ib_steps;             /* 10 */
    int rise_masks, rise_grid;  /* 1000, 8 */
    float rise_keep;            /* probability that a cell of a mask is kept: 0.5 */
    bool check_prompt;          /* compute nonsense_corr */

    /* Coarse mask */
    mcs_zeroshot_coarse coarse;
    float gaussian_sxy, gaussian_compat;                        /* 3, 3 */
    float bilateral_sxy, bilateral_srgb, bilateral_compat;      /* 60, 5, 5 */
    float epsilon, tau;         /* unaries: 1e-8, 1.05 */
    int crf_iters;              /* mean-field iterations: 1 */
    float threshold;            /* MCS_COARSE_THRESHOLD: 0.3 */
    bool overlay_saliency;      /* released code: the CRF reads the JET overlay as grey levels */
    int num_contours;           /* largest 8-connected components kept: 1; 0: all */
    int64_t min_size;           /* pixels; smaller components are dropped: 0 */
    int64_t fill_holes;         /* pixels; holes of at most as many are filled: 0 */

    /* SAM */
    mcs_zeroshot_prompts prompts;
    bool multi_contour;         /* one box per component instead of one around all that is kept;
                                 * masks are joined */
    bool contour_holes;         /* released code: with multi_contour, holes get boxes too */
    bool multimask;             /* three masks, the one with the best iou_pred is taken */
    int refine;                 /* further passes, with the logits of the one before as mask prompt
                                 * beside boxes and points: 0 */
    bool match_contours;        /* of a text's mask, as many of the largest components are kept as the
                                 * coarse mask has (version 2 of the released code) */
    float pad_box;              /* percent of the box's side added on each side: 0 */
    int points;                 /* random points inside the coarse mask (prompts points, both): 10 */
    int background_points;      /* and as many outside it, as background: 0 */
    mcs_zeroshot_empty empty;   /* no coarse mask: box around the whole picture, or empty mask */
    uint64_t seed;              /* choice of points, noise of m2ib, masks of rise */
} mcs_zeroshot_opts;

typedef enum {
    MCS_PRESET_PAPER,           /* the method as published; the default */
    MCS_PRESET_OFFICIAL_CODE,   /* every quirk of the released code at once, for comparison:
                                 * gradient OFFICIAL, fit STRETCH, overlay_saliency, contour_holes,
                                 * num_contours 0 (the box is that of the largest contour) */
    MCS_PRESET_V2               /* MedCLIP-SAMv2 (arXiv 2409.19483): M2IB, k-means, match_contours;
                                 * its reach of the CRF, if that is asked for */
} mcs_zeroshot_preset;
void mcs_zeroshot_defaults(mcs_zeroshot_opts *o, mcs_zeroshot_preset preset);
/* Sets cams from "gscorecam", "gscorecam*relevance", ...: MCS_EINVAL lists the names. */
mcs_status mcs_zeroshot_set_cam(mcs_zeroshot_opts *o, const char *text, mcs_error *e) MCS_MUST_CHECK;
/* MCS_EINVAL names the field and its range. */
mcs_status mcs_zeroshot_check(const mcs_zeroshot_opts *o, mcs_error *e) MCS_MUST_CHECK;

/* ---- Work ---- */

typedef struct { float x, y; int label; } mcs_zeroshot_point;   /* 1 object, 0 background */
typedef struct { float x0, y0, x1, y1; } mcs_zeroshot_box;      /* pixels of the picture */

/* What to look for.  Given boxes or points replace the text stage: no saliency is computed. */
typedef struct {
    const char *const *texts;   /* one text, or several: an ensemble */
    int text_count;
    const mcs_tensor *embedding;        /* mcs_medclip_sam_text() of these texts, to compute it
                                         * once for many pictures; Nullable: computed here */
    const char *const *negatives;       /* texts of what it is not, or that say nothing */
    int negative_count;
    const mcs_tensor *negative_embedding;       /* Nullable, as embedding */
    const mcs_zeroshot_box *boxes;
    int box_count;
    const mcs_zeroshot_point *points;
    int point_count;
} mcs_zeroshot_query;

/* L2-normalised text embeddings (count, D), in the context.  NULL: see the context. */
mcs_tensor *mcs_medclip_sam_text(mcs_ctx *c, const mcs_medclip_sam *m, const char *const *texts,
                                 int count);

enum { /* seconds[] of a result; what several queries share is charged to the first */
    MCS_STAGE_PREPARE, MCS_STAGE_TEXT, MCS_STAGE_SALIENCY, MCS_STAGE_COARSE,
    MCS_STAGE_SAM_ENCODE, MCS_STAGE_SAM_DECODE, MCS_STAGE_COUNT
};

typedef struct {
    int width, height;          /* of the picture; all maps below have this size */
    float *saliency;            /* [0,1]; NULL if the text stage was skipped */
    uint8_t *coarse;            /* 0 or 1; NULL if the text stage was skipped */
    uint8_t *mask;              /* 0 or 1; NULL if no SAM is loaded */
    mcs_zeroshot_box *boxes;    /* what SAM was given */
    float *iou_pred;            /* per box: SAM's own estimate of its IoU */
    float *stability;           /* per box: |logit > 1| / |logit > -1| */
    int box_count;              /* a run on points alone has 1 iou_pred and box_count 0 */
    mcs_zeroshot_point *points;
    int point_count;
    float clip_score;           /* cosine of picture and text; NaN without text stage */
    float cam_max;              /* largest value before normalisation: 0 = the map is empty */
    float cam_mean;             /* mean of the normalised map */
    float nonsense_corr;        /* Pearson r with the map of a nonsense prompt; NaN: not asked */
    int64_t coarse_area, mask_area;     /* pixels */
    bool coarse_empty;          /* the `empty` rule applied */
    double seconds[MCS_STAGE_COUNT];
} mcs_zeroshot_result;

/* Segments one picture (any mcs_image; it is read as PIL's convert("RGB")) for `count` queries.
 * The picture is encoded once by each model for all queries.  Returns `count` results to be freed
 * with mcs_zeroshot_results_free(), or NULL: see the context.  Leaves the context as it was but
 * for its hooks, which are cleared; the caller resets it between pictures. */
mcs_zeroshot_result *mcs_medclip_sam_run(mcs_ctx *c, const mcs_medclip_sam *m,
                                         const mcs_image *image, const mcs_zeroshot_opts *o,
                                         int count, const mcs_zeroshot_query *queries);
/* The same for each of several saliency methods: o[k] has the cams of way k, all else is read from
 * o[0].  What ways have in common is computed once: texts, a method that is in several products,
 * masked pictures, SAM's embedding.  Returns ways * count results, those of way k from k * count:
 * the results of mcs_medclip_sam_run() but for seconds.  Queries of boxes and points are answered
 * for each way, too. */
mcs_zeroshot_result *mcs_medclip_sam_compare(mcs_ctx *c, const mcs_medclip_sam *m,
                                             const mcs_image *image, int ways,
                                             const mcs_zeroshot_opts *o, int count,
                                             const mcs_zeroshot_query *queries);
void mcs_zeroshot_results_free(mcs_zeroshot_result *r, int count);     /* Nullable */
#endif
