"""Blocks of a dump: some thousand points as a member of JSON lines and one of numpy arrays.

A line holds the id of a point, its payload, and the names of the vectors that it has; the arrays
hold these vectors in the order of the lines. Invariant: ``read_block(*write_block(points))`` gives
the same points, to the bit.
"""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from decant.embedders import StoreError

from ..stores.protocol import DENSE, SPARSE, STATES, TOKENS, Point
from ..stores.sparse_vector import SparseVector
from .header import DumpError

if TYPE_CHECKING:
    from numpy.typing import NDArray

_Arrays: TypeAlias = "dict[str, NDArray[Any]]"

_COUNTS, _INDICES, _VALUES = "sparse_counts", "sparse_indices", "sparse_values"
_STATE_COUNTS, _STATE_ROWS = "soft_token_counts", "soft_tokens"
_TOKEN_COUNTS, _TOKEN_ROWS = "token_counts", "token_vectors"
_HALF = np.dtype("<f2")  # which holds the numbers of token vectors to the bit
_FLOAT, _WHOLE = np.dtype("<f4"), np.dtype("<u4")


def write_block(points: Sequence[Point]) -> tuple[bytes, bytes]:
    """Return the lines of points, and the arrays of their vectors in numpy's form ``.npz``."""
    lines = [
        json.dumps(
            {"id": point.id, "payload": point.payload, "vectors": list(_vectors_of(point))},
            ensure_ascii=False,
        )
        for point in points
    ]
    arrays: dict[str, NDArray[Any]] = {}
    dense = [point.dense for point in points if point.dense is not None]
    if dense:
        arrays[DENSE] = np.stack(dense).astype(_FLOAT, copy=False)
    sparse = [point.sparse for point in points if point.sparse is not None]
    if sparse:
        arrays[_COUNTS] = np.array([len(one.indices) for one in sparse], _WHOLE)
        arrays[_INDICES] = np.concatenate([one.indices for one in sparse]).astype(_WHOLE)
        arrays[_VALUES] = np.concatenate([one.values for one in sparse]).astype(_FLOAT, copy=False)
    states = [point.soft_tokens for point in points if point.soft_tokens is not None]
    if states:
        arrays[_STATE_COUNTS] = np.array([len(one) for one in states], _WHOLE)
        arrays[_STATE_ROWS] = np.concatenate(states).astype(_FLOAT, copy=False)
    tokens = [point.token_vectors for point in points if point.token_vectors is not None]
    if tokens:
        arrays[_TOKEN_COUNTS] = np.array([len(one) for one in tokens], _WHOLE)
        arrays[_TOKEN_ROWS] = np.concatenate(tokens).astype(_HALF)
    return "".join(f"{line}\n" for line in lines).encode(), pack_arrays(arrays)


def pack_arrays(arrays: Mapping[str, NDArray[Any]]) -> bytes:
    """Return arrays in numpy's form ``.npz``, equal bytes for equal arrays."""
    packed = io.BytesIO()
    # By zipfile, because numpy's own writer puts the time into the file.
    with zipfile.ZipFile(packed, "w") as archive:
        for name, array in arrays.items():
            with archive.open(zipfile.ZipInfo(f"{name}.npy"), "w") as member:
                np.lib.format.write_array(member, array, allow_pickle=False)
    return packed.getvalue()


def unpack_arrays(packed: bytes) -> dict[str, NDArray[Any]]:
    """Return the arrays of :func:`pack_arrays`.

    Raises:
        ValueError: They are in another form, or cut.
        OSError: As ValueError.
        BadZipFile: As ValueError.
    """
    with np.load(io.BytesIO(packed), allow_pickle=False) as loaded:
        return {name: loaded[name] for name in loaded.files}


def read_block(lines: bytes, packed: bytes, *, where: str) -> list[Point]:
    """Return the points of a block.

    Args:
        lines: The lines.
        packed: The arrays.
        where: The block, for messages.

    Raises:
        DumpError: They do not fit each other, or are in another form.
    """
    try:
        arrays = unpack_arrays(packed)
        vectors: dict[str, Iterator[Any]] = {
            DENSE: iter(arrays.get(DENSE, ())),
            SPARSE: _sparse_rows(arrays),
            STATES: _rows_of(arrays, _STATE_COUNTS, _STATE_ROWS),
            TOKENS: _rows_of(arrays, _TOKEN_COUNTS, _TOKEN_ROWS),
        }
        points = [_point(line, vectors) for line in lines.decode().split("\n") if line]
    except (ValueError, KeyError, TypeError, OSError, StoreError, zipfile.BadZipFile) as error:
        raise DumpError(f"{where} is damaged ({error!r}); make the dump again") from error
    except StopIteration as error:
        raise DumpError(f"{where} has fewer vectors than it states; make the dump again") from error
    return points


def _vectors_of(point: Point) -> Iterator[str]:
    held = {
        DENSE: point.dense,
        SPARSE: point.sparse,
        STATES: point.soft_tokens,
        TOKENS: point.token_vectors,
    }
    return (name for name, vector in held.items() if vector is not None)


def _point(line: str, vectors: dict[str, Iterator[Any]]) -> Point:
    held = json.loads(line)
    found = {name: next(vectors[name]) for name in held["vectors"]}
    payload = held["payload"]
    if not isinstance(payload, dict):
        raise TypeError("a payload is no object")
    return Point(
        id=str(held["id"]),
        payload=payload,
        dense=found.get(DENSE),
        sparse=found.get(SPARSE),
        soft_tokens=found.get(STATES),
        token_vectors=found.get(TOKENS),
    )


def _sparse_rows(arrays: _Arrays) -> Iterator[SparseVector]:
    if _COUNTS not in arrays:
        return iter(())
    ends = np.cumsum(arrays[_COUNTS], dtype=np.int64)[:-1]
    indices = np.split(arrays[_INDICES].astype(np.int64), ends)
    values = np.split(arrays[_VALUES].astype(np.float32), ends)
    return (
        SparseVector(indices=one, values=other) for one, other in zip(indices, values, strict=True)
    )


def _rows_of(arrays: _Arrays, counts: str, rows: str) -> Iterator[NDArray[np.float32]]:
    if counts not in arrays:
        return iter(())
    ends = np.cumsum(arrays[counts], dtype=np.int64)[:-1]
    return iter(np.split(arrays[rows].astype(np.float32), ends))
