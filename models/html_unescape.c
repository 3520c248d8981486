/* html_unescape.c - replaces HTML character references, as Python's html.unescape() does
 * (WHATWG HTML, "Named character reference state" and its neighbours), and by the stricter rule
 * of ftfy.unescape_html(). */
#include <string.h>
#include <utf8proc.h>
#include "models/caption_internal.h"
#include "models/html_entities_internal.h"

/* Code points that html.unescape() turns into nothing. */
static bool reference_ignored(int32_t c)
{
    return (c >= 1 && c <= 8) || c == 0xB || (c >= 0xE && c <= 0x1F) || (c >= 0x7F && c <= 0x9F) ||
           (c >= 0xFDD0 && c <= 0xFDEF) || (c & 0xFFFE) == 0xFFFE;
}

/* Reads "&#123" or "&#x1F" at s; returns the bytes read without a semicolon, 0 if it is none. */
static size_t take_number(const char *s, size_t n, int32_t *c)
{
    bool hex = n > 2 && (s[2] == 'x' || s[2] == 'X');
    size_t begin = hex ? 3 : 2, i = begin;
    int32_t v = 0;
    for (; i < n; i++) {
        int digit = s[i] >= '0' && s[i] <= '9'          ? s[i] - '0'
                    : hex && s[i] >= 'a' && s[i] <= 'f' ? s[i] - 'a' + 10
                    : hex && s[i] >= 'A' && s[i] <= 'F' ? s[i] - 'A' + 10
                                                        : -1;
        if (digit < 0)
            break;
        v = v > 0x110000 ? v : v * (hex ? 16 : 10) + digit;
    }
    if (i == begin)
        return 0;
    *c = v;
    return i;
}

static void put_number(mcs_text *b, int32_t v)
{
    if (v == 0 || (v >= 0xD800 && v <= 0xDFFF) || v > 0x10FFFF)
        mcs_text_put_code(b, 0xFFFD);
    else if (v >= 0x80 && v <= 0x9F)
        mcs_text_put_code(b, mcs_text_from_c1(v));
    else if (!reference_ignored(v))
        mcs_text_put_code(b, v);
}

static void put_entity(mcs_text *b, const mcs_html_entity *e)
{
    mcs_text_put_code(b, (int32_t)(e->first & ~MCS_ENTITY_BARE));
    mcs_text_put_code(b, (int32_t)e->second);
}

/* The longest entity at the start of name that needs no semicolon; its length in *len. */
static const mcs_html_entity *bare_entity(const char *name, size_t n, size_t *len)
{
    for (size_t k = n; k >= 2; k--) {
        const mcs_html_entity *e = mcs_html_entity_find(name, k);
        if (e && e->first & MCS_ENTITY_BARE) {
            *len = k;
            return e;
        }
    }
    return NULL;
}

/* html.unescape() of the reference at s (s[0] is '&'): bytes used, 0 if it is none. */
static size_t unescape_one(mcs_text *out, const char *s, size_t n)
{
    if (n > 1 && s[1] == '#') {
        int32_t c = 0;
        size_t k = take_number(s, n, &c);
        if (k)
            put_number(out, c);
        return k + (k && k < n && s[k] == ';');
    }
    size_t len = 1, used = 0;
    while (len < n && len <= MCS_ENTITY_LONGEST && !strchr("\t\n\f <&#;", s[len]))
        len++;
    const mcs_html_entity *e = NULL;
    if (len < n && s[len] == ';' && (e = mcs_html_entity_find(s + 1, len - 1)))
        used = len + 1;
    else if ((e = bare_entity(s + 1, len - 1, &used)))
        used++;
    if (e)
        put_entity(out, e);
    return used;
}

/* "NTILDE": an upper-case form of a lower-case name that means nothing itself. */
static bool put_upper_entity(mcs_text *out, const char *name, size_t n)
{
    char lower[MCS_ENTITY_LONGEST];
    size_t k;
    for (size_t i = 0; i < n; i++) {
        if (name[i] >= 'a' && name[i] <= 'z')
            return false;
        lower[i] = (char)(name[i] >= 'A' && name[i] <= 'Z' ? name[i] + 32 : name[i]);
    }
    const mcs_html_entity *e = mcs_html_entity_find(lower, n);
    if (!e || bare_entity(name, n, &k))
        return false;
    int32_t first = (int32_t)(e->first & ~MCS_ENTITY_BARE);
    if (first == 0xDF)
        mcs_text_put(out, "SS", 2);
    else
        mcs_text_put_code(out, utf8proc_toupper(first));
    mcs_text_put_code(out, utf8proc_toupper((int32_t)e->second));
    return true;
}

/* ftfy's stricter rule: "&name;" with its semicolon, at most 24 letters and digits. */
static size_t fix_entity(mcs_text *out, const char *s, size_t n)
{
    size_t k = n > 1 && s[1] == '#' ? 2 : 1, begin = k;
    while (k < n && k - begin < 24 &&
           ((s[k] >= '0' && s[k] <= '9') || ((s[k] | 32) >= 'a' && (s[k] | 32) <= 'z')))
        k++;
    if (k == begin || k >= n || s[k] != ';')
        return 0;
    if (begin == 2) {
        int32_t c = 0;
        if (take_number(s, k, &c) != k || c == ';')
            return 0;
        put_number(out, c);
        return k + 1;
    }
    const mcs_html_entity *e = mcs_html_entity_find(s + 1, k - 1);
    if (e)
        put_entity(out, e);
    return e || put_upper_entity(out, s + 1, k - 1) ? k + 1 : 0;
}

typedef size_t reference_fn(mcs_text *out, const char *s, size_t n);

static void replace_references(mcs_text *out, const char *s, size_t n, reference_fn *fn)
{
    size_t plain = 0; /* start of what was not copied yet */
    for (size_t i = 0; i < n;) {
        size_t k = 0;
        if (s[i] == '&') {
            mcs_text_put(out, s + plain, i - plain);
            plain = i;
            k = fn(out, s + i, n - i);
            plain += k;
        }
        i += k ? k : 1;
    }
    mcs_text_put(out, s + plain, n - plain);
}

void mcs_html_unescape(mcs_text *out, const char *s, size_t n)
{
    replace_references(out, s, n, unescape_one);
}

void mcs_html_unescape_strict(mcs_text *out, const char *s, size_t n)
{
    replace_references(out, s, n, fix_entity);
}
