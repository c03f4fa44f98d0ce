"""Texts as token ids: one text with its pooled tokens, and a padded batch of texts."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, kw_only=True)
class Tokens:
    """One text as token ids.

    Args:
        ids: The ids under the role's prompt.
        counted: The first token of the span.
        end: The token after the last of the span; None: the span reaches to the end.
        others: The same text under the recipe's further prompts.
        words: Ids of the text's own words, for a :class:`SparseHead` with ``words``.
        prompt: How many tokens come before the text's first; 0 if the span begins among them.
        unattended: How many last tokens other tokens do not see (:class:`QueryExpansion`).
        silent: Places of tokens that give no token vector, ascending.
    """

    ids: tuple[int, ...]
    counted: int
    end: int | None = None
    others: tuple[Tokens, ...] = ()
    words: tuple[int, ...] = ()
    prompt: int = 0
    unattended: int = 0
    silent: tuple[int, ...] = ()

    @property
    def rows(self) -> tuple[Tokens, ...]:
        """The rows that this text takes in a batch: one for each prompt."""
        return (self, *self.others)

    @property
    def width(self) -> int:
        """Tokens of the longest row."""
        return max(len(row.ids) for row in self.rows)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TokenBatch:
    """B texts, padded to one length; names are those of the graph's inputs.

    A text has P consecutive rows, one for each prompt of its recipe; P is 1 unless the recipe has
    further prompts. The first three arrays are int64 of shape (B * P, T).

    Args:
        input_ids: Token ids.
        attention_mask: 1 where there is a token that other tokens see.
        pooling_mask: 1 where a token is in the span.
        word_ids: int64, shape (B, W), W >= 1: ids of each text's own words, filled up with -1; None
            if no sparse head needs them.
        prompt: How many first columns hold a prompt, the same in every row; each row is longer.
        prompt_states: Keys and values of a prompt before all columns, float32 (L, 2, H, p, d);
            None: there is no such prompt.
        scoring_mask: int64, shape (B * P, T): 1 where a token gives a token vector, which a token
            that others do not see always does; None: as ``attention_mask``.
    """

    input_ids: NDArray[np.int64]
    attention_mask: NDArray[np.int64]
    pooling_mask: NDArray[np.int64]
    word_ids: NDArray[np.int64] | None = None
    prompt: int = 0
    prompt_states: NDArray[np.float32] | None = None
    scoring_mask: NDArray[np.int64] | None = None

    @property
    def scored(self) -> NDArray[np.bool_]:
        """Which tokens give a token vector, shape (B * P, T)."""
        mask = self.attention_mask if self.scoring_mask is None else self.scoring_mask
        return np.asarray(mask > 0)
