"""What a client asks of a model, and the pass that joins the texts of several clients.

A pass is one call of ``Encoder.encode``: texts of one role, one instruction and one set of outputs.
Or it is one call of a reranker, whose texts are pairs of a query and a passage, and whose vectors
are raw scores of width 1.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Generic, Protocol, TypeAlias, TypeVar

import numpy as np

from decant.embedders import Output, Role, Vectors

Pair: TypeAlias = tuple[str, str]
"""A query and a passage."""


class Lane(StrEnum):
    """Where work waits: few tokens of queries in SHORT, everything else in LONG."""

    SHORT = "short"
    LONG = "long"


class WorkKey(Protocol):
    """What the texts of one pass have in common; it can be hashed and compared."""

    @property
    def is_urgent(self) -> bool:
        """Whether somebody waits for them, so that few of them go before loads of others."""
        ...

    @property
    def outputs(self) -> frozenset[Output]:
        """What is wanted in addition to dense vectors."""
        ...

    def __hash__(self) -> int: ...


Key = TypeVar("Key", bound=WorkKey)
Text = TypeVar("Text")


@dataclass(frozen=True, slots=True, kw_only=True)
class PassKey:
    """What the texts of one pass have in common.

    Args:
        role: Whether they are queries or passages.
        instruction: The task, in place of the recipe's own; None: the recipe's.
        outputs: What is wanted in addition to dense vectors.
    """

    role: Role
    instruction: str | None = None
    outputs: frozenset[Output] = frozenset()

    @property
    def is_urgent(self) -> bool:
        """Whether they are queries."""
        return self.role is Role.QUERY


@dataclass(frozen=True, slots=True, kw_only=True)
class PairKey:
    """What the pairs of one pass have in common.

    Args:
        query: Their query, for a reranker that computes what stands before the passages of a query
            once for all of them; None for others, which read pairs of any queries together.
        instruction: The task, in place of the recipe's own; None: the recipe's.
    """

    query: str | None = None
    instruction: str | None = None

    @property
    def is_urgent(self) -> bool:
        """Always: a search waits for them."""
        return True

    @property
    def outputs(self) -> frozenset[Output]:
        """Always nothing: a score is all that a reranker gives."""
        return frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class Work(Generic[Key, Text]):
    """Texts, or pairs of them, that one client wants vectors of.

    Args:
        key: How they are to be encoded.
        texts: At least one text, checked by whoever accepted them.
        tokens: How many tokens the model reads of each text, at least 1.
    """

    key: Key
    texts: tuple[Text, ...]
    tokens: tuple[int, ...]

    def __post_init__(self) -> None:
        if not self.texts or len(self.texts) != len(self.tokens) or min(self.tokens) < 1:
            raise ValueError(
                f"work has texts, and at least one token of each; got {len(self.texts)} texts "
                f"and {len(self.tokens)} counts"
            )

    @property
    def total(self) -> int:
        """How many tokens the model reads of all texts."""
        return sum(self.tokens)


@dataclass(slots=True, kw_only=True, eq=False)
class Ticket(Generic[Key, Text]):
    """Work that was accepted, and how far it has come.

    Args:
        work: The work.
        lane: Where it waits.
        taken: How many of its texts are in a pass already.
    """

    work: Work[Key, Text]
    lane: Lane
    taken: int = 0

    @property
    def waiting_tokens(self) -> int:
        """How many tokens are in no pass yet."""
        return sum(self.work.tokens[self.taken :])


@dataclass(frozen=True, slots=True, kw_only=True)
class PassPart(Generic[Key, Text]):
    """Consecutive texts of one ticket in a pass: ``work.texts[start:stop]``."""

    ticket: Ticket[Key, Text]
    start: int
    stop: int

    def __len__(self) -> int:
        return self.stop - self.start


@dataclass(frozen=True, slots=True, kw_only=True)
class Pass(Generic[Key, Text]):
    """Texts that one call of ``encode`` turns into vectors.

    Args:
        lane: The lane that they were taken from.
        key: How they are to be encoded.
        parts: Which texts of which tickets, in order.
    """

    lane: Lane
    key: Key
    parts: tuple[PassPart[Key, Text], ...]

    @property
    def texts(self) -> list[Text]:
        """The texts of all parts, in order."""
        return [text for part in self.parts for text in part.ticket.work.texts[_of(part)]]

    @property
    def tokens(self) -> int:
        """How many tokens the model reads of all texts."""
        return sum(sum(part.ticket.work.tokens[_of(part)]) for part in self.parts)


def vector_rows(vectors: Vectors, start: int, stop: int) -> Vectors:
    """Return the vectors of the texts ``start`` to ``stop``, as views where that is possible."""
    tokens, soft = vectors.token_embeddings, vectors.soft_tokens
    return Vectors(
        dense=vectors.dense[start:stop],
        sparse=None if vectors.sparse is None else vectors.sparse.taken(np.arange(start, stop)),
        soft_tokens=None if soft is None else soft[start:stop],
        token_embeddings=None if tokens is None else tokens[start:stop],
    )


def _of(part: PassPart[Any, Any]) -> slice:
    return slice(part.start, part.stop)
