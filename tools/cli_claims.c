/* cli_claims.c - is a caption true of a picture?  Decided by what the table says both claim.
 *
 * "HEAD:CLAIM+CLAIM...", a claim being words separated by '/': "xray:heart/large+no nodule".  It
 * holds if the heads are equal and each claim is contained in a claim of the picture: the first
 * words are equal, and the others are among its words.  A picture's word '*' contains any. */
#include <string.h>
#include "tools/cli_pairs.h"

typedef struct {
    const char *at;
    size_t n;
} piece;

/* The next piece up to `stop` or the end of s; false past the end. */
static bool next_piece(piece *s, char stop, piece *out)
{
    if (!s->at)
        return false;
    const char *end = memchr(s->at, stop, s->n);
    *out = (piece){ s->at, end ? (size_t)(end - s->at) : s->n };
    if (end)
        *s = (piece){ end + 1, s->n - out->n - 1 };
    else
        s->at = NULL;
    return true;
}

static bool equal(piece a, piece b)
{
    return a.n == b.n && memcmp(a.at, b.at, a.n) == 0;
}

/* What stands before ':', and the rest; without ':' the head is empty. */
static piece split_head(const char *text, piece *rest)
{
    size_t n = strcspn(text, ":"), all = strlen(text);
    if (n == all) {
        *rest = (piece){ text, all };
        return (piece){ text, 0 };
    }
    *rest = (piece){ text + n + 1, all - n - 1 };
    return (piece){ text, n };
}

static bool has_word(piece claim, piece word)
{
    const piece any = { "*", 1 };
    piece w;
    while (next_piece(&claim, '/', &w))
        if (equal(w, word) || equal(w, any))
            return true;
    return false;
}

static bool contained(piece claim, piece fact)
{
    piece rest = fact, first, word;
    bool same = next_piece(&rest, '/', &first) && next_piece(&claim, '/', &word);
    if (!same || !equal(first, word))
        return false;
    while (next_piece(&claim, '/', &word))
        if (!rest.at || !has_word(rest, word))
            return false;
    return true;
}

static bool known(piece head, piece claim, const char *const *facts, int64_t count)
{
    for (int64_t i = 0; i < count; i++) {
        piece rest, fact;
        if (!equal(split_head(facts[i], &rest), head))
            continue;
        while (next_piece(&rest, '+', &fact))
            if (contained(claim, fact))
                return true;
    }
    return false;
}

bool cli_claims_hold(const char *claims, const char *const *facts, int64_t count)
{
    piece rest, claim, head = split_head(claims, &rest);
    while (next_piece(&rest, '+', &claim))
        if (!known(head, claim, facts, count))
            return false;
    return true;
}

bool cli_pairs_true(const cli_pairs *p, const cli_pair *caption, int64_t image)
{
    enum { ROWS_MAX = 64 };
    const char *facts[ROWS_MAX];
    int64_t n = 0;
    if (caption->image == image)
        return true;
    if (caption->group < 0)
        return false;
    for (int64_t at = p->first[image]; at < p->first[image + 1] && n < ROWS_MAX; at++) {
        const cli_pair *row = &p->items[p->rows[at]];
        if (row->group == caption->group)
            return true;
        if (row->facts[0])
            facts[n++] = row->facts;
    }
    return cli_claims_hold(caption->claims, facts, n);
}
