/* test_phantom_caption.c - captions of phantoms: true of their picture, false of others, made of
 * the words that the vocabulary lists. */
#include <stdio.h>
#include <string.h>
#include "image/phantom.h"
#include "tests/check.h"

/* ---- A picture made of facts alone ---- */

static mcs_phantom_facts facts_of(mcs_phantom_kind kind)
{
    return (mcs_phantom_facts){ .kind = kind };
}

static void put(mcs_phantom_facts *f, mcs_phantom_structure s, float visible, int row, int column,
                int size)
{
    f->part[s] = (mcs_phantom_part){
        .visible = visible, .area = 0.05f, .row = row, .column = column, .size = size
    };
}

static mcs_phantom_caption stating(mcs_phantom_kind kind, int keys, mcs_phantom_key a,
                                   mcs_phantom_key b)
{
    return (mcs_phantom_caption){ .kind = kind, .keys = keys, .key = { a, b } };
}

static void test_relation(void **state)
{
    (void)state;
    mcs_phantom_facts both = facts_of(MCS_PHANTOM_ULTRASOUND), mass = both, part = both;
    mcs_phantom_facts healthy = both, brain = facts_of(MCS_PHANTOM_MRI);
    put(&both, MCS_PHANTOM_MASS, 1, 0, 2, 1);
    put(&both, MCS_PHANTOM_CYST, 1, 2, 0, 2);
    put(&mass, MCS_PHANTOM_MASS, 1, 0, 2, 1);
    put(&part, MCS_PHANTOM_MASS, 0.3f, 0, 2, 1);
    put(&brain, MCS_PHANTOM_TUMOUR, 1, 0, 0, 0);
    const mcs_phantom_key a_mass = { MCS_PHANTOM_MASS, false, -1, -1, -1 };
    const mcs_phantom_key mass_right = { MCS_PHANTOM_MASS, false, 0, 2, -1 };
    const mcs_phantom_key mass_left = { MCS_PHANTOM_MASS, false, 0, 0, -1 };
    const mcs_phantom_key large_mass = { MCS_PHANTOM_MASS, false, -1, -1, 2 };
    const mcs_phantom_key no_mass = { MCS_PHANTOM_MASS, true, -1, -1, -1 };
    const mcs_phantom_key no_cyst = { MCS_PHANTOM_CYST, true, -1, -1, -1 };
    const struct {
        mcs_phantom_caption c;
        int both, mass, part, healthy, brain;
    } cases[] = {
        { stating(MCS_PHANTOM_ULTRASOUND, 1, a_mass, a_mass), 1, 1, -1, 0, 0 },
        { stating(MCS_PHANTOM_ULTRASOUND, 1, mass_right, a_mass), 1, 1, -1, 0, 0 },
        { stating(MCS_PHANTOM_ULTRASOUND, 1, mass_left, a_mass), 0, 0, -1, 0, 0 },
        { stating(MCS_PHANTOM_ULTRASOUND, 1, large_mass, a_mass), 0, 0, -1, 0, 0 },
        { stating(MCS_PHANTOM_ULTRASOUND, 1, no_mass, a_mass), 0, 0, -1, 1, 0 },
        { stating(MCS_PHANTOM_ULTRASOUND, 2, a_mass, no_cyst), 0, 1, -1, 0, 0 },
        { stating(MCS_PHANTOM_ULTRASOUND, 2, no_mass, no_cyst), 0, 0, -1, 1, 0 },
        { stating(MCS_PHANTOM_ULTRASOUND, 0, a_mass, a_mass), 1, 1, 1, 1, 0 },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_int_equal(mcs_phantom_holds(&cases[i].c, &both), cases[i].both);
        assert_int_equal(mcs_phantom_holds(&cases[i].c, &mass), cases[i].mass);
        assert_int_equal(mcs_phantom_holds(&cases[i].c, &part), cases[i].part);
        assert_int_equal(mcs_phantom_holds(&cases[i].c, &healthy), cases[i].healthy);
        assert_int_equal(mcs_phantom_holds(&cases[i].c, &brain), cases[i].brain);
    }
}

static void test_groups(void **state)
{
    (void)state;
    char name[100], small[8];
    mcs_phantom_caption c =
        stating(MCS_PHANTOM_XRAY, 2, (mcs_phantom_key){ MCS_PHANTOM_NODULE, false, 0, 2, 0 },
                (mcs_phantom_key){ MCS_PHANTOM_LUNGS, false, -1, 0, -1 });
    mcs_phantom_group(&c, name, sizeof name);
    assert_string_equal(name, "xray:lungs/on the left+nodule/upper right/small");
    c.keys = 0;
    mcs_phantom_group(&c, name, sizeof name);
    assert_string_equal(name, "xray:image");
    c.keys = 2;
    c.key[0].absent = true;
    mcs_phantom_group(&c, small, sizeof small);
    assert_string_equal(small, "xray:lu");
    mcs_phantom_facts f = facts_of(MCS_PHANTOM_XRAY);
    put(&f, MCS_PHANTOM_HEART, 1, 2, 1, 2);
    put(&f, MCS_PHANTOM_LUNGS, 0.2f, 1, 1, 1);
    mcs_phantom_truth(&f, name, sizeof name);
    assert_string_equal(name, "xray:image+heart/lower middle/large+lungs/*+no lungs+no nodule");
    put(&f, MCS_PHANTOM_LUNGS, 1, 1, 1, 1);
    mcs_phantom_truth(&f, name, sizeof name);
    assert_string_equal(name, "xray:image+heart/lower middle/large+lungs/medium-sized+no nodule");
    put(&f, MCS_PHANTOM_LUNGS, 1, 1, 2, 1);
    mcs_phantom_truth(&f, small, sizeof small);
    assert_string_equal(small, "xray:im");
}

/* ---- Captions of phantoms ---- */

/* Is `word` among the words of the phrases? */
static bool known(const char *word, size_t n)
{
    for (int i = 0; mcs_phantom_phrase(i); i++)
        for (const char *p = mcs_phantom_phrase(i); *p;) {
            size_t m = strcspn(p, " ");
            if (m == n && !strncmp(p, word, n))
                return true;
            p += m + strspn(p + m, " ");
        }
    return false;
}

static void check_text(const char *text)
{
    assert_null(strstr(text, "  "));
    assert_null(strchr(text, ','));
    assert_null(strstr(text, " a a"));
    assert_null(strstr(text, " a e"));
    assert_true(strlen(text) < 200);
    for (const char *p = text; *p;) {
        size_t n = strcspn(p, " ");
        if (!known(p, n))
            fail_msg("'%.*s' of '%s' is in no phrase", (int)n, p, text);
        p += n + (p[n] == ' ');
    }
}

/* The words about place in a caption of one structure, against the centroid itself. */
static void check_place(const mcs_phantom_caption *c, const mcs_phantom_facts *f)
{
    const mcs_phantom_part *q = &f->part[c->key[0].structure];
    if (c->keys != 1 || c->key[0].absent)
        return;
    if (strstr(c->text, "left"))
        assert_true(q->x < 1 / 3.0f);
    if (strstr(c->text, "right"))
        assert_true(q->x >= 2 / 3.0f);
    if (strstr(c->text, "upper"))
        assert_true(q->y < 1 / 3.0f);
    if (strstr(c->text, "lower"))
        assert_true(q->y >= 2 / 3.0f);
    if (strstr(c->text, "centre"))
        assert_true(q->x >= 1 / 3.0f && q->x < 2 / 3.0f && q->y >= 1 / 3.0f && q->y < 2 / 3.0f);
    if (strstr(c->text, "large"))
        assert_int_equal(q->size, 2);
    if (strstr(c->text, "small"))
        assert_int_equal(q->size, 0);
}

static void test_captions_are_true(void **state)
{
    (void)state;
    enum { COUNT = 150 };
    static mcs_phantom_facts facts[2 * COUNT];
    static mcs_phantom_caption captions[2 * COUNT];
    mcs_phantom p = { 0 }, v = { 0 };
    const mcs_phantom_view_options o = mcs_phantom_view_defaults();
    int negations = 0, placed = 0, several = 0, nothing = 0, others = 0;
    for (int i = 0; i < COUNT; i++) {
        assert_int_equal(mcs_phantom_make(20, (uint64_t)i, 64, &p, NULL), MCS_OK);
        assert_int_equal(mcs_phantom_view(&p, &o, 3, 64, &v, NULL), MCS_OK);
        facts[2 * i] = p.facts;
        facts[2 * i + 1] = v.facts;
    }
    for (int i = 0; i < 2 * COUNT; i++)
        for (uint64_t seed = 0; seed < 4; seed++) {
            mcs_phantom_caption *c = &captions[i];
            mcs_phantom_describe(&facts[i], NULL, (uint64_t)i * 10 + seed, c);
            assert_int_equal(mcs_phantom_holds(c, &facts[i]), 1);
            check_text(c->text);
            check_place(c, &facts[i]);
            for (int k = 0; k < c->keys; k++) {
                negations += c->key[k].absent;
                placed += c->key[k].column >= 0;
            }
            several += c->keys > 1;
            nothing += c->keys == 0;
        }
    for (int i = 0; i < 2 * COUNT; i++)
        for (int j = 0; j < 2 * COUNT; j++)
            others += mcs_phantom_holds(&captions[i], &facts[j]) == 1;
    assert_true(negations > 100 && placed > 300 && several > 200 && nothing < 150);
    /* few captions hold for many pictures, but not for most */
    assert_true(others > 2 * COUNT * 3 && others < 4 * COUNT * COUNT / 5);
    mcs_phantom_free(&p);
    mcs_phantom_free(&v);
}

/* Shares of the wording, and the same seed gives the same words. */
static void test_wording(void **state)
{
    (void)state;
    mcs_phantom_facts f = facts_of(MCS_PHANTOM_XRAY);
    put(&f, MCS_PHANTOM_HEART, 1, 2, 1, 2);
    put(&f, MCS_PHANTOM_LUNGS, 1, 1, 1, 1);
    mcs_phantom_wording all = { 0, 1, 1, 1, 1, 0 }, one = { 1, 0, 0, 0, 0, 0 }, half = one;
    int heart = 0, complete = 0;
    half.complete = 0.5f;
    for (uint64_t seed = 0; seed < 200; seed++) {
        mcs_phantom_caption c, d;
        mcs_phantom_describe(&f, &all, seed, &c);
        assert_int_equal(c.keys, 3);
        assert_non_null(strstr(c.text, "lower middle"));
        assert_non_null(strstr(c.text, "medium-sized"));
        assert_non_null(strstr(c.text, " and no "));
        assert_null(strstr(c.text, "centre"));
        mcs_phantom_describe(&f, &all, seed, &d);
        assert_string_equal(c.text, d.text);
        mcs_phantom_describe(&f, &one, seed, &c);
        assert_int_equal(c.keys, 1);
        assert_int_equal(c.key[0].size, -1);
        heart += c.key[0].structure == MCS_PHANTOM_HEART;
        mcs_phantom_describe(&f, &half, seed, &c);
        if (c.keys == 2) {
            complete++;
            assert_non_null(strstr(c.text, "lower middle"));
            assert_true(c.key[0].size >= 0 && c.key[1].size >= 0);
        } else {
            assert_int_equal(c.key[0].size, -1);
        }
    }
    assert_in_range(heart, 70, 130);
    assert_in_range(complete, 70, 130);
}

/* Both lungs have no side; one has, and is called one. */
static void test_one_lung(void **state)
{
    (void)state;
    mcs_phantom_facts f = facts_of(MCS_PHANTOM_XRAY);
    const mcs_phantom_wording all = { 1, 1, 1, 0, 0, 0 };
    for (int column = 0; column < 3; column++) {
        put(&f, MCS_PHANTOM_LUNGS, 1, 1, column, 1);
        for (uint64_t seed = 0; seed < 20; seed++) {
            mcs_phantom_caption c;
            mcs_phantom_describe(&f, &all, seed, &c);
            bool both = strstr(c.text, "lungs") || strstr(c.text, "lung fields");
            assert_int_equal(both, column == 1);
            assert_int_equal(c.key[0].column, column == 1 ? -1 : column);
            assert_int_equal(c.key[0].row, -1);
            assert_int_equal(strstr(c.text, "on the left") != NULL, column == 0);
            assert_int_equal(strstr(c.text, "on the right") != NULL, column == 2);
        }
    }
}

static void test_prompts(void **state)
{
    (void)state;
    for (int s = 0; s < MCS_PHANTOM_STRUCTURES; s++)
        check_text(mcs_phantom_prompt((mcs_phantom_structure)s));
    assert_string_equal(mcs_phantom_prompt(MCS_PHANTOM_HEART), "chest x-ray showing the heart");
    assert_null(mcs_phantom_phrase(-1));
    assert_null(mcs_phantom_phrase(1000));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_relation),          cmocka_unit_test(test_groups),
        cmocka_unit_test(test_captions_are_true), cmocka_unit_test(test_wording),
        cmocka_unit_test(test_one_lung),          cmocka_unit_test(test_prompts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
