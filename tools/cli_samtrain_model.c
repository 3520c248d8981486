/* cli_samtrain_model.c - the SAM that is trained: from a checkpoint, or new from a description. */
#include <string.h>
#include "tools/cli_samtrain.h"

/* ---- From scratch ---- */

typedef struct {
    const char *part, *key; /* part: "vit", "decoder" or NULL */
    int *value;
} size_field;

static bool read_size(const json_t *v, int *out)
{
    bool good = json_is_integer(v) && json_integer_value(v) > 0 && json_integer_value(v) < 1 << 24;
    if (good)
        *out = (int)json_integer_value(v);
    return good;
}

/* "all" or a list of blocks. */
static bool read_blocks(const json_t *v, const mcs_sam_vit_config *vit, uint64_t *out)
{
    *out = 0;
    if (json_is_string(v) && strcmp(json_string_value(v), "all") == 0) {
        *out = vit->depth < 64 ? (UINT64_C(1) << vit->depth) - 1 : UINT64_MAX;
        return true;
    }
    for (size_t i = 0; i < json_array_size(v); i++) {
        json_int_t block = json_integer_value(json_array_get(v, i));
        if (!json_is_integer(json_array_get(v, i)) || block < 0 || block >= vit->depth)
            return false;
        *out |= UINT64_C(1) << block;
    }
    return json_is_array(v);
}

static size_t known_keys(const json_t *root, const size_field *fields, size_t n, const char **wrong)
{
    size_t known = 0;
    for (size_t i = 0; i < n; i++) {
        const json_t *from = fields[i].part ? json_object_get(root, fields[i].part) : root;
        const json_t *v = json_object_get(from, fields[i].key);
        known += v != NULL;
        if (v && !read_size(v, fields[i].value))
            *wrong = fields[i].key;
    }
    return known;
}

static int take_description(const st_run *r, const json_t *root, mcs_sam_config *c)
{
    const size_field fields[] = {
        { NULL, "image", &c->image },
        { "vit", "patch", &c->vit.patch },
        { "vit", "dim", &c->vit.dim },
        { "vit", "depth", &c->vit.depth },
        { "vit", "heads", &c->vit.heads },
        { "vit", "mlp_dim", &c->vit.mlp_dim },
        { "vit", "window", &c->vit.window },
        { "decoder", "dim", &c->decoder.dim },
        { "decoder", "depth", &c->decoder.depth },
        { "decoder", "heads", &c->decoder.heads },
        { "decoder", "mlp_dim", &c->decoder.mlp_dim },
        { "decoder", "cross_dim", &c->decoder.cross_dim },
        { "decoder", "mask_tokens", &c->decoder.mask_tokens },
        { "decoder", "iou_depth", &c->decoder.iou_depth },
        { "decoder", "iou_dim", &c->decoder.iou_dim },
        { "decoder", "mask_channels", &c->decoder.mask_channels },
    };
    const char *wrong = NULL;
    const json_t *vit = json_object_get(root, "vit"), *decoder = json_object_get(root, "decoder");
    const json_t *blocks = json_object_get(vit, "global_blocks");
    const json_t *minmax = json_object_get(root, "minmax");
    size_t known = known_keys(root, fields, sizeof fields / sizeof *fields, &wrong);
    known += (blocks != NULL) + (minmax != NULL) + (vit != NULL) + (decoder != NULL);
    c->minmax = json_is_true(minmax) || json_integer_value(minmax) == 1;
    if (!wrong && blocks && !read_blocks(blocks, &c->vit, &c->vit.global_blocks))
        return cli_error(r->t, CLI_BAD_USAGE,
                         "--from-scratch: %s: 'global_blocks' must be \"all\" or a list of numbers "
                         "below the depth",
                         r->o->scratch);
    if (wrong)
        return cli_error(r->t, CLI_BAD_USAGE,
                         "--from-scratch: %s: '%s' must be a positive whole number", r->o->scratch,
                         wrong);
    if (known != json_object_size(root) + json_object_size(vit) + json_object_size(decoder))
        return cli_error(r->t, CLI_BAD_USAGE,
                         "--from-scratch: %s: a key is not known; there are image, minmax, vit "
                         "{patch, dim, depth, heads, mlp_dim, window, global_blocks}, decoder "
                         "{dim, depth, heads, mlp_dim, cross_dim, mask_tokens, iou_depth, iou_dim, "
                         "mask_channels}",
                         r->o->scratch);
    return CLI_CONTINUE;
}

static int build(st_run *r)
{
    mcs_error e = { 0 };
    mcs_sam_config c;
    json_t *root = cli_read_json(r->o->scratch, &e);
    if (!root || mcs_sam_config_of("vit_b", &c, &e) != MCS_OK) {
        json_decref(root);
        return cli_error(r->t, CLI_BAD_USAGE, "--from-scratch: %s", e.message);
    }
    int code = take_description(r, root, &c);
    json_decref(root);
    if (code != CLI_CONTINUE)
        return code;
    r->model = mcs_sam_new(&c, &e);
    if (!r->model)
        return cli_error(r->t, e.status == MCS_ENOMEM ? CLI_NO_MEMORY : CLI_BAD_USAGE,
                         "--from-scratch: %s: %s", r->o->scratch, e.message);
    mcs_params *p = mcs_sam_params(r->model);
    if (r->o->init == 1)
        mcs_params_reinit(p, "", MCS_INIT_KAIMING, MCS_INIT_XAVIER);
    return mcs_params_init(p, (uint64_t)r->t->seed) == MCS_OK
               ? CLI_CONTINUE
               : cli_die(r->t, mcs_params_error(p), false);
}

/* ---- Freezing, optimiser ---- */

static int freeze(st_run *r)
{
    mcs_error e = { 0 };
    int64_t trained = 0;
    if (mcs_sam_train_only(r->model, (mcs_sam_part)r->o->part, &e) != MCS_OK)
        return cli_die(r->t, &e, false);
    for (int i = 0; i < r->o->freeze.count; i++)
        if (mcs_params_train(r->params, r->o->freeze.items[i], false) != MCS_OK)
            return cli_error(r->t, CLI_BAD_USAGE, "--freeze: %s", mcs_params_message(r->params));
    for (int64_t i = 0; i < mcs_params_count(r->params); i++) {
        const mcs_tensor *x = mcs_params_at(r->params, i).tensor;
        trained += x->node ? mcs_numel(x) : 0;
    }
    if (!trained)
        return cli_error(r->t, CLI_BAD_USAGE, "all weights are frozen: nothing to train");
    cli_detail(r->t, "%lld of %lld weights are trained", (long long)trained,
               (long long)mcs_params_numel(r->params));
    return CLI_CONTINUE;
}

int st_model_make(st_run *r)
{
    mcs_error e = { 0 };
    const st_opts *o = r->o;
    const char *resume = "";
    int code = cli_run_find(&r->run, &resume);
    if (code != CLI_CONTINUE)
        return code;
    if (*resume)
        r->model = mcs_sam_load(resume, &e);
    else if (o->scratch)
        code = build(r);
    else
        r->model = mcs_sam_load(o->sam, &e);
    if (code != CLI_CONTINUE)
        return code;
    if (!r->model)
        return cli_die(r->t, &e, true);
    r->params = mcs_sam_params(r->model);
    code = freeze(r);
    if (code != CLI_CONTINUE)
        return code;
    r->optim = mcs_adamw_new(r->params, &(mcs_adamw_opts){ o->beta1, o->beta2, o->eps, o->wd });
    if (!r->optim)
        return cli_error(r->t, CLI_NO_MEMORY, "out of memory for the optimiser");
    r->run.params = r->params;
    r->run.optim = r->optim;
    r->run.model = r->model;
    return *resume ? cli_run_load(&r->run, resume) : CLI_CONTINUE;
}
