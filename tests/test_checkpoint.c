/* Checkpoints of every kind against what PyTorch and safetensors say is in them: golden files
 * here (make_weights.py), published ones under the shared data folder with a manifest. */
#include <jansson.h>
#include "tests/weights_files.h"
#include "tools/cli_files.h"

#define GOLDEN "tests/golden/weights_"

static mcs_checkpoint *open_ok(const char *path)
{
    mcs_error e = { 0 };
    mcs_checkpoint *k = mcs_checkpoint_open(path, &e);
    if (!k)
        fail_msg("%s", e.message);
    assert_string_equal(mcs_checkpoint_path(k), path);
    return k;
}

static void *read_raw(mcs_checkpoint *k, const mcs_stored *t, size_t *n)
{
    mcs_error e = { 0 };
    *n = (size_t)t->numel * (size_t)mcs_stored_size(t->dtype);
    void *v = malloc(*n + 1);
    assert_non_null(v);
    if (mcs_checkpoint_read_as(k, t, t->dtype, v, &e) != MCS_OK)
        fail_msg("%s", e.message);
    return v;
}

/* Type, shape and bytes of one tensor equal the expected one's. */
static void compare(mcs_checkpoint *k, const mcs_stored *t, mcs_checkpoint *expected,
                    const mcs_stored *x)
{
    size_t n, m;
    if (!t)
        fail_msg("%s: missing", x->name);
    if (t->dtype != x->dtype || t->ndim != x->ndim || t->numel != x->numel ||
        memcmp(t->shape, x->shape, sizeof t->shape) != 0)
        fail_msg("%s: another type or shape", x->name);
    void *a = read_raw(k, t, &n), *b = read_raw(expected, x, &m);
    if (memcmp(a, b, n) != 0)
        fail_msg("%s: other values", x->name);
    free(a);
    free(b);
}

/* Every file of the golden set holds exactly its tensors of weights_expected.safetensors. */
static void golden_file(const char *name, const char *format)
{
    char path[200], key[100];
    int64_t found = 0;
    mcs_checkpoint *expected = open_ok(GOLDEN "expected.safetensors");
    snprintf(path, sizeof path, GOLDEN "%s.pt", name);
    snprintf(key, sizeof key, "%s/", name);
    mcs_checkpoint *k = open_ok(path);
    assert_string_equal(mcs_checkpoint_format(k), format);
    for (int64_t i = 0; i < mcs_checkpoint_count(expected); i++) {
        const mcs_stored *x = mcs_checkpoint_at(expected, i);
        if (strncmp(x->name, key, strlen(key)) != 0)
            continue;
        compare(k, mcs_checkpoint_find(k, x->name + strlen(key)), expected, x);
        found++;
    }
    assert_int_equal(found, mcs_checkpoint_count(k));
    assert_true(found > 0);
    mcs_checkpoint_close(k);
    mcs_checkpoint_close(expected);
}

static void test_golden(void **state)
{
    (void)state;
    golden_file("types", "pytorch zip");
    golden_file("views", "pytorch zip");
    golden_file("views_legacy", "pytorch legacy");
    golden_file("views_protocol4", "pytorch zip");
    golden_file("checkpoint", "pytorch zip");
    golden_file("checkpoint_legacy", "pytorch legacy");
    golden_file("checkpoint_protocol5", "pytorch zip");
    golden_file("subclass", "pytorch zip");
    golden_file("tensor", "pytorch zip");
}

static void refuses(const char *path, const char *part)
{
    mcs_error e = { 0 };
    mcs_checkpoint *k = mcs_checkpoint_open(path, &e);
    if (k || e.status != MCS_EFORMAT || !strstr(e.message, part))
        fail_msg("%s: expected \"%s\", got \"%s\"", path, part, e.message);
}

static void test_golden_refused(void **state)
{
    (void)state;
    refuses(GOLDEN "module.pt", "would import torch.nn.modules.linear.Linear");
    refuses(GOLDEN "complex.pt", "would import torch.ComplexFloatStorage");
    refuses(GOLDEN "script.pt", "a TorchScript program");
}

/* Views are gathered when converted, too, and a tensor in a context has the right type. */
static void test_tensor(void **state)
{
    (void)state;
    mcs_ctx *c = check_ctx();
    mcs_checkpoint *k = open_ok(GOLDEN "views.pt"), *p = open_ok(GOLDEN "checkpoint.pt");
    mcs_tensor *whole = mcs_checkpoint_tensor(c, k, "whole");
    mcs_tensor *turned = mcs_checkpoint_tensor(c, k, "transposed");
    check_ok(c);
    assert_int_equal(turned->shape[0], 7);
    for (int i = 0; i < 42; i++)
        assert_true(mcs_f32(turned)[i] == mcs_f32(whole)[i % 6 * 7 + i / 6]);
    mcs_tensor *ids = mcs_checkpoint_tensor(c, p, "7");
    assert_int_equal(ids->dtype, MCS_I64);
    assert_int_equal(mcs_i64(ids)[2], 2);
    check_fails(c, mcs_checkpoint_tensor(c, k, "nothing"), MCS_ENOTFOUND,
                "views.pt: there is no tensor 'nothing'");
    check_fails(c, mcs_checkpoint_tensor(c, k, "ndim8"), MCS_ESHAPE, "has 8 dimensions");
    check_fails(c, mcs_checkpoint_tensor(c, NULL, "a"), MCS_ENOTFOUND, "no tensor 'a'");
    mcs_checkpoint_close(k);
    mcs_checkpoint_close(p);
    mcs_ctx_free(c);
}

/* ---- Published files ---- */

static void check_hash(mcs_checkpoint *k, const mcs_stored *t, const char *want)
{
    char hex[65];
    size_t n;
    cli_sha256 s;
    void *v = read_raw(k, t, &n);
    cli_sha256_begin(&s);
    cli_sha256_add(&s, v, n);
    cli_sha256_hex(&s, hex);
    free(v);
    if (strcmp(hex, want) != 0)
        fail_msg("%s: sha256 %s, expected %s", t->name, hex, want);
}

static void published_tensor(mcs_checkpoint *k, const char *name, json_t *want)
{
    const mcs_stored *t = mcs_checkpoint_find(k, name);
    const json_t *shape = json_object_get(want, "shape");
    if (!t)
        fail_msg("%s: no tensor %s", mcs_checkpoint_path(k), name);
    assert_int_equal(t->ndim, json_array_size(shape));
    for (int d = 0; d < t->ndim; d++)
        assert_int_equal(t->shape[d], json_integer_value(json_array_get(shape, (size_t)d)));
    const json_t *hash = json_object_get(want, "sha256_contiguous_le");
    if (!hash)
        hash = json_object_get(want, "sha256");
    if (hash)
        check_hash(k, t, json_string_value(hash));
}

static void published_file(const char *rel, json_t *want)
{
    char path[600];
    mcs_error e = { 0 };
    const char *name;
    json_t *tensors = json_object_get(want, "tensors"), *t;
    snprintf(path, sizeof path, "weights/%s", rel);
    snprintf(path, sizeof path, "%s", check_data(path));
    mcs_checkpoint *k = mcs_checkpoint_open(path, &e);
    if (!tensors) {
        assert_null(k);
        return;
    }
    if (!k)
        fail_msg("%s", e.message);
    assert_int_equal(mcs_checkpoint_count(k), json_object_size(tensors));
    json_object_foreach(tensors, name, t) published_tensor(k, name, t);
    mcs_checkpoint_close(k);
}

static void test_published(void **state)
{
    (void)state;
    json_error_t je;
    const char *rel;
    json_t *manifest = json_load_file(check_data("weights/MANIFEST.json"), 0, &je), *want;
    assert_non_null(manifest);
    assert_true(json_object_size(manifest) > 50);
    json_object_foreach(manifest, rel, want) published_file(rel, want);
    json_decref(manifest);
}

static void test_tar(void **state)
{
    (void)state;
    refuses(check_data("weights/burn_pytorch_reader/test_data/tar_float32.tar"), "a tar file");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_golden), cmocka_unit_test(test_golden_refused),
        cmocka_unit_test(test_tensor), cmocka_unit_test(test_published),
        cmocka_unit_test(test_tar),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
