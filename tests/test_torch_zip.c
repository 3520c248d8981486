/* PyTorch zip files: the archive damaged in every way that makes two readers disagree. */
#include "tests/weights_zip.h"

static archive valid(int descriptor, bool zip64)
{
    return zip_make(ZIP_PICKLE, sizeof ZIP_PICKLE - 1, descriptor, zip64);
}

static void test_valid(void **state)
{
    (void)state;
    for (int i = 0; i < 10; i++) {
        archive z = valid(i / 2, i % 2);
        mcs_error e = { 0 };
        float v[2] = { 0 };
        mcs_checkpoint *k = mcs_checkpoint_open_memory(z.b.at, z.b.n, "valid", &e);
        if (!k)
            fail_msg("%d: %s", i, e.message);
        assert_string_equal(mcs_checkpoint_format(k), "pytorch zip");
        assert_int_equal(mcs_checkpoint_count(k), 1);
        assert_int_equal(mcs_checkpoint_read_f32(k, mcs_checkpoint_find(k, "a"), v, &e), MCS_OK);
        assert_memory_equal(v, zip_values, sizeof v);
        assert_string_equal(mcs_checkpoint_import(k, 0), "collections.OrderedDict");
        assert_string_equal(mcs_checkpoint_import(k, 1), "torch._utils._rebuild_tensor_v2");
        assert_string_equal(mcs_checkpoint_import(k, 2), "torch.FloatStorage");
        assert_null(mcs_checkpoint_import(k, 3));
        mcs_checkpoint_close(k);
        drop(&z.b);
    }
}

/* `size` bytes at `offset` of a record of entry `entry` become `value`. */
enum { LOCAL, CENTRAL, END64, LOCATOR, END, DESCRIPTOR };
static const struct {
    int record, entry, offset, size;
    uint64_t value;
    const char *part;
} patches[] = {
    /* the two halves disagree */
    { LOCAL, 0, 6, 2, 0x800, "its local header disagrees" },
    { LOCAL, 0, 8, 2, 8, "its local header disagrees" },
    { LOCAL, 2, 14, 4, 1, "its local header disagrees" },
    { LOCAL, 2, 18, 4, 7, "its local header disagrees" },
    { LOCAL, 2, 22, 4, 9, "its local header disagrees" },
    { LOCAL, 2, 26, 2, 7, "its local header disagrees" },
    { LOCAL, 2, 37, 1, '1', "its local header has another name" },
    { LOCAL, 2, 0, 4, 0, "its local header disagrees" },
    { LOCAL, 2, 28, 2, 60000, "its local header disagrees" },
    { LOCAL, 2, 28, 2, 9, "its extra field is malformed or lacks the zip64 sizes" },
    { LOCAL, 2, 18, 4, 0xffffffff, "its extra field is malformed or lacks the zip64 sizes" },
    { DESCRIPTOR, 2, 0, 4, 0, "its data descriptor disagrees" },
    { DESCRIPTOR, 2, 4, 4, 0, "its data descriptor disagrees" },
    { DESCRIPTOR, 2, 8, 4, 9, "its data descriptor disagrees" },
    { DESCRIPTOR, 2, 12, 4, 9, "its data descriptor disagrees" },
    /* what we do not do */
    { CENTRAL, 2, 8, 2, 0x809, "is encrypted" },
    { CENTRAL, 2, 8, 2, 0x848, "has unknown flags" },
    { CENTRAL, 2, 8, 2, 0x2808, "has unknown flags" },
    { CENTRAL, 2, 10, 2, 8, "is compressed, which torch.save() never does" },
    { CENTRAL, 2, 10, 2, 99, "is compressed, which torch.save() never does" },
    /* sizes and places */
    { CENTRAL, 2, 20, 4, 7, "is stored, but its two sizes differ" },
    { CENTRAL, 2, 24, 4, 0xffffffff, "its extra field is malformed or lacks the zip64 sizes" },
    { CENTRAL, 2, 42, 4, 0xffffffff, "its extra field is malformed or lacks the zip64 sizes" },
    { CENTRAL, 2, 42, 4, 0xfffffffe, "lies outside the archive" },
    { CENTRAL, 2, 42, 4, 1, "its local header disagrees" },
    { CENTRAL, 1, 42, 4, 0, "its local header disagrees" },
    { CENTRAL, 2, 34, 2, 1, "two sizes differ" },
    { CENTRAL, 3, 0, 4, 0, "the directory is malformed" },
    { CENTRAL, 3, 28, 2, 60000, "the directory is cut short" },
    { CENTRAL, 3, 32, 2, 1, "the directory is cut short" },
    { CENTRAL, 3, 30, 2, 1, "the directory is cut short" },
    /* end records */
    { END, 0, 0, 4, 0, "does not end with an end record" },
    { END, 0, 20, 2, 1, "does not end with an end record" },
    { END, 0, 4, 2, 1, "a part of an archive of several files" },
    { END, 0, 8, 2, 3, "a part of an archive of several files" },
    { END, 0, 12, 4, 5, "the two end records disagree" },
    { END, 0, 16, 4, 5, "the two end records disagree" },
    { END64, 0, 0, 4, 0, "the zip64 end record is malformed" },
    { END64, 0, 4, 8, 45, "the zip64 end record is malformed" },
    { END64, 0, 16, 4, 1, "the two end records disagree" },
    { END64, 0, 24, 8, 3, "the two end records disagree" },
    { END64, 0, 32, 8, UINT64_C(1) << 32, "the two end records disagree" },
    { END64, 0, 40, 8, UINT64_MAX, "the two end records disagree" },
    { END64, 0, 48, 8, UINT64_MAX, "the two end records disagree" },
    { LOCATOR, 0, 0, 4, 0, "the directory does not end where the end record begins" },
    { LOCATOR, 0, 8, 8, UINT64_MAX, "the zip64 end record is not where it is said to be" },
    { LOCATOR, 0, 8, 8, 0, "the zip64 end record is malformed" },
    { LOCATOR, 0, 4, 4, 1, "the zip64 end record is not where it is said to be" },
};

static void test_patches(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof patches / sizeof *patches; i++) {
        archive z = valid(true, true);
        int n = patches[i].entry;
        size_t at[] = { z.local[n], z.central[n], z.end64,
                        z.locator,  z.end,        n < 3 ? z.local[n + 1] - 16 : 0 };
        for (int j = 0; j < patches[i].size; j++)
            z.b.at[at[patches[i].record] + (size_t)(patches[i].offset + j)] =
                (uint8_t)(patches[i].value >> 8 * j);
        refused(&z.b, MCS_EFORMAT, patches[i].part);
        drop(&z.b);
    }
}

/* 2^32 entries claimed by both end records that claim so. */
static void test_many_claimed(void **state)
{
    (void)state;
    archive z = valid(true, true);
    for (int j = 0; j < 16; j++)
        z.b.at[z.end64 + 24 + (size_t)j] = j % 8 == 4;
    for (int j = 0; j < 4; j++)
        z.b.at[z.end + 8 + (size_t)j] = 0xff;
    refused(&z.b, MCS_EFORMAT, "more entries than its directory holds");
    drop(&z.b);
}

static void names_refused(const char *name, const char *part)
{
    const char *names[] = { "f/data.pkl", name };
    archive z = { 0 };
    zip_add(&z, names[0], ZIP_PICKLE, sizeof ZIP_PICKLE - 1, true);
    zip_add(&z, names[1], zip_values, sizeof zip_values, true);
    zip_end(&z, names, true);
    refused(&z.b, MCS_EFORMAT, part);
    drop(&z.b);
}

static void test_names(void **state)
{
    (void)state;
    static const char *const bad[] = { "/f/data/0", "f/../data/0", "../f/0",
                                       "f/data/..", "f/./0",       "f\\data\\0",
                                       "C:/f",      "f/data/0\n",  "f/data/",
                                       "" };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        names_refused(bad[i], "its name is empty, absolute, too long, or has '..'");
    names_refused("f/data.pkl", "'f/data.pkl': is there twice");
    names_refused("g/data/0", "not all in one folder");
    names_refused("f/data/1", "there is no entry for storage '0'");
    names_refused("f/constants.pkl", "a TorchScript program");
}

/* The second entry's data lies inside the first's (Fifield's bomb repeats this). */
static void test_overlap(void **state)
{
    (void)state;
    bytes inner = { 0 };
    archive z = { 0 };
    const char *names[] = { "f/data.pkl", "f/data/0" };
    archive in = { 0 };
    zip_add(&in, names[1], zip_values, sizeof zip_values, true);
    add(&inner, in.b.at, in.b.n);
    zip_add(&z, names[0], inner.at, inner.n, true);
    z.count = 2;
    z.local[1] = z.local[0] + 30 + strlen(names[0]) + 5;
    z.crc[1] = in.crc[0];
    z.size[1] = in.size[0];
    zip_end(&z, names, true);
    refused(&z.b, MCS_EFORMAT, "'f/data/0': overlaps the one before it");
    drop(&z.b);
    drop(&in.b);
    drop(&inner);
}

static void test_around(void **state)
{
    (void)state;
    archive z = valid(true, true);
    add_text(&z.b, "x");
    refused(&z.b, MCS_EFORMAT, "does not end with an end record");
    drop(&z.b);
    const char *names[] = { "data.pkl" }; /* some other zip */
    z = (archive){ 0 };
    zip_add(&z, names[0], "x", 1, false);
    zip_end(&z, names, false);
    refused(&z.b, MCS_EFORMAT, "its first entry is in no folder");
    drop(&z.b);
    z = (archive){ 0 };
    zip_add(&z, "f/x", "x", 1, false);
    zip_end(&z, (const char *[]){ "f/x" }, false);
    refused(&z.b, MCS_EFORMAT, "there is no data.pkl");
    drop(&z.b);
    z = (archive){ 0 }; /* an archive behind another, both valid */
    zip_add(&z, "f/x", "x", 1, false);
    z.count = 0;
    zip_add(&z, zip_names[0], ZIP_PICKLE, sizeof ZIP_PICKLE - 1, false);
    zip_end(&z, zip_names, false);
    refused(&z.b, MCS_EFORMAT, "there is something before the first entry");
    drop(&z.b);
}

static void test_contents(void **state)
{
    (void)state;
    archive z;
    for (int i = 0; i < 3; i++) {
        static const char *const orders[] = { "big", "bigger", "little endian" };
        z = (archive){ 0 };
        zip_add(&z, zip_names[0], ZIP_PICKLE, sizeof ZIP_PICKLE - 1, true);
        zip_add(&z, zip_names[1], orders[i], strlen(orders[i]), true);
        zip_end(&z, zip_names, true);
        refused(&z.b, MCS_EFORMAT, "saved on a big-endian machine");
        drop(&z.b);
    }
    z = zip_make(ZIP_PICKLE "N.", sizeof ZIP_PICKLE + 1, true, true); /* a second STOP */
    refused(&z.b, MCS_EFORMAT, "data.pkl goes on after its STOP");
    drop(&z.b);
    z = valid(true, true);
    z.b.at[z.local[0] + 60] ^= 1; /* inside the pickle */
    refused(&z.b, MCS_EFORMAT, "entry 'f/data.pkl': the CRC-32 does not match");
    drop(&z.b);
}

/* The pickle's claim about a storage against the bytes there are (CVE-2026-24747's class). */
static void test_storage_size(void **state)
{
    (void)state;
    static const struct {
        const char *type, *part;
        char count;
    } cases[] = {
        { "DoubleStorage", "storage '0' should have 16 bytes, its entry has 8", 2 },
        { "FloatStorage", "should have 4 bytes, its entry has 8", 1 },
        { "FloatStorage", "should have 400 bytes", 100 },
        { "CharStorage", "should have 2 bytes", 2 },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        bytes p = { 0 };
        add_literal(&p, "\x80\2}X\1\0\0\0actorch._utils\n_rebuild_tensor_v2\n");
        add_literal(&p, "((X\7\0\0\0storagectorch\n");
        add_text(&p, cases[i].type);
        add_literal(&p, "\nX\1\0\0\0"
                        "0X\3\0\0\0cpuK");
        add(&p, &cases[i].count, 1);
        add_literal(&p, "tQK\0K\1\x85K\1\x85\x89NtRs.");
        archive z = zip_make(p.at, p.n, true, true);
        refused(&z.b, MCS_EFORMAT, cases[i].part);
        drop(&z.b);
        drop(&p);
    }
}

/* torch.serialization.set_crc32_options(False) writes zeros: then there is nothing to check. */
static void test_no_crc(void **state)
{
    (void)state;
    for (int some = 0; some < 2; some++) {
        archive z = valid(true, true);
        for (int i = 0; i < 4 - some; i++) {
            size_t next = i < 3 ? z.local[i + 1] : z.central[0];
            memset(z.b.at + z.central[i] + 16, 0, 4);
            memset(z.b.at + next - 12, 0, 4); /* in the descriptor */
        }
        if (some)
            refused(&z.b, MCS_EFORMAT, "entry 'f/byteorder': the CRC-32 does not match");
        else
            assert_int_equal(open_and_read(z.b.at, z.b.n), MCS_OK);
        drop(&z.b);
    }
}

/* Sizes and place of the storage's entry moved into zip64 extra fields, as beyond 4 GB. */
static archive with_zip64(uint64_t local)
{
    archive z = { 0 };
    zip_add(&z, zip_names[0], ZIP_PICKLE, sizeof ZIP_PICKLE - 1, true);
    z.local[1] = z.b.n;
    z.crc[1] = (uint32_t)crc32(0, (const void *)zip_values, sizeof zip_values);
    z.size[1] = 0xffffffff;
    z.count = 2;
    add_int(&z.b, 0x04034b50, 4);
    add_int(&z.b, 0, 2);
    zip_common(&z, 1, "f/data/0", 0, false);
    add_int(&z.b, 20, 2);
    add_text(&z.b, "f/data/0");
    add_int(&z.b, 1 | 16 << 16, 4);
    add_int(&z.b, sizeof zip_values, 8);
    add_int(&z.b, sizeof zip_values, 8);
    add(&z.b, zip_values, sizeof zip_values);
    size_t start = z.b.n;
    for (int i = 0; i < 2; i++) {
        const char *name = i ? "f/data/0" : zip_names[0];
        add_int(&z.b, 0x02014b50, 4);
        add_int(&z.b, 0, 4);
        zip_common(&z, i, name, i ? 0 : 0x808, false);
        add_int(&z.b, i ? 28 : 0, 12); /* extra length, then zeros */
        add_int(&z.b, i ? 0xffffffff : 0, 4);
        add_text(&z.b, name);
        if (i) {
            add_int(&z.b, 1 | 24 << 16, 4);
            add_int(&z.b, sizeof zip_values, 8);
            add_int(&z.b, sizeof zip_values, 8);
            add_int(&z.b, local ? local : z.local[1], 8);
        }
    }
    size_t stop = z.b.n;
    add_int(&z.b, 0x06054b50, 4);
    add_int(&z.b, 0, 4);
    add_int(&z.b, 2 | 2 << 16, 4);
    add_int(&z.b, stop - start, 4);
    add_int(&z.b, start, 4);
    add_int(&z.b, 0, 2);
    return z;
}

static void test_zip64_fields(void **state)
{
    (void)state;
    archive z = with_zip64(0);
    assert_int_equal(open_and_read(z.b.at, z.b.n), MCS_OK);
    z.b.at[z.local[1] + 30 + 8 + 2] = 8; /* only one of the two sizes */
    refused(&z.b, MCS_EFORMAT, "lacks the zip64 sizes");
    drop(&z.b);
    z = with_zip64(UINT64_MAX); /* wraps around when added to */
    refused(&z.b, MCS_EFORMAT, "'f/data/0': lies outside the archive");
    drop(&z.b);
}

/* A storage read through a view: the CRC is that of the whole entry. */
static void test_view_crc(void **state)
{
    (void)state;
    static const char pickle[] = "\x80\2}X\1\0\0\0actorch._utils\n_rebuild_tensor_v2\n" ZIP_STORAGE(
        "FloatStorage", "0", "\2") "K\0K\1\x85K\1\x85\x89NtRs.";
    archive z = zip_make(pickle, sizeof pickle - 1, true, true);
    assert_int_equal(open_and_read(z.b.at, z.b.n), MCS_OK);
    z.b.at[z.local[3] - 16 - 1] ^= 0x40; /* outside the view, inside the storage */
    assert_int_equal(open_and_read(z.b.at, z.b.n), MCS_EFORMAT);
    drop(&z.b);
}

/* Data is checked when it is read: a flipped bit in a weight is an error there. */
static void test_data_crc(void **state)
{
    (void)state;
    archive z = valid(true, true);
    mcs_error e = { 0 };
    float v[2];
    z.b.at[z.local[3] - 16 - 1] ^= 0x40;
    mcs_checkpoint *k = mcs_checkpoint_open_memory(z.b.at, z.b.n, "f.pt", &e);
    assert_non_null(k);
    assert_int_equal(mcs_checkpoint_read_f32(k, mcs_checkpoint_at(k, 0), v, &e), MCS_EFORMAT);
    assert_non_null(strstr(e.message, "f.pt: tensor 'a': the CRC-32 of its data does not match"));
    mcs_checkpoint_close(k);
    drop(&z.b);
}

static void test_truncation(void **state)
{
    (void)state;
    archive z = valid(true, true);
    for (size_t n = 0; n < z.b.n; n++)
        if (open_and_read(z.b.at, n) == MCS_OK)
            fail_msg("the first %zu of %zu bytes are accepted", n, z.b.n);
    assert_int_equal(open_and_read(z.b.at, z.b.n), MCS_OK);
    drop(&z.b);
}

/* Every single bit, one at a time: refused, or the values are unharmed. */
static void test_bit_flips(void **state)
{
    (void)state;
    archive z = valid(true, true);
    for (size_t i = 0; i < 8 * z.b.n; i++) {
        mcs_error e = { 0 };
        float v[2];
        z.b.at[i / 8] ^= (uint8_t)(1 << i % 8);
        mcs_checkpoint *k = mcs_checkpoint_open_memory(z.b.at, z.b.n, "flip", &e);
        const mcs_stored *t = k ? mcs_checkpoint_find(k, "a") : NULL;
        if (t && t->numel == 2 && mcs_checkpoint_read_f32(k, t, v, &e) == MCS_OK)
            assert_memory_equal(v, zip_values, sizeof v);
        mcs_checkpoint_close(k);
        z.b.at[i / 8] ^= (uint8_t)(1 << i % 8);
    }
    drop(&z.b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_valid),        cmocka_unit_test(test_patches),
        cmocka_unit_test(test_many_claimed), cmocka_unit_test(test_names),
        cmocka_unit_test(test_overlap),      cmocka_unit_test(test_around),
        cmocka_unit_test(test_contents),     cmocka_unit_test(test_storage_size),
        cmocka_unit_test(test_data_crc),     cmocka_unit_test(test_no_crc),
        cmocka_unit_test(test_zip64_fields), cmocka_unit_test(test_view_crc),
        cmocka_unit_test(test_truncation),   cmocka_unit_test(test_bit_flips),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
