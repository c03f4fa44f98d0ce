"""Where passages go: a store, the name of a collection in it, and the collection's encoder."""

from __future__ import annotations

from dataclasses import dataclass

from decant.embedders import Encoder, Output

from ..stores.protocol import Store


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A collection, for the functions that fill and search it.

    Args:
        store: What holds it.
        name: Its name there, or an alias.
        mark: What its card has drawn at random; the same under all its names.
        encoder: What makes its vectors.
        sparse: Whether its points have sparse vectors beside dense ones.
        soft_tokens: The width d' of the states of appended tokens that its points keep; None: none.
    """

    store: Store
    name: str
    mark: str
    encoder: Encoder
    sparse: bool
    soft_tokens: int | None = None

    @property
    def outputs(self) -> tuple[Output, ...]:
        """What to ask the encoder for, beside dense vectors, when passages are stored."""
        states = () if self.soft_tokens is None else (Output.SOFT_TOKENS,)
        return (*self.searched, *states)

    @property
    def searched(self) -> tuple[Output, ...]:
        """What to ask it for when a query is embedded."""
        return (Output.SPARSE,) if self.sparse else ()
