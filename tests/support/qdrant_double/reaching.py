"""Open decant's store over a double, quickly and without pauses."""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from typing import Any

from qdrant_client import QdrantClient

from decant.integrations.qdrant import RemoteStore
from decant.integrations.qdrant.server.capabilities import Server
from decant.integrations.qdrant.server.optimize import Patience
from decant.integrations.qdrant.server.retry import Backoff
from decant.integrations.qdrant.server.writing.lease import LeaseTimes

from .grpc_front import grpc_front
from .server import QdrantDouble

STRICT = {
    "max_query_limit": 2,
    "upsert_max_batchsize": 1,
    "search_allow_exact": False,
    "unindexed_filtering_retrieve": False,
    "unindexed_filtering_update": False,
    "condition_max_size": 2,
    "filter_max_conditions": 4,
    "search_max_batchsize": 1,
    "read_rate_limit": 7,
    "write_rate_limit": 4,
}
"""Every limit that binds requests, so low that each of them binds in most tests."""

MIDDLING = STRICT | {
    "max_query_limit": 90,
    "upsert_max_batchsize": 40,
    "condition_max_size": 1,
    "read_rate_limit": 70,
    "write_rate_limit": 50,
}
"""The same for tests of hundreds of points."""


@contextmanager
def serve(
    limits: Mapping[str, Any] | None = None, *, version: str = "1.19.0", grpc: bool = False
) -> Iterator[RemoteStore]:
    """Yield the remote store over a double of its own.

    Args:
        limits: The limits of strict mode that collections get; a minute passes between any two
            requests, so that rates stop nothing for long.
        version: The version of the server.
        grpc: Whether requests go over gRPC.
    """
    minutes = itertools.count(step=60)
    with QdrantDouble(limits, version=version) as double:
        double.engine.clock = lambda: float(next(minutes))
        front = grpc_front(double) if grpc else nullcontext()
        with front as port, reached(double, grpc_port=port) as store:
            yield store


@contextmanager
def reached(
    double: QdrantDouble,
    *,
    api_key: str | None = None,
    patience: Patience | None = None,
    grpc_port: int | None = None,
    lease: LeaseTimes | None = None,
) -> Iterator[RemoteStore]:
    """Yield the remote store over a double, which asks three times without a pause.

    Args:
        double: The double.
        api_key: The key that goes along.
        patience: How long the store waits for the vector index.
        grpc_port: Where the double speaks gRPC (:func:`grpc_front`), if requests go there.
        lease: How long the store's leases last.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Api key is used with an insecure connection")
        # Certificates, which no request here needs, take most of the time to load.
        client = QdrantClient(
            url=double.url,
            api_key=api_key,
            timeout=60,
            check_compatibility=False,
            verify=False,
            grpc_port=grpc_port or 6334,
            prefer_grpc=grpc_port is not None,
            cloud_inference=True,
        )
    backoff = Backoff(attempts=3, sleep=lambda _: None)
    server = Server(client, place=double.url, backoff=backoff, owned=True)
    with RemoteStore(server, patience=patience, lease=lease) as store:
        yield store
