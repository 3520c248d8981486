/* op_pool.c - maximum and average over windows of a picture (N,C,H,W).
 *
 *   output (oy, ox) covers the window of kernel x kernel pixels from (oy stride - pad,
 *   ox stride - pad); outputs whose window would leave the padded picture do not exist.
 *   max: padding never wins; NaN wins; backward gives dy to the first maximum of the window.
 *   avg: padding counts as zeros (count_include_pad): divided by kernel^2 always; backward gives
 *   dy / kernel^2 to every pixel of the window.
 *
 * Windows may overlap, so backward runs a plane at a time in one order.
 * Must agree with torch.nn.functional.max_pool2d and avg_pool2d, ceil_mode False. */
#include <math.h>
#include "tensor/op.h"

typedef struct {
    int64_t planes, h, w, oh, ow, kernel, stride, pad;
    const float *x, *dy;
    float *y, *dx;
    int64_t *arg; /* (planes, oh, ow): index in the plane of each maximum; NULL: not wanted */
} pool_work;

/* The part of a window that lies inside the picture. */
typedef struct {
    int64_t y0, y1, x0, x1;
} window;

static window window_of(const pool_work *p, int64_t oy, int64_t ox)
{
    window v = { oy * p->stride - p->pad, 0, ox * p->stride - p->pad, 0 };
    v.y1 = v.y0 + p->kernel < p->h ? v.y0 + p->kernel : p->h;
    v.x1 = v.x0 + p->kernel < p->w ? v.x0 + p->kernel : p->w;
    v.y0 = v.y0 > 0 ? v.y0 : 0;
    v.x0 = v.x0 > 0 ? v.x0 : 0;
    return v;
}

static int64_t first_max(const float *x, int64_t width, window v)
{
    int64_t best = v.y0 * width + v.x0;
    for (int64_t y = v.y0; y < v.y1; y++)
        for (int64_t i = v.x0; i < v.x1; i++)
            if (x[y * width + i] > x[best] || isnan(x[y * width + i]))
                best = y * width + i;
    return best;
}

static float window_sum(const float *x, int64_t width, window v)
{
    float sum = 0;
    for (int64_t y = v.y0; y < v.y1; y++)
        for (int64_t i = v.x0; i < v.x1; i++)
            sum += x[y * width + i];
    return sum;
}

static void max_rows(void *arg, int64_t begin, int64_t end)
{
    const pool_work *p = arg;
    for (int64_t i = begin * p->ow; i < end * p->ow; i++) {
        const float *x = p->x + i / (p->oh * p->ow) * p->h * p->w;
        int64_t at = first_max(x, p->w, window_of(p, i / p->ow % p->oh, i % p->ow));
        p->y[i] = x[at];
        if (p->arg)
            p->arg[i] = at;
    }
}

static void avg_rows(void *arg, int64_t begin, int64_t end)
{
    const pool_work *p = arg;
    float count = (float)(p->kernel * p->kernel);
    for (int64_t i = begin * p->ow; i < end * p->ow; i++) {
        const float *x = p->x + i / (p->oh * p->ow) * p->h * p->w;
        p->y[i] = window_sum(x, p->w, window_of(p, i / p->ow % p->oh, i % p->ow)) / count;
    }
}

static void max_planes_backward(void *arg, int64_t begin, int64_t end)
{
    const pool_work *p = arg;
    int64_t pixels = p->oh * p->ow;
    for (int64_t i = begin * pixels; i < end * pixels; i++)
        p->dx[i / pixels * p->h * p->w + p->arg[i]] += p->dy[i];
}

static void avg_planes_backward(void *arg, int64_t begin, int64_t end)
{
    const pool_work *p = arg;
    int64_t pixels = p->oh * p->ow;
    float count = (float)(p->kernel * p->kernel);
    for (int64_t i = begin * pixels; i < end * pixels; i++) {
        float *dx = p->dx + i / pixels * p->h * p->w, share = p->dy[i] / count;
        window v = window_of(p, i / p->ow % p->oh, i % p->ow);
        for (int64_t y = v.y0; y < v.y1; y++)
            for (int64_t j = v.x0; j < v.x1; j++)
                dx[y * p->w + j] += share;
    }
}

static void pool_backward(mcs_ctx *c, mcs_node *n, mcs_body *planes_backward)
{
    pool_work p = *(const pool_work *)n->saved;
    p.dy = n->grad;
    p.dx = mcs_grad_buf(c, n->in[0]);
    if (p.dx)
        mcs_parallel_for(c, p.planes, mcs_grain(p.oh * p.ow * 4), planes_backward, &p);
}

static void max_backward(mcs_ctx *c, mcs_node *n)
{
    pool_backward(c, n, max_planes_backward);
}

static void avg_backward(mcs_ctx *c, mcs_node *n)
{
    pool_backward(c, n, avg_planes_backward);
}

static const mcs_op op_max_pool2d = { "max_pool2d", max_backward };
static const mcs_op op_avg_pool2d = { "avg_pool2d", avg_backward };

static bool check_pool(mcs_ctx *c, const char *op, const mcs_tensor *x, int kernel, int stride,
                       int pad)
{
    if (!mcs_ok_dim(c, op, x, 4))
        return false;
    char s[96];
    if (kernel < 1 || stride < 1 || pad < 0 || pad > kernel / 2) {
        mcs_fail(c, MCS_EINVAL,
                 "%s: kernel %d, stride %d, padding %d: kernel and stride must be at least 1, "
                 "padding at most half the kernel",
                 op, kernel, stride, pad);
        return false;
    }
    if (x->shape[2] + 2 * pad >= kernel && x->shape[3] + 2 * pad >= kernel && mcs_numel(x) > 0)
        return true;
    mcs_fail(c, MCS_ESHAPE, "%s: input %s with padding %d is smaller than the kernel %d", op,
             mcs_shape_str(x, s, sizeof s), pad, kernel);
    return false;
}

static mcs_tensor *pool(mcs_ctx *c, const mcs_op *op, mcs_body *rows, const mcs_tensor *x,
                        int kernel, int stride, int pad)
{
    if (!check_pool(c, op->name, x, kernel, stride, pad))
        return NULL;
    pool_work *p = mcs_alloc(c, sizeof *p);
    if (!p)
        return NULL;
    *p = (pool_work){ .planes = x->shape[0] * x->shape[1],
                      .h = x->shape[2],
                      .w = x->shape[3],
                      .kernel = kernel,
                      .stride = stride,
                      .pad = pad,
                      .x = mcs_f32(x) };
    p->oh = (p->h + 2 * p->pad - kernel) / stride + 1;
    p->ow = (p->w + 2 * p->pad - kernel) / stride + 1;
    mcs_tensor *y = mcs_new(c, 4, MCS_SHAPE(x->shape[0], x->shape[1], p->oh, p->ow));
    if (!y)
        return NULL;
    p->y = mcs_f32(y);
    if (op == &op_max_pool2d && mcs_will_record(c, MCS_INPUTS(x))) {
        p->arg = mcs_alloc(c, (size_t)mcs_numel(y) * sizeof *p->arg);
        if (!p->arg)
            return NULL;
    }
    mcs_parallel_for(c, p->planes * p->oh, mcs_grain(p->ow * kernel * kernel), rows, p);
    return mcs_record(c, op, y, p, MCS_INPUTS(x));
}

mcs_tensor *mcs_max_pool2d(mcs_ctx *c, const mcs_tensor *x, int kernel, int stride, int pad)
{
    return pool(c, &op_max_pool2d, max_rows, x, kernel, stride, pad);
}

mcs_tensor *mcs_avg_pool2d(mcs_ctx *c, const mcs_tensor *x, int kernel, int stride, int pad)
{
    return pool(c, &op_avg_pool2d, avg_rows, x, kernel, stride, pad);
}
