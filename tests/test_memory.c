/* Every allocation of a whole job fails once: the job ends with MCS_ENOMEM, without a crash (and,
 * under the address sanitizer, without a leak), and the next job works.  The Makefile links this
 * program with --wrap, so that calls of the library come here first. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "image/phantom.h"
#include "models/biomedclip.h"
#include "models/medclip_sam.h"
#include "models/sam.h"
#include "tests/check.h"

void *__real_malloc(size_t n);
void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *p, size_t n);
void *__real_aligned_alloc(size_t alignment, size_t n);
void *__wrap_malloc(size_t n);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_realloc(void *p, size_t n);
void *__wrap_aligned_alloc(size_t alignment, size_t n);

static struct {
    long fails_at, count;
} allocator = { -1, 0 }; /* -1: never */

static bool refused(void)
{
    return allocator.count++ == allocator.fails_at;
}

void *__wrap_malloc(size_t n)
{
    return refused() ? NULL : __real_malloc(n);
}
void *__wrap_calloc(size_t n, size_t size)
{
    return refused() ? NULL : __real_calloc(n, size);
}
void *__wrap_realloc(void *p, size_t n)
{
    return refused() ? NULL : __real_realloc(p, n);
}
void *__wrap_aligned_alloc(size_t a, size_t n)
{
    return refused() ? NULL : __real_aligned_alloc(a, n);
}

/* A job returns what became of it. */
typedef mcs_status job(mcs_error *e);

/* Fails allocation 0, 1, 2, ... (then every few) until the job no longer meets the failing one. */
static void torture(const char *name, job *run)
{
    mcs_error e = { MCS_OK, "" };
    if (run(&e) != MCS_OK)
        fail_msg("%s: %s", name, e.message);
    long tried = 0;
    for (long k = 0;; k += 1 + k / 100, tried++) {
        e = (mcs_error){ MCS_OK, "" };
        allocator.count = 0;
        allocator.fails_at = k;
        mcs_status s = run(&e);
        bool met = allocator.count > k;
        allocator.fails_at = -1;
        if (s != MCS_OK && s != MCS_ENOMEM)
            fail_msg("%s: allocation %ld failed: status %d (%s)", name, k, (int)s, e.message);
        if (!met)
            break;
        /* a failure that only costs speed may go unnoticed; most must not */
        if (s == MCS_OK && k < 20)
            fail_msg("%s: allocation %ld failed and nobody noticed", name, k);
    }
    print_message("%s: %ld failures\n", name, tried);
}

static mcs_status of_context(mcs_ctx *c, mcs_error *e)
{
    mcs_status s = c ? mcs_ctx_status(c) : MCS_ENOMEM;
    if (s)
        mcs_error_set(e, s, "%s", c ? mcs_ctx_message(c) : "no context");
    return s;
}

static mcs_status tokenise(mcs_error *e)
{
    mcs_wordpiece *w = mcs_wordpiece_load("tests/golden/tokens_vocab.txt", e);
    int64_t ids[64];
    mcs_status s = w ? mcs_wordpiece_encode_caption(
                           w, "Caf\xC3\xA9 &amp;amp; \xEF\xAC\x81ne\nCT &eacute;", 64, ids, NULL, e)
                     : e->status;
    mcs_wordpiece_free(w);
    return s;
}

static mcs_status clip_job(const char *path, mcs_clip_layout layout, bool train, mcs_error *e)
{
    mcs_biomedclip *m = mcs_biomedclip_load(path, "tests/golden/tokens_vocab.txt", e);
    if (!m)
        return e->status;
    mcs_ctx *c = mcs_ctx_new(&(mcs_ctx_opts){ .grad = train });
    mcs_status s = train ? mcs_params_train(mcs_biomedclip_params(m), "", true) : MCS_OK;
    if (c && !s) {
        mcs_tensor *x = mcs_full(c, 4, MCS_SHAPE(2, 3, 18, 18), 0.5f);
        mcs_tensor *y = mcs_biomedclip_logits(c, m, mcs_biomedclip_encode_image(c, m, x),
                                              mcs_biomedclip_encode_caption(c, m, "chest ct"));
        if (train && mcs_backward(c, mcs_sum(c, y), NULL) != MCS_OK)
            assert_int_not_equal(mcs_ctx_status(c), MCS_OK);
    }
    s = s ? s : of_context(c, e);
    if (!s && !train) {
        char out[] = "/tmp/mcs_memory_XXXXXX";
        int fd = mkstemp(out);
        assert_true(fd >= 0);
        close(fd);
        s = mcs_biomedclip_save(m, out, layout, MCS_ST_F16, e);
        unlink(out);
    }
    mcs_ctx_free(c);
    mcs_biomedclip_free(m);
    return s;
}

static mcs_status clip_open(mcs_error *e)
{
    return clip_job("tests/golden/clip_tiny.safetensors", MCS_CLIP_OPEN_CLIP, false, e);
}
static mcs_status clip_hf(mcs_error *e)
{
    return clip_job("tests/golden/clip_tiny_hf.safetensors", MCS_CLIP_HF, false, e);
}
static mcs_status clip_train(mcs_error *e)
{
    return clip_job("tests/golden/clip_tiny.safetensors", MCS_CLIP_HF, true, e);
}

static mcs_status picture(mcs_error *e)
{
    float out[3 * 18 * 18];
    char path[] = "/tmp/mcs_memory_XXXXXX";
    mcs_image *im = mcs_image_read("tests/golden/pictures/444.jpg", e);
    mcs_status s =
        im ? mcs_preprocess_clip(im, 18, MCS_FIT_CROP, mcs_clip_mean, mcs_clip_std, out, NULL, e)
           : e->status;
    if (!s) {
        int fd = mkstemp(path);
        assert_true(fd >= 0);
        close(fd);
        s = mcs_png_write(path, im, e);
        unlink(path);
    }
    mcs_image_free(im);
    return s;
}

static mcs_status phantom(mcs_error *e)
{
    mcs_phantom p = { 0 }, view = { 0 };
    const mcs_phantom_view_options o = mcs_phantom_view_defaults();
    mcs_status s = mcs_phantom_make(1, 1, 128, &p, e);
    if (!s)
        s = mcs_phantom_view(&p, &o, 1, 64, &view, e);
    mcs_phantom_free(&view);
    mcs_phantom_free(&p);
    return s;
}

static mcs_status zeroshot(mcs_error *e)
{
    mcs_zeroshot_files files = { .clip = "tests/golden/clip_tiny.safetensors",
                                 .vocab = "tests/golden/tokens_vocab.txt",
                                 .sam = "tests/golden/sam_tiny.safetensors" };
    mcs_medclip_sam *m = mcs_medclip_sam_load(&files, e);
    if (!m)
        return e->status;
    mcs_ctx *c = mcs_ctx_new(NULL);
    mcs_image *im = mcs_image_new(23, 19, 3, 8);
    for (int i = 0; im && i < 23 * 19 * 3; i++)
        ((uint8_t *)im->data)[i] = (uint8_t)(i * i % 251);
    const char *const texts[] = { "lung mass" };
    mcs_zeroshot_query q = { .texts = texts, .text_count = 1 };
    mcs_zeroshot_opts o;
    mcs_zeroshot_defaults(&o, MCS_PRESET_PAPER);
    o.topk = 4;
    mcs_zeroshot_result *r = c && im ? mcs_medclip_sam_run(c, m, im, &o, 1, &q) : NULL;
    mcs_status s = c && im ? of_context(c, e) : MCS_ENOMEM;
    assert_true((r != NULL) == (s == MCS_OK));
    mcs_zeroshot_results_free(r, 1);
    mcs_image_free(im);
    mcs_ctx_free(c);
    mcs_medclip_sam_free(m);
    return s;
}

static void tokeniser(void **state)
{
    (void)state;
    torture("tokeniser", tokenise);
}
static void clip_layouts(void **state)
{
    (void)state;
    torture("BiomedCLIP, open_clip's layout", clip_open);
    torture("BiomedCLIP, HF layout", clip_hf);
}
static void training(void **state)
{
    (void)state;
    torture("training step", clip_train);
}
static void pictures(void **state)
{
    (void)state;
    torture("picture", picture);
    torture("phantom", phantom);
}
static void composed(void **state)
{
    (void)state;
    torture("zero-shot", zeroshot);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tokeniser), cmocka_unit_test(clip_layouts), cmocka_unit_test(training),
        cmocka_unit_test(pictures),  cmocka_unit_test(composed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
