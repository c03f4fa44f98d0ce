"""Hand the present trace to the server with each request: a file of its own, below all requests.

A Qdrant server notes the ``traceparent`` of a request in its audit log, and a proxy or a collector
before it continues the trace.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from qdrant_client.context_headers import headers as context_headers

from decant.embedders.telemetry import add_trace_headers

T = TypeVar("T")


def with_trace_headers(request: Callable[[], T]) -> Callable[[], T]:
    """Return a request that carries W3C's headers of the present span; itself if there is none.

    Args:
        request: Sends one request through a client of qdrant-client, in the calling thread.
    """
    found: dict[str, str] = {}
    add_trace_headers(found)
    if not found:
        return request

    def send() -> T:
        with context_headers(found):
            return request()

    return send
