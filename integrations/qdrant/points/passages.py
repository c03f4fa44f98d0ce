"""Single texts that go into a collection, and those that come out: records, passages, hits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypedDict

from decant.embedders import TextError

from ..stores.point_ids import Kind
from ..stores.protocol import Json, Point
from .payloads import check_text, checked_metadata
from .stored_passage import StoredPassage
from .vectors import Row

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One text to store as it is, without chunking.

    Args:
        text: The text. What exceeds the encoder's limit is stored, but not embedded. A blank text
            (white space and characters that the tokenizer drops) has no vector unless one is
            given: the record is found by id and filters, counted and deleted, and no search
            returns it.
        id: Any string; the record of the same id is replaced. None draws a new id.
        metadata: JSON values, nested 30 levels deep at most, which filters can use. Dates and times
            become strings in ISO 8601 form with their offset, UUIDs become strings, paths strings
            with "/", and scalars of numpy plain values.
        source: Where it comes from, for readers and for filters.

    Raises:
        TextError: A string is not valid Unicode, or the id is empty.
        StoreError: ``metadata`` holds something else than JSON, or is nested too deep.
    """

    text: str
    id: str | None = None
    metadata: Mapping[str, Json] = field(default_factory=dict)
    source: str = ""

    def __post_init__(self) -> None:
        owner = "a record" if self.id is None else f"record {self.id!r}"
        check_text(self.text, owner=f"the text of {owner}")
        check_text(self.source, owner=f"the source of {owner}")
        if self.id is not None:
            check_text(self.id, owner="the id of a record")
            if not self.id:
                raise TextError("the id of a record is empty; give None to have one drawn")
        object.__setattr__(self, "metadata", checked_metadata(self.metadata, owner=owner))


def record_point(record: Record, identity: str, row: Row | None) -> Point:
    """Return the record as it is stored under ``identity``; None as ``row`` is without vectors."""
    point = StoredPassage(
        kind=Kind.RECORD,
        id=identity,
        text=record.text,
        source=record.source,
        metadata=dict(record.metadata),
    ).point()
    return point if row is None else row.on(point)


@dataclass(frozen=True, slots=True, kw_only=True)
class Passage:
    """A stored text: a record, or a chunk of a document.

    Args:
        id: The record's own id, or the chunk's.
        text: The text, unaltered.
        source: The document or record's source.
        root: The folder or set of the document; None if it has none.
        start: Where in the document it starts, in characters; 0 for records.
        metadata: The metadata of the record or the document.
        is_chunk: Whether it was cut from a document; then ``start`` is its place there.
        vector: The dense vector: float32, shape ``(D,)``, of unit length; None unless requested,
            and for a record whose text is blank.
    """

    id: str
    text: str
    source: str
    root: str | None
    start: int
    metadata: dict[str, Json]
    is_chunk: bool = False
    vector: NDArray[np.float32] | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class BranchScore:
    """The place of a hit in one of the rankings of a search.

    Args:
        name: The ranking: ``dense``, ``sparse`` or ``words``; then ``late`` for token vectors, and
            ``rerank`` for a reranker's.
        rank: The hit's place in it, from 1.
        score: The hit's score in it: a cosine, an inner product, BM25,
            MaxSim, or the reranker's.
    """

    name: str
    rank: int
    score: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Hit(Passage):
    """A passage that a search found.

    Args:
        score: Higher is nearer. Cosine similarity with the query, from -1 to 1, in a search by
            dense vectors; for the others see :class:`SearchMode`. Fused scores fall only among
            the hits of one depth (:class:`Fusion`). With a reranker it is the reranker's score.
        branches: The hit's places in the rankings that found it, one or several.
        boost: What boosts added to the score (:class:`SearchOptions`), before a reranker's.
    """

    score: float
    branches: tuple[BranchScore, ...] = ()
    boost: float = 0.0


def passage(point: Point) -> Passage:
    """Read a stored chunk or record.

    Raises:
        StoreError: The point is neither, so another program wrote it, or the engine's files are
            damaged.
    """
    return Passage(**_fields(point))


def hit(
    point: Point, *, score: float, branches: tuple[BranchScore, ...], boost: float = 0.0
) -> Hit:
    """Read a chunk or record that a search found.

    Raises:
        StoreError: As :func:`passage`.
    """
    return Hit(**_fields(point), score=score, branches=branches, boost=boost)


class _Fields(TypedDict):
    id: str
    text: str
    source: str
    root: str | None
    start: int
    metadata: dict[str, Json]
    is_chunk: bool
    vector: NDArray[np.float32] | None


def _fields(point: Point) -> _Fields:
    stored = StoredPassage.read(point)
    return {
        "id": stored.id,
        "text": stored.text,
        "source": stored.source,
        "root": stored.root or None,
        "start": stored.start,
        "metadata": stored.metadata,
        "is_chunk": stored.kind is Kind.CHUNK,
        "vector": point.dense,
    }
