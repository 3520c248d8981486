/* The checks themselves: each must fail on the defect it is there for.  A failing check ends its
 * test, so the defects run in a second process: this program with the defect's name. */
#include <fcntl.h>
#include <math.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include "tests/check.h"
#include "tensor/op.h"

/* ---- Operations with a defect: y = x^2 ---- */

static float slope_factor; /* of 2 x; 2 is right */

static void square_backward(mcs_ctx *c, mcs_node *n)
{
    float *dx = mcs_grad_buf(c, n->in[0]);
    for (int64_t i = 0; dx && i < mcs_numel(n->out); i++)
        dx[i] += slope_factor * mcs_f32(n->in[0])[i] * n->grad[i];
}

static const mcs_op op_square = { "square", square_backward };

static mcs_tensor *square(mcs_ctx *c, mcs_tensor **in)
{
    mcs_tensor *y = mcs_new_like(c, in[0]);
    for (int64_t i = 0; y && i < mcs_numel(y); i++)
        mcs_f32(y)[i] = mcs_f32(in[0])[i] * mcs_f32(in[0])[i];
    return mcs_record(c, &op_square, y, NULL, MCS_INPUTS(in[0]));
}

static mcs_tensor *detached(mcs_ctx *c, mcs_tensor **in)
{
    return mcs_add(c, mcs_detach(c, in[0]), in[1]);
}

static void gradient(float factor)
{
    mcs_ctx *c = check_ctx();
    slope_factor = factor;
    mcs_tensor *x = check_random(c, 1, -1, 1, 1, MCS_SHAPE(50));
    check_grad(c, square, 1, &x, 1e-2f);
    mcs_ctx_free(c);
}

static void square_golden(float factor)
{
    mcs_ctx *c = check_ctx();
    slope_factor = factor;
    check_golden(c, "ops/square_1", square, 1e-5f, 1e-5f);
    mcs_ctx_free(c);
}

static void near(float shift, int index, float rtol, float atol)
{
    mcs_ctx *c = check_ctx();
    mcs_tensor *a = mcs_full(c, 2, MCS_SHAPE(2, 3), 4), *b = mcs_full(c, 2, MCS_SHAPE(2, 3), 4);
    mcs_f32(a)[index] += shift;
    check_near(a, b, rtol, atol);
    mcs_ctx_free(c);
}

/* ---- The defects ---- */

static void slope_5_percent_off(void **state)
{
    (void)state, gradient(2.1f);
}
static void slope_negative(void **state)
{
    (void)state, gradient(-2);
}
static void slope_zero(void **state)
{
    (void)state, gradient(0);
}
static void golden_slope(void **state)
{
    (void)state, square_golden(2.001f);
}
static void near_absolute(void **state)
{
    (void)state, near(0.011f, 5, 0, 0.01f);
}
static void near_relative(void **state)
{
    (void)state, near(-0.05f, 0, 0.01f, 0);
}
static void near_nan(void **state)
{
    (void)state, near(NAN, 2, 1, 1);
}

static void near_shape(void **state)
{
    (void)state;
    mcs_ctx *c = check_ctx();
    check_near(mcs_zeros(c, 2, MCS_SHAPE(2, 3)), mcs_zeros(c, 2, MCS_SHAPE(3, 2)), 1, 1);
}

static void no_gradient(void **state)
{
    (void)state;
    mcs_ctx *c = check_ctx();
    mcs_tensor *in[2] = { mcs_zeros(c, 1, MCS_SHAPE(3)), mcs_zeros(c, 1, MCS_SHAPE(3)) };
    check_grad(c, detached, 2, in, 1);
}

static void wrong_status(void **state)
{
    (void)state;
    mcs_ctx *c = check_ctx();
    check_fails(c, mcs_fail(c, MCS_EINVAL, "some words"), MCS_ESHAPE, "some");
}

static void wrong_message(void **state)
{
    (void)state;
    mcs_ctx *c = check_ctx();
    check_fails(c, mcs_fail(c, MCS_EINVAL, "some words"), MCS_EINVAL, "others");
}

static void no_failure(void **state)
{
    (void)state;
    mcs_ctx *c = check_ctx();
    check_fails(c, mcs_scalar(c, 1), MCS_EINVAL, "");
}

static void not_ok(void **state)
{
    (void)state;
    mcs_ctx *c = check_ctx();
    mcs_fail(c, MCS_EINVAL, "some words");
    check_ok(c);
}

static const struct CMUnitTest defects[] = {
    cmocka_unit_test(slope_5_percent_off),
    cmocka_unit_test(slope_negative),
    cmocka_unit_test(slope_zero),
    cmocka_unit_test(golden_slope),
    cmocka_unit_test(near_absolute),
    cmocka_unit_test(near_relative),
    cmocka_unit_test(near_nan),
    cmocka_unit_test(near_shape),
    cmocka_unit_test(no_gradient),
    cmocka_unit_test(wrong_status),
    cmocka_unit_test(wrong_message),
    cmocka_unit_test(no_failure),
    cmocka_unit_test(not_ok),
};
enum { DEFECTS = sizeof defects / sizeof defects[0] };

/* Exit status of this program running one defect; its output is thrown away. */
static int status_of(const char *name)
{
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        int null = open("/dev/null", O_WRONLY);
        dup2(null, 1);
        dup2(null, 2);
        execl("/proc/self/exe", "test_check", name, (char *)NULL);
        _exit(127);
    }
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static void test_defects_fail(void **state)
{
    (void)state;
    for (int i = 0; i < DEFECTS; i++) {
        int status = status_of(defects[i].name); /* a leak checker may turn 1 into its own */
        if (status == 0 || status == 127)
            fail_msg("%s was not noticed (status %d)", defects[i].name, status);
    }
}

static void test_right_passes(void **state)
{
    (void)state;
    gradient(2);
    square_golden(2);
    near(0.009f, 5, 0, 0.01f);
    near(0.03f, 0, 0.01f, 0);
}

int main(int argc, char **argv)
{
    for (int i = 0; argc > 1 && i < DEFECTS; i++)
        if (strcmp(argv[1], defects[i].name) == 0) {
            const struct CMUnitTest one[] = { defects[i] };
            return cmocka_run_group_tests(one, NULL, NULL) == 1 ? 1 : 0;
        }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_defects_fail),
        cmocka_unit_test(test_right_passes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
