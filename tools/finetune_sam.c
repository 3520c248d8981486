/* finetune_sam.c - trains SAM on pictures and masks, prompted by the masks' boxes, as MedSAM (Ma et
 * al. 2024) was; or a small model of its kind from scratch.  Options here; the work is in
 * cli_samtrain_*.c. */
#include <stdlib.h>
#include <string.h>
#include "tools/cli_samtrain.h"

#define AT(field) offsetof(st_opts, field)
static const cli_option options[] = {
    { .kind = CLI_SECTION, .help = "Data" },
    { CLI_LIST, "images", 'i', AT(images), "DIR", 0, 0,
      "folder of pictures; several: each with its own --masks, in the same order", NULL, 0 },
    { CLI_LIST, "masks", 0, AT(masks), "DIR", 0, 0,
      "folder of masks with the pictures' names (NAME.png, NAME_mask.png); several for one folder "
      "of "
      "pictures: a picture has those of all of them",
      NULL, 0 },
    { CLI_LIST, "val-images", 0, AT(val_images), "DIR", 0, 0, "the same for validation", NULL, 0 },
    { CLI_LIST, "val-masks", 0, AT(val_masks), "DIR", 0, 0, "the same for validation", NULL, 0 },
    { CLI_FLAG, "recursive", 'r', AT(recursive), NULL, 0, 0, "folders below, too", NULL, 0 },
    { CLI_CHOICE, "labels", 0, AT(labels), "auto|binary|map", 0, 0,
      "what pixels of a mask mean: one object, or a label each; auto: a map if there are 2 to 32 "
      "values other than 0",
      NULL, CLI_RESULT },
    { CLI_CHOICE, "samples", 0, AT(samples), "label|component", 0, 0,
      "what a box is drawn around: all of a label (MedSAM), or each connected part of it", NULL,
      CLI_RESULT },
    { CLI_INT, "min-area", 0, AT(min_area), "PX", 1, 1e9, "smaller masks are left out", NULL,
      CLI_RESULT },
    { CLI_CHOICE, "on-error", 0, AT(on_error), "skip|stop", 0, 0,
      "pictures that are broken, or whose mask is missing, broken, empty or of another size", NULL,
      0 },

    { .kind = CLI_SECTION, .help = "Model" },
    { CLI_TEXT, "sam", 0, AT(sam), "FILE", 0, 0,
      "SAM checkpoint to begin with (.pth, .pt, .safetensors)", "pretrained", 0 },
    { CLI_TEXT, "from-scratch", 0, AT(scratch), "FILE.json", 0, 0,
      "begin with a new model of these sizes: {\"image\": 96, \"vit\": {...}, \"decoder\": {...}}; "
      "what is not named is as in vit_b",
      NULL, 0 },
    { CLI_CHOICE, "init", 0, AT(init), "default|xavier", 0, 0,
      "initial values of a new model: PyTorch's, or Xavier's for linear layers", NULL, 0 },
    { CLI_CHOICE, "train", 0, AT(part), "decoder|all", 0, 0,
      "the mask decoder, or prompt and image encoder, too", NULL, CLI_RESULT },
    CLI_RUN_FREEZE(st_opts, "freeze weights whose names begin so; MedSAM: --train all --freeze "
                            "prompt_encoder."),

    { .kind = CLI_SECTION, .help = "Prompts and loss" },
    { CLI_TEXT, "box-jitter", 0, AT(jitter), "X|X%", 0, 0,
      "how far edges of boxes are moved at random: in pixels of a picture of 1024 (MedSAM: 20), or "
      "in per cent of the side",
      NULL, CLI_RESULT },
    { CLI_CHOICE, "jitter-direction", 0, AT(direction), "auto|out|both", 0, 0,
      "only outwards (MedSAM), or inwards as well; auto: out for pixels, both for per cent", NULL,
      CLI_RESULT },
    { CLI_INT, "prompts", 0, AT(prompts), "N|auto", 0, ST_PROMPTS_MAX,
      "masks of a picture in a step, drawn at random; auto: all (at most 64); MedSAM: 1", NULL,
      CLI_AUTO | CLI_RESULT },
    { CLI_CHOICE, "target", 0, AT(target), "area|nearest", 0, 0,
      "how masks are reduced to the grid of the logits", NULL, CLI_RESULT },
    { CLI_FLOAT, "dice-weight", 0, AT(dice), "X", 0, 1e6, "weight of the Dice loss", NULL,
      CLI_RESULT },
    { CLI_FLOAT, "bce-weight", 0, AT(bce), "X", 0, 1e6, "of the cross-entropy", NULL, CLI_RESULT },
    { CLI_FLOAT, "focal-weight", 0, AT(focal), "X", 0, 1e6, "of the focal loss", NULL, CLI_RESULT },
    { CLI_FLOAT, "iou-weight", 0, AT(iou), "X", 0, 1e6,
      "of the squared error of the model's estimate of its IoU", NULL, CLI_RESULT },
    { CLI_FLAG, "dice-squared", 0, AT(squared), NULL, 0, 0,
      "squares in the denominator of Dice (MedSAM)", NULL, CLI_RESULT },
    { CLI_FLOAT, "dice-smooth", 0, AT(smooth), "X", 0, 1e6, "added to both sides of its fraction",
      NULL, CLI_RESULT },

    { .kind = CLI_SECTION, .help = "Optimisation" },
    { CLI_INT, "batch-size", 'b', AT(batch), "N", 1, 1e6, "pictures of a step", NULL, CLI_RESULT },
    { CLI_INT, "accum-freq", 0, AT(accum), "N", 1, 1e5, "so many batches make one step", NULL,
      CLI_RESULT },
    { CLI_FLAG, "grad-checkpointing", 0, AT(checkpointing), NULL, 0, 0,
      "keep only the inputs of the encoder's blocks and run them again backwards: the same bits in "
      "less memory, a third slower",
      NULL, 0 },
    CLI_RUN_LENGTH(st_opts),
    { CLI_CHOICE, "lr-scheduler", 0, AT(scheduler), "const|cosine|step|poly", 0, 0,
      "cosine: to 0 at the end; step: times --lr-gamma each epoch; poly: (1 - t)^--lr-gamma", NULL,
      CLI_RESULT },
    { CLI_FLOAT, "lr-gamma", 0, AT(run.gamma), "X", 0, 10, "of the step and poly schedulers", NULL,
      CLI_RESULT },
    CLI_RUN_ADAMW(st_opts),
    { CLI_BYTES, "cache", 0, AT(cache), "BYTES", 0, 0,
      "memory for embeddings of a frozen encoder, and for masks", NULL, 0 },

    { .kind = CLI_SECTION, .help = "Output" },
    CLI_RUN_OUTPUT(st_opts, "dsc|dsc-jitter|val-loss"),
    { .kind = CLI_END },
};
#undef AT

static const cli_program program = {
    .name = "finetune_sam",
    .summary = "train SAM on pictures and masks, prompted by boxes",
    .usage = "--images DIR --masks DIR --sam FILE --name RUN\n"
             "--images DIR --masks DIR --from-scratch FILE.json --train all --name RUN",
    .options = options,
    .notes = "DIR/NAME/ gets params.json, log.jsonl, metrics.csv, curves.svg, errors.jsonl and\n"
             "checkpoints/epoch_N.safetensors, which zeroshot_seg --sam loads.  Validation gives\n"
             "the mean DSC from the true box and from one with edges moved by up to 10 %.\n"
             "SIGTERM and SIGINT finish the step and save; SIGUSR1 saves.  A run that was killed\n"
             "at any moment and resumed ends with the same bytes as one that was not.\n",
};

static int check_options(cli *t, const st_opts *o, st_run *r)
{
    const char *resume = o->run.resume;
    if (!o->images.count || !o->masks.count || (!o->sam && !o->scratch && !resume))
        return cli_error(t, CLI_BAD_USAGE,
                         "give --images DIR, --masks DIR and --sam FILE (or --from-scratch "
                         "FILE.json)");
    if (o->sam && o->scratch)
        return cli_error(t, CLI_BAD_USAGE, "--sam and --from-scratch exclude each other");
    if (o->scratch && o->part == MCS_SAM_TRAIN_DECODER)
        return cli_error(t, CLI_BAD_USAGE,
                         "--from-scratch needs --train all: a new encoder knows nothing");
    if (!o->val_images.count != !o->val_masks.count)
        return cli_error(t, CLI_BAD_USAGE, "--val-images and --val-masks belong together");
    if ((int64_t)o->batch * o->accum > 1 << 24)
        return cli_error(t, CLI_BAD_USAGE, "--batch-size times --accum-freq is too large");
    if (!st_parse_jitter(o->jitter, o->direction, &r->jitter))
        return cli_error(
            t, CLI_BAD_USAGE,
            "--box-jitter: '%s' is neither a number of pixels (20) nor per cent (10%%)", o->jitter);
    if (!(o->dice + o->bce + o->focal + o->iou > 0))
        return cli_error(t, CLI_BAD_USAGE, "all weights of the loss are 0");
    if (resume && strcmp(resume, "latest") == 0 && !o->sam && !o->scratch)
        return cli_error(t, CLI_BAD_USAGE,
                         "--resume latest needs --sam or --from-scratch, for the case that there "
                         "is no checkpoint yet");
    return cli_run_check_options(t, &o->run);
}

static void clean_up(st_run *r)
{
    cli_run_close(&r->run);
    mcs_sam_free(r->model);
    mcs_ctx_free(r->ctx);
    st_cache_free(&r->embeddings);
    st_cache_free(&r->targets);
    st_cache_free(&r->val_embeddings);
    st_data_free(&r->train);
    st_data_free(&r->val);
    free(r->order.at);
}

static int work(cli *t, const st_opts *o)
{
    st_run r = { .t = t,
                 .o = o,
                 .loss = { o->dice, o->bce, o->focal, o->iou, o->squared, o->smooth },
                 .run = CLI_RUN_CLOSED };
    int code = check_options(t, o, &r);
    if (code != CLI_CONTINUE)
        return code;
    cli_run_begin(&r.run, t, &program, o, &o->run, &r.s);
    if (o->scheduler == ST_COSINE || o->scheduler == ST_POLY)
        json_object_set_new(r.run.settings, "epochs", json_integer(o->run.epochs));
    cli_signals();
    code = st_run_all(&r);
    clean_up(&r);
    return code;
}

int main(int argc, char **argv)
{
    const mcs_sam_loss loss = mcs_sam_loss_defaults();
    cli t = { 0 };
    st_opts o = { /* MedSAM's where its training script states them */
                  .min_area = 1,
                  .jitter = "20",
                  .prompts = 1,
                  .dice = loss.dice,
                  .bce = loss.bce,
                  .focal = loss.focal,
                  .iou = loss.iou,
                  .squared = loss.squared,
                  .smooth = loss.smooth,
                  .batch = 2,
                  .accum = 1,
                  .cache = UINT64_C(1) << 30,
                  .run = { CLI_RUN_DEFAULTS, .epochs = 100, .lr = 1e-4f, .wd = 0.01f, .gamma = 0.9f,
                           .beta1 = 0.9f, .beta2 = 0.999f, .eps = 1e-8f }
    };
    int code = cli_parse(&t, &program, &o, argc, argv);
    if (code == CLI_CONTINUE)
        code = work(&t, &o);
    cli_close(&t);
    return code;
}
