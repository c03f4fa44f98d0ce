"""Check tokenised texts before anything runs: what cannot be embedded is named by its index."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from .errors import TextError

if TYPE_CHECKING:
    from .tokens import Tokens

_SHOWN = 40


def check_counted(rows: Sequence[Tokens], texts: Sequence[str], *, first: int) -> None:
    """Refuse a text under which no token counts: a pooling of nothing has no direction.

    Args:
        rows: One for each text.
        texts: The texts.
        first: The caller's number of the first.

    Raises:
        TextError: A tokenizer left nothing of a text; the message holds its index.
    """
    for index, row in enumerate(rows):
        for one in row.rows:
            if one.counted >= (len(one.ids) if one.end is None else one.end):
                raise TextError(
                    f"text {first + index}, {texts[index][:_SHOWN]!r}, gives no token that counts: "
                    "the tokenizer drops all of its characters, and nothing that counts stands "
                    "beside it; leave it out, or export the model with an eos"
                )
