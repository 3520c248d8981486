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

static mcs_tensor *features(mcs_ctx *c, const mcs_tensor *images, void *arg)
{
    return mcs_l2_normalize(c, mcs_biomedclip_encode_image(c, arg, images), 1e-12f);
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
    int grid;
    const mcs_tensor *maps; /* (P,grid,grid) */
    const float *peak; /* (P) */
    const mcs_tensor *feature; /* (1,D) */
} explained;

/* The mean of the query's maps (one, unless the ensemble is over maps), less that of the negatives'
 * maps if it has some. */
static float query_map(const mcs_zeroshot_job *j, const mcs_zeroshot_texts *t, int i,
                       const explained *x, float *mean)
{
    int64_t cells = (int64_t)x->grid * x->grid;
    float peak = 0;
    for (int k = t->first[i]; k < t->first[i] + t->maps[i]; k++) {
        peak = fmaxf(peak, x->peak[k]);
        for (int64_t p = 0; p < cells; p++)
            mean[p] += mcs_f32(x->maps)[k * cells + p] / (float)t->maps[i];
    }
    for (int k = t->first_negative[i]; k < t->first_negative[i] + t->negatives[i]; k++)
        for (int64_t p = 0; p < cells; p++)
            mean[p] -=
                j->o->negative_weight * mcs_f32(x->maps)[k * cells + p] / (float)t->negatives[i];
    for (int64_t p = 0; t->negatives[i] && p < cells; p++)
        mean[p] = fmaxf(mean[p], 0);
    return peak;
}

/* The cosine of the picture with the query's texts, negatives aside. */
static float query_score(const mcs_zeroshot_texts *t, int i, const mcs_tensor *feature)
{
    int64_t dim = t->rows->shape[1];
    double score = 0;
    for (int k = t->first[i]; k < t->first[i] + t->maps[i]; k++)
        for (int64_t d = 0; d < dim; d++)
            score +=
                (double)mcs_f32(t->rows)[k * dim + d] * (double)mcs_f32(feature)[d] / t->maps[i];
    return (float)score;
}

static bool finish_query(mcs_zeroshot_job *j, int i, const mcs_zeroshot_texts *t,
                         const explained *x)
{
    mcs_zeroshot_result *r = &j->results[i];
    int64_t cells = (int64_t)x->grid * x->grid;
    float *mean = calloc((size_t)cells, sizeof *mean);
    r->saliency = malloc((size_t)j->pixels * sizeof *r->saliency);
    if (!mean || !r->saliency) {
        free(mean);
        mcs_fail(j->c, MCS_ENOMEM, "out of memory for a map of %lld pixels", (long long)j->pixels);
        return false;
    }
    r->cam_max = query_map(j, t, i, x, mean);
    r->clip_score = query_score(t, i, x->feature);
    if (t->nonsense >= 0)
        r->nonsense_corr = correlation(mean, mcs_f32(x->maps) + t->nonsense * cells, cells);
    enlarge(j, &j->geometry, mean, x->grid, r->saliency);
    r->cam_mean = rescale(r->saliency, j->pixels);
    free(mean);
    return true;
}

/* The picture as CLIP sees it, and its forward pass: once for all methods. */
static bool look(mcs_zeroshot_job *j, const mcs_cam_model *model, int side)
{
    mcs_ctx *c = j->c;
    if (j->cam)
        return true;
    j->square = mcs_new(c, 4, MCS_SHAPE(1, 3, side, side));
    if (!j->square ||
        mcs_preprocess_clip(j->rgb, side,
                            j->o->fit == MCS_ZEROSHOT_SQUASH ? MCS_FIT_SQUASH : MCS_FIT_CROP,
                            mcs_clip_mean, mcs_clip_std, mcs_f32(j->square), &j->geometry,
                            mcs_ctx_error(c)) != MCS_OK)
        return false;
    j->cam = mcs_cam_new(c, model, j->square);
    return j->cam != NULL;
}

static bool explain(mcs_zeroshot_job *j, explained *x)
{
    mcs_ctx *c = j->c;
    const mcs_zeroshot_texts *t = &j->texts;
    const mcs_vit_config *v = &mcs_biomedclip_get_config(j->m->clip)->vision;
    float *peak = calloc((size_t)t->rows->shape[0], sizeof *peak);
    if (!peak)
        mcs_fail(c, MCS_ENOMEM, "out of memory for %lld maps", (long long)t->rows->shape[0]);
    x->peak = peak;
    x->grid = v->image / v->patch;
    mcs_cam_model model = {
        .features = features,
        .arg = j->m->clip,
        .layer = j->o->cam_layer ? j->o->cam_layer : mcs_biomedclip_cam_layer(j->m->clip),
        .grid_h = x->grid,
        .grid_w = x->grid,
        .skip = 1,
    };
    if (!peak || !look(j, &model, v->image))
        return false;
    const mcs_tensor *rows = j->o->negative == MCS_NEGATIVE_EMBEDDING ? t->against : t->rows;
    x->maps = mcs_zeroshot_maps(j, j->cam, &model, j->square, rows, t->against, peak);
    x->feature = x->maps ? mcs_cam_feature(j->cam) : NULL;
    return x->feature != NULL;
}

bool mcs_zeroshot_saliency(mcs_zeroshot_job *j)
{
    mcs_zeroshot_texts *t = &j->texts;
    explained x = { 0 };
    double begin = mcs_zeroshot_clock(), texts;
    bool fine = t->first || mcs_zeroshot_collect(j, t);
    texts = mcs_zeroshot_clock();
    if (fine && t->rows) {
        fine = explain(j, &x);
        for (int i = 0; fine && i < j->count; i++)
            if (t->maps[i] > 0)
                fine = finish_query(j, i, t, &x);
        j->results[0].seconds[MCS_STAGE_TEXT] = texts - begin;
        j->results[0].seconds[MCS_STAGE_SALIENCY] = mcs_zeroshot_clock() - texts;
    }
    free((void *)x.peak);
    return fine;
}
