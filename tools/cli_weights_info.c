/* cli_weights_info.c - inspect_weights info: what a checkpoint holds, without reading a value. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "models/biomedclip.h"
#include "models/sam.h"
#include "tools/cli_weights.h"

mcs_checkpoint *iw_open(cli *t, const char *path, int *code)
{
    mcs_error e = { 0 };
    mcs_checkpoint *k = mcs_checkpoint_open(path, &e);
    if (!k)
        *code = cli_die(t, &e, e.status != MCS_ENOTFOUND);
    return k;
}

void iw_print(const char *name)
{
    for (; *name; name++)
        putchar((unsigned char)*name < 0x20 || *name == 0x7f ? '?' : *name);
}

const char *iw_shape(const mcs_stored *t, char *buf, size_t n)
{
    int used = snprintf(buf, n, "(");
    for (int d = 0; d < t->ndim; d++)
        used +=
            snprintf(buf + used, n - (size_t)used, "%s%lld", d ? ", " : "", (long long)t->shape[d]);
    snprintf(buf + used, n - (size_t)used, ")");
    return buf;
}

/* ---- Known layouts ---- */

static bool has_suffix(const char *name, const char *suffix)
{
    size_t n = strlen(name), m = strlen(suffix);
    return n >= m && !strcmp(name + n - m, suffix);
}

/* How many of the model's names the file has, under whatever prefix; the model holds no values. */
static void add_coverage(const mcs_checkpoint *k, const mcs_params *p, char *buf, size_t n)
{
    char full[8192];
    int64_t total = mcs_params_count(p), found = 0, prefix = -1;
    const char *first = mcs_params_at(p, 0).name;
    for (int64_t i = 0; i < mcs_checkpoint_count(k) && prefix < 0; i++) {
        const char *name = mcs_checkpoint_at(k, i)->name;
        if (has_suffix(name, first)) {
            prefix = (int64_t)(strlen(name) - strlen(first));
            memcpy(full, name, (size_t)prefix);
        }
    }
    for (int64_t i = 0; prefix >= 0 && i < total; i++) {
        snprintf(full + prefix, sizeof full - (size_t)prefix, "%s", mcs_params_at(p, i).name);
        found += mcs_checkpoint_find(k, full) != NULL;
    }
    size_t used = strlen(buf);
    snprintf(buf + used, n - used, ", %lld of %lld weights", (long long)found, (long long)total);
    used = strlen(buf);
    if (prefix > 0)
        snprintf(buf + used, n - used, ", prefix '%.*s'", (int)prefix, full);
}

static bool sam_layout(const mcs_checkpoint *k, char *buf, size_t n)
{
    static const char *const types[] = { "vit_b", "vit_l", "vit_h", "vit_t", "lite" };
    static const char *const names[] = { "SAM vit_b", "SAM vit_l", "SAM vit_h", "MobileSAM (vit_t)",
                                         "LiteMedSAM" };
    mcs_sam_config cfg, known;
    if (mcs_sam_config_read(k, &cfg, NULL) != MCS_OK)
        return false;
    snprintf(buf, n, "SAM, unpublished sizes");
    for (size_t i = 0; i < sizeof types / sizeof *types; i++)
        if (mcs_sam_config_of(types[i], &known, NULL) == MCS_OK && known.tiny == cfg.tiny &&
            known.image == cfg.image &&
            (cfg.tiny ? known.tinyvit.dim[3] == cfg.tinyvit.dim[3] &&
                            known.tinyvit.stem_stride == cfg.tinyvit.stem_stride
                      : known.vit.dim == cfg.vit.dim && known.vit.depth == cfg.vit.depth))
            snprintf(buf, n, "%s", names[i]);
    mcs_sam *model = mcs_sam_new(&cfg, NULL);
    if (model)
        add_coverage(k, mcs_sam_params(model), buf, n);
    mcs_sam_free(model);
    return true;
}

bool iw_layout(const mcs_checkpoint *k, char *buf, size_t n)
{
    mcs_biomedclip_config cfg, known = mcs_biomedclip_published();
    mcs_clip_layout layout;
    if (mcs_biomedclip_config_read(k, &cfg, &layout, NULL) != MCS_OK)
        return sam_layout(k, buf, n);
    snprintf(buf, n, "BiomedCLIP, %s%s",
             layout == MCS_CLIP_HF ? "MedCLIP-SAMv2's port (hf)" : "open_clip",
             cfg.embed == known.embed && cfg.vision.dim == known.vision.dim &&
                     cfg.vision.depth == known.vision.depth
                 ? ""
                 : ", unpublished sizes");
    mcs_biomedclip *model = layout == MCS_CLIP_OPEN_CLIP ? mcs_biomedclip_new(&cfg, NULL) : NULL;
    if (model)
        add_coverage(k, mcs_biomedclip_params(model), buf, n);
    mcs_biomedclip_free(model);
    return true;
}

/* ---- The report ---- */

typedef struct {
    int64_t tensors[MCS_ST_COUNT], numel[MCS_ST_COUNT];
    int64_t all, bytes;
} counts;

static counts count_types(const mcs_checkpoint *k)
{
    counts c = { .all = 0 };
    for (int64_t i = 0; i < mcs_checkpoint_count(k); i++) {
        const mcs_stored *s = mcs_checkpoint_at(k, i);
        c.tensors[s->dtype]++;
        c.numel[s->dtype] += s->numel;
        c.all += s->numel;
        c.bytes += s->numel * mcs_stored_size(s->dtype);
    }
    return c;
}

static void print_text(const mcs_checkpoint *k, const counts *c, const char *layout, bool summary)
{
    char shape[256];
    const char *key, *value;
    iw_print(mcs_checkpoint_path(k));
    printf("\n  format   %s\n  layout   %s\n  tensors  %lld, %lld numbers, %lld bytes\n",
           mcs_checkpoint_format(k), layout, (long long)mcs_checkpoint_count(k), (long long)c->all,
           (long long)c->bytes);
    for (int i = 0; i < MCS_ST_COUNT; i++)
        if (c->tensors[i])
            printf("  %-8s %lld tensors, %lld numbers\n", mcs_stored_name((mcs_stored_dtype)i),
                   (long long)c->tensors[i], (long long)c->numel[i]);
    for (int64_t i = 0; mcs_checkpoint_meta_at(k, i, &key, &value); i++) {
        printf("  metadata ");
        iw_print(key);
        printf(" = ");
        iw_print(value);
        putchar('\n');
    }
    for (int64_t i = 0; mcs_checkpoint_import(k, i); i++)
        printf("  imports  %s\n", mcs_checkpoint_import(k, i));
    for (int64_t i = 0; i < mcs_checkpoint_count(k) && !summary; i++) {
        const mcs_stored *s = mcs_checkpoint_at(k, i);
        iw_print(s->name);
        printf("\t%s\t%s\n", mcs_stored_name(s->dtype), iw_shape(s, shape, sizeof shape));
    }
}

static json_t *tensor_json(const mcs_stored *s)
{
    json_t *shape = json_array();
    for (int d = 0; d < s->ndim; d++)
        json_array_append_new(shape, json_integer(s->shape[d]));
    return json_pack("{s:o, s:s, s:o}", "name", cli_json_text(s->name), "dtype",
                     mcs_stored_name(s->dtype), "shape", shape);
}

static void print_json(const mcs_checkpoint *k, const counts *c, const char *layout, bool summary)
{
    const char *key, *value;
    json_t *meta = json_object(), *imports = json_array(), *tensors = json_array();
    for (int64_t i = 0; mcs_checkpoint_meta_at(k, i, &key, &value); i++)
        json_object_set_new(meta, key, cli_json_text(value));
    for (int64_t i = 0; mcs_checkpoint_import(k, i); i++)
        json_array_append_new(imports, json_string(mcs_checkpoint_import(k, i)));
    for (int64_t i = 0; i < mcs_checkpoint_count(k) && !summary; i++)
        json_array_append_new(tensors, tensor_json(mcs_checkpoint_at(k, i)));
    json_t *j = json_pack("{s:o, s:s, s:s, s:I, s:I, s:I, s:o, s:o, s:o}", "file",
                          cli_json_text(mcs_checkpoint_path(k)), "format", mcs_checkpoint_format(k),
                          "layout", layout, "count", (json_int_t)mcs_checkpoint_count(k), "numbers",
                          (json_int_t)c->all, "bytes", (json_int_t)c->bytes, "metadata", meta,
                          "imports", imports, "tensors", tensors);
    if (j) {
        json_dumpf(j, stdout, JSON_COMPACT);
        putchar('\n');
    }
    json_decref(j);
}

int iw_info(cli *t, const iw_opts *o, const char *path)
{
    char layout[512];
    int code = CLI_DONE;
    mcs_checkpoint *k = iw_open(t, path, &code);
    if (!k)
        return code;
    if (!iw_layout(k, layout, sizeof layout))
        snprintf(layout, sizeof layout, "none of the known ones");
    counts c = count_types(k);
    (o->json ? print_json : print_text)(k, &c, layout, o->summary);
    mcs_checkpoint_close(k);
    if (fflush(stdout) != 0 || ferror(stdout))
        return cli_error(t, CLI_IO_ERROR, "cannot write to standard output");
    return CLI_DONE;
}
