/* test_arena.c - chunks that one arena lends to another, whole and in pieces. */
#include "tensor/arena_internal.h"
#include "tests/check.h"

static const size_t mb = (size_t)1 << 20;

/* An arena that uses its first chunk, with an empty one of 600 MB (never touched) behind it. */
static mcs_arena with_empty_chunk(void)
{
    mcs_arena a;
    mcs_arena_init(&a, 0);
    assert_non_null(mcs_arena_alloc(&a, 1000));
    mcs_arena_mark m = mcs_arena_now(&a);
    assert_non_null(mcs_arena_alloc(&a, 600 * mb));
    mcs_arena_release(&a, m);
    assert_int_equal(a.count, 2);
    return a;
}

static bool inside(const mcs_chunk *k, const void *p)
{
    return (const char *)p >= k->base && (const char *)p < k->base + k->size;
}

static void test_pieces(void **state)
{
    (void)state;
    mcs_arena owner = with_empty_chunk(), user;
    const mcs_chunk whole = owner.chunks[1];
    const size_t total = owner.bytes_total;
    mcs_arena_init(&user, 0);
    mcs_arena_borrow(&user, &owner);
    for (int round = 0; round < 2; round++) {
        char *p = mcs_arena_alloc(&user, 3 * mb), *q = mcs_arena_alloc(&user, 200 * mb);
        assert_true(inside(&whole, p) && inside(&whole, q) && p + 3 * mb <= q);
        assert_false(inside(&owner.chunks[1], p) || inside(&owner.chunks[1], q));
        assert_int_equal(user.count, 2);
        assert_int_equal(owner.bytes_total + user.bytes_total, total);
        p[0] = p[3 * mb - 1] = q[200 * mb - 1] = 1;
        char *own = mcs_arena_alloc(&owner, 100 * mb); /* what is left is the owner's */
        assert_true(own >= q + 200 * mb && inside(&whole, own));
        mcs_arena_release(&owner, (mcs_arena_mark){ 0, 64 });
        mcs_arena_release(&user, (mcs_arena_mark){ 0, 0 });
        mcs_arena_give_back(&user, &owner);
        assert_int_equal(user.count, 0);
        assert_int_equal(user.bytes_total, 0);
        assert_int_equal(owner.bytes_total, total);
        assert_true(owner.chunks[1].base == whole.base && owner.chunks[1].size == whole.size);
    }
    mcs_arena_free(&user);
    mcs_arena_free(&owner);
}

static void test_whole_chunks(void **state)
{
    (void)state;
    mcs_arena owner = with_empty_chunk(), user;
    const char *base = owner.chunks[1].base;
    mcs_arena_init(&user, 0);
    mcs_arena_borrow(&user, &owner);
    assert_true(mcs_arena_alloc(&user, 500 * mb) == base);
    assert_int_equal(owner.count, 1);
    assert_non_null(mcs_arena_alloc(&owner, 2 * mb)); /* a new one */
    mcs_arena_release(&user, (mcs_arena_mark){ 0, 0 });
    mcs_arena_give_back(&user, &owner);
    assert_int_equal(owner.count, 3);
    assert_true(mcs_arena_alloc(&owner, 500 * mb) == base);
    mcs_arena_free(&user);
    mcs_arena_free(&owner);
}

/* A chunk in use is never lent; without a lender, or with one that has nothing, memory is new. */
static void test_nothing_to_borrow(void **state)
{
    (void)state;
    mcs_arena owner = with_empty_chunk(), user;
    mcs_arena_init(&user, 0);
    assert_non_null(mcs_arena_alloc(&owner, 10 * mb));
    mcs_arena_borrow(&user, &owner);
    assert_non_null(mcs_arena_alloc(&user, mb));
    mcs_arena_borrow(&user, NULL);
    assert_non_null(mcs_arena_alloc(&user, 20 * mb));
    for (int64_t i = 0; i < user.count; i++)
        assert_false(user.chunks[i].borrowed);
    assert_int_equal(owner.count, 2);
    mcs_arena_free(&user);
    mcs_arena_free(&owner);
}

static void test_mark_behind(void **state)
{
    (void)state;
    mcs_arena a;
    mcs_arena_init(&a, 0);
    for (int i = 0; i < 40; i++) { /* over several chunks */
        const char *p = mcs_arena_alloc(&a, 100000 + (size_t)i);
        mcs_arena_mark now = mcs_arena_now(&a), behind = mcs_arena_after(&a, p, 100000 + (size_t)i);
        assert_true(behind.chunk == now.chunk && behind.used == now.used);
    }
    mcs_arena_free(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pieces),
        cmocka_unit_test(test_whole_chunks),
        cmocka_unit_test(test_nothing_to_borrow),
        cmocka_unit_test(test_mark_behind),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
