/* cli_config.c - options from a JSON file: an object by flag name, values as in run.json, so
 * that the "settings" of an earlier run can be given again. */
#include <stdio.h>
#include <string.h>
#include "tools/cli.h"
#include "tools/cli_files.h"

/* A scalar as the command line would write it; NULL: not a scalar. */
static const char *scalar_text(const json_t *v, char *buf, size_t n)
{
    switch (json_typeof(v)) {
    case JSON_STRING:
        return json_string_value(v);
    case JSON_INTEGER:
        snprintf(buf, n, "%lld", (long long)json_integer_value(v));
        return buf;
    case JSON_REAL:
        snprintf(buf, n, "%.17g", json_real_value(v));
        return buf;
    case JSON_TRUE:
        return "yes";
    case JSON_FALSE:
        return "no";
    default:
        return NULL;
    }
}

static bool set_one(cli *t, const cli_option *o, void *base, const json_t *v, const char *where)
{
    char buf[64];
    const char *text = scalar_text(v, buf, sizeof buf);
    if (!text) {
        cli_error(t, CLI_BAD_USAGE, "%s--%s: expected text, a number, true or false%s", where,
                  o->name, o->kind == CLI_LIST ? ", or a list of them" : "");
        return false;
    }
    return cli_set(t, o, base, text, where);
}

static bool set_from(cli *t, void *opts, const char *key, const json_t *v, const char *where)
{
    void *base = opts;
    const cli_option *o = cli_find(t->program->options, key, strlen(key));
    if (!o) {
        o = cli_find(cli_common, key, strlen(key));
        base = t;
    }
    if (!o) {
        const char *near = cli_nearest(t->program, key);
        cli_error(t, CLI_BAD_USAGE, "%sunknown option '%s'%s%s%s", where, key,
                  near ? "; did you mean '" : "", near ? near : "", near ? "'?" : "");
        return false;
    }
    if (json_is_null(v))
        return true;
    if (o->kind != CLI_LIST || !json_is_array(v))
        return set_one(t, o, base, v, where);
    for (size_t i = 0; i < json_array_size(v); i++)
        if (!set_one(t, o, base, json_array_get(v, i), where))
            return false;
    return true;
}

bool cli_read_config(cli *t, void *opts, const char *path)
{
    mcs_error e = { 0 };
    json_t *root = cli_read_json(path, &e);
    if (!root) {
        cli_error(t, CLI_BAD_USAGE, "--config: %s", e.message);
        return false;
    }
    const json_t *settings = json_object_get(root, "settings"); /* a run.json */
    const json_t *from = json_is_object(settings) ? settings : root;
    char where[300];
    snprintf(where, sizeof where, "%s: ", path);
    bool ok = json_is_object(from);
    if (!ok)
        cli_error(t, CLI_BAD_USAGE, "%sexpected a JSON object of options by flag name", where);
    const char *key;
    json_t *v;
    for (void *it = json_object_iter((json_t *)(uintptr_t)from); ok && it;
         it = json_object_iter_next((json_t *)(uintptr_t)from, it)) {
        key = json_object_iter_key(it);
        v = json_object_iter_value(it);
        ok = set_from(t, opts, key, v, where);
    }
    json_decref(root);
    return ok;
}
