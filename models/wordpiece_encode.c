/* wordpiece_encode.c - text to ids, in one pass over the text.
 *
 * Order of steps, as transformers runs them: (1) names of special tokens are cut out of the raw
 * text; between them (2) control characters are dropped and whitespace unified, (3) ideographs
 * are set apart, (4) canonical decomposition (NFD) and removal of non-spacing marks, (5) lower
 * case, character by character, (6) split at whitespace and punctuation, (7) each word is
 * matched greedily.  Working a word at a time bounds memory, and reading stops as soon as
 * max_len ids are there.
 *
 * NFD also sorts marks by combining class.  Removed marks do not matter, but the few that stay
 * (category Mc with a class) are put in order here: insertion back to the last starter. */
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>
#include "models/bert_chars_internal.h"
#include "models/caption.h"
#include "models/wordpiece_internal.h"

enum { WORD_MAX = 100, DECOMPOSED_MAX = 16 };

typedef struct {
    const mcs_wordpiece *w;
    int64_t *ids;
    int count, limit; /* limit leaves room for [SEP] */
    int32_t word[WORD_MAX]; /* code points of the word being read */
    int len; /* WORD_MAX + 1: longer than BERT reads */
    int starter; /* index after the last starter (combining class 0) */
} encoder;

static void put_id(encoder *e, int64_t id)
{
    if (e->count < e->limit)
        e->ids[e->count++] = id;
}

/* The longest piece of bytes[begin..end) that is in the vocabulary; *end is where it stops.
 * Pieces end between characters. */
static int64_t match(const mcs_wordpiece *w, const char *bytes, size_t begin, size_t *end)
{
    size_t longest = mcs_wordpiece_longest(w), stop = *end;
    if (stop - begin > longest)
        stop = begin + longest;
    for (; stop > begin; stop--) {
        if (stop < *end && ((unsigned char)bytes[stop] & 0xC0) == 0x80)
            continue;
        int64_t id = mcs_wordpiece_find(w, bytes + begin, stop - begin, begin > 0);
        if (id >= 0) {
            *end = stop;
            return id;
        }
    }
    return -1;
}

static void flush_word(encoder *e)
{
    char bytes[4 * WORD_MAX];
    int64_t piece[WORD_MAX];
    size_t n = 0;
    int pieces = 0, len = e->len;
    e->len = e->starter = 0;
    if (len == 0)
        return;
    for (int i = 0; i < len && len <= WORD_MAX; i++)
        n += (size_t)utf8proc_encode_char(e->word[i], (utf8proc_uint8_t *)bytes + n);
    for (size_t begin = 0, end; begin < n; begin = end) {
        end = n;
        int64_t id = match(e->w, bytes, begin, &end);
        if (id < 0) {
            pieces = 0;
            break;
        }
        piece[pieces++] = id;
    }
    if (pieces == 0)
        put_id(e, mcs_wordpiece_special(e->w, MCS_TOKEN_UNK));
    for (int i = 0; i < pieces; i++)
        put_id(e, piece[i]);
}

static void put_letter(encoder *e, int32_t c, int combining_class)
{
    if (e->len >= WORD_MAX) {
        e->len = WORD_MAX + 1;
        return;
    }
    int at = e->len++;
    if (combining_class)
        for (; at > e->starter &&
               utf8proc_get_property(e->word[at - 1])->combining_class > combining_class;
             at--)
            e->word[at] = e->word[at - 1];
    e->word[at] = c;
}

/* One character of the decomposed text. */
static void put_decomposed(encoder *e, int32_t c)
{
    int combining_class = c < 0x300 ? 0 : utf8proc_get_property(c)->combining_class;
    if (mcs_bert_accent(c)) {
        if (combining_class == 0)
            e->starter = e->len;
        return;
    }
    c = c < 0x80 ? (c >= 'A' && c <= 'Z' ? c + 32 : c) : utf8proc_tolower(c);
    bool alone = mcs_bert_punctuation(c);
    if (alone)
        flush_word(e);
    put_letter(e, c, combining_class);
    if (combining_class == 0)
        e->starter = e->len;
    if (alone)
        flush_word(e);
}

static void put_char(encoder *e, int32_t c)
{
    if (mcs_bert_dropped(c))
        return;
    if (mcs_bert_space(c)) {
        flush_word(e);
        return;
    }
    if (c < 0x80) {
        put_decomposed(e, c);
        return;
    }
    utf8proc_int32_t d[DECOMPOSED_MAX];
    int last_class = 0;
    utf8proc_ssize_t n =
        utf8proc_decompose_char(c, d, DECOMPOSED_MAX, UTF8PROC_DECOMPOSE, &last_class);
    if (n < 1 || n > DECOMPOSED_MAX) {
        d[0] = c;
        n = 1;
    }
    bool alone = mcs_bert_cjk(c);
    if (alone)
        flush_word(e);
    for (utf8proc_ssize_t i = 0; i < n; i++)
        put_decomposed(e, d[i]);
    if (alone)
        flush_word(e);
}

/* The special token whose name stands at s (n bytes left); its length in *len.  -1: none. */
static int64_t special_at(const mcs_wordpiece *w, const char *s, size_t n, size_t *len)
{
    for (int t = 0; s[0] == '[' && t <= MCS_TOKEN_MASK; t++) {
        int64_t id = mcs_wordpiece_special(w, (mcs_special_token)t);
        const char *name = id < 0 ? NULL : mcs_wordpiece_token(w, id);
        *len = name ? strlen(name) : 0;
        if (name && *len <= n && !memcmp(s, name, *len))
            return id;
    }
    return -1;
}

static void put_text(encoder *e, const char *s, size_t n)
{
    for (size_t i = 0; i < n && e->count < e->limit;) {
        size_t len = 0;
        int64_t special = special_at(e->w, s + i, n - i, &len);
        if (special >= 0) {
            flush_word(e);
            put_id(e, special);
            i += len;
            continue;
        }
        utf8proc_int32_t c;
        utf8proc_ssize_t k =
            utf8proc_iterate((const utf8proc_uint8_t *)s + i, (utf8proc_ssize_t)(n - i), &c);
        if (k > 0) /* else: not UTF-8, as U+FFFD, which is dropped */
            put_char(e, c);
        i += k > 0 ? (size_t)k : 1;
    }
    flush_word(e);
}

mcs_status mcs_wordpiece_encode(const mcs_wordpiece *w, const char *utf8, int max_len, int64_t *ids,
                                int *count, mcs_error *e)
{
    if (!w || !utf8 || !ids || max_len < 2)
        return mcs_error_set(e, MCS_EINVAL,
                             "tokeniser: needs a vocabulary, a text, room for ids and max_len >= "
                             "2, got max_len %d%s",
                             max_len, w && utf8 && ids ? "" : " and a NULL");
    encoder enc = { .w = w, .ids = ids, .limit = max_len - 1 };
    put_id(&enc, mcs_wordpiece_special(w, MCS_TOKEN_CLS));
    put_text(&enc, utf8, strlen(utf8));
    ids[enc.count++] = mcs_wordpiece_special(w, MCS_TOKEN_SEP);
    for (int i = enc.count; i < max_len; i++)
        ids[i] = mcs_wordpiece_special(w, MCS_TOKEN_PAD);
    if (count)
        *count = enc.count;
    return MCS_OK;
}

mcs_status mcs_wordpiece_encode_caption(const mcs_wordpiece *w, const char *utf8, int max_len,
                                        int64_t *ids, int *count, mcs_error *e)
{
    char *clean = mcs_caption_clean(utf8, e);
    if (!clean)
        return e ? e->status : MCS_EINVAL;
    mcs_status s = mcs_wordpiece_encode(w, clean, max_len, ids, count, e);
    free(clean);
    return s;
}
