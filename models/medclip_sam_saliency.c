/* medclip_sam_saliency.c - where in the picture the text is (MedCLIP-SAM sec. 2.2).
 *
 * All texts of all queries of a picture are explained together: the masked pictures of gScoreCAM
 * do not depend on the text and are embedded once.  The map of 14 x 14 tokens is laid back on the
 * picture through the same geometry by which the picture was brought to the square: the released
 * code stretches the map of the centre crop over everything (MCS_ZEROSHOT_STRETCH). */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "models/medclip_sam_internal.h"

/* Words of no meaning: a map that follows the text differs from theirs. */
static const char *const nonsense[] = { "flurb zint quaggle of the wembly oot" };

static mcs_tensor *features(mcs_ctx *c, const mcs_tensor *images, void *arg)
{
    return mcs_l2_normalize(c, mcs_biomedclip_encode_image(c, arg, images), 1e-12f);
}

/* ---- Texts: one row of `rows` per map ---- */

typedef struct {
    mcs_tensor *rows; /* (P,D) */
    int *first, *maps; /* per query: its rows */
    int total;
} text_rows;

/* Mean of the normalised embeddings, normalised again (Radford et al. 2021, sec. 3.1.4). */
static mcs_tensor *ensemble(mcs_ctx *c, mcs_tensor *e, mcs_zeroshot_ensemble how)
{
    if (!e || how == MCS_ENSEMBLE_MAP || e->shape[0] == 1)
        return e;
    return mcs_l2_normalize(c, mcs_mean_dim(c, e, 0, true), 1e-12f);
}

static mcs_tensor *query_rows(mcs_zeroshot_job *j, const mcs_zeroshot_query *q)
{
    mcs_tensor *e = q->embedding
                        ? mcs_detach(j->c, q->embedding)
                        : mcs_medclip_sam_text(j->c, j->m, q->texts, q->text_count);
    return ensemble(j->c, e, j->o->ensemble);
}

static bool collect_texts(mcs_zeroshot_job *j, text_rows *t)
{
    mcs_ctx *c = j->c;
    const mcs_tensor **parts = calloc((size_t)j->count + 1, sizeof *parts);
    int n = 0;
    for (int i = 0; parts && i < j->count; i++) {
        t->first[i] = t->total;
        if (mcs_zeroshot_prompted(&j->queries[i]))
            continue;
        const mcs_tensor *rows = query_rows(j, &j->queries[i]);
        if (!rows)
            break;
        t->maps[i] = (int)rows->shape[0];
        t->total += t->maps[i];
        parts[n++] = rows;
    }
    if (parts && n > 0 && j->o->check_prompt)
        parts[n++] = mcs_medclip_sam_text(c, j->m, nonsense, 1);
    if (!parts)
        mcs_fail(c, MCS_ENOMEM, "out of memory for %d queries", j->count);
    else if (n > 0 && mcs_ctx_status(c) == MCS_OK)
        t->rows = mcs_concat(c, 0, n, parts);
    free(parts);
    return mcs_ctx_status(c) == MCS_OK;
}

/* ---- Maps ---- */

/* To [0,1] as the published code does after enlarging: (m - min) / (1e-8 + (max - min)). */
static float rescale(float *map, int64_t n)
{
    float low = INFINITY, high = -INFINITY;
    double sum = 0;
    for (int64_t i = 0; i < n; i++) {
        low = fminf(low, map[i]);
        high = fmaxf(high, map[i]);
    }
    for (int64_t i = 0; i < n; i++) {
        map[i] = (map[i] - low) / (1e-8f + (high - low));
        sum += (double)map[i];
    }
    return (float)(sum / (double)n);
}

static void enlarge(const mcs_zeroshot_job *j, const mcs_geometry *g, const float *map, int grid,
                    float *out)
{
    if (j->o->fit == MCS_ZEROSHOT_STRETCH)
        mcs_cam_enlarge(map, grid, grid, out, j->rgb->width, j->rgb->height);
    else
        mcs_geometry_map(g, map, grid, grid, 0.0f, out);
}

static float correlation(const float *a, const float *b, int64_t n)
{
    double ma = 0, mb = 0, ab = 0, aa = 0, bb = 0;
    for (int64_t i = 0; i < n; i++) {
        ma += (double)a[i] / (double)n;
        mb += (double)b[i] / (double)n;
    }
    for (int64_t i = 0; i < n; i++) {
        double x = (double)a[i] - ma, y = (double)b[i] - mb;
        ab += x * y;
        aa += x * x;
        bb += y * y;
    }
    return aa > 0 && bb > 0 ? (float)(ab / sqrt(aa * bb)) : NAN;
}

typedef struct {
    mcs_geometry geometry;
    int grid;
    const mcs_tensor *maps; /* (P,grid,grid) */
    const float *peak; /* (P) */
    const mcs_tensor *feature; /* (1,D) */
} explained;

/* The mean of the query's maps (one, unless the ensemble is over maps) at the picture's size. */
static bool finish_query(mcs_zeroshot_job *j, int i, const text_rows *t, const explained *x)
{
    mcs_zeroshot_result *r = &j->results[i];
    int64_t cells = (int64_t)x->grid * x->grid, dim = t->rows->shape[1];
    float *mean = calloc((size_t)cells, sizeof *mean);
    r->saliency = malloc((size_t)j->pixels * sizeof *r->saliency);
    if (!mean || !r->saliency) {
        free(mean);
        mcs_fail(j->c, MCS_ENOMEM, "out of memory for a map of %lld pixels", (long long)j->pixels);
        return false;
    }
    double score = 0;
    for (int k = t->first[i]; k < t->first[i] + t->maps[i]; k++) {
        const float *map = mcs_f32(x->maps) + k * cells, *row = mcs_f32(t->rows) + k * dim;
        for (int64_t p = 0; p < cells; p++)
            mean[p] += map[p] / (float)t->maps[i];
        for (int64_t d = 0; d < dim; d++)
            score += (double)row[d] * (double)mcs_f32(x->feature)[d] / t->maps[i];
        r->cam_max = fmaxf(r->cam_max, x->peak[k]);
    }
    r->clip_score = (float)score;
    if (j->o->check_prompt)
        r->nonsense_corr = correlation(mean, mcs_f32(x->maps) + t->total * cells, cells);
    enlarge(j, &x->geometry, mean, x->grid, r->saliency);
    r->cam_mean = rescale(r->saliency, j->pixels);
    free(mean);
    return true;
}

static bool explain(mcs_zeroshot_job *j, const text_rows *t, explained *x)
{
    mcs_ctx *c = j->c;
    const mcs_vit_config *v = &mcs_biomedclip_get_config(j->m->clip)->vision;
    mcs_tensor *image = mcs_new(c, 4, MCS_SHAPE(1, 3, v->image, v->image));
    float *peak = calloc((size_t)t->rows->shape[0], sizeof *peak);
    if (!peak)
        mcs_fail(c, MCS_ENOMEM, "out of memory for %lld maps", (long long)t->rows->shape[0]);
    x->peak = peak;
    if (!image || !peak ||
        mcs_preprocess_clip(j->rgb, v->image,
                            j->o->fit == MCS_ZEROSHOT_SQUASH ? MCS_FIT_SQUASH : MCS_FIT_CROP,
                            mcs_clip_mean, mcs_clip_std, mcs_f32(image), &x->geometry,
                            mcs_ctx_error(c)) != MCS_OK)
        return false;
    x->grid = v->image / v->patch;
    mcs_cam_model model = {
        .features = features,
        .arg = j->m->clip,
        .layer = j->o->cam_layer ? j->o->cam_layer : mcs_biomedclip_cam_layer(j->m->clip),
        .grid_h = x->grid,
        .grid_w = x->grid,
        .skip = 1,
    };
    mcs_cam *cam = mcs_cam_new(c, &model, image);
    x->maps = cam ? mcs_zeroshot_maps(j, cam, &model, image, t->rows, peak) : NULL;
    x->feature = x->maps ? mcs_cam_feature(cam) : NULL;
    return x->feature != NULL;
}

bool mcs_zeroshot_saliency(mcs_zeroshot_job *j)
{
    text_rows t = { .first = calloc((size_t)j->count, sizeof(int)),
                    .maps = calloc((size_t)j->count, sizeof(int)) };
    explained x = { 0 };
    double begin = mcs_zeroshot_clock(), texts = begin;
    if (!t.first || !t.maps)
        mcs_fail(j->c, MCS_ENOMEM, "out of memory for %d queries", j->count);
    bool fine = t.first && t.maps && collect_texts(j, &t);
    texts = mcs_zeroshot_clock();
    if (fine && t.rows) {
        fine = explain(j, &t, &x);
        for (int i = 0; fine && i < j->count; i++)
            if (t.maps[i] > 0)
                fine = finish_query(j, i, &t, &x);
        j->results[0].seconds[MCS_STAGE_TEXT] = texts - begin;
        j->results[0].seconds[MCS_STAGE_SALIENCY] = mcs_zeroshot_clock() - texts;
    }
    free((void *)x.peak);
    free(t.first);
    free(t.maps);
    return fine;
}
