"""Texts that are token ids already: what is timed begins at ids, for everyone alike.

A text is then only a name, and what decant takes for its tokenizer looks the ids up. All else is
decant's own: sorting, batching, workers, sessions. Rows of one length are slices of tokenised
documents; mixed ones are chunks, cut as in the other benchmarks, special tokens included.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import cycle, islice

from decant.embedders import OnnxEncoder, Role
from decant.embedders.tokens import TextTokenizer, Tokens

from ..corpus import LONGEST, Corpus, Cutter, chance

Rows = Mapping[str, Tokens]
"""Names and their token ids."""

_POOL = 40_000  # tokens that are drawn; beyond them rows come again, which costs the same


class Ready(TextTokenizer):
    """Takes names for texts and returns their ids; what is no name is tokenised.

    Args:
        tokenizer: The bundle's.
        rows: Names and ids.
    """

    def __init__(self, tokenizer: TextTokenizer, rows: Rows) -> None:
        super().__init__(tokenizer.bare, tokenizer.recipe)
        self._ready = rows

    def __call__(
        self,
        texts: Sequence[str],
        *,
        role: Role,
        max_tokens: int | None = None,
        instruction: str | None = None,
        first: int = 0,
    ) -> list[Tokens]:
        """Look the ids up; neither a prompt nor a limit changes them."""
        if all(text in self._ready for text in texts):
            return [self._ready[text] for text in texts]
        return super().__call__(
            texts, role=role, max_tokens=max_tokens, instruction=instruction, first=first
        )


def with_ids(encoder: OnnxEncoder, tokenizer: TextTokenizer, rows: Rows) -> OnnxEncoder:
    """Make a loaded encoder take names for texts, and return it.

    Args:
        encoder: What :func:`decant.embedders.load` gave; all else of it stays.
        tokenizer: Of its bundle.
        rows: Names and ids; no name is one of the texts.
    """
    # There is no public way to hand ids over, and users need none; load() settles all the rest.
    encoder._tokenizer = Ready(tokenizer, rows)  # noqa: SLF001
    return encoder


def even_rows(
    tokenizer: TextTokenizer, corpus: Corpus, length: int, tokens: int, *, seed: int
) -> list[Tokens]:
    """Return rows of exactly ``length`` ids each, about ``tokens`` together.

    Args:
        tokenizer: Of the model; special tokens are left out, so that every id is of real text.
        corpus: Its documents follow each other in an order that the seed draws.
        length: Of each row.
        tokens: At least one row is made.
        seed: Draws the order.
    """
    stream: list[int] = []
    for text in chance(seed).sample(corpus.texts, len(corpus.texts)):
        stream += tokenizer.bare.encode(text.text, add_special_tokens=False).ids
        if len(stream) >= max(length, min(tokens, _POOL)):
            break
    stream = list(islice(cycle(stream), max(length, len(stream))))
    starts = range(0, len(stream) - length + 1, length)
    found = [Tokens(ids=tuple(stream[start : start + length]), counted=0) for start in starts]
    return list(islice(cycle(found), max(1, tokens // length)))


def mixed_texts(tokenizer: TextTokenizer, corpus: Corpus, tokens: int, *, seed: int) -> list[str]:
    """Return chunks of real lengths, about ``tokens`` tokens together.

    Args:
        tokenizer: Of the model.
        corpus: Whose documents are cut, each at a limit of its own (:meth:`Cutter.mixed`).
        tokens: Where the drawn ones have fewer, they come again.
        seed: Draws them.

    Raises:
        TextError: The corpus is too small.
    """
    longest = min(LONGEST, tokenizer.recipe.max_tokens)
    cutter = Cutter(tokenizer.bare, longest=longest)
    drawn = cutter.mixed(corpus, min(tokens, _POOL), seed=seed)
    found, sum_of_tokens = [], 0
    for text, length in cycle(zip(drawn, cutter.tokens(drawn), strict=True)):
        found.append(text)
        sum_of_tokens += length
        if sum_of_tokens >= tokens:
            return found
    raise AssertionError("cycle() ends only where there is nothing")
