"""An application on a free port, served in a thread of the test's own process."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from starlette.applications import Starlette

from decant.serving import ConnectionLimits
from decant.serving.run import Server, listener
from threads import wait_until

_LIMITS = ConnectionLimits(stop_seconds=10.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """A server that listens.

    Args:
        port: Where it listens, on this machine.
        server: The server; its ``should_exit`` stops it.
    """

    port: int
    server: Server

    @property
    def url(self) -> str:
        """Its address, without a slash at the end."""
        return f"http://127.0.0.1:{self.port}"

    def connect(self) -> socket.socket:
        """Return a connection without a byte sent, on which reading ends after a while."""
        return socket.create_connection(("127.0.0.1", self.port), timeout=20)


@contextmanager
def served(app: Starlette, limits: ConnectionLimits = _LIMITS) -> Iterator[Served]:
    """Serve an application until the end of the block, and wait until it has stopped."""
    server = Server(app, limits)
    with listener("127.0.0.1", 0) as found:
        port = found.getsockname()[1]
        thread = threading.Thread(target=server.run, kwargs={"sockets": [found]})
        thread.start()
        try:
            wait_until(lambda: server.started)
            yield Served(port=port, server=server)
        finally:
            server.should_exit = True
            thread.join()
