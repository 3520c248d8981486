/* conv_kernels_internal.h - the kernels of conv_tile_internal.h as a template: a conv_direct_*.c defines
 *   DIRECT_NAME, DIRECT_TABLE, W (lanes), V and LOAD STORE SET1 FMA ADD ZERO SUM of its vectors,
 *   ROWS (tile), SUM_ROWS and SUM_TAPS
 * and includes this once.  Tiles of fixed size are inlined with constant bounds, so that their
 * accumulators are registers. */
#define INLINE static inline __attribute__((always_inline))

/* ---- Outputs ---- */

INLINE void put(float *y, V acc, const float *bias, int n)
{
    if (n == W) {
        STORE(y, ADD(bias ? SET1(*bias) : LOAD(y), acc));
        return;
    }
    float t[W];
    STORE(t, acc);
    for (int i = 0; i < n; i++)
        y[i] = (bias ? *bias : y[i]) + t[i];
}

INLINE void tile_of(const mcs_direct_tile *a, int m, int nv)
{
    V acc[ROWS][MCS_DIRECT_VECTORS];
    const float *w = a->w, *s0 = a->src[0], *s1 = a->src[nv > 1 ? 1 : 0],
                *s2 = a->src[nv > 2 ? 2 : 0];
    for (int i = 0; i < m; i++)
        for (int v = 0; v < nv; v++)
            acc[i][v] = ZERO();
    for (int64_t t = 0; t < a->taps; t++, w += ROWS) {
        int64_t at = a->off[t];
        V x0 = LOAD(s0 + at), x1 = nv > 1 ? LOAD(s1 + at) : x0, x2 = nv > 2 ? LOAD(s2 + at) : x0;
        for (int i = 0; i < m; i++) {
            V k = SET1(w[i]);
            acc[i][0] = FMA(k, x0, acc[i][0]);
            if (nv > 1)
                acc[i][1] = FMA(k, x1, acc[i][1]);
            if (nv > 2)
                acc[i][2] = FMA(k, x2, acc[i][2]);
        }
    }
    for (int i = 0; i < m; i++)
        for (int v = 0; v < nv; v++)
            put(a->dst[v] + i * a->plane, acc[i][v], a->bias ? a->bias + i : (const float *)0,
                a->count[v]);
}

INLINE void tile_rows(const mcs_direct_tile *a, int m)
{
    if (a->nv == 3)
        tile_of(a, m, 3);
    else if (a->nv == 2)
        tile_of(a, m, 2);
    else
        tile_of(a, m, 1);
}

/* Other numbers of rows are made of these; w has ROWS columns whatever m. */
static void k_tile(const mcs_direct_tile *a)
{
    mcs_direct_tile b = *a;
    for (int left = a->m, m; left > 0; left -= m) {
        m = left >= 8 && ROWS >= 8 ? 8 : left >= 4 ? 4 : left >= 2 ? 2 : 1;
        if (m == ROWS)
            tile_rows(&b, ROWS);
        else if (m == 4)
            tile_rows(&b, 4);
        else if (m == 2)
            tile_rows(&b, 2);
        else
            tile_rows(&b, 1);
        b.w += m;
        b.bias = b.bias ? b.bias + m : b.bias;
        for (int v = 0; v < b.nv; v++)
            b.dst[v] += m * b.plane;
    }
}

/* ---- Gradients of weights ---- */

INLINE void sums_of(const mcs_direct_sums *a, int m, int taps)
{
    V acc[SUM_ROWS][SUM_TAPS];
    const float *x[SUM_TAPS];
    for (int t = 0; t < taps; t++)
        x[t] = a->large + a->off[t];
    for (int i = 0; i < m; i++)
        for (int t = 0; t < taps; t++)
            acc[i][t] = ZERO();
    for (int64_t r = 0; r < a->rows; r++)
        for (int64_t v = 0; v < a->vectors; v++) {
            const float *y = a->small + r * a->small_row + v * W;
            int64_t at = r * a->large_row + v * W;
            V k[SUM_ROWS];
            for (int i = 0; i < m; i++)
                k[i] = LOAD(y + i * a->small_plane);
            for (int t = 0; t < taps; t++) {
                V p = LOAD(x[t] + at);
                for (int i = 0; i < m; i++)
                    acc[i][t] = FMA(k[i], p, acc[i][t]);
            }
        }
    for (int i = 0; i < m; i++)
        for (int t = 0; t < taps; t++)
            a->part[i * a->ld + t] += SUM(acc[i][t]);
}

INLINE void sums_rows(const mcs_direct_sums *a, int m)
{
    mcs_direct_sums b = *a;
    while (b.t > 0) {
        int taps = b.t >= SUM_TAPS ? SUM_TAPS : b.t >= 3 ? 3 : 1;
        if (taps == SUM_TAPS)
            sums_of(&b, m, SUM_TAPS);
        else if (taps == 3)
            sums_of(&b, m, 3);
        else
            sums_of(&b, m, 1);
        b.off += taps, b.part += taps, b.t -= taps;
    }
}

static void k_sums(const mcs_direct_sums *a)
{
    mcs_direct_sums b = *a;
    while (b.m > 0) {
        int m = b.m >= SUM_ROWS ? SUM_ROWS : 1;
        if (m == SUM_ROWS)
            sums_rows(&b, SUM_ROWS);
        else
            sums_rows(&b, 1);
        b.small += m * b.small_plane, b.part += m * b.ld, b.m -= m;
    }
}

static void k_weave(float *y, const float *a, const float *b, int64_t n)
{
    for (int64_t i = 0; i < n; i++) {
        y[2 * i] += a[i];
        y[2 * i + 1] += b[i];
    }
}

const mcs_direct_kernels DIRECT_TABLE = { .name = DIRECT_NAME,
                                          .lanes = W,
                                          .rows = ROWS,
                                          .sum_rows = SUM_ROWS,
                                          .sum_taps = SUM_TAPS,
                                          .tile = k_tile,
                                          .sums = k_sums,
                                          .weave = k_weave };
