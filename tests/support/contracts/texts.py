"""Texts to give an encoder, and what to make of the rows that it returns."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from itertools import count

import numpy as np
from numpy.typing import NDArray

from decant.embedders import Encoder, Role

Rows = NDArray[np.float32]

TEXTS = (
    "a river",
    "What is a PEP?",
    "x",
    " two leading  and inner spaces ",
    "line one\nline two\r\n\ttabbed",
    "naïve café — “quotes” and a ﬁ ligature",
    "日本語の文章、한국어, العربية, हिन्दी",
    "👩‍👩‍👧 emoji and e\u0301 combined",
    "<s> [CLS] </s> [SEP] <|endoftext|>",
    "{text} and 100% {braces}",
    "the same words again and again " * 40,
    "a river",
)


class Endless:
    """Texts without end that remember how many were read, and by which threads."""

    def __init__(self) -> None:
        self.read = 0
        self.threads: set[int] = set()

    def __iter__(self) -> Iterator[str]:
        for number in count():
            self.read += 1
            self.threads.add(threading.get_ident())
            yield f"text {number % 11}"


def encoded(encoder: Encoder, texts: object) -> Rows:
    """Return ``encode``'s rows, of texts that may not be texts."""
    return encoder.encode(texts, role=Role.PASSAGE).dense  # type: ignore[arg-type]


def streamed(encoder: Encoder, texts: object) -> Rows:
    """Return all rows of a stream of texts that may not be texts."""
    blocks = encoder.stream(texts, role=Role.PASSAGE)  # type: ignore[arg-type]
    return np.concatenate([block.dense for block in blocks])


def text_of(encoder: Encoder, size: int) -> str:
    """Return a text of exactly ``size`` tokens, whether a word is one of them or several."""
    text = "a"
    for more in (" a", ".", "!"):
        while tokens(encoder, text + more) <= size:
            text += more
    assert tokens(encoder, text) == size, f"no text of {size} tokens for this tokenizer: {text!r}"
    return text


def tokens(encoder: Encoder, text: str) -> int:
    """Return how many tokens a bare text has."""
    return len(encoder.tokenizer.encode(text, add_special_tokens=False).ids)


def cosines(left: Rows, right: Rows) -> NDArray[np.float64]:
    """Return the cosine of each pair of rows."""
    one, other = left.astype(np.float64), right.astype(np.float64)
    lengths = np.linalg.norm(one, axis=1) * np.linalg.norm(other, axis=1)
    return np.asarray(np.einsum("nd,nd->n", one, other) / lengths)
