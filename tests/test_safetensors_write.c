/* The writer: what comes back, what it refuses, and that a failed write leaves the old file. */
#include <signal.h>
#include <sys/resource.h>
#include "tests/weights_files.h"

static const float floats[6] = { 1.0f, -2.5f, 65504.0f, 1e-8f, 0.1f, -0.0f };
static const int64_t ids[3] = { 5, -6, INT64_MAX };
static const uint8_t flags[3] = { 1, 0, 1 };

static const mcs_save_entry entries[] = {
    { "mask", MCS_ST_BOOL, 1, { 3 }, flags, MCS_U8 },
    { "w", MCS_ST_F32, 2, { 2, 3 }, floats, MCS_F32 },
    { "half", MCS_ST_F16, 1, { 6 }, floats, MCS_F32 },
    { "double", MCS_ST_F64, 1, { 6 }, floats, MCS_F32 },
    { "ids", MCS_ST_I64, 1, { 3 }, ids, MCS_I64 },
    { "scalar", MCS_ST_F32, 0, { 0 }, floats, MCS_F32 },
    { "empty", MCS_ST_F32, 2, { 0, 3 }, NULL, MCS_F32 },
    { "\xC3\xA9 \"\\\n", MCS_ST_U8, 1, { 3 }, flags, MCS_U8 },
};
enum { ENTRIES = sizeof entries / sizeof *entries };

static mcs_checkpoint *reopen(const char *path)
{
    mcs_error e = { 0 };
    mcs_checkpoint *k = mcs_checkpoint_open(path, &e);
    if (!k)
        fail_msg("%s", e.message);
    return k;
}

static void test_round_trip(void **state)
{
    (void)state;
    mcs_error e = { 0 };
    float f[6];
    int64_t v[3];
    const char *path = temporary("a.safetensors");
    assert_int_equal(mcs_safetensors_write(path, ENTRIES, entries, NULL, &e), MCS_OK);
    mcs_checkpoint *k = reopen(path);
    assert_int_equal(mcs_checkpoint_count(k), ENTRIES);
    assert_string_equal(mcs_checkpoint_at(k, 0)->name, "double"); /* wider elements first */
    assert_int_equal(mcs_checkpoint_read_f32(k, mcs_checkpoint_find(k, "w"), f, &e), MCS_OK);
    assert_memory_equal(f, floats, sizeof f);
    assert_int_equal(mcs_checkpoint_read_f32(k, mcs_checkpoint_find(k, "double"), f, &e), MCS_OK);
    assert_memory_equal(f, floats, sizeof f);
    assert_int_equal(mcs_checkpoint_read_f32(k, mcs_checkpoint_find(k, "half"), f, &e), MCS_OK);
    assert_true(f[0] == 1.0f && f[1] == -2.5f && f[2] == 65504.0f && f[3] == 0.0f);
    assert_int_equal(mcs_checkpoint_read_i64(k, mcs_checkpoint_find(k, "ids"), v, &e), MCS_OK);
    assert_memory_equal(v, ids, sizeof v);
    assert_int_equal(mcs_checkpoint_find(k, "scalar")->ndim, 0);
    assert_non_null(mcs_checkpoint_find(k, "\xC3\xA9 \"\\\n"));
    mcs_checkpoint_close(k);
    bytes b = slurp(path); /* the data begins at a multiple of 8 */
    assert_int_equal(b.at[0] % 8, 0);
    drop(&b);
    assert_int_equal(mcs_safetensors_write(path, 0, NULL, NULL, &e), MCS_OK);
    k = reopen(path);
    assert_int_equal(mcs_checkpoint_count(k), 0);
    mcs_checkpoint_close(k);
}

/* Names are UTF-8, and only that. */
static void test_names(void **state)
{
    (void)state;
    static const char *const good[] = { "\xC2\x80",         "\xDF\xBF",     "\xE0\xA0\x80",
                                        "\xED\x9F\xBF",     "\xEE\x80\x80", "\xF0\x90\x80\x80",
                                        "\xF4\x8F\xBF\xBF", "\x7F\x01 /../" };
    static const char *const bad[] = { "\x80",
                                       "\xC1\xBF",
                                       "\xC3",
                                       "\xC3(",
                                       "\xE0\x9F\xBF",
                                       "\xED\xA0\x80",
                                       "\xED\xBF\xBF",
                                       "\xE4\xB8",
                                       "\xE4\xB8x",
                                       "\xF0\x8F\xBF\xBF",
                                       "\xF4\x90\x80\x80",
                                       "\xF5\x80\x80\x80",
                                       "\xF0\x90\x80",
                                       "\xFE" };
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        mcs_error e = { 0 };
        mcs_save_entry t = entries[1];
        t.name = good[i];
        assert_int_equal(mcs_safetensors_write(temporary("a.safetensors"), 1, &t, NULL, &e),
                         MCS_OK);
        mcs_checkpoint *k = reopen(temporary("a.safetensors"));
        assert_non_null(mcs_checkpoint_find(k, good[i]));
        mcs_checkpoint_close(k);
    }
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        mcs_error e = { 0 };
        mcs_save_entry t = entries[1];
        t.name = bad[i];
        assert_int_equal(mcs_safetensors_write(temporary("a.safetensors"), 1, &t, NULL, &e),
                         MCS_EINVAL);
        assert_non_null(strstr(e.message, "not UTF-8"));
    }
}

/* The same entries give the same bytes, twice and from a fetch function. */
static const void *fetch_raw(void *arg, int64_t i, mcs_error *e)
{
    static uint8_t buffer[64];
    mcs_checkpoint *k = arg;
    const mcs_stored *t = mcs_checkpoint_find(k, entries[i].name);
    return mcs_checkpoint_read_as(k, t, t->dtype, buffer, e) == MCS_OK ? buffer : NULL;
}

static const void *fetch_nothing(void *arg, int64_t i, mcs_error *e)
{
    if (arg)
        mcs_error_set(e, MCS_ENUMERIC, "fetching %d", (int)i);
    return NULL;
}

static void test_fetch(void **state)
{
    (void)state;
    mcs_error e = { 0 };
    char a[400], b[400];
    snprintf(a, sizeof a, "%s", temporary("a.safetensors"));
    snprintf(b, sizeof b, "%s", temporary("b.safetensors"));
    assert_int_equal(mcs_safetensors_write(a, ENTRIES, entries, NULL, &e), MCS_OK);
    mcs_checkpoint *k = reopen(a);
    assert_int_equal(mcs_safetensors_write_from(b, ENTRIES, entries, NULL, fetch_raw, k, &e),
                     MCS_OK);
    mcs_checkpoint_close(k);
    bytes whole = slurp(a);
    holds(b, &whole);
    assert_int_equal(mcs_safetensors_write_from(b, ENTRIES, entries, NULL, fetch_nothing, NULL, &e),
                     MCS_EINVAL);
    e = (mcs_error){ 0 };
    assert_int_equal(mcs_safetensors_write_from(b, ENTRIES, entries, NULL, fetch_nothing, k, &e),
                     MCS_ENUMERIC);
    holds(b, &whole); /* the old file stands */
    drop(&whole);
}

static void refuse(mcs_save_entry t, const char *part)
{
    mcs_error e = { 0 };
    mcs_save_entry list[2] = { entries[1], t };
    mcs_status s = mcs_safetensors_write(temporary("never"), 2, list, NULL, &e);
    if (s == MCS_OK || !strstr(e.message, part))
        fail_msg("expected \"%s\", got \"%s\"", part, e.message);
}

static void test_refused(void **state)
{
    (void)state;
    static char long_name[5000];
    static const int64_t big[1] = { 300 };
    memset(long_name, 'n', sizeof long_name - 1);
    refuse(entries[1], "two tensors are named 'w'");
    refuse((mcs_save_entry){ "", MCS_ST_F32, 0, { 0 }, floats, MCS_F32 }, "needs a name");
    refuse((mcs_save_entry){ NULL, MCS_ST_F32, 0, { 0 }, floats, MCS_F32 }, "needs a name");
    refuse((mcs_save_entry){ long_name, MCS_ST_F32, 0, { 0 }, floats, MCS_F32 }, "needs a name");
    refuse((mcs_save_entry){ "__metadata__", MCS_ST_F32, 0, { 0 }, floats, MCS_F32 }, "a name");
    refuse((mcs_save_entry){ "x\xFF", MCS_ST_F32, 0, { 0 }, floats, MCS_F32 }, "not UTF-8");
    refuse((mcs_save_entry){ "x", MCS_ST_F32, 9, { 0 }, floats, MCS_F32 }, "9 dimensions");
    refuse((mcs_save_entry){ "x", MCS_ST_F32, 1, { -1 }, floats, MCS_F32 }, "overflows");
    refuse((mcs_save_entry){ "x", MCS_ST_F32, 2, { INT64_MAX, 4 }, floats, MCS_F32 }, "overflows");
    refuse((mcs_save_entry){ "x", MCS_ST_F32, 1, { 3 }, NULL, MCS_F32 }, "has no data");
    refuse((mcs_save_entry){ "x", MCS_ST_I64, 1, { 3 }, floats, MCS_F32 }, "cannot be written as");
    refuse((mcs_save_entry){ "x", MCS_ST_U8, 1, { 1 }, big, MCS_I64 }, "does not fit U8");
    refuse((mcs_save_entry){ "x", MCS_ST_COUNT, 1, { 1 }, big, MCS_I64 }, "no such dtype");
    refuse((mcs_save_entry){ "x", MCS_ST_F8_E5M2, 1, { 1 }, floats, MCS_F32 }, "float8 is read");
    assert_int_not_equal(access(temporary("never"), F_OK), 0);
    mcs_error e = { 0 };
    const char *meta[] = { "k", "bad \xFF", NULL };
    assert_int_equal(mcs_safetensors_write(temporary("never"), 0, NULL, meta, &e), MCS_EINVAL);
    assert_int_equal(mcs_safetensors_write(NULL, 0, NULL, NULL, NULL), MCS_EINVAL);
    assert_int_equal(mcs_safetensors_write(temporary("never"), -1, entries, NULL, NULL),
                     MCS_EINVAL);
}

/* A disk that fills up (here: a limit on file size) at any point: the old file stands, nothing is
 * left beside it, the message names the file. */
static void test_full_disk(void **state)
{
    (void)state;
    mcs_error e = { 0 };
    char path[400];
    struct rlimit old, small;
    snprintf(path, sizeof path, "%s", temporary("a.safetensors"));
    assert_int_equal(mcs_safetensors_write(path, ENTRIES, entries, NULL, &e), MCS_OK);
    bytes whole = slurp(path);
    assert_int_equal(mcs_safetensors_write(path, 2, entries, NULL, &e), MCS_OK);
    bytes before = slurp(path);
    int files = files_in_folder(), next_fd = dup(0);
    close(next_fd);
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
    for (rlim_t n = 0; n < whole.n; n += 37) {
        small = (struct rlimit){ n, old.rlim_max };
        assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
        e = (mcs_error){ 0 };
        mcs_status s = mcs_safetensors_write(path, ENTRIES, entries, NULL, &e);
        assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
        assert_int_equal(s, MCS_EIO);
        assert_non_null(strstr(e.message, "a.safetensors: cannot write: File too large"));
        holds(path, &before);
        assert_int_equal(files_in_folder(), files);
        int fd = dup(0); /* no descriptor is left open */
        close(fd);
        assert_int_equal(fd, next_fd);
    }
    drop(&before);
    drop(&whole);
}

static void test_places(void **state)
{
    (void)state;
    mcs_error e = { 0 };
    assert_int_equal(mcs_safetensors_write("/dev/full", 2, entries, NULL, &e), MCS_EIO);
    assert_non_null(strstr(e.message, "/dev/full: exists and is not a regular file"));
    e = (mcs_error){ 0 };
    assert_int_equal(mcs_safetensors_write(temporary(""), 2, entries, NULL, &e), MCS_EIO);
    e = (mcs_error){ 0 };
    assert_int_equal(mcs_safetensors_write(temporary("no/such/folder"), 2, entries, NULL, &e),
                     MCS_EIO);
    assert_non_null(strstr(e.message, "No such file or directory"));
    /* a path without a folder: the current one */
    char here[4096];
    assert_non_null(getcwd(here, sizeof here));
    assert_int_equal(chdir(temporary("")), 0);
    e = (mcs_error){ 0 };
    mcs_status s = mcs_safetensors_write("b.safetensors", 2, entries, NULL, &e);
    assert_int_equal(chdir(here), 0);
    assert_int_equal(s, MCS_OK);
    assert_int_equal(access(temporary("b.safetensors"), F_OK), 0);
}

static int clean_up(void **state)
{
    static const char *const names[] = { "a.safetensors", "b.safetensors", NULL };
    (void)state;
    return remove_temporary(names);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip), cmocka_unit_test(test_names),
        cmocka_unit_test(test_fetch),      cmocka_unit_test(test_refused),
        cmocka_unit_test(test_full_disk),  cmocka_unit_test(test_places),
    };
    return cmocka_run_group_tests(tests, NULL, clean_up);
}
