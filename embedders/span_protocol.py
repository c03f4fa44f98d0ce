"""What a span of a trace is to decant: a context manager with attributes, counts and a kind.

``telemetry.py`` begins spans; ``otel_spans.py`` has those of OpenTelemetry. The types are a file of
their own so that neither imports the other at its top.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import ParamSpec, Protocol, Self, TypeAlias, TypeVar

Fact: TypeAlias = str | bool | int | float
"""What an attribute of a span may be."""
Origin: TypeAlias = object
"""The context of the code that asked for work: of a span, or of a request that came in."""

P = ParamSpec("P")
T = TypeVar("T")


def prefixed(facts: Mapping[str, Fact]) -> dict[str, Fact]:
    """Return facts under names of our own among the attributes of a span: ``decant.limit``."""
    return {f"decant.{name}": value for name, value in facts.items()}


class SpanKind(StrEnum):
    """Which side of a request a span is."""

    INTERNAL = "internal"
    CLIENT = "client"
    SERVER = "server"


class Span(Protocol):
    """A span of a trace, as a context manager: it ends with its block, and marks errors by type."""

    @property
    def is_recording(self) -> bool:
        """Whether attributes are kept; without that, none need be computed."""
        ...

    def set(self, facts: Mapping[str, Fact]) -> None:
        """Set attributes."""
        ...

    def count(self, name: str, number: int) -> None:
        """Add to an attribute that is a sum, from any thread; it is set when the span ends."""
        ...

    def carry(self, function: Callable[P, T]) -> Callable[P, T]:
        """Return the function as it runs in another thread with this span as the parent."""
        ...

    def __enter__(self) -> Self:
        """Begin the span."""
        ...

    def __exit__(self, *error: object) -> None:
        """End the span."""
        ...
