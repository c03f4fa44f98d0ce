"""What encoders with worker threads have in common: copies, forked children, and their end."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Self

from ..forks import leave_behind, renew_after_fork


class PooledEncoder(ABC):
    """An encoder whose work is done by threads of its own; usable in a ``with`` block.

    A subclass calls ``super().__init__()`` once :meth:`_workers` can be called.
    """

    def __init__(self) -> None:
        self._pool = self._workers()
        self._closed = False
        renew_after_fork(self)

    @abstractmethod
    def _workers(self) -> ThreadPoolExecutor:
        """Return new workers."""

    def __copy__(self) -> Self:
        """Return the encoder itself, which is safe to share."""
        return self

    def __deepcopy__(self, memo: Mapping[int, object]) -> Self:
        """Return the encoder itself, which is safe to share."""
        return self

    def renew(self) -> None:
        """Start new workers; called in a forked child, which has no threads of its parent."""
        leave_behind(self._pool)
        self._pool = self._workers()
        if self._closed:
            self._pool.shutdown()

    def close(self) -> None:
        """Stop the workers; later calls raise :class:`ProviderError`."""
        self._closed = True
        self._pool.shutdown(cancel_futures=True)

    def __enter__(self) -> Self:
        """Return the encoder itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the encoder."""
        self.close()
