"""What stands around a text before it is tokenised: roles, prompts, and how a text is worded."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Self

from ..errors import RecipeError

_TEXT = "{text}"
_SLOT = "{slot}"
_ENDS = (".", "?", '"', "'")


class Role(StrEnum):
    """What a text is for; it selects the prompt."""

    QUERY = "query"
    PASSAGE = "passage"


class TextFormat(StrEnum):
    """How a text enters its prompt.

    VERBATIM: to the letter. QUOTED: as the prompts of the PromptEOL line want a sentence between
    double quotes (arXiv 2307.16645, its code): a text that ends in none of ``. ? " '`` gets a full
    stop, double quotes become single ones, and a question mark at the end a full stop.

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
    """What stands around a text, to the letter.

    Args:
        prefix: Before the text, and after the slot if there is one.
        suffix: After the text.
        again: Where the text stands twice (Echo, arXiv 2402.15449), what is between the copies.
            They are tokenised apart from everything else, so that both have the same ids.
        lead: What stands before the slot, a place that no token of a text can fill
            (:class:`Prepending`); None: there is no slot.

    >>> Prompt.parse("query: {text}")
    Prompt(prefix='query: ', suffix='', again=None, lead=None)
    """

    prefix: str = ""
    suffix: str = ""
    again: str | None = None
    lead: str | None = None

    @classmethod
    def parse(cls, template: str) -> Self:
        """Read a template; braces other than these stand for themselves.

        Args:
            template: Holds ``{text}`` once, or twice for Echo, and perhaps ``{slot}`` before it.

        Raises:
            RecipeError: ``{text}`` is missing or stands three times, or the slot is elsewhere.
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
            again=after[0] if len(after) == 2 else None,
            lead=lead if rest else None,
        )

    @property
    def template(self) -> str:
        """The prompt as :meth:`parse` reads it."""
        before = self.prefix if self.lead is None else f"{self.lead}{_SLOT}{self.prefix}"
        twice = "" if self.again is None else f"{self.again}{_TEXT}"
        return f"{before}{_TEXT}{twice}{self.suffix}"

    @property
    def copies(self) -> int:
        """How often the text stands in it."""
        return 1 if self.again is None else 2
