/* zeroshot_seg.c - pictures and a text prompt in, masks out: saliency of BiomedCLIP, coarse mask
 * by a dense CRF, boxes, Segment Anything.  Options here; the work is in cli_zeroshot_*.c. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "tools/cli_zeroshot.h"

#define AT(field) offsetof(zs_opts, field)
static const cli_option options[] = {
    { .kind = CLI_SECTION, .help = "Input" },
    CLI_INPUT_OPTIONS(zs_opts),
    { CLI_TEXT, "window", 0, AT(window), "C,W", 0, 0,
      "16-bit pictures: centre and width of the grey window", NULL, CLI_RESULT },
    { CLI_TEXT, "normalize", 0, AT(normalize), "auto|minmax|percentile:LO,HI|none", 0, 0,
      "16-bit pictures: grey range; auto is percentile:0.5,99.5, and leaves 8-bit ones alone", NULL,
      CLI_RESULT },

    { .kind = CLI_SECTION, .help = "What to look for" },
    { CLI_LIST, "prompt", 'p', AT(prompt), "TEXT", 0, 0, "text; several make an ensemble", NULL,
      CLI_RESULT },
    { CLI_TEXT, "prompt-file", 0, AT(prompt_file), "FILE", 0, 0, "an ensemble, one prompt a line",
      NULL, CLI_RESULT },
    { CLI_TEXT, "prompt-json", 0, AT(prompt_json), "FILE", 0, 0,
      "prompts by picture: {\"100.png\": \"...\"} or lists of them; or {\"prompts\": [...]} for "
      "all",
      NULL, CLI_RESULT },
    { CLI_LIST, "class", 0, AT(classes), "NAME=TEXT", 0, 0,
      "a class of a label map; the same name again adds to its ensemble", NULL, CLI_RESULT },
    { CLI_CHOICE, "ensemble", 0, AT(z.ensemble), "mean-embedding|mean-map", 0, 0,
      "what an ensemble averages", NULL, CLI_RESULT },
    { CLI_LIST, "negative", 0, AT(negative), "TEXT", 0, 0,
      "what it is not, or words that fit any picture: taken off the prompt", NULL, CLI_RESULT },
    { CLI_FLAG, "rivals", 0, AT(rivals), NULL, 0, 0,
      "with --class: the texts of the other classes are negatives too", NULL, CLI_RESULT },
    { CLI_CHOICE, "negative-mode", 0, AT(z.negative), "embedding|map|relevance", 0, 0,
      "what is explained is the difference of the cosines; or the map less the negatives' maps; or "
      "the difference, by relevance alone in a product",
      NULL, CLI_RESULT },
    { CLI_FLOAT, "negative-weight", 0, AT(z.negative_weight), "X", 0, 100,
      "of the negatives' mean", NULL, CLI_RESULT },
    { CLI_LIST, "box", 0, AT(box), "X0,Y0,X1,Y1", 0, 0, "box in pixels; skips the text stage", NULL,
      CLI_RESULT },
    { CLI_TEXT, "boxes", 0, AT(boxes), "FILE.json", 0, 0,
      "boxes by picture: {\"100.png\": [[x0,y0,x1,y1], ...]}", NULL, CLI_RESULT },
    { CLI_TEXT, "points", 0, AT(points), "X,Y,+;X,Y,-", 0, 0,
      "points on the object and on the background; skips the text stage", NULL, CLI_RESULT },

    { .kind = CLI_SECTION, .help = "Models" },
    { CLI_TEXT, "clip", 0, AT(clip), "FILE", 0, 0,
      "BiomedCLIP checkpoint (.safetensors, .bin, .pt)", NULL, 0 },
    { CLI_TEXT, "vocab", 0, AT(vocab), "FILE", 0, 0,
      "vocabulary; vocab.txt beside the checkpoint if not given", NULL, 0 },
    { CLI_TEXT, "sam", 0, AT(sam), "FILE", 0, 0,
      "SAM checkpoint (.pth, .safetensors); without it the work ends with the coarse mask",
      "checkpoint", 0 },
    { CLI_CHOICE, "model-type", 0, AT(model_type), "auto|vit-b|vit-l|vit-h|vit-t", 0, 0,
      "kind of SAM; auto reads it off the checkpoint", NULL, CLI_RESULT },
    { CLI_TEXT, "models", 0, AT(models), "DIR", 0, 0,
      "folder of the models used without --clip and --sam; else $MCS_MINI, or where they were "
      "installed",
      NULL, 0 },

    { .kind = CLI_SECTION, .help = "Saliency" },
    { CLI_TEXT, "cam", 0, AT(cam), "NAME[*NAME]", 0, 0,
      "gscorecam, scorecam, gradcam, gradcam++, layercam, xgradcam, relevance, scan, m2ib, "
      "eigencam, rise, or a product of maps such as gscorecam*relevance",
      "cam-version", CLI_RESULT },
    { CLI_TEXT, "cam-layer", 0, AT(z.cam_layer), "NAME|auto", 0, 0,
      "layer of the image tower (--list-layers); auto: norm2 of the last block", NULL, CLI_RESULT },
    { CLI_CHOICE, "cam-gradient", 0, AT(z.gradient), "cls|patch|official", 0, 0,
      "which gradient ranks channels: at the class token; of the patches; as the released code",
      NULL, CLI_RESULT },
    { CLI_FLOAT, "cam-scale", 0, AT(z.cam_scale), "X", 0, 1e4,
      "scale of the channel scores; 0: the checkpoint's logit scale", NULL, CLI_RESULT },
    { CLI_INT, "topk", 0, AT(z.topk), "N", 1, 1e6, "channels that gscorecam scores", NULL,
      CLI_RESULT },
    { CLI_FLOAT, "m2ib-beta", 0, AT(z.m2ib_beta), "X", 0, 1e6,
      "m2ib: weight of the compression against the fit", "vbeta", CLI_RESULT },
    { CLI_INT, "m2ib-layer", 0, AT(z.m2ib_layer), "N", -1, 126,
      "m2ib: block of the image tower, from 0; -1: the fifth from the end, or the first", "vlayer", CLI_RESULT },
    { CLI_INT, "m2ib-steps", 0, AT(z.m2ib_steps), "N", 1, 10000, "m2ib: steps of Adam", NULL,
      CLI_RESULT },
    { CLI_FLOAT, "m2ib-lr", 0, AT(z.m2ib_lr), "X", 1e-6, 100, "m2ib: length of a step", NULL,
      CLI_RESULT },
    { CLI_INT, "rise-masks", 0, AT(z.rise_masks), "N", 1, 1e6, "rise: masked pictures", NULL,
      CLI_RESULT },
    { CLI_INT, "rise-grid", 0, AT(z.rise_grid), "N", 1, 64, "rise: cells along a side of a mask",
      NULL, CLI_RESULT },
    { CLI_FLOAT, "rise-keep", 0, AT(z.rise_keep), "P", 0.001, 0.999,
      "rise: probability that a cell is kept", NULL, CLI_RESULT },
    { CLI_INT, "batch-size", 0, AT(z.batch), "N|auto", 0, 4096,
      "masked pictures per pass; results do not depend on it", NULL, CLI_AUTO },
    { CLI_CHOICE, "clip-fit", 0, AT(z.fit), "squash|crop|stretch", 0, 0,
      "pictures that are not square: squash to a square; crop the centre and put the map back; "
      "crop, and stretch the map over everything as the released code does",
      NULL, CLI_RESULT },
    { CLI_FLAG, "check-prompt", 0, AT(z.check_prompt), NULL, 0, 0,
      "correlate the map with that of a nonsense prompt; warn above 0.9", NULL, CLI_RESULT },
    { CLI_FLOAT, "min-clip-score", 0, AT(min_clip_score), "X", -1, 1,
      "empty mask where picture and text have a lower cosine", NULL, CLI_RESULT },

    { .kind = CLI_SECTION, .help = "Coarse mask" },
    { CLI_CHOICE, "postprocess", 0, AT(z.coarse), "crf|otsu|kmeans|threshold|none", 0, 0,
      "how the map becomes a mask", NULL, CLI_RESULT },
    { CLI_FLOAT, "gaussian-sxy", 0, AT(z.gaussian_sxy), "PX", 1e-3, 1e5,
      "CRF: reach of the smoothness kernel", NULL, CLI_RESULT },
    { CLI_FLOAT, "gaussian-compat", 0, AT(z.gaussian_compat), "X", 0, 1e5, "CRF: its weight", NULL,
      CLI_RESULT },
    { CLI_FLOAT, "bilateral-sxy", 0, AT(z.bilateral_sxy), "PX", 1e-3, 1e5,
      "CRF: reach of the appearance kernel", NULL, CLI_RESULT },
    { CLI_FLOAT, "bilateral-srgb", 0, AT(z.bilateral_srgb), "X", 1e-3, 1e5,
      "CRF: its width in grey levels", NULL, CLI_RESULT },
    { CLI_FLOAT, "bilateral-compat", 0, AT(z.bilateral_compat), "X", 0, 1e5, "CRF: its weight",
      NULL, CLI_RESULT },
    { CLI_INT, "crf-iters", 0, AT(z.crf_iters), "N", 0, 1000, "CRF: mean-field iterations", NULL,
      CLI_RESULT },
    { CLI_FLOAT, "epsilon", 0, AT(z.epsilon), "X", 1e-30, 0.5, "CRF: added before logarithms", NULL,
      CLI_RESULT },
    { CLI_FLOAT, "tau", 0, AT(z.tau), "X", 1e-3, 1e3, "CRF: temperature of the unaries", NULL,
      CLI_RESULT },
    { CLI_FLOAT, "threshold", 0, AT(z.threshold), "X", 0, 1, "for --postprocess threshold", NULL,
      CLI_RESULT },
    { CLI_FLAG, "overlay-saliency", 0, AT(z.overlay_saliency), NULL, 0, 0,
      "the CRF reads the coloured overlay as grey levels, as the released code does", NULL,
      CLI_RESULT },
    { CLI_INT, "num-contours", 0, AT(z.num_contours), "N", 0, 1e6,
      "largest components kept; 0: all", NULL, CLI_RESULT },
    { CLI_INT64, "min-size", 0, AT(z.min_size), "PX", 0, 1e9, "smaller components are dropped",
      NULL, CLI_RESULT },
    { CLI_INT64, "fill-holes", 0, AT(z.fill_holes), "PX", 0, 1e9,
      "holes of at most so many pixels are filled", NULL, CLI_RESULT },

    { .kind = CLI_SECTION, .help = "Segment Anything" },
    { CLI_CHOICE, "prompts", 0, AT(z.prompts), "boxes|points|both", 0, 0,
      "what it is given of the coarse mask", NULL, CLI_RESULT },
    { CLI_FLAG, "multi-contour", 0, AT(z.multi_contour), NULL, 0, 0,
      "a box per component, masks joined; else one box around all", "multicontour", CLI_RESULT },
    { CLI_FLAG, "contour-holes", 0, AT(z.contour_holes), NULL, 0, 0,
      "holes get boxes too, as in the released code", NULL, CLI_RESULT },
    { CLI_FLAG, "multimask", 0, AT(z.multimask), NULL, 0, 0,
      "three masks, the one with the best estimate is kept", NULL, CLI_RESULT },
    { CLI_FLAG, "match-contours", 0, AT(z.match_contours), NULL, 0, 0,
      "as many of its components are kept as the coarse mask has, the largest", NULL, CLI_RESULT },
    { CLI_INT, "refine", 0, AT(z.refine), "N", 0, 10,
      "further passes, each given the mask of the one before beside box and points", NULL,
      CLI_RESULT },
    { CLI_FLOAT, "pad-box", 0, AT(z.pad_box), "PCT", -49, 1000, "widen boxes by this much a side",
      NULL, CLI_RESULT },
    { CLI_INT, "num-points", 0, AT(z.points), "N", 1, 1000, "points drawn in the coarse mask", NULL,
      CLI_RESULT },
    { CLI_INT, "num-background-points", 0, AT(z.background_points), "N", 0, 1000,
      "and outside it, as background", NULL, CLI_RESULT },
    { CLI_CHOICE, "empty-box", 0, AT(z.empty), "whole|skip", 0, 0,
      "no coarse mask: box around everything, or an empty mask", NULL, CLI_RESULT },
    { CLI_FLOAT, "min-iou", 0, AT(min_iou), "X", 0, 1,
      "empty mask where SAM's own estimate is lower", NULL, CLI_RESULT },

    { .kind = CLI_SECTION, .help = "Output" },
    { CLI_TEXT, "output", 'o', AT(out), "DIR", 0, 0, "folder; made if needed", "out", 0 },
    { CLI_TEXT, "save", 0, AT(save), "KINDS", 0, 0,
      "of mask,overlay,saliency,coarse,heat,npy,rle; mask,overlay if not given", NULL, 0 },
    { CLI_FLAG, "html", 0, AT(html), NULL, 0, 0, "write index.html", NULL, 0 },
    { CLI_TEXT, "gt", 0, AT(gt), "DIR", 0, 0,
      "masks of the same names: adds DSC and IoU, metrics.csv, summary.json", "gt-path", 0 },
    { CLI_FLAG, "resume", 0, AT(resume), NULL, 0, 0,
      "do pictures again that an earlier run finished", NULL, 0 },
    { CLI_CHOICE, "on-error", 0, AT(on_error), "skip|stop", 0, 0, "a picture fails", NULL, 0 },
    { CLI_FLAG, "list-layers", 0, AT(list_layers), NULL, 0, 0, "names for --cam-layer, and exit",
      NULL, 0 },
    { CLI_CHOICE, "preset", 0, AT(preset), "paper|official-code|v2", 0, 0,
      "defaults: the published method; every quirk of the released code; version 2 (m2ib, kmeans)",
      NULL, CLI_RESULT },
    { .kind = CLI_END },
};
#undef AT

static const cli_program program = {
    .name = "zeroshot_seg",
    .summary = "pictures and a text prompt in, masks out (MedCLIP-SAM)",
    .usage = "-i PATH -o DIR --clip FILE --sam FILE --prompt TEXT [options]\n"
             "-i PATH -o DIR --sam FILE --box X0,Y0,X1,Y1 [options]\n"
             "-i PATH -o DIR --prompt TEXT [options]",
    .options = options,
    .notes =
        "Writes in the output folder:\n"
        "  masks/NAME.png     0 and 255; with --class 0, 1, 2, ... in the order of the classes\n"
        "  overlays/NAME.png  picture, mask and boxes;  heat/NAME.png  picture and map\n"
        "  saliency/NAME.png  the map, 16-bit grey;  coarse/NAME.png;  npy/NAME.npy;  "
        "rle/NAME.json\n"
        "  results.jsonl      a line per picture: hash, prompt, scores, boxes, areas, seconds\n"
        "  errors.jsonl       a line per picture that failed\n"
        "  run.json           settings, version, hashes of the weights\n"
        "  index.html         with --html;  metrics.csv, summary.json  with --gt\n"
        "NAME is the path relative to the folder given, without extension.  A second run goes on\n"
        "where the first ended; with other settings it refuses, unless --force starts over.\n"
        "Without --clip and --sam the small models that come with the project are taken, if they\n"
        "are there (weights/mini): they know phantoms, not patients.  The zeroshot.json beside "
        "them\n"
        "holds what is best for them, --cam above all, unless --preset is given.\n",
};

static void set_defaults(zs_opts *o, int preset)
{
    memset(o, 0, sizeof *o);
    mcs_zeroshot_defaults(&o->z, (mcs_zeroshot_preset)preset);
    o->preset = preset;
    o->resume = true;
    o->cam = o->cam_default = preset == MCS_PRESET_V2 ? "m2ib" : "gscorecam";
    o->min_clip_score = -1.0f;
}

static bool needs_output(const cli *t, const zs_opts *o)
{
    return !o->list_layers && !t->dry_run;
}

/* What the table cannot say: options that belong together. */
static int check_options(cli *t, zs_opts *o)
{
    mcs_error e = { 0 };
    if (o->z.cam_layer && strcmp(o->z.cam_layer, "auto") == 0)
        o->z.cam_layer = NULL;
    o->z.seed = (uint64_t)t->seed;
    if (mcs_zeroshot_set_cam(&o->z, o->cam, &e) != MCS_OK)
        return cli_error(t, CLI_BAD_USAGE, "--%s", e.message);
    if (mcs_zeroshot_check(&o->z, &e) != MCS_OK)
        return cli_die(t, &e, false);
    if (o->list_layers)
        return o->clip ? CLI_CONTINUE : cli_error(t, CLI_BAD_USAGE, "--list-layers needs --clip");
    if (!o->input.count && !o->list)
        return cli_error(t, CLI_BAD_USAGE,
                         "no input: give -i PATH (a picture or a folder) or "
                         "--list FILE; zeroshot_seg --help shows all options");
    if (!o->out && needs_output(t, o))
        return cli_error(t, CLI_BAD_USAGE, "no output folder: give -o DIR");
    if (!o->clip && !o->sam)
        return cli_error(t, CLI_BAD_USAGE, "no model: give --clip FILE and --sam FILE");
    return CLI_CONTINUE;
}

/* The models that come with the project, and the settings measured to be the best for them: what
 * zeroshot.json says are defaults, over which flags win. */
static int take_shipped(cli *t, zs_opts *o, int argc, char **argv)
{
    const char *models = o->models, *clip = cli_shipped(t, models, "clip.safetensors");
    const char *sam = cli_shipped(t, models, "sam.safetensors");
    const char *settings = o->preset ? NULL : cli_shipped(t, models, "zeroshot.json");
    if (!clip && !sam)
        return models ? cli_error(t, CLI_BAD_USAGE,
                                  "--models: %s has neither clip.safetensors nor sam.safetensors",
                                  models)
                      : CLI_CONTINUE;
    if (settings) {
        const char *best;
        set_defaults(o, o->preset);
        if (!cli_read_config(t, o, settings))
            return CLI_BAD_USAGE;
        best = o->cam;
        int code = cli_parse(t, &program, o, argc, argv);
        if (code != CLI_CONTINUE)
            return code;
        o->cam_default = best;
    }
    o->clip = clip;
    o->sam = sam;
    o->shipped = true;
    cli_warn(t, "%s", cli_shipped_notice);
    return CLI_CONTINUE;
}

int main(int argc, char **argv)
{
    cli t = { 0 };
    zs_opts o;
    set_defaults(&o, MCS_PRESET_PAPER);
    int code = cli_parse(&t, &program, &o, argc, argv);
    if (code == CLI_CONTINUE && o.preset) { /* a preset changes defaults, flags win over it */
        set_defaults(&o, o.preset);
        code = cli_parse(&t, &program, &o, argc, argv);
    }
    if (code == CLI_CONTINUE && !o.clip && !o.sam)
        code = take_shipped(&t, &o, argc, argv);
    if (code == CLI_CONTINUE)
        code = check_options(&t, &o);
    if (code == CLI_CONTINUE) {
        zs_run r = { .t = &t, .o = &o, .program = &program };
        cli_signals();
        code = zs_run_all(&r);
    }
    cli_close(&t);
    return code;
}
