/* wordpiece_internal.h - the vocabulary as the encoder sees it. */
#ifndef MCS_WORDPIECE_INTERNAL_H
#define MCS_WORDPIECE_INTERNAL_H
#include "models/wordpiece.h"

/* The id of the n bytes at s as a word's beginning, or as its continuation ("##" + s). */
int64_t mcs_wordpiece_find(const mcs_wordpiece *w, const char *s, size_t n, int continues);
/* Length in bytes of the longest token: no longer piece need be tried. */
size_t mcs_wordpiece_longest(const mcs_wordpiece *w);
#endif
