"""Turn texts into token ids, and mark which tokens count.

Everything prompt-related ends here: after this module there are only arrays.
A prompt and its text are tokenised as one string, as the models were trained; then only the text
is cut, so that prompt, special tokens and EOS always survive.
Invariant: ``pooling_mask <= attention_mask``, element by element.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from .errors import RecipeError
from .recipe import Recipe, Role, Span

if TYPE_CHECKING:
    from tokenizers import Encoding

GOLDEN_TEXTS = (
    "What is a PEP?",
    " two leading  and inner spaces ",
    "line one\nline two\r\n\ttabbed",
    "naïve café — “quotes” … ﬁ",
    "日本語の文章、한국어, العربية, हिन्दी",
    "👩‍👩‍👧 emoji 🇪🇺 and e\u0301 combined",
    "<s> [CLS] </s> [SEP] <|endoftext|>",
    "{text} and 100% {braces}",
    "x",
    "\n",
    "one text that is longer than the limit of the golden ids " * 12,
)
"""Texts whose ids a bundle keeps, so that another tokenizer version cannot slip in."""

_GOLDEN_LIMIT = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Tokens:
    """One text as token ids; the tokens from ``counted`` on are in the span."""

    ids: tuple[int, ...]
    counted: int


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TokenBatch:
    """Some texts, padded to one length; every array is int64 of shape (B, T)."""

    input_ids: NDArray[np.int64]
    attention_mask: NDArray[np.int64]
    pooling_mask: NDArray[np.int64]


class TextTokenizer:
    """Tokenises texts as one recipe says.

    Args:
        tokenizer: The model's tokenizer; it is copied, and its own truncation and padding are
            dropped (all-MiniLM-L6-v2 ships with both set to 128).
        recipe: Gives prompts, EOS, span and length.

    Raises:
        RecipeError: EOS is not in the vocabulary, or a prompt leaves no room for text.
    """

    def __init__(self, tokenizer: Tokenizer, recipe: Recipe) -> None:
        self.bare = Tokenizer.from_str(tokenizer.to_str())
        self.bare.no_truncation()
        self.bare.no_padding()
        self.recipe = recipe
        self._appended: tuple[int, ...] = ()
        if recipe.eos is not None:
            eos = self.bare.token_to_id(recipe.eos)
            if eos is None:
                raise RecipeError(
                    f"the recipe ends every text with {recipe.eos!r}, which this tokenizer "
                    "does not know; correct the recipe's eos"
                )
            # transformers >= 5 no longer appends EOS for e5-mistral and its kin: their
            # tokenizer.json adds <s> alone, so the recipe decides, not the tokenizer's settings.
            if self.bare.encode("a").ids[-1:] != [eos]:
                self._appended = (eos,)
        self._others = {role: self._count_others(role) for role in Role}
        for role, others in self._others.items():
            if others >= recipe.max_tokens:
                raise RecipeError(
                    f"the {role} prompt and special tokens take {others} of max_tokens="
                    f"{recipe.max_tokens} and leave no room for text; raise max_tokens"
                )

    def room(self, role: Role) -> int:
        """Return how many tokens of text fit beside prompt and special tokens."""
        return self.recipe.max_tokens - self._others[role]

    def __call__(
        self, texts: Sequence[str], *, role: Role, max_tokens: int | None = None
    ) -> list[Tokens]:
        """Tokenise ``texts``, each cut to ``max_tokens`` (default: the recipe's)."""
        prompt = self.recipe.prompt(role)
        limit = max_tokens or self.recipe.max_tokens
        whole = [f"{prompt.prefix}{text}{prompt.suffix}" for text in texts]
        encodings = self.bare.encode_batch(whole)
        begin = len(prompt.prefix)
        return [
            self._cut(encoding, limit, begin, len(string) - len(prompt.suffix))
            for encoding, string in zip(encodings, whole, strict=True)
        ]

    def golden(self) -> list[tuple[Role, str, tuple[int, ...]]]:
        """Return role, text and ids of every golden text, cut to 64 tokens or the recipe's limit.

        Roles with the same prompt give the same ids and are listed both.
        """
        found = []
        for role in Role:
            limit = min(self.recipe.max_tokens, self._others[role] + _GOLDEN_LIMIT)
            for text, tokens in zip(
                GOLDEN_TEXTS, self(GOLDEN_TEXTS, role=role, max_tokens=limit), strict=True
            ):
                found.append((role, text, tokens.ids))
        return found

    def _cut(self, encoding: Encoding, limit: int, begin: int, end: int) -> Tokens:
        """Drop text tokens beyond ``limit``; the text is characters ``begin`` to ``end``."""
        ids: list[int] = encoding.ids
        start, stop = _text_tokens(encoding, begin, end)
        surplus = len(ids) + len(self._appended) - limit
        if surplus > 0:
            ids = ids[: max(start, stop - surplus)] + ids[stop:]
        counted = start if begin > 0 and self.recipe.span is Span.TEXT else 0
        return Tokens(ids=(*ids, *self._appended), counted=counted)

    def _count_others(self, role: Role) -> int:
        prompt = self.recipe.prompt(role)
        encoding = self.bare.encode(f"{prompt.prefix}a{prompt.suffix}")
        start, stop = _text_tokens(encoding, len(prompt.prefix), len(prompt.prefix) + 1)
        return len(encoding.ids) - (stop - start) + len(self._appended)


def _text_tokens(encoding: Encoding, begin: int, end: int) -> tuple[int, int]:
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
