"""Run the application on a port, until a signal stops it; every accepted request is answered.

``uvicorn.run`` would raise the signal once more at the end, after which a process that stopped as
it was asked looks like one that was killed.
"""

from __future__ import annotations

import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from ipaddress import ip_address

import uvicorn
from starlette.applications import Starlette

_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_BACKLOG = 2_048  # connections that wait to be taken; uvicorn's own number


class _Server(uvicorn.Server):
    """A server that keeps the signal that stops it to itself."""

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
    on_listening: Callable[[int], object] | None = None,
) -> None:
    """Serve an application until SIGINT or SIGTERM, then answer what was accepted and return.

    Args:
        app: What :func:`create_app` made.
        host: The address to listen at; ``0.0.0.0`` for all of the machine.
        port: The port; 0 takes a free one.
        on_listening: Called with the port once connections are taken.

    Raises:
        OSError: The address or the port cannot be had.
    """
    with _listener(host, port) as listener:
        config = uvicorn.Config(
            app, log_config=None, access_log=False, server_header=False, lifespan="on"
        )
        if on_listening is not None:
            on_listening(listener.getsockname()[1])
        _Server(config).run(sockets=[listener])


def _listener(host: str, port: int) -> socket.socket:
    """Return a socket that listens; uvicorn's own would end the process where the port is taken."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # asyncio turns Nagle's algorithm off only where the protocol is named, and the connections of a
    # socket have its protocol. With it, short answers come 40 ms later.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(_BACKLOG)
    except OSError:
        listener.close()
        raise
    return listener


def is_loopback(host: str) -> bool:
    """Return whether an address can be reached from this machine alone.

    >>> is_loopback("127.0.0.1"), is_loopback("::1"), is_loopback("0.0.0.0")
    (True, True, False)
    """
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
