"""Which shared libraries a Linux library needs, and which of them this process cannot load.

The loader itself names only the first that is missing; this names all. Reads the dynamic section
of 64-bit little-endian ELF files (System V ABI, chapter 5); other files need nothing, as far as
is known here.
"""

from __future__ import annotations

import ctypes
import mmap
import struct
from collections.abc import Iterator
from pathlib import Path

_MAGIC = b"\x7fELF\x02\x01"  # 64 bits, little-endian
_LOAD, _DYNAMIC = 1, 2
_END, _NEEDED, _STRINGS = 0, 1, 5


def missing_libraries(path: Path) -> list[str]:
    """Return the libraries that ``path`` needs and that cannot be loaded, in its own order."""
    return [name for name in needed_libraries(path) if not _loads(name)]


def needed_libraries(path: Path) -> list[str]:
    """Return the names of the libraries that the file's dynamic section asks for."""
    if not path.is_file() or path.stat().st_size < 64:
        return []
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        return _needed(data) if data[: len(_MAGIC)] == _MAGIC else []


def _needed(data: mmap.mmap) -> list[str]:
    segments = list(_segments(data))
    entries = [
        entry
        for kind, offset, _, size in segments
        if kind == _DYNAMIC
        for entry in _entries(data, offset, size)
    ]
    addresses = [value for tag, value in entries if tag == _STRINGS]
    loaded = [segment for segment in segments if segment[0] == _LOAD]
    strings = [
        offset + address - begin
        for address in addresses
        for _, offset, begin, size in loaded
        if begin <= address < begin + size
    ]
    if not strings:
        return []
    starts = [strings[0] + value for tag, value in entries if tag == _NEEDED]
    return [data[start : data.find(b"\0", start)].decode() for start in starts]


def _segments(data: mmap.mmap) -> Iterator[tuple[int, int, int, int]]:
    """Yield kind, file offset, address and size of each program header."""
    (table,) = struct.unpack_from("<Q", data, 32)
    size, count = struct.unpack_from("<HH", data, 54)
    for start in range(table, table + size * count, size):
        kind, _, offset, address, _, length = struct.unpack_from("<IIQQQQ", data, start)
        yield kind, offset, address, length


def _entries(data: mmap.mmap, offset: int, size: int) -> Iterator[tuple[int, int]]:
    for tag, value in struct.iter_unpack("<QQ", data[offset : offset + size]):
        if tag == _END:
            return
        yield tag, value


def _loads(name: str) -> bool:
    try:
        ctypes.CDLL(name)
    except OSError:
        return False
    return True
