/* test_png_write.c - what is written reads back equal; the old file survives every failure. */
#include <dirent.h>
#include <sys/resource.h>
#include <signal.h>
#include "tests/folder.h"
#include "tests/picture.h"

/* Entries of the folder other than "." and "..". */
static int files_in_folder(void)
{
    DIR *d = opendir(folder);
    assert_non_null(d);
    int n = -2;
    while (readdir(d))
        n++;
    closedir(d);
    return n;
}

static int tear_down(void **state)
{
    (void)state;
    unlink(in_folder("a.png"));
    return rmdir(folder);
}

static void test_round_trip(void **state)
{
    (void)state;
    static const int sizes[][2] = { { 1, 1 }, { 1, 31 }, { 200, 1 }, { 37, 23 } };
    for (int i = 0; i < 4; i++)
        for (int channels = 1; channels <= 4; channels++)
            for (int depth = 8; depth <= 16; depth += 8) {
                mcs_image *im = mcs_image_new(sizes[i][0], sizes[i][1], channels, depth);
                for (size_t k = 0; k < image_bytes(im); k++)
                    ((uint8_t *)im->data)[k] = (uint8_t)(k * 2654435761u >> 13);
                mcs_error e = { MCS_OK, "" };
                assert_int_equal(mcs_png_write(in_folder("a.png"), im, &e), MCS_OK);
                mcs_image *back = mcs_image_read(in_folder("a.png"), &e);
                assert_string_equal(e.message, "");
                assert_true(same_image(im, back));
                mcs_image_free(im);
                mcs_image_free(back);
            }
    assert_int_equal(files_in_folder(), 1);
    struct stat st;
    mode_t mask = umask(022);
    mcs_image *im = noise_image(3, 3, 1);
    assert_int_equal(mcs_png_write(in_folder("a.png"), im, NULL), MCS_OK);
    assert_int_equal(mcs_png_write_unsynced(in_folder("b.png"), im, NULL), MCS_OK);
    assert_int_equal(stat(in_folder("b.png"), &st), 0);
    off_t size = st.st_size;
    assert_int_equal(stat(in_folder("a.png"), &st), 0);
    assert_int_equal(st.st_size, size);
    assert_int_equal(unlink(in_folder("b.png")), 0);
    assert_int_equal(st.st_mode & 0777, 0644); /* as any file the user makes */
    umask(mask);
    mcs_image_free(im);
}

static void test_failures(void **state)
{
    (void)state;
    mcs_error e = { MCS_OK, "" };
    mcs_image *im = noise_image(300, 300, 3);
    assert_int_equal(mcs_png_write("/no/such/folder/a.png", im, &e), MCS_EIO);
    assert_non_null(strstr(e.message, "/no/such/folder/a.png: cannot be written"));
    assert_int_equal(mcs_png_write(folder, im, NULL), MCS_EIO); /* a folder stands there */
    assert_int_equal(mcs_png_write(in_folder("a.png"), NULL, NULL), MCS_EINVAL);
    mcs_image_free(im);
    char parent[128];
    snprintf(parent, sizeof parent, "%s.%ld-0.tmp", folder, (long)getpid());
    assert_int_not_equal(access(parent, F_OK), 0); /* nothing left behind */
}

/* The disk is full after 5,000 bytes: the old file stays, no temporary is left. */
static void test_disk_full(void **state)
{
    (void)state;
    mcs_image *old = noise_image(8, 8, 3), *big = noise_image(300, 300, 3);
    mcs_error e = { MCS_OK, "" };
    assert_int_equal(mcs_png_write(in_folder("a.png"), old, &e), MCS_OK);
    struct rlimit before, small;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    small = before;
    small.rlim_cur = 5000;
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    mcs_status s = mcs_png_write(in_folder("a.png"), big, &e);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    assert_int_equal(s, MCS_EIO);
    assert_non_null(strstr(e.message, "a.png: cannot be written"));
    mcs_image *back = mcs_image_read(in_folder("a.png"), NULL);
    assert_true(back && same_image(back, old));
    assert_int_equal(files_in_folder(), 1);
    mcs_image_free(old);
    mcs_image_free(big);
    mcs_image_free(back);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_failures),
        cmocka_unit_test(test_disk_full),
    };
    return cmocka_run_group_tests(tests, make_folder, tear_down);
}
