/* caption.h - the cleaning that open_clip applies to a caption before tokenising it. */
#ifndef MCS_CAPTION_H
#define MCS_CAPTION_H
#include "tensor/status.h"

#define MCS_CAPTION_MAX (1 << 20) /* longest text accepted, in bytes */

/* open_clip's "whitespace" mode: ftfy.fix_text(), html.unescape() twice, runs of whitespace to
 * one space, strip.  Of ftfy all fixes of single characters are done (entities, C1 controls as
 * Windows-1252, Latin ligatures, character width, curly quotes, line breaks, terminal escapes,
 * control characters, NFC); its repair of text decoded in the wrong encoding ("cafÃ©") is not.
 * Bytes that are not UTF-8 become U+FFFD.  Returns a string the caller frees with free().
 * MCS_EINVAL: utf8 is NULL or longer than MCS_CAPTION_MAX.  NULL: see e. */
char *mcs_caption_clean(const char *utf8, mcs_error *e);
#endif
