/* cli_evalseg_score.c - reads one case and measures it; all cases, several at once.
 *
 * Empty masks.  "Both": neither truth nor segmentation has foreground; "one": exactly one has.
 *
 *   --empty   both: scores   both: distances   one: scores   one: distances
 *   nan       nan            nan               0 *           nan
 *   zero      0              nan               0             nan
 *   one       1              0                 0             diagonal
 *   worst     0              diagonal          0             diagonal
 *
 * * sensitivity without truth and precision of nothing are 0/0: nan.  AUC needs both kinds of
 * pixels in the truth and is nan otherwise, whatever the rule. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "tensor/parallel.h"
#include "tools/cli_evalseg.h"

/* ---- Reading ---- */

static uint8_t label_of(const es_run *r, const es_meaning *m, uint32_t value)
{
    if (!m->labels)
        return m->threshold ? es_luma(value) > m->threshold : value != 0;
    for (int i = 0; i < r->labels; i++)
        if (r->label[i] == value)
            return (uint8_t)(i + 1);
    return 0;
}

/* Nearest pixel of another size: the centre of the pixel that is asked for. */
static int64_t nearest(int64_t at, int64_t size, int64_t of)
{
    return (2 * at + 1) * of / (2 * size);
}

static void take_mask(const es_run *r, int side, const mcs_image *im, int64_t h, int64_t w,
                      uint8_t *out)
{
    const es_meaning *m = &r->meaning[side];
    bool alpha = es_in_alpha(im);
    uint32_t last = 0;
    uint8_t label = label_of(r, m, 0);
    for (int64_t y = 0; y < h; y++)
        for (int64_t x = 0; x < w; x++) {
            int64_t at = nearest(y, h, im->height) * im->width + nearest(x, w, im->width);
            uint32_t v = es_value(im, alpha, at);
            if (v != last) {
                last = v;
                label = label_of(r, m, v);
            }
            out[y * w + x] = label;
        }
}

/* Adds the foreground of further true masks. */
static mcs_status unite(const es_run *r, const es_case *c, es_volume *v, mcs_error *e)
{
    int64_t h = v->grid.size[0], w = v->grid.size[1];
    mcs_status s = MCS_OK;
    for (int k = 0; k < c->mores && s == MCS_OK; k++) {
        mcs_image *im = mcs_image_read(c->more[k]->path, e);
        uint8_t *label = malloc((size_t)v->n);
        if (!im)
            s = e->status;
        else if (!label)
            s = mcs_error_set(e, MCS_ENOMEM, "out of memory for %s", c->more[k]->rel);
        else if (im->width != w || im->height != h)
            s = mcs_error_set(e, MCS_ESHAPE, "%s has %d x %d pixels, expected %lld x %lld",
                              c->more[k]->rel, im->width, im->height, (long long)w, (long long)h);
        else
            take_mask(r, ES_GT, im, h, w, label);
        for (int64_t i = 0; s == MCS_OK && i < v->n; i++)
            if (!v->label[ES_GT][i])
                v->label[ES_GT][i] = label[i];
        mcs_image_free(im);
        free(label);
    }
    return s;
}

static mcs_status take_prob(const mcs_image *im, int64_t h, int64_t w, float *out, mcs_error *e)
{
    int64_t n = (int64_t)im->width * im->height;
    float *map = malloc((size_t)n * sizeof *map);
    if (!map)
        return mcs_error_set(e, MCS_ENOMEM, "out of memory for probabilities");
    for (int64_t i = 0; i < n; i++)
        map[i] = (float)es_luma(es_value(im, false, i));
    if (im->height == h && im->width == w)
        memcpy(out, map, (size_t)n * sizeof *map);
    else
        mcs_map_resize(map, im->width, im->height, out, (int)w, (int)h);
    free(map);
    return MCS_OK;
}

static mcs_status make_room(const es_run *r, const es_case *c, const mcs_image *first, es_volume *v,
                            mcs_error *e)
{
    bool flat = !r->o->volumes;
    v->grid = (mcs_grid){ .dims = flat ? 2 : 3 };
    const int64_t size[3] = { c->slices, first->height, first->width };
    for (int k = 0; k < v->grid.dims; k++) {
        v->grid.size[k] = size[k + flat];
        v->grid.spacing[k] = r->spacing[k + flat];
    }
    v->n = c->slices * first->height * first->width;
    bool ok = true;
    for (int s = 0; s < 3; s++)
        if (r->given[s])
            ok = (v->label[s] = calloc((size_t)v->n, 1)) && ok;
    if (r->given[ES_PROB])
        ok = (v->prob = calloc((size_t)v->n, sizeof *v->prob)) && ok;
    return ok ? MCS_OK
              : mcs_error_set(e, MCS_ENOMEM, "%s: out of memory for %lld pixels", c->name,
                              (long long)v->n);
}

/* One side of one slice.  NULL file: left empty. */
static mcs_status read_side(const es_run *r, const es_case *c, int64_t slice, int side,
                            es_volume *v, mcs_error *e)
{
    int64_t h = v->grid.size[v->grid.dims - 2], w = v->grid.size[v->grid.dims - 1], n = h * w;
    const cli_input *file = c->file[side][slice];
    if (!file && side != ES_OTHER && !(side == ES_SEG && r->o->missing))
        return mcs_error_set(e, MCS_ENOTFOUND, "%s: no %s of that name", c->file[ES_GT][slice]->rel,
                             side == ES_SEG ? "segmentation" : "probabilities");
    mcs_image *im = file ? mcs_image_read(file->path, e) : NULL;
    if (!im) {
        if (side == ES_OTHER && !r->o->missing && (!file || e->status == MCS_OK)) {
            free(v->label[ES_OTHER]); /* not to be compared */
            v->label[ES_OTHER] = NULL;
        }
        return file ? e->status : MCS_OK;
    }
    mcs_status s = MCS_OK;
    bool fits = im->width == w && im->height == h;
    if (!fits && (side == ES_GT || r->o->mismatch))
        s = mcs_error_set(e, MCS_ESHAPE, "%s has %d x %d pixels, expected %lld x %lld", file->rel,
                          im->width, im->height, (long long)w, (long long)h);
    else if (side == ES_PROB)
        s = take_prob(im, h, w, v->prob + slice * n, e);
    else if (v->label[side])
        take_mask(r, side, im, h, w, v->label[side] + slice * n);
    v->resized += !fits && side == ES_SEG;
    mcs_image_free(im);
    return s;
}

mcs_status es_volume_read(const es_run *r, const es_case *c, es_volume *v, mcs_error *e)
{
    *v = (es_volume){ 0 };
    mcs_image *first = mcs_image_read(c->file[ES_GT][0]->path, e);
    mcs_status s = first ? make_room(r, c, first, v, e) : e->status;
    mcs_image_free(first);
    for (int64_t i = 0; i < c->slices; i++)
        for (int side = 0; side <= ES_PROB && s == MCS_OK; side++)
            if (r->given[side])
                s = read_side(r, c, i, side, v, e);
    return s == MCS_OK ? unite(r, c, v, e) : s;
}

void es_volume_free(es_volume *v)
{
    for (int s = 0; s < 3; s++)
        free(v->label[s]);
    free(v->prob);
}

/* ---- Measuring ---- */

bool es_is_distance(es_metric m)
{
    return m == ES_HD95 || m == ES_HD95_MONAI || m == ES_HD;
}

static double ruled(const es_run *r, const es_score *s, es_metric m, double v, double diagonal)
{
    int rule = r->o->empty;
    bool both = s->truth_empty && s->found_empty;
    if (m == ES_AUC)
        return v;
    if (es_is_distance(m)) {
        if (isfinite(v))
            return v;
        if (rule == ES_EMPTY_ONE && both)
            return 0;
        return rule == ES_EMPTY_ONE || rule == ES_EMPTY_WORST ? diagonal : (double)NAN;
    }
    if (!isnan(v) || rule == ES_EMPTY_NAN)
        return v;
    return rule == ES_EMPTY_ONE && both ? 1 : 0;
}

static mcs_status boundaries(const es_run *r, const mcs_grid *g, const uint8_t *a, const uint8_t *b,
                             double *v, mcs_error *e)
{
    mcs_status s = MCS_OK;
    mcs_surface surface = { 0 };
    if (r->wanted[ES_NSD] || r->wanted[ES_HD95] || r->wanted[ES_HD]) {
        s = mcs_surface_compare(g, a, b, &surface, e);
        v[ES_NSD] = mcs_nsd(&surface, (double)r->o->tolerance);
        v[ES_HD95] = mcs_hausdorff(&surface, 95);
        v[ES_HD] = mcs_hausdorff(&surface, 100);
        mcs_surface_free(&surface);
    }
    if (s == MCS_OK && r->wanted[ES_HD95_MONAI])
        s = mcs_hausdorff_pixels(g, a, b, 95, &v[ES_HD95_MONAI], e);
    if (s == MCS_OK && r->wanted[ES_NSD_OFFICIAL])
        s = mcs_nsd_official_region(a, b, g->size[0], g->size[1], (double)r->o->tolerance,
                                    &v[ES_NSD_OFFICIAL], e);
    return s;
}

static mcs_status measure(const es_run *r, const es_volume *v, const uint8_t *a, const uint8_t *b,
                          bool prob, es_score *out, mcs_error *e)
{
    mcs_overlap o = mcs_overlap_count(a, b, v->n);
    double *x = out->v, diagonal = 0;
    out->truth_empty = o.truth == 0;
    out->found_empty = o.found == 0;
    x[ES_DSC] = mcs_dsc(&o);
    x[ES_IOU] = mcs_iou(&o);
    x[ES_SENSITIVITY] = mcs_overlap_sensitivity(&o);
    x[ES_PRECISION] = mcs_overlap_precision(&o);
    x[ES_AUC] = mcs_auc_mask(&o);
    mcs_status s = boundaries(r, &v->grid, a, b, x, e);
    if (s == MCS_OK && prob && r->wanted[ES_AUC])
        s = mcs_auc(a, v->prob, v->n, &x[ES_AUC], e);
    for (int k = 0; k < v->grid.dims; k++)
        diagonal += pow((double)v->grid.size[k] * v->grid.spacing[k], 2);
    for (int m = 0; m < ES_METRICS; m++)
        x[m] = ruled(r, out, (es_metric)m, x[m], sqrt(diagonal));
    return s;
}

static void clear(es_score *s)
{
    *s = (es_score){ .truth_empty = true, .found_empty = true };
    for (int m = 0; m < ES_METRICS; m++)
        s->v[m] = (double)NAN;
}

/* The mean over labels that have a value. */
static void mean_of_labels(const es_run *r, es_score *out)
{
    es_score *mean = &out[r->labels];
    clear(mean);
    for (int m = 0; m < ES_METRICS; m++) {
        double sum = 0;
        int n = 0;
        for (int k = 0; k < r->labels; k++) {
            mean->truth_empty &= out[k].truth_empty;
            mean->found_empty &= out[k].found_empty;
            if (!isnan(out[k].v[m])) {
                sum += out[k].v[m];
                n++;
            }
        }
        mean->v[m] = n ? sum / n : (double)NAN;
    }
}

mcs_status es_score_all(const es_run *r, const es_volume *v, int which, es_score *out, mcs_error *e)
{
    uint8_t *a = malloc((size_t)v->n), *b = malloc((size_t)v->n);
    mcs_status s = a && b ? MCS_OK : mcs_error_set(e, MCS_ENOMEM, "out of memory for masks");
    for (int k = 0; k < r->labels && s == MCS_OK; k++) {
        clear(&out[k]);
        for (int64_t i = 0; i < v->n; i++) {
            a[i] = v->label[ES_GT][i] == k + 1;
            b[i] = v->label[which][i] == k + 1;
        }
        s = measure(r, v, a, b, v->prob && which == ES_SEG && r->labels == 1, &out[k], e);
    }
    if (s == MCS_OK && r->labels > 1)
        mean_of_labels(r, out);
    free(a);
    free(b);
    return s;
}

const es_score *es_at(const es_run *r, int which, int64_t i, int level)
{
    return &r->score[which - 1][i * r->levels + (level < 0 ? r->levels - 1 : level)];
}

/* ---- All ---- */

typedef struct {
    es_run *r;
    int64_t first;
    int64_t *resized; /* (cases of the chunk) */
    mcs_error *error;
} chunk;

static void work(void *arg, int64_t begin, int64_t end)
{
    chunk *w = arg;
    const es_run *r = w->r;
    for (int64_t i = begin; i < end; i++) {
        int64_t at = w->first + i;
        es_volume v;
        mcs_error *e = &w->error[i];
        mcs_status s = es_volume_read(r, &r->cases[at], &v, e);
        for (int which = 1; which <= 2; which++)
            for (int k = 0; r->score[which - 1] && k < r->levels; k++)
                clear(&r->score[which - 1][at * r->levels + k]);
        for (int which = 1; which <= 2 && s == MCS_OK; which++)
            if (v.label[which])
                s = es_score_all(r, &v, which, &r->score[which - 1][at * r->levels], e);
        w->resized[i] = v.resized;
        es_volume_free(&v);
    }
}

static void gather(es_run *r, const chunk *w, int64_t n, cli_progress *p)
{
    for (int64_t i = 0; i < n; i++) {
        r->resized += w->resized[i];
        p->done++;
        if (w->error[i].status == MCS_OK)
            continue;
        p->failed++;
        r->failed++;
        r->failure[w->first + i] = cli_keep(r->t, w->error[i].message);
        es_problem(r, r->cases[w->first + i].name, w->error[i].message);
        cli_warn(r->t, "%s", w->error[i].message);
    }
    cli_progress_draw(p);
}

int es_score_cases(es_run *r)
{
    enum { AT_ONCE = 32 };
    size_t room = (size_t)(r->count * r->levels + 1);
    chunk w = { r, 0, calloc(AT_ONCE, sizeof *w.resized), calloc(AT_ONCE, sizeof *w.error) };
    r->score[0] = calloc(room, sizeof **r->score);
    r->score[1] = r->given[ES_OTHER] ? calloc(room, sizeof **r->score) : NULL;
    r->failure = calloc((size_t)r->count + 1, sizeof *r->failure);
    bool ok = w.resized && w.error && r->score[0] && r->failure;
    ok = ok && (r->score[1] || !r->given[ES_OTHER]);
    int step = r->o->volumes ? 2 : AT_ONCE;
    cli_progress p;
    cli_progress_begin(&p, r->t, r->count, r->o->volumes ? "volumes" : "images");
    for (; ok && w.first < r->count && !cli_stop(); w.first += step) {
        int64_t n = r->count - w.first < step ? r->count - w.first : step;
        memset(w.error, 0, AT_ONCE * sizeof *w.error);
        mcs_pool_for(mcs_ctx_pool(r->ctx), n, 1, work, &w);
        gather(r, &w, n, &p);
    }
    cli_progress_end(&p);
    free(w.resized);
    free(w.error);
    if (!ok)
        return cli_error(r->t, CLI_NO_MEMORY, "out of memory");
    if (cli_stop())
        return CLI_SIGNALLED + cli_stop();
    if (r->resized)
        cli_warn(r->t, "%lld segmentations were resized to their truth, nearest pixel",
                 (long long)r->resized);
    return r->failed == r->count ? cli_error(r->t, CLI_NOTHING, "no case could be measured")
                                 : CLI_CONTINUE;
}
