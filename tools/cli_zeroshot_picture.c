/* cli_zeroshot_picture.c - one picture from file to line of results.jsonl.  The line is appended
 * when all files are written: it is what makes the picture done. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "tools/cli_zeroshot.h"

/* The earlier line for this input, if it still holds. */
static bool is_finished(const zs_run *r, const cli_input *in, const char *sha256, const char *hash)
{
    json_t *key = cli_json_text(in->rel);
    const json_t *line = json_object_get(r->job.finished, json_string_value(key));
    const char *was = json_string_value(json_object_get(line, "sha256"));
    const char *how = json_string_value(json_object_get(line, "settings"));
    const char *mask = json_string_value(json_object_get(line, "mask"));
    json_decref(key);
    if (!was || !how || strcmp(was, sha256) != 0 || strcmp(how, hash) != 0)
        return false;
    if (!mask)
        return true;
    char *path = cli_join(r->o->out, mask, "");
    mcs_error e = { 0 };
    mcs_image *im = path ? mcs_image_read(path, &e) : NULL;
    bool opens = im && im->width == json_integer_value(json_object_get(line, "width")) &&
                 im->height == json_integer_value(json_object_get(line, "height"));
    mcs_image_free(im);
    free(path);
    return opens;
}

static void empty_mask(mcs_zeroshot_result *res)
{
    if (res->mask)
        memset(res->mask, 0, (size_t)res->width * (size_t)res->height);
    res->mask_area = 0;
}

/* --min-clip-score and --min-iou let a picture be empty: the method itself always finds something. */
static bool reject_weak(const zs_opts *o, mcs_zeroshot_result *res)
{
    float best = 0.0f;
    int n = res->box_count ? res->box_count : 1;
    for (int i = 0; res->iou_pred && i < n; i++)
        best = res->iou_pred[i] > best ? res->iou_pred[i] : best;
    bool weak = (o->min_clip_score > -1.0f && res->clip_score < o->min_clip_score) ||
                (o->min_iou > 0.0f && res->iou_pred && best < o->min_iou);
    if (weak)
        empty_mask(res);
    return weak;
}

static void set_real(json_t *j, const char *key, double v)
{
    if (isfinite(v))
        json_object_set_new(j, key, json_real(v));
}

static json_t *floats(const float *v, int n)
{
    json_t *a = json_array();
    for (int i = 0; v && i < n; i++)
        json_array_append_new(a, isfinite(v[i]) ? json_real((double)v[i]) : json_null());
    return a;
}

static void result_json(json_t *j, const mcs_zeroshot_result *res)
{
    static const char *const stages[] = { "prepare", "text",       "saliency",
                                          "coarse",  "sam_encode", "sam_decode" };
    json_t *boxes = json_array(), *seconds = json_object();
    int masks = res->box_count ? res->box_count : res->point_count ? 1 : 0;
    for (int i = 0; i < res->box_count; i++)
        json_array_append_new(boxes, json_pack("[f,f,f,f]", (double)res->boxes[i].x0,
                                               (double)res->boxes[i].y0, (double)res->boxes[i].x1,
                                               (double)res->boxes[i].y1));
    set_real(j, "clip_score", (double)res->clip_score);
    if (res->saliency) {
        json_t *cam = json_object();
        set_real(cam, "max", (double)res->cam_max);
        set_real(cam, "mean", (double)res->cam_mean);
        set_real(cam, "nonsense_corr", (double)res->nonsense_corr);
        json_object_set_new(j, "cam", cam);
        json_object_set_new(j, "coarse_area", json_integer(res->coarse_area));
        json_object_set_new(j, "coarse_empty", json_boolean(res->coarse_empty));
    }
    json_object_set_new(j, "sam_boxes", boxes);
    if (res->mask) {
        json_object_set_new(j, "iou_pred", floats(res->iou_pred, masks));
        json_object_set_new(j, "stability", floats(res->stability, masks));
        json_object_set_new(j, "area", json_integer(res->mask_area));
    }
    for (int i = 0; i < MCS_STAGE_COUNT; i++)
        json_object_set_new(seconds, stages[i], json_real(res->seconds[i]));
    json_object_set_new(j, "seconds", seconds);
}

/* One query: its fields stand in the line itself; several: in a list "classes". */
static void describe(const zs_run *r, json_t *line, const zs_queries *q, mcs_zeroshot_result *res)
{
    json_t *queries = zs_queries_json(&r->task, q), *classes = json_array();
    for (int i = 0; i < q->count; i++) {
        json_t *j = json_array_get(queries, (size_t)i);
        bool weak = reject_weak(r->o, &res[i]);
        result_json(j, &res[i]);
        if (weak)
            json_object_set_new(j, "rejected", json_true());
        if (q->count == 1)
            json_object_update(line, j);
        else
            json_array_append(classes, j);
    }
    if (q->count > 1)
        json_object_set(line, "classes", classes);
    json_decref(classes);
    json_decref(queries);
}

static void warn_prompt(const zs_run *r, const cli_input *in, const mcs_zeroshot_result *res, int n)
{
    for (int i = 0; r->o->z.check_prompt && i < n; i++)
        if (res[i].nonsense_corr > 0.9f)
            cli_warn(r->t,
                     "%s: the map hardly depends on the prompt (correlation %.2f with the map of a "
                     "nonsense prompt)",
                     in->rel, (double)res[i].nonsense_corr);
}

/* What decides the result: settings and weights (job.settings_hash), and the queries. */
static void hash_task(const zs_run *r, zs_picture *p)
{
    json_t *queries = zs_queries_json(&r->task, &p->q);
    char *text = json_dumps(queries, JSON_COMPACT | JSON_SORT_KEYS);
    cli_sha256 s;
    cli_sha256_begin(&s);
    cli_sha256_add(&s, r->job.settings_hash, 64);
    if (text)
        cli_sha256_add(&s, text, strlen(text));
    cli_sha256_hex(&s, p->hash);
    free(text);
    json_decref(queries);
}

static mcs_status save_picture(zs_run *r, zs_picture *p, const mcs_image *rgb,
                               const mcs_zeroshot_result *res, mcs_error *e)
{
    mcs_status s = zs_save(r, p->in, rgb, res, p->q.count, p->line, e);
    if (s == MCS_OK)
        s = cli_jsonl_append(r->job.results_fd, r->job.results_path, p->line, e);
    p->output_failed = s != MCS_OK;
    return s;
}

static mcs_status segment(zs_run *r, zs_picture *p, const mcs_image *rgb, mcs_error *e)
{
    double start = cli_clock();
    mcs_zeroshot_result *res =
        mcs_medclip_sam_run(r->ctx, r->model, rgb, &r->o->z, p->q.count, p->q.list);
    if (!res)
        return mcs_error_set(e, mcs_ctx_status(r->ctx), "%s: %s", p->in->rel,
                             mcs_ctx_message(r->ctx));
    describe(r, p->line, &p->q, res);
    set_real(p->line, "seconds_total", cli_clock() - start);
    warn_prompt(r, p->in, res, p->q.count);
    mcs_status s = save_picture(r, p, rgb, res, e);
    mcs_zeroshot_results_free(res, p->q.count);
    return s;
}

mcs_status zs_work_on(zs_run *r, zs_picture *p, mcs_error *e)
{
    const cli_input *in = p->in;
    mcs_status s = cli_sha256_file(in->path, p->sha256, e);
    if (s != MCS_OK)
        return s;
    s = zs_queries_make(&r->task, in, &p->q, e);
    if (s != MCS_OK)
        return s;
    hash_task(r, p);
    p->skipped = r->job.finished && is_finished(r, in, p->sha256, p->hash);
    if (p->skipped)
        return MCS_OK;
    mcs_image *file = mcs_image_read(in->path, e);
    mcs_image *eight = file ? zs_window(r, file, p->line, e) : NULL;
    mcs_image *rgb = eight ? mcs_image_to_rgb(eight, e) : NULL;
    mcs_image_free(file);
    mcs_image_free(eight);
    if (!rgb)
        return e->status;
    json_object_set_new(p->line, "input", cli_json_text(in->rel));
    json_object_set_new(p->line, "path", cli_json_text(in->path));
    json_object_set_new(p->line, "sha256", json_string(p->sha256));
    json_object_set_new(p->line, "settings", json_string(p->hash));
    json_object_set_new(p->line, "width", json_integer(rgb->width));
    json_object_set_new(p->line, "height", json_integer(rgb->height));
    s = segment(r, p, rgb, e);
    mcs_image_free(rgb);
    return s;
}
