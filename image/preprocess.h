/* preprocess.h - from a picture to the numbers a network reads, and back.
 *
 * Values equal the reference programs': torchvision's Resize + CenterCrop + ToTensor + Normalize
 * on a PIL image (BiomedCLIP), ResizeLongestSide + Sam.preprocess (Segment Anything). */
#ifndef MCS_PREPROCESS_H
#define MCS_PREPROCESS_H
#include "image/image.h"

/* Mean and standard deviation per channel; CLIP's for samples in [0,1] (OpenAI), SAM's for
 * samples in [0,255] (ImageNet). */
extern const float mcs_clip_mean[3], mcs_clip_std[3];
extern const float mcs_sam_mean[3], mcs_sam_std[3];

/* How the square a network sees lies on the picture: the picture is resized to
 * new_width x new_height, and the square is [left, left+side) x [top, top+side) of that. */
typedef struct {
    int width, height; /* the picture, pixels */
    int new_width, new_height; /* after resizing */
    int left, top; /* of the square, in the resized picture; >= 0 */
    int side; /* of the square */
} mcs_geometry;

typedef enum {
    MCS_FIT_CROP, /* shorter side to `side`, centre crop: the published one; borders are lost */
    MCS_FIT_SQUASH /* both sides to `side`: all is seen, its shape distorted */
} mcs_fit;

/* Shorter side to `side` with Pillow's bicubic (longer: int(side * long / short)), centre crop at
 * round-half-even((n - side) / 2), then (v / 255 - mean) / std.
 * im: 8 or 16 bits, any channels (converted by mcs_image_to_rgb).  out: (1, 3, side, side),
 * the caller's, written.  Nullable: g, written.  side 1..4096. */
mcs_status mcs_preprocess_clip(const mcs_image *im, int side, mcs_fit fit, const float mean[3],
                               const float std[3], float *out, mcs_geometry *g,
                               mcs_error *e) MCS_MUST_CHECK;

/* Longest side to `side` with Pillow's bilinear (other: int(n * side / longest + 0.5)), then
 * (v - mean) / std, then zeros to the right and below.  Arguments as above. */
mcs_status mcs_preprocess_sam(const mcs_image *im, int side, const float mean[3],
                              const float std[3], float *out, mcs_geometry *g,
                              mcs_error *e) MCS_MUST_CHECK;

/* Only the geometry of the two. */
mcs_geometry mcs_geometry_clip(int width, int height, int side, mcs_fit fit);
mcs_geometry mcs_geometry_sam(int width, int height, int side);

/* A point of the picture, in pixels, on the square: x * new_width / width - left.  For SAM this is
 * ResizeLongestSide.apply_coords in float64.  The second is its inverse. */
void mcs_geometry_to_square(const mcs_geometry *g, double x, double y, double *sx, double *sy);
void mcs_geometry_to_image(const mcs_geometry *g, double sx, double sy, double *x, double *y);

/* Lays a map over the square ((mh, mw), e.g. 14 x 14 of a ViT) back on the picture: dst
 * (height, width), bilinear with half-pixel centres and replicated edges.  Picture pixels outside
 * the square (lost by the crop) become `outside`.  When nothing was cropped or padded this is
 * mcs_map_resize(). */
void mcs_geometry_map(const mcs_geometry *g, const float *map, int mw, int mh, float outside,
                      float *dst);
#endif
