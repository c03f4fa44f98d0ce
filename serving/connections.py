"""Connections, and how long their clients may withhold what the server waits for.

uvicorn limits how long a connection may idle after an answer, and nothing else. Here clients are
cut off that do not send the head of a request, or do not read their answer. The time that a body
may take is the application's (``http.py``); what is computed for a request has no limit of time.
"""

from __future__ import annotations

import asyncio

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from .settings import ConnectionLimits

_TOO_SLOW = (
    b"HTTP/1.1 408 Request Timeout\r\nconnection: close\r\n"
    b"content-type: text/plain; charset=utf-8\r\ncontent-length: 45\r\n\r\n"
    b"the head of the request did not come in time\n"
)


class LimitedConnection(H11Protocol):
    """A connection that can be asked to end itself where its client withholds something."""

    _head_since: float | None = None
    _read_at: float = 0.0
    _unread: int = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait for the head of a request, unless there are far too many connections."""
        super().connection_made(transport)
        self._head_since = self.loop.time()
        limit = self.config.limit_concurrency
        if limit is not None and len(self.connections) > 2 * limit:
            transport.abort()

    def data_received(self, data: bytes) -> None:
        """Note whether the data complete the head of a request, or begin one."""
        super().data_received(data)
        if self._is_request_under_way:
            self._head_since = None
        elif self._head_since is None:
            self._head_since = self.loop.time()

    def cut_off_if_stalled(self, limits: ConnectionLimits) -> None:
        """End the connection if its client sends no head, or reads nothing, for too long.

        Args:
            limits: How long each may take.
        """
        now, unread = self.loop.time(), self.transport.get_write_buffer_size()
        if not unread or unread < self._unread:
            self._read_at = now
        self._unread = unread
        if unread and now - self._read_at > limits.read_seconds:
            self.transport.abort()
        elif self._head_since is not None and now - self._head_since > limits.head_seconds:
            self._refuse_head()

    def cut_off(self) -> None:
        """End the connection at once; the request that is under way is given up."""
        self.transport.abort()

    @property
    def _is_request_under_way(self) -> bool:
        # There is no cycle before the first request, whatever the type of the attribute says.
        return self.cycle is not None and not self.cycle.response_complete  # type: ignore[redundant-expr]

    def _refuse_head(self) -> None:
        self._head_since = None
        has_begun, _ = self.conn.trailing_data
        # Otherwise what comes is the rest of a body that was refused: that was the answer.
        if has_begun and self.conn.our_state is h11.IDLE:
            self.transport.write(_TOO_SLOW)
            self.transport.close()
        else:
            self.transport.abort()
