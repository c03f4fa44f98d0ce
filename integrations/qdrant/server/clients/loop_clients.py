"""Clients of one server for event loops: each loop has its own, made when it is first needed.

Connections belong to the event loop in which they were made. A client is closed with its loop,
because ``asyncio.run`` and others end by closing the asynchronous generators that are left, of
which each client has one; :meth:`LoopClients.aclose` closes it earlier.
"""

from __future__ import annotations

import asyncio
import time
import warnings
from asyncio import AbstractEventLoop
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from threading import Lock
from typing import Any

import httpx
from qdrant_client import AsyncQdrantClient

from decant.embedders.forks import renew_after_fork

from ...coroutines.threads import run_in_thread
from .client import ENDS, AttemptLimit

# Options of httpx that hold functions or objects of one kind of client alone.
_OF_ONE_KIND = frozenset({"auth", "auth_token_provider", "mounts", "transport"})


class LoopClients:
    """The clients of one server, one for each event loop.

    Args:
        options: What ``AsyncQdrantClient`` takes.
    """

    def __init__(self, options: Mapping[str, Any]) -> None:
        self._options = options
        self._held: dict[AbstractEventLoop, _LoopClient] = {}
        self._lock = Lock()
        renew_after_fork(self)

    def renew(self) -> None:
        """Forget the clients of a parent process, whose event loops are not this one's."""
        self._held = {}
        self._lock = Lock()

    async def client(self) -> AsyncQdrantClient:
        """Return the client of the running event loop, one caller in each turn of the loop.

        Hundreds of searches that begin at once would all be sent, answered and read together, each
        time in one turn of the loop, and keep it from other work meanwhile.
        """
        loop = asyncio.get_running_loop()
        with self._lock:
            for other in [other for other in self._held if other.is_closed()]:
                del self._held[other]
            held = self._held.setdefault(loop, _LoopClient())
        async with held.making:
            if held.client is None:
                # In a thread, because to load certificates takes some 20 ms.
                held.client = await run_in_thread(self._build)
                held.life = self._life(loop, held.client)
                await anext(held.life)
        async with held.turns:
            await asyncio.sleep(0)
        return held.client

    async def aclose(self) -> None:
        """Close the client of the running event loop, if there is one."""
        with self._lock:
            held = self._held.get(asyncio.get_running_loop())
        if held is not None and held.life is not None:
            await held.life.aclose()

    def _build(self) -> AsyncQdrantClient:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the blocking client of these options has warned
            return AsyncQdrantClient(**self._options)

    async def _life(
        self, loop: AbstractEventLoop, client: AsyncQdrantClient
    ) -> AsyncGenerator[None, None]:
        try:
            yield
        finally:
            with self._lock:
                self._held.pop(loop, None)
            await client.close()


class _LoopClient:
    """The client of one event loop, once it was made."""

    def __init__(self) -> None:
        self.making = asyncio.Lock()
        self.turns = asyncio.Lock()
        self.client: AsyncQdrantClient | None = None
        self.life: AsyncGenerator[None, None] | None = None


def asynchronous_options(options: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the options of an ``AsyncQdrantClient`` for the server of a client.

    Args:
        options: What the client was built with, its ``init_options``.

    Returns:
        None if they hold functions or objects that only a blocking client takes.
    """
    if any(options.get(name) is not None for name in _OF_ONE_KIND):
        return None
    chosen = {**options, "check_compatibility": False}
    hooks = _asynchronous_hooks(options.get("event_hooks") or {})
    if hooks is None:
        return None
    return {**chosen, "event_hooks": hooks} if hooks else chosen


def _asynchronous_hooks(hooks: Mapping[str, Sequence[Any]]) -> dict[str, list[Any]] | None:
    """Return the hooks of an asynchronous client; None if some are not decant's own."""
    owners = [getattr(hook, "__self__", None) for some in hooks.values() for hook in some]
    limits = [owner for owner in owners if isinstance(owner, AttemptLimit)]
    if len(limits) < len(owners):
        return None
    if not limits:
        return {}
    limit = limits[0]

    async def on_request(request: httpx.Request) -> None:
        limit.on_request(request)

    async def on_response(response: httpx.Response) -> None:
        assert isinstance(response.stream, httpx.AsyncByteStream)
        response.stream = _BoundedStream(response.stream, response.request.extensions[ENDS])

    return {"request": [on_request], "response": [on_response]}


class _BoundedStream(httpx.AsyncByteStream):
    def __init__(self, stream: httpx.AsyncByteStream, ends: float) -> None:
        self._stream = stream
        self._ends = ends

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for chunk in self._stream:
            if time.monotonic() > self._ends:
                raise httpx.ReadTimeout("the answer did not end in time")
            yield chunk

    async def aclose(self) -> None:
        await self._stream.aclose()
