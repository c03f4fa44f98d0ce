"""The span of an operation on a collection, in a file of its own below searching and indexing.

Of the place only the host and the port of a server are noted: never a folder, and no credentials.
"""

from __future__ import annotations

from urllib.parse import urlsplit

from decant.embedders.span_protocol import Span, SpanKind
from decant.embedders.telemetry import span

from ..stores.protocol import Engine, Store


def store_span(store: Store, name: str, operation: str) -> Span:
    """Return the span ``decant.<operation>``, to use in a ``with`` block.

    Args:
        store: What holds the collection.
        name: The collection.
        operation: Such as ``search``; also the ``db.operation.name``.
    """
    is_remote = store.engine is Engine.REMOTE
    kind = SpanKind.CLIENT if is_remote else SpanKind.INTERNAL
    begun = span(f"decant.{operation}", kind=kind)
    if begun.is_recording:
        begun.set(
            {
                "db.system.name": "qdrant",
                "db.collection.name": name,
                "db.operation.name": operation,
                "decant.engine": store.engine.value,
            }
        )
        if is_remote and (host := urlsplit(store.place).hostname) is not None:
            begun.set({"server.address": host, "server.port": urlsplit(store.place).port or 6333})
    return begun
