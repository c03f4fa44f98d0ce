"""The open shards of this process: each is open once, shared by its stores, closed by the last.

A process can open a shard only once, because the engine locks it. So stores of one folder, under
whatever path, share an open shard, with a count of users. A forked child cannot use its parent's
shards, because the files are the parent's and the engine's threads are not in the child. It neither
uses nor closes an inherited shard, and never frees the engine's object, whose destructor would
write to the parent's files. Invariant: an engine's object is closed before it is freed, except in
such a child.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from threading import RLock

import qdrant_edge as edge

from decant.embedders import StoreError

from ..stores.collection_settings import StoredLayout
from .disk_space import check_room
from .errors import EngineErrors, locked_elsewhere
from .layouts import read_layout
from .private_copy import is_writable, private_copy, remove_copy
from .shard_lock import Identity, identity, let_go, shard_lock
from .turns import Turns


@dataclass(slots=True, kw_only=True, eq=False)
class OpenShard:
    """A shard that is open in this process.

    Args:
        engine: The engine's object.
        folder: Where the shard lies, resolved.
        identity: Its identity, which differs from all other shards, and from one made later in its
            place.
        copy: The private copy that is open instead; None if the shard is writable.
        layout: How the engine stores it.
        users: How many stores use it.
        is_closed: Whether the engine has closed it.
        is_dropped: Whether a store of this process has deleted it.
        turns: Orders the threads that use it.
    """

    engine: edge.EdgeShard
    folder: Path
    identity: Identity
    copy: Path | None
    layout: StoredLayout
    users: int = 1
    is_closed: bool = False
    is_dropped: bool = False
    turns: Turns = field(default_factory=Turns)

    def is_current(self, folder: Path) -> bool:
        """Return whether a folder still holds this shard."""
        return not self.is_closed and identity(folder) == self.identity


class _Register:
    """The open shards, and the lock under which they change."""

    def __init__(self) -> None:
        self.begin()

    def begin(self) -> None:
        """Reset in a forked child: no open shards, and a free lock."""
        self.lock = RLock()
        self.shards: dict[Identity, OpenShard] = {}


_open = _Register()


def open_shard(folder: Path, what: str, place: str) -> OpenShard:
    """Open a shard, or return the open one; give it back with :func:`release_shard`.

    Args:
        folder: The shard's folder.
        what: The operation, for messages.
        place: The store's folder, for messages.

    Raises:
        StoreError: Another process has it open, or the disk is nearly full.
        Exception: The engine's error.
    """
    _watch_forks()
    folder = folder.resolve()
    with _open.lock:
        if (shard := _shared(folder)) is None:
            shard = _opened(folder, what, place)
            _open.shards[shard.identity] = shard
        return shard


def release_shard(shard: OpenShard) -> None:
    """Give a shard back; the last user flushes and closes it.

    Raises:
        Exception: The engine's error; the shard is closed nevertheless.
    """
    with _open.lock:
        shard.users -= 1
        if shard.users == 0 and not shard.is_closed:
            _close(shard)


def load_again(shard: OpenShard, config: edge.EdgeConfig) -> None:
    """Close the engine of a shard and load it with other settings, in the turn of a writer.

    If that fails, it is loaded as it was; if that fails, too, it counts as closed.

    Raises:
        Exception: The engine's error.
    """
    with _open.lock:
        shard.engine.flush()
        shard.engine.close()
        try:
            shard.engine = edge.EdgeShard.load(str(shard.folder), config)
        except BaseException:
            try:
                shard.engine = edge.EdgeShard.load(str(shard.folder))
            except BaseException:
                shard.is_closed = True
                _open.shards.pop(shard.identity, None)
                raise
            raise
        finally:
            shard.layout = read_layout(shard.folder)


def remove_shard(folder: Path, remove: Callable[[], None], what: str, place: str) -> None:
    """Delete a shard, damaged or not: close it if this process has it open, and hold its lock.

    Args:
        folder: The shard's folder, which need not exist.
        remove: Moves or deletes it.
        what: The operation, for messages.
        place: The store's folder, for messages.

    Raises:
        StoreError: Another process has it open.
    """
    with _open.lock:
        found = identity(folder)
        shard = None if found is None else _open.shards.get(found)
        if shard is not None:
            # Errors at the closing of a damaged shard do not matter any more.
            with suppress(StoreError), EngineErrors(what, place):
                _close(shard)
        with shard_lock(folder, shared=False) as is_free:
            if not is_free:
                raise locked_elsewhere(what, place)
            remove()
        if shard is not None:
            shard.is_dropped = True


def give_back(shards: dict[str, OpenShard], place: str, process: int) -> None:
    """Empty a store's register of shards, unless it was inherited; raise the first error."""
    if process != os.getpid():
        return
    failed: StoreError | None = None
    while shards:
        name, shard = shards.popitem()
        try:
            with EngineErrors(f"closing {name!r}", place):
                release_shard(shard)
        except StoreError as error:
            failed = failed or error
    if failed is not None:
        raise failed


@contextmanager
def no_fork() -> Iterator[None]:
    """Prevent forks within the block, so that no child inherits an unregistered shard."""
    _watch_forks()
    with _open.lock:
        yield


def _shared(folder: Path) -> OpenShard | None:
    found = identity(folder)
    shard = None if found is None else _open.shards.get(found)
    if shard is None:
        return None
    if shard.folder != folder and identity(shard.folder) != found:
        raise StoreError(
            f"{shard.folder} was moved to {folder} while this process had it open; close the "
            "store that has it open, or end this process"
        )
    shard.users += 1
    # The garbage collector may have closed it just before.
    return None if shard.is_closed else shard


def _opened(folder: Path, what: str, place: str) -> OpenShard:
    if is_writable(folder):
        check_room(folder, what)
        copy = None
    else:
        copy = private_copy(folder, what, place)
    try:
        layout = read_layout(copy or folder)
        engine = edge.EdgeShard.load(str(copy or folder))
        # The engine makes a log where there is none.
        found = identity(folder) or identity(copy or folder)
        assert found is not None
    except BaseException:
        if copy is not None:
            remove_copy(copy)
        raise
    return OpenShard(engine=engine, folder=folder, identity=found, copy=copy, layout=layout)


def _close(shard: OpenShard) -> None:
    # A folder that was moved or deleted meanwhile cannot be flushed; what was written is in
    # the log, which went with it.
    is_flushed = shard.copy is None and shard.is_current(shard.folder)
    shard.is_closed = True
    _open.shards.pop(shard.identity, None)
    try:
        if is_flushed:
            shard.engine.flush()
    finally:
        shard.engine.close()
        if shard.copy is not None:
            remove_copy(shard.copy)


@cache
def _watch_forks() -> None:
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(before=_hold, after_in_parent=_go_on, after_in_child=_abandon)


def _hold() -> None:
    _open.lock.acquire()


def _go_on() -> None:
    _open.lock.release()


def _abandon() -> None:
    """Keep inherited objects alive and untouched until this process, a forked child, ends."""
    inherited = _open.shards
    _open.begin()
    for shard in inherited.values():
        # With one reference too many, not even the interpreter's end runs the destructor.
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(shard.engine))
        held = shard.identity if shard.copy is None else identity(shard.copy)
        if held is not None:
            let_go(held)
