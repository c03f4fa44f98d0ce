"""Documents to index, and how they are read from a folder.

Reading is lazy: one file is in memory at a time. An unreadable file is recorded with its reason, so
that one bad file neither stops the others nor counts as vanished. Texts are decoded strictly and
never altered. ``walk.py`` decides which files are read.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from decant.embedders import MissingExtra, TextError

from ..points.payloads import check_text, checked_metadata, sha256
from ..stores.point_ids import DocumentKey
from .file_formats import CONVERTED, converted
from .walk import Skipped, SkipReason, Unreadable, Walk, known, reason_of

if TYPE_CHECKING:
    from ..stores.protocol import Json

_UTF16 = (b"\xff\xfe", b"\xfe\xff")
_PROBED = 8_192


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """One text to index.

    Args:
        source: Its name within its root: a path, an address, a key.
        text: The text, which is not altered; "" is a document without chunks.
        metadata: JSON values that every chunk gets, for filters; nested 30 levels deep at most.
            Dates, UUIDs, paths and scalars of numpy become JSON as in a :class:`Record`.
        root: The set that it belongs to. When a set is indexed again, documents that it no longer
            has are removed; None: this document is never removed that way.

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
        """The key that identifies it in a collection."""
        return DocumentKey(root=self.root or "", source=self.source)

    @property
    def text_sha256(self) -> str:
        """The SHA-256 of its text."""
        return sha256(self.text)


class NothingReadable(TextError):
    """No document of a root could be read; if the store has some of it, the root was emptied."""

    def __init__(self, message: str, *, root: str) -> None:
        super().__init__(message)
        self.root = root


class Documents:
    """The documents under a path, read one by one while iterating; see :func:`read_documents`."""

    def __init__(self, path: Path, root: str) -> None:
        self._path = path
        self._root = root
        self._walk = Walk()

    def __repr__(self) -> str:
        """Return the class and the path; nothing is read."""
        return f"Documents({str(self._path)!r}, root={self._root!r})"

    @property
    def root(self) -> str:
        """The root of all these documents."""
        return self._root

    @property
    def unreadable(self) -> tuple[Unreadable, ...]:
        """The files that could not be read in the last pass, so far."""
        return tuple(self._walk.unreadable)

    @property
    def skipped(self) -> tuple[Skipped, ...]:
        """What was skipped in the last pass, so far; hidden and binary files are not listed."""
        return tuple(self._walk.skipped)

    def count(self) -> int:
        """List the files that a pass would try to read, and return how many there are."""
        return sum(1 for _ in Walk().files(self._path))

    def __iter__(self) -> Iterator[Document]:
        """Read the files in the order of their names.

        Raises:
            TextError: At the end, if not one file could be read as text.
        """
        self._walk = walk = Walk()
        some = False
        for path, source in walk.files(self._path):
            try:
                text = _read(path)
                if text is None:
                    continue
                document = Document(source=source, text=text, root=self._root)
            except (TextError, MissingExtra) as error:
                walk.cannot(source, str(error))
                continue
            except OSError as error:
                walk.cannot(source, reason_of(error))
                continue
            some = True
            yield document
        if not some:
            raise NothingReadable(self._nothing(), root=self._root)

    def _nothing(self) -> str:
        bad, skipped = self.unreadable, self.skipped
        reasons = []
        if bad:
            first = "".join(f"; {one.source}: {one.reason}" for one in bad[:3])
            reasons.append(f"{len(bad)} files could not be read{first}")
        if skipped:
            first = ", ".join(f"{one.source} ({one.reason})" for one in skipped[:3])
            reasons.append(f"passed over {len(skipped)}: {first}")
        why = f" ({'; '.join(reasons)})" if reasons else ""
        return f"there is no readable text in {self._path}{why}; give a folder of UTF-8 text files"


def read_documents(path: str | Path, *, root: str | None = None) -> Documents:
    """Return the documents of a folder and its sub-folders, or of one file.

    Hidden files and folders and binary files are skipped; so are collections of Edge and bundles
    inside the folder, virtual environments, and folders that tools fill (``node_modules``,
    ``__pycache__``, folders with a ``CACHEDIR.TAG``). Links to files are followed, links to folders
    are not. PDF, Office and HTML files are converted to text if the extra ``docs`` is installed,
    and else count as unreadable; so do those that are damaged or hold no text, such as scans.

    Args:
        path: The folder or file; sources are paths relative to the folder.
        root: The name of this set of documents; by default the resolved path, so that indexing the
            folder again removes documents that vanished from it, and nothing else. Pass the old
            path here if the folder was renamed.

    Raises:
        TextError: ``path`` does not exist, cannot be reached, is no folder or file, or is itself a
            collection of Edge or a bundle; or ``root`` is "" or not valid Unicode.
    """
    start = _start(path)
    name = str(start) if root is None else root
    if not name:
        raise TextError("the root of documents is ''; give a name, or None for the path")
    if root is not None:
        check_text(root, owner="the root of documents")
    return Documents(start, name)


def _start(path: str | Path) -> Path:
    try:
        start = Path(path).expanduser().resolve()
        if not start.exists():
            raise TextError(f"{path} does not exist; give a folder of text files, or one file")
        if not (start.is_dir() or start.is_file()):
            raise TextError(
                f"{path} is neither a folder nor a file but a pipe or a device; give a folder of "
                "text files, or one file"
            )
        held = known(start) if start.is_dir() else None
    except (
        OSError,
        RuntimeError,
    ) as error:  # pathlib raised RuntimeError for circles of links until 3.13
        said = reason_of(error) if isinstance(error, OSError) else str(error)
        raise TextError(
            f"{path} cannot be read: {said}; give a folder of text files, or one file"
        ) from error
    if held in (SkipReason.COLLECTION, SkipReason.BUNDLE):
        what = "holds a collection" if held is SkipReason.COLLECTION else "is a bundle"
        raise TextError(f"{path} {what} of decant and no documents; give a folder of text files")
    return start


def _read(path: Path) -> str | None:
    """Return the text of a file; None if it is binary, or was deleted meanwhile.

    Raises:
        TextError: It is not text in UTF-8, or cannot be converted.
        MissingExtra: It must be converted, and the extra is not installed.
    """
    if path.suffix.lower() in CONVERTED:
        return converted(path)
    try:
        with path.open("rb") as file:
            head = file.read(_PROBED)
            is_utf16 = head.startswith(_UTF16)
            if not is_utf16 and b"\0" in head:
                return None  # the rest of it may be gigabytes
            data = head + file.read()
    except FileNotFoundError:
        return None
    # The byte order mark of UTF-8 is no part of the text; that of UTF-16 states the byte order.
    coding, name = ("utf-16", "UTF-16") if is_utf16 else ("utf-8-sig", "UTF-8")
    try:
        return data.decode(coding)
    except UnicodeDecodeError as error:
        # The decoder counts from the end of the mark.
        at = error.start + len(data) - len(error.object)
        raise TextError(
            f"byte {data[at]:#04x} at position {at} is not {name}; save the file as UTF-8"
        ) from error
