/* eval_phantoms.c - what a pair of models has learnt of phantoms: retrieval, pointing, masks for
 * every saliency method, and whether the text decides.  Phantoms are made in memory. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "tools/cli_phantomeval.h"

typedef pe_opts opts;

#define AT(field) offsetof(opts, field)
static const cli_option options[] = {
    { .kind = CLI_SECTION, .help = "Phantoms" },
    { CLI_INT, "count", 'n', AT(count), "N", 1, 1e6, "phantoms", NULL, 0 },
    { CLI_INT, "size", 0, AT(size), "PX", MCS_PHANTOM_SIZE_MIN, MCS_PHANTOM_SIZE_MAX,
      "side of the pictures", NULL, 0 },

    { .kind = CLI_SECTION, .help = "Models" },
    { CLI_TEXT, "clip", 0, AT(clip), "FILE", 0, 0, "BiomedCLIP checkpoint", NULL, 0 },
    { CLI_TEXT, "vocab", 0, AT(vocab), "FILE", 0, 0,
      "vocabulary; vocab.txt beside the checkpoint if not given", NULL, 0 },
    { CLI_TEXT, "sam", 0, AT(sam), "FILE", 0, 0, "SAM checkpoint", "checkpoint", 0 },
    { CLI_TEXT, "models", 0, AT(models), "DIR", 0, 0,
      "folder of the models used without --clip and --sam, as in zeroshot_seg", NULL, 0 },

    { .kind = CLI_SECTION, .help = "Method, as in zeroshot_seg" },
    { CLI_TEXT, "cam", 0, AT(cam), "NAME[*NAME]", 0, 0, "saliency", NULL, 0 },
    { CLI_FLAG, "ablation", 0, AT(ablation), NULL, 0, 0,
      "all other saliency methods and two products as well", NULL, 0 },
    { CLI_FLAG, "retrieval-only", 0, AT(retrieval_only), NULL, 0, 0,
      "no saliency, no masks: only --clip is needed", NULL, 0 },
    { CLI_CHOICE, "cam-gradient", 0, AT(z.gradient), "cls|patch|official", 0, 0,
      "which gradient ranks channels", NULL, 0 },
    { CLI_FLOAT, "cam-scale", 0, AT(z.cam_scale), "X", 0, 1e4,
      "scale of the channel scores; 0: the checkpoint's", NULL, 0 },
    { CLI_INT, "topk", 0, AT(z.topk), "N", 1, 1e6, "channels that gscorecam scores", NULL, 0 },
    { CLI_INT, "rise-masks", 0, AT(z.rise_masks), "N", 1, 1e6, "random masks of rise", NULL, 0 },
    { CLI_CHOICE, "postprocess", 0, AT(z.coarse), "crf|otsu|kmeans|threshold|none", 0, 0,
      "how the map becomes a mask", NULL, 0 },
    { CLI_FLOAT, "threshold", 0, AT(z.threshold), "X", 0, 1, "for --postprocess threshold", NULL,
      0 },
    { CLI_FLOAT, "pad-box", 0, AT(z.pad_box), "PCT", -49, 1000, "widen boxes by this much a side",
      NULL, 0 },

    { .kind = CLI_SECTION, .help = "Output" },
    { CLI_TEXT, "output", 'o', AT(out), "DIR", 0, 0,
      "folder for scores.csv, scores.json, index.html", "out", 0 },
    { CLI_INT, "pictures", 0, AT(pictures), "N", 0, 1000, "phantoms shown in index.html", NULL, 0 },
    { CLI_FLAG, "demo", 0, AT(demo), NULL, 0, 0, "pictures only: no scores, no retrieval", NULL,
      0 },
    { .kind = CLI_END },
};
#undef AT

static const cli_program program = {
    .name = "eval_phantoms",
    .summary =
        "what models have learnt of phantoms: retrieval, pointing, masks, does the text decide",
    .usage = "[--clip FILE --sam FILE] --seed N -o DIR\n"
             "[--models DIR] --ablation --seed N -o DIR",
    .options = options,
    .notes =
        "Every structure of every phantom of --seed is asked for by its plain prompt.  Choose a\n"
        "seed that was neither trained nor tuned on.  Measures, with 95 % bootstrap intervals:\n"
        "  top1, top2       retrieval in batches of 50, five shuffles: how often a picture's "
        "caption\n"
        "                   is the first, one of the first two, and a caption's picture.  "
        "\"retrieval\":\n"
        "                   captions name all structures, with place and size; \"plain "
        "retrieval\":\n"
        "                   place in 60 %, size in 50 % of phrases.  Several may be true of a "
        "picture:\n"
        "    ... ceiling    what who knows all facts would reach in the same batches (expected, "
        "as\n"
        "                   captions that fit equally well are put in random order)\n"
        "    ... masked     captions that are true of a picture are no wrong answer (ceiling 1)\n"
        "  words            for each structure: present_auc, does the similarity with its plain prompt\n"
        "                   tell pictures that have it from others; place_top1, size_top1: how often\n"
        "                   the best of nine places, of three sizes is the true one;\n"
        "                   place_most_frequent: who always names the commonest place\n"
        "  pointing         the map's peak lies in the structure; pointing_other: in another one\n"
        "  saliency_dsc     of the map above Otsu's threshold;  coarse_dsc, mask_dsc: after\n"
        "                   --postprocess, after SAM;  true box, box 10 % off: SAM alone\n"
        "  cross_dsc        of that mask with the other structures of the picture\n"
        "  asked_above      how often DSC is larger with the asked one than with any other\n",
};

static const char *const everything[] = {
    "scan*relevance", "gscorecam*relevance", "gscorecam", "relevance", "scan", "scorecam",
    "gradcam",        "gradcam++",           "layercam",  "xgradcam",  "m2ib", "eigencam",
    "rise",
};

/* ---- One phantom ---- */

static int keep_scores(pe_eval *w, pe_table *t, const mcs_phantom *p, int i, const int *list, int n,
                       const mcs_zeroshot_result *r)
{
    for (int k = 0; k < n; k++) {
        pe_row row = { .phantom = i };
        pe_score(p, list[k], &r[k], w->otsu, &row);
        if (!pe_add(t, &row))
            return cli_error(w->t, CLI_NO_MEMORY, "out of memory");
    }
    return CLI_CONTINUE;
}

static int show(pe_eval *w, const mcs_phantom *p, const int *list, int n,
                const mcs_zeroshot_result *r)
{
    mcs_error e = { 0 };
    if (!w->o->out || w->shown >= w->o->pictures || n < 2)
        return CLI_CONTINUE;
    w->shown++;
    pe_html_phantom(&w->html, p, true);
    for (int k = 0; k < n && k < 2; k++) {
        pe_row row = { 0 };
        pe_score(p, list[k], &r[k], w->otsu, &row);
        if (pe_html_prompt(&w->html, w->o->out, p,
                           mcs_phantom_prompt((mcs_phantom_structure)list[k]), &r[k], &row,
                           &e) != MCS_OK)
            return cli_die(w->t, &e, false);
    }
    pe_html_phantom(&w->html, p, false);
    return CLI_CONTINUE;
}

/* All methods at once: they share scans, masked pictures and SAM's embedding. */
static int by_text(pe_eval *w, const mcs_phantom *p, int i, const mcs_image *rgb, const int *list,
                   int n)
{
    mcs_zeroshot_query q[MCS_PHANTOM_STRUCTURES] = { 0 };
    const char *text[MCS_PHANTOM_STRUCTURES];
    int code = CLI_CONTINUE;
    for (int k = 0; k < n; k++) {
        text[k] = mcs_phantom_prompt((mcs_phantom_structure)list[k]);
        q[k].texts = &text[k];
        q[k].text_count = 1;
    }
    mcs_zeroshot_result *r =
        mcs_medclip_sam_compare(w->ctx, w->model, rgb, w->methods, w->ways, n, q);
    if (!r)
        return cli_die(w->t, mcs_ctx_error(w->ctx), true);
    for (int m = 0; m < w->methods && code == CLI_CONTINUE; m++)
        code = keep_scores(w, &w->tables[m], p, i, list, n, r + (ptrdiff_t)m * n);
    if (code == CLI_CONTINUE)
        code = show(w, p, list, n, r);
    mcs_zeroshot_results_free(r, w->methods * n);
    mcs_ctx_reset(w->ctx);
    return code;
}

/* Edges moved by a normal deviate of `sd` times the side, a function of phantom and structure. */
static mcs_zeroshot_box box_of(const mcs_phantom *p, int structure, float sd)
{
    const mcs_phantom_part *part = &p->facts.part[structure];
    float size = (float)p->size, edge[4] = { part->x0, part->y0, part->x1, part->y1 };
    float side[2] = { part->x1 - part->x0, part->y1 - part->y0 };
    uint64_t state = (p->index * 16 + (uint64_t)structure) * UINT64_C(0xD1342543DE82EF95) + p->seed;
    for (int k = 0; k < 4; k++) {
        float sum = -6;
        for (int d = 0; d < 12; d++) {
            state = state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
            sum += (float)(state >> 40) * 0x1p-24f;
        }
        edge[k] = fminf(fmaxf(edge[k] + sd * side[k & 1] * sum, 0), 1);
    }
    return (mcs_zeroshot_box){ edge[0] * size, edge[1] * size,
                               fmaxf(edge[2] * size, edge[0] * size + 1),
                               fmaxf(edge[3] * size, edge[1] * size + 1) };
}

/* True boxes first, then boxes that are 10 % off: n each, on one embedding. */
static int by_box(pe_eval *w, const mcs_phantom *p, int i, const mcs_image *rgb, const int *list,
                  int n)
{
    mcs_zeroshot_query q[2 * MCS_PHANTOM_STRUCTURES] = { 0 };
    mcs_zeroshot_box boxes[2 * MCS_PHANTOM_STRUCTURES];
    int code = CLI_CONTINUE;
    for (int k = 0; k < 2 * n; k++) {
        boxes[k] = box_of(p, list[k % n], k < n ? 0 : 0.1f);
        q[k].boxes = &boxes[k];
        q[k].box_count = 1;
    }
    mcs_zeroshot_result *r = mcs_medclip_sam_run(w->ctx, w->model, rgb, w->ways, 2 * n, q);
    if (!r)
        return cli_die(w->t, mcs_ctx_error(w->ctx), true);
    for (int j = 0; j < 2 && code == CLI_CONTINUE; j++)
        code = keep_scores(w, &w->tables[w->methods + j], p, i, list, n, r + (ptrdiff_t)j * n);
    mcs_zeroshot_results_free(r, 2 * n);
    mcs_ctx_reset(w->ctx);
    return code;
}

/* ---- The whole ---- */

static int one_phantom(pe_eval *w, int i, mcs_phantom *p)
{
    mcs_error e = { 0 };
    int list[MCS_PHANTOM_STRUCTURES], n = 0, code = CLI_CONTINUE;
    if (mcs_phantom_make((uint64_t)w->t->seed, (uint64_t)i, w->o->size, p, &e) != MCS_OK)
        return cli_die(w->t, &e, false);
    mcs_image grey = { p->size, p->size, 1, 8, p->grey }, *rgb = mcs_image_to_rgb(&grey, &e);
    if (!rgb)
        return cli_die(w->t, &e, false);
    for (int s = 0; s < MCS_PHANTOM_STRUCTURES; s++)
        if (mcs_phantom_shows(&p->facts, (mcs_phantom_structure)s))
            list[n++] = s;
    if (w->clip && !w->o->demo)
        code = pe_embed(w, p, i, rgb);
    if (w->o->retrieval_only)
        n = 0;
    if (code == CLI_CONTINUE && n)
        code = by_text(w, p, i, rgb, list, n);
    if (code == CLI_CONTINUE && n && w->o->sam && !w->o->demo)
        code = by_box(w, p, i, rgb, list, n);
    mcs_image_free(rgb);
    return code;
}

static int name_tables(pe_eval *w)
{
    int all = sizeof everything / sizeof *everything;
    mcs_error e = { 0 };
    snprintf(w->tables[w->methods++].name, sizeof w->tables->name, "%s", w->o->cam);
    for (int i = 0; w->o->ablation && i < all; i++)
        if (strcmp(everything[i], w->o->cam) != 0)
            snprintf(w->tables[w->methods++].name, sizeof w->tables->name, "%s", everything[i]);
    for (int i = 0; i < w->methods; i++) {
        w->ways[i] = w->o->z;
        if (mcs_zeroshot_set_cam(&w->ways[i], w->tables[i].name, &e) != MCS_OK)
            return cli_error(w->t, CLI_BAD_USAGE, "--%s", e.message);
    }
    snprintf(w->tables[w->methods].name, sizeof w->tables->name, "true box");
    snprintf(w->tables[w->methods + 1].name, sizeof w->tables->name, "box 10 %% off");
    return CLI_CONTINUE;
}

static int prepare(pe_eval *w)
{
    mcs_error e = { 0 };
    int code = CLI_CONTINUE;
    const opts *o = w->o;
    const mcs_zeroshot_files files = { .clip = o->clip, .vocab = o->vocab, .sam = o->sam };
    code = name_tables(w);
    if (code == CLI_CONTINUE)
        w->ctx = cli_context(w->t, true, &code);
    if (!w->ctx)
        return code;
    w->model = mcs_medclip_sam_load(&files, &e);
    w->clip = w->model ? mcs_biomedclip_load(o->clip, o->vocab, &e) : NULL;
    if (!w->clip || (o->out && cli_mkdirs(o->out, &e) != MCS_OK))
        return cli_die(w->t, &e, true);
    w->otsu = malloc((size_t)o->size * (size_t)o->size);
    w->scores = json_array();
    pe_html_begin(&w->html, o->demo, o->cam);
    return pe_pairs_reserve(&w->pairs, o->count, mcs_biomedclip_get_config(w->clip)->embed) &&
                   w->otsu && w->scores
               ? CLI_CONTINUE
               : cli_error(w->t, CLI_NO_MEMORY, "out of memory");
}

static int run(pe_eval *w)
{
    int code = prepare(w);
    mcs_phantom p = { 0 };
    cli_progress progress;
    cli_progress_begin(&progress, w->t, w->o->count, "phantoms");
    for (int i = 0; i < w->o->count && code == CLI_CONTINUE; i++) {
        if (w->o->demo && w->shown >= w->o->pictures)
            break;
        code = cli_stop() ? CLI_SIGNALLED + cli_stop() : one_phantom(w, i, &p);
        progress.done++;
        cli_progress_draw(&progress);
    }
    cli_progress_end(&progress);
    mcs_phantom_free(&p);
    return code == CLI_CONTINUE ? pe_report(w) : code;
}

static void finish(pe_eval *w)
{
    for (int i = 0; i < PE_METHODS; i++)
        free(w->tables[i].rows);
    mcs_medclip_sam_free(w->model);
    mcs_biomedclip_free(w->clip);
    mcs_ctx_free(w->ctx);
    json_decref(w->scores);
    free(w->csv.text);
    free(w->html.text);
    pe_pairs_free(&w->pairs);
    free(w->otsu);
}

static void set_defaults(opts *o)
{
    *o = (opts){ .cam = "gscorecam", .count = 300, .size = 96, .pictures = 12 };
    mcs_zeroshot_defaults(&o->z, MCS_PRESET_PAPER);
    o->z.rise_masks = 128; /* forward passes as of the other methods, not 1000 */
}

/* The models that come with the project, and their zeroshot.json, as zeroshot_seg takes them. */
static int take_shipped(cli *t, opts *o, int argc, char **argv)
{
    const char *models = o->models, *settings = cli_shipped(t, models, "zeroshot.json");
    const char *clip = cli_shipped(t, models, "clip.safetensors");
    const char *sam = cli_shipped(t, models, "sam.safetensors");
    if (!clip)
        return cli_error(t, CLI_BAD_USAGE, "no model: give --clip FILE and --sam FILE");
    if (settings) {
        set_defaults(o);
        if (!cli_read_config(t, o, settings))
            return CLI_BAD_USAGE;
        int code = cli_parse(t, &program, o, argc, argv);
        if (code != CLI_CONTINUE)
            return code;
    }
    o->clip = clip;
    o->sam = sam;
    return CLI_CONTINUE;
}

int main(int argc, char **argv)
{
    cli t = { 0 };
    opts o;
    mcs_error e = { 0 };
    set_defaults(&o);
    int code = cli_parse(&t, &program, &o, argc, argv);
    if (code == CLI_CONTINUE && !o.clip)
        code = take_shipped(&t, &o, argc, argv);
    if (code == CLI_CONTINUE && mcs_zeroshot_set_cam(&o.z, o.cam, &e) != MCS_OK)
        code = cli_error(&t, CLI_BAD_USAGE, "--%s", e.message);
    if (code == CLI_CONTINUE && t.dry_run) {
        cli_info(&t, "would measure %d phantoms", o.count);
        code = CLI_DONE;
    }
    if (code == CLI_CONTINUE) {
        pe_eval w = { .t = &t, .o = &o };
        cli_signals();
        code = run(&w);
        finish(&w);
    }
    cli_close(&t);
    return code;
}
