"""Vectors as bytes and back: numpy's ``.npz`` without pickles and without compression.

Numbers travel as they are, little-endian, so a vector arrives with the bits that the encoder gave
it. What comes in may be damaged or of another program: nothing is believed about a size before it
was compared with what was asked for.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from ..encoding.protocol import Output, Vectors
from ..encoding.sparse_vectors import SparseVectors
from ..errors import RemoteError

Arrays: TypeAlias = Mapping[str, NDArray[np.generic]]

_DENSE = "dense"
_SPARSE = ("sparse_starts", "sparse_indices", "sparse_values")
_SOFT = "soft_tokens"
_TOKENS = ("token_starts", "token_values")
_FLOAT, _INTEGER = "<f4", "<i8"
# Errors of numpy and zipfile for archives that are cut off, altered, or claim to exceed memory.
_DAMAGED = (
    OSError,
    ValueError,
    KeyError,
    EOFError,
    MemoryError,
    NotImplementedError,
    OverflowError,
    zipfile.BadZipFile,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """What an archive must hold.

    Args:
        count: How many texts N.
        dim: Width D of the dense vectors.
        outputs: What was asked for in addition.
        soft_tokens_shape: Number n and width d' of the soft tokens, if the model has any.
    """

    count: int
    dim: int
    outputs: Collection[Output] = ()
    soft_tokens_shape: tuple[int, ...] | None = None


def pack_vectors(vectors: Vectors) -> bytes:
    """Return vectors as the bytes of an ``.npz``."""
    arrays: dict[str, NDArray[np.generic]] = {_DENSE: _floats(vectors.dense)}
    if vectors.sparse is not None:
        sparse = vectors.sparse
        values = (_integers(sparse.starts), _integers(sparse.indices), _floats(sparse.values))
        arrays |= dict(zip(_SPARSE, values, strict=True))
    if vectors.soft_tokens is not None:
        arrays[_SOFT] = _floats(vectors.soft_tokens)
    if vectors.token_embeddings:
        lengths = [len(rows) for rows in vectors.token_embeddings]
        starts = np.concatenate([[0], np.cumsum(lengths)])
        values_of_all = np.concatenate(vectors.token_embeddings)
        arrays |= dict(zip(_TOKENS, (_integers(starts), _floats(values_of_all)), strict=True))
    target = io.BytesIO()
    np.savez(target, allow_pickle=False, **arrays)
    return target.getvalue()


def unpack_vectors(data: bytes, expected: Expected, *, where: str) -> Vectors:
    """Return the vectors of :func:`pack_vectors`.

    Args:
        data: The bytes.
        expected: What they must hold.
        where: Who sent them, for messages.

    Raises:
        RemoteError: They are damaged, or hold something else.
    """
    try:
        return _read(data, expected)
    except _DAMAGED as error:
        reason = str(error) or type(error).__name__
        raise RemoteError(
            f"{where} sent vectors that cannot be read ({reason[:200]}); check that decant serve "
            "itself answers there, in the version that runs here"
        ) from error


def _read(data: bytes, expected: Expected) -> Vectors:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        members = archive.infolist()
        if any(one.compress_type != zipfile.ZIP_STORED for one in members) or (
            sum(one.file_size for one in members) > len(data)
        ):
            raise ValueError("the archive is compressed")
    with np.load(io.BytesIO(data), allow_pickle=False) as stored:
        arrays: Arrays = {name: stored[name] for name in stored.files}
    count = expected.count
    return Vectors(
        dense=_checked_floats(arrays, _DENSE, (count, expected.dim)),
        sparse=_sparse(arrays, count) if Output.SPARSE in expected.outputs else None,
        soft_tokens=(
            _checked_floats(arrays, _SOFT, (count, *(expected.soft_tokens_shape or ())))
            if Output.SOFT_TOKENS in expected.outputs
            else None
        ),
        token_embeddings=(
            _token_embeddings(arrays, count)
            if Output.TOKEN_EMBEDDINGS in expected.outputs
            else None
        ),
    )


def _sparse(arrays: Arrays, count: int) -> SparseVectors:
    starts = _checked_starts(arrays, _SPARSE[0], count)
    indices = _array(arrays, _SPARSE[1])
    if indices.dtype != np.int64 or indices.shape != (int(starts[-1]),):
        raise ValueError(f"{_SPARSE[1]} are {indices.dtype} of shape {indices.shape}")
    return SparseVectors(
        starts=starts,
        indices=np.asarray(indices, np.int64),
        values=_checked_floats(arrays, _SPARSE[2], indices.shape),
    )


def _token_embeddings(arrays: Arrays, count: int) -> tuple[NDArray[np.float32], ...]:
    starts = _checked_starts(arrays, _TOKENS[0], count).tolist()
    shape = (starts[-1], *_array(arrays, _TOKENS[1]).shape[1:2])
    values = _checked_floats(arrays, _TOKENS[1], shape)
    if values.ndim != 2:
        raise ValueError(f"{_TOKENS[1]} have shape {values.shape}")
    return tuple(values[start:stop] for start, stop in pairwise(starts))


def _checked_starts(arrays: Arrays, name: str, count: int) -> NDArray[np.int64]:
    """Return where rows begin; they ascend from 0."""
    starts = _array(arrays, name)
    if starts.dtype != np.int64 or starts.shape != (count + 1,):
        raise ValueError(f"{name} are {starts.dtype} of shape {starts.shape}, for {count} texts")
    found = np.asarray(starts, np.int64)
    if found[0] != 0 or (np.diff(found) < 0).any():
        raise ValueError(f"{name} do not ascend from 0")
    return found


def _checked_floats(arrays: Arrays, name: str, shape: tuple[int, ...]) -> NDArray[np.float32]:
    values = _array(arrays, name)
    if values.dtype != np.float32 or values.shape != shape:
        raise ValueError(f"{name} is {values.dtype} of shape {values.shape}, not float32 {shape}")
    return np.asarray(values, np.float32)


def _array(arrays: Arrays, name: str) -> NDArray[np.generic]:
    if name not in arrays:
        raise ValueError(f"it holds no {name}")
    return arrays[name]


def _floats(values: NDArray[np.float32]) -> NDArray[np.generic]:
    return np.ascontiguousarray(values, _FLOAT)


def _integers(values: NDArray[np.int64]) -> NDArray[np.generic]:
    return np.ascontiguousarray(values, _INTEGER)
