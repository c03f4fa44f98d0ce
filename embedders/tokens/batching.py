"""Put texts of similar length together, and stack them into arrays.

Batching changes how long a vector takes, never the vector: a graph ignores padding.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .rows import TokenBatch, Tokens

# Measured (experiments/log/2026-11-22-prompt-computed-once.md): a text alone gains nothing behind a
# shorter prompt, nor does a longer text, for attention behind a prompt is slower.
_SHORTEST_PROMPT = 8
_TEXT_TO_PROMPT = 4
_LONGEST_TEXT = 256
_SMALLEST_STEP = 8
_STEPS_AN_OCTAVE = 8  # so that padding adds at most an eighth of a row


@dataclass(frozen=True, slots=True, kw_only=True)
class Batching:
    """How texts become batches.

    Args:
        token_budget: The most tokens in a batch, padding included. One text alone may exceed it.
        pad_id: The token id of padded positions.
        even_from: A batch of at least so many tokens ends where the length changes, so that it
            needs no padding; None fills every batch.
        few_widths: Round lengths up with :func:`bucket`, so that a GPU's memory pool and engines
            see few shapes.
        longest: Lengths are not rounded beyond this number of tokens.
        rows: Rows of a text, one for each of its recipe's prompts.
        once: Whether a prompt is computed once for all texts behind it.
    """

    token_budget: int
    pad_id: int
    even_from: int | None = None
    few_widths: bool = False
    longest: int | None = None
    rows: int = 1
    once: bool = False

    def batches(self, rows: Sequence[Tokens], *, whole: bool = False) -> list[list[int]]:
        """Return indices of texts by batch; only tokens that run count towards the budget.

        Args:
            rows: The texts.
            whole: Run prompts with every text, even if they could be computed once.
        """
        behind = [self.once and not whole and shared(row) > 0 for row in rows]
        found = []
        for kind in (
            True,
            False,
        ):  # texts with and without a shared prompt apart, so that the count of tokens is right
            indices = [index for index, one in enumerate(behind) if one is kind]
            widths = [rows[index].width - (rows[index].prompt if kind else 0) for index in indices]
            found += [[indices[place] for place in group] for group in self.groups(widths)]
        return found

    def groups(self, lengths: Iterable[int]) -> list[list[int]]:
        """Return indices of texts by batch; see :func:`token_batches`."""
        widths = (self._width(length) for length in lengths)
        return token_batches(widths, self.token_budget // self.rows, even_from=self.even_from)

    def stack(self, rows: Sequence[Tokens]) -> TokenBatch:
        """Return one batch of at least one text."""
        return pad(rows, pad_id=self.pad_id, width=self._width(max(row.width for row in rows)))

    def _width(self, length: int) -> int:
        if not self.few_widths:
            return length
        return max(length, min(bucket(length), self.longest or bucket(length)))


def shared(row: Tokens) -> int:
    """Return how many tokens of a text's prompt should be computed once: all, or none."""
    text = row.width - row.prompt
    short = text <= min(_TEXT_TO_PROMPT * row.prompt, _LONGEST_TEXT)
    return row.prompt if row.prompt >= _SHORTEST_PROMPT and short else 0


def bucket(length: int) -> int:
    """Round a length up to a multiple of 8, or of an eighth of the power of two below it.

    >>> [bucket(length) for length in (1, 8, 9, 65, 130, 513)]
    [8, 8, 16, 72, 144, 576]
    """
    step: int = max(_SMALLEST_STEP, (1 << length.bit_length() - 1) // _STEPS_AN_OCTAVE)
    return -(-length // step) * step


def pad(
    rows: Sequence[Tokens], *, pad_id: int, left: bool = False, width: int | None = None
) -> TokenBatch:
    """Stack texts into one batch, padded to the longest row or to ``width``.

    Args:
        rows: At least one text.
        pad_id: Fills ``input_ids`` where there is no token.
        left: Pad before the text instead of after it. Vectors do not depend on it.
        width: Columns of the batch, if more than the longest text needs.
    """
    flat = [one for row in rows for one in row.rows]
    columns = max(*(len(row.ids) for row in flat), width or 1)
    shape = (len(flat), columns)
    ids = np.full(shape, pad_id, np.int64)
    attention = np.zeros(shape, np.int64)
    pooling = np.zeros(shape, np.int64)
    scoring = np.zeros(shape, np.int64)
    for index, row in enumerate(flat):
        count = len(row.ids)
        start = columns - count if left else 0
        ids[index, start : start + count] = row.ids
        seen = count - row.unattended
        attention[index, start : start + seen] = 1
        scoring[index, start : start + count] = 1
        scoring[index, [start + place for place in row.silent]] = 0
        end = seen if row.end is None else row.end
        pooling[index, start + row.counted : start + end] = 1
    words = np.full((len(rows), max(1, *(len(row.words) for row in rows))), -1, np.int64)
    for index, row in enumerate(rows):
        words[index, : len(row.words)] = row.words
    return TokenBatch(
        input_ids=ids,
        attention_mask=attention,
        pooling_mask=pooling,
        word_ids=words,
        prompt=0 if left else _common_prompt(flat, ids),
        scoring_mask=scoring,
    )


def _common_prompt(rows: Sequence[Tokens], ids: NDArray[np.int64]) -> int:
    """Return how many first columns hold a shared prompt; every row is longer than these."""
    most = min(min(shared(row), len(row.ids) - 1) for row in rows)
    differing = np.flatnonzero((ids[:, :most] != ids[0, :most]).any(axis=0))
    count = int(differing[0]) if len(differing) else most
    return count if count >= _SHORTEST_PROMPT else 0


def token_batches(
    lengths: Iterable[int], budget: int, *, even_from: int | None = None
) -> list[list[int]]:
    """Group texts of similar length, longest first, so that no batch exceeds ``budget`` tokens.

    Args:
        lengths: Tokens of each text.
        budget: The most tokens in a batch, padding included. One text alone may exceed it.
        even_from: A batch of at least so many tokens ends where the length changes, so that it
            needs no padding; None fills every batch.

    Returns:
        Indices into ``lengths``; each index is in exactly one group.

    >>> token_batches([1, 5, 2, 5], 10)
    [[1, 3], [2, 0]]
    >>> token_batches([1, 5, 2, 5], 20, even_from=8)
    [[1, 3], [2, 0]]
    """
    sizes = list(lengths)
    order = sorted(range(len(sizes)), key=lambda index: -sizes[index])
    groups: list[list[int]] = []
    for index in order:
        if groups:
            longest, count = sizes[groups[-1][0]], len(groups[-1])
            worth_it = even_from is not None and longest * count >= even_from
            if longest * (count + 1) <= budget and not (worth_it and sizes[index] < longest):
                groups[-1].append(index)
                continue
        groups.append([index])
    return groups
