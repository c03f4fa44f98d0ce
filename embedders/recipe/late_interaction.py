"""The part of a recipe that makes a vector of each token, for late interaction (MaxSim).

ColBERT (arXiv 2004.12832) compares every token of a query with every token of a passage. What
decides these vectors is here; ``tokens/late_tokens.py`` and ``pytorch/late_head.py`` follow it.
"""

from __future__ import annotations

from dataclasses import dataclass

from ..enum_fields import settle
from ..errors import RecipeError
from .dense import Dense


@dataclass(frozen=True, slots=True, kw_only=True)
class QueryExpansion:
    """Fill short queries up with a token whose vectors count, too (ColBERT, section 3.2).

    Args:
        length: Up to so many tokens, prompt and special tokens included.
        token: What they are filled up with.
        attended: Whether other tokens see these. ColBERT's do not: they see the query, and it does
            not see them.
        cut: Whether longer queries are cut to ``length``; otherwise they are left as they are.

    Raises:
        RecipeError: ``length`` is below 1, or the token is empty.
    """

    length: int
    token: str = "[MASK]"  # noqa: S105 - a token of a vocabulary
    attended: bool = False
    cut: bool = True

    def __post_init__(self) -> None:
        settle(self, {}, ("length",), error=RecipeError)
        if self.length < 1 or not self.token:
            raise RecipeError(f"queries are filled up to 1 token at least, got {self}")


@dataclass(frozen=True, slots=True, kw_only=True)
class LateInteraction:
    """What makes a vector of each token, in the same pass as the dense vector.

    Args:
        projection: The linear layer on each token's last state; None: the state itself.
        normalize: Whether each token's vector gets unit length.
        markers: Tokens of the vocabulary that stand in the recipe's prompts and that the tokenizer
            would cut into pieces, such as ``[unused0]``: each is read as one token.
        expansion: What short queries are filled up with; None: nothing.
        query_tokens: The longest query in tokens, prompt and special tokens included; None: the
            recipe's ``max_tokens``, which is the longest passage in any case.
        skipped: Tokens that give no vector where they stand in a passage, such as punctuation.
        skips_first: Whether the first token of every text gives no vector (BGE-M3).

    Raises:
        RecipeError: ``query_tokens`` is below 1, or contradicts the expansion.
    """

    projection: Dense | None = None
    normalize: bool = True
    markers: tuple[str, ...] = ()
    expansion: QueryExpansion | None = None
    query_tokens: int | None = None
    skipped: tuple[str, ...] = ()
    skips_first: bool = False

    def __post_init__(self) -> None:
        settle(self, {}, ("query_tokens",), error=RecipeError)
        if self.query_tokens is not None and self.query_tokens < 1:
            raise RecipeError(f"query_tokens must be positive or None, got {self.query_tokens}")
        if self.expansion is None or self.query_tokens is None:
            return
        if self.expansion.cut or self.query_tokens < self.expansion.length:
            raise RecipeError(
                f"queries are filled up to {self.expansion.length} tokens and cut to "
                f"{self.query_tokens}; say the longest query in one place, as the expansion's "
                "length, or with cut=False as query_tokens above it"
            )

    @property
    def longest_query(self) -> int | None:
        """The longest query in tokens; None: the recipe's ``max_tokens``."""
        if self.expansion is not None and self.expansion.cut:
            return self.expansion.length
        return self.query_tokens

    @property
    def has_unattended(self) -> bool:
        """Whether queries hold tokens that other tokens do not see."""
        return self.expansion is not None and not self.expansion.attended
