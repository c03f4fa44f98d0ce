"""Record the spans of a test by OpenTelemetry's SDK, in memory."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from opentelemetry import trace


class Recorded:
    """The spans that have ended.

    Args:
        exporter: The SDK's exporter in memory.
    """

    def __init__(self, exporter: Any) -> None:
        self._exporter = exporter

    @property
    def all(self) -> list[Any]:
        """Every span, in the order of their ends."""
        return [*self._exporter.get_finished_spans()]

    def named(self, name: str) -> list[Any]:
        """Return the spans of this name."""
        return [span for span in self.all if span.name == name]

    def one(self, name: str) -> Any:
        """Return the only span of this name."""
        (found,) = self.named(name)
        return found

    def clear(self) -> None:
        """Forget all spans."""
        self._exporter.clear()

    def text(self) -> str:
        """Return everything that the spans hold, as text."""
        return "\n".join(span.to_json() for span in self.all)


@contextmanager
def recorded_spans() -> Iterator[Recorded]:
    """Yield what records the spans of this process until the block ends."""
    sdk = pytest.importorskip("opentelemetry.sdk.trace")
    export = pytest.importorskip("opentelemetry.sdk.trace.export")
    memory = pytest.importorskip("opentelemetry.sdk.trace.export.in_memory_span_exporter")
    provider, exporter = sdk.TracerProvider(), memory.InMemorySpanExporter()
    provider.add_span_processor(export.SimpleSpanProcessor(exporter))
    with pytest.MonkeyPatch.context() as patch:
        # A program sets its provider once, and the API refuses a second one.
        patch.setattr(trace, "_TRACER_PROVIDER", provider)
        yield Recorded(exporter)


def parent_of(span: Any) -> int | None:
    """Return the id of a span's parent; None for a root."""
    return None if span.parent is None else int(span.parent.span_id)


def id_of(span: Any) -> int:
    """Return the id of a span."""
    return int(span.context.span_id)


def traceparent(span: Any) -> str:
    """Return the W3C header's beginning that names a span: version, trace and span."""
    return f"00-{span.context.trace_id:032x}-{span.context.span_id:016x}"
