/* test_cli_table.c - CSV and TSV: quoting, line ends, separators, attacks. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "tests/check.h"
#include "tools/cli_table.h"

static const char path[] = "build/test_cli_table.csv";

static mcs_status put(cli_table *t, const char *text, size_t n, char separator, mcs_error *e)
{
    *e = (mcs_error){ MCS_OK, "" };
    assert_int_equal(cli_write(path, text, n, e), MCS_OK);
    return cli_table_read(t, path, separator, e);
}

static cli_table good(const char *text)
{
    cli_table t;
    mcs_error e;
    if (put(&t, text, strlen(text), 0, &e) != MCS_OK)
        fail_msg("%s", e.message);
    return t;
}

static void refuses(const char *text, size_t n, const char *part)
{
    cli_table t;
    mcs_error e;
    assert_int_equal(put(&t, text, n, 0, &e), MCS_EFORMAT);
    if (!strstr(e.message, part))
        fail_msg("'%s' does not say '%s'", e.message, part);
    cli_table_free(&t);
}

static void test_plain(void **state)
{
    (void)state;
    cli_table t = good("filename,Caption\na.png,a mass\nb.png,two cysts\n");
    assert_int_equal(t.rows, 2);
    assert_int_equal(t.columns, 2);
    assert_int_equal(cli_table_column(&t, "Caption"), 1);
    assert_int_equal(cli_table_column(&t, "caption"), -1);
    assert_string_equal(cli_table_cell(&t, 1, 0), "b.png");
    assert_string_equal(cli_table_cell(&t, 1, 1), "two cysts");
    assert_int_equal(cli_table_line(&t, 1), 3);
    cli_table_free(&t);
}

static void test_quotes(void **state)
{
    (void)state;
    cli_table t = good("a,b,c\r\n\"x, \"\"y\"\"\nz\",,\" \"\r\nq\"r,\"s\"t,u\r\n\r\n1,2,3");
    assert_int_equal(t.rows, 3);
    assert_string_equal(cli_table_cell(&t, 0, 0), "x, \"y\"\nz");
    assert_string_equal(cli_table_cell(&t, 0, 1), "");
    assert_string_equal(cli_table_cell(&t, 0, 2), " ");
    assert_string_equal(cli_table_cell(&t, 1, 0), "q\"r");
    assert_string_equal(cli_table_cell(&t, 1, 1), "st");
    assert_string_equal(cli_table_cell(&t, 2, 2), "3");
    assert_int_equal(cli_table_line(&t, 0), 2);
    assert_int_equal(cli_table_line(&t, 1), 4);
    assert_int_equal(cli_table_line(&t, 2), 6);
    cli_table_free(&t);
}

static void test_ends_and_marks(void **state)
{
    (void)state;
    cli_table t = good("\xEF\xBB\xBFname\tcaption\rx\ty,z\r\r\nv\t\n");
    assert_int_equal(t.separator, '\t');
    assert_int_equal(cli_table_column(&t, "name"), 0);
    assert_int_equal(t.rows, 2);
    assert_string_equal(cli_table_cell(&t, 0, 1), "y,z");
    assert_string_equal(cli_table_cell(&t, 1, 1), "");
    cli_table_free(&t);
    t = good("a;b;c\n1\n,;2\n");
    assert_int_equal(t.separator, ';');
    assert_string_equal(cli_table_cell(&t, 0, 2), ""); /* short records end in empty fields */
    assert_string_equal(cli_table_cell(&t, 1, 0), ",");
    cli_table_free(&t);
    t = good("only\nx\n\n\ny\n");
    assert_int_equal(t.rows, 2);
    cli_table_free(&t);
    t = good("header,alone");
    assert_int_equal(t.rows, 0);
    cli_table_free(&t);
}

static void test_attacks(void **state)
{
    (void)state;
    refuses("", 0, "empty");
    refuses("\n\r\n", 3, "empty");
    refuses("a,b\n1,\"2\n3,4\n", 13, "line 2: a quotation mark opens here");
    refuses("a,b\n1,2\n1,2,3\n", 14, "line 3: more fields");
    refuses("a,b\n1,\0\n", 9, "NUL");
    refuses("\xFF\xFE"
            "a\0",
            4, "UTF-16");
    char *wide = calloc(1, CLI_TABLE_COLUMNS + 2);
    memset(wide, ',', CLI_TABLE_COLUMNS + 1);
    refuses(wide, CLI_TABLE_COLUMNS + 1, "more fields");
    free(wide);
}

static void test_long_caption(void **state)
{
    (void)state;
    size_t n = 1000000;
    char *text = malloc(n + 20);
    memcpy(text, "f,c\nx,\"", 7);
    memset(text + 7, 'w', n);
    memcpy(text + 7 + n, "\"\ny,z", 6);
    cli_table t = good(text);
    assert_int_equal(strlen(cli_table_cell(&t, 0, 1)), n);
    assert_string_equal(cli_table_cell(&t, 1, 1), "z");
    cli_table_free(&t);
    free(text);
}

static void test_need(void **state)
{
    (void)state;
    mcs_error e = { MCS_OK, "" };
    int column;
    cli_table t = good("file,title,file\nx,y,z\n");
    assert_int_equal(cli_table_need(&t, "title", &column, &e), MCS_OK);
    assert_int_equal(column, 1);
    assert_int_equal(cli_table_need(&t, "Caption", &column, &e), MCS_ENOTFOUND);
    assert_non_null(strstr(e.message, "no column 'Caption'; there are: file, title, file"));
    e = (mcs_error){ MCS_OK, "" };
    assert_int_equal(cli_table_need(&t, "file", &column, &e), MCS_ENOTFOUND);
    assert_non_null(strstr(e.message, "more than one"));
    cli_table_free(&t);
    e = (mcs_error){ MCS_OK, "" };
    assert_int_equal(cli_table_read(&t, "build/none.csv", 0, &e), MCS_EIO);
    cli_table_free(&t);
}

static void test_words(void **state)
{
    (void)state;
    assert_true(cli_table_empty("") && cli_table_empty(" \r\n") && cli_table_empty("nan"));
    assert_true(cli_table_empty(" NaN ") && cli_table_empty("N/A"));
    assert_false(cli_table_empty("nano") || cli_table_empty("no finding") || cli_table_empty("0"));
    assert_int_equal(cli_table_separator("auto"), 0);
    assert_int_equal(cli_table_separator("\\t"), '\t');
    assert_int_equal(cli_table_separator("\t"), '\t');
    assert_int_equal(cli_table_separator(";"), ';');
    assert_int_equal(cli_table_separator(""), -1);
    assert_int_equal(cli_table_separator("\""), -1);
    assert_int_equal(cli_table_separator("ab"), -1);
}

/* Any bytes give a table or an error; every cell lies in the text. */
static void test_noise(void **state)
{
    (void)state;
    static const char alphabet[] = "a,\"\n\r\t;";
    uint32_t r = 1;
    char text[64];
    for (int round = 0; round < 400; round++) {
        cli_table t;
        mcs_error e;
        size_t n = (size_t)round % sizeof text;
        for (size_t i = 0; i < n; i++) {
            r = r * 1664525u + 1013904223u;
            text[i] = alphabet[(r >> 16) % (sizeof alphabet - 1)];
        }
        if (put(&t, text, n, 0, &e) == MCS_OK)
            for (int64_t i = 0; i < t.rows; i++)
                for (int k = 0; k < t.columns; k++)
                    assert_true(strlen(cli_table_cell(&t, i, k)) <= n);
        else
            assert_int_equal(e.status, MCS_EFORMAT);
        cli_table_free(&t);
    }
    unlink(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_plain),          cmocka_unit_test(test_quotes),
        cmocka_unit_test(test_ends_and_marks), cmocka_unit_test(test_attacks),
        cmocka_unit_test(test_long_caption),   cmocka_unit_test(test_need),
        cmocka_unit_test(test_words),          cmocka_unit_test(test_noise),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
