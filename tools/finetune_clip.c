/* finetune_clip.c - fine-tunes BiomedCLIP on pictures and captions with DHN-NCE (MedCLIP-SAM,
 * arXiv 2403.20253), or trains a small model of its kind from scratch.  Options here; the work is
 * in cli_train_*.c. */
#include <stdlib.h>
#include <string.h>
#include "tools/cli_train.h"

#define AT(field) offsetof(tr_opts, field)
static const cli_option options[] = {
    { .kind = CLI_SECTION, .help = "Data" },
    { CLI_LIST, "train-data", 0, AT(train_data), "FILE.csv", 0, 0,
      "table with pictures and captions; several are taken in turn, one an epoch", NULL, 0 },
    { CLI_TEXT, "val-data", 0, AT(val_data), "FILE.csv", 0, 0, "the same for validation", NULL, 0 },
    { CLI_TEXT, "csv-img-key", 0, AT(query.image_key), "NAME", 0, 0, "column of picture paths",
      NULL, 0 },
    { CLI_TEXT, "csv-caption-key", 0, AT(query.caption_key), "NAME", 0, 0, "column of captions",
      NULL, 0 },
    { CLI_TEXT, "csv-group-key", 0, AT(query.group_key), "NAME", 0, 0,
      "column of groups, what the captions claim: a caption is no negative of pictures that have a "
      "caption of its group; 'group' if there is such a column",
      NULL, 0 },
    { CLI_TEXT, "csv-facts-key", 0, AT(query.facts_key), "NAME", 0, 0,
      "column of all that could be claimed of the picture (docs/training.md): nor is a caption one "
      "whose group it contains; 'facts' if there is such a column",
      NULL, 0 },
    { CLI_TEXT, "csv-kind-key", 0, AT(query.kind_key), "NAME", 0, 0,
      "column of kinds, for --same-kind; 'kind' if there is such a column", NULL, 0 },
    { CLI_TEXT, "csv-separator", 0, AT(query.separator), "C|auto", 0, 0,
      "what separates columns; auto looks at the header", NULL, 0 },
    { CLI_TEXT, "data-root", 0, AT(query.root), "DIR", 0, 0,
      "folder of relative paths; the table's own if not given", NULL, 0 },
    { CLI_CHOICE, "on-error", 0, AT(on_error), "stop|skip", 0, 0,
      "rows without a caption or with a missing or broken picture", NULL, CLI_RESULT },
    { CLI_CHOICE, "aug", 0, AT(aug), "none|light", 0, 0,
      "light: random crops of 0.9 to 1 of the area (RandomResizedCrop)", NULL, CLI_RESULT },
    { CLI_INT, "captions-per-image", 0, AT(captions), "N", 1, 16,
      "captions of a picture in a step, drawn from its rows; with more than 1 an epoch is a round "
      "of the pictures, not of the rows",
      NULL, CLI_RESULT },
    { CLI_FLOAT, "same-kind", 0, AT(same_kind), "X", 0, 1,
      "share of samples that come in batches of one kind: hard negatives", NULL, CLI_RESULT },

    { .kind = CLI_SECTION, .help = "Model" },
    { CLI_TEXT, "pretrained", 0, AT(pretrained), "FILE", 0, 0,
      "BiomedCLIP checkpoint to begin with (.safetensors, .bin, .pt)", "clip", 0 },
    { CLI_TEXT, "vocab", 0, AT(vocab), "FILE", 0, 0,
      "vocabulary; vocab.txt beside the checkpoint if not given", NULL, 0 },
    { CLI_TEXT, "from-scratch", 0, AT(scratch), "FILE.json", 0, 0,
      "begin with a new model of these sizes: {\"vision\": {\"image\": 96, ...}, ...}", NULL, 0 },
    { CLI_CHOICE, "init", 0, AT(init), "default|xavier", 0, 0,
      "initial values of a new model: PyTorch's, or Xavier's for linear layers", NULL, 0 },
    { CLI_CHOICE, "init-positions", 0, AT(init_positions), "random|sincos", 0, 0,
      "positions of a new vision transformer: noise, or sines and cosines of row and column, which "
      "make it learn much sooner where things are",
      NULL, 0 },
    { CLI_INT, "force-image-size", 0, AT(image_size), "PX", 0, 4096,
      "side of the pictures it is trained on, if not the checkpoint's: positions are resampled",
      NULL, CLI_RESULT },
    { CLI_INT, "force-patch-size", 0, AT(patch_size), "PX", 0, 256, "side of its patches, likewise",
      NULL, CLI_RESULT },
    { CLI_FLAG, "lock-image", 0, AT(lock_image), NULL, 0, 0,
      "freeze the vision transformer (not its projection)", NULL, CLI_RESULT },
    { CLI_INT, "lock-image-unlocked-groups", 0, AT(image_groups), "N", 0, 1000,
      "but for the last N blocks", NULL, CLI_RESULT },
    { CLI_FLAG, "lock-text", 0, AT(lock_text), NULL, 0, 0,
      "freeze BERT (not its projection, nor its LayerNorms)", NULL, CLI_RESULT },
    { CLI_INT, "lock-text-unlocked-layers", 0, AT(text_layers), "N", 0, 1000,
      "but for the last N layers", NULL, CLI_RESULT },
    { CLI_FLAG, "lock-text-freeze-layer-norm", 0, AT(lock_norms), NULL, 0, 0,
      "freeze its LayerNorms, too", NULL, CLI_RESULT },
    CLI_RUN_FREEZE(tr_opts, "freeze weights whose names begin so"),

    { .kind = CLI_SECTION, .help = "Loss" },
    { CLI_CHOICE, "loss", 0, AT(loss), "dhn-nce|hn-nce|dcl|infonce|dhn-nce-official", 0, 0,
      "objective; the last is what the released code computes, for comparison", NULL, CLI_RESULT },
    { CLI_FLAG, "dhnnce-loss", 0, AT(dhnnce), NULL, 0, 0, "the same as --loss dhn-nce", NULL,
      CLI_HIDDEN },
    { CLI_FLOAT, "temperature-dhnnce", 0, AT(temperature), "X", 1e-4, 100,
      "cosines are divided by it", "temperature", CLI_RESULT },
    { CLI_FLAG, "learn-temperature", 0, AT(learn_temperature), NULL, 0, 0,
      "multiply by the checkpoint's exp(logit_scale) instead, and train it", NULL, CLI_RESULT },
    { CLI_FLOAT, "alpha-dhnnce", 0, AT(alpha), "X", 0, 1e3,
      "weight of the positive in the denominator; hn-nce: 1 if 0", NULL, CLI_RESULT },
    { CLI_FLOAT, "beta1-dhnnce", 0, AT(hardness1), "X", 0, 100,
      "hardness of negatives, picture to text", NULL, CLI_RESULT },
    { CLI_FLOAT, "beta2-dhnnce", 0, AT(hardness2), "X", 0, 100, "text to picture", NULL,
      CLI_RESULT },
    { CLI_FLAG, "fixed-weights", 0, AT(fixed_weights), NULL, 0, 0,
      "no gradient through the weights of negatives", NULL, CLI_RESULT },

    { .kind = CLI_SECTION, .help = "Optimisation" },
    { CLI_INT, "batch-size", 'b', AT(batch), "N", 1, 1e6,
      "pairs of a step; of each rank under mpirun", NULL, CLI_RESULT },
    { CLI_INT, "accum-freq", 0, AT(accum), "N", 1, 1e5,
      "so many batches make one step, with negatives across all of them", NULL, CLI_RESULT },
    { CLI_INT, "micro-batch", 0, AT(micro), "N|auto", 0, 1e6,
      "pairs in memory at a time; the gradient is that of the whole batch", NULL,
      CLI_AUTO | CLI_RESULT },
    { CLI_FLAG, "grad-checkpointing", 0, AT(checkpointing), NULL, 0, 0,
      "keep only the inputs of transformer blocks and run them again backwards: the same bits in "
      "less memory, a third slower",
      NULL, 0 },
    { CLI_FLOAT, "grad-checkpointing-share", 0, AT(checkpoint_share), "X", 0, 1,
      "of the blocks, this share", NULL, 0 },
    CLI_RUN_LENGTH(tr_opts),
    { CLI_CHOICE, "lr-scheduler", 0, AT(scheduler), "step|cosine|const", 0, 0,
      "step: times --lr-gamma each epoch; cosine: to 0 at the end", NULL, CLI_RESULT },
    { CLI_FLOAT, "lr-gamma", 0, AT(run.gamma), "X", 0, 1, "factor of the step scheduler", NULL,
      CLI_RESULT },
    CLI_RUN_ADAMW(tr_opts),

    { .kind = CLI_SECTION, .help = "Output" },
    CLI_RUN_OUTPUT(tr_opts, "val-loss|top1"),
    { .kind = CLI_END },
};
#undef AT

static const cli_program program = {
    .name = "finetune_clip",
    .summary = "fine-tune BiomedCLIP on pictures and captions",
    .usage = "--train-data FILE.csv --pretrained FILE --name RUN\n"
             "--train-data FILE.csv --from-scratch FILE.json --vocab FILE --name RUN",
    .options = options,
    .notes = "DIR/NAME/ gets params.json, log.jsonl, metrics.csv, curves.svg, errors.jsonl and\n"
             "checkpoints/epoch_N.safetensors, which open_clip and the tools here load.\n"
             "SIGTERM and SIGINT finish the step and save; SIGUSR1 saves.  A run that was killed\n"
             "at any moment and resumed ends with the same bytes as one that was not.\n",
};

static int check_options(cli *t, tr_opts *o, int ranks)
{
    const char *resume = o->run.resume ? o->run.resume : "";
    if (!o->train_data.count || (!o->pretrained && !o->scratch && !*resume))
        return cli_error(t, CLI_BAD_USAGE,
                         "give --train-data FILE.csv and --pretrained FILE (or "
                         "--from-scratch FILE.json)");
    if (o->pretrained && o->scratch)
        return cli_error(t, CLI_BAD_USAGE, "--pretrained and --from-scratch exclude each other");
    if ((int64_t)o->batch * o->accum * ranks < 2)
        return cli_error(t, CLI_BAD_USAGE,
                         "--batch-size: a contrastive loss needs at least 2 pairs "
                         "a step");
    if ((int64_t)o->batch * o->accum * ranks > 1 << 24)
        return cli_error(t, CLI_BAD_USAGE, "--batch-size times --accum-freq is too large");
    if (o->image_groups && !o->lock_image)
        return cli_error(t, CLI_BAD_USAGE, "--lock-image-unlocked-groups needs --lock-image");
    if (o->text_layers && !o->lock_text)
        return cli_error(t, CLI_BAD_USAGE, "--lock-text-unlocked-layers needs --lock-text");
    if (strcmp(resume, "latest") == 0 && !o->pretrained && !o->scratch)
        return cli_error(t, CLI_BAD_USAGE,
                         "--resume latest needs --pretrained or --from-scratch, "
                         "for the case that there is no checkpoint yet");
    return cli_run_check_options(t, &o->run);
}

static void clean_up(tr_run *r)
{
    cli_run_close(&r->run);
    for (int i = 0; i < r->o->train_data.count; i++) {
        if (r->train)
            cli_pairs_free(&r->train[i]);
        if (r->seen)
            free(r->seen[i]);
    }
    free(r->train);
    free(r->seen);
    cli_pairs_free(&r->val);
    mcs_biomedclip_free(r->model);
    mcs_ctx_free(r->ctx);
    mcs_ctx_free(r->data);
    free(r->order);
}

/* What decides the weights.  R ranks of b pairs do what one of R*b does, so either may go on with
 * the other's checkpoints. */
static void set_settings(tr_run *r)
{
    cli_run_begin(&r->run, r->t, &program, r->o, &r->o->run, &r->s);
    if (r->comm)
        json_object_set_new(r->run.settings, "batch-size",
                            json_integer((json_int_t)r->o->batch * mcs_comm_size(r->comm)));
    if (r->o->scheduler == TR_COSINE)
        json_object_set_new(r->run.settings, "epochs", json_integer(r->o->run.epochs));
}

int main(int argc, char **argv)
{
    cli t = { 0 };
    tr_opts o = { /* MedCLIP-SAM's where the paper states them, else open_clip's */
                  .query = { .image_key = "filename", .caption_key = "caption" },
                  .batch = 64,
                  .accum = 1,
                  .checkpoint_share = 1,
                  .captions = 1,
                  .temperature = 0.6f,
                  .hardness1 = 0.15f,
                  .hardness2 = 0.15f,
                  .run = { CLI_RUN_DEFAULTS, .epochs = 10, .lr = 1e-6f, .gamma = 0.5f, .wd = 0.1f,
                           .beta1 = 0.9f, .beta2 = 0.98f, .eps = 1e-6f, .clip_norm = 1 }
    };
    int code = cli_parse(&t, &program, &o, argc, argv);
    if (code == CLI_CONTINUE) {
        tr_run r = { .t = &t, .o = &o, .order_epoch = -1, .run = CLI_RUN_CLOSED };
        code = tr_ranks_open(&r);
        if (code == CLI_CONTINUE)
            code = check_options(&t, &o, mcs_comm_size(r.comm));
        if (code == CLI_CONTINUE) {
            set_settings(&r);
            cli_signals();
            code = tr_run_all(&r);
        }
        clean_up(&r);
        tr_ranks_close(&r, code);
    }
    cli_close(&t);
    return code;
}
