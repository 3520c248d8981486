/* phantom.c - from a seed to a picture with its facts.
 *
 * A scene that turns out with a structure too faint or too small is drawn again from the next
 * stream of random numbers.  That decision is made on a raster of one fixed size, so that it is
 * the same for every size asked for.  Contrast is the mean inside minus the mean of the ring
 * around, 1/20 of the width wide. */
#include <stdlib.h>
#include "image/phantom_internal.h"

enum { REFERENCE = 96, ATTEMPTS = 24, MARGIN = 5 /* for what other sizes measure */ };

/* ---- Names ---- */

static const struct {
    const char *name;
    mcs_phantom_kind kind;
    float least; /* area to be counted as there, share of the picture */
    float medium, large; /* areas from which a structure is called so */
} structures[MCS_PHANTOM_STRUCTURES] = {
    { "mass", MCS_PHANTOM_ULTRASOUND, 0.006f, 0.037f, 0.064f },
    { "cyst", MCS_PHANTOM_ULTRASOUND, 0.006f, 0.026f, 0.051f },
    { "tumour", MCS_PHANTOM_MRI, 0.006f, 0.018f, 0.032f },
    { "ventricles", MCS_PHANTOM_MRI, 0.006f, 0.035f, 0.048f },
    { "heart", MCS_PHANTOM_XRAY, 0.010f, 0.052f, 0.071f },
    { "lungs", MCS_PHANTOM_XRAY, 0.030f, 0.268f, 0.308f },
    { "nodule", MCS_PHANTOM_XRAY, 0.005f, 0.0147f, 0.0212f },
};

const char *mcs_phantom_kind_name(mcs_phantom_kind k)
{
    static const char *const names[] = { "ultrasound", "mri", "xray" };
    return (unsigned)k < MCS_PHANTOM_KINDS ? names[k] : "";
}

const char *mcs_phantom_structure_name(mcs_phantom_structure s)
{
    return (unsigned)s < MCS_PHANTOM_STRUCTURES ? structures[s].name : "";
}

mcs_phantom_kind mcs_phantom_kind_of(mcs_phantom_structure s)
{
    return (unsigned)s < MCS_PHANTOM_STRUCTURES ? structures[s].kind : MCS_PHANTOM_KINDS;
}

bool mcs_phantom_shows(const mcs_phantom_facts *f, mcs_phantom_structure s)
{
    return (unsigned)s < MCS_PHANTOM_STRUCTURES && f->part[s].visible >= 0.5f &&
           f->part[s].area >= structures[s].least;
}

int64_t mcs_phantom_mask(const mcs_phantom *p, mcs_phantom_structure s, uint8_t *mask)
{
    int64_t n = (int64_t)p->size * p->size, count = 0;
    for (int64_t i = 0; i < n; i++) {
        bool in = p->bits[i] >> s & 1;
        mask[i] = in ? 255 : 0;
        count += in;
    }
    return count;
}

/* ---- Facts ---- */

static int third(float v)
{
    return v < 1 / 3.0f ? 0 : v < 2 / 3.0f ? 1 : 2;
}

/* Area, centroid, box and words of structure s. */
static void measure_place(const mcs_phantom *p, int s, mcs_phantom_part *q)
{
    int64_t count = 0, sx = 0, sy = 0;
    int x0 = p->size, y0 = x0, x1 = -1, y1 = -1;
    for (int y = 0; y < p->size; y++)
        for (int x = 0; x < p->size; x++)
            if (p->bits[(size_t)y * (size_t)p->size + (size_t)x] >> s & 1) {
                count++;
                sx += x;
                sy += y;
                x0 = x < x0 ? x : x0;
                x1 = x > x1 ? x : x1;
                y0 = y < y0 ? y : y0;
                y1 = y;
            }
    *q = (mcs_phantom_part){ 0 };
    if (!count)
        return;
    float n = (float)p->size;
    q->area = (float)count / (n * n);
    q->x = ((float)((double)sx / (double)count) + 0.5f) / n;
    q->y = ((float)((double)sy / (double)count) + 0.5f) / n;
    q->x0 = (float)x0 / n;
    q->x1 = (float)(x1 + 1) / n;
    q->y0 = (float)(y0 < y1 ? y0 : y1) / n;
    q->y1 = (float)(y1 + 1) / n;
    q->row = third(q->y);
    q->column = third(q->x);
    q->size = q->area < structures[s].medium ? 0 : q->area < structures[s].large ? 1 : 2;
}

/* Is (x, y) within `reach` pixels of structure s?  A square neighbourhood, looked at sparsely. */
static bool beside(const mcs_phantom *p, int s, int x, int y, int reach)
{
    int step = reach > 4 ? reach / 4 : 1;
    for (int v = y - reach; v <= y + reach; v += step)
        for (int u = x - reach; u <= x + reach; u += step)
            if (u >= 0 && v >= 0 && u < p->size && v < p->size &&
                p->bits[(size_t)v * (size_t)p->size + (size_t)u] >> s & 1)
                return true;
    return false;
}

static float measure_contrast(const mcs_phantom *p, int s, const mcs_phantom_part *q)
{
    int n = p->size, reach = n / 20 > 1 ? n / 20 : 1;
    int x0 = (int)(q->x0 * (float)n) - reach, x1 = (int)(q->x1 * (float)n) + reach;
    int y0 = (int)(q->y0 * (float)n) - reach, y1 = (int)(q->y1 * (float)n) + reach;
    int64_t in = 0, in_sum = 0, out = 0, out_sum = 0;
    for (int y = y0 < 0 ? 0 : y0; y < n && y <= y1; y++)
        for (int x = x0 < 0 ? 0 : x0; x < n && x <= x1; x++) {
            size_t i = (size_t)y * (size_t)n + (size_t)x;
            if (p->bits[i] >> s & 1) {
                in++;
                in_sum += p->grey[i];
            } else if (beside(p, s, x, y, reach)) {
                out++;
                out_sum += p->grey[i];
            }
        }
    return in && out ? (float)in_sum / (float)in - (float)out_sum / (float)out : 0;
}

void mcs_phantom_measure(mcs_phantom *p, const int64_t *whole)
{
    float pixels = (float)p->size * (float)p->size;
    for (int s = 0; s < MCS_PHANTOM_STRUCTURES; s++) {
        mcs_phantom_part *q = &p->facts.part[s];
        measure_place(p, s, q);
        if (q->area <= 0)
            continue;
        q->visible = whole && whole[s] ? mcs_clampf(q->area * pixels / (float)whole[s], 0, 1) : 1;
        q->contrast = measure_contrast(p, s, q);
    }
}

/* ---- Drawing ---- */

static mcs_status canvas_new(mcs_canvas *c, int size, mcs_error *e)
{
    size_t pixels = (size_t)size * (size_t)size;
    float *all = malloc(((MCS_PHANTOM_PLANES + 1) * pixels + MCS_FIELD_WORK(size)) * sizeof *all);
    if (!all)
        return mcs_error_set(e, MCS_ENOMEM, "phantom: out of memory for %d x %d pixels", size,
                             size);
    *c = (mcs_canvas){ .size = size, .grey = all };
    for (int i = 0; i < MCS_PHANTOM_PLANES; i++)
        c->plane[i] = all + (size_t)(i + 1) * pixels;
    c->work = all + (MCS_PHANTOM_PLANES + 1) * pixels;
    return MCS_OK;
}

/* A little of what displays do: brightness and contrast, then 8 bits. */
static void expose(mcs_canvas *c, uint8_t *grey)
{
    float gain = mcs_dice_in(&c->dice, 0.88f, 1.06f), lift = mcs_dice_in(&c->dice, -0.02f, 0.03f);
    size_t n = (size_t)c->size * (size_t)c->size;
    for (size_t i = 0; i < n; i++)
        grey[i] = (uint8_t)(mcs_clampf(c->grey[i] * gain + lift, 0, 1) * 255 + 0.5f);
}

static mcs_status room_for(mcs_phantom *p, int size, mcs_error *e)
{
    size_t pixels = (size_t)size * (size_t)size;
    if (p->room < pixels) {
        uint8_t *both = malloc(2 * pixels);
        if (!both)
            return mcs_error_set(e, MCS_ENOMEM, "phantom: out of memory for %d x %d pixels", size,
                                 size);
        free(p->grey);
        p->grey = both;
        p->room = pixels;
    }
    p->bits = p->grey + p->room;
    p->size = size;
    return MCS_OK;
}

mcs_status mcs_phantom_reserve(mcs_phantom *p, int size, mcs_error *e)
{
    if (size < MCS_PHANTOM_SIZE_MIN || size > MCS_PHANTOM_SIZE_MAX)
        return mcs_error_set(e, MCS_EINVAL, "phantom: size %d; expected %d to %d", size,
                             MCS_PHANTOM_SIZE_MIN, MCS_PHANTOM_SIZE_MAX);
    return room_for(p, size, e);
}

static void draw(mcs_canvas *c, mcs_phantom *p, int attempt)
{
    static void (*const kinds[])(mcs_canvas *) = { mcs_draw_ultrasound, mcs_draw_mri,
                                                   mcs_draw_xray };
    int kind = p->facts.kind;
    c->dice = mcs_dice_of(p->seed, p->index, (uint64_t)(kind + 16 * attempt));
    c->bits = p->bits;
    memset(p->bits, 0, (size_t)p->size * (size_t)p->size);
    kinds[kind](c);
    expose(c, p->grey);
    mcs_phantom_measure(p, NULL);
}

/* Every structure that is there is large enough and stands out. */
static bool good(const mcs_phantom_facts *f)
{
    for (int s = 0; s < MCS_PHANTOM_STRUCTURES; s++) {
        const mcs_phantom_part *q = &f->part[s];
        if (q->area > 0 && (q->area < structures[s].least * 1.05f ||
                            fabsf(q->contrast) < MCS_PHANTOM_CONTRAST + MARGIN))
            return false;
    }
    return true;
}

/* Draws at the reference size until good; returns the attempt. */
static mcs_status choose(mcs_phantom *p, int *attempt, mcs_error *e)
{
    mcs_canvas c;
    mcs_status s = room_for(p, REFERENCE, e);
    if (s == MCS_OK)
        s = canvas_new(&c, REFERENCE, e);
    if (s != MCS_OK)
        return s;
    for (*attempt = 0; *attempt < ATTEMPTS; ++*attempt) {
        draw(&c, p, *attempt);
        if (good(&p->facts))
            break;
    }
    free(c.grey);
    return MCS_OK;
}

mcs_status mcs_phantom_make_kind(uint64_t seed, uint64_t index, mcs_phantom_kind kind, int size,
                                 mcs_phantom *p, mcs_error *e)
{
    mcs_canvas c;
    int attempt;
    if ((unsigned)kind >= MCS_PHANTOM_KINDS)
        return mcs_error_set(e, MCS_EINVAL, "phantom: there is no kind %d", (int)kind);
    mcs_status s = mcs_phantom_reserve(p, size, e);
    if (s != MCS_OK)
        return s;
    p->seed = seed;
    p->index = index;
    p->facts.kind = kind;
    s = choose(p, &attempt, e);
    if (s != MCS_OK || size == REFERENCE)
        return s;
    s = room_for(p, size, e);
    if (s == MCS_OK)
        s = canvas_new(&c, size, e);
    if (s == MCS_OK) {
        draw(&c, p, attempt);
        free(c.grey);
    }
    return s;
}

mcs_status mcs_phantom_make(uint64_t seed, uint64_t index, int size, mcs_phantom *p, mcs_error *e)
{
    return mcs_phantom_make_kind(seed, index, (mcs_phantom_kind)(index % MCS_PHANTOM_KINDS), size,
                                 p, e);
}

void mcs_phantom_free(mcs_phantom *p)
{
    if (!p)
        return;
    free(p->grey);
    *p = (mcs_phantom){ 0 };
}
