"""The Qdrant server that live tests run against, over REST and over gRPC.

``QDRANT_URL`` names it, ``QDRANT_API_KEY`` is its key if it asks for one, ``QDRANT_CA`` the PEM
file of its authority, ``QDRANT_GRPC_PORT`` where it speaks gRPC. That is 6334 where REST is at
6333; else it must be named, since what listens at 6334 then may be another server.
``QDRANT_READ_ONLY_API_KEY`` is a key that may only read. ``QDRANT_CLUSTER`` names the three nodes
of a cluster, with commas between them, and ``QDRANT_CLUSTER_KILL`` is a command that kills the
third; what is not set is skipped with the reason.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

import pytest

from decant.integrations.qdrant import Store, connect
from decant.integrations.qdrant.server.clients.addresses import DEFAULT_PORT, read_address

LIVE = [pytest.param(name, marks=pytest.mark.live) for name in ("live", "live-grpc")]
"""The transports, as the parameters of a fixture; only :func:`connect_live` knows them."""

_GRPC_PORT = 6334


def connect_live(
    transport: str,
    *,
    api_key: str | None = None,
    headers: Mapping[str, str] | None = None,
    read_only: bool = False,
) -> Store:
    """Return the server as a store, reached by one of :data:`LIVE`; close it when done.

    Args:
        transport: One of :data:`LIVE`.
        api_key: Another key than ``QDRANT_API_KEY``.
        headers: As of ``connect``.
        read_only: As of ``connect``.
    """
    url = os.environ["QDRANT_URL"]
    ca = os.environ.get("QDRANT_CA") or None
    port = None
    if transport == "live-grpc":
        port = int(os.environ.get("QDRANT_GRPC_PORT") or 0)
        if not port and read_address(url).port == DEFAULT_PORT:
            port = _GRPC_PORT
        if not port:
            pytest.skip(f"where does the server at {url} speak gRPC? set QDRANT_GRPC_PORT")
    return connect(
        url, api_key=api_key, grpc_port=port, headers=headers, ca=ca, read_only=read_only
    )
