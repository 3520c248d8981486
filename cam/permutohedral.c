/* permutohedral.c - Gaussian filter on the permutohedral lattice (Adams, Baek, Davis: Fast
 * High-Dimensional Filtering Using the Permutohedral Lattice, Eurographics 2010).
 *
 * A feature f of R^d is lifted to the plane sum(e) = 0 of R^(d+1),
 *     e = E f,  with the scale s_i = sqrt(2/3) (d+1) / sqrt((i+1)(i+2))  (a filter of unit deviation),
 * where the lattice points are the integer vectors whose coordinates agree modulo d+1.  The point
 * lies in a simplex of d+1 vertices, one per remainder r, found by rounding and sorting; its
 * barycentric coordinates b_r are its weights.
 *     splat    V[vertex r of i] += b_r in_i
 *     blur     along each axis j = 0..d in turn: V'[k] = V[k] + (V[k - a_j] + V[k + a_j]) / 2,
 *              a_j = (1,..,1) - (d+1) unit_j; a neighbour that no point created counts as 0
 *     slice    out_i = sum_r b_r V[vertex r of i] / (1 + 2^-d)
 * Arithmetic (float, order of operations) and the set of vertices agree with the DenseCRF library
 * of Kraehenbuehl and Koltun 2011 as built for SSE.  That one works on four points at a time and, when n is
 * not a multiple of 4, lets the idle lanes create the vertices of the zero feature, which then
 * take part in the blur; so do we.
 *
 * Layout.  Points are cut into chunks, so small that a chunk's own vertices are numbered with 16
 * bits.  Chunks are built in parallel, each with its own hash table; their distinct keys are then
 * entered into the table of all vertices in chunk order, which numbers vertices by first
 * occurrence.  Splat and slice work on a chunk's own few values, which stay in cache, and only
 * those are added to, or fetched from, the global ones.  The cut depends on n and d alone, hence
 * so do the bits of the result.
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

/* ---- Simplex of a point ---- */

typedef struct {
    lattice_key base; /* vertex of remainder 0 */
    uint8_t at[MAXV + 7]; /* coordinate that has rank k; the rest 0 */
    float weight[MAXV]; /* of remainder r */
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

static inline bool lift(const float *f, int d, const float *scale, float *e)
{
    float sum = 0, limit = 32767.0f - 4.0f * (float)(d + 1);
    bool fits = true;
    for (int j = d; j > 0; j--) {
        float cf = f[j - 1] * scale[j - 1];
        e[j] = sum - (float)j * cf;
        sum += cf;
        fits &= fabsf(e[j]) < limit; /* false for NaN as well */
    }
    e[0] = sum;
    return fits && fabsf(sum) < limit;
}

/* False: the point is not finite or leaves the range of coordinates. */
static inline bool simplex_find(const float *f, int d, const float *scale, simplex *s)
{
    float e[MAXV], rest[MAXV], base[MAXV], sorted[MAXV];
    float inv = 1.0f / (float)(d + 1);
    int rank[MAXV] = { 0 }, sum = 0;
    if (!lift(f, d, scale, e))
        return false;
    for (int i = 0; i <= d; i++) {
        /* rintf for |x| < 2^22, without a call: to nearest, ties to even */
        float v = (inv * e[i] + 12582912.0f) - 12582912.0f;
        base[i] = v * (float)(d + 1);
        rest[i] = e[i] - base[i];
        sum += (int)v;
    }
    for (int i = 0; i < d; i++)
        for (int j = i + 1; j <= d; j++) {
            int less = rest[i] < rest[j];
            rank[i] += less;
            rank[j] += 1 - less;
        }
    s->base = (lattice_key){ { BIAS, BIAS } };
    for (int i = 0; i <= d; i++) { /* rounding may leave the plane by sum: turn the simplex */
        int r = rank[i] + sum, turn = (r < 0) - (r > d);
        r += turn * (d + 1);
        base[i] += (float)(turn * (d + 1));
        s->at[r] = (uint8_t)i;
        sorted[r] = (e[i] - base[i]) * inv;
        if (i < d)
            s->base.w[i / 4] += (uint64_t)(int64_t)base[i] << (16 * (i % 4));
    }
    s->weight[0] = sorted[d] + (1.0f - sorted[0]);
    for (int r = 1; r <= d; r++)
        s->weight[r] = sorted[d - r] - sorted[d + 1 - r];
    return true;
}

/* ---- Building ---- */

typedef struct {
    mcs_lattice *l;
    const float *features;
    float scale[MCS_LATTICE_MAX_DIM];
} build_args;

static bool simplex_ids(lattice_table *t, const simplex *s, int d, uint16_t *id)
{
    lattice_key k = s->base;
    for (int r = 0; r <= d; r++) {
        uint32_t number = mcs_lattice_table_insert(t, k);
        if (!number)
            return false;
        id[r] = (uint16_t)(number - 1);
        k = key_step(k, s->at[d - r], d, 1); /* remainder r + 1 */
    }
    return true;
}

/* Points of one chunk; a run of points in one simplex looks its vertices up once. */
static inline mcs_status chunk_points(const build_args *a, lattice_chunk *ch, int64_t begin,
                                      int64_t end, int d)
{
    mcs_lattice *l = a->l;
    simplex s = { .weight = { 0 } }, last = s;
    uint16_t id[MAXV] = { 0 };
    for (int64_t i = begin; i < end; i++) {
        if (!simplex_find(a->features + i * d, d, a->scale, &s))
            return MCS_ENUMERIC;
        if (i == begin || s.base.w[0] != last.base.w[0] || s.base.w[1] != last.base.w[1] ||
            memcmp(s.at, last.at, sizeof s.at) != 0) {
            if (!simplex_ids(&ch->table, &s, d, id))
                return MCS_ENOMEM;
            last = s;
        }
        memcpy(l->id + i * (d + 1), id, (size_t)(d + 1) * sizeof *id);
        memcpy(l->weight + i * (d + 1), s.weight, (size_t)(d + 1) * sizeof(float));
    }
    return MCS_OK;
}

static void build_chunk(const build_args *a, int64_t c)
{
    mcs_lattice *l = a->l;
    lattice_chunk *ch = &l->chunks[c];
    int64_t begin = c * l->chunk_points, end = begin + l->chunk_points;
    end = end < l->n ? end : l->n;
    if (!mcs_lattice_table_init(&ch->table, 1024)) {
        ch->status = MCS_ENOMEM;
        return;
    }
    if (l->d == 5) /* the two of the CRF, unrolled by the compiler */
        ch->status = chunk_points(a, ch, begin, end, 5);
    else if (l->d == 2)
        ch->status = chunk_points(a, ch, begin, end, 2);
    else
        ch->status = chunk_points(a, ch, begin, end, l->d);
    if (ch->status == MCS_OK && end == l->n && l->n % 4 != 0) { /* the idle lanes */
        static const float zero[MCS_LATTICE_MAX_DIM];
        simplex s = { .weight = { 0 } };
        uint16_t id[MAXV];
        simplex_find(zero, l->d, a->scale, &s);
        ch->status = simplex_ids(&ch->table, &s, l->d, id) ? MCS_OK : MCS_ENOMEM;
    }
    ch->count = ch->table.count;
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
