/* conv_direct_internal.h - how direct convolution cuts its work.  Private to op_conv_direct*.c.
 *
 * Work is cut into bands of rows of one image.  A band copies the rows it reads, zero-padded, even
 * and odd columns apart where the stride is 2, so that every tap is a plain vector load; rows are
 * longer than needed by what the last vector reads.  Bands are dealt to a fixed number of ranges,
 * each with a copy (and sums of weight gradients) of its own, whatever the number of threads. */
#ifndef MCS_CONV_DIRECT_INTERNAL_H
#define MCS_CONV_DIRECT_INTERNAL_H
#include "tensor/conv_tile_internal.h"
#include "tensor/conv_internal.h"

typedef struct {
    const mcs_direct_kernels *k;
    const mcs_conv_geom *g;
    const float *from, *bias; /* the side that is copied */
    float *to;
    const float *w; /* packed panels */
    const int32_t *off; /* of taps into the copy */
    /* The copy of a band: `ch` planes of `rows` rows of `phases` x `len` floats; row 0 is row
     * band * a0 * sh - pad_h of the picture (h, wide), column 0 column -pad_w. */
    int64_t ch, h, wide, rows, phases, len, pad_h, pad_w;
    int64_t band, bands, total, vecs; /* output rows of a band, bands of an image, output rows */
    int64_t items, grain, ranges; /* images x bands, dealt out */
    int64_t step; /* picture rows from one output row to the next */
    float *copies; /* one of copy_floats for each range */
    int64_t copy_floats;
} mcs_direct_plan;

mcs_direct_plan mcs_direct_plan_down(const mcs_direct_kernels *k, const mcs_conv_geom *g);
mcs_direct_plan mcs_direct_plan_up(const mcs_direct_kernels *k, const mcs_conv_geom *g);
/* The rows that the outputs a0 ... of an image need. */
void mcs_direct_copy(const mcs_direct_plan *p, int64_t image, int64_t a0, float *to);
/* Offsets of the taps (ch, ky, kx) into a copy of the large side; NULL: out of memory. */
int32_t *mcs_direct_offsets(mcs_ctx *c, const mcs_direct_plan *p);

static inline float *mcs_direct_floats(mcs_ctx *c, int64_t n)
{
    return mcs_alloc(c, (size_t)n * sizeof(float));
}
static inline int64_t mcs_direct_min(int64_t a, int64_t b)
{
    return a < b ? a : b;
}
static inline int64_t mcs_direct_parts(int64_t n, int64_t step)
{
    return (n + step - 1) / step;
}
#endif
