/* clip_tiny.h - the tiny BiomedCLIP of make_clip.py. */
#ifndef MCS_TEST_CLIP_TINY_H
#define MCS_TEST_CLIP_TINY_H
#include <stdio.h>
#include "models/biomedclip.h"
#include "tests/wave.h"

static inline mcs_biomedclip *load(const char *name)
{
    mcs_error e = { MCS_OK, "" };
    char path[256];
    snprintf(path, sizeof path, "tests/golden/%s.safetensors", name);
    mcs_biomedclip *m = mcs_biomedclip_load(path, "tests/golden/tokens_vocab.txt", &e);
    if (!m)
        fail_msg("%s", e.message);
    return m;
}

static inline mcs_tensor *images(mcs_ctx *c)
{
    return wave(c, 11, 4, 4, MCS_SHAPE(2, 3, 18, 18));
}
static inline mcs_tensor *golden(mcs_ctx *c, const char *name)
{
    return check_golden_tensor(c, "clip_tiny_out", name);
}

static inline mcs_tensor *logits_of(mcs_ctx *c, const mcs_biomedclip *m)
{
    mcs_tensor *a = mcs_biomedclip_encode_image(c, m, images(c));
    mcs_tensor *b = mcs_biomedclip_encode_text(c, m, golden(c, "ids"), NULL);
    return mcs_biomedclip_logits(c, m, a, b);
}
#endif
