"""Send a call's requests one behind the other, a few at a time, and give their answers in order.

What remote encoders and rerankers have in common: the threads that send, their end, and a bounded
number of requests under way, so that the server is kept busy and memory stays flat.
"""

from __future__ import annotations

from abc import abstractmethod
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import Any, TypeVar

from ..encoding.encode_span import BATCHES, TEXTS
from ..encoding.pooled_encoder import PooledEncoder
from ..encoding.protocol import Progress, Vectors
from ..errors import ProviderError
from ..span_protocol import Span
from .client import EncoderClient
from .nodes import EncoderNodes, Proof, Sender
from .request_blocks import RequestBlock

UNDERWAY = 4
"""Requests of one call at a time: one that the model reads, and others that wait for it."""

_WORKERS = 8  # requests of all threads together

Item = TypeVar("Item")
Options = TypeVar("Options")


class RequestPool(PooledEncoder):
    """Sends requests to the servers of one model.

    Args:
        clients: One for each server.
    """

    def __init__(self, clients: tuple[EncoderClient, ...]) -> None:
        self._clients = clients
        self._nodes: EncoderNodes[Any, Any] | None = None
        super().__init__()

    @property
    @abstractmethod
    def _model_name(self) -> str:
        """The model's name for readers."""

    @property
    def address(self) -> str:
        """The address of the model; of several servers, with commas in between."""
        return ",".join(client.url for client in self._clients)

    def close(self) -> None:
        """End the connections; later calls raise :class:`ProviderError`."""
        self._closed = True
        if self._nodes is not None:
            self._nodes.stop()
        for client in self._clients:
            client.stop()
        super().close()
        for client in self._clients:
            client.close()

    def _sender_to(
        self, first: Sender[Item, Options], prove: Proof[Item, Options]
    ) -> Sender[Item, Options]:
        """Return what sends requests to the first server, or to others when it gives no answer.

        Args:
            first: Sends requests to the first server.
            prove: Checks the model of another one.
        """
        if len(self._clients) == 1:
            return first
        nodes = EncoderNodes(self._clients, first, prove)
        self._nodes = nodes
        return nodes

    def _workers(self) -> ThreadPoolExecutor:
        return ThreadPoolExecutor(_WORKERS, thread_name_prefix="decant-remote")

    def _answers(
        self,
        blocks: Iterable[RequestBlock[Item]],
        options: Options,
        sender: Sender[Item, Options],
        *,
        progress: Progress | None,
        work: Span,
    ) -> Iterator[Vectors]:
        """Yield the vectors of one request after the other, while the next are under way.

        Args:
            blocks: What each request asks for.
            options: How it is encoded.
            sender: Sends a request.
            progress: Called with the number of texts that have their vectors.
            work: Counts texts and requests.
        """
        pool = self._pool
        self._check_open(pool)
        underway: deque[Future[Vectors]] = deque()
        send = work.carry(sender.encode)
        first = 0
        try:
            for block in blocks:
                self._check_open(pool)
                work.count(TEXTS, len(block.texts))
                work.count(BATCHES, 1)
                if block.is_last and not underway:
                    vectors = send(block.texts, options, first=first)
                    if progress is not None:
                        progress(len(vectors))
                    yield vectors
                    return
                request = partial(send, block.texts, options, first=first)
                try:
                    underway.append(pool.submit(request))
                except RuntimeError:
                    self._check_open(pool)  # another thread closed it
                    raise
                first += len(block.texts)
                if len(underway) == UNDERWAY:
                    yield _finished(underway.popleft(), progress)
                    self._check_open(pool)
            while underway:
                self._check_open(pool)  # close() cancelled the requests that had not begun
                yield _finished(underway.popleft(), progress)
        finally:
            # In a forked child these are its parent's: no thread runs them, and they hold locks.
            for awaited in underway if pool is self._pool else ():
                awaited.cancel()

    def _check_open(self, pool: ThreadPoolExecutor) -> None:
        what = self._clients[0].what
        if pool is not self._pool:
            raise ProviderError(
                "these vectors were begun before this process was forked, and what asks for them "
                "is in its parent; encode the texts in the child from the start"
            )
        if self._closed:
            raise ProviderError(
                f"this {what} of {self._model_name} is closed and asks for nothing any more; use "
                "it before close(), or inside its with block, or load it again"
            )


def _finished(request: Future[Vectors], progress: Progress | None) -> Vectors:
    vectors = request.result()
    if progress is not None:
        progress(len(vectors))
    return vectors
