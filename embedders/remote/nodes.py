"""Several servers of one model: when one gives no answer, the next is asked.

Each server is asked to prove its model before its first vectors: the recipe, the graph and the
golden vectors must be those of the encoder. Invariant: all vectors are of one model.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Sequence
from threading import Event, Lock
from typing import Generic, Protocol, TypeVar

from ..encoding.protocol import Vectors
from ..errors import BundleError, RemoteError
from ..forks import renew_after_fork
from .address import RemoteAccess, read_address
from .client import Backoff, EncoderClient

_ROUNDS = 7
_PAUSE = 0.5  # seconds after the first round without an answer, doubled after each

Item = TypeVar("Item")
Item_contra = TypeVar("Item_contra", contravariant=True)
Options = TypeVar("Options")
Options_contra = TypeVar("Options_contra", contravariant=True)
Model = TypeVar("Model")


class Sender(Protocol[Item_contra, Options_contra]):
    """Turns what one request asks for into vectors."""

    @property
    def dim(self) -> int:
        """The width D of the vectors."""
        ...

    def encode(
        self, texts: Sequence[Item_contra], options: Options_contra, *, first: int
    ) -> Vectors:
        """Return the vectors of the texts, or pairs of texts, of one request.

        Args:
            texts: At least one.
            options: How they are encoded.
            first: The caller's number of the first, for messages.
        """
        ...


Proof = Callable[[EncoderClient], Sender[Item, Options]]
"""Checks the model of a server, and returns what sends requests to it."""


def read_addresses(address: str) -> list[str]:
    """Return the addresses of one or several servers, which commas separate.

    Raises:
        RemoteError: One is no address.

    >>> read_addresses("http://one:8100,http://two:8100")
    ['http://one:8100', 'http://two:8100']
    """
    parts = re.split(r"\s*,\s*(?=https?://)", address.strip(), flags=re.IGNORECASE)
    return list(dict.fromkeys(read_address(part) for part in parts))


def open_clients(
    address: str, access: RemoteAccess, *, what: str = "encoder"
) -> list[EncoderClient]:
    """Return a client for each address; of several, each asks twice, and then the next does.

    Args:
        address: One or several addresses.
        access: How the servers let the clients in.
        what: What is served there, for messages.
    """
    urls = read_addresses(address)
    backoff = Backoff() if len(urls) == 1 else Backoff(attempts=2, longest=1.0)
    return [EncoderClient(url, access, backoff=backoff, what=what) for url in urls]


def first_model(
    clients: Sequence[EncoderClient], read: Callable[[EncoderClient], Model]
) -> tuple[EncoderClient, Model]:
    """Return the first server that answers, and its model.

    Args:
        clients: One for each server.
        read: Asks a server for its model.

    Raises:
        RemoteError: That of the last one, if none does.
    """
    for client in clients[:-1]:
        try:
            return client, read(client)
        except RemoteError:
            continue
    return clients[-1], read(clients[-1])


class EncoderNodes(Generic[Item, Options]):
    """Sends requests to the first of several servers that answers; safe to share between threads.

    Args:
        clients: One for each server; the first one's model is proven already.
        first: Sends requests to the first one.
        prove: Checks the model of another one.
    """

    def __init__(
        self,
        clients: Sequence[EncoderClient],
        first: Sender[Item, Options],
        prove: Proof[Item, Options],
    ) -> None:
        self._clients = list(clients)
        self._senders: dict[int, Sender[Item, Options]] = {0: first}
        self._prove = prove
        self._present = 0
        self._proving = Lock()
        self._closing = Event()
        self._dim = first.dim
        renew_after_fork(self)

    def renew(self) -> None:
        """Make a new lock in a forked child; another thread of its parent may hold this one."""
        self._proving = Lock()

    @property
    def dim(self) -> int:
        """The width D of the vectors."""
        return self._dim

    def encode(self, texts: Sequence[Item], options: Options, *, first: int) -> Vectors:
        """Return the vectors of the texts of one request; see :meth:`Sender.encode`.

        Raises:
            RemoteError: No server gave an answer.
            BundleError: A server has another model, and no other one answered.
        """
        ends = time.monotonic() + self._clients[0].access.timeout
        failed: list[RemoteError | BundleError] = []
        for attempt in range(_ROUNDS):
            start, failed = self._present, []
            for step in range(len(self._clients)):
                place = (start + step) % len(self._clients)
                try:
                    vectors = self._sender(place).encode(texts, options, first=first)
                except (RemoteError, BundleError) as error:
                    failed.append(error)
                    continue
                self._present = place
                return vectors
            pause = _PAUSE * 2**attempt
            if time.monotonic() + pause >= ends or self._closing.wait(pause):
                break
        others = [error for error in failed if isinstance(error, BundleError)]
        if len(others) == len(failed):
            raise others[0]
        raise RemoteError(
            f"none of {len(self._clients)} servers of this {self._clients[0].what} gave an answer: "
            + "; ".join(str(error) for error in failed)
        )

    def stop(self) -> None:
        """End all pauses: requests that would be repeated fail instead."""
        self._closing.set()
        for client in self._clients:
            client.stop()

    def _sender(self, place: int) -> Sender[Item, Options]:
        if (known := self._senders.get(place)) is not None:
            return known
        with self._proving:
            if place not in self._senders:
                self._senders[place] = self._prove(self._clients[place])
            return self._senders[place]
