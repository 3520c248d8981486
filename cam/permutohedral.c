/* permutohedral.c - Gaussian filter on the permutohedral lattice (Adams, Baek, Davis: Fast
 * High-Dimensional Filtering Using the Permutohedral Lattice, Eurographics 2010).
 *
 * A feature f of R^d is lifted to the plane sum(e) = 0 of R^(d+1),
 *     e = E f,  scaled by s_i = sqrt(2/3) (d+1) / sqrt((i+1)(i+2))  (a filter of unit deviation),
 * where the lattice points are the integer vectors whose coordinates agree modulo d+1.  The point
 * lies in a simplex of d+1 vertices, one per remainder r, found by rounding and sorting; its
 * barycentric coordinates b_r are its weights.
 *     splat    V[vertex r of i] += b_r in_i
 *     blur     along each axis j = 0..d in turn: V'[k] = V[k] + (V[k - a_j] + V[k + a_j]) / 2,
 *              a_j = (1,..,1) - (d+1) unit_j; a neighbour that no point created counts as 0
 *     slice    out_i = sum_r b_r V[vertex r of i] / (1 + 2^-d)
 * Arithmetic (float, order of operations) and the set of vertices agree with the DenseCRF library
 * of Kraehenbuehl and Koltun 2011 as built for SSE.  That one works on four points at a time and,
 * when n is not a multiple of 4, lets the idle lanes create the vertices of the zero feature,
 * which then take part in the blur; so do we.
 *
 * Layout.  Points are cut into chunks, so small that a chunk's own vertices are numbered with 16
 * bits.  Chunks are built in parallel, each with its own hash table; their distinct keys are then
 * entered into the table of all vertices in chunk order, which numbers vertices by first
 * occurrence.  Pictures return to the same simplices again and again, so a chunk remembers the
 * vertices of recent ones.  Splat and slice work on a chunk's own few values, which stay in cache,
 * and only those are added to, or fetched from, the global ones.  The cut depends on n and d alone,
 * hence so do the bits of the result.
 *
 * A vertex is named by d coordinates of 16 bits (the last follows from the sum), biased to be
 * unsigned and packed into two words: a step along any axis is then one addition per word. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "cam/permutohedral_internal.h"

enum { MAXV = MCS_LATTICE_MAX_DIM + 1 }; /* vertices of a simplex */
#define BIAS UINT64_C(0x8000800080008000)
#define ONES UINT64_C(0x0001000100010001)

/* ---- Simplices ---- */

/* BLOCK points at a time, coordinate by coordinate, so that the compiler can use vectors. */
enum { BLOCK = 8 };
typedef struct {
    float value[MAXV][BLOCK]; /* lifted; then, relative to the vertex of remainder 0, / (d+1) */
    float base[MAXV][BLOCK]; /* vertex of remainder 0 */
    int32_t rank[MAXV][BLOCK];
} simplex_block;

typedef struct {
    lattice_key base; /* vertex of remainder 0 */
    uint64_t order; /* the coordinate of rank k in bits 4k..4k+3 */
} simplex;

/* k += steps on all d stored coordinates, - (d+1) steps on coordinate i (i = d is not stored).
 * Unused lanes are left alone. */
static inline lattice_key key_step(lattice_key k, int i, int d, uint64_t steps)
{
    k.w[0] += steps * (d < 4 ? ONES >> (64 - 16 * d) : ONES);
    k.w[1] += steps * (d > 4 ? ONES >> (128 - 16 * d) : 0);
    if (i < d)
        k.w[i / 4] -= (uint64_t)(d + 1) * steps << (16 * (i % 4));
    return k;
}

/* e = E f.  False: a point is not finite or leaves the range of coordinates. */
static inline bool block_lift(const float *f, int64_t count, int d, const float *scale,
                              simplex_block *b)
{
    float x[MAXV][BLOCK] = { { 0 } }, sum[BLOCK] = { 0 };
    float limit = 32767.0f - 4.0f * (float)(d + 1);
    int outside = 0;
    for (int64_t p = 0; p < count; p++)
        for (int i = 0; i < d; i++)
            x[i][p] = f[p * d + i];
    for (int j = d; j > 0; j--)
        for (int p = 0; p < BLOCK; p++) {
            float cf = x[j - 1][p] * scale[j - 1];
            b->value[j][p] = sum[p] - (float)j * cf;
            sum[p] += cf;
        }
    for (int p = 0; p < BLOCK; p++)
        b->value[0][p] = sum[p];
    for (int i = 0; i <= d; i++)
        for (int p = 0; p < BLOCK; p++)
            outside |= !(fabsf(b->value[i][p]) < limit); /* NaN as well */
    return !outside;
}

static inline void block_rank(int d, simplex_block *b, int32_t *sum)
{
    float inv = 1.0f / (float)(d + 1), rest[MAXV][BLOCK];
    memset(b->rank, 0, sizeof b->rank);
    for (int i = 0; i <= d; i++)
        for (int p = 0; p < BLOCK; p++) {
            /* rintf for |x| < 2^22, without a call: to nearest, ties to even */
            float v = (inv * b->value[i][p] + 12582912.0f) - 12582912.0f;
            b->base[i][p] = v * (float)(d + 1);
            rest[i][p] = b->value[i][p] - b->base[i][p];
            sum[p] += (int32_t)v;
        }
    for (int i = 0; i < d; i++)
        for (int j = i + 1; j <= d; j++)
            for (int p = 0; p < BLOCK; p++) {
                int32_t less = rest[i][p] < rest[j][p];
                b->rank[i][p] += less;
                b->rank[j][p] += 1 - less;
            }
}

static inline bool block_find(const float *f, int64_t count, int d, const float *scale,
                              simplex_block *b)
{
    float inv = 1.0f / (float)(d + 1);
    int32_t sum[BLOCK] = { 0 };
    if (!block_lift(f, count, d, scale, b))
        return false;
    block_rank(d, b, sum);
    for (int i = 0; i <= d; i++)
        for (int p = 0; p < BLOCK; p++) { /* rounding may leave the plane by sum: turn back */
            int32_t r = b->rank[i][p] + sum[p], turn = ((r < 0) - (r > d)) * (d + 1);
            b->rank[i][p] = r + turn;
            b->base[i][p] += (float)turn;
            b->value[i][p] = (b->value[i][p] - b->base[i][p]) * inv;
        }
    return true;
}

/* Point p of a block, with the weights of its vertices. */
static inline simplex block_simplex(const simplex_block *b, int p, int d, float *weight)
{
    simplex s = { { { BIAS, BIAS } }, 0 };
    float sorted[MAXV];
    for (int i = 0; i <= d; i++) {
        int r = b->rank[i][p];
        sorted[r] = b->value[i][p];
        s.order |= (uint64_t)i << (4 * r);
        if (i < d)
            s.base.w[i / 4] += (uint64_t)(int64_t)b->base[i][p] << (16 * (i % 4));
    }
    weight[0] = sorted[d] + (1.0f - sorted[0]);
    for (int r = 1; r <= d; r++)
        weight[r] = sorted[d - r] - sorted[d + 1 - r];
    return s;
}

/* ---- Building ---- */

typedef struct {
    mcs_lattice *l;
    const float *features;
    float scale[MCS_LATTICE_MAX_DIM];
} build_args;

/* Simplices seen lately and their vertices: one look instead of d+1 searches. */
enum { RECENT = 512 };
typedef struct {
    simplex s;
    bool filled;
    uint16_t id[MAXV];
} recent_simplex;

/* The local ids of the vertices; NULL: out of memory. */
static inline const uint16_t *simplex_ids(lattice_table *t, recent_simplex *recent, simplex s,
                                          int d)
{
    uint64_t h = s.base.w[0] * UINT64_C(0x9E3779B97F4A7C15) ^
                 s.base.w[1] * UINT64_C(0xC2B2AE3D27D4EB4F) ^
                 s.order * UINT64_C(0xD6E8FEB86659FD93);
    recent_simplex *at = &recent[h >> 55];
    if (at->filled && at->s.base.w[0] == s.base.w[0] && at->s.base.w[1] == s.base.w[1] &&
        at->s.order == s.order)
        return at->id;
    lattice_key k = s.base;
    for (int r = 0; r <= d; r++) {
        uint32_t number = mcs_lattice_table_insert(t, k);
        if (!number)
            return NULL;
        at->id[r] = (uint16_t)(number - 1);
        k = key_step(k, (int)(s.order >> (4 * (d - r)) & 15), d, 1); /* remainder r + 1 */
    }
    at->s = s;
    at->filled = true;
    return at->id;
}

static inline mcs_status chunk_points(const build_args *a, lattice_chunk *ch,
                                      recent_simplex *recent, int64_t begin, int64_t end, int d)
{
    mcs_lattice *l = a->l;
    simplex_block b;
    for (int64_t i = begin; i < end; i += BLOCK) {
        int count = end - i < BLOCK ? (int)(end - i) : BLOCK;
        if (!block_find(a->features + i * d, count, d, a->scale, &b))
            return MCS_ENUMERIC;
        for (int p = 0; p < count; p++) {
            simplex s = block_simplex(&b, p, d, l->weight + (i + p) * (d + 1));
            const uint16_t *id = simplex_ids(&ch->table, recent, s, d);
            if (!id)
                return MCS_ENOMEM;
            memcpy(l->id + (i + p) * (d + 1), id, (size_t)(d + 1) * sizeof *id);
        }
    }
    return MCS_OK;
}

/* The vertices of the zero feature, for the idle lanes. */
static mcs_status idle_lanes(const build_args *a, lattice_chunk *ch, recent_simplex *recent)
{
    simplex_block b;
    float zero[MCS_LATTICE_MAX_DIM] = { 0 }, weight[MAXV];
    int d = a->l->d;
    if (!block_find(zero, 1, d, a->scale, &b))
        return MCS_ENUMERIC;
    return simplex_ids(&ch->table, recent, block_simplex(&b, 0, d, weight), d) ? MCS_OK
                                                                               : MCS_ENOMEM;
}

static void build_chunk(const build_args *a, int64_t c)
{
    mcs_lattice *l = a->l;
    lattice_chunk *ch = &l->chunks[c];
    int64_t begin = c * l->chunk_points, end = begin + l->chunk_points;
    end = end < l->n ? end : l->n;
    recent_simplex *recent = calloc(RECENT, sizeof *recent);
    if (!recent || !mcs_lattice_table_init(&ch->table, 1024))
        ch->status = MCS_ENOMEM;
    else if (l->d == 5) /* the two of the CRF, unrolled by the compiler */
        ch->status = chunk_points(a, ch, recent, begin, end, 5);
    else if (l->d == 2)
        ch->status = chunk_points(a, ch, recent, begin, end, 2);
    else
        ch->status = chunk_points(a, ch, recent, begin, end, l->d);
    if (ch->status == MCS_OK && end == l->n && l->n % 4 != 0)
        ch->status = idle_lanes(a, ch, recent);
    ch->count = ch->table.count;
    free(recent);
}

static void build_chunks(void *arg, int64_t begin, int64_t end)
{
    for (int64_t c = begin; c < end; c++)
        build_chunk(arg, c);
}

/* Numbers the vertices of all chunks; each chunk's own table is freed once entered. */
static mcs_status merge_chunks(mcs_lattice *l, lattice_table *all)
{
    int64_t most = 0;
    for (int64_t c = 0; c < l->chunk_count; c++) {
        if (l->chunks[c].status != MCS_OK)
            return l->chunks[c].status;
        most = most > l->chunks[c].count ? most : l->chunks[c].count;
    }
    if (!mcs_lattice_table_init(all, 2 * most))
        return MCS_ENOMEM;
    for (int64_t c = 0; c < l->chunk_count; c++) {
        lattice_chunk *ch = &l->chunks[c];
        ch->first = l->locals;
        l->locals += ch->count;
        ch->vertex = malloc((size_t)ch->count * sizeof *ch->vertex);
        if (!ch->vertex)
            return MCS_ENOMEM;
        for (int64_t i = 0; i < ch->count; i++)
            if (!(ch->vertex[i] = mcs_lattice_table_insert(all, ch->table.keys[i])))
                return MCS_ENOMEM;
        mcs_lattice_table_free(&ch->table);
    }
    l->vertices = all->count;
    return MCS_OK;
}

typedef struct {
    mcs_lattice *l;
    const lattice_table *all;
} near_args;

/* If u is v's neighbour backwards, v is u's forwards: one search serves both. */
static void near_range(void *arg, int64_t begin, int64_t end)
{
    const near_args *a = arg;
    int d = a->l->d;
    for (int j = 0; j <= d; j++) {
        uint32_t *near = a->l->near + 2 * (a->l->vertices + 1) * j;
        for (int64_t v = begin; v < end; v++) {
            uint32_t u =
                mcs_lattice_table_find(a->all, key_step(a->all->keys[v], j, d, UINT64_MAX));
            near[2 * (v + 1)] = u;
            if (u)
                near[2 * (int64_t)u + 1] = (uint32_t)(v + 1);
        }
    }
}

static mcs_status lattice_build(mcs_lattice *l, const float *features, mcs_pool *pool)
{
    build_args a = { .l = l, .features = features };
    double deviation = sqrt(2.0 / 3.0) * (l->d + 1);
    for (int i = 0; i < l->d; i++)
        a.scale[i] = (float)(1.0 / sqrt((double)((i + 2) * (i + 1))) * (double)(float)deviation);
    mcs_pool_for(pool, l->chunk_count, 1, build_chunks, &a);
    lattice_table all = { 0 };
    mcs_status s = merge_chunks(l, &all);
    if (s == MCS_OK) {
        l->near = calloc((size_t)(l->vertices + 1) * (size_t)(l->d + 1), 2 * sizeof *l->near);
        s = l->near ? MCS_OK : MCS_ENOMEM;
    }
    if (s == MCS_OK) {
        near_args n = { l, &all };
        mcs_pool_for(pool, l->vertices, 8192, near_range, &n);
    }
    mcs_lattice_table_free(&all);
    return s;
}

static mcs_lattice *lattice_alloc(int64_t n, int d)
{
    mcs_lattice *l = calloc(1, sizeof *l);
    if (!l)
        return NULL;
    l->n = n;
    l->d = d;
    l->chunk_points = 65536 / (d + 1) - 1; /* 16-bit ids suffice, idle lanes included */
    l->chunk_count = mcs_range_count(n, l->chunk_points);
    l->chunks = calloc((size_t)l->chunk_count, sizeof *l->chunks);
    l->id = malloc((size_t)n * (size_t)(d + 1) * sizeof *l->id);
    l->weight = malloc((size_t)n * (size_t)(d + 1) * sizeof *l->weight);
    if (l->chunks && l->id && l->weight)
        return l;
    mcs_lattice_free(l);
    return NULL;
}

mcs_lattice *mcs_lattice_new(const float *features, int64_t n, int d, mcs_pool *pool, mcs_error *e)
{
    if (!features || n < 1 || n > INT32_MAX || d < 1 || d > MCS_LATTICE_MAX_DIM) {
        mcs_error_set(
            e, MCS_EINVAL,
            "lattice: %lld points of dimension %d; expected 1 to 2^31-1 points and 1 to %d",
            (long long)n, d, MCS_LATTICE_MAX_DIM);
        return NULL;
    }
    mcs_lattice *l = lattice_alloc(n, d);
    mcs_status s = l ? lattice_build(l, features, pool) : MCS_ENOMEM;
    if (s == MCS_OK)
        return l;
    if (s == MCS_ENUMERIC)
        mcs_error_set(e, s,
                      "lattice: a feature is not finite or too many standard deviations from 0; "
                      "use larger standard deviations or a smaller image");
    else
        mcs_error_set(e, s, "lattice: out of memory for %lld points of dimension %d", (long long)n,
                      d);
    mcs_lattice_free(l);
    return NULL;
}

void mcs_lattice_free(mcs_lattice *l)
{
    if (!l)
        return;
    for (int64_t c = 0; l->chunks && c < l->chunk_count; c++) {
        mcs_lattice_table_free(&l->chunks[c].table);
        free(l->chunks[c].vertex);
    }
    free(l->chunks);
    free(l->id);
    free(l->weight);
    free(l->near);
    free(l);
}

int64_t mcs_lattice_vertices(const mcs_lattice *l)
{
    return l->vertices;
}
