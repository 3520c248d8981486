/* check.h - assertions for numeric tests, on top of cmocka. */
#ifndef MCS_CHECK_H
#define MCS_CHECK_H
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>
#include "tensor/tensor.h"

/* A function under test: n inputs (whatever the case needs, in order), one output. */
typedef mcs_tensor *check_fn(mcs_ctx *c, mcs_tensor **in);

/* A context with grad on, a pool of 2 threads shared by the whole test program, seed 1. */
mcs_ctx *check_ctx(void);
/* Fails with the context's message unless its status is MCS_OK. */
void check_ok(mcs_ctx *c);
/* The context failed with `s` and its message contains `part`; then resets it. */
void check_fails(mcs_ctx *c, mcs_tensor *result, mcs_status s, const char *part);
static inline void check_contains(const char *text, const char *part)
{
    if (!strstr(text, part))
        fail_msg("\"%s\" does not contain \"%s\"", text, part);
}
/* Values of a fixed random stream: uniform in [lo, hi). */
mcs_tensor *check_random(mcs_ctx *c, uint64_t seed, float lo, float hi, int ndim,
                         const int64_t *shape);
/* |a-b| <= atol + rtol*|b| everywhere and equal shapes; else prints the worst index, both values
 * and the largest and mean error. */
void check_near(const mcs_tensor *a, const mcs_tensor *b, float rtol, float atol);
void check_near_named(const char *what, const mcs_tensor *a, const mcs_tensor *b, float rtol,
                      float atol);
/* |a-b| <= atol + rtol * max|b|: for gradients, of which single values may cancel. */
static inline void check_near_scaled(const char *what, const mcs_tensor *a, const mcs_tensor *b,
                                     float rtol, float atol)
{
    float size = 0;
    for (int64_t i = 0; i < mcs_numel(b); i++) {
        float v = mcs_f32(b)[i];
        size = v > size ? v : -v > size ? -v : size;
    }
    check_near_named(what, a, b, 0, atol + rtol * size);
}
/* Autograd of fn against a central difference along three random directions, for every f32
 * input in turn (NULL inputs are passed on).  Step 1e-2 * rms(input); sums in double; fails with
 * input index and both numbers if they differ by more than tol relative to their size. */
void check_grad(mcs_ctx *c, check_fn *fn, int n, mcs_tensor **in, float tol);
/* The gradient of each f32 input is the same when no other input wants one. */
void check_each_grad(mcs_ctx *c, check_fn *fn, int n, mcs_tensor **in);
/* fn and its backward with 1, 2 and 4 threads: output and gradients bitwise equal. */
void check_threads(check_fn *fn, int n, mcs_tensor **in);
/* fn and its backward under memory limits from almost nothing to just enough: each run gives
 * the result or NULL and MCS_ENOMEM, never a crash and never a NULL without a reason. */
void check_limits(check_fn *fn, int n, mcs_tensor **in);
/* Runs fn on the inputs of tests/golden/<name>.safetensors, written by make_<area>.py
 * with PyTorch: tensors in.0 in.1 ..., out, dout, and grad.N for every input that has one.
 * Compares the output and all gradients, then these again after a second backward, which adds. */
void check_golden(mcs_ctx *c, const char *name, check_fn *fn, float rtol, float atol);
/* Tensors of a golden file, in the context: NULL if absent. */
mcs_tensor *check_golden_tensor(mcs_ctx *c, const char *file, const char *name);
/* x as U8, NULL if it is NULL: a golden file's integers arrive as I64. */
static inline mcs_tensor *check_u8(mcs_ctx *c, mcs_tensor *x)
{
    if (!x || x->dtype == MCS_U8)
        return x;
    mcs_tensor *y = mcs_new_typed(c, MCS_U8, x->ndim, x->shape);
    for (int64_t i = 0; y && i < mcs_numel(x); i++)
        mcs_u8(y)[i] = (uint8_t)mcs_i64(x)[i];
    return y;
}

/* The shared data folder (MCS_TEST_DATA or ../shared/data) joined with rel; if it is absent
 * prints "skip: ..." and skips the current test. */
const char *check_data(const char *rel);
#endif
