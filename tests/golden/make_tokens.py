#!/usr/bin/env python3
"""Writes tokens_vocab.txt and tokens_cases.json: tokenisations by transformers' BertTokenizer of
a small made-up vocabulary, and captions cleaned by ftfy (without its repair of wrongly decoded
text) and html.unescape, as open_clip does.  Run from anywhere; needs transformers and ftfy."""
import html
import json
import os
import string

import ftfy
from transformers import BertTokenizer

HERE = os.path.dirname(os.path.abspath(__file__))
WORDS = """a an the of in with and image scan mri ct chest brain breast lung tumor tumour mass lesion
nodule left right upper lower axial show ##s ##ing ##ed ##oma ##itis ##graphy mening gli aden radio
ultra ##sound non small cell carcinoma µ ° ² × – — ' " cafe naive angstrom strasse 中 脑 ## ##中
привет ##α ᄀ ##ᅡ ##ᆨ fi fine ﬁ ½ ##² ##½ don t quote \u0f0b \U0001f600""".split()
TEXTS = [
    "", " \t\r\n ", "A chest CT scan", "Meningioma, gliomas & adenocarcinoma!", "ultrasound/radiography",
    "Café naïve ÅNGSTRÖM Straße STRASSE", "cafe\u0301 e\u0323\u0301", "中脑中 tumor中tumor", "각 가",
    "don’t “quote” ‘it’ oʼclock", "ﬁne ﬁ ½ x² 3×4 µm 37°", "Привет ПРИВЕТ α Α", "[SEP] [CLS][MASK] [sep] [ SEP ]",
    "[UNK][PAD]", "a\u00a0b\u2003c\u200bd\u00ade\ufefff", "non-small-cell (NSCLC) T2*", "😀 a😀b", "x" * 100, "x" * 101,
    "é" * 100, "é" * 101, "a\u0301" * 100, "a\u0301" * 101, " ".join(["ct"] * 300), "ct [SEP]" * 150, "qqq zzz a#b ## #",
    "tab\there\x0bvt\x0cff\x1fus\x7fdel\x85nel", "\ufffd a\ufffdb", "İstanbul Ǆ ẞ ſ K", "\u1e9b\u0323 \u302f\u302ea",
    "x\u2028y\u2029z\u3000w", "～｀ＡＢＣ１２３！ ｶﾞ ﾊﾝｸﾞﾙ", "&amp;lt; &lt;b&gt; &notit; &not; &hellip &NTILDE; &ntilde",
    "T&amp;E &#39;q&#39; &#x2019; &#0; &#128; &#xD800; &#x110000; &#99999999999; &#; &#x; &;", "&amp;amp;amp;lt;",
    "<b>bold</b> &amp; text &eacute;", "line one\r\nline two\rthree\n&lt;four", "\x1b[31;1mred\x1b[0m \x1b[ x", "R&D a&b;c & d",
    "&SZLIG; &AMP; &LT;&GT &acE; &fjlig; &CounterClockwiseContourIntegral;", "ŉ ĳ Ǳ ﬅ ﬄ ﷺ", "\x91\x92\x93\x94 \x80 \x81",
    "a\u3400b\u4dc0c\u9fffd\U0002b820e\U0002b920f\U0002ceafg\U0002ceb0h\uf900i\ufb00 a\u0898b a\u1734b",
    "lung lesions\u2014left \u2013 right\u2026 5\u20136 mm", "\u09fd \u2e43 \u0958 \U0001d15e \u0344", "1.5×10⁻³ mm²/s", "a~b`c^d|e<f>g=h+i$j",
]


def clean(text):
    text = html.unescape(html.unescape(ftfy.fix_text(text, fix_encoding=False)))
    return " ".join(text.split())


def main():
    pieces = ["##" + c for c in string.ascii_lowercase.replace("q", "") + string.digits]
    single = list(string.ascii_lowercase + string.digits + string.punctuation)
    vocab = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"] + single + pieces + WORDS
    vocab = list(dict.fromkeys(vocab))
    with open(os.path.join(HERE, "tokens_vocab.txt"), "w", encoding="utf-8") as f:
        f.write("\n".join(vocab) + "\n")
    bert = BertTokenizer(vocab={t: i for i, t in enumerate(vocab)})
    cases = []
    for text in TEXTS:
        for max_len in (256, 8):
            ids = [bert(t, max_length=max_len, truncation=True)["input_ids"] for t in (text, clean(text))]
            cases.append({"text": text, "max_len": max_len, "ids": ids[0], "clean": clean(text),
                          "caption_ids": ids[1]})
    with open(os.path.join(HERE, "tokens_cases.json"), "w", encoding="utf-8") as f:
        f.write("[\n" + ",\n".join(json.dumps(c, separators=(",", ":")) for c in cases) + "\n]\n")


if __name__ == "__main__":
    main()
