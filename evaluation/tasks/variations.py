"""Nine ways to vary a sentence, and the four of them that need no model to make.

The kinds are those of the anchor tasks of "LLM vs classical embeddings" (arXiv 2402.11094):
lexical, tone and semantic. Made variations are rules for English statements; the others come from
a file.
"""

from __future__ import annotations

from enum import Enum

import numpy as np

from ..errors import EvaluationError


class Variation(Enum):
    """A way to vary a sentence."""

    SYNONYM = "synonym"
    ANTONYM = "antonym"
    NEGATION = "negation"
    JUMBLED = "jumbled"
    EXCLAMATION = "exclamation"
    QUESTION = "question"
    ACTIVE_PASSIVE = "active-passive"
    PARAPHRASE = "paraphrase"
    POLYSEMY = "polysemy"


_ENDS = ".!?… "


def negated(sentence: str) -> str:
    """Return the sentence negated as a whole, which is correct for any statement.

    >>> negated("The ferry leaves at seven.")
    'It is not true that the ferry leaves at seven.'
    """
    first = sentence[:1] if sentence[:2] == "I " else sentence[:1].lower()
    return f"It is not true that {first}{sentence[1:]}"


def exclaimed(sentence: str) -> str:
    """Return the sentence with an exclamation mark at its end.

    >>> exclaimed("The ferry leaves at seven.")
    'The ferry leaves at seven!'
    """
    return sentence.rstrip(_ENDS) + "!"


def questioned(sentence: str) -> str:
    """Return the sentence with a question mark at its end: a question by tone only.

    >>> questioned("The ferry leaves at seven.")
    'The ferry leaves at seven?'
    """
    return sentence.rstrip(_ENDS) + "?"


def jumbled(sentence: str, *, seed: int) -> str:
    """Return the words in another order than their own, drawn by ``seed``.

    Raises:
        EvaluationError: The sentence has no two different words.
    """
    words = sentence.split()
    if len(set(words)) < 2:
        raise EvaluationError(f"{sentence!r} has no two different words to change the order of")
    draw = np.random.default_rng(seed)
    while True:
        mixed = [words[place] for place in draw.permutation(len(words))]
        if mixed != words:
            return " ".join(mixed)


def made_variations(sentence: str, *, seed: int = 0) -> dict[Variation, str]:
    """Return all variations of an English statement that need no model.

    Raises:
        EvaluationError: As :func:`jumbled`.
    """
    return {
        Variation.NEGATION: negated(sentence),
        Variation.JUMBLED: jumbled(sentence, seed=seed),
        Variation.EXCLAMATION: exclaimed(sentence),
        Variation.QUESTION: questioned(sentence),
    }
