/* lattice_filter.c - splat, blur, slice (see permutohedral.c for the formulas).
 *
 * Per chunk, a point's d+1 vertices are among the chunk's own few values.  Those are then added to
 * the vertices in chunk order: the sums are associated by chunk, whoever computes them. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "cam/permutohedral_internal.h"

typedef struct {
    const mcs_lattice *l;
    const float *in; /* (n, channels) */
    float *out;
    float *local; /* (locals, channels): the chunks' own values */
    float *value, *blurred; /* (vertices+1, channels); row 0 is 0: the absent neighbour */
    int channels, axis;
} filter_args;

#define INLINE static inline __attribute__((always_inline))

static void chunk_range(const mcs_lattice *l, int64_t c, int64_t *begin, int64_t *end)
{
    *begin = c * l->chunk_points;
    *end = *begin + l->chunk_points < l->n ? *begin + l->chunk_points : l->n;
}

INLINE void splat(const filter_args *a, int64_t c, int k, int d)
{
    const mcs_lattice *l = a->l;
    float *local = a->local + l->chunks[c].first * k;
    int64_t begin, end;
    chunk_range(l, c, &begin, &end);
    memset(local, 0, (size_t)(l->chunks[c].count * k) * sizeof *local);
    for (int64_t i = begin; i < end; i++)
        for (int r = 0; r <= d; r++) {
            float *v = local + (int64_t)l->id[i * (d + 1) + r] * k;
            float w = l->weight[i * (d + 1) + r];
            for (int m = 0; m < k; m++)
                v[m] += w * a->in[i * k + m];
        }
}

INLINE void slice(const filter_args *a, int64_t c, int k, int d)
{
    const mcs_lattice *l = a->l;
    const lattice_chunk *ch = &l->chunks[c];
    float *local = a->local + ch->first * k, alpha = 1.0f / (1.0f + ldexpf(1.0f, -d));
    int64_t begin, end;
    chunk_range(l, c, &begin, &end);
    for (int64_t i = 0; i < ch->count; i++)
        for (int m = 0; m < k; m++)
            local[i * k + m] = a->value[(int64_t)ch->vertex[i] * k + m];
    for (int64_t i = begin; i < end; i++) {
        float *out = a->out + i * k;
        for (int m = 0; m < k; m++)
            out[m] = 0;
        for (int r = 0; r <= d; r++) {
            const float *v = local + (int64_t)l->id[i * (d + 1) + r] * k;
            float w = l->weight[i * (d + 1) + r];
            for (int m = 0; m < k; m++)
                out[m] += w * v[m] * alpha;
        }
    }
}

INLINE void blur(const filter_args *a, int64_t begin, int64_t end, int k)
{
    const uint32_t *near = a->l->near + 2 * (a->l->vertices + 1) * a->axis;
    for (int64_t v = begin; v < end; v++) {
        const float *old = a->value + v * k;
        const float *n1 = a->value + (int64_t)near[2 * v] * k;
        const float *n2 = a->value + (int64_t)near[2 * v + 1] * k;
        for (int m = 0; m < k; m++)
            a->blurred[v * k + m] = old[m] + 0.5f * (n1[m] + n2[m]);
    }
}

/* The CRF's cases are unrolled by the compiler: d = 2 and 5 with one channel (the norm) and two
 * labels. */
#define DISPATCH(stage)                                                                            \
    static void stage##_chunks(void *arg, int64_t begin, int64_t end)                              \
    {                                                                                              \
        const filter_args *a = arg;                                                                \
        for (int64_t c = begin; c < end; c++)                                                      \
            switch (8 * a->channels + a->l->d) {                                                   \
            case 8 * 1 + 2:                                                                        \
                stage(a, c, 1, 2);                                                                 \
                break;                                                                             \
            case 8 * 1 + 5:                                                                        \
                stage(a, c, 1, 5);                                                                 \
                break;                                                                             \
            case 8 * 2 + 2:                                                                        \
                stage(a, c, 2, 2);                                                                 \
                break;                                                                             \
            case 8 * 2 + 5:                                                                        \
                stage(a, c, 2, 5);                                                                 \
                break;                                                                             \
            default:                                                                               \
                stage(a, c, a->channels, a->l->d);                                                 \
            }                                                                                      \
    }
DISPATCH(splat)
DISPATCH(slice)

static void blur_range(void *arg, int64_t begin, int64_t end)
{
    const filter_args *a = arg;
    switch (a->channels) {
    case 1:
        blur(a, begin + 1, end + 1, 1);
        break;
    case 2:
        blur(a, begin + 1, end + 1, 2);
        break;
    default:
        blur(a, begin + 1, end + 1, a->channels);
    }
}

static void gather(const filter_args *a)
{
    const mcs_lattice *l = a->l;
    int k = a->channels;
    for (int64_t c = 0; c < l->chunk_count; c++) {
        const lattice_chunk *ch = &l->chunks[c];
        const float *local = a->local + ch->first * k;
        for (int64_t i = 0; i < ch->count; i++)
            for (int m = 0; m < k; m++)
                a->value[(int64_t)ch->vertex[i] * k + m] += local[i * k + m];
    }
}

mcs_status mcs_lattice_filter(const mcs_lattice *l, const float *in, float *out, int channels,
                              mcs_pool *pool, mcs_error *e)
{
    if (channels < 1 || channels > 4096)
        return mcs_error_set(e, MCS_EINVAL, "lattice filter: %d channels; expected 1 to 4096",
                             channels);
    size_t rows = (size_t)l->vertices + 1, row = (size_t)channels * sizeof(float);
    filter_args a = { .l = l, .in = in, .out = out, .channels = channels };
    a.local = malloc((size_t)l->locals * row);
    a.value = calloc(rows, row);
    a.blurred = calloc(rows, row);
    mcs_status s = MCS_OK;
    if (a.local && a.value && a.blurred) {
        mcs_pool_for(pool, l->chunk_count, 1, splat_chunks, &a);
        gather(&a);
        for (a.axis = 0; a.axis <= l->d; a.axis++) {
            mcs_pool_for(pool, l->vertices, 8192, blur_range, &a);
            float *t = a.value;
            a.value = a.blurred;
            a.blurred = t;
        }
        mcs_pool_for(pool, l->chunk_count, 1, slice_chunks, &a);
    } else {
        s = mcs_error_set(e, MCS_ENOMEM,
                          "lattice filter: out of memory for %lld vertices of %d channels",
                          (long long)l->vertices, channels);
    }
    free(a.local);
    free(a.value);
    free(a.blurred);
    return s;
}
