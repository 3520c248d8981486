/* Operator cases computed by PyTorch (op_vectors of the shared data): a case is a small graph of
 * named operators with .npy inputs and outputs.  The graphs are run through ops.h; operators it
 * does not have are composed where that is short, else the case is counted as not covered. */
#include <dirent.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include "tests/check.h"
#include "tests/vector_operators.h"

/* ---- Files ---- */

/* "(2, 3)" after 'shape': in the header of an .npy. */
static int read_shape(const char *header, int64_t *shape)
{
    const char *p = strstr(header, "'shape': (");
    assert_non_null(p);
    int n = 0;
    for (p += 10; *p && *p != ')'; p++) {
        char *end;
        shape[n++] = strtoll(p, &end, 10);
        assert_true(n <= MCS_MAX_DIM);
        for (p = end; *p == ',' || *p == ' '; p++)
            ;
        p--;
    }
    return n;
}

/* f4 and f8 become F32, i8 becomes I64. */
static mcs_tensor *read_npy(mcs_ctx *c, const char *path)
{
    FILE *f = fopen(path, "rb");
    if (!f)
        return NULL;
    unsigned char head[10];
    char header[512] = "";
    assert_int_equal(fread(head, 1, 10, f), 10);
    size_t length = head[8] + 256u * head[9];
    assert_true(length < sizeof header);
    assert_int_equal(fread(header, 1, length, f), length);
    int64_t shape[MCS_MAX_DIM];
    int ndim = read_shape(header, shape);
    bool is_int = strstr(header, "<i8") != NULL, is_double = strstr(header, "<f8") != NULL;
    mcs_tensor *x = mcs_new_typed(c, is_int ? MCS_I64 : MCS_F32, ndim, shape);
    check_ok(c);
    for (int64_t i = 0; i < mcs_numel(x); i++) {
        double d = 0;
        if (is_int)
            assert_int_equal(fread(mcs_i64(x) + i, 8, 1, f), 1);
        else if (!is_double)
            assert_int_equal(fread(mcs_f32(x) + i, 4, 1, f), 1);
        else if (fread(&d, 8, 1, f) == 1)
            mcs_f32(x)[i] = (float)d;
    }
    fclose(f);
    return x;
}

/* ---- Values by name ---- */

enum { VALUES_MAX = 32 };

typedef struct {
    mcs_ctx *c;
    int count;
    char name[VALUES_MAX][16];
    mcs_tensor *value[VALUES_MAX];
} graph;

static void set(graph *g, const char *name, mcs_tensor *x)
{
    assert_true(g->count < VALUES_MAX);
    snprintf(g->name[g->count], sizeof g->name[0], "%s", name);
    g->value[g->count++] = x;
}

static mcs_tensor *get(graph *g, const char *name)
{
    for (int i = 0; i < g->count; i++)
        if (strcmp(g->name[i], name) == 0)
            return g->value[i];
    return NULL;
}

/* ---- Running a case ---- */

static const char *string_at(const json_t *array, size_t i)
{
    const char *s = json_string_value(json_array_get(array, i));
    return s ? s : "";
}

/* A number or nested arrays of numbers, appended to out. */
static int64_t flatten_json(const json_t *v, double *out, int64_t n)
{
    if (json_is_number(v)) {
        out[n] = json_number_value(v);
        return n + 1;
    }
    for (size_t i = 0; i < json_array_size(v); i++)
        n = flatten_json(json_array_get(v, i), out, n);
    return n;
}

static mcs_tensor *constant(mcs_ctx *c, const json_t *value)
{
    double v[256];
    int64_t shape[MCS_MAX_DIM], n = flatten_json(value, v, 0);
    bool ints = true;
    int ndim = 0;
    for (const json_t *a = value; json_is_array(a); a = json_array_get(a, 0))
        shape[ndim++] = (int64_t)json_array_size(a);
    for (const json_t *a = value; a; a = json_array_get(a, 0))
        ints = ints && !json_is_real(a);
    mcs_tensor *x = mcs_new_typed(c, ints ? MCS_I64 : MCS_F32, ndim, shape);
    for (int64_t i = 0; i < n; i++)
        if (ints)
            mcs_i64(x)[i] = (int64_t)v[i];
        else
            mcs_f32(x)[i] = (float)v[i];
    return x;
}

static bool split(graph *g, const mcs_tensor *x, const json_t *attrs, const json_t *outputs)
{
    int axis = (int)number(attrs, "axis", 0);
    int64_t at = 0, equal = mcs_dim(x, axis) / (int64_t)json_array_size(outputs);
    for (size_t i = 0; i < json_array_size(outputs); i++) {
        int64_t size = item(attrs, "split", i, equal);
        set(g, string_at(outputs, i), mcs_slice(g->c, x, axis, at, at + size));
        at += size;
    }
    return true;
}

/* False: not covered. */
static bool run_node(graph *g, const json_t *node)
{
    const char *op = json_string_value(json_object_get(node, "op"));
    const json_t *attrs = json_object_get(node, "attrs"), *ins = json_object_get(node, "inputs");
    const json_t *outputs = json_object_get(node, "outputs");
    mcs_tensor *in[8] = { NULL }, *y = NULL;
    for (size_t i = 0; i < json_array_size(ins) && i < 7; i++)
        in[i] = get(g, string_at(ins, i));
    if (strcmp(op, "Split") == 0)
        return split(g, in[0], attrs, outputs);
    if (strcmp(op, "Constant") == 0)
        y = constant(g->c, json_object_get(attrs, "value"));
    for (int i = 0; i < OPERATORS; i++)
        if (strcmp(op, operators[i].name) == 0)
            y = operators[i].fn(g->c, in, attrs);
    check_ok(g->c);
    set(g, string_at(outputs, 0), y);
    return y != NULL;
}

static void load_inputs(graph *g, const json_t *spec, const char *dir)
{
    const json_t *names = json_object_get(spec, "inputs");
    char path[1300];
    int numbered = 0;
    for (size_t i = 0; i < json_array_size(names); i++) {
        const char *name = string_at(names, i);
        if (json_object_get(json_object_get(spec, "initializers"), name))
            snprintf(path, sizeof path, "%s/init_%s.npy", dir, name);
        else
            snprintf(path, sizeof path, "%s/input_%d.npy", dir, numbered++);
        set(g, name, read_npy(g->c, path));
    }
}

static bool run_case(const char *dir, const char *name)
{
    char path[1300];
    json_error_t e;
    snprintf(path, sizeof path, "%s/case.json", dir);
    json_t *spec = json_load_file(path, 0, &e);
    if (!spec)
        fail_msg("%s: %s", path, e.text);
    graph *g = calloc(1, sizeof *g);
    assert_non_null(g);
    g->c = check_ctx();
    load_inputs(g, spec, dir);
    bool covered = true;
    const json_t *nodes = json_object_get(spec, "nodes"), *outs = json_object_get(spec, "outputs");
    for (size_t i = 0; covered && i < json_array_size(nodes); i++)
        covered = run_node(g, json_array_get(nodes, i));
    for (size_t i = 0; covered && i < json_array_size(outs); i++) {
        snprintf(path, sizeof path, "%s/output_%d.npy", dir, (int)i);
        mcs_tensor *want = as_float(g->c, read_npy(g->c, path));
        check_near_named(name, get(g, string_at(outs, i)), want, 2e-5f, 2e-6f);
    }
    mcs_ctx_free(g->c);
    free(g);
    json_decref(spec);
    return covered;
}

static void run_folder(const char *folder, int at_least)
{
    char root[1024], dir[1200], missed[2000] = "";
    snprintf(root, sizeof root, "%s", check_data(folder));
    DIR *d = opendir(root);
    assert_non_null(d);
    int run = 0, skipped = 0;
    for (struct dirent *f; (f = readdir(d)) != NULL;) {
        if (f->d_name[0] == '.')
            continue;
        snprintf(dir, sizeof dir, "%.700s/%.400s", root, f->d_name);
        if (run_case(dir, f->d_name)) {
            run++;
        } else {
            skipped++;
            size_t n = strlen(missed);
            snprintf(missed + n, sizeof missed - n, " %s", f->d_name);
        }
    }
    closedir(d);
    print_message("%s: %d cases agree, %d not covered:%s\n", folder, run, skipped, missed);
    assert_true(run >= at_least);
}

static void test_converted(void **state)
{
    (void)state;
    run_folder("op_vectors/pytorch-converted", 50);
}

static void test_operator(void **state)
{
    (void)state;
    run_folder("op_vectors/pytorch-operator", 30);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_converted),
        cmocka_unit_test(test_operator),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
