/* The Residual UNet's checkpoints: layouts read off names, shapes and metadata; round trips; names of
 * MONAI before 0.4; files that are no UNet, or none of ours; initial values. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "models/unet.h"
#include "tests/check.h"

enum { ENTRIES = 256 };

static const char *path_of(const char *name)
{
    static char path[128];
    snprintf(path, sizeof path, "/tmp/mcs_unet_%ld_%s.safetensors", (long)getpid(), name);
    return path;
}

static mcs_unet *make(const mcs_unet_config *cfg)
{
    mcs_error e = { 0 };
    mcs_unet *m = mcs_unet_new(cfg, &e);
    if (!m)
        fail_msg("%s", e.message);
    assert_int_equal(mcs_params_init(mcs_unet_params(m), 3), MCS_OK);
    return m;
}

/* The model's tensors under names changed by `rename` into a file, without metadata. */
static void write_as(const mcs_unet *m, const char *path, void (*rename)(char *name))
{
    static char names[ENTRIES][160];
    static mcs_save_entry entries[ENTRIES];
    mcs_params *p = mcs_unet_params(m);
    mcs_error e = { 0 };
    int64_t n = mcs_params_count(p);
    assert_true(n <= ENTRIES);
    for (int64_t i = 0; i < n; i++) {
        mcs_param_entry from = mcs_params_at(p, i);
        snprintf(names[i], sizeof names[i], "%s", from.name);
        rename(names[i]);
        entries[i] = (mcs_save_entry){ .name = names[i],
                                       .dtype = MCS_ST_F32,
                                       .ndim = from.tensor->ndim,
                                       .data = from.tensor->data,
                                       .source = MCS_F32 };
        memcpy(entries[i].shape, from.tensor->shape, sizeof from.tensor->shape);
    }
    if (mcs_safetensors_write(path, n, entries, NULL, &e))
        fail_msg("%s", e.message);
}

static void check_same(const mcs_unet *a, const mcs_unet *b)
{
    mcs_params *p = mcs_unet_params(a), *q = mcs_unet_params(b);
    assert_int_equal(mcs_params_count(p), mcs_params_count(q));
    for (int64_t i = 0; i < mcs_params_count(p); i++) {
        mcs_param_entry x = mcs_params_at(p, i), y = mcs_params_at(q, i);
        assert_string_equal(x.name, y.name);
        check_near_named(x.name, x.tensor, y.tensor, 0, 0);
    }
}

static mcs_unet_config layout(int which)
{
    mcs_unet_config c = mcs_unet_defaults();
    if (which == 0)
        return c;
    const mcs_unet_config others[] = {
        { .in_channels = 1,
          .classes = 4,
          .levels = 3,
          .channels = { 4, 6, 6 },
          .strides = { 2, 2 },
          .kernel = 5,
          .up_kernel = 3,
          .norm = MCS_UNET_BATCH,
          .act = MCS_UNET_LEAKY_RELU,
          .slope = 0.2f,
          .dropout = 0.1f },
        { .in_channels = 2,
          .classes = 1,
          .levels = 4,
          .channels = { 3, 3, 5, 4 },
          .strides = { 1, 3, 2 },
          .res_units = 1,
          .kernel = 3,
          .up_kernel = 5,
          .norm = MCS_UNET_INSTANCE_AFFINE,
          .act = MCS_UNET_RELU,
          .slope = 0.01f,
          .no_bias = true },
        { .in_channels = 3,
          .classes = 2,
          .levels = 2,
          .channels = { 4, 8 },
          .strides = { 2 },
          .res_units = 3,
          .kernel = 3,
          .up_kernel = 3,
          .norm = MCS_UNET_NO_NORM,
          .act = MCS_UNET_PRELU,
          .slope = 0.01f },
    };
    return others[which - 1];
}

static void check_config(const mcs_unet_config *a, const mcs_unet_config *b)
{
    assert_int_equal(a->in_channels, b->in_channels);
    assert_int_equal(a->classes, b->classes);
    assert_int_equal(a->levels, b->levels);
    assert_memory_equal(a->channels, b->channels, (size_t)a->levels * sizeof(int));
    assert_memory_equal(a->strides, b->strides, (size_t)(a->levels - 1) * sizeof(int));
    assert_int_equal(a->res_units, b->res_units);
    assert_int_equal(a->kernel, b->kernel);
    assert_int_equal(a->up_kernel, b->up_kernel);
    assert_int_equal(a->norm, b->norm);
    assert_int_equal(a->act, b->act);
    assert_true(fabsf(a->slope - b->slope) < 1e-6f && fabsf(a->dropout - b->dropout) < 1e-6f);
    assert_int_equal(a->no_bias, b->no_bias);
}

static void saved_and_loaded(void **state)
{
    (void)state;
    for (int i = 0; i < 4; i++) {
        mcs_unet_config cfg = layout(i);
        mcs_unet *m = make(&cfg);
        mcs_error e = { 0 };
        const char *const meta[] = { "mcs.image", "256", NULL };
        assert_int_equal(mcs_unet_save(m, path_of("a"), meta, MCS_ST_F32, &e), MCS_OK);
        mcs_checkpoint *k = mcs_checkpoint_open(path_of("a"), &e);
        assert_non_null(k);
        assert_string_equal(mcs_checkpoint_meta(k, "mcs.image"), "256");
        assert_string_equal(mcs_checkpoint_meta(k, "mcs.model"), "unet");
        mcs_unet *n = mcs_unet_read(k, NULL, &e);
        if (!n)
            fail_msg("layout %d: %s", i, e.message);
        check_config(mcs_unet_get_config(n), &cfg);
        check_same(m, n);
        mcs_checkpoint_close(k);
        mcs_unet_free(m);
        mcs_unet_free(n);
    }
    unlink(path_of("a"));
}

static void replace(char *name, const char *from, const char *to)
{
    char *at = strstr(name, from), rest[160];
    if (!at)
        return;
    snprintf(rest, sizeof rest, "%s", at + strlen(from));
    snprintf(at, (size_t)(160 - (at - name)), "%s%s", to, rest);
}

static void old(char *name)
{
    replace(name, ".adn.A.", ".act.");
    replace(name, ".adn.N.", ".norm.");
}

static void wrapped(char *name)
{
    char copy[160];
    snprintf(copy, sizeof copy, "%s", name);
    snprintf(name, 160, "net.module.%.140s", copy);
}

/* No metadata: strides, and what no name shows, are of the hint or the defaults. */
static void foreign_names(void **state)
{
    (void)state;
    void (*const renames[])(char *) = { old, wrapped };
    for (int i = 0; i < 4; i++)
        for (int j = 0; j < 2; j++) {
            mcs_unet_config cfg = layout(i), hint = cfg;
            hint.in_channels = 7, hint.classes = 9, hint.kernel = 1, hint.no_bias = !cfg.no_bias;
            mcs_unet *m = make(&cfg);
            mcs_error e = { 0 };
            write_as(m, path_of("b"), renames[j]);
            mcs_unet *n = mcs_unet_load(path_of("b"), &hint, &e);
            if (!n)
                fail_msg("layout %d: %s", i, e.message);
            check_config(mcs_unet_get_config(n), &cfg);
            check_same(m, n);
            mcs_unet_free(m);
            mcs_unet_free(n);
        }
    unlink(path_of("b"));
}

static void nothing(char *name)
{
    (void)name;
}
static void gone(char *name)
{
    replace(name, "model.2.", "other.2.");
}
static void foreign(char *name)
{
    replace(name, "model.0.", "stem.");
}

static void refused(const char *path, mcs_status s, const char *part)
{
    mcs_error e = { 0 };
    assert_null(mcs_unet_load(path, NULL, &e));
    if (!strstr(e.message, part))
        fail_msg("\"%s\" is not in: %s", part, e.message);
    assert_int_equal(e.status, s);
}

static void files_that_do_not_fit(void **state)
{
    (void)state;
    mcs_unet_config cfg = layout(3);
    mcs_unet *m = make(&cfg);
    mcs_error e = { 0 };
    write_as(m, path_of("c"), gone);
    refused(path_of("c"), MCS_ENOTFOUND, "needs model.2.0.conv.weight");
    write_as(m, path_of("c"), foreign);
    refused(path_of("c"), MCS_ENOTFOUND, "not a checkpoint of MONAI's UNet");
    const float zero[1000] = { 0 };
    mcs_save_entry volume[2] = {
        { "model.0.conv.unit0.conv.weight", MCS_ST_F32, 5, { 4, 1, 3, 3, 3 }, zero, MCS_F32 },
        { "model.1.submodule.conv.unit0.conv.weight",
          MCS_ST_F32,
          5,
          { 4, 4, 3, 3, 3 },
          zero,
          MCS_F32 }
    };
    assert_int_equal(mcs_safetensors_write(path_of("c"), 2, volume, NULL, &e), MCS_OK);
    refused(path_of("c"), MCS_ESHAPE, "only pictures are supported");
    volume[0].ndim = 4, volume[0].shape[2] = 2;
    assert_int_equal(mcs_safetensors_write(path_of("c"), 2, volume, NULL, &e), MCS_OK);
    refused(path_of("c"), MCS_ESHAPE, "square, odd kernel");
    write_as(m, path_of("c"), nothing);
    mcs_unet_config bad = mcs_unet_defaults();
    bad.strides[2] = 0;
    assert_null(mcs_unet_load(path_of("c"), &bad, &e));
    assert_int_equal(e.status, MCS_EINVAL);
    mcs_unet_free(m);
    unlink(path_of("c"));
    refused("/nonexistent/unet.pt", MCS_ENOTFOUND, "unet.pt");
}

static void layouts_that_are_refused(void **state)
{
    (void)state;
    mcs_error e = { 0 };
    mcs_unet_config c = mcs_unet_defaults();
#define REFUSED(field, value, part)                                                                \
    c = mcs_unet_defaults();                                                                       \
    c.field = value;                                                                               \
    assert_null(mcs_unet_new(&c, &e));                                                             \
    assert_int_equal(e.status, MCS_EINVAL);                                                        \
    assert_non_null(strstr(e.message, part));                                                      \
    e = (mcs_error){ 0 }
    REFUSED(levels, 1, "levels");
    REFUSED(levels, 9, "levels");
    REFUSED(channels[4], 0, "channels");
    REFUSED(strides[0], 9, "strides");
    REFUSED(kernel, 4, "kernel");
    REFUSED(res_units, 9, "res_units");
    REFUSED(dropout, 1.0f, "dropout");
    REFUSED(dropout, NAN, "dropout");
    REFUSED(classes, 0, "classes");
    assert_int_equal(mcs_unet_multiple(&(mcs_unet_config){ .levels = 4, .strides = { 2, 3, 1 } }),
                     6);
}

/* torch: uniform +-1/sqrt(fan_in), sd bound/sqrt 3, biases too; PReLU .25. */
static void initial_values(void **state)
{
    (void)state;
    mcs_unet_config cfg = mcs_unet_defaults();
    mcs_unet *m = make(&cfg);
    mcs_params *p = mcs_unet_params(m);
    assert_int_equal(mcs_params_numel(p), 1625420);
    const struct {
        const char *name;
        double bound;
    } expected[] = { { "model.0.residual.weight", 1 / sqrt(27) },
                     { "model.0.residual.bias", 1 / sqrt(27) },
                     { "model.1.submodule.1.submodule.1.submodule.2.0.conv.weight", 1 / sqrt(576) },
                     { "model.1.submodule.1.submodule.1.submodule.2.0.conv.bias", 1 / sqrt(576) },
                     { "model.0.conv.unit0.adn.A.weight", 0.25 } };
    for (size_t i = 0; i < sizeof expected / sizeof *expected; i++) {
        const mcs_tensor *x = mcs_params_find(p, expected[i].name);
        assert_non_null(x);
        double most = 0;
        for (int64_t j = 0; j < mcs_numel(x); j++)
            most = fmax(most, fabs((double)mcs_f32(x)[j]));
        assert_true(most <= expected[i].bound * 1.000001 && most > expected[i].bound * 0.8);
    }
    mcs_unet_free(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(saved_and_loaded),      cmocka_unit_test(foreign_names),
        cmocka_unit_test(files_that_do_not_fit), cmocka_unit_test(layouts_that_are_refused),
        cmocka_unit_test(initial_values),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
