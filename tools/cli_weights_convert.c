/* cli_weights_convert.c - inspect_weights convert: any checkpoint as safetensors, in another type
 * or under other names.  Tensors pass one at a time; only --layout builds the model. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "models/biomedclip.h"
#include "models/sam.h"
#include "tools/cli_weights.h"

/* ---- The same names, or a part of them ---- */

typedef struct {
    cli *t;
    mcs_checkpoint *k;
    const mcs_stored **from;
    mcs_save_entry *entries;
    int64_t count;
    void *buffer; /* the tensor being written */
} conversion;

/* f16 ends at 65504. */
static void warn_infinite(const conversion *c, int64_t i)
{
    const uint16_t *x = c->buffer;
    int64_t n = 0;
    for (int64_t j = 0; j < c->from[i]->numel; j++)
        n += (x[j] & 0x7fff) == 0x7c00;
    if (n)
        cli_warn(c->t, "'%s': %lld numbers are infinite in f16; use --dtype bf16", c->from[i]->name,
                 (long long)n);
}

static const void *fetch(void *arg, int64_t i, mcs_error *e)
{
    conversion *c = arg;
    size_t bytes = (size_t)c->from[i]->numel * (size_t)mcs_stored_size(c->entries[i].dtype);
    free(c->buffer);
    c->buffer = malloc(bytes + 1);
    if (!c->buffer) {
        mcs_error_set(e, MCS_ENOMEM, "%s: out of memory for '%s'", mcs_checkpoint_path(c->k),
                      c->from[i]->name);
        return NULL;
    }
    if (mcs_checkpoint_read_as(c->k, c->from[i], c->entries[i].dtype, c->buffer, e) != MCS_OK)
        return NULL;
    if (c->entries[i].dtype == MCS_ST_F16 && c->from[i]->dtype != MCS_ST_F16)
        warn_infinite(c, i);
    return c->buffer;
}

static bool is_float(mcs_stored_dtype t)
{
    return t == MCS_ST_F64 || t == MCS_ST_F32 || t == MCS_ST_F16 || t == MCS_ST_BF16 ||
           t == MCS_ST_F8_E4M3 || t == MCS_ST_F8_E5M2;
}

static mcs_stored_dtype target(const iw_opts *o, mcs_stored_dtype stored)
{
    static const mcs_stored_dtype types[] = {
        [IW_F32] = MCS_ST_F32, [IW_BF16] = MCS_ST_BF16, [IW_F16] = MCS_ST_F16
    };
    return o->dtype == IW_AS_STORED || !is_float(stored) ? stored : types[o->dtype];
}

static void select_tensors(conversion *c, const iw_opts *o)
{
    size_t skip = o->prefix ? strlen(o->prefix) : 0;
    for (int64_t i = 0; i < mcs_checkpoint_count(c->k); i++) {
        const mcs_stored *s = mcs_checkpoint_at(c->k, i);
        if (skip && (strncmp(s->name, o->prefix, skip) != 0 || !s->name[skip]))
            continue;
        mcs_save_entry *out = &c->entries[c->count];
        *out = (mcs_save_entry){ .name = s->name + skip,
                                 .dtype = target(o, s->dtype),
                                 .ndim = s->ndim };
        memcpy(out->shape, s->shape, sizeof s->shape);
        c->from[c->count++] = s;
    }
}

/* The metadata of the source, as a list for the writer. */
static const char **metadata(const mcs_checkpoint *k)
{
    int64_t n = 0;
    const char *key, *value;
    while (mcs_checkpoint_meta_at(k, n, &key, &value))
        n++;
    const char **list = calloc(2 * (size_t)n + 1, sizeof *list);
    for (int64_t i = 0; list && i < n; i++)
        mcs_checkpoint_meta_at(k, i, &list[2 * i], &list[2 * i + 1]);
    return list;
}

static int convert_names(cli *t, const iw_opts *o, mcs_checkpoint *k)
{
    mcs_error e = { 0 };
    size_t n = (size_t)mcs_checkpoint_count(k);
    conversion c = { .t = t,
                     .k = k,
                     .from = calloc(n + 1, sizeof *c.from),
                     .entries = calloc(n + 1, sizeof *c.entries) };
    const char **meta = metadata(k);
    int code = CLI_DONE;
    if (!c.from || !c.entries || !meta) {
        code = cli_error(t, CLI_NO_MEMORY, "out of memory");
    } else {
        select_tensors(&c, o);
        if (c.count == 0)
            code = cli_error(t, CLI_NOTHING, "%s: no name begins with '%s'", mcs_checkpoint_path(k),
                             o->prefix ? o->prefix : "");
        else if (!t->dry_run && mcs_safetensors_write_from(o->out, c.count, c.entries, meta, fetch,
                                                           &c, &e) != MCS_OK)
            code = cli_die(t, &e, true);
        else
            printf("%s: %lld tensors\n", o->out, (long long)c.count);
    }
    free(c.buffer);
    free(c.from);
    free(c.entries);
    free(meta);
    return code;
}

/* ---- Another layout: through the model ---- */

static int convert_layout(cli *t, const iw_opts *o, const char *path)
{
    mcs_error e = { 0 };
    mcs_stored_dtype dtype = target(o, MCS_ST_F32);
    mcs_sam *sam = NULL;
    mcs_biomedclip *clip = NULL;
    bool ok;
    if (o->layout == IW_SAM) {
        sam = mcs_sam_load(path, &e);
        ok = sam && (t->dry_run || mcs_sam_save(sam, o->out, dtype, &e) == MCS_OK);
    } else {
        clip = mcs_biomedclip_load(path, NULL, &e);
        ok = clip && (t->dry_run ||
                      mcs_biomedclip_save(clip, o->out,
                                          o->layout == IW_HF ? MCS_CLIP_HF : MCS_CLIP_OPEN_CLIP,
                                          dtype, &e) == MCS_OK);
    }
    mcs_sam_free(sam);
    mcs_biomedclip_free(clip);
    if (!ok)
        return cli_die(t, &e, true);
    printf("%s: written\n", o->out);
    return CLI_DONE;
}

int iw_convert(cli *t, const iw_opts *o, const char *path)
{
    mcs_error e = { 0 };
    int code = CLI_DONE;
    if (!o->out)
        return cli_error(t, CLI_BAD_USAGE, "no output: give -o FILE.safetensors");
    if (o->layout != IW_KEEP && o->prefix)
        return cli_error(t, CLI_BAD_USAGE, "--layout finds the prefix itself: leave out --prefix");
    if (!t->dry_run && cli_mkdirs_for(o->out, &e) != MCS_OK)
        return cli_die(t, &e, false);
    if (o->layout != IW_KEEP)
        return convert_layout(t, o, path);
    mcs_checkpoint *k = iw_open(t, path, &code);
    if (k)
        code = convert_names(t, o, k);
    mcs_checkpoint_close(k);
    return code;
}
