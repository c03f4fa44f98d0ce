"""A handle of a collection: its store, its name there, and its encoder."""

from __future__ import annotations

from dataclasses import dataclass

from decant.embedders import Encoder, Output

from ..foreign_payloads.payload_layout import PayloadLayout
from ..late.token_vectors import HELD_NUMBERS, READ_NUMBERS, StoredTokenVectors
from ..stores.collection_settings import Tenants
from ..stores.input_errors import StoreInputError
from ..stores.point_ids import adopted_id, record_id
from ..stores.protocol import Select, Store
from ..stores.search_defaults import SearchDefaults
from ..stores.words import Words


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A collection, for the functions that fill and search it.

    Args:
        store: The store that holds it.
        name: Its own name there, which stays its own whatever an alias means later.
        mark: The random mark in its metadata; the same under all its names.
        encoder: The encoder that makes its vectors.
        sparse: Whether its points also have sparse vectors.
        soft_tokens: The width d' of the soft tokens of its points; None: they have none.
        words: How the words of its texts are indexed; None: they are not.
        tenants: How its passages belong to tenants; None: they belong to nobody.
        search: How it is searched where a search does not specify it, if it keeps that.
        alias: The name by which it was opened, if that is another.
        payload_layout: How another program laid out its points, if it was adopted.
        prefix: How many first values of dense vectors are a vector of their own; 0: there is none.
        token_vectors: What is kept of token vectors; None: nothing is.
    """

    store: Store
    name: str
    mark: str
    encoder: Encoder
    sparse: bool
    soft_tokens: int | None = None
    words: Words | None = None
    tenants: Tenants | None = None
    search: SearchDefaults | None = None
    alias: str | None = None
    payload_layout: PayloadLayout | None = None
    prefix: int = 0
    token_vectors: StoredTokenVectors | None = None

    @property
    def called(self) -> str:
        """The name by which it was opened."""
        return self.alias or self.name

    def point_id(self, identity: str) -> str:
        """Return the id of the point of a passage with this id."""
        return record_id(identity) if self.payload_layout is None else adopted_id(identity)

    def check_own(self, what: str) -> None:
        """Refuse what only collections have that decant made.

        Raises:
            StoreInputError: The collection was adopted; the message says ``what`` is not possible.
        """
        if self.payload_layout is not None:
            raise refused_adopted(self.name, what)

    @property
    def outputs(self) -> tuple[Output, ...]:
        """The outputs of the encoder, in addition to dense vectors, that are stored of passages."""
        states = () if self.soft_tokens is None else (Output.SOFT_TOKENS,)
        tokens = () if self.token_vectors is None else (Output.TOKEN_EMBEDDINGS,)
        return (*self.searched, *states, *tokens)

    def held(self, most: int) -> int:
        """Return how many passages to hold with their vectors at a time, of ``most`` at most."""
        tokens = self.token_vectors
        return most if tokens is None else tokens.bounded(most, HELD_NUMBERS)

    def page(self, most: int) -> int:
        """Return how many passages to read with their vectors at a time, of ``most`` at most."""
        tokens = self.token_vectors
        return most if tokens is None else tokens.bounded(most, READ_NUMBERS)

    def select(self, fields: tuple[str, ...] | None = None) -> Select:
        """Return what brings back all vectors that the encoder makes of a passage.

        Args:
            fields: Names of payload fields; None for all of them.
        """
        return Select(
            fields=fields,
            dense=True,
            sparse=self.sparse,
            soft_tokens=self.soft_tokens is not None,
            token_vectors=self.token_vectors is not None,
        )

    @property
    def searched(self) -> tuple[Output, ...]:
        """The outputs of the encoder that a query needs."""
        return (Output.SPARSE,) if self.sparse else ()


def refused_adopted(name: str, what: str) -> StoreInputError:
    """Return the error for what an adopted collection does not have."""
    return StoreInputError(
        f"{what} needs points in decant's own form, and {name!r} was adopted from another program, "
        "whose points stay as they are; add records with add(), or make a collection of decant's "
        "with Collection.create"
    )
