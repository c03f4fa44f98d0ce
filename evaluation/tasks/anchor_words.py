"""A sentence, its variations, and one of its words whose vectors are compared in them.

The word's vector inside a text is pooled from the states of its tokens, which have seen the whole
(arXiv 2402.11094, section 3). Invariant: an anchor word occurs in its text.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from decant.embedders import Role, span_vectors
from decant.embedders.encoding import TokenEncoder

from ..errors import EvaluationError
from ..models.protocol import unit_rows
from .variations import Variation


@dataclass(frozen=True, slots=True, kw_only=True)
class Anchor:
    """One sentence and its variations.

    Args:
        base: The sentence.
        variants: Its variations.
        word: The anchor word, as it stands in ``base``; None: words are not compared.
        words: What stands for it in each variation in which it is compared: itself, or the word
            that took its place.

    Raises:
        EvaluationError: A word does not stand in its text, or belongs to no variation or sentence.
    """

    base: str
    variants: Mapping[Variation, str]
    word: str | None = None
    words: Mapping[Variation, str] = field(default_factory=dict[Variation, str])

    def __post_init__(self) -> None:
        if self.word is None and self.words:
            raise EvaluationError(
                f"{self.base!r} has words to compare in its variations and no anchor word; give "
                "`word` too"
            )
        if self.word is not None:
            check_word(self.base, self.word, where="anchor")
        for kind, word in self.words.items():
            if kind not in self.variants:
                raise EvaluationError(
                    f"{self.base!r} has the word {word!r} for {kind.value}, a variation it has not"
                )
            check_word(self.variants[kind], word, where="anchor")


def word_place(text: str, word: str) -> tuple[int, int] | None:
    """Return the first occurrence of a word that touches no other letter, digit or underscore.

    One that is written exactly so comes before one in other capitals.

    Args:
        text: The text to search.
        word: A word, or several with the characters between them.

    Returns:
        The first character and the one after the last; None if there is no occurrence.

    >>> word_place("He banked at the bank.", "bank"), word_place("Bank!", "bank")
    ((17, 21), (0, 4))
    """
    pattern = rf"(?<!\w){re.escape(word)}(?!\w)"
    found = re.search(pattern, text) or re.search(pattern, text, re.IGNORECASE)
    return found.span() if found else None


def check_word(text: str, word: str, *, where: str) -> None:
    """Refuse a word that does not stand in its text.

    Raises:
        EvaluationError: It is blank or does not; the message begins with ``where``.
    """
    if not word.strip() or word_place(text, word) is None:
        raise EvaluationError(
            f"{where}: the word {word!r} does not stand in {text!r} as a whole word; name one that "
            "does"
        )


def word_cosines(encoder: TokenEncoder, anchor: Anchor, *, role: Role) -> dict[Variation, float]:
    """Return the cosine of the anchor word in the sentence and in each variation that has it.

    Args:
        encoder: An encoder that gives vectors of parts of a text.
        anchor: The sentence, whose ``words`` are compared.
        role: Selects the prompt.

    Raises:
        EvaluationError: A vector has no direction.
        TextError: A word is longer than the model reads at once.
    """
    if anchor.word is None or not anchor.words:
        return {}
    own = _vector(encoder, anchor.base, anchor.word, role)
    return {
        kind: float(own @ _vector(encoder, anchor.variants[kind], word, role))
        for kind, word in anchor.words.items()
    }


def _vector(encoder: TokenEncoder, text: str, word: str, role: Role) -> NDArray[np.float64]:
    """Return a word's vector in a text at unit length, float64, shape (D,)."""
    place = word_place(text, word)
    assert place is not None, "an Anchor holds only words that stand in their texts"
    rows = span_vectors(encoder, text, [place], role=role)
    return np.asarray(unit_rows(rows, [word])[0], np.float64)
