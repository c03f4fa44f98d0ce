"""What operators see of a request: a span, a count, and at DEBUG a line of the log.

A request that names a trace (W3C ``traceparent``), as those of Qdrant and of remote encoders may,
continues it. The route is noted and never the path, which holds what a client wrote.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager

from starlette.requests import Request

from decant.embedders.log_events import log_event
from decant.embedders.span_protocol import Span, SpanKind
from decant.embedders.telemetry import origin_of, span

from .metrics import ServerMetrics

_FAILED = 500


class ObservedRequest:
    """A request that is under way.

    Args:
        route: Its route.
        span: Its span.
        metrics: What counts it.
    """

    def __init__(self, route: str, span: Span, metrics: ServerMetrics) -> None:
        self._route = route
        self._span = span
        self._metrics = metrics
        self._started = time.monotonic()

    def answered(self, status: int) -> None:
        """Note the status of its answer."""
        seconds = time.monotonic() - self._started
        self._metrics.count_request(self._route, status, seconds)
        self._span.set({"http.response.status_code": status})
        if status >= _FAILED:
            self._span.set({"error.type": str(status)})
        log_event(
            "request",
            {"route": self._route, "status": status, "seconds": round(seconds, 6)},
            level=logging.DEBUG,
        )


@contextmanager
def observed_request(
    request: Request, route: str, metrics: ServerMetrics
) -> Iterator[ObservedRequest]:
    """Yield a request that is counted and traced.

    Args:
        request: The request.
        route: The route's name, which is a label.
        metrics: What counts it.
    """
    method = request.method
    origins = origin_of(request.headers)
    with span(f"{method} {route}", kind=SpanKind.SERVER, origins=origins) as begun:
        begun.set({"http.request.method": method, "http.route": route})
        yield ObservedRequest(route, begun, metrics)
