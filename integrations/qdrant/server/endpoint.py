"""Find the server of a client, so that two clients of one server are recognised."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import urlsplit

from .addresses import DEFAULT_PORT


def endpoint(options: Mapping[str, object]) -> str:
    """Return host, port and path, without scheme and credentials.

    Args:
        options: The ``init_options`` of a ``QdrantClient``.

    >>> endpoint({"url": "https://user:secret@Host/qdrant/?api_key=secret"})
    'host:6333/qdrant'
    >>> endpoint({"host": "host", "port": 6333, "prefix": "qdrant"})
    'host:6333/qdrant'
    """
    named = next((options[n] for n in ("url", "location", "host") if options.get(n)), "localhost")
    address = str(named)
    parts = urlsplit(address if "://" in address else f"//{address}")
    port = parts.port or options.get("port") or DEFAULT_PORT
    path = (parts.path.strip("/") or str(options.get("prefix") or "")).strip("/")
    return f"{parts.hostname or ''}:{port}/{path}".rstrip("/")
