/* phantom_view.c - crops, spotlights and changes of brightness of one phantom, for training.
 *
 * Crop: a square [x0, x0 + w) x [y0, y0 + w), resampled; a pixel of the view averages k x k
 * points, k = view pixels per source pixel rounded up, so that reductions do not alias.
 * Spotlight: g' = G + (g - G) (lo + (1 - lo) / (1 + exp((d - 1) s))), d the elliptic distance from
 * a structure's centre, lo in 0..0.25, s in 4..12.  G is the grey that CLIP's normalisation maps
 * to about 0: the same as multiplying the normalised picture by the soft window, as perturbation
 * maps do (Score-CAM, RISE), so that their pictures are no news to a network trained on these. */
#include "image/phantom_internal.h"

static const float neutral = 0.455f * 255;

mcs_phantom_view_options mcs_phantom_view_defaults(void)
{
    return (mcs_phantom_view_options){ .crop = 0.5f,
                                       .crop_min = 0.45f,
                                       .crop_max = 0.9f,
                                       .crop_centred = 0.6f,
                                       .spotlight = 0.4f,
                                       .jitter = 1 };
}

typedef struct {
    float x, y, side; /* in widths of the source */
} window;

/* One of the structures shown, by lot; -1: none. */
static int pick(const mcs_phantom_facts *f, mcs_dice *d)
{
    int list[MCS_PHANTOM_STRUCTURES] = { 0 }, n = 0;
    for (int s = 0; s < MCS_PHANTOM_STRUCTURES; s++)
        if (mcs_phantom_shows(f, (mcs_phantom_structure)s))
            list[n++] = s;
    return n ? list[mcs_dice_below(d, n)] : -1;
}

static window draw_window(const mcs_phantom *p, const mcs_phantom_view_options *o, mcs_dice *d)
{
    if (!mcs_dice_chance(d, o->crop))
        return (window){ 0, 0, 1 };
    window w = { 0, 0, mcs_clampf(mcs_dice_in(d, o->crop_min, o->crop_max), 0.05f, 1) };
    float room = 1 - w.side;
    w.x = mcs_dice_in(d, 0, room);
    w.y = mcs_dice_in(d, 0, room);
    int s = mcs_dice_chance(d, o->crop_centred) ? pick(&p->facts, d) : -1;
    if (s >= 0) {
        const mcs_phantom_part *q = &p->facts.part[s];
        float away = 0.12f * w.side;
        w.x = mcs_clampf(q->x - 0.5f * w.side + away * mcs_dice_normal(d), 0, room);
        w.y = mcs_clampf(q->y - 0.5f * w.side + away * mcs_dice_normal(d), 0, room);
    }
    return w;
}

/* Bilinear, pixel centres at (i + 0.5) / size. */
static float sample(const mcs_phantom *p, float x, float y)
{
    float n = (float)p->size, u = mcs_clampf(x * n - 0.5f, 0, n - 1);
    float v = mcs_clampf(y * n - 0.5f, 0, n - 1);
    int i = (int)u, j = (int)v, i1 = i + 1 < p->size ? i + 1 : i, j1 = j + 1 < p->size ? j + 1 : j;
    const uint8_t *a = p->grey + (size_t)j * (size_t)p->size;
    const uint8_t *b = p->grey + (size_t)j1 * (size_t)p->size;
    u -= (float)i;
    v -= (float)j;
    return mcs_mixf(mcs_mixf((float)a[i], (float)a[i1], u), mcs_mixf((float)b[i], (float)b[i1], u),
                    v);
}

static void resample(const mcs_phantom *p, window w, mcs_phantom *to)
{
    float pixel = w.side / (float)to->size;
    int k = (int)(pixel * (float)p->size + 0.999f);
    k = k < 1 ? 1 : k > 16 ? 16 : k;
    for (int y = 0; y < to->size; y++)
        for (int x = 0; x < to->size; x++) {
            size_t i = (size_t)y * (size_t)to->size + (size_t)x;
            float sum = 0, left = w.x + (float)x * pixel, top = w.y + (float)y * pixel;
            for (int v = 0; v < k; v++)
                for (int u = 0; u < k; u++)
                    sum += sample(p, left + ((float)u + 0.5f) / (float)k * pixel,
                                  top + ((float)v + 0.5f) / (float)k * pixel);
            to->grey[i] = (uint8_t)(sum / (float)(k * k) + 0.5f);
            int sx = (int)((left + 0.5f * pixel) * (float)p->size);
            int sy = (int)((top + 0.5f * pixel) * (float)p->size);
            sx = sx < p->size ? sx : p->size - 1;
            sy = sy < p->size ? sy : p->size - 1;
            to->bits[i] = p->bits[(size_t)sy * (size_t)p->size + (size_t)sx];
        }
}

/* Facts of the view: what the crop cut off counts against visibility. */
static void remeasure(const mcs_phantom *p, window w, mcs_phantom *to)
{
    int64_t whole[MCS_PHANTOM_STRUCTURES];
    float pixels = mcs_sq((float)to->size / w.side);
    for (int s = 0; s < MCS_PHANTOM_STRUCTURES; s++)
        whole[s] = (int64_t)(p->facts.part[s].area * pixels + 0.999f);
    mcs_phantom_measure(to, whole);
    for (int s = 0; s < MCS_PHANTOM_STRUCTURES; s++)
        to->facts.part[s].visible *= mcs_clampf(p->facts.part[s].visible, 0, 1);
}

typedef struct {
    double sum[MCS_PHANTOM_STRUCTURES];
    int64_t pixels[MCS_PHANTOM_STRUCTURES];
} light;

static void add_light(light *l, unsigned bits, float keep)
{
    for (int s = 0; s < MCS_PHANTOM_STRUCTURES; s++)
        if (bits >> s & 1) {
            l->sum[s] += (double)keep;
            l->pixels[s]++;
        }
}

static void forget_others(mcs_phantom *p, int chosen, const light *l, bool strict)
{
    for (int s = 0; s < MCS_PHANTOM_STRUCTURES; s++) {
        mcs_phantom_part *q = &p->facts.part[s];
        if (s == chosen)
            continue;
        q->unlit = strict && q->visible > 0 && l->sum[s] * 3 < (double)l->pixels[s];
        q->visible = q->visible > 0.4f ? 0.4f : q->visible;
    }
}

static void spotlight(mcs_phantom *p, bool strict, mcs_dice *d)
{
    int chosen = pick(&p->facts, d);
    light l = { 0 };
    if (chosen < 0)
        return;
    const mcs_phantom_part *q = &p->facts.part[chosen];
    float wide = 0.6f * mcs_dice_in(d, 1.0f, 1.8f), rx = wide * (q->x1 - q->x0);
    float ry = wide * (q->y1 - q->y0), low = mcs_dice_in(d, 0, 0.25f);
    float sharp = mcs_dice_in(d, 4, 12), cx = 0.5f * (q->x0 + q->x1), cy = 0.5f * (q->y0 + q->y1);
    rx = rx < 0.083f ? 0.083f : rx;
    ry = ry < 0.083f ? 0.083f : ry;
    cx += 0.02f * mcs_dice_normal(d);
    cy += 0.02f * mcs_dice_normal(d);
    for (int y = 0; y < p->size; y++)
        for (int x = 0; x < p->size; x++) {
            uint8_t *g = &p->grey[(size_t)y * (size_t)p->size + (size_t)x];
            float u = (((float)x + 0.5f) / (float)p->size - cx) / rx;
            float v = (((float)y + 0.5f) / (float)p->size - cy) / ry;
            float away = sqrtf(u * u + v * v);
            float keep = low + (1 - low) / (1 + mcs_expf((away - 1) * sharp));
            *g = (uint8_t)(neutral + ((float)*g - neutral) * keep + 0.5f);
            add_light(&l, p->bits[(size_t)y * (size_t)p->size + (size_t)x], keep);
        }
    forget_others(p, chosen, &l, strict);
}

static void jitter(mcs_phantom *p, float amount, mcs_dice *d)
{
    float gain = mcs_dice_in(d, 0, 1), lift = mcs_dice_in(d, -0.05f, 0.05f) * amount * 255;
    gain = 1 + amount * (gain < 0.5f ? -0.2f + 0.4f * gain : 0.5f * gain - 0.25f);
    size_t n = (size_t)p->size * (size_t)p->size;
    for (size_t i = 0; i < n; i++)
        p->grey[i] = (uint8_t)(mcs_clampf((float)p->grey[i] * gain + lift, 0, 255) + 0.5f);
}

mcs_status mcs_phantom_view(const mcs_phantom *from, const mcs_phantom_view_options *o,
                            uint64_t seed, int to_size, mcs_phantom *to, mcs_error *e)
{
    if (!from || !from->grey || !o || from == to)
        return mcs_error_set(e, MCS_EINVAL, "phantom view: nothing to look at");
    mcs_status s = mcs_phantom_reserve(to, to_size, e);
    if (s != MCS_OK)
        return s;
    mcs_dice d = mcs_dice_of(seed ^ from->seed, from->index, 1000);
    window w = draw_window(from, o, &d);
    to->seed = from->seed;
    to->index = from->index;
    to->facts.kind = from->facts.kind;
    resample(from, w, to);
    remeasure(from, w, to);
    if (mcs_dice_chance(&d, o->spotlight))
        spotlight(to, o->strict, &d);
    if (o->jitter > 0)
        jitter(to, mcs_clampf(o->jitter, 0, 1), &d);
    return MCS_OK;
}
