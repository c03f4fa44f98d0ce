"""Open decant's store over a double, quickly and without pauses."""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from qdrant_client import QdrantClient

from decant.integrations.qdrant import RemoteStore
from decant.integrations.qdrant.server.capabilities import Server
from decant.integrations.qdrant.server.optimize import Patience
from decant.integrations.qdrant.server.retry import Backoff

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


@contextmanager
def serve(*, strict: bool, version: str = "1.19.0") -> Iterator[RemoteStore]:
    """Yield the remote store over a double of its own.

    Args:
        strict: Whether collections get :data:`STRICT`; a minute passes then between any two
            requests, so that rates stop nothing for long.
        version: The version of the server.
    """
    minutes = itertools.count(step=60)
    with QdrantDouble(STRICT if strict else None, version=version) as double:
        double.engine.clock = lambda: float(next(minutes))
        with reached(double) as store:
            yield store


@contextmanager
def reached(
    double: QdrantDouble, *, api_key: str | None = None, patience: Patience | None = None
) -> Iterator[RemoteStore]:
    """Yield the remote store over a double, which asks three times without a pause."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Api key is used with an insecure connection")
        # Certificates, which no request here needs, take most of the time to load.
        client = QdrantClient(
            url=double.url,
            api_key=api_key,
            timeout=60,
            check_compatibility=False,
            verify=False,
        )
    backoff = Backoff(attempts=3, sleep=lambda _: None)
    server = Server(client, place=double.url, backoff=backoff, owned=True)
    with RemoteStore(server, patience=patience) as store:
        yield store
