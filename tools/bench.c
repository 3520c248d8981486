/* bench.c - time and memory of every stage on this machine.  Without checkpoints it measures models
 * of the published sizes with random weights: the numbers do not depend on the values. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "models/biomedclip.h"
#include "models/medclip_sam.h"
#include "models/sam.h"
#include "tools/cli.h"
#include "tools/cli_files.h"

typedef struct {
    const char *clip, *vocab, *sam, *sam_type;
    cli_list stages;
    int repeat, masks;
    bool json;
} opts;

#define AT(field) offsetof(opts, field)
static const cli_option options[] = {
    { .kind = CLI_SECTION, .help = "Models" },
    { CLI_TEXT, "clip", 0, AT(clip), "FILE", 0, 0, "BiomedCLIP; else random weights", NULL, 0 },
    { CLI_TEXT, "sam", 0, AT(sam), "FILE", 0, 0, "SAM; else random weights", NULL, 0 },
    { CLI_TEXT, "sam-type", 0, AT(sam_type), "TYPE", 0, 0, "vit_b, vit_l, vit_h or vit_t", NULL, 0 },
    { .kind = CLI_SECTION, .help = "Work" },
    { CLI_LIST, "stage", 0, AT(stages), "NAME", 0, 0, "only this stage (repeatable)", NULL, 0 },
    { CLI_INT, "repeat", 0, AT(repeat), "N", 1, 1000, "runs of each stage; the best is shown", NULL, 0 },
    { CLI_INT, "masks", 0, AT(masks), "N", 1, 768, "masked pictures of gscorecam", NULL, 0 },
    { CLI_FLAG, "json", 0, AT(json), NULL, 0, 0, "one JSON object per stage", NULL, 0 },
    { .kind = CLI_END },
};
#undef AT

static const cli_program program = {
    .name = "bench",
    .summary = "time and memory of every stage",
    .usage = "[--stage NAME] [--threads N]",
    .options = options,
    .notes = "Stages: clip-image-1 clip-image-16 clip-text-256 clip-text-16 gscorecam\n"
             "sam-encode sam-decode.  Memory is the peak of the working memory, without weights.\n",
};

typedef struct {
    cli *t;
    const opts *o;
    mcs_ctx *c;
    mcs_biomedclip *clip;
    mcs_sam *sam;
    mcs_tensor *input; /* of the stage, made once */
} bench;

/* ---- Floating-point operations, 2 per multiply-add ---- */

static double transformer_flop(double tokens, double dim, double mlp, double depth)
{
    return depth * (2 * tokens * (4 * dim * dim + 2 * dim * mlp) + 4 * tokens * tokens * dim);
}

static double image_flop(const bench *b)
{
    const mcs_vit_config *v = &mcs_biomedclip_get_config(b->clip)->vision;
    double patches = pow((double)v->image / v->patch, 2);
    return transformer_flop(patches + 1, v->dim, v->mlp_dim, v->depth) +
           2 * patches * 3 * v->patch * v->patch * v->dim;
}

static double text_flop(const bench *b, int tokens)
{
    const mcs_bert_config *t = &mcs_biomedclip_get_config(b->clip)->text;
    return transformer_flop(tokens, t->dim, t->mlp_dim, t->depth);
}

/* Linear layers, windows and global attention of the ViT encoders; others: unknown. */
static double sam_flop(const bench *b)
{
    const mcs_sam_config *k = mcs_sam_get_config(b->sam);
    if (k->tiny)
        return (double)NAN;
    double grid = (double)k->image / k->vit.patch, n = grid * grid, d = k->vit.dim;
    double windows = pow(ceil(grid / k->vit.window), 2), in_window = pow(k->vit.window, 2), flop = 0;
    for (int i = 0; i < k->vit.depth; i++) {
        bool global = k->vit.global_blocks >> i & 1;
        double tokens = global ? n : windows * in_window;
        flop += 2 * tokens * 4 * d * d + 2 * n * 2 * d * k->vit.mlp_dim;
        flop += 4 * tokens * (global ? n : in_window) * d;
    }
    double out = k->decoder.dim;
    return flop + 2 * n * (3.0 * k->vit.patch * k->vit.patch * d + d * out + 9 * out * out);
}

/* ---- Stages: each prepares its input once and then runs ---- */

static mcs_tensor *pictures(bench *b, int64_t n, int64_t side)
{
    mcs_tensor *x = mcs_new(b->c, 4, MCS_SHAPE(n, 3, side, side));
    for (int64_t i = 0; x && i < mcs_numel(x); i++)
        mcs_f32(x)[i] = (float)((i * 7919) % 1000) * 0.002f - 1.0f;
    return x;
}

static mcs_tensor *token_ids(bench *b, int64_t n)
{
    mcs_tensor *x = mcs_new_typed(b->c, MCS_I64, 2, MCS_SHAPE(1, n));
    for (int64_t i = 0; x && i < n; i++)
        mcs_i64(x)[i] = 5 + i;
    return x;
}

static bool run_image(bench *b) { return mcs_biomedclip_encode_image(b->c, b->clip, b->input); }
static bool run_text(bench *b) { return mcs_biomedclip_encode_text(b->c, b->clip, b->input, NULL); }
static bool run_sam(bench *b) { return mcs_sam_encode(b->c, b->sam, b->input); }

static bool run_decode(bench *b)
{
    float s = (float)mcs_sam_get_config(b->sam)->image, box[4] = { s / 9, s / 8, s / 2, s / 1.5f };
    mcs_sam_prompts p = { .count = 1, .boxes = box };
    return mcs_sam_decode(b->c, b->sam, b->input, &p, false).logits != NULL;
}

/* The dominating part of gScoreCAM: that many masked pictures, eight at a time. */
static bool run_gscorecam(bench *b)
{
    for (int done = 0; done < b->o->masks; done += 8) {
        int n = b->o->masks - done < 8 ? b->o->masks - done : 8;
        mcs_scope s = mcs_scope_begin(b->c);
        mcs_tensor *y = mcs_biomedclip_encode_image(b->c, b->clip, mcs_rows(b->c, b->input, 0, n));
        if (!y)
            return false;
        mcs_scope_end(b->c, s, NULL);
    }
    return true;
}

typedef struct {
    const char *name;
    int size; /* batch or tokens */
    bool sam;
    bool (*run)(bench *b);
} stage;

static const stage stages[] = {
    { "clip-image-1", 1, false, run_image },   { "clip-image-16", 16, false, run_image },
    { "clip-text-256", 256, false, run_text }, { "clip-text-16", 16, false, run_text },
    { "gscorecam", 8, false, run_gscorecam },  { "sam-encode", 0, true, run_sam },
    { "sam-decode", 0, true, run_decode },
};

static double prepare(bench *b, const stage *s)
{
    if (s->run == run_text) {
        b->input = token_ids(b, s->size);
        return text_flop(b, s->size);
    }
    if (!s->sam) {
        b->input = pictures(b, s->size, mcs_biomedclip_get_config(b->clip)->vision.image);
        return image_flop(b) * (s->run == run_gscorecam ? b->o->masks : s->size);
    }
    int grid = mcs_sam_grid(b->sam), dim = mcs_sam_get_config(b->sam)->decoder.dim;
    if (s->run == run_sam)
        b->input = pictures(b, 1, mcs_sam_get_config(b->sam)->image);
    else
        b->input = mcs_full(b->c, 4, MCS_SHAPE(1, dim, grid, grid), 0.1f);
    return s->run == run_sam ? sam_flop(b) : (double)NAN;
}

static void report(const bench *b, const stage *s, double best, double median, double flop)
{
    double memory = (double)mcs_ctx_peak(b->c) / 1e6;
    if (b->o->json)
        printf("{\"stage\": \"%s\", \"seconds\": %.6f, \"median\": %.6f, \"gflops\": %.1f, "
               "\"work_mb\": %.1f, \"rss_mb\": %.1f}\n",
               s->name, best, median, isfinite(flop) ? flop / best / 1e9 : 0.0, memory,
               (double)cli_rss() / 1e6);
    else if (isfinite(flop))
        printf("%-16s %10.1f ms %10.1f ms %9.1f GFLOP/s %9.1f MB\n", s->name, best * 1e3,
               median * 1e3, flop / best / 1e9, memory);
    else
        printf("%-16s %10.1f ms %10.1f ms %17s %9.1f MB\n", s->name, best * 1e3, median * 1e3, "",
               memory);
    fflush(stdout);
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* A context of its own per stage, so that its peak is the stage's. */
static int measure(bench *b, const stage *s)
{
    int code = CLI_DONE, n = b->o->repeat;
    double *seconds = calloc((size_t)n, sizeof *seconds);
    b->c = cli_context(b->t, false, &code);
    if (!seconds || !b->c) {
        free(seconds);
        return code ? code : CLI_NO_MEMORY;
    }
    double flop = prepare(b, s);
    for (int i = -1; i < n && !cli_stop(); i++) { /* the first run touches the memory */
        mcs_scope scope = mcs_scope_begin(b->c);
        double start = cli_clock();
        if (!s->run(b)) {
            code = cli_die(b->t, mcs_ctx_error(b->c), false);
            break;
        }
        if (i >= 0)
            seconds[i] = cli_clock() - start;
        mcs_scope_end(b->c, scope, NULL);
    }
    qsort(seconds, (size_t)n, sizeof *seconds, by_value);
    if (code == CLI_DONE && !cli_stop())
        report(b, s, seconds[0], seconds[n / 2], flop);
    mcs_ctx_free(b->c);
    free(seconds);
    return code;
}

/* ---- Models ---- */

static bool load_clip(bench *b, mcs_error *e)
{
    if (b->o->clip) {
        b->clip = mcs_biomedclip_load(b->o->clip, NULL, e);
        return b->clip != NULL;
    }
    mcs_biomedclip_config k = mcs_biomedclip_published();
    b->clip = mcs_biomedclip_new(&k, e);
    return b->clip && mcs_params_init(mcs_biomedclip_params(b->clip), 1) == MCS_OK;
}

static bool load_sam(bench *b, mcs_error *e)
{
    if (b->o->sam) {
        b->sam = mcs_sam_load(b->o->sam, e);
        return b->sam != NULL;
    }
    mcs_sam_config k;
    if (mcs_sam_config_of(b->o->sam_type, &k, e) != MCS_OK)
        return false;
    b->sam = mcs_sam_new(&k, e);
    return b->sam && mcs_params_init(mcs_sam_params(b->sam), 1) == MCS_OK;
}

static bool wanted(const opts *o, const char *name)
{
    for (int i = 0; i < o->stages.count; i++)
        if (strcmp(o->stages.items[i], name) == 0)
            return true;
    return o->stages.count == 0;
}

static int work(cli *t, const opts *o)
{
    bench b = { .t = t, .o = o };
    mcs_error e = { 0 };
    int code = CLI_DONE, done = 0;
    if (!o->json)
        printf("%-16s %13s %13s %17s %12s\n", "stage", "best", "median", "", "work memory");
    for (size_t i = 0; i < sizeof stages / sizeof *stages && code == CLI_DONE && !cli_stop(); i++) {
        const stage *s = &stages[i];
        if (!wanted(o, s->name))
            continue;
        bool loaded = s->sam ? b.sam || load_sam(&b, &e) : b.clip || load_clip(&b, &e);
        code = loaded ? measure(&b, s) : cli_die(t, &e, true);
        done++;
    }
    if (!done)
        code = cli_error(t, CLI_BAD_USAGE, "no stage of that name; see --help");
    mcs_biomedclip_free(b.clip);
    mcs_sam_free(b.sam);
    return cli_stop() ? CLI_SIGNALLED + cli_stop() : code;
}

int main(int argc, char **argv)
{
    cli t = { 0 };
    opts o = { .repeat = 3, .masks = 300, .sam_type = "vit_b" };
    int code = cli_parse(&t, &program, &o, argc, argv);
    cli_signals();
    if (code == CLI_CONTINUE)
        code = work(&t, &o);
    cli_close(&t);
    return code;
}
