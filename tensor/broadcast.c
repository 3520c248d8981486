/* broadcast.c - broadcasting plans, see broadcast_internal.h.
 *
 * A plan is a loop nest over the result; its last dimension is a row on which an operand either
 * advances by 1 or stands still.  The sum over repetitions gives each output to exactly one
 * range and adds in an order fixed by the shape: rows in blocks of 64, so that the error of a
 * sum over 10^4 rows stays near that of 10^2. */
#include <string.h>
#include "tensor/broadcast_internal.h"

enum { GRAIN = 16384, FILL = 256, COLUMNS = 64, BLOCK = 64 };

bool mcs_bcast_shape(const mcs_tensor *a, const mcs_tensor *b, int *ndim, int64_t *shape)
{
    int n = a->ndim > b->ndim ? a->ndim : b->ndim;
    *ndim = n;
    for (int i = 0; i < n; i++) {
        int ia = i - (n - a->ndim), ib = i - (n - b->ndim);
        int64_t da = ia < 0 ? 1 : a->shape[ia], db = ib < 0 ? 1 : b->shape[ib];
        if (da != db && da != 1 && db != 1)
            return false;
        shape[i] = da == 1 ? db : da;
    }
    return true;
}

/* Element strides of x read as that shape, 0 in dimensions it lacks or repeats. */
static void full_steps(const mcs_tensor *x, int ndim, const int64_t *shape, int64_t *step)
{
    int64_t run = 1;
    for (int i = ndim - 1; i >= 0; i--) {
        int ix = i - (ndim - x->ndim);
        bool repeated = ix < 0 || (x->shape[ix] == 1 && shape[i] != 1);
        step[i] = repeated ? 0 : run;
        run *= ix < 0 ? 1 : x->shape[ix];
    }
}

/* Whether dimension i continues dimension `in` (the merged one inside it) for operand k. */
static bool continues(const int64_t *step, int i, int64_t inner_step, int64_t inner_size)
{
    return step[i] == inner_step * inner_size;
}

void mcs_bcast_plan(mcs_bcast *p, int ndim, const int64_t *shape, const mcs_tensor *a,
                    const mcs_tensor *b)
{
    int64_t step[2][MCS_MAX_DIM];
    full_steps(a, ndim, shape, step[0]);
    full_steps(b ? b : a, ndim, shape, step[1]);
    /* Built from the inside out, then reversed. */
    mcs_bcast q = { 1, { 1 }, { { 0 }, { 0 } }, 1 };
    for (int i = ndim - 1; i >= 0; i--) {
        int d = q.ndim - 1;
        q.numel *= shape[i];
        if (shape[i] == 1)
            continue;
        if (q.shape[d] == 1) {
            q.shape[d] = shape[i];
            q.step[0][d] = step[0][i];
            q.step[1][d] = step[1][i];
        } else if (continues(step[0], i, q.step[0][d], q.shape[d]) &&
                   continues(step[1], i, q.step[1][d], q.shape[d])) {
            q.shape[d] *= shape[i];
        } else {
            d = q.ndim++;
            q.shape[d] = shape[i];
            q.step[0][d] = step[0][i];
            q.step[1][d] = step[1][i];
        }
    }
    *p = q;
    for (int i = 0; i < q.ndim; i++) {
        p->shape[i] = q.shape[q.ndim - 1 - i];
        for (int k = 0; k < 2; k++)
            p->step[k][i] = q.step[k][q.ndim - 1 - i];
    }
}

int64_t mcs_bcast_offset(const mcs_bcast *p, int k, int64_t row)
{
    int64_t at = 0;
    for (int i = p->ndim - 2; i >= 0; i--) {
        at += row % p->shape[i] * p->step[k][i];
        row /= p->shape[i];
    }
    return at;
}

/* ---- Forward ---- */

typedef struct zip_args {
    const mcs_bcast *p;
    /* n elements of a row of y from y on, which begin in its column col */
    void (*stretch)(const struct zip_args *z, float *y, int64_t row, int64_t col, int64_t n);
    mcs_vec_zip *f;
    const mcs_vec *vec;
    const float *a, *b;
    float *y;
    float scale;
} zip_args;

/* Calls `stretch` for every part of a row within the flat range [begin,end). */
static void zip_range(void *arg, int64_t begin, int64_t end)
{
    const zip_args *z = arg;
    int64_t size = z->p->shape[z->p->ndim - 1];
    while (begin < end) {
        int64_t row = begin / size, col = begin % size;
        int64_t n = size - col < end - begin ? size - col : end - begin;
        z->stretch(z, z->y + begin, row, col, n);
        begin += n;
    }
}

/* An operand that stands still is repeated into a small buffer. */
static void zip_row(const zip_args *z, float *y, int64_t row, int64_t col, int64_t n)
{
    const mcs_bcast *p = z->p;
    int64_t step_a = p->step[0][p->ndim - 1], step_b = p->step[1][p->ndim - 1];
    const float *a = z->a + mcs_bcast_offset(p, 0, row) + col * step_a;
    const float *b = z->b + mcs_bcast_offset(p, 1, row) + col * step_b;
    if (step_a && step_b) {
        z->f(y, a, b, n);
        return;
    }
    float same_a[FILL], same_b[FILL];
    int64_t filled = n < FILL ? n : FILL;
    for (int64_t i = 0; i < filled; i++) {
        same_a[i] = *a;
        same_b[i] = *b;
    }
    for (int64_t i = 0; i < n; i += FILL)
        z->f(y + i, step_a ? a + i : same_a, step_b ? b + i : same_b, n - i < FILL ? n - i : FILL);
}

void mcs_bcast_zip(mcs_ctx *c, const mcs_bcast *p, mcs_vec_zip *f, float *y, const float *a,
                   const float *b)
{
    zip_args z = { .p = p, .stretch = zip_row, .f = f, .a = a, .b = b, .y = y };
    mcs_parallel_for(c, p->numel, GRAIN, zip_range, &z);
}

/* ---- y += scale * a ---- */

static void spread_row(const zip_args *z, float *y, int64_t row, int64_t col, int64_t n)
{
    const float *a = z->a + mcs_bcast_offset(z->p, 0, row);
    if (z->p->step[0][z->p->ndim - 1])
        z->vec->axpy(y, z->scale, a + col, n);
    else
        z->vec->affine(y, y, 1.0f, z->scale * *a, n);
}

void mcs_bcast_spread(mcs_ctx *c, const mcs_bcast *p, float scale, const float *a, float *y)
{
    zip_args z = {
        .p = p, .stretch = spread_row, .vec = mcs_vec_get(), .a = a, .y = y, .scale = scale
    };
    mcs_parallel_for(c, p->numel, GRAIN, zip_range, &z);
}

void mcs_add_scaled(mcs_ctx *c, float *y, float scale, const float *x, int64_t n)
{
    mcs_bcast p = { 1, { n }, { { 1 }, { 1 } }, n };
    mcs_bcast_spread(c, &p, scale, x, y);
}

/* ---- a += scale * sum over repetitions ---- */

typedef struct {
    mcs_bcast kept, gone; /* loops over the operand, and over its repetitions; step[0]: in x */
    const mcs_vec *vec;
    const float *x;
    float *a, *partial;
    float scale;
    int64_t columns; /* ranges per row of the operand */
} reduce_args;

static int64_t offset_all(const mcs_bcast *p, int64_t i)
{
    int last = p->ndim - 1;
    return mcs_bcast_offset(p, 0, i / p->shape[last]) + i % p->shape[last] * p->step[0][last];
}

/* Operand that stands still along the rows of x: items are its elements, each the sum of rows. */
static void reduce_rows(void *arg, int64_t begin, int64_t end)
{
    const reduce_args *r = arg;
    int last = r->gone.ndim - 1;
    int64_t size = r->gone.shape[last], rows = r->gone.numel / size;
    for (int64_t i = begin; i < end; i++) {
        double sum = 0.0;
        const float *x = r->x + offset_all(&r->kept, i);
        for (int64_t j = 0; j < rows; j++)
            sum += (double)r->vec->sum(x + mcs_bcast_offset(&r->gone, 0, j), size);
        r->a[i] += r->scale * (float)sum;
    }
}

/* Operand that advances along the rows of x: items are its stretches of COLUMNS elements. */
static void reduce_columns(void *arg, int64_t begin, int64_t end)
{
    const reduce_args *r = arg;
    int64_t size = r->kept.shape[r->kept.ndim - 1];
    for (int64_t i = begin; i < end; i++) {
        int64_t row = i / r->columns, col = i % r->columns * COLUMNS;
        int64_t n = size - col < COLUMNS ? size - col : COLUMNS;
        const float *x = r->x + mcs_bcast_offset(&r->kept, 0, row) + col;
        float total[COLUMNS] = { 0 };
        for (int64_t j = 0; j < r->gone.numel; j += BLOCK) {
            float part[COLUMNS] = { 0 };
            int64_t stop = r->gone.numel - j < BLOCK ? r->gone.numel : j + BLOCK;
            for (int64_t k = j; k < stop; k++)
                r->vec->add(part, part, x + offset_all(&r->gone, k), n);
            r->vec->add(total, total, part, n);
        }
        r->vec->axpy(r->a + row * size + col, r->scale, total, n);
    }
}

static void sum_blocks(void *arg, int64_t begin, int64_t end)
{
    const reduce_args *r = arg;
    r->partial[begin / GRAIN] = r->vec->sum(r->x + begin, end - begin);
}

/* One output from contiguous x: one partial sum per range. */
static void reduce_all(mcs_ctx *c, reduce_args *r, int64_t n)
{
    int64_t count = mcs_range_count(n, GRAIN);
    r->partial = mcs_alloc(c, (size_t)count * sizeof(float));
    if (!r->partial)
        return;
    mcs_parallel_for(c, n, GRAIN, sum_blocks, r);
    double sum = 0.0;
    for (int64_t i = 0; i < count; i++)
        sum += (double)r->partial[i];
    r->a[0] += r->scale * (float)sum;
}

/* Splits the plan's dimensions into those the operand has and those it repeats, each with its
 * step through x. */
static void split(const mcs_bcast *p, reduce_args *r)
{
    mcs_bcast none = { 0, { 0 }, { { 0 }, { 0 } }, 1 };
    r->kept = r->gone = none;
    int64_t run = p->numel;
    for (int i = 0; i < p->ndim; i++) {
        mcs_bcast *to = p->step[0][i] ? &r->kept : &r->gone;
        run /= p->shape[i];
        to->step[0][to->ndim] = run;
        to->shape[to->ndim++] = p->shape[i];
        to->numel *= p->shape[i];
    }
    if (r->kept.ndim == 0)
        r->kept.shape[r->kept.ndim++] = 1;
    if (r->gone.ndim == 0)
        r->gone.shape[r->gone.ndim++] = 1;
}

void mcs_bcast_reduce(mcs_ctx *c, const mcs_bcast *p, float scale, const float *x, float *a)
{
    if (p->numel == 0)
        return;
    reduce_args r = { .vec = mcs_vec_get(), .x = x, .a = a, .scale = scale };
    split(p, &r);
    int last = p->ndim - 1;
    if (r.gone.numel == 1) {
        mcs_add_scaled(c, a, scale, x, p->numel);
    } else if (r.kept.numel == 1) {
        reduce_all(c, &r, p->numel);
    } else if (p->step[0][last] == 0) {
        mcs_parallel_for(c, r.kept.numel, mcs_grain(r.gone.numel), reduce_rows, &r);
    } else {
        int64_t size = p->shape[last];
        r.columns = mcs_range_count(size, COLUMNS);
        mcs_parallel_for(c, r.kept.numel / size * r.columns, mcs_grain(r.gone.numel * COLUMNS),
                         reduce_columns, &r);
    }
}
