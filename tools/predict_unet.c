/* predict_unet.c - masks, probabilities and uncertainty of pictures from one or several UNets of
 * train_unet.  Options here; the work is in cli_unet_predict.c and cli_job.c. */
#include <stdlib.h>
#include <string.h>
#include "tools/cli_unet_predict.h"

#define AT(field) offsetof(up_opts, field)
static const cli_option options[] = {
    { .kind = CLI_SECTION, .help = "Input" },
    CLI_INPUT_OPTIONS(up_opts),

    { .kind = CLI_SECTION, .help = "Model" },
    { CLI_LIST, "weights", 'w', AT(weights), "FILE", 0, 0,
      "checkpoint of train_unet (or of MONAI's UNet); several: their probabilities are averaged; "
      "more of them may follow without --weights",
      NULL, 0 },
    { CLI_CHOICE, "inference", 0, AT(inference), "auto|resize|sliding", 0, 0,
      "whole pictures resized to a square, or overlapping squares of their own pixels; auto: as it "
      "was trained",
      NULL, CLI_RESULT },
    { CLI_INT, "size", 0, AT(side), "PX|auto", 0, 4096, "side of the squares; auto: as in training",
      NULL, CLI_AUTO | CLI_RESULT },
    { CLI_FLOAT, "overlap", 0, AT(overlap), "X", 0, 0.95,
      "sliding: share of a square that the next one covers", NULL, CLI_RESULT },
    { CLI_FLAG, "flips", 0, AT(flips), NULL, 0, 0, "average with the mirrored picture's", NULL,
      CLI_RESULT },
    { CLI_FLOAT, "threshold", 0, AT(threshold), "X", 0, 1,
      "one class: probability above which a pixel belongs to it", NULL, CLI_RESULT },

    { .kind = CLI_SECTION, .help = "Output" },
    { CLI_TEXT, "output", 'o', AT(out), "DIR", 0, 0, "folder; made if needed", "out", 0 },
    { CLI_TEXT, "save", 0, AT(save), "KINDS", 0, 0,
      "of mask,prob,uncertainty,overlay; mask,overlay if not given", NULL, CLI_RESULT },
    { CLI_FLAG, "html", 0, AT(html), NULL, 0, 0, "write index.html", NULL, 0 },
    { CLI_FLAG, "resume", 0, AT(resume), NULL, 0, 0,
      "skip pictures that an earlier run finished; --no-resume does them again", NULL, 0 },
    { CLI_CHOICE, "on-error", 0, AT(on_error), "skip|stop", 0, 0, "a picture fails", NULL, 0 },
    { .kind = CLI_END },
};

static const cli_option rest = { CLI_LIST, "weights", 0, AT(weights), "FILE", 0, 0, "", NULL, 0 };
#undef AT

static const cli_program program = {
    .name = "predict_unet",
    .summary = "masks, probabilities and uncertainty from UNets of train_unet",
    .usage = "-i PATH -o DIR --weights FILE [FILE ...] [options]",
    .options = options,
    .rest = &rest,
    .notes = "Writes in the output folder:\n"
             "  masks/NAME.png        0 and 255; of several classes their labels\n"
             "  prob/NAME.png         probability, 16-bit grey; of several classes NAME.LABEL.png\n"
             "  uncertainty/NAME.png  entropy as a share of the largest possible, 16-bit grey;\n"
             "                        uncertainty_overlays/NAME.png  the same over the picture\n"
             "  overlays/NAME.png     picture and mask\n"
             "  results.jsonl         a line per picture: hash, size, areas, uncertainty, files\n"
             "  errors.jsonl, run.json, index.html (with --html)  as of zeroshot_seg\n"
             "All are of the picture's own size.  NAME is the path relative to the folder given, "
             "without\n"
             "extension.  A second run goes on where the first ended; with other settings or "
             "weights it\n"
             "refuses, unless --force starts over.\n",
};

static int read_save(up_run *r)
{
    static const char *const kinds[] = { "mask", "prob", "uncertainty", "overlay" };
    const char *at = r->o->save ? r->o->save : "mask,overlay";
    while (*at) {
        size_t n = strcspn(at, ","), k = 0;
        while (k < 4 && !(strlen(kinds[k]) == n && memcmp(kinds[k], at, n) == 0))
            k++;
        if (k == 4)
            return cli_error(r->t, CLI_BAD_USAGE,
                             "--save: '%.*s' is not one of mask, prob, uncertainty, overlay",
                             (int)n, at);
        r->save |= 1u << k;
        at += n + (at[n] != 0);
    }
    return CLI_CONTINUE;
}

static int check_options(cli *t, const up_opts *o)
{
    if (!o->input.count && !o->list)
        return cli_error(t, CLI_BAD_USAGE,
                         "no input: give -i PATH (a picture or a folder) or --list FILE");
    if (!o->weights.count)
        return cli_error(t, CLI_BAD_USAGE, "no model: give --weights FILE");
    if (!o->out && !t->dry_run)
        return cli_error(t, CLI_BAD_USAGE, "no output folder: give -o DIR");
    return CLI_CONTINUE;
}

static json_t *labels(const up_run *r)
{
    json_t *all = json_array();
    for (int i = 0; i < r->notes.classes; i++)
        json_array_append_new(all, json_integer(r->notes.classes == 1 ? 255 : r->notes.value[i]));
    return all;
}

static int work(up_run *r)
{
    const up_opts *o = r->o;
    json_t *weights = NULL;
    const cli_inputs_query q = {
        .paths = &o->input, .list = o->list, .exclude = &o->exclude, .recursive = o->recursive
    };
    int code = check_options(r->t, o);
    if (code == CLI_CONTINUE)
        code = read_save(r);
    if (code == CLI_CONTINUE)
        code = cli_job_inputs(&r->job, &q);
    if (code == CLI_CONTINUE)
        code = up_load(r, &weights);
    if (code == CLI_CONTINUE && r->t->dry_run) {
        cli_info(r->t, "would work on %lld pictures with %d nets; nothing is written",
                 (long long)r->job.inputs.count, r->count);
        code = CLI_DONE;
    }
    if (code == CLI_CONTINUE)
        code = cli_job_lock(&r->job);
    if (code == CLI_CONTINUE)
        r->ctx = cli_context(r->t, false, &code);
    if (code == CLI_CONTINUE)
        code = cli_job_begin(&r->job, json_incref(weights),
                             json_pack("{s:o, s:s, s:i}", "labels", labels(r), "inference",
                                       r->view.kind == MCS_UNET_SLIDING ? "sliding" : "resize",
                                       "size", r->view.side));
    json_decref(weights);
    return code == CLI_CONTINUE ? cli_job_run(&r->job) : code;
}

int main(int argc, char **argv)
{
    cli t = { 0 };
    up_opts o = { .resume = true, .overlap = 0.5f, .threshold = 0.5f };
    int code = cli_parse(&t, &program, &o, argc, argv);
    if (code == CLI_CONTINUE) {
        up_run r = { .t = &t, .o = &o, .job = CLI_JOB_CLOSED };
        r.job.t = &t;
        r.job.program = &program;
        r.job.opts = &o;
        r.job.out = o.out;
        r.job.shard = o.shard;
        r.job.resume = o.resume;
        r.job.stop_on_error = o.on_error == 1;
        r.job.work = up_work;
        r.job.report = up_report;
        r.job.arg = &r;
        cli_signals();
        code = work(&r);
        cli_job_close(&r.job);
        for (int i = 0; i < r.count; i++)
            mcs_unet_free(r.nets[i]);
        free(r.nets);
        mcs_ctx_free(r.ctx);
    }
    cli_close(&t);
    return code;
}
