"""Make pairs from plain documents, without a model: crops and inverse cloze.

Invariant: the same documents, settings and seed give the same pairs.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import assert_never

import numpy as np
from semantic_text_splitter import TextSplitter
from tokenizers import Tokenizer

from ..errors import DataError, TrainingError
from .new_file import open_atomically

_WORD = re.compile(r"\S+")
_SENTENCE = re.compile(r"[^.!?]*[.!?]+(?=\s|$)|[^.!?]+$")


class PairKind(StrEnum):
    """How a pair is made from a passage.

    CROPS: two spans of it, drawn independently, which may overlap (Contriever's independent
    cropping, arXiv 2112.09118, section 3.1). CLOZE: one of its sentences, and the rest of it
    (inverse cloze, Lee et al., arXiv 1906.00300, section 4); as in the paper, the sentence stays in
    the rest with a probability of 0.1.
    """

    CROPS = "crops"
    CLOZE = "cloze"


@dataclass(frozen=True, slots=True, kw_only=True)
class PairMining:
    """How documents become pairs.

    Args:
        made: How a pair is made from a passage.
        max_tokens: The most tokens of a passage.
        shortest: The smallest share of a passage's words in a crop.
        longest: The largest share of a passage's words in a crop.
        seed: Seed of everything that is drawn.
    """

    made: PairKind = PairKind.CROPS
    max_tokens: int = 256
    shortest: float = 0.1
    longest: float = 0.5
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0 < self.shortest <= self.longest <= 1:
            raise TrainingError(
                f"0 < shortest <= longest <= 1, got {self.shortest} and {self.longest}"
            )
        if self.max_tokens < 1:
            raise TrainingError(f"max_tokens must be at least 1, got {self.max_tokens}")


def write_pairs(
    documents: Iterable[tuple[str, str]], target: Path, tokenizer: Tokenizer, making: PairMining
) -> int:
    """Write pairs as JSON lines with ``query``, ``positive`` and ``group``; return their number.

    Args:
        documents: The name and the text of each document; the name is the group.
        target: The file to write.
        tokenizer: The tokenizer that counts tokens.
        making: How pairs are made.

    Raises:
        DataError: No passage has enough words for a pair.
    """
    splitter = TextSplitter.from_huggingface_tokenizer(tokenizer, making.max_tokens)
    count = 0
    with open_atomically(target) as file:
        for number, (name, text) in enumerate(documents):
            random = np.random.default_rng([making.seed, number])
            for passage in splitter.chunks(text):
                for query, positive in _pair(passage, making, random):
                    row = {"query": query, "positive": positive, "group": name}
                    file.write(f"{json.dumps(row, ensure_ascii=False)}\n".encode())
                    count += 1
        if not count:
            raise DataError("no document has a passage long enough for a pair; give longer texts")
    return count


def _pair(
    passage: str, making: PairMining, random: np.random.Generator
) -> Iterator[tuple[str, str]]:
    """Yield one pair, or none if the passage is too short."""
    match making.made:
        case PairKind.CROPS:
            words = [match.span() for match in _WORD.finditer(passage)]
            if len(words) > 3:
                yield _crop(passage, words, making, random), _crop(passage, words, making, random)
        case PairKind.CLOZE:
            found = [match.group().strip() for match in _SENTENCE.finditer(passage)]
            sentences = [sentence for sentence in found if sentence]
            if len(sentences) > 1:
                chosen = int(random.integers(len(sentences)))
                kept = random.random() < 0.1
                rest = [one for at, one in enumerate(sentences) if kept or at != chosen]
                yield sentences[chosen], " ".join(rest)
        case _:
            assert_never(making.made)


def _crop(
    passage: str, words: list[tuple[int, int]], making: PairMining, random: np.random.Generator
) -> str:
    share = random.uniform(making.shortest, making.longest)
    count = max(1, round(share * len(words)))
    first = int(random.integers(len(words) - count + 1))
    return passage[words[first][0] : words[first + count - 1][1]]
