"""Blocks of a dump of an adopted collection: points to the letter, as lines and arrays.

A line holds the id of a point, its payload, and the numbers of the vectors that it has; the arrays
hold these vectors in the order of the lines, named after the numbers. The first line has the names
of vectors by their numbers, because any string may be one. Invariant:
``read_raw(*write_raw(points))`` gives the same points, to the bit.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias, cast

import numpy as np

from decant.embedders import StoreError

from ..foreign_payloads.raw_point import RawPoint, RawSparseVector, RawVector
from .blocks import pack_arrays, unpack_arrays
from .header import DumpError

if TYPE_CHECKING:
    from numpy.typing import NDArray

_Arrays: TypeAlias = "dict[str, NDArray[Any]]"

_FLOAT, _WHOLE = np.dtype("<f4"), np.dtype("<u4")


def write_raw(points: Sequence[RawPoint]) -> tuple[bytes, bytes]:
    """Return the lines of points, and the arrays of their vectors in numpy's form ``.npz``."""
    names = sorted({name for point in points for name in point.vectors})
    numbers = {name: number for number, name in enumerate(names)}
    lines: list[object] = [{"vectors": names}]
    lines += [
        {"id": one.id, "payload": one.payload, "vectors": [numbers[name] for name in one.vectors]}
        for one in points
    ]
    arrays: _Arrays = {}
    for name, number in numbers.items():
        held = [point.vectors[name] for point in points if name in point.vectors]
        arrays |= _arrays_of(held, f"vector_{number}")
    said = "".join(f"{json.dumps(line, ensure_ascii=False)}\n" for line in lines)
    return said.encode(), pack_arrays(arrays)


def read_raw(lines: bytes, packed: bytes, *, where: str) -> list[RawPoint]:
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
        first, *rest = [json.loads(line) for line in lines.decode().split("\n") if line]
        names = [str(name) for name in first["vectors"]]
        vectors = [_vectors(arrays, f"vector_{number}") for number in range(len(names))]
        return [_point(held, names, vectors) for held in rest]
    except StopIteration as error:
        raise DumpError(f"{where} has fewer vectors than it states; make the dump again") from error
    except _DAMAGED as error:
        raise DumpError(f"{where} is damaged ({error!r}); make the dump again") from error


_DAMAGED = (
    ValueError,
    LookupError,
    TypeError,
    AttributeError,
    OSError,
    StoreError,
    zipfile.BadZipFile,
)


def _arrays_of(held: Sequence[RawVector], name: str) -> _Arrays:
    """Return the arrays of the vectors of one name, all of one kind."""
    sparse = [one for one in held if isinstance(one, RawSparseVector)]
    if sparse:
        return {
            f"{name}_counts": np.array([len(one.indices) for one in sparse], _WHOLE),
            f"{name}_indices": np.concatenate([one.indices for one in sparse]).astype(_WHOLE),
            f"{name}_values": np.concatenate([one.values for one in sparse]).astype(_FLOAT),
        }
    dense = cast("Sequence[NDArray[np.float32]]", held)
    if dense[0].ndim == 1:
        return {name: np.stack(dense).astype(_FLOAT, copy=False)}
    return {
        f"{name}_counts": np.array([len(one) for one in dense], _WHOLE),
        f"{name}_rows": np.concatenate(dense).astype(_FLOAT, copy=False),
    }


def _vectors(arrays: _Arrays, name: str) -> Iterator[RawVector]:
    """Yield the vectors of one name in their order."""
    if name in arrays:
        yield from arrays[name].astype(np.float32)
        return
    ends = np.cumsum(arrays[f"{name}_counts"], dtype=np.int64)[:-1]
    if f"{name}_rows" in arrays:
        yield from np.split(arrays[f"{name}_rows"].astype(np.float32), ends)
        return
    indices = np.split(arrays[f"{name}_indices"].astype(np.uint32), ends)
    values = np.split(arrays[f"{name}_values"].astype(np.float32), ends)
    for one, other in zip(indices, values, strict=True):
        yield RawSparseVector(indices=one, values=other)


def _point(held: Any, names: Sequence[str], vectors: Sequence[Iterator[RawVector]]) -> RawPoint:  # noqa: ANN401 - JSON
    identity, payload = held["id"], held["payload"]
    if isinstance(identity, bool) or not isinstance(identity, int | str):
        raise TypeError("an id is neither a whole number nor a string")
    if not isinstance(payload, dict):
        raise TypeError("a payload is no object")
    numbers: list[int] = held["vectors"]
    found = {names[number]: next(vectors[number]) for number in numbers}
    return RawPoint(id=identity, payload=payload, vectors=found)
