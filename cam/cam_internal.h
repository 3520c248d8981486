/* cam_internal.h - what the maps share. */
#ifndef MCS_CAM_INTERNAL_H
#define MCS_CAM_INTERNAL_H
#include "cam/cam.h"

struct mcs_cam {
    mcs_ctx *c;
    mcs_cam_model model;
    const mcs_tensor *image; /* (1,3,H,W) */
    mcs_tensor *feature; /* (1,D), end of the tape */
    mcs_tensor *layer; /* the watched tensor, start of the tape */
    int64_t channels, cells; /* C, grid_h * grid_w */
    float *a; /* (C, cells): activations on the grid */
    float *masked; /* (C, D): features of the masked pictures; NULL until needed */
    bool *done; /* (C): which of them are there */
};

/* The options with defaults filled in; false after mcs_fail(). */
bool mcs_cam_check(mcs_cam *cam, const mcs_tensor *text, const mcs_cam_opts *o, mcs_cam_opts *out);
/* Gradient of <feature, text row> with respect to the layer: out (C, cells); at the class token
 * the same value in all cells.  False: see the context. */
bool mcs_cam_gradient(mcs_cam *cam, const float *text, mcs_cam_at at, float *out);
/* From the layer's layout to (C, cells). */
void mcs_cam_to_grid(const mcs_cam *cam, const float *x, float *out);
/* Marks the k largest of n values (no NaN), 1 <= k.  official: ties as PyTorch's topk leaves them.
 * scratch: 16 n bytes. */
void mcs_cam_top(const float *value, int64_t n, int64_t k, bool official, void *scratch,
                 bool *chosen);
/* Features of the pictures masked by the wanted channels that are not there yet. */
bool mcs_cam_embed(mcs_cam *cam, const bool *wanted, int batch);
/* The maps of all texts by scores of the channels each of them wants: wanted (P, C). */
mcs_tensor *mcs_cam_scored(mcs_cam *cam, const mcs_tensor *text, const bool *wanted,
                           const mcs_cam_opts *o, float *peak);
/* out (cells) = scaled ReLU of sum_c weight_c A_c; returns the peak. */
float mcs_cam_combine(const mcs_cam *cam, const double *weight, float *out);
/* In place: ReLU, then to [0,1]; returns the largest value before. */
float mcs_cam_scale(float *map, int64_t n);
#endif
