/* cli_unet_data.c - pictures and masks, paired by relative name.
 *
 * All of both are read once at the start, so that what is wrong with them is said before hours of
 * training, and what the masks' values mean is decided for all of them together. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "tools/cli_unet.h"

typedef struct {
    cli *t;
    const un_opts *o;
    un_data *d;
    un_survey *survey;
    un_quality quality;
    bool judge; /* by SAM's estimates */
    json_t *used; /* paths of masks that belong to a picture */
    const char *folder; /* of masks */
    bool one_folder; /* the pictures' own: NAME.png and NAME_mask.png */
    int64_t listed, said;
} reader;

enum { SAY_AT_MOST = 10 };

static void note(reader *r, const char *input, const char *why)
{
    if (r->said++ < SAY_AT_MOST)
        cli_warn(r->t, "%s", why);
    else if (r->said == SAY_AT_MOST + 1)
        cli_warn(r->t, "further ones are not printed; errors.jsonl lists all");
    json_array_append_new(r->d->problems, json_pack("{s:o, s:o}", "input", cli_json_text(input),
                                                    "error", cli_json_text(why)));
}

static void leave_out(reader *r, const char *input, const char *why)
{
    cli_detail(r->t, "%s: left out: %s", input, why);
    json_array_append_new(r->d->left_out, json_pack("{s:o, s:o}", "input", cli_json_text(input),
                                                    "reason", cli_json_text(why)));
}

/* ---- One picture ---- */

static uint64_t hash_of(const cli_grid *g)
{
    uint64_t h = UINT64_C(1469598103934665603);
    for (size_t i = 0; i < (size_t)g->width * (size_t)g->height; i++)
        h = (h ^ g->value[i]) * UINT64_C(1099511628211);
    return h;
}

/* Of another size it may be, of another shape not: it is another picture's then. */
static mcs_status check_shape(const un_picture *p, const cli_grid *g, mcs_error *e)
{
    double a = (double)p->width / p->height, b = (double)g->width / g->height;
    if (fabs(a / b - 1) < 0.03)
        return MCS_OK;
    return mcs_error_set(e, MCS_EFORMAT,
                         "%s: is %d x %d pixels, the picture %d x %d: another shape", p->mask,
                         g->width, g->height, p->width, p->height);
}

static mcs_status survey(reader *r, un_picture *p, mcs_error *e)
{
    cli_grid g;
    mcs_status s = cli_grid_read(p->mask, &g, e);
    if (s == MCS_OK)
        s = check_shape(p, &g, e);
    if (s == MCS_OK) {
        un_survey_add(r->survey, &g);
        r->survey->resized += g.width != p->width || g.height != p->height;
        p->hash = hash_of(&g);
        for (size_t i = 0; i < (size_t)g.width * (size_t)g.height; i++)
            p->top = g.value[i] > p->top ? g.value[i] : p->top;
    }
    free(g.value);
    return s;
}

/* Why the picture is not wanted, or NULL; sets its weight. */
static const char *judge(const reader *r, un_picture *p)
{
    double q = r->judge ? un_quality_of(&r->quality, p->mask) : -1;
    p->weight = 1;
    if (!r->judge)
        return NULL;
    if (q < -1.5)
        return "zeroshot_seg rejected its mask";
    if ((r->o->min_iou > 0 || r->o->weight_iou) && q < 0)
        return "SAM's estimate is not known";
    if (q < (double)r->o->min_iou && r->o->min_iou > 0)
        return "SAM's estimate is below --min-iou";
    if (r->o->weight_iou && q <= 0)
        return "SAM's estimate is 0";
    if (r->o->weight_iou)
        p->weight = (float)fmin(q, 1);
    return NULL;
}

static mcs_status one_picture(reader *r, const cli_input *in, un_picture *p, const char **unwanted,
                              mcs_error *e)
{
    p->mask = cli_mask_find(r->folder, in);
    if (!p->mask)
        return mcs_error_set(e, MCS_ENOTFOUND, "%s: no mask of the name %s", in->path, in->stem);
    json_t *key = cli_json_text(p->mask);
    json_object_set_new(r->used, json_string_value(key), json_true());
    json_decref(key);
    *unwanted = judge(r, p);
    if (*unwanted)
        return MCS_OK;
    mcs_image *im = mcs_image_read(in->path, e);
    if (!im)
        return e->status;
    p->width = im->width;
    p->height = im->height;
    mcs_image_free(im);
    p->path = strdup(in->path);
    p->rel = strdup(in->rel);
    if (!p->path || !p->rel)
        return mcs_error_set(e, MCS_ENOMEM, "out of memory");
    return survey(r, p, e);
}

static void drop(un_picture *p)
{
    free(p->path);
    free(p->rel);
    free(p->mask);
    free(p->labels);
    mcs_image_free(p->pixels);
    *p = (un_picture){ 0 };
}

/* ---- Folders ---- */

static bool make_room(un_data *d)
{
    if (d->count < d->room)
        return true;
    int64_t want = d->room ? d->room * 2 : 64;
    un_picture *grown = realloc(d->items, (size_t)want * sizeof *grown);
    if (!grown)
        return false;
    d->items = grown;
    d->room = want;
    return true;
}

static int next_picture(reader *r, const cli_input *in)
{
    mcs_error e = { 0 };
    const char *unwanted = NULL;
    if (r->one_folder && strstr(in->stem, "_mask"))
        return CLI_CONTINUE;
    if (!make_room(r->d))
        return cli_error(r->t, CLI_NO_MEMORY, "out of memory");
    un_picture *p = &r->d->items[r->d->count];
    *p = (un_picture){ 0 };
    r->listed++;
    mcs_status s = one_picture(r, in, p, &unwanted, &e);
    if (s == MCS_OK && !unwanted) {
        r->d->count++;
        return CLI_CONTINUE;
    }
    if (unwanted)
        leave_out(r, in->rel, unwanted);
    else if (s == MCS_ENOMEM && strstr(e.message, "out of memory"))
        return cli_die(r->t, &e, false);
    else
        note(r, in->rel, e.message);
    drop(p);
    return CLI_CONTINUE;
}

/* Masks that no picture has: a name is misspelt, or the folders do not belong together. */
static int note_orphans(reader *r)
{
    mcs_error e = { 0 };
    cli_inputs in = { 0 };
    const cli_list paths = { .items = (char *[]){ (char *)(uintptr_t)r->folder }, .count = 1 };
    const cli_inputs_query query = { .paths = &paths, .recursive = r->o->recursive };
    if (r->one_folder)
        return CLI_CONTINUE;
    if (cli_inputs_find(&in, &query, &e) != MCS_OK)
        return cli_die(r->t, &e, false);
    for (int64_t i = 0; i < in.count; i++) {
        json_t *key = cli_json_text(in.items[i].path);
        char text[700];
        bool further = strstr(in.items[i].stem, "_mask_") != NULL; /* read with the first */
        if (!further && !json_object_get(r->used, json_string_value(key))) {
            snprintf(text, sizeof text, "%.600s: a mask without a picture", in.items[i].path);
            note(r, in.items[i].rel, text);
        }
        json_decref(key);
    }
    cli_inputs_free(&in);
    return CLI_CONTINUE;
}

static int read_folder(reader *r, const char *images)
{
    mcs_error e = { 0 };
    cli_inputs in = { 0 };
    cli_progress bar;
    const cli_list paths = { .items = (char *[]){ (char *)(uintptr_t)images }, .count = 1 };
    const cli_inputs_query query = { .paths = &paths, .recursive = r->o->recursive };
    if (!cli_exists(r->folder))
        return cli_error(r->t, CLI_NOTHING, "%s: no such folder of masks", r->folder);
    if (cli_inputs_find(&in, &query, &e) != MCS_OK)
        return cli_die(r->t, &e, false);
    int code = CLI_CONTINUE;
    r->one_folder = strcmp(images, r->folder) == 0;
    cli_progress_begin(&bar, r->t, in.count, "pictures");
    for (int64_t i = 0; i < in.count && code == CLI_CONTINUE && !cli_stop(); i++) {
        code = next_picture(r, &in.items[i]);
        bar.done++;
        bar.skipped = (int64_t)json_array_size(r->d->left_out);
        bar.failed = (int64_t)json_array_size(r->d->problems);
        cli_progress_draw(&bar);
    }
    cli_progress_end(&bar);
    cli_inputs_free(&in);
    if (cli_stop())
        return CLI_SIGNALLED + cli_stop();
    return code == CLI_CONTINUE ? note_orphans(r) : code;
}

/* ---- All of it ---- */

static void drop_empty(reader *r)
{
    un_data *d = r->d;
    int64_t kept = 0;
    for (int64_t i = 0; i < d->count; i++) {
        if (d->items[i].top > d->cut || r->o->keep_empty) {
            d->items[kept++] = d->items[i];
            continue;
        }
        leave_out(r, d->items[i].rel, "its mask is empty");
        drop(&d->items[i]);
    }
    d->count = kept;
}

static void warn_unknown(const reader *r, const un_data *like)
{
    for (int v = 1; v < 65536 && like->kind.classes > 1; v++) {
        bool known = !r->survey->seen[v];
        for (int i = 0; i < like->kind.classes; i++)
            known = known || like->kind.value[i] == v;
        if (!known)
            cli_warn(r->t,
                     "validation masks have the label %d, which those for training have not: "
                     "it counts as background",
                     v);
    }
}

static int finish(reader *r, const cli_list *images, const un_data *like)
{
    un_data *d = r->d;
    int code = CLI_CONTINUE;
    size_t out = json_array_size(d->left_out);
    if (!d->count)
        return cli_error(r->t, CLI_NOTHING,
                         "%s: none of %lld pictures can be used (%zu left out); masks have the "
                         "pictures' names (NAME.png or NAME_mask.png) and shape",
                         images->items[0], (long long)r->listed, out);
    if (r->o->on_error == 1 && json_array_size(d->problems))
        return cli_error(r->t, CLI_NOTHING,
                         "%s: %zu files cannot be used; mend them, or leave them out with "
                         "--on-error skip",
                         images->items[0], json_array_size(d->problems));
    if (like) {
        d->kind = like->kind;
        d->cut = like->cut;
        warn_unknown(r, like);
    } else {
        code = un_survey_decide(r->t, r->o, r->survey, d);
        if (code == CLI_CONTINUE)
            drop_empty(r);
    }
    out = json_array_size(d->left_out);
    if (out)
        cli_info(r->t, "%zu of %lld pictures are left out: left_out.jsonl says why", out,
                 (long long)r->listed);
    return code;
}

int un_data_read(cli *t, const un_opts *o, const cli_list *images, const cli_list *masks,
                 const un_data *like, un_data *d)
{
    reader r = { .t = t, .o = o, .d = d, .judge = !like, .survey = calloc(1, sizeof *r.survey) };
    d->problems = json_array();
    d->left_out = json_array();
    r.used = json_object();
    int code = CLI_CONTINUE;
    if (!d->problems || !d->left_out || !r.used || !r.survey)
        code = cli_error(t, CLI_NO_MEMORY, "out of memory");
    if (images->count != masks->count)
        code = cli_error(t, CLI_BAD_USAGE,
                         "%d folders of pictures and %d of masks: give --masks for each --images, "
                         "in the same order",
                         images->count, masks->count);
    if (code == CLI_CONTINUE && r.judge)
        code = un_quality_read(t, o, masks, &r.quality);
    for (int i = 0; i < images->count && code == CLI_CONTINUE; i++) {
        r.folder = masks->items[i];
        code = read_folder(&r, images->items[i]);
    }
    if (code == CLI_CONTINUE)
        code = finish(&r, images, like);
    un_quality_free(&r.quality);
    json_decref(r.used);
    free(r.survey);
    return code;
}

int un_data_split(cli *t, double share, un_data *d, un_data *val)
{
    int64_t kept = 0;
    val->kind = d->kind;
    val->cut = d->cut;
    for (int64_t i = 0; i < d->count; i++) {
        double at = (double)(cli_hash(d->items[i].rel) % 10007) / 10007;
        if (at >= share) {
            d->items[kept++] = d->items[i];
            continue;
        }
        if (!make_room(val))
            return cli_error(t, CLI_NO_MEMORY, "out of memory");
        val->items[val->count++] = d->items[i];
    }
    d->count = kept;
    if (!kept || !val->count)
        return cli_error(t, CLI_NOTHING,
                         "--val-share: leaves %lld pictures for training and %lld for validation",
                         (long long)kept, (long long)val->count);
    return CLI_CONTINUE;
}

void un_data_fingerprint(un_data *d)
{
    cli_sha256 h;
    cli_sha256_begin(&h);
    for (int64_t i = 0; i < d->count; i++) {
        const un_picture *p = &d->items[i];
        const int64_t numbers[] = { p->width, p->height, (int64_t)p->hash };
        cli_sha256_add(&h, p->rel, strlen(p->rel) + 1);
        cli_sha256_add(&h, numbers, sizeof numbers);
        cli_sha256_add(&h, &p->weight, sizeof p->weight);
    }
    cli_sha256_hex(&h, d->fingerprint);
}

void un_data_free(un_data *d)
{
    for (int64_t i = 0; i < d->count; i++)
        drop(&d->items[i]);
    free(d->items);
    json_decref(d->problems);
    json_decref(d->left_out);
    *d = (un_data){ 0 };
}
