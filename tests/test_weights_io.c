/* Checkpoints on a disk that misbehaves: every write, read, fsync, close and rename in turn fails,
 * is interrupted or does only a part.  Interrupted and partial calls must not be noticed; a
 * failure is MCS_EIO that names the file, the old file stands and nothing is left beside it.
 *
 * The calls are replaced in this program; what is not ours to break goes to the kernel. */
#define _GNU_SOURCE
#include <errno.h>
#include <sys/syscall.h>
#include "tests/weights_files.h"

static long calls, fail_at = -1;
static int failure; /* errno of the failing call */
static bool partial; /* every call is interrupted once, then does at most 7 bytes */
static bool armed, interrupted;

/* true: this call fails, errno is set */
static bool breaks(void)
{
    if (!armed)
        return false;
    if (calls++ == fail_at) {
        errno = failure;
        return true;
    }
    return false;
}

/* true: interrupted, once before each piece */
static bool interrupts(void)
{
    if (!armed || !partial)
        return false;
    interrupted = !interrupted;
    if (interrupted)
        errno = EINTR;
    return interrupted;
}

static size_t piece(size_t n)
{
    return armed && partial && n > 7 ? 7 : n;
}

ssize_t write(int fd, const void *data, size_t n)
{
    if (fd > 2 && (breaks() || interrupts()))
        return -1;
    return syscall(SYS_write, fd, data, fd > 2 ? piece(n) : n);
}
ssize_t pread(int fd, void *data, size_t n, off_t at)
{
    if (breaks() || interrupts())
        return -1;
    return syscall(SYS_pread64, fd, data, piece(n), at);
}
int fsync(int fd)
{
    return breaks() ? -1 : (int)syscall(SYS_fsync, fd);
}
int rename(const char *from, const char *to)
{
    return breaks() ? -1 : (int)syscall(SYS_rename, from, to);
}

/* ---- */

static char path[400];
static const float values[40] = { 1.0f, 2.0f, 3.0f };
static const mcs_save_entry entries[] = {
    { "a", MCS_ST_F32, 2, { 4, 10 }, values, MCS_F32 },
    { "b", MCS_ST_BF16, 1, { 40 }, values, MCS_F32 },
};

static mcs_status save(mcs_error *e)
{
    return mcs_safetensors_write(path, 2, entries, NULL, e);
}

static mcs_status load(const char *file, mcs_error *e)
{
    static double space[20000];
    mcs_checkpoint *k = mcs_checkpoint_open(file, e);
    mcs_status s = k ? MCS_OK : e->status;
    for (int64_t i = 0; s == MCS_OK && i < mcs_checkpoint_count(k); i++) {
        const mcs_stored *t = mcs_checkpoint_at(k, i);
        s = mcs_checkpoint_read_as(k, t, t->dtype, space, e);
    }
    mcs_checkpoint_close(k);
    return s;
}

static void arm(long at, int err)
{
    calls = 0;
    fail_at = at;
    failure = err;
    armed = true;
}

static void test_failing_writes(void **state)
{
    (void)state;
    mcs_error e = { 0 };
    assert_int_equal(mcs_safetensors_write(path, 1, entries, NULL, &e), MCS_OK);
    bytes old = slurp(path);
    int files = files_in_folder();
    long n = 0;
    for (;; n++) {
        e = (mcs_error){ 0 };
        arm(n, n % 2 ? EIO : ENOSPC);
        mcs_status s = save(&e);
        bool done = calls <= n;
        armed = false;
        if (done) {
            assert_int_equal(s, MCS_OK);
            break;
        }
        if (s == MCS_OK) { /* only the folder's fsync may fail unnoticed: it came after rename */
            assert_int_equal(mcs_safetensors_write(path, 1, entries, NULL, &e), MCS_OK);
            continue;
        }
        assert_int_equal(s, MCS_EIO);
        assert_non_null(strstr(e.message, path));
        assert_non_null(strstr(e.message, n % 2 ? "Input/output error" : "No space left"));
        if (n % 2 == 0 && strstr(e.message, "cannot write"))
            assert_non_null(strstr(e.message, " bytes needed, "));
        holds(path, &old);
        assert_int_equal(files_in_folder(), files);
    }
    assert_true(n >= 5); /* header, two tensors, fsync, rename */
    drop(&old);
}

static void test_failing_reads(void **state)
{
    (void)state;
    static const char *const files[] = { "expected.safetensors", "checkpoint.pt",
                                         "views_legacy.pt" };
    for (int i = 0; i < 3; i++) {
        char file[100];
        snprintf(file, sizeof file, "tests/golden/weights_%s", files[i]);
        for (long n = 0;; n++) {
            mcs_error e = { 0 };
            arm(n, EIO);
            mcs_status s = load(file, &e);
            bool done = calls <= n;
            armed = false;
            if (done) {
                assert_int_equal(s, MCS_OK);
                assert_true(n >= 10);
                break;
            }
            if (s != MCS_EIO || !strstr(e.message, file) ||
                !strstr(e.message, "read failed at byte"))
                fail_msg("read %ld fails: \"%s\" (%d)", n, e.message, (int)s);
        }
    }
}

static void test_pieces(void **state)
{
    (void)state;
    mcs_error e = { 0 };
    assert_int_equal(save(&e), MCS_OK);
    bytes whole = slurp(path);
    partial = true;
    arm(-1, 0);
    mcs_status s = save(&e), r = load(path, &e);
    if (r == MCS_OK)
        r = load("tests/golden/weights_views.pt", &e);
    armed = partial = false;
    assert_int_equal(s, MCS_OK);
    assert_int_equal(r, MCS_OK);
    holds(path, &whole);
    drop(&whole);
}

static int set_up(void **state)
{
    (void)state;
    snprintf(path, sizeof path, "%s", temporary("io.safetensors"));
    return 0;
}

static int clean_up(void **state)
{
    static const char *const names[] = { "io.safetensors", NULL };
    (void)state;
    return remove_temporary(names);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_failing_writes),
        cmocka_unit_test(test_failing_reads),
        cmocka_unit_test(test_pieces),
    };
    return cmocka_run_group_tests(tests, set_up, clean_up);
}
