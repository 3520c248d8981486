/* eval_retrieval.c - how often BiomedCLIP finds the caption of a picture and the picture of a
 * caption: the protocol of MedCLIP-SAM (batches of 50, five shuffles, top-1 and top-2), and recall
 * in the whole set. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "models/retrieval.h"
#include "tools/cli_pairs.h"

typedef struct {
    const char *data, *clip, *vocab, *out;
    cli_pairs_query query;
    int on_error, batch, runs;
    bool groups;
    const char *topk, *recall;
} opts;

#define AT(field) offsetof(opts, field)
static const cli_option options[] = {
    { .kind = CLI_SECTION, .help = "Pairs" },
    { CLI_TEXT, "data", 'i', AT(data), "FILE.csv", 0, 0, "table with pictures and captions",
      "val-data", 0 },
    { CLI_TEXT, "csv-img-key", 0, AT(query.image_key), "NAME", 0, 0, "column of picture paths",
      NULL, 0 },
    { CLI_TEXT, "csv-caption-key", 0, AT(query.caption_key), "NAME", 0, 0, "column of captions",
      NULL, 0 },
    { CLI_TEXT, "csv-group-key", 0, AT(query.group_key), "NAME", 0, 0,
      "column of groups: pairs of one group are no rivals of each other; 'group' if there is such "
      "a "
      "column",
      NULL, 0 },
    { CLI_FLAG, "groups", 0, AT(groups), NULL, 0, 0,
      "with --no-groups all pairs are rivals, whatever the column of groups says", NULL, 0 },
    { CLI_TEXT, "csv-separator", 0, AT(query.separator), "C|auto", 0, 0,
      "what separates columns; auto looks at the header", NULL, 0 },
    { CLI_TEXT, "data-root", 0, AT(query.root), "DIR", 0, 0,
      "folder of relative paths; the table's own if not given", NULL, 0 },
    { CLI_CHOICE, "on-error", 0, AT(on_error), "stop|skip", 0, 0,
      "rows without a caption or with a missing or broken picture", NULL, 0 },

    { .kind = CLI_SECTION, .help = "Model" },
    { CLI_TEXT, "clip", 0, AT(clip), "FILE", 0, 0,
      "BiomedCLIP checkpoint (.safetensors, .bin, .pt)", "pretrained", 0 },
    { CLI_TEXT, "vocab", 0, AT(vocab), "FILE", 0, 0,
      "vocabulary; vocab.txt beside the checkpoint if not given", NULL, 0 },

    { .kind = CLI_SECTION, .help = "Protocol" },
    { CLI_INT, "batch-size", 0, AT(batch), "N", 2, 1e6, "pairs that compete with each other", NULL,
      0 },
    { CLI_INT, "runs", 0, AT(runs), "N", 1, 1e4, "shuffles into batches", NULL, 0 },
    { CLI_TEXT, "topk", 0, AT(topk), "K,K", 0, 0, "ranks that count as right in a batch", NULL, 0 },
    { CLI_TEXT, "recall", 0, AT(recall), "K,K", 0, 0, "ranks that count in the whole set", NULL,
      0 },

    { .kind = CLI_SECTION, .help = "Output" },
    { CLI_TEXT, "output", 'o', AT(out), "FILE.json|FILE.csv", 0, 0,
      "the figures; they are printed in any case", "out", 0 },
    { .kind = CLI_END },
};
#undef AT

static const cli_program program = {
    .name = "eval_retrieval",
    .summary = "accuracy of finding captions by pictures and pictures by captions",
    .usage = "--data FILE.csv --clip FILE [-o FILE.json]",
    .options = options,
    .notes =
        "Prints a CSV: protocol, direction, k, mean, standard deviation over the runs and the "
        "95 %\ninterval when pairs are drawn anew, all in per cent.\n"
        "batches: rivals are the others of the batch; whole: all others.  Masked, if the table "
        "has\na column of groups: a caption that is true of another picture is no wrong answer "
        "to it.\nIt is true if it is one of the picture's own, of the group of one of them, or if "
        "what its\ngroup claims (\"xray:heart/large+no nodule\") is among the picture's facts "
        "(column 'facts').\n",
};

typedef struct {
    cli *t;
    const opts *o;
    cli_pairs pairs;
    cli_embedded emb;
    mcs_biomedclip *model;
    mcs_ctx *ctx;
    int64_t *group;
    json_t *report;
    cli_html csv;
} retrieval;

static bool read_ks(const char *text, mcs_retrieval_opts *r)
{
    r->ks = 0;
    while (*text && r->ks < MCS_RETRIEVAL_KS) {
        char *end;
        long k = strtol(text, &end, 10);
        if (end == text || k < 1 || k > 1000000 || (*end && *end != ','))
            return false;
        r->k[r->ks++] = (int)k;
        text = end + (*end == ',');
    }
    return r->ks && !*text;
}

static int add(retrieval *w, const char *protocol, const char *way, int k,
               const mcs_retrieval_score *s)
{
    cli_html_rawf(&w->csv, "%s,%s,%d,%.2f,%.2f,%.2f,%.2f\n", protocol, way, k, 100 * s->mean,
                  100 * s->sd, 100 * s->low, 100 * s->high);
    json_t *j = json_pack("{s:s, s:s, s:i, s:f, s:f, s:[f,f]}", "protocol", protocol, "direction",
                          way, "k", k, "mean", s->mean, "sd", s->sd, "interval95", s->low, s->high);
    return json_array_append_new(json_object_get(w->report, "scores"), j);
}

static bool also_true(const void *arg, int64_t caption, int64_t image)
{
    const retrieval *w = arg;
    const cli_pair *items = w->pairs.items;
    return cli_pairs_true(&w->pairs, &items[w->emb.row[caption]], items[w->emb.row[image]].image);
}

static int measure(retrieval *w, const char *protocol, bool masked, const mcs_retrieval_opts *r)
{
    mcs_error e = { 0 };
    mcs_retrieval_result out;
    const mcs_retrieval_pairs p = { .image = w->emb.image,
                                    .text = w->emb.text,
                                    .count = w->emb.count,
                                    .width = w->emb.width,
                                    .group = w->pairs.grouped && w->o->groups ? w->group : NULL,
                                    .also = masked ? also_true : NULL,
                                    .arg = w };
    if (mcs_retrieval(&p, r, mcs_ctx_pool(w->ctx), &out, &e) != MCS_OK)
        return e.status == MCS_EINVAL ? cli_error(w->t, CLI_NOTHING, "%s", e.message)
                                      : cli_die(w->t, &e, false);
    for (int i = 0; i < r->ks; i++)
        if (add(w, protocol, "image-to-text", r->k[i], &out.image_to_text[i]))
            return cli_error(w->t, CLI_NO_MEMORY, "out of memory");
    for (int i = 0; i < r->ks; i++)
        if (add(w, protocol, "text-to-image", r->k[i], &out.text_to_image[i]))
            return cli_error(w->t, CLI_NO_MEMORY, "out of memory");
    if (!r->batch && !masked)
        json_object_update_new(w->report,
                               json_pack("{s:f, s:f}", "mean_rank_image_to_text", out.rank_image,
                                         "mean_rank_text_to_image", out.rank_text));
    return CLI_CONTINUE;
}

static int write_report(retrieval *w)
{
    mcs_error e = { 0 };
    const char *out = w->o->out;
    size_t n = out ? strlen(out) : 0;
    bool csv = n > 4 && strcmp(out + n - 4, ".csv") == 0;
    if (w->csv.failed)
        return cli_error(w->t, CLI_NO_MEMORY, "out of memory");
    if (out &&
        (cli_mkdirs_for(out, &e) != MCS_OK || (csv ? cli_write(out, w->csv.text, w->csv.size, &e)
                                                   : cli_write_json(out, w->report, &e)) != MCS_OK))
        return cli_die(w->t, &e, false);
    if (!w->t->quiet || !out)
        fputs(w->csv.text, stdout);
    return w->emb.failed || json_array_size(w->pairs.problems) ? CLI_SOME_FAILED : CLI_DONE;
}

static int measure_all(retrieval *w)
{
    mcs_retrieval_opts batch = { .batch = w->o->batch,
                                 .runs = w->o->runs,
                                 .seed = (uint64_t)w->t->seed };
    mcs_retrieval_opts whole = { .runs = 1, .seed = (uint64_t)w->t->seed };
    if (!read_ks(w->o->topk, &batch) || !read_ks(w->o->recall, &whole))
        return cli_error(w->t, CLI_BAD_USAGE, "--topk and --recall want one to %d numbers: 1,2",
                         MCS_RETRIEVAL_KS);
    w->group = malloc(((size_t)w->emb.count + 1) * sizeof *w->group);
    w->report =
        json_pack("{s:I, s:I, s:i, s:i, s:I, s:[]}", "pairs", (json_int_t)w->emb.count, "left_out",
                  (json_int_t)json_array_size(w->pairs.problems), "batch", w->o->batch, "runs",
                  w->o->runs, "seed", (json_int_t)w->t->seed, "scores");
    if (!w->group || !w->report)
        return cli_error(w->t, CLI_NO_MEMORY, "out of memory");
    for (int64_t i = 0; i < w->emb.count; i++)
        w->group[i] = w->pairs.items[w->emb.row[i]].group;
    cli_html_raw(&w->csv, "protocol,direction,k,mean,sd,low95,high95\n");
    int code = measure(w, "batches", false, &batch);
    if (code == CLI_CONTINUE)
        code = measure(w, "whole", false, &whole);
    if (code == CLI_CONTINUE && w->pairs.grouped && w->o->groups)
        code = measure(w, "batches masked", true, &batch);
    if (code == CLI_CONTINUE && w->pairs.grouped && w->o->groups)
        code = measure(w, "whole masked", true, &whole);
    return code == CLI_CONTINUE ? write_report(w) : code;
}

static int work(retrieval *w)
{
    mcs_error e = { 0 };
    const opts *o = w->o;
    cli_pairs_query q = o->query;
    mcs_retrieval_opts check;
    if (!o->data || !o->clip)
        return cli_error(w->t, CLI_BAD_USAGE, "give --data FILE.csv and --clip FILE");
    if (!read_ks(o->topk, &check) || !read_ks(o->recall, &check))
        return cli_error(w->t, CLI_BAD_USAGE, "--topk and --recall want one to %d numbers: 1,2",
                         MCS_RETRIEVAL_KS);
    q.skip = o->on_error == 1;
    int code = cli_pairs_read(w->t, o->data, &q, &w->pairs);
    if (code != CLI_CONTINUE)
        return code;
    if (w->t->dry_run) {
        cli_info(w->t, "would rank %lld pairs", (long long)w->pairs.count);
        return CLI_DONE;
    }
    w->model = mcs_biomedclip_load(o->clip, o->vocab, &e);
    if (!w->model)
        return cli_die(w->t, &e, true);
    w->ctx = cli_context(w->t, false, &code);
    if (!w->ctx)
        return code;
    code = cli_pairs_embed(w->t, w->ctx, w->model, &w->pairs, q.skip, "pairs", &w->emb);
    return code == CLI_CONTINUE ? measure_all(w) : code;
}

int main(int argc, char **argv)
{
    cli t = { 0 };
    opts o = { .query = { .image_key = "filename", .caption_key = "caption" },
               .groups = true,
               .batch = 50,
               .runs = 5,
               .topk = "1,2",
               .recall = "1,5,10" };
    int code = cli_parse(&t, &program, &o, argc, argv);
    if (code == CLI_CONTINUE) {
        retrieval w = { .t = &t, .o = &o };
        cli_signals();
        code = work(&w);
        cli_embedded_free(&w.emb);
        cli_pairs_free(&w.pairs);
        mcs_biomedclip_free(w.model);
        mcs_ctx_free(w.ctx);
        json_decref(w.report);
        free(w.csv.text);
        free(w.group);
    }
    cli_close(&t);
    return code;
}
