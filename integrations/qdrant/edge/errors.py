"""Turn the errors of Qdrant Edge into :class:`StoreError`.

The engine raises bare ``Exception``; a panic raises a class that is no ``Exception`` and cannot be
imported. The engine stays usable after a panic, because its locks are released.
"""

from __future__ import annotations

import errno
from dataclasses import dataclass
from types import TracebackType

from decant.embedders import StoreError

_PANIC = "PanicException"
_LOCKED = "WouldBlock"
_MISSING = "No point with id"
_FORBIDDEN = frozenset({errno.EROFS, errno.EACCES, errno.EPERM})


@dataclass(slots=True)
class EngineErrors:
    """Turns the engine's errors and panics within a ``with`` block into ``StoreError``.

    Args:
        what: The operation, for example "searching 'docs'".
        place: The folder.
        advice: Advice for the user, if there is any.

    Raises:
        StoreError: The block failed. A ``StoreError`` from the block passes unchanged, as do
            ``KeyboardInterrupt`` and ``SystemExit``.
    """

    what: str
    place: str
    advice: str = ""

    # A class, because a context manager from a generator takes as long as a small write.
    def __enter__(self) -> None:
        """Begin the block."""

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Raise a :class:`StoreError` in place of an error of the engine."""
        if error is None or isinstance(error, StoreError):
            return
        if not isinstance(error, Exception) and not is_panic(error):
            return
        if _LOCKED in str(error):
            raise locked_elsewhere(self.what, self.place) from error
        if isinstance(error, OSError) and error.errno in _FORBIDDEN:
            # Python's message names a hidden folder that exists only for a moment.
            raise StoreError(
                f"{self.what} in {self.place} failed: {error.strerror}; give write permission to "
                "the folder and all in it, or copy it elsewhere"
            ) from error
        failed = "failed within the engine (it panicked)" if is_panic(error) else "failed"
        raise StoreError(f"{self.what} in {self.place} {failed}: {error}{self.advice}") from error


def locked_elsewhere(what: str, place: str) -> StoreError:
    """Return the error for a collection that another process has open."""
    return StoreError(
        f"{what} failed: the collection in {place} is locked, because another process has it open "
        "(after a fork that may be the parent); close it there first, or use a Qdrant server to "
        "share a collection"
    )


def forked(place: str, connected: int, process: int) -> StoreError:
    """Return the error for a store that a forked child inherited."""
    return StoreError(
        f"the store {place} was connected in process {connected}, and this is process {process}, "
        "which was forked from it; call connect() after the fork, in the process that uses the "
        "store"
    )


def dropped(name: str, place: str) -> StoreError:
    """Return the error for a collection that was open when it was deleted."""
    return StoreError(
        f"the collection {name!r} in {place} was dropped by another store of this process; if it "
        "was created again, or migrated, open it with Collection.open"
    )


def is_panic(error: BaseException) -> bool:
    """Return whether the engine panicked."""
    return any(kind.__name__ == _PANIC for kind in type(error).__mro__)


def is_missing_point(error: Exception) -> bool:
    """Return whether the engine refused an update because a point does not exist."""
    return _MISSING in str(error)
