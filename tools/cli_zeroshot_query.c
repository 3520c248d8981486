/* cli_zeroshot_query.c - what to look for in one picture. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "tools/cli_zeroshot.h"

enum { MAX_BOXES = 10000 };

/* By relative path, by file name, by name without extension. */
static json_t *lookup(const json_t *by_picture, const cli_input *in)
{
    const char *slash = strrchr(in->rel, '/'), *name = slash ? slash + 1 : in->rel;
    json_t *v = json_object_get(by_picture, in->rel);
    if (!v)
        v = json_object_get(by_picture, name);
    if (!v)
        v = json_object_get(by_picture, in->stem);
    return v;
}

static mcs_status picture_boxes(const json_t *v, const char *rel, zs_queries *q, int *count,
                                mcs_error *e)
{
    size_t n = json_array_size(v);
    json_t *wrapped = NULL;
    if (n == 4 && json_is_number(json_array_get(v, 0)))
        n = 1, wrapped = json_pack("[O]", v); /* one box without the outer list */
    const json_t *list = wrapped ? wrapped : v;
    q->boxes = n && n <= MAX_BOXES ? malloc(n * sizeof *q->boxes) : NULL;
    bool ok = q->boxes != NULL;
    for (size_t i = 0; ok && i < n; i++) {
        double c[4];
        const json_t *one = json_array_get(list, i);
        ok = json_array_size(one) == 4;
        for (size_t k = 0; ok && k < 4; k++) {
            ok = json_is_number(json_array_get(one, k));
            c[k] = ok ? json_number_value(json_array_get(one, k)) : 0;
            ok = ok && fabs(c[k]) <= 1e6;
        }
        ok = ok && zs_make_box(c, &q->boxes[i]);
    }
    json_decref(wrapped);
    *count = (int)n;
    if (!ok)
        return mcs_error_set(e, MCS_EINVAL,
                             "%s: --boxes: expected [[x0,y0,x1,y1], ...] in pixels "
                             "with x0 < x1 and y0 < y1",
                             rel);
    return MCS_OK;
}

static void set_negatives(mcs_zeroshot_query *q, const cli_list *l, const mcs_tensor *embedding)
{
    q->negatives = (const char *const *)l->items;
    q->negative_count = l->count;
    q->negative_embedding = embedding;
}

static mcs_status picture_texts(const json_t *v, zs_queries *q, mcs_error *e)
{
    size_t n = json_is_array(v) ? json_array_size(v) : 1;
    q->texts = malloc(n * sizeof *q->texts);
    if (!q->texts)
        return mcs_error_set(e, MCS_ENOMEM, "out of memory");
    for (size_t i = 0; i < n; i++)
        q->texts[i] = json_string_value(json_is_array(v) ? json_array_get(v, i) : v);
    q->list[0].texts = q->texts;
    q->list[0].text_count = (int)n;
    return MCS_OK;
}

mcs_status zs_queries_make(const zs_task *task, const cli_input *in, zs_queries *q, mcs_error *e)
{
    *q = (zs_queries){ .count = task->class_count > 1 ? task->class_count : 1 };
    const json_t *boxes = task->box_json ? lookup(task->box_json, in) : NULL;
    const json_t *texts = task->prompt_json ? lookup(task->prompt_json, in) : NULL;
    bool given = task->box_count || task->point_count || boxes;
    if (given)
        q->count = 1;
    q->list = calloc((size_t)q->count, sizeof *q->list);
    if (!q->list)
        return mcs_error_set(e, MCS_ENOMEM, "out of memory");
    q->list[0].boxes = task->boxes;
    q->list[0].box_count = task->box_count;
    q->list[0].points = task->points;
    q->list[0].point_count = task->point_count;
    if (boxes) {
        mcs_status s = picture_boxes(boxes, in->rel, q, &q->list[0].box_count, e);
        q->list[0].boxes = q->boxes;
        return s;
    }
    if (given)
        return MCS_OK;
    if (texts) {
        set_negatives(&q->list[0], task->negatives, task->negative_embedding);
        return picture_texts(texts, q, e);
    }
    for (int i = 0; i < task->class_count; i++) {
        q->list[i].texts = (const char *const *)task->classes[i].texts.items;
        q->list[i].text_count = task->classes[i].texts.count;
        q->list[i].embedding = task->embeddings ? task->embeddings[i] : NULL;
        set_negatives(&q->list[i], &task->classes[i].negatives,
                      task->embeddings ? task->embeddings[task->class_count + i] : NULL);
    }
    if (!task->class_count)
        return mcs_error_set(e, MCS_ENOTFOUND, "%s: %s has no entry of that name", in->rel,
                             task->prompt_json ? "--prompt-json" : "--boxes");
    return MCS_OK;
}

void zs_queries_free(zs_queries *q)
{
    free(q->list);
    free(q->texts);
    free(q->boxes);
    *q = (zs_queries){ 0 };
}

static json_t *text_list(const char *const *texts, int count)
{
    json_t *list = json_array();
    for (int i = 0; i < count; i++)
        json_array_append_new(list, cli_json_text(texts[i]));
    return list;
}

static json_t *query_json(const mcs_zeroshot_query *q)
{
    json_t *j = json_object(), *list;
    if (q->box_count || q->point_count) {
        list = json_array();
        for (int i = 0; i < q->box_count; i++)
            json_array_append_new(list, json_pack("[f,f,f,f]", (double)q->boxes[i].x0,
                                                  (double)q->boxes[i].y0, (double)q->boxes[i].x1,
                                                  (double)q->boxes[i].y1));
        json_object_set_new(j, "boxes", list);
        list = json_array();
        for (int i = 0; i < q->point_count; i++)
            json_array_append_new(list, json_pack("[f,f,i]", (double)q->points[i].x,
                                                  (double)q->points[i].y, q->points[i].label));
        json_object_set_new(j, "points", list);
    } else if (q->text_count == 1) {
        json_object_set_new(j, "prompt", cli_json_text(q->texts[0]));
    } else {
        json_object_set_new(j, "prompt", text_list(q->texts, q->text_count));
    }
    if (q->negative_count && !q->box_count && !q->point_count)
        json_object_set_new(j, "negative", text_list(q->negatives, q->negative_count));
    return j;
}

/* A list of {"class", "prompt"} or {"boxes", "points"}, as results.jsonl shows it. */
json_t *zs_queries_json(const zs_task *task, const zs_queries *q)
{
    json_t *all = json_array();
    for (int i = 0; i < q->count; i++) {
        json_t *j = query_json(&q->list[i]);
        bool named = i < task->class_count && task->classes[i].name && q->list[i].text_count;
        if (named)
            json_object_set_new(j, "class", cli_json_text(task->classes[i].name));
        json_array_append_new(all, j);
    }
    return all;
}
