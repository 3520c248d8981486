/* cli_reproduce_plan.c - reads and checks the description; {NAME} in its strings.
 *
 * An unknown key is an error, for a misspelt one would silently run something else. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "tools/cli_reproduce.h"

static int wrong(const rp_work *w, const char *fmt, const char *a, const char *b)
{
    char text[600];
    snprintf(text, sizeof text, fmt, a, b ? b : "");
    return cli_error(w->t, CLI_BAD_USAGE, "%s: %s", w->o->plan.items[0], text);
}

const char *rp_text(const json_t *object, const char *key, const char *otherwise)
{
    const char *s = json_string_value(json_object_get(object, key));
    return s ? s : otherwise;
}

int rp_plan_seed(const rp_work *w, int i)
{
    const json_t *seed = json_array_get(json_object_get(w->plan, "seeds"), (size_t)i);
    return seed ? (int)json_integer_value(seed) : (int)w->t->seed;
}

/* ---- {NAME} ---- */

static const char *placeholder(const rp_work *w, const char *name, size_t n, const char *out,
                               int seed, char number[16])
{
    char key[128];
    if (n >= sizeof key)
        return NULL;
    memcpy(key, name, n);
    key[n] = 0;
    snprintf(number, 16, "%d", seed);
    if (strcmp(key, "seed") == 0)
        return number;
    if (strcmp(key, "here") == 0)
        return w->here;
    if (strcmp(key, "mini") == 0)
        return w->mini;
    if (strcmp(key, "out") == 0)
        return out;
    return rp_text(w->places, key, NULL);
}

/* {prep:NAME}: the folder of a step, "prepare/NAME-HASH" below root. */
static bool put_prepared(const rp_work *w, cli_html *h, const char *name, size_t n,
                         const char *root)
{
    char key[128];
    if (n >= sizeof key)
        return false;
    memcpy(key, name, n);
    key[n] = 0;
    const char *folder = rp_text(w->prepared, key, NULL);
    if (!folder)
        return false;
    cli_html_raw(h, root);
    cli_html_raw(h, "/");
    cli_html_raw(h, folder);
    return true;
}

static void put_bytes(cli_html *h, const char *text, size_t n)
{
    char one[2] = { 0 };
    for (size_t i = 0; i < n; i++) {
        one[0] = text[i];
        cli_html_raw(h, one);
    }
}

char *rp_expand(const rp_work *w, const char *text, const char *root, const char *out, int seed)
{
    cli_html h = { 0 };
    char number[16];
    cli_html_raw(&h, "");
    while (*text && !h.failed) {
        size_t plain = strcspn(text, "{");
        put_bytes(&h, text, plain);
        text += plain;
        if (!*text)
            break;
        size_t n = strcspn(text + 1, "}");
        const char *value = placeholder(w, text + 1, n, out, seed, number);
        bool prepared = strncmp(text + 1, "prep:", 5) == 0 && n > 5 &&
                        put_prepared(w, &h, text + 6, n - 5, root);
        if (text[1 + n] != '}' || (!value && !prepared)) {
            free(h.text);
            wrong(w, "no value for '%s': give it under places or by --set NAME=VALUE%s", text, "");
            return NULL;
        }
        if (value && !prepared)
            cli_html_raw(&h, value);
        text += n + 2;
    }
    if (h.failed)
        cli_error(w->t, CLI_NO_MEMORY, "out of memory");
    return h.failed ? NULL : h.text;
}

bool rp_args_add(rp_args *a, const char *text)
{
    char **v = realloc(a->v, (size_t)(a->count + 2) * sizeof *v);
    char *copy = v ? strdup(text) : NULL;
    if (v)
        a->v = v;
    if (!copy)
        return false;
    v[a->count++] = copy;
    v[a->count] = NULL;
    return true;
}

bool rp_args_json(const rp_work *w, rp_args *a, const json_t *list, const char *root,
                  const char *out, int seed)
{
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *v = json_array_get(list, i);
        char number[40];
        if (json_is_integer(v))
            snprintf(number, sizeof number, "%lld", (long long)json_integer_value(v));
        else
            snprintf(number, sizeof number, "%.9g", json_number_value(v));
        char *text = json_is_string(v) ? rp_expand(w, json_string_value(v), root, out, seed)
                                       : strdup(number);
        bool ok = text && rp_args_add(a, text);
        free(text);
        if (!ok)
            return false;
    }
    return true;
}

void rp_args_free(rp_args *a)
{
    for (int i = 0; i < a->count; i++)
        free(a->v[i]);
    free(a->v);
    *a = (rp_args){ 0 };
}

/* ---- Checks ---- */

/* Keys of an object must be among "a|b|c". */
static int check_keys(const rp_work *w, const json_t *object, const char *what, const char *allowed)
{
    const char *key;
    json_t *value;
    if (!json_is_object(object))
        return wrong(w, "%s: expected an object%s", what, "");
    json_object_foreach((json_t *)(uintptr_t)object, key, value)
    {
        char bar[140];
        snprintf(bar, sizeof bar, "|%s|", key);
        (void)value;
        if (!strstr(allowed, bar))
            return wrong(w, "%s has no key '%s'", what, key);
    }
    return CLI_CONTINUE;
}

/* A name becomes a folder. */
static int check_name(const rp_work *w, const json_t *object, const char *what)
{
    const char *name = rp_text(object, "name", "");
    size_t n = strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_");
    if (n == 0 || n > 60 || name[n])
        return wrong(w, "%s: name '%s': expected letters, digits, - and _", what, name);
    return CLI_CONTINUE;
}

static int check_list(const rp_work *w, const json_t *object, const char *key)
{
    const json_t *list = json_object_get(object, key);
    if (!list)
        return CLI_CONTINUE;
    for (size_t i = 0; i < json_array_size(list); i++)
        if (!json_is_string(json_array_get(list, i)) && !json_is_number(json_array_get(list, i)))
            return wrong(w, "%s: expected a list of strings and numbers%s", key, "");
    return json_is_array(list) ? CLI_CONTINUE : wrong(w, "%s: expected a list%s", key, "");
}

static int find_method(const rp_work *w, const char *name)
{
    for (int m = 0; m < w->method_count; m++)
        if (strcmp(w->methods[m].name, name) == 0)
            return m;
    return -1;
}

static int read_method(rp_work *w, const json_t *j)
{
    rp_method *m = &w->methods[w->method_count];
    const char *learns = rp_text(j, "learns_from", NULL);
    int code = check_keys(w, j, "a method",
                          "|name|title|zeroshot|result|learns_from|train|predict|weights|");
    code = code == CLI_CONTINUE ? check_name(w, j, "methods") : code;
    const char *const lists[] = { "zeroshot", "train", "predict" };
    for (int i = 0; i < 3 && code == CLI_CONTINUE; i++)
        code = check_list(w, j, lists[i]);
    if (code != CLI_CONTINUE)
        return code;
    *m = (rp_method){ .name = rp_text(j, "name", NULL), .json = j, .base = -1 };
    m->title = rp_text(j, "title", m->name);
    m->masks = rp_text(j, "result", NULL);
    if (find_method(w, m->name) >= 0)
        return wrong(w, "two methods are called '%s'%s", m->name, "");
    if (!learns == !json_object_get(j, "zeroshot"))
        return wrong(w, "method '%s': give either zeroshot or learns_from%s", m->name, "");
    if (m->masks && strcmp(m->masks, "masks") != 0 && strcmp(m->masks, "coarse") != 0)
        return wrong(w, "method '%s': result is masks or coarse, not '%s'", m->name, m->masks);
    m->base = learns ? find_method(w, learns) : -1;
    if (learns && (m->base < 0 || w->methods[m->base].base >= 0))
        return wrong(w, "method '%s' learns from '%s': expected a zero-shot method above it",
                     m->name, learns);
    w->method_count++;
    return CLI_CONTINUE;
}

static int read_set(rp_work *w, const json_t *j)
{
    rp_set *s = &w->sets[w->set_count];
    int code = check_keys(w, j, "a set",
                          "|name|title|images|masks|mask_suffix|boxes|options|train_images|"
                          "train_masks|count|train_count|");
    code = code == CLI_CONTINUE ? check_name(w, j, "sets") : code;
    code = code == CLI_CONTINUE ? check_list(w, j, "options") : code;
    if (code != CLI_CONTINUE)
        return code;
    *s = (rp_set){ .name = rp_text(j, "name", NULL), .json = j };
    s->title = rp_text(j, "title", s->name);
    for (int i = 0; i < w->set_count; i++)
        if (strcmp(w->sets[i].name, s->name) == 0 || strcmp(s->name, "all") == 0)
            return wrong(w, "sets: the name '%s' is taken%s", s->name, "");
    const char *boxes = rp_text(j, "boxes", "");
    if (*boxes && strcmp(boxes, "truth") != 0 && strcmp(boxes, "truth-parts") != 0)
        return wrong(w, "set '%s': boxes is truth or truth-parts, not '%s'", s->name, boxes);
    if (!rp_text(j, "images", NULL) || !rp_text(j, "masks", NULL))
        return wrong(w, "set '%s': images and masks are needed%s", s->name, "");
    w->set_count++;
    return CLI_CONTINUE;
}

/* ---- The whole ---- */

static int read_lists(rp_work *w)
{
    const json_t *sets = json_object_get(w->plan, "sets");
    const json_t *methods = json_object_get(w->plan, "methods");
    size_t ns = json_array_size(sets), nm = json_array_size(methods);
    int code = check_list(w, w->plan, "seeds");
    if (code == CLI_CONTINUE && (ns < 1 || nm < 1 || ns > 1000 || nm > 1000))
        return wrong(w, "%s and methods: expected lists of 1 to 1000%s", "sets", "");
    w->sets = calloc(ns, sizeof *w->sets);
    w->methods = calloc(nm, sizeof *w->methods);
    w->cells = calloc(ns * nm, sizeof *w->cells);
    if (!w->sets || !w->methods || !w->cells)
        return cli_error(w->t, CLI_NO_MEMORY, "out of memory");
    for (size_t i = 0; i < nm && code == CLI_CONTINUE; i++)
        code = read_method(w, json_array_get(methods, i));
    for (size_t i = 0; i < ns && code == CLI_CONTINUE; i++)
        code = read_set(w, json_array_get(sets, i));
    size_t seeds = json_array_size(json_object_get(w->plan, "seeds"));
    w->seed_count = seeds ? (int)seeds : 1;
    return code;
}

/* places of the description, then --set; paths to the description and to the shipped models. */
static int read_places(rp_work *w)
{
    const char *plan = w->o->plan.items[0], *slash = strrchr(plan, '/');
    const char *mini = cli_shipped(w->t, NULL, "clip.safetensors");
    w->places = json_deep_copy(json_object_get(w->plan, "places"));
    if (!w->places)
        w->places = json_object();
    w->prepared = json_object();
    for (int i = 0; i < w->o->places.count; i++) {
        char *text = cli_keep(w->t, w->o->places.items[i]), *is = text ? strchr(text, '=') : NULL;
        if (!is)
            return cli_error(w->t, CLI_BAD_USAGE, "--set %s: expected NAME=VALUE",
                             w->o->places.items[i]);
        *is = 0;
        if (json_object_set_new(w->places, text, json_string(is + 1)) != 0)
            return cli_error(w->t, CLI_BAD_USAGE, "--set %s: not UTF-8", text);
    }
    char *here = cli_keep(w->t, plan), *models = mini ? cli_keep(w->t, mini) : NULL;
    if (here && slash)
        here[slash - plan] = 0;
    if (models)
        *strrchr(models, '/') = 0;
    w->here = slash ? here : ".";
    w->mini = models;
    return CLI_CONTINUE;
}

static int check_only(const rp_work *w)
{
    for (int i = 0; i < w->o->only.count; i++) {
        bool known = find_method(w, w->o->only.items[i]) >= 0;
        for (int s = 0; s < w->set_count; s++)
            known = known || strcmp(w->sets[s].name, w->o->only.items[i]) == 0;
        if (!known)
            return wrong(w, "--only %s: no set or method of that name%s", w->o->only.items[i], "");
    }
    return CLI_CONTINUE;
}

int rp_plan_read(rp_work *w)
{
    mcs_error e = { 0 };
    w->plan = cli_read_json(w->o->plan.items[0], &e);
    if (!w->plan)
        return cli_die(w->t, &e, false);
    int code =
        check_keys(w, w->plan, "the description",
                   "|title|about|places|seeds|prepare|sets|methods|tables|compare|published|");
    if (code == CLI_CONTINUE)
        code = read_places(w);
    if (code == CLI_CONTINUE)
        code = read_lists(w);
    return code == CLI_CONTINUE ? check_only(w) : code;
}

/* --only names sets, methods or both: of each kind that is named, the named ones. */
bool rp_wanted(const rp_work *w, const rp_set *s, const rp_method *m)
{
    bool set_named = false, method_named = false, set_is = false, method_is = false;
    for (int i = 0; i < w->o->only.count; i++) {
        const char *name = w->o->only.items[i];
        bool method = find_method(w, name) >= 0;
        method_named = method_named || method;
        set_named = set_named || !method;
        set_is = set_is || strcmp(s->name, name) == 0;
        method_is = method_is || strcmp(m->name, name) == 0;
    }
    return (set_is || !set_named) && (method_is || !method_named);
}
