"""Spans of OpenTelemetry: begin, count, end; contexts across threads and in headers of requests.

Only this module imports ``opentelemetry``, and only ``telemetry.py`` imports this module. Errors
are marked by their type alone, because messages and stack traces may quote a text. Of the trace
only W3C's ``traceparent`` and ``tracestate`` leave the process, never its baggage.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, MutableMapping, Sequence
from functools import lru_cache, wraps
from threading import Lock
from typing import ParamSpec, Self, TypeVar, cast

from opentelemetry import context as contexts
from opentelemetry import trace
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from .distribution import decant_version
from .span_protocol import Fact, Origin, SpanKind

_HEADERS = TraceContextTextMapPropagator()
_KINDS = {
    SpanKind.INTERNAL: trace.SpanKind.INTERNAL,
    SpanKind.CLIENT: trace.SpanKind.CLIENT,
    SpanKind.SERVER: trace.SpanKind.SERVER,
}

P = ParamSpec("P")
T = TypeVar("T")


class RecordedSpan:
    """A span that an SDK may record; see :class:`Span`.

    Args:
        span: The span, which has begun.
        context: What it began in.
        current: Whether it is the parent of spans that begin inside its block.
    """

    def __init__(self, span: trace.Span, context: contexts.Context, *, current: bool) -> None:
        self._span = span
        self._context = trace.set_span_in_context(span, context)
        self._current = current
        self._sums: Counter[str] = Counter()
        self._lock = Lock()

    @property
    def is_recording(self) -> bool:
        """Whether the SDK keeps attributes of this span."""
        return self._span.is_recording()

    def set(self, facts: Mapping[str, Fact]) -> None:
        """Set attributes."""
        self._span.set_attributes(facts)

    def count(self, name: str, number: int) -> None:
        """Add to an attribute that is a sum."""
        with self._lock:
            self._sums[name] += number

    def carry(self, function: Callable[P, T]) -> Callable[P, T]:
        """Return the function as it runs elsewhere with this span as the parent."""
        return _within(self._context, function)

    def __enter__(self) -> Self:
        if self._current:
            self._token = contexts.attach(self._context)
        return self

    def __exit__(self, *raised: object) -> None:
        if self._current:
            contexts.detach(self._token)
        error = raised[1] if len(raised) > 1 else None
        if isinstance(error, Exception):
            kind = type(error)
            self._span.set_attribute("error.type", f"{kind.__module__}.{kind.__qualname__}")
            self._span.set_status(trace.Status(trace.StatusCode.ERROR))
        with self._lock:
            self._span.set_attributes(self._sums)
        self._span.end()


def recorded_span(
    name: str, kind: SpanKind, origins: Sequence[Origin], *, current: bool
) -> RecordedSpan | None:
    """Return a span that has begun; None if the program has set up no tracing."""
    provider = trace.get_tracer_provider()
    if isinstance(provider, trace.ProxyTracerProvider):
        return None
    # Where a context names no span, the present one stays the parent.
    parents = cast("Sequence[contexts.Context]", origins)
    context = parents[0] if parents else contexts.get_current()
    others = [trace.get_current_span(other).get_span_context() for other in parents[1:]]
    links = [trace.Link(other) for other in others if other.is_valid]
    span = _tracer(provider).start_span(name, context=context, kind=_KINDS[kind], links=links)
    return RecordedSpan(span, context, current=current)


def in_context(function: Callable[P, T]) -> Callable[P, T]:
    """Return a function as it runs in another thread within the present context."""
    return _within(contexts.get_current(), function)


def present_context() -> Origin | None:
    """Return the present context if it has a span."""
    context = contexts.get_current()
    return context if trace.get_current_span(context).get_span_context().is_valid else None


def read_headers(headers: Mapping[str, str]) -> tuple[Origin, ...]:
    """Return the context that W3C's headers name; empty if they are malformed."""
    context = _HEADERS.extract(headers, context=contexts.Context())
    return (context,) if trace.get_current_span(context).get_span_context().is_valid else ()


def write_headers(headers: MutableMapping[str, str]) -> None:
    """Add W3C's headers of the present span, if there is one."""
    _HEADERS.inject(headers)


@lru_cache(maxsize=1)
def _tracer(provider: trace.TracerProvider) -> trace.Tracer:
    return provider.get_tracer("decant", decant_version())


def _within(context: contexts.Context, function: Callable[P, T]) -> Callable[P, T]:
    @wraps(function)
    def run(*args: P.args, **kwargs: P.kwargs) -> T:
        token = contexts.attach(context)
        try:
            return function(*args, **kwargs)
        finally:
            contexts.detach(token)

    return run
