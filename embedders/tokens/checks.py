"""Check tokenised texts before anything runs: what cannot be embedded is named by its index.

A text of which no token is left, and one that holds a token without embedding, would else fail
inside the graph, or get a vector that says nothing.
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Unembedded:
    """Tokens that a tokenizer knows and the model has no embedding for.

    Such a model is not refused as a whole: EmbeddingGemma's tokenizer has ``<image_soft_token>``,
    one beyond its embeddings, which a text all but never holds. What holds one is refused.

    Args:
        rows: How many tokens have an embedding.
        tokens: The others, by id.
        slot: The id that token prepending gives its slot, once in a row; None: there is none.
    """

    rows: int
    tokens: Mapping[int, str]
    slot: int | None

    @classmethod
    def of(cls, tokenizer: Tokenizer, rows: int | None, slot: int | None) -> Self | None:
        """Return the tokens without embedding; None if there are none, or ``rows`` is unknown."""
        if rows is None:
            return None
        # Listing a large vocabulary takes as long as reading a tenth of it: not where all fit.
        added = max(tokenizer.get_added_tokens_decoder(), default=0)
        if tokenizer.get_vocab_size(with_added_tokens=True) <= rows and added < rows:
            return None
        known = tokenizer.get_vocab(with_added_tokens=True)
        beyond = {number: token for token, number in known.items() if number >= rows}
        return cls(rows=rows, tokens=beyond, slot=slot) if beyond else None

    def check_prompt(self, template: str, ids: Sequence[int]) -> None:
        """Refuse a prompt, with the special tokens around it, that holds such a token.

        Raises:
            RecipeError: It does; the message names the tokens.
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
            rows: One for each text.
            first: The caller's number of the first.

        Raises:
            TextError: One does; the message holds its index and names the tokens.
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
