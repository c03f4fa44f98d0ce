"""Trace what decant does, through OpenTelemetry where the program uses it, else at no cost.

A program that traces has imported ``opentelemetry.trace`` before its first span, so nothing is
imported here to find out. ``otel_spans.py`` has what is done then. Invariant: no attribute of a
span holds a text, a query, a key or the message of an error.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, MutableMapping, Sequence
from typing import ParamSpec, Self, TypeVar

from .span_protocol import Fact, Origin, Span, SpanKind

_API = "opentelemetry.trace"

P = ParamSpec("P")
T = TypeVar("T")


class _NoSpan:
    """What takes the place of a span where nobody traces."""

    __slots__ = ()
    is_recording = False

    def set(self, facts: Mapping[str, Fact]) -> None:
        """Do nothing."""

    def count(self, name: str, number: int) -> None:
        """Do nothing."""

    def carry(self, function: Callable[P, T]) -> Callable[P, T]:
        """Return the function itself."""
        return function

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        pass


_NO_SPAN = _NoSpan()


def span(
    name: str,
    *,
    kind: SpanKind = SpanKind.INTERNAL,
    origins: Sequence[Origin] = (),
    current: bool = True,
) -> Span:
    """Return a span to use in a ``with`` block, which costs nothing where nobody traces.

    Args:
        name: Its name, such as ``decant.search``.
        kind: Which side of a request it is.
        origins: The contexts that asked for the work: the first is the parent, the others are
            linked. Without any, the parent is the present span.
        current: Whether spans that begin inside the block have it as their parent; not for
            generators, whose callers run between two of their steps.
    """
    if sys.modules.get(_API) is None:
        return _NO_SPAN
    from .otel_spans import recorded_span

    return recorded_span(name, kind, origins, current=current) or _NO_SPAN


def carried(function: Callable[P, T]) -> Callable[P, T]:
    """Return a function as it runs in another thread with the present span as the parent."""
    if sys.modules.get(_API) is None:
        return function
    from .otel_spans import in_context

    return in_context(function)


def present_origin() -> Origin | None:
    """Return the present context, for spans that begin elsewhere; None where nobody traces."""
    if sys.modules.get(_API) is None:
        return None
    from .otel_spans import present_context

    return present_context()


def origin_of(headers: Mapping[str, str]) -> tuple[Origin, ...]:
    """Return the context that the headers of a request name (W3C ``traceparent``), if any.

    Args:
        headers: With names in small letters, or of a mapping that finds them in any.
    """
    if sys.modules.get(_API) is None or "traceparent" not in headers:
        return ()
    from .otel_spans import read_headers

    return read_headers(headers)


def add_trace_headers(headers: MutableMapping[str, str]) -> None:
    """Add ``traceparent`` and ``tracestate`` of the present span to the headers of a request."""
    if sys.modules.get(_API) is None:
        return
    from .otel_spans import write_headers

    write_headers(headers)
