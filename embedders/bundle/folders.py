"""Make a folder that appears whole or not at all, and remove leftovers of processes that ended.

A folder is filled under a hidden name next to its target, and the process that fills it locks it.
A lock ends with its process, however that process ends, so a later process knows leftovers from
work that is under way. Where folders cannot be locked (Windows, some network disks), leftovers
stay.
"""

from __future__ import annotations

import errno
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from ..errors import BundleError
from ..files import MANIFEST

if sys.platform != "win32":
    import fcntl

_MAKING, _REPLACED = ".making-", ".replaced-"
_RANDOM = r"[a-z0-9_]{8}"  # the random suffix of tempfile


@contextmanager
def fresh_folder(target: Path, *, replace: bool = False) -> Iterator[Path]:
    """Yield a temporary folder next to ``target``, and rename it to ``target`` on success.

    Leftovers of killed processes for the same target are removed first, and a bundle that one of
    them had set aside is put back.

    Args:
        target: The folder to make.
        replace: Whether an existing bundle may be replaced.

    Raises:
        BundleError: ``target`` exists and is no bundle or may not be replaced, or the disk is full.
    """
    _put_back(target)
    if target.exists():
        if not (target / MANIFEST).exists() and any(target.iterdir()):
            raise BundleError(f"{target} exists and is no bundle; choose another name")
        if not replace and (target / MANIFEST).exists():
            raise BundleError(f"{target} already holds a bundle; pass replace=True (--replace)")
    target.parent.mkdir(parents=True, exist_ok=True)
    with full_disk_error(f"{target} was not written"), sibling_folder(target) as making:
        yield making
        making.chmod(0o755)
        _swap(making, target)


@contextmanager
def sibling_folder(target: Path) -> Iterator[Path]:
    """Yield a hidden folder on the disk of ``target``, and delete it at the end.

    Leftovers of killed processes are removed first.
    """
    for old in _leftovers(target, _MAKING):
        with _unowned(old) as unowned:
            if unowned:
                shutil.rmtree(old, ignore_errors=True)
    with _owned(target, _MAKING) as making:
        yield making


@contextmanager
def full_disk_error(outcome: str) -> Iterator[None]:
    """Raise a full disk as a :class:`BundleError` that says what became of the work."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise BundleError(
                f"the disk is full: {outcome}, and nothing is left of it; free some space and run "
                "it again"
            ) from error
        raise


def _swap(made: Path, target: Path) -> None:
    if not target.exists():
        made.rename(target)
        return
    with _owned(target, _REPLACED) as old:
        target.rename(old / target.name)
        try:
            made.rename(target)
        except BaseException:
            (old / target.name).rename(target)
            raise


def _put_back(target: Path) -> None:
    """Put a bundle back that a killed process had set aside while it replaced ``target``."""
    for old in _leftovers(target, _REPLACED):
        with _unowned(old) as unowned:
            if not unowned:
                continue
            if not target.exists() and (old / target.name).is_dir():
                (old / target.name).rename(target)
            shutil.rmtree(old, ignore_errors=True)


def _leftovers(target: Path, kind: str) -> list[Path]:
    """Return the hidden folders next to ``target`` that any process made for it."""
    parent = target.absolute().parent
    ours = re.compile(rf"\.{re.escape(target.name)}{re.escape(kind)}{_RANDOM}")
    found = parent.iterdir() if parent.is_dir() else iter(())
    return [one for one in found if ours.fullmatch(one.name) and _is_folder(one)]


def _is_folder(path: Path) -> bool:
    return path.is_dir() and not path.is_symlink()


@contextmanager
def _owned(target: Path, kind: str) -> Iterator[Path]:
    """Make a folder next to ``target`` and hold its lock; at the end, delete what is left."""
    while True:
        made = Path(tempfile.mkdtemp(prefix=f".{target.name}{kind}", dir=target.absolute().parent))
        lock = _locked(made, waiting=True)
        if made.exists():  # else another process took it for a leftover before it was locked
            break
        _release(lock)
    try:
        yield made
    finally:
        shutil.rmtree(made, ignore_errors=True)
        _release(lock)


@contextmanager
def _unowned(folder: Path) -> Iterator[bool]:
    """Yield whether no other process holds a folder's lock; if so, this process holds it."""
    lock = _locked(folder, waiting=False)
    try:
        yield lock is not None
    finally:
        _release(lock)


def _locked(folder: Path, *, waiting: bool) -> int | None:
    """Lock a folder and return the lock's handle; None if it is held, or cannot be locked."""
    if sys.platform == "win32":
        return None
    descriptor = None
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if waiting else fcntl.LOCK_NB))
        return descriptor
    _release(descriptor)
    return None


def _release(lock: int | None) -> None:
    if lock is not None:
        os.close(lock)
