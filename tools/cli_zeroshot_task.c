/* cli_zeroshot_task.c - what to look for, from flags and files: prompts, classes, boxes, points. */
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "tools/cli_zeroshot.h"

enum { MAX_POINTS = 10000, MAX_TEXT = 1000000 };

/* ---- Numbers ---- */

/* Reads n finite numbers separated by commas; *end is where it stopped. */
static bool numbers(const char *text, int n, double *v, const char **end)
{
    for (int i = 0; i < n; i++) {
        char *stop;
        v[i] = strtod(text, &stop);
        if (stop == text || !isfinite(v[i]) || fabs(v[i]) > 1e6)
            return false;
        text = stop;
        if (i + 1 < n && *text++ != ',')
            return false;
    }
    *end = text;
    return true;
}

bool zs_make_box(const double v[4], mcs_zeroshot_box *box)
{
    *box = (mcs_zeroshot_box){ (float)v[0], (float)v[1], (float)v[2], (float)v[3] };
    return v[0] >= 0 && v[1] >= 0 && v[2] > v[0] && v[3] > v[1];
}

static int read_boxes(cli *t, const zs_opts *o, zs_task *task)
{
    if (!o->box.count)
        return CLI_CONTINUE;
    task->boxes = cli_own(t, malloc((size_t)o->box.count * sizeof *task->boxes));
    if (!task->boxes)
        return cli_error(t, CLI_NO_MEMORY, "out of memory");
    for (int i = 0; i < o->box.count; i++) {
        double v[4];
        const char *end;
        if (!numbers(o->box.items[i], 4, v, &end) || *end || !zs_make_box(v, &task->boxes[i]))
            return cli_error(t, CLI_BAD_USAGE,
                             "--box: '%s' is not X0,Y0,X1,Y1 in pixels with X0 < X1 and Y0 < Y1",
                             o->box.items[i]);
    }
    task->box_count = o->box.count;
    return CLI_CONTINUE;
}

static int read_points(cli *t, const zs_opts *o, zs_task *task)
{
    const char *at = o->points;
    if (!at)
        return CLI_CONTINUE;
    size_t most = 1;
    for (const char *s = at; *s; s++)
        most += *s == ';';
    task->points = most <= MAX_POINTS ? cli_own(t, malloc(most * sizeof *task->points)) : NULL;
    if (!task->points)
        return cli_error(t, CLI_BAD_USAGE, "--points: too many (at most %d)", MAX_POINTS);
    while (*at) {
        double v[2];
        const char *end;
        bool ok = numbers(at, 2, v, &end) && *end == ',' && (end[1] == '+' || end[1] == '-') &&
                  (end[2] == ';' || !end[2]) && v[0] >= 0 && v[1] >= 0;
        if (!ok)
            return cli_error(t, CLI_BAD_USAGE,
                             "--points: expected X,Y,+ or X,Y,- separated by "
                             "';' and found '%s'",
                             at);
        task->points[task->point_count++] =
            (mcs_zeroshot_point){ (float)v[0], (float)v[1], end[1] == '+' };
        at = end + 2;
        at += *at == ';';
    }
    return CLI_CONTINUE;
}

/* ---- Texts ---- */

static zs_class *class_named(cli *t, zs_task *task, const char *name, size_t n)
{
    for (int i = 0; i < task->class_count; i++) {
        zs_class *c = &task->classes[i];
        if (name ? c->name && strlen(c->name) == n && memcmp(c->name, name, n) == 0 : !c->name)
            return c;
    }
    zs_class *more = cli_own(t, malloc(((size_t)task->class_count + 1) * sizeof *more));
    char *copy = name ? cli_own(t, strndup(name, n)) : NULL;
    if (!more || (name && !copy))
        return NULL;
    if (task->class_count)
        memcpy(more, task->classes, (size_t)task->class_count * sizeof *more);
    task->classes = more;
    more[task->class_count] = (zs_class){ .name = copy };
    return &more[task->class_count++];
}

static int add_text(cli *t, zs_task *task, const char *name, size_t n, const char *text)
{
    if (!text[strspn(text, " \t\r\n")])
        return cli_error(t, CLI_BAD_USAGE, "a prompt is empty");
    if (strlen(text) > MAX_TEXT)
        return cli_error(t, CLI_BAD_USAGE, "a prompt is longer than %d bytes", MAX_TEXT);
    zs_class *c = class_named(t, task, name, n);
    if (!c || !cli_list_add(t, &c->texts, text))
        return cli_error(t, CLI_NO_MEMORY, "out of memory");
    return CLI_CONTINUE;
}

static int read_classes(cli *t, const zs_opts *o, zs_task *task)
{
    int code = CLI_CONTINUE;
    for (int i = 0; code == CLI_CONTINUE && i < o->classes.count; i++) {
        const char *both = o->classes.items[i], *equal = strchr(both, '=');
        if (!equal || equal == both)
            return cli_error(t, CLI_BAD_USAGE, "--class: '%s' is not NAME=TEXT", both);
        code = add_text(t, task, both, (size_t)(equal - both), equal + 1);
    }
    if (task->class_count > 255)
        return cli_error(t, CLI_BAD_USAGE, "--class: %d classes; a label map holds at most 255",
                         task->class_count);
    return code;
}

static int add_negative(cli *t, zs_class *c, const char *text)
{
    return cli_list_add(t, &c->negatives, text) ? CLI_CONTINUE
                                                : cli_error(t, CLI_NO_MEMORY, "out of memory");
}

/* Of every class: what --negative says, and with --rivals the texts of the others. */
static int read_negatives(cli *t, const zs_opts *o, zs_task *task)
{
    int code = CLI_CONTINUE;
    task->negatives = &o->negative;
    for (int i = 0; i < o->negative.count; i++) {
        const char *text = o->negative.items[i];
        if (!text[strspn(text, " \t\r\n")])
            return cli_error(t, CLI_BAD_USAGE, "--negative: a text is empty");
    }
    for (int i = 0; i < task->class_count; i++) {
        zs_class *c = &task->classes[i];
        for (int k = 0; k < o->negative.count && code == CLI_CONTINUE; k++)
            code = add_negative(t, c, o->negative.items[k]);
        for (int r = 0; o->rivals && r < task->class_count; r++)
            for (int k = 0; r != i && k < task->classes[r].texts.count && code == CLI_CONTINUE; k++)
                code = add_negative(t, c, task->classes[r].texts.items[k]);
    }
    return code;
}

static int read_prompt_file(cli *t, const char *path, zs_task *task)
{
    mcs_error e = { 0 };
    size_t size;
    char *text = cli_read_text(path, &size, &e);
    if (!text)
        return cli_error(t, CLI_BAD_USAGE, "--prompt-file: %s", e.message);
    int code = CLI_CONTINUE, found = 0;
    if (strlen(text) != size)
        code = cli_error(t, CLI_BAD_USAGE, "--prompt-file: %s: contains NUL bytes", path);
    for (char *at = text; code == CLI_CONTINUE && *at;) {
        size_t n = strcspn(at, "\r\n");
        char *next = at + n + (at[n] != 0);
        at[n] = 0;
        if (at[strspn(at, " \t")]) {
            code = add_text(t, task, NULL, 0, at);
            found++;
        }
        at = next;
    }
    free(text);
    if (code == CLI_CONTINUE && !found)
        code = cli_error(t, CLI_BAD_USAGE, "--prompt-file: %s: no prompt in it", path);
    return code;
}

/* One text or a list of texts. */
static bool is_texts(const json_t *v)
{
    if (json_is_string(v))
        return json_string_length(v) > 0 && json_string_length(v) <= MAX_TEXT;
    if (!json_is_array(v) || !json_array_size(v) || json_array_size(v) > 10000)
        return false;
    for (size_t i = 0; i < json_array_size(v); i++)
        if (!json_is_string(json_array_get(v, i)) || !is_texts(json_array_get(v, i)))
            return false;
    return true;
}

static int read_prompt_json(cli *t, const char *path, zs_task *task)
{
    mcs_error e = { 0 };
    task->prompt_json = cli_read_json(path, &e);
    if (!task->prompt_json)
        return cli_error(t, CLI_BAD_USAGE, "--prompt-json: %s", e.message);
    json_t *all = json_object_get(task->prompt_json, "prompts"), *v;
    int code = CLI_CONTINUE;
    const char *key;
    if (!json_is_object(task->prompt_json))
        code = cli_error(t, CLI_BAD_USAGE, "--prompt-json: %s: expected an object", path);
    else
        json_object_foreach(task->prompt_json, key, v)
        {
            if (!is_texts(v) && v != all)
                return cli_error(t, CLI_BAD_USAGE,
                                 "--prompt-json: %s: '%s': expected a text or a list of texts",
                                 path, key);
        }
    if (code != CLI_CONTINUE || !json_is_array(all) || !is_texts(all))
        return code;
    for (size_t i = 0; code == CLI_CONTINUE && i < json_array_size(all); i++)
        code = add_text(t, task, NULL, 0, json_string_value(json_array_get(all, i)));
    json_decref(task->prompt_json);
    task->prompt_json = NULL;
    return code;
}

static int read_box_json(cli *t, const char *path, zs_task *task)
{
    mcs_error e = { 0 };
    task->box_json = cli_read_json(path, &e);
    if (!task->box_json)
        return cli_error(t, CLI_BAD_USAGE, "--boxes: %s", e.message);
    if (!json_is_object(task->box_json))
        return cli_error(t, CLI_BAD_USAGE, "--boxes: %s: expected an object by picture", path);
    return CLI_CONTINUE;
}

bool zs_task_needs_text(const zs_task *task)
{
    return !task->box_count && !task->point_count && (task->class_count || task->prompt_json);
}

static int check_task(cli *t, const zs_opts *o, const zs_task *task)
{
    bool given = task->box_count || task->point_count;
    bool text = task->class_count || task->prompt_json;
    if (!given && !text && !task->box_json)
        return cli_error(t, CLI_BAD_USAGE,
                         "nothing to look for: give --prompt TEXT, --class "
                         "NAME=TEXT, --prompt-json FILE, --box or --points");
    if (o->classes.count && (o->prompt.count || o->prompt_file || o->prompt_json))
        return cli_error(t, CLI_BAD_USAGE,
                         "--class does not go with --prompt, --prompt-file and "
                         "--prompt-json: give every text as --class NAME=TEXT");
    if (o->rivals && (!o->classes.count || task->class_count < 2))
        return cli_error(t, CLI_BAD_USAGE, "--rivals needs at least two --class NAME=TEXT");
    if (o->negative.count && (given || !text))
        return cli_error(t, CLI_BAD_USAGE,
                         "--negative goes with texts; boxes and points skip the text stage");
    if ((given || task->box_json) && !o->sam)
        return cli_error(t, CLI_BAD_USAGE, "boxes and points are prompts of SAM: give --sam FILE");
    if (!given && text && !o->clip)
        return cli_error(t, CLI_BAD_USAGE, "texts need BiomedCLIP: give --clip FILE");
    return CLI_CONTINUE;
}

int zs_task_read(cli *t, const zs_opts *o, zs_task *task)
{
    int code = read_boxes(t, o, task);
    if (code == CLI_CONTINUE)
        code = read_points(t, o, task);
    if (code == CLI_CONTINUE)
        code = read_classes(t, o, task);
    for (int i = 0; code == CLI_CONTINUE && i < o->prompt.count; i++)
        code = add_text(t, task, NULL, 0, o->prompt.items[i]);
    if (code == CLI_CONTINUE && o->prompt_file)
        code = read_prompt_file(t, o->prompt_file, task);
    if (code == CLI_CONTINUE && o->prompt_json)
        code = read_prompt_json(t, o->prompt_json, task);
    if (code == CLI_CONTINUE && o->boxes)
        code = read_box_json(t, o->boxes, task);
    if (code == CLI_CONTINUE)
        code = read_negatives(t, o, task);
    return code == CLI_CONTINUE ? check_task(t, o, task) : code;
}

static const mcs_tensor *embed_list(zs_task *task, const mcs_medclip_sam *m, const cli_list *l)
{
    if (!l->count)
        return NULL;
    return mcs_medclip_sam_text(task->text_ctx, m, (const char *const *)l->items, l->count);
}

int zs_task_embed(cli *t, zs_task *task, const mcs_medclip_sam *m)
{
    int code = CLI_CONTINUE, n = task->class_count;
    if (!zs_task_needs_text(task))
        return code;
    task->text_ctx = cli_context(t, false, &code);
    task->embeddings = cli_own(t, calloc(2 * (size_t)n + 1, sizeof(mcs_tensor *)));
    if (!task->text_ctx || !task->embeddings)
        return code == CLI_CONTINUE ? cli_error(t, CLI_NO_MEMORY, "out of memory") : code;
    for (int i = 0; i < n; i++) {
        task->embeddings[i] = embed_list(task, m, &task->classes[i].texts);
        task->embeddings[n + i] = embed_list(task, m, &task->classes[i].negatives);
    }
    if (task->prompt_json)
        task->negative_embedding = embed_list(task, m, task->negatives);
    if (mcs_ctx_status(task->text_ctx) != MCS_OK)
        return cli_die(t, mcs_ctx_error(task->text_ctx), true);
    return CLI_CONTINUE;
}

void zs_task_free(zs_task *task)
{
    json_decref(task->prompt_json);
    json_decref(task->box_json);
    mcs_ctx_free(task->text_ctx);
}
