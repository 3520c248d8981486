/* unet_predict.h - from a picture of any size to a UNet's probabilities at that size.
 *
 * The net sees squares.  RESIZE: the whole picture, resized to one (its shape distorted), and the
 * probabilities resized back.  SLIDING: squares of the picture's own pixels, overlapping, weighted
 * with a Gaussian about their centres (Isensee et al. 2021, nnU-Net; sigma = side / 8), for nets
 * trained on such squares.  Samples v in [0,1] go in as (v - MCS_UNET_MEAN) / MCS_UNET_STD. */
#ifndef MCS_UNET_PREDICT_H
#define MCS_UNET_PREDICT_H
#include "image/image.h"
#include "models/unet.h"

#define MCS_UNET_MEAN 0.5f
#define MCS_UNET_STD 0.25f

typedef enum { MCS_UNET_RESIZE, MCS_UNET_SLIDING } mcs_unet_inference;
typedef struct {
    mcs_unet_inference kind;
    int side; /* of the squares, a multiple of mcs_unet_multiple() */
    float overlap; /* SLIDING: share of a square that its neighbour covers, 0 <= overlap < 1; .5 */
    bool flips; /* average with the left-right mirrored picture's */
} mcs_unet_view;

/* The picture as 8 bits with 1 or 3 channels, as nets want them (mcs_image_to_grey, _to_rgb).
 * NULL: see e. */
mcs_image *mcs_unet_picture(const mcs_image *im, int channels, mcs_error *e);
/* Planes of probabilities: 1 for one class, else as many as classes, the background first. */
int mcs_unet_planes(const mcs_unet_config *cfg);
/* prob (planes,height,width), the caller's, becomes the mean over the nets (at least one, all of
 * the same classes and channels).  The context, which must have gradients off, is reset.
 * im: any picture.  MCS_EINVAL; what mcs_unet_forward() says. */
mcs_status mcs_unet_predict(mcs_ctx *c, const mcs_unet *const *nets, int count, const mcs_image *im,
                            const mcs_unet_view *v, float *prob, mcs_error *e) MCS_MUST_CHECK;

/* labels (n) of prob (planes,n): 1 where a single plane is above the threshold; else the plane with
 * the largest value, the first of several. */
void mcs_unet_labels(const float *prob, int planes, int64_t n, float threshold, uint8_t *labels);
/* out (n), the entropy of prob (planes,n) as a share of the largest possible, in [0,1]:
 *   -(p log2 p + (1-p) log2 (1-p)), or -sum_k p_k log p_k / log planes */
void mcs_unet_entropy(const float *prob, int planes, int64_t n, float *out);
#endif
