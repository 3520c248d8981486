/* train_unet.c - weak supervision: trains a Residual UNet on masks that zeroshot_seg made (MedCLIP-SAM,
 * arXiv 2403.20253, sec. 2.3), or on any others.  Options here; the work is in cli_unet_*.c. */
#include <stdlib.h>
#include <string.h>
#include "tools/cli_unet.h"

#define AT(field) offsetof(un_opts, field)
/* A number of mcs_augment. */
#define CHANGE(name, field, unit, most, help)                                                      \
    {                                                                                              \
        CLI_FLOAT, name, 0, AT(change.field), unit, 0, most, help, NULL, CLI_RESULT                \
    }
static const cli_option options[] = {
    { .kind = CLI_SECTION, .help = "Data" },
    { CLI_LIST, "images", 'i', AT(images), "DIR", 0, 0,
      "folder of pictures; several: each with its own --masks, in the same order", NULL, 0 },
    { CLI_LIST, "masks", 'm', AT(masks), "DIR", 0, 0,
      "folder of masks with the pictures' names (NAME.png, NAME_mask.png), as OUT/masks of "
      "zeroshot_seg",
      NULL, 0 },
    { CLI_LIST, "val-images", 0, AT(val_images), "DIR", 0, 0, "the same for validation", NULL, 0 },
    { CLI_LIST, "val-masks", 0, AT(val_masks), "DIR", 0, 0, "the same for validation", NULL, 0 },
    { CLI_FLOAT, "val-share", 0, AT(val_share), "X", 0, 0.9,
      "without them: this share of the pictures, chosen by their names", NULL, CLI_RESULT },
    { CLI_FLAG, "recursive", 'r', AT(recursive), NULL, 0, 0, "folders below, too", NULL, 0 },
    { CLI_CHOICE, "labels", 0, AT(labels), "auto|binary|map", 0, 0,
      "what pixels of a mask mean: one structure, or a label each; auto: a map if all masks "
      "together have 2 to 32 values other than 0",
      NULL, CLI_RESULT },
    { CLI_FLOAT, "min-iou", 0, AT(min_iou), "X", 0, 1,
      "leave out masks whose IoU SAM itself estimates to be lower (results.jsonl of zeroshot_seg)",
      NULL, CLI_RESULT },
    { CLI_FLAG, "weight-iou", 0, AT(weight_iou), NULL, 0, 0,
      "weight pictures in the loss with that estimate", NULL, CLI_RESULT },
    { CLI_LIST, "results", 0, AT(results), "FILE", 0, 0,
      "results.jsonl, one for each --masks; the one beside the folder if not given", NULL, 0 },
    { CLI_FLAG, "keep-empty", 0, AT(keep_empty), NULL, 0, 0,
      "pictures with an empty mask do not show the structure, and are trained on", NULL,
      CLI_RESULT },
    { CLI_CHOICE, "on-error", 0, AT(on_error), "skip|stop", 0, 0,
      "pictures and masks that are broken or have no partner", NULL, 0 },

    { .kind = CLI_SECTION, .help = "Model" },
    { CLI_INT, "size", 0, AT(side), "PX", 16, 4096, "side of the squares the net sees", NULL,
      CLI_RESULT },
    { CLI_CHOICE, "sampling", 0, AT(sampling), "resize|patch", 0, 0,
      "whole pictures resized to a square, or squares of their own pixels", NULL, CLI_RESULT },
    { CLI_FLOAT, "foreground", 0, AT(foreground), "X", 0, 1,
      "share of patches about a labelled pixel", NULL, CLI_RESULT },
    { CLI_TEXT, "channels", 0, AT(channels), "LIST", 0, 0, "of the levels, the finest first", NULL,
      CLI_RESULT },
    { CLI_INT, "res-units", 0, AT(res_units), "N", 0, MCS_UNET_MAX_UNITS,
      "convolutions of a residual unit; 0: a plain UNet", NULL, CLI_RESULT },
    { CLI_CHOICE, "norm", 0, AT(norm), "instance|instance-affine|batch|none", 0, 0, "normalisation",
      NULL, CLI_RESULT },
    { CLI_FLOAT, "dropout", 0, AT(dropout), "X", 0, 0.95, "of elements", NULL, CLI_RESULT },
    { CLI_CHOICE, "colour", 0, AT(in_channels), "rgb|grey", 0, 0, "what is read of pictures",
      "color", CLI_RESULT },
    { CLI_TEXT, "pretrained", 0, AT(pretrained), "FILE", 0, 0,
      "UNet to begin with (.safetensors, .pt)", NULL, 0 },
    CLI_RUN_FREEZE(un_opts, "freeze weights whose names begin so"),

    { .kind = CLI_SECTION, .help = "Augmentation" },
    { CLI_CHOICE, "aug", 0, AT(aug), "default|none", 0, 0, "what follows, or nothing", NULL,
      CLI_RESULT },
    CHANGE("flip-x", flip_x, "X", 1, "share mirrored left-right"),
    CHANGE("flip-y", flip_y, "X", 1, "share turned upside down"),
    CHANGE("rotate", rotate, "DEG", 180, "up to that angle"),
    CHANGE("scale", scale, "X", 4, "larger or smaller by up to that"),
    CHANGE("shift", shift, "X", 1, "up to that share of the side"),
    CHANGE("gamma", gamma, "X", 4, "exponent from 1/(1+X) to 1+X"),
    CHANGE("contrast", contrast, "X", 1, "factor from 1-X to 1+X"),
    CHANGE("brightness", brightness, "X", 1, "offset from -X to X"),
    CHANGE("noise", noise, "X", 1, "standard deviation up to that"),
    { CLI_FLOAT, "aug-chance", 0, AT(change.chance), "X", 0, 1,
      "how often each of: moves, gamma, contrast and brightness, noise", NULL, CLI_RESULT },

    { .kind = CLI_SECTION, .help = "Optimisation" },
    { CLI_TEXT, "loss", 0, AT(loss), "TERMS", 0, 0,
      "dice, bce, focal with weights, as dice+0.5*bce; of several labels bce is cross-entropy",
      NULL, CLI_RESULT },
    { CLI_FLOAT, "dice-smooth", 0, AT(smooth), "X", 1e-6, 1e6,
      "added to both sides of Dice's fraction", NULL, CLI_RESULT },
    { CLI_INT, "batch-size", 'b', AT(batch), "N", 1, 1e6, "pictures at a time", NULL, CLI_RESULT },
    { CLI_INT, "accum-freq", 0, AT(accum), "N", 1, 1e5, "so many batches make one step", NULL,
      CLI_RESULT },
    { CLI_CHOICE, "optimizer", 0, AT(optimizer), "adamw|sgd", 0, 0,
      "nnU-Net: sgd --lr 0.01 --wd 3e-5", "optimiser", CLI_RESULT },
    CLI_RUN_LENGTH(un_opts),
    { CLI_CHOICE, "lr-scheduler", 0, AT(scheduler), "poly|cosine|const", 0, 0,
      "poly: (1 - t)^--lr-gamma", NULL, CLI_RESULT },
    { CLI_FLOAT, "lr-gamma", 0, AT(run.gamma), "X", 0, 10, "of the poly scheduler", NULL,
      CLI_RESULT },
    { CLI_INT, "cycles", 0, AT(cycles), "N", 1, 10000,
      "the schedule begins anew so often; a checkpoint of each cycle is kept for predict_unet to "
      "average",
      NULL, CLI_RESULT },
    { CLI_FLOAT, "cycle-hold", 0, AT(hold), "X", 0, 1,
      "after this share of a cycle the rate stays as it is", NULL, CLI_RESULT },
    { CLI_INT, "cycle-saves", 0, AT(cycle_saves), "N", 1, 10000,
      "checkpoints kept of each cycle: its last epochs", NULL, 0 },
    { CLI_FLOAT, "momentum", 0, AT(momentum), "X", 0, 0.9999, "SGD, Nesterov's", NULL, CLI_RESULT },
    CLI_RUN_ADAMW(un_opts),
    { CLI_BYTES, "cache", 0, AT(cache), "BYTES", 0, 0, "memory for decoded pictures", NULL, 0 },

    { .kind = CLI_SECTION, .help = "Output" },
    CLI_RUN_OUTPUT(un_opts, "dsc|val-loss"),
    { .kind = CLI_END },
};
#undef CHANGE
#undef AT

static const cli_program program = {
    .name = "train_unet",
    .summary = "train a UNet on pictures and masks, such as zeroshot_seg makes",
    .usage = "--images DIR --masks OUT/masks --name RUN [--min-iou 0.7]\n"
             "--images DIR --masks OUT/masks --val-images DIR --val-masks DIR --name RUN",
    .options = options,
    .notes = "DIR/NAME/ gets params.json, log.jsonl, metrics.csv, curves.svg, errors.jsonl,\n"
             "left_out.jsonl and checkpoints/epoch_N.safetensors, which predict_unet (and MONAI's\n"
             "UNet) load.  Masks may hold 0/1, 0/255 or labels, be grey, RGB, 1-bit or have a\n"
             "palette; what is assumed is said.  SIGTERM and SIGINT finish the step and save;\n"
             "SIGUSR1 saves.  A run that was killed at any moment and resumed ends with the same\n"
             "bytes as one that was not.\n",
};

static int check_options(cli *t, const un_opts *o, un_run *r)
{
    if (!o->images.count || !o->masks.count)
        return cli_error(t, CLI_BAD_USAGE, "give --images DIR and --masks DIR");
    if (!o->val_images.count != !o->val_masks.count)
        return cli_error(t, CLI_BAD_USAGE, "--val-images and --val-masks belong together");
    if (o->val_images.count && o->val_share > 0)
        return cli_error(t, CLI_BAD_USAGE, "--val-share and --val-images exclude each other");
    if (o->results.count && o->results.count != o->masks.count)
        return cli_error(t, CLI_BAD_USAGE, "give --results for each --masks, or not at all");
    if ((int64_t)o->batch * o->accum > 1 << 24)
        return cli_error(t, CLI_BAD_USAGE, "--batch-size times --accum-freq is too large");
    if (o->cycles > o->run.epochs)
        return cli_error(t, CLI_BAD_USAGE, "--cycles: %d cycles do not fit in %d epochs", o->cycles,
                         o->run.epochs);
    if (!un_parse_loss(o->loss, &r->loss))
        return cli_error(t, CLI_BAD_USAGE,
                         "--loss: '%s' is not made of dice, bce, focal, as dice+0.5*bce", o->loss);
    return cli_run_check_options(t, &o->run);
}

static void clean_up(un_run *r)
{
    cli_run_close(&r->run);
    mcs_unet_free(r->model);
    mcs_ctx_free(r->ctx);
    un_data_free(&r->train);
    un_data_free(&r->val);
    free(r->order.at);
}

static int work(cli *t, const un_opts *o)
{
    un_run r = { .t = t,
                 .o = o,
                 .loss = { .smooth = o->smooth },
                 .change = o->aug ? (mcs_augment){ 0 } : o->change,
                 .run = CLI_RUN_CLOSED };
    int code = check_options(t, o, &r);
    if (code != CLI_CONTINUE)
        return code;
    cli_run_begin(&r.run, t, &program, o, &o->run, &r.s);
    if (o->scheduler != UN_CONST || o->cycles > 1)
        json_object_set_new(r.run.settings, "epochs", json_integer(o->run.epochs));
    cli_signals();
    code = un_run_all(&r);
    clean_up(&r);
    return code;
}

int main(int argc, char **argv)
{
    const mcs_unet_loss loss = mcs_unet_loss_defaults();
    cli t = { 0 };
    un_opts o = { .side = 256,
                  .foreground = 0.33f,
                  .channels = "16,32,64,128,256",
                  .res_units = mcs_unet_defaults().res_units,
                  .change = mcs_augment_defaults(),
                  .loss = "dice+bce",
                  .smooth = loss.smooth,
                  .batch = 8,
                  .accum = 1,
                  .cycles = 1,
                  .hold = 0.8f,
                  .cycle_saves = 1,
                  .momentum = 0.99f,
                  .cache = UINT64_C(1) << 30,
                  .run = { CLI_RUN_DEFAULTS, .epochs = 100, .lr = 3e-3f, .wd = 1e-5f, .gamma = 0.9f,
                           .beta1 = 0.9f, .beta2 = 0.999f, .eps = 1e-8f, .clip_norm = 12 } };
    int code = cli_parse(&t, &program, &o, argc, argv);
    if (code == CLI_CONTINUE)
        code = work(&t, &o);
    cli_close(&t);
    return code;
}
