"""A connection to a Qdrant server: it is checked, retries requests, and is closed.

The client's local mode is accepted, too, for tests. It breaks under concurrent calls, so then all
calls share one lock.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Hashable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from threading import RLock
from typing import Self, TypeVar, cast

from qdrant_client import QdrantClient

from decant.embedders import StoreError

from ..coroutines.async_close import AsyncClose
from ..coroutines.run_now import immediate, run_now
from ..stores.input_errors import ReadOnlyError, StoreInputError
from ..stores.protocol import Engine
from ..stores.text_to_embed import texts_need_a_server
from .clients.addresses import DEFAULT_PORT, endpoint, read_address, without_secrets
from .clients.client import Access, AttemptLimit, Write, reading_only
from .clients.loop_clients import LoopClients, asynchronous_options
from .faults import EXCEPTIONS, FaultKind, fault_of
from .retry import Backoff, send

_CLIENT_TIMEOUT = 5  # the timeout of qdrant-client by default
_FIRST_LOOK = 10.0
_OLDEST = (1, 16)  # the first version of the server with collection metadata
_HIDDEN = "(hidden)"
_SHORTEST_SECRET = 4  # shorter keys could be part of words in messages
_CREDENTIALS = re.compile("auth|cookie|key|pass|secret|token")  # in the names of headers

T = TypeVar("T")


class Server:
    """A client that retries, serialises calls if necessary, and raises only ``StoreError``.

    Args:
        client: The client; a timeout of a minute suits indexing.
        place: Its address, for messages; by default the client's own address.
        owned: Whether :meth:`close` also closes the client.
        backoff: How to repeat requests; some six times within a minute by default.
        first_look: How to repeat the first request; by default like all others.
        read_only: Whether to refuse every write before it is sent.

    Raises:
        StoreError: The server cannot be reached, is older than 1.16 or no Qdrant server at all, or
            refuses the API key.
    """

    def __init__(
        self,
        client: QdrantClient,
        *,
        place: str | None = None,
        owned: bool = False,
        backoff: Backoff | None = None,
        first_look: Backoff | None = None,
        read_only: bool = False,
    ) -> None:
        options = client.init_options
        self.client = reading_only(client) if read_only else client
        self._built = client
        self.place = place or _place(client)
        self.is_local = options["location"] == ":memory:" or options["path"] is not None
        over_grpc = options["prefer_grpc"] and not self.is_local
        self._reached = self.place
        if over_grpc:
            self._reached += f" (gRPC at port {options['grpc_port']})"
        self._secrets = tuple(_secrets(client))
        self._owned = owned
        self._backoff = backoff or _patience(client, None, None)
        self._guard: AbstractContextManager[object] = RLock() if self.is_local else nullcontext()
        self._closed = False
        self._reads_only = read_only
        self._waits = False
        found = None if self.is_local else asynchronous_options(options)
        self._loops = None if found is None else LoopClients(found)
        self.version: tuple[int, ...] | None = None  # major and minor; None in local mode
        if not self.is_local:
            self.version = self._check_version(first_look or self._backoff)
            self._check_key(first_look or self._backoff)

    def ask(self, what: str, request: Callable[[], T]) -> T:
        """Return the result of ``request``.

        Args:
            what: The operation, for messages.
            request: Sends one request, which may be sent twice without harm.

        Raises:
            StoreError: It was refused, or had no answer in time; its text holds no secrets.
            Stopped: The work of this thread was stopped.
        """
        return run_now(self.send(what, request))

    async def send(self, what: str, request: Callable[[], T]) -> T:
        """Return the result of ``request``, which is awaited in an event loop; see :meth:`ask`."""
        return await self._send(what, request, self._backoff)

    async def in_loop(self) -> Self | None:
        """Return this connection for the running event loop; None if its calls have to block.

        They do in local mode, and with a client whose options no other client can have.
        """
        if self._loops is None:
            return None
        if self._closed:
            raise self._is_closed()
        client = cast("QdrantClient", await self._loops.client())
        return self._through(reading_only(client) if self._reads_only else client, waits=True)

    @property
    def identity(self) -> Hashable:
        """A value that two connections to one server share; see :attr:`Store.identity`."""
        return id(self._built) if self.is_local else endpoint(self.client.init_options)

    def check_takes_texts(self) -> None:
        """Refuse texts in place of vectors where the client would not send them to a server.

        Raises:
            StoreInputError: The client runs in local mode, or would embed them in this process.
        """
        if self.is_local:
            raise texts_need_a_server("RemoteStore over the client's local mode")
        if not self._built.cloud_inference:
            raise StoreInputError(
                f"the client of {self.place} would embed texts in this process, by FastEmbed; make "
                "it with QdrantClient(…, cloud_inference=True), which sends them to the server, or "
                "give connect() the address"
            )

    def with_client(self, client: QdrantClient) -> Self:
        """Return this connection with another form of its client, which it does not close."""
        return self._through(client, waits=self._waits)

    def _through(self, client: QdrantClient, *, waits: bool) -> Self:
        other = copy.copy(self)
        other.client = client
        other._owned = False  # noqa: SLF001 - it is of this class
        other._waits = waits  # noqa: SLF001
        return other

    def close(self) -> None:
        """Close the client if this object owns it; a second call does nothing."""
        if self._owned and not self._closed:
            self.client.close()
        self._closed = True

    async def close_in_loop(self) -> None:
        """Close the client of the running event loop, if there is one."""
        if self._loops is not None:
            await self._loops.aclose()

    def __repr__(self) -> str:
        """Return the class and the address."""
        return f"Server({self.place!r})"

    def _is_closed(self) -> StoreError:
        return StoreError(f"the store {self.place} is closed; connect again")

    def _ask(self, what: str, request: Callable[[], T], backoff: Backoff) -> T:
        return run_now(self._send(what, request, backoff))

    async def _send(self, what: str, request: Callable[[], T], backoff: Backoff) -> T:
        if self._closed:
            raise self._is_closed()
        sleep = backoff.async_sleep if self._waits else immediate(backoff.sleep)
        with self._guard:
            try:
                return await send(request, backoff, what=f"{what} at {self._reached}", sleep=sleep)
            except Write:
                raise ReadOnlyError.of(what, self.place) from None
            except StoreError as error:
                if any(secret in f"{error} {error.__cause__}" for secret in self._secrets):
                    raise StoreError(self._without_secrets(str(error))) from None
                raise

    def _without_secrets(self, text: str) -> str:
        for secret in self._secrets:
            text = text.replace(secret, _HIDDEN)
        return text

    def _check_version(self, backoff: Backoff) -> tuple[int, ...]:
        info = self._ask("reaching a Qdrant server", self.client.info, backoff)
        if "qdrant" not in info.title.lower():
            raise StoreError(
                f"what answers at {self._reached} calls itself {info.title[:80]!r} and is no "
                "Qdrant server; check the address and the port"
            )
        numbers = tuple(int(part) for part in info.version.split(".")[:2] if part.isdecimal())
        if numbers < _OLDEST:
            raise StoreError(
                f"the Qdrant server at {self.place} has version {info.version}; decant needs 1.16 "
                "or later, which can keep a collection's recipe: upgrade the server"
            )
        return numbers

    def _check_key(self, backoff: Backoff) -> None:
        """Send a request that needs a key; the request for the version needs none.

        A valid key may be limited to some collections, and so may be refused here; such refusals
        are left to the request that needs more.
        """

        def look() -> None:
            try:
                self.client.collection_exists("decant")
            except EXCEPTIONS as error:
                fault = fault_of(error)
                if fault.passes or fault.kind is FaultKind.UNAUTHENTICATED:
                    raise

        self._ask("checking the API key", look, backoff)


def reach(access: Access, backoff: Backoff, *, read_only: bool = False) -> Server:
    """Return a connection to an address, after a check that a server answers.

    Args:
        access: How to reach the server.
        backoff: How to repeat requests.
        read_only: Whether to refuse every write before it is sent.

    Raises:
        StoreError: There is no server, it is too old, or it refuses the key.
    """
    limit = AttemptLimit(backoff.attempt_timeout)
    client = access.build(limit)
    # The first request is repeated only briefly, because most often the address is wrong.
    limit.seconds = min(_FIRST_LOOK, backoff.attempt_timeout)
    once = Backoff.within(backoff.timeout, attempts=1)
    address = access.address
    try:
        server = Server(
            client,
            place=address.url,
            owned=True,
            backoff=backoff,
            first_look=once,
            read_only=read_only,
        )
    except StoreError as error:
        client.close()
        if access.grpc_port is None and not address.names_port and _is_misplaced(error):
            raise StoreError(
                f"{error} (the address names no port, so {DEFAULT_PORT} is meant; behind a proxy "
                f"write :{443 if address.is_encrypted else 80})"
            ) from error.__cause__
        raise
    except BaseException:
        client.close()
        raise
    limit.seconds = backoff.attempt_timeout
    return server


def through(
    client: object,
    *,
    timeout: float | None = None,
    attempts: int | None = None,
    read_only: bool = False,
) -> Server:
    """Return a connection through a client that the caller built, and closes.

    Args:
        client: The client, whose own timeout is that of one attempt.
        timeout: Seconds for all attempts; by default 120, or three times the client's timeout if
            that is more.
        attempts: How often a request is sent at most; 7 by default.
        read_only: Whether to refuse every write before it is sent.

    Raises:
        StoreError: There is no server, it is too old, or it refuses the key.
        TypeError: It is no ``QdrantClient``.
    """
    if not isinstance(client, QdrantClient):
        hint = ""
        if type(client).__name__ == "AsyncQdrantClient":
            hint = "; the coroutines of a collection work through a QdrantClient too"
        raise TypeError(
            "a store is at a folder, an http(s) address or a QdrantClient, and this is a "
            f"{type(client).__name__}{hint}"
        )
    return Server(client, backoff=_patience(client, timeout, attempts), read_only=read_only)


def _patience(client: QdrantClient, timeout: float | None, attempts: int | None) -> Backoff:
    seconds = float(client.init_options["timeout"] or _CLIENT_TIMEOUT)
    if timeout is None:
        timeout = max(Backoff.within().timeout, 3 * seconds)
    return replace(Backoff.within(timeout, attempts=attempts), attempt_timeout=seconds)


def _secrets(client: QdrantClient) -> Iterator[str]:
    """Yield the credentials of a client that are long enough to be recognised in a message."""
    options = client.init_options
    headers: Mapping[str, object] = {
        **(options.get("metadata") or {}),
        **(options.get("headers") or {}),
    }
    found = [str(value) for name, value in headers.items() if _CREDENTIALS.search(name.lower())]
    # What follows "Bearer" or "Basic" is the secret.
    parts = [part for value in found for part in (value, value.rpartition(" ")[2])]
    for secret in dict.fromkeys([str(options["api_key"] or ""), *parts]):
        if len(secret) >= _SHORTEST_SECRET:
            yield secret


def _place(client: QdrantClient) -> str:
    """Return a client's address, without users, passwords and queries."""
    options = client.init_options
    if options["path"] is not None:
        return str(options["path"])
    if (url := options["url"] or options["location"]) is not None:
        return _shown_url(url, options["port"])
    is_https = options["https"] if options["https"] is not None else options["api_key"] is not None
    scheme, host = "https" if is_https else "http", options["host"] or "localhost"
    return _shown_url(f"{scheme}://{host}/{options['prefix'] or ''}", options["port"])


def _shown_url(url: str, port: int | None) -> str:
    shown = without_secrets(url if "://" in url else f"none://{url}").removeprefix("none://")
    try:
        address = read_address(shown)
    except StoreError:
        return shown  # ":memory:", or a host without http://, which the client takes
    if address.names_port or port == DEFAULT_PORT:
        return address.url
    return replace(address, port=port).url if port is not None else shown.rstrip("/")


def _is_misplaced(error: StoreError) -> bool:
    """Return whether an error may come from another program than Qdrant, or from no program."""
    cause = error.__cause__
    wrong = {FaultKind.PASSING, FaultKind.FOREIGN, FaultKind.ENCRYPTION}
    return isinstance(cause, EXCEPTIONS) and fault_of(cause).kind in wrong


class ServerStore(AsyncClose):
    """The part of a store that is the same for every collection: what it is connected to.

    Args:
        server: The connection.
    """

    def __init__(self, server: Server) -> None:
        self._server = server

    @property
    def engine(self) -> Engine:
        """A server."""
        return Engine.REMOTE

    @property
    def place(self) -> str:
        """The address."""
        return self._server.place

    @property
    def identity(self) -> Hashable:
        """The address without credentials; of the client's local mode, the client itself."""
        return self._server.identity

    def close(self) -> None:
        """Close the connection; a second call does nothing."""
        self._server.close()

    async def aclose(self) -> None:
        """Close the connection, and first what the running event loop holds of it."""
        await self._server.close_in_loop()
        await super().aclose()

    def __repr__(self) -> str:
        """Return the class and the address, without credentials."""
        return f"{type(self).__name__}({self.place!r})"
