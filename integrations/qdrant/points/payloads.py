"""The stored form of passages and documents: ids, payloads, and the check of vectors.

Ids are computed where a text has an owner, so that writing twice has the effect of writing once.
Every document has one point without a vector, its marker, which states whether the stored chunks
are exactly the document's. Notes (``provenance.py``) have no vector either. Invariants: a store
never holds a chunk without its document's marker, and a marker whose state is DONE has all its
chunks and no others.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from decant.embedders import StoreError, TextError

from ..stores.filters import And, Field, FieldIn, Where
from ..stores.plain_values import plain
from ..stores.point_ids import DocumentKey, Kind
from ..stores.protocol import Json, Payload, Point, Select

if TYPE_CHECKING:
    from numpy.typing import NDArray

_CHECKSUM_BYTES = 16

MOST_NESTED = 30
"""How deep dicts and lists may be nested in metadata, below the outermost dict.

gRPC reads messages of 100 levels, which are 32 nested objects. A server or Edge that gets 122
levels over REST writes them to its log and never starts again.
"""


class State(StrEnum):
    """The state of a document; NEW and CHANGING remain after an interruption."""

    NEW = "new"
    CHANGING = "changing"
    DONE = "done"


PASSAGES = FieldIn(Field.KIND, (Kind.CHUNK, Kind.RECORD))
CHUNKS = FieldIn(Field.KIND, (Kind.CHUNK,))
DOCUMENTS = FieldIn(Field.KIND, (Kind.DOCUMENT,))
NOTES = FieldIn(Field.KIND, (Kind.NOTE,))
OWN_KINDS = (Kind.DOCUMENT, Kind.NOTE)
"""Kinds of points that are no passages; users neither get nor delete them."""

_PASSAGE_KINDS = (Kind.CHUNK, Kind.RECORD)

MARKER = Select(fields=("root", "source", "state", "digest", "chunks", "checksum"))
"""The fields to read of a marker."""


def passages(where: Where | None) -> Where:
    """Return the condition that excludes markers."""
    return PASSAGES if where is None else And([PASSAGES, where])


def is_passage(point: Point) -> bool:
    """Return whether a point, read with its ``kind``, is a chunk or a record.

    Points that other programs wrote into a collection have no ``kind`` of decant.
    """
    return point.payload.get("kind") in _PASSAGE_KINDS


def is_own(point: Point) -> bool:
    """Return whether a point, read with its ``kind``, is one of :data:`OWN_KINDS`."""
    return point.payload.get("kind") in OWN_KINDS


def sha256(text: str) -> str:
    """Return the SHA-256 of a text in hexadecimal."""
    return hashlib.sha256(text.encode()).hexdigest()


@dataclass(frozen=True, slots=True, kw_only=True)
class Marker:
    """The point that states how far a document is stored.

    Args:
        key: The document.
        state: Whether its chunks are complete.
        digest: The hash of its text, metadata, chunking and recipe; "" while it is not DONE.
        chunks: How many chunks it has; 0 while it is not DONE.
        checksum: The checksum of its chunks' ids and places, see :class:`ChunkSum`; "" while it
            is not DONE, and in markers that an older decant wrote.
    """

    key: DocumentKey
    state: State
    digest: str = ""
    chunks: int = 0
    checksum: str = ""

    def point(self) -> Point:
        """Return the point of the marker."""
        payload: Payload = {
            "kind": Kind.DOCUMENT.value,
            "root": self.key.root,
            "source": self.key.source,
            "state": self.state.value,
            "digest": self.digest,
            "chunks": self.chunks,
            "checksum": self.checksum,
        }
        return Point(id=self.key.marker_id, payload=payload)

    @classmethod
    def read(cls, payload: Payload) -> Marker:
        """Read a payload that :meth:`point` made."""
        return cls(
            key=DocumentKey.of(payload),
            state=State(str(payload["state"])),
            digest=str(payload["digest"]),
            chunks=int(str(payload["chunks"])),
            checksum=str(payload.get("checksum", "")),
        )


def checked_ids(ids: object) -> list[str]:
    """Return the ids as a list, if they are several strings and not one.

    Raises:
        StoreError: The argument is a string, bytes or a dict and no list of ids, or an id is not a
            string; the message says which.
    """
    if isinstance(ids, str):
        raise StoreError(f"a list of ids is wanted, got one string; write [{ids!r}]")
    if isinstance(ids, bytes | Mapping) or not isinstance(ids, Iterable):
        raise StoreError(f"a list of ids is wanted, got a {type(ids).__name__}")
    listed = list(ids)
    for index, identity in enumerate(listed):
        if not isinstance(identity, str):
            raise StoreError(
                f"ids are strings, and that at {index} is a {type(identity).__name__}; give the "
                "ids that add() returned, or that hits have as their id"
            )
    return listed


class ChunkSum:
    """Adds up a document's chunks, in any order: their number, and a checksum of ids and places.

    A chunk's id depends on its text, so two versions of a document have different checksums.
    """

    def __init__(self) -> None:
        self.chunks = 0
        self._total = 0

    def add(self, payload: Payload) -> None:
        """Add a chunk; its payload has at least ``id``, ``chunk`` and ``start``."""
        place = f"{payload['id']} {payload['chunk']} {payload['start']}"
        self._total ^= int.from_bytes(hashlib.sha256(place.encode()).digest()[:_CHECKSUM_BYTES])
        self.chunks += 1

    @property
    def checksum(self) -> str:
        """The checksum, in hexadecimal."""
        return f"{self._total:0{2 * _CHECKSUM_BYTES}x}"


def checked_metadata(metadata: Mapping[str, Json], *, owner: str) -> dict[str, Json]:
    """Return a copy of ``metadata`` if every engine can store and return it.

    Engines return floats exactly or one unit in the last place off (below 1e-6 and above 1e30 some
    units), and everything else exactly. A date, a UUID, a path or a scalar of numpy is stored as a
    JSON value (``stores/plain_values.py``).

    Raises:
        StoreError: A key is not a string; a value is not JSON: NaN, bytes, a lone surrogate, an
            integer beyond 64 bits; or values are nested more than :data:`MOST_NESTED` levels
            deep. The message holds the owner and the keys that lead to it.
    """
    try:
        return _copied_object(metadata, ())
    except _UnfitError as error:
        raise StoreError(f"the metadata of {owner} cannot be stored: {error}") from None


class _UnfitError(Exception):
    """A value cannot be stored; carries the keys that lead to it."""


_Path: TypeAlias = tuple[str | int, ...]


def _unfit(what: str, path: _Path) -> _UnfitError:
    place = "metadata" + "".join(f"[{_shortened(step)}]" for step in path)
    return _UnfitError(f"{place}: {what}" if path else what)


def _shortened(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _copied_object(held: object, path: _Path) -> dict[str, Json]:
    if not isinstance(held, Mapping):
        raise _unfit(f"it is a {type(held).__name__}, not a dict", path)
    copy: dict[str, Json] = {}
    for key, value in held.items():
        if not isinstance(key, str):
            what = f"the key {_shortened(key)} is a {type(key).__name__}; keys are strings"
            raise _unfit(what, path)
        copy[_copied_text(key, path)] = _copied(value, (*path, key))
    return copy


def _copied(value: object, path: _Path) -> Json:
    match value:
        case str():
            return _copied_text(value, path)
        case None | bool():
            return value
        case int():
            if not -(2**63) <= value < 2**63:
                what = f"an integer of {value.bit_length()} bits; 64 with the sign can be stored"
                raise _unfit(f"{what}, write it as a string", path)
            return int(value)
        case float():
            if not math.isfinite(value):
                raise _unfit(f"{value} is not a number of JSON; leave it out, or give None", path)
            return float(value)
        case Mapping() | list() | tuple():
            # The length of the path is the number of levels to here; the last one is a container.
            if len(path) > MOST_NESTED:
                raise _unfit(
                    f"nested more than {MOST_NESTED} levels deep, or within itself; servers read "
                    "no more",
                    path,
                )
            if isinstance(value, Mapping):
                return _copied_object(value, path)
            return [_copied(item, (*path, index)) for index, item in enumerate(value)]
        case _:
            return _copied(_replaced(value, path), path)


def _replaced(value: object, path: _Path) -> str | int | float:
    """Return the JSON scalar for a value that is not JSON itself."""
    stands = plain(value)
    if stands is value or not isinstance(stands, str | int | float):
        raise _unfit(
            f"a {type(value).__name__} is not JSON; give strings, numbers, booleans, None, dates, "
            "UUIDs, paths, lists and dicts",
            path,
        )
    return stands


def _copied_text(text: str, path: _Path) -> str:
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError as error:
            what = f"{_shortened(text)} is not valid Unicode: a lone surrogate at {error.start}"
            raise _unfit(what, path) from error
    # A member of an enumeration, or another subclass of str, becomes a plain string.
    return text if type(text) is str else str.__str__(text)


def checked_vectors(
    vectors: NDArray[np.float32], dim: int, owners: Sequence[str]
) -> NDArray[np.float32]:
    """Return the vectors as float32, after the check that all stored and query vectors pass.

    Args:
        vectors: Shape ``(N, D)``.
        dim: The collection's D.
        owners: N names for messages.

    Raises:
        StoreError: The shape is wrong, or a vector holds NaN or infinity, or is so long that its
            length is not finite; the message names the owner.
    """
    array = np.asarray(vectors, np.float32)
    if array.shape != (len(owners), dim):
        raise StoreError(
            f"expected vectors of shape {(len(owners), dim)}, got {array.shape}; the collection "
            f"holds {dim}-wide vectors"
        )
    with np.errstate(over="ignore"):
        # Engines divide by the float32 length, so it must be finite too.
        bad = ~np.isfinite(np.square(array).sum(axis=1))
    if bad.any():
        raise StoreError(
            f"the vector of {owners[int(bad.argmax())]} is not finite and cannot be searched; "
            "check the encoder on this text"
        )
    return array


def check_text(text: object, *, owner: str) -> None:
    """Refuse what is not a string of valid Unicode.

    Raises:
        TextError: The message names the owner.
    """
    if not isinstance(text, str):
        raise TextError(f"{owner} is a {type(text).__name__}, not a string")
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise TextError(
                f"{owner} is not valid Unicode: a lone surrogate at position {error.start}; "
                "decode the bytes it came from again"
            ) from error
