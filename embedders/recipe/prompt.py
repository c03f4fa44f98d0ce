"""The input around a text before it is tokenised: roles, prompts, and text formats."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Self

from ..errors import RecipeError
from ..json_records import stored_as

_TEXT = "{text}"
_SLOT = "{slot}"
_ENDS = (".", "?", '"', "'")


class Role(StrEnum):
    """What a text is for; it selects the prompt."""

    QUERY = "query"
    PASSAGE = "passage"


class TextFormat(StrEnum):
    """How a text enters its prompt.

    VERBATIM: unchanged. QUOTED: as PromptEOL and similar methods want a sentence between double
    quotes (arXiv 2307.16645, its code): a text that ends in none of ``. ? " '`` gets a full stop,
    double quotes become single ones, and a question mark at the end becomes a full stop.

    >>> TextFormat.QUOTED.of('Who said "no"?')
    "Who said 'no'."
    """

    VERBATIM = "verbatim"
    QUOTED = "quoted"

    def of(self, text: str) -> str:
        """Return the text as it is tokenised."""
        if self is TextFormat.VERBATIM:
            return text
        ended = text if text.endswith(_ENDS) else f"{text}."
        single = ended.replace('"', "'")
        return f"{single[:-1]}." if single.endswith("?") else single


@dataclass(frozen=True, slots=True, kw_only=True)
class Prompt:
    """The exact strings around a text.

    Args:
        prefix: The string before the text, and after the slot if there is one.
        suffix: The string after the text.
        between_copies: The string between the copies, if the text is repeated (Echo, arXiv
            2402.15449). Copies are tokenised apart from the rest, so that both have the same ids.
        before_slot: The string before the slot, a place that no token of a text can fill
            (:class:`TokenPrepending`); None: there is no slot.

    >>> Prompt.parse("query: {text}")
    Prompt(prefix='query: ', suffix='', between_copies=None, before_slot=None)
    """

    prefix: str = ""
    suffix: str = ""
    between_copies: str | None = field(default=None, metadata=stored_as("again"))
    before_slot: str | None = field(default=None, metadata=stored_as("lead"))

    @classmethod
    def parse(cls, template: str) -> Self:
        """Read a template; braces other than these stand for themselves.

        Args:
            template: Holds ``{text}`` once, or twice for Echo, and perhaps ``{slot}`` before it.

        Raises:
            RecipeError: ``{text}`` is missing or appears three times, or the slot is not before it.
        """
        first, *after = template.split(_TEXT)
        if len(after) not in (1, 2):
            raise RecipeError(
                f"a prompt holds {_TEXT} exactly once (Echo: twice), got {template!r}"
            )
        lead, *rest = first.split(_SLOT)
        if len(rest) > 1 or any(_SLOT in part for part in after):
            raise RecipeError(f"a prompt holds {_SLOT} once, before {_TEXT}, got {template!r}")
        return cls(
            prefix=rest[0] if rest else first,
            suffix=after[-1],
            between_copies=after[0] if len(after) == 2 else None,
            before_slot=lead if rest else None,
        )

    @property
    def template(self) -> str:
        """The prompt as :meth:`parse` reads it."""
        slot = "" if self.before_slot is None else f"{self.before_slot}{_SLOT}"
        twice = "" if self.between_copies is None else f"{self.between_copies}{_TEXT}"
        return f"{slot}{self.prefix}{_TEXT}{twice}{self.suffix}"

    @property
    def copies(self) -> int:
        """How many copies of the text the prompt holds."""
        return 1 if self.between_copies is None else 2
