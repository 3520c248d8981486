/* conv_tile_internal.h - convolution straight from the picture: register tiles of outputs, no column
 * matrix.  Private to tensor/.
 *
 * A thin layer (16 channels of 128 x 128) makes a product of 16 rows: filling and packing its
 * column matrix costs as much as the multiplications.  The kernels here read a zero-padded copy
 * of the picture instead, a ninth of the columns, by a table of offsets, one per tap:
 *   acc[m][v] += w[t][m] * src[v][off[t] ...]      rows x vectors accumulators in registers
 * Being products, they use fused multiply-add, so (as with BLAS) the last bits depend on the
 * instruction set; they do not on the number of threads. */
#ifndef MCS_CONV_TILE_INTERNAL_H
#define MCS_CONV_TILE_INTERNAL_H
#include <stdint.h>

enum { MCS_DIRECT_ROWS = 8, MCS_DIRECT_VECTORS = 3 }; /* the most of any instruction set */

typedef struct { /* one tile: m outputs of nv vectors of neighbouring pixels */
    int m, nv;
    const float *src[MCS_DIRECT_VECTORS];
    float *dst[MCS_DIRECT_VECTORS]; /* of the first output; the others follow at `plane` */
    int count[MCS_DIRECT_VECTORS]; /* pixels of the vector that exist */
    int64_t plane;
    const float *bias; /* m values, y = bias + acc; NULL: y += acc */
    const float *w; /* (taps, rows) */
    const int32_t *off;
    int64_t taps;
} mcs_direct_tile;

typedef struct { /* part[m][t] += sum over rows and vectors of small[m] * large[off[t]] */
    int m, t;
    const float *small, *large;
    int64_t small_plane, small_row, large_row, rows, vectors;
    const int32_t *off;
    float *part;
    int64_t ld;
} mcs_direct_sums;

typedef struct mcs_direct_kernels {
    const char *name;
    int lanes, rows; /* floats of a vector, rows of a tile */
    int sum_rows, sum_taps; /* the largest m and t of `sums` */
    void (*tile)(const mcs_direct_tile *t);
    void (*sums)(const mcs_direct_sums *s);
    void (*weave)(float *y, const float *a, const float *b, int64_t n); /* y[2i] += a[i] ... */
} mcs_direct_kernels;

/* Of this processor; NULL: it has none that beat the columns. */
const mcs_direct_kernels *mcs_direct_get(void);
/* The i-th that it runs, slowest first; NULL past the end (for tests). */
const mcs_direct_kernels *mcs_direct_at(int i);

#if defined(__x86_64__)
extern const mcs_direct_kernels mcs_direct_avx2, mcs_direct_avx512;
#endif
#endif
