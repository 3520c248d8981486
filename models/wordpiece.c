/* wordpiece.c - the vocabulary of a BERT tokeniser.
 *
 * The file is kept as one block of NUL-terminated lines.  Two sorted lists of (bytes, id) point
 * into it: whole tokens, and the tails of tokens that begin with "##".  Look-up is a binary
 * search: unlike a hash table it has no bad case that a made-up vocabulary could provoke. */
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>
#include "models/wordpiece_internal.h"

typedef struct {
    const char *s;
    uint32_t len, id;
} entry;
typedef struct {
    entry *at;
    size_t count;
} entry_list;

struct mcs_wordpiece {
    char *text; /* the lines, each NUL-terminated */
    const char **token; /* (count), by id */
    int64_t count;
    entry_list whole, tail; /* sorted by bytes, unique */
    size_t longest;
    int64_t special[MCS_TOKEN_MASK + 1];
};

static const char *const special_name[] = { "[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]" };

static int compare_bytes(const char *a, size_t na, const char *b, size_t nb)
{
    int d = memcmp(a, b, na < nb ? na : nb);
    return d ? d : (na > nb) - (na < nb);
}

static int compare_entries(const void *pa, const void *pb)
{
    const entry *a = pa, *b = pb;
    int d = compare_bytes(a->s, a->len, b->s, b->len);
    return d ? d : (a->id > b->id) - (a->id < b->id);
}

/* Sorts and keeps the last id of equal tokens. */
static void list_finish(entry_list *l)
{
    qsort(l->at, l->count, sizeof *l->at, compare_entries);
    size_t n = 0;
    for (size_t i = 0; i < l->count; i++) {
        const entry *e = &l->at[i];
        if (n && l->at[n - 1].len == e->len && !memcmp(l->at[n - 1].s, e->s, e->len))
            n--;
        l->at[n++] = *e;
    }
    l->count = n;
}

static int64_t list_find(const entry_list *l, const char *s, size_t n)
{
    size_t lo = 0, hi = l->count;
    while (lo < hi) {
        size_t mid = (lo + hi) / 2;
        int d = compare_bytes(l->at[mid].s, l->at[mid].len, s, n);
        if (d == 0)
            return l->at[mid].id;
        if (d < 0)
            lo = mid + 1;
        else
            hi = mid;
    }
    return -1;
}

/* Ends each line with NUL, in place; returns the number of lines, -1 for a NUL byte in the text. */
static int64_t split_lines(char *text, size_t *size)
{
    int64_t lines = 0;
    size_t out = 0;
    for (size_t i = 0; i < *size; i++) {
        char ch = text[i];
        if (ch == '\0')
            return -1;
        if (ch == '\r' && i + 1 < *size && text[i + 1] == '\n')
            continue;
        if (ch == '\n' || ch == '\r') {
            ch = '\0';
            lines++;
        }
        text[out++] = ch;
    }
    if (out && text[out - 1] != '\0') { /* the last line need not end */
        text[out++] = '\0';
        lines++;
    }
    *size = out;
    return lines;
}

/* The byte offset of the first sequence that is not UTF-8, or size. */
static size_t invalid_utf8(const char *text, size_t size)
{
    utf8proc_int32_t cp;
    for (size_t i = 0; i < size;) {
        utf8proc_ssize_t n =
            utf8proc_iterate((const utf8proc_uint8_t *)text + i, (utf8proc_ssize_t)(size - i), &cp);
        if (n <= 0)
            return i;
        i += (size_t)n;
    }
    return size;
}

static mcs_status index_tokens(mcs_wordpiece *w, int64_t lines, mcs_error *e)
{
    w->token = malloc((size_t)(lines ? lines : 1) * sizeof *w->token);
    w->whole.at = malloc((size_t)(lines ? lines : 1) * sizeof *w->whole.at);
    w->tail.at = malloc((size_t)(lines ? lines : 1) * sizeof *w->tail.at);
    if (!w->token || !w->whole.at || !w->tail.at)
        return mcs_error_set(e, MCS_ENOMEM, "vocabulary: no memory for %lld tokens",
                             (long long)lines);
    const char *s = w->text;
    for (int64_t id = 0; id < lines; id++) {
        size_t n = strlen(s);
        w->token[id] = s;
        w->whole.at[w->whole.count++] = (entry){ s, (uint32_t)n, (uint32_t)id };
        if (n > 2 && s[0] == '#' && s[1] == '#')
            w->tail.at[w->tail.count++] = (entry){ s + 2, (uint32_t)(n - 2), (uint32_t)id };
        w->longest = n > w->longest ? n : w->longest;
        s += n + 1;
    }
    w->count = lines;
    list_finish(&w->whole);
    list_finish(&w->tail);
    return MCS_OK;
}

static mcs_status find_specials(mcs_wordpiece *w, const char *name, mcs_error *e)
{
    for (int i = 0; i <= MCS_TOKEN_MASK; i++) {
        w->special[i] = mcs_wordpiece_id(w, special_name[i]);
        if (w->special[i] < 0 && i != MCS_TOKEN_MASK)
            return mcs_error_set(e, MCS_EFORMAT,
                                 "%s: no line is %s among its %lld; expected a BERT vocab.txt "
                                 "(one token a line, beginning with or containing [PAD])",
                                 name, special_name[i], (long long)w->count);
    }
    return MCS_OK;
}

static mcs_status build(mcs_wordpiece *w, size_t size, const char *name, mcs_error *e)
{
    size_t bad = invalid_utf8(w->text, size);
    if (bad < size)
        return mcs_error_set(e, MCS_EFORMAT, "%s: not UTF-8 at byte %zu; expected a text file",
                             name, bad);
    int64_t lines = split_lines(w->text, &size);
    if (lines < 0)
        return mcs_error_set(e, MCS_EFORMAT, "%s: contains a NUL byte; expected a text file", name);
    if (lines > MCS_VOCAB_MAX_TOKENS)
        return mcs_error_set(e, MCS_EFORMAT, "%s: %lld lines; the limit is %lld", name,
                             (long long)lines, (long long)MCS_VOCAB_MAX_TOKENS);
    mcs_status s = index_tokens(w, lines, e);
    return s ? s : find_specials(w, name, e);
}

mcs_wordpiece *mcs_wordpiece_parse(const void *bytes, size_t size, const char *name, mcs_error *e)
{
    const char *src = bytes;
    if (!src || size > (size_t)MCS_VOCAB_MAX_BYTES) {
        mcs_error_set(e, MCS_EFORMAT, "%s: %zu bytes; a vocabulary has at most %lld", name, size,
                      (long long)MCS_VOCAB_MAX_BYTES);
        return NULL;
    }
    if (size >= 3 && !memcmp(src, "\xEF\xBB\xBF", 3)) { /* byte order mark */
        src += 3;
        size -= 3;
    }
    mcs_wordpiece *w = calloc(1, sizeof *w);
    if (w)
        w->text = malloc(size + 1);
    if (!w || !w->text) {
        mcs_error_set(e, MCS_ENOMEM, "%s: no memory for %zu bytes", name, size);
        mcs_wordpiece_free(w);
        return NULL;
    }
    memcpy(w->text, src, size);
    if (build(w, size, name, e) != MCS_OK) {
        mcs_wordpiece_free(w);
        return NULL;
    }
    return w;
}

/* The whole file, at most MCS_VOCAB_MAX_BYTES of it plus one byte that shows it is longer. */
static char *read_all(FILE *f, const char *path, size_t *size, mcs_error *e)
{
    char *buf = NULL;
    size_t used = 0, cap = 0;
    do {
        if (used == cap) {
            cap = cap ? 2 * cap : 1 << 18;
            char *more = realloc(buf, cap);
            if (!more) {
                free(buf);
                mcs_error_set(e, MCS_ENOMEM, "%s: no memory for %zu bytes", path, cap);
                return NULL;
            }
            buf = more;
        }
        used += fread(buf + used, 1, cap - used, f);
    } while (!feof(f) && !ferror(f) && used <= (size_t)MCS_VOCAB_MAX_BYTES);
    if (ferror(f)) {
        free(buf);
        mcs_error_set(e, MCS_EIO, "%s: cannot be read: %s", path, strerror(errno));
        return NULL;
    }
    *size = used;
    return buf;
}

mcs_wordpiece *mcs_wordpiece_load(const char *path, mcs_error *e)
{
    FILE *f = path ? fopen(path, "rb") : NULL;
    if (!f) {
        mcs_error_set(e, path && errno == ENOENT ? MCS_ENOTFOUND : MCS_EIO,
                      "%s: the vocabulary cannot be opened: %s", path ? path : "(NULL)",
                      path ? strerror(errno) : "no path given");
        return NULL;
    }
    size_t size = 0;
    char *buf = read_all(f, path, &size, e);
    fclose(f);
    mcs_wordpiece *w = buf ? mcs_wordpiece_parse(buf, size, path, e) : NULL;
    free(buf);
    return w;
}

void mcs_wordpiece_free(mcs_wordpiece *w)
{
    if (!w)
        return;
    free(w->text);
    free(w->token);
    free(w->whole.at);
    free(w->tail.at);
    free(w);
}

int64_t mcs_wordpiece_size(const mcs_wordpiece *w)
{
    return w->count;
}

const char *mcs_wordpiece_token(const mcs_wordpiece *w, int64_t id)
{
    return id >= 0 && id < w->count ? w->token[id] : NULL;
}

int64_t mcs_wordpiece_id(const mcs_wordpiece *w, const char *token)
{
    return list_find(&w->whole, token, strlen(token));
}

int64_t mcs_wordpiece_special(const mcs_wordpiece *w, mcs_special_token t)
{
    return (unsigned)t <= MCS_TOKEN_MASK ? w->special[t] : -1;
}

int64_t mcs_wordpiece_find(const mcs_wordpiece *w, const char *s, size_t n, int continues)
{
    return list_find(continues ? &w->tail : &w->whole, s, n);
}

size_t mcs_wordpiece_longest(const mcs_wordpiece *w)
{
    return w->longest;
}
