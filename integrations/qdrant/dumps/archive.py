"""The file of a dump: a ZIP archive that is written as a stream, with a checksum for each member.

The list of a ZIP's members is at its end, so a file that was cut is noticed when it is opened. The
last member, ``SHA256SUMS``, holds the SHA-256 of all others, in the form of ``sha256sum``.
Invariant: nothing of a member is used before its checksum was found right.
"""

from __future__ import annotations

import hashlib
import re
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Self, cast

from decant.embedders import StoreError
from decant.embedders.json_records import to_json

from ..foreign_payloads.raw_point import RawPoint
from ..stores.collection_metadata import CollectionMetadata
from ..stores.protocol import Point
from .blocks import read_block, write_block
from .header import CARD, HEADER, STORED, SUMS, DumpError, DumpHeader
from .raw_blocks import read_raw, write_raw

_LEVEL = 1  # of compressing texts; vectors do not get smaller
_PIECE = 2**20
_LARGEST = 2**30  # bytes of a member when it is unpacked; ours have some ten million
_LARGEST_HEADER = 2**26
_SUM = re.compile(r"([0-9a-f]{64})  ([A-Za-z0-9.-]+)")


class _Hashed:
    """A stream that can only be written to, and knows the SHA-256 of what was written."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.digest = hashlib.sha256()
        self.size = 0

    def write(self, data: bytes) -> int:
        self._file.write(data)
        self.digest.update(data)
        self.size += len(data)
        return len(data)

    def flush(self) -> None:
        self._file.flush()


class DumpWriter:
    """Writes a dump into a stream, block by block.

    Args:
        file: Where to; it need not be seekable.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._stream = _Hashed(file)
        target = cast("BinaryIO", self._stream)  # zipfile asks for write and flush alone
        self._archive = zipfile.ZipFile(target, "w", allowZip64=True)
        self._sums: list[str] = []

    @property
    def blocks(self) -> int:
        """How many blocks were written."""
        return len(self._sums) // 2

    def add(self, points: list[Point]) -> None:
        """Write a block of points."""
        self._block(*write_block(points))

    def add_raw(self, points: list[RawPoint]) -> None:
        """Write a block of points of another program."""
        self._block(*write_raw(points))

    def end(
        self, header: DumpHeader, card: CollectionMetadata, stored: str | None = None
    ) -> tuple[str, int]:
        """Write what the dump says of itself; return the SHA-256 and the size of the whole.

        Args:
            header: Its header.
            card: The metadata of the collection.
            stored: How its server keeps it, if it was adopted.
        """
        if stored is not None:
            self._member(STORED, stored.encode(), zipfile.ZIP_DEFLATED)
        self._member(CARD, card.to_json().encode(), zipfile.ZIP_DEFLATED)
        self._member(HEADER, to_json(header).encode(), zipfile.ZIP_DEFLATED)
        self._member(SUMS, "".join(self._sums).encode(), zipfile.ZIP_DEFLATED)
        self._archive.close()
        return self._stream.digest.hexdigest(), self._stream.size

    def _block(self, lines: bytes, arrays: bytes) -> None:
        name = _block_name(self.blocks + 1)
        self._member(f"{name}.jsonl", lines, zipfile.ZIP_DEFLATED)
        self._member(f"{name}.npz", arrays, zipfile.ZIP_STORED)

    def _member(self, name: str, data: bytes, method: int) -> None:
        self._archive.writestr(zipfile.ZipInfo(name), data, method, _LEVEL)
        self._sums.append(f"{hashlib.sha256(data).hexdigest()}  {name}\n")


class DumpReader:
    """An open dump, all checksums of which are right.

    Args:
        path: The file.

    Raises:
        DumpError: It is no dump, is damaged or cut, or a newer decant made it.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            self._archive = zipfile.ZipFile(path)
        except zipfile.BadZipFile as error:
            raise DumpError(
                f"{path} is no dump, or the end of it is missing ({error}); copy it again, or make "
                "the dump again"
            ) from error
        except OSError as error:
            raise DumpError(f"the dump {path} cannot be read: {error.strerror}") from error
        try:
            self.header = DumpHeader.from_json(self._small(HEADER), where=f"{path} ({HEADER})")
            listed = self._small(SUMS)
            self.identity = hashlib.sha256(listed).hexdigest()
            self._sums = self._read_sums(listed)
            self._check_members()
            text = self._member(CARD).decode("utf-8", "replace")
            self.card = CollectionMetadata.from_json(text, where=f"the collection in {path}")
        except BaseException:
            self._archive.close()
            raise

    def blocks(self) -> Iterator[list[Point]]:
        """Yield the points of each block.

        Raises:
            DumpError: A block is not what it was when the dump was opened.
        """
        for lines, arrays, where in self._blocks():
            yield read_block(lines, arrays, where=where)

    def raw_blocks(self) -> Iterator[list[RawPoint]]:
        """Yield the points of each block of an adopted collection.

        Raises:
            DumpError: As :meth:`blocks`.
        """
        for lines, arrays, where in self._blocks():
            yield read_raw(lines, arrays, where=where)

    @property
    def stored(self) -> str:
        """How the server kept the collection, if it was adopted."""
        return self._member(STORED).decode("utf-8", "replace")

    def close(self) -> None:
        """Close the file."""
        self._archive.close()

    def __enter__(self) -> Self:
        """Return the reader itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the file."""
        self.close()

    def _blocks(self) -> Iterator[tuple[bytes, bytes, str]]:
        for number in range(1, self.header.blocks + 1):
            name = _block_name(number)
            lines, arrays = self._member(f"{name}.jsonl"), self._member(f"{name}.npz")
            yield lines, arrays, f"block {number} of {self._path}"

    def _small(self, name: str) -> bytes:
        try:
            info = self._archive.getinfo(name)
        except KeyError:
            raise DumpError(
                f"{self._path} holds no {name}, so it is no dump; give a file that `decant dump` "
                "made"
            ) from None
        if info.file_size > _LARGEST_HEADER:
            raise self._damaged(name)
        return self._read(name)

    def _read_sums(self, listed: bytes) -> dict[str, str]:
        found = [_SUM.fullmatch(line) for line in listed.decode("ascii", "replace").splitlines()]
        sums = {one[2]: one[1] for one in found if one is not None}
        others = {CARD, HEADER, STORED} if self.header.is_adopted else {CARD, HEADER}
        if len(sums) != 2 * self.header.blocks + len(others):
            raise self._damaged(SUMS)
        blocks = range(1, self.header.blocks + 1)
        wanted = {f"{_block_name(one)}.{kind}" for one in blocks for kind in ("jsonl", "npz")}
        if len(sums) != len(found) or sums.keys() != wanted | others:
            raise self._damaged(SUMS)
        return sums

    def _check_members(self) -> None:
        names = self._archive.namelist()
        if len(names) != len(self._sums) + 1 or {*names} != {*self._sums, SUMS}:
            raise DumpError(f"{self._path} does not hold the members that it lists; copy it again")
        for name, wanted in self._sums.items():
            if self._archive.getinfo(name).file_size > _LARGEST:
                raise self._damaged(name)
            digest = hashlib.sha256()
            try:
                with self._archive.open(name) as member:
                    while piece := member.read(_PIECE):
                        digest.update(piece)
            except _UNREADABLE as error:
                raise self._damaged(name) from error
            if digest.hexdigest() != wanted:
                raise self._damaged(name)

    def _member(self, name: str) -> bytes:
        data = self._read(name)
        if hashlib.sha256(data).hexdigest() != self._sums[name]:
            raise self._damaged(name)
        return data

    def _read(self, name: str) -> bytes:
        try:
            return self._archive.read(name)
        except _UNREADABLE as error:
            raise self._damaged(name) from error

    def _damaged(self, name: str) -> StoreError:
        return DumpError(
            f"{self._path} is damaged: {name} is not what was written; nothing was made of it. "
            "Copy the file again, or make the dump again"
        )


# What zipfile and zlib raise for damaged members; RuntimeError is for an encrypted one.
_UNREADABLE = (zipfile.BadZipFile, zlib.error, OSError, EOFError, RuntimeError, ValueError)


def _block_name(number: int) -> str:
    return f"points-{number:06}"
