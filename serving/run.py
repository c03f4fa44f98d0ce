"""Run the application on a port, until a signal stops it; every accepted request is answered.

``uvicorn.run`` would raise the signal once more at the end, after which a process that stopped as
it was asked looks like one that was killed.
"""

from __future__ import annotations

import asyncio
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from ipaddress import ip_address

import uvicorn
from starlette.applications import Starlette

from .connections import LimitedConnection
from .settings import ConnectionLimits

_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_BACKLOG = 2_048  # connections that wait to be taken; uvicorn's own number
_TICK = 0.1  # seconds between two looks at all connections, as uvicorn's own


class Server(uvicorn.Server):
    """A server with limits on what its clients hold, which keeps its signal to itself.

    Args:
        app: What :func:`create_app` made.
        limits: What clients may hold.

    Attributes:
        unanswered: How many connections were cut off because stopping took too long.
    """

    def __init__(self, app: Starlette, limits: ConnectionLimits) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                http=LimitedConnection,
                ws="none",
                limit_concurrency=limits.connections + 1,  # uvicorn counts the one that asks
                log_config=None,
                access_log=False,
                server_header=False,
                lifespan="on",
            )
        )
        self._limits = limits
        self.unanswered = 0

    async def serve(self, sockets: list[socket.socket] | None = None) -> None:
        """Serve until a signal comes, or ``should_exit`` is set, and answer what was accepted."""
        watching = asyncio.create_task(self._watch())
        try:
            await super().serve(sockets)
        finally:
            watching.cancel()

    async def _watch(self) -> None:
        """Cut off clients that hold the server, or its end."""
        loop = asyncio.get_running_loop()
        stops_at: float | None = None
        while True:
            await asyncio.sleep(_TICK)
            if self.should_exit and stops_at is None:
                stops_at = loop.time() + self._limits.stop_seconds
            is_over = stops_at is not None and loop.time() > stops_at
            for connection in list(self.server_state.connections):
                if not isinstance(connection, LimitedConnection):
                    continue
                if is_over:
                    self.unanswered += 1
                    connection.cut_off()
                else:
                    connection.cut_off_if_stalled(self._limits)

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Stop on the first signal when everything is answered, on the second at once."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {number: signal.signal(number, self.handle_exit) for number in _SIGNALS}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def run_server(
    app: Starlette,
    *,
    host: str = "127.0.0.1",
    port: int = 6900,
    limits: ConnectionLimits | None = None,
    on_listening: Callable[[int], object] | None = None,
) -> int:
    """Serve an application until SIGINT or SIGTERM, then answer what was accepted and return.

    Args:
        app: What :func:`create_app` made.
        host: The address to listen at; ``0.0.0.0`` for all of the machine.
        port: The port; 0 takes a free one.
        limits: What clients may hold of it; None: the defaults.
        on_listening: Called with the port once connections are taken.

    Returns:
        How many connections were cut off in the end because stopping took too long; 0 if every
        accepted request was answered.

    Raises:
        OSError: The address or the port cannot be had.
    """
    server = Server(app, limits or ConnectionLimits())
    with listener(host, port) as found:
        if on_listening is not None:
            on_listening(found.getsockname()[1])
        server.run(sockets=[found])
    return server.unanswered


def listener(host: str, port: int) -> socket.socket:
    """Return a socket that listens; uvicorn's own would end the process where the port is taken."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # asyncio turns Nagle's algorithm off only where the protocol is named, and the connections of a
    # socket have its protocol. With it, short answers come 40 ms later.
    found = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        found.bind((host, port))
        found.listen(_BACKLOG)
    except OSError:
        found.close()
        raise
    return found


def is_loopback(host: str) -> bool:
    """Return whether an address can be reached from this machine alone.

    >>> is_loopback("127.0.0.1"), is_loopback("::1"), is_loopback("0.0.0.0")
    (True, True, False)
    """
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
