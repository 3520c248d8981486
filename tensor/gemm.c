/* gemm.c - matrix products by tiles of OpenBLAS, with the epilogue on the tile while it is hot.
 *
 * The only file that knows BLAS.  OpenBLAS threads would fight with our pool (two spinning pools
 * on two cores cost a factor of ten), so it runs single-threaded inside our workers.  Tiles are
 * large enough that packing A and B again for each costs a few per cent, and their size follows
 * from the shape alone. */
#include "tensor/gemm.h"
#include <cblas.h>
#include "tensor/ctx_internal.h"
#include "tensor/vec.h"

#define TILE_M 512
#define TILE_N 768
#define TILE_FLOP 3e7       /* below this a product is not worth splitting */

void mcs_blas_single(void)
{
    if (openblas_get_num_threads() != 1)
        openblas_set_num_threads(1);
}

void mcs_gemm_serial(bool trans_a, bool trans_b, int64_t m, int64_t n, int64_t k, float alpha,
                     const float *a, int64_t lda, const float *b, int64_t ldb, float beta,
                     float *c, int64_t ldc)
{
    cblas_sgemm(CblasRowMajor, trans_a ? CblasTrans : CblasNoTrans,
                trans_b ? CblasTrans : CblasNoTrans, (blasint)m, (blasint)n, (blasint)k, alpha, a,
                (blasint)lda, b, (blasint)ldb, beta, c, (blasint)ldc);
}

typedef struct {
    const mcs_gemm_args *g;
    const mcs_vec *vec;
    int64_t tile_m, tile_n, tiles_m, tiles_n;
} tiling;

static int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

/* Tiles of about TILE_M x TILE_N; a product with few rows is cut along its columns until there
 * is something to share out, a tall one along its rows. */
static tiling choose_tiles(const mcs_gemm_args *g)
{
    tiling t = { .g = g };
    double flop = 2.0 * (double)g->m * (double)g->n * (double)g->k;
    int64_t parts = flop < 2 * TILE_FLOP ? 1 : flop < 8 * TILE_FLOP ? 2 : 4;
    t.tiles_m = ceil_div(g->m, TILE_M);
    t.tiles_n = ceil_div(g->n, TILE_N);
    while (t.tiles_m * t.tiles_n < parts && (g->n / t.tiles_n > 64 || g->m / t.tiles_m > 64)) {
        if (g->n / t.tiles_n >= g->m / t.tiles_m)
            t.tiles_n++;
        else
            t.tiles_m++;
    }
    t.tile_m = ceil_div(ceil_div(g->m, t.tiles_m), 8) * 8;
    t.tile_n = ceil_div(ceil_div(g->n, t.tiles_n), 16) * 16;
    t.tiles_m = ceil_div(g->m, t.tile_m);
    t.tiles_n = ceil_div(g->n, t.tile_n);
    return t;
}

static void epilogue_row(const tiling *t, float *c, int64_t row, int64_t col, int64_t n,
                         const float *residual)
{
    const mcs_gemm_args *g = t->g;
    if (g->bias)
        t->vec->add(c, c, g->bias + col, n);
    if (g->row_bias)
        for (int64_t j = 0; j < n; j++)
            c[j] += g->row_bias[row];
    if (g->act == MCS_ACT_GELU)
        t->vec->gelu(c, c, n);
    else if (g->act == MCS_ACT_RELU)
        t->vec->relu(c, c, n);
    if (residual)
        t->vec->add(c, c, residual, n);
}

static void run_tile(const tiling *t, int64_t batch, int64_t ti, int64_t tj)
{
    const mcs_gemm_args *g = t->g;
    int64_t row = ti * t->tile_m, col = tj * t->tile_n;
    int64_t m = g->m - row < t->tile_m ? g->m - row : t->tile_m;
    int64_t n = g->n - col < t->tile_n ? g->n - col : t->tile_n;
    const float *a = g->a + batch * g->stride_a + (g->trans_a ? row : row * g->lda);
    const float *b = g->b + batch * g->stride_b + (g->trans_b ? col * g->ldb : col);
    int64_t at = batch * g->stride_c + row * g->ldc + col;
    float *c = g->c + at;
    mcs_gemm_serial(g->trans_a, g->trans_b, m, n, g->k, g->alpha, a, g->lda, b, g->ldb, g->beta,
                    c, g->ldc);
    if (!g->bias && !g->row_bias && !g->residual && g->act == MCS_ACT_NONE)
        return;
    for (int64_t i = 0; i < m; i++)
        epilogue_row(t, c + i * g->ldc, row + i, col, n,
                     g->residual ? g->residual + at + i * g->ldc : NULL);
}

static void run_tiles(void *arg, int64_t begin, int64_t end)
{
    const tiling *t = arg;
    int64_t per_batch = t->tiles_m * t->tiles_n;
    for (int64_t i = begin; i < end; i++) {
        int64_t tile = i % per_batch;
        run_tile(t, i / per_batch, tile / t->tiles_n, tile % t->tiles_n);
    }
}

void mcs_gemm(mcs_ctx *c, const mcs_gemm_args *g)
{
    if (g->m == 0 || g->n == 0)
        return;
    tiling t = choose_tiles(g);
    t.vec = c->vec;
    int64_t batch = g->batch ? g->batch : 1;
    int64_t count = batch * t.tiles_m * t.tiles_n;
    double flop = 2.0 * (double)t.tile_m * (double)t.tile_n * (double)g->k;
    int64_t grain = flop > 1e6 ? 1 : (int64_t)(1e6 / (flop + 1.0)) + 1;
    mcs_parallel_for(c, count, grain, run_tiles, &t);
}
