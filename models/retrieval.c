/* retrieval.c - ranks of the true partner, in batches or in the whole set.
 *
 * Only the number of rivals above the partner is needed, so no matrix of similarities is kept:
 * each row is compared on the fly, the products always summed in the same order, so that equal
 * captions give equal cosines and ties are ties. */
#include "models/retrieval.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "models/sampler.h"
#include "tensor/parallel.h"

enum { LANES = 16, DRAWS = 1000 };

typedef struct {
    const mcs_retrieval_pairs *p;
    const mcs_retrieval_opts *o;
    mcs_pool *pool;
    float *
        unit[2]; /* (count, padded): normalised rows of image, text; zeros to a multiple of LANES */
    int64_t padded, batch;
    int64_t *order; /* of the run */
    int64_t *rank[2]; /* by pair: of the run */
    double *hits; /* (2, ks, count): summed over the runs */
    double *draws; /* (DRAWS) */
} ranking;

static float dot(const float *a, const float *b, int64_t n)
{
    float sum[LANES] = { 0 }, total = 0;
    for (int64_t i = 0; i < n; i += LANES)
        for (int l = 0; l < LANES; l++)
            sum[l] += a[i + l] * b[i + l];
    for (int l = 0; l < LANES; l++)
        total += sum[l];
    return total;
}

/* Position `at` of the order, both directions. */
static void rank_one(const ranking *r, int64_t at)
{
    int64_t begin = at / r->batch * r->batch, i = r->order[at], n = r->padded;
    int64_t end = begin + r->batch < r->p->count ? begin + r->batch : r->p->count;
    const int64_t *group = r->p->group;
    float own = dot(r->unit[0] + i * n, r->unit[1] + i * n, n);
    for (int way = 0; way < 2; way++) {
        const float *a = r->unit[way] + i * n;
        int64_t above = 0;
        for (int64_t other = begin; other < end; other++) {
            int64_t j = r->order[other];
            if (j == i || (group && group[i] >= 0 && group[i] == group[j]))
                continue;
            float s = dot(a, r->unit[1 - way] + j * n, n);
            above += s > own || (s == own && other < at);
        }
        r->rank[way][i] = above + 1;
    }
}

static void rank_range(void *arg, int64_t begin, int64_t end)
{
    for (int64_t at = begin; at < end; at++)
        rank_one(arg, at);
}

/* ---- Scores ---- */

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Percentile interval of the mean of `value` over pairs drawn with replacement. */
static void bootstrap(ranking *r, const double *value, mcs_retrieval_score *s)
{
    int64_t n = r->p->count;
    for (int d = 0; d < DRAWS; d++) {
        double sum = 0;
        for (int64_t i = 0; i < n; i++)
            sum += value[mcs_random_below(r->o->seed + 1, (uint64_t)d << 40 | (uint64_t)i, n)];
        r->draws[d] = sum / (double)n;
    }
    qsort(r->draws, DRAWS, sizeof *r->draws, by_value);
    s->low = r->draws[DRAWS / 40];
    s->high = r->draws[DRAWS - 1 - DRAWS / 40];
}

static void one_run(ranking *r, int run, mcs_retrieval_result *out)
{
    int64_t n = r->p->count;
    mcs_permutation(r->order, n, r->o->seed, (uint64_t)run);
    mcs_pool_for(r->pool, n, 1 + 2000000 / (r->batch * r->padded), rank_range, r);
    for (int way = 0; way < 2; way++)
        for (int k = 0; k < r->o->ks; k++) {
            mcs_retrieval_score *s = way ? &out->text_to_image[k] : &out->image_to_text[k];
            double *hits = r->hits + (way * r->o->ks + k) * n, share = 0;
            for (int64_t i = 0; i < n; i++) {
                bool right = r->rank[way][i] <= r->o->k[k];
                hits[i] += right;
                share += right;
            }
            share /= (double)n;
            double before = s->mean; /* Welford: mean and sum of squared deviations */
            s->mean += (share - s->mean) / (run + 1);
            s->sd += (share - before) * (share - s->mean);
        }
    for (int64_t i = 0; i < n; i++) {
        out->rank_image += (double)r->rank[0][i] / (double)n / r->o->runs;
        out->rank_text += (double)r->rank[1][i] / (double)n / r->o->runs;
    }
}

static void finish(ranking *r, mcs_retrieval_result *out)
{
    for (int way = 0; way < 2; way++)
        for (int k = 0; k < r->o->ks; k++) {
            mcs_retrieval_score *s = way ? &out->text_to_image[k] : &out->image_to_text[k];
            double *hits = r->hits + (way * r->o->ks + k) * r->p->count;
            s->sd = r->o->runs > 1 ? sqrt(s->sd / (r->o->runs - 1)) : 0;
            for (int64_t i = 0; i < r->p->count; i++)
                hits[i] /= r->o->runs;
            bootstrap(r, hits, s);
        }
}

/* ---- Preparation ---- */

static mcs_status check(const mcs_retrieval_pairs *p, const mcs_retrieval_opts *o, mcs_error *e)
{
    bool good = o->ks >= 1 && o->ks <= MCS_RETRIEVAL_KS && o->runs >= 1 && o->runs <= 100000 &&
                o->batch >= 0 && o->batch != 1;
    for (int k = 0; good && k < o->ks; k++)
        good = o->k[k] >= 1;
    if (!good)
        return mcs_error_set(e, MCS_EINVAL, "retrieval: batch, runs or a k is out of range");
    if (p->count < 2 || p->width < 1)
        return mcs_error_set(e, MCS_EINVAL, "retrieval: %lld pairs; at least 2 are needed",
                             (long long)p->count);
    for (int64_t i = 0; i < p->count * p->width; i++)
        if (!isfinite(p->image[i]) || !isfinite(p->text[i]))
            return mcs_error_set(e, MCS_ENUMERIC,
                                 "retrieval: an embedding of pair %lld is not "
                                 "finite",
                                 (long long)(i / p->width));
    return MCS_OK;
}

static void normalize(const float *x, int64_t count, int64_t width, int64_t padded, float *out)
{
    for (int64_t i = 0; i < count; i++) {
        double square = 0;
        for (int64_t k = 0; k < width; k++)
            square += (double)x[i * width + k] * (double)x[i * width + k];
        double scale = 1 / fmax(sqrt(square), 1e-12);
        for (int64_t k = 0; k < width; k++)
            out[i * padded + k] = (float)((double)x[i * width + k] * scale);
    }
}

static bool allocate(ranking *r)
{
    size_t n = (size_t)r->p->count, row = (size_t)r->padded;
    for (int way = 0; way < 2; way++) {
        r->unit[way] = calloc(n * row, sizeof(float));
        r->rank[way] = malloc(n * sizeof(int64_t));
    }
    r->order = malloc(n * sizeof *r->order);
    r->hits = calloc(n * 2 * (size_t)r->o->ks, sizeof *r->hits);
    r->draws = malloc(DRAWS * sizeof *r->draws);
    return r->unit[0] && r->unit[1] && r->rank[0] && r->rank[1] && r->order && r->hits && r->draws;
}

mcs_status mcs_retrieval(const mcs_retrieval_pairs *p, const mcs_retrieval_opts *o, mcs_pool *pool,
                         mcs_retrieval_result *out, mcs_error *e)
{
    mcs_status s = check(p, o, e);
    if (s != MCS_OK)
        return s;
    mcs_retrieval_opts own = *o;
    own.runs = o->batch && o->batch < p->count ? o->runs : 1;
    ranking r = { .p = p,
                  .o = &own,
                  .pool = pool,
                  .padded = (p->width + LANES - 1) / LANES * LANES,
                  .batch = o->batch && o->batch < p->count ? o->batch : p->count };
    *out = (mcs_retrieval_result){ .rank_image = 0 };
    if (allocate(&r)) {
        normalize(p->image, p->count, p->width, r.padded, r.unit[0]);
        normalize(p->text, p->count, p->width, r.padded, r.unit[1]);
        for (int run = 0; run < own.runs; run++)
            one_run(&r, run, out);
        finish(&r, out);
    } else {
        s = mcs_error_set(e, MCS_ENOMEM, "retrieval: out of memory for %lld pairs",
                          (long long)p->count);
    }
    for (int way = 0; way < 2; way++) {
        free(r.unit[way]);
        free(r.rank[way]);
    }
    free(r.order);
    free(r.hits);
    free(r.draws);
    return s;
}
