"""Write vectors block by block, as ``.npy`` or JSON lines; a file appears whole or not at all."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Protocol, TypeAlias

import numpy as np
from numpy.typing import DTypeLike, NDArray

from decant.embedders.encoding import Codes

from ...input.text_lines import Line

Rows: TypeAlias = NDArray[np.float32] | Codes


class VectorWriter(Protocol):
    """A writer of vectors, block by block."""

    def write(self, lines: Sequence[Line], vectors: Rows) -> None:
        """Write one row of ``vectors``, shape (N, D), for each line."""
        ...

    def finish(self) -> None:
        """Write the parts that can only be written at the end."""
        ...


class JsonlWriter:
    """A writer of one JSON object per line: the input line's own fields and ``embedding``."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream

    def write(self, lines: Sequence[Line], vectors: Rows) -> None:
        """Write the rows; see :class:`VectorWriter`."""
        for line, row in zip(lines, vectors, strict=True):
            shown = {**line.fields, "embedding": _plain(row)}
            self._stream.write(json.dumps(shown, ensure_ascii=False).encode() + b"\n")
        self._stream.flush()

    def finish(self) -> None:
        """Do nothing: every line is complete."""


def _plain(row: Rows) -> list[float] | list[int]:
    """Return codes as integers, and floats with no more digits than float32 has."""
    if row.dtype == np.float32:
        return [float(str(number)) for number in row]
    return [int(number) for number in row]


class NpyWriter:
    """A writer of an array of shape (N, D), whose N is put into the header at the end."""

    def __init__(self, stream: IO[bytes], dim: int, *, dtype: DTypeLike = np.float32) -> None:
        self._stream = stream
        self._dim = dim
        self._dtype = np.dtype(dtype).newbyteorder("<")
        self._rows = 0
        self._header()
        self._begin = stream.tell()

    def write(self, lines: Sequence[Line], vectors: Rows) -> None:
        """Write the rows; see :class:`VectorWriter`."""
        self._rows += len(lines)
        self._stream.write(np.ascontiguousarray(vectors, self._dtype).tobytes())

    def finish(self) -> None:
        """Write the header again, with the number of rows."""
        self._stream.seek(0)
        self._header()
        # numpy pads the header so that the first axis can grow in place.
        assert self._stream.tell() == self._begin, "the header changed its length"

    def _header(self) -> None:
        shape = (self._rows, self._dim)
        head = {
            "descr": np.lib.format.dtype_to_descr(self._dtype),
            "fortran_order": False,
            "shape": shape,
        }
        np.lib.format.write_array_header_1_0(self._stream, head)


@contextmanager
def open_atomically(target: Path) -> Iterator[IO[bytes]]:
    """Yield a file that becomes ``target`` on success and is deleted on an error."""
    handle, name = tempfile.mkstemp(prefix=f".{target.name}-", dir=target.parent)
    try:
        with os.fdopen(handle, "wb") as stream:
            yield stream
        mask = os.umask(0)
        os.umask(mask)
        Path(name).chmod(0o666 & ~mask)
        Path(name).replace(target)
    finally:
        Path(name).unlink(missing_ok=True)
