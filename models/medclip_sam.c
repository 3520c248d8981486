/* medclip_sam.c - the composed system: models, text embeddings, and one picture from end to end.
 * The stages are in medclip_sam_saliency.c, _coarse.c and _segment.c. */
#include <ctype.h>
#include <limits.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include "models/medclip_sam_internal.h"

double mcs_zeroshot_clock(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* ---- Models ---- */

static bool type_fits(const mcs_sam *sam, const mcs_zeroshot_files *f, mcs_error *e)
{
    if (!f->sam_type || strcmp(f->sam_type, mcs_sam_type(sam)) == 0)
        return true;
    mcs_error_set(e, MCS_EINVAL, "%s: the file holds a SAM of type %s, %s was asked for", f->sam,
                  mcs_sam_type(sam), f->sam_type);
    return false;
}

mcs_medclip_sam *mcs_medclip_sam_load(const mcs_zeroshot_files *f, mcs_error *e)
{
    int flags = MCS_LOAD_STRICT | (f->allow_nan ? MCS_LOAD_ALLOW_NAN : 0);
    mcs_medclip_sam *m = calloc(1, sizeof *m);
    if (!m) {
        mcs_error_set(e, MCS_ENOMEM, "out of memory for the models");
        return NULL;
    }
    if (f->clip)
        m->clip = mcs_biomedclip_load_flags(f->clip, f->vocab, flags, e);
    if (f->sam && (!f->clip || m->clip))
        m->sam = mcs_sam_load_flags(f->sam, flags, e);
    bool whole = (!f->clip || m->clip) && (!f->sam || m->sam);
    if (!whole || (m->sam && !type_fits(m->sam, f, e))) {
        mcs_medclip_sam_free(m);
        return NULL;
    }
    return m;
}

void mcs_medclip_sam_free(mcs_medclip_sam *m)
{
    if (!m)
        return;
    mcs_biomedclip_free(m->clip);
    mcs_sam_free(m->sam);
    free(m);
}

mcs_zeroshot_info mcs_medclip_sam_info(const mcs_medclip_sam *m)
{
    mcs_zeroshot_info info = { 0 };
    if (m->clip) {
        const mcs_biomedclip_config *cfg = mcs_biomedclip_get_config(m->clip);
        info.clip_size = cfg->vision.image;
        info.clip_patch = cfg->vision.patch;
        info.clip_depth = cfg->vision.depth;
        info.clip_embed = cfg->embed;
        info.clip_weights = mcs_params_numel(mcs_biomedclip_params(m->clip));
        info.logit_scale = mcs_biomedclip_scale(m->clip);
        strncpy(info.cam_layer, mcs_biomedclip_cam_layer(m->clip), sizeof info.cam_layer - 1);
    }
    if (m->sam) {
        info.sam_weights = mcs_params_numel(mcs_sam_params(m->sam));
        strncpy(info.sam_type, mcs_sam_type(m->sam), sizeof info.sam_type - 1);
    }
    return info;
}

typedef struct {
    void (*fn)(const char *name, const mcs_tensor *x, void *arg);
    void *arg;
    int64_t tokens;
} layer_lister;

/* A map needs one row of channels per token. */
static void list_layer(const char *name, const mcs_tensor *x, void *arg)
{
    const layer_lister *l = arg;
    if (x->ndim == 3 && x->shape[1] == l->tokens)
        l->fn(name, x, l->arg);
}

mcs_status mcs_medclip_sam_layers(mcs_ctx *c, const mcs_medclip_sam *m,
                                  void (*fn)(const char *name, const mcs_tensor *x, void *arg),
                                  void *arg)
{
    if (!m->clip) {
        mcs_fail(c, MCS_EINVAL, "layers: no BiomedCLIP is loaded");
        return mcs_ctx_status(c);
    }
    const mcs_vit_config *v = &mcs_biomedclip_get_config(m->clip)->vision;
    int64_t grid = v->image / v->patch;
    layer_lister l = { fn, arg, 1 + grid * grid };
    mcs_tensor *blank = mcs_zeros(c, 4, MCS_SHAPE(1, 3, v->image, v->image));
    mcs_trace(c, list_layer, &l);
    mcs_biomedclip_encode_image(c, m->clip, blank);
    mcs_trace(c, NULL, NULL);
    return mcs_ctx_status(c);
}

/* ---- Texts ---- */

static bool blank_text(const char *s)
{
    while (isspace((unsigned char)*s))
        s++;
    return *s == '\0';
}

mcs_tensor *mcs_medclip_sam_text(mcs_ctx *c, const mcs_medclip_sam *m, const char *const *texts,
                                 int count)
{
    if (!m->clip)
        return mcs_fail(c, MCS_EINVAL, "a text prompt needs a BiomedCLIP checkpoint");
    if (count < 1)
        return mcs_fail(c, MCS_EINVAL, "no text prompt is given");
    for (int i = 0; i < count; i++)
        if (blank_text(texts[i]))
            return mcs_fail(c, MCS_EINVAL, "text prompt %d is empty", i + 1);
    mcs_tensor *ids = mcs_biomedclip_tokens(c, m->clip, texts, count);
    return mcs_l2_normalize(c, mcs_biomedclip_encode_text(c, m->clip, ids, NULL), 1e-12f);
}

/* ---- One picture ---- */

static bool check_query(mcs_zeroshot_job *j, const mcs_zeroshot_query *q)
{
    mcs_ctx *c = j->c;
    if (mcs_zeroshot_prompted(q)) {
        if (!j->m->sam)
            mcs_fail(c, MCS_EINVAL, "boxes and points need a SAM checkpoint");
        for (int i = 0; i < q->box_count; i++) {
            const mcs_zeroshot_box *b = &q->boxes[i];
            if (!(b->x0 < b->x1 && b->y0 < b->y1 && b->x1 > 0 && b->y1 > 0 &&
                  b->x0 < (float)j->rgb->width && b->y0 < (float)j->rgb->height))
                mcs_fail(c, MCS_EINVAL,
                         "box %g,%g,%g,%g does not meet the picture of %d x %d pixels (wanted: "
                         "x0,y0,x1,y1 with x0 < x1 and y0 < y1)",
                         (double)b->x0, (double)b->y0, (double)b->x1, (double)b->y1, j->rgb->width,
                         j->rgb->height);
        }
    } else if (!j->m->clip)
        mcs_fail(c, MCS_EINVAL, "a text prompt needs a BiomedCLIP checkpoint");
    else if (q->text_count < 1)
        mcs_fail(c, MCS_EINVAL, "a query needs a text, a box or a point");
    return mcs_ctx_status(c) == MCS_OK;
}

static bool start(mcs_zeroshot_job *j, const mcs_image *image, int ways)
{
    mcs_ctx *c = j->c;
    double t = mcs_zeroshot_clock();
    if (mcs_zeroshot_check(j->o, mcs_ctx_error(c)) != MCS_OK)
        return false;
    j->rgb = mcs_image_to_rgb(image, mcs_ctx_error(c));
    j->results = calloc((size_t)ways, (size_t)j->count * sizeof *j->results);
    if (!j->rgb || !j->results) {
        mcs_fail(c, MCS_ENOMEM, "out of memory for %d results", j->count);
        return false;
    }
    j->pixels = (int64_t)j->rgb->width * j->rgb->height;
    for (int i = 0; i < ways * j->count; i++) {
        mcs_zeroshot_result *r = &j->results[i];
        r->width = j->rgb->width;
        r->height = j->rgb->height;
        r->clip_score = r->nonsense_corr = NAN;
        if (!check_query(j, &j->queries[i % j->count]))
            return false;
    }
    j->results[0].seconds[MCS_STAGE_PREPARE] = mcs_zeroshot_clock() - t;
    return true;
}

/* Boxes and points that the user gave are the prompt as they stand. */
static bool take_given(mcs_zeroshot_job *j, int i)
{
    const mcs_zeroshot_query *q = &j->queries[i];
    mcs_zeroshot_result *r = &j->results[i];
    r->boxes = calloc((size_t)q->box_count + 1, sizeof *r->boxes);
    r->points = calloc((size_t)q->point_count + 1, sizeof *r->points);
    if (!r->boxes || !r->points) {
        mcs_fail(j->c, MCS_ENOMEM, "out of memory for %d boxes", q->box_count);
        return false;
    }
    r->box_count = q->box_count;
    r->point_count = q->point_count;
    for (int k = 0; k < q->box_count; k++)
        r->boxes[k] = q->boxes[k];
    for (int k = 0; k < q->point_count; k++)
        r->points[k] = q->points[k];
    return true;
}

static bool work(mcs_zeroshot_job *j)
{
    if (!mcs_zeroshot_saliency(j))
        return false;
    for (int i = 0; i < j->count; i++) {
        double t = mcs_zeroshot_clock();
        bool given = mcs_zeroshot_prompted(&j->queries[i]);
        if (!(given ? take_given(j, i) : mcs_zeroshot_coarse_mask(j, i)))
            return false;
        j->results[i].seconds[MCS_STAGE_COARSE] = given ? 0 : mcs_zeroshot_clock() - t;
        if (j->m->sam && !mcs_zeroshot_segment(j, i))
            return false;
    }
    return true;
}

/* Way after way: what they share stays in the job. */
static bool work_ways(mcs_zeroshot_job *j, int ways)
{
    const mcs_zeroshot_opts *o = j->o;
    mcs_zeroshot_result *all = j->results;
    mcs_zeroshot_opts own = *o;
    bool done = true;
    j->o = &own;
    for (int k = 0; done && k < ways; k++) {
        memcpy(own.cams, o[k].cams, sizeof own.cams);
        own.cam_count = o[k].cam_count;
        j->results = all + (ptrdiff_t)k * j->count;
        done = mcs_zeroshot_check(&own, mcs_ctx_error(j->c)) == MCS_OK && work(j);
    }
    j->results = all;
    free(j->texts.first);
    return done;
}

mcs_zeroshot_result *mcs_medclip_sam_compare(mcs_ctx *c, const mcs_medclip_sam *m,
                                             const mcs_image *image, int ways,
                                             const mcs_zeroshot_opts *o, int count,
                                             const mcs_zeroshot_query *queries)
{
    if (mcs_ctx_status(c) != MCS_OK || count < 1 || ways < 1 || ways > INT_MAX / count || !image)
        return NULL;
    mcs_zeroshot_job j = { .c = c, .m = m, .o = o, .count = count, .queries = queries };
    bool grad = mcs_set_grad(c, false);
    bool done = start(&j, image, ways) && work_ways(&j, ways);
    mcs_set_grad(c, grad);
    mcs_image_free(j.rgb);
    if (done)
        return j.results;
    mcs_zeroshot_results_free(j.results, ways * count);
    return NULL;
}

mcs_zeroshot_result *mcs_medclip_sam_run(mcs_ctx *c, const mcs_medclip_sam *m,
                                         const mcs_image *image, const mcs_zeroshot_opts *o,
                                         int count, const mcs_zeroshot_query *queries)
{
    return mcs_medclip_sam_compare(c, m, image, 1, o, count, queries);
}

void mcs_zeroshot_results_free(mcs_zeroshot_result *r, int count)
{
    for (int i = 0; r && i < count; i++) {
        free(r[i].saliency);
        free(r[i].coarse);
        free(r[i].mask);
        free(r[i].boxes);
        free(r[i].iou_pred);
        free(r[i].stability);
        free(r[i].points);
    }
    free(r);
}
