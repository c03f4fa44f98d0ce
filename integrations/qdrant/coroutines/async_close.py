"""Close any store from an event loop, in a file of its own below all kinds of stores.

To close a store may block, so that a thread does it. A store with connections that belong to the
event loop closes those first, where they belong; those of other event loops are closed with these.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Self

from .threads import run_in_thread


class AsyncClose(ABC):
    """The part of a store that closes it, and does so without blocking the event loop."""

    @abstractmethod
    def close(self) -> None:
        """Release files and connections; a second call does nothing."""

    def __enter__(self) -> Self:
        """Return the store itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the store."""
        self.close()

    async def aclose(self) -> None:
        """Close the store without blocking the event loop; a second call does nothing."""
        await run_in_thread(self.close)

    async def __aenter__(self) -> Self:
        """Return the store itself."""
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close the store."""
        await self.aclose()
