"""Check tokenised texts before a model runs, and refuse those that cannot be embedded, by index.

A text without a token that counts, or with a token that has no embedding, would fail inside the
graph or get a meaningless vector.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from ..errors import RecipeError, TextError

if TYPE_CHECKING:
    from tokenizers import Tokenizer

    from .rows import Tokens

_SHOWN = 40
_NAMED = 3


def check_counted(rows: Sequence[Tokens], texts: Sequence[str], *, first: int) -> None:
    """Refuse a text of which no token counts: pooling would have no input.

    Args:
        rows: The tokens of each text.
        texts: The texts.
        first: The caller's number of the first text.

    Raises:
        TextError: A text has no token that counts; the message holds its index.
    """
    for index, row in enumerate(rows):
        for one in row.rows:
            if one.counted >= (len(one.ids) if one.end is None else one.end):
                raise TextError(
                    f"text {first + index}, {texts[index][:_SHOWN]!r}, gives no token that counts: "
                    "the tokenizer drops all of its characters, and prompt and special tokens "
                    "do not count; leave it out, or export the model with an eos"
                )


@dataclass(frozen=True, slots=True, kw_only=True)
class Unembedded:
    """Tokens that a tokenizer knows and the model has no embedding for.

    Such a model is not refused as a whole: EmbeddingGemma's tokenizer has ``<image_soft_token>``,
    an id beyond its embeddings, which texts hardly ever hold. Prompts and texts that hold such a
    token are refused.

    Args:
        rows: How many tokens have an embedding.
        tokens: The tokens without one, by id.
        slot: The id of token prepending's slot, which each row holds once; None: there is no slot.
    """

    rows: int
    tokens: Mapping[int, str]
    slot: int | None

    @classmethod
    def of(cls, tokenizer: Tokenizer, rows: int | None, slot: int | None) -> Self | None:
        """Return the tokens without embedding; None if there are none, or ``rows`` is unknown."""
        if rows is None:
            return None
        # Listing a large vocabulary takes a tenth of the time of reading it, so only if needed.
        added = max(tokenizer.get_added_tokens_decoder(), default=0)
        if tokenizer.get_vocab_size(with_added_tokens=True) <= rows and added < rows:
            return None
        known = tokenizer.get_vocab(with_added_tokens=True)
        beyond = {number: token for token, number in known.items() if number >= rows}
        return cls(rows=rows, tokens=beyond, slot=slot) if beyond else None

    def check_prompt(self, template: str, ids: Sequence[int]) -> None:
        """Refuse a prompt that holds such a token, or has one among its special tokens.

        Raises:
            RecipeError: The prompt holds such tokens; the message names them.
        """
        if found := self._among(ids):
            raise RecipeError(
                f"the prompt {template[:60]!r} and special tokens hold {self._named(found)}, and "
                f"the model has embeddings for {self.rows} tokens alone; resize its embeddings to "
                "its tokenizer, or take these tokens out of prompt and tokenizer"
            )

    def check(self, rows: Sequence[Tokens], *, first: int) -> None:
        """Refuse texts that hold such a token.

        Args:
            rows: The tokens of each text.
            first: The caller's number of the first text.

        Raises:
            TextError: A text holds such tokens; the message holds its index and names them.
        """
        for index, row in enumerate(rows):
            for ids in (row.words, *(one.ids for one in row.rows)):
                if found := self._among(ids):
                    raise TextError(
                        f"text {first + index} holds {self._named(found)}, and the model has "
                        f"embeddings for {self.rows} tokens alone; take it out of the text, or "
                        "resize the model's embeddings to its tokenizer"
                    )

    def _among(self, ids: Sequence[int]) -> list[int]:
        if self.tokens.keys().isdisjoint(ids):
            return []
        found = [one for one in ids if one in self.tokens]
        if self.slot in found:
            found.remove(self.slot)
        return found

    def _named(self, ids: Iterable[int]) -> str:
        several = list(dict.fromkeys(ids))
        named = ", ".join(f"{self.tokens[one]!r} (id {one})" for one in several[:_NAMED])
        return named if len(several) <= _NAMED else f"{named} …"
