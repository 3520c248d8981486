/* rise.c - randomised input sampling (Petsiuk, Das, Saenko: RISE: Randomized Input Sampling for
 * Explanation of Black-box Models, BMVC 2018).
 *
 *   map = 1 / (N keep) sum over masks of s_i M_i,   s_i = <f(image M_i), text>
 * A mask is a grid x grid picture of ones (with probability keep) and zeros, enlarged bilinearly
 * to (grid + 1) cells and cut out at a random offset within one cell.  Needs no gradient and no
 * layer, and the masked pictures do not depend on the text.
 *
 * E[s M] = E[s] keep + Cov(s, M): the first part is constant, but its sample is not, and for cosines,
 * which hardly vary, its noise drowns the second.  `centred` uses s_i - mean(s): the same
 * expectation but for a constant, and a fraction of the noise. */
#include <math.h>
#include <string.h>
#include "cam/cam_internal.h"
#include "tensor/op.h"

typedef struct {
    const mcs_cam_model *m;
    mcs_rise_opts o;
    const mcs_tensor *image;
    int64_t first; /* mask of the first picture of a chunk */
    float *out; /* (B,C,H,W): masked pictures */
    float *means; /* (B,cells): means of the masks over the cells of the map */
} rise;

mcs_rise_opts mcs_rise_defaults(void)
{
    return (mcs_rise_opts){ .masks = 1000, .grid = 8, .keep = 0.5f, .batch = 8, .centred = true };
}

/* ---- Masks ---- */

/* Cells of mask i, (grid, grid), and its offset; given or a function of seed and i. */
static void draw(const rise *r, int64_t i, int cell_h, int cell_w, uint8_t *cells, int offset[2])
{
    int64_t count = (int64_t)r->o.grid * r->o.grid;
    uint64_t key[2] = { r->o.seed, 0x72697365 };
    uint32_t u[4];
    if (r->o.cells && r->o.offsets) {
        memcpy(cells, r->o.cells + i * count, (size_t)count);
        offset[0] = r->o.offsets[2 * i];
        offset[1] = r->o.offsets[2 * i + 1];
        return;
    }
    for (int64_t k = 0; k < count; k++) {
        if (k % 4 == 0)
            mcs_philox(key, (uint64_t)i * 2048 + (uint64_t)k / 4, u);
        cells[k] = (float)(u[k % 4] >> 8) * 0x1p-24f < r->o.keep;
    }
    mcs_philox(key, (uint64_t)i * 2048 + 2047, u);
    offset[0] = (int)(u[0] % (uint32_t)cell_h);
    offset[1] = (int)(u[1] % (uint32_t)cell_w);
}

/* Bilinear as F.interpolate(align_corners=False): the lower cell, and the weight of the upper. */
static int between(int at, int cell, int grid, int *upper, float *weight)
{
    float source = ((float)at + 0.5f) * (float)grid / (float)((grid + 1) * cell) - 0.5f;
    source = source < 0 ? 0 : source;
    int lower = (int)source < grid - 1 ? (int)source : grid - 1;
    *upper = lower < grid - 1 ? lower + 1 : lower;
    *weight = source - (float)lower;
    return lower;
}

static void mask_picture(const rise *r, int64_t b, const uint8_t *cells, const int offset[2],
                         int cell_h, int cell_w)
{
    const int64_t *s = r->image->shape;
    int64_t pixels = s[2] * s[3], map_h = r->m->grid_h, map_w = r->m->grid_w;
    float *means = r->means + b * map_h * map_w;
    float part = (float)(map_h * map_w) / (float)pixels;
    memset(means, 0, (size_t)(map_h * map_w) * sizeof *means);
    for (int64_t y = 0; y < s[2]; y++) {
        int y1, x1;
        float fy, fx;
        int y0 = between((int)y + offset[0], cell_h, r->o.grid, &y1, &fy);
        const uint8_t *top = cells + y0 * r->o.grid, *low = cells + y1 * r->o.grid;
        for (int64_t x = 0; x < s[3]; x++) {
            int x0 = between((int)x + offset[1], cell_w, r->o.grid, &x1, &fx);
            float above = (float)top[x0] + fx * ((float)top[x1] - (float)top[x0]);
            float below = (float)low[x0] + fx * ((float)low[x1] - (float)low[x0]);
            float keep = above + fy * (below - above);
            means[y * map_h / s[2] * map_w + x * map_w / s[3]] += keep * part;
            for (int64_t k = 0; k < s[1]; k++)
                r->out[(b * s[1] + k) * pixels + y * s[3] + x] =
                    keep * mcs_f32(r->image)[k * pixels + y * s[3] + x];
        }
    }
}

static void mask_range(void *arg, int64_t begin, int64_t end)
{
    const rise *r = arg;
    uint8_t cells[MCS_RISE_GRID_MAX * MCS_RISE_GRID_MAX];
    int grid = r->o.grid, offset[2];
    int cell_h = (int)((r->image->shape[2] + grid - 1) / grid);
    int cell_w = (int)((r->image->shape[3] + grid - 1) / grid);
    for (int64_t b = begin; b < end; b++) {
        draw(r, r->first + b, cell_h, cell_w, cells, offset);
        mask_picture(r, b, cells, offset, cell_h, cell_w);
    }
}

/* ---- Sums ---- */

typedef struct {
    double *scored; /* (P,cells): sum of s M */
    double *masks; /* (cells): sum of M */
    double *scores; /* (P): sum of s */
    int64_t cells;
} sums;

static void add_scores(const rise *r, sums *t, const mcs_tensor *f, const mcs_tensor *text,
                       int64_t n)
{
    int64_t width = text->shape[1];
    for (int64_t i = 0; i < n; i++) {
        const float *mask = r->means + i * t->cells;
        for (int64_t k = 0; k < t->cells; k++)
            t->masks[k] += (double)mask[k];
        for (int64_t p = 0; p < text->shape[0]; p++) {
            double score = 0;
            for (int64_t d = 0; d < width; d++)
                score += (double)mcs_f32(f)[i * width + d] * (double)mcs_f32(text)[p * width + d];
            score = isnan(score) ? 0 : score;
            t->scores[p] += score;
            for (int64_t k = 0; k < t->cells; k++)
                t->scored[p * t->cells + k] += score * (double)mask[k];
        }
    }
}

static bool add_chunk(mcs_ctx *c, rise *r, sums *t, const mcs_tensor *text, int64_t n)
{
    const int64_t *s = r->image->shape;
    mcs_scope scope = mcs_scope_begin(c);
    mcs_tensor *x = mcs_new(c, 4, MCS_SHAPE(n, s[1], s[2], s[3]));
    r->means = mcs_alloc(c, (size_t)(n * t->cells) * sizeof *r->means);
    bool ok = x && r->means;
    if (ok) {
        r->out = mcs_f32(x);
        mcs_parallel_for(c, n, 1, mask_range, r);
    }
    const mcs_tensor *f = ok ? r->m->features(c, x, r->m->arg) : NULL;
    ok = f && f->ndim == 2 && f->shape[0] == n && f->shape[1] == text->shape[1];
    if (f && !ok)
        mcs_fail(c, MCS_ESHAPE, "rise: features of %lld pictures are not (%lld,%lld) as the text",
                 (long long)n, (long long)n, (long long)text->shape[1]);
    if (ok)
        add_scores(r, t, f, text, n);
    mcs_scope_end(c, scope, NULL);
    return ok;
}

/* Only differences count, whatever the sign of the scores. */
static float finish_map(const rise *r, const sums *t, int64_t p, float *map)
{
    double count = r->o.masks, mean = r->o.centred ? t->scores[p] / count : 0;
    float low = INFINITY;
    for (int64_t k = 0; k < t->cells; k++) {
        double v = t->scored[p * t->cells + k] - mean * t->masks[k];
        map[k] = (float)(v / (count * (double)r->o.keep));
        low = map[k] < low ? map[k] : low;
    }
    for (int64_t k = 0; k < t->cells; k++)
        map[k] -= low;
    return mcs_cam_scale(map, t->cells);
}

/* ---- The whole ---- */

static bool options_fit(mcs_ctx *c, const rise *r, const mcs_tensor *text)
{
    const mcs_rise_opts *o = &r->o;
    const int64_t *s = r->image->shape;
    bool given = (o->cells != NULL) == (o->offsets != NULL);
    if (o->masks < 1 || o->masks > 10000000 || o->grid < 1 || o->grid > MCS_RISE_GRID_MAX ||
        !(o->keep > 0 && o->keep < 1) || o->batch < 0 || !given) {
        mcs_fail(
            c, MCS_EINVAL,
            "rise: %d masks of grid %d kept with %g, batch %d; expected 1..1e7, 1..%d, between "
            "0 and 1, 0 or more; cells and offsets both or neither",
            o->masks, o->grid, (double)o->keep, o->batch, MCS_RISE_GRID_MAX);
        return false;
    }
    if (s[0] == 1 && text->shape[0] > 0 && r->m->grid_h > 0 && r->m->grid_w > 0 &&
        s[2] % r->m->grid_h == 0 && s[3] % r->m->grid_w == 0)
        return true;
    mcs_fail(c, MCS_ESHAPE,
             "rise: %lld pictures of %lld x %lld, %lld texts, map %d x %d: expected one picture, a "
             "text, and a map whose sides divide the picture's",
             (long long)s[0], (long long)s[3], (long long)s[2], (long long)text->shape[0],
             r->m->grid_w, r->m->grid_h);
    return false;
}

mcs_tensor *mcs_rise(mcs_ctx *c, const mcs_cam_model *m, const mcs_rise_opts *o,
                     const mcs_tensor *image, const mcs_tensor *text, float *peak)
{
    rise r = { .m = m, .o = o ? *o : mcs_rise_defaults(), .image = image };
    if (!mcs_ok_dim(c, "rise: image", image, 4) || !mcs_ok_dim(c, "rise: text", text, 2) ||
        !options_fit(c, &r, text))
        return NULL;
    int64_t cells = (int64_t)m->grid_h * m->grid_w, texts = text->shape[0];
    int64_t most = r.o.batch ? r.o.batch : 8, count = cells * (texts + 1) + texts;
    mcs_tensor *maps = mcs_new(c, 3, MCS_SHAPE(texts, m->grid_h, m->grid_w));
    sums t = { .scored = mcs_alloc(c, (size_t)count * sizeof(double)), .cells = cells };
    if (!maps || !t.scored)
        return NULL;
    memset(t.scored, 0, (size_t)count * sizeof *t.scored);
    t.masks = t.scored + texts * cells;
    t.scores = t.masks + cells;
    bool grad = mcs_set_grad(c, false), ok = true;
    for (r.first = 0; ok && r.first < r.o.masks; r.first += most)
        ok = add_chunk(c, &r, &t, text, r.o.masks - r.first < most ? r.o.masks - r.first : most);
    mcs_set_grad(c, grad);
    for (int64_t p = 0; ok && p < texts; p++) {
        float top = finish_map(&r, &t, p, mcs_f32(maps) + p * cells);
        if (peak)
            peak[p] = top;
    }
    return ok ? maps : NULL;
}
