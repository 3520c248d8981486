/* reshape, rows, permute, transpose, slice, concat, expand, pad: exact copies, so every
 * comparison with PyTorch is for equality. */
#include "tests/check.h"

static mcs_tensor *reshape(mcs_ctx *c, mcs_tensor **in)
{
    return mcs_reshape(c, in[0], 3, MCS_SHAPE(7, -1, 15));
}
static mcs_tensor *rows(mcs_ctx *c, mcs_tensor **in)
{
    return mcs_rows(c, in[0], 2, 5);
}
#define PERMUTE(name, ...)                                                                         \
    static mcs_tensor *permute_##name(mcs_ctx *c, mcs_tensor **in)                                 \
    {                                                                                              \
        return mcs_permute(c, in[0], (const int[]){ __VA_ARGS__ });                                \
    }
PERMUTE(021, 0, 2, 1)
PERMUTE(0213, 0, 2, 1, 3)
PERMUTE(210, 2, 1, 0)
PERMUTE(120, 1, -1, 0)
PERMUTE(0231, 0, 2, 3, 1)
PERMUTE(041352, 0, 4, 1, 3, 5, 2)
PERMUTE(543210, 5, 4, 3, 2, 1, 0)
PERMUTE(ones, 2, 3, 0, 1)
static mcs_tensor *transpose(mcs_ctx *c, mcs_tensor **in)
{
    return mcs_transpose(c, in[0], -1, 0);
}
static mcs_tensor *slice_0(mcs_ctx *c, mcs_tensor **in)
{
    return mcs_slice(c, in[0], 0, 1, 4);
}
static mcs_tensor *slice_1(mcs_ctx *c, mcs_tensor **in)
{
    return mcs_slice(c, in[0], 1, 1, 3);
}
static mcs_tensor *slice_2(mcs_ctx *c, mcs_tensor **in)
{
    return mcs_slice(c, in[0], -1, 2, 5);
}
static mcs_tensor *concat(mcs_ctx *c, int dim, mcs_tensor **in)
{
    return mcs_concat(c, dim, 3, (const mcs_tensor *const[]){ in[0], in[1], in[2] });
}
static mcs_tensor *concat_0(mcs_ctx *c, mcs_tensor **in)
{
    return concat(c, 0, in);
}
static mcs_tensor *concat_1(mcs_ctx *c, mcs_tensor **in)
{
    return concat(c, 1, in);
}
static mcs_tensor *concat_2(mcs_ctx *c, mcs_tensor **in)
{
    return concat(c, -1, in);
}
static mcs_tensor *expand(mcs_ctx *c, mcs_tensor **in)
{
    return mcs_expand(c, in[0], 4, MCS_SHAPE(4, 2, 3, 5));
}
static mcs_tensor *expand_scalar(mcs_ctx *c, mcs_tensor **in)
{
    return mcs_expand(c, in[0], 2, MCS_SHAPE(3, 7));
}
static mcs_tensor *pad(mcs_ctx *c, mcs_tensor **in)
{
    return mcs_pad(c, in[0], (const int64_t[]){ 1, 0, 0, 2, 3, 1 }, 0.5f);
}
static mcs_tensor *pad_crop(mcs_ctx *c, mcs_tensor **in)
{
    return mcs_pad(c, in[0], (const int64_t[]){ -1, -1, 1, -2, -1, 2 }, -1.0f);
}
static mcs_tensor *pad_row(mcs_ctx *c, mcs_tensor **in)
{
    return mcs_pad(c, in[0], (const int64_t[]){ 2, -3 }, 0.0f);
}

static const struct {
    const char *name;
    check_fn *fn;
} cases[] = {
    { "reshape_1", reshape },
    { "rows_1", rows },
    { "permute_021", permute_021 },
    { "permute_0213", permute_0213 },
    { "permute_210", permute_210 },
    { "permute_210", transpose },
    { "permute_120", permute_120 },
    { "permute_0231", permute_0231 },
    { "permute_041352", permute_041352 },
    { "permute_543210", permute_543210 },
    { "permute_ones", permute_ones },
    { "slice_0", slice_0 },
    { "slice_1", slice_1 },
    { "slice_2", slice_2 },
    { "concat_0", concat_0 },
    { "concat_1", concat_1 },
    { "concat_2", concat_2 },
    { "pad_1", pad },
    { "pad_crop", pad_crop },
    { "pad_row", pad_row },
};
enum { CASES = sizeof cases / sizeof cases[0] };

static void test_golden(void **state)
{
    (void)state;
    for (int i = 0; i < CASES; i++) {
        mcs_ctx *c = check_ctx();
        char name[64];
        snprintf(name, sizeof name, "ops/%s", cases[i].name);
        check_golden(c, name, cases[i].fn, 0, 0);
        mcs_ctx_free(c);
    }
    mcs_ctx *c = check_ctx();
    check_golden(c, "ops/expand_1", expand, 1e-6f, 1e-6f); /* its gradient is a sum */
    check_golden(c, "ops/expand_scalar", expand_scalar, 1e-6f, 1e-6f);
    mcs_ctx_free(c);
}

/* Every permutation of 4 dimensions against a plain loop, with sizes that make tiles ragged. */
static void check_permutation(mcs_ctx *c, const mcs_tensor *x, const int *axes)
{
    const mcs_tensor *y = mcs_permute(c, x, axes);
    check_ok(c);
    int64_t k[4], step[4] = { 0, 0, 0, 1 }, n = 0;
    for (int d = 2; d >= 0; d--)
        step[d] = step[d + 1] * x->shape[d + 1];
    for (k[0] = 0; k[0] < y->shape[0]; k[0]++)
        for (k[1] = 0; k[1] < y->shape[1]; k[1]++)
            for (k[2] = 0; k[2] < y->shape[2]; k[2]++)
                for (k[3] = 0; k[3] < y->shape[3]; k[3]++) {
                    int64_t from = 0;
                    for (int d = 0; d < 4; d++)
                        from += k[d] * step[axes[d]];
                    assert_true(mcs_f32(y)[n++] == mcs_f32(x)[from]);
                }
    /* dx = dy in x's order, where dy = y gives x back. */
    assert_int_equal(mcs_backward(c, y, y), MCS_OK);
    check_near(mcs_grad(c, x), x, 0, 0);
}

static void test_every_permutation(void **state)
{
    (void)state;
    mcs_ctx *c = check_ctx();
    for (int m = 0; m < 256; m++) {
        const int axes[4] = { m & 3, m >> 2 & 3, m >> 4 & 3, m >> 6 };
        if ((1 << axes[0] | 1 << axes[1] | 1 << axes[2] | 1 << axes[3]) != 15)
            continue;
        mcs_tensor *x = check_random(c, 1, -1, 1, 4, MCS_SHAPE(3, 35, 2, 37));
        check_permutation(c, mcs_leaf(c, x), axes);
        mcs_ctx_reset(c);
    }
    mcs_ctx_free(c);
}

static void test_views_share(void **state)
{
    (void)state;
    mcs_ctx *c = check_ctx();
    mcs_tensor *x = check_random(c, 1, -1, 1, 2, MCS_SHAPE(4, 3));
    assert_ptr_equal(mcs_reshape(c, x, 1, MCS_SHAPE(-1))->data, x->data);
    assert_ptr_equal(mcs_rows(c, x, 1, 4)->data, mcs_f32(x) + 3);
    mcs_tensor *ids = mcs_new_typed(c, MCS_I64, 1, MCS_SHAPE(6));
    mcs_tensor *r = mcs_rows(c, mcs_reshape(c, ids, 2, MCS_SHAPE(3, 2)), 2, 3);
    check_ok(c);
    assert_ptr_equal(r->data, mcs_i64(ids) + 4);
    mcs_tensor *mask = mcs_new_typed(c, MCS_U8, 1, MCS_SHAPE(6));
    assert_ptr_equal(mcs_rows(c, mask, 5, 6)->data, mcs_u8(mask) + 5);
    assert_int_equal(mcs_reshape(c, mcs_scalar(c, 1), 2, MCS_SHAPE(1, -1))->ndim, 2);
    assert_int_equal(mcs_reshape(c, mcs_zeros(c, 1, MCS_SHAPE(1)), 0, NULL)->ndim, 0);
    check_ok(c);
    mcs_ctx_free(c);
}

/* The same tensor twice, and a view used beside its source: gradients add up. */
static void test_gradients_add(void **state)
{
    (void)state;
    mcs_ctx *c = check_ctx();
    mcs_tensor *x = mcs_leaf(c, check_random(c, 1, -1, 1, 2, MCS_SHAPE(3, 2)));
    mcs_tensor *y = mcs_concat(c, 0, 2, (const mcs_tensor *const[]){ x, x });
    mcs_tensor *sum = mcs_add(c, mcs_sum(c, y), mcs_sum(c, mcs_rows(c, x, 1, 2)));
    assert_int_equal(mcs_backward(c, sum, NULL), MCS_OK);
    const float want[6] = { 2, 2, 3, 3, 2, 2 };
    check_near(mcs_grad(c, x), mcs_from(c, MCS_F32, 2, MCS_SHAPE(3, 2), want), 0, 0);
    mcs_ctx_free(c);
}

static void test_empty(void **state)
{
    (void)state;
    mcs_ctx *c = check_ctx();
    mcs_tensor *x = mcs_leaf(c, mcs_zeros(c, 3, MCS_SHAPE(2, 0, 3)));
    mcs_tensor *y = mcs_permute(c, x, (const int[]){ 2, 0, 1 });
    y = mcs_concat(c, 2, 2, (const mcs_tensor *const[]){ y, y });
    y = mcs_slice(c, y, 0, 1, 1);
    y = mcs_pad(c, y, (const int64_t[]){ 1, 0, 0, 0, 2, 1 }, 7.0f);
    check_ok(c);
    assert_int_equal(mcs_numel(y), 6);
    for (int i = 0; i < 6; i++)
        assert_true(mcs_f32(y)[i] == 7.0f);
    assert_int_equal(mcs_backward(c, mcs_sum(c, y), NULL), MCS_OK);
    /* Cropped to nothing, then widened again: nothing of x is left. */
    x = mcs_zeros(c, 1, MCS_SHAPE(4));
    y = mcs_pad(c, x, (const int64_t[]){ -5, 6 }, 1.0f);
    check_ok(c);
    for (int i = 0; i < 5; i++)
        assert_true(mcs_f32(y)[i] == 1.0f);
    y = mcs_pad(c, x, (const int64_t[]){ 6, -5 }, 1.0f);
    check_ok(c);
    for (int i = 0; i < 5; i++)
        assert_true(mcs_f32(y)[i] == 1.0f);
    mcs_ctx_free(c);
}

static mcs_tensor *x23(mcs_ctx *c)
{
    return mcs_zeros(c, 2, MCS_SHAPE(2, 3));
}

static void test_refusals(void **state)
{
    (void)state;
    mcs_ctx *c = check_ctx();
    check_fails(c, mcs_reshape(c, x23(c), 2, MCS_SHAPE(4, 2)), MCS_ESHAPE,
                "reshape: (4, 2) does not hold the elements of (2, 3)");
    check_fails(c, mcs_reshape(c, x23(c), 2, MCS_SHAPE(-1, -1)), MCS_ESHAPE, "reshape: (-1, -1)");
    check_fails(c, mcs_reshape(c, x23(c), 2, MCS_SHAPE(-1, 4)), MCS_ESHAPE, "reshape: (-1, 4)");
    check_fails(c, mcs_reshape(c, x23(c), 2, MCS_SHAPE(-1, 0)), MCS_ESHAPE, "reshape: (-1, 0)");
    check_fails(c, mcs_reshape(c, x23(c), 2, MCS_SHAPE(-2, -3)), MCS_ESHAPE, "reshape: (-2, -3)");
    check_fails(c, mcs_reshape(c, x23(c), 3, MCS_SHAPE(INT64_C(1) << 62, 4, 6)), MCS_ESHAPE,
                "reshape: ");
    check_fails(c, mcs_reshape(c, x23(c), 7, MCS_SHAPE(1, 1, 1, 1, 1, 2, 3)), MCS_ESHAPE,
                "reshape: 7 dimensions");
    check_fails(c, mcs_rows(c, x23(c), 1, 3), MCS_EINVAL, "rows: [1, 3) of 2 rows");
    check_fails(c, mcs_rows(c, x23(c), -1, 1), MCS_EINVAL, "rows: [-1, 1) of 2 rows");
    check_fails(c, mcs_rows(c, x23(c), 2, 1), MCS_EINVAL, "rows: [2, 1) of 2 rows");
    check_fails(c, mcs_rows(c, mcs_scalar(c, 1), 0, 0), MCS_ESHAPE, "rows: a scalar");
    check_fails(c, mcs_permute(c, x23(c), (const int[]){ 0, 0 }), MCS_EINVAL, "permute: axes");
    check_fails(c, mcs_permute(c, x23(c), (const int[]){ 0, 2 }), MCS_EINVAL, "permute: axes");
    check_fails(c, mcs_transpose(c, x23(c), 0, 2), MCS_EINVAL, "transpose: dimensions 0 and 2");
    check_fails(c, mcs_slice(c, x23(c), 2, 0, 1), MCS_EINVAL, "slice: dimension 2");
    check_fails(c, mcs_slice(c, x23(c), 1, 2, 4), MCS_EINVAL, "slice: [2, 4) of dimension 1");
    check_fails(c, mcs_concat(c, 0, 0, NULL), MCS_EINVAL, "concat: nothing to join");
    check_fails(c,
                concat_0(c, (mcs_tensor *[]){ x23(c), x23(c), mcs_zeros(c, 2, MCS_SHAPE(2, 4)) }),
                MCS_ESHAPE, "concat: part 2 is (2, 4), part 0 is (2, 3)");
    check_fails(c, concat_0(c, (mcs_tensor *[]){ x23(c), mcs_scalar(c, 1), x23(c) }), MCS_ESHAPE,
                "concat: part 1 is ()");
    check_fails(c, mcs_expand(c, x23(c), 2, MCS_SHAPE(4, 3)), MCS_ESHAPE,
                "expand: shape (2, 3) does not broadcast to (4, 3)");
    check_fails(c, mcs_expand(c, x23(c), 1, MCS_SHAPE(3)), MCS_ESHAPE, "expand: shape (2, 3)");
    check_fails(c, mcs_expand(c, x23(c), 2, MCS_SHAPE(2, 1)), MCS_ESHAPE, "expand: shape (2, 3)");
    check_fails(c, mcs_pad(c, x23(c), (const int64_t[]){ 0, 0, -2, -2 }, 0), MCS_EINVAL, "pad: ");
    check_fails(c, mcs_pad(c, x23(c), (const int64_t[]){ INT64_MAX, 0, 0, 0 }, 0), MCS_EINVAL,
                "pad: (2, 3)");
    mcs_ctx_free(c);
}

static void test_null(void **state)
{
    (void)state;
    mcs_ctx *c = check_ctx();
    mcs_tensor *none[3] = { NULL, NULL, NULL }, *x = x23(c);
    for (int i = 0; i < CASES; i++)
        assert_null(cases[i].fn(c, none));
    assert_null(expand(c, none));
    assert_null(concat_0(c, (mcs_tensor *[]){ x, NULL, x }));
    check_ok(c);
    mcs_ctx_free(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_golden),      cmocka_unit_test(test_every_permutation),
        cmocka_unit_test(test_views_share), cmocka_unit_test(test_gradients_add),
        cmocka_unit_test(test_empty),       cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_null),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
