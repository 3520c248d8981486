/* The command line of the tools: values, refusals, --config, settings, exit codes. */
#include <fcntl.h>
#include <math.h>
#include "tests/folder.h"
#include "tools/cli_files.h"

typedef struct {
    cli_list input, files;
    const char *text;
    int count, mode;
    int64_t size;
    float tau;
    uint64_t limit;
    bool html, resume;
} opts;

#define AT(f) offsetof(opts, f)
static const cli_option options[] = {
    { .kind = CLI_SECTION, .help = "Input" },
    { CLI_LIST, "input", 'i', AT(input), "PATH", 0, 0, "input", NULL, 0 },
    { CLI_TEXT, "prompt-file", 0, AT(text), "F", 0, 0, "text", "gt-path", CLI_RESULT },
    { CLI_INT, "topk", 'k', AT(count), "N", 1, 1000, "channels", NULL, CLI_RESULT },
    { CLI_INT64, "min-size", 0, AT(size), "N", 0, 0, "pixels", NULL, 0 },
    { CLI_FLOAT, "tau", 0, AT(tau), "X", 0.5, 2, "tau", NULL, CLI_RESULT },
    { CLI_BYTES, "room", 0, AT(limit), "BYTES", 0, 0, "bytes", NULL, 0 },
    { CLI_CHOICE, "mode", 0, AT(mode), "crf|otsu|mean-map", 0, 0, "mode", NULL, CLI_RESULT },
    { CLI_FLAG, "html", 'x', AT(html), NULL, 0, 0, "page", NULL, 0 },
    { CLI_FLAG, "resume", 0, AT(resume), NULL, 0, 0, "go on", NULL, 0 },
    { .kind = CLI_END },
};
static const cli_option rest = { CLI_LIST, "file", 0, AT(files), "F", 0, 0, "files", NULL, 0 };
static const cli_program program = { "toy", "a toy", "-i PATH", options, NULL, &rest };

static char captured[4000]; /* what the last parse wrote to standard error */
/* Parses a NULL-terminated list; the caller closes t. */
static int parse(cli *t, opts *o, const char *const *args)
{
    int argc = 0, saved = dup(2), fd = open(in_folder("err"), O_RDWR | O_CREAT | O_TRUNC, 0600);
    while (args[argc])
        argc++;
    *t = (cli){ 0 };
    *o = (opts){ .tau = 1.05f, .count = 300, .resume = true };
    fflush(stderr);
    dup2(fd, 2);
    int code = cli_parse(t, &program, o, argc, (char **)(uintptr_t)args);
    fflush(stderr);
    dup2(saved, 2);
    close(saved);
    ssize_t n = pread(fd, captured, sizeof captured - 1, 0);
    captured[n > 0 ? n : 0] = 0;
    close(fd);
    return code;
}
#define ARGS(...)                                                                                  \
    (const char *const[])                                                                          \
    {                                                                                              \
        "toy", __VA_ARGS__, NULL                                                                   \
    }

static void refused(const char *const *args, const char *part)
{
    cli t;
    opts o;
    assert_int_equal(parse(&t, &o, args), CLI_BAD_USAGE);
    check_contains(captured, part);
    assert_int_equal(strncmp(captured, "toy: error: ", 12), 0);
    cli_close(&t);
}

static void test_values(void **state)
{
    (void)state;
    cli t;
    opts o;
    assert_int_equal(
        parse(&t, &o,
              ARGS("-i", "a", "--input=b", "-i-c", "--topk", "7", "--min_size=12", "--tau=0.75",
                   "--room", "3M", "--mode", "mean_map", "-x", "--no-resume", "--threads=3",
                   "--seed", "9", "f1", "--", "--f2", "-")),
        CLI_CONTINUE);
    assert_int_equal(o.input.count, 3);
    assert_string_equal(o.input.items[2], "-c");
    assert_int_equal(o.count, 7);
    assert_int_equal(o.size, 12);
    assert_true(o.tau > 0.7499f && o.tau < 0.7501f);
    assert_int_equal(o.limit, 3 << 20);
    assert_int_equal(o.mode, 2);
    assert_true(o.html && !o.resume);
    assert_int_equal(t.threads, 3);
    assert_int_equal(t.seed, 9);
    assert_int_equal(o.files.count, 3);
    assert_string_equal(o.files.items[1], "--f2");
    cli_close(&t);
}

static void test_short_bundle_and_alias(void **state)
{
    (void)state;
    cli t;
    opts o;
    assert_int_equal(parse(&t, &o, ARGS("-xk5", "--gt_path", "$(rm -rf)\n[x]")), CLI_CONTINUE);
    assert_true(o.html);
    assert_int_equal(o.count, 5);
    assert_string_equal(o.text, "$(rm -rf)\n[x]");
    cli_close(&t);
}

static void test_refusals(void **state)
{
    (void)state;
    refused(ARGS("--tpok", "3"), "did you mean --topk?");
    refused(ARGS("--prompt_flie=x"), "did you mean --prompt-file?");
    refused(ARGS("--zzzzzzzz"), "unknown option --zzzzzzzz");
    refused(ARGS("-Z"), "unknown option -Z");
    refused(ARGS("--topk"), "--topk needs a value");
    refused(ARGS("--prompt-file", "--topk", "3"), "needs a value before --topk");
    refused(ARGS("--topk", "three"), "'three' is not a whole number; expected 1 to 1000");
    refused(ARGS("--topk", "0"), "out of range; expected 1 to 1000");
    refused(ARGS("--topk", "99999999999999999999"), "out of range");
    refused(ARGS("--topk", "5x"), "not a whole number");
    refused(ARGS("--tau", "nan"), "not a finite number");
    refused(ARGS("--tau", "2.5"), "out of range; expected 0.5 to 2");
    refused(ARGS("--room", "4Q"), "not a number of bytes");
    refused(ARGS("--room", "99999999999T"), "out of range");
    refused(ARGS("--mode", "crff"), "is not one of crf|otsu|mean-map");
    refused(ARGS("--html=maybe"), "neither yes nor no");
    refused(ARGS("--config", "/nonexistent.json"), "/nonexistent.json");
}

static void test_config(void **state)
{
    (void)state;
    cli t;
    opts o;
    store_text("c.json",
               "{\"topk\": 11, \"min_size\": 4, \"input\": [\"x\", \"y\"], \"html\": true,"
               " \"tau\": 0.5, \"mode\": \"otsu\", \"threads\": 2, \"prompt-file\": null}");
    assert_int_equal(parse(&t, &o, ARGS("--topk", "12", "--config", in_folder("c.json"))),
                     CLI_CONTINUE);
    assert_int_equal(o.count, 12); /* flags win */
    assert_int_equal(o.size, 4);
    assert_int_equal(o.input.count, 2);
    assert_true(o.html);
    assert_int_equal(o.mode, 1);
    assert_int_equal(t.threads, 2);
    cli_close(&t);
    assert_int_equal(parse(&t, &o, ARGS("-i", "z", "--config", in_folder("c.json"))), CLI_CONTINUE);
    assert_int_equal(o.input.count, 1); /* a list is replaced, not continued */
    assert_string_equal(o.input.items[0], "z");
    cli_close(&t);
    store_text("d.json", "{\"topkk\": 11}");
    refused(ARGS("--config", in_folder("d.json")), "did you mean 'topk'");
    store_text("d.json", "{\"topk\": 11, \"topk\": 12}");
    refused(ARGS("--config", in_folder("d.json")), "duplicate");
    store_text("d.json", "{\"topk\": [1]}");
    refused(ARGS("--config", in_folder("d.json")), "--topk: expected");
    store_text("d.json", "{\"topk\": 5000}");
    refused(ARGS("--config", in_folder("d.json")), "out of range");
}

static void test_settings_round_trip(void **state)
{
    (void)state;
    cli t;
    opts o;
    mcs_error e = { 0 };
    assert_int_equal(parse(&t, &o, ARGS("--tau", "0.7", "--mode=otsu", "-i", "a\xff", "-k9")),
                     CLI_CONTINUE);
    json_t *all = cli_settings(&program, &o, false), *some = cli_settings(&program, &o, true);
    assert_int_equal(json_object_size(all), 9);
    assert_int_equal(json_object_size(some), 4);
    assert_string_equal(json_string_value(json_object_get(some, "mode")), "otsu");
    assert_true(fabs(json_real_value(json_object_get(some, "tau")) - 0.7) < 1e-12);
    assert_string_equal(json_string_value(json_array_get(json_object_get(all, "input"), 0)),
                        "a\\xff");
    assert_int_equal(cli_write_json(in_folder("s.json"), all, &e), MCS_OK);
    cli_close(&t);
    assert_int_equal(parse(&t, &o, ARGS("--config", in_folder("s.json"))), CLI_CONTINUE);
    json_t *again = cli_settings(&program, &o, true);
    assert_true(json_equal(some, again));
    json_decref(all);
    json_decref(some);
    json_decref(again);
    cli_close(&t);
}

static void test_codes(void **state)
{
    (void)state;
    assert_int_equal(cli_code(MCS_EFORMAT, true), CLI_BAD_MODEL);
    assert_int_equal(cli_code(MCS_EFORMAT, false), CLI_NOTHING);
    assert_int_equal(cli_code(MCS_ENOMEM, true), CLI_NO_MEMORY);
    assert_int_equal(cli_code(MCS_EIO, true), CLI_IO_ERROR);
    assert_int_equal(cli_code(MCS_ENUMERIC, true), CLI_NOT_FINITE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_values),
        cmocka_unit_test(test_short_bundle_and_alias),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_config),
        cmocka_unit_test(test_settings_round_trip),
        cmocka_unit_test(test_codes),
    };
    return cmocka_run_group_tests(tests, make_folder, drop_folder);
}
