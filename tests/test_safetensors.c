/* The safetensors reader against every attack we know of, and against prefixes and bit flips of
 * a valid file. */
#include <fcntl.h>
#include "tests/weights_files.h"

/* 8 bytes of length, the header, then `data` bytes 0 1 2 ... */
static bytes make(const char *header, size_t n, size_t data)
{
    bytes b = { 0 };
    add_int(&b, n, 8);
    add(&b, header, n);
    for (size_t i = 0; i < data; i++)
        add_int(&b, i & 0xff, 1);
    return b;
}

static bytes make_text(const char *header, size_t data)
{
    return make(header, strlen(header), data);
}

#define T(dtype, shape, offsets)                                                                   \
    "{\"dtype\":\"" dtype "\",\"shape\":" shape ",\"data_offsets\":" offsets "}"

static const char valid[] =
    "{\"__metadata__\":{\"format\":\"pt\"},"
    "\"b\":" T("F32", "[1,2]",
               "[4,12]") ","
                         "\"a\":" T("I16", "[2]",
                                    "[0,4]") ","
                                             "\"empty\":" T("F64", "[3,0]",
                                                            "[12,12]") ","
                                                                       "\"s\":" T("U8", "[]",
                                                                                  "[12,13]") "}  ";

static void test_valid(void **state)
{
    (void)state;
    mcs_error e = { 0 };
    bytes b = make_text(valid, 13);
    mcs_checkpoint *k = mcs_checkpoint_open_memory(b.at, b.n, "valid", &e);
    assert_non_null(k);
    assert_int_equal(mcs_checkpoint_count(k), 4);
    assert_string_equal(mcs_checkpoint_at(k, 0)->name, "a"); /* order of the data */
    assert_null(mcs_checkpoint_at(k, 4));
    assert_null(mcs_checkpoint_at(k, -1));
    assert_string_equal(mcs_checkpoint_meta(k, "format"), "pt");
    assert_null(mcs_checkpoint_import(k, 0));
    const mcs_stored *s = mcs_checkpoint_find(k, "s"), *a = mcs_checkpoint_find(k, "a");
    int64_t v[2];
    assert_int_equal(mcs_checkpoint_read_i64(k, s, v, &e), MCS_OK);
    assert_int_equal(v[0], 12);
    assert_int_equal(mcs_checkpoint_read_i64(k, a, v, &e), MCS_OK);
    assert_int_equal(v[0], 0x0100);
    assert_int_equal(v[1], 0x0302);
    assert_int_equal(mcs_checkpoint_find(k, "empty")->numel, 0);
    assert_null(mcs_checkpoint_find(k, "c"));
    assert_int_equal(mcs_checkpoint_read_i64(k, mcs_checkpoint_find(k, "b"), v, &e), MCS_ESHAPE);
    e = (mcs_error){ 0 };
    mcs_stored copy = *a;
    assert_int_equal(mcs_checkpoint_read_i64(k, &copy, v, &e), MCS_EINVAL);
    mcs_checkpoint_close(k);
    mcs_checkpoint_close(NULL);
    drop(&b);
}

#define ONE(dtype, shape, offsets) "{\"a\":" T(dtype, shape, offsets) "}"

static const struct {
    const char *header;
    size_t data;
    const char *part;
} attacks[] = {
    { "", 8, "does not start with '{'" },
    { " {}", 0, "does not start with '{'" },
    { "[]", 8, "does not start with '{'" },
    { "{", 8, "safetensors: header, byte" },
    { "{} x", 8, "end of file expected" },
    { "{\"a\":1}", 0, "is not an object" },
    { "{\"a\":\"\xFF\"}", 8, "unable to decode byte 0xff" },
    { "{\"a\":" T("F32", "[1]", "[0,4]") ",\"a\":" T("F32", "[1]", "[4,8]") "}", 8,
      "duplicate object key" },
    { "{\"a\":" T("F32", "[1]", "[0,4]") ",\"\\u0061\":" T("F32", "[1]", "[4,8]") "}", 8,
      "duplicate object key" },
    { "{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"shape\":[1],\"data_offsets\":[0,4]}}", 4,
      "duplicate object key" },
    { "{\"a\":{\"dtype\":\"F32\",\"shape\":[1]}}", 4, "must have exactly" },
    { "{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4],\"x\":1}}", 4,
      "must have exactly" },
    { "{\"a\":{\"dtype\":4,\"shape\":[1],\"data_offsets\":[0,4]}}", 4, "'dtype' must be a string" },
    { ONE("F31", "[1]", "[0,4]"), 4, "tensor 'a': unknown dtype 'F31'" },
    { ONE("C64", "[1]", "[0,8]"), 8, "unknown dtype 'C64'" },
    { ONE("f32", "[1]", "[0,4]"), 4, "unknown dtype 'f32'" },
    { ONE("F32", "1", "[0,4]"), 4, "'shape' must be a list" },
    { ONE("F32", "[-1]", "[0,4]"), 4, "'shape' must hold integers >= 0" },
    { ONE("F32", "[1.0]", "[0,4]"), 4, "'shape' must hold integers >= 0" },
    { ONE("F32", "[\"1\"]", "[0,4]"), 4, "'shape' must hold integers >= 0" },
    { ONE("F32", "[1,1,1,1,1,1,1,1,1]", "[0,4]"), 4, "more than 8 dimensions" },
    { ONE("F32", "[4294967296,4294967296]", "[0,4]"), 4, "its size overflows" },
    { ONE("F32", "[4611686018427387904]", "[0,0]"), 4, "its size overflows" },
    { ONE("U8", "[0,9223372036854775807,9223372036854775807]", "[0,0]"), 0, "size overflows" },
    { ONE("F32", "[2]", "[0,4]"), 4, "its bytes are not shape times element size" },
    { ONE("F32", "[1]", "[0,8]"), 8, "its bytes are not shape times element size" },
    { ONE("F32", "[1]", "[4,0]"), 4, "'data_offsets' are reversed" },
    { ONE("F32", "[1]", "[-4,0]"), 4, "'data_offsets' must be two integers >= 0" },
    { ONE("F32", "[1]", "[0,4,8]"), 8, "'data_offsets' must be two integers >= 0" },
    { ONE("F32", "[1]", "[0.0,4.0]"), 4, "'data_offsets' must be two integers >= 0" },
    { ONE("F32", "[1]", "[0,4e0]"), 4, "'data_offsets' must be two integers >= 0" },
    { ONE("F32", "[1]", "[0,18446744073709551620]"), 4, "too big integer" },
    { ONE("F32", "[1]", "[9007199254740993,9007199254740997]"), 4, "past the end of the file" },
    { ONE("F32", "[1]", "[0,4]"), 3, "past the end of the file" },
    { ONE("F32", "[1]", "[4,8]"), 8, "tensor 'a': there is a hole before its data" },
    { "{\"a\":" T("F32", "[1]", "[0,4]") ",\"b\":" T("F32", "[1]", "[8,12]") "}", 12,
      "tensor 'b': there is a hole" },
    { "{\"a\":" T("F32", "[2]", "[0,8]") ",\"b\":" T("F32", "[1]", "[4,8]") "}", 8,
      "tensor 'b': its data overlaps" },
    { "{\"a\":" T("F32", "[1]", "[0,4]") ",\"b\":" T("F32", "[1]", "[0,4]") "}", 4,
      "tensor 'b': its data overlaps" },
    { ONE("F32", "[1]", "[0,4]"), 5, "1 bytes after the last tensor belong to none" },
    { "{}", 4, "4 bytes after the last tensor" },
    { "{\"\":" T("F32", "[1]", "[0,4]") "}", 4, "is empty" },
    { "{\"a\\u0000b\":" T("F32", "[1]", "[0,4]") "}", 4, "NUL byte in object key" },
    { "{\"__metadata__\":[]}", 0, "__metadata__ must be an object" },
    { "{\"__metadata__\":{\"a\":1}}", 0, "__metadata__ must map strings to strings" },
    { "{\"__metadata__\":{\"a\":\"x\",\"a\":\"y\"}}", 0, "duplicate object key" },
};

static void test_attacks(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof attacks / sizeof *attacks; i++) {
        bytes b = make_text(attacks[i].header, attacks[i].data);
        refused(&b, MCS_EFORMAT, attacks[i].part);
        drop(&b);
    }
}

/* The same strings that the reader refuses must not crash a message either. */
static void test_hostile_names(void **state)
{
    (void)state;
    static const char *const fine[] = { "../../etc/passwd", "a b", "\xC3\xA9\xE4\xB8\xAD",
                                        "$(rm)" };
    for (size_t i = 0; i < 4; i++) {
        char header[200];
        mcs_error e = { 0 };
        snprintf(header, sizeof header, "{\"%s\":" T("U8", "[1]", "[0,1]") "}", fine[i]);
        bytes b = make_text(header, 1);
        mcs_checkpoint *k = mcs_checkpoint_open_memory(b.at, b.n, "x", &e);
        assert_non_null(k); /* a name is only a name: it never becomes a path */
        assert_non_null(mcs_checkpoint_find(k, fine[i]));
        mcs_checkpoint_close(k);
        drop(&b);
    }
    bytes h = { 0 }; /* 1 MB of name, with an escape sequence for the terminal in front */
    add_text(&h, "{\"\\u001b[31m");
    for (int i = 0; i < 1000000; i++)
        add_text(&h, "n");
    add_text(&h, "\":" T("U8", "[1]", "[0,1]") "}");
    bytes b = make((char *)h.at, h.n, 1);
    refused(&b, MCS_EFORMAT, "'\\x1b[31mnnn");
    refused(&b, MCS_EFORMAT, "longer than 4096 bytes");
    drop(&b);
    drop(&h);
}

static void test_lengths(void **state)
{
    (void)state;
    static const struct {
        uint64_t n;
        const char *part;
    } cases[] = {
        { 0, "does not start with '{'" },
        { UINT64_C(1) << 63, "neither a safetensors file" },
        { UINT64_MAX, "neither a safetensors file" },
        { (16 << 20) + 1, "the limit is 16777216" },
        { 16 << 20, "cut short" },
        { 3, "cut short" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        bytes b = { 0 };
        add_int(&b, cases[i].n, 8);
        add_text(&b, "{}");
        refused(&b, MCS_EFORMAT, cases[i].part);
        drop(&b);
    }
    bytes b = { 0 };
    refused(&b, MCS_EFORMAT, "0 bytes are too few");
}

static void test_deep_nesting(void **state)
{
    (void)state;
    bytes h = { 0 };
    add_text(&h, "{\"a\":");
    for (int i = 0; i < 100000; i++)
        add_text(&h, "[");
    bytes b = make((char *)h.at, h.n, 8);
    refused(&b, MCS_EFORMAT, "maximum parsing depth reached");
    drop(&b);
    drop(&h);
}

static void test_too_many(void **state)
{
    (void)state;
    bytes h = { 0 };
    add_text(&h, "{\"t\":" T("U8", "[0]", "[0,0]"));
    for (int i = 0; i < MCS_TENSORS_MAX; i++) {
        char item[100];
        snprintf(item, sizeof item, ",\"t%d\":" T("U8", "[0]", "[0,0]"), i);
        add_text(&h, item);
    }
    add_text(&h, "}");
    bytes b = make((char *)h.at, h.n, 0);
    refused(&b, MCS_EFORMAT, "more than 100000 tensors");
    drop(&b);
    drop(&h);
}

/* A zip or a pickle behind a valid file, or one in front: no file has two readings. */
static void test_polyglots(void **state)
{
    (void)state;
    bytes b = make_text(valid, 13);
    add_text(&b, "PK\5\6xxxxxxxxxxxxxxxxxx");
    refused(&b, MCS_EFORMAT, "22 bytes after the last tensor belong to none");
    drop(&b);
    add_text(&b, "PK\3\4{}      ");
    refused(&b, MCS_EFORMAT, "zip: ");
    drop(&b);
}

static void test_truncation(void **state)
{
    (void)state;
    bytes b = make_text(valid, 13);
    for (size_t n = 0; n < b.n; n++)
        if (open_and_read(b.at, n) == MCS_OK)
            fail_msg("the first %zu of %zu bytes are accepted", n, b.n);
    assert_int_equal(open_and_read(b.at, b.n), MCS_OK);
    drop(&b);
}

/* 20 000 flips of one bit, and 20 000 of up to 8: an answer each time (run under ASan). */
static void test_bit_flips(void **state)
{
    (void)state;
    bytes b = make_text(valid, 13);
    uint64_t x = 88172645463325252u;
    for (int i = 0; i < 40000; i++) {
        uint8_t copy[1024];
        memcpy(copy, b.at, b.n);
        for (int j = 0; j <= (i < 20000 ? 0 : i % 8); j++) {
            x ^= x << 13, x ^= x >> 7, x ^= x << 17;
            copy[x / 8 % b.n] ^= (uint8_t)(1 << x % 8);
        }
        open_and_read(copy, b.n);
    }
    drop(&b);
}

/* ---- Files that are not what they seem ---- */

static void open_fails(const char *path, mcs_status s, const char *part)
{
    mcs_error e = { 0 };
    assert_null(mcs_checkpoint_open(path, &e));
    if (e.status != s || !strstr(e.message, part))
        fail_msg("expected \"%s\", got \"%s\" (%d)", part, e.message, (int)e.status);
}

static void test_files(void **state)
{
    (void)state;
    open_fails(temporary("absent"), MCS_ENOTFOUND, "cannot open");
    open_fails(temporary("."), MCS_EIO, "not a regular file");
    open_fails("/dev/zero", MCS_EIO, "not a regular file");
    const char *pipe_path = temporary("pipe");
    assert_int_equal(mkfifo(pipe_path, 0600), 0);
    open_fails(pipe_path, MCS_EIO, "not a regular file"); /* and does not hang */
    unlink(pipe_path);
    assert_null(mcs_checkpoint_open(NULL, NULL));
}

/* A file cut or grown after it was opened is an error, never a crash or a mixture. */
static void test_changed_file(void **state)
{
    (void)state;
    const char *path = temporary("changed");
    bytes b = make_text(valid, 13);
    for (int grow = 0; grow < 2; grow++) {
        mcs_error e = { 0 };
        int64_t v[2];
        spill(path, b.at, b.n);
        mcs_checkpoint *k = mcs_checkpoint_open(path, &e);
        assert_non_null(k);
        assert_int_equal(mcs_checkpoint_read_i64(k, mcs_checkpoint_find(k, "a"), v, &e), MCS_OK);
        assert_int_equal(truncate(path, grow ? (off_t)b.n + 5 : 40), 0);
        assert_int_equal(mcs_checkpoint_read_i64(k, mcs_checkpoint_find(k, "s"), v, &e), MCS_EIO);
        assert_non_null(strstr(e.message, "changed size while it was being read"));
        mcs_checkpoint_close(k);
    }
    unlink(path);
    drop(&b);
}

static int clean_up(void **state)
{
    static const char *const names[] = { "changed", "pipe", NULL };
    (void)state;
    return remove_temporary(names);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_valid),         cmocka_unit_test(test_attacks),
        cmocka_unit_test(test_hostile_names), cmocka_unit_test(test_lengths),
        cmocka_unit_test(test_deep_nesting),  cmocka_unit_test(test_too_many),
        cmocka_unit_test(test_polyglots),     cmocka_unit_test(test_truncation),
        cmocka_unit_test(test_bit_flips),     cmocka_unit_test(test_files),
        cmocka_unit_test(test_changed_file),
    };
    return cmocka_run_group_tests(tests, NULL, clean_up);
}
