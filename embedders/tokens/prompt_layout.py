"""Put a text into its prompt, and find the text's tokens afterwards.

If a prompt holds the text twice, or a slot, marks separate the parts that are tokenised apart.
Marks consist of Unicode noncharacters and random digits, so that no text holds them, and the model
never sees them.
"""

from __future__ import annotations

from dataclasses import dataclass
from secrets import token_hex
from typing import TYPE_CHECKING, Self, cast

import numpy as np
from tokenizers import Tokenizer

from ..recipe.prompt import Prompt

if TYPE_CHECKING:
    from tokenizers import Encoding

Place = tuple[int, int]
"""The first position and the position after the last, of characters or of tokens."""


@dataclass(frozen=True, slots=True, eq=False)
class Marks:
    """Marks, and a copy of a tokenizer that splits at them.

    Args:
        tokenizer: The copy.
        gap: The mark that separates its neighbours.
        slot: The mark in place of a token that no text can hold.
    """

    tokenizer: Tokenizer
    gap: str
    slot: str

    @classmethod
    def of(cls, tokenizer: Tokenizer) -> Self:
        """Draw marks for a tokenizer, so that no text can be written to hold one."""
        gap, slot = (f"\ufdd0{token_hex(8)}\ufdd1" for _ in range(2))
        made = Tokenizer.from_str(tokenizer.to_str())
        made.add_special_tokens([gap, slot])
        return cls(made, gap, slot)


def needs_marks(prompt: Prompt) -> bool:
    """Return whether a prompt needs marks."""
    return prompt.between_copies is not None or prompt.before_slot is not None


def lay_out(prompt: Prompt, text: str, marks: Marks | None) -> tuple[str, list[Place]]:
    """Return the string to tokenise, and which of its characters are copies of the text.

    Args:
        prompt: The prompt.
        text: The text.
        marks: For a prompt that is :func:`needs_marks`; others do not read them.
    """
    head = prompt.prefix
    if marks is not None and prompt.before_slot is not None:
        head = f"{prompt.before_slot}{marks.slot}{head}"
    if marks is None or prompt.between_copies is None:
        return f"{head}{text}{prompt.suffix}", [(len(head), len(head) + len(text))]
    gap = marks.gap
    head = f"{head}{gap}"
    between = f"{gap}{prompt.between_copies}{gap}"
    first, second = len(head), len(head) + len(text) + len(between)
    string = f"{head}{text}{between}{text}{gap}{prompt.suffix}"
    return string, [(first, first + len(text)), (second, second + len(text))]


def without_marks(
    marks: Marks, encoding: Encoding, places: list[Place], *, slot: int | None
) -> tuple[list[int], list[Place]]:
    """Drop the gap marks, and replace the slot mark by the slot's token id.

    Args:
        marks: The marks of the tokenizer that encoded.
        encoding: The encoding of a string from :func:`lay_out`.
        places: The text's tokens in it.
        slot: The slot's token id.

    Returns:
        The ids, and the text's places among them.
    """
    gap, mark = (
        cast("int", marks.tokenizer.token_to_id(spelt)) for spelt in (marks.gap, marks.slot)
    )
    ids: list[int] = encoding.ids
    before = np.concatenate([[0], np.cumsum(np.array(ids) == gap)]).tolist()
    known = slot or mark
    kept = [known if one == mark else one for one in ids if one != gap]
    return kept, [(start - before[start], stop - before[stop]) for start, stop in places]


def text_tokens(encoding: Encoding, begin: int, end: int) -> Place:
    """Return the range of tokens that hold characters from ``begin`` up to ``end``.

    A token that straddles the border of prompt and text (" what" after "query: ") is text.
    """
    special = encoding.special_tokens_mask
    first, last = 0, len(special)
    while first < last and special[first]:
        first += 1
    while last > first and special[last - 1]:
        last -= 1
    offsets = encoding.offsets
    while begin > 0 and first < last and offsets[first][1] <= begin:
        first += 1
    while last > first and offsets[last - 1][0] >= end:
        last -= 1
    return first, last


def closing_tokens(encoding: Encoding) -> int:
    """Return how many special tokens the tokenizer put at the end."""
    count = 0
    for special in reversed(encoding.special_tokens_mask):
        if not special:
            break
        count += 1
    return count
