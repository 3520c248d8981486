/* cli_phantoms_vocab.c - a WordPiece vocabulary for captions of phantoms: the special tokens in
 * PubMedBERT's order, ASCII punctuation, letters and digits alone and as continuations (so that
 * any text in Latin letters can be spelt), then the words of all phrases, in their order. */
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "tools/cli_phantoms.h"

static void add_characters(cli_html *text)
{
    cli_html_raw(text, "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\n");
    for (int c = 33; c < 127; c++)
        if (c < 'A' || c > 'Z')
            cli_html_rawf(text, "%c\n", c);
    for (int c = '0'; c <= 'z'; c++)
        if (c <= '9' || c >= 'a')
            cli_html_rawf(text, "##%c\n", c);
}

/* Is `word` a line of the text already? */
static bool listed(const cli_html *text, const char *word)
{
    size_t n = strlen(word);
    for (const char *p = text->text; p && (p = strstr(p, word)); p += n)
        if ((p == text->text || p[-1] == '\n') && p[n] == '\n')
            return true;
    return false;
}

/* Lower-case words as BERT cuts them: at spaces and punctuation. */
static void add_words(cli_html *text, const char *phrase)
{
    char word[64];
    size_t n = 0;
    for (const char *p = phrase;; p++) {
        if (isalnum((unsigned char)*p) && n + 1 < sizeof word) {
            word[n++] = (char)tolower((unsigned char)*p);
            continue;
        }
        word[n] = 0;
        if (n && !text->failed && !listed(text, word))
            cli_html_rawf(text, "%s\n", word);
        n = 0;
        if (!*p)
            return;
    }
}

int ph_vocabulary(ph_job *j)
{
    mcs_error e = { 0 };
    cli_html text = { 0 };
    int code = CLI_DONE;
    add_characters(&text);
    for (int i = 0; mcs_phantom_phrase(i); i++)
        add_words(&text, mcs_phantom_phrase(i));
    if (text.failed)
        code = cli_error(j->t, CLI_NO_MEMORY, "out of memory");
    else if (cli_mkdirs_for(j->o->vocab, &e) != MCS_OK ||
             cli_write(j->o->vocab, text.text, text.size, &e) != MCS_OK)
        code = cli_die(j->t, &e, false);
    else if (!j->t->quiet)
        printf("%s\n", j->o->vocab);
    free(text.text);
    return code;
}
