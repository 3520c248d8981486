/* caption.c - the cleaning that open_clip applies to a caption.
 *
 *   clean(t) = " ".join(html.unescape(html.unescape(ftfy.fix_text(t))).split())
 *
 * fix_text() works on each line until it no longer changes: entities (only while no '<' was
 * seen: else the text may be HTML itself), single characters, terminal escapes and control
 * characters, NFC.  A text such as "&amp;amp;amp;..." takes a round for each level; ROUNDS_MAX
 * bounds what a hostile one can cost.  Repair of wrongly decoded text is left out: it is a
 * guess by statistics, and captions that need it are better repaired once, in the file. */
#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>
#include "models/caption.h"
#include "models/caption_internal.h"

enum { ROUNDS_MAX = 16 };

void mcs_text_put(mcs_text *b, const char *s, size_t n)
{
    if (b->failed)
        return;
    if (b->len + n + 1 > b->cap) {
        size_t cap = 2 * (b->len + n + 64);
        char *more = realloc(b->s, cap);
        if (!more) {
            b->failed = true;
            return;
        }
        b->s = more;
        b->cap = cap;
    }
    if (n)
        memcpy(b->s + b->len, s, n);
    b->len += n;
    b->s[b->len] = '\0';
}

void mcs_text_put_code(mcs_text *b, int32_t c)
{
    char u[4];
    if (c)
        mcs_text_put(b, u, (size_t)utf8proc_encode_char(c, (utf8proc_uint8_t *)u));
}

size_t mcs_text_take(const char *s, size_t n, int32_t *c)
{
    utf8proc_ssize_t k = utf8proc_iterate((const utf8proc_uint8_t *)s, (utf8proc_ssize_t)n, c);
    if (k > 0)
        return (size_t)k;
    *c = 0xFFFD;
    return 1;
}

/* Windows-1252 of bytes 0x80 to 0x9F; 0: none, the C1 control itself. */
static const uint16_t windows_1252[32] = {
    0x20AC, 0,      0x201A, 0x0192, 0x201E, 0x2026, 0x2020, 0x2021, 0x02C6, 0x2030, 0x0160,
    0x2039, 0x0152, 0,      0x017D, 0,      0,      0x2018, 0x2019, 0x201C, 0x201D, 0x2022,
    0x2013, 0x2014, 0x02DC, 0x2122, 0x0161, 0x203A, 0x0153, 0,      0x017E, 0x0178,
};

int32_t mcs_text_from_c1(int32_t c)
{
    return c >= 0x80 && c < 0xA0 && windows_1252[c - 0x80] ? windows_1252[c - 0x80] : c;
}

/* ---- Single characters ---- */

typedef struct {
    uint16_t code;
    char text[5];
} ligature;
static const ligature ligatures[] = {
    { 0x132, "IJ" },         { 0x133, "ij" },        { 0x149, "'n" },   { 0x1C4, "D\xC5\xBD" },
    { 0x1C5, "D\xC5\xBE" },  { 0x1C6, "d\xC5\xBE" }, { 0x1C7, "LJ" },   { 0x1C8, "Lj" },
    { 0x1C9, "lj" },         { 0x1CA, "NJ" },        { 0x1CB, "Nj" },   { 0x1CC, "nj" },
    { 0x1F1, "DZ" },         { 0x1F2, "Dz" },        { 0x1F3, "dz" },   { 0xFB00, "ff" },
    { 0xFB01, "fi" },        { 0xFB02, "fl" },       { 0xFB03, "ffi" }, { 0xFB04, "ffl" },
    { 0xFB05, "\xC5\xBFt" }, { 0xFB06, "st" },
};

static bool put_ligature(mcs_text *out, int32_t c)
{
    for (size_t i = 0; i < sizeof ligatures / sizeof *ligatures; i++)
        if (ligatures[i].code == c) {
            mcs_text_put(out, ligatures[i].text, strlen(ligatures[i].text));
            return true;
        }
    return false;
}

static void put_fixed(mcs_text *out, int32_t c)
{
    c = mcs_text_from_c1(c);
    if ((c >= 0x132 && c <= 0x1F3) || (c >= 0xFB00 && c <= 0xFB06)) {
        if (put_ligature(out, c))
            return;
    }
    if (c >= 0xFF01 && c < 0xFFF0) { /* half and full width forms: NFKC */
        utf8proc_int32_t d[8];
        int last = 0;
        utf8proc_ssize_t n =
            utf8proc_decompose_char(c, d, 8, UTF8PROC_DECOMPOSE | UTF8PROC_COMPAT, &last);
        for (utf8proc_ssize_t i = 0; i < n && n <= 8; i++)
            mcs_text_put_code(out, d[i]);
        return;
    }
    if (c == 0x3000)
        c = ' ';
    else if (c == 0x2BC || (c >= 0x2018 && c <= 0x201B))
        c = '\'';
    else if (c >= 0x201C && c <= 0x201F)
        c = '"';
    else if (c == '\r' || c == 0x2028 || c == 0x2029 || c == 0x85)
        c = '\n';
    mcs_text_put_code(out, c);
}

static void fix_characters(mcs_text *out, const char *s, size_t n)
{
    for (size_t i = 0; i < n;) {
        int32_t c = (unsigned char)s[i];
        size_t k = c < 0x80 ? 1 : mcs_text_take(s + i, n - i, &c);
        if (c == '\r' && i + 1 < n && s[i + 1] == '\n')
            k = 2;
        put_fixed(out, c);
        i += k;
    }
}

static bool control_removed(int32_t c)
{
    return c < 9 || c == 0xB || (c >= 0xE && c < 0x20) || c == 0x7F ||
           (c >= 0x206A && c < 0x2070) || c == 0xFEFF || (c >= 0xFFF9 && c < 0xFFFD);
}

/* "ESC [ 1;31 m": bytes of the sequence at s, 0 if it is none. */
static size_t terminal_escape(const char *s, size_t n)
{
    size_t k = 2;
    if (n < 3 || s[0] != 0x1B || s[1] != '[')
        return 0;
    while (k < n && ((s[k] >= '0' && s[k] <= '9') || s[k] == ';'))
        k++;
    return k < n && (s[k] | 32) >= 'a' && (s[k] | 32) <= 'z' ? k + 1 : 0;
}

static void drop_controls(mcs_text *out, const char *s, size_t n)
{
    for (size_t i = 0; i < n;) {
        int32_t c = 0;
        size_t esc = terminal_escape(s + i, n - i);
        size_t k = esc ? esc : mcs_text_take(s + i, n - i, &c);
        if (!esc && !control_removed(c))
            mcs_text_put(out, s + i, k);
        i += k;
    }
}

static void compose(mcs_text *out, const char *s, size_t n)
{
    utf8proc_uint8_t *nfc = NULL;
    utf8proc_ssize_t k = utf8proc_map((const utf8proc_uint8_t *)s, (utf8proc_ssize_t)n, &nfc,
                                      UTF8PROC_STABLE | UTF8PROC_COMPOSE);
    if (k < 0)
        out->failed = true;
    else
        mcs_text_put(out, (const char *)nfc, (size_t)k);
    free(nfc);
}

/* ---- The whole ---- */

/* One round of fix_text() over the line in *line; `spare` is overwritten. */
static void fix_round(mcs_text *line, mcs_text *spare, bool entities)
{
    mcs_text *from = line, *to = spare;
    for (int step = entities ? 0 : 1; step < 4 && !from->failed; step++) {
        to->len = 0;
        mcs_text_put(to, "", 0);
        if (step == 0)
            mcs_html_unescape_strict(to, from->s, from->len);
        else if (step == 1)
            fix_characters(to, from->s, from->len);
        else if (step == 2)
            drop_controls(to, from->s, from->len);
        else
            compose(to, from->s, from->len);
        mcs_text *t = from;
        from = to;
        to = t;
    }
    if (from != line) { /* the result goes back where it came from */
        mcs_text t = *line;
        *line = *from;
        *spare = t;
    }
}

/* ftfy.fix_text(): out += the fixed lines of s. */
static void fix_text(mcs_text *out, const char *s, size_t n)
{
    mcs_text line = { 0 }, spare = { 0 }, before = { 0 };
    bool entities = true;
    for (size_t i = 0, k; i < n; i += k) {
        const char *end = memchr(s + i, '\n', n - i);
        k = end ? (size_t)(end - (s + i)) + 1 : n - i;
        entities = entities && !memchr(s + i, '<', k);
        line.len = 0;
        mcs_text_put(&line, s + i, k);
        for (int round = 0; round < ROUNDS_MAX && !line.failed; round++) {
            before.len = 0;
            mcs_text_put(&before, line.s, line.len);
            fix_round(&line, &spare, entities);
            if (line.len == before.len && !memcmp(line.s, before.s, line.len))
                break;
        }
        mcs_text_put(out, line.s, line.len);
        out->failed = out->failed || line.failed || spare.failed || before.failed;
    }
    free(line.s);
    free(spare.s);
    free(before.s);
}

static bool python_space(int32_t c)
{
    return (c >= 9 && c <= 0xD) || (c >= 0x1C && c <= 0x20) || c == 0x85 || c == 0xA0 ||
           c == 0x1680 || (c >= 0x2000 && c <= 0x200A) || c == 0x2028 || c == 0x2029 ||
           c == 0x202F || c == 0x205F || c == 0x3000;
}

/* " ".join(s.split()), in place. */
static void collapse_spaces(mcs_text *b)
{
    size_t out = 0;
    bool gap = false;
    for (size_t i = 0, k; i < b->len; i += k) {
        int32_t c;
        k = mcs_text_take(b->s + i, b->len - i, &c);
        if (python_space(c)) {
            gap = out > 0;
            continue;
        }
        if (gap)
            b->s[out++] = ' ';
        gap = false;
        memmove(b->s + out, b->s + i, k);
        out += k;
    }
    b->len = out;
    b->s[out] = '\0';
}

char *mcs_caption_clean(const char *utf8, mcs_error *e)
{
    size_t n = utf8 ? strlen(utf8) : 0;
    if (!utf8 || n > MCS_CAPTION_MAX) {
        mcs_error_set(e, MCS_EINVAL, "caption: %zu bytes%s; the limit is %d", n,
                      utf8 ? "" : " (NULL)", MCS_CAPTION_MAX);
        return NULL;
    }
    mcs_text a = { 0 }, b = { 0 };
    mcs_text_put(&a, "", 0); /* a string even if nothing follows */
    fix_text(&a, utf8, n);
    mcs_text_put(&b, "", 0);
    mcs_html_unescape(&b, a.s, a.len);
    a.len = 0;
    mcs_text_put(&a, "", 0);
    mcs_html_unescape(&a, b.s, b.len);
    free(b.s);
    if (a.failed || b.failed) {
        free(a.s);
        mcs_error_set(e, MCS_ENOMEM, "caption: no memory to clean %zu bytes", n);
        return NULL;
    }
    collapse_spaces(&a);
    return a.s;
}
