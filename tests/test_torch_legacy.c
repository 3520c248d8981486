/* PyTorch files before 1.6, built here byte by byte and damaged. */
#include "tests/weights_files.h"

#define MAGIC                                                                                      \
    "\x80\2\x8a\nl\xfc\x9c"                                                                        \
    "F\xf9 j\xa8P\x19."
#define VERSION "\x80\2M\xe9\3."
#define SYSTEM "\x80\2}X\r\0\0\0little_endian\x88s."
#define STORAGE(key, count, view)                                                                  \
    "((X\7\0\0\0storagectorch\nFloatStorage\nX\1\0\0\0" key "X\3\0\0\0cpuK" count view "tQ"
#define TENSOR(storage, offset, count)                                                             \
    "ctorch._utils\n_rebuild_tensor_v2\n" storage "K" offset "K" count "\x85K\1\x85\x89NtR"
/* "a": all of storage 0; "b": its elements 1 and 2, as an old view of it */
#define OBJECT                                                                                     \
    "\x80\2}(X\1\0\0\0a" TENSOR(STORAGE("0", "\3", "N"), "\0", "\3") "X\1\0\0\0b" TENSOR(          \
        STORAGE("0", "\3", "(X\1\0\0\0vK\1K\2t"), "\0", "\2") "u."
#define KEYS                                                                                       \
    "\x80\2]X\1\0\0\0"                                                                             \
    "0a."
#define DATA                                                                                       \
    "\3\0\0\0\0\0\0\0"                                                                             \
    "\0\0\x80?"                                                                                    \
    "\0\0\0@"                                                                                      \
    "\0\0@@" /* 3: 1 2 3 */

static void test_valid(void **state)
{
    (void)state;
    bytes b = { 0 };
    mcs_error e = { 0 };
    float v[3];
    add_literal(&b, MAGIC VERSION SYSTEM OBJECT KEYS DATA);
    mcs_checkpoint *k = mcs_checkpoint_open_memory(b.at, b.n, "old", &e);
    if (!k)
        fail_msg("%s", e.message);
    assert_string_equal(mcs_checkpoint_format(k), "pytorch legacy");
    assert_int_equal(mcs_checkpoint_count(k), 2);
    assert_int_equal(mcs_checkpoint_read_f32(k, mcs_checkpoint_find(k, "a"), v, &e), MCS_OK);
    assert_true(v[0] == 1 && v[1] == 2 && v[2] == 3);
    assert_int_equal(mcs_checkpoint_read_f32(k, mcs_checkpoint_find(k, "b"), v, &e), MCS_OK);
    assert_true(v[0] == 2 && v[1] == 3);
    mcs_checkpoint_close(k);
    drop(&b);
}

#define P(s) s, sizeof(s) - 1
static const struct {
    const char *file;
    size_t n;
    const char *part;
} attacks[] = {
    { P("\x80\2K\1.xxxxxx"), "a pickle without PyTorch's magic number" },
    { P("\x80\4\x95\0\0\0\0\0\0\0\0cos\nsystem\n."), "without PyTorch's magic number" },
    { P(MAGIC "\x80\2M\xe8\3."), "its protocol version is not 1001" },
    { P(MAGIC "\x80\2X\1\0\0\0x."), "its protocol version is not 1001" },
    { P(MAGIC "cos\nsystem\n."), "byte 15: opcode GLOBAL (0x63): would import os.system" },
    { P(MAGIC VERSION "\x80\2}X\r\0\0\0little_endian\x89s."), "does not say that it was saved on" },
    { P(MAGIC VERSION "\x80\2}."), "does not say that it was saved on a little-endian" },
    { P(MAGIC VERSION "\x80\2N."), "does not say that it was saved on a little-endian" },
    { P(MAGIC VERSION SYSTEM OBJECT "\x80\2N."), "the list of storages is not a list" },
    { P(MAGIC VERSION SYSTEM OBJECT "\x80\2](K\1Ne."), "a storage key is not a string" },
    { P(MAGIC VERSION SYSTEM OBJECT "\x80\2](X\1\0\0\0"
                                    "0X\1\0\0\0"
                                    "0e." DATA),
      "a storage key is there twice" },
    { P(MAGIC VERSION SYSTEM OBJECT "\x80\2]X\1\0\0\0"
                                    "1a." DATA),
      "a tensor's storage is not in the list" },
    { P(MAGIC VERSION SYSTEM OBJECT "\x80\2](X\1\0\0\0"
                                    "0X\1\0\0\0"
                                    "1e." DATA DATA),
      "a storage belongs to no tensor" },
    { P(MAGIC VERSION SYSTEM OBJECT KEYS), "the file is cut short" },
    { P(MAGIC VERSION SYSTEM OBJECT KEYS "\4\0\0\0\0\0\0\0xxxxxxxxxxxxxxxx"),
      "a storage has another size than its tensors say" },
    { P(MAGIC VERSION SYSTEM OBJECT KEYS "\3\0\0\0\0\0\0\1xxxxxxxxxxxx"),
      "a storage has another size than its tensors say" },
    { P(MAGIC VERSION SYSTEM OBJECT KEYS "\3\0\0\0\0\0\0\0xxxxxxxxxxx"), "a storage is cut short" },
    { P(MAGIC VERSION SYSTEM OBJECT KEYS DATA "x"), "something after the last storage" },
    { P(MAGIC VERSION SYSTEM
        "\x80\2}(X\1\0\0\0a" TENSOR(STORAGE("0", "\3", "N"), "\0", "\3") "X\1\0\0\0b" TENSOR(
            STORAGE("0", "\2", "N"), "\0", "\2") "u." KEYS DATA),
      "two tensors disagree about their storage" },
    { P(MAGIC VERSION SYSTEM "\x80\2}X\1\0\0\0a" TENSOR(STORAGE("0", "\3", "(X\1\0\0\0vK\2K\2t"),
                                                        "\0", "\2") "s." KEYS DATA),
      "the storage's view lies outside it" },
    { P(MAGIC VERSION SYSTEM "\x80\2}X\1\0\0\0a" TENSOR(
          STORAGE("0", "\3", "(X\1\0\0\0vK\2J\xff\xff\xff\xfft"), "\0", "\2") "s." KEYS DATA),
      "the storage's view lies outside it" },
    { P(MAGIC VERSION SYSTEM
        "\x80\2}X\1\0\0\0a" TENSOR(STORAGE("0", "\3", "(K\1K\2t"), "\0", "\2") "s." KEYS DATA),
      "the storage's view is not a tuple of 3" },
    { P(MAGIC VERSION SYSTEM "\x80\2}X\1\0\0\0a" TENSOR(STORAGE("0", "\3", "(X\1\0\0\0vK\1K\2t"),
                                                        "\1", "\2") "s." KEYS DATA),
      "reaches past the end of its storage" },
};

static void test_attacks(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof attacks / sizeof *attacks; i++) {
        bytes b = { 0 };
        add(&b, attacks[i].file, attacks[i].n);
        refused(&b, MCS_EFORMAT, attacks[i].part);
        drop(&b);
    }
}

static void test_truncation(void **state)
{
    (void)state;
    static const char file[] = MAGIC VERSION SYSTEM OBJECT KEYS DATA;
    for (size_t n = 0; n < sizeof file - 1; n++)
        if (open_and_read(file, n) == MCS_OK)
            fail_msg("the first %zu bytes are accepted", n);
    assert_int_equal(open_and_read(file, sizeof file - 1), MCS_OK);
}

static void test_bit_flips(void **state)
{
    (void)state;
    char file[] = MAGIC VERSION SYSTEM OBJECT KEYS DATA;
    for (size_t i = 0; i < 8 * (sizeof file - 1); i++) {
        file[i / 8] ^= (char)(1 << i % 8);
        open_and_read(file, sizeof file - 1);
        file[i / 8] ^= (char)(1 << i % 8);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_valid),
        cmocka_unit_test(test_attacks),
        cmocka_unit_test(test_truncation),
        cmocka_unit_test(test_bit_flips),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
