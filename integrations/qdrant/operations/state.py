"""The state of a stored collection as its engine reports it: sizes, indexes, replicas, status.

Nothing here needs the encoder, and no text is read. ``server_state.py`` and ``edge_state.py`` fill
these in.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import assert_never

from ..stores.collection_metadata import CollectionMetadata
from ..stores.collection_settings import Storage, StoredLayout
from ..stores.protocol import DENSE, PREFIX, SPARSE, STATES, TOKENS
from ..stores.words import Words

_FLOAT = 4  # bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredVector:
    """One kind of vector that the points of a collection have.

    Args:
        name: Its name in the engine.
        kind: ``dense``, ``sparse``, ``soft tokens`` or ``words``.
        dim: Its width; None for sparse ones.
        bytes_each: Bytes of the original vector of one point, float32; None where points differ.
        compressed_bytes_each: Bytes of the compressed copy that searches compare first; 0 if there
            is none, None if it is in a form that decant does not make.
    """

    name: str
    kind: str
    dim: int | None = None
    bytes_each: int | None = None
    compressed_bytes_each: int | None = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexedField:
    """A payload index.

    Args:
        path: The path in the payload.
        type: What the engine takes it for: ``keyword``, ``integer`` …
        points: How many points it holds; None if the engine does not say.
    """

    path: str
    type: str
    points: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardReplica:
    """A replica of a shard on a node of a cluster.

    Args:
        shard: The number of the shard.
        peer: The number of the node.
        state: The server's word: ``Active``, ``Dead``, ``Partial`` …
        points: How many points it holds; None for other nodes than the one that answers.
    """

    shard: int
    peer: int
    state: str
    points: int | None = None

    @property
    def is_active(self) -> bool:
        """Whether it answers searches and takes writes."""
        return self.state == "Active"


@dataclass(frozen=True, slots=True, kw_only=True)
class CollectionState:
    """How large and how healthy a collection is, as its engine reports it now.

    Args:
        points: All points, about; also the markers of documents and decant's notes.
        indexed_vectors: How many vectors are in a vector index, about.
        segments: How many segments the engine keeps them in.
        vectors: The kinds of vectors.
        payload_indexes: The payload indexes, sorted by path.
        status: The server's word: ``green``, ``yellow``, ``grey`` or ``red``; ``green`` on Edge.
        optimizer: ``ok``, or the error at which the server's optimizers stopped.
        replicas: The replicas of all shards; empty on Edge, and if the server does not say.
        server_version: The version of the server; None on Edge and in the client's local mode.
        warnings: What the server warns of.
        disk_bytes: What the collection takes on this machine's disk; None on a server.
        free_bytes: What is free on that disk; None on a server.
    """

    points: int
    indexed_vectors: int
    segments: int
    vectors: tuple[StoredVector, ...]
    payload_indexes: tuple[IndexedField, ...]
    status: str = "green"
    optimizer: str = "ok"
    replicas: tuple[ShardReplica, ...] = ()
    server_version: str | None = None
    warnings: tuple[str, ...] = ()
    disk_bytes: int | None = None
    free_bytes: int | None = None

    @property
    def vector_bytes(self) -> int:
        """Bytes of the vectors of all points, as far as they are known; without the index.

        Points without vectors, such as markers of documents, are counted as if they had some.
        """
        return self.points * sum(
            (vector.bytes_each or 0) + (vector.compressed_bytes_each or 0)
            for vector in self.vectors
        )


def stored_vectors(card: CollectionMetadata, layout: StoredLayout) -> tuple[StoredVector, ...]:
    """Return the kinds of vectors that a collection has by its metadata and its layout."""
    found = [
        StoredVector(
            name=DENSE,
            kind="dense",
            dim=card.dim,
            bytes_each=_FLOAT * card.dim,
            compressed_bytes_each=0 if layout.prefix else _compressed(layout.storage, card.dim),
        )
    ]
    if layout.prefix:
        compressed = _compressed(layout.storage, layout.prefix)
        found.append(
            StoredVector(
                name=PREFIX,
                kind="prefix",
                dim=layout.prefix,
                bytes_each=_FLOAT * layout.prefix,
                compressed_bytes_each=compressed,
            )
        )
    if card.sparse:
        found.append(StoredVector(name=SPARSE, kind="sparse"))
    if card.soft_tokens is not None:
        # How many states a point has is the recipe's; the metadata hold their width alone.
        found.append(StoredVector(name=STATES, kind="soft tokens", dim=card.soft_tokens))
    if card.token_vectors is not None:
        # How many a passage has is its own.
        found.append(StoredVector(name=TOKENS, kind="token vectors", dim=card.token_vectors.dim))
    if card.words is not None:
        found.append(StoredVector(name=words_name(card.words), kind="words"))
    return tuple(found)


def words_name(words: Words) -> str:
    """Return the name under which an index of words is shown."""
    return f"words ({words})"


def _compressed(storage: Storage | None, dim: int) -> int | None:
    """Return the bytes of one compressed vector; see ``docs/scale.md``."""
    match storage:
        case None:
            return None
        case Storage.FULL:
            return 0
        case Storage.INT8:
            return dim
        case Storage.TURBO4:
            return -(-dim // 2)
        case Storage.TURBO1 | Storage.BINARY:
            return -(-dim // 8)
        case _:
            assert_never(storage)
