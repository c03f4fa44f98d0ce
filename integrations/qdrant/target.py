"""Where passages go: a store, the name of a collection in it, and the collection's encoder."""

from __future__ import annotations

from dataclasses import dataclass

from decant.embedders import Encoder

from .store import Store


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A collection, for the functions that fill it."""

    store: Store
    name: str
    encoder: Encoder
