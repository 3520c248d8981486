/* components.c - connected components by runs and union-find, and their outer borders.
 *
 * A row is cut into runs of equal pixels.  A run joins the runs of the row above that it touches
 * (diagonals count for the foreground, not for the background), and the sets are merged with path
 * halving, the smaller number becoming the root: since runs are numbered row by row, roots come
 * in the order of first pixels.  Holes are the same on the background.
 *
 * The outer border is followed as Suzuki and Abe (1985, algorithm 1) and so cv2.findContours do:
 * around the current pixel, counter-clockwise from the previous one, to the next pixel set.
 * Shoelace sums run along the way; every border pixel is met a bounded number of times. */
#include <stdlib.h>
#include <string.h>
#include "cam/components.h"

typedef struct {
    int y, x0, x1; /* pixels x0..x1 of row y */
    int32_t parent;
} run;

typedef struct {
    run *run;
    int64_t count;
} run_list;

static int32_t root_of(run *r, int32_t i)
{
    while (r[i].parent != i)
        i = r[i].parent = r[r[i].parent].parent;
    return i;
}

static void unite(run *r, int32_t a, int32_t b)
{
    a = root_of(r, a);
    b = root_of(r, b);
    if (a < b)
        r[b].parent = a;
    else
        r[a].parent = b;
}

static int64_t runs_count(const uint8_t *mask, int w, int h, bool set)
{
    int64_t count = 0;
    for (int y = 0; y < h; y++) {
        const uint8_t *row = mask + (int64_t)y * w;
        bool before = false;
        for (int x = 0; x < w; x++) {
            bool in = (row[x] != 0) == set;
            count += in && !before;
            before = in;
        }
    }
    return count;
}

/* Runs of one row, joined to those of the row above (above..begin) that come within `reach`. */
static int64_t runs_of_row(run *r, int64_t count, int64_t above, const uint8_t *row, int y, int w,
                           bool set, int reach)
{
    int64_t begin = count;
    for (int x = 0; x < w; x++) {
        if ((row[x] != 0) != set)
            continue;
        int x0 = x;
        while (x + 1 < w && (row[x + 1] != 0) == set)
            x++;
        r[count] = (run){ y, x0, x, (int32_t)count };
        while (above < begin && r[above].x1 < x0 - reach)
            above++;
        for (int64_t a = above; a < begin && r[a].x0 <= x + reach; a++)
            unite(r, (int32_t)count, (int32_t)a);
        count++;
    }
    return count;
}

static bool runs_find(const uint8_t *mask, int w, int h, bool set, run_list *out)
{
    int64_t most = runs_count(mask, w, h, set), above = 0, count = 0;
    if (most > INT32_MAX || !(out->run = malloc((size_t)(most ? most : 1) * sizeof *out->run)))
        return false;
    for (int y = 0; y < h; y++) {
        int64_t begin = count;
        count = runs_of_row(out->run, count, above, mask + (int64_t)y * w, y, w, set, set ? 1 : 0);
        above = begin;
    }
    out->count = count;
    return true;
}

/* ---- Outer border ---- */

typedef struct {
    const uint8_t *mask;
    int w, h;
} picture;

/* East, then clockwise on the screen (y down). */
static const int step_x[8] = { 1, 1, 0, -1, -1, -1, 0, 1 };
static const int step_y[8] = { 0, 1, 1, 1, 0, -1, -1, -1 };

static bool is_set(const picture *p, int x, int y)
{
    return x >= 0 && y >= 0 && x < p->w && y < p->h && p->mask[(int64_t)y * p->w + x];
}

/* Twice the signed area cannot overflow: |x dy - y dx| <= 2 * 65535 a step. */
static double border_area(const picture *p, int sx, int sy)
{
    int first = 4, turns = 0; /* from the west, which is background, clockwise */
    while (turns < 8 && !is_set(p, sx + step_x[first], sy + step_y[first])) {
        first = (first + 1) % 8;
        turns++;
    }
    if (turns == 8)
        return 0; /* a single pixel */
    int end_x = sx + step_x[first], end_y = sy + step_y[first];
    int x = sx, y = sy, back = first; /* direction of the pixel before */
    int64_t twice = 0;
    for (;;) {
        int d = back;
        do
            d = (d + 7) % 8; /* counter-clockwise */
        while (!is_set(p, x + step_x[d], y + step_y[d]));
        int nx = x + step_x[d], ny = y + step_y[d];
        twice += (int64_t)x * ny - (int64_t)y * nx;
        if (nx == sx && ny == sy && x == end_x && y == end_y)
            break;
        x = nx;
        y = ny;
        back = (d + 4) % 8;
    }
    return 0.5 * (double)(twice < 0 ? -twice : twice);
}

/* ---- Components ---- */

static void component_extend(mcs_component *c, const run *r)
{
    if (c->area == 0)
        *c = (mcs_component){ r->x0, r->y, r->x1, r->y, 0, 0, false };
    c->x0 = r->x0 < c->x0 ? r->x0 : c->x0;
    c->x1 = r->x1 > c->x1 ? r->x1 : c->x1;
    c->y1 = r->y;
    c->area += r->x1 - r->x0 + 1;
}

/* Numbers the sets and gathers their boxes and areas behind out->count. */
static bool components_gather(run_list *runs, mcs_components *out)
{
    int64_t sets = 0, base = out->count;
    for (int64_t i = 0; i < runs->count; i++)
        sets += runs->run[i].parent == i;
    mcs_component *item = realloc(out->item, (size_t)(base + sets + 1) * sizeof *item);
    int32_t *number = malloc((size_t)(runs->count + 1) * sizeof *number);
    if (item)
        out->item = item;
    if (!item || !number) {
        free(number);
        return false;
    }
    memset(item + base, 0, (size_t)sets * sizeof *item);
    for (int64_t i = 0; i < runs->count; i++) {
        int32_t root = root_of(runs->run, (int32_t)i);
        if (root == i)
            number[i] = (int32_t)out->count++;
        component_extend(&item[number[root]], &runs->run[i]);
        runs->run[i].parent = root;
    }
    for (int64_t i = 0; i < runs->count; i++)
        runs->run[i].parent = number[runs->run[i].parent];
    free(number);
    return true;
}

static bool find_set(const picture *p, int32_t *labels, mcs_components *out)
{
    run_list runs = { 0 };
    bool ok = runs_find(p->mask, p->w, p->h, true, &runs) && components_gather(&runs, out);
    if (ok && labels)
        memset(labels, 0, (size_t)p->w * (size_t)p->h * sizeof *labels);
    int64_t seen = 0;
    for (int64_t i = 0; ok && i < runs.count; i++) {
        const run *r = &runs.run[i];
        if (r->parent == seen) /* its first run: the upper left pixel */
            out->item[seen++].contour_area = border_area(p, r->x0, r->y);
        for (int x = r->x0; labels && x <= r->x1; x++)
            labels[(int64_t)r->y * p->w + x] = r->parent + 1;
    }
    free(runs.run);
    return ok;
}

static bool on_edge(const mcs_component *c, int w, int h)
{
    return c->x0 == 0 || c->y0 == 0 || c->x1 == w - 1 || c->y1 == h - 1;
}

/* Background sets that do not reach the edge of the picture. */
static bool find_holes(const picture *p, mcs_components *out)
{
    run_list runs = { 0 };
    int64_t base = out->count;
    bool ok = runs_find(p->mask, p->w, p->h, false, &runs) && components_gather(&runs, out);
    free(runs.run);
    if (!ok)
        return false;
    int64_t kept = base;
    for (int64_t i = base; i < out->count; i++) {
        mcs_component *c = &out->item[i];
        if (on_edge(c, p->w, p->h))
            continue;
        c->hole = true;
        out->item[kept++] = *c;
    }
    out->count = kept;
    return true;
}

static mcs_status size_fits(const uint8_t *mask, int w, int h, mcs_error *e)
{
    if (mask && w > 0 && h > 0 && (int64_t)w * h < INT32_MAX)
        return MCS_OK;
    return mcs_error_set(e, MCS_EINVAL,
                         "components: a mask of %d x %d; expected 1 to 2^31-2 pixels", w, h);
}

mcs_status mcs_components_find(const uint8_t *mask, int w, int h, bool holes, int32_t *labels,
                               mcs_components *out, mcs_error *e)
{
    *out = (mcs_components){ 0 };
    if (size_fits(mask, w, h, e) != MCS_OK)
        return MCS_EINVAL;
    picture p = { mask, w, h };
    if (find_set(&p, labels, out) && (!holes || find_holes(&p, out)))
        return MCS_OK;
    mcs_components_free(out);
    return mcs_error_set(e, MCS_ENOMEM, "components: out of memory for a mask of %d x %d", w, h);
}

void mcs_components_free(mcs_components *c)
{
    free(c->item);
    *c = (mcs_components){ 0 };
}

static int by_area_falling(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x < y) - (x > y);
}

/* The area of the keep-th largest; 1 if there are not that many. */
static bool area_of_rank(const mcs_components *c, int keep, int64_t *area)
{
    *area = 1;
    if (keep <= 0 || keep >= c->count)
        return true;
    int64_t *all = malloc((size_t)c->count * sizeof *all);
    if (!all)
        return false;
    for (int64_t i = 0; i < c->count; i++)
        all[i] = c->item[i].area;
    qsort(all, (size_t)c->count, sizeof *all, by_area_falling);
    *area = all[keep - 1];
    free(all);
    return true;
}

mcs_status mcs_components_keep(uint8_t *mask, int w, int h, int keep, int64_t min_area,
                               int64_t *kept, mcs_error *e)
{
    mcs_components c = { 0 };
    int64_t n = (int64_t)w * h, area = 0, left = 0;
    int32_t *labels = w > 0 && h > 0 ? malloc((size_t)n * sizeof *labels) : NULL;
    if (!labels)
        return mcs_error_set(e, MCS_ENOMEM, "components: no memory for a mask of %d x %d", w, h);
    mcs_status s = mcs_components_find(mask, w, h, false, labels, &c, e);
    if (s == MCS_OK && !area_of_rank(&c, keep, &area))
        s = mcs_error_set(e, MCS_ENOMEM, "components: out of memory");
    area = area > min_area ? area : min_area;
    for (int64_t i = 0; s == MCS_OK && i < n; i++)
        mask[i] = labels[i] && c.item[labels[i] - 1].area >= area;
    for (int64_t i = 0; i < c.count; i++)
        left += c.item[i].area >= area;
    if (kept)
        *kept = left;
    mcs_components_free(&c);
    free(labels);
    return s;
}

mcs_status mcs_components_fill(uint8_t *mask, int w, int h, int64_t max_area, int64_t *filled,
                               mcs_error *e)
{
    mcs_components sets = { 0 };
    run_list runs = { 0 };
    int64_t count = 0;
    if (size_fits(mask, w, h, e) != MCS_OK)
        return MCS_EINVAL;
    bool ok = runs_find(mask, w, h, false, &runs) && components_gather(&runs, &sets);
    for (int64_t i = 0; ok && i < runs.count; i++) {
        const run *r = &runs.run[i];
        const mcs_component *c = &sets.item[r->parent];
        if (on_edge(c, w, h) || (max_area > 0 && c->area > max_area))
            continue;
        memset(mask + (int64_t)r->y * w + r->x0, 1, (size_t)(r->x1 - r->x0 + 1));
        count += r->x1 - r->x0 + 1;
    }
    free(runs.run);
    mcs_components_free(&sets);
    if (filled)
        *filled = count;
    return ok ? MCS_OK
              : mcs_error_set(e, MCS_ENOMEM, "components: out of memory for a mask of %d x %d", w,
                              h);
}
