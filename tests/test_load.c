/* Stores from and to checkpoints: strictness, prefixes, NaN, all or nothing. */
#include <math.h>
#include "tests/weights_files.h"

/* Two linears, a layer norm with statistics: names as a model has them. */
static mcs_params *small_model(uint64_t seed)
{
    mcs_params *p = mcs_params_new();
    mcs_ns fc1 = mcs_ns_sub(mcs_root(p), "blocks.%d.fc1", 0),
           norm = mcs_ns_sub(mcs_root(p), "norm");
    mcs_param(fc1, "weight", MCS_INIT_KAIMING, 2, MCS_SHAPE(5, 3));
    mcs_param(fc1, "bias", MCS_INIT_NORMAL, 1, MCS_SHAPE(5));
    mcs_param(norm, "weight", MCS_INIT_NORMAL, 1, MCS_SHAPE(5));
    mcs_param(norm, "bias", MCS_INIT_NORMAL, 1, MCS_SHAPE(5));
    mcs_buffer(norm, "running_mean", MCS_INIT_NORMAL, 1, MCS_SHAPE(5));
    mcs_buffer(norm, "running_var", MCS_INIT_ONES, 1, MCS_SHAPE(5));
    mcs_param(mcs_ns_sub(mcs_root(p), "head"), "weight", MCS_INIT_XAVIER, 2, MCS_SHAPE(2, 5));
    assert_int_equal(mcs_params_init(p, seed), MCS_OK);
    return p;
}

static bool same(const mcs_params *a, const mcs_params *b, float tolerance)
{
    for (int64_t i = 0; i < mcs_params_count(a); i++) {
        const mcs_tensor *x = mcs_params_at(a, i).tensor, *y = mcs_params_at(b, i).tensor;
        for (int64_t j = 0; j < mcs_numel(x); j++)
            if (fabsf(mcs_f32(x)[j] - mcs_f32(y)[j]) > tolerance * fabsf(mcs_f32(x)[j]))
                return false;
    }
    return true;
}

static mcs_checkpoint *open_ok(const char *path)
{
    mcs_error e = { 0 };
    mcs_checkpoint *k = mcs_checkpoint_open(path, &e);
    if (!k)
        fail_msg("%s", e.message);
    return k;
}

/* Loads, expects `s` and a message with `part`, and on failure an unchanged store. */
static void load_gives(mcs_params *p, const char *path, const char *prefix,
                       const char *const *ignore, int flags, mcs_status s, const char *part)
{
    mcs_error e = { 0 };
    mcs_checkpoint *k = open_ok(path);
    mcs_params *before = small_model(1);
    mcs_status got = mcs_params_load(p, k, prefix, ignore, flags, &e);
    if (got != s || e.status != s || !strstr(e.message, part))
        fail_msg("expected %d \"%s\", got %d \"%s\"", (int)s, part, (int)got, e.message);
    if (s != MCS_OK && mcs_params_count(before) == mcs_params_count(p))
        assert_true(same(p, before, 0.0f));
    mcs_params_free(before);
    mcs_checkpoint_close(k);
}

static void save_ok(const mcs_params *p, const char *path, mcs_stored_dtype t)
{
    mcs_error e = { 0 };
    const char *meta[] = { "mcs.config", "{\"dim\": 3}", "note", "\"quoted\" \xC3\xA9", NULL };
    if (mcs_params_save(p, path, meta, t, &e) != MCS_OK)
        fail_msg("%s", e.message);
}

static void test_round_trip(void **state)
{
    (void)state;
    mcs_params *p = small_model(7), *q = small_model(1);
    save_ok(p, temporary("a.safetensors"), MCS_ST_F32);
    mcs_checkpoint *k = open_ok(temporary("a.safetensors"));
    assert_string_equal(mcs_checkpoint_format(k), "safetensors");
    assert_string_equal(mcs_checkpoint_meta(k, "mcs.config"), "{\"dim\": 3}");
    assert_string_equal(mcs_checkpoint_meta(k, "note"), "\"quoted\" \xC3\xA9");
    assert_null(mcs_checkpoint_meta(k, "absent"));
    assert_int_equal(mcs_checkpoint_count(k), mcs_params_count(p));
    assert_string_equal(mcs_checkpoint_at(k, 0)->name, "blocks.0.fc1.weight"); /* declared order */
    mcs_checkpoint_close(k);
    const float *pointer = mcs_params_at(q, 0).tensor->data;
    load_gives(q, temporary("a.safetensors"), "", NULL, MCS_LOAD_STRICT, MCS_OK, "");
    assert_true(same(p, q, 0.0f));
    assert_ptr_equal(pointer, mcs_params_at(q, 0).tensor->data); /* views of it stay valid */
    mcs_params_free(p);
    mcs_params_free(q);
}

static void test_half_types(void **state)
{
    (void)state;
    mcs_params *p = small_model(7), *q = small_model(1);
    save_ok(p, temporary("h.safetensors"), MCS_ST_F16);
    load_gives(q, temporary("h.safetensors"), NULL, NULL, 0, MCS_OK, "");
    assert_true(same(p, q, 1.0f / 2048));
    assert_false(same(p, q, 1.0f / 65536));
    save_ok(p, temporary("h.safetensors"), MCS_ST_BF16);
    load_gives(q, temporary("h.safetensors"), NULL, NULL, 0, MCS_OK, "");
    assert_true(same(p, q, 1.0f / 256));
    mcs_checkpoint *k = open_ok(temporary("h.safetensors"));
    assert_int_equal(mcs_checkpoint_find(k, "head.weight")->dtype, MCS_ST_BF16);
    assert_int_equal(mcs_checkpoint_find(k, "norm.running_var")->dtype, MCS_ST_F32);
    mcs_checkpoint_close(k);
    mcs_params_free(p);
    mcs_params_free(q);
}

/* A file with the model's names under a prefix, changed by `edit` before it is written. */
static const char *write_edited(const char *prefix, void (*edit)(mcs_save_entry *list, int64_t *n))
{
    mcs_error e = { 0 };
    mcs_params *p = small_model(7);
    int64_t n = mcs_params_count(p);
    mcs_save_entry list[16] = { { 0 } };
    static char names[16][64];
    for (int64_t i = 0; i < n; i++) {
        mcs_param_entry x = mcs_params_at(p, i);
        snprintf(names[i], sizeof names[i], "%s%s", prefix, x.name);
        list[i] = (mcs_save_entry){ .name = names[i],
                                    .dtype = MCS_ST_F32,
                                    .source = MCS_F32,
                                    .ndim = x.tensor->ndim,
                                    .data = x.tensor->data };
        memcpy(list[i].shape, x.tensor->shape, sizeof x.tensor->shape);
    }
    if (edit)
        edit(list, &n);
    const char *path = temporary("e.safetensors");
    if (mcs_safetensors_write(path, n, list, NULL, &e) != MCS_OK)
        fail_msg("%s", e.message);
    mcs_params_free(p);
    return path;
}

static const float numbers[64];

static void drop_last(mcs_save_entry *list, int64_t *n)
{
    (void)list;
    --*n;
}
static void add_position_ids(mcs_save_entry *list, int64_t *n)
{
    static const int64_t ids[3];
    list[(*n)++] = (mcs_save_entry){ .name = "text.position_ids",
                                     .dtype = MCS_ST_I64,
                                     .ndim = 1,
                                     .shape = { 3 },
                                     .data = ids,
                                     .source = MCS_I64 };
}
static void add_outside(mcs_save_entry *list, int64_t *n)
{
    list[(*n)++] = (mcs_save_entry){ .name = "optimizer.state.0.exp_avg",
                                     .dtype = MCS_ST_F32,
                                     .ndim = 1,
                                     .shape = { 4 },
                                     .data = numbers };
}
static void transpose_first(mcs_save_entry *list, int64_t *n)
{
    (void)n;
    list[0].shape[0] = 3;
    list[0].shape[1] = 5;
}
static void scalar_last(mcs_save_entry *list, int64_t *n)
{
    list[*n - 1].ndim = 0;
}
static void put_nan(mcs_save_entry *list, int64_t *n)
{
    static float bad[15];
    (void)n;
    bad[7] = NAN;
    list[0].data = bad;
}
static void put_infinity(mcs_save_entry *list, int64_t *n)
{
    static float bad[10];
    bad[9] = -INFINITY;
    list[*n - 1].data = bad; /* the last weight: the others were read by then */
}

static void test_strictness(void **state)
{
    (void)state;
    static const char *const ignore[] = { "position_ids", NULL };
    mcs_params *p = small_model(1);
    const char *path = write_edited("", drop_last);
    load_gives(p, path, "", NULL, 0, MCS_ENOTFOUND, "1 of the model's 7 weights are missing: head");
    load_gives(p, path, NULL, NULL, 0, MCS_ENOTFOUND, "missing: head.weight");
    path = write_edited("", add_position_ids);
    load_gives(p, path, "", NULL, 0, MCS_ENOTFOUND, "1 names are unexpected: text.position_ids");
    path = write_edited("", transpose_first);
    load_gives(p, path, "", NULL, 0, MCS_ESHAPE, "blocks.0.fc1.weight (3, 5), not (5, 3)");
    load_gives(p, path, "", NULL, MCS_LOAD_ALLOW_MISSING | MCS_LOAD_ALLOW_UNEXPECTED, MCS_ESHAPE,
               "1 have another shape");
    path = write_edited("", scalar_last);
    load_gives(p, path, "", NULL, 0, MCS_ESHAPE, "head.weight (), not (2, 5)");
    load_gives(p, path, "nowhere.", NULL, 0, MCS_ENOTFOUND, "7 of the model's 7");
    load_gives(p, path, "nowhere.", NULL, MCS_LOAD_ALLOW_MISSING, MCS_ENOTFOUND, "holds none");
    load_gives(p, write_edited("", add_outside), "", ignore, 0, MCS_ENOTFOUND,
               "1 names are unexpected: optimizer.state.0.exp_avg");
    load_gives(p, write_edited("", drop_last), "", ignore, 0, MCS_ENOTFOUND,
               "missing: head.weight");
    load_gives(p, write_edited("", add_position_ids), "", ignore, 0, MCS_OK, "");
    mcs_params_free(p);
    p = small_model(1);
    load_gives(p, write_edited("", drop_last), "", NULL, MCS_LOAD_ALLOW_MISSING, MCS_OK, "");
    mcs_params_free(p);
}

static void test_prefixes(void **state)
{
    (void)state;
    static const char *const prefixes[] = {
        "", "module.", "model.", "state_dict.", "state_dict.module.", "sam_model.net.", NULL
    };
    mcs_params *want = small_model(7);
    for (int i = 0; prefixes[i]; i++) {
        mcs_params *p = small_model(1);
        load_gives(p, write_edited(prefixes[i], NULL), NULL, NULL, 0, MCS_OK, "");
        assert_true(same(p, want, 0.0f));
        mcs_params_free(p);
    }
    mcs_params *p = small_model(1);
    /* what is not under the prefix is no concern of the load; under "" it is */
    load_gives(p, write_edited("state_dict.", add_outside), NULL, NULL, 0, MCS_OK, "");
    mcs_params_free(p);
    p = small_model(1);
    load_gives(p, write_edited("", add_outside), NULL, NULL, 0, MCS_ENOTFOUND, "optimizer.state.0");
    load_gives(p, write_edited("", add_outside), NULL, NULL, MCS_LOAD_ALLOW_UNEXPECTED, MCS_OK, "");
    mcs_params_free(p);
    mcs_params_free(want);
}

static void test_not_finite(void **state)
{
    (void)state;
    mcs_params *p = small_model(1);
    load_gives(p, write_edited("", put_nan), "", NULL, 0, MCS_ENUMERIC,
               "'blocks.0.fc1.weight' has NaN at element 7");
    load_gives(p, write_edited("", put_infinity), "", NULL, 0, MCS_ENUMERIC,
               "'head.weight' has infinity at element 9");
    load_gives(p, write_edited("", put_infinity), "", NULL, MCS_LOAD_ALLOW_NAN, MCS_OK, "");
    assert_true(isinf(mcs_f32(mcs_params_find(p, "head.weight"))[9]));
    mcs_params_free(p);
}

/* More wrong names than fit the message: counted, the first few named. */
static void test_long_lists(void **state)
{
    (void)state;
    mcs_params *p = mcs_params_new();
    mcs_error e = { 0 };
    for (int i = 0; i < 300; i++)
        mcs_param(mcs_ns_sub(mcs_root(p), "layer.number.%d.with.a.rather.long.name", i), "weight",
                  MCS_INIT_ZEROS, 1, MCS_SHAPE(2));
    mcs_checkpoint *k = open_ok(write_edited("", NULL));
    assert_int_equal(mcs_params_load(p, k, "", NULL, 0, &e), MCS_ENOTFOUND);
    assert_non_null(
        strstr(e.message, "300 of the model's 300 weights are missing: layer.number.0"));
    assert_non_null(strstr(e.message, "7 names are unexpected: "));
    assert_null(mcs_params_at(p, 0).tensor->data);
    mcs_checkpoint_close(k);
    mcs_params_free(p);
}

static void test_null(void **state)
{
    (void)state;
    mcs_error e = { 0 };
    mcs_params *p = mcs_params_new();
    assert_int_equal(mcs_params_load(p, NULL, "", NULL, 0, NULL), MCS_EINVAL);
    assert_int_equal(mcs_params_load(NULL, NULL, "", NULL, 0, &e), MCS_EINVAL);
    assert_int_equal(mcs_params_load(p, NULL, "", NULL, 0, &e), MCS_EINVAL); /* sticky */
    assert_int_equal(mcs_params_save(p, temporary("n.safetensors"), NULL, MCS_ST_I64, NULL),
                     MCS_EINVAL);
    mcs_param(mcs_root(p), "w", MCS_INIT_ZEROS, 1, MCS_SHAPE(2));
    e = (mcs_error){ 0 };
    assert_int_equal(mcs_params_save(p, temporary("n.safetensors"), NULL, MCS_ST_F32, &e),
                     MCS_EINVAL);
    assert_non_null(strstr(e.message, "'w' has no values yet"));
    assert_int_not_equal(access(temporary("n.safetensors"), F_OK), 0);
    mcs_params_free(p);
}

static int clean_up(void **state)
{
    static const char *const names[] = { "a.safetensors", "h.safetensors", "e.safetensors", NULL };
    (void)state;
    return remove_temporary(names);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip), cmocka_unit_test(test_half_types),
        cmocka_unit_test(test_strictness), cmocka_unit_test(test_prefixes),
        cmocka_unit_test(test_not_finite), cmocka_unit_test(test_long_lists),
        cmocka_unit_test(test_null),
    };
    return cmocka_run_group_tests(tests, NULL, clean_up);
}
