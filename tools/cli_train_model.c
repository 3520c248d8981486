/* cli_train_model.c - the model that is trained: from a checkpoint, or new from a description. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "models/clip_resize.h"
#include "tools/cli_train.h"

/* ---- From scratch ---- */

static int describe(tr_run *r, mcs_biomedclip_config *c, double *scale)
{
    mcs_error e = { 0 };
    const char *path = r->o->scratch, *wrong = NULL;
    const cli_run_size fields[] = {
        { "vision", "image", &c->vision.image },
        { "vision", "patch", &c->vision.patch },
        { "vision", "dim", &c->vision.dim },
        { "vision", "depth", &c->vision.depth },
        { "vision", "heads", &c->vision.heads },
        { "vision", "mlp_dim", &c->vision.mlp_dim },
        { "text", "vocab", &c->text.vocab },
        { "text", "positions", &c->text.positions },
        { "text", "types", &c->text.types },
        { "text", "dim", &c->text.dim },
        { "text", "depth", &c->text.depth },
        { "text", "heads", &c->text.heads },
        { "text", "mlp_dim", &c->text.mlp_dim },
        { NULL, "text_hidden", &c->text_hidden },
        { NULL, "embed", &c->embed },
        { NULL, "context", &c->context },
    };
    json_t *root = cli_read_json(path, &e);
    if (!root)
        return cli_error(r->t, CLI_BAD_USAGE, "--from-scratch: %s", e.message);
    const json_t *logit = json_object_get(root, "logit_scale");
    size_t known = cli_run_sizes(root, fields, sizeof fields / sizeof *fields, &wrong);
    size_t given = json_object_size(root) + json_object_size(json_object_get(root, "vision")) +
                   json_object_size(json_object_get(root, "text"));
    given -= (json_object_get(root, "vision") != NULL) + (json_object_get(root, "text") != NULL) +
             (logit != NULL);
    if (json_is_number(logit))
        *scale = json_number_value(logit);
    else if (logit)
        wrong = "logit_scale";
    json_decref(root);
    if (wrong)
        return cli_error(r->t, CLI_BAD_USAGE, "--from-scratch: %s: '%s' must be a positive number",
                         path, wrong);
    if (known != given)
        return cli_error(r->t, CLI_BAD_USAGE,
                         "--from-scratch: %s: a key is not known; there are vision {image, patch, "
                         "dim, depth, heads, mlp_dim}, text {vocab, positions, types, dim, depth, "
                         "heads, mlp_dim}, text_hidden, embed, context, logit_scale",
                         path);
    return CLI_CONTINUE;
}

static int build(tr_run *r)
{
    mcs_error e = { 0 };
    mcs_biomedclip_config c = mcs_biomedclip_published();
    double scale = log(1 / 0.07);
    int code = describe(r, &c, &scale);
    if (code != CLI_CONTINUE)
        return code;
    if (!r->o->vocab)
        return cli_error(r->t, CLI_BAD_USAGE, "--from-scratch needs --vocab FILE");
    mcs_wordpiece *w = mcs_wordpiece_load(r->o->vocab, &e);
    if (!w)
        return cli_die(r->t, &e, true);
    if (c.text.vocab == mcs_biomedclip_published().text.vocab)
        c.text.vocab = (int)mcs_wordpiece_size(w);
    r->model = mcs_biomedclip_new(&c, &e);
    if (!r->model || mcs_biomedclip_set_vocab(r->model, w, &e) != MCS_OK) {
        mcs_wordpiece_free(w);
        return cli_error(r->t, CLI_BAD_USAGE, "--from-scratch: %s: %s", r->o->scratch, e.message);
    }
    mcs_params *p = mcs_biomedclip_params(r->model);
    if (r->o->init == 1)
        mcs_params_reinit(p, "", MCS_INIT_KAIMING, MCS_INIT_XAVIER);
    if (r->o->init_positions == 1)
        mcs_params_reinit(p, "visual.trunk.pos_embed", MCS_INIT_TRUNC02, MCS_INIT_SINCOS);
    if (mcs_params_init(p, (uint64_t)r->t->seed) != MCS_OK)
        return cli_die(r->t, mcs_params_error(p), false);
    mcs_f32(mcs_params_find(p, "logit_scale"))[0] = (float)scale;
    return CLI_CONTINUE;
}

/* ---- Other sizes ---- */

static cli_html vocab_text(const mcs_biomedclip *m)
{
    const mcs_wordpiece *w = mcs_biomedclip_vocab(m);
    cli_html text = { 0 };
    for (int64_t i = 0; w && i < mcs_wordpiece_size(w); i++) {
        cli_html_raw(&text, mcs_wordpiece_token(w, i));
        cli_html_raw(&text, "\n");
    }
    return text;
}

/* So that tools find it beside the checkpoints. */
int tr_vocab_copy(tr_run *r)
{
    mcs_error e = { 0 };
    cli_html text = vocab_text(r->model);
    return cli_html_save(&text, r->run.checkpoints, "vocab.txt", &e) == MCS_OK
               ? CLI_CONTINUE
               : cli_die(r->t, &e, false);
}

/* --force-image-size, --force-patch-size: the model is replaced by a resized one. */
static int resize(tr_run *r)
{
    mcs_error e = { 0 };
    const mcs_vit_config v = mcs_biomedclip_get_config(r->model)->vision;
    int image = r->o->image_size ? r->o->image_size : v.image;
    int patch = r->o->patch_size ? r->o->patch_size : v.patch;
    if (image == v.image && patch == v.patch)
        return CLI_CONTINUE;
    mcs_biomedclip *m = mcs_biomedclip_resized(r->model, image, patch, &e);
    if (!m)
        return e.status == MCS_EINVAL
                   ? cli_error(r->t, CLI_BAD_USAGE, "--force-image-size %d with patches of %d: %s",
                               image, patch, e.message)
                   : cli_die(r->t, &e, false);
    cli_html text = vocab_text(r->model);
    mcs_wordpiece *w = text.text && !text.failed
                           ? mcs_wordpiece_parse(text.text, text.size, "vocabulary", &e)
                           : NULL;
    free(text.text);
    mcs_biomedclip_free(r->model);
    r->model = m;
    if (w && mcs_biomedclip_set_vocab(m, w, &e) == MCS_OK)
        return CLI_CONTINUE;
    mcs_wordpiece_free(w);
    return e.status ? cli_die(r->t, &e, true) : cli_error(r->t, CLI_NO_MEMORY, "out of memory");
}

/* ---- What is trained ---- */

static int lock(tr_run *r)
{
    mcs_error e = { 0 };
    const tr_opts *o = r->o;
    const mcs_clip_lock parts = { .image = o->lock_image,
                                  .image_groups = o->image_groups,
                                  .text = o->lock_text,
                                  .text_layers = o->text_layers,
                                  .text_norms = o->lock_norms,
                                  .scale = !o->learn_temperature };
    return mcs_clip_train_lock(r->model, &parts, &e) == MCS_OK ? CLI_CONTINUE
                                                               : cli_die(r->t, &e, false);
}

int tr_model_make(tr_run *r)
{
    mcs_error e = { 0 };
    const tr_opts *o = r->o;
    const char *resume = "";
    int code = cli_run_find(&r->run, &resume);
    if (code != CLI_CONTINUE)
        return code;
    if (*resume)
        r->model = mcs_biomedclip_load(resume, o->vocab, &e);
    else if (o->scratch)
        code = build(r);
    else
        r->model = mcs_biomedclip_load(o->pretrained, o->vocab, &e);
    if (code != CLI_CONTINUE)
        return code;
    if (!r->model && e.status == MCS_ENOTFOUND && cli_exists(*resume ? resume : o->pretrained))
        return cli_error(r->t, CLI_BAD_MODEL, "%s", e.message); /* a model, but another one */
    if (!r->model)
        return cli_die(r->t, &e, true);
    if (!mcs_biomedclip_vocab(r->model))
        return cli_error(r->t, CLI_BAD_MODEL,
                         "no vocabulary: put vocab.txt beside the checkpoint, "
                         "or give --vocab FILE");
    code = *resume ? CLI_CONTINUE : resize(r);
    r->run.model = r->model;
    r->run.params = mcs_biomedclip_params(r->model);
    if (code == CLI_CONTINUE)
        code = lock(r);
    return code == CLI_CONTINUE ? cli_run_ready(&r->run, resume) : code;
}
