/* cli_samtrain_model.c - the SAM that is trained: from a checkpoint, or new from a description. */
#include <string.h>
#include "tools/cli_samtrain.h"

/* ---- From scratch ---- */

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

static int take_description(const st_run *r, const json_t *root, mcs_sam_config *c)
{
    const cli_run_size fields[] = {
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
    size_t known = cli_run_sizes(root, fields, sizeof fields / sizeof *fields, &wrong);
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

/* ---- What is trained ---- */

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
    r->run.model = r->model;
    r->run.params = mcs_sam_params(r->model);
    if (mcs_sam_train_only(r->model, (mcs_sam_part)o->part, &e) != MCS_OK)
        return cli_die(r->t, &e, false);
    return cli_run_ready(&r->run, resume);
}
