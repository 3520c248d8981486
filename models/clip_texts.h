/* clip_texts.h - many captions of different lengths. */
#ifndef MCS_CLIP_TEXTS_H
#define MCS_CLIP_TEXTS_H
#include "models/biomedclip.h"

/* Embeddings (count,E) of ids (count,N), 0 ([PAD]) after a caption's end: the rows of
 * mcs_biomedclip_encode_text(), up to rounding.  Captions are sorted by length and encoded in up to
 * four groups, each padded to its own longest only, for a padded token costs as much as a real one:
 * lengths spread evenly between 1 and N cost 5/8 of the time and of the tape.  Fewer than 16 captions
 * are one group.  NULL: see c. */
mcs_tensor *mcs_clip_encode_texts(mcs_ctx *c, const mcs_biomedclip *m, const int64_t *ids,
                                  int64_t count, int64_t length) MCS_MUST_CHECK;
#endif
