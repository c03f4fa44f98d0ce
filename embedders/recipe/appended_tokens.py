"""Appended tokens: trained tokens at the end of every input, pooled instead of the text's tokens.

AutoRegEmbed trains ``k`` compress tokens and reads them all (arXiv 2502.11401, section 3.1);
LLM2Vec-Gen trains N of which it reads the last n (arXiv 2603.10913, section 3).
"""

from __future__ import annotations

from dataclasses import dataclass

from ..errors import RecipeError


@dataclass(frozen=True, slots=True, kw_only=True)
class AppendedTokens:
    """Tokens at the very end of every input; truncation never removes them.

    Args:
        tokens: Tokens of the vocabulary, in their order.
        read: How many of the last tokens are pooled; their states are also an output.
        decoded: How many of the head's layers are applied to each of these states before a frozen
            language model decodes it: none in AutoRegEmbed, the first in LLM2Vec-Gen.

    >>> AppendedTokens(tokens=("<EMBED0>", "<EMBED1>"), read=2).decoded
    0
    """

    tokens: tuple[str, ...]
    read: int
    decoded: int = 0

    def __post_init__(self) -> None:
        if not self.tokens or "" in self.tokens:
            raise RecipeError(
                f"appended tokens must be one or more, and none empty; got {self.tokens}"
            )
        if not 1 <= self.read <= len(self.tokens):
            raise RecipeError(
                f"of {len(self.tokens)} appended tokens 1 to {len(self.tokens)} can be read, got "
                f"read={self.read}"
            )
        if self.decoded < 0:
            raise RecipeError(f"decoded must be at least 0, got {self.decoded}")
