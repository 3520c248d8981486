/* weights_files.h - files for the tests of checkpoints: a temporary folder, bytes in and out, and
 * "this file is refused with that message". */
#ifndef MCS_TEST_WEIGHTS_FILES_H
#define MCS_TEST_WEIGHTS_FILES_H
#include <dirent.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "tests/check.h"
#include "weights/weights_internal.h"

/* Growing bytes: tests build hostile files piece by piece. */
typedef struct {
    uint8_t *at;
    size_t n, room;
} bytes;

static inline void add(bytes *b, const void *data, size_t n)
{
    if (b->n + n >= b->room) {
        b->room = 2 * (b->n + n) + 64;
        b->at = realloc(b->at, b->room);
        assert_non_null(b->at);
    }
    if (n)
        memcpy(b->at + b->n, data, n);
    b->n += n;
}

static inline void add_text(bytes *b, const char *s) { add(b, s, strlen(s)); }

#define add_literal(b, s) add(b, s, sizeof(s) - 1)  /* may hold NULs */

/* v as `size` bytes, little-endian */
static inline void add_int(bytes *b, uint64_t v, int size)
{
    for (int i = 0; i < size; i++)
        add(b, &(uint8_t){ (uint8_t)(i < 8 ? v >> 8 * i : 0) }, 1);
}

static inline void drop(bytes *b)
{
    free(b->at);
    *b = (bytes){ 0 };
}

static inline bytes slurp(const char *path)
{
    bytes b = { 0 };
    uint8_t chunk[65536];
    size_t n;
    FILE *f = fopen(path, "rb");
    if (!f)
        fail_msg("%s: cannot open", path);
    while ((n = fread(chunk, 1, sizeof chunk, f)) > 0)
        add(&b, chunk, n);
    fclose(f);
    return b;
}

static inline void spill(const char *path, const void *data, size_t n)
{
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(data, 1, n, f), n);
    assert_int_equal(fclose(f), 0);
}

/* A path in this program's temporary folder; two calls may be alive at once. */
static inline const char *temporary(const char *name)
{
    static char folder[200], path[2][400];
    static int turn;
    if (!folder[0]) {
        const char *tmp = getenv("TMPDIR");
        snprintf(folder, sizeof folder, "%.150s/mcs-test-XXXXXX", tmp && *tmp ? tmp : "/tmp");
        assert_non_null(mkdtemp(folder));
    }
    turn = !turn;
    snprintf(path[turn], sizeof path[turn], "%s/%s", folder, name);
    return path[turn];
}

/* Entries of the folder, "." and ".." too. */
static inline int files_in_folder(void)
{
    int n = 0;
    DIR *d = opendir(temporary(""));
    assert_non_null(d);
    while (readdir(d))
        n++;
    closedir(d);
    return n;
}

/* The file is these bytes. */
static inline void holds(const char *path, const bytes *expected)
{
    bytes now = slurp(path);
    assert_int_equal(now.n, expected->n);
    assert_memory_equal(now.at, expected->at, expected->n);
    drop(&now);
}

/* Group teardown: removes the folder, in which nothing may be left but known names. */
static inline int remove_temporary(const char *const *names)
{
    for (; *names; names++)
        unlink(temporary(*names));
    return rmdir(temporary(""));
}

/* The bytes are refused with a message that contains `part`. */
static inline void refused(const bytes *b, mcs_status s, const char *part)
{
    mcs_error e = { 0 };
    mcs_checkpoint *k = mcs_checkpoint_open_memory(b->at, b->n, "attack", &e);
    if (k)
        fail_msg("accepted; expected \"%s\"", part);
    if (e.status != s || !strstr(e.message, part))
        fail_msg("expected \"%s\" (%d), got \"%s\" (%d)", part, (int)s, e.message, (int)e.status);
}

/* Opens and reads every tensor; 0 if all went well, else the status.  For truncation and bit
 * flips: whatever happens must be an answer. */
static inline mcs_status open_and_read(const void *data, size_t n)
{
    mcs_error e = { 0 };
    uint8_t *copy = malloc(n ? n : 1); /* exact size: the sanitizer sees reads past the end */
    assert_non_null(copy);
    memcpy(copy, data, n);
    mcs_checkpoint *k = mcs_checkpoint_open_memory(copy, n, "bytes", &e);
    for (int64_t i = 0; k && i < mcs_checkpoint_count(k); i++) {
        const mcs_stored *t = mcs_checkpoint_at(k, i);
        void *v = malloc((size_t)t->numel * (size_t)mcs_stored_size(t->dtype) + 1);
        assert_non_null(v);
        mcs_status s = mcs_checkpoint_read_as(k, t, t->dtype, v, &e);
        if (s != MCS_OK)
            assert_true(e.status != MCS_OK && e.message[0]);
        free(v);
    }
    assert_true((k != NULL) || (e.status != MCS_OK && e.message[0]));
    mcs_checkpoint_close(k);
    free(copy);
    return e.status;
}
#endif
