"""Which files may belong to a bundle, and whether they are still the files that were checked.

Every name in ``decant.json`` is a relative path that does not leave the bundle and leads to a
plain file. A link to a plain file is accepted wherever that file lies: the hub's cache consists of
links into a neighbouring folder, and the hash proves the content. Each file that decides a vector
(graphs, their external weights, the tokenizer, ``config.json``) is listed there with its hash.
``certificate.json``, ``tuning.json`` and ``calibration.json`` change after a bundle was made, so
they have no hash: their entries name the graph or the recipe that they are about, and their
figures are checked when they are read. Engines that TensorRT builds next to a graph are not listed.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath

from ..errors import BundleError


@dataclass(frozen=True, slots=True)
class Identity:
    """Facts that change when a file's content changes, and that cost no reading."""

    device: int
    inode: int
    size: int
    modified: int
    changed: int

    @classmethod
    def of(cls, found: os.stat_result) -> Identity:
        """Return the identity of a file."""
        return cls(found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckedFile:
    """A file as it was when its hash was right.

    Args:
        path: Its absolute path, which stays right when the working directory changes.
        sha256: Its hash.
        identity: Its identity at that time.
    """

    path: Path
    sha256: str
    identity: Identity

    @property
    def replaced(self) -> bool:
        """Whether the content changed or the file is gone. It is read only if it was touched."""
        try:
            if Identity.of(self.path.stat()) == self.identity:
                return False
            return hashed(self.path).sha256 != self.sha256
        except OSError:
            return True


def hashed(path: Path) -> CheckedFile:
    """Hash a file.

    Raises:
        BundleError: It is no plain file, or it was written meanwhile.
        OSError: It is missing, or cannot be read.
    """
    # Checked before it is opened: opening a pipe would wait for a writer.
    if not stat.S_ISREG(path.stat().st_mode):
        raise BundleError(f"{path} is no plain file; a bundle holds plain files, or links to them")
    with path.open("rb") as file:
        before = Identity.of(os.fstat(file.fileno()))
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        if Identity.of(os.fstat(file.fileno())) != before:
            raise BundleError(f"{path} was written while it was read; open the bundle again")
    return CheckedFile(path=path.absolute(), sha256=sha256, identity=before)


def check_not_replaced(files: Iterable[CheckedFile]) -> None:
    """Refuse files that changed since their hashes were compared.

    Raises:
        BundleError: One was replaced, altered or removed; names it.
    """
    for file in files:
        if file.replaced:
            raise BundleError(
                f"{file.path} was replaced or removed after the bundle was loaded, and vectors of "
                "two models would be mixed: load the bundle again"
            )


def check_name(name: str, *, where: str) -> None:
    """Refuse a name that does not lead to a path inside the bundle.

    Args:
        name: As ``decant.json`` or a graph gives it, with ``/`` between its parts.
        where: The file that holds the name, for messages.

    Raises:
        BundleError: It is empty or absolute, or leaves the bundle.

    >>> check_name("onnx/model.onnx", where="decant.json")
    >>> check_name("../model.onnx", where="decant.json")
    Traceback (most recent call last):
    ...
    decant.embedders.errors.BundleError: decant.json names the file '../model.onnx', which is \
not inside the bundle; export it again
    """
    parts = PurePosixPath(name).parts
    foreign = PureWindowsPath(name)
    leaves = not parts or parts[0] == "/" or ".." in parts or ".." in foreign.parts
    if leaves or foreign.anchor or "\0" in name:
        raise BundleError(
            f"{where} names the file {name[:200]!r}, which is not inside the bundle; export it "
            "again"
        )


def name_in_bundle(graph: str, location: str) -> str:
    """Return the bundle's name for a file that a graph names relative to its own folder.

    Raises:
        BundleError: It is not inside the bundle.
    """
    check_name(location, where=graph)
    return (PurePosixPath(graph).parent / location).as_posix()
