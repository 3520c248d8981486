/* Files of the tools: hashes, whole files, lists of inputs, locks, JSON lines, HTML. */
#include <fcntl.h>
#include <sys/wait.h>
#include "tests/folder.h"
#include "tools/cli_files.h"

static void test_sha256(void **state)
{
    (void)state;
    char hex[65];
    cli_sha256 s;
    mcs_error e = { 0 };
    cli_sha256_begin(&s);
    cli_sha256_hex(&s, hex);
    assert_string_equal(hex, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    cli_sha256_begin(&s);
    cli_sha256_add(&s, "abc", 3);
    cli_sha256_hex(&s, hex);
    assert_string_equal(hex, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    cli_sha256_begin(&s); /* FIPS 180-4: a million times 'a', in odd pieces */
    char a[999];
    memset(a, 'a', sizeof a);
    for (int left = 1000000; left > 0; left -= 999)
        cli_sha256_add(&s, a, left < 999 ? (size_t)left : 999);
    cli_sha256_hex(&s, hex);
    assert_string_equal(hex, "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
    store_text("abc", "abc");
    assert_int_equal(cli_sha256_file(in_folder("abc"), hex, &e), MCS_OK);
    assert_int_equal(strncmp(hex, "ba7816bf", 8), 0);
    assert_int_equal(cli_sha256_file(in_folder("none"), hex, &e), MCS_EIO);
    check_contains(e.message, "none");
}

/* The portable form and the one this machine uses give the same. */
static void test_sha256_plain(void **state)
{
    (void)state;
    uint8_t bytes[640];
    cli_sha256 s;
    uint32_t plain[8];
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (uint8_t)(i * i * 7 + i / 3);
    cli_sha256_begin(&s);
    memcpy(plain, s.state, sizeof plain);
    cli_sha256_plain(plain, bytes, 10);
    cli_sha256_add(&s, bytes, sizeof bytes);
    assert_memory_equal(plain, s.state, sizeof plain);
    cli_sha256_begin(&s);
    for (size_t i = 0; i < sizeof bytes; i += 40) /* pieces that are no blocks */
        cli_sha256_add(&s, bytes + i, 40);
    assert_memory_equal(plain, s.state, sizeof plain);
}

/* Every padding case: lengths 0..130 against coreutils. */
static void test_sha256_lengths(void **state)
{
    (void)state;
    char bytes[131], hex[65], theirs[65], command[400];
    mcs_error e = { 0 };
    memset(bytes, 'x', sizeof bytes);
    for (size_t n = 0; n <= 130; n += n > 50 && n < 70 ? 1 : 13) {
        assert_int_equal(cli_write(in_folder("len"), bytes, n, &e), MCS_OK);
        assert_int_equal(cli_sha256_file(in_folder("len"), hex, &e), MCS_OK);
        snprintf(command, sizeof command, "sha256sum '%s'", in_folder("len"));
        FILE *f = popen(command, "r");
        assert_non_null(f);
        size_t got = fread(theirs, 1, 64, f);
        pclose(f);
        if (got != 64)
            skip();
        theirs[64] = 0;
        assert_string_equal(hex, theirs);
    }
}

static void test_whole_files(void **state)
{
    (void)state;
    mcs_error e = { 0 };
    size_t n;
    assert_int_equal(cli_mkdirs(in_folder("p//q/r"), &e), MCS_OK);
    assert_int_equal(cli_mkdirs(in_folder("p/q/r/"), &e), MCS_OK);
    assert_int_equal(cli_mkdirs_for(in_folder("m/n/file.txt"), &e), MCS_OK);
    assert_true(cli_exists(in_folder("m/n")));
    store_text("bom", "\xEF\xBB\xBFtext");
    char *text = cli_read_text(in_folder("bom"), &n, &e);
    assert_string_equal(text, "text");
    assert_int_equal(n, 4);
    free(text);
    store_text("utf16", "\xFF\xFEt");
    assert_null(cli_read_text(in_folder("utf16"), &n, &e));
    check_contains(e.message, "UTF-16");
    e = (mcs_error){ 0 };
    assert_int_equal(cli_mkdirs(in_folder("bom/x"), &e), MCS_EIO);
    e = (mcs_error){ 0 };
    assert_int_equal(cli_write("/dev/full/x", "a", 1, &e), MCS_EIO);
    store_text("keep", "old");
    e = (mcs_error){ 0 }; /* a folder in the way of the temporary file: the old one stays whole */
    char tmp[100];
    snprintf(tmp, sizeof tmp, "keep.tmp%ld", (long)getpid());
    assert_int_equal(cli_mkdirs(in_folder(tmp), &e), MCS_OK);
    assert_int_equal(cli_write(in_folder("keep"), "new", 3, &e), MCS_EIO);
    text = cli_read_text(in_folder("keep"), NULL, &(mcs_error){ 0 });
    assert_string_equal(text, "old");
    free(text);
}

static void assert_stems(const cli_inputs *in, const char *expected)
{
    char got[1000] = "";
    for (int64_t i = 0; i < in->count; i++) {
        strcat(got, in->items[i].stem);
        strcat(got, "|");
    }
    assert_string_equal(got, expected);
}

static void find(cli_inputs *in, cli_inputs_query q, const char *path)
{
    char *items[1] = { (char *)(uintptr_t)path };
    cli_list paths = { items, 1 };
    mcs_error e = { 0 };
    q.paths = path ? &paths : NULL;
    if (cli_inputs_find(in, &q, &e) != MCS_OK)
        fail_msg("%s", e.message);
}

static void test_inputs(void **state)
{
    (void)state;
    cli_inputs in;
    mcs_error e = { 0 };
    assert_int_equal(cli_mkdirs(in_folder("in/sub"), &e), MCS_OK);
    store_text("in/b.png", "");
    store_text("in/a.JPG", "");
    store_text("in/a.png", "");
    store_text("in/$(rm) [1].png", "");
    store_text("in/-x\n.jpeg", "");
    store_text("in/notes.txt", "");
    store_text("in/.hidden.png", "");
    store_text("in/sub/b.png", "");
    assert_int_equal(symlink("..", in_folder("in/sub/loop")), 0);
    find(&in, (cli_inputs_query){ 0 }, in_folder("in"));
    assert_stems(&in, "$(rm) [1]|-x\n|a.JPG|a.png|b|");
    cli_inputs_free(&in);
    find(&in, (cli_inputs_query){ .recursive = true }, in_folder("in"));
    assert_stems(&in, "$(rm) [1]|-x\n|a.JPG|a.png|b|sub/b|");
    cli_inputs_free(&in);
    char pattern_text[] = "a.*", *pattern[] = { pattern_text };
    cli_list exclude = { pattern, 1 };
    find(&in, (cli_inputs_query){ .exclude = &exclude }, in_folder("in"));
    assert_stems(&in, "$(rm) [1]|-x\n|b|");
    cli_inputs_free(&in);
    char *two[] = { strdup(in_folder("in/b.png")), strdup(in_folder("in/sub")),
                    strdup(in_folder("in/b.png")) };
    cli_list paths = { two, 3 };
    assert_int_equal(cli_inputs_find(&in, &(cli_inputs_query){ .paths = &paths }, &e), MCS_OK);
    assert_stems(&in, "b.png~1|b.png~2|"); /* the repeat is dropped */
    cli_inputs_free(&in);
    for (int i = 0; i < 3; i++)
        free(two[i]);
    char none_text[] = "/nonexistent/x", *none[] = { none_text };
    paths = (cli_list){ none, 1 };
    assert_int_equal(cli_inputs_find(&in, &(cli_inputs_query){ .paths = &paths }, &e),
                     MCS_ENOTFOUND);
    check_contains(e.message, "/nonexistent/x");
}

static void test_lists(void **state)
{
    (void)state;
    cli_inputs in;
    store_text("list", "x/a.png\r\n\n../../etc/b.png\n/abs/c.png\nmissing.png");
    find(&in, (cli_inputs_query){ .list = in_folder("list") }, NULL);
    assert_stems(&in, "x/a|etc/b|c|missing|"); /* outputs stay inside the output folder */
    assert_string_equal(in.items[1].path, "../../etc/b.png");
    cli_inputs_free(&in);
    mcs_error e = { 0 };
    assert_int_equal(cli_write(in_folder("list0"), "a\nb.png\0c.png", 13, &e), MCS_OK);
    find(&in, (cli_inputs_query){ .list = in_folder("list0") }, NULL);
    assert_stems(&in, "a\nb|c|");
    cli_inputs_free(&in);
}

static void test_shards(void **state)
{
    (void)state;
    int shard, shards;
    int64_t total = 0;
    cli_inputs in;
    char lines[4000] = "";
    for (int i = 0; i < 200; i++)
        sprintf(lines + strlen(lines), "img%d.png\n", i);
    store_text("list", lines);
    for (int i = 1; i <= 4; i++) {
        char text[20];
        sprintf(text, "%d/4", i);
        assert_true(cli_parse_shard(text, &shard, &shards));
        find(&in, (cli_inputs_query){ .list = in_folder("list"), .shard = shard, .shards = shards },
             NULL);
        assert_true(in.count > 20);
        total += in.count;
        cli_inputs_free(&in);
    }
    assert_int_equal(total, 200);
    assert_true(cli_hash("a") == UINT64_C(0xaf63dc4c8601ec8c)); /* published FNV-1a value */
    const char *wrong[] = { "", "1", "5/4", "1/0", "-1/4", "1/4x", "a/b", "1/" };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        assert_false(cli_parse_shard(wrong[i], &shard, &shards));
}

static void test_lock(void **state)
{
    (void)state;
    cli_lock ours;
    mcs_error e = { 0 };
    assert_int_equal(cli_lock_take(&ours, folder, ".lock", &e), MCS_OK);
    pid_t child = fork(); /* record locks are between processes */
    if (child == 0) {
        cli_lock theirs;
        char pid[40];
        snprintf(pid, sizeof pid, "process %ld", (long)getppid());
        bool named = cli_lock_take(&theirs, folder, ".lock", &e) == MCS_EIO &&
                     strstr(e.message, pid) && strstr(e.message, folder);
        _exit(named ? 0 : 1);
    }
    int status;
    waitpid(child, &status, 0);
    assert_int_equal(status, 0);
    cli_lock_drop(&ours);
    assert_false(cli_exists(in_folder(".lock")));
    child = fork(); /* a holder that dies without a word leaves no lock */
    if (child == 0)
        _exit(cli_lock_take(&ours, folder, ".lock", &e) == MCS_OK ? 0 : 1);
    waitpid(child, &status, 0);
    assert_int_equal(status, 0);
    assert_true(cli_exists(in_folder(".lock")));
    assert_int_equal(cli_lock_take(&ours, folder, ".lock", &e), MCS_OK);
    cli_lock_drop(&ours);
}

static void sum_lines(void *arg, json_t *line)
{
    *(int64_t *)arg += json_integer_value(json_object_get(line, "n"));
}

static void test_jsonl(void **state)
{
    (void)state;
    int64_t sum = 0, bad = 0;
    mcs_error e = { 0 };
    assert_int_equal(cli_jsonl_read(in_folder("r.jsonl"), sum_lines, &sum, &bad, &e), MCS_OK);
    store_text("r.jsonl", "{\"n\":1}\n{\"n\":2}\n{\"n\":4, \"to"); /* torn by a crash */
    int fd = cli_jsonl_open(in_folder("r.jsonl"), &e);
    assert_true(fd >= 0);
    json_t *line = json_pack("{s:i}", "n", 8);
    assert_int_equal(cli_jsonl_append(fd, "r", line, &e), MCS_OK);
    json_decref(line);
    close(fd);
    assert_int_equal(cli_jsonl_read(in_folder("r.jsonl"), sum_lines, &sum, &bad, &e), MCS_OK);
    assert_int_equal(sum, 11);
    assert_int_equal(bad, 1);
    fd = open("/dev/full", O_WRONLY);
    if (fd < 0)
        skip();
    line = json_object();
    assert_int_equal(cli_jsonl_append(fd, "full", line, &e), MCS_EIO);
    json_decref(line);
    close(fd);
}

/* Four processes append to one file: no line is mixed or lost. */
static void test_jsonl_concurrent(void **state)
{
    (void)state;
    enum { WRITERS = 4, LINES = 500 };
    int64_t sum = 0, bad = 0;
    mcs_error e = { 0 };
    for (int w = 0; w < WRITERS; w++) {
        if (fork() != 0)
            continue;
        int fd = cli_jsonl_open(in_folder("many.jsonl"), &e);
        char filler[600];
        memset(filler, 'a' + w, sizeof filler);
        filler[599] = 0;
        for (int i = 0; i < LINES; i++) {
            json_t *line = json_pack("{s:i, s:s}", "n", 1, "filler", filler);
            if (cli_jsonl_append(fd, "many", line, &e) != MCS_OK)
                _exit(1);
            json_decref(line);
        }
        _exit(0);
    }
    for (int w = 0; w < WRITERS; w++) {
        int status;
        wait(&status);
        assert_int_equal(status, 0);
    }
    assert_int_equal(cli_jsonl_read(in_folder("many.jsonl"), sum_lines, &sum, &bad, &e), MCS_OK);
    assert_int_equal(sum, WRITERS * LINES);
    assert_int_equal(bad, 0);
}

static void test_html(void **state)
{
    (void)state;
    cli_html h = { 0 };
    cli_html_text(&h, "<script>\"'&\n");
    cli_html_raw(&h, " ");
    cli_html_url(&h, "masks/a b#?%\"<.png");
    assert_string_equal(h.text, "&#60;script&#62;&#34;&#39;&#38;\xEF\xBF\xBD "
                                "masks/a%20b%23%3F%25%22%3C.png");
    free(h.text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sha256),       cmocka_unit_test(test_sha256_lengths),
        cmocka_unit_test(test_sha256_plain), cmocka_unit_test(test_whole_files),
        cmocka_unit_test(test_inputs),       cmocka_unit_test(test_lists),
        cmocka_unit_test(test_shards),       cmocka_unit_test(test_lock),
        cmocka_unit_test(test_jsonl),        cmocka_unit_test(test_jsonl_concurrent),
        cmocka_unit_test(test_html),
    };
    return cmocka_run_group_tests(tests, make_folder, drop_folder);
}
