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
    const mcs_retrieval_pairs *p; /* embeddings; NULL with fit */
    mcs_retrieval_fit *fit;
    const void *arg; /* of fit */
    const mcs_retrieval_opts *o;
    mcs_pool *pool;
    int64_t count;
    float *
        unit[2]; /* (count, padded): normalised rows of image, text; zeros to a multiple of LANES */
    int64_t padded, batch;
    int64_t *order; /* of the run */
    int64_t *rank[2]; /* by pair, of the run: 1 + how many are better */
    int64_t *ties[2]; /* and how many others are as good, in any order */
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

/* Neither is a wrong answer to the other; a: what is asked with, caption if way is 1. */
static bool no_rivals(const mcs_retrieval_pairs *p, int way, int64_t a, int64_t b)
{
    if (p->group && p->group[a] >= 0 && p->group[a] == p->group[b])
        return true;
    return p->also && p->also(p->arg, way ? a : b, way ? b : a);
}

/* Position `at` of the order, both directions. */
static void rank_one(const ranking *r, int64_t at)
{
    int64_t begin = at / r->batch * r->batch, i = r->order[at], n = r->padded;
    int64_t end = begin + r->batch < r->count ? begin + r->batch : r->count;
    float own = dot(r->unit[0] + i * n, r->unit[1] + i * n, n);
    for (int way = 0; way < 2; way++) {
        const float *a = r->unit[way] + i * n;
        int64_t above = 0;
        for (int64_t other = begin; other < end; other++) {
            int64_t j = r->order[other];
            if (j == i)
                continue;
            float s = dot(a, r->unit[1 - way] + j * n, n);
            if (s > own || (s == own && other < at))
                above += !no_rivals(r->p, way, i, j);
        }
        r->rank[way][i] = above + 1;
        r->ties[way][i] = 0;
    }
}

static void rank_by_fit(const ranking *r, int64_t at)
{
    int64_t begin = at / r->batch * r->batch, i = r->order[at];
    int64_t end = begin + r->batch < r->count ? begin + r->batch : r->count;
    double own = r->fit(r->arg, i, i);
    for (int way = 0; way < 2; way++) {
        int64_t above = 0, ties = 0;
        for (int64_t other = begin; other < end; other++) {
            int64_t j = r->order[other];
            if (j == i)
                continue;
            double s = r->fit(r->arg, way ? i : j, way ? j : i);
            above += s > own;
            ties += s == own;
        }
        r->rank[way][i] = above + 1;
        r->ties[way][i] = ties;
    }
}

static void rank_range(void *arg, int64_t begin, int64_t end)
{
    const ranking *r = arg;
    for (int64_t at = begin; at < end; at++)
        if (r->fit)
            rank_by_fit(r, at);
        else
            rank_one(r, at);
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
    int64_t n = r->count;
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

/* The chance that the right one is among the first k: 0 or 1 without ties. */
static double chance(const ranking *r, int way, int64_t i, int k)
{
    int64_t left = k - (r->rank[way][i] - 1), equal = 1 + r->ties[way][i];
    return left <= 0 ? 0 : left >= equal ? 1 : (double)left / (double)equal;
}

static void one_run(ranking *r, int run, mcs_retrieval_result *out)
{
    int64_t n = r->count;
    mcs_permutation(r->order, n, r->o->seed, (uint64_t)run);
    mcs_pool_for(r->pool, n, 1 + 2000000 / (r->batch * r->padded), rank_range, r);
    for (int way = 0; way < 2; way++)
        for (int k = 0; k < r->o->ks; k++) {
            mcs_retrieval_score *s = way ? &out->text_to_image[k] : &out->image_to_text[k];
            double *hits = r->hits + (way * r->o->ks + k) * n, share = 0;
            for (int64_t i = 0; i < n; i++) {
                double right = chance(r, way, i, r->o->k[k]);
                hits[i] += right;
                share += right;
            }
            share /= (double)n;
            double before = s->mean; /* Welford: mean and sum of squared deviations */
            s->mean += (share - s->mean) / (run + 1);
            s->sd += (share - before) * (share - s->mean);
        }
    for (int64_t i = 0; i < n; i++) {
        double image = (double)r->rank[0][i] + 0.5 * (double)r->ties[0][i];
        double text = (double)r->rank[1][i] + 0.5 * (double)r->ties[1][i];
        out->rank_image += image / (double)n / r->o->runs;
        out->rank_text += text / (double)n / r->o->runs;
    }
}

static void finish(ranking *r, mcs_retrieval_result *out)
{
    for (int way = 0; way < 2; way++)
        for (int k = 0; k < r->o->ks; k++) {
            mcs_retrieval_score *s = way ? &out->text_to_image[k] : &out->image_to_text[k];
            double *hits = r->hits + (way * r->o->ks + k) * r->count;
            s->sd = r->o->runs > 1 ? sqrt(s->sd / (r->o->runs - 1)) : 0;
            for (int64_t i = 0; i < r->count; i++)
                hits[i] /= r->o->runs;
            bootstrap(r, hits, s);
        }
}

/* ---- Preparation ---- */

static mcs_status check(int64_t count, const mcs_retrieval_opts *o, mcs_error *e)
{
    bool good = o->ks >= 1 && o->ks <= MCS_RETRIEVAL_KS && o->runs >= 1 && o->runs <= 100000 &&
                o->batch >= 0 && o->batch != 1;
    for (int k = 0; good && k < o->ks; k++)
        good = o->k[k] >= 1;
    if (!good)
        return mcs_error_set(e, MCS_EINVAL, "retrieval: batch, runs or a k is out of range");
    if (count < 2)
        return mcs_error_set(e, MCS_EINVAL, "retrieval: %lld pairs; at least 2 are needed",
                             (long long)count);
    return MCS_OK;
}

static mcs_status check_embeddings(const mcs_retrieval_pairs *p, mcs_error *e)
{
    if (p->width < 1)
        return mcs_error_set(e, MCS_EINVAL, "retrieval: embeddings have no width");
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
    size_t n = (size_t)r->count, row = (size_t)r->padded;
    bool good = true;
    for (int way = 0; way < 2; way++) {
        r->unit[way] = r->fit ? NULL : calloc(n * row, sizeof(float));
        r->rank[way] = malloc(n * sizeof(int64_t));
        r->ties[way] = malloc(n * sizeof(int64_t));
        good = good && (r->fit || r->unit[way]) && r->rank[way] && r->ties[way];
    }
    r->order = malloc(n * sizeof *r->order);
    r->hits = calloc(n * 2 * (size_t)r->o->ks, sizeof *r->hits);
    r->draws = malloc(DRAWS * sizeof *r->draws);
    return good && r->order && r->hits && r->draws;
}

static void release(ranking *r)
{
    for (int way = 0; way < 2; way++) {
        free(r->unit[way]);
        free(r->rank[way]);
        free(r->ties[way]);
    }
    free(r->order);
    free(r->hits);
    free(r->draws);
}

/* r: count, pool and what ranks are given. */
static mcs_status rank_all(ranking *r, const mcs_retrieval_opts *o, mcs_retrieval_result *out,
                           mcs_error *e)
{
    mcs_status s = MCS_OK;
    mcs_retrieval_opts own = *o;
    bool whole = !o->batch || o->batch >= r->count;
    own.runs = whole ? 1 : o->runs;
    r->o = &own;
    r->batch = whole ? r->count : o->batch;
    *out = (mcs_retrieval_result){ .rank_image = 0 };
    if (allocate(r)) {
        for (int way = 0; way < 2 && r->p; way++)
            normalize(way ? r->p->text : r->p->image, r->count, r->p->width, r->padded,
                      r->unit[way]);
        for (int run = 0; run < own.runs; run++)
            one_run(r, run, out);
        finish(r, out);
    } else {
        s = mcs_error_set(e, MCS_ENOMEM, "retrieval: out of memory for %lld pairs",
                          (long long)r->count);
    }
    release(r);
    return s;
}

mcs_status mcs_retrieval(const mcs_retrieval_pairs *p, const mcs_retrieval_opts *o, mcs_pool *pool,
                         mcs_retrieval_result *out, mcs_error *e)
{
    mcs_status s = check(p->count, o, e);
    if (s == MCS_OK)
        s = check_embeddings(p, e);
    if (s != MCS_OK)
        return s;
    ranking r = { .p = p, .pool = pool, .count = p->count };
    r.padded = (p->width + LANES - 1) / LANES * LANES;
    return rank_all(&r, o, out, e);
}

mcs_status mcs_retrieval_ceiling(int64_t count, mcs_retrieval_fit *fit, const void *arg,
                                 const mcs_retrieval_opts *o, mcs_pool *pool,
                                 mcs_retrieval_result *out, mcs_error *e)
{
    mcs_status s = check(count, o, e);
    if (s != MCS_OK)
        return s;
    ranking r = { .fit = fit, .arg = arg, .pool = pool, .count = count, .padded = 1 };
    return rank_all(&r, o, out, e);
}
