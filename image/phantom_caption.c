/* phantom_caption.c - sentences about phantoms, and which of them are true of which phantom.
 *
 * caption = prefix, phrases joined by "and", perhaps "and no ...".
 * phrase = article [size] name [position].  A caption keeps what it states as a list of keys, so
 * that its truth for any other picture can be decided without reading the text. */
#include <stdio.h>
#include "image/phantom_internal.h"

enum { NAMES = 4, PREFIXES = 5 };

static const char *const prefixes[MCS_PHANTOM_KINDS][PREFIXES] = {
    { "breast ultrasound showing", "ultrasound of the breast with", "ultrasound image showing",
      "sonogram with", "a medical ultrasound image showing" },
    { "brain MRI showing", "MRI of the brain with", "axial brain MRI showing",
      "magnetic resonance image of the brain with", "a medical MRI image showing" },
    { "chest x-ray showing", "frontal chest x-ray with", "chest radiograph showing",
      "x-ray of the chest with", "a medical x-ray image showing" },
};
/* What is called by a name in the singular, and with which article. */
static const struct {
    const char *article;
    const char *name[NAMES];
    const char *prompt;
    bool finding; /* a disease: its absence is worth a word */
} words[MCS_PHANTOM_STRUCTURES] = {
    { "a",
      { "hypoechoic mass", "solid mass", "breast mass", "breast tumor" },
      "breast ultrasound showing a hypoechoic mass",
      true },
    { "a",
      { "cyst", "simple cyst", "anechoic cyst", "round anechoic cyst" },
      "breast ultrasound showing an anechoic cyst",
      true },
    { "a",
      { "tumour", "brain tumour", "brain tumor", "intracranial tumour" },
      "brain MRI showing a brain tumour",
      true },
    { "the",
      { "ventricles", "lateral ventricles", "cerebral ventricles", "ventricles" },
      "brain MRI showing the ventricles",
      false },
    { "the",
      { "heart", "cardiac silhouette", "heart shadow", "heart" },
      "chest x-ray showing the heart",
      false },
    { "the",
      { "lungs", "lung fields", "aerated lungs", "lungs" },
      "chest x-ray showing the lungs",
      false },
    { "a",
      { "nodule", "pulmonary nodule", "round nodule", "nodule" },
      "chest x-ray showing a nodule",
      true },
};
static const char *const one_lung[NAMES] = { "lung", "lung field", "aerated lung", "lung" };
static const char *const sizes[] = { "small", "medium-sized", "large", "enlarged" };
static const char *const places[3][3] = { { "upper left", "upper middle", "upper right" },
                                          { "middle left", "centre", "middle right" },
                                          { "lower left", "lower middle", "lower right" } };
static const char *const sides[3] = { "on the left", "", "on the right" };
static const char *const joints[] = { "in the", "at the", "located in the" };
static const char *const normals[MCS_PHANTOM_KINDS][2] = {
    { "normal tissue without mass or cyst", "no mass and no cyst" },
    { "no tumour", "a normal appearance without tumour" },
    { "no nodule", "a clear view without nodule" },
};
static const char *const nothing = "part of the tissue";

mcs_phantom_wording mcs_phantom_wording_defaults(void)
{
    return (mcs_phantom_wording){ .single = 0.65f,
                                  .position = 0.6f,
                                  .size = 0.5f,
                                  .negation_single = 0.1f,
                                  .negation_full = 0.4f };
}

const char *mcs_phantom_prompt(mcs_phantom_structure s)
{
    return (unsigned)s < MCS_PHANTOM_STRUCTURES ? words[s].prompt : "";
}

const char *mcs_phantom_phrase(int i)
{
    static const char *const rest[] = { "part of the tissue", "a", "an", "the", "and", "no" };
#define FROM(table)                                                                                \
    if (i < (int)(sizeof table / sizeof(char *)))                                                  \
        return ((const char *const *)table)[i];                                                    \
    i -= (int)(sizeof table / sizeof(char *));
    if (i < 0)
        return NULL;
    FROM(prefixes)
    FROM(one_lung)
    FROM(sizes)
    FROM(places)
    FROM(sides)
    FROM(joints)
    FROM(normals)
    FROM(rest)
#undef FROM
    if (i < MCS_PHANTOM_STRUCTURES * (NAMES + 1)) {
        int s = i / (NAMES + 1), k = i % (NAMES + 1);
        return k < NAMES ? words[s].name[k] : words[s].prompt;
    }
    return NULL;
}

/* ---- Writing ---- */

static void say(mcs_phantom_caption *c, const char *text)
{
    size_t n = strlen(c->text);
    if (*text)
        snprintf(c->text + n, sizeof c->text - n, "%s%s", n ? " " : "", text);
}

static void add_key(mcs_phantom_caption *c, mcs_phantom_key k)
{
    if (c->keys < MCS_PHANTOM_KEYS)
        c->key[c->keys++] = k;
}

/* Lungs have a side if there is one only; else "where" would be the middle, where none is. */
static void say_place(mcs_phantom_caption *c, mcs_phantom_key *k, const mcs_phantom_part *q,
                      mcs_dice *d)
{
    if (k->structure == MCS_PHANTOM_LUNGS) {
        if (q->column != 1) {
            k->column = q->column;
            say(c, sides[q->column]);
        }
        return;
    }
    k->row = q->row;
    k->column = q->column;
    say(c, joints[mcs_dice_below(d, 3)]);
    say(c, places[q->row][q->column]);
}

static void say_structure(mcs_phantom_caption *c, mcs_phantom_structure s,
                          const mcs_phantom_part *q, const mcs_phantom_wording *w, mcs_dice *d)
{
    mcs_phantom_key k = { s, false, -1, -1, -1 };
    bool large = q->size == 2 && !words[s].finding && mcs_dice_chance(d, 0.5f);
    bool sized = mcs_dice_chance(d, w->size);
    const char *size = sized ? sizes[q->size + (large && s != MCS_PHANTOM_LUNGS)] : "";
    int pick = mcs_dice_below(d, NAMES);
    const char *name =
        s == MCS_PHANTOM_LUNGS && q->column != 1 ? one_lung[pick] : words[s].name[pick];
    char first = *size ? *size : *name;
    if (sized)
        k.size = q->size;
    say(c, *words[s].article == 'a' && strchr("aeiou", first) ? "an" : words[s].article);
    say(c, size);
    say(c, name);
    if (mcs_dice_chance(d, w->position))
        say_place(c, &k, q, d);
    add_key(c, k);
}

/* A finding of this kind that is not there at all, not even in part; -1: none. */
static int missing(const mcs_phantom_facts *f, mcs_dice *d)
{
    int list[MCS_PHANTOM_STRUCTURES] = { 0 }, n = 0;
    for (int s = 0; s < MCS_PHANTOM_STRUCTURES; s++)
        if (words[s].finding && mcs_phantom_kind_of((mcs_phantom_structure)s) == f->kind &&
            f->part[s].visible <= 0)
            list[n++] = s;
    return n ? list[mcs_dice_below(d, n)] : -1;
}

/* Nothing to name: say so, or if parts of something are in view, no more than the kind. */
static void say_nothing(mcs_phantom_caption *c, const mcs_phantom_facts *f, mcs_dice *d)
{
    bool clear = true;
    for (int s = 0; s < MCS_PHANTOM_STRUCTURES; s++)
        clear = clear && !(words[s].finding && f->part[s].visible > 0);
    say(c, clear ? normals[f->kind][mcs_dice_below(d, 2)] : nothing);
    for (int s = 0; s < MCS_PHANTOM_STRUCTURES && clear; s++)
        if (words[s].finding && mcs_phantom_kind_of((mcs_phantom_structure)s) == f->kind)
            add_key(c, (mcs_phantom_key){ (mcs_phantom_structure)s, true, -1, -1, -1 });
}

/* The structures shown, in random order. */
static int shown(const mcs_phantom_facts *f, mcs_dice *d, int list[MCS_PHANTOM_STRUCTURES])
{
    int n = 0;
    for (int s = 0; s < MCS_PHANTOM_STRUCTURES; s++)
        if (mcs_phantom_shows(f, (mcs_phantom_structure)s)) {
            int at = mcs_dice_below(d, n + 1);
            list[n] = s;
            list[n] = list[at];
            list[at] = s;
            n++;
        }
    return n;
}

void mcs_phantom_describe(const mcs_phantom_facts *f, const mcs_phantom_wording *w, uint64_t seed,
                          mcs_phantom_caption *c)
{
    mcs_phantom_wording how = w ? *w : mcs_phantom_wording_defaults();
    mcs_dice d = mcs_dice_of(seed, (uint64_t)f->kind, 2000);
    int list[MCS_PHANTOM_STRUCTURES], absent = -1;
    w = &how;
    if (how.complete > 0 && mcs_dice_chance(&d, how.complete)) {
        how.single = 0;
        how.position = how.size = 1;
    }
    *c = (mcs_phantom_caption){ .kind = f->kind };
    say(c, prefixes[f->kind][mcs_dice_below(&d, PREFIXES)]);
    int n = shown(f, &d, list);
    bool single = mcs_dice_chance(&d, w->single);
    if (!n)
        say_nothing(c, f, &d);
    for (int i = 0; i < (single && n ? 1 : n); i++) {
        if (i)
            say(c, "and");
        say_structure(c, (mcs_phantom_structure)list[i], &f->part[list[i]], w, &d);
    }
    if (n && mcs_dice_chance(&d, single ? w->negation_single : w->negation_full))
        absent = missing(f, &d);
    if (absent >= 0) {
        say(c, "and no");
        say(c, words[absent].name[mcs_dice_below(&d, NAMES)]);
        add_key(c, (mcs_phantom_key){ (mcs_phantom_structure)absent, true, -1, -1, -1 });
    }
}

/* ---- Truth ---- */

static int key_holds(const mcs_phantom_key *k, const mcs_phantom_facts *f)
{
    const mcs_phantom_part *q = &f->part[k->structure];
    bool shows = mcs_phantom_shows(f, k->structure);
    if (k->absent)
        return q->visible <= 0 ? 1 : shows ? 0 : -1;
    if (!shows)
        return q->visible <= 0 || q->unlit ? 0 : -1;
    return (k->row < 0 || k->row == q->row) && (k->column < 0 || k->column == q->column) &&
           (k->size < 0 || k->size == q->size);
}

int mcs_phantom_holds(const mcs_phantom_caption *c, const mcs_phantom_facts *f)
{
    int all = 1;
    if (c->kind != f->kind)
        return 0;
    for (int i = 0; i < c->keys; i++) {
        int one = key_holds(&c->key[i], f);
        if (!one)
            return 0;
        all = one < all ? one : all;
    }
    return all;
}

/* ---- Names of statements ---- */

static void append(char *text, size_t room, const char *head, const char *more)
{
    size_t n = strlen(text);
    if (n < room)
        snprintf(text + n, room - n, "%s%s", head, more);
}

/* "+mass/upper left/large": one statement. */
static void append_key(char *text, size_t room, const mcs_phantom_key *k)
{
    const char *place = k->row >= 0 && k->column >= 0 ? places[k->row][k->column]
                        : k->column >= 0              ? sides[k->column]
                                                      : "";
    append(text, room, strchr(text, ':') ? "+" : ":", k->absent ? "no " : "");
    append(text, room, mcs_phantom_structure_name(k->structure), *place ? "/" : "");
    append(text, room, place, k->size >= 0 ? "/" : "");
    append(text, room, k->size >= 0 ? sizes[k->size] : "", "");
}

void mcs_phantom_group(const mcs_phantom_caption *c, char *name, size_t room)
{
    snprintf(name, room, "%s", mcs_phantom_kind_name(c->kind));
    for (int s = 0; s < MCS_PHANTOM_STRUCTURES; s++)
        for (int i = 0; i < c->keys; i++)
            if ((int)c->key[i].structure == s)
                append_key(name, room, &c->key[i]);
    if (!c->keys)
        append(name, room, ":image", "");
}

static void append_part(char *text, size_t room, mcs_phantom_structure s)
{
    append(text, room, "+", mcs_phantom_structure_name(s));
    append(text, room, "/*", "");
}

void mcs_phantom_truth(const mcs_phantom_facts *f, char *text, size_t room)
{
    snprintf(text, room, "%s:image", mcs_phantom_kind_name(f->kind));
    for (int i = 0; i < MCS_PHANTOM_STRUCTURES; i++) {
        const mcs_phantom_part *q = &f->part[i];
        mcs_phantom_structure s = (mcs_phantom_structure)i;
        mcs_phantom_key k = { s, false, q->row, q->column, q->size };
        bool shows = mcs_phantom_shows(f, s);
        if (mcs_phantom_kind_of(s) != f->kind)
            continue;
        if (s == MCS_PHANTOM_LUNGS) { /* as say_place() does */
            k.row = -1;
            k.column = q->column == 1 ? -1 : q->column;
        }
        if (shows)
            append_key(text, room, &k);
        else if (q->visible > 0 && !q->unlit)
            append_part(text, room, s);
        if (!shows)
            append_key(text, room, &(mcs_phantom_key){ s, true, -1, -1, -1 });
    }
}
