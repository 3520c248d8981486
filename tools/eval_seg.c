/* eval_seg.c - how well masks agree with the truth: overlap, boundaries, ranking; per image and
 * summarised; two methods compared.  Definitions: docs/metrics.md. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "tools/cli_evalseg.h"

#define AT(field) offsetof(es_opts, field)
static const cli_option options[] = {
    { .kind = CLI_SECTION, .help = "Masks" },
    { CLI_TEXT, "gt", 'g', AT(gt), "DIR", 0, 0, "true masks", "gt-path", 0 },
    { CLI_TEXT, "seg", 's', AT(seg), "DIR", 0, 0,
      "masks to judge; paired with the true ones by name, in subfolders too", "seg-path", 0 },
    { CLI_TEXT, "compare", 0, AT(other), "DIR", 0, 0,
      "masks of a second method, compared pair by pair on the same cases", NULL, 0 },
    { CLI_TEXT, "prob", 0, AT(prob), "DIR", 0, 0,
      "probability or saliency maps (8 or 16 bit), from which AUC is taken", NULL, 0 },
    { CLI_CHOICE, "volumes", 0, AT(volumes), "none|subfolders", 0, 0,
      "subfolders: the slices of a folder, by number, are one volume", NULL, 0 },
    { CLI_TEXT, "labels", 0, AT(labels), "auto|binary|V,V", 0, 0,
      "values that are structures of their own; auto looks at all masks; binary: all is one", NULL,
      0 },
    { CLI_TEXT, "gt-threshold", 0, AT(gt_threshold), "auto|V", 0, 0,
      "true foreground is above V, instead of auto: above 0, or above half if edges are soft", NULL,
      0 },
    { CLI_TEXT, "seg-threshold", 0, AT(seg_threshold), "auto|V", 0, 0, "the same of masks to judge",
      NULL, 0 },
    { CLI_CHOICE, "size-mismatch", 0, AT(mismatch), "resize|error", 0, 0,
      "a mask of another size than the true one: resized to it, nearest pixel, or an error", NULL,
      0 },
    { CLI_CHOICE, "missing", 0, AT(missing), "skip|empty", 0, 0,
      "true masks without a mask to judge: left out (exit 3), or counted as an empty one", NULL,
      0 },

    { .kind = CLI_SECTION, .help = "Measures" },
    { CLI_TEXT, "metrics", 'm', AT(metrics), "M,M", 0, 0,
      "of dsc, iou, nsd, nsd_official_region, hd95, hd95_monai, hd, auc, sensitivity, precision; "
      "the first one ranks",
      NULL, 0 },
    { CLI_CHOICE, "nsd", 0, AT(nsd), "boundary|official-region", 0, 0,
      "what nsd means: of boundaries, or of regions as MedCLIP-SAMv2's released code", NULL, 0 },
    { CLI_FLOAT, "nsd-tolerance", 0, AT(tolerance), "D", 0, 1e6, "in pixels, or mm with --spacing",
      NULL, 0 },
    { CLI_TEXT, "spacing", 0, AT(spacing), "X,Y[,Z]", 0, 0,
      "mm between columns, rows and slices; 1,1,1", NULL, 0 },
    { CLI_CHOICE, "empty", 0, AT(empty), "nan|zero|one|worst", 0, 0,
      "what a case counts in which truth, or mask, or both are empty; see below", NULL, 0 },
    { CLI_INT, "bootstrap", 0, AT(draws), "N", 0, 1e6, "draws for the 95 % intervals", NULL, 0 },

    { .kind = CLI_SECTION, .help = "Output" },
    { CLI_TEXT, "output", 'o', AT(out), "FILE.csv", 0, 0,
      "a row a case, then mean, std, low95, high95, median, n", "out", 0 },
    { CLI_TEXT, "json", 0, AT(json), "FILE.json", 0, 0, "the summary; beside the CSV if not given",
      NULL, 0 },
    { CLI_TEXT, "html", 0, AT(html), "FILE.html", 0, 0,
      "page of outlines, worst case first; its pictures go to FILE_files", NULL, 0 },
    { CLI_TEXT, "images", 0, AT(images), "DIR", 0, 0, "pictures under the outlines", NULL, 0 },
    { CLI_INT, "html-count", 0, AT(shown), "N", 1, 1e6, "cases on the page", NULL, 0 },
    { .kind = CLI_END },
};
#undef AT

static const cli_program program = {
    .name = "eval_seg",
    .summary = "DSC, IoU, NSD, HD95, AUC of two folders of masks, per case and summarised",
    .usage = "--gt DIR --seg DIR [-o FILE.csv] [--compare DIR] [--html FILE.html]",
    .options = options,
    .notes = "Prints a CSV: mean, standard deviation, 95 % bootstrap interval and median of every\n"
             "measure, and its mean over the cases whose truth is not empty; then how many cases\n"
             "are empty or missed; with --compare the paired differences.\n\n"
             "--empty   truth and mask empty      one of them empty\n"
             "          scores   distances        scores   distances\n"
             "  nan     nan      nan              0        nan\n"
             "  zero    0        nan              0        nan\n"
             "  one     1        0                0        diagonal of the picture\n"
             "  worst   0        diagonal         0        diagonal of the picture\n"
             "nan: left out of the mean.  AUC is nan where the truth has one kind of pixel only.\n",
};

static const char *const metric_names[ES_METRICS] = {
    "dsc",        "iou", "nsd", "nsd_official_region", "hd95",
    "hd95_monai", "hd",  "auc", "sensitivity",         "precision"
};

static bool read_metrics(es_run *r)
{
    for (const char *p = r->o->metrics; *p;) {
        size_t n = strcspn(p, ",");
        int m = 0;
        while (m < ES_METRICS && (strlen(metric_names[m]) != n || strncmp(metric_names[m], p, n)))
            m++;
        if (m == ES_METRICS)
            return false;
        if (m == ES_NSD && r->o->nsd)
            m = ES_NSD_OFFICIAL;
        if (!r->wanted[m])
            r->order[r->metrics++] = m;
        r->wanted[m] = true;
        p += n + (p[n] == ',');
    }
    return r->metrics > 0;
}

static bool read_spacing(es_run *r)
{
    const char *p = r->o->spacing ? r->o->spacing : "1,1,1";
    for (int k = 0; k < 3; k++)
        r->spacing[k] = 1;
    for (int k = 2; *p; k--) {
        char *end;
        double v = strtod(p, &end);
        if (k < 0 || end == p || !(v > 0) || v > 1e6 || (*end && *end != ','))
            return false;
        r->spacing[k] = v;
        p = end + (*end == ',');
        if (!*p && k > 1)
            return false;
    }
    return true;
}

/* The summary goes beside the CSV: m.csv, m.json. */
static bool name_json(es_run *r)
{
    const char *out = r->o->out;
    if (r->o->json || !out)
        return true;
    size_t n = strlen(out);
    n -= n > 4 && strcmp(out + n - 4, ".csv") == 0 ? 4 : 0;
    char *path = malloc(n + 6);
    if (path)
        snprintf(path, n + 6, "%.*s.json", (int)n, out);
    r->o->json = path ? cli_keep(r->t, path) : NULL;
    free(path);
    return r->o->json;
}

static int check_options(es_run *r)
{
    if (!r->o->gt || !r->o->seg)
        return cli_error(r->t, CLI_BAD_USAGE, "give --gt DIR and --seg DIR");
    if (!read_metrics(r))
        return cli_error(r->t, CLI_BAD_USAGE,
                         "--metrics wants a list of dsc, iou, nsd, nsd_official_region, hd95, "
                         "hd95_monai, hd, auc, sensitivity, precision, not '%s'",
                         r->o->metrics);
    if (!read_spacing(r))
        return cli_error(r->t, CLI_BAD_USAGE, "--spacing wants X,Y or X,Y,Z above 0, not '%s'",
                         r->o->spacing);
    if (r->wanted[ES_NSD_OFFICIAL] && r->o->volumes)
        return cli_error(r->t, CLI_BAD_USAGE,
                         "the official region NSD is one of pictures: not with --volumes");
    if (!name_json(r))
        return cli_error(r->t, CLI_NO_MEMORY, "out of memory");
    return CLI_CONTINUE;
}

static int work(es_run *r)
{
    int code = check_options(r);
    if (code == CLI_CONTINUE && !(r->problems = json_array()))
        code = cli_error(r->t, CLI_NO_MEMORY, "out of memory");
    if (code == CLI_CONTINUE)
        code = es_cases_find(r);
    if (code == CLI_CONTINUE && r->t->dry_run) {
        cli_info(r->t, "would measure %lld cases", (long long)r->count);
        return CLI_DONE;
    }
    if (code == CLI_CONTINUE && !(r->ctx = cli_context(r->t, false, &code)))
        return code;
    if (code == CLI_CONTINUE)
        code = es_meaning_find(r);
    if (code == CLI_CONTINUE)
        code = es_score_cases(r);
    return code == CLI_CONTINUE ? es_report(r) : code;
}

static void release(es_run *r)
{
    for (int64_t i = 0; i < r->count; i++) {
        free(r->cases[i].name);
        for (int s = 0; s < ES_SIDES; s++)
            free(r->cases[i].file[s]);
    }
    for (int s = 0; s < ES_SIDES; s++)
        cli_inputs_free(&r->in[s]);
    free(r->cases);
    free(r->score[0]);
    free(r->score[1]);
    free(r->failure);
    json_decref(r->problems);
    json_decref(r->report);
    mcs_ctx_free(r->ctx);
}

int main(int argc, char **argv)
{
    cli t = { 0 };
    es_opts o = { .metrics = "dsc,iou,nsd,hd95,auc",
                  .labels = "auto",
                  .gt_threshold = "auto",
                  .seg_threshold = "auto",
                  .tolerance = 2,
                  .draws = 2000,
                  .shown = 100 };
    int code = cli_parse(&t, &program, &o, argc, argv);
    if (code == CLI_CONTINUE) {
        es_run r = { .t = &t, .o = &o };
        cli_signals();
        code = work(&r);
        release(&r);
    }
    cli_close(&t);
    return code;
}
