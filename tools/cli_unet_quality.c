/* cli_unet_quality.c - how good SAM itself thinks pseudo-masks are: "iou_pred" in the results.jsonl
 * that zeroshot_seg wrote beside them.  Of several boxes the mean counts, of several classes the
 * lowest. */
#include <stdlib.h>
#include <string.h>
#include "tools/cli_unet.h"

static double mean_of(const json_t *list)
{
    double sum = 0;
    for (size_t i = 0; i < json_array_size(list); i++)
        sum += json_number_value(json_array_get(list, i));
    return json_array_size(list) ? sum / (double)json_array_size(list) : -1;
}

static double estimate(const json_t *line)
{
    const json_t *classes = json_object_get(line, "classes");
    double least = mean_of(json_object_get(line, "iou_pred"));
    if (json_is_true(json_object_get(line, "rejected")))
        return -2;
    for (size_t i = 0; i < json_array_size(classes); i++) {
        double v = estimate(json_array_get(classes, i));
        least = i == 0 || v < least ? v : least;
    }
    return least;
}

typedef struct {
    un_quality *q;
    const char *folder; /* of the results: masks are named relative to it */
    bool failed;
} reader;

/* Keys are the paths that the folder of masks and names of masks are joined to. */
static void take_line(void *arg, json_t *line)
{
    reader *r = arg;
    const char *mask = json_string_value(json_object_get(line, "mask"));
    if (!mask || strncmp(mask, "masks/", 6) != 0)
        return;
    char *path = cli_join(r->folder, mask + 6, "");
    json_t *key = path ? cli_json_text(path) : NULL;
    if (!key ||
        json_object_set_new(r->q->by_mask, json_string_value(key), json_real(estimate(line))) != 0)
        r->failed = true;
    json_decref(key);
    free(path);
}

/* "OUT/masks" -> "OUT/results.jsonl" */
static char *beside(const char *masks)
{
    size_t n = strlen(masks);
    while (n > 1 && masks[n - 1] == '/')
        n--;
    while (n && masks[n - 1] != '/')
        n--;
    char *folder = n ? strndup(masks, n) : strdup(".");
    char *path = folder ? cli_join(folder, "results.jsonl", "") : NULL;
    free(folder);
    return path;
}

int un_quality_read(cli *t, const un_opts *o, const cli_list *masks, un_quality *q)
{
    mcs_error e = { 0 };
    bool needed = o->min_iou > 0 || o->weight_iou;
    q->by_mask = json_object();
    for (int i = 0; i < masks->count; i++) {
        char *path = i < o->results.count ? strdup(o->results.items[i]) : beside(masks->items[i]);
        reader r = { .q = q, .folder = masks->items[i] };
        bool there = path && cli_exists(path);
        mcs_status s = there ? cli_jsonl_read(path, take_line, &r, NULL, &e) : MCS_OK;
        int code = CLI_CONTINUE;
        if (!path || !q->by_mask || r.failed)
            code = cli_error(t, CLI_NO_MEMORY, "out of memory");
        else if (s != MCS_OK)
            code = cli_die(t, &e, false);
        else if (!there && (needed || i < o->results.count))
            code = cli_error(t, CLI_NOTHING,
                             "%s: not found; --min-iou and --weight-iou need what zeroshot_seg "
                             "wrote beside its masks (--results FILE, if it is elsewhere)",
                             path);
        free(path);
        if (code != CLI_CONTINUE)
            return code;
    }
    return CLI_CONTINUE;
}

double un_quality_of(const un_quality *q, const char *mask)
{
    json_t *key = cli_json_text(mask);
    const json_t *v = json_object_get(q->by_mask, json_string_value(key));
    json_decref(key);
    return v ? json_number_value(v) : -1;
}

void un_quality_free(un_quality *q)
{
    json_decref(q->by_mask);
    *q = (un_quality){ 0 };
}
