/* Tokeniser and caption cleaning against transformers, ftfy and html.unescape. */
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include "models/caption.h"
#include "models/wordpiece.h"
#include "tests/check.h"

#define SPECIALS "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\n"

static mcs_wordpiece *load(const char *path)
{
    mcs_error e = { MCS_OK, "" };
    mcs_wordpiece *w = mcs_wordpiece_load(path, &e);
    if (!w)
        fail_msg("%s", e.message);
    return w;
}

static mcs_wordpiece *parse(const char *text)
{
    mcs_error e = { MCS_OK, "" };
    mcs_wordpiece *w = mcs_wordpiece_parse(text, strlen(text), "test", &e);
    if (!w)
        fail_msg("%s", e.message);
    return w;
}

static void expect_ids(const char *text, const json_t *want, const int64_t *ids, int count)
{
    bool same = (size_t)count == json_array_size(want);
    for (int i = 0; same && i < count; i++)
        same = ids[i] == json_integer_value(json_array_get(want, (size_t)i));
    if (same)
        return;
    for (int i = 0; i < count; i++)
        print_message("%lld ", (long long)ids[i]);
    fail_msg("ids of \"%s\": got %d, expected %zu", text, count, json_array_size(want));
}

static void golden_cases(void **state)
{
    (void)state;
    mcs_error e = { MCS_OK, "" };
    mcs_wordpiece *w = load("tests/golden/tokens_vocab.txt");
    json_t *cases = json_load_file("tests/golden/tokens_cases.json", 0, NULL), *k;
    assert_true(json_array_size(cases) > 80);
    size_t i;
    json_array_foreach(cases, i, k)
    {
        const char *text = json_string_value(json_object_get(k, "text"));
        int max_len = (int)json_integer_value(json_object_get(k, "max_len")), n = 0;
        int64_t ids[256];
        assert_int_equal(mcs_wordpiece_encode(w, text, max_len, ids, &n, &e), MCS_OK);
        expect_ids(text, json_object_get(k, "ids"), ids, n);
        for (int j = n; j < max_len; j++)
            assert_int_equal(ids[j], 0);
        char *clean = mcs_caption_clean(text, &e);
        assert_string_equal(clean, json_string_value(json_object_get(k, "clean")));
        free(clean);
        assert_int_equal(mcs_wordpiece_encode_caption(w, text, max_len, ids, &n, &e), MCS_OK);
        expect_ids(text, json_object_get(k, "caption_ids"), ids, n);
    }
    json_decref(cases);
    mcs_wordpiece_free(w);
}

/* A C string cannot hold U+0000; BERT drops it anyway. */
static char *without_nul(const json_t *s)
{
    size_t n = json_string_length(s), out = 0;
    char *copy = malloc(n + 1);
    for (size_t i = 0; i < n; i++)
        if (json_string_value(s)[i])
            copy[out++] = json_string_value(s)[i];
    copy[out] = '\0';
    return copy;
}

/* An independent WordPiece.  It splits "[CLS]" in a text, where transformers sees the token. */
static void independent_cases(void **state)
{
    (void)state;
    mcs_error e = { MCS_OK, "" };
    FILE *f = fopen(check_data("vocab/bert-base-uncased-cases.jsonl"), "r");
    assert_non_null(f);
    mcs_wordpiece *w = load(check_data("vocab/bert-base-uncased-vocab.txt"));
    assert_int_equal(mcs_wordpiece_size(w), 30522);
    char *line = NULL;
    size_t cap = 0;
    int cases = 0, differ = 0;
    while (getline(&line, &cap, f) > 0) {
        json_t *k = json_loads(line, JSON_ALLOW_NUL, NULL);
        char *text = without_nul(json_object_get(k, "text"));
        int max_len = (int)json_integer_value(json_object_get(k, "max_len")), n = 0;
        int64_t *ids = malloc((size_t)max_len * sizeof *ids);
        assert_int_equal(mcs_wordpiece_encode(w, text, max_len, ids, &n, &e), MCS_OK);
        if (!strcmp(text, "[CLS] [MASK] [SEP]")) {
            assert_int_equal(n, 5);
            differ++;
        } else {
            expect_ids(text, json_object_get(k, "ids"), ids, n);
        }
        cases++;
        free(ids);
        free(text);
        json_decref(k);
    }
    assert_int_equal(cases, 147);
    assert_int_equal(differ, 1);
    free(line);
    fclose(f);
    mcs_wordpiece_free(w);
}

static void by_hand(void **state)
{
    (void)state;
    mcs_error e = { MCS_OK, "" };
    mcs_wordpiece *w = parse(SPECIALS "lung\n##s\nlungs\n##x\n,\nl");
    int64_t ids[8];
    int n;
    assert_int_equal(mcs_wordpiece_encode(w, "Lungs,LUNGsx lungz l\xC3\xBAng", 8, ids, &n, &e),
                     MCS_OK);
    const int64_t want[8] = { 2, 7, 9, 7, 8, 1, 5, 3 }; /* longest first; whole word or [UNK] */
    assert_int_equal(n, 8);
    assert_memory_equal(ids, want, sizeof want);
    assert_int_equal(mcs_wordpiece_id(w, "##x"), 8);
    assert_int_equal(mcs_wordpiece_id(w, "nope"), -1);
    assert_string_equal(mcs_wordpiece_token(w, 10), "l");
    assert_null(mcs_wordpiece_token(w, 11));
    assert_null(mcs_wordpiece_token(w, -1));
    assert_int_equal(mcs_wordpiece_special(w, MCS_TOKEN_MASK), 4);
    mcs_wordpiece_free(w);
}

static void vocabulary_forms(void **state)
{
    (void)state;
    static const char *const forms[] = {
        "[PAD]\r\n[UNK]\r\n[CLS]\r\n[SEP]\r\na\r\n##b\r\n", /* Windows */
        "[PAD]\r[UNK]\r[CLS]\r[SEP]\ra\r##b", /* old Macintosh, no last end */
        "\xEF\xBB\xBF[PAD]\n[UNK]\n[CLS]\n[SEP]\na\n##b", /* byte order mark */
    };
    for (size_t i = 0; i < 3; i++) {
        mcs_wordpiece *w = parse(forms[i]);
        assert_int_equal(mcs_wordpiece_size(w), 6);
        assert_int_equal(mcs_wordpiece_id(w, "[PAD]"), 0);
        assert_int_equal(mcs_wordpiece_id(w, "##b"), 5);
        assert_int_equal(mcs_wordpiece_special(w, MCS_TOKEN_MASK), -1);
        mcs_wordpiece_free(w);
    }
    mcs_wordpiece *w = parse("a\n" SPECIALS "\n a\na\n"); /* the last "a" counts */
    assert_int_equal(mcs_wordpiece_id(w, "a"), 8);
    assert_int_equal(mcs_wordpiece_id(w, " a"), 7);
    assert_int_equal(mcs_wordpiece_special(w, MCS_TOKEN_PAD), 1);
    mcs_wordpiece_free(w);
}

static void refuse_vocabulary(const char *bytes, size_t n, const char *part)
{
    mcs_error e = { MCS_OK, "" };
    assert_null(mcs_wordpiece_parse(bytes, n, "bad.txt", &e));
    assert_int_equal(e.status, MCS_EFORMAT);
    assert_non_null(strstr(e.message, "bad.txt"));
    if (!strstr(e.message, part))
        fail_msg("\"%s\" does not say \"%s\"", e.message, part);
    assert_null(mcs_wordpiece_parse(bytes, n, "bad.txt", NULL));
}

static void refusals(void **state)
{
    (void)state;
    refuse_vocabulary("", 0, "[PAD]");
    refuse_vocabulary("\n\n\n", 3, "[PAD]");
    refuse_vocabulary("[PAD]\n[UNK]\n[SEP]\n", 18, "[CLS]");
    refuse_vocabulary("[PAD]\n\0\n", 8, "NUL");
    refuse_vocabulary("[PAD]\n\xC3(\n", 9, "byte 6");
    refuse_vocabulary(NULL, 0, "bytes");
    char *lines = malloc(MCS_VOCAB_MAX_TOKENS + 1);
    memset(lines, '\n', MCS_VOCAB_MAX_TOKENS + 1);
    refuse_vocabulary(lines, MCS_VOCAB_MAX_TOKENS + 1, "1048577 lines");
    free(lines);

    mcs_error e = { MCS_OK, "" };
    assert_null(mcs_wordpiece_load("no/such/vocab.txt", &e));
    assert_int_equal(e.status, MCS_ENOTFOUND);
    assert_non_null(strstr(e.message, "no/such/vocab.txt"));
    e.status = MCS_OK;
    assert_null(mcs_wordpiece_load("tests", &e)); /* a directory */
    assert_int_equal(e.status, MCS_EIO);
    mcs_wordpiece_free(NULL);

    mcs_wordpiece *w = parse(SPECIALS);
    int64_t ids[4];
    e.status = MCS_OK;
    assert_int_equal(mcs_wordpiece_encode(w, "a", 1, ids, NULL, &e), MCS_EINVAL);
    assert_int_equal(mcs_wordpiece_encode(w, NULL, 4, ids, NULL, NULL), MCS_EINVAL);
    assert_int_equal(mcs_wordpiece_encode(NULL, "a", 4, ids, NULL, NULL), MCS_EINVAL);
    assert_int_equal(mcs_wordpiece_encode_caption(w, NULL, 4, ids, NULL, NULL), MCS_EINVAL);
    assert_int_equal(mcs_wordpiece_encode(w, "a", 2, ids, NULL, NULL), MCS_OK);
    assert_int_equal(ids[0], 2);
    assert_int_equal(ids[1], 3);
    mcs_wordpiece_free(w);
}

static void hostile_texts(void **state)
{
    (void)state;
    mcs_wordpiece *w = parse(SPECIALS "a\n##a\nb\n");
    int64_t ids[256];
    int n;
    /* not UTF-8: stray and truncated bytes, overlong, surrogate, beyond U+10FFFF are dropped */
    assert_int_equal(mcs_wordpiece_encode(w,
                                          "\x80"
                                          "b\xC0\x80 \xED\xA0\x80"
                                          "b\xF5\x80 b\xE2\x82",
                                          256, ids, &n, NULL),
                     MCS_OK);
    assert_int_equal(n, 5);
    assert_int_equal(ids[1], 7);
    char *clean = mcs_caption_clean("b\xFF\xE2\x82 c", NULL);
    assert_string_equal(clean, "b\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD c");
    free(clean);
    /* a megabyte: reading stops once the ids are full */
    size_t size = MCS_CAPTION_MAX;
    char *text = malloc(size + 2);
    memset(text, 'a', size + 1);
    text[size] = '\0';
    assert_int_equal(mcs_wordpiece_encode_caption(w, text, 256, ids, &n, NULL), MCS_OK);
    assert_int_equal(n, 3); /* one word, too long: [UNK] */
    for (size_t i = 0; i + 5 <= size; i += 5)
        memcpy(text + i, "&amp;", 5);
    clean = mcs_caption_clean(text, NULL);
    assert_int_equal(strlen(clean), size / 5 + size % 5);
    free(clean);
    text[size] = 'a';
    text[size + 1] = '\0';
    assert_null(mcs_caption_clean(text, NULL)); /* longer than the limit */
    free(text);
    mcs_wordpiece_free(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(by_hand),           cmocka_unit_test(golden_cases),
        cmocka_unit_test(independent_cases), cmocka_unit_test(vocabulary_forms),
        cmocka_unit_test(refusals),          cmocka_unit_test(hostile_texts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
