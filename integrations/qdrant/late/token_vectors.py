"""What a collection keeps of the token vectors of its passages.

They are a multivector in float16 that nothing indexes: a search reads them of its candidates alone.
Invariant: the engine holds exactly the numbers that decant sends, which float16 holds, too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from decant.embedders import Encoder, Output, Role, StoreError, pool_tokens

_ANY_TEXT = "a"
_TOKENS = 256  # of a passage that is not pooled, about
HELD_NUMBERS = 16_000_000
"""How many numbers of token vectors are in memory at a time in one place: 64 MB in float32."""
READ_NUMBERS = 2_000_000
"""How many are read at a time: engines give a Python float for each, of 32 bytes."""
_LEAST = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenVectors:
    """That a collection keeps a vector of each token, for encoders with late interaction.

    Args:
        pool_to: At most so many vectors of each passage, by clustering (:func:`pool_tokens`), which
            take less space and find a little less; None: all of them.

    Raises:
        StoreError: ``pool_to`` is below 1.
    """

    pool_to: int | None = None

    def __post_init__(self) -> None:
        most: object = self.pool_to
        if most is not None and (not isinstance(most, int) or isinstance(most, bool) or most < 1):
            raise StoreError(f"pool_to is a number of at least 1, or None, got {self.pool_to!r}")

    def __str__(self) -> str:
        """Return the settings for people."""
        return "all tokens" if self.pool_to is None else f"at most {self.pool_to} a passage"


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredTokenVectors:
    """The token vectors of a collection.

    Args:
        dim: Their width.
        pool_to: At most so many of each passage; None: one of each token that counts.
    """

    dim: int
    pool_to: int | None = None

    @classmethod
    def of(cls, encoder: Encoder, settings: TokenVectors) -> StoredTokenVectors:
        """Return the token vectors of a new collection.

        Raises:
            StoreError: The encoder's recipe has no late interaction.
        """
        recipe = encoder.recipe
        if recipe.late_interaction is None:
            raise StoreError(
                f"the recipe of {recipe.base} has no late interaction, so its token embeddings are "
                "no vectors to compare; export a model that was trained for it, such as ColBERT's, "
                "or leave token_vectors out"
            )
        found = encoder.encode([_ANY_TEXT], role=Role.PASSAGE, outputs=[Output.TOKEN_EMBEDDINGS])
        if not found.token_embeddings:
            raise StoreError(
                f"the encoder of {recipe.base} gave no token embeddings although it was asked for "
                "them; its encode() must obey `outputs`"
            )
        return cls(dim=found.token_embeddings[0].shape[1], pool_to=settings.pool_to)

    def bounded(self, most: int, numbers: int) -> int:
        """Return how many passages together have about so many numbers, of ``most`` at most.

        >>> StoredTokenVectors(dim=128, pool_to=32).bounded(1_000, 2_000_000)
        488
        """
        of_one = self.dim * (self.pool_to or _TOKENS)
        return min(most, max(_LEAST, numbers // of_one))

    @property
    def settings(self) -> TokenVectors:
        """The settings of a collection that keeps the same."""
        return TokenVectors(pool_to=self.pool_to)

    def rows(
        self, given: Sequence[NDArray[np.float32]], owners: Sequence[str]
    ) -> list[NDArray[np.float32]]:
        """Return the vectors of N texts as they are stored: pooled, and rounded to float16.

        Args:
            given: N arrays, float32, each of shape ``(P, dim)``, P at least 1.
            owners: N names for messages.

        Raises:
            StoreError: There are not N, or one has another shape or a number that is not finite.
        """
        if len(given) != len(owners):
            raise StoreError(f"expected token vectors of {len(owners)} texts, got {len(given)}")
        return [self._row(one, owner) for one, owner in zip(given, owners, strict=True)]

    def _row(self, given: NDArray[np.float32], owner: str) -> NDArray[np.float32]:
        rows = np.asarray(given, np.float32)
        if rows.ndim != 2 or not len(rows) or rows.shape[1] != self.dim:
            raise StoreError(
                f"the token vectors of {owner} have shape {rows.shape}; expected one row of "
                f"{self.dim} values for each token, and a token at least"
            )
        pooled = rows if self.pool_to is None else pool_tokens(rows, self.pool_to)
        with np.errstate(over="ignore"):
            rounded = pooled.astype(np.float16).astype(np.float32)
        if not np.isfinite(rounded).all():
            raise StoreError(
                f"the token vectors of {owner} are not finite in float16; check the encoder"
            )
        return rounded
