/* Checkpoints when memory ends: the n-th allocation fails, for every n, in opening, reading,
 * loading and saving, jansson's and zlib's allocations included.  Each time the answer is
 * MCS_ENOMEM or the right result, nothing leaks and no file is left half written.
 *
 * The allocator is replaced in this program; sanitizers bring their own, so there it only runs once. */
#define _GNU_SOURCE
#include "tests/weights_files.h"

#if defined(__GLIBC__) && !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
#if defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define REPLACED 0
#endif
#endif
#ifndef REPLACED
#define REPLACED 1
#endif
#else
#define REPLACED 0
#endif

static long allocations, fail_at = -1, alive;

#if REPLACED
extern void *__libc_malloc(size_t n);
extern void *__libc_calloc(size_t n, size_t size);
extern void *__libc_realloc(void *p, size_t n);
extern void *__libc_memalign(size_t alignment, size_t n);
extern void __libc_free(void *p);

/* Counts; false: this one fails.  One thread only. */
static bool allowed(void)
{
    if (fail_at < 0)
        return true;
    return allocations++ != fail_at;
}

static void *counted(void *p)
{
    alive += p != NULL;
    return p;
}

void *malloc(size_t n)
{
    return allowed() ? counted(__libc_malloc(n)) : NULL;
}
void *calloc(size_t n, size_t size)
{
    return allowed() ? counted(__libc_calloc(n, size)) : NULL;
}
void *aligned_alloc(size_t alignment, size_t n)
{
    return allowed() ? counted(__libc_memalign(alignment, n)) : NULL;
}
void *realloc(void *p, size_t n)
{
    if (!allowed())
        return NULL;
    void *q = __libc_realloc(p, n);
    if (!p && q)
        alive++;
    return q;
}
void free(void *p)
{
    alive -= p != NULL;
    __libc_free(p);
}
#endif

/* A step under test: MCS_OK or why not. */
typedef mcs_status step(mcs_error *e);

/* Runs it with the n-th allocation failing until it needs fewer than n. */
static void fail_each(step *fn, long least)
{
    mcs_error e = { 0 };
    if (!REPLACED) { /* once, as it is: the sanitizer looks for leaks */
        assert_int_equal(fn(&e), MCS_OK);
        return;
    }
    long before = alive, n = 0;
    for (;; n++) {
        e = (mcs_error){ 0 };
        allocations = 0;
        fail_at = n;
        mcs_status s = fn(&e);
        long used = allocations;
        fail_at = -1;
        if (alive != before)
            fail_msg("allocation %ld fails: %ld blocks leak", n, alive - before);
        /* jansson takes a token it had no memory for as one it does not know */
        bool jansson = s == MCS_EFORMAT && strstr(e.message, "safetensors: header, byte ");
        if (s != MCS_OK && s != MCS_ENOMEM && !jansson)
            fail_msg("allocation %ld fails: \"%s\" (%d)", n, e.message, (int)s);
        if (used <= n) {
            assert_int_equal(s, MCS_OK);
            break;
        }
    }
    assert_true(n >= least); /* the allocator under test is really ours */
}

static mcs_status read_all(const char *path, mcs_error *e)
{
    mcs_checkpoint *k = mcs_checkpoint_open(path, e);
    static double space[20000];
    mcs_status s = k ? MCS_OK : e->status;
    for (int64_t i = 0; s == MCS_OK && i < mcs_checkpoint_count(k); i++) {
        const mcs_stored *t = mcs_checkpoint_at(k, i);
        assert_true((size_t)t->numel < sizeof space / sizeof *space);
        s = mcs_checkpoint_read_as(k, t, t->dtype, space, e);
        if (s == MCS_OK && t->dtype != MCS_ST_U64)
            s = mcs_checkpoint_read_f32(k, t, (float *)space, e);
    }
    mcs_checkpoint_close(k);
    return s;
}

#define GOLDEN "tests/golden/weights_"
static mcs_status open_safetensors(mcs_error *e)
{
    return read_all(GOLDEN "expected.safetensors", e);
}
static mcs_status open_zip(mcs_error *e)
{
    return read_all(GOLDEN "checkpoint.pt", e);
}
static mcs_status open_views(mcs_error *e)
{
    return read_all(GOLDEN "views.pt", e);
}
static mcs_status open_legacy(mcs_error *e)
{
    return read_all(GOLDEN "views_legacy.pt", e);
}

static void test_safetensors(void **state)
{
    (void)state;
    fail_each(open_safetensors, 500);
}
static void test_zip(void **state)
{
    (void)state;
    fail_each(open_zip, 100);
    fail_each(open_views, 50);
}
static void test_legacy(void **state)
{
    (void)state;
    fail_each(open_legacy, 40);
}

/* ---- Stores ---- */

static char path[400];

static mcs_params *store(void)
{
    mcs_params *p = mcs_params_new();
    if (p) {
        mcs_param(mcs_root(p), "a", MCS_INIT_NORMAL, 2, MCS_SHAPE(3, 4));
        mcs_param(mcs_root(p), "b", MCS_INIT_NORMAL, 1, MCS_SHAPE(5));
        mcs_buffer(mcs_root(p), "c", MCS_INIT_ONES, 1, MCS_SHAPE(2));
    }
    return p;
}

static mcs_status save(mcs_error *e)
{
    const char *meta[] = { "k", "v", NULL };
    mcs_params *p = store();
    mcs_status s = p ? mcs_params_init(p, 3) : MCS_ENOMEM;
    if (s == MCS_OK)
        s = mcs_params_save(p, path, meta, MCS_ST_BF16, e);
    mcs_params_free(p);
    return s;
}

static mcs_status load(mcs_error *e)
{
    mcs_params *p = store();
    mcs_status s = p ? mcs_params_status(p) : MCS_ENOMEM;
    mcs_checkpoint *k = s == MCS_OK ? mcs_checkpoint_open(path, e) : NULL;
    if (s == MCS_OK)
        s = k ? mcs_params_load(p, k, NULL, NULL, 0, e) : e->status;
    if (s == MCS_OK)
        assert_non_null(mcs_params_find(p, "c")->data);
    mcs_checkpoint_close(k);
    mcs_params_free(p);
    return s;
}

static void test_store(void **state)
{
    (void)state;
    mcs_error e = { 0 };
    snprintf(path, sizeof path, "%s", temporary("m.safetensors"));
    assert_int_equal(save(&e), MCS_OK);
    bytes whole = slurp(path);
    fail_each(save, 30);
    fail_each(load, 20);
    holds(path, &whole); /* written many times, always whole */
    drop(&whole);
}

static int clean_up(void **state)
{
    static const char *const names[] = { "m.safetensors", NULL };
    (void)state;
    return path[0] ? remove_temporary(names) : 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_safetensors),
        cmocka_unit_test(test_zip),
        cmocka_unit_test(test_legacy),
        cmocka_unit_test(test_store),
    };
    return cmocka_run_group_tests(tests, NULL, clean_up);
}
