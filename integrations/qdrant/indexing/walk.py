"""Walk through a folder: find files that may be documents, and skip the rest.

Only items that certainly hold no documents are skipped: hidden ones (``.git``, ``.venv``),
collections of Edge and bundles of decant, virtual environments, folders that tools can fill again,
and items that are no files. Collections and bundles are recognised by their contents, whatever
their place and name. Links to files are followed, links to folders are not, so a walk always ends.
An unreadable item does not stop a walk; it is recorded.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from decant.embedders.files import MANIFEST

_TOKENIZER = "tokenizer.json"  # a manifest alone may be another program's file of that name
_CARD, _SHARD = "collection.json", "shard"
# https://bford.info/cachedir/: cargo, pytest, ruff and others mark folders that they can refill.
_CACHE_TAG, _CACHE_MARK = "CACHEDIR.TAG", b"Signature: 8a477f597d28d172789f06886806bc55"
_TOOLS = frozenset({"node_modules", "__pycache__", "CVS", "_darcs"})


class SkipReason(StrEnum):
    """Why an item of a folder was skipped."""

    COLLECTION = "collection"
    BUNDLE = "bundle"
    ENVIRONMENT = "virtual environment"
    TOOL = "kept by a tool"
    HIDDEN = "hidden"
    LINK = "link to a folder or to nothing"
    SPECIAL = "not a file"


@dataclass(frozen=True, slots=True, kw_only=True)
class Skipped:
    """A folder (its source ends with "/") or another item that was skipped on purpose."""

    source: str
    reason: SkipReason


@dataclass(frozen=True, slots=True, kw_only=True)
class Unreadable:
    """A file that could not be read, or a folder (its source ends with "/") that was not listed."""

    source: str
    reason: str


@dataclass(slots=True)
class Walk:
    """Walks through a folder, and records what is unreadable and what is skipped."""

    unreadable: list[Unreadable] = field(default_factory=list)
    skipped: list[Skipped] = field(default_factory=list)

    def files(self, start: Path) -> Iterator[tuple[Path, str]]:
        """Yield the files below ``start``, in the order of their names, each with its source.

        ``start`` itself may be one file; a folder is walked even if it would be skipped elsewhere.
        """
        if start.is_file():
            yield start, start.name
            return
        # Without recursion, because folders may be nested deeper than Python's stack.
        under_way = [("", iter(self._listed(start, "")))]
        while under_way:
            inside, entries = under_way[-1]
            entry = next(entries, None)
            if entry is None:
                under_way.pop()
                continue
            source = f"{inside}{entry.name}"
            try:
                if self._is_folder(entry, source):
                    deeper = self._listed(Path(entry.path), f"{source}/")
                    under_way.append((f"{source}/", iter(deeper)))
                elif self._is_file(entry, source):
                    yield Path(entry.path), source
            except OSError as error:
                self.cannot(source, reason_of(error))

    def cannot(self, source: str, reason: str) -> None:
        """Record an item that could not be read."""
        self.unreadable.append(Unreadable(source=_shown(source), reason=reason))

    def _pass_over(self, source: str, reason: SkipReason) -> None:
        self.skipped.append(Skipped(source=_shown(source), reason=reason))

    def _is_folder(self, entry: os.DirEntry[str], source: str) -> bool:
        """Return whether to walk into this; a folder that is skipped by its name is recorded."""
        if not entry.is_dir(follow_symlinks=False):
            return False
        if entry.name.startswith("."):
            self._pass_over(f"{source}/", SkipReason.HIDDEN)
        elif entry.name in _TOOLS:
            self._pass_over(f"{source}/", SkipReason.TOOL)
        else:
            return True
        return False

    def _is_file(self, entry: os.DirEntry[str], source: str) -> bool:
        """Return whether this is a file that is not hidden; items that are no files are recorded.

        Raises:
            OSError: It is a link in a circle, or to a place without permission.
        """
        if entry.name.startswith("."):
            return False
        if entry.is_file():
            return True
        if entry.is_symlink():
            self._pass_over(source, SkipReason.LINK)
        elif not entry.is_dir(follow_symlinks=False) and os.path.lexists(entry.path):
            self._pass_over(source, SkipReason.SPECIAL)
        return False

    def _listed(self, folder: Path, inside: str) -> Sequence[os.DirEntry[str]]:
        """Return a folder's entries, sorted; none if it is skipped or cannot be listed."""
        try:
            with os.scandir(folder) as found:
                entries = sorted(found, key=lambda entry: entry.name)
            reason = _known(folder, entries) if inside else None
        except FileNotFoundError as error:
            if not inside:
                # An unreadable start folder must not count as an empty one.
                self.cannot("/", reason_of(error))
            return ()  # another folder was deleted meanwhile
        except OSError as error:
            self.cannot(inside or "/", reason_of(error))
            return ()
        if reason is not None:
            self._pass_over(inside, reason)
            return ()
        return entries


def known(folder: Path) -> SkipReason | None:
    """Return the reason to skip a folder because of its contents; None if there is none.

    Raises:
        OSError: The folder cannot be listed.
    """
    with os.scandir(folder) as found:
        return _known(folder, list(found))


def _known(folder: Path, entries: Sequence[os.DirEntry[str]]) -> SkipReason | None:
    names = {entry.name for entry in entries}
    if {_CARD, _SHARD} <= names and (folder / _SHARD).is_dir():
        return SkipReason.COLLECTION
    if {MANIFEST, _TOKENIZER} <= names:
        return SkipReason.BUNDLE
    if "pyvenv.cfg" in names or (
        "conda-meta" in names and (folder / "conda-meta/history").exists()
    ):
        return SkipReason.ENVIRONMENT
    if _CACHE_TAG in names and _is_cache(folder / _CACHE_TAG):
        return SkipReason.TOOL
    return None


def _is_cache(tag: Path) -> bool:
    if not tag.is_file():
        return False
    with tag.open("rb") as file:
        return file.read(len(_CACHE_MARK)) == _CACHE_MARK


def reason_of(error: OSError) -> str:
    """Return the system's message without the path, which is shown separately."""
    return error.strerror or str(error)


def _shown(source: str) -> str:
    """Return a printable form of a source, whatever bytes its name holds."""
    return source.encode(errors="backslashreplace").decode()
