"""Documents to index, and how they are read from a folder.

Reading is lazy: one file is in memory at a time. What cannot be read is remembered with its
reason, so that one bad file neither stops the others nor counts as vanished. Texts are decoded
strictly and never altered.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from decant.embedders import MissingExtra, TextError

from .converting import CONVERTED, converted
from .points import DocumentKey, check_text, checked_metadata, sha256

if TYPE_CHECKING:
    from .store import Json

_UTF16 = (b"\xff\xfe", b"\xfe\xff")
_PROBED = 8_192


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """One text to index.

    Args:
        source: Its name within its root: a path, an address, a key.
        text: To the letter; "" is a document without chunks.
        metadata: JSON values that every chunk gets, to filter by; nested 30 levels deep at most.
        root: The set that it belongs to. When a set is indexed again, documents that it no longer
            has are removed; None: this one is never removed that way.

    Raises:
        TextError: A string is not valid Unicode, or ``source`` or ``root`` is "".
        StoreError: ``metadata`` holds something else than JSON, or is nested too deep.
    """

    source: str
    text: str
    metadata: Mapping[str, Json] = field(default_factory=dict)
    root: str | None = None

    def __post_init__(self) -> None:
        check_text(self.source, owner="the source of a document")
        check_text(self.text, owner=f"the text of document {self.source!r}")
        if not self.source:
            raise TextError("a document needs a source that names it, got ''")
        if self.root is not None:
            check_text(self.root, owner=f"the root of document {self.source!r}")
            if not self.root:
                raise TextError(f"the root of document {self.source!r} is ''; give None for none")
        owner = f"document {self.source!r}"
        object.__setattr__(self, "metadata", checked_metadata(self.metadata, owner=owner))

    @property
    def key(self) -> DocumentKey:
        """What identifies it in a collection."""
        return DocumentKey(root=self.root or "", source=self.source)

    @property
    def text_sha256(self) -> str:
        """The SHA-256 of its text."""
        return sha256(self.text)


@dataclass(frozen=True, slots=True, kw_only=True)
class Unreadable:
    """A file that could not be read, or a folder (its source ends with "/") not listed."""

    source: str
    reason: str


class Documents:
    """The documents under a path, read one by one while iterating; see :func:`read_documents`."""

    def __init__(self, path: Path, root: str) -> None:
        self._path = path
        self._root = root
        self._unreadable: list[Unreadable] = []

    @property
    def root(self) -> str:
        """The root of all these documents."""
        return self._root

    @property
    def unreadable(self) -> tuple[Unreadable, ...]:
        """What could not be read in the last pass, so far."""
        return tuple(self._unreadable)

    def count(self) -> int:
        """Return how many files a pass would try to read, by listing them."""
        return sum(1 for _ in _files(self._path, "", []))

    def __iter__(self) -> Iterator[Document]:
        """Read the files in the order of their names.

        Raises:
            TextError: At the end, if not one file could be read as text.
        """
        self._unreadable.clear()
        some = False
        for path, source in _files(self._path, "", self._unreadable):
            try:
                text = _read(path)
                if text is None:
                    continue
                document = Document(source=source, text=text, root=self._root)
            except (TextError, MissingExtra, OSError) as error:
                self._unreadable.append(Unreadable(source=_shown(source), reason=str(error)))
                continue
            some = True
            yield document
        if not some:
            first = "".join(f"; {bad.source}: {bad.reason}" for bad in self._unreadable[:3])
            raise TextError(
                f"there is no readable text in {self._path} ({len(self._unreadable)} files could "
                f"not be read{first}); give a folder of UTF-8 text files"
            )


def read_documents(path: str | Path, *, root: str | None = None) -> Documents:
    """Return the documents of a folder and what lies under it, or of one file.

    Hidden files and folders and binary files are passed over. PDF, Office and HTML files are
    converted to text if the extra ``docs`` is installed, else they count as unreadable; so do those
    that are damaged or hold no text, as scans do.

    Args:
        path: The folder or file; sources are paths relative to the folder.
        root: The name of the set that these documents are; by default the resolved path, so that
            indexing the folder again removes what vanished from it, and nothing else.

    Raises:
        TextError: ``path`` does not exist.
    """
    start = Path(path).expanduser().resolve()
    if not start.exists():
        raise TextError(f"{path} does not exist; give a folder of text files, or one file")
    return Documents(start, str(start) if root is None else root)


def _files(path: Path, inside: str, unlisted: list[Unreadable]) -> Iterator[tuple[Path, str]]:
    """Yield files that are not hidden, in order, each with its source; note unlisted folders."""
    if path.is_file():
        yield path, path.name
        return
    try:
        entries = sorted(os.scandir(path), key=lambda entry: entry.name)
    except FileNotFoundError:
        return  # it has just gone
    except OSError as error:
        unlisted.append(Unreadable(source=_shown(inside) or "/", reason=str(error)))
        return
    for entry in entries:
        if entry.name.startswith("."):
            continue
        if entry.is_dir(follow_symlinks=False):
            yield from _files(Path(entry.path), f"{inside}{entry.name}/", unlisted)
        elif entry.is_file():
            yield Path(entry.path), f"{inside}{entry.name}"


def _read(path: Path) -> str | None:
    """Return the text of a file, or None for a binary one and one that has just gone.

    Raises:
        TextError: It is not text in UTF-8, or cannot be converted.
        MissingExtra: It needs converting, and the extra is not installed.
    """
    if path.suffix.lower() in CONVERTED:
        return converted(path)
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return None
    coding = "utf-16" if data.startswith(_UTF16) else "utf-8-sig"
    if coding != "utf-16" and b"\0" in data[:_PROBED]:
        return None
    try:
        return data.decode(coding)
    except UnicodeDecodeError as error:
        raise TextError(
            f"byte {data[error.start]:#04x} at position {error.start} is not {coding[:6].upper()}; "
            "save the file as UTF-8"
        ) from error


def _shown(source: str) -> str:
    """Return a source that can be printed, whatever bytes its name holds."""
    return source.encode(errors="backslashreplace").decode()
