"""Put a text into its prompt, and find it again among the tokens.

Where a prompt holds the text twice, or a slot, marks part what is tokenised apart. They are spelt
with Unicode noncharacters and drawn at random, so that no text has them, and no model sees them.
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
"""A first position and the one after the last: of characters, or of tokens."""


@dataclass(frozen=True, slots=True, eq=False)
class Marks:
    """Marks, and a copy of a tokenizer that splits at them.

    Args:
        tokenizer: The copy.
        gap: Parts what stands beside it.
        slot: Stands for a token that no text can hold.
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


def marked(prompt: Prompt) -> bool:
    """Tell whether a prompt needs marks."""
    return prompt.between_copies is not None or prompt.before_slot is not None


def built(prompt: Prompt, text: str, marks: Marks | None) -> tuple[str, list[Place]]:
    """Return what is tokenised, and which characters of it are copies of the text.

    Args:
        prompt: What stands around the text.
        text: The text.
        marks: For a prompt that is :func:`marked`; others do not read them.
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
    """Drop breaks, and give the slot the id that the model knows it by.

    Args:
        marks: Of the tokenizer that encoded.
        encoding: Of a string that :func:`built` gave.
        places: Tokens of the text in it.
        slot: That id.

    Returns:
        Ids, and the places among them.
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
