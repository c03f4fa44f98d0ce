"""A connection to a Qdrant server: built, checked, asked with patience, and closed.

The client's local mode is taken too, for tests: it goes to ruin under concurrent calls, so all of
them then pass one lock.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from contextlib import AbstractContextManager, nullcontext
from threading import RLock
from typing import TypeVar

from qdrant_client import QdrantClient

from decant.embedders import StoreError

from .endpoint import endpoint
from .retry import Backoff, ask

_TIMEOUT = 60
_PROBE_TIMEOUT = 10
_OLDEST = (1, 16)  # the first server with collection metadata

T = TypeVar("T")


class Server:
    """A client that retries, serialises where it must, and raises only ``StoreError``.

    Args:
        client: Speaks to the server; a timeout of a minute suits indexing.
        place: Its address, for messages; by default what the client was built with.
        owned: Whether :meth:`close` closes the client too.
        backoff: How to ask again; some six times within a minute by default.

    Raises:
        StoreError: The server cannot be reached, or is older than 1.16.
    """

    def __init__(
        self,
        client: QdrantClient,
        *,
        place: str | None = None,
        owned: bool = False,
        backoff: Backoff | None = None,
    ) -> None:
        options = client.init_options
        names = ("url", "location", "host", "path")
        self.client = client
        self.place = place or str(next((options[n] for n in names if options[n]), "localhost"))
        self.is_local = options["location"] == ":memory:" or options["path"] is not None
        self._owned = owned
        self._backoff = backoff or Backoff()
        self._guard: AbstractContextManager[object] = RLock() if self.is_local else nullcontext()
        self._closed = False
        self._check_version()

    def ask(self, what: str, request: Callable[[], T]) -> T:
        """Return what ``request`` gives.

        Args:
            what: What is being done, for messages.
            request: Sends one request, which may be sent twice without harm.
        """
        if self._closed:
            raise StoreError(f"the store {self.place} is closed; connect again")
        with self._guard:
            try:
                return ask(request, self._backoff, what=f"{what} at {self.place}")
            except ValueError as error:
                # The client checks some requests before it sends them, and local mode all.
                raise StoreError(f"{what} at {self.place} was refused: {error}") from error

    @property
    def identity(self) -> Hashable:
        """What is equal for two connections to one server; see :attr:`Store.identity`."""
        return id(self.client) if self.is_local else endpoint(self.client.init_options)

    def close(self) -> None:
        """Close the client if it is ours; a second call does nothing."""
        if self._owned and not self._closed:
            self.client.close()
        self._closed = True

    def _check_version(self) -> None:
        version = self.ask("reaching a Qdrant server", self.client.info).version
        numbers = tuple(int(part) for part in version.split(".")[:2] if part.isdecimal())
        if numbers < _OLDEST:
            raise StoreError(
                f"the Qdrant server at {self.place} has version {version}; decant needs 1.16 or "
                "later, which can keep a collection's recipe: upgrade the server"
            )


def reach(url: str, api_key: str | None) -> Server:
    """Return a connection to an address, after a look whether a server is there.

    Raises:
        StoreError: There is none, or it is too old.
    """
    # The first look is short of patience: most often an address is wrong for good.
    probe = _client(url, api_key, _PROBE_TIMEOUT)
    Server(probe, place=url, owned=True, backoff=Backoff(attempts=1)).close()
    client = _client(url, api_key, _TIMEOUT)
    return Server(client, place=url, owned=True)


def _client(url: str, api_key: str | None, timeout: int) -> QdrantClient:
    try:
        # The client's own check of the version would only warn.
        return QdrantClient(url=url, api_key=api_key, timeout=timeout, check_compatibility=False)
    except ValueError as error:
        raise StoreError(f"{url!r} is no address of a Qdrant server: {error}") from error
