/* The order of an epoch's pictures: every one at most once, another order each epoch, the same for
 * the same seed; batches no larger than there are pictures. */
#include <stdlib.h>
#include <string.h>
#include "tests/check.h"
#include "tools/cli_run.h"

static const cli_program program = { .name = "test" };

static void whole_epochs(void **state)
{
    cli t = { .program = &program, .seed = 5, .quiet = true, .log_fd = -1 };
    cli_run_order o, again;
    int seen[10] = { 0 };
    int64_t first[10];
    (void)state;
    assert_int_equal(cli_run_order_make(&t, 10, 3, &o), CLI_CONTINUE);
    assert_int_equal(cli_run_order_steps(&o), 3);
    assert_int_equal(o.epoch, -1);
    assert_int_equal(cli_run_order_draw(&t, &o, 0), CLI_CONTINUE);
    for (int i = 0; i < 9; i++) {
        assert_in_range(o.at[i], 0, 9);
        assert_int_equal(seen[o.at[i]]++, 0);
    }
    memcpy(first, o.at, 9 * sizeof *first);
    assert_int_equal(cli_run_order_draw(&t, &o, 1), CLI_CONTINUE);
    assert_int_equal(o.epoch, 1);
    assert_int_not_equal(memcmp(first, o.at, 9 * sizeof *first), 0);
    assert_int_equal(cli_run_order_make(&t, 10, 3, &again), CLI_CONTINUE);
    assert_int_equal(cli_run_order_draw(&t, &again, 1), CLI_CONTINUE);
    assert_memory_equal(again.at, o.at, 9 * sizeof *first);
    again.at[0] = -7; /* drawn already: left alone */
    assert_int_equal(cli_run_order_draw(&t, &again, 1), CLI_CONTINUE);
    assert_int_equal(again.at[0], -7);
    free(o.at);
    free(again.at);
}

static void few_pictures(void **state)
{
    cli t = { .program = &program, .quiet = true, .log_fd = -1 };
    cli_run_order o;
    (void)state;
    assert_int_equal(cli_run_order_make(&t, 4, 100, &o), CLI_CONTINUE);
    assert_int_equal(o.batch, 4);
    assert_int_equal(cli_run_order_steps(&o), 1);
    free(o.at);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(whole_epochs),
        cmocka_unit_test(few_pictures),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
