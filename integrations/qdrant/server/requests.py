"""Requests to a server about a collection, each as large as that server takes.

Pages, batches and lists shrink when a refusal names a limit (``limits.py``), and the
request goes again. What a server refuses otherwise is raised, with what to do about it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, TypeVar

from decant.embedders import StoreError

from .capabilities import Server
from .limits import Limits
from .payload_indexes import without_index

if TYPE_CHECKING:
    from qdrant_client import QdrantClient

Item = TypeVar("Item")
T = TypeVar("T")


class Requests:
    """Sends requests, and remembers the limits of each collection.

    Args:
        server: The connection.
    """

    def __init__(self, server: Server) -> None:
        self._server = server
        self._limits: dict[str, Limits] = {}

    @property
    def client(self) -> QdrantClient:
        """What speaks to the server."""
        return self._server.client

    @property
    def place(self) -> str:
        """The address, for messages."""
        return self._server.place

    @property
    def is_local(self) -> bool:
        """Whether there is no server, but the client's local mode."""
        return self._server.is_local

    @property
    def largest(self) -> int | None:
        """Bytes that one request may have; None where nothing limits them."""
        is_grpc = self.client.init_options.get("prefer_grpc")
        return None if self.is_local or is_grpc else 32 * 2**20

    def ask(self, what: str, request: Callable[[], T]) -> T:
        """Return what one request gives; see :meth:`Server.ask`."""
        if not self.is_local:
            return self._server.ask(what, request)
        try:
            return self._server.ask(what, request)
        except (LookupError, RuntimeError, TypeError, AttributeError) as error:
            # Local mode checks less than a server does, and lets its own errors out.
            raise StoreError(f"{what} at {self.place} was refused: {error!r}") from error

    def limits(self, name: str) -> Limits:
        """Return what is known of a collection's limits."""
        return self._limits.get(name) or Limits()

    def remember(self, name: str, limits: Limits | None) -> None:
        """Keep a collection's limits, as its settings say; None forgets them."""
        if limits is None:
            self._limits.pop(name, None)
        else:
            self._limits[name] = limits

    def adapting(self, name: str, send: Callable[[Limits], T]) -> T:
        """Return what a request within the limits gives, sent again as they are learnt.

        Args:
            name: The collection.
            send: Sends one request that keeps to the limits it is given.
        """
        while True:
            try:
                return send(self.limits(name))
            except StoreError as error:
                self._learn(name, error)

    def in_parts(
        self,
        name: str,
        items: Sequence[Item],
        most: Callable[[Limits], int],
        send: Callable[[Sequence[Item]], T],
    ) -> Iterator[T]:
        """Send items in order, and yield each answer.

        Args:
            name: The collection.
            items: To be sent, each once.
            most: How many may go together.
            send: Sends some of them.
        """
        start = 0
        while start < len(items):
            part = items[start : start + most(self.limits(name))]
            try:
                answer = send(part)
            except StoreError as error:
                self._learn(name, error, sent=len(part))
                continue
            yield answer
            start += len(part)

    def _learn(self, name: str, error: StoreError, *, sent: int = 1) -> None:
        """Remember the limit that a refusal names, or raise it."""
        learnt = self.limits(name).learnt(error, sent=sent)
        if learnt is None:
            explained = without_index(error)
            if explained is error:
                raise error
            raise explained from error
        self._limits[name] = learnt
