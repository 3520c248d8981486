/* Texts that tools build up, written and freed at once. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "tests/check.h"
#include "tools/cli_files.h"

static void assert_file(const char *path, const char *want)
{
    mcs_error e = { 0 };
    char *text = cli_read_text(path, NULL, &e);
    assert_non_null(text);
    assert_string_equal(text, want);
    free(text);
}

static void saved_and_freed(void **state)
{
    mcs_error e = { 0 };
    cli_html h = { 0 };
    char path[100];
    (void)state;
    snprintf(path, sizeof path, "/tmp/mcs_cli_html_%ld", (long)getpid());
    cli_html_text(&h, "a<b");
    assert_int_equal(cli_html_save(&h, "/tmp", path + strlen("/tmp/"), &e), MCS_OK);
    assert_file(path, "a&#60;b");
    assert_null(h.text);
    assert_int_equal(h.size, 0);
    assert_int_equal(cli_html_save(&h, "", path, &e), MCS_OK); /* a text that was never begun */
    assert_file(path, "");
    json_t *j = json_pack("{s:i}", "k", 1);
    assert_int_equal(cli_save_json("/tmp", path + strlen("/tmp/"), j, &e), MCS_OK);
    assert_file(path, "{\n  \"k\": 1\n}\n");
    json_decref(j);
    unlink(path);
}

static void failures(void **state)
{
    mcs_error e = { 0 }, earlier = { MCS_EIO, "earlier" };
    cli_html h = { 0 };
    (void)state;
    cli_html_raw(&h, "text");
    h.failed = true;
    assert_int_equal(cli_html_save(&h, "/tmp", "mcs_no.html", &e), MCS_ENOMEM);
    assert_string_equal(e.message, "mcs_no.html: out of memory");
    assert_null(h.text);
    assert_false(h.failed);
    cli_html_raw(&h, "text");
    assert_int_equal(cli_html_save(&h, "/tmp", "mcs_no.html", &earlier), MCS_EIO);
    assert_string_equal(earlier.message, "earlier");
    assert_null(h.text);
    e = (mcs_error){ 0 };
    assert_int_equal(cli_save_json("/tmp", "mcs_no.json", NULL, &e), MCS_ENOMEM);
    assert_int_equal(cli_save_json("/tmp", "mcs_no.json", NULL, &earlier), MCS_EIO);
    e = (mcs_error){ 0 };
    assert_int_equal(cli_html_save(&h, "/dev/full", "x", &e), MCS_EIO);
    assert_int_not_equal(access("/tmp/mcs_no.html", F_OK), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(saved_and_freed),
        cmocka_unit_test(failures),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
