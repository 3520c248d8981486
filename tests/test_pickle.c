/* The pickle machine: what it refuses, with the words it uses, and what it must survive. */
#include "tests/weights_zip.h"

/* The archive with this pickle is refused with that message. */
static void pickle_refused(const void *pickle, size_t n, const char *part)
{
    archive z = zip_make(pickle, n, true, true);
    refused(&z.b, MCS_EFORMAT, part);
    drop(&z.b);
}

#define P(s) s, sizeof(s) - 1
#define G2 "ctorch._utils\n_rebuild_tensor_v2\n"
#define STORAGE ZIP_STORAGE("FloatStorage", "0", "\2")
#define LEAF G2 STORAGE "K\0K\2\x85K\1\x85\x89NtR"
/* a tensor of this offset, shape and stride */
#define TENSOR(offset, shape, stride) "\x80\2}X\1\0\0\0a" G2 STORAGE offset shape stride "\x89NtRs."

static const struct {
    const char *pickle;
    size_t n;
    const char *part;
} attacks[] = {
    /* names: nothing is imported */
    { P("cos\nsystem\nX\1\0\0\0x\x85R."), "byte 45: opcode GLOBAL (0x63): would import os.system" },
    { P("\x80\2cposix\nsystem\n."), "would import posix.system" },
    { P("\x80\2cbuiltins\neval\n."), "would import builtins.eval" },
    { P("\x80\2c__builtin__\neval\n."), "would import __builtin__.eval" },
    { P("\x80\2cbuiltins\ngetattr\n."), "would import builtins.getattr" },
    { P("\x80\2ctorch\nload\n."), "would import torch.load, which is not on the list" },
    { P("\x80\2ctorch.storage\n_load_from_bytes\n."), "torch.storage._load_from_bytes" },
    { P("\x80\2cnumpy.core.multiarray\nscalar\n."), "would import numpy.core.multiarray.scalar" },
    { P("\x80\2cargparse\nNamespace\n."), "would import argparse.Namespace; a weights file holds" },
    { P("\x80\2ctorch._utils\n_rebuild_sparse_tensor\n."), "_rebuild_sparse_tensor, which is not" },
    { P("\x80\2ctorch\nComplexFloatStorage\n."), "would import torch.ComplexFloatStorage" },
    { P("\x80\2ccollections\nOrderedDict.__init__\n."), "collections.OrderedDict.__init__" },
    { P("\x80\2ccollections.OrderedDict\n\n."), "would import collections.OrderedDict." },
    { P("\x80\2ccollections\0\nOrderedDict\n."), "would import collections\\x00.OrderedDict" },
    { P("\x80\2c\x1b[2J\nx\n."), "would import \\x1b[2J.x" },
    { P("\x80\4\x8c\2os\x8c\6system\x93."), "opcode STACK_GLOBAL (0x93): would import os.system" },
    { P("\x80\2K\1K\1\x93."), "module and name must be strings" },
    { P("\x80\2ccollections\nOrderedDict"), "a name without an end of line" },
    /* instructions we do not have */
    { P("\x80\2(ios\nsystem\n."), "opcode INST (0x69): not one that PyTorch writes" },
    { P("\x80\2(o."), "opcode OBJ (0x6f)" },
    { P("\x80\2)\x81."), "opcode NEWOBJ (0x81)" },
    { P("\x80\2))\x92."), "opcode NEWOBJ_EX (0x92)" },
    { P("\x80\2\x82\1."), "opcode EXT1 (0x82)" },
    { P("\x80\2\x83\1\1."), "opcode EXT2 (0x83)" },
    { P("\x80\2\x84\1\1\1\1."), "opcode EXT4 (0x84)" },
    { P("\x80\2P0\n."), "opcode PERSID (0x50)" },
    { P("\x80\2I1\n."), "opcode INT (0x49)" },
    { P("\x80\2N2."), "opcode DUP (0x32)" },
    { P("\x80\2\xff."), "opcode unknown (0xff)" },
    /* calls */
    { P("\x80\2K\1)R."), "a call of something that is not a listed name" },
    { P("\x80\2ccollections\nOrderedDict\nNR."), "a call of something that is not a listed name" },
    { P("\x80\2ctorch\nFloatStorage\n)R."), "torch.FloatStorage is not called" },
    { P("\x80\2ccollections\nOrderedDict\nK\1\x85R."), "a dictionary is made of nothing, pairs" },
    { P("\x80\2ccollections\nOrderedDict\n](K\1e\x85R."), "something that is not a pair" },
    { P("\x80\2ctorch\nSize\nK\1\x85R."), "torch.Size of something that is not one tuple" },
    { P("\x80\2ctorch._utils\n_rebuild_parameter\nN\x89N\x87R."), "a Parameter of something" },
    { P("\x80\2ctorch._tensor\n_rebuild_from_type_v2\n)R."), "a class other than Tensor" },
    { P("\x80\2K\1}b."), "attributes are set on something that is not a dictionary" },
    { P("\x80\2}K\1b."), "attributes are set on something that is not a dictionary" },
    /* stack, marks, containers */
    { P("."), "0 values are left on the stack" },
    { P("\x80\2."), "0 values are left on the stack" },
    { P("\x80\2NN."), "2 values are left on the stack" },
    { P("\x80\2(N."), "values are left on the stack" },
    { P("\x80\2"), "ends without STOP" },
    { P("\x80\2N0"
        "0."),
      "stack underflow" },
    { P("\x80\2N(0."), "stack underflow" },
    { P("\x80\2N\x86."), "stack underflow" },
    { P("\x80\2NR."), "stack underflow" },
    { P("\x80\2Q."), "stack underflow" },
    { P("\x80\2b."), "stack underflow" },
    { P("\x80\2}b."), "stack underflow" },
    { P("\x80\2N\x93."), "stack underflow" },
    { P("\x80\2q\0."), "stack underflow" },
    { P("\x80\2Nt."), "there is no MARK" },
    { P("\x80\2Ne."), "there is no MARK" },
    { P("\x80\2NNa."), "not applied to a list" },
    { P("\x80\2}Na."), "not applied to a list" },
    { P("\x80\2]NNs."), "not applied to a dictionary" },
    { P("\x80\2(Ne."), "not applied to a list" },
    { P("\x80\2](Nu."), "not applied to a dictionary" },
    { P("\x80\2}(Nu."), "a key without a value" },
    { P("\x80\2(Nd."), "a key without a value" },
    { P("\x80\2N(N\x90."), "not applied to a set" },
    /* memo */
    { P("\x80\2h\0."), "memo index 0 is not set" },
    { P("\x80\2j\xff\xff\xff\xff."), "memo index 4294967295 is not set" },
    { P("\x80\2Nr\xff\xff\xff\xff."), "memo index 4294967295, the next is 0" },
    { P("\x80\2Nq\1."), "memo index 1, the next is 0" },
    /* lengths */
    { P("\x80\2\x8b\xff\xff\xff\x7f."), "opcode LONG4 (0x8b): 2147483647 bytes wanted, 1 left" },
    { P("\x80\2\x8b\xff\xff\xff\xff."), "4294967295 bytes wanted" },
    { P("\x80\2X\xff\xff\xff\xffx."), "opcode BINUNICODE (0x58): 4294967295 bytes wanted" },
    { P("\x80\2\x8d\xff\xff\xff\xff\xff\xff\xff\xffx."), "18446744073709551615 bytes wanted" },
    { P("\x80\2\x8e\0\0\0\0\1\0\0\0x."), "4294967296 bytes wanted" },
    { P("\x80\2K"), "1 bytes wanted, 0 left" },
    { P("\x80\4\x95\xff\0\0\0\0\0\0\0N."), "opcode FRAME (0x95): the frame ends after the file" },
    { P("\x80\6N."), "protocol 6; 2 to 5 are known" },
    { P("\x80\1N."), "protocol 1" },
    { P("\x80\2\x80\2N."), "stated once, at the start" },
    /* storages and tensors */
    { P("\x80\2K\1Q."), "the persistent id is not a tuple" },
    { P("\x80\2)Q."), "the persistent id is not ('storage'" },
    { P("\x80\2(X\6\0\0\0modulectorch\nFloatStorage\nX\1\0\0\0"
        "0X\3\0\0\0cpuK\2tQ."),
      "the persistent id is not ('storage'" },
    { P("\x80\2(X\7\0\0\0storageccollections\nOrderedDict\nX\1\0\0\0"
        "0X\3\0\0\0cpuK\2tQ."),
      "collections.OrderedDict is not a type of storage" },
    { P("\x80\2(X\7\0\0\0storagectorch\nFloatStorage\nX\1\0\0\0"
        "0X\3\0\0\0cpuJ\xff\xff\xff\xfftQ."),
      "a storage of -1 elements" },
    { P("\x80\2(X\7\0\0\0storagectorch\nFloatStorage\nX\1\0\0\0"
        "0X\3\0\0\0cpu"
        "\x8a\10\xff\xff\xff\xff\xff\xff\xff\x7ftQ."),
      "a storage of 9223372036854775807 elements" },
    { P("\x80\2}X\1\0\0\0a" G2 ZIP_STORAGE("FloatStorage", "9", "\2") "K\0K\2\x85K\1\x85\x89NtRs."),
      "there is no entry for storage '9'" },
    { P("\x80\2}X\1\0\0\0a" G2 "((X\7\0\0\0storagectorch\nFloatStorage\nX\3\0\0\0"
        "0\0x"
        "X\3\0\0\0cpuK\2tQK\0K\2\x85K\1\x85\x89NtRs."),
      "there is no entry for storage '0\\x00x'" },
    { P("\x80\2}X\1\0\0\0a" G2 "(NK\0K\2\x85K\1\x85\x89NtRs."), "a tensor is rebuilt from" },
    { P(TENSOR("J\xff\xff\xff\xff", "K\2\x85", "K\1\x85")), "a tensor is rebuilt from" },
    { P(TENSOR("K\1", "K\2\x85", "K\1\x85")), "tensor 'a' reaches past the end of its storage" },
    { P(TENSOR("K\0", "K\3\x85", "K\1\x85")), "tensor 'a' reaches past the end of its storage" },
    { P(TENSOR("K\0", "K\2\x85", "K\2\x85")), "tensor 'a' reaches past the end of its storage" },
    { P(TENSOR("\x8a\10\xff\xff\xff\xff\xff\xff\xff\x7f", "K\2\x85", "K\1\x85")), "overflows" },
    { P(TENSOR("K\0", "K\2\x85", "J\xff\xff\xff\xff\x85")), "stride must be integers >= 0" },
    { P(TENSOR("K\0", "J\xff\xff\xff\xff\x85", "K\1\x85")), "shape must be integers >= 0" },
    { P(TENSOR("K\0", "G\0\0\0\0\0\0\0\0\x85", "K\1\x85")), "shape must be integers >= 0" },
    { P(TENSOR("K\0", "K\2", "K\1\x85")), "the tensor's shape is not a tuple" },
    { P(TENSOR("K\0", "K\2\x85", "K\1K\1\x86")), "1 dimensions and 2 strides" },
    { P(TENSOR("K\0", "(K\1K\1K\1K\1K\1K\1K\1K\1K\1t", ")")), "9 dimensions; the limit is 8" },
    /* one number expanded to a terabyte */
    { P(TENSOR("K\0", "\x8a\5\0\0\0\0\1\x85", "K\0\x85")), "repeats 2 stored elements" },
    { P(TENSOR("K\0", "\x8a\5\0\0\0\0\1\x8a\5\0\0\0\0\1\x86", "K\0K\0\x86")), "size overflows" },
    { P(TENSOR("K\0", "\x8a\5\0\0\0\0\1\x85", "\x8a\5\0\0\0\0\1\x85")), "reaches past the end" },
    { P(TENSOR("K\0", "K\2\x85", "\x8a\10\xff\xff\xff\xff\xff\xff\xff\x7f\x85")), "reaches past" },
    /* a type given twice, or not at all */
    { P("\x80\2}X\1\0\0\0a" G2 "((X\7\0\0\0storagectorch.storage\nUntypedStorage\nX\1\0\0\0"
        "0"
        "X\3\0\0\0cpuK\10tQK\0K\2\x85K\1\x85\x89NtRs."),
      "given twice, or not at all" },
    { P("\x80\2}(X\1\0\0\0a" G2 STORAGE "K\0K\2\x85K\1\x85\x89NtRX\1\0\0\0a" G2 STORAGE
        "K\0K\2\x85K\1\x85\x89NtRu."),
      "tensor 'a' is there twice" },
    { P("\x80\2}X\1\0\0\0actorch._utils\n_rebuild_tensor_v3\n((X\7\0\0\0storagectorch.storage\n"
        "UntypedStorage\nX\1\0\0\0"
        "0X\3\0\0\0cpuK\10tQK\0K\2\x85K\1\x85\x89NNtRs."),
      "the tensor's type is not a dtype" },
    { P("\x80\2}X\1\0\0\0a" G2 "((X\7\0\0\0storagectorch\nFloatStorage\nX\1\0\0\0"
        "0X\3\0\0\0cpuK\2"
        "(X\1\0\0\0vK\0K\2ttQK\0K\2\x85K\1\x85\x89NtRs."),
      "a storage view, which only older files have" },
    { P("\x80\2ctorch._tensor\n_rebuild_from_type_v2\n(ctorch\nSize\nctorch\nTensor\n)NtR."),
      "a tensor of a class other than Tensor or Parameter" },
    /* containers that hold themselves */
    { P("\x80\2]q\0h\0a."), "a container holds itself" },
    { P("\x80\2}q\0X\1\0\0\0ah\0s."), "a container holds itself" },
};

static void test_attacks(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof attacks / sizeof *attacks; i++)
        pickle_refused(attacks[i].pickle, attacks[i].n, attacks[i].part);
}

/* n times `unit` between head and tail */
static void repeated_refused(const char *head, const char *unit, int n, const char *tail,
                             const char *part)
{
    bytes p = { 0 };
    add_text(&p, head);
    for (int i = 0; i < n; i++)
        add_text(&p, unit);
    add_text(&p, tail);
    pickle_refused(p.at, p.n, part);
    drop(&p);
}

static void test_budgets(void **state)
{
    (void)state;
    repeated_refused("\x80\2", "N", (1 << 20) + 1, ".", "more than 1048576 values on the stack");
    repeated_refused("\x80\2", "(", (1 << 20) + 1, ".", "more than 1048576 marks");
    repeated_refused("\x80\2", ")0", (1 << 21) + 1, ".", "more than 2097152 objects");
    repeated_refused("\x80\2]", "(NNNNNNNNe", 600000, ".", "more than 4194304 values in lists");
    repeated_refused("\x80\2)", "\x85", 1000000, ".", "nested more than 64 deep");
    repeated_refused("\x80\2]", "q\1]h\1a", 100, ".", "memo index 1, the next is 0");
    bytes big = { 0 };
    add_text(&big, "\x80\2");
    for (int i = 0; i < (16 << 20); i++)
        add_text(&big, "0");
    pickle_refused(big.at, big.n, "has 16777218 bytes, the limit is 16777216");
    drop(&big);
}

/* 40 lists, each holding the one before twice: 2^40 leaves in 300 bytes. */
static void test_shared_lists(void **state)
{
    (void)state;
    bytes p = { 0 };
    add_text(&p, "\x80\2]\x94");
    for (int i = 0; i < 40; i++) {
        add_literal(&p, "]\x94(h");
        add_int(&p, (uint64_t)i, 1);
        add_literal(&p, "h");
        add_int(&p, (uint64_t)i, 1);
        add_literal(&p, "e");
    }
    add_literal(&p, "\x85");
    for (int i = 0; i < 40; i++)
        add_literal(&p, "\x86");
    pickle_refused(p.at, p.n - 40, "ends without STOP");
    p.n -= 40;
    bytes q = { 0 };
    add(&q, p.at, p.n - 1);
    for (int i = 0; i < 40; i++)
        add_literal(&q, "\x86"); /* the 41 lists on the stack become one value */
    add_literal(&q, ".");
    pickle_refused(q.at, q.n, "the same objects are nested too often");
    drop(&p);
    drop(&q);
}

/* A storage of a megabyte named by a thousand tensors is fine, by 100 000 is not. */
static void test_shared_storage(void **state)
{
    (void)state;
    for (int wide = 0; wide < 2; wide++) {
        bytes p = { 0 };
        float *data = calloc(4096, sizeof *data);
        assert_non_null(data);
        add_literal(&p, "\x80\2]q\0(" G2 "((X\7\0\0\0storagectorch\nFloatStorage\nX\1\0\0\0"
                        "0X\3\0\0\0cpuM\0\x10tQK\0M\0\x10\x85K\1\x85\x89NtRq\1");
        for (int i = 0; i < (wide ? 20000 : 500); i++)
            add_literal(&p, "h\1");
        add_literal(&p, "e.");
        archive z = { 0 };
        zip_add(&z, zip_names[0], p.at, p.n, true);
        zip_add(&z, zip_names[1], "little", 6, true);
        zip_add(&z, zip_names[2], data, 4096 * sizeof *data, true);
        zip_end(&z, zip_names, true);
        if (wide)
            refused(&z.b, MCS_EFORMAT, "the tensors share storages so often");
        else
            assert_int_equal(open_and_read(z.b.at, z.b.n), MCS_OK);
        drop(&z.b);
        drop(&p);
        free(data);
    }
}

/* Names come from keys: numbers, nesting, odd keys, empty containers. */
static void test_names(void **state)
{
    (void)state;
    static const char nested[] = "\x80\2}(X\1\0\0\0a}(K\7](NN" LEAF "eX\1\0\0\0b)uK\5" LEAF
                                 "J\xff\xff\xff\xff" LEAF "N" LEAF "X\1\0\0\0e]X\1\0\0\0fNu.";
    archive z = zip_make(nested, sizeof nested - 1, true, true);
    mcs_error e = { 0 };
    mcs_checkpoint *k = mcs_checkpoint_open_memory(z.b.at, z.b.n, "n", &e);
    if (!k)
        fail_msg("%s", e.message);
    assert_int_equal(mcs_checkpoint_count(k), 4);
    assert_string_equal(mcs_checkpoint_at(k, 0)->name, "a.7.2");
    assert_string_equal(mcs_checkpoint_at(k, 1)->name, "5");
    assert_string_equal(mcs_checkpoint_at(k, 2)->name, "-1");
    assert_string_equal(mcs_checkpoint_at(k, 3)->name, "?");
    mcs_checkpoint_close(k);
    drop(&z.b);
}

/* A Parameter with attributes, a bytearray, a short negative LONG, Counter of a dictionary. */
static void test_odd_values(void **state)
{
    (void)state;
    static const char odd[] =
        "\x80\5}(X\1\0\0\0actorch._tensor\n_rebuild_from_type_v2\n("
        "ctorch._utils\n_rebuild_tensor_v2\nctorch.nn.parameter\nParameter\n" STORAGE
        "K\0K\2\x85K\1\x85\x89Nt}tR"
        "X\1\0\0\0b\x96\1\0\0\0\0\0\0\0x"
        "\x8a\1\xff" LEAF "X\1\0\0\0cccollections\nCounter\n}K\1" LEAF "s\x85Ru.";
    archive z = zip_make(odd, sizeof odd - 1, true, true);
    mcs_error e = { 0 };
    mcs_checkpoint *k = mcs_checkpoint_open_memory(z.b.at, z.b.n, "n", &e);
    if (!k)
        fail_msg("%s", e.message);
    assert_int_equal(mcs_checkpoint_count(k), 3);
    assert_string_equal(mcs_checkpoint_at(k, 0)->name, "a");
    assert_string_equal(mcs_checkpoint_at(k, 1)->name, "-1");
    assert_string_equal(mcs_checkpoint_at(k, 2)->name, "c.1");
    mcs_checkpoint_close(k);
    drop(&z.b);
}

/* A key of 5000 letters above a tensor; harmless above anything else. */
static void test_long_name(void **state)
{
    (void)state;
    for (int tensor = 0; tensor < 2; tensor++) {
        bytes p = { 0 };
        add_literal(&p, "\x80\2}X\x88\x13\0\0");
        for (int i = 0; i < 5000; i++)
            add_text(&p, "n");
        if (tensor) {
            add_literal(&p, LEAF "s.");
            pickle_refused(p.at, p.n, "a name of more than 4096 bytes");
        } else {
            add_literal(&p, "Ns.");
            archive z = zip_make(p.at, p.n, true, true);
            assert_int_equal(open_and_read(z.b.at, z.b.n), MCS_OK);
            drop(&z.b);
        }
        drop(&p);
    }
}

/* OrderedDict as Python 2 pickled it: from a list of pairs, with 8-bit strings. */
static void test_python2(void **state)
{
    (void)state;
    static const char old[] = "\x80\2ccollections\nOrderedDict\n]](U\1a" LEAF "ea\x85R.";
    archive z = zip_make(old, sizeof old - 1, true, true);
    mcs_error e = { 0 };
    mcs_checkpoint *k = mcs_checkpoint_open_memory(z.b.at, z.b.n, "n", &e);
    if (!k)
        fail_msg("%s", e.message);
    assert_string_equal(mcs_checkpoint_at(k, 0)->name, "a");
    mcs_checkpoint_close(k);
    drop(&z.b);
}

/* Every prefix and 40 000 flips of the pickle itself, the zip around it being right. */
static void test_damage(void **state)
{
    (void)state;
    static const char nested[] = "\x80\2}(X\1\0\0\0a}(K\7](NN" LEAF "eX\1\0\0\0b)uK\5" LEAF "u.";
    uint8_t copy[sizeof nested];
    uint64_t x = 88172645463325252u;
    for (size_t n = 0; n < sizeof nested - 1; n++) {
        archive z = zip_make(nested, n, true, true);
        assert_int_equal(open_and_read(z.b.at, z.b.n), MCS_EFORMAT);
        drop(&z.b);
    }
    for (int i = 0; i < 40000; i++) {
        memcpy(copy, nested, sizeof nested);
        for (int j = 0; j <= i % 4; j++) {
            x ^= x << 13, x ^= x >> 7, x ^= x << 17;
            copy[x / 8 % (sizeof nested - 1)] ^= (uint8_t)(1 << x % 8);
        }
        archive z = zip_make(copy, sizeof nested - 1, true, true);
        open_and_read(z.b.at, z.b.n);
        drop(&z.b);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_attacks),      cmocka_unit_test(test_budgets),
        cmocka_unit_test(test_shared_lists), cmocka_unit_test(test_shared_storage),
        cmocka_unit_test(test_names),        cmocka_unit_test(test_odd_values),
        cmocka_unit_test(test_long_name),    cmocka_unit_test(test_python2),
        cmocka_unit_test(test_damage),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
