"""Texts on which tokenizers have been seen to disagree: a table in a file of its own."""

from __future__ import annotations

GOLDEN_TEXTS = (
    "What is a PEP?",
    " two leading  and inner spaces ",
    "line one\nline two\r\n\ttabbed",
    "naïve café — “quotes” … ﬁ",
    "日本語の文章、한국어, العربية, हिन्दी",
    "👩‍👩‍👧 emoji 🇪🇺 and e\u0301 combined",
    "<s> [CLS] </s> [SEP] <|endoftext|>",
    "{text} and 100% {braces}",
    "x",
    "\n",
    "one text that is longer than the limit of the golden ids " * 12,
)
"""Texts whose ids a bundle stores, so that a changed tokenizer is found."""
