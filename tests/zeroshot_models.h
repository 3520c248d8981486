/* zeroshot_models.h - a tiny untrained pair of models on disk, loaded, for tests of the composed
 * system: group setup and teardown. */
#ifndef MCS_TEST_ZEROSHOT_MODELS_H
#define MCS_TEST_ZEROSHOT_MODELS_H
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "models/biomedclip.h"
#include "models/medclip_sam.h"
#include "models/sam.h"
#include "tests/picture.h"

static char clip_path[64], sam_path[64], folder[] = "/tmp/mcs_medclip_XXXXXX";
static const char *const tumor[] = { "breast tumor" };
static const char *const lung[] = { "ct image of the left lung nodule" };
static const char vocab[] = "tests/golden/tokens_vocab.txt";
static mcs_medclip_sam *model;
static mcs_pool *pool;

static void save_clip(void)
{
    mcs_error e = { 0 };
    mcs_biomedclip_config k = mcs_biomedclip_published();
    k.vision = (mcs_vit_config){ 48, 8, 32, 3, 2, 64 };
    k.text = (mcs_bert_config){ 256, 48, 2, 32, 2, 2, 64 };
    k.text_hidden = 24;
    k.embed = 16;
    k.context = 40;
    mcs_biomedclip *m = mcs_biomedclip_new(&k, &e);
    assert_non_null(m);
    assert_int_equal(mcs_params_init(mcs_biomedclip_params(m), 3), MCS_OK);
    assert_int_equal(mcs_biomedclip_save(m, clip_path, MCS_CLIP_OPEN_CLIP, MCS_ST_F32, &e), MCS_OK);
    mcs_biomedclip_free(m);
}

static void save_sam(void)
{
    mcs_error e = { 0 };
    mcs_sam_config k = {
        .image = 64,
        .vit = { 16, 32, 2, 2, 64, 3, 1u << 1 },
        .decoder = { 32, 2, 4, 64, 16, 4, 3, 32, 8 },
    };
    mcs_sam *m = mcs_sam_new(&k, &e);
    if (!m)
        fail_msg("%s", e.message);
    assert_int_equal(mcs_params_init(mcs_sam_params(m), 4), MCS_OK);
    assert_int_equal(mcs_sam_save(m, sam_path, MCS_ST_F32, &e), MCS_OK);
    mcs_sam_free(m);
}

static int setup(void **state)
{
    (void)state;
    assert_non_null(mkdtemp(folder));
    snprintf(clip_path, sizeof clip_path, "%s/clip.safetensors", folder);
    snprintf(sam_path, sizeof sam_path, "%s/sam.safetensors", folder);
    save_clip();
    save_sam();
    mcs_error e = { 0 };
    mcs_zeroshot_files f = { .clip = clip_path, .vocab = vocab, .sam = sam_path };
    model = mcs_medclip_sam_load(&f, &e);
    if (!model)
        fail_msg("%s", e.message);
    pool = mcs_pool_new(2);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    mcs_medclip_sam_free(model);
    mcs_pool_free(pool);
    unlink(clip_path);
    unlink(sam_path);
    rmdir(folder);
    return 0;
}

static mcs_ctx *new_ctx(void) { return mcs_ctx_new(&(mcs_ctx_opts){ .pool = pool }); }

static mcs_zeroshot_opts options(mcs_zeroshot_preset preset)
{
    mcs_zeroshot_opts o;
    mcs_zeroshot_defaults(&o, preset);
    o.topk = 7;
    o.batch = 3;
    o.rise_masks = 20;
    o.m2ib_steps = 3;
    return o;
}

static mcs_zeroshot_query text_query(const char *const *texts, int count)
{
    return (mcs_zeroshot_query){ .texts = texts, .text_count = count };
}

/* The query fails with that status and these words in its message. */
static inline void refused(const mcs_zeroshot_opts *o, const mcs_zeroshot_query *q, mcs_status s,
                           const char *words)
{
    mcs_ctx *c = new_ctx();
    mcs_image *im = noise_image(20, 20, 3);
    assert_null(mcs_medclip_sam_run(c, model, im, o, 1, q));
    assert_int_equal(mcs_ctx_status(c), s);
    check_contains(mcs_ctx_message(c), words);
    mcs_image_free(im);
    mcs_ctx_free(c);
}
#endif
