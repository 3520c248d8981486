/* test_cli_unet_text.c - how losses, channels and the notes of checkpoints are written. */
#include <stdlib.h>
#include <string.h>
#include "tests/check.h"
#include "tools/cli_unet.h"

static void texts(void **state)
{
    (void)state;
    mcs_unet_loss l = { .smooth = 3 };
    mcs_unet_config c = mcs_unet_defaults();
    assert_true(un_parse_loss("dice+bce", &l) && l.dice == 1 && l.bce == 1 && l.focal == 0);
    assert_true(un_parse_loss("0.5*dice+2*focal", &l) && l.dice == 0.5f && l.bce == 0 &&
                l.focal == 2 && l.smooth == 3);
    assert_true(un_parse_loss("ce", &l) && l.bce == 1);
    static const char *const bad[] = { "",       "dice+",  "dice bce", "x*dice",
                                       "0*dice", "-1*bce", "hinge" };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_false(un_parse_loss(bad[i], &l));
    assert_true(un_parse_channels("8,16,32", &c) && c.levels == 3 && c.channels[2] == 32);
    static const char *const wrong[] = { "",     "8",   "8,",
                                         "8,,9", "8;9", "0,8",
                                         "8,-1", "a,b", "1,2,3,4,5,6,7,8,9" };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        assert_false(un_parse_channels(wrong[i], &c));
    const un_notes n = { .side = 96, .input = MCS_UNET_SLIDING, .classes = 2, .value = { 3, 7 } };
    un_notes back = { 0 };
    char *text = un_notes_text(&n);
    assert_true(un_notes_read(text, &back));
    assert_memory_equal(&n, &back, sizeof n);
    free(text);
    assert_false(un_notes_read(NULL, &back));
    assert_false(un_notes_read("{\"side\":0,\"input\":\"resize\",\"values\":[1]}", &back));
    assert_false(un_notes_read("{\"side\":32,\"input\":\"resize\",\"values\":[]}", &back));
    assert_int_equal(back.side, 96);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(texts) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
