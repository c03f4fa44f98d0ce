"""Requests to a server about a collection, each within the server's limits.

Pages, batches and lists shrink when a refusal names a limit (``limits.py``), and the request is
sent again. Other refusals are raised, with advice.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import TYPE_CHECKING, TypeVar

from decant.embedders import StoreError

from ..coroutines.run_now import immediate, run_now
from .capabilities import Server
from .limits import Limits
from .payload_indexes import without_index
from .refusals import without_vectors

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

    def through(self, server: Server) -> Requests:
        """Return what sends requests through another connection, and knows the same limits."""
        other = Requests(server)
        other._limits = self._limits
        return other

    @property
    def client(self) -> QdrantClient:
        """The client of the server."""
        return self._server.client

    @property
    def place(self) -> str:
        """The address, for messages."""
        return self._server.place

    @property
    def is_local(self) -> bool:
        """Whether the client runs in local mode, without a server."""
        return self._server.is_local

    @property
    def version(self) -> tuple[int, ...] | None:
        """The server's major and minor version; None in local mode."""
        return self._server.version

    @property
    def largest(self) -> int | None:
        """The most bytes of one request; None if there is no limit."""
        is_grpc = self.client.init_options.get("prefer_grpc")
        return None if self.is_local or is_grpc else 32 * 2**20

    def with_client(self, client: QdrantClient) -> Requests:
        """Return what sends them by another form of the client, and shares what is known."""
        return self.through(self._server.with_client(client))

    def ask(self, what: str, request: Callable[[], T]) -> T:
        """Return the result of one request; see :meth:`Server.ask`."""
        return run_now(self.send(what, request))

    async def send(self, what: str, request: Callable[[], T]) -> T:
        """Return the result of one request; see :meth:`Server.send`."""
        if not self.is_local:
            return await self._server.send(what, request)
        try:
            return await self._server.send(what, request)
        except (LookupError, RuntimeError, TypeError, AttributeError) as error:
            # Local mode checks less than a server, and raises errors of its own.
            raise StoreError(f"{what} at {self.place} was refused: {error!r}") from error

    def check_takes_texts(self) -> None:
        """Refuse texts in place of vectors; see :meth:`Server.check_takes_texts`."""
        self._server.check_takes_texts()

    def limits(self, name: str) -> Limits:
        """Return the known limits of a collection."""
        return self._limits.get(name) or Limits()

    def remember(self, name: str, limits: Limits | None) -> None:
        """Remember the limits in a collection's settings; None forgets them."""
        if limits is None:
            self._limits.pop(name, None)
        else:
            self._limits[name] = limits

    def adapting(self, name: str, send: Callable[[Limits], T]) -> T:
        """Return the result of a request that does not wait; see :meth:`adapted`."""
        return run_now(self.adapted(name, immediate(send)))

    async def adapted(self, name: str, send: Callable[[Limits], Awaitable[T]]) -> T:
        """Return the result of a request within the limits; it is repeated when a limit is learnt.

        Args:
            name: The collection.
            send: Sends one request within the limits that it gets.
        """
        while True:
            try:
                return await send(self.limits(name))
            except StoreError as error:
                self.learn(name, error)

    def in_parts(
        self,
        name: str,
        items: Sequence[Item],
        most: Callable[[Limits], int],
        send: Callable[[Sequence[Item]], T],
    ) -> Iterator[T]:
        """Send items in order without waiting, and yield each answer; see :meth:`parts`."""
        return iter(run_now(self.parts(name, items, most, immediate(send))))

    async def parts(
        self,
        name: str,
        items: Sequence[Item],
        most: Callable[[Limits], int],
        send: Callable[[Sequence[Item]], Awaitable[T]],
    ) -> list[T]:
        """Send items in order, and return the answers.

        Args:
            name: The collection.
            items: The items, each of which is sent once.
            most: How many may be sent together.
            send: Sends some of them.
        """
        answers: list[T] = []
        start = 0
        while start < len(items):
            part = items[start : start + most(self.limits(name))]
            try:
                answers.append(await send(part))
            except StoreError as error:
                self.learn(name, error, sent=len(part))
                continue
            start += len(part)
        return answers

    def learn(self, name: str, error: StoreError, *, sent: int = 1) -> None:
        """Remember the limit that a refusal names, or raise it.

        Args:
            name: The collection.
            error: The refusal.
            sent: How many points the request had.

        Raises:
            StoreError: The refusal itself, if it names no new limit.
        """
        learnt = self.limits(name).learnt(error, sent=sent)
        if learnt is None:
            explained = without_vectors(name, self.place, without_index(error))
            if explained is error:
                raise error
            raise explained from error
        self._limits[name] = learnt
